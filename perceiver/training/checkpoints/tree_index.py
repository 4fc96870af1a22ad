"""The index of a tree: path, shape and dtype of its arrays, to match a checkpoint with a model."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

Tree = Any
_MAX_SHOWN = 5  # differences in a message


def flatten(tree: Tree) -> dict[str, Any]:
    """Returns the leaves of a tree by path, for example 'params/perceiver/~/linear/w'.

    Raises:
      ValueError: two leaves have the same path, because a name contains a '/'.
    """
    leaves = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name in leaves:
            raise ValueError(f"two arrays of the state have the path {name!r}: rename one.")
        leaves[name] = leaf
    return leaves


def host_arrays(tree: Tree) -> dict[str, np.ndarray]:
    """Returns the leaves of a tree by path as NumPy arrays; see `flatten` for the paths.

    Raises:
      ValueError: a leaf is not a number or an array of numbers; the message has its path.
    """
    return {path: _to_host_array(path, leaf) for path, leaf in flatten(tree).items()}


def make_index(leaves: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns {path: {"shape": [...], "dtype": "float32"}}, which can be written as JSON.

    Args:
      leaves: arrays, or other objects with a shape and a dtype, by path.
    """
    return {
        path: {"shape": [int(size) for size in leaf.shape], "dtype": np.dtype(leaf.dtype).name}
        for path, leaf in leaves.items()
    }


def describe_differences(saved: Mapping[str, Mapping], expected: Mapping[str, Mapping]) -> str:
    """Describes the differences of two indices in one line: the first few, then a count.

    Args:
      saved: index of a checkpoint.
      expected: index of the tree to restore.

    Returns:
      For example "params/linear/w is float32[4, 8] in the checkpoint and float32[4, 16] here";
      empty if nothing differs.
    """
    lines = []
    paths = [*expected, *(path for path in saved if path not in expected)]
    # Parameters first: the optimiser state of a parameter only repeats its difference.
    for path in sorted(paths, key=lambda path: not path.startswith("params/")):
        if path not in saved:
            lines.append(f"{path} is not in the checkpoint and {_spec(expected[path])} here")
        elif path not in expected:
            lines.append(f"{path} is {_spec(saved[path])} in the checkpoint and not here")
        elif saved[path] != expected[path]:
            lines.append(
                f"{path} is {_spec(saved[path])} in the checkpoint and {_spec(expected[path])} here"
            )
    more = len(lines) - _MAX_SHOWN
    return "; ".join(lines[:_MAX_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _spec(entry: Mapping[str, Any]) -> str:
    return f"{entry['dtype']}{entry['shape']}"


def _to_host_array(path: str, leaf: Any) -> np.ndarray:
    if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        raise ValueError(f"{path} is a typed PRNG key: save its jax.random.key_data.")
    array = np.asarray(leaf)
    if array.dtype.kind in "OSUMm":
        raise ValueError(f"{path} is {leaf!r}: only numbers and arrays of numbers can be saved.")
    return array
