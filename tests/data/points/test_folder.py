"""The loader of a user's point files: layouts, mixed sizes and formats, splits, and errors."""

import h5py
import numpy as np
import pytest
import trimesh

from perceiver.data.points import folder as point_folder
from perceiver.errors import InputError

PLAIN = {
    "val_fraction": 0.25,
    "split_seed": 0,
    "num_points": 16,
    "scale": (1.0, 1.0),
    "translation": 0.0,
    "rotation": "none",
}
RNG = np.random.default_rng(0)


def add(folder, count, size=40, stretch=(1, 1, 1), offset=0.0):
    """Writes clouds in three formats in turn."""
    folder.mkdir(parents=True)
    for number in range(count):
        points = (RNG.normal(size=(size, 3)) * stretch + offset).astype(np.float32)
        path = folder / f"-{number} 'x'"
        if number % 3 == 0:
            np.save(path.with_suffix(".npy"), points)
        elif number % 3 == 1:
            np.savetxt(path.with_suffix(".txt"), points, delimiter=",")
        else:
            with h5py.File(path.with_suffix(".h5"), "w") as file:
                file["data"] = points
    return folder


def load(folder, **options):
    return point_folder.load(dir=str(folder), **(PLAIN | options))


def only(source):
    (batch,) = source.eval_batches(batch_size=source.num_examples)
    return batch


@pytest.fixture
def classes(tmp_path):
    """Two classes of eight clouds, long in x and long in y."""
    add(tmp_path / "long in x", 8, stretch=(9, 1, 1))
    add(tmp_path / "long in y", 8, stretch=(1, 9, 1))
    (tmp_path / "long in x" / "notes.md").write_text("passed over")
    return tmp_path


