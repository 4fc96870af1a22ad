"""Impossible configs, and data that does not fit a config, are refused by name."""

import pytest
from ml_collections import ConfigDict

from experiments.cli.config_files import load_config
from experiments.run.from_config import check_data, from_config, training_batches
from perceiver.data.dataset import Dataset, Source
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

DIGITS, MEL, VIDEO, POINTS, BOTH, RESNET, VIT = (
    "configs/digits.py",
    "configs/folder.py:mel",
    "configs/folder.py:video",
    "configs/folder.py:points",
    "configs/folder.py:sound_video",
    "configs/modelnet40.py:small_resnet",
    "configs/modelnet40.py:small_vit",
)

# Config, key, value, and a part of the error.
REFUSED = [
    (DIGITS, "train.batch_size", 0, "config.train.batch_size=0; give at least 1"),
    (DIGITS, "train.accumulate", 0, "config.train.accumulate=0; give at least 1"),
    (DIGITS, "train.accumulate", -1, "config.train.accumulate=-1; give at least 1"),
    (DIGITS, "train.log_every", -1, "config.train.log_every=-1; give at least 0"),
    (DIGITS, "train.keep_checkpoints", 0, "config.train.keep_checkpoints=0; give at least 1"),
    (DIGITS, "train.label_smoothing", 1.5, "label_smoothing is 1.5; give at least 0 and below 1"),
    (DIGITS, "train.ema_decay", 1.0, "config.train.ema_decay=1.0; give at least 0 and below 1"),
    (DIGITS, "train.ema_decay", -0.5, "config.train.ema_decay=-0.5; give"),
    (DIGITS, "train.seed", 2**63, "config.train.seed=9223372036854775808; give a 64-bit integer"),
    (DIGITS, "eval.batch_size", -4, "config.eval.batch_size=-4; give at least 1"),
    (DIGITS, "eval.batch_size", None, "config.eval.batch_size=None; give at least 1"),
    (DIGITS, "data.image_size", 0, "config.data.image_size=0; give at least 1"),
    (DIGITS, "data.image_size", -3, "config.data.image_size=-3; give at least 1"),
    (MEL, "data.mel_hop", 0, "config.data.mel_hop=0; give at least 1"),
    (VIDEO, "model.inputs.video.patch", (0, 8, 8), "patch is (0, 8, 8), which does not tile"),
    (POINTS, "model.inputs.points.max_resolution", (16.0, 16.0), "max_resolution is (16.0, 16.0)"),
    (DIGITS, "model.name", "vit", "config.model.name=vit has no config.model.patch here"),
    (
        DIGITS,
        "model.name",
        "restnet",
        "unknown config.model.name 'restnet'",
    ),
    (DIGITS, "model.latent_init_scale", float("nan"), "latent_init_scale is nan"),
    (DIGITS, "model.inputs.image.dropout", 1.5, "dropout is 1.5; give at least 0 and below 1"),
    (RESNET, "model.name", "perceiver", "name=perceiver has no config.model.num_latents here"),
    (RESNET, "model.blocks", (1, 1), "blocks is (1, 1); give one for each of four groups"),
    (RESNET, "model.grid", (16,), "config.model.grid=(16,); give rows and columns"),
    (RESNET, "model.grid", (-16, -16), "config.model.grid=(-16, -16); give rows and columns"),
    (RESNET, "model.grid", (16.0, 16.0), "config.model.grid=(16.0, 16.0); give rows and columns"),
    (RESNET, "model.grid", (15, 16), "grid is 15 x 16, 240 places, for 256 inputs"),
    (RESNET, "model.grid", (), "config.model.grid is empty and points is not laid out in rows"),
    (VIT, "model.patch", 0, "patch is 0; it must be at least 1"),
    (VIT, "model.channels", -8, "channels is -8; it must be at least 1"),
    (VIT, "model.heads", 7, "heads is 7, which does not divide channels, 128"),
    (BOTH, "model.modality_channels", 0, "modality_channels is 0"),
    (BOTH, "model.unrolled", True, "unrolled=True takes one modality, in its own order"),
]


