"""Predictions for files agree with evaluation; damaged files are named and the rest predicted."""

import json
import math
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from experiments import predict
from experiments.predict import predictions
from experiments.run import input_files
from perceiver import library
from perceiver.data.clips.preparation.prepare import CLIP_FILES
from perceiver.data.images.pictures import PICTURES
from perceiver.data.single_files import Reading
from tests.experiments import small_data
from tests.processes import ROOT, TINY, exit_status, finish, run, start_python

pytestmark = pytest.mark.usefixtures("open_decoders", "quick_compilation")

NOBODY = 65534
SMALL = [
    "--config.model.num_latents=4",
    "--config.model.latent_channels=16",
    "--config.model.self_attends_per_tower=1",
    "--config.train.steps=5",
    "--config.train.batch_size=4",
    "--config.train.checkpoint_every=5",
    "--config.eval.batch_size=4",
]
# Name: config, function that makes data, folder of evaluation files, options. Sizes do not divide
# each other.
RUNS = {
    "pictures": ("folder.py", small_data.pictures, "val", ["image_size=16"]),
    "mel": (
        "folder.py:mel",
        small_data.sounds_and_videos,
        "val",
        ["clip_frames=8", "eval_windows=3", "prepared={}/prepared"],
    ),
    "points": ("folder.py:points", small_data.meshes, "val", ["num_points=36"]),
    "audioset": (
        "audioset.py:mel_video",
        small_data.audioset,
        "clips",
        ["clip_frames=8", "eval_windows=3", "image_size=16"],
    ),
}


def train_on(name, folder):
    """Makes data and trains on it; returns the workdir and the folder of evaluation files."""
    config, make, files, options = RUNS[name]
    data = folder / "data"
    data.mkdir(exist_ok=True)
    make(data)
    options = [f"--config.data.{option.format(folder)}" for option in options]
    arguments = [f"--config=configs/{config}", f"--workdir={folder}/run"]
    run("train", *arguments, f"--config.data.dir={data}", *SMALL, *options)
    return folder / "run", data / files


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return train_on("pictures", tmp_path_factory.mktemp("pictures"))


def as_lines(capsys, *arguments, status=0):
    """Returns predictions, read from JSON lines, and stderr."""
    capsys.readouterr()
    assert exit_status(predict, ["--format=jsonl", *map(str, arguments)]) == status
    out, err = capsys.readouterr()
    return [json.loads(line) for line in out.splitlines()], err


def test_predictions_of_pictures_agree_with_evaluation(pictures, capsys):
    """eval.json is the reference; the folder of a file is its label."""
    workdir, files = pictures
    result = json.loads((workdir / "eval.json").read_text())
    found, err = as_lines(capsys, f"--workdir={workdir}", files)
    assert err == ""
    assert len(found) == result["num_examples"] == 6
    assert [line["file"] for line in found] == sorted(map(str, files.glob("*/*")))
    label_scores = [
        dict(zip(line["classes"], line["scores"], strict=True))[Path(line["file"]).parent.name]
        for line in found
    ]
    right = [line["classes"][0] == Path(line["file"]).parent.name for line in found]
    assert sum(right) / 6 == pytest.approx(result["top1"])
    assert np.mean([-math.log(score) for score in label_scores]) == pytest.approx(
        result["loss"], abs=1e-5
    )
    for line in found:
        assert sum(line["scores"]) == pytest.approx(1, abs=1e-5)
        assert line["scores"] == sorted(line["scores"], reverse=True)
        assert "windows" not in line


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mel", "points"])
def test_predictions_of_sounds_and_clouds_agree_with_evaluation(name, tmp_path, capsys):
    """The loss of a clip is computed from the mean of the probabilities of its windows."""
    workdir, files = train_on(name, tmp_path)
    result = json.loads((workdir / "eval.json").read_text())
    found, _ = as_lines(capsys, f"--workdir={workdir}", "--batch_size=4", files)
    assert len(found) == result["num_examples"]
    label_scores = [
        dict(zip(line["classes"], line["scores"], strict=True))[Path(line["file"]).parent.name]
        for line in found
    ]
    assert np.mean([-math.log(score) for score in label_scores]) == pytest.approx(
        result["loss"], abs=1e-5
    )
    assert {line.get("windows") for line in found} == {3 if name == "mel" else None}


@pytest.mark.slow
def test_predictions_of_several_labels_agree_with_evaluation(tmp_path, capsys):
    workdir, clips = train_on("audioset", tmp_path)
    result = json.loads((workdir / "eval.json").read_text())
    files = sorted(clips.glob("-eval*"))
    found, _ = as_lines(capsys, f"--workdir={workdir}", "--", *files)
    losses = []
    for number, line in enumerate(found):
        scores = dict(zip(line["classes"], line["scores"], strict=True))
        male_score = scores["Male speech, man speaking"]
        losses.append(-math.log(scores["Speech"]))
        losses.append(-math.log(male_score if number % 2 else 1 - male_score))  # see `small_data`
        assert line["windows"] == 3
    assert np.mean(losses) == pytest.approx(result["loss"], abs=1e-5)
    assert exit_status(predict, [f"--workdir={workdir}", "--top=1", "--", str(files[0])]) == 0
    head, *_ = capsys.readouterr().out.splitlines()
    assert head == "Scores are probabilities of one class each: several may be there at once."


