"""Point files in every format, valid and damaged."""

import io
import pickle

import h5py
import numpy as np
import pytest
import trimesh

from perceiver.data.points import files
from perceiver.data.points.meshes import Mesh
from perceiver.errors import InputError

POINTS = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
PCD = """# .PCD v0.7
VERSION 0.7
FIELDS intensity x y z normal
SIZE 1 4 4 4 4
TYPE U F F F F
COUNT 1 1 1 1 3
WIDTH 20
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS 20
DATA {}
"""


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(array):
    buffer = io.BytesIO()
    np.savez(buffer, array)
    return buffer.getvalue()


def h5(array, name="data"):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file[name] = array
    return buffer.getvalue()


def h5_with(add):
    """Returns the content of an HDF5 file that `add` has filled."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        add(file)
    return buffer.getvalue()


def virtual(file):
    layout = h5py.VirtualLayout((5, 3), "f8")
    layout[:] = h5py.VirtualSource("/etc/passwd", "data", (5, 3))
    file.create_virtual_dataset("data", layout)


def outside(file):
    file.create_dataset("data", (5, 3), "u1", external=[("/etc/passwd", 0, 15)])


def vast(file):
    file.create_dataset("data", (50_000_000, 16), "f8", chunks=(1000, 16))


def txt(rows, between=","):
    return "".join(between.join(f"{x:.9g}" for x in row) + "\n" for row in rows).encode()


def pcd(points, form):
    if form == "ascii":
        body = txt([[7, *point, 0, 0, 1] for point in points], " ")
    else:
        kinds = [("i", "u1"), ("p", "<f4", 3), ("n", "<f4", 3)]
        table = np.zeros(len(points), kinds)
        table["p"], table["i"] = points, 7
        body = table.tobytes()
    return PCD.format(form).encode() + body


def ply(points, encoding):
    return trimesh.PointCloud(points).export(file_type="ply", encoding=encoding)


WITH_MORE = np.concatenate([POINTS, POINTS + 5], axis=1)  # x, y, z and normals, or colours
CLOUDS = {
    "npy": (".npy", npy(POINTS)),
    "npy with more columns": (".npy", npy(WITH_MORE)),
    "npy of float64": (".npy", npy(POINTS.astype(np.float64))),
    "txt with commas": (".txt", txt(POINTS)),
    "txt with spaces": (".txt", txt(POINTS, "  ")),
    "txt with both": (".txt", txt(WITH_MORE, ", ")),
    "txt with comments": (".txt", b"# x y z\n\n" + txt(POINTS, "\t")),
    "upper case": (".TXT", txt(POINTS)),
    "pcd of text": (".pcd", pcd(POINTS, "ascii")),
    "pcd": (".pcd", pcd(POINTS, "binary")),
    "h5": (".h5", h5(POINTS)),
    "h5 with more columns": (".h5", h5(WITH_MORE)),
    "h5 with one cloud": (".h5", h5(POINTS[None])),
    "ply of text": (".ply", ply(POINTS, "ascii")),
    "ply": (".ply", ply(POINTS, "binary")),
}


@pytest.mark.parametrize("kind", CLOUDS)
def test_clouds_are_read(kind):
    suffix, data = CLOUDS[kind]
    found = files.read(data, f"-a cloud; 'quoted'{suffix}")
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, POINTS, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
@pytest.mark.parametrize("suffix", [".ply", ".off"])
def test_meshes_are_read(encoding, suffix):
    box = trimesh.creation.box((1, 2, 3))
    kind = {"encoding": encoding} if suffix == ".ply" else {}
    data = box.export(file_type=suffix[1:], **kind)
    mesh = files.read(data if isinstance(data, bytes) else data.encode(), f"box{suffix}")
    np.testing.assert_allclose(mesh.vertices, box.vertices)
    np.testing.assert_array_equal(mesh.triangles, box.faces)


@pytest.mark.parametrize("corners", [4, 6])
def test_polygons_of_a_ply_become_triangles(corners):
    """Reads a regular polygon, whose area is known."""
    angles = np.arange(corners) * 2 * np.pi / corners
    rows = "".join(f"{np.cos(a)} {np.sin(a)} 0\n" for a in angles)
    face = " ".join(map(str, [corners, *range(corners)]))
    axes = "".join(f"property double {axis}\n" for axis in "xyz")
    data = (
        f"ply\nformat ascii 1.0\nelement vertex {corners}\n{axes}element face 1\n"
        f"property list uchar int vertex_indices\nend_header\n{rows}{face}\n"
    )
    mesh = files.read(data.encode(), "end.ply")
    area = trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False).area
    assert len(mesh.triangles) == corners - 2
    assert area == pytest.approx(corners / 2 * np.sin(2 * np.pi / corners))


@pytest.mark.parametrize("kind", CLOUDS)
def test_any_damage_is_an_input_error(kind):
    """Covers every error that the parsers raise."""
    suffix, whole = CLOUDS[kind]
    rng = np.random.default_rng(0)
    messages = []
    for number in range(40):
        data = bytearray(whole)
        place = rng.integers(min(len(data), 300))
        if number % 2:
            data[place] = rng.integers(256)
        else:
            del data[place:]
        try:
            files.read(bytes(data), f"x{suffix}")
        except InputError as error:
            messages.append(str(error))
    assert messages
    assert all(len(message.splitlines()) == 1 for message in messages)


class Hostile:
    def __reduce__(self):
        return pytest.fail, ("it was unpickled",)


def objects():
    buffer = io.BytesIO()
    np.save(buffer, np.array([Hostile()], object), allow_pickle=True)
    return buffer.getvalue()


def refused(data, name, *parts):
    with pytest.raises(InputError) as raised:
        files.read(data, name)
    message = str(raised.value)
    assert len(message.splitlines()) == 1
    assert message.startswith(f"{name}: ")
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("suffix", "data", "named"),
    [
        (".npy", pickle.dumps(Hostile()), "pickled"),
        (".npy", objects(), "allow_pickle=False"),
        (".npy", npz(POINTS), "archive of arrays"),
        (".npy", npy(POINTS[:, :2]), "(20, 2)"),
        (".npy", npy(POINTS + 1j), "complex"),
        (".npy", npy(POINTS)[:-7], "cannot be read as .npy"),
        (".txt", b"1 2 3\n4 5\n", "cannot be read as .txt"),
        (".txt", b"1 2 3\n4 5 six\n", "six"),
        (".txt", b"1 2\n4 5\n", "(2, 2)"),
        (".txt", b"__import__('os').abort() 2 3\n", "cannot be read as .txt"),
        (".txt", b"\n# nothing\n", "no numbers"),
        (".txt", CLOUDS["ply"][1], "cannot be read as .txt"),
        (".pcd", pcd(POINTS, "ascii")[:-30], "numbers are not 20 points"),
        (".pcd", pcd(POINTS, "binary")[:-1], "ends before its 20 points"),
        (".pcd", pcd(POINTS, "ascii").replace(b"ascii", b"binary_compressed"), "binary_compressed"),
        (".pcd", pcd(POINTS, "binary").replace(b"y z normal", b"y w normal"), "field z"),
        (".pcd", pcd(POINTS, "binary").replace(b"POINTS 20", b"POINTS 2000000000"), "2000000000"),
        (".pcd", pcd(POINTS, "binary").replace(b"TYPE U", b"TYPE O"), "cannot be read as .pcd"),
        (".pcd", b"<html>", "no line DATA"),
        (".h5", h5(POINTS)[:900], "cannot be read as .h5"),
        (".h5", h5(POINTS, "points"), "data"),
        (".h5", h5(np.stack([POINTS, POINTS])), "2 clouds"),
        (".h5", h5_with(virtual), "stored in other files"),
        (".h5", h5_with(outside), "stored in other files"),
        (".h5", h5_with(vast), "(50000000, 16)"),
        (".h5", h5_with(lambda file: file.create_group("data")), "no numbers"),
        (".h5", h5_with(lambda file: file.update(data=h5py.Empty("f8"))), "no numbers"),
        (".h5", h5(np.full((5, 3), b"x")), "no numbers"),
        (".npy", npz(POINTS)[:-40], "cannot be read as .npy"),
        (".npy", npy(POINTS).replace(b"(20, 3)", b"(20, 3,"), "cannot be read as .npy"),
        (".ply", ply(POINTS, "binary")[:-4], "cannot be read as .ply"),
        (".ply", ply(POINTS, "ascii")[:-80], "of 20 lines"),
        (".ply", b"not a ply", "cannot be read as .ply"),
        (".off", b"OFF\n1 0 0\n", "ends after 0 of 1"),
        (".off", b"OFF\n0 0 0\n", "has no points"),
        (".npy", npy(POINTS[:0]), "has no points"),
        (".npy", b"", "empty"),
        (".obj", b"v 0 0 0", ".off, .ply"),
    ],
)
def test_unreadable_files_are_named(suffix, data, named):
    refused(data, f"some folder/-x{suffix}", named)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("suffix", [".npy", ".txt", ".off"])
def test_points_that_are_not_finite_are_named(value, suffix):
    points = POINTS.astype(np.float64)
    points[4, 1] = value
    off = f"OFF\n20 1 0\n{txt(points, ' ').decode()}3 0 1 2\n".encode()
    data = {".npy": npy(points), ".txt": txt(points), ".off": off}[suffix]
    refused(data, f"x{suffix}", "point 4 is not finite")


def cloud(shape, fewest, most, key="a"):
    return files.to_cloud(shape, fewest=fewest, most=most, name="some/x.off", key=key)


def test_a_cloud_gives_some_of_its_points_in_random_order():
    line = np.arange(90.0).reshape(30, 3)
    drawn = cloud(line, 10, 20)
    assert drawn.shape == (20, 3)
    assert len({tuple(point) for point in drawn} & {tuple(point) for point in line}) == 20
    assert (np.diff(drawn[:, 0]) < 0).any()
    np.testing.assert_array_equal(drawn, cloud(line, 10, 20))
    assert (drawn != cloud(line, 10, 20, key="b")).any()
    everything = cloud(line, 10, 40)
    assert everything.shape == (30, 3)
    assert (np.diff(everything[:, 0]) < 0).any()


def test_a_mesh_gives_as_many_as_wanted_and_one_without_faces_its_vertices():
    box = trimesh.creation.box((2, 2, 2))
    sampled = cloud(Mesh(box.vertices, box.faces), 10, 500)
    assert sampled.shape == (500, 3)
    np.testing.assert_allclose(np.abs(sampled).max(axis=1), 1)  # all on a side
    bare = Mesh(np.asarray(box.vertices), np.empty((0, 3), np.int64))
    np.testing.assert_array_equal(np.sort(cloud(bare, 8, 100), axis=0), np.sort(box.vertices, 0))
    with pytest.raises(InputError, match=r"some/x.off: has no faces to sample, and only 8 points"):
        cloud(bare, 9, 100)


def test_fewer_points_than_needed_and_no_area_are_named():
    with pytest.raises(InputError, match=r"some/x.off: has 20 points, and 21 are needed"):
        cloud(POINTS, 21, 30)
    flat = Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]]))
    with pytest.raises(InputError, match=r"some/x.off: its faces have no area"):
        cloud(flat, 1, 5)
