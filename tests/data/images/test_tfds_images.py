"""TFDS data sets of pictures, compared with reading by TFDS, and damaged data sets."""

import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from perceiver.data.images import folder as image_folder
from perceiver.data.images import tfds_images
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

CLASSES = ["cat", "dog", "emu"]
IMAGE = tfds.features.Image(shape=(None, None, 3), encoding_format="png")
LABEL = tfds.features.ClassLabel(names=CLASSES)


class Pictures(tfds.dataset_builders.AdhocBuilder, skip_registration=True):
    """A TFDS data set of any features and examples."""

    code_path = None  # TFDS need not look for files next to this one

    def __init__(self, *, supervised_keys=None, **options):
        self.supervised_keys = supervised_keys
        super().__init__(**options)

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=self._feature_spec,
            supervised_keys=self.supervised_keys,
            disable_shuffling=self._disable_shuffling,
        )


def prepare(dir, splits, features, name="pets", version="1.0.0", shards=3, **options):
    examples = {split: list(enumerate(of_split)) for split, of_split in splits.items()}
    builder = Pictures(
        name=name,
        version=version,
        features=tfds.features.FeaturesDict(features),
        split_datasets=examples,
        data_dir=dir,
        **options,
    )
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=shards))
    return builder


def greys(levels):
    """Returns uniform pictures of the grey levels, each with the class level % 3."""
    return [
        {
            "image": np.full((30, 40, 3), level, np.uint8),
            "label": level % 3,
            "note": "x",
        }
        for level in levels
    ]


@pytest.fixture
def options(tmp_path, folder_options):
    """Options of tfds_images for small pictures of 'pets' in tmp_path."""
    shared = {k: v for k, v in folder_options.items() if k not in ("val_fraction", "split_seed")}
    return shared | {
        "tfds_name": "pets",
        "dir": str(tmp_path),
        "train_split": "train",
        "eval_split": "test",
    }


@pytest.fixture
def pets(tmp_path):
    """A sharded data set with the grey levels 0 to 99 for training and 100 to 111 for testing."""
    features = {"image": IMAGE, "label": LABEL, "note": tfds.features.Text()}
    splits = {"train": greys(range(100)), "test": greys(range(100, 112))}
    return pathlib.Path(prepare(tmp_path, splits, features, version="1.2.0").data_dir)


def levels(source):
    (batch,) = source.eval_batches(batch_size=source.num_examples)
    assert (batch["label"] == batch["image"][:, 0, 0, 0] % 3).all()
    return batch["image"][:, 0, 0, 0].tolist()


def test_every_example_once_with_its_label_and_name(pets, options):
    data = tfds_images.load(**options)
    assert data.class_names == tuple(CLASSES)
    assert (data.train.num_examples, data.eval.num_examples) == (100, 12)
    assert sorted(levels(data.train)) == list(range(100))
    assert sorted(levels(data.eval)) == list(range(100, 112))
    (batch,) = data.eval.eval_batches(batch_size=12)
    assert batch["image"].dtype == np.uint8
    assert batch["image"].shape == (12, 16, 16, 3)
    assert batch["label"].dtype == np.int32
    assert data.eval.name(0) == f"{pets}/pets-test.tfrecord-00000-of-00003: record 0"
    assert data.eval.name(11).startswith(f"{pets}/pets-test.tfrecord-00002-of-00003: record ")


def test_an_empty_dir_is_an_error(options):
    with pytest.raises(InputError, match="dir is empty"):
        tfds_images.load(**(options | {"dir": ""}))


@pytest.mark.parametrize(
    "split", ["train[:7%]", "train[30:40]", "train[-5:]", "train+test", "train[:3]+train[97:]"]
)
def test_parts_of_splits_are_those_of_tfds(pets, options, split):
    read = tfds.builder_from_directory(str(pets)).as_dataset(split=split)
    expected = sorted(int(example["image"][0, 0, 0]) for example in tfds.as_numpy(read))
    source = tfds_images.load(**(options | {"eval_split": split})).eval
    assert sorted(levels(source)) == expected
    numbers = {source.name(index) for index in range(source.num_examples)}
    assert len(numbers) == len(expected)


def test_training_takes_every_example_of_an_epoch(pets, options):
    batches = tfds_images.load(**options).train.train_batches(batch_size=25, seed=0)
    shown = [level for _ in range(4) for level in next(batches)["image"][:, 0, 0, 0].tolist()]
    assert sorted(shown) == list(range(100))
    assert shown != sorted(shown)


