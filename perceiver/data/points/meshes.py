"""Meshes: Object File Format in, points spread evenly over the surface out (Sec. 4.3).

The clouds of ModelNet40 that the paper trains on are about 2,000 points sampled from a mesh. NumPy
alone, so that processes that only sample need not load TensorFlow.
"""

import dataclasses
import itertools
import re

import numpy as np


@dataclasses.dataclass(frozen=True)
class Mesh:
    """A surface made of triangles.

    Attributes:
      vertices: float64 [V, 3].
      triangles: int64 [T, 3], numbers of vertices; T is 0 for a mesh without faces.
    """

    vertices: np.ndarray
    triangles: np.ndarray


def parse_off(data: bytes) -> Mesh:
    """Reads an .off file, with or without the line break after 'OFF'.

    ModelNet40 has hundreds of files whose first line is glued to the counts (`OFF700 664 0`).
    Comments, colours behind a vertex or face, and polygons are read as well; a polygon is cut into
    a fan of triangles, which is right where it is flat and convex.

    Args:
      data: what the file holds.

    Raises:
      ValueError: what is wrong with it.
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
        raise ValueError(f"{counts[:40].decode('ascii', 'replace')!r} is not its counts")
    num_vertices, num_faces = numbers[:2]
    words = body[0].split() if body else []
    # Nearly all files have nothing but coordinates and triangles, which NumPy reads in one go.
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
    vertices = vertices.reshape(num_vertices, 3)  # not any other number, of two coordinates each
    triangles = []
    for words in lines[num_vertices : num_vertices + num_faces]:
        size = int(words[0])
        corners = [int(word) for word in words[1 : 1 + size]]
        if size < 1 or len(corners) != size:
            raise ValueError(f"a face says it has {size} corners and has {len(corners)}")
        triangles += [(corners[0], *pair) for pair in itertools.pairwise(corners[1:])]
    return _checked(vertices, np.array(triangles, np.float64).reshape(-1, 3))


def _checked(vertices: np.ndarray, triangles: np.ndarray) -> Mesh:
    with np.errstate(invalid="ignore"):  # a NaN becomes some number, and is wrong below
        whole = triangles.astype(np.int64)
    wrong = (whole != triangles) | (whole < 0) | (whole >= len(vertices))
    if wrong.any():
        raise ValueError(
            f"a face names vertex {triangles[wrong][0]:g}, and there are {len(vertices)}"
        )
    return Mesh(vertices, whole)


def sample(mesh: Mesh, num_points: int, rng: np.random.Generator) -> np.ndarray:
    """Points drawn independently and uniformly over the surface.

    A triangle is drawn with a chance in proportion to its area, then a point within it.

    Args:
      mesh: with finite vertices.
      num_points: P.
      rng: what is random comes from here.

    Returns:
      float64 [P, 3].

    Raises:
      ValueError: the mesh has no area.
    """
    corners = mesh.vertices[mesh.triangles]  # [T, 3, 3]
    first = corners[:, 0]
    along, across = corners[:, 1] - first, corners[:, 2] - first
    areas = np.linalg.norm(np.cross(along, across), axis=1)
    up_to = np.cumsum(areas)
    if not (len(areas) and up_to[-1] > 0):
        raise ValueError("its faces have no area")
    # From the right: a triangle without area, where up_to stands still, is never drawn.
    drawn = np.searchsorted(up_to, rng.random(num_points) * up_to[-1], side="right")
    drawn = np.minimum(drawn, np.flatnonzero(areas)[-1])
    # A uniform point of the parallelogram, folded over the diagonal where it is beyond it.
    weights = rng.random((num_points, 2))
    beyond = weights.sum(axis=1) > 1
    weights[beyond] = 1 - weights[beyond]
    return first[drawn] + weights[:, :1] * along[drawn] + weights[:, 1:] * across[drawn]
