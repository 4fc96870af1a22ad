"""Reports on runs: tables, states, settings, seeds."""

import csv
import json
import os
import time

import pytest
from matplotlib.image import imread

from experiments.report import __main__ as report
from perceiver import run_files
from perceiver.training.logging.metrics import MetricLog
from tests.experiments.report_runs import about, cells, figures_of, finished, here
from tests.processes import exit_status

__all__ = ["here"]


def test_a_table_of_results_with_the_best_first(here, capsys):
    assert exit_status(report, ["lr=0.1", "a"]) == 0
    out = capsys.readouterr().out
    header, first, second, *_ = cells(out)
    assert " ".join(header) == (
        "run last top-1 best at step loss step parameters examples/s time state code"
    )
    reached = ["50.00%", "75.00%", "1,000", "1.2500", "2,000", "1,234", "128"]
    assert first == ["a", *reached, "0:00:00", "stopped", "f" * 10]
    known = [cell for cell in second if cell != "-"]
    assert known == ["lr=0.1", "3.0000", "500", "0:00:00", "stopped"]
    assert len({len(line) for line in out.splitlines()[:2]}) == 1  # columns stand in line
    assert out.endswith("picture: report.png\n")
    assert imread(here / "report.png").size


def test_the_result_of_a_run_that_evaluated_at_its_end_only(here, capsys):
    result = {"step": 500, "top1": 0.25, "num_examples": 8}
    file = here / "lr=0.1" / "eval.json"

    def reached():
        (found,) = figures_of(capsys, "lr=0.1")["runs"]
        return [found[k] for k in ("state", "held_out", "best", "best_step", "last", "test")]

    file.write_text(json.dumps(result))
    assert reached() == ["done", False, 0.25, 500, 0.25, None]
    # Evaluations in training are on the held-out part, the other results are on the test split.
    file.write_text(json.dumps({**result, "held_out": {"top1": 0.5}}))
    assert reached() == ["done", True, 0.5, 500, 0.5, 0.25]
    assert exit_status(report, ["lr=0.1"]) == 0
    header, line, _, _ = cells(capsys.readouterr().out)
    assert " ".join(header).startswith("run last held-out top-1 best at step test loss")
    assert line[1:5] == ["50.00%", "50.00%", "500", "25.00%"]


def test_a_run_with_a_held_out_part_is_marked_before_its_end(here, capsys):
    about(here / "a", data={"held_out": 0.1})
    assert figures_of(capsys, "a")["runs"][0]["held_out"] is True


def test_runs_that_diverged_come_last(here, capsys):
    with MetricLog(here / "c", resume_step=0) as log:
        log.write(1, "eval", top1=0.75)
        log.write(2, "train", loss=float("nan"))
    with MetricLog(here / "d", resume_step=0) as log:
        log.write(1, "eval", top1=0.625)
        log.write(2, "eval", top1=float("nan"))
    runs = figures_of(capsys, "c", "d", "a")["runs"]
    rows = [[x[k] for k in ("run", "state", "last", "best", "best_step")] for x in runs]
    assert rows == [
        ["a", "stopped", 0.5, 0.75, 1000],
        ["c", "diverged", 0.75, 0.75, 1],
        ["d", "stopped", None, 0.625, 1],
    ]


def test_a_run_that_diverged_and_evaluated_at_its_end_only(here, capsys):
    """eval.json has null for what is not finite."""
    (here / "lr=0.1" / "eval.json").write_text('{"step": 500, "top1": null}')
    assert exit_status(report, ["lr=0.1"]) == 0
    assert cells(capsys.readouterr().out)[1][:5] == ["lr=0.1", "nan", "-", "3.0000", "500"]


def test_states(here, capsys):
    def state():
        return figures_of(capsys, "a")["runs"][0]["state"]

    lock, result = here / "a" / run_files.LOCK, here / "a" / "eval.json"
    assert state() == "stopped"
    lock.write_text('{"host": "x", "pid": 1, "since": "today"}')
    assert state() == "running"
    os.utime(lock, (time.time() - 3600,) * 2)
    assert state() == "killed"
    lock.write_text("")  # released
    assert state() == "stopped"
    # The best checkpoint was evaluated after the end.
    result.write_text('{"step": 1000, "top1": 0.75}')
    assert state() == "done"
    # Training went on after this result.
    os.utime(result, (time.time() - 3600,) * 2)
    assert state() == "stopped"


def test_a_run_that_has_just_begun(here, capsys):
    about(here / "new", parameters=7)
    assert exit_status(report, ["new"]) == 0
    out, err = capsys.readouterr()
    (found,) = figures_of(capsys, "new")["runs"]
    assert (found["step"], found["parameters"], found["loss"]) == (None, 7, None)
    assert "picture" not in out
    assert err == "no picture: nothing is logged yet\n"
    assert not (here / "report.png").exists()