def test_the_recipe_is_that_of_the_folder(tmp_path, files, options, folder_options):
    paths = sorted((files / "pictures").glob("*/*"))[:12]
    labels = {folder: label for label, folder in enumerate(sorted({p.parent.name for p in paths}))}
    features = {
        "image": tfds.features.Image(encoding_format="jpeg"),
        "label": tfds.features.ClassLabel(names=list(labels)),
    }
    examples = [{"image": str(path), "label": path.parent.name} for path in paths]
    prepare(tmp_path, {"train": examples, "test": examples}, features, disable_shuffling=True)
    for path in paths:
        copy = tmp_path / "folder" / path.parent.name / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    by_folder = image_folder.load(
        dir=str(tmp_path / "folder"),
        **(folder_options | {"val_fraction": 0.1, "randaugment_layers": 2}),
    )
    of_path = {
        pathlib.Path(by_folder.train.name(i)).name: i for i in range(by_folder.train.num_examples)
    }
    source = tfds_images.load(**options, randaugment_layers=2).train
    compared = 0
    for index, path in enumerate(paths):
        if path.name in of_path:  # the others are in the validation split
            for seed in (None, tf.constant([1, index])):
                ours = source.example(tf.constant(index, tf.int64), seed)
                theirs = by_folder.train.example(tf.constant(of_path[path.name], tf.int64), seed)
                np.testing.assert_array_equal(ours["image"], theirs["image"])
                assert ours["label"] == labels[path.parent.name]
            compared += 1
    assert compared >= 10


@pytest.mark.parametrize("channels", [1, 3])
def test_greyscale_pictures(tmp_path, options, channels):
    features = {"image": tfds.features.Image(shape=(28, 28, 1)), "label": LABEL}
    noise = np.random.default_rng(0).integers(0, 256, (6, 28, 28, 1), np.uint8)
    examples = [{"image": picture, "label": 0} for picture in noise]
    prepare(tmp_path, {"train": examples, "test": examples}, features, disable_shuffling=True)
    source = tfds_images.load(**(options | {"channels": channels, "image_size": 24})).eval
    (batch,) = source.eval_batches(batch_size=6)
    assert batch["image"].shape == (6, 24, 24, channels)
    # The central 24 of 28 pixels, 0.875 of them: nothing is resized.
    np.testing.assert_allclose(
        batch["image"].astype(int),
        np.repeat(noise[:, 2:26, 2:26], channels, -1).astype(int),
        atol=1,
    )


def test_mixed_pairs(pets, options):
    batch = next(
        tfds_images.load(**options, mixup_alpha=0.2).train.train_batches(batch_size=4, seed=0)
    )
    assert {"other_label", "label_weight"} <= set(batch)
    source = tfds_images.load(**options, mixup_alpha=0.2).eval
    assert "other_label" not in next(source.eval_batches(batch_size=4))


def test_the_newest_version_is_the_default(tmp_path, options):
    features = {"image": IMAGE, "label": LABEL, "note": tfds.features.Text()}
    for version, level in (("2.0.0", 2), ("10.0.0", 10), ("9.1.0", 9)):
        splits = {"train": greys([level]), "test": greys([level])}
        prepare(tmp_path, splits, features, version=version, shards=1)
    assert levels(tfds_images.load(**options).eval) == [10]
    assert levels(tfds_images.load(**(options | {"tfds_name": "pets:9.1.0"})).eval) == [9]
    with pytest.raises(InputError, match=r"versions 2\.0\.0, 9\.1\.0, 10\.0\.0"):
        tfds_images.load(**(options | {"tfds_name": "pets:3.0.0"}))


def test_configs_of_a_data_set(tmp_path, options):
    features = {"image": IMAGE, "label": LABEL, "note": tfds.features.Text()}
    splits = {"train": greys([5]), "test": greys([5])}
    prepare(tmp_path, splits, features, config="small", shards=1)
    assert levels(tfds_images.load(**options).eval) == [5]
    splits = {"train": greys([7]), "test": greys([7])}
    prepare(tmp_path, splits, features, config="large", shards=1)
    assert levels(tfds_images.load(**(options | {"tfds_name": "pets/small"})).eval) == [5]
    assert levels(tfds_images.load(**(options | {"tfds_name": "pets/large:1.0.0"})).eval) == [7]
    with pytest.raises(InputError, match="'pets/large', 'pets/small'"):
        tfds_images.load(**options)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("imagenet2012", "python -m experiments.prepare_data imagenet --archives=DIR --out="),
        ("cifar10", "tfds build cifar10 --data_dir="),
        ("imagenette/320px-v2", r"imagenette/320px-v2: prepare it there with `tfds build"),
        ("pest", "unknown TFDS data set 'pest': did you mean 'pets'"),
        ("imagnet2012", "did you mean 'imagenet2012'"),
    ],
)
def test_a_missing_data_set_is_an_error(pets, tmp_path, options, name, message):
    for folder in (tmp_path, tmp_path / "absent"):
        if folder == tmp_path or name != "pest":
            with pytest.raises(InputError, match=message) as raised:
                tfds_images.load(**(options | {"tfds_name": name, "dir": str(folder)}))
            assert str(folder) in str(raised.value)
            assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"eval_split": "tets"}, r"split 'tets' is not available: Unknown split .*'test'"),
        ({"train_split": "train[:1000]"}, "incompatible with 100 examples"),
        ({"train_split": "train[:1"}, "Error parsing split"),
        ({"eval_split": "test[5:5]"}, "is empty"),
        ({"channels": 2}, "channels is 2"),
        ({"cutmix_alpha": -1.0}, "cutmix_alpha is -1"),
    ],
)
def test_wrong_options_are_named(pets, options, change, named):
    with pytest.raises(InputError, match=named):
        tfds_images.load(**(options | change))


