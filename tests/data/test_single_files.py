"""Single files: bitwise equal to their batches in evaluation, and errors that name the file."""

import json
import os
import shutil
import signal
import threading

import numpy as np
import pytest
import trimesh
from PIL import Image
from sklearn.datasets import load_digits

from perceiver import networks
from perceiver.data import digits, single_files
from perceiver.data.clips import clip_folder
from perceiver.data.images import folder as image_folder
from perceiver.data.images.pictures import PICTURES
from perceiver.data.points import folder as point_folder
from perceiver.errors import InputError
from perceiver.library import named
from tests.experiments import small_data

pytestmark = pytest.mark.usefixtures("open_decoders")

CLIPS = {"val_fraction": 0.5, "split_seed": 0, "clip_frames": 4, "eval_windows": 3}
POINTS = {
    "val_fraction": 0.25,
    "split_seed": 0,
    "num_points": 32,
    "scale": (0.9, 1.1),
    "translation": 0.1,
    "rotation": "any",
}


def reader(name, takes, **options):
    return single_files.reader(takes, {"name": name, "num_classes": 10, **options})


def assert_read_as_evaluated(source, reader, path_of):
    """Compares the reading of each file of a split with the evaluation batches."""
    compared = 0
    for batch in source.eval_batches(batch_size=3):
        for row, index in enumerate(batch["index"][batch["mask"] > 0]):
            inputs = reader.read(path_of(source.name(int(index)))).inputs
            assert inputs.keys() == batch.keys() - {"index", "mask", "label"}
            for name, values in inputs.items():
                expected = batch[name][row]
                assert values.dtype == expected.dtype
                assert len(values) == reader.windows
                np.testing.assert_array_equal(
                    values, expected if source.eval_windows else expected[None]
                )
            compared += 1
    assert compared == source.num_examples


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures(tmp_path, folder_options, channels):
    draw = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number, mode in enumerate(("RGB", "L", "P", "RGBA", "CMYK")):
            suffix = ".jpg" if mode == "CMYK" or number == 0 else ".png"
            pixels = draw.integers(0, 256, (30 + 7 * number, 45, 3), np.uint8)
            Image.fromarray(pixels).convert(mode).save(tmp_path / name / f"{mode}{suffix}")
    options = folder_options | {"channels": channels, "val_fraction": 0.8}
    data = image_folder.load(dir=str(tmp_path), **options)
    file_reader = reader("image_folder", ["image"], dir=str(tmp_path), **options)
    assert_read_as_evaluated(data.eval, file_reader, str)


def test_real_pictures(files, folder_options):
    folder = str(files / "pictures")
    options = folder_options | {"image_size": 64, "val_fraction": 0.9}
    data = image_folder.load(dir=folder, **options)
    assert_read_as_evaluated(data.eval, reader("image_folder", ["image"], **options), str)


def test_digits_are_not_cropped(tmp_path):
    """A digit that was saved as the network's input is read unchanged."""
    batch = next(digits.load(image_size=8, channels=1).eval.eval_batches(batch_size=20))
    file_reader = reader("digits", ["image"], image_size=8, channels=1, max_shift=0)
    for row in range(20):
        path = tmp_path / f"{row}.png"
        Image.fromarray(batch["image"][row, ..., 0]).save(path)
        np.testing.assert_array_equal(
            file_reader.read(str(path)).inputs["image"][0], batch["image"][row]
        )
    first = load_digits().images[0]  # from 0 to 16; one unit is 8 grey levels
    Image.fromarray((first * 8).astype(np.uint8).repeat(5, 0).repeat(5, 1)).save(path)
    enlarged = file_reader.read(str(path)).inputs["image"][0, ..., 0] / 8
    assert np.corrcoef(enlarged.ravel(), first.ravel())[0, 1] > 0.99


@pytest.mark.parametrize(
    "modalities",
    [("audio",), ("spectrogram",), ("audio", "video")],
    ids="-".join,
)
def test_clips(tmp_path, modalities):
    (tmp_path / "clips").mkdir()
    small_data.sounds_and_videos(tmp_path / "clips")
    options = CLIPS | {"modalities": modalities, "image_size": 24}
    folders = {"dir": str(tmp_path / "clips"), "prepared": str(tmp_path / "prepared")}
    data = clip_folder.load(**folders, **options)
    file_reader = reader("clip_folder", modalities, **folders, **options, max_failed=0.0)
    assert file_reader.windows == 3
    assert_read_as_evaluated(data.eval, file_reader, lambda name: path_of_clip(tmp_path, name))


def path_of_clip(folder, name):
    return str(folder / "clips" / name.split(" (")[0])


def test_real_clips(tmp_path, files):
    """Reads videos with other frame and sample rates, and cuts longer ones."""
    found = [files / "videos" / f"{name}.mp4" for name in ("friday", "late", "mono", "slow")]
    for number, path in enumerate(found):
        (tmp_path / "clips" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "clips" / "ab"[number % 2])
    options = CLIPS | {"modalities": ("spectrogram", "video"), "image_size": 32, "max_seconds": 2.0}
    folders = {"dir": str(tmp_path / "clips"), "prepared": str(tmp_path / "prepared")}
    data = clip_folder.load(**folders, **options)
    file_reader = reader("clip_folder", ["spectrogram", "video"], **folders, **options)
    assert_read_as_evaluated(data.eval, file_reader, lambda name: path_of_clip(tmp_path, name))
    assert file_reader.read(str(found[0])).longer
    sound = sorted((files / "sounds").glob("*/*.ogg"))[0]
    with pytest.raises(InputError, match=r"no video: .*such stream"):
        file_reader.read(str(sound))


