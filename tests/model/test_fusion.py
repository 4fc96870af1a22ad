"""Modalities fused at the input against NumPy float64 (Sec. 4.2)."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.cli.config_files import CONFIGS, load_config
from perceiver import networks
from perceiver.architecture import Architecture
from perceiver.fusion import fused
from perceiver.modalities.audio import audio_bytes
from perceiver.modalities.video import video_bytes
from perceiver.model import Perceiver
from perceiver.positions import Fourier
from tests.model import reference
from tests.model.gradients import assert_gradient_agrees
from tests.model.networks import SMALL, byte_array, network, order, parameters, plain

NAMES = ("video", "audio", "sensor")
SIZES = SMALL | dict(num_cross_attends=2, num_towers=2)


def fused_network(sizes=None, channels=4, **options):
    """Returns the transformed classifier of byte arrays in the order of NAMES, and encode."""
    architecture = Architecture(**(SIZES | (sizes or {})))

    def inputs(parts):
        parts = dict(zip(NAMES, parts, strict=False))
        return Perceiver(architecture, 5, **options), fused(
            parts, channels=channels, init_scale=0.02
        )

    def classify(parts):
        perceiver, parts = inputs(parts)
        return perceiver(parts)

    def encode(parts, logits_of=()):
        perceiver, parts = inputs(parts)
        return perceiver.encode(parts, logits_of)

    classify = hk.without_apply_rng(hk.transform(classify))
    return classify, hk.without_apply_rng(hk.transform(encode)).apply


def modalities(number=3, batch=2, masks=(None, None, None)):
    """Returns byte arrays of 29, 13 and 7 inputs with 11 + 10, 3 + 4 and 1 + 2 channels."""
    sizes = [(29, 11, 10), (13, 3, 4), (7, 1, 2)][:number]
    return tuple(
        byte_array(batch, inputs, content, positions, seed=10 + i, mask=masks[i])
        for i, (inputs, content, positions) in enumerate(sizes)
    )


def random_mask(num_inputs):
    return jnp.asarray(np.random.default_rng(num_inputs).random((2, num_inputs)) < 0.6)


def concatenated(params, parts, example):
    """Returns the concatenated inputs of one example, float64 [M, C], and their mask."""
    vectors = [params[f"{name}_encoding"]["encoding"] for name in NAMES[: len(parts)]]
    masks = [
        np.ones(p.num_inputs, bool) if p.mask is None else np.asarray(p.mask[example])
        for p in parts
    ]
    return reference.fused([plain(p, example) for p in parts], vectors), np.concatenate(masks)


def expected(params, parts, sizes=None):
    sizes = SIZES | (sizes or {})
    results = []
    for b in range(len(parts[0].content)):
        inputs, mask = concatenated(params, parts, b)
        results.append(
            reference.perceiver(params, inputs, order(sizes), 2, self_heads=2, mask=mask)
        )
    return results


def assert_agrees(parts, sizes=None, **options):
    classify, encode = fused_network(sizes, **options)
    params = parameters(classify, parts)
    wanted = expected(params, parts, sizes)
    logits = jax.jit(classify.apply)(params, parts)
    np.testing.assert_allclose(logits, [x for x, _ in wanted], rtol=2e-5, atol=2e-5)
    return params, encode, wanted


class TestFused:
    def test_an_input_is_content_positions_and_modality_encoding(self):
        parts = modalities()
        shapes = {"video": [4], "audio": [18], "sensor": [22]}  # 25 channels minus 21, 7 and 3
        vectors = {name: np.random.default_rng(0).normal(size=n) for name, n in shapes.items()}
        make = hk.without_apply_rng(
            hk.transform(
                lambda p: fused(dict(zip(NAMES, p, strict=True)), channels=4, init_scale=1)
            )
        )
        initial = make.init(jax.random.key(0), parts)
        assert {name: list(x["encoding"].shape) for name, x in initial.items()} == {
            f"{name}_encoding": n for name, n in shapes.items()
        }
        params = {f"{n}_encoding": {"encoding": jnp.float32(v)} for n, v in vectors.items()}
        wide = jax.jit(make.apply)(params, parts)
        for part, before, name in zip(wide, parts, NAMES, strict=True):
            assert part.channels == 25
            for b in range(2):
                got = np.asarray(part.concatenate())[b]
                assert got.shape == (before.num_inputs, 25)
                for m, row in enumerate(got):
                    wanted = [before.content[b, m], before.positions[m], vectors[name]]
                    np.testing.assert_allclose(row, np.concatenate(wanted), rtol=1e-6)

    def test_positions_per_example(self):
        video, audio = modalities(2)
        own = np.random.default_rng(3).normal(size=(2, 29, 10)).astype(np.float32)
        assert_agrees((video._replace(positions=jnp.asarray(own)), audio))

    def test_encodings_start_as_a_truncated_normal(self):
        parts = (byte_array(content=600), byte_array(content=3))
        classify, _ = fused_network()
        vector = jax.jit(classify.init)(jax.random.key(0), parts)["audio_encoding"]["encoding"]
        assert vector.shape == (601,)
        assert np.abs(vector).max() <= 0.04  # two standard deviations of 0.02
        # scipy.stats.truncnorm(-2, 2).std() = 0.87962566
        assert np.std(vector) == pytest.approx(0.02 * 0.87962566, rel=0.1)

    @pytest.mark.parametrize(
        ("variant", "wanted"),
        [
            ("sound_video", dict(audio=(480, 518), video=(12_544, 4))),
            ("mel_video", dict(spectrogram=(4_800, 516), video=(12_544, 4))),
            ("sound_video_fine", dict(audio=(61_440, 357), video=(50_176, 4))),
        ],
    )
    def test_the_papers_numbers_of_channels(self, variant, wanted):
        """Expects 384 + 387 + 4 = 128 + 129 + 518 = 1 + 258 + 516 = 775 and 96 + 387 + 4 = 487."""
        config = load_config(f"{CONFIGS}/audioset.py:{variant}")
        params, parts = networks.input_spec(config.model.to_dict(), config.data.to_dict())
        width = 487 if variant.endswith("fine") else 775
        assert [part.channels for part in parts] == [width, width]
        assert {name: x["encoding"].shape for name, x in params.items()} == {
            f"{name}_encoding": (channels,) for name, (_, channels) in wanted.items()
        }
        assert [part.num_inputs for part in parts] == [m for m, _ in wanted.values()]

    @pytest.mark.parametrize(("channels", "scale"), [(0, 0.02), (-1, 0.02), (4, 0.0), (4, -1.0)])
    def test_sizes_that_are_not_positive_are_refused(self, channels, scale):
        with pytest.raises(ValueError, match="both must be positive"):
            jax.eval_shape(
                hk.transform(
                    lambda p: fused(
                        dict(zip(NAMES, p, strict=True)), channels=channels, init_scale=scale
                    )
                ).init,
                jax.random.key(0),
                modalities(),
            )


class TestNetwork:
    @pytest.mark.parametrize(("number", "shared"), [(2, False), (3, True)])
    def test_forward_equals_numpy(self, number, shared):
        sizes = dict(share_cross_attends=shared, share_towers=shared, num_cross_attends=3)
        assert_agrees(modalities(number), sizes)

    def test_patches_and_sound_equal_numpy(self):
        """Tests 8 patches of 2x3x4 pixels and 3 runs of 8 samples."""
        draw = np.random.default_rng(1)
        video = draw.integers(0, 256, (2, 4, 6, 8, 3), np.uint8)
        audio = draw.integers(-32768, 32768, (2, 24), np.int16)
        encoding = dict(positions=Fourier(bands=3, max_resolution=(), spacing="linear"))
        colours = dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
        parts = (
            video_bytes(video, patch=(2, 3, 4), **colours, **encoding),
            audio_bytes(
                audio, patch=8, amplitude_bands=0, amplitude_max_resolution=1.0, **encoding
            ),
        )
        classify, _ = fused_network()
        params = parameters(classify, parts)
        logits = jax.jit(classify.apply)(params, parts)
        places = reference.fourier_features(reference.grid(2, 2, 2), 3, (2, 2, 2))
        times = reference.fourier_features(reference.grid(3), 3, (3,))
        vectors = [params[f"{name}_encoding"]["encoding"] for name in ("video", "audio")]
        for b in range(2):
            pixels = (np.float64(video[b]) / 255 - colours["mean"]) / colours["std"]
            patches = [
                pixels[t : t + 2, row : row + 3, column : column + 4].ravel()
                for t in (0, 2)
                for row in (0, 3)
                for column in (0, 4)
            ]
            runs = np.float64(audio[b]).reshape(3, 8) / 32768
            inputs = reference.fused(
                [np.concatenate([patches, places], -1), np.concatenate([runs, times], -1)], vectors
            )
            assert inputs.shape == (11, 72 + 21 + 4)
            wanted, _ = reference.perceiver(params, inputs, order(SIZES), 2, self_heads=2)
            np.testing.assert_allclose(logits[b], wanted, rtol=2e-5, atol=2e-5)

    def test_gradient_equals_finite_differences_of_numpy(self):
        """Includes the gradients of the modality encodings."""
        masks = (None, jnp.asarray(np.random.default_rng(3).random((1, 13)) < 0.7))
        parts = modalities(2, batch=1, masks=masks)
        classify, _ = fused_network()
        params = parameters(classify, parts)
        assert {"video_encoding", "audio_encoding"} < set(params)
        assert_gradient_agrees(classify.apply, lambda p: expected(p, parts)[0], params, parts)

    def test_the_encodings_distinguish_modalities(self):
        """Exchanging the inputs of modalities changes the logits only if their encodings differ."""
        video, audio = byte_array(seed=1), byte_array(seed=2)
        classify, _ = fused_network()
        params = parameters(classify, (video, audio))
        apply = jax.jit(classify.apply)
        assert np.abs(apply(params, (video, audio)) - apply(params, (audio, video))).max() > 1e-2
        same = params | {"audio_encoding": params["video_encoding"]}
        np.testing.assert_allclose(
            apply(same, (video, audio)), apply(same, (audio, video)), rtol=1e-5, atol=1e-5
        )

    def test_maps_have_the_inputs_of_all_modalities(self):
        parts = modalities()
        params, encode, wanted = assert_agrees(parts)
        _, maps = jax.jit(encode, static_argnames="logits_of")(params, parts, logits_of=(0, 1))
        for index in (0, 1):
            assert maps[index].shape == (2, 1, 7, 29 + 13 + 7)
            expected_logits = np.stack([m[index] for _, m in wanted])
            np.testing.assert_allclose(maps[index], expected_logits, rtol=1e-4, atol=2e-5)

    def test_rematerialisation_changes_nothing(self):
        assert_agrees(modalities(), remat="block")

    @pytest.mark.parametrize("masked", [(1,), (0, 2)])
    def test_masks_of_some_modalities(self, masked):
        masks = [random_mask(m) if i in masked else None for i, m in enumerate((29, 13, 7))]
        assert_agrees(modalities(masks=masks))

    def test_masked_inputs_of_a_modality_change_nothing(self):
        """Their values have no effect on output and gradient."""
        mask = random_mask(13)
        video, audio = modalities(2, masks=(None, mask))
        classify, _ = fused_network()
        params = parameters(classify, (video, audio))
        outputs = jax.jit(jax.value_and_grad(lambda p, x: jnp.square(classify.apply(p, x)).sum()))
        junk = audio._replace(content=jnp.where(mask[..., None], audio.content, np.nan))
        wanted = outputs(params, (video, audio))
        jax.tree.map(np.testing.assert_array_equal, outputs(params, (video, junk)), wanted)

    def test_a_fully_masked_modality_has_no_effect(self):
        """The channels of the other modalities stay, so the network is the same without it."""
        masks = (None, jnp.zeros((2, 13), bool), None)
        without, left = modalities(masks=masks), modalities()
        classify, _ = fused_network()
        params = parameters(classify, without)
        logits = jax.jit(classify.apply)(params, without)
        for b in range(2):
            vectors = [params[f"{name}_encoding"]["encoding"] for name in ("video", "sensor")]
            inputs = reference.fused([plain(left[0], b), plain(left[2], b)], vectors)
            wanted, _ = reference.perceiver(params, inputs, order(SIZES), 2, self_heads=2)
            np.testing.assert_allclose(logits[b], wanted, rtol=2e-5, atol=2e-5)

    def test_different_numbers_of_channels_are_refused(self):
        classify, _ = network()
        with pytest.raises(ValueError, match=r"of \[21, 7\] channels can't be fused"):
            classify.init(jax.random.key(0), modalities(2))

    def test_one_byte_array_is_a_sequence_of_one(self):
        inputs = byte_array()
        classify, _ = network()
        params = parameters(classify, inputs)
        alone, listed = (jax.jit(classify.apply)(params, x) for x in (inputs, [inputs]))
        np.testing.assert_array_equal(alone, listed)
