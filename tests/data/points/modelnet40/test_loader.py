"""The loader of ModelNet: normalised and augmented clouds, and errors that name the damage."""

import h5py
import numpy as np
import pytest

from perceiver.data.points import clouds
from perceiver.data.points.modelnet40 import loader
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

PLAIN = {"scale": (1.0, 1.0), "translation": 0.0, "rotation": "none"}
PAPER = {"scale": (0.99, 1.01), "translation": 0.0, "rotation": "none"}


@pytest.fixture
def small(tmp_path):
    """A folder of 12 training and 5 test clouds of 64 points; one class is long in y, one in z."""
    rng = np.random.default_rng(0)
    (tmp_path / "shape_names.txt").write_text("long\ntall\n")
    for split, sizes in (("train", (8, 4)), ("test", (5,))):
        names = [f"ply_data_{split}{number}.h5" for number in range(len(sizes))]
        listed = "".join(f"data/modelnet40_ply_hdf5_2048/{name}\n" for name in names)
        (tmp_path / f"{split}_files.txt").write_text(listed)
        for name, size in zip(names, sizes, strict=True):
            labels = np.arange(size, dtype=np.uint8)[:, None] % 2
            stretch = np.where(labels[:, None], [1, 2, 4], [1, 4, 2])
            points = rng.normal(size=(size, 64, 3)) * stretch + [3, 0, -1]
            write(tmp_path / name, points, labels)
    return tmp_path


def write(path, points, labels):
    with h5py.File(path, "w") as file:
        file["data"], file["label"] = points.astype(np.float32), labels


def clouds_in(folder, name):
    with h5py.File(folder / name) as file:
        return file["data"][:]


def by_numpy(points):
    centred = points - points.mean(axis=-2, keepdims=True)
    return centred / np.abs(centred).max(axis=(-1, -2), keepdims=True)


def in_order(batch):
    return batch["points"][np.argsort(batch["index"])]


def training(folder, num_points, **options):
    source = loader.load(dir=str(folder), num_points=num_points, **options).train
    return next(source.train_batches(batch_size=source.num_examples, seed=0))


def test_real_clouds_are_counted_and_normalised(real_data):
    folder = real_data / "modelnet10_hdf5_1024"
    data = loader.load(dir=str(folder), num_points=1000, **PAPER)
    assert (data.train.num_examples, data.eval.num_examples) == (3991, 908)
    assert data.class_names == tuple((folder / "shape_names.txt").read_text().split())
    batches = list(data.eval.eval_batches(batch_size=500))
    points = np.concatenate([b["points"][b["mask"] == 1] for b in batches])
    labels = np.concatenate([b["label"][b["mask"] == 1] for b in batches])
    with h5py.File(folder / "ply_data_test0.h5") as file:
        expected, expected_labels = by_numpy(file["data"][:, :1000]), file["label"][:, 0]
    np.testing.assert_allclose(points, expected, atol=2e-6)
    np.testing.assert_array_equal(labels, expected_labels)

    batch = next(data.train.train_batches(batch_size=200, seed=0))
    assert batch["points"].shape == (200, 1000, 3)
    np.testing.assert_allclose(batch["points"].mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(np.abs(batch["points"]).max(axis=(1, 2)), 1, atol=1e-6)


def test_real_clouds_stand_on_the_axis_that_the_loader_documents(real_data):
    """ModelNet10 from Princeton's meshes: z is up, so tables and night stands differ in it."""
    clouds = loader.load(dir=str(real_data / "modelnet10_hdf5_1024"), num_points=1024, **PLAIN)
    (batch,) = clouds.eval.eval_batches(batch_size=908)
    sofas = batch["points"][batch["label"] == clouds.class_names.index("sofa")]
    extents = np.ptp(sofas, axis=1).mean(axis=0)
    assert extents.argmin() == 2  # sofas are lower than they are wide or deep


def test_training_without_augmentation_is_the_file_in_another_order(small):
    """Networks arrange points on grids in the order in which they come, so it must be random."""
    files = np.concatenate([clouds_in(small, f"ply_data_train{n}.h5") for n in range(2)])
    expected, given = by_numpy(files), in_order(training(small, 64, **PLAIN))
    orders = []
    for cloud, wanted in zip(given, expected, strict=True):
        distances = np.linalg.norm(cloud[:, None] - wanted[None], axis=-1)
        order = distances.argmin(axis=1)
        np.testing.assert_allclose(cloud, wanted[order], atol=1e-5)
        assert sorted(order) == list(range(64))  # each point once
        orders.append(tuple(order))
    assert len(set(orders)) == len(orders)
    assert tuple(range(64)) not in orders


def test_training_draws_points_without_replacement(small):
    line = np.zeros((4, 64, 3))
    line[:, :, 0] = np.arange(64)
    write(small / "ply_data_train1.h5", line, np.zeros((4, 1), np.uint8))
    drawn = in_order(training(small, 40, **PLAIN))[8:, :, 0]
    # Among 40 of 64 points on a line some are neighbours, whose distance is the unit.
    drawn -= drawn.min(axis=1, keepdims=True)
    ids = np.stack([x / np.diff(np.sort(x)).min() for x in drawn])
    np.testing.assert_allclose(ids, ids.round(), atol=0.01)
    assert all(len(np.unique(row)) == 40 for row in ids.round())
    assert (ids.max(axis=1) > 50).all()  # not the first 40
    assert len(np.unique(ids.round(), axis=0)) == 4  # and others for each cloud


def test_scale_is_one_factor_a_point(small):
    wide = PLAIN | {"scale": (0.5, 2.0)}
    plain, scaled = (in_order(training(small, 64, **options)) for options in (PLAIN, wide))
    for before, after in zip(plain, scaled, strict=True):
        # after * m + c = factor * before, so after * m + c is parallel to before.
        zero = np.zeros(64)
        x, y, z = before.T
        u, v, w = after.T
        rows = [
            np.stack([y * u - x * v, y, -x, zero], -1),
            np.stack([z * v - y * w, zero, z, -y], -1),
            np.stack([x * w - z * u, -z, zero, x], -1),
        ]
        _, singular, basis = np.linalg.svd(np.concatenate(rows).astype(np.float64))
        assert singular[-1] < 1e-4 * singular[0]
        solved = basis[-1] / basis[-1][0]
        factors = np.linalg.norm(after + solved[1:], axis=1) / np.linalg.norm(before, axis=1)
        assert 2 < factors.max() / factors.min() <= 4.001
        assert len(np.unique(factors.round(4))) > 50


def test_translation_moves_points_by_up_to_the_limit(small):
    moved = training(small, 64, **(PLAIN | {"translation": 0.02}))
    unmoved = training(small, 64, **PLAIN)  # in the same random order
    for points, cloud in zip(in_order(moved), in_order(unmoved), strict=True):
        design = points - points.mean(axis=0)
        target = cloud - cloud.mean(axis=0)
        target /= np.abs(target).max()
        factor = (design * target).sum() / (design * design).sum()
        shift = design * factor - target
        assert 0.015 < np.abs(shift).max() < 0.025


def pairwise(points):
    return np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)


