"""ResNet against NumPy float64, with BatchNorm in training, evaluation and on two devices."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from perceiver.baselines import resnet as module
from tests.model.baselines import reference
from tests.model.baselines.networks import RESNET, resnet, resnet_variables
from tests.model.networks import byte_array, plain

ROOT = Path(__file__).parents[3]
TOP = "resnet/layers/~"


@pytest.fixture(scope="module")
def trained():
    """Returns inputs, network, parameters, and logits and state after one training step."""
    inputs = byte_array(batch=4, num_inputs=31 * 37)
    network = resnet()
    params, state = resnet_variables(network, inputs)
    step = jax.jit(lambda p, s: network.apply(p, s, inputs, True))
    logits, state = step(params, state)
    return inputs, network, params, logits, state


def pictures(inputs, grid=RESNET["grid"]):
    rows = [plain(inputs, b).reshape(*grid, -1) for b in range(len(inputs.content))]
    return np.stack(rows)


def averages(state):
    """Returns {module: (mean, variance)} from Haiku's state."""
    return {
        name.removesuffix("/~/mean_ema"): (
            np.float64(arrays["average"]).reshape(-1),
            np.float64(state[name.replace("mean_ema", "var_ema")]["average"]).reshape(-1),
        )
        for name, arrays in state.items()
        if name.endswith("mean_ema")
    }


def test_training_normalises_by_the_batch_and_stores_its_moments(trained):
    inputs, _, params, logits, state = trained
    wanted = reference.ResNet(params)
    expected = wanted(pictures(inputs), RESNET["blocks"])
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    moving = averages(state)
    assert moving.keys() == wanted.moments.keys()
    for name, moments in wanted.moments.items():
        for got, value in zip(moving[name], moments, strict=True):
            np.testing.assert_allclose(got, value, atol=1e-4 * np.abs(value).max(), err_msg=name)


def test_evaluation_normalises_by_the_moving_averages(trained):
    """An example's logits do not depend on its batch, and the state stays."""
    _, network, params, _, state = trained
    inputs = byte_array(batch=2, num_inputs=31 * 37, seed=11)
    evaluate = jax.jit(lambda x: network.apply(params, state, x, False))
    logits, after = evaluate(inputs)
    expected = reference.ResNet(params, averages(state))(pictures(inputs), RESNET["blocks"])
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    jax.tree.map(np.testing.assert_array_equal, after, state)
    alone, _ = evaluate(inputs._replace(content=inputs.content[:1]))
    np.testing.assert_allclose(alone[0], logits[0], rtol=1e-5, atol=1e-5)


def test_moving_averages_decay_by_a_tenth(trained):
    """Steps with means a and b give (0.9 * 0.1 a + 0.1 b) / (1 - 0.9^2), without zero bias."""
    _, network, params, _, state = trained
    inputs = byte_array(batch=4, num_inputs=31 * 37, seed=12)
    _, after = jax.jit(lambda: network.apply(params, state, inputs, True))()
    name = f"{TOP}/initial_batchnorm"
    first = averages(state)[name][0]
    picture = reference.ResNet(params).conv(f"{TOP}/initial_conv", pictures(inputs), 2)
    second = picture.mean((0, 1, 2))
    wanted = (0.09 * first + 0.1 * second) / 0.19
    np.testing.assert_allclose(averages(after)[name][0], wanted, atol=1e-5)


def test_gradient_equals_finite_differences_of_numpy(trained):
    """Tests some layers of each kind in training, where moments depend on the parameters."""
    inputs, network, params, _, state = trained
    weights = np.random.default_rng(8).normal(size=(4, 5))
    loss = lambda p: (network.apply(p, state, inputs, True)[0] * weights).sum()  # noqa: E731
    gradient = jax.jit(jax.grad(loss))(params)
    block = f"{TOP}/block_group_1/~/block_0/~"
    draw = np.random.default_rng(9)
    for name, array in (
        (f"{TOP}/initial_conv", "w"),
        (f"{TOP}/initial_batchnorm", "scale"),
        (f"{block}/conv_1", "w"),
        (f"{block}/batchnorm_2", "offset"),
        (f"{block}/shortcut_conv", "w"),
        (f"{TOP}/head", "w"),
    ):
        value = params[name][array]
        # Correlated with the gradient, so that the derivative is well above rounding errors.
        direction = np.sign(gradient[name][array]) * draw.uniform(0, 1, value.shape)
        ends = []
        for sign in (1, -1):
            # A small step, because ReLU and the maximum have kinks.
            moved = np.float64(value) + sign * 1e-7 * direction
            net = reference.ResNet(params | {name: params[name] | {array: moved}})
            ends.append((net(pictures(inputs), RESNET["blocks"]) * weights).sum())
        wanted = (ends[0] - ends[1]) / 2e-7
        got = float((np.float64(gradient[name][array]) * direction).sum())
        assert got == pytest.approx(wanted, rel=2e-3), f"{name}/{array}"


