"""Reports on runs: tables, states, settings and seeds."""

import csv
import json
import os
import time

import pytest
from matplotlib.image import imread

from experiments.report import __main__ as report
from perceiver import run_files
from perceiver.training.logging.metrics import MetricLog
from tests.experiments.report.runs import cells, here, json_report, write_config, write_finished_run
from tests.processes import exit_status

__all__ = ["here"]


def test_the_table_has_the_best_run_first(here, capsys):
    assert exit_status(report, ["lr=0.1", "a"]) == 0
    out = capsys.readouterr().out
    header, first, second, *_ = cells(out)
    assert " ".join(header) == (
        "run last top-1 best at step loss step parameters examples/s time state code"
    )
    cells_of_a = ["50.00%", "75.00%", "1,000", "1.2500", "2,000", "1,234", "128"]
    assert first == ["a", *cells_of_a, "0:00:00", "stopped", "f" * 10]
    cells_of_b = [cell for cell in second if cell != "-"]
    assert cells_of_b == ["lr=0.1", "3.0000", "500", "0:00:00", "stopped"]
    assert len({len(line) for line in out.splitlines()[:2]}) == 1  # columns are aligned
    assert out.endswith("picture: report.png\n")
    assert imread(here / "report.png").size


def test_result_of_a_run_that_evaluated_only_at_its_end(here, capsys):
    result = {"step": 500, "top1": 0.25, "num_examples": 8}
    file = here / "lr=0.1" / "eval.json"

    def results():
        (found,) = json_report(capsys, "lr=0.1")["runs"]
        return [found[k] for k in ("state", "held_out", "best", "best_step", "last", "test")]

    file.write_text(json.dumps(result))
    assert results() == ["done", False, 0.25, 500, 0.25, None]
    # Evaluations in training are on the held-out part, the other results are on the test split.
    file.write_text(json.dumps({**result, "held_out": {"top1": 0.5}}))
    assert results() == ["done", True, 0.5, 500, 0.5, 0.25]
    assert exit_status(report, ["lr=0.1"]) == 0
    header, line, _, _ = cells(capsys.readouterr().out)
    assert " ".join(header).startswith("run last held-out top-1 best at step test loss")
    assert line[1:5] == ["50.00%", "50.00%", "500", "25.00%"]


def test_a_run_with_a_held_out_part_is_marked_before_its_end(here, capsys):
    write_config(here / "a", data={"held_out": 0.1})
    assert json_report(capsys, "a")["runs"][0]["held_out"] is True


def test_runs_that_diverged_come_last(here, capsys):
    with MetricLog(here / "c", resume_step=0) as log:
        log.write(1, "eval", top1=0.75)
        log.write(2, "train", loss=float("nan"))
    with MetricLog(here / "d", resume_step=0) as log:
        log.write(1, "eval", top1=0.625)
        log.write(2, "eval", top1=float("nan"))
    runs = json_report(capsys, "c", "d", "a")["runs"]
    rows = [[x[k] for k in ("run", "state", "last", "best", "best_step")] for x in runs]
    assert rows == [
        ["a", "stopped", 0.5, 0.75, 1000],
        ["c", "diverged", 0.75, 0.75, 1],
        ["d", "stopped", None, 0.625, 1],
    ]


def test_diverged_run_that_evaluated_only_at_its_end(here, capsys):
    """eval.json has null for values that are not finite."""
    (here / "lr=0.1" / "eval.json").write_text('{"step": 500, "top1": null}')
    assert exit_status(report, ["lr=0.1"]) == 0
    assert cells(capsys.readouterr().out)[1][:5] == ["lr=0.1", "nan", "-", "3.0000", "500"]


def test_states_of_a_run(here, capsys):
    def state():
        return json_report(capsys, "a")["runs"][0]["state"]

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


