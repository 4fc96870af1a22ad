"""Known failures and the lines that report them: memory, devices, packages, Python, Ctrl-C."""

import os
import resource
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.cli import environment
from experiments.cli.config_files import load_config
from experiments.cli.errors import exit_on_error, is_out_of_memory, out_of_memory, unused_gpu
from experiments.run.from_config import check_data, data_options, from_config
from perceiver.data import registry
from perceiver.errors import InputError
from tests.processes import ROOT, finish, start, start_python

REMEDIES = ("train.batch_size", "train.accumulate=4", "model.remat=block", "model.dtype=bfloat16")


def raised_by(function):
    with pytest.raises(Exception) as raised:  # noqa: PT011
        function()
    return raised.value


# Memory.


@pytest.mark.parametrize(
    ("fill", "size"),
    [
        (lambda: np.ones(2**58, np.uint8), "256 PiB"),
        (jax.jit(lambda: jnp.ones(10**13, jnp.float32)), "40 TB"),
    ],
)
def test_a_failed_allocation_is_one_line_with_remedies(fill, size, capsys):
    error = raised_by(fill)
    assert is_out_of_memory(error)
    with pytest.raises(SystemExit) as end, exit_on_error():
        raise error
    assert end.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"error: {out_of_memory(error)}"
    assert f"(for {size} at once)" in line
    for remedy in REMEDIES:
        assert remedy in line


@pytest.mark.parametrize(
    "fail", [lambda: 1 / 0, lambda: jnp.zeros(3) + jnp.zeros(4), lambda: {}[0]]
)
def test_other_errors_pass_through(fail):
    assert not is_out_of_memory(raised_by(fail))
    with pytest.raises((ZeroDivisionError, TypeError, KeyError)), exit_on_error():
        fail()


@pytest.mark.slow
def test_a_batch_that_exceeds_the_memory_is_one_line_with_remedies(tmp_path):
    """A step of 20,000 examples takes 18 GB; the limit of the process is 9 GB."""
    limit = 9 * 10**9
    process = start(
        "train",
        "--config=configs/digits.py",
        f"--workdir={tmp_path}/run",
        "--config.train.batch_size=20000",
        optimised=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    _, err = finish(process, status=1)
    assert "Traceback" not in err
    line = err.splitlines()[-1]
    assert line.startswith("error: out of memory (for ")
    assert all(remedy in line for remedy in REMEDIES)


# Devices.


@pytest.mark.parametrize("platform", ["cuda", "gpuu"])
def test_a_platform_without_devices_is_an_error(platform, tmp_path):
    arguments = ["--config=configs/digits.py", f"--workdir={tmp_path}/run"]
    process = start("train", *arguments, environment={"JAX_PLATFORMS": platform})
    out, err = finish(process, status=2)
    (line,) = err.splitlines()
    assert out == ""
    assert line.startswith(f"error: JAX_PLATFORMS={platform} asks for devices that JAX can't use")
    assert "unset it" in line
    assert "pip install -e '.[train,gpu]'" in line


def test_a_gpu_that_jax_cannot_use_is_reported(tmp_path):
    for name in ("null", "nvidiactl", "nvidia-uvm"):  # a machine without a GPU may have these
        (tmp_path / name).touch()
    assert unused_gpu(tmp_path, {}) == ""
    (tmp_path / "nvidia0").touch()
    if any("cuda" in name for name in os.listdir(os.path.dirname(jax.__file__) + "/..")):
        assert unused_gpu(tmp_path, {}) == ""
        return
    assert "pip install -e '.[train,gpu]' -c constraints.txt" in unused_gpu(tmp_path, {})
    assert len(unused_gpu(tmp_path, {}).splitlines()) == 1
    for variables in ({"JAX_PLATFORMS": "cpu"}, {"CUDA_VISIBLE_DEVICES": ""}):
        assert unused_gpu(tmp_path, variables) == ""


# Python and its packages.


@pytest.mark.parametrize("version", [(3, 6, 15), (3, 9, 18), (3, 10, 13)])
def test_an_old_python_is_an_error(version):
    message = environment.version_problem(version)
    assert f"is Python {'.'.join(map(str, version))}, needed is 3.11 or later" in message
    assert ".venv/bin/activate" in message
    assert len(message.splitlines()) == 1


def test_supported_pythons_match_pyproject():
    assert [environment.version_problem(v) for v in ((3, 11, 0), (3, 13, 1), (4, 0, 0))] == [
        None
    ] * 3
    assert f'requires-python = ">={".".join(map(str, environment.OLDEST))}' in (
        ROOT / "pyproject.toml"
    ).read_text("utf-8")


@pytest.mark.parametrize("main", ["train", "report", "prepare_data"])
def test_a_python_without_the_packages_is_an_error(main):
    """-S hides the installed packages, as in a Python outside of the environment."""
    out, err = finish(start_python("-S", "-m", f"experiments.{main}"), status=2)
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith(f"error: {sys.executable} has no package jax, haiku")
    assert line.endswith(".venv/bin/activate")


def test_a_missing_optional_package_is_an_error(capsys):
    with pytest.raises(SystemExit) as end, exit_on_error():
        import a_package_of_nobody.part  # noqa: F401
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "has no package a_package_of_nobody: run pip install -e '.[train]'" in line
    with pytest.raises(ModuleNotFoundError), exit_on_error():
        import experiments.of_nobody  # noqa: F401


# Ctrl-C while a program starts.


def test_an_interrupt_during_the_imports_is_one_line():
    code = "import sys; sys.argv = ['-m']; import experiments; 0 / input()"
    _, err = finish(start_python("-c", code, stdin=subprocess.DEVNULL), status=1)
    assert "EOFError" in err  # other errors keep their traceback
    waiting = start_python(
        "-c",
        "import sys, time; sys.argv = ['-m']; import experiments\n"
        "print('ready', flush=True); time.sleep(60)",
    )
    assert waiting.stdout.readline() == "ready\n"
    waiting.send_signal(signal.SIGINT)
    _, err = finish(waiting, status=-signal.SIGINT, timeout=30)
    assert err == "interrupted\n"


# Data and runs.


def test_an_input_error_is_one_line(capsys):
    with pytest.raises(SystemExit) as end, exit_on_error():
        raise InputError("runs/a is no run")
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: runs/a is no run\n"


def test_a_single_class_is_refused(tmp_path, add_pictures):
    add_pictures(tmp_path / "cat", 12)
    config = load_config("configs/folder.py")
    config.data.dir = str(tmp_path)
    dataset = registry.load(**data_options(config))
    with pytest.raises(InputError, match=r"one class alone, 'cat': .* at least two class folders"):
        check_data(from_config(config), dataset)


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("data/train/cat", "but 12 pictures in no class folder (is the folder above it meant?)"),
        (".", "has no pictures, but a folder 'train' (is '{tmp}/data' meant?)"),
        ("drawings", "/a' has no pictures, but .gif files: remove it or fill it"),
    ],
)
def test_a_wrong_data_folder_is_an_error_with_a_hint(folder, message, tmp_path, add_pictures):
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            add_pictures(tmp_path / "data" / split / name, 12)
    if folder == "drawings":
        (tmp_path / "drawings" / "a").mkdir(parents=True)
        (tmp_path / "drawings" / "a" / "x.gif").write_bytes(b"GIF89a")
    config = load_config("configs/folder.py")
    config.data.dir = str(tmp_path / folder)
    with pytest.raises(InputError) as raised:
        registry.load(**data_options(config))
    assert message.format(tmp=tmp_path) in str(raised.value)
    assert "the expected layout is train/<class>/*.jpg" in str(raised.value)
