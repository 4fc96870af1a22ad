"""Meshes: the variants of OFF, and points sampled in proportion to the area."""

import numpy as np
import pytest
import trimesh

from perceiver.data.points.meshes import Mesh, parse_off, sample

TETRAHEDRON = b"OFF\n4 4 6\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 2 1\n3 0 1 3\n3 0 3 2\n3 1 2 3\n"


def expected():
    vertices = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    return vertices, [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"", b""),
        (b"OFF\n4", b"OFF4"),
        (b"OFF\n4", b"OFF 4"),
        (b"4 4 6\n", b"4 4\n"),
        (b"\n", b"\r\n"),
        (b"\n", b"\n\n"),
        (b"OFF\n", b"OFF\n# made by hand\n"),
        (b"1 0 0\n", b"1 0 0 # a corner\n"),
        (b"0 0 0\n", b"0.0 0e0 -0\n"),
        (b"3 1 2 3\n", b"3 1 2 3"),
    ],
)
def test_every_variant_of_off_is_read(old, new):
    mesh = parse_off(TETRAHEDRON.replace(old, new) if old else TETRAHEDRON)
    vertices, triangles = expected()
    np.testing.assert_array_equal(mesh.vertices, vertices)
    np.testing.assert_array_equal(mesh.triangles, triangles)


def test_colours_and_polygons_are_read():
    mesh = parse_off(
        b"OFF 5 3 0\n0 0 0 255 0 0\n1 0 0 255 0 0\n1 1 0 255 0 0\n0 1 0 255 0 0\n0 0 1 9 9 9\n"
        b"4 0 1 2 3 0.5 0.5 0.5\n3 0 1 4\n2 0 4\n"
    )
    assert mesh.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert mesh.triangles.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 4]]


def test_real_meshes_equal_those_of_trimesh(real_data):
    paths = sorted((real_data / "modelnet_off").rglob("*.off"))
    glued = [path for path in paths if path.read_bytes()[3:4].isdigit()]
    assert len(paths) == 4
    assert glued
    for path in paths:
        mesh = parse_off(path.read_bytes())
        # trimesh requires a line break after OFF.
        path_text = path.read_text().replace("OFF", "OFF\n", 1)
        loaded = trimesh.load(
            trimesh.util.wrap_as_stream(path_text), file_type="off", process=False
        )
        np.testing.assert_array_equal(mesh.vertices, loaded.vertices)
        np.testing.assert_array_equal(mesh.triangles, loaded.faces)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (b"OFF\n", b"COFF\n", "does not begin with OFF"),
        (b"OFF\n", b"solid thing\n", "does not begin with OFF"),
        (b"4 4 6", b"4 four 6", "'4 four 6'"),
        (b"4 4 6", b"4 -4 6", "'4 -4 6'"),
        (b"4 4 6", b"9999999999 4 6", "9999999999"),
        (b"3 1 2 3\n", b"", "ends after 7 of 4 vertices and 4 faces"),
        (b"3 1 2 3\n", b"3 1 2 4\n", "names vertex 4, and there are 4"),
        (b"3 1 2 3\n", b"3 1 2 -1\n", "names vertex -1"),
        (b"3 1 2 3\n", b"3 1 2 1.5\n", "names vertex 1.5"),
        (b"3 1 2 3\n", b"3 1 2 nan\n", "names vertex nan"),
        (b"3 1 2 3\n", b"9 1 2 3\n", "9 corners and has 3"),
        (b"3 1 2 3\n", b"3 1 2 x\n", "could not convert"),
        (b"1 0 0\n", b"one 0 0\n", "could not convert"),
    ],
)
def test_an_invalid_off_file_is_an_error(old, new, named):
    with pytest.raises(ValueError, match=named):
        parse_off(TETRAHEDRON.replace(old, new, 1))


def test_vertices_of_two_coordinates_are_not_read_as_fewer_of_three():
    with pytest.raises(ValueError, match="cannot reshape"):
        parse_off(b"OFF\n3 1 0\n0 0\n1 0\n0 1\n3 0 1 1\n")


def test_points_fall_on_triangles_in_proportion_to_their_areas():
    """The tetrahedron's areas are 1/2, 1/2, 1/2 and sqrt(3)/2 of 3/2 + sqrt(3)/2."""
    count = 100_000
    points = sample(parse_off(TETRAHEDRON), count, np.random.default_rng(0))
    on = [points[:, 2] == 0, points[:, 1] == 0, points[:, 0] == 0]
    on.append(np.isclose(points.sum(axis=1), 1) & ~np.any(on, axis=0))
    areas = np.array([0.5, 0.5, 0.5, np.sqrt(3) / 2])
    chance = areas / areas.sum()
    found = np.array([side.sum() for side in on])
    assert found.sum() == pytest.approx(count, abs=3)  # no point is elsewhere, except on edges
    deviations = (found - count * chance) / np.sqrt(count * chance * (1 - chance))
    assert np.abs(deviations).max() < 4


def test_points_are_uniform_within_a_triangle():
    """Moments of the uniform distribution over the triangle (0,0), (1,0), (0,1)."""
    triangle = Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]]))
    x, y, z = sample(triangle, 200_000, np.random.default_rng(1)).T
    assert (z == 0).all()
    assert min(x.min(), y.min()) >= 0
    assert (x + y).max() <= 1 + 1e-12
    np.testing.assert_allclose([x.mean(), y.mean()], 1 / 3, atol=0.002)
    np.testing.assert_allclose([x.var(), y.var()], 1 / 18, atol=0.001)
    np.testing.assert_allclose(np.mean(x * y), 1 / 12, atol=0.001)
    assert np.mean((x < 0.5) & (y < 0.5) & (x + y > 0.5)) == pytest.approx(1 / 4, abs=0.005)


def test_a_real_mesh_is_sampled_in_proportion_to_its_areas(real_data):
    path = real_data / "modelnet_off" / "bed" / "train" / "bed_0001.off"
    mesh = parse_off(path.read_bytes())
    reference = trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False)
    points = sample(mesh, 200_000, np.random.default_rng(2))
    # The mean of the surface, in units of its size: the standard error here is about 0.001.
    np.testing.assert_allclose(
        points.mean(axis=0) / reference.scale,
        reference.triangles_center.T @ (reference.area_faces / reference.area) / reference.scale,
        atol=0.004,
    )


def test_triangles_without_area_get_no_points():
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5]])
    mesh = Mesh(vertices, np.array([[3, 3, 3], [0, 1, 2], [3, 3, 0]]))
    assert sample(mesh, 1000, np.random.default_rng(0)).max() <= 1
    with pytest.raises(ValueError, match="no area"):
        sample(Mesh(vertices, np.array([[3, 3, 0]])), 10, np.random.default_rng(0))
