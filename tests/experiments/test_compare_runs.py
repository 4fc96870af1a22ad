"""Runs side by side: what the table says, of runs written by hand and of real ones."""

import json

import pytest
from matplotlib.image import imread

from experiments.command_line import UserError
from experiments.compare_runs import compare, main, named, row
from perceiver.training.curves import read_run
from perceiver.training.logs import MetricLog
from tests.experiments.processes import TINY, finish, run, start


@pytest.fixture
def runs(tmp_path):
    """Folders of two runs."""
    with MetricLog(tmp_path / "a", resume_step=0) as log:
        log.write(1000, "train", loss=2.5, top1=0.1)
        log.write(1000, "eval", loss=2.0, top1=0.75)
        log.write(2000, "train", loss=1.25, top1=0.5)
        log.write(2000, "eval", loss=1.5, top1=0.5)
    with MetricLog(tmp_path / "lr=0.1", resume_step=0) as log:
        log.write(500, "train", loss=3.0, top1=0.1)
    return tmp_path


def cells(lines):
    return [line.split() for line in lines.splitlines()]


def test_a_table_of_what_was_reached(runs, capsys):
    compare([f"{runs}/a", f"{runs}/lr=0.1"], f"{runs}/new/both.png")
    out = capsys.readouterr().out
    header, first, second, _ = cells(out)
    assert " ".join(header) == "run step parameters best top-1 at step last top-1 loss"
    assert first == ["a", "2,000", "-", "75.00%", "1,000", "50.00%", "1.2500"]
    assert second == ["lr=0.1", "500", "-", "-", "-", "-", "3.0000"]
    assert out.endswith(f"picture: {runs}/new/both.png\n")
    assert imread(runs / "new" / "both.png").size
    assert len({len(line) for line in out.splitlines()[:3]}) == 1  # columns stand in line


def test_the_result_of_a_run_that_evaluated_at_its_end_only(runs):
    folder = runs / "lr=0.1"
    result = {"step": 500, "top1": 0.25, "num_examples": 8}
    (folder / "eval.json").write_text(json.dumps(result))

    def reached():
        made = row("x", folder, read_run(folder))
        return made.best, made.best_step, made.last

    assert reached() == (0.25, 500, 0.25)
    # The part that was set apart is what evaluations in training are on.
    (folder / "eval.json").write_text(json.dumps({**result, "held_out": {"top1": 0.5}}))
    assert reached() == (0.5, 500, 0.5)


def test_a_run_that_diverged(runs):
    with MetricLog(runs / "c", resume_step=0) as log:
        log.write(1, "eval", top1=0.5)
        log.write(2, "eval", top1=float("nan"))
    made = row("c", runs / "c", read_run(runs / "c"))
    assert (made.best, made.best_step) == (0.5, 1)
    assert made.last != made.last
    assert made.loss is None


def test_a_run_that_diverged_and_evaluated_at_its_end_only(runs, capsys):
    """eval.json has null for what is not finite."""
    (runs / "lr=0.1" / "eval.json").write_text('{"step": 500, "top1": null}')
    compare([f"{runs}/lr=0.1"], f"{runs}/x.png")
    assert cells(capsys.readouterr().out)[1] == ["lr=0.1", "500", "-", "-", "-", "nan", "3.0000"]


def test_dollars_in_a_name_are_no_formula(runs):
    """Neither one that can't be set, nor one that could."""
    for name in ("$x^2$", "$frac{", "$\\frac{$"):
        compare([f"{name}={runs}/a"], f"{runs}/both.png")
        assert imread(runs / "both.png").size


