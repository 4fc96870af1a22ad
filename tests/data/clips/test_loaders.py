"""Inputs from prepared clips: windows in step, labels, and refused data."""

import io
import os
import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from perceiver.data.clips import audioset, schema
from perceiver.data.stream.batches import eval_batches, train_iterator
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

PER_FRAME = 1920
CLASSES = ("Speech", "Male speech, man speaking", "Music", "Dog")
SMALL = {"clip_frames": 4, "eval_windows": 3, "image_size": 16}


def grey_frames(count):
    """Returns JPEG files of 32 x 24 pixels; frame k has the grey level k."""
    packed = []
    for level in range(count):
        packed.append(io.BytesIO())
        Image.new("RGB", (32, 24), (level, level, level)).save(packed[-1], "jpeg", quality=100)
    return [each.getvalue() for each in packed]


def frame_numbers_in_sound(num_frames):
    """Returns sound in which each sample is the number of its frame."""
    return np.repeat(np.arange(num_frames, dtype=np.int16), PER_FRAME)


def clip(id, labels, num_frames=10, with_frames=True, with_sound=True):
    frames = grey_frames(num_frames) if with_frames else []
    sound = frame_numbers_in_sound(num_frames if with_sound else 0)
    return schema.serialize(id, 0.0, labels, frames, sound)


def write(folder: pathlib.Path, splits: dict[str, list[list[bytes]]], features=None):
    """Writes a TFDS data set: for each split its shards, each a list of records."""
    folder.mkdir(exist_ok=True)
    template = "clips-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    infos = []
    for name, shards in splits.items():
        for number, records in enumerate(shards):
            path = folder / f"clips-{name}.tfrecord-{number:05}-of-{len(shards):05}"
            with tf.io.TFRecordWriter(str(path)) as writer:
                for record in records:
                    writer.write(record)
        infos.append(
            tfds.core.SplitInfo(
                name=name,
                shard_lengths=[len(records) for records in shards],
                num_bytes=sum(len(record) for records in shards for record in records),
                filename_template=tfds.core.ShardedFileTemplate(
                    data_dir=folder, dataset_name="clips", template=template
                ),
            )
        )
    tfds.folder_dataset.write_metadata(
        data_dir=folder, features=features or schema.features(CLASSES), split_infos=infos
    )
    return folder


@pytest.fixture
def prepared(tmp_path):
    """Two splits of clips of 10 frames; 'eval' has three clips in two shards."""
    return write(
        tmp_path / "clips",
        {
            "balanced_train": [[clip("first", [0]), clip("-second_000010", [0, 1])]],
            "unbalanced_train": [[clip("third", [2])]],
            "eval": [[clip("a", [3]), clip("b", [1, 2])], [clip("c", [])]],
        },
    )


def load(folder, modalities=("audio", "video"), **options):
    defaults = {"train_split": "balanced_train", "eval_split": "eval"} | SMALL
    return audioset.load(dir=str(folder), modalities=modalities, **(defaults | options))


def in_step(batch):
    """Checks that video and sound of a window have the same frames, and returns the numbers."""
    shown = batch["video"][..., 8, 8, 0]  # the grey level is the number of the frame
    heard = batch["audio"].reshape(*shown.shape, PER_FRAME)
    np.testing.assert_array_equal(heard, np.broadcast_to(shown[..., None], heard.shape))
    return shown


