"""Prepared data sets are ordinary TFDS data sets, complete or absent, with the same clouds."""

import hashlib
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
import tensorflow_datasets as tfds

from perceiver.data.points.modelnet40 import downloads, loader, prepared
from perceiver.data.points.modelnet40.builder import prepare
from perceiver.errors import InputError

PLAIN = {"num_points": 1000, "scale": (1.0, 1.0), "translation": 0.0, "rotation": "none"}


@pytest.fixture(scope="module")
def from_hdf5(real_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared")
    report = prepare(str(real_data / "modelnet10_hdf5_1024"), str(out))
    return out, report


def test_the_report_counts(from_hdf5, real_data):
    out, report = from_hdf5
    assert len(report.splitlines()) == 1
    for part in ("ModelNet10", "3,991 training clouds of 3,991", "908 test clouds of 908", "1,024"):
        assert part in report
    assert str(real_data / "modelnet10_hdf5_1024") in report
    assert str(out / "modelnet" / "modelnet10" / "1.0.0") in report


def test_others_can_read_it_with_tfds(from_hdf5, real_data):
    builder = tfds.builder_from_directory(from_hdf5[0] / "modelnet" / "modelnet10" / "1.0.0")
    assert builder.info.splits["train"].num_examples == 3991
    with h5py.File(real_data / "modelnet10_hdf5_1024" / "ply_data_test0.h5") as file:
        clouds, labels = file["data"][:], file["label"][:, 0]
    compared = set()
    for row in builder.as_dataset(split="test").as_numpy_iterator():
        index = int(re.search(r"\d+", row["name"].decode())[0])
        np.testing.assert_array_equal(row["points"], clouds[index])
        assert row["label"] == labels[index]
        compared.add(index)
    assert compared == set(range(908))


@pytest.mark.parametrize(
    "below", ["", "modelnet", "modelnet/modelnet10", "modelnet/modelnet10/1.0.0"]
)
def test_the_loader_takes_it_in_place_of_the_files(from_hdf5, real_data, below):
    raw = loader.load(dir=str(real_data / "modelnet10_hdf5_1024"), **PLAIN)
    made = loader.load(dir=str(from_hdf5[0] / below), **PLAIN)
    assert made.class_names == raw.class_names
    assert made.train.num_examples == 3991
    (ours,), (theirs,) = (list(data.eval.eval_batches(batch_size=908)) for data in (made, raw))
    number = [int(made.eval.name(index).rpartition(" ")[2]) for index in ours["index"]]
    assert sorted(number) == list(range(908))
    where = np.argsort(theirs["index"])[number]
    np.testing.assert_array_equal(ours["points"], theirs["points"][where])
    np.testing.assert_array_equal(ours["label"], theirs["label"][where])


def test_real_resampled_clouds_are_prepared_where_fewer_will_do(real_data, tmp_path):
    source = str(real_data / "modelnet40_normal_resampled")
    with pytest.raises(InputError, match="19 training and 1 test"):
        prepare(source, str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    report = prepare(source, str(tmp_path), partial=True)
    assert "19 training clouds of 9,843" in report
    assert "10,000 points" in report
    with pytest.raises(InputError, match=r"19 training and 1 test.*9,843 and 2,468"):
        loader.load(dir=str(tmp_path), **PLAIN)
    made = loader.load(dir=str(tmp_path), partial=True, **PLAIN)
    raw = loader.load(dir=source, partial=True, **PLAIN)
    assert len(made.class_names) == 40
    (ours,), (theirs,) = (list(data.eval.eval_batches(batch_size=1)) for data in (made, raw))
    np.testing.assert_array_equal(ours["points"], theirs["points"])
    assert made.class_names[ours["label"][0]] == "car"
    assert made.eval.name(0).endswith("car/car_0250.txt")


def add_meshes(folder, count):
    off = "OFF4 4 6\n0 0 0\n1 0 0\n0 2 0\n0 0 4\n3 0 2 1\n3 0 1 3\n3 0 3 2\n3 1 2 3\n"
    for split in ("train", "test"):
        for number in range(count):
            path = folder / "bed" / split / f"bed_{number:04}.off"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(off)


def test_meshes_are_sampled_once_by_processes(tmp_path):
    add_meshes(tmp_path / "meshes", 70)
    with pytest.raises(InputError, match=r"holds meshes: sample.*prepare_data modelnet"):
        loader.load(dir=str(tmp_path / "meshes"), partial=True, **PLAIN)
    source = str(tmp_path / "meshes")
    for workers in (1, 2):
        prepare(source, str(tmp_path / f"{workers}"), partial=True, workers=workers)
    one, two = (
        next(loader.load(dir=str(out), partial=True, **PLAIN).eval.eval_batches(batch_size=70))
        for out in (tmp_path / "1", tmp_path / "2")
    )
    np.testing.assert_array_equal(one["points"], two["points"])
    assert (one["label"] == 1).all()


def test_an_archive_is_fetched_where_it_is_asked_for(tmp_path, monkeypatch):
    add_meshes(tmp_path / "ModelNet10", 3)
    packed = pathlib.Path(shutil.make_archive(str(tmp_path / "x"), "zip", tmp_path, "ModelNet10"))
    published = downloads.PublishedArchive(
        packed.as_uri(), hashlib.sha256(packed.read_bytes()).hexdigest()
    )
    monkeypatch.setitem(downloads.ARCHIVES, "ModelNet10.zip", published)
    report = prepare("download:ModelNet10.zip", str(tmp_path / "out"), partial=True)
    assert str(tmp_path / "out" / "downloads" / "ModelNet10.zip") in report
    assert loader.load(dir=str(tmp_path / "out"), partial=True, **PLAIN).train.num_examples == 3


def test_an_existing_data_set_is_not_changed(from_hdf5, real_data):
    out, _ = from_hdf5
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    with pytest.raises(InputError, match=r"modelnet10/1.0.0 is there already"):
        prepare(str(real_data / "modelnet10_hdf5_1024"), str(out))
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*")}


def test_a_damaged_mesh_is_named_and_nothing_half_made_stays(tmp_path):
    add_meshes(tmp_path / "meshes", 3)
    broken = tmp_path / "meshes" / "bed" / "train" / "bed_0001.off"
    broken.write_text("OFF\n")
    with pytest.raises(InputError) as raised:
        prepare(str(tmp_path / "meshes"), str(tmp_path / "out"), partial=True)
    assert str(broken) in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    assert not list((tmp_path / "out").rglob("*.tfrecord*"))
    broken.unlink()
    assert "2 training" in prepare(str(tmp_path / "meshes"), str(tmp_path / "out"), partial=True)


@pytest.mark.slow
def test_a_killed_process_leaves_no_data_set_that_looks_complete(tmp_path):
    add_meshes(tmp_path / "meshes", 2000)
    source, out = str(tmp_path / "meshes"), tmp_path / "out"
    program = (
        "import sys; from perceiver.data.points.modelnet40.builder import prepare; "
        "prepare(sys.argv[1], sys.argv[2], partial=True, workers=1)"
    )
    repository = pathlib.Path(__file__).parents[4]
    running = subprocess.Popen([sys.executable, "-c", program, source, str(out)], cwd=repository)
    while not list(out.rglob("*.tfrecord*")):
        assert running.poll() is None
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    assert prepared.find(str(out)) is None
    assert "2,000 training clouds" in prepare(source, str(out), partial=True)
    assert loader.load(dir=str(out), partial=True, **PLAIN).train.num_examples == 2000


def test_own_classes_in_hdf5_are_not_prepared(tmp_path):
    (tmp_path / "shape_names.txt").write_text("mug\nspoon\n")
    for split in ("train", "test"):
        (tmp_path / f"{split}_files.txt").write_text(f"{split}.h5\n")
        with h5py.File(tmp_path / f"{split}.h5", "w") as file:
            file["data"], file["label"] = np.zeros((3, 9, 3)), np.zeros((3, 1), np.uint8)
    with pytest.raises(InputError, match="other classes than ModelNet40"):
        prepare(str(tmp_path), str(tmp_path / "out"))


def test_a_place_that_cannot_be_written_is_named(real_data, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file.*cannot be written"):
        prepare(str(real_data / "modelnet10_hdf5_1024"), str(tmp_path / "file"))


def test_a_full_disk_is_an_error(tmp_path):
    add_meshes(tmp_path / "meshes", 20)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(InputError, match=r"out' cannot be written .*too large") as raised:
            prepare(str(tmp_path / "meshes"), str(tmp_path / "out"), partial=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(str(raised.value).splitlines()) == 1
    assert prepared.find(str(tmp_path / "out")) is None


@pytest.fixture
def small(tmp_path):
    add_meshes(tmp_path / "meshes", 3)
    prepare(str(tmp_path / "meshes"), str(tmp_path / "out"), partial=True)
    return tmp_path / "out"


def damage(path: pathlib.Path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def test_damaged_data_sets_are_named(small):
    (record,) = small.rglob("modelnet-test.tfrecord*")
    whole = record.read_bytes()
    damage(record)
    with pytest.raises(InputError, match=r"1.0.0: the test records cannot be read \("):
        loader.load(dir=str(small), partial=True, **PLAIN)
    record.write_bytes(whole)
    with pytest.raises(InputError, match=r"2048 points, fewer than num_points 4000"):
        loader.load(dir=str(small), partial=True, **(PLAIN | {"num_points": 4000}))
    record.unlink()
    with pytest.raises(InputError, match=r"1.0.0"):
        loader.load(dir=str(small), partial=True, **PLAIN)


def test_another_data_set_is_refused_and_two_are_named(small):
    info = next(small.rglob("features.json"))
    text = info.read_text()
    info.write_text(text.replace('"points"', '"picture"'))
    with pytest.raises(InputError, match="is no data set of point clouds"):
        loader.load(dir=str(small), partial=True, **PLAIN)
    info.write_text(text.replace('"name"', '"title"'))
    with pytest.raises(InputError, match="is no data set of point clouds"):
        loader.load(dir=str(small), partial=True, **PLAIN)
    assert '"3"' in text
    info.write_text(text.replace('"3"', '"6"'))
    with pytest.raises(InputError, match="is no data set of point clouds"):
        loader.load(dir=str(small), partial=True, **PLAIN)
    info.write_text(text)
    (info.parent.parent.parent / "modelnet40" / "1.0.0").mkdir(parents=True)
    (info.parent.parent.parent / "modelnet40" / "1.0.0" / "dataset_info.json").touch()
    with pytest.raises(InputError, match=r"2 data sets: give .*modelnet10/1.0.0.* or .*modelnet40"):
        prepared.find(str(small))
