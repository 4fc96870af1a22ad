"""Hostile files: none is run or unpickled, nothing is written outside, and names are only data."""

import ast
import json
import os
import pickle
import pickletools
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from experiments import prepare_data
from perceiver.data import class_folders, registry
from perceiver.data.clips.preparation import audioset_lists, prepare, runners
from perceiver.data.clips.prepared import open_prepared
from perceiver.data.images.pictures import PICTURES
from perceiver.data.points.folder import load as load_points
from perceiver.data.points.modelnet40 import builder, loader
from perceiver.data.stream.records import open_records
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError
from perceiver.training.checkpoints import CheckpointError, Checkpoints
from tests.data.clips import media
from tests.data.clips.test_loaders import clip, write
from tests.experiments.small_data import point_clouds
from tests.processes import exit_status

ROOT = Path(__file__).parents[2]
CLOUDS = {"num_points": 16, "scale": (1.0, 1.0), "translation": 0.0, "rotation": "none"}
FOLDER_OPTIONS = CLOUDS | {"val_fraction": 0.5, "split_seed": 0}


class Marker:
    """An object that creates a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def hostile(tmp_path):
    """An object that leaves a trace when it is unpickled, which fails the test."""
    marker = tmp_path / "unpickled"
    yield Marker(marker)
    assert not marker.exists()


def test_unpickling_the_marker_creates_a_folder(tmp_path):
    data = pickle.dumps(Marker(tmp_path / "unpickled"))
    assert "mkdir" in str([argument for _, argument, _ in pickletools.genops(data)])
    pickle.loads(data)
    assert (tmp_path / "unpickled").is_dir()


# Pickles in place of data.


def _write_pickle(path, hostile):
    path.write_bytes(pickle.dumps(hostile))


def _write_object_array(path, hostile):
    with path.open("wb") as file:
        np.save(file, np.array([[hostile] * 3] * 20, object), allow_pickle=True)


def _write_object_npz(path, hostile):
    with path.open("wb") as file:
        np.savez(file, data=np.array([[hostile] * 3] * 20, object))


def _write_opaque_hdf5(path, hostile):
    """Writes an HDF5 file with a pickle as opaque bytes, the way pandas stores objects."""
    with h5py.File(path, "w") as file:
        file["data"] = np.void(pickle.dumps(hostile))


def _write_hdf5_references(path, hostile):
    with h5py.File(path, "w") as file:
        file["points"] = np.zeros((20, 3))
        file.create_dataset("data", (20, 3), h5py.ref_dtype)
        file["data"][0, 0] = file["points"].ref


def _write_hdf5_link(path, hostile):
    """Writes an HDF5 file whose data set links to another file of this machine."""
    with h5py.File(path.with_suffix(".outside"), "w") as file:
        file["data"] = np.random.default_rng(0).normal(size=(20, 3))
    with h5py.File(path, "w") as file:
        file["data"] = h5py.ExternalLink(str(path.with_suffix(".outside")), "data")


@pytest.mark.parametrize(
    ("suffix", "make"),
    [
        *((suffix, _write_pickle) for suffix in (".npy", ".txt", ".off", ".ply", ".pcd", ".h5")),
        *((".npy", make) for make in (_write_object_array, _write_object_npz)),
        *((".h5", make) for make in (_write_opaque_hdf5, _write_hdf5_references, _write_hdf5_link)),
    ],
)
def test_a_pickle_in_place_of_a_point_cloud_is_refused(suffix, make, tmp_path, hostile):
    (tmp_path / "data" / "a").mkdir(parents=True)
    for number in range(3):
        np.save(tmp_path / "data" / "a" / f"{number}.npy", np.ones((20, 3)) * np.arange(3))
    path = tmp_path / "data" / "a" / f"evil{suffix}"
    make(path, hostile)
    with pytest.raises(InputError) as raised:
        load_points(dir=str(tmp_path / "data"), **FOLDER_OPTIONS)
    assert str(raised.value).startswith(f"{path}: cannot be read as {suffix} (")


@pytest.mark.parametrize(
    "make", [_write_pickle, _write_opaque_hdf5, _write_hdf5_references, _write_hdf5_link]
)
def test_a_pickle_in_place_of_modelnet40_is_refused(make, tmp_path, hostile):
    point_clouds(tmp_path)
    make(tmp_path / "test0.h5", hostile)
    with pytest.raises(InputError, match=r"test0\.h5.* cannot be read \("):
        loader.load(dir=str(tmp_path), **CLOUDS)


def test_a_pickle_in_place_of_a_picture_or_records_is_refused(tmp_path, hostile):
    (tmp_path / "pictures" / "a").mkdir(parents=True)
    _write_pickle(tmp_path / "pictures" / "a" / "evil.jpg", hostile)
    with pytest.raises(InputError, match=r"evil\.jpg: neither JPEG nor PNG"):
        class_folders.find(str(tmp_path / "pictures"), PICTURES, 0.5, 0)
    _write_pickle(tmp_path / "evil.tfrecord", hostile)
    with pytest.raises(InputError, match=r"evil\.tfrecord: record 0"):
        open_records([tmp_path / "evil.tfrecord"])


@pytest.mark.parametrize("make", [_write_pickle, _write_object_array, _write_object_npz])
def test_a_pickle_in_place_of_the_record_index_is_not_read(make, tmp_path, hostile):
    path = tmp_path / "data.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(b"whole")
    assert open_records([path]).num_records == 1
    (index,) = tmp_path.glob(".offsets-*.npz")
    make(index, hostile)
    assert open_records([path]).read(tf.constant(0)).numpy() == b"whole"
    with np.load(index, allow_pickle=False) as found:  # it was rewritten
        assert sorted(found) == ["counts", "offsets", "stats"]


# Code that TFDS would import.


@pytest.fixture
def data_set(tmp_path, monkeypatch):
    """A TFDS data set, and a module on Python's path that creates the folder `ran` on import."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "evil_features.py").write_text(f"import os; os.mkdir('{tmp_path}/ran')")
    monkeypatch.syspath_prepend(tmp_path / "code")
    return write(tmp_path / "clips", {"train": [[clip("a", [0])]], "eval": [[clip("b", [1])]]})