def test_evaluation_takes_even_windows_of_every_clip(prepared):
    data = load(prepared)
    assert data.eval.eval_windows == 3
    (batch,) = eval_batches(data.eval, batch_size=4)
    assert batch["video"].shape == (4, 3, 4, 16, 16, 3)
    assert batch["audio"].shape == (4, 3, 4 * PER_FRAME)
    assert (batch["video"].dtype, batch["audio"].dtype) == (np.uint8, np.int16)
    numbers = in_step(batch)
    np.testing.assert_array_equal(numbers[:3], [[[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]] * 3)
    np.testing.assert_array_equal(batch["mask"], [1, 1, 1, 0])


def test_all_labels_of_a_clip_are_set(prepared):
    data = load(prepared)
    assert data.class_names == CLASSES
    (batch,) = eval_batches(data.eval, batch_size=3)
    np.testing.assert_array_equal(batch["labels"], [[0, 0, 0, 1], [0, 1, 1, 0], [0, 0, 0, 0]])
    assert batch["labels"].dtype == np.uint8


def test_training_takes_random_windows_in_step(prepared):
    batch = next(train_iterator(load(prepared).train, batch_size=64, seed=0))
    assert batch["video"].shape == (64, 4, 16, 16, 3)
    numbers = in_step(batch)
    assert (np.diff(numbers.astype(int), axis=1) == 1).all()
    assert set(numbers[:, 0]) == {0, 1, 2, 3, 4, 5, 6}


def test_window_does_not_depend_on_the_other_modalities(prepared):
    both = next(train_iterator(load(prepared).train, batch_size=8, seed=3))
    for modality in ("audio", "video"):
        data = load(prepared, (modality,))
        alone = next(train_iterator(data.train, batch_size=8, seed=3))
        np.testing.assert_array_equal(alone[modality], both[modality])
        assert set(alone) == {modality, "labels", "index"}


def test_short_clips_loop(tmp_path):
    record = clip("short", [0], num_frames=3)
    folder = write(tmp_path, {"balanced_train": [[record]], "eval": [[record]]})
    data = load(folder, clip_frames=5)
    (batch,) = eval_batches(data.eval, batch_size=1)
    by_hand = [[0, 1, 2, 0, 1], [1, 2, 0, 1, 2], [2, 0, 1, 2, 0]]
    np.testing.assert_array_equal(in_step(batch)[0], by_hand)
    numbers = in_step(next(train_iterator(data.train, batch_size=16, seed=0)))
    assert {tuple(each) for each in numbers} == {tuple(each) for each in by_hand}


def test_the_paper_s_sizes(tmp_path):
    record = clip("ten seconds", [0], num_frames=250)
    folder = write(tmp_path, {"balanced_train": [[record]], "eval": [[record]]})
    data = audioset.load(
        dir=str(folder),
        train_split="balanced_train",
        eval_split="eval",
        modalities=("audio", "spectrogram", "video"),
    )
    batch = next(train_iterator(data.train, batch_size=1, seed=0))
    assert batch["audio"].shape == (1, 61_440)
    assert batch["spectrogram"].shape == (1, 60, 80)
    assert batch["spectrogram"].dtype == np.float16
    assert batch["video"].shape == (1, 32, 224, 224, 3)
    (batch,) = eval_batches(data.eval, batch_size=1)
    assert batch["audio"].shape == (1, 16, 61_440)
    assert batch["spectrogram"].shape == (1, 16, 60, 80)
    numbers = in_step(batch)
    np.testing.assert_array_equal(numbers[0, 15], np.arange(218, 250))


def test_spectrogram_matches_the_window(prepared):
    options = {"mel_frame": 512, "mel_hop": 256, "mel_bins": 20}
    data = load(prepared, ("audio", "spectrogram"), **options)
    batch = next(train_iterator(data.train, batch_size=4, seed=0))
    assert batch["spectrogram"].shape == (4, 30, 20)  # 7,680 samples, one step per 256
    # The sound of each frame is constant: only the steps between frames are audible.
    steps = batch["spectrogram"].astype(np.float32).mean(axis=-1)
    assert (steps[:, 7] > steps[:, 3] + 1).all()


def test_spec_augment_is_used_in_training_only(prepared):
    options = {"mel_frame": 512, "mel_hop": 256, "mel_bins": 20}
    masks = {"spec_time_masks": 2, "spec_time_width": 30}
    plain = load(prepared, ("spectrogram",), **options)
    masked = load(prepared, ("spectrogram",), **options, **masks)
    for source in ("train", "eval"):
        kinds = [getattr(data, source) for data in (plain, masked)]
        if source == "train":
            one, two = (next(train_iterator(kind, batch_size=8, seed=0)) for kind in kinds)
            assert (one["spectrogram"] != two["spectrogram"]).any()
        else:
            one, two = (next(eval_batches(kind, batch_size=3)) for kind in kinds)
            np.testing.assert_array_equal(one["spectrogram"], two["spectrogram"])


def test_splits_are_joined(prepared):
    data = load(prepared, train_split="balanced_train+unbalanced_train")
    assert data.train.num_examples == 3
    assert data.train.name(2).startswith("third (")


def test_empty_shard_is_skipped(tmp_path):
    shards = [[clip("a", [0])], [], [clip("b", [1])]]
    data = load(write(tmp_path, {"balanced_train": shards, "eval": shards}), ("audio",))
    (batch,) = eval_batches(data.eval, batch_size=2)
    np.testing.assert_array_equal(batch["labels"], [[1, 0, 0, 0], [0, 1, 0, 0]])


def test_an_example_is_named_by_its_id_and_its_record(prepared):
    path = prepared / "clips-balanced_train.tfrecord-00000-of-00001"
    assert load(prepared).train.name(1) == f"-second_000010 ({path}: record 1)"


@pytest.mark.parametrize(
    ("lacking", "modalities", "message"),
    [
        ("sound", ("audio",), "has no sound, which 'audio' needs"),
        ("sound", ("video", "spectrogram"), "has no sound, which 'spectrogram' needs"),
        ("frames", ("audio", "video"), "has no frames, which 'video' needs"),
    ],
)
def test_clip_without_a_needed_stream_is_named(tmp_path, lacking, modalities, message):
    there = {"with_sound": lacking != "sound", "with_frames": lacking != "frames"}
    records = [clip("whole", [0]), clip("the one", [0], **there)]
    folder = write(tmp_path, {"balanced_train": [records], "eval": [records]})
    data = load(folder, modalities)
    for batches in (
        eval_batches(data.eval, batch_size=2),
        train_iterator(data.train, batch_size=8, seed=0),
    ):
        with pytest.raises(InputError, match="the one .*record 1.*" + message) as raised:
            next(batches)
        assert len(str(raised.value).splitlines()) == 1
    other = ("video",) if lacking == "sound" else ("audio",)
    assert next(eval_batches(load(folder, other).eval, batch_size=2))["mask"].sum() == 2


def test_a_damaged_record_and_a_damaged_frame_are_named(tmp_path):
    broken = schema.serialize("broken", 0.0, [0], [b"\xff\xd8 no JPEG"] * 10, np.zeros(0, np.int16))
    folder = write(tmp_path, {"balanced_train": [[clip("a", [0])]], "eval": [[broken]]})
    data = load(folder, ("video",))
    with pytest.raises(InputError, match=r"broken .*record 0"):
        next(eval_batches(data.eval, batch_size=1))
    (path,) = folder.glob("*balanced_train*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    data = load(folder, ("video",))
    with pytest.raises(InputError, match=r"balanced_train.*record 0.*cannot be read"):
        next(train_iterator(data.train, batch_size=1, seed=0))


def test_label_out_of_range_is_named(tmp_path):
    folder = write(tmp_path, {"balanced_train": [[clip("a", [4])]], "eval": [[clip("b", [3])]]})
    with pytest.raises(InputError, match=r"a .*record 0"):
        next(train_iterator(load(folder, ("audio",)).train, batch_size=1, seed=0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modalities": ()}, "modalities is empty"),
        ({"modalities": ("sound",)}, "unknown modality 'sound'"),
        ({"clip_frames": 0}, "clip_frames is 0"),
        ({"eval_windows": 0}, "eval_windows is 0"),
        ({"image_size": 0}, "image_size is 0"),
        ({"mel_hop": 0}, "mel_hop is 0"),
        ({"spec_time_masks": 1, "spec_time_width": 9}, "spec_time_width is 9: give 0 to 8"),
        ({"train_split": "train"}, "unknown split 'train'"),
        ({"train_split": "balanced_tran"}, "did you mean 'balanced_train'"),
        ({"eval_split": "eval+eval"}, "twice"),
    ],
)
def test_wrong_options_are_named(prepared, options, message):
    with pytest.raises(InputError, match=message) as raised:
        load(prepared, **options)
    assert len(str(raised.value).splitlines()) == 1


def test_a_folder_without_prepared_clips_says_how_to_prepare_them(tmp_path):
    for folder in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(InputError, match=r"prepare_data audioset --csv") as raised:
            load(folder)
        assert str(folder) in str(raised.value)


def test_a_data_set_of_another_kind_is_refused(tmp_path):
    features = tfds.features.FeaturesDict({"image": tfds.features.Image()})
    pictures = tf.train.Feature(bytes_list=tf.train.BytesList(value=grey_frames(1)))
    record = tf.train.Example(features=tf.train.Features(feature={"image": pictures}))
    write(tmp_path, {"train": [[record.SerializeToString()]]}, features)
    with pytest.raises(InputError, match="another kind"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize("content", ["", '{"a', "[]"])
def test_a_damaged_description_is_named(prepared, name, content):
    (prepared / name).write_text(content)
    with pytest.raises(InputError, match=rf"{name} is missing or damaged") as raised:
        load(prepared)
    assert str(prepared) in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_name_can_contain_any_bytes(tmp_path):
    records = [clip(os.fsdecode(b"-\xff;.wav"), [0])]
    data = load(write(tmp_path, {"balanced_train": [records], "eval": [records]}))
    assert data.eval.name(0).startswith(r"-\xff;.wav (")


def test_a_missing_file_and_a_missing_clip_are_refused(prepared):
    path = prepared / "clips-eval.tfrecord-00001-of-00002"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(clip("one", []))
        writer.write(clip("too many", []))
    with pytest.raises(InputError, match="has 4 clips, not the 3"):
        load(prepared)
    path.unlink()
    with pytest.raises(InputError, match=r"clips-eval\.tfrecord-00001-of-00002"):
        load(prepared)
