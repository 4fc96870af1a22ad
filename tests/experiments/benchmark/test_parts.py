"""The parts of the benchmarks: programs, variants, measurements and tables."""

import os
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmark import measures, programs, scaling, tables
from experiments.benchmark.variants import Variant, variants
from experiments.cli.config_files import load_config
from experiments.run.from_config import from_config
from perceiver.errors import InputError

SIZES = dict(num_latents=4, latent_channels=8, self_heads=2, self_attends_per_tower=1)


def tiny(name):
    config = load_config(f"configs/{name}")
    config.model.update(SIZES)
    return config


def fused():
    """Returns a small config with sound and video."""
    config = tiny("audioset.py:sound_video")
    config.data.clip_frames, config.data.image_size = 2, 16
    config.model.num_cross_attends = config.model.num_towers = 2
    return config


@pytest.mark.parametrize(
    "make", [lambda: tiny("digits.py"), pytest.param(fused, marks=pytest.mark.slow)]
)
def test_variants_compute_the_same(make):
    own, plain = (programs.forward(variant, 2)() for variant in variants(make(), "plain"))
    assert own.shape[:2] == (1, 2)
    assert np.abs(own).max() > 1e-3  # the head is not zero
    np.testing.assert_allclose(plain, own, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_steps_continue_from_the_last_state():
    """The losses of one batch decrease, equally in both variants."""
    own, plain = (programs.step(variant, 4) for variant in variants(tiny("digits.py"), "plain"))
    losses = np.asarray([[float(p()["loss"][0]) for p in (own, plain)] for _ in range(15)])
    np.testing.assert_allclose(losses[:3, 0], losses[:3, 1], rtol=1e-4)
    assert losses[0, 0] == pytest.approx(np.log(10), abs=1e-3)  # the head starts at zero
    assert losses[-1, 0] < 0.9 * losses[0, 0]


def test_the_gradient_is_that_of_the_sum_of_squares():
    config = tiny("digits.py")
    gradient = programs.gradient(Variant("config", config), 3)()
    forward = programs.forward(Variant("config", config), 3)
    # The logits are linear in the head's bias: its gradient is twice their sum.
    wanted = 2 * np.asarray(forward(), np.float64)[0].sum(axis=0)
    np.testing.assert_allclose(gradient["perceiver/head"]["b"][0], wanted, rtol=1e-4, atol=1e-6)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize(
    ("config", "kind", "expected"),
    [
        ("digits.py", "step", 64),  # the config's batch size
        ("digits.py", "forward", 360),
        ("imagenet.py", "forward", 1),  # 0.7 TFLOPs per example, at most 1
        ("imagenet.py", "step", 1),
        ("imagenet.py:ablation", "forward", 8),  # 0.08
    ],
)
def test_batch_sizes_on_a_cpu(config, kind, expected):
    experiment = from_config(load_config(f"configs/{config}"))
    assert programs.batch_size(experiment, kind, None) == expected
    assert programs.batch_size(experiment, kind, 3) == 3


def test_a_step_has_three_times_the_forward_pass():
    """The paper prints 707.2 GFLOPs for the ImageNet network (Table 5)."""
    experiment = from_config(load_config("configs/imagenet.py"))
    assert programs.flops(experiment, "forward") == pytest.approx(707.2e9, rel=1e-3)
    assert programs.flops(experiment, "step") == 3 * programs.flops(experiment, "forward")


def test_a_batch_must_divide_among_parts():
    config = tiny("digits.py")
    config.train.accumulate = 4
    experiment = from_config(config)
    with pytest.raises(InputError, match=r"--batch=6 .* times 4 parts; take a multiple of 4"):
        programs.batch_size(experiment, "step", 6)
    assert programs.batch_size(experiment, "forward", 6) == 6


def test_inputs_fill_their_range():
    batch = programs.inputs(from_config(fused()), 3)
    assert batch["audio"].dtype == np.int16
    assert batch["audio"].min() < -32_000 < 32_000 < batch["audio"].max()
    assert (batch["video"].dtype, batch["video"].shape) == (np.uint8, (3, 2, 16, 16, 3))
    assert (batch["video"].min(), batch["video"].max()) == (0, 255)
    assert list(batch["index"]) == [0, 1, 2]
    clouds = from_config(load_config("configs/modelnet40.py"))
    points = programs.inputs(clouds, 2)["points"]
    assert points.dtype == np.float32
    assert -1 <= points.min() < -0.9 < 0.9 < points.max() <= 1


def test_labels_have_the_kind_of_the_loss():
    one, several = (programs.labels(kind, 1000, 7) for kind in ("label", "labels"))
    assert sorted(set(one)) == list(range(7))
    assert several.shape == (1000, 7)
    assert sorted(set(several.ravel())) == [0, 1]


def test_a_variant_with_other_values():
    config = load_config("configs/audioset.py:video")
    against = "config.model.inputs.video.patch=(2,4,4),config.model.remat=block"
    own, other = variants(config, against)
    assert (own.name, own.config.model.remat) == ("config", "elementwise")
    assert other.config.model.inputs.video.patch == (2, 4, 4)
    assert other.config.model.remat == "block"
    assert config.model.inputs.video.patch == (2, 8, 8)
    (_, other) = variants(config, "config.model.share_towers=false")
    assert other.config.model.share_towers is False


@pytest.mark.parametrize(
    ("against", "message"),
    [
        ("dense", "--against=dense; give plain, or config.KEY=VALUE"),
        ("model.remat=block", "--against=model.remat=block; give plain"),
        ("config.model.remta=block", "unknown config key 'model.remta': did you mean"),
        ("config.model=block", "unknown config key 'model'"),
        ("config.model.num_latents=many", "'many' is not int, which config.model.num_latents is"),
        ("config.model.num_latents=1.5", "'1.5' is not int"),
        ("config.model.share_towers=x y", "'x y' is not bool"),
    ],
)
def test_unknown_variants_are_errors(against, message):
    with pytest.raises(InputError) as error:
        variants(load_config("configs/digits.py"), against)
    assert message in str(error.value)


def test_spread():
    assert measures.spread([3.0, 1.0, 2.0, 9.0]) == {"median": 2.5, "min": 1.0, "max": 9.0}


def test_seconds_of_calls():
    def call():
        time.sleep(0.02)
        return jnp.zeros([])

    assert measures.seconds_of_calls(call, 5) == pytest.approx(0.02, rel=0.5)
    assert 3 <= measures.calls_of_a_run(call, 0.2) <= 10
    assert measures.calls_of_a_run(call, 0.001) == 1


def test_matrix_rate_is_about_numpys():
    a = np.random.default_rng(0).random((1024, 1024), np.float32)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - began)
    ratio = measures.matrix_rate("float32") * min(times) / (2 * 1024**3)
    assert 0.1 < ratio < 10  # other programs may run


