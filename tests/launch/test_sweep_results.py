"""Results of points in the table, sweep.csv and the plots, and damaged result files."""

import csv
import json
import math

import matplotlib.image
import pytest
from matplotlib.figure import Figure

from launch.sweep.plots import draw_sweep
from launch.sweep.results import Result, Row
from tests.launch.sweeps import sweep, write


def test_a_point_that_diverged_comes_last(tmp_path):
    """experiments.train writes null for values that are not finite."""
    figures = {
        "lost": (None, None),
        "worse": (0.25, 1.5),
        "best": (0.75, 0.5),
        "even": (0.25, None),
    }
    for name, (top1, loss) in figures.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "eval.json").write_text(json.dumps({"top1": top1, "loss": loss}))
    file = write(tmp_path / "sweep.json", {name: {} for name in figures})
    out, err = sweep(f"--sweep={file}", f"--workdir={tmp_path}")
    assert not err
    assert out.splitlines()[-5:-1] == [
        "best    75.00% top1  loss 0.5000",
        "worse   25.00% top1  loss 1.5000",
        "even    25.00% top1  loss nan",
        "lost       nan top1  loss nan",
    ]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", "[1]", "is no JSON object"),
        ("config.json", "{}", "does not have the command of a run"),
        ("config.json", '{"command": ["train", 1]}', "does not have the command of a run"),
        ("eval.json", "[1]", "is no JSON object"),
        ("eval.json", '{"a": 1}', "has no top1"),
        ("eval.json", '{"mAP": 0.5}', "has no loss"),
        ("eval.json", '{"top1": "0.5", "loss": 1}', "its top1 is no number"),
        ("eval.json", '{"held_out": 1}', "its held_out is no object"),
        ("eval.json", None, "can't be read: Is a directory"),
    ],
)
def test_malformed_results_are_named(file, content, message, tmp_path):
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "config.json").write_text('{"command": ["train", "--config=configs/digits.py"]}')
    (folder / "eval.json").write_text('{"top1": 0.5, "loss": 1.0}')
    (folder / file).unlink()
    if content is None:
        (folder / file).mkdir()
    else:
        (folder / file).write_text(content)
    sweep_file = write(tmp_path / "sweep.json", {"base": {}})
    _, err = sweep(f"--sweep={sweep_file}", f"--workdir={tmp_path}", status=2)
    (line,) = err.splitlines()
    assert line.startswith(f"error: {folder}/{file} ")
    assert message in line


def test_the_table_of_a_sweep_has_every_key_and_every_number(tmp_path):
    """A key that a point does not set has the value in the point's config."""
    results = {"base": {"top1": 0.5, "loss": 1}, "b": {"mAP": 0.25, "loss": None, "late": 2}}
    own = {"base": {}, "b": {"model.num_latents": 8, "data.size": [8.0, 8.0]}}
    for name, numbers in results.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "eval.json").write_text(json.dumps({"step": 7, "held_out": numbers}))
    config = {"model": {"num_latents": 32}, "data": {"size": []}}
    command = ["train", "--config=configs/digits.py", "--distributed=auto", "--workdir=elsewhere"]
    run = {"command": command, "config": config}
    (tmp_path / "base" / "config.json").write_text(json.dumps(run))
    file = write(tmp_path / "sweep.json", own)
    sweep(f"--sweep={file}", f"--workdir={tmp_path}")
    with (tmp_path / "sweep.csv").open(newline="") as lines:
        head, *rows = csv.reader(lines)
    assert ",".join(head) == "name,model.num_latents,data.size,status,step,top1,loss,mAP,late"
    assert rows == [
        ["base", "32", "()", "done", "7", "0.5", "1", "", ""],
        ["b", "8", "(8.0, 8.0)", "done", "7", "", "nan", "0.25", "2"],
    ]


def row(figure, **values):
    found = Result("top1", figure, 1.0, held_out=False, step=1, numbers={})
    return Row("x", {f"k.{key}": value for key, value in values.items()}, "done", 1, found)


@pytest.fixture
def panels(monkeypatch):
    """The axes of the drawn figures by the label of their x-axis."""
    drawn = {}
    save = Figure.savefig

    def record(figure, *arguments, **options):
        save(figure, *arguments, **options)
        drawn.update((axes.get_xlabel(), axes) for axes in figure.axes)

    monkeypatch.setattr(Figure, "savefig", record)
    return drawn


def points(axes):
    """Returns the points of each line in order."""
    return sorted([tuple(map(float, point)) for point in line.get_xydata()] for line in axes.lines)


class TestPlots:
    def test_lines_join_points_that_differ_in_one_key(self, panels, tmp_path):
        rows = [
            row(0.1, a="1", b="2"),
            row(0.4, a="100", b="3"),
            row(0.2, a="10.0", b="2"),
            row(0.3, a="1e2", b="2"),
            row(math.nan, a="7", b="2"),
            Row("failed", {"k.a": "1", "k.b": ""}, "failed", None, None),
        ]
        assert draw_sweep(tmp_path / "x.png", rows, ["k.a", "k.b"], join=True)
        joined = [(1.0, 0.1), (10.0, 0.2), (100.0, 0.3)]
        assert points(panels["a"]) == [joined, [(100.0, 0.4)]]
        assert points(panels["b"]) == [[(2.0, 0.1), (2.0, 0.2)], [(2.0, 0.3), (3.0, 0.4)]]
        assert (panels["a"].get_xscale(), panels["b"].get_xscale()) == ("log", "linear")
        assert "2 more have no figure" in panels["a"].figure.get_suptitle()
        assert matplotlib.image.imread(tmp_path / "x.png").std() > 0

    def test_random_points_are_not_joined(self, panels, tmp_path):
        rows = [row(n / 40, a=str(n + 1), b="1") for n in range(30)]
        assert draw_sweep(tmp_path / "x.png", rows, ["k.a", "k.b"], join=False)
        (line,) = panels["a"].lines
        assert line.get_linestyle() == "None"
        assert [axes.get_xlabel() for axes in panels["a"].figure.axes] == ["a"]
        ticks = [text.get_text() for text in panels["a"].get_xticklabels()]
        assert {"1", "2", "5", "10", "20"} <= set(ticks)

    def test_words_are_in_the_order_of_the_sweep(self, panels, tmp_path):
        rows = [row(0.1, a="sgd"), row(0.2, a="lamb"), row(0.3, a="$x$ & $y_")]
        assert draw_sweep(tmp_path / "x.png", rows, ["k.a"], join=True)
        assert points(panels["a"]) == [[(0.0, 0.1), (1.0, 0.2), (2.0, 0.3)]]
        ticks = [text.get_text() for text in panels["a"].get_xticklabels()]
        assert ticks == ["sgd", "lamb", "$x$ & $y_"]

    def test_without_two_values_there_is_nothing_to_draw(self, tmp_path):
        rows = [row(0.1, a="1"), row(0.2, a="1.0")]
        assert not draw_sweep(tmp_path / "x.png", rows, ["k.a"], join=True)
        assert not list(tmp_path.iterdir())
