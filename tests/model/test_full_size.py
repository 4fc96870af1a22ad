"""Networks at full size, under jit, against NumPy float64: up to 111,616 inputs.

At full size, compilers take other paths than at the small sizes of the other tests.
"""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.cli.config_files import CONFIGS, load_config
from experiments.run.from_config import from_config
from perceiver.attention import ProjectedInputs, attend, attention_logits
from perceiver.byte_array import ByteArray
from perceiver.modalities.image import image_bytes
from perceiver.positions import Fourier
from tests.model import reference
from tests.model.networks import network, order, parameters

IMAGENET = dict(
    num_latents=512,
    latent_channels=1024,
    num_cross_attends=8,
    num_towers=8,
    self_attends_per_tower=6,
    self_heads=8,
    latent_init_scale=0.02,
)


def image_inputs():
    """Returns an image with its 258 position channels."""
    image = np.random.default_rng(0).normal(size=(1, 224, 224, 3)).astype(np.float32)
    return image_bytes(
        image,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        positions=Fourier(bands=64, max_resolution=(224, 224), spacing="linear"),
    )


def plain_inputs():
    image = np.random.default_rng(0).normal(size=(1, 224, 224, 3)).astype(np.float32)
    positions = reference.fourier_features(reference.grid(224, 224), 64, (224, 224))
    return np.concatenate([np.float64(image).reshape(-1, 3), positions], -1)


def test_forward_of_the_imagenet_network():
    inputs = image_inputs()
    assert inputs.content.shape[1] == 50_176
    classify, encode = network(IMAGENET, classes=1000)
    params = parameters(classify, inputs)
    wanted, maps = reference.perceiver(params, plain_inputs(), order(IMAGENET), 6)
    logits = jax.jit(classify.apply)(params, inputs)
    np.testing.assert_allclose(logits[0], wanted, atol=1e-4 * np.abs(wanted).max())
    (got,) = jax.jit(encode, static_argnames="logits_of")(params, inputs, logits_of=(7,))[
        1
    ].values()
    np.testing.assert_allclose(got[0], maps[7], atol=1e-4 * np.abs(maps[7]).max())


def test_gradient_at_full_size():
    """Compares with central differences of the NumPy network, along a random direction."""
    sizes = IMAGENET | dict(num_cross_attends=2, num_towers=2, self_attends_per_tower=1)
    inputs = image_inputs()
    classify, _ = network(sizes, classes=10)
    params = parameters(classify, inputs)
    weights = np.random.default_rng(1).normal(size=10)
    loss = lambda p: (classify.apply(p, inputs)[0] * weights).sum()  # noqa: E731
    gradient = jax.jit(jax.grad(loss))(params)
    draw = np.random.default_rng(2)
    # Correlated with the gradient, so that the derivative is well above rounding errors.
    direction = jax.tree.map(
        lambda g: np.sign(g) * draw.uniform(0, 1, g.shape), jax.device_get(gradient)
    )
    x = plain_inputs()
    ends = []
    for sign in (1, -1):
        moved = jax.tree.map(lambda p, d, s=sign: np.float64(p) + s * 1e-6 * d, params, direction)
        ends.append(reference.perceiver(moved, x, order(sizes), 1)[0] @ weights)
    wanted = (ends[0] - ends[1]) / 2e-6
    got = sum(
        float((np.float64(g) * d).sum())
        for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True)
    )
    assert got == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_over_50176_inputs(masked):
    """Tests logits that are a broadcast sum, which XLA on CPU has computed incorrectly."""
    rows, columns = np.random.default_rng(0).normal(size=(2, 4, 224))
    logits = np.float32((rows[:, :, None] + 3 * columns[:, None, :]).reshape(4, -1))
    v = np.random.default_rng(1).normal(size=(1, 50_176, 1, 8)).astype(np.float32)
    mask = np.random.default_rng(2).random((1, 50_176)) < (0.5 if masked else 2)

    @jax.jit
    def attended_and_logits(rows, columns, v, mask):
        k = (rows[:, :, None] + 3 * columns[:, None, :]).reshape(4, -1).T  # [M, 4]
        q = 2.0 * jnp.eye(4)  # sqrt(4), so that the logits are k
        q, k = q[None, :, None], k[None, :, None]
        inputs = ProjectedInputs(k, jnp.asarray(v[..., :4]), mask)
        return attend(q, inputs), attention_logits(q, inputs)

    mask_or_none = mask if masked else None
    out, got = attended_and_logits(np.float32(rows), np.float32(columns), v, mask_or_none)
    np.testing.assert_allclose(got[0, 0], logits, atol=1e-5)
    weights = np.exp(np.float64(logits)) * mask
    weights /= weights.sum(-1, keepdims=True)
    np.testing.assert_allclose(out[0, :, 0], weights @ np.float64(v[0, :, 0, :4]), atol=1e-5)


def test_byte_array_of_a_whole_picture():
    bytes_ = image_inputs()
    assert isinstance(bytes_, ByteArray)
    got = jax.jit(lambda b: b.concatenate())(bytes_)
    np.testing.assert_allclose(got[0], plain_inputs(), atol=1e-6)


def test_more_than_a_hundred_thousand_inputs_of_two_modalities():
    """Tests 61,440 samples and 50,176 patches of 2x4x4 (Sec. 4.2 and App. E)."""
    config = load_config(f"{CONFIGS}/audioset.py:sound_video_fine")
    config.model.update(dict(num_latents=8, latent_channels=32, num_cross_attends=1))
    config.model.update(dict(num_towers=1, self_attends_per_tower=1))
    made = from_config(config).network
    draw = np.random.default_rng(0)
    batch = {
        "index": np.zeros(1, np.int32),
        "audio": draw.integers(-32768, 32768, (1, 61_440), np.int16),
        "video": draw.integers(0, 256, (1, 32, 224, 224, 3), np.uint8),
    }
    params, state = parameters(made, batch)
    logits, _ = jax.jit(made.apply, static_argnums=4)(params, state, None, batch, False)

    samples = np.float64(batch["audio"][0])[:, None] / 32_768
    times = reference.fourier_features(reference.grid(61_440), 64, (61_440,))
    pixels = np.float64(batch["video"][0]) / 255
    pixels = (pixels - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    patches = [  # of two frames each
        frames.reshape(2, 56, 4, 56, 4, 3).transpose(1, 3, 0, 2, 4, 5).reshape(56 * 56, 96)
        for frames in np.split(pixels, 16)
    ]
    places = reference.fourier_features(reference.grid(16, 56, 56), 64, (16, 56, 56))
    inputs = reference.fused(
        [
            np.concatenate([samples, times], -1),
            np.concatenate([np.concatenate(patches), places], -1),
        ],
        [params[f"{name}_encoding"]["encoding"] for name in ("audio", "video")],
    )
    assert inputs.shape == (111_616, 487)
    wanted, _ = reference.perceiver(params, inputs, ["cross_attend_0", "tower_0"], 1)
    np.testing.assert_allclose(logits[0], wanted, atol=1e-5 * np.abs(wanted).max())


def test_initialisation_at_full_size_is_quick_to_trace():
    """Only shapes are computed."""
    classify, _ = network(IMAGENET, classes=1000)
    shapes = jax.eval_shape(classify.init, jax.random.key(0), image_inputs())
    assert hk.data_structures.tree_size(shapes) == 44_912_254