def _peak(megabytes):
    held = np.ones(megabytes * 125_000)
    return held.nbytes, measures.peak_memory()


def test_a_fresh_process_has_its_own_peak_memory():
    """`ru_maxrss` would start with the memory of the parent."""
    held = np.ones(2 * 10**8)  # 1.6 GB
    _, without = measures.in_fresh_process(_peak, 0, what="nothing")
    _, with_array = measures.in_fresh_process(_peak, 500, what="an array")
    assert without < 0.5 * held.nbytes
    assert with_array - without == pytest.approx(500e6, rel=0.1)


def _killed():
    os.kill(os.getpid(), signal.SIGKILL)


def _too_large():
    return jnp.zeros(2**50, jnp.int8).block_until_ready().sum()


def test_a_killed_process_is_an_error():
    with pytest.raises(InputError, match="gradient of 9 x 9: its process was killed"):
        measures.in_fresh_process(_killed, what="gradient of 9 x 9")


def test_insufficient_device_memory_is_an_error():
    with pytest.raises(InputError, match="a petabyte: the device's memory is too small"):
        measures.in_fresh_process(_too_large, what="a petabyte")


def _division_by_zero():
    return 1 // 0


def test_other_errors_are_raised():
    with pytest.raises(ZeroDivisionError):
        measures.in_fresh_process(_division_by_zero, what="a fault")


@pytest.mark.parametrize(
    ("values", "slope"),
    [
        ([7, 11, 15, 23], 1.0),  # 5 + 2 M
        ([7, 7 + 4, 7 + 16, 7 + 64], 2.0),  # 7 + (M - 1)^2
        ([7, 7, 7, 7], None),
        ([7, 6, 9, 11], None),
    ],
)
def test_exponent(values, slope):
    inputs = [1, 3, 5, 9]
    found = scaling.exponent(inputs, values)
    assert found == (None if slope is None else pytest.approx(slope))
    assert scaling.exponent(inputs[:2], values[:2]) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234.5, "1,234"), (12.345, "12.35"), (0.0123456, "0.01235"), (999.96, "1,000.0")],
)
def test_numbers_have_four_digits(value, text):
    assert tables.number(value) == text


def test_tables_line_up():
    lines = tables.rows(["a", "wide title"], {"x": ["1", "2"], "longer": ["345", ""]})
    assert lines == ["            a  wide title", "x           1           2", "longer    345"]
