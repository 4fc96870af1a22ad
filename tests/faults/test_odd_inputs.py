"""Unusual data: few, small or in rare formats. Readable files are used, others are named."""

import re
import shutil

import h5py
import numpy as np
import pytest
from PIL import Image

from perceiver.data.clips import clip_folder
from perceiver.data.clips.preparation.decoding import ClipError, decode
from perceiver.data.images import folder as image_folder
from perceiver.data.points import folder as point_folder
from perceiver.data.stream.batches import eval_batches, train_iterator
from perceiver.errors import InputError
from tests.data.clips import media

# Pictures.


def grey(mode):
    """A picture of 30 x 30 pixels whose red, green and blue are 100 in 8 bits."""
    if mode == "I;16":
        return Image.fromarray(np.full((30, 30), 100 * 257, np.uint16))
    picture = Image.new("RGB", (30, 30), (100, 100, 100))
    return picture.convert(mode, palette=Image.Palette.ADAPTIVE)


def first_batches(data, train=2):
    """Returns the first batches of evaluation and of training."""
    return (
        next(eval_batches(data.eval, batch_size=1)),
        next(train_iterator(data.train, batch_size=train, seed=0)),
    )


@pytest.mark.parametrize("renamed", [False, True])
def test_pictures_of_all_colour_modes_form_one_data_set(tmp_path, folder_options, renamed):
    """CMYK, grey, 16-bit, palette, transparent and misnamed pictures are read alike."""
    kinds = [("CMYK", ".jpg"), ("L", ".jpg"), ("RGB", ".jpeg"), ("I;16", ".png"), ("L", ".png")]
    kinds += [("P", ".png"), ("RGBA", ".png"), ("LA", ".png"), ("1", ".png"), ("RGB", ".png")]
    (tmp_path / "a").mkdir()
    for number, (mode, suffix) in enumerate(kinds):
        path = tmp_path / "a" / f"{number}{suffix}"
        if mode == "1":  # black or white
            Image.fromarray(np.full((30, 30), 100, np.uint8)).save(path)
        else:
            grey(mode).save(path)
        if renamed:
            path.rename(path.with_suffix(".png" if suffix != ".png" else ".jpg"))
    data = image_folder.load(dir=str(tmp_path), **folder_options)
    assert data.train.num_examples + data.eval.num_examples == 10
    for batch in first_batches(data, train=8):
        np.testing.assert_allclose(batch["image"], 100, atol=2)


def test_one_picture_is_refused_and_two_are_enough(tmp_path, folder_options):
    (tmp_path / "only class").mkdir()
    grey("RGB").save(tmp_path / "only class" / "0.png")
    with pytest.raises(InputError, match=r"0\.25 of the 1 pictures .* at least one must be held"):
        image_folder.load(dir=str(tmp_path), **folder_options)
    grey("RGB").save(tmp_path / "only class" / "1.png")
    data = image_folder.load(dir=str(tmp_path), **(folder_options | {"val_fraction": 0.5}))
    assert data.class_names == ("only class",)
    for batch in first_batches(data, train=4):  # one picture, repeatedly
        assert (batch["label"] == 0).all()
        np.testing.assert_allclose(batch["image"], 100)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"GIF89a", "neither JPEG nor PNG"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "neither JPEG nor PNG"),
        (b"<!DOCTYPE html><title>404", "neither JPEG nor PNG"),
    ],
)
def test_a_file_that_is_no_picture_is_named_when_loading(tmp_path, folder_options, content, reason):
    (tmp_path / "a").mkdir()
    for number in range(3):
        grey("RGB").save(tmp_path / "a" / f"{number}.png")
    wrong = tmp_path / "a" / "wrong.png"
    wrong.write_bytes(content)
    with pytest.raises(InputError, match=rf"^{re.escape(str(wrong))}: {reason}"):
        image_folder.load(dir=str(tmp_path), **folder_options)


# Sound and video.


def load_clips(folder, modalities, **options):
    defaults = {"val_fraction": 0.25, "split_seed": 0, "clip_frames": 8, "eval_windows": 2}
    return clip_folder.load(
        dir=str(folder),
        prepared=str(folder.parent / "prepared"),
        modalities=modalities,
        **(defaults | {"image_size": 16} | options),
    )


def test_sounds_of_all_formats_form_one_data_set(tmp_path):
    """Tones with 1, 2 and 6 channels at 8 to 96 kHz become the same mono tone at 48 kHz."""
    kinds = [
        (".wav", "pcm_u8", 8_000, "u8", "mono", 1),
        (".flac", "flac", 96_000, "s32", "stereo", 2),
        (".wav", "pcm_f32le", 22_050, "flt", "5.1", 6),
        (".m4a", "aac", 48_000, "fltp", "5.1", 6),
        (".ogg", "libopus", 48_000, "flt", "stereo", 2),
        (".mp3", "libmp3lame", 44_100, "s16p", "mono", 1),
    ]
    for split in ("train", "val"):
        (tmp_path / "sounds" / split / "a").mkdir(parents=True)
    for number, (suffix, codec, rate, kind, layout, channels) in enumerate(kinds):
        samples = media.sine(rate, 1.0, frequency=1000, channels=channels)
        if channels == 6:
            samples[3] = 0  # downmixing leaves out the low-frequency channel
        path = tmp_path / "sounds" / "val" / "a" / f"{number}{suffix}"
        media.write(path, sound=(codec, rate, kind, samples), layout=layout)
    shutil.copy(path, tmp_path / "sounds" / "train" / "a")
    # A file shorter than one window is repeated.
    short = tmp_path / "sounds" / "val" / "a" / "short.wav"
    media.write(short, sound=("pcm_s16le", 48_000, "s16", media.sine(48_000, 0.1, 1000)))
    data = load_clips(tmp_path / "sounds", ("audio",), eval_windows=1)
    (batch,) = eval_batches(data.eval, batch_size=7)
    assert batch["audio"].shape == (7, 1, 8 * 1920)
    for name, sound in zip(
        map(data.eval.name, range(7)), batch["audio"][:, 0] / 2**15, strict=True
    ):
        middle = sound[4800:9600]  # 100 ms from the middle: bins of 10 Hz
        assert np.argmax(np.abs(np.fft.rfft(middle))) == 100, name
        assert np.sqrt(2) * middle.std() == pytest.approx(0.5, rel=0.06), name


