"""ModelNet in every layout: recognised, counted, and read as the same clouds."""

import pathlib
import shutil
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest
from scipy.spatial import cKDTree

from perceiver.data.points import files
from perceiver.data.points.modelnet40 import layouts
from perceiver.data.points.modelnet40.classes import MODELNET10, MODELNET40, OFFICIAL
from perceiver.errors import InputError

# A box 1 x 2 x 4, whose axes differ in length.
BOX = (
    "OFF8 6 12\n"
    + "".join(f"{x} {y} {z}\n" for x in (0, 1) for y in (0, 2) for z in (0, 4))
    + "4 0 1 3 2\n4 4 5 7 6\n4 0 1 5 4\n4 2 3 7 6\n4 0 2 6 4\n4 1 3 7 5\n"
)


def shapes(classes):
    """Yields (class, split, number) of the official number of shapes, spread over the classes."""
    for split, total in OFFICIAL[len(classes)].counts.items():
        for number in range(total):
            yield classes[number % len(classes)], split, number


def add_meshes(write, classes=MODELNET10, shapes_of=None):
    for name, split, number in shapes_of or shapes(classes):
        write(f"{name}/{split}/{name}_{number:04}.off", BOX)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A zip archive with as many meshes as ModelNet10."""
    path = tmp_path_factory.mktemp("princeton") / "ModelNet10.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("ModelNet10/README.txt", "ModelNet")
        file.writestr("__MACOSX/ModelNet10/._bed", "")
        add_meshes(lambda name, data: file.writestr(f"ModelNet10/{name}", data))
    return path


def writer(folder):
    def write(name, data):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(data)

    return write


FEW = [("bathtub", "train", 1), ("bed", "train", 2), ("bed", "test", 3)]


@pytest.mark.parametrize("of_folder", [False, True])
def test_princetons_archive_is_counted_and_read_in_place(archive, of_folder):
    before = sorted(archive.parent.rglob("*"))
    layout = layouts.find(str(archive.parent if of_folder else archive))
    assert (layout.kind, layout.class_names, layout.num_points) == ("meshes", MODELNET10, 2048)
    train, test = layout.splits["train"], layout.splits["test"]
    assert (len(train.names), len(test.names)) == (3991, 908)
    assert len(set(train.names)) == 3991
    labels = [MODELNET10.index(name.split("/")[0]) for name in test.names]
    np.testing.assert_array_equal(test.labels, labels)
    points = next(train.clouds(1))
    assert points.shape == (2048, 3)
    assert points.dtype == np.float32
    np.testing.assert_allclose(np.ptp(points, axis=0), [1, 2, 4], atol=0.02)
    assert sorted(archive.parent.rglob("*")) == before


def test_folder_and_archive_and_processes_give_the_same_clouds(archive, tmp_path):
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path)
    packed = layouts.find(str(archive)).splits["test"]
    unpacked = layouts.find(str(tmp_path / "ModelNet10")).splits["test"]
    assert packed.names == unpacked.names
    one = np.stack(list(packed.clouds(1)))
    np.testing.assert_array_equal(one, np.stack(list(unpacked.clouds(1))))
    np.testing.assert_array_equal(one, np.stack(list(packed.clouds(2))))
    assert len(np.unique(one.reshape(len(one), -1), axis=0)) == len(one)  # no two are alike


def test_layouts_import_without_tensorflow():
    program = (
        "import sys, perceiver.data.points.modelnet40.layouts; "
        "sys.exit('tensorflow' in sys.modules)"
    )
    repository = pathlib.Path(__file__).parents[4]
    done = subprocess.run([sys.executable, "-c", program], cwd=repository, check=False)
    assert done.returncode == 0


def test_the_classes_select_modelnet10_or_modelnet40(tmp_path):
    add_meshes(writer(tmp_path), shapes_of=FEW)
    assert layouts.find(str(tmp_path), partial=True).class_names == MODELNET10
    assert layouts.find(str(tmp_path), partial=True, classes=40).class_names == MODELNET40
    add_meshes(writer(tmp_path), shapes_of=[("airplane", "train", 1)])
    layout = layouts.find(str(tmp_path), partial=True)
    assert layout.class_names == MODELNET40
    assert layout.splits["train"].labels.tolist() == [0, 1, 2]


def refused(source, *parts, **options):
    with pytest.raises(InputError) as raised:
        layouts.find(str(source), **options)
    message = str(raised.value)
    assert len(message.splitlines()) == 1
    for part in parts:
        assert str(part) in message


def test_missing_meshes_are_counted(archive, tmp_path):
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path)
    folder = tmp_path / "ModelNet10"
    (folder / "bed" / "train" / "bed_0001.off").unlink()
    refused(folder, folder, "3,990", "908", "ModelNet10 has 3,991 and 908", "partial")
    assert len(layouts.find(str(folder), partial=True).splits["train"].names) == 3990
    shutil.rmtree(folder / "sofa")
    refused(folder, "3,591", "817")


def test_a_class_of_another_data_set_is_named(tmp_path):
    add_meshes(writer(tmp_path), shapes_of=[*FEW, ("mug", "train", 1)])
    refused(tmp_path, "'mug'", "point_folder", partial=True)


def test_another_layout_is_an_error_with_all_layouts_and_their_sources(tmp_path):
    refused(tmp_path, tmp_path, "<class>/{train,test}/*.off", "modelnet40_ply_hdf5_2048.zip")
    refused(tmp_path, "https://modelnet.cs.princeton.edu", "modelnet40_normal_resampled")
    refused(tmp_path / "none", tmp_path / "none", "does not exist")
    refused(tmp_path, "classes is 12", classes=12)


def test_two_data_sets_in_a_folder_are_named(archive, tmp_path):
    shutil.copy(archive, tmp_path)
    add_meshes(writer(tmp_path / "ModelNet10"), shapes_of=FEW)
    refused(tmp_path, "more than once", "ModelNet10.zip", tmp_path / "ModelNet10")


def test_a_damaged_mesh_is_named(tmp_path):
    add_meshes(writer(tmp_path), shapes_of=FEW)
    (tmp_path / "bed" / "test" / "bed_0003.off").write_text("OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n")
    split = layouts.find(str(tmp_path), partial=True).splits["test"]
    with pytest.raises(
        InputError, match=r"bed_0003.off: has no faces to sample, and only 3 points"
    ):
        list(split.clouds(1))


def add_resampled(folder, which, lists, lines=50):
    """Writes lists of names, and files for some of them, with points that identify the file."""
    for path, names in lists.items():
        writer(folder)(path, "".join(f"{name}\n" for name in names))
    rng = np.random.default_rng(0)
    for number, name in enumerate(which):
        rows = np.concatenate([rng.random((lines, 3)) + number, np.ones((lines, 3))], axis=1)
        text = "".join(",".join(f"{x:.6f}" for x in row) + "\n" for row in rows)
        writer(folder)(f"{name.rpartition('_')[0]}/{name}.txt", text)


LISTS = {
    "modelnet40_train.txt": ["airplane_0001", "night_stand_0002", "xbox_0003"],
    "modelnet40_test.txt": ["night_stand_0004"],
    "modelnet10_train.txt": ["night_stand_0002"],
    "modelnet10_test.txt": ["night_stand_0004"],
}


@pytest.mark.parametrize("packed", [False, True])
def test_resampled_clouds_are_read_by_their_lists(tmp_path, packed):
    folder = tmp_path / "modelnet40_normal_resampled"
    names = ["airplane_0001", "night_stand_0002", "night_stand_0004", "chair_0009"]
    add_resampled(folder, names, LISTS)
    source = shutil.make_archive(str(folder), "zip", tmp_path, folder.name) if packed else folder
    layout = layouts.find(str(source), partial=True)
    assert (layout.kind, layout.class_names, layout.num_points) == ("resampled", MODELNET40, 50)
    train = layout.splits["train"]
    assert train.names == ["airplane/airplane_0001.txt", "night_stand/night_stand_0002.txt"]
    assert train.labels.tolist() == [0, 23]
    clouds = np.stack(list(train.clouds(1)))
    np.testing.assert_array_equal(np.floor(clouds), np.ones((2, 50, 3)) * [[[0]], [[1]]])
    ten = layouts.find(str(source), partial=True, classes=10)
    assert ten.class_names == MODELNET10
    assert ten.splits["train"].labels.tolist() == [6]
    refused(source, "2 training and 1 test", "9,843 and 2,468")


def test_resampled_clouds_of_another_size_and_lists_of_other_classes_are_named(tmp_path):
    names = ["airplane_0001", "night_stand_0002", "night_stand_0004"]
    add_resampled(tmp_path, names, LISTS)
    path = tmp_path / "night_stand" / "night_stand_0002.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    split = layouts.find(str(tmp_path), partial=True).splits["train"]
    with pytest.raises(InputError, match=r"night_stand_0002.txt has 49 points, and other files 50"):
        list(split.clouds(1))
    refused(tmp_path, "50 points", "num_points 51", partial=True, num_points=51)
    (tmp_path / "modelnet40_test.txt").write_text("../../etc/passwd\n")
    refused(tmp_path, "modelnet40_test.txt", "'../../etc/passwd'", partial=True)
    (tmp_path / "modelnet40_test.txt").unlink()
    refused(tmp_path, "modelnet40_test.txt", "is missing", partial=True)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_cloud_that_is_listed_twice_is_named(tmp_path, split):
    """A cloud in both lists would be tested on after training on it."""
    name = "night_stand_0002"
    lists = LISTS | {f"modelnet40_{split}.txt": [*LISTS[f"modelnet40_{split}.txt"], name]}
    add_resampled(tmp_path, ["airplane_0001", name, "night_stand_0004"], lists)
    refused(tmp_path, f"modelnet40_{split}.txt", f"'{name}' is listed twice", partial=True)


def test_real_lists_are_the_official_ones(real_data):
    folder = real_data / "modelnet40_normal_resampled"
    assert tuple((folder / "modelnet40_shape_names.txt").read_text().split()) == MODELNET40
    for split, count in OFFICIAL[40].counts.items():
        names = (folder / f"modelnet40_{split}.txt").read_text().split()
        assert len(names) == count
        tens = [name for name in names if name.rpartition("_")[0] in MODELNET10]
        assert len(tens) == OFFICIAL[10].counts[split]
    layout = layouts.find(str(folder), partial=True)
    assert layout.num_points == 10_000
    assert [len(split.names) for split in layout.splits.values()] == [19, 1]
    assert set(MODELNET10) < set(MODELNET40)
    refused(folder, "19 training and 1 test", "9,843 and 2,468")


@pytest.mark.parametrize("name", ["bathtub_0001", "bathtub_0002"])
def test_real_resampled_clouds_lie_on_the_meshes_with_y_and_z_exchanged(real_data, name):
    path = real_data / "modelnet_off" / "bathtub" / "train" / f"{name}.off"
    mesh = files.read(path.read_bytes(), path.name)
    dense = files.to_cloud(mesh, fewest=1, most=200_000, name=path.name, key=name)
    path = real_data / "modelnet40_normal_resampled" / "bathtub" / f"{name}.txt"
    cloud = files.read(path.read_bytes(), path.name)
    distances = {}
    for order in ((0, 1, 2), (0, 2, 1)):
        turned = dense[:, order]
        scale = np.ptp(cloud, axis=0).max() / np.ptp(turned, axis=0).max()
        middle = (turned.max(axis=0) + turned.min(axis=0)) / 2
        fitted = (turned - middle) * scale + (cloud.max(axis=0) + cloud.min(axis=0)) / 2
        distances[order] = cKDTree(fitted).query(cloud)[0]
    assert distances[0, 2, 1].mean() < 0.007  # in clouds that reach from -1 to 1
    assert distances[0, 2, 1].max() < 0.03
    assert distances[0, 1, 2].mean() > 0.05


def add_hdf5(folder, names, sizes):
    folder.mkdir(exist_ok=True)
    (folder / "shape_names.txt").write_text("".join(f"{name}\n" for name in names))
    for split, size in sizes.items():
        (folder / f"{split}_files.txt").write_text(f"data/x/ply_data_{split}0.h5\n")
        with h5py.File(folder / f"ply_data_{split}0.h5", "w") as file:
            file["data"] = np.zeros((size, 2, 3), np.float32)
            file["label"] = np.zeros((size, 1), np.uint8)


def test_stanfords_files_hold_three_clouds_less(tmp_path):
    add_hdf5(tmp_path / "a", MODELNET40, {"train": 9840, "test": 2468})
    layout = layouts.find(str(tmp_path / "a"))
    assert [len(split.names) for split in layout.splits.values()] == [9840, 2468]
    add_hdf5(tmp_path / "b", MODELNET40, {"train": 9839, "test": 2468})
    refused(tmp_path / "b", "9,839 training", "9,843")
    assert layouts.find(str(tmp_path / "b"), partial=True)
    packed = shutil.make_archive(str(tmp_path / "modelnet40_ply_hdf5_2048"), "zip", tmp_path / "a")
    assert len(layouts.find(packed).splits["train"].names) == 9840
    refused(tmp_path / "a", "40 classes", "classes is 10", classes=10)


def test_training_and_test_clouds_of_other_sizes_are_refused(tmp_path):
    add_hdf5(tmp_path, ["mug"], {"train": 3, "test": 3})
    with h5py.File(tmp_path / "ply_data_test0.h5", "w") as file:
        file["data"], file["label"] = np.zeros((3, 5, 3)), np.zeros((3, 1), np.uint8)
    refused(tmp_path, "training clouds have 2 points and test clouds 5")


def test_princetons_meshes_may_not_lack_three(tmp_path):
    missing = [s for s in shapes(MODELNET40) if s[1] == "test" or s[2] >= 3]
    with zipfile.ZipFile(tmp_path / "ModelNet40.zip", "w") as file:
        add_meshes(file.writestr, shapes_of=missing)
    refused(tmp_path, "9,840 training and 2,468 test", "9,843 and 2,468")


def test_names_in_another_order_are_refused(tmp_path):
    add_hdf5(tmp_path, MODELNET40[::-1], {"train": 9840, "test": 2468})
    refused(tmp_path, "shape_names.txt", "ModelNet40 in another order", partial=True)
