"""Runs the benchmarks: their output, without TensorFlow, and user errors."""

import json

import pytest
from PIL import Image

from tests.processes import TINY, finish, run, start

NETWORK = TINY[:5]
TINIEST = [*NETWORK, "--config.model.num_cross_attends=1", "--config.model.num_towers=1"]
QUICK = ["--seconds=0.02", "--repeats=2"]


@pytest.fixture
def _without_tensorflow(tmp_path, monkeypatch):
    """Makes imports of TensorFlow fail in processes and their children."""
    for name in ("tensorflow", "tensorflow_datasets"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('TensorFlow is not wanted here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def assert_spread(values):
    assert 0 < values["min"] <= values["median"] <= values["max"]


@pytest.mark.usefixtures("_without_tensorflow")
@pytest.mark.slow
def test_step_against_the_plain_implementation():
    """Computes FLOPs by hand for N=4, D=8, one layer, 2 towers, 64 inputs of 1 + 18 channels.

    Multiply-accumulates of a cross-attend: queries 4*8*8, keys and values 2*64*19*8, logits and
    weighted sum 2*4*64*8, output 4*8*8, dense block 2*4*8*8; of a self-attend: 6 products 4*8*8,
    logits and weighted sum 2*4*4*8; of the head: 8*10. In addition, a cross-attend has 3 FLOPs for
    each of 4*64 logits and a self-attend for each of 2*4*4 logits.
    """
    arguments = [*NETWORK, *QUICK, "--batch=8", "--against=plain", "--format=json"]
    result = json.loads(run("benchmark", "step", *arguments, optimised=True)[0])
    cross = 2 * (2 * 256 + 2 * 64 * 19 * 8 + 2 * 4 * 64 * 8 + 512) + 3 * 4 * 64
    layer = 2 * (6 * 256 + 2 * 4 * 4 * 8) + 3 * 2 * 4 * 4
    assert result["flops_per_example"] == 3 * (2 * cross + 2 * layer + 2 * 8 * 10)
    assert (result["batch_size"], result["config_batch_size"]) == (8, 64)
    assert (result["measured"], result["dtype"], result["repeats"]) == ("step", "float32", 2)
    rate = max(result["matrix_flops_per_second"].values())
    own, plain = result["forms"]
    assert (own["form"], plain["form"]) == ("config", "plain")
    assert own["peak_memory_bytes"] > 1e8  # Python with JAX takes as much
    assert plain["peak_memory_bytes"] is None
    for variant in (own, plain):
        assert variant["first_call_seconds"] > variant["seconds"]["max"]  # it compiles
        for key in ("seconds", "examples_per_second", "flops_per_second", "share_of_matrix_rate"):
            assert_spread(variant[key])
        assert variant["examples_per_second"]["max"] == pytest.approx(8 / variant["seconds"]["min"])
        flops = result["flops_per_example"] * variant["examples_per_second"]["max"]
        assert variant["flops_per_second"]["max"] == pytest.approx(flops)
        assert variant["share_of_matrix_rate"]["max"] == pytest.approx(flops / rate)
    assert_spread(result["times_as_fast"])


@pytest.mark.usefixtures("_without_tensorflow")
def test_forward_pass_against_another_value():
    arguments = [*TINIEST, *QUICK, "--against=config.model.remat=block"]
    out, _ = run("benchmark", "forward", *arguments, optimised=True)
    lines = out.splitlines()
    assert lines[0].startswith("configs/digits.py on ")
    assert lines[1].startswith("forward, float32, batch 360 (config: 360), 0.00005376")
    (header,) = [line.split() for line in lines if line.split()[1:] == ["config.model.remat=block"]]
    assert header[0] == "config"
    rows = {line[:18].strip(): line[18:].split() for line in lines}
    assert float(rows["seconds a call"][0]) > 0
    assert rows["peak memory"][1] == "GB"
    assert lines[-1].startswith("config is ")
    assert lines[-1].endswith(" times as fast as config.model.remat=block")


@pytest.mark.usefixtures("_without_tensorflow")
@pytest.mark.slow
def test_memory():
    arguments = [*TINIEST, "--format=json"]
    result = json.loads(run("benchmark", "memory", *arguments, optimised=True)[0])
    forward, step = result["programs"]
    assert (forward["program"], step["program"]) == ("forward", "step")
    assert (forward["batch_size"], step["batch_size"]) == (360, 64)
    for one in (forward, step):
        assert 1e8 < one["before_bytes"] < one["peak_bytes"] < 5e9
        assert one["xla"]["temporary_bytes"] > 0
    # A step reuses the memory of its state: parameters, their average, and two moments of LAMB.
    parameters = forward["xla"]["argument_bytes"] - 360 * (8 * 8 + 4)  # pictures and indices
    assert 4 * parameters <= step["xla"]["aliased_bytes"] < 6 * parameters
    assert forward["xla"]["aliased_bytes"] == 0


@pytest.mark.usefixtures("_without_tensorflow")
@pytest.mark.slow
def test_compile():
    arguments = [*TINIEST, "--repeats=1", "--against=plain", "--format=json"]
    result = json.loads(run("benchmark", "compile", *arguments, optimised=True)[0])
    named = [(one["program"], one["form"]) for one in result["programs"]]
    assert named == [(p, f) for p in ("forward", "step") for f in ("config", "plain")]
    for one in result["programs"]:
        for stage in ("set_up_seconds", "trace_seconds", "compile_seconds"):
            assert_spread(one[stage])


@pytest.mark.usefixtures("_without_tensorflow")
@pytest.mark.slow
def test_scaling(tmp_path):
    picture = tmp_path / "scaling.png"
    arguments = [*TINIEST, *QUICK, "--sizes=48,24,96", f"--plot={picture}", "--format=json"]
    out, err = run("benchmark", "scaling", *arguments, optimised=True)
    result = json.loads(out)
    assert [point["inputs"] for point in result["points"]] == [576, 576, 2304, 2304, 9216, 9216]
    for point in result["points"]:
        assert_spread(point["seconds"])
        assert point["before_bytes"] < point["peak_bytes"]
    for exponents in result["exponents"].values():
        assert exponents["planned memory"] == pytest.approx(1, abs=0.25)  # not 2
    assert "gradient of 96 x 96 pixels: " in err
    with Image.open(picture) as drawn:
        assert drawn.format == "PNG"


@pytest.mark.slow
def test_several_devices():
    """The matrix rate is that of both devices."""
    arguments = [*TINIEST, *QUICK, "--batch=6", "--format=json"]
    result = json.loads(run("benchmark", "step", *arguments, optimised=True, devices=2)[0])
    assert result["surroundings"]["devices"] == 2
    (own,) = result["forms"]
    rate = 2 * max(result["matrix_flops_per_second"].values())
    share = own["flops_per_second"]["median"] / rate
    assert own["share_of_matrix_rate"]["median"] == pytest.approx(share)


DIGITS = "--config=configs/digits.py"
USER_ERRORS = {
    "no arguments": (
        [],
        "a subcommand (forward, step, compile, memory, scaling, data) comes before the flags, as "
        "in: python -m experiments.benchmark",
    ),
    "no subcommand": ([DIGITS], "data) comes before the flags"),
    "unknown subcommand": (["dta", DIGITS], "unknown subcommand 'dta': did you mean 'data'?"),
    "an extra argument": (["data", "now", DIGITS], "'now' is not a flag"),
    "no config": (["data"], "--config is missing, as in: python -m experiments.benchmark"),
    "no time": (["data", DIGITS, "--seconds=0"], "--seconds=0"),
    "no run": (["data", DIGITS, "--repeats=0"], "--repeats=0"),
    "no evaluation batch": (
        ["data", DIGITS, "--config.eval.batch_size=0"],
        "config.eval.batch_size=0; give at least 1",
    ),
    "no data": (
        ["data", "--config=configs/folder.py", "--config.data.dir={tmp}/none"],
        "{tmp}/none",
    ),
    "no batch": (["step", DIGITS, "--batch=0"], "--batch=0"),
    "a flag of another subcommand": (
        ["step", DIGITS, "--sizes=8"],
        "--sizes is not for step; it is for scaling",
    ),
    "an unknown variant": (
        ["step", DIGITS, "--against=dense"],
        "--against=dense; give plain, or config.KEY=VALUE",
    ),
    "no Perceiver": (
        ["forward", "--config=configs/modelnet40.py:vit_8", "--against=plain"],
        "--against=plain is a Perceiver; config.model.name=vit",
    ),
    "a variant that is refused in a fresh process": (
        ["memory", DIGITS, "--against=config.model.self_heads=5"],
        "self_heads is 5, which does not divide latent_channels, 64",
    ),
    "no size": (["scaling", DIGITS, "--sizes=8,0"], "--sizes has '0'; give sides of pictures"),
    "no pictures": (
        ["scaling", "--config=configs/modelnet40.py"],
        "scaling takes a config for pictures alone, such as configs/imagenet.py; "
        "config.model.inputs has points",
    ),
    "no folder": (["scaling", DIGITS, "--plot={tmp}/none/a.png"], "--plot={tmp}/none/a.png: "),
}
_SLOW = ("a variant that is refused in a fresh process", "no data", "no time", "no run")


@pytest.mark.parametrize(
    "name",
    [pytest.param(x, marks=pytest.mark.slow) if x in _SLOW else x for x in USER_ERRORS],
)
def test_a_user_error_is_one_line(name, tmp_path):
    arguments, message = USER_ERRORS[name]
    arguments = [argument.format(tmp=tmp_path) for argument in arguments]
    _, err = finish(start("benchmark", *arguments), status=2)
    (line,) = [x for x in err.splitlines() if x.startswith("error: ")]
    assert message.format(tmp=tmp_path) in line
    assert "Traceback" not in err


def test_help_names_the_subcommands():
    out, err = run("benchmark", "--help")
    for name in ("forward", "step", "compile", "memory", "scaling", "data"):
        assert f"\n{name}:" in out + err
    assert "python -m experiments.benchmark data --config=configs/" in out + err
    for flag in ("seconds", "repeats", "batch", "against", "sizes", "plot", "format"):
        assert f"\n  --{flag}: " in out + err
