"""Gradients of networks against central differences of their float64 versions."""

import jax
import numpy as np
import pytest


def assert_gradient_agrees(apply, expected, params, inputs):
    """Of a weighted sum of one example's logits, in each parameter's own random direction.

    Args:
      apply: the network, of parameters and inputs to logits [1, classes]; its gradient is jitted.
      expected: the plain version, of parameters to the same logits, in float64.
      params: {module: {name: array}}.
      inputs: one example.
    """
    weights = np.random.default_rng(8).normal(size=5)
    gradient = jax.jit(jax.grad(lambda p: (apply(p, inputs)[0] * weights).sum()))(params)
    draw = np.random.default_rng(9)
    for module, arrays in params.items():
        for name, array in arrays.items():
            direction = draw.normal(size=array.shape)
            ends = []
            for sign in (1, -1):
                moved = np.float64(array) + sign * 1e-5 * direction
                ends.append(expected(params | {module: arrays | {name: moved}})[0] @ weights)
            wanted = (ends[0] - ends[1]) / 2e-5
            got = float((np.float64(gradient[module][name]) * direction).sum())
            assert got == pytest.approx(wanted, rel=1e-3, abs=1e-4), f"{module}/{name}"