def test_table_of_predictions(pictures, capsys):
    """Long names have a line of their own; control characters are escaped."""
    workdir, files = pictures
    with tempfile.TemporaryDirectory() as folder:
        short, long = Path(folder, "\x1b[2J.jpg"), Path(folder, "x" * 200 + ".jpg")
        for path in (short, long):
            path.write_bytes((files / "a class" / "0.jpg").read_bytes())
        assert exit_status(predict, [f"--workdir={workdir}", str(short), str(long)]) == 0
    head, first, second, *others = capsys.readouterr().out.splitlines()
    assert head.split() == ["file", "score", "class"]
    column = head.index("score") + len("score")
    assert first.startswith(str(short).replace("\x1b", "\\x1b"))
    assert {line[column - 1] for line in (first, second)} == {"%"}
    assert {line[column:].strip() for line in (first, second)} == {"a class", "-another"}
    assert others == [str(long), f"{'':{column - 7}}{first[column - 7 :]}", second]


def test_unreadable_files_are_named_and_the_rest_is_predicted(pictures, tmp_path, capsys):
    workdir, files = pictures
    whole = (files / "a class" / "0.jpg").read_bytes()
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "back").symlink_to(tmp_path)
    (tmp_path / ".hidden").mkdir()
    for name in ("b.JPG", "deep/er/c.jpeg", "deep/it's {x}.png", ".hidden/d.jpg", ".e.jpg"):
        (tmp_path / name).write_bytes(whole)
    damaged = {"cut.jpg": whole[:300], "empty.png": b"", "text.png": b"Dear Sir or Madam"}
    for name, content in damaged.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "loop.png").symlink_to("loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "notes.txt").write_text("nothing\n")
    (tmp_path / "any name").write_bytes(whole)

    absent, odd = tmp_path / "two\nlines.jpg", tmp_path / "any name"
    found, err = as_lines(capsys, absent, f"--workdir={workdir}", tmp_path, odd, status=1)
    assert [Path(line["file"]).relative_to(tmp_path).as_posix() for line in found] == [
        "b.JPG",
        "deep/it's {x}.png",
        "deep/er/c.jpeg",
        "any name",
    ]
    assert len({tuple(line["scores"]) for line in found}) == 1  # the same picture
    lines = [line for line in err.splitlines() if not line.startswith("Improper call")]
    assert lines[0].startswith("files of other kinds that are left out: 2; these are read: .jpg,")
    assert lines[1] == (
        f"left out: {tmp_path}/two\\nlines.jpg: cannot be read (No such file or directory): "
        "replace or remove it"
    )
    left_out = [*sorted([*damaged, "loop.png", "pipe.png"])]
    for line, name in zip(lines[2:-1], left_out, strict=True):
        assert line.startswith(f"left out: {tmp_path}/{name}: ")
    assert lines[-1] == "files done: 4; left out: 6"

    found, err = as_lines(capsys, f"--workdir={workdir}", tmp_path / "cut.jpg", status=2)
    assert found == []
    assert "files done: 0; left out: 1" in err


def test_folders_without_read_permission_are_named():
    """The process becomes user nobody if it is root."""
    with tempfile.TemporaryDirectory() as folder:
        closed = Path(folder, "closed")
        closed.mkdir()
        Path(folder, "a.jpg").touch()
        Path(folder).chmod(0o755)
        closed.chmod(0)
        root = os.geteuid() == 0
        if root:
            os.seteuid(NOBODY)
        try:
            found = input_files.find([folder], PICTURES)
        finally:
            if root:
                os.seteuid(0)
            closed.chmod(0o700)
    assert found.files == [f"{folder}/a.jpg"]
    assert found.problems == [f"{closed}: cannot be listed (Permission denied)"]


def test_each_folder_is_searched_once(tmp_path):
    for name in ("b/2.png", "b/10.PNG", "a/z.png", "c.png", "a/clip.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "d").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "up").symlink_to("..")
    words = [str(tmp_path), str(tmp_path / "a" / "clip.mp4")]
    found = input_files.find(words, PICTURES)
    below = [os.path.relpath(file, tmp_path) for file in found.files]
    assert below == ["c.png", "a/z.png", "b/10.PNG", "b/2.png", "a/clip.mp4"]
    assert (found.others, found.problems) == (1, [])
    assert [*map(os.path.basename, input_files.find([str(tmp_path)], CLIP_FILES).files)] == [
        "clip.mp4"
    ]


def test_read_returns_inputs_of_the_network(pictures):
    """The output of `read` is an input of the network."""
    workdir, files = pictures
    classifier = library.load(workdir)
    inputs = input_files.read(classifier, files / "a class" / "0.jpg")
    assert inputs["image"].shape == (1, *classifier.inputs["image"].shape)
    assert classifier.probabilities(inputs).shape == (1, 2)


USER_ERRORS = {
    "no file": (["--workdir={run}"], "no file or folder is given, as in: "),
    "no workdir": (["a.jpg"], "--workdir is missing, as in: "),
    "standard input": (["--workdir={run}", "-"], "'-' is no file"),
    "a folder of other files": (
        ["--workdir={run}", "{run}/checkpoints"],
        "no file to read in {run}",
    ),
    "no such run": (["--workdir={run}/absent", "a.jpg"], "{run}/absent is not a run"),
    "a file as run": (["--workdir={run}/eval.json", "a.jpg"], "{run}/eval.json"),
    "an unsaved step": (["--workdir={run}", "--checkpoint=3", "a.jpg"], "3"),
    "a word as step": (["--workdir={run}", "--checkpoint=last", "a.jpg"], "newest, best"),
    "no class": (["--workdir={run}", "--top=0", "a.jpg"], "--top=0: give at least 1"),
    "no batch": (["--workdir={run}", "--batch_size=0", "a.jpg"], "--batch_size=0: give at least 1"),
    "an unknown format": (
        ["--workdir={run}", "--format=xml", "a.jpg"],
        "--format=xml: invalid choice: 'xml'",
    ),
    "an unknown flag": (
        ["--workdir={run}", "--tops=1", "a.jpg"],
        "unknown flag --tops: did you mean --top?",
    ),
}


@pytest.mark.parametrize("name", USER_ERRORS)
def test_a_user_error_is_one_line(name, pictures, capsys):
    arguments, line = USER_ERRORS[name]
    capsys.readouterr()
    assert exit_status(predict, [argument.format(run=pictures[0]) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    *others, last = err.splitlines()
    assert last.startswith("error: ")
    assert line.format(run=pictures[0]) in last
    assert [other.split(":")[0] for other in others] == (
        ["files of other kinds that are left out"] if "folder of" in name else []
    )


def test_windows_are_averaged_over_batches():
    """Means by hand of 5 files of 3 windows in batches of 4; the last batch is padded."""
    values = np.arange(15, dtype=np.float32).reshape(5, 3, 1)
    batches = []

    def probabilities(inputs):
        batches.append(inputs["a"].shape)
        np.testing.assert_array_equal(inputs["a"] * 2, inputs["b"])
        return np.concatenate([inputs["a"], inputs["a"] ** 2], axis=1)

    started = []

    def readings():
        for number, value in enumerate(values):
            started.append(number)
            yield str(number), Reading({"a": value, "b": 2 * value})

    found = predictions(probabilities, readings(), 4)
    first = next(found)
    assert started == [0, 1]  # a file is predicted as soon as its batch is complete
    everything = [first, *found]
    assert [(p.file, p.windows) for p in everything] == [(str(n), 3) for n in range(5)]
    np.testing.assert_allclose(
        [p.scores for p in everything],
        [(1, 5 / 3), (4, 50 / 3), (7, 149 / 3), (10, 302 / 3), (13, 509 / 3)],
    )
    assert batches == [(4, 1)] * 4


def test_help_and_json_lines_of_the_program(pictures, tmp_path):
    """Runs from another folder: the help, and JSON lines through a pipe that is closed early."""
    environment = {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    command = ["-m", "experiments.predict"]
    out, _ = finish(start_python(*command, "--help", cwd=tmp_path, environment=environment))
    assert out.rstrip().endswith(
        "python -m experiments.predict --workdir=runs/mine --top=3 picture.jpg folder/"
    )
    workdir, files = pictures
    arguments = [f"--workdir={workdir}", "--format=jsonl", "--batch_size=1", "--top=1", str(files)]
    with start_python(*command, *arguments, cwd=tmp_path, environment=environment) as process:
        first = json.loads(process.stdout.readline())
        process.stdout.close()
        assert process.stderr.read() == ""
    assert first["file"] == str(files / "-another" / "0.jpg")
    assert len(first["classes"]) == len(first["scores"]) == 1


@pytest.mark.slow
def test_a_digits_network_accepts_files(tmp_path, capsys):
    """A network trained on data without files accepts files too."""
    run("train", *TINY, f"--workdir={tmp_path}/run")
    small_data.pictures(tmp_path)
    found, _ = as_lines(capsys, f"--workdir={tmp_path}/run", tmp_path / "val", "--top=20")
    assert len(found) == 6
    assert sorted(found[0]["classes"]) == [str(digit) for digit in range(10)]
