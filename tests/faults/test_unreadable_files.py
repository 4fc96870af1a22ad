"""Unreadable files: training skips up to an allowed share of them, evaluation skips none."""

import csv
import dataclasses
import json
import shutil

import h5py
import numpy as np
import pytest
from PIL import Image

from perceiver.data import registry
from perceiver.data.clips import clip_folder
from perceiver.data.dataset import Source
from perceiver.data.images import folder as image_folder
from perceiver.data.points.folder import load as load_points
from perceiver.data.points.modelnet40 import loader
from perceiver.data.stream.batches import eval_batches, train_iterator
from perceiver.data.stream.records import open_records
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError
from perceiver.training.logging.metrics import read_metrics
from tests.data.streams import assert_same_batches, noisy_source, take
from tests.experiments.small_data import point_clouds
from tests.processes import run

pytestmark = pytest.mark.usefixtures("open_decoders")

CLOUDS = {"num_points": 16, "scale": (1.0, 1.0), "translation": 0.0, "rotation": "none"}


def test_a_picture_that_cannot_be_decoded_is_named(tmp_path, add_pictures, folder_options):
    paths = add_pictures(tmp_path / "a", 8, ".jpg") + add_pictures(tmp_path / "b", 8, ".jpg")
    data = image_folder.load(dir=str(tmp_path), **folder_options)
    for path in paths:
        if str(path) in {data.train.name(3), data.eval.name(2)}:
            path.write_bytes(path.read_bytes()[:300])

    iterator = train_iterator(data.train, batch_size=4, seed=0)
    with pytest.raises(InputError) as raised:
        take(iterator, 3)
    assert data.train.name(3) in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    with pytest.raises(InputError, match="cannot be read") as raised:
        list(eval_batches(data.eval, batch_size=3))
    assert data.eval.name(2) in str(raised.value)


def with_damaged_examples(source, unreadable):
    """Returns the source with examples that fail the way a damaged file does."""

    def example(index, seed):
        fine = tf.reduce_all(tf.constant(unreadable, tf.int64) != index)
        with tf.control_dependencies([tf.debugging.Assert(fine, ["damaged"])]):
            return source.example(tf.identity(index), seed)

    return dataclasses.replace(source, example=example, name=lambda index: f"file {index}")


def test_training_skips_an_allowed_share_of_damaged_files(capsys):
    """The next readable example replaces a damaged one; the others do not change."""
    whole = take(train_iterator(noisy_source(14), batch_size=4, seed=4), 14)
    damaged = with_damaged_examples(noisy_source(14), [5, 6, 13])
    iterator = train_iterator(damaged, batch_size=4, seed=4, max_unreadable=0.22)
    batches = take(iterator, 14)
    shown = {5: 7, 6: 7, 13: 0}
    for expected, batch in zip(whole, batches, strict=True):
        wanted = [shown.get(int(index), index) for index in expected["index"]]
        np.testing.assert_array_equal(batch["index"], wanted)
        untouched = expected["index"] == batch["index"]
        np.testing.assert_array_equal(batch["image"][untouched], expected["image"][untouched])
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 3
    assert {w.split(",")[0].removeprefix("warning: passed over ") for w in warnings} == {
        "file 5",
        "file 6",
        "file 13",
    }
    assert warnings[-1].endswith("3 so far, 3 are allowed")


@pytest.mark.parametrize("batches", [1, 4, 9])
def test_a_run_that_skipped_files_resumes_exactly(batches):
    damaged = with_damaged_examples(noisy_source(14), [5, 6, 13])
    iterator = train_iterator(damaged, batch_size=4, seed=4, max_unreadable=0.5)
    take(iterator, batches)
    state = iterator.state()
    expected = take(iterator, 8)
    fresh = train_iterator(damaged, batch_size=4, seed=4, max_unreadable=0.5)
    fresh.restore(state)
    assert_same_batches(take(fresh, 8), expected)


