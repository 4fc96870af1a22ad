"""Runs side by side: what the report says, of runs written by hand and of real ones."""

import csv
import json
import os
import signal
import time

import pytest
from matplotlib.image import imread

from experiments.report import main
from experiments.run_lock import FILE as LOCK_FILE
from perceiver.training.logs import MetricLog
from tests.experiments.processes import TINY, run, start


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with those of two runs, where the report is started."""
    with MetricLog(tmp_path / "a", resume_step=0) as log:
        log.write(1000, "train", loss=2.5, top1=0.1)
        log.write(1000, "eval", loss=2.0, top1=0.75)
        log.write_speed(1500, seconds_per_step=0.5)
        log.write(2000, "train", loss=1.25, top1=0.5)
        log.write(2000, "eval", loss=1.5, top1=0.5)
    about(tmp_path / "a", train={"batch_size": 64, "seed": 0}, parameters=1234, git="f" * 40)
    with MetricLog(tmp_path / "lr=0.1", resume_step=0) as log:
        log.write(500, "train", loss=3.0, top1=0.1)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def about(folder, parameters=1, git=None, versions=None, **config):
    folder.mkdir(parents=True, exist_ok=True)
    values = {"config": config, "parameters": parameters, "git": git, "versions": versions or {}}
    (folder / "config.json").write_text(json.dumps(values))


def finished(folder, figures, **config):
    """A run that is done, with these figures in evaluation."""
    with MetricLog(folder, resume_step=0) as log:
        for step, figure in enumerate(figures, start=1):
            log.write(step, "eval", loss=1.0, top1=figure)
    about(folder, **config)
    (folder / "eval.json").write_text(json.dumps({"step": len(figures), "top1": figures[-1]}))


def cells(lines):
    return [line.split() for line in lines.splitlines()]


def figures_of(capsys, *arguments, status=0):
    """What --format=json tells."""
    assert main([*arguments, "--format=json"]) == status
    return json.loads(capsys.readouterr().out)


def test_a_table_of_what_was_reached_the_best_first(here, capsys):
    assert main(["lr=0.1", "a"]) == 0
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
    # The part that was set apart is what evaluations in training are on; the test split is another.
    file.write_text(json.dumps({**result, "held_out": {"top1": 0.5}}))
    assert reached() == ["done", True, 0.5, 500, 0.5, 0.25]
    assert main(["lr=0.1"]) == 0
    header, line, _, _ = cells(capsys.readouterr().out)
    assert " ".join(header).startswith("run last held-out top-1 best at step test loss")
    assert line[1:5] == ["50.00%", "50.00%", "500", "25.00%"]


def test_a_run_that_set_examples_apart_says_so_before_its_end(here, capsys):
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
    told = [[x[k] for k in ("run", "state", "last", "best", "best_step")] for x in runs]
    assert told == [
        ["a", "stopped", 0.5, 0.75, 1000],
        ["c", "diverged", 0.75, 0.75, 1],
        ["d", "stopped", None, 0.625, 1],
    ]


def test_a_run_that_diverged_and_evaluated_at_its_end_only(here, capsys):
    """eval.json has null for what is not finite."""
    (here / "lr=0.1" / "eval.json").write_text('{"step": 500, "top1": null}')
    assert main(["lr=0.1"]) == 0
    assert cells(capsys.readouterr().out)[1][:5] == ["lr=0.1", "nan", "-", "3.0000", "500"]


def test_states(here, capsys):
    def state():
        return figures_of(capsys, "a")["runs"][0]["state"]

    lock, result = here / "a" / LOCK_FILE, here / "a" / "eval.json"
    assert state() == "stopped"
    lock.write_text('{"host": "x", "pid": 1, "since": "today"}')
    assert state() == "running"
    os.utime(lock, (time.time() - 3600,) * 2)
    assert state() == "killed"
    lock.write_text("")  # given back
    assert state() == "stopped"
    # Of the best checkpoint, evaluated when all was done.
    result.write_text('{"step": 1000, "top1": 0.75}')
    assert state() == "done"
    # Training went on after this result.
    os.utime(result, (time.time() - 3600,) * 2)
    assert state() == "stopped"


def test_a_run_that_has_just_begun(here, capsys):
    about(here / "new", parameters=7)
    assert main(["new"]) == 0
    out, err = capsys.readouterr()
    (found,) = figures_of(capsys, "new")["runs"]
    assert (found["step"], found["parameters"], found["loss"]) == (None, 7, None)
    assert "picture" not in out
    assert err == "no picture: nothing is logged yet\n"
    assert not (here / "report.png").exists()


def test_a_line_that_is_being_written_is_left_aside(here, capsys):
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
    # Twice the same folder is one run; twice the same name is told by the path.
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
    assert main(["s"]) == 0
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
    assert main(["s", "lr=0.1", "--output=other.png"]) == 0
    out = capsys.readouterr().out
    assert cells(out.partition("Settings that differ:\n")[2])[:2] == [
        ["run", "optimizer.rate"],
        ["x", "xxxxxxxxx"],
    ]
    assert main(["s/x"]) == 0
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
    assert main(["s"]) == 0
    _, _, told = capsys.readouterr().out.partition("Over seeds")
    assert " ".join(cells(told)[3]) == "0, 1 8 top-1 91.00% ± 1.41% 93.50% ± 2.12%"
    # The same seed twice is not two seeds.
    finished(here / "s" / "again", [0.9], model={"width": 32}, train={"seed": 0})
    assert len(figures_of(capsys, "s")["seeds"]) == 2


def test_csv_and_json_have_the_figures_in_full(here, capsys):
    about(here / "lr=0.1", train={"batch_size": 8, "seed": 0})
    assert main(["a", "lr=0.1", "--format=csv"]) == 0
    first, second = csv.DictReader(capsys.readouterr().out.splitlines())
    assert first["run"] == "a"
    assert first["folder"] == "a"
    assert float(first["best"]) == 0.75
    assert float(first["examples_per_second"]) == 128.0
    assert (first["train.batch_size"], second["train.batch_size"]) == ("64", "8")
    assert second["last"] == ""
    assert not (here / "report.png").exists()  # unless it is asked for
    assert figures_of(capsys, "a", "--output=new/b.png")["runs"][0]["code"] == "f" * 40
    assert imread(here / "new" / "b.png").size


HOSTILE = [
    "-x; $(touch y)",
    "a|b",
    "<img src=x>",
    "**_[`\\`](u)_**",
    "$x^2$",
    "$\\frac{$",
    "two\nlines",
    "\x1b[2J",
    "caf\udce9",  # no UTF-8
    'é, "ü"',
]


def test_a_name_is_text_whatever_it_is(here, capfd):
    for number, name in enumerate(HOSTILE):
        finished(here / "s" / name, [0.99 - number / 100], model={"n": name})
    before = sorted(here.iterdir())
    assert main(["s"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line[:5] for line in lines[1:4]] == ["-x; $", "a|b  ", "<img "]
    assert lines[7].startswith("two\\nlines  ")
    assert lines[8].startswith("\\x1b[2J  ")
    assert lines[9].startswith("caf\\udce9  ")
    assert main(["s", "--format=markdown"]) == 0
    rows = capfd.readouterr().out.splitlines()[2 : 2 + len(HOSTILE)]
    assert rows[1].startswith("| a\\|b | 98.00% |")
    assert rows[2].startswith("| \\<img src=x\\> |")
    assert rows[3].startswith("| \\*\\*\\_\\[\\`\\\\\\`\\](u)\\_\\*\\* |")
    assert main(["s", "--format=csv"]) == 0
    read = list(csv.DictReader(capfd.readouterr().out.splitlines()))
    assert [row["run"] for row in read[:6]] == HOSTILE[:6]
    assert read[-1]["run"] == HOSTILE[-1]
    assert main(["s", "--format=json"]) == 0
    assert json.loads(capfd.readouterr().out)["runs"][2]["run"] == HOSTILE[2]
    assert main([str(here / "s" / HOSTILE[0])]) == 0
    assert main(["no\nsuch"]) == 2
    assert capfd.readouterr().err == (
        "error: no\\nsuch does not exist; give the workdir of a run, or a folder of them\n"
    )
    assert sorted(here.iterdir()) == sorted([*before, here / "report.png"])


WRITTEN = {
    "a number for config.json": ("config.json", "[1]", "has [1] where an object belongs"),
    "a config of another program": ("config.json", '{"hidden_size": 8}', "has no config"),
    "words for parameters": (
        "config.json",
        '{"config": {}, "parameters": "many"}',
        'parameters "many", which',
    ),
    "half a config": ("config.json", '{"config": {"data": ', "is damaged, it is not JSON"),
    "bytes for a config": ("config.json", b"\xff\x00", "is damaged, it is not JSON"),
    "a list for eval.json": ("eval.json", "[1]", "has [1] where an object belongs"),
    "half a result": ("eval.json", '{"step": 1', "is damaged"),
    "words for a metric": ("eval.json", '{"step": 5, "top1": "good"}', 'top1 "good", which is no'),
    "words for a step": ("eval.json", '{"step": "5", "top1": 0.5}', 'step "5", which is no num'),
    "a number for a part": ("eval.json", '{"held_out": 1}', "has 1 where an object belongs"),
    "a folder for eval.json": ("eval.json", None, "can't be read: Is a directory"),
    "a folder for metrics": ("metrics.jsonl", None, "can't be read: Is a directory"),
    "a line without a loss": (
        "metrics.jsonl",
        '{"step": 7, "split": "train", "top1": 0.5}\n',
        "step 7 in training has no loss",
    ),
    "a line of words": (
        "metrics.jsonl",
        '{"step": 7, "split": "train", "loss": "low"}\n',
        "line 1 has loss 'low', which is no number",
    ),
    "no JSON": ("metrics.jsonl", "step 1\n", "line 1 is no JSON object"),
    "no step": ("metrics.jsonl", '{"step": [], "split": "eval"}\n', "line 1 has step []"),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_damaged_run_is_named_and_the_rest_is_shown(name, here, capsys):
    file, content, said = WRITTEN[name]
    path = here / "lr=0.1" / file
    path.unlink(missing_ok=True)
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert main(["lr=0.1", "--format=json"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: lr=0.1 is left out: lr=0.1/{file}")
    assert said in line
    assert main(["a", "lr=0.1", "--format=json"]) == 1
    out, err = capsys.readouterr()
    assert err == line + "\n"
    assert [found["run"] for found in json.loads(out)["runs"]] == ["a"]


MISTAKES = {
    "no runs": ([], "[NAME=]DIR"),
    "not a PNG": (["a", "--output=x.pdf"], "--output=x.pdf is not the name of a PNG"),
    "no such folder": (["a", "none"], "none does not exist"),
    "a file": (["a/metrics.jsonl"], "a/metrics.jsonl is a file"),
    "a folder without runs": (["a", "empty"], "empty has no run in it"),
    "no name": (["=a"], "'=a' is no run; give DIR or NAME=DIR"),
    "no folder": (["x="], "'x=' is no run; give DIR or NAME=DIR"),
    "one name twice": (["x=a", "x=lr=0.1"], "'x' names two runs"),
    "an unknown format": (["a", "--format=html"], "invalid choice: 'html'"),
    "a file for a folder": (["a", "--output=a/metrics.jsonl/x.png"], "can't be written: Not a dir"),
    "another's picture": (["a", "--output=a/curves.png"], "a/curves.png is there, not made by"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_answered_in_one_line(name, here, capsys):
    (here / "empty").mkdir()
    (here / "a" / "curves.png").write_bytes(b"\x89PNG of another program")
    arguments, said = MISTAKES[name]
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert out == ""
    assert (here / "a" / "curves.png").read_bytes() == b"\x89PNG of another program"
    assert not (here / "report.png").exists()


def test_its_own_picture_is_replaced(here):
    for folder in ("a", "lr=0.1"):
        assert main([folder]) == 0
    last = (here / "report.png").read_bytes()
    assert main([folder, "--output=fresh.png"]) == 0
    assert (here / "fresh.png").read_bytes() == last


def test_more_runs_than_can_be_told_apart(here, capsys):
    for number in range(29):
        finished(here / "s" / f"{number:02}", [number / 100])
    assert main(["s"]) == 0
    out, err = capsys.readouterr()
    assert cells(out)[1][:2] == ["28", "28.00%"]
    assert cells(out)[29][:2] == ["00", "0.00%"]
    assert err == "report.png has the first 28 of 29 runs\n"


def test_as_a_user_starts_it(here, monkeypatch, capsys):
    (here / "a").rename(here / "実験")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    out, err = run("report", f"{here}/実験", f"--output={here}/x.png", status=0)
    assert cells(out)[1][:2] == ["\\u5b9f\\u9a13", "50.00%"]
    assert err == ""
    assert imread(here / "x.png").size
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--help"])
    out = capsys.readouterr().out
    assert "example: python -m experiments.report runs/a fourier=runs/b" in out


def test_a_reader_that_has_enough(here):
    process = start("report", str(here), "--format=csv")
    process.stdout.close()  # as `| head` does
    assert process.stderr.read() == ""
    assert process.wait() == -signal.SIGPIPE


@pytest.mark.slow
def test_real_runs(tmp_path):
    """The parameters are those of the table of sizes, the figures those that training printed."""
    said = {}
    for seed in (0, 1):
        arguments = [*TINY, f"--config.train.seed={seed}", f"--workdir={tmp_path}/seed{seed}"]
        said[f"seed{seed}"] = run("train", *arguments)[0]
    network = [x for x in TINY if ".model." in x or x.startswith("--config=")]
    sizes = json.loads(run("model_table", *network, "--format=json")[0])
    out, _ = run("report", str(tmp_path), "--format=json", f"--output={tmp_path}/both.png")
    found = json.loads(out)
    for each in found["runs"]:
        assert each["step"] == 12
        assert each["state"] == "done"
        assert each["parameters"] == sizes["total"]["parameters"]
        assert f"reached, at step 12: top-1 {each['last']:.2%}" in said[each["run"]]
        assert each["examples_per_second"] > 0
        assert each["seconds"] > 0
    assert found["differences"] == {"train.seed": {"seed0": 0, "seed1": 1}}
    assert found["seeds"][0]["seeds"] == ["0", "1"]
    assert imread(tmp_path / "both.png").size