def test_an_incomplete_line_is_ignored(here, capsys):
    with (here / "a" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3000, "split": "tra')
    assert figures_of(capsys, "a")["runs"][0]["step"] == 2000


def test_runs_one_and_two_levels_below_a_folder(here, capsys):
    for name in ("sweep/x", "sweep/y", "sweep/more/x", "sweep/a/too/deep", "sweep/.hidden"):
        about(here / name)
    about(here / "sweep" / "x" / "checkpoints")  # a run has no runs in it
    (here / "sweep" / "waiting").mkdir()
    runs = figures_of(capsys, "sweep")["runs"]
    assert [x["run"] for x in runs] == ["more/x", "x", "y"]
    # The same folder given twice is one run; equal names are replaced by paths.
    runs = figures_of(capsys, "sweep", "sweep/x", "sweep/more", "b=sweep/more/", "a")["runs"]
    assert [x["run"] for x in runs] == ["a", "more/x", "x", "y"]
    runs = figures_of(capsys, "sweep/x", "sweep/more", "mine=a", "its=lr=0.1")["runs"]
    assert [x["run"] for x in runs] == ["mine", "its", "sweep/more/x", "sweep/x"]
    assert figures_of(capsys, "all=sweep/more")["runs"][0]["run"] == "all/x"


def test_settings_that_differ(here, capsys):
    same = {"batch_size": 64, "name": "lamb"}
    for name, rate, extra in (("x", 0.1, {}), ("y", 0.2, {"decay": None}), ("z", 0.1, {})):
        about(
            here / "s" / name,
            optimizer={**same, "rate": rate, **extra},
            versions={"jax": "0.10.2" if name == "x" else "0.11.0"},
        )
    found = figures_of(capsys, "s")["differences"]
    assert found == {
        "optimizer.decay": {"y": None},
        "optimizer.rate": {"x": 0.1, "y": 0.2, "z": 0.1},
        "versions.jax": {"x": "0.10.2", "y": "0.11.0", "z": "0.11.0"},
    }
    assert exit_status(report, ["s"]) == 0
    out = capsys.readouterr().out
    assert out.partition("Settings that differ:\n")[2].splitlines() == [
        "setting               x       y       z",
        "optimizer.decay       -    None       -",
        "optimizer.rate      0.1     0.2     0.1",
        "versions.jax     0.10.2  0.11.0  0.11.0",
    ]
    # Many runs and one key: a row a run is narrower. A run without config.json takes no part.
    for name in ("x", "y", "z"):
        about(here / "s" / name, optimizer={"rate": name * 9})
    assert exit_status(report, ["s", "lr=0.1", "--output=other.png"]) == 0
    out = capsys.readouterr().out
    assert cells(out.partition("Settings that differ:\n")[2])[:2] == [
        ["run", "optimizer.rate"],
        ["x", "xxxxxxxxx"],
    ]
    assert exit_status(report, ["s/x"]) == 0
    assert "Settings that differ" not in capsys.readouterr().out


def test_means_over_seeds(here, capsys):
    """The standard deviation of 0.90 and 0.92 is 0.02 / sqrt(2), by hand."""
    for width, seed, figures in (
        (8, 0, [0.95, 0.90]),
        (8, 1, [0.50, 0.92]),
        (16, 0, [0.97, 0.98]),
        (16, 1, [0.90, 0.98]),
        (16, 2, [0.90, 0.98]),
        (32, 0, [0.99]),  # one seed has no deviation
    ):
        config = dict(model={"width": width}, train={"seed": seed})
        finished(here / "s" / f"{width}-{seed}", figures, **config)
    # It is not done.
    finished(here / "s" / "8-2", [0.1], model={"width": 8}, train={"seed": 2})
    (here / "s" / "8-2" / "eval.json").unlink()
    first, second = figures_of(capsys, "s")["seeds"]
    assert first["settings"] == {"model.width": 16}
    assert first["seeds"] == ["0", "1", "2"]
    assert first["last"] == pytest.approx(0.98)
    assert first["last_deviation"] == pytest.approx(0.0, abs=1e-12)
    assert second["last"] == pytest.approx(0.91)
    assert second["last_deviation"] == pytest.approx(0.02 / 2**0.5)
    assert second["best"] == pytest.approx(0.935)
    assert exit_status(report, ["s"]) == 0
    _, _, rows = capsys.readouterr().out.partition("Over seeds")
    assert " ".join(cells(rows)[3]) == "0, 1 8 top-1 91.00% ± 1.41% 93.50% ± 2.12%"
    # The same seed twice is not two seeds.
    finished(here / "s" / "again", [0.9], model={"width": 32}, train={"seed": 0})
    assert len(figures_of(capsys, "s")["seeds"]) == 2


def test_csv_and_json_have_all_digits(here, capsys):
    about(here / "lr=0.1", train={"batch_size": 8, "seed": 0})
    assert exit_status(report, ["a", "lr=0.1", "--format=csv"]) == 0
    first, second = csv.DictReader(capsys.readouterr().out.splitlines())
    assert first["run"] == "a"
    assert first["folder"] == "a"
    assert float(first["best"]) == 0.75
    assert float(first["examples_per_second"]) == 128.0
    assert (first["train.batch_size"], second["train.batch_size"]) == ("64", "8")
    assert second["last"] == ""
    assert not (here / "report.png").exists()  # only written on request
    assert figures_of(capsys, "a", "--output=new/b.png")["runs"][0]["code"] == "f" * 40
    assert imread(here / "new" / "b.png").size
