"""Runs `python -m experiments.export` on a short run."""

import json
import shutil

import numpy as np
import pytest

from experiments import export
from perceiver import library
from perceiver.library import exported
from tests.processes import exit_status, run

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, tiny_run):
    """The workdir of a run of 12 steps."""
    return shutil.copytree(tiny_run, tmp_path_factory.mktemp("export") / "run")


@pytest.fixture(scope="module")
def parameters(workdir):
    """An exported file of parameters, and the output of the program."""
    out = workdir.parent / "made" / "tiny.safetensors"
    printed, _ = run("export", f"--workdir={workdir}", f"--out={out}")
    return out, printed


def digits(count):
    return np.random.default_rng(0).integers(0, 17, (count, 8, 8, 1), np.uint8)


def test_exported_parameters_give_the_same_logits(workdir, parameters):
    out, printed = parameters
    written, loading, _ = printed.splitlines()
    count = json.loads((workdir / "config.json").read_text())["parameters"]
    assert written.startswith(f"{out}: parameters, config and class names; {count:,} parameters")
    assert "step 12, " in written
    assert loading == f"load it: from perceiver import library; library.load('{out}')"
    before, after = library.load(workdir), library.load(out)
    assert after.class_names == tuple("0123456789") == before.class_names
    assert after.step == before.step == 12
    logits = np.asarray(before.logits(digits(5)))
    assert np.ptp(logits) > 0
    np.testing.assert_array_equal(after.logits(digits(5)), logits, strict=True)


def test_functions_of_a_run_and_of_its_parameters_agree(workdir, parameters):
    files = [workdir.parent / "of_run.jax", workdir.parent / "of_file.jax"]
    for source, file in zip((workdir, parameters[0]), files, strict=True):
        printed, _ = run("export", f"--workdir={source}", f"--out={file}")
        assert f"from perceiver.library import exported; exported.load('{file}')" in printed
    run_function, file_function = (exported.load(file) for file in files)
    logits = np.asarray(library.load(workdir).logits(digits(3)))
    for function in (run_function, file_function):
        np.testing.assert_allclose(function.logits(digits(3)), logits, rtol=1e-5, atol=1e-5)
        assert function.class_names == tuple("0123456789")


def test_checkpoint_size_and_platforms_can_be_chosen(workdir):
    out = workdir.parent / "chosen.jax"
    options = ["--checkpoint=8", "--batch_size=2", "--platforms=cpu,rocm"]
    run("export", f"--workdir={workdir}", f"--out={out}", *options)
    function = exported.load(out)
    assert (function.step, function.batch_size) == (8, 2)
    assert function.about["platforms"] == ["cpu", "rocm"]


def test_only_files_of_this_program_are_replaced(workdir, parameters, tmp_path):
    out = tmp_path / "mine.safetensors"
    shutil.copy(parameters[0], out)
    run("export", f"--workdir={workdir}", f"--out={out}", "--checkpoint=8")
    assert library.load(out).step == 8
    foreign = tmp_path / "thesis.safetensors"
    foreign.write_text("years of work")
    _, error = run("export", f"--workdir={workdir}", f"--out={foreign}", status=2)
    assert f"--out={foreign} is there and is no file of this program's" in error
    assert foreign.read_text() == "years of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == [out.name, foreign.name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out={t}/a.jax"], "--workdir is missing, as in: "),
        (["--workdir={run}"], "--out is missing, as in: "),
        (["--workdir={run}", "--out={t}/a.onnx"], "ends in neither of .safetensors and .jax"),
        (["--workdir={run}", "--out={t}"], "ends in neither of .safetensors and .jax"),
        (["--workdir={t}/none", "--out={t}/a.jax"], "{t}/none"),
        (["--workdir={t}/text", "--out={t}/a.jax"], "{t}/text is damaged or no safetensors file"),
        (["--workdir={run}", "--out={t}/text/a.jax"], "--out={t}/text/a.jax can't be written"),
        (["--workdir={run}", "--out={t}/a.jax", "--checkpoint=last"], "--checkpoint=last is not"),
        (["--workdir={run}", "--out={t}/a.jax", "--batch_size=0"], "batch_size is 0; give 1"),
        (
            ["--workdir={run}", "--out={t}/a.jax", "--batch_size=many"],
            "--batch_size takes a whole number, such as 64, not 'many'",
        ),
        (["--workdir={run}", "--out={t}/a.jax", "--platforms=gpu"], "unknown platform 'gpu'"),
        (["--workdir={run}", "--out={t}/a.jax", "--platforms=,"], "no platform is given"),
        (
            ["--workdir={run}", "--out={t}/a.safetensors", "--platforms=cpu"],
            "--platforms is an option of FILE.jax",
        ),
        (["--workdir={run}", "--out={t}/a.jax", "--config=x"], "unknown flag --config"),
    ],
)
def test_a_user_error_is_one_line(arguments, message, workdir, tmp_path, capsys):
    (tmp_path / "text").write_text("no network")
    places = {"run": workdir, "t": tmp_path}
    arguments = [argument.format(**places) for argument in arguments]
    assert exit_status(export, arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message.format(**places) in line
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_a_missing_checkpoint_is_named(workdir, tmp_path, capsys):
    arguments = [f"--workdir={workdir}", f"--out={tmp_path}/a.jax", "--checkpoint=7"]
    assert exit_status(export, arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "7" in line


def test_help_has_an_example():
    printed, _ = run("export", "--help")
    assert "python -m experiments.export --workdir=runs/mine --out=mine.safetensors" in printed