@pytest.mark.parametrize(
    ("options", "fixed_axis"),
    [
        ({"rotation": "up", "up_axis": "x"}, 0),
        ({"rotation": "up", "up_axis": "y"}, 1),
        ({"rotation": "up"}, 1),
        ({"rotation": "up", "up_axis": "z"}, 2),
        ({"rotation": "any"}, None),
    ],
)
def test_rotation_keeps_distances_and_hands(small, options, fixed_axis):
    plain = in_order(training(small, 64, **PLAIN)).astype(np.float64)
    turned = in_order(training(small, 64, **(PLAIN | options))).astype(np.float64)
    # Normalisation comes after, so distances agree up to a factor.
    factor = pairwise(turned).max(axis=(1, 2)) / pairwise(plain).max(axis=(1, 2))
    np.testing.assert_allclose(pairwise(turned), pairwise(plain) * factor[:, None, None], atol=1e-4)
    turned /= factor[:, None, None]
    pairs = zip(plain, turned, strict=True)
    matrices = np.stack([np.linalg.lstsq(a, b, rcond=None)[0] for a, b in pairs])
    np.testing.assert_allclose(np.linalg.det(matrices), 1, atol=1e-4)
    diagonal = matrices[:, range(3), range(3)]
    for axis in range(3):
        if axis == fixed_axis:
            np.testing.assert_allclose(diagonal[:, axis], 1, atol=1e-4)
        else:
            assert diagonal[:, axis].std() > 0.2


def test_dropped_points_become_copies_of_one_that_stays(small):
    plain = in_order(training(small, 64, **PLAIN))
    dropped = in_order(training(small, 64, **PLAIN, dropout=0.9))
    for before, after in zip(plain, dropped, strict=True):
        stayed = (before == after).all(axis=1)
        assert stayed[0]
        np.testing.assert_array_equal(
            after[~stayed], np.broadcast_to(before[0], after.shape)[~stayed]
        )
    shares = 1 - (plain == dropped).all(axis=2).mean(axis=1)
    assert len(np.unique(shares)) > 6


def test_the_share_of_dropped_points_is_uniform_up_to_the_limit():
    points = tf.constant(np.random.default_rng(0).normal(size=(2000, 3)), tf.float32)
    seeds = tf.data.Dataset.range(400).map(lambda i: tf.stack([tf.cast(i, tf.int32), 3]))
    after = seeds.map(lambda seed: clouds.drop(points, seed, 0.6)).batch(400)
    shares = 1 - (next(iter(after)) == points).numpy().all(axis=2).mean(axis=1)
    # Drawn from 0 to 0.6: quarters at 0.15, 0.3 and 0.45, within four standard errors of 400.
    np.testing.assert_allclose(np.quantile(shares, [0.25, 0.5, 0.75]), [0.15, 0.3, 0.45], atol=0.06)
    assert 0.57 < shares.max() < 0.64
    assert shares.min() < 0.02