def test_a_run_without_metrics(here, capsys):
    write_config(here / "new", parameters=7)
    assert exit_status(report, ["new"]) == 0
    out, err = capsys.readouterr()
    (found,) = json_report(capsys, "new")["runs"]
    assert (found["step"], found["parameters"], found["loss"]) == (None, 7, None)
    assert "picture" not in out
    assert err == "no picture: nothing is logged yet\n"
    assert not (here / "report.png").exists()


def test_an_incomplete_line_is_ignored(here, capsys):
    with (here / "a" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3000, "split": "tra')
    assert json_report(capsys, "a")["runs"][0]["step"] == 2000


def test_runs_are_found_one_and_two_levels_below_a_folder(here, capsys):
    for name in ("sweep/x", "sweep/y", "sweep/more/x", "sweep/a/too/deep", "sweep/.hidden"):
        write_config(here / name)
    write_config(here / "sweep" / "x" / "checkpoints")  # a run has no runs in it
    (here / "sweep" / "waiting").mkdir()
    runs = json_report(capsys, "sweep")["runs"]
    assert [x["run"] for x in runs] == ["more/x", "x", "y"]
    # The same folder given twice is one run; equal names are replaced by paths.
    runs = json_report(capsys, "sweep", "sweep/x", "sweep/more", "b=sweep/more/", "a")["runs"]
    assert [x["run"] for x in runs] == ["a", "more/x", "x", "y"]
    runs = json_report(capsys, "sweep/x", "sweep/more", "mine=a", "its=lr=0.1")["runs"]
    assert [x["run"] for x in runs] == ["mine", "its", "sweep/more/x", "sweep/x"]
    assert json_report(capsys, "all=sweep/more")["runs"][0]["run"] == "all/x"


def test_differing_settings_are_listed(here, capsys):
    same = {"batch_size": 64, "name": "lamb"}
    for name, rate, extra in (("x", 0.1, {}), ("y", 0.2, {"decay": None}), ("z", 0.1, {})):
        write_config(
            here / "s" / name,
            optimizer={**same, "rate": rate, **extra},
            versions={"jax": "0.10.2" if name == "x" else "0.11.0"},
        )
    found = json_report(capsys, "s")["differences"]
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
    # With many runs and one key, a row per run is narrower. Runs without config.json are left out.
    for name in ("x", "y", "z"):
        write_config(here / "s" / name, optimizer={"rate": name * 9})
    assert exit_status(report, ["s", "lr=0.1", "--output=other.png"]) == 0
    out = capsys.readouterr().out
    assert cells(out.partition("Settings that differ:\n")[2])[:2] == [
        ["run", "optimizer.rate"],
        ["x", "xxxxxxxxx"],
    ]
    assert exit_status(report, ["s/x"]) == 0
    assert "Settings that differ" not in capsys.readouterr().out


def test_means_and_deviations_over_seeds(here, capsys):
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
        write_finished_run(here / "s" / f"{width}-{seed}", figures, **config)
    # This run is not done.
    write_finished_run(here / "s" / "8-2", [0.1], model={"width": 8}, train={"seed": 2})
    (here / "s" / "8-2" / "eval.json").unlink()
    first, second = json_report(capsys, "s")["seeds"]
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
    write_finished_run(here / "s" / "again", [0.9], model={"width": 32}, train={"seed": 0})
    assert len(json_report(capsys, "s")["seeds"]) == 2


def test_csv_and_json_have_all_digits(here, capsys):
    write_config(here / "lr=0.1", train={"batch_size": 8, "seed": 0})
    assert exit_status(report, ["a", "lr=0.1", "--format=csv"]) == 0
    first, second = csv.DictReader(capsys.readouterr().out.splitlines())
    assert first["run"] == "a"
    assert first["folder"] == "a"
    assert float(first["best"]) == 0.75
    assert float(first["examples_per_second"]) == 128.0
    assert (first["train.batch_size"], second["train.batch_size"]) == ("64", "8")
    assert second["last"] == ""
    assert not (here / "report.png").exists()  # written only on request
    assert json_report(capsys, "a", "--output=new/b.png")["runs"][0]["code"] == "f" * 40
    assert imread(here / "new" / "b.png").size