def test_point_files(tmp_path):
    """Reads meshes and clouds of several sizes: a result does not depend on other files."""
    small_data.meshes(tmp_path)
    draw = np.random.default_rng(1)
    np.save(tmp_path / "val" / "a class" / "large.npy", draw.normal(size=(3000, 3)) + 1e6)
    np.savetxt(tmp_path / "val" / "a class" / "small.txt", draw.normal(size=(40, 3)))
    trimesh.creation.icosphere().export(tmp_path / "val" / "-another" / "ball.ply")
    data = point_folder.load(dir=str(tmp_path), **POINTS)
    file_reader = reader("point_folder", ["points"], dir=str(tmp_path), **POINTS)
    assert_read_as_evaluated(data.eval, file_reader, str)


def test_a_cloud_from_elsewhere_is_in_the_unit_cube(tmp_path):
    """The mean is zero and the largest coordinate 1 (Sec. 4.3), for any data set."""
    corners = np.array([(x, y, z) for x in (0, 9) for y in (5, 6) for z in (0, 1)], float)
    np.save(tmp_path / "a.npy", np.tile(corners, (4, 1)))
    file_reader = reader("modelnet40", ["points"], dir="data/nowhere", partial=False, **POINTS)
    (points,) = file_reader.read(str(tmp_path / "a.npy")).inputs["points"]
    assert points.shape == (32, 3)
    assert sorted({tuple(np.round(p, 4)) for p in points}) == sorted(
        (x, y, z) for x in (-1, 1) for y in (-0.1111, 0.1111) for z in (-0.1111, 0.1111)
    )


def assert_refused(function, path, why):
    """Asserts that the error is one line that begins with the file."""
    with pytest.raises(InputError, match=why) as raised:
        function(str(path))
    assert str(raised.value).startswith(f"{path}: ")
    assert len(str(raised.value).splitlines()) == 1


def test_invalid_pictures_are_named(tmp_path, add_pictures):
    read = reader("image_folder", ["image"], image_size=16, channels=3).read
    (whole,) = add_pictures(tmp_path, 1, ".jpg")
    for name, content, why in (
        ("cut.jpg", whole.read_bytes()[:400], "Invalid JPEG data"),
        ("empty.png", b"", "the file is empty"),
        ("text.png", b"Dear Sir or Madam", "neither JPEG nor PNG"),
        ("beginning.png", b"\x89PNG\r\n\x1a\n" + bytes(50), "Invalid PNG"),
    ):
        (tmp_path / name).write_bytes(content)
        assert_refused(read, tmp_path / name, why)
    assert_refused(read, tmp_path / "absent.png", "No such file")
    assert_refused(read, tmp_path, "is not a file")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    assert_refused(read, tmp_path / "loop.png", "symbolic links")
    os.mkfifo(tmp_path / "pipe.png")
    alarm = threading.Timer(20, os.kill, (os.getpid(), signal.SIGINT))
    alarm.start()  # opening the pipe would block for ever
    assert_refused(read, tmp_path / "pipe.png", "is not a file")
    alarm.cancel()


def test_invalid_clips_and_clouds_are_named(tmp_path):
    of_clips = reader("audioset", ["audio"], **CLIPS, modalities=("audio",)).read
    of_clouds = reader("modelnet40", ["points"], **POINTS).read
    (tmp_path / "text.wav").write_bytes(b"Dear Sir or Madam")
    (tmp_path / "text.off").write_bytes(b"Dear Sir or Madam")
    (tmp_path / "few.txt").write_text("1 2 3\n4 5 6\n")
    (tmp_path / "a.docx").write_text("1 2 3\n4 5 6\n")
    assert_refused(of_clips, tmp_path / "text.wav", "not a whole sound or video file")
    assert_refused(of_clouds, tmp_path / "text.off", "cannot be read as .off")
    assert_refused(of_clouds, tmp_path / "few.txt", "has 2 points, and 32 are needed")
    assert_refused(of_clouds, tmp_path / "a.docx", "the endings known are")


def test_networks_without_a_kind_of_file():
    for modalities in ([], ["image", "points"], ["smell"]):
        with pytest.raises(InputError, match="no kind of file"):
            reader("mine", modalities)


def test_files_are_read_in_order_and_only_a_few_ahead():
    begun = []

    def read(path):
        begun.append(path)
        if path == "3":
            raise InputError("3: is damaged")
        return single_files.Reading({"image": np.full((1, 2), int(path))})

    paths = [str(number) for number in range(100)]
    reader = single_files.Reader(PICTURES, 1, read)
    readings = single_files.read_each(reader, paths)
    first = [next(readings) for _ in range(5)]
    assert len(begun) < 20
    assert [path for path, _ in first] == paths[:5]
    assert str(first[3][1]) == "3: is damaged"
    assert [int(reading.inputs["image"][0, 0]) for _, reading in (first[2], first[4])] == [2, 4]
    readings.close()
    assert len(begun) < 20
    assert [path for path, _ in single_files.read_each(reader, paths)] == paths


def test_a_reader_for_every_named_network(tmp_path):
    """These networks have no data set; their sizes determine how a file is read."""
    picture, cloud = tmp_path / "a.png", tmp_path / "a.txt"
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(picture)
    np.savetxt(cloud, np.random.default_rng(0).normal(size=(2100, 3)))
    known = named.read_networks()
    different = {json.dumps([list(x["model"]["inputs"]), x["data"]]): x for x in known.values()}
    for values in different.values():
        modalities = networks.modalities_of(values["model"])
        file_reader = single_files.reader(modalities, values["data"])
        path = {"image": picture, "points": cloud}.get(modalities[0])
        if path:
            (inputs,) = file_reader.read(str(path)).inputs.values()
            wanted = networks.batch_spec(values["model"], values["data"], 1)[modalities[0]]
            assert (inputs.shape, inputs.dtype) == (wanted.shape, wanted.dtype)
