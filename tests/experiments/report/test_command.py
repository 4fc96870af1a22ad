"""Runs the report: special names, damaged runs, user errors and pictures."""

import csv
import json
import signal

import pytest
from matplotlib.image import imread

from experiments.cli.main import call
from experiments.report import __main__ as report
from tests.experiments.report.runs import cells, here, write_finished_run
from tests.processes import TINY, exit_status, run, start

__all__ = ["here"]

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


def test_names_with_special_characters_are_text(here, capfd):
    for number, name in enumerate(HOSTILE):
        write_finished_run(here / "s" / name, [0.99 - number / 100], model={"n": name})
    before = sorted(here.iterdir())
    assert exit_status(report, ["s"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line[:5] for line in lines[1:4]] == ["-x; $", "a|b  ", "<img "]
    assert lines[7].startswith("two\\nlines  ")
    assert lines[8].startswith("\\x1b[2J  ")
    assert lines[9].startswith("caf\\udce9  ")
    assert exit_status(report, ["s", "--format=markdown"]) == 0
    rows = capfd.readouterr().out.splitlines()[2 : 2 + len(HOSTILE)]
    assert rows[1].startswith("| a\\|b | 98.00% |")
    assert rows[2].startswith("| \\<img src=x\\> |")
    assert rows[3].startswith("| \\*\\*\\_\\[\\`\\\\\\`\\](u)\\_\\*\\* |")
    assert exit_status(report, ["s", "--format=csv"]) == 0
    read = list(csv.DictReader(capfd.readouterr().out.splitlines()))
    assert [row["run"] for row in read[:6]] == HOSTILE[:6]
    assert read[-1]["run"] == HOSTILE[-1]
    assert exit_status(report, ["s", "--format=json"]) == 0
    assert json.loads(capfd.readouterr().out)["runs"][2]["run"] == HOSTILE[2]
    assert exit_status(report, [str(here / "s" / HOSTILE[0])]) == 0
    assert exit_status(report, ["no\nsuch"]) == 2
    assert capfd.readouterr().err == (
        "error: no\\nsuch does not exist; give the workdir of a run, or a folder of them\n"
    )
    assert sorted(here.iterdir()) == sorted([*before, here / "report.png"])


DAMAGED = {
    "a number for config.json": ("config.json", "[1]", "has [1] where an object belongs"),
    "a config of another program": ("config.json", '{"hidden_size": 8}', "has no config"),
    "text for parameters": (
        "config.json",
        '{"config": {}, "parameters": "many"}',
        'parameters "many", which',
    ),
    "half a config": ("config.json", '{"config": {"data": ', "is damaged, it is not JSON"),
    "bytes for a config": ("config.json", b"\xff\x00", "is damaged, it is not JSON"),
    "a list for eval.json": ("eval.json", "[1]", "has [1] where an object belongs"),
    "half a result": ("eval.json", '{"step": 1', "is damaged"),
    "text for a metric": ("eval.json", '{"step": 5, "top1": "good"}', 'top1 "good", which is no'),
    "text for a step": ("eval.json", '{"step": "5", "top1": 0.5}', 'step "5", which is no num'),
    "a number for a part": ("eval.json", '{"held_out": 1}', "has 1 where an object belongs"),
    "a folder for eval.json": ("eval.json", None, "can't be read: Is a directory"),
    "a folder for metrics": ("metrics.jsonl", None, "can't be read: Is a directory"),
    "a line without a loss": (
        "metrics.jsonl",
        '{"step": 7, "split": "train", "top1": 0.5}\n',
        "step 7 in training has no loss",
    ),
    "text in a line": (
        "metrics.jsonl",
        '{"step": 7, "split": "train", "loss": "low"}\n',
        "line 1 has loss 'low', which is no number",
    ),
    "no JSON": ("metrics.jsonl", "step 1\n", "line 1 is no JSON object"),
    "no step": ("metrics.jsonl", '{"step": [], "split": "eval"}\n', "line 1 has step []"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_run_is_named_and_the_rest_is_shown(name, here, capsys):
    file, content, message = DAMAGED[name]
    path = here / "lr=0.1" / file
    path.unlink(missing_ok=True)
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert exit_status(report, ["lr=0.1", "--format=json"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: lr=0.1 is left out: lr=0.1/{file}")
    assert message in line
    assert exit_status(report, ["a", "lr=0.1", "--format=json"]) == 1
    out, err = capsys.readouterr()
    assert err == line + "\n"
    assert [found["run"] for found in json.loads(out)["runs"]] == ["a"]


USER_ERRORS = {
    "no runs": ([], "[NAME=]DIR"),
    "not a PNG": (["a", "--output=x.pdf"], "--output=x.pdf is not the name of a PNG"),
    "no such folder": (["a", "none"], "none does not exist"),
    "a file": (["a/metrics.jsonl"], "a/metrics.jsonl is a file"),
    "a folder without runs": (["a", "empty"], "empty has no run in it"),
    "no name": (["=a"], "'=a' is no run; give DIR or NAME=DIR"),
    "no folder": (["x="], "'x=' is no run; give DIR or NAME=DIR"),
    "a repeated name": (["x=a", "x=lr=0.1"], "'x' names two runs"),
    "an unknown format": (["a", "--format=html"], "invalid choice: 'html'"),
    "a file as folder": (["a", "--output=a/metrics.jsonl/x.png"], "can't be written: Not a dir"),
    "a picture of another program": (
        ["a", "--output=a/curves.png"],
        "a/curves.png is there, not made by",
    ),
}


@pytest.mark.parametrize("name", USER_ERRORS)
def test_a_user_error_is_one_line(name, here, capsys):
    (here / "empty").mkdir()
    (here / "a" / "curves.png").write_bytes(b"\x89PNG of another program")
    arguments, message = USER_ERRORS[name]
    assert exit_status(report, arguments) == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert out == ""
    assert (here / "a" / "curves.png").read_bytes() == b"\x89PNG of another program"
    assert not (here / "report.png").exists()


def test_a_picture_of_the_report_is_replaced(here):
    for folder in ("a", "lr=0.1"):
        assert exit_status(report, [folder]) == 0
    last = (here / "report.png").read_bytes()
    assert exit_status(report, [folder, "--output=fresh.png"]) == 0
    assert (here / "fresh.png").read_bytes() == last


def test_the_picture_has_at_most_28_runs(here, capsys):
    for number in range(29):
        write_finished_run(here / "s" / f"{number:02}", [number / 100])
    assert exit_status(report, ["s"]) == 0
    out, err = capsys.readouterr()
    assert cells(out)[1][:2] == ["28", "28.00%"]
    assert cells(out)[29][:2] == ["00", "0.00%"]
    assert err == "report.png has the first 28 of 29 runs\n"


def test_command_with_an_ascii_terminal(here, monkeypatch, capsys):
    (here / "a").rename(here / "実験")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    out, err = run("report", f"{here}/実験", f"--output={here}/x.png", status=0)
    assert cells(out)[1][:2] == ["\\u5b9f\\u9a13", "50.00%"]
    assert err == ""
    assert imread(here / "x.png").size
    with pytest.raises(SystemExit, match=r"^0$"):
        call(report.main, report.parser(), ["--help"])
    out = capsys.readouterr().out
    assert "example: python -m experiments.report runs/a fourier=runs/b" in out


def test_a_closed_pipe_ends_the_report_silently(here):
    process = start("report", str(here), "--format=csv")
    process.stdout.close()  # like `| head`
    assert process.stderr.read() == ""
    assert process.wait() == -signal.SIGPIPE


@pytest.mark.slow
def test_report_of_real_runs(tmp_path):
    """Parameters agree with the model table, accuracies with the output of training."""
    printed = {}
    for seed in (0, 1):
        arguments = [*TINY, f"--config.train.seed={seed}", f"--workdir={tmp_path}/seed{seed}"]
        printed[f"seed{seed}"] = run("train", *arguments)[0]
    network = [x for x in TINY if ".model." in x or x.startswith("--config=")]
    sizes = json.loads(run("model_table", *network, "--format=json")[0])
    out, _ = run("report", str(tmp_path), "--format=json", f"--output={tmp_path}/both.png")
    found = json.loads(out)
    for row in found["runs"]:
        assert row["step"] == 12
        assert row["state"] == "done"
        assert row["parameters"] == sizes["total"]["parameters"]
        assert f"reached, at step 12: top-1 {row['last']:.2%}" in printed[row["run"]]
        assert row["examples_per_second"] > 0
        assert row["seconds"] > 0
    assert found["differences"] == {"train.seed": {"seed0": 0, "seed1": 1}}
    assert found["seeds"][0]["seeds"] == ["0", "1"]
    assert imread(tmp_path / "both.png").size