def test_more_damaged_files_than_allowed_end_the_training():
    damaged = with_damaged_examples(noisy_source(14), [5, 6, 13])
    iterator = train_iterator(damaged, batch_size=4, seed=4, max_unreadable=0.2)
    with pytest.raises(InputError, match=r"3 of 14 examples, 2 are allowed"):
        take(iterator, 14)


def test_a_read_that_fails_once_skips_no_example(tmp_path):
    """The file is missing at the first read only; no example is skipped."""
    path = tmp_path / "late"
    reads = []

    def put(name):
        reads.append(name)
        if len(reads) == 2:
            # Atomically, because prefetched examples read it at the same time.
            path.with_suffix(".new").write_bytes(b"there")
            path.with_suffix(".new").replace(path)
        return name

    def example(index, seed):
        name = tf.numpy_function(put, [str(path)], tf.string)
        there = tf.strings.length(tf.io.read_file(tf.ensure_shape(name, [])))
        return {"image": tf.fill([1], there + tf.cast(index, tf.int32))}

    iterator = train_iterator(Source(1, example), batch_size=1, seed=0)
    np.testing.assert_array_equal(next(iterator)["image"], [[5]])


def test_an_error_of_the_pipeline_is_not_hidden():
    """The example fails in every pipeline and never when it is read alone."""

    def example(index, seed):
        fine = tf.constant(tf.executing_eagerly())
        with tf.control_dependencies([tf.debugging.Assert(fine, ["only in a graph"])]):
            return {"image": tf.zeros([1])}

    iterator = train_iterator(Source(3, example), batch_size=1, seed=0, max_unreadable=0.5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="only in a graph"):
        next(iterator)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_an_invalid_share_is_refused(share):
    with pytest.raises(ValueError, match="max_unreadable is"):
        train_iterator(noisy_source(3), batch_size=1, seed=0, max_unreadable=share)


def cut_short(file):
    """Cuts a file in half, like an interrupted download, and returns it."""
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    return file


def flip(file, place):
    """Flips one bit of a file, like a bad disk."""
    damaged = bytearray(file.read_bytes())
    damaged[place] ^= 1
    file.write_bytes(damaged)


def test_a_damaged_tfrecord_is_skipped_in_training_and_refused_in_evaluation(tmp_path, capsys):
    path = tmp_path / "-a 'b'; c.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number in range(8):
            writer.write(bytes([number] * 50))
    flip(path, 3 * (50 + 16) + 20)  # 16 bytes of lengths and checksums a record
    records = open_records([path])

    def example(index, seed):
        return {"image": tf.ensure_shape(tf.io.decode_raw(records.read(index), tf.uint8), [50])}

    source = Source(8, example, records.name)
    iterator = train_iterator(source, batch_size=4, seed=0, max_unreadable=0.125)
    shown = np.concatenate([batch["image"][:, 0] for batch in take(iterator, 2)])
    assert sorted(shown) == [0, 1, 2, 4, 4, 5, 6, 7]  # record 4 replaces record 3
    (warning,) = capsys.readouterr().err.splitlines()
    assert f"passed over {path}: record 3, which cannot be read" in warning
    assert warning.endswith("1 so far, 1 are allowed")
    with pytest.raises(InputError, match=r"c\.tfrecord: record 3, which cannot be read"):
        list(eval_batches(source, batch_size=4))
    with pytest.raises(InputError, match=r"record 3.*1 of 8 examples, 0 are allowed"):
        take(train_iterator(source, batch_size=4, seed=0), 2)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_damaged_hdf5_file_is_named_when_loading(split, tmp_path):
    """Clouds are read completely at the start, so none is skipped."""
    point_clouds(tmp_path)
    cut_short(tmp_path / f"{split}0.h5")
    with pytest.raises(InputError, match=rf"{split}0\.h5 cannot be read \("):
        loader.load(dir=str(tmp_path), **CLOUDS)


