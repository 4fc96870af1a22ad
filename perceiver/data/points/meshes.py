"""Parses meshes in Object File Format and samples points from their surface (Sec. 4.3).

The paper's clouds of ModelNet40 are about 2,000 points sampled from a mesh. This module imports
without TensorFlow, so processes that only sample start quickly.
"""

import dataclasses
import itertools
import re

import numpy as np


@dataclasses.dataclass(frozen=True)
class Mesh:
    """A triangle mesh.

    Attributes:
      vertices: coordinates of the vertices, float64 [V, 3].
      triangles: indices of the vertices of each triangle, int64 [T, 3]; T is 0 for a mesh without
        faces.
    """

    vertices: np.ndarray
    triangles: np.ndarray


def parse_off(data: bytes) -> Mesh:
    """Parses an .off file, with or without the line break after 'OFF'.

    Hundreds of files of ModelNet40 lack that line break (`OFF700 664 0`). Comments, colours after a
    vertex or face, and polygons are supported; a polygon is cut into a fan of triangles, which is
    correct if it is flat and convex.

    Args:
      data: content of the file.

    Raises:
      ValueError: the file is invalid; the message says how.
    """
    text = (re.sub(rb"#[^\r\n]*", b"", data) if b"#" in data else data).strip()
    if not text.startswith(b"OFF"):
        raise ValueError("it does not begin with OFF")
    counts, *body = re.split(rb"[\r\n]+", text[3:].strip(), maxsplit=1)
    try:
        numbers = [int(word) for word in counts.split()]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3) or min(numbers) < 0:
        raise ValueError(f"{counts[:40].decode('ascii', 'replace')!r} is not a line of counts")
    num_vertices, num_faces = numbers[:2]
    words = body[0].split() if body else []
    # Nearly all files have only coordinates and triangles, which NumPy converts at once.
    if len(words) == 3 * num_vertices + 4 * num_faces:
        vertices = np.array(words[: 3 * num_vertices], np.float64).reshape(-1, 3)
        faces = np.array(words[3 * num_vertices :], np.float64).reshape(-1, 4)
        if (faces[:, 0] == 3).all():
            return _checked(vertices, faces[:, 1:])
    return _line_by_line(body[0] if body else b"", num_vertices, num_faces)


def _line_by_line(body: bytes, num_vertices: int, num_faces: int) -> Mesh:
    lines = [words for line in body.splitlines() if (words := line.split())]
    if len(lines) < num_vertices + num_faces:
        raise ValueError(
            f"it ends after {len(lines)} of {num_vertices} vertices and {num_faces} faces"
        )
    vertices = np.array([words[:3] for words in lines[:num_vertices]], np.float64)
    vertices = vertices.reshape(num_vertices, 3)  # refuses vertices of two coordinates
    triangles = []
    for words in lines[num_vertices : num_vertices + num_faces]:
        size = int(words[0])
        corners = [int(word) for word in words[1 : 1 + size]]
        if size < 1 or len(corners) != size:
            raise ValueError(f"a face declares {size} corners and has {len(corners)}")
        triangles += [(corners[0], *pair) for pair in itertools.pairwise(corners[1:])]
    return _checked(vertices, np.array(triangles, np.float64).reshape(-1, 3))


def _checked(vertices: np.ndarray, triangles: np.ndarray) -> Mesh:
    with np.errstate(invalid="ignore"):  # a NaN becomes some integer, which differs from it below
        whole = triangles.astype(np.int64)
    wrong = (whole != triangles) | (whole < 0) | (whole >= len(vertices))
    if wrong.any():
        raise ValueError(
            f"a face names vertex {triangles[wrong][0]:g}, and there are {len(vertices)}"
        )
    return Mesh(vertices, whole)


def sample(mesh: Mesh, num_points: int, rng: np.random.Generator) -> np.ndarray:
    """Samples points independently and uniformly from the surface of a mesh.

    A triangle is drawn with a probability proportional to its area, then a point in it.

    Args:
      mesh: mesh with finite vertices.
      num_points: number P of points.
      rng: source of randomness.

    Returns:
      Points, float64 [P, 3].

    Raises:
      ValueError: the mesh has no area.
    """
    corners = mesh.vertices[mesh.triangles]  # [T, 3, 3]
    first = corners[:, 0]
    along, across = corners[:, 1] - first, corners[:, 2] - first
    areas = np.linalg.norm(np.cross(along, across), axis=1)
    cumulative = np.cumsum(areas)
    if not (len(areas) and cumulative[-1] > 0):
        raise ValueError("its faces have no area")
    # side="right" never draws a triangle without area, which does not increase the sum.
    drawn = np.searchsorted(cumulative, rng.random(num_points) * cumulative[-1], side="right")
    drawn = np.minimum(drawn, np.flatnonzero(areas)[-1])
    # A uniform point of the parallelogram, mirrored into the triangle if it is outside.
    weights = rng.random((num_points, 2))
    beyond = weights.sum(axis=1) > 1
    weights[beyond] = 1 - weights[beyond]
    return first[drawn] + weights[:, :1] * along[drawn] + weights[:, 1:] * across[drawn]