@pytest.mark.parametrize(("spec", "key", "value", "message"), REFUSED, ids=str)
def test_an_invalid_value_is_an_error(spec, key, value, message):
    config = load_config(spec)
    with config.ignore_type():
        config.update_from_flattened_dict({key: value})
    with pytest.raises(InputError) as refused:
        from_config(config)
    assert message in str(refused.value)


@pytest.mark.parametrize("permutation", ["fixed", "random"])
def test_a_negative_permutation_seed_is_an_error(permutation):
    config = load_config(DIGITS)
    config.model.permutation, config.model.permutation_seed = permutation, -1
    with pytest.raises(InputError, match="permutation_seed is -1"):
        from_config(config)


@pytest.mark.parametrize("seed", [-(2**63), 2**63 - 1])
def test_the_smallest_and_largest_64_bit_seeds_work(seed):
    config = load_config(DIGITS)
    config.train.seed = seed
    assert int(from_config(config, num_examples=1437).initial_state().step) == 0
    source = Source(3, lambda index, seed: {"label": tf.cast(index, tf.int32)})
    assert len(next(training_batches(config, source, batch_size=3))["label"]) == 3


def test_a_config_without_sizes_of_its_inputs_is_an_error():
    """The config combines the configs of two modalities."""
    config = load_config(DIGITS)
    config.model.inputs = ConfigDict({"spectrogram": load_config(MEL).model.inputs.spectrogram})
    with pytest.raises(InputError, match=r"config\.data has no clip_frames, .* for spectrogram"):
        from_config(config)


def data(windows=0, **shapes):
    """Returns a data set of zeros of which only the first example can be read."""

    def example(index, seed):
        del seed
        check = tf.debugging.assert_equal(index, tf.constant(0, tf.int64))
        with tf.control_dependencies([check]):
            return {name: tf.zeros(*shape) for name, shape in shapes.items()}

    source = Source(7, example, eval_windows=windows)
    return Dataset(source, source, tuple("0123456789"))


LABEL = ([], tf.int32)


def test_fitting_data_is_accepted():
    fitting = data(image=([8, 8, 1], tf.uint8), label=LABEL)
    check_data(from_config(load_config(DIGITS)), fitting)
    windows = data(4, spectrogram=([4, 60, 80], tf.float16), label=LABEL)
    check_data(from_config(load_config(MEL)), windows)


@pytest.mark.parametrize(
    ("spec", "features", "loss", "message"),
    [
        (
            DIGITS,
            dict(points=([64, 3], tf.float32), label=LABEL),
            "softmax",
            "data set 'digits' gives points, label; the network takes image",
        ),
        (
            DIGITS,
            dict(image=([8, 8, 1], tf.uint8), label=LABEL),
            "sigmoid",
            "data set 'digits' gives image, label; the sigmoid loss takes labels",
        ),
        (
            DIGITS,
            dict(image=([8, 8, 1], tf.uint8), labels=([10], tf.uint8)),
            "softmax",
            "data set 'digits' gives image, labels; the softmax loss takes label",
        ),
        (
            DIGITS,
            dict(image=([16, 16, 1], tf.uint8), label=LABEL),
            "softmax",
            "gives image uint8 [16, 16, 1]; the network takes uint8 [8, 8, 1]",
        ),
        (
            DIGITS,
            dict(image=([8, 8, 1], tf.float32), label=LABEL),
            "softmax",
            "gives image float32 [8, 8, 1]; the network takes uint8 [8, 8, 1]",
        ),
    ],
)
def test_data_that_does_not_fit_network_or_loss_is_an_error(spec, features, loss, message):
    config = load_config(spec)
    config.train.loss, config.train.label_smoothing = loss, 0.0
    with pytest.raises(InputError) as refused:
        check_data(from_config(config), data(**features))
    assert message in str(refused.value)