WRITTEN = {
    "a number for config.json": ("config.json", "[1]", "has [1] where an object belongs"),
    "words for parameters": ("config.json", '{"parameters": "many"}', 'parameters "many", which'),
    "a list for eval.json": ("eval.json", "[1]", "has [1] where an object belongs"),
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
    "no step": ("metrics.jsonl", '{"step": [], "split": "eval"}\n', "line 1 has step []"),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_files_of_another_shape_are_named(name, runs, capsys):
    file, content, said = WRITTEN[name]
    path = runs / "lr=0.1" / file
    path.unlink(missing_ok=True)
    if content is None:
        path.mkdir()
    else:
        path.write_text(content)
    assert main([f"{runs}/a", f"{runs}/lr=0.1", f"--out={runs}/x.png"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path}")
    assert said in line
    assert not (runs / "x.png").exists()


def test_names(runs, monkeypatch):
    monkeypatch.chdir(runs)
    found = named(["a", "lr=0.1", "mine=a", "its=lr=0.1"])
    assert {name: str(folder) for name, folder in found.items()} == {
        "a": "a",
        "lr=0.1": "lr=0.1",
        "mine": "a",
        "its": "lr=0.1",
    }
    monkeypatch.chdir("a")
    assert list(named(["."])) == ["a"]
    for argument in ("=a", "x=", "", "/"):
        with pytest.raises(UserError, match=f"'{argument}' is no run; give DIR or NAME=DIR"):
            named([argument])
    with pytest.raises(UserError, match=r"two runs are called 'a'.* as in first="):
        named([".", "../a/"])


MISTAKES = {
    "no runs": (["--out={tmp}/x.png"], "[NAME=]DIR"),
    "no out": (["{tmp}/a"], "--out"),
    "not a PNG": (["{tmp}/a", "--out={tmp}/x.pdf"], "x.pdf is not the name of a PNG"),
    "no such folder": (["{tmp}/a", "{tmp}/none", "--out={tmp}/x.png"], "{tmp}/none/metrics.jsonl"),
    "no folder but a file": (["{tmp}/a/metrics.jsonl", "--out={tmp}/x.png"], "does not exist"),
    "a folder without lines": (["{tmp}/empty", "--out={tmp}/x.png"], "no metrics yet"),
    "damaged lines": (["{tmp}/damaged", "--out={tmp}/x.png"], "metrics.jsonl, line 1"),
    "a damaged result": (["{tmp}/torn", "--out={tmp}/x.png"], "{tmp}/torn/eval.json is damaged"),
    "other metrics": (["{tmp}/a", "{tmp}/sounds", "--out={tmp}/x.png"], "sounds has mAP"),
    "a file for a folder": (
        ["{tmp}/a", "--out={tmp}/torn/eval.json/x.png"],
        "{tmp}/torn/eval.json/x.png can't be written",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_answered_in_one_line(name, runs, capsys):
    MetricLog(runs / "empty", resume_step=0).close()
    (runs / "damaged").mkdir()
    (runs / "damaged" / "metrics.jsonl").write_text("step 1\n")
    for folder, values in (("sounds", {"mAP": 0.5}), ("torn", {"top1": 0.5})):
        with MetricLog(runs / folder, resume_step=0) as log:
            log.write(1, "eval", **values)
    (runs / "torn" / "eval.json").write_text('{"step": 1')
    arguments, said = MISTAKES[name]
    assert main([argument.format(tmp=runs) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert said.format(tmp=runs) in line
    assert out == ""
    assert not (runs / "x.png").exists()


def test_as_a_user_starts_it(runs):
    _, err = finish(start("compare_runs", f"{runs}/none", f"--out={runs}/x.png"), status=2)
    assert err.startswith(f"error: {runs}/none")
    out, _ = run("compare_runs", "--help")
    assert "example: python -m experiments.compare_runs runs/a fourier=runs/b" in out


@pytest.mark.slow
def test_real_runs(tmp_path):
    """The parameters are those of the table of sizes, the figures those that training printed."""
    said = {}
    for seed in (0, 1):
        arguments = [*TINY, f"--config.train.seed={seed}", f"--workdir={tmp_path}/seed{seed}"]
        said[f"seed{seed}"] = run("train", *arguments)[0]
    network = [x for x in TINY if ".model." in x or x.startswith("--config=")]
    sizes = json.loads(run("model_table", *network, "--format=json")[0])
    folders = [f"{tmp_path}/{name}" for name in said]
    out, _ = run("compare_runs", *folders, f"--out={tmp_path}/both.png")
    for line in cells(out)[1:3]:
        assert line[1] == "12"
        assert line[2] == f"{sizes['total']['parameters']:,}"
        assert f"reached, at step 12: top-1 {line[5]}" in said[line[0]]
    assert imread(tmp_path / "both.png").size
