"""Finds the parts of a training step that have a NaN or an infinity, to report the first cause.

The parts are in causal order: inputs, parameters, loss, gradient.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Tree = Any
_MAX_SHOWN = 3  # parts in a message


def not_finite(
    inputs: Mapping[str, jax.Array], params: Tree, loss: jax.Array, grads: Tree
) -> jax.Array:
    """Returns whether each part has a NaN or an infinity, bool [parts]; for use inside a step.

    Parameters and gradients are checked by module, through their sums of squares, which are also
    infinite if their norm is.

    Args:
      inputs: arrays of the batch by name; integer arrays always pass.
      params: parameters at the beginning of the step, {module: {name: array}} or any other tree.
      loss: the loss, a scalar.
      grads: gradient with the structure of `params`.
    """
    inputs_finite = [jnp.all(jnp.isfinite(x)) for _, x in _floating(inputs)]
    modules_finite = [
        jnp.isfinite(_sum_of_squares(x)) for tree in (params, grads) for _, x in _modules(tree)
    ]
    num_before_loss = len(inputs_finite) + len(modules_finite) // 2
    finite = [*inputs_finite, *modules_finite]
    finite.insert(num_before_loss, jnp.isfinite(loss))
    return ~jnp.stack(finite)


def blame(
    flags: np.ndarray, inputs: Mapping[str, jax.Array], params: Tree
) -> tuple[str, str] | None:
    """Names the first parts that are not finite, which caused the rest.

    Args:
      flags: result of `not_finite`.
      inputs: inputs of the step; arrays or other objects with a dtype.
      params: parameters of the step; only the names of the modules are used.

    Returns:
      (kind, names): the kind is 'inputs', 'parameters', 'loss' or 'gradient', and the names of its
      parts are joined in one line. None if all parts are finite.
    """
    modules = [name for name, _ in _modules(params)]
    groups = {
        "inputs": [name for name, _ in _floating(inputs)],
        "parameters": modules,
        "loss": ["loss"],
        "gradient": modules,
    }
    begin = 0
    for kind, names in groups.items():
        kind_flags = flags[begin : begin + len(names)]
        begin += len(names)
        if kind_flags.any():
            return kind, _join([n for n, bad in zip(names, kind_flags, strict=True) if bad], names)
    return None


def _floating(inputs: Mapping[str, jax.Array]) -> list[tuple[str, jax.Array]]:
    return [
        (name, inputs[name])
        for name in sorted(inputs)
        if jnp.issubdtype(inputs[name].dtype, jnp.floating)
    ]


def _modules(params: Tree) -> list[tuple[str, Tree]]:
    return sorted(params.items()) if isinstance(params, Mapping) else [("the network", params)]


def _sum_of_squares(tree: Tree) -> jax.Array | int:
    return sum(jnp.sum(jnp.square(x.astype(jnp.float32))) for x in jax.tree.leaves(tree))


def _join(bad: Sequence[str], names: Sequence[str]) -> str:
    if len(bad) == len(names) > 1:
        return f"all {len(names)} parts"
    more = len(bad) - _MAX_SHOWN
    return ", ".join(bad[:_MAX_SHOWN]) + (f" and {more} more" if more > 0 else "")
