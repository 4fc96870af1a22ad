"""A list of a tree's arrays by path, shape and dtype, to tell whether a checkpoint fits a model."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

Tree = Any
_SHOWN = 5  # differences in a message


def flatten(tree: Tree) -> dict[str, Any]:
    """Returns the tree's leaves by path, such as 'params/perceiver/~/linear/w' or 'opt_state/1/mu'.

    Raises:
      ValueError: two leaves have the same path, because a name in one has a '/' in it.
    """
    leaves = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name in leaves:
            raise ValueError(f"two arrays of the state have the path {name!r}: rename one.")
        leaves[name] = leaf
    return leaves


def host_arrays(tree: Tree) -> dict[str, np.ndarray]:
    """Returns the tree's leaves by path, as `flatten` does, as NumPy arrays.

    Raises:
      ValueError: a leaf is not a number or an array of numbers; the message has its path.
    """
    return {path: _host_array(path, leaf) for path, leaf in flatten(tree).items()}


def index_of(leaves: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns {path: {"shape": [...], "dtype": "float32"}}, which JSON can hold.

    Args:
      leaves: arrays, or anything else with a shape and a dtype, by path.
    """
    return {
        path: {"shape": [int(size) for size in leaf.shape], "dtype": np.dtype(leaf.dtype).name}
        for path, leaf in leaves.items()
    }


def differences(saved: Mapping[str, Mapping], wanted: Mapping[str, Mapping]) -> str:
    """Says in one line how two indices differ: the first few paths, and how many more there are.

    Args:
      saved: the index of a checkpoint.
      wanted: the index of what is to be restored.

    Returns:
      For example "params/linear/w is float32[4, 8] in the checkpoint and float32[4, 16] here";
      empty where nothing differs.
    """
    lines = []
    paths = [*wanted, *(path for path in saved if path not in wanted)]
    # Parameters first: what an optimiser keeps of each only says the same again.
    for path in sorted(paths, key=lambda path: not path.startswith("params/")):
        if path not in saved:
            lines.append(f"{path} is not in the checkpoint and {_spec(wanted[path])} here")
        elif path not in wanted:
            lines.append(f"{path} is {_spec(saved[path])} in the checkpoint and not here")
        elif saved[path] != wanted[path]:
            lines.append(
                f"{path} is {_spec(saved[path])} in the checkpoint and {_spec(wanted[path])} here"
            )
    more = len(lines) - _SHOWN
    return "; ".join(lines[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _spec(entry: Mapping[str, Any]) -> str:
    return f"{entry['dtype']}{entry['shape']}"


def _host_array(path: str, leaf: Any) -> np.ndarray:
    if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        raise ValueError(f"{path} is a typed PRNG key: save its jax.random.key_data.")
    array = np.asarray(leaf)
    if array.dtype.kind in "OSUMm":
        raise ValueError(f"{path} is {leaf!r}: only numbers and arrays of numbers can be saved.")
    return array
