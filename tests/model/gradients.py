"""Comparison of gradients with central differences in float64."""

import jax
import numpy as np
import pytest


def assert_gradient_agrees(apply, expected, params, inputs):
    """Compares the gradients of a weighted sum of logits along a random direction per parameter.

    Args:
      apply: the network, a function of parameters and inputs that returns logits [1, classes].
      expected: the float64 network, a function of parameters that returns logits [classes].
      params: parameters, {module: {name: array}}.
      inputs: inputs of one example.
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
