"""Which part of a training step is no longer a number, to name it where a run has to end.

The parts are in the order in which one spoils the next: inputs, parameters, loss, gradient.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Tree = Any
_SHOWN = 3  # parts in a message


def not_finite(
    inputs: Mapping[str, jax.Array], params: Tree, loss: jax.Array, grads: Tree
) -> jax.Array:
    """Returns, bool [parts], which parts have a NaN or an infinity; for use inside a step.

    Parameters and gradients are looked at module by module, by their sums of squares, which are
    infinite too where their norm is.

    Args:
      inputs: arrays of the batch by name; those of whole numbers always pass.
      params: the parameters that the step began with, {module: {name: array}} or any other tree.
      loss: a scalar.
      grads: as `params`.
    """
    of_inputs = [jnp.all(jnp.isfinite(x)) for _, x in _floating(inputs)]
    of_modules = [jnp.isfinite(_square(x)) for tree in (params, grads) for _, x in _modules(tree)]
    count = len(of_inputs) + len(of_modules) // 2
    finite = [*of_inputs, *of_modules]
    finite.insert(count, jnp.isfinite(loss))
    return ~jnp.stack(finite)


def blame(
    flags: np.ndarray, inputs: Mapping[str, jax.Array], params: Tree
) -> tuple[str, str] | None:
    """Says what spoiled the rest.

    Args:
      flags: what `not_finite` returned.
      inputs: as there; arrays or anything else with a dtype.
      params: as there; the leaves do not matter.

    Returns:
      'inputs', 'parameters', 'loss' or 'gradient', and the parts of it by name, in one line; None
      where all is finite.
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
        of_kind = flags[begin : begin + len(names)]
        begin += len(names)
        if of_kind.any():
            return kind, _listed([n for n, bad in zip(names, of_kind, strict=True) if bad], names)
    return None


def _floating(inputs: Mapping[str, jax.Array]) -> list[tuple[str, jax.Array]]:
    return [
        (name, inputs[name])
        for name in sorted(inputs)
        if jnp.issubdtype(inputs[name].dtype, jnp.floating)
    ]


def _modules(params: Tree) -> list[tuple[str, Tree]]:
    return sorted(params.items()) if isinstance(params, Mapping) else [("the network", params)]


def _square(tree: Tree) -> jax.Array:
    return sum(jnp.sum(jnp.square(x.astype(jnp.float32))) for x in jax.tree.leaves(tree))


def _listed(bad: Sequence[str], names: Sequence[str]) -> str:
    if len(bad) == len(names) > 1:
        return f"all {len(names)} parts"
    more = len(bad) - _SHOWN
    return ", ".join(bad[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