def test_classes_are_the_folders_and_a_part_is_held_out(classes):
    data = load(classes)
    assert data.class_names == ("long in x", "long in y")
    assert (data.train.num_examples, data.eval.num_examples) == (12, 4)
    batch = only(data.eval)
    assert batch["points"].shape == (4, 16, 3)
    np.testing.assert_allclose(batch["points"].mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(np.abs(batch["points"]).max(axis=(1, 2)), 1, atol=1e-6)
    assert (np.ptp(batch["points"], axis=1).argmax(axis=1) == batch["label"]).all()
    for index, label in zip(batch["index"], batch["label"], strict=True):
        assert f"/{data.class_names[label]}/-" in data.eval.name(index)
    batch = next(data.train.train_batches(batch_size=12, seed=0))
    assert batch["points"].shape == (12, 16, 3)
    assert (np.ptp(batch["points"], axis=1).argmax(axis=1) == batch["label"]).all()


@pytest.mark.parametrize("layout", ["{split}/{name}", "{name}/{split}"])
def test_splits_that_are_there_are_used(tmp_path, layout):
    held_out = "val" if layout.startswith("{split}") else "test"
    for name in ("a", "b"):
        add(tmp_path / layout.format(split="train", name=name), 3)
        add(tmp_path / layout.format(split=held_out, name=name), 2)
    data = load(tmp_path)
    assert (data.train.num_examples, data.eval.num_examples) == (6, 4)
    assert only(data.eval)["label"].tolist() == [0, 0, 1, 1]
    assert all(f"/{held_out}/" in data.eval.name(index) for index in range(4))


def test_meshes_of_princeton_without_a_test_folder_have_some_held_out(real_data):
    data = load(real_data / "modelnet_off", val_fraction=0.5, num_points=2048)
    assert data.class_names == ("bathtub", "bed")
    assert (data.train.num_examples, data.eval.num_examples) == (2, 2)
    assert only(data.eval)["label"].tolist() == [0, 1]
    extents = np.ptp(only(data.eval)["points"], axis=1)
    for index, extent in enumerate(extents):
        expected = np.ptp(trimesh.load(data.eval.name(index)).vertices, axis=0)
        # 2,048 points nearly reach the edges.
        np.testing.assert_allclose(extent / extent.max(), expected / expected.max(), atol=0.02)
    more = load(real_data / "modelnet_off", val_fraction=0.5, num_points=5000)
    assert only(more.eval)["points"].shape == (2, 5000, 3)


def test_the_same_points_are_drawn_each_time_and_the_smallest_cloud_sets_the_size(tmp_path):
    add(tmp_path / "a", 2, size=30)
    add(tmp_path / "b", 2, size=5000)
    one, two = (load(tmp_path, val_fraction=0.5, num_points=30) for _ in range(2))
    np.testing.assert_array_equal(only(one.eval)["points"], only(two.eval)["points"])
    np.testing.assert_array_equal(only(one.train)["points"], only(two.train)["points"])
    # A cloud of 5,000 is cut to the size of the smallest, with points from the whole file.
    (path,) = (one.eval.name(i) for i in range(2) if "/b/" in one.eval.name(i))
    whole = np.load(path) if path.endswith(".npy") else np.loadtxt(path, delimiter=",")
    drawn = only(one.eval)["points"][1].astype(np.float64)
    drawn -= drawn.mean(axis=0)
    spread = whole.std(axis=0) / drawn.std(axis=0)
    np.testing.assert_allclose(spread / spread.mean(), 1, atol=0.5)
    assert not np.array_equal(drawn.argsort(axis=0), whole[:30].argsort(axis=0))


def test_points_far_from_the_origin_keep_their_shape(tmp_path):
    """Coordinates of a survey: float32 has steps of half a metre at 5,000 km."""
    (tmp_path / "a").mkdir()
    points = np.random.default_rng(1).random((20, 3))
    for number in range(2):
        np.save(tmp_path / "a" / f"{number}.npy", points + np.array([5e6, 4e5, 100]))
    result = only(load(tmp_path, val_fraction=0.5, num_points=20).eval)["points"][0]
    centred = points - points.mean(axis=0)
    expected = centred / np.abs(centred).max()
    np.testing.assert_allclose(np.sort(result, axis=0), np.sort(expected, axis=0), atol=1e-5)


def refused(folder, *parts, **options):
    with pytest.raises(InputError) as raised:
        load(folder, **options)
    message = str(raised.value)
    assert len(message.splitlines()) == 1
    for part in parts:
        assert str(part) in message


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("x.npy", b"", "empty"),
        ("x.npy", b"\x93NUMPY", "cannot be read"),
        ("x.off", b"OFF\n2 0 0\n0 0 0\n1 1 1\n", "no faces"),
        ("x.txt", b"0 0 nan\n" * 50, "not finite"),
        ("x.ply", b"v 0 0 0\n" * 50, "cannot be read"),
        ("x.h5", b"<html>", "cannot be read"),
        ("x.pcd", b"DATA\n", "cannot be read"),
    ],
)
def test_damaged_files_are_named(classes, name, content, named):
    path = classes / "long in y" / name
    path.write_bytes(content)
    refused(classes, path, named)


def test_layouts_that_cannot_be_are_named(tmp_path, classes):
    refused(tmp_path / "none", tmp_path / "none", "does not exist", ".off, .ply, .npy")
    (classes / "empty").mkdir()
    refused(classes, classes / "empty", "no point files")
    (classes / "long in x" / "train").mkdir()
    refused(classes, "'empty' has no folder 'train'")
    nested = tmp_path / "nested"
    for name in ("a", "b"):
        add(nested / name / "train", 2)
    add(nested / "b" / "test", 2)
    refused(nested, "'a' has no folder 'test', 'b' has")
    (nested / "a" / "test").mkdir()
    refused(nested, nested / "a" / "test", "no point files")


def test_wrong_options_are_named(classes):
    refused(classes, "dropout is 1.0", dropout=1.0)
    refused(classes, "rotation is 'z'", rotation="z")
    refused(classes, "val_fraction 0.0", val_fraction=0.0)