def test_damaged_point_files_are_named_when_loading(tmp_path):
    (tmp_path / "a").mkdir()
    points = np.random.default_rng(0).normal(size=(40, 3))
    for number in range(4):
        np.save(tmp_path / "a" / f"{number}.npy", points)
    with h5py.File(tmp_path / "a" / "whole.h5", "w") as file:
        file["data"] = points
    options = CLOUDS | {"val_fraction": 0.5, "split_seed": 0}
    assert load_points(dir=str(tmp_path), **options).train.num_examples > 0
    for name in ("whole.h5", "2.npy"):
        damaged = cut_short(tmp_path / "a" / name)
        with pytest.raises(InputError) as raised:
            load_points(dir=str(tmp_path), **options)
        assert str(raised.value).startswith(f"{damaged}: cannot be read as {damaged.suffix} (")
        damaged.unlink()


def test_damaged_videos_and_sounds_are_counted_and_named(files, tmp_path, capsys):
    """One real mp4 and one real ogg file of six are damaged."""
    sounds = sorted((files / "sounds").glob("*/*.ogg"))[:3]
    videos = [files / "videos" / f"{name}.mp4" for name in ("friday", "late", "mono")]
    for split, part in (("train", slice(0, 2)), ("val", slice(2, 3))):
        for name, files in (("sounds", sounds), ("videos", videos)):
            (tmp_path / "clips" / split / name).mkdir(parents=True)
            for number, file in enumerate(files[part]):
                copy = tmp_path / "clips" / split / name / f"{number}{file.suffix}"
                shutil.copyfile(file, copy)
    video = cut_short(tmp_path / "clips" / "train" / "videos" / "1.mp4")
    sound = tmp_path / "clips" / "train" / "sounds" / "1.ogg"
    sound.write_bytes(sound.read_bytes()[:4] + bytes(2000))

    def load(max_failed):
        return clip_folder.load(
            dir=str(tmp_path / "clips"),
            prepared=str(tmp_path / "prepared"),
            val_fraction=0.1,
            split_seed=0,
            max_failed=max_failed,
            max_seconds=1.0,
            modalities=("audio",),
        )

    with pytest.raises(InputError, match=r"2 of the 4 clips of train cannot be used") as raised:
        load(0.0)
    assert len(str(raised.value).splitlines()) == 1
    (table,) = tmp_path.glob("prepared/*/preparation/train/failures.csv")
    with table.open() as file:
        assert sorted(row["file"] for row in csv.DictReader(file)) == sorted(
            str(path.relative_to(tmp_path / "clips")) for path in (video, sound)
        )
    capsys.readouterr()
    data = load(0.5)
    assert (data.train.num_examples, data.eval.num_examples) == (2, 2)
    assert f"train: 2 of 4 clips are left out; {table} names them" in capsys.readouterr().err


# Files and folders without read permission.

SQUARES = {
    "image_size": 8,
    "channels": 3,
    "crop_area": (0.5, 1.0),
    "crop_aspect": (1.0, 1.0),
    "flip": False,
}
LOADERS = {
    "image_folder": SQUARES | {"val_fraction": 0.5, "split_seed": 0},
    "clip_folder": {"val_fraction": 0.5, "split_seed": 0, "modalities": ("audio",)},
    "point_folder": CLOUDS | {"val_fraction": 0.5, "split_seed": 0},
    "modelnet40": CLOUDS,
    "tfds_images": SQUARES
    | {"tfds_name": "pictures", "train_split": "train", "eval_split": "test"},
    "audioset": {"train_split": "train", "eval_split": "eval", "modalities": ("audio",)},
}


