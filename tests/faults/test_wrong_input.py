"""User errors: one line that says what to do, and status 2, before anything compiles."""

import os
import subprocess

import pytest
from PIL import Image

from tests.faults.conftest import NOBODY

DIGITS = ["--config=configs/digits.py"]
FOLDER = ["--config=configs/folder.py"]
READABLE = [*FOLDER, "--config.data.dir={tmp}/readable"]
NOT_SMOOTHED = ["--config.train.label_smoothing=0.0"]

# Program, arguments, and parts of the error message. {tmp} is an empty folder.
USER_ERRORS = {
    "no config": ("train", ["--workdir={tmp}/run"], ["--config is missing", "--config=configs/"]),
    "no workdir": ("train", DIGITS, ["--workdir is missing"]),
    "no such config": (
        "train",
        ["--config=configs/digit.py", "--workdir={tmp}/run"],
        ["configs/digit.py", "did you mean 'configs/digits.py'?"],
    ),
    "not a config": (
        "train",
        ["--config=configs/base.py", "--workdir={tmp}/run"],
        ["configs/base.py is not a config"],
    ),
    "unknown variant": (
        "train",
        ["--config=configs/modelnet40.py:smal", "--workdir={tmp}/run"],
        ["unknown variant 'smal'", "did you mean 'small'?"],
    ),
    "a key of another network": (
        "model_table",
        ["--config=configs/modelnet40.py:small_vit", "--config.model.num_latents=8"],
        ["model.num_latents", "did you mean"],
    ),
    "a fractional number of blocks": (
        "model_table",
        ["--config=configs/imagenet.py:resnet", "--config.model.blocks=(3, 4, 6, 1.5)"],
        ["config.model.blocks takes whole numbers, not 1.5"],
    ),
    "a table of an impossible network": (
        "model_table",
        ["--config=configs/imagenet.py:vit", "--config.model.heads=7"],
        ["heads is 7, which does not divide channels, 768"],
    ),
    "unknown key": (
        "train",
        [*DIGITS, "--workdir={tmp}/run", "--config.train.batchsize=8"],
        ["train.batchsize", "did you mean 'train.batch_size'?"],
    ),
    "a section": (
        "train",
        [*DIGITS, "--workdir={tmp}/run", "--config.train=8"],
        ["config.train is a section"],
    ),
    "wrong type": (
        "train",
        [*DIGITS, "--workdir={tmp}/run", "--config.train.batch_size=many"],
        ["config.train.batch_size", "many"],
    ),
    "unknown flag": (
        "train",
        [*DIGITS, "--workdir={tmp}/run", "--wrkdir=x"],
        ["wrkdir", "workdir"],
    ),
    "not a flag": ("train", [*DIGITS, "--workdir={tmp}/run", "now"], ["'now' is not a flag"]),
    "text for numbers": (
        "train",
        [*FOLDER, "--workdir={tmp}/run", "--config.data.crop_area=(0.5"],
        ["config.data.crop_area takes numbers", "not '(0.5'"],
    ),
    "unknown optimiser": (
        "train",
        [*DIGITS, "--workdir={tmp}/run", "--config.optimizer.name=lamp"],
        ["unknown optimizer 'lamp'", "did you mean 'lamb'?"],
    ),
    "unknown data set": (
        "train",
        [*DIGITS, "--workdir={tmp}/run", "--config.data.name=digit"],
        ["unknown data set 'digit'", "did you mean 'digits'?"],
    ),
    "sizes that do not fit": (
        "train",
        [*DIGITS, "--workdir={tmp}/run", "--config.model.self_heads=7"],
        ["self_heads is 7", "64"],
    ),
    "no length": (
        "train",
        [*DIGITS, "--workdir={tmp}/run", "--config.train.epochs=0"],
        ["config.train.steps or config.train.epochs"],
    ),
    "no data": (
        "train",
        [*FOLDER, "--workdir={tmp}/run", "--config.data.dir={tmp}/none"],
        ["{tmp}/none"],
    ),
    "an empty class": (
        "train",
        [*FOLDER, "--workdir={tmp}/run", "--config.data.dir={tmp}/pictures"],
        ["{tmp}/pictures/cat"],
    ),
    "no point clouds": (
        "train",
        ["--config=configs/modelnet40.py", "--workdir={tmp}/run", "--config.data.dir={tmp}/none"],
        ["{tmp}/none", "modelnet40_ply_hdf5_2048"],
    ),
    "a batch size not divisible by the devices": (
        "train",
        [*DIGITS, "--workdir={tmp}/run", "--config.train.batch_size=12"],
        ["config.train.batch_size=12", "8 devices", "multiple of 8"],
    ),
    "mixing with an odd batch size": (
        "benchmark",
        ["data", *READABLE, "--config.train.batch_size=7", "--config.data.mixup_alpha=0.2"],
        ["batch_size is 7", "mixed in pairs", "even"],
    ),
    "a share of unreadable files above 1": (
        "show_data",
        [*READABLE, "--out={tmp}/sheet.png", "--config.train.max_unreadable=1.5"],
        ["max_unreadable is 1.5"],
    ),
    "labels of another loss": (
        "train",
        [*READABLE, "--workdir={tmp}/run", "--config.train.loss=sigmoid", *NOT_SMOOTHED],
        ["'image_folder' gives image, label; the sigmoid loss takes labels"],
    ),
    "a file as workdir": (
        "train",
        [*DIGITS, "--workdir={tmp}/file"],
        ["{tmp}/file is a file; give a folder"],
    ),
    "a workdir of an unknown user": (
        "train",
        [*DIGITS, "--workdir=~nosuchuser/run"],
        ["--workdir=~nosuchuser/run", "give the folder's path"],
    ),
    "a workdir in a bucket": (
        "train",
        [*DIGITS, "--workdir=gs://bucket/run"],
        ["--workdir=gs://bucket/run is no folder; mount the storage"],
    ),
    "evaluation without checkpoints": (
        "evaluate",
        [*DIGITS, "--workdir={tmp}/none"],
        ["{tmp}/none has no checkpoints"],
    ),
    "not a checkpoint": (
        "evaluate",
        [*DIGITS, "--workdir={tmp}", "--config.eval.checkpoint=last"],
        ["config.eval.checkpoint=last is not newest, best or a step"],
    ),
    "a superscript digit as step": (
        "evaluate",
        [*DIGITS, "--workdir={tmp}", "--config.eval.checkpoint=²"],
        ["config.eval.checkpoint=² is not newest, best or a step"],
    ),
    "an empty evaluation batch": (
        "evaluate",
        [*DIGITS, "--workdir={tmp}", "--config.train.batch_size=0"],
        ["config.train.batch_size=0; give at least 1"],
    ),
    "a negative picture size": (
        "model_table",
        [*DIGITS, "--config.data.image_size=-3"],
        ["config.data.image_size=-3; give at least 1"],
    ),
    "overrides without a config": (
        "model_table",
        ["--config.model.num_latents=3"],
        ["--config=FILE is missing"],
    ),
}


