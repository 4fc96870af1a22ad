"""Runs prepare_data: its report, user errors, and recovery from kill -9."""

import hashlib
import os
import shutil
import signal
import time

import pytest

from experiments import prepare_data
from experiments.cli.main import call
from tests.processes import exit_status, finish, run, start, start_python

COUNT = 24


@pytest.fixture(scope="module")
def lists(tmp_path_factory, audioset_metadata, files):
    """A list with COUNT clips, whose files are copies of two real videos."""
    folder = tmp_path_factory.mktemp("lists")
    shutil.copy(audioset_metadata / "class_labels_indices.csv", folder)
    lines = (audioset_metadata / "eval_segments.csv").read_text().splitlines()[: 3 + COUNT + 1]
    (folder / "eval_segments.csv").write_text("\n".join(lines))
    contents = [files / "videos/friday.mp4", files / "videos/bbaf2n.mpg"]
    (folder / "clips").mkdir()
    for number, line in enumerate(lines[3 : 3 + COUNT]):
        video, begin = line.split(", ")[:2]
        shutil.copy(contents[number % 2], folder / "clips" / f"{video}_{begin}.mp4")
    return folder


def arguments(lists, out, *more):
    return [
        "audioset",
        f"--csv={lists}/eval_segments.csv",
        f"--classes={lists}/class_labels_indices.csv",
        f"--clips={lists}/clips",
        f"--out={out}",
        "--shards=8",
        *more,
    ]


def digests(out):
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
def test_after_kills_the_result_has_the_same_bytes(lists, tmp_path):
    report = f"eval: {COUNT + 1} listed, {COUNT} found, {COUNT} decoded, 0 failed"
    out, err = run("prepare_data", *arguments(lists, tmp_path / "whole"))
    assert out.splitlines()[0] == report
    assert err == ""

    broken = tmp_path / "broken"
    reports = broken / "preparation" / "eval" / "reports"
    for wanted in (1, 4):  # completed shards at the time of the kill
        process = start("prepare_data", *arguments(lists, broken), start_new_session=True)
        while not reports.is_dir() or len(list(reports.glob("?????.json"))) < wanted:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        finish(process, -signal.SIGKILL)
        assert not (broken / "dataset_info.json").exists()
    done = {path: path.stat().st_mtime_ns for path in reports.iterdir()}
    assert len(done) < 8
    out, _ = run("prepare_data", *arguments(lists, broken))
    assert out.splitlines()[0] == report
    assert digests(broken) == digests(tmp_path / "whole")
    assert all(path.stat().st_mtime_ns == time for path, time in done.items())


USER_ERRORS = {
    "no command": (
        [],
        ["a subcommand (audioset, clips, modelnet, imagenet) comes before", "--help"],
    ),
    "unknown command": (["audiset"], ["'audiset'", "audioset"]),
    "no list": (["audioset", "--classes=c", "--clips=d", "--out={tmp}/o"], ["--csv"]),
    "unknown flag": (
        ["clips", "--dir=d", "--out={tmp}/o", "--ned=sound"],
        ["unknown flag --ned: did you mean --need?"],
    ),
    "unknown need": (["clips", "--dir=d", "--out={tmp}/o", "--need=sond"], ["sond", "sound"]),
    "no such list": (
        ["audioset", "--csv=x_segments.csv", "--classes=c", "--clips=d", "--out={tmp}/o"],
        ["'c' does not exist", "audioset/download.html"],
    ),
    "no such list, and no classes": (
        ["audioset", "--csv=x/y_segments.csv", "--clips=d", "--out={tmp}/o"],
        ["'x/y_segments.csv' does not exist"],
    ),
    "no such folder": (["clips", "--dir=nowhere", "--out={tmp}/o"], ["'nowhere' does not exist"]),
    "no time": (["clips", "--dir=d", "--out={tmp}/o", "--seconds=0"], ["seconds is 0"]),
    "Beam for pictures": (
        ["imagenet", "--archives=d", "--out={tmp}/o", "--", "--runner=x"],
        ["'--runner=x'", "without Beam"],
    ),
}


@pytest.mark.parametrize("name", USER_ERRORS)
def test_a_user_error_is_one_line(tmp_path, capsys, name):
    arguments, messages = USER_ERRORS[name]
    assert exit_status(prepare_data, [a.format(tmp=tmp_path) for a in arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert all(message in err for message in messages), err
    assert not (tmp_path / "o").exists()


def test_classes_are_read_from_the_folder_of_the_first_list(tmp_path, capsys):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for folder in ("a", "b"):
        (tmp_path / folder / f"{folder}_segments.csv").write_text('x, 0, 10, "/m/b"\n')
    (tmp_path / "b" / "class_labels_indices.csv").write_text("index,mid,display_name\n0,/m/b,B\n")
    lists = {name: f"--csv={tmp_path}/{name}/{name}_segments.csv" for name in "ab"}
    rest = (f"--clips={tmp_path}", f"--out={tmp_path}/out")
    messages = {
        (lists["a"], lists["b"]): "a/a_segments.csv: its folder has no class_labels_indices.csv",
        (lists["b"], lists["a"]): "none of the 1 clips",  # the classes were found
        (lists["a"], f"--classes={tmp_path}/b/class_labels_indices.csv"): "none of the 1 clips",
    }
    for arguments, message in messages.items():
        assert exit_status(prepare_data, ["audioset", *arguments, *rest]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_is_one_line(lists, tmp_path):
    process = start("prepare_data", *arguments(lists, tmp_path / "out"), start_new_session=True)
    while not (tmp_path / "out/preparation/eval/reports").is_dir():
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, err = finish(process, 130)
    assert err == "stopped: run the same command again\n"
    assert not (tmp_path / "out" / "dataset_info.json").exists()


@pytest.mark.parametrize("command", ["audioset", "clips", "modelnet", "imagenet"])
def test_help_has_an_example(capsys, command):
    with pytest.raises(SystemExit) as ended:
        call(prepare_data.main, prepare_data.parser(), [command, "--help"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    begin = f"example: python -m experiments.prepare_data {command} --"
    (example,) = [line for line in lines if line.startswith(begin)]
    folder = {"modelnet": "tfds", "imagenet": "tfds", "audioset": "audioset", "clips": "recordings"}
    # The example is a single line. Other lines fit a terminal.
    assert f"--out=data/{folder[command]}" in example.split()
    assert lines[-1] == example
    assert max(len(line) for line in lines if line != example) <= 100


def test_without_beam_the_error_names_the_package(files, tmp_path):
    program = (
        "import sys; sys.modules['apache_beam'] = None; "
        "import runpy; runpy.run_module('experiments.prepare_data', run_name='__main__')"
    )
    clips = ("clips", f"--dir={files / 'sounds'}", f"--out={tmp_path}/o")
    _, err = finish(start_python("-c", program, *clips), 2)
    assert err.startswith("error: Apache Beam is not installed: run ")
    assert "'.[train]'" in err


@pytest.mark.slow
def test_after_a_full_disk_the_work_continues(lists, tmp_path):
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000,) * 2); "
        "import runpy; runpy.run_module('experiments.prepare_data', run_name='__main__')"
    )
    out = tmp_path / "out"
    _, err = finish(start_python("-c", program, *arguments(lists, out)), 2)
    assert "clips-eval.tfrecord-0000" in err
    assert err.count("\n") == 1
    assert "goes on where it stopped" in err
    finish(start("prepare_data", *arguments(lists, out)))
    assert (out / "dataset_info.json").exists()
