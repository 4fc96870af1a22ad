"""What points reached: in the table, and where their files are not as they should be."""

import json

import pytest

from tests.launch.processes import sweep, write


def test_a_point_that_diverged_comes_last(tmp_path):
    """experiments.train writes null for what is not finite."""
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
    out, err = sweep(file, f"--workdir={tmp_path}")
    assert not err
    assert out.splitlines()[-4:] == [
        "best    75.00% top1  loss 0.5000",
        "worse   25.00% top1  loss 1.5000",
        "even    25.00% top1  loss nan",
        "lost       nan top1  loss nan",
    ]


@pytest.mark.parametrize(
    ("file", "content", "said"),
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
def test_results_of_another_shape_are_named(file, content, said, tmp_path):
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
    _, err = sweep(sweep_file, f"--workdir={tmp_path}", status=2)
    (line,) = err.splitlines()
    assert line.startswith(f"error: {folder}/{file} ")
    assert said in line
