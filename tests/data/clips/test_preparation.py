"""Preparation of a TFDS data set: its content, its reports, and resuming of stopped work."""

import csv
import hashlib
import pathlib
import shutil
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds

from perceiver.data.clips import schema
from perceiver.data.clips.preparation import decoder_process, runners, shards
from perceiver.data.clips.preparation.decoder_process import DecoderProcess, ListedClip
from perceiver.data.clips.preparation.decoding import ClipError
from perceiver.data.clips.preparation.prepare import prepare_audioset
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError
from tests.data.clips import media

CLASSES = 'index,mid,display_name\n0,/m/a,"Dogs, all"\n1,/m/b,Bells\n2,/m/c,Rain\n'
ROWS = [
    *(("-loud_Clip0", 30, 33, "/m/a,/m/c"), ("quiet_Clip1", 0, 3, "/m/b")),
    *(("silentClip2", 10, 13, "/m/c"), ("broken-Clp3", 10, 20, "/m/c")),
    ("absent_Clip", 10, 20, "/m/b"),
]


@pytest.fixture(scope="module", autouse=True)
def shared_decoders():
    """Keeps decoders from test to test, because starting one takes seconds."""
    close = decoder_process.close_idle_decoders
    decoder_process.close_idle_decoders = lambda: None
    yield
    decoder_process.close_idle_decoders = close
    close()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A list of five segments: one file has no sound, one is broken and one is missing."""
    folder = tmp_path_factory.mktemp("source")
    (folder / "classes.csv").write_text(CLASSES)
    lines = [f'{video}, {start}.000, {end}.000, "{mids}"\n' for video, start, end, mids in ROWS]
    (folder / "some_segments.csv").write_text("# 1\n# 2\n# 3\n" + "".join(lines))
    clips = folder / "clips"
    (clips / "x").mkdir(parents=True)
    levels = np.repeat(np.arange(40) * 5 + 20, 25)  # one grey level per second
    sound = ("aac", 16_000, "fltp", media.sine(16_000, 40.0))
    media.write(clips / "-loud_Clip0.mp4", frames=levels, rate=25, sound=sound)  # the whole video
    sound = ("aac", 16_000, "fltp", media.sine(16_000, 3.0))
    media.write(clips / "x/quiet_Clip1_000000.mp4", frames=levels[:75], rate=25, sound=sound)
    media.write(clips / "silentClip2_10.mkv", frames=levels[:75], rate=25)
    (clips / "broken-Clp3_10000.mp4").write_bytes(b"\0" * 1000)
    return folder


def prepare(source, out, **options):
    return prepare_audioset(
        [str(source / "some_segments.csv")],
        str(source / "classes.csv"),
        str(source / "clips"),
        str(out),
        **({"runner": runners.run_in_threads, "num_shards": 2} | options),
    )


def test_a_data_set_that_tfds_opens(source, tmp_path):
    (report,) = prepare(source, tmp_path)
    assert (report.split, report.listed, report.found, report.decoded) == ("some", 5, 4, 2)
    assert report.failed == {"no sound": 1, "not a whole sound or video file": 1}
    assert report.longer == 0
    with open(report.failures, newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["id", "file", "reason"]
    assert rows[1][:2] == ["broken-Clp3_000010", "broken-Clp3_10000.mp4"]
    assert rows[2][:2] == ["silentClip2_000010", "silentClip2_10.mkv"]
    assert rows[3] == ["absent_Clip_000010", "", "no file"]

    builder = tfds.builder_from_directory(str(tmp_path))
    assert builder.info.features["labels"].feature.names == ["Dogs, all", "Bells", "Rain"]
    assert builder.info.splits["some"].num_examples == 2
    examples = {e["id"].decode(): e for e in tfds.as_numpy(builder.as_dataset("some"))}
    loud, quiet = examples["-loud_Clip0_000030"], examples["quiet_Clip1_000000"]
    assert loud["labels"].tolist() == [0, 2]
    assert loud["start_seconds"] == 30
    assert loud["frames"].shape == (75, 256, 342, 3)
    assert loud["sound"].shape == (144_000,)
    np.testing.assert_allclose(
        loud["frames"].mean((1, 2, 3)), np.repeat([170, 175, 180], 25), atol=3
    )
    np.testing.assert_allclose(quiet["frames"].mean((1, 2, 3)), np.repeat([20, 25, 30], 25), atol=3)


@pytest.mark.parametrize(
    ("need", "decoded", "frames", "sound"),
    [("sound", 2, (0, 0), (1, 1)), ("video", 3, (1, 1), (0, 0)), ("any", 3, (1, 1), (0, 1))],
)
def test_clips_have_the_needed_streams(source, tmp_path, need, decoded, frames, sound):
    (report,) = prepare(source, tmp_path, need=need)
    assert report.decoded == decoded
    for path in tmp_path.glob("clips-some.tfrecord-*"):
        for record in tf.data.TFRecordDataset(str(path)):
            clip = schema.parse(record)
            assert frames[0] <= bool(len(clip["frames"])) <= frames[1]
            assert sound[0] <= bool(len(clip["sound"])) <= sound[1]


@pytest.mark.parametrize("empty", [True, False])
def test_parsing_agrees_with_tfds(empty):
    features = schema.features(["a", "b"])
    rng = np.random.default_rng(0)
    pictures = [] if empty else [rng.integers(0, 255, (16, 24, 3), np.uint8) for _ in range(3)]
    frames = [tf.io.encode_jpeg(picture).numpy() for picture in pictures]
    sound = rng.integers(-32768, 32767, 0 if empty else 5000, np.int16)
    record = schema.serialize("-x y", 2.5, [] if empty else [1, 0], frames, sound)
    by_tfds = features.deserialize_example(tf.constant(record))
    parsed = schema.parse(tf.constant(record))
    assert by_tfds["id"] == b"-x y"
    assert by_tfds["start_seconds"] == 2.5
    np.testing.assert_array_equal(parsed["labels"], by_tfds["labels"])
    np.testing.assert_array_equal(parsed["sound"], by_tfds["sound"])
    np.testing.assert_array_equal(parsed["sound"], sound)
    assert len(by_tfds["frames"]) == len(parsed["frames"])
    for ours, theirs in zip(parsed["frames"], by_tfds["frames"], strict=True):
        np.testing.assert_array_equal(tf.io.decode_jpeg(ours), theirs)


def digests(out):
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(pathlib.Path(out).rglob("*"))
        if path.is_file()
    }


def test_beam_and_threads_write_the_same(source, tmp_path):
    (by_threads,) = prepare(source, tmp_path / "threads")
    (by_beam,) = prepare(source, tmp_path / "beam", runner=runners.beam_runner())
    assert by_beam.decoded == by_threads.decoded
    assert digests(tmp_path / "beam") == digests(tmp_path / "threads")


def test_existing_shards_are_not_written_again(source, tmp_path):
    def refuse(split, shards):
        raise AssertionError

    def only(expected):
        def run(split, shards):
            assert shards == expected
            runners.run_in_threads(split, shards)

        return run

    (first,) = prepare(source, tmp_path)
    whole = digests(tmp_path)
    assert prepare(source, tmp_path, runner=refuse) == [first]
    # A report without records, records without a valid report, and truncated records.
    (tmp_path / "clips-some.tfrecord-00001-of-00002").unlink()
    assert prepare(source, tmp_path, runner=only([1])) == [first]
    assert digests(tmp_path) == whole
    report = tmp_path / "preparation/some/reports/00000.json"
    report.write_text(report.read_text()[:20])
    assert prepare(source, tmp_path, runner=only([0])) == [first]
    with open(tmp_path / "clips-some.tfrecord-00000-of-00002", "r+b") as file:
        file.truncate(10)
    assert prepare(source, tmp_path, runner=only([0])) == [first]
    assert digests(tmp_path) == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seconds": 5.0}, "seconds 10.0 and not 5.0"),
        ({"need": "sound"}, "need 'both' and not 'sound'"),
        ({"num_shards": 3}, "shards 2 and not 3"),
    ],
)
def test_other_arguments_are_refused_with_the_difference(source, tmp_path, change, message):
    prepare(source, tmp_path)
    before = digests(tmp_path)
    with pytest.raises(InputError, match=message):
        prepare(source, tmp_path, **change)
    assert digests(tmp_path) == before


def test_another_list_or_other_classes_are_refused(source, tmp_path):
    prepare(source, tmp_path / "out")
    other = tmp_path / "other"
    shutil.copytree(source, other)
    (other / "some_segments.csv").write_text('quiet_Clip1, 0.000, 3.000, "/m/b"\n')
    with pytest.raises(InputError, match="was begun with segments"):
        prepare(other, tmp_path / "out")
    (other / "classes.csv").write_text(CLASSES.replace("Rain", "Snow"))
    with pytest.raises(InputError, match="its 3 classes"):
        prepare(other, tmp_path / "out", split="new")


def test_a_split_is_added_to_a_data_set(source, tmp_path):
    prepare(source, tmp_path)
    prepare(source, tmp_path, split="more", num_shards=3)
    builder = tfds.builder_from_directory(str(tmp_path))
    assert {name: len(split.filenames) for name, split in builder.info.splits.items()} == (
        {"some": 2, "more": 3}
    )
    ids = [{e["id"] for e in tfds.as_numpy(builder.as_dataset(s))} for s in ("some", "more")]
    assert ids[0] == ids[1]
    assert len(ids[0]) == 2


@pytest.mark.parametrize("name", ["a-b", "all", "../x", "", "é"])
def test_splits_have_names_that_tfds_takes(source, tmp_path, name):
    if name:
        with pytest.raises(InputError, match="give a name of letters"):
            prepare(source, tmp_path, split=name)


def test_no_clip_found_or_decoded(source, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"none of the 5 clips.*-loud_Clip0_000030.mp4"):
        prepare_audioset(
            [str(source / "some_segments.csv")],
            str(source / "classes.csv"),
            str(tmp_path / "none"),
            str(tmp_path / "out"),
            runner=runners.run_in_threads,
        )
    (tmp_path / "none" / "broken-Clp3.mp4").write_bytes(b"\0" * 100)
    with pytest.raises(InputError, match=r"none of 1 clips can be decoded.*broken-Clp3.mp4: not a"):
        prepare_audioset(
            [str(source / "some_segments.csv")],
            str(source / "classes.csv"),
            str(tmp_path / "none"),
            str(tmp_path / "out2"),
            runner=runners.run_in_threads,
        )
    assert not (tmp_path / "out2" / "dataset_info.json").exists()


def test_wrong_folder_of_clips_saves_no_classes(source, tmp_path):
    (tmp_path / "none").mkdir()
    arguments = ([str(source / "some_segments.csv")], str(source / "classes.csv"))
    for clips in ("none", "nowhere"):
        with pytest.raises(InputError, match=clips):
            prepare_audioset(
                *(*arguments, str(tmp_path / clips), str(tmp_path / "out")),
                runner=runners.run_in_threads,
            )
    assert not (tmp_path / "out").exists()


def test_video_is_preferred_to_its_separate_sound(source, tmp_path):
    for name in ("audio", "video"):
        (tmp_path / "clips" / name).mkdir(parents=True)
    name = "quiet_Clip1_000000"
    shutil.copy(source / f"clips/x/{name}.mp4", tmp_path / "clips/video")
    media.write(
        tmp_path / f"clips/audio/{name}.wav",
        sound=("pcm_s16le", 8000, "s16", media.sine(8000, 3.0)),
    )
    (report,) = prepare_audioset(
        [str(source / "some_segments.csv")],
        str(source / "classes.csv"),
        str(tmp_path / "clips"),
        str(tmp_path / "out"),
        runner=runners.run_in_threads,
    )
    assert (report.found, report.decoded) == (1, 1)


def test_another_process_may_do_the_same_work(source, tmp_path, monkeypatch):
    (first,) = prepare(source, tmp_path)
    whole = digests(tmp_path)
    split = shards.SplitShards(str(tmp_path), "some", 2, str(source / "clips"), "both")
    report = pathlib.Path(split.json_path(shards.REPORTS, 0))
    done = report.read_text()
    report.unlink()
    decode = DecoderProcess.decode

    def overtaken(*arguments):
        """Lets the other process finish, and remove the partial files, while a clip is decoded."""
        report.write_text(done)
        shutil.rmtree(report.parents[1] / shards.PARTIAL, ignore_errors=True)
        return decode(*arguments)

    monkeypatch.setattr(DecoderProcess, "decode", overtaken)
    shards.write_shard(split, 0)
    assert digests(tmp_path) == whole
    assert prepare(source, tmp_path, runner=None) == [first]


def test_decoders_end_when_the_work_fails(source, tmp_path, monkeypatch):
    closed = []
    monkeypatch.setattr(decoder_process, "close_idle_decoders", lambda: closed.append(True))

    def fail(split, shards):
        raise InputError("the disk is full")

    with pytest.raises(InputError, match="the disk is full"):
        prepare(source, tmp_path, runner=fail)
    assert closed == [True]


def test_progress_counts_the_shards(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runners, "_REFRESH_SECONDS", 0.01)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)

    def run(split, todo):
        for shard in todo:
            runners.run_in_threads(split, [shard])
            time.sleep(0.2)

    prepare(source, tmp_path, runner=run)
    output = capsys.readouterr().err.split("\r")
    assert output[1] == "some: 0 of 2 shards"
    assert "some: 1 of 2 shards" in output
    assert output[-1] == "some: 2 of 2 shards\n"


def test_a_runner_that_beam_does_not_know(source, tmp_path):
    with pytest.raises(InputError, match=r"'--runner=Nonsense': .*DirectRunner") as raised:
        prepare(source, tmp_path, runner=runners.beam_runner(["--runner=Nonsense"]))
    assert len(str(raised.value).splitlines()) == 1


def listed(path, start, seconds, *, trimmed):
    return ListedClip("id", path, (0,), start, seconds, trimmed)


def test_a_plain_name_is_the_whole_video_or_the_segment(source):
    clips = str(source / "clips")
    with decoder_process.borrow_decoder() as decoder:
        first = {}
        for path, start in (("-loud_Clip0.mp4", 30.0), ("x/quiet_Clip1_000000.mp4", 1.0)):
            record, _ = decoder.decode(listed(path, start, 3.0, trimmed=False), clips, "both")
            first[path] = tf.io.decode_jpeg(schema.parse(tf.constant(record))["frames"][0])
        # A file of 40 s is the whole video, cut from 30 s on; a file of 3 s already is the segment.
        assert abs(np.mean(first["-loud_Clip0.mp4"]) - 170) < 3
        assert abs(np.mean(first["x/quiet_Clip1_000000.mp4"]) - 20) < 3
        with pytest.raises(ClipError, match="wrong length: it lasts 40"):
            decoder.decode(listed("-loud_Clip0.mp4", 50.0, 10.0, trimmed=False), clips, "both")


def test_a_crash_is_the_failure_of_one_clip(source):
    clips = str(source / "clips")
    decoder = DecoderProcess()
    clip = listed("x/quiet_Clip1_000000.mp4", 0.0, 3.0, trimmed=True)
    whole = decoder.decode(clip, clips, "both")
    decoder._process.kill()  # like a crash of a library
    decoder._process.wait()
    with pytest.raises(ClipError, match="crash: decoding ends with SIGKILL"):
        decoder.decode(clip, clips, "both")
    assert decoder.decode(clip, clips, "both") == whole
    decoder.close()


def test_a_clip_that_takes_too_long_fails(source, tmp_path):
    decoder = DecoderProcess(timeout=0.05)
    clip = listed("-loud_Clip0.mp4", 0.0, 40.0, trimmed=True)
    with pytest.raises(ClipError, match="crash: decoding takes more than 0 s"):
        decoder.decode(clip, str(source / "clips"), "both")  # 40 s of video take longer than 50 ms
    decoder.close()