def _name_code_in_a_feature(description):
    features = description["featuresDict"]["features"]
    features["sound"]["pythonClassName"] = "evil_features.Evil"
    return description


def _name_code_at_the_top(description):
    return description | {"pythonClassName": "evil_features.Evil"}


def _name_code_in_the_old_format(description):
    """Uses the format of TFDS before 4.5, which TFDS still reads: JSON within a string."""
    content = json.dumps(_name_code_in_a_feature(description)["featuresDict"])
    return {
        "type": description["pythonClassName"],
        "content": content,
        "proto_cls": "tensorflow_datasets.FeaturesDict",
    }


def _name_code_in_snake_case(description):
    sound = description["featuresDict"]["features"]["sound"]
    sound["python_class_name"] = "evil_features.Evil"
    del sound["pythonClassName"]
    return description


CHANGES = [
    _name_code_in_a_feature,
    _name_code_at_the_top,
    _name_code_in_the_old_format,
    _name_code_in_snake_case,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_data_set_that_names_code_is_refused(data_set, tmp_path, change):
    features = data_set / "features.json"
    features.write_text(json.dumps(change(json.loads(features.read_text()))))
    with pytest.raises(InputError, match=r"features\.json: refused: .*'evil_features\.Evil'"):
        open_prepared(str(data_set), "prepare")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("change", CHANGES)
def test_tfds_without_the_check_runs_that_code(data_set, tmp_path, change):
    """Shows that the refused descriptions are dangerous."""
    features = data_set / "features.json"
    features.write_text(json.dumps(change(json.loads(features.read_text()))))
    with pytest.raises(ValueError, match="evil_features"):
        tfds.builder_from_directory(data_set)
    assert (tmp_path / "ran").exists()
    del sys.modules["evil_features"]


def test_a_deeply_nested_description_is_refused(data_set):
    (data_set / "features.json").write_text('{"a":' * 100_000)
    with pytest.raises(InputError, match=r"features\.json is missing or damaged") as raised:
        open_prepared(str(data_set), "prepare")
    assert len(str(raised.value)) < 1000


# Weights.


@pytest.mark.parametrize("make", [_write_pickle, _write_object_npz])
def test_a_pickle_in_place_of_a_checkpoint_is_refused(make, tmp_path, hostile):
    state = {"layer": {"w": np.arange(6.0, dtype=np.float32)}}
    folder = tmp_path / "checkpoints"
    with Checkpoints(folder, keep=1, best_of=None) as checkpoints:
        checkpoints.save(3, state, b"{}", None)
    for file in list((folder / "3").rglob("*")):
        if file.is_file():
            make(file, hostile)
    with Checkpoints(folder, keep=1, best_of=None) as checkpoints, pytest.raises(CheckpointError):
        checkpoints.restore(state)


# Archives.


def test_archive_members_outside_the_folder_are_refused_unwritten(tmp_path):
    """Only archives of ModelNet are opened, and they are never unpacked."""
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "ModelNet40.zip"
    for name in ("../evil.off", "/tmp/evil.off", "chair/train/../../../evil.off", "C:\\evil.off"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("chair/train/chair_0001.off", b"OFF")
            archive.writestr(name, b"OFF")
        before = sorted(tmp_path.rglob("*"))
        for source in (path, path.parent):
            with pytest.raises(InputError, match=r"ModelNet40\.zip: refused: its member"):
                builder.prepare(str(source), str(tmp_path / "out"))
        assert sorted(tmp_path.rglob("*")) == before


def test_prepare_data_reports_a_hostile_archive_in_one_line(tmp_path, capsys):
    path = tmp_path / "ModelNet40.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("chair/train/bomb.off", b"0" * ((1 << 29) + 1))
    arguments = ["modelnet", f"--source={path}", f"--out={tmp_path}/out"]
    status = exit_status(prepare_data, arguments)
    assert status == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path}: refused: its member 'chair/train/bomb.off' has 536,870")
    assert not (tmp_path / "out").exists()


# Names.

NAMES = ["-rf", "$(touch pwned)", "a'b", 'c"d', "; touch pwned;", "`touch pwned`", "x y|z", "%s{0}"]


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A folder next to the working folder; commands hidden in names must leave no trace in them."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield tmp_path
    assert not list((tmp_path / "here").iterdir())
    assert not list(tmp_path.rglob("pwned"))
    assert not (ROOT / "pwned").exists()


def test_pictures_with_hostile_names_are_read(outside, mains):
    """The names are of classes, files, the data folder and the workdir."""
    folder = outside / "-data; 'of' \"mine\" $(touch pwned)"
    for level, name in enumerate(NAMES):
        (folder / name).mkdir(parents=True)
        for number, file in enumerate(NAMES[:4]):
            pixels = np.full((12, 12, 3), level * 30 + number, np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{file}.png")
    workdir = outside / "-run; `touch pwned` 'it'"
    arguments = [
        "--config=configs/folder.py",
        f"--config.data.dir={folder}",
        "--config.data.image_size=8",
    ]
    status, out, err = mains("simple_models", *arguments, f"--workdir={workdir}")
    assert status == 0, err[-3000:]
    assert "29 training and 3 evaluation examples" in out
    assert json.loads((workdir / "simple_models.json").read_text())["num_examples"] == 3
    status, out, err = mains("show_data", *arguments, f"--out={workdir}/$(id).png", "--count=30")
    assert status == 0, err[-3000:]
    assert all(f": {folder}/{name}/" in out for name in NAMES)
    assert (workdir / "$(id).png").stat().st_size > 1000


def test_clips_with_hostile_names_are_decoded(outside, capsys):
    """Some IDs of AudioSet begin with '-'; here all hostile names are IDs."""
    segments = outside / "eval_segments.csv"
    (outside / "class_labels_indices.csv").write_text("index,mid,display_name\n0,/m/1,Speech\n")
    rows = []
    for number, name in enumerate(NAMES):
        sound = media.sine(8000, 0.2, 300 + 50 * number)
        media.write(outside / "clips.wav", sound=("pcm_s16le", 8000, "s16", sound))
        (outside / "clips").mkdir(exist_ok=True)
        (outside / "clips.wav").rename(outside / "clips" / f"{name}_000010.wav")
        quoted = '"' + name.replace('"', '""') + '"'
        rows.append(f'{quoted}, 10.000, 20.000, "/m/1"\n')
    segments.write_text("".join(rows))
    (report,) = prepare.prepare_audioset(
        [str(segments)],
        None,
        str(outside / "clips"),
        str(outside / "-out; 'x'"),
        need="sound",
        num_shards=1,
        runner=runners.run_in_threads,
    )
    assert (report.listed, report.found, report.decoded) == (8, 8, 8)
    data = registry.load(
        "audioset",
        dir=str(outside / "-out; 'x'"),
        train_split="eval",
        eval_split="eval",
        modalities=("audio",),
    )
    shown = {data.eval.name(index).rsplit(" (", 1)[0] for index in range(8)}
    assert shown == {f"{name}_000010" for name in NAMES}


def test_a_split_name_that_leads_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "evil_segments.csv").touch()
    with pytest.raises(InputError, match="give --split=NAME"):
        audioset_lists.split_name(str(tmp_path / "..-evil_segments.csv"))


def _calls(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {key.arg: ast.unparse(key.value) for key in node.keywords}


def test_no_code_of_the_project_unpickles_or_calls_a_shell():
    files = [f for package in ("perceiver", "experiments", "configs", "launch") for f in
             (ROOT / package).rglob("*.py")]  # fmt: skip
    assert len(files) > 100
    wrong = []
    for file in files:
        for name, options in _calls(file):
            words = set(name.split("."))
            loads = name == "np.load" and options.get("allow_pickle") != "False"
            shell = options.get("shell", "False") != "False" or name in ("os.system", "os.popen")
            if loads or shell or words & {"pickle", "dill", "joblib", "marshal", "shelve", "eval"}:
                wrong.append(f"{file}: {name}")
            if options.get("allow_pickle", "False") != "False":
                wrong.append(f"{file}: {name}")
    assert not wrong