@pytest.mark.parametrize("name", USER_ERRORS)
def test_a_user_error_is_one_line(name, tmp_path, mains):
    for folder in ("cat", "dog"):
        (tmp_path / "pictures" / folder).mkdir(parents=True)
        (tmp_path / "readable" / folder).mkdir(parents=True)
        for i in range(5):
            Image.new("RGB", (9, 9), (i, i, i)).save(tmp_path / "readable" / folder / f"{i}.png")
    (tmp_path / "pictures" / "dog" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "file").touch()
    main, arguments, parts = USER_ERRORS[name]
    line = mains.refusal(main, *(a.format(tmp=tmp_path) for a in arguments))
    for part in parts:
        assert part.format(tmp=tmp_path) in line
    assert not os.path.exists(tmp_path / "run" / "checkpoints")
    assert not os.path.exists(tmp_path / "run" / "config.json")


@pytest.mark.parametrize("main", ["train", "evaluate", "model_table", "show_data"])
def test_help_shows_an_example(main, mains):
    status, out, err = mains(main, "--help")
    assert status == 0
    assert f"python -m experiments.{main} --config=configs/" in out + err
    assert "--config" in out + err


# Folders that this process may not write to.


@pytest.fixture
def read_only(tmp_path):
    """A file system that is read-only even for root."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("below", ["", "/new/run"])
def test_a_read_only_workdir_is_refused(below, read_only, mains):
    line = mains.refusal("train", *DIGITS, f"--workdir={read_only}{below}")
    assert f"--workdir={read_only}{below} can't be written: Read-only file system" in line


@pytest.mark.parametrize("below", ["", "/new/run"])
def test_a_workdir_of_another_user_is_refused(below, public_folder, mains):
    theirs = public_folder / "theirs"
    theirs.mkdir(mode=0o755)
    if os.geteuid():
        theirs.chmod(0o555)
    line = mains.refusal(
        "train", *DIGITS, f"--workdir={theirs}{below}", user=None if os.geteuid() else NOBODY
    )
    assert f"--workdir={theirs}{below} can't be written: Permission denied" in line
    assert not list(theirs.iterdir())


def test_an_output_on_a_read_only_disk_is_refused(read_only, mains):
    line = mains.refusal("show_data", *DIGITS, f"--out={read_only}/sheet.png")
    assert f"--out={read_only}/sheet.png can't be written: Read-only file system" in line


@pytest.mark.parametrize(
    ("main", "arguments"),
    [
        ("show_data", [*DIGITS, "--out=~nobody-here/sheet.png"]),
        ("evaluate", [*DIGITS, "--workdir=~nobody-here/run"]),
        ("show_data", [*FOLDER, "--out=sheet.png", "--config.data.dir=~nobody-here/data"]),
    ],
)
def test_the_home_of_an_unknown_user_is_refused(main, arguments, mains):
    line = mains.refusal(main, *arguments)
    flag = next(x for x in arguments if "~" in x).removeprefix("--config.")
    assert f"{flag}: there is no" in line
    assert "give the folder's path" in line