def test_the_first_receptive_field_is_that_of_table_2():
    """The initial convolution has 7 x 7 = 49 inputs."""
    inputs = byte_array(num_inputs=31 * 37)
    params, _ = resnet_variables(resnet(), inputs)
    rows, columns, channels, outputs = params[f"{TOP}/initial_conv"]["w"].shape
    assert rows * columns == 49 == module.INPUT_KERNEL**2
    assert (channels, outputs) == (13, 64)


def test_a_new_network_gives_zero_logits_and_counts_no_steps():
    """Initialisation works outside any map, although the axis has a name."""
    inputs = byte_array(batch=1, num_inputs=31 * 37)
    network = resnet(axis="devices")

    @jax.jit
    def new():
        params, state = network.init(jax.random.key(0), inputs, True)
        return params[f"{TOP}/head"], [(x["counter"], x["hidden"]) for x in state.values()]

    assert not any(np.any(x) for x in jax.tree.leaves(new()))


def test_moving_averages_are_no_parameters():
    params, state = resnet_variables(resnet(), byte_array(num_inputs=31 * 37))
    assert not any("ema" in name for name in params)
    assert {name.rsplit("/", 1)[1] for name in state} == {"mean_ema", "var_ema"}


# One step of training on a batch of 4, by one device and by two: logits, state and gradient.
TWO_DEVICES = """
import jax
import numpy as np

from tests.model.baselines.networks import resnet, resnet_variables
from tests.model.networks import byte_array

assert jax.device_count() == 2
inputs = byte_array(batch=4, num_inputs=13 * 17)
weights = np.random.default_rng(8).normal(size=(4, 5))
sizes = dict(blocks=(1, 1, 1, 1), grid=(13, 17))
alone, mapped = resnet(**sizes), resnet(**sizes, axis="devices")
params, state = resnet_variables(alone, inputs)

def step(network, params, state, content, weights):
    def loss(p):
        logits, new = network.apply(p, state, inputs._replace(content=content), True)
        return (logits * weights).sum(-1).mean(), (logits, new)
    return jax.grad(loss, has_aux=True)(params)

whole = jax.jit(lambda p, s: step(alone, p, s, inputs.content, weights))(params, state)

def share(p, s, content, weights):
    gradient, aux = step(mapped, p, s, content, weights)
    return jax.lax.pmean(gradient, "devices"), aux

split = lambda x: np.reshape(x, (2, 2, *x.shape[1:]))
copies = lambda tree: jax.tree.map(lambda x: np.stack([x, x]), tree)
gradient, (logits, new) = jax.pmap(share, axis_name="devices")(
    copies(params), copies(state), split(inputs.content), split(weights)
)
worst = {"logits": np.abs(np.reshape(logits, (4, 5)) - whole[1][0]).max()}
assert np.abs(whole[1][0]).max() > 0.1
for name, got, wanted in (("state", new, whole[1][1]), ("gradient", gradient, whole[0])):
    largest = max(np.abs(x).max() for x in jax.tree.leaves(wanted))
    for device in (0, 1):
        errors = jax.tree.map(lambda a, b: np.abs(a[device] - b).max() / largest, got, wanted)
        worst[f"{name} {device}"] = max(jax.tree.leaves(errors))
for name, error in worst.items():
    print(name, error)
    assert error < 1e-4, name
print("agree")
"""


@pytest.mark.slow
def test_two_devices_equal_one_with_the_whole_batch():
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
    }
    out = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "agree" in out.stdout, out.stdout + out.stderr


@pytest.mark.slow
def test_resnet_50_at_full_size():
    """Compares training logits of two 224 x 224 images with NumPy, and checks gradients."""
    sizes = dict(grid=(224, 224), blocks=(3, 4, 6, 3), channels=(256, 512, 1024, 2048))
    inputs = byte_array(batch=2, num_inputs=50_176, positions=0)
    network = resnet(1000, **sizes)
    params, state = resnet_variables(network, inputs)
    wanted = reference.ResNet(params)(pictures(inputs, (224, 224)), sizes["blocks"])

    def loss(p):
        logits, _ = network.apply(p, state, inputs, True)
        return -jax.nn.log_softmax(logits)[:, 0].sum(), logits

    gradient, logits = jax.jit(jax.grad(loss, has_aux=True))(params)
    np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-3 * np.abs(wanted).max())
    for path, array in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.isfinite(array).all(), path
        assert np.any(array), path
