"""Folders of sound and video files, which are prepared once and read like AudioSet."""

import pathlib
import shutil
import subprocess
import sys
import wave

import librosa
import numpy as np
import pytest

from perceiver.data.clips import clip_folder
from perceiver.data.stream.batches import eval_batches, train_iterator
from perceiver.errors import InputError

pytestmark = pytest.mark.usefixtures("open_decoders")

REPOSITORY = pathlib.Path(__file__).parents[3]


def write_sound(path, value, seconds=2.0):
    """Writes a WAV file of 48 kHz whose samples are all `value`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 48_000, 0, "NONE", None))
        file.writeframes(np.full(round(48_000 * seconds), value, "<i2").tobytes())


@pytest.fixture
def sounds(tmp_path):
    """A folder of 8 sounds; those of class 'b c' are louder than 1,000."""
    for number in range(4):
        write_sound(tmp_path / "sounds" / "-a" / f"{number}.wav", 100 + number)
        write_sound(tmp_path / "sounds" / "b c" / f"it's {number}.wav", 1100 + number)
    return tmp_path / "sounds"


def load(folder, modalities=("audio",), **options):
    defaults = {
        "prepared": str(folder.parent / "prepared"),
        "val_fraction": 0.25,
        "split_seed": 0,
        "clip_frames": 4,
        "eval_windows": 2,
        "image_size": 16,
    }
    return clip_folder.load(dir=str(folder), modalities=modalities, **(defaults | options))


def test_every_file_is_in_one_split_with_the_label_of_its_folder(sounds):
    data = load(sounds)
    assert data.class_names == ("-a", "b c")
    assert (data.train.num_examples, data.eval.num_examples) == (6, 2)
    values = []
    for source in (data.train, data.eval):
        (batch,) = eval_batches(source, batch_size=source.num_examples)
        assert batch["audio"].shape == (source.num_examples, 2, 4 * 1920)
        value = batch["audio"][:, 0, 0]
        np.testing.assert_array_equal(batch["label"], value > 1000)
        assert all(str(v % 10) in source.name(i) for i, v in enumerate(value))
        values += value.tolist()
    assert sorted(values) == [100, 101, 102, 103, 1100, 1101, 1102, 1103]


def test_clips_are_prepared_once_and_again_when_files_change(sounds, capsys):
    load(sounds)
    assert "preparing the 8 clips" in capsys.readouterr().err
    again = load(sounds, ("spectrogram",))  # needs the same streams
    assert capsys.readouterr().err == ""
    assert again.train.num_examples == 6
    write_sound(sounds / "-a" / "0.wav", 500)
    data = load(sounds)
    assert "preparing the 8 clips" in capsys.readouterr().err
    found = [
        batch["audio"].max()
        for s in (data.train, data.eval)
        for batch in eval_batches(s, batch_size=1)
    ]
    assert 500 in found
    load(sounds, split_seed=1)
    load(sounds, max_seconds=1.0)
    assert capsys.readouterr().err.count("preparing") == 2
    assert len(list(sounds.parent.glob("prepared/sounds-*[0-9a-f]"))) == 4


def test_folders_train_and_val_are_the_splits(tmp_path):
    for split, count in (("train", 3), ("val", 2)):
        for number in range(count):
            write_sound(tmp_path / "all" / split / "only" / f"{number}.wav", number)
    data = load(tmp_path / "all", val_fraction=0.0)
    assert (data.train.num_examples, data.eval.num_examples) == (3, 2)


def test_long_files_are_cut_and_short_ones_loop(tmp_path):
    write_sound(tmp_path / "all" / "only" / "long.wav", 1, seconds=3)
    write_sound(tmp_path / "all" / "only" / "short.wav", 2, seconds=0.01)
    data = load(tmp_path / "all", val_fraction=0.5, max_seconds=1.0)
    for source in (data.train, data.eval):
        batch = next(train_iterator(source, batch_size=1, seed=0))
        assert batch["audio"].shape == (1, 4 * 1920)
    names = {data.train.name(0).split()[0], data.eval.name(0).split()[0]}
    assert names == {"only/long.wav", "only/short.wav"}


def test_a_file_that_cannot_be_decoded_is_named(sounds, capsys):
    (sounds / "-a" / "0.wav").write_bytes(b"no sound at all" * 100)
    with pytest.raises(InputError, match=r"-a/0\.wav: .*\(1 of the \d clips") as raised:
        load(sounds)
    assert len(str(raised.value).splitlines()) == 1
    with pytest.raises(InputError, match=r"-a/0\.wav"):  # at the next start as well
        load(sounds)
    capsys.readouterr()
    data = load(sounds, max_failed=0.5)
    assert data.train.num_examples + data.eval.num_examples == 7
    assert "1 of" in (err := capsys.readouterr().err)
    assert "left out" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prepared": ""}, "prepared is ''"),
        ({"max_failed": 1.0}, "max_failed is 1.0"),
        ({"max_seconds": 0.0}, "seconds is 0.0"),
        ({"val_fraction": 0.0}, "val_fraction 0.0"),
        ({"modalities": ("sound",)}, "unknown modality 'sound'"),
    ],
)
def test_wrong_options_are_named(sounds, options, message):
    with pytest.raises(InputError, match=message):
        load(sounds, **options)


def test_folder_that_cannot_be_written_is_named(sounds, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written to"):
        load(sounds, prepared=str(tmp_path / "file"))


@pytest.mark.slow
def test_real_sounds_are_what_librosa_reads(files, tmp_path):
    folder = files / "sounds"
    data = load(folder, prepared=str(tmp_path), val_fraction=0.3, clip_frames=125, eval_windows=1)
    assert (data.train.num_examples, data.eval.num_examples) == (7, 3)
    assert len(data.class_names) == 5
    for index in range(3):
        name = data.eval.name(index).split(" (/")[0]
        expected, _ = librosa.load(folder / name, sr=48_000, duration=5)
        found = data.eval.example(np.int64(index), None)["audio"].numpy()[0] / 32_768
        assert found.shape == (240_000,)
        expected = np.pad(expected, (0, 240_000))[:240_000]
        # Resampled from 44.1 kHz by other filters, which differ near 22 kHz; at most 1% of the
        # power.
        assert np.square(found - expected).mean() < 0.01 * np.square(expected).mean(), name


@pytest.mark.slow
def test_real_videos_with_and_without_sound(files, tmp_path):
    folder = tmp_path / "videos"
    for name, videos in (("dog", ("friday", "late")), ("drum", ("mono", "slow"))):
        (folder / name).mkdir(parents=True)
        for video in videos:
            shutil.copy(files / "videos" / f"{video}.mp4", folder / name)
    data = load(folder, ("audio", "video"), val_fraction=0.25)
    assert data.class_names == ("dog", "drum")
    batch = next(train_iterator(data.train, batch_size=3, seed=0))
    assert batch["video"].shape == (3, 4, 16, 16, 3)
    assert batch["video"].std(axis=(1, 2, 3, 4)).min() > 5
    shutil.copy(files / "videos" / "anamorphic.mp4", folder / "dog")
    with pytest.raises(InputError, match=r"dog/anamorphic\.mp4: .*sound"):
        load(folder, ("audio", "video"), val_fraction=0.25)
    assert load(folder, ("video",), val_fraction=0.2).train.num_examples == 4


@pytest.mark.slow
def test_processes_that_start_together_prepare_once(sounds, tmp_path):
    program = (
        "import sys; from perceiver.data.clips import clip_folder; "
        "data = clip_folder.load(dir=sys.argv[1], prepared=sys.argv[2], val_fraction=0.25, "
        "split_seed=0, modalities=('audio',)); print(data.train.num_examples)"
    )
    arguments = [sys.executable, "-c", program, str(sounds), str(tmp_path / "prepared")]
    started = [
        subprocess.Popen(
            arguments, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    ended = [process.communicate(timeout=120) for process in started]
    assert [out for out, _ in ended] == ["6\n"] * 3
    assert sum("preparing the 8 clips" in err for _, err in ended) == 1