@pytest.mark.parametrize("name", LOADERS)
def test_a_folder_without_read_permission_is_named(name, public_folder, closed):
    options = dict(LOADERS[name])
    if name == "clip_folder":
        options["prepared"] = str(public_folder / "prepared")
    (public_folder / "data" / "pictures").mkdir(parents=True)
    with closed(public_folder / "data"), pytest.raises(InputError) as raised:
        registry.load(name, dir=str(public_folder / "data"), **options)
    assert str(raised.value).startswith(f"{public_folder}/data")
    assert "cannot be read (Permission denied)" in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "unreadable"),
    [
        *(("image_folder", below) for below in ("chair", "train/chair")),
        *(("point_folder", below) for below in ("chair", "train/chair", "chair/train")),
        *(("modelnet40", below) for below in ("chair", "chair/train")),
    ],
)
def test_a_class_without_read_permission_is_named(name, unreadable, public_folder, closed):
    for folder in ("val/chair", unreadable) if unreadable.startswith("train") else (unreadable,):
        (public_folder / folder).mkdir(parents=True)
    with closed(public_folder / unreadable), pytest.raises(InputError) as raised:
        registry.load(name, dir=str(public_folder), **LOADERS[name])
    assert str(raised.value).startswith(f"{public_folder}/{unreadable}")
    assert "cannot be read (Permission denied)" in str(raised.value)


def test_a_file_without_read_permission_is_named(public_folder, closed, folder_options):
    (public_folder / "a").mkdir()
    for number in range(4):
        Image.new("RGB", (9, 9)).save(public_folder / "a" / f"{number}.png")
    with closed(public_folder / "a" / "2.png"), pytest.raises(InputError) as raised:
        image_folder.load(dir=str(public_folder), **folder_options)
    assert str(raised.value).startswith(f"{public_folder}/a/2.png: cannot be read (Permission")


# A whole run.

ARGUMENTS = [
    "--config=configs/folder.py",
    "--config.model.num_latents=4",
    "--config.model.latent_channels=16",
    "--config.data.image_size=16",
    "--config.train.batch_size=16",
    "--config.train.steps=4",
    "--config.train.log_every=1",
    "--config.train.eval_every=2",
]


@pytest.fixture
def pictures(tmp_path):
    """A folder of two classes with 16 pictures for training and 4 for evaluation each."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 16), ("val", 4)):
        for name in ("cat", "dog"):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = draw.integers(0, 256, (40, 50, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / "data" / split / name / f"{i}.jpg")
    return tmp_path / "data"


def test_train_skips_up_to_max_unreadable(pictures, tmp_path):
    damaged = cut_short(pictures / "train" / "cat" / "3.jpg")
    arguments = [*ARGUMENTS, f"--workdir={tmp_path}/run", f"--config.data.dir={pictures}"]
    _, err = run("train", *arguments, status=2)  # 1 of 32 exceeds the default of a thousandth
    (line,) = [x for x in err.splitlines() if x.startswith("error: ")]
    assert str(damaged) in line
    assert "1 of 32 examples, 0 are allowed" in line
    assert "Traceback" not in err

    _, err = run("train", *arguments, "--config.train.max_unreadable=0.1")
    (line,) = [x for x in err.splitlines() if x.startswith("warning: ")]
    assert str(damaged) in line
    assert "1 so far, 3 are allowed" in line
    steps = [r["step"] for r in read_metrics(tmp_path / "run") if r["split"] == "train"]
    assert steps == [1, 2, 3, 4]
    assert json.loads((tmp_path / "run" / "eval.json").read_text())["num_examples"] == 8


@pytest.mark.parametrize("number", [0, 2])
def test_evaluation_skips_no_file(number, pictures, tmp_path):
    damaged = cut_short(pictures / "val" / "cat" / f"{number}.jpg")
    _, err = run(
        "train",
        *ARGUMENTS,
        f"--workdir={tmp_path}/run",
        f"--config.data.dir={pictures}",
        "--config.train.max_unreadable=0.9",
        status=2,
    )
    (line,) = [x for x in err.splitlines() if x.startswith("error: ")]
    assert str(damaged) in line
    assert "Traceback" not in err
    assert not (tmp_path / "run" / "eval.json").exists()