def test_evaluation_drops_nothing(small):
    plain, dropping = (
        next(loader.load(dir=str(small), num_points=64, **options).eval.eval_batches(batch_size=5))
        for options in (PLAIN, PLAIN | {"dropout": 0.9})
    )
    np.testing.assert_array_equal(plain["points"], dropping["points"])


def test_points_that_coincide_stay_at_the_origin(small):
    clouds = clouds_in(small, "ply_data_test0.h5")
    clouds[0] = 7.0
    write(small / "ply_data_test0.h5", clouds, np.zeros((5, 1), np.uint8))
    (batch,) = loader.load(dir=str(small), num_points=8, **PLAIN).eval.eval_batches(batch_size=5)
    np.testing.assert_array_equal(batch["points"][0], 0)


def refused(folder, *parts, num_points=64, **options):
    with pytest.raises(InputError) as raised:
        loader.load(dir=str(folder), num_points=num_points, **(PAPER | options))
    message = str(raised.value)
    assert len(message.splitlines()) == 1
    for part in parts:
        assert str(part) in message


@pytest.mark.parametrize(
    "name", ["train_files.txt", "test_files.txt", "shape_names.txt", "ply_data_train1.h5"]
)
def test_a_missing_file_is_named_with_the_layout(small, name):
    (small / name).unlink()
    refused(small, small / name, "is missing", "modelnet40_ply_hdf5_2048.zip")


def test_an_empty_list_is_named(small):
    (small / "test_files.txt").write_text("\n")
    refused(small, small / "test_files.txt", "is empty")


def test_too_few_points_are_named(small):
    refused(small, small / "ply_data_train0.h5", "64 points", "num_points 65", num_points=65)


def test_a_label_without_a_name_is_named(small):
    (small / "shape_names.txt").write_text("one\n")
    refused(small, small / "ply_data_train0.h5", "example 1 has label 1", "1 names")


@pytest.mark.parametrize("label", [np.nan, 0.5, -1, np.inf])
def test_a_label_that_is_no_number_of_a_class_is_named(small, label):
    points = clouds_in(small, "ply_data_train1.h5")
    write(small / "ply_data_train1.h5", points, np.array([0, 1, label, 1]))
    refused(small, small / "ply_data_train1.h5", "example 2 has label")


def test_labels_that_are_text_are_named(small):
    points = clouds_in(small, "ply_data_train1.h5")
    write(small / "ply_data_train1.h5", points, np.array([b"a", b"b", b"a", b"b"]))
    refused(small, small / "ply_data_train1.h5", "'label' holds no numbers")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38, 1e300])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_points_that_are_not_finite_are_named(small, value, kind):
    """Points are refused as well if a sum of them would not be finite."""
    clouds = clouds_in(small, "ply_data_train1.h5").astype(np.float64)
    clouds[2, 5, 1] = value
    with h5py.File(small / "ply_data_train1.h5", "w") as file, np.errstate(over="ignore"):
        file["data"], file["label"] = clouds.astype(kind), np.zeros((4, 1), np.uint8)
    refused(small, small / "ply_data_train1.h5", "example 2", "not finite")


def test_a_damaged_file_is_named(small):
    path = small / "ply_data_train0.h5"
    path.write_bytes(path.read_bytes()[:500])
    refused(small, path, "cannot be read")
    path.write_text("<html>not found</html>")
    refused(small, path, "cannot be read")


def test_a_file_of_another_kind_is_named(small):
    path = small / "ply_data_test0.h5"
    with h5py.File(path, "w") as file:
        file["points"] = np.zeros((5, 64, 3))
    refused(small, path, "cannot be read", "data")
    write(path, np.zeros((5, 64, 6)), np.zeros((5, 1), np.uint8))
    refused(small, path, "(5, 64, 6)")


def test_files_with_different_numbers_of_points_are_refused(small):
    write(small / "ply_data_train1.h5", np.ones((4, 80, 3)), np.zeros((4, 1), np.uint8))
    refused(small, small, "[64, 80]")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"rotation": "z"}, "rotation is 'z'"),
        ({"up_axis": "w"}, "up_axis is 'w'"),
        ({"scale": (1.01, 0.99)}, "scale is"),
        ({"scale": (1.0, np.inf)}, "scale is"),
        ({"scale": (1.0,)}, "scale is"),
        ({"translation": -0.1}, "translation is -0.1"),
        ({"translation": np.nan}, "translation is nan"),
        ({"translation": np.inf}, "translation is inf"),
        ({"num_points": 0}, "num_points is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"dropout": -0.1}, "dropout is -0.1"),
    ],
)
def test_wrong_options_are_named(small, change, named):
    refused(small, named, **change)