def test_silent_and_short_videos_are_read(tmp_path):
    folder = tmp_path / "videos"
    for split in ("train", "val"):
        (folder / split / "a").mkdir(parents=True)
    tone = ("aac", 48_000, "fltp", media.sine(48_000, 1.0))
    media.write(folder / "train" / "a" / "both.mp4", frames=[80] * 30, sound=tone)
    media.write(folder / "val" / "a" / "silent.mp4", frames=[80] * 30)
    media.write(folder / "val" / "a" / "one frame.mp4", frames=[80], rate=25)
    data = load_clips(folder, ("video",))
    assert data.eval.num_examples == 2
    (batch,) = eval_batches(data.eval, batch_size=2)
    assert batch["video"].shape == (2, 2, 8, 16, 16, 3)
    np.testing.assert_allclose(batch["video"], 80, atol=3)  # one frame is repeated
    with pytest.raises(ClipError, match="no sound: the file has no such stream"):
        decode(str(folder / "val" / "a" / "silent.mp4"), need="both", seconds=1)


def test_an_empty_clip_is_named_before_any_is_decoded(tmp_path):
    (tmp_path / "clips" / "a").mkdir(parents=True)
    empty = tmp_path / "clips" / "a" / "empty.mp4"
    empty.touch()
    with pytest.raises(InputError, match=rf"^{re.escape(str(empty))}: the file is empty"):
        load_clips(tmp_path / "clips", ("audio",), val_fraction=0.5)


# Point clouds and meshes.

CLOUDS = {
    "val_fraction": 0.5,
    "split_seed": 0,
    "num_points": 16,
    "scale": (1.0, 1.0),
    "translation": 0.0,
    "rotation": "none",
}
BOX = "\n".join(f"{x} {y} {z}" for x in (0, 1) for y in (0, 2) for z in (0, 3))
SIDES = "\n".join(["4 0 1 3 2", "4 4 5 7 6", "4 0 1 5 4", "4 2 3 7 6", "4 0 2 6 4", "4 1 3 7 5"])


def test_off_files_with_joined_headers_or_without_faces_are_read(tmp_path):
    """A mesh without faces is the cloud of its vertices if there are enough of them."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "glued.off").write_text(f"OFF8 6 0\n{BOX}\n{SIDES}\n")
    (tmp_path / "a" / "whole.off").write_text(f"OFF\n8 6 0\n{BOX}\n{SIDES}\n")
    data = point_folder.load(dir=str(tmp_path), **CLOUDS)
    for batch in first_batches(data, train=1):
        assert batch["points"].shape[-2:] == (16, 3)
    bare = tmp_path / "a" / "bare.off"
    bare.write_text(f"OFF\n8 0 0\n{BOX}\n")
    with pytest.raises(InputError, match=r"bare\.off: has no faces to sample, and only 8 points"):
        point_folder.load(dir=str(tmp_path), **CLOUDS)
    data = point_folder.load(dir=str(tmp_path), **(CLOUDS | {"num_points": 8}))
    assert data.train.num_examples + data.eval.num_examples == 3


@pytest.mark.parametrize("suffix", [".npy", ".txt", ".h5", ".off"])
@pytest.mark.parametrize("fault", ["few", "nan", "empty", "no points"])
def test_invalid_point_clouds_are_named(tmp_path, suffix, fault):
    (tmp_path / "a").mkdir()
    points = np.random.default_rng(0).normal(size=(20, 3))
    for number in range(2):
        np.save(tmp_path / "a" / f"{number}.npy", points)
    if fault == "nan":
        points[7, 1] = np.nan
    rows = points[: {"few": 15, "no points": 0}.get(fault, 20)]
    wrong = tmp_path / "a" / f"wrong{suffix}"
    if fault == "empty":
        wrong.touch()
    elif suffix == ".npy":
        np.save(wrong, rows)
    elif suffix == ".h5":
        with h5py.File(wrong, "w") as file:
            file["data"] = rows
    else:
        with wrong.open("w") as file:
            file.write(f"OFF\n{len(rows)} 0 0\n" if suffix == ".off" else "")
            np.savetxt(file, rows)
    messages = {
        "few": "15 points, and 16 are needed: lower num_points",
        "nan": r"point 7 is not finite \(1 in all\)",
        "empty": "the file is empty",
        "no points": "(no points|no numbers)",
    }
    empty = fault == "no points" and suffix == ".txt"  # such a file has no bytes
    with pytest.raises(InputError) as raised:
        point_folder.load(dir=str(tmp_path), **CLOUDS)
    assert str(raised.value).startswith(f"{wrong}: ")
    assert re.search("the file is empty" if empty else messages[fault], str(raised.value))
    assert len(str(raised.value).splitlines()) == 1


def test_points_that_all_coincide_stay_at_the_origin(tmp_path):
    (tmp_path / "a").mkdir()
    for number in range(2):
        np.save(tmp_path / "a" / f"{number}.npy", np.full((16, 3), 7.0))
    for batch in first_batches(point_folder.load(dir=str(tmp_path), **CLOUDS), train=1):
        np.testing.assert_array_equal(batch["points"], 0)