def test_an_incomplete_data_set_is_an_error(pets, options):
    shard = pets / "pets-train.tfrecord-00001-of-00003"
    whole = shard.read_bytes()
    length = int.from_bytes(whole[:8], "little") + 16
    shard.write_bytes(whole[:length])
    with pytest.raises(InputError, match=f"{shard.name} has 1 records and should have 3"):
        tfds_images.load(**options)
    shard.unlink()
    with pytest.raises(InputError, match=f"{shard.name} cannot be read"):
        tfds_images.load(**options)
    info = pets / "dataset_info.json"
    info.write_text(info.read_text()[:100])
    with pytest.raises(InputError, match=f"{info} is missing or damaged"):
        tfds_images.load(**options)
    info.unlink()
    with pytest.raises(InputError, match=f"{info} is missing or damaged"):
        tfds_images.load(**options)


def test_a_damaged_record_is_named(pets, options):
    shard = pets / "pets-test.tfrecord-00002-of-00003"
    damaged = bytearray(shard.read_bytes())
    damaged[40] ^= 1
    shard.write_bytes(damaged)
    source = tfds_images.load(**options).eval
    with pytest.raises(InputError, match=rf"{shard}: record 0.*corrupted record"):
        list(source.eval_batches(batch_size=5))


def test_other_files_than_tfrecord_are_refused(tmp_path, options):
    features = {"image": IMAGE, "label": LABEL, "note": tfds.features.Text()}
    splits = {"train": greys([1]), "test": greys([2])}
    prepare(tmp_path, splits, features, file_format="array_record", shards=1)
    with pytest.raises(InputError, match="holds array_record files"):
        tfds_images.load(**options)


def test_pictures_without_a_label_are_named(tmp_path, options):
    features = {"image": IMAGE, "label": LABEL}
    picture = np.zeros((8, 8, 3), np.uint8)
    splits = {
        "train": [{"image": picture, "label": 1}],
        "test": [{"image": picture, "label": -1}],
    }
    prepare(tmp_path, splits, features, shards=1)
    data = tfds_images.load(**options)
    assert next(data.train.train_batches(batch_size=1, seed=0))["label"] == [1]
    with pytest.raises(InputError, match=r"record 0.*the label is not given"):
        list(data.eval.eval_batches(batch_size=1))


DEPTH = tfds.features.Image(shape=(None, None, 1), dtype=np.float32)


@pytest.mark.parametrize(
    ("features", "keys", "expected"),
    [
        ({"a": IMAGE, "b": LABEL}, None, ("a", "b")),
        ({"a": IMAGE, "b": LABEL}, ("a", "b"), ("a", "b")),
        ({"a": IMAGE, "b": LABEL, "c": IMAGE, "d": LABEL}, ("c", "d"), ("c", "d")),
        ({"a": IMAGE, "b": LABEL, "c": LABEL}, None, r"labels \['b', 'c'\]"),
        ({"a": IMAGE, "b": LABEL, "c": IMAGE}, ("a", "c"), r"pictures \['a', 'c'\]"),
        ({"a": IMAGE}, None, r"labels \[\] of the features \['a'\]"),
        ({"a": DEPTH, "b": LABEL}, None, "'a' has values of .*float32"),
    ],
)
def test_the_picture_and_its_label_among_the_features(tmp_path, options, features, keys, expected):
    made = {
        key: 1 if kind is LABEL else np.full((9, 9, kind.shape[-1]), 7 * (key > "b"), kind.np_dtype)
        for key, kind in features.items()
    }
    prepare(tmp_path, {"train": [made], "test": [made]}, features, shards=1, supervised_keys=keys)
    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected):
            tfds_images.load(**options)
        return
    (batch,) = tfds_images.load(**options).eval.eval_batches(batch_size=1)
    assert batch["image"].max() == 7 * (expected[0] > "b")
    assert batch["label"] == [1]


def test_a_truncated_picture_is_named(tmp_path, options):
    features = {"image": tfds.features.Image(encoding_format="jpeg"), "label": LABEL}
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.jpg")
    data = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 3])
    examples = [{"image": str(tmp_path / f"{n}.jpg"), "label": 0} for n in ("whole", "cut")]
    prepare(
        tmp_path, {"train": examples, "test": examples}, features, shards=1, disable_shuffling=True
    )
    with pytest.raises(InputError, match=r"pets-test.*: record 1"):
        list(tfds_images.load(**options).eval.eval_batches(batch_size=2))
