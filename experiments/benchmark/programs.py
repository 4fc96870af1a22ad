"""Builds the timed programs: a network's forward pass, gradient or training step.

They run on all devices and are built from the same record as in `experiments.train` and
`experiments.evaluate`. Their inputs are drawn once and stay on the devices.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.benchmark.variants import Variant
from experiments.run.from_config import Experiment
from perceiver.errors import InputError
from perceiver.training.host_memory import release_freed_memory
from perceiver.training.parallel import DataParallel
from perceiver.training.step import Variables

# FLOPs per call and device if no batch size is given; they take seconds.
_MOST_FLOPS = {"cpu": 1e12}
_MOST_FLOPS_ELSEWHERE = 3e13
# The backward pass has two matrix products for each one of the forward pass.
_FORWARDS = {"forward": 1, "gradient": 3, "step": 3}

# Added to parameters that start at zero, such as the head: a zero blocks all gradients before it.
_PERTURBATION = 0.02


@dataclasses.dataclass
class Program:
    """A function with its arguments on the devices.

    Attributes:
      function: Function mapped over the devices. JAX has no public type for it.
      arguments: Its arguments, on the devices.
      carries: True if the first argument is a state that each call consumes and returns updated.
    """

    function: Any
    arguments: tuple
    carries: bool = False

    def lower(self) -> jax.stages.Lowered:
        """Traces and lowers the function for its arguments."""
        return self.function.lower(*self.arguments)

    def compile(self) -> Any:
        """Compiles the function, which calls then use; returns the memory that XLA plans."""
        self.function = self.lower().compile()
        return self.function.memory_analysis()

    def __call__(self) -> Any:
        """Starts a call and returns its result, which may still be computed."""
        result = self.function(*self.arguments)
        if self.carries:
            state, result = result
            self.arguments = (state, *self.arguments[1:])
        return result


def program(kind: str, variant: Variant, batch_size: int) -> Program:
    """Builds a 'forward', 'gradient' or 'step' program of a variant; see these functions."""
    return {"forward": forward, "gradient": gradient, "step": step}[kind](variant, batch_size)


def check(variants: Sequence[Variant], kinds: Sequence[str], wanted: int | None) -> None:
    """Checks that every variant can be built, before the first is compiled.

    Args:
      variants: The variants to be timed.
      kinds: Kinds of programs.
      wanted: Batch size; None for the choice of `batch_size`.

    Raises:
      InputError: A variant cannot be built, or the batch size does not fit.
    """
    for variant in variants:
        for kind in kinds:
            batch_size(variant.experiment, kind, wanted)


def forward(variant: Variant, batch_size: int) -> Program:
    """Builds the program that computes the class logits of a batch in evaluation."""
    experiment, devices = variant.experiment, DataParallel()
    batch = _on_devices(devices, inputs(experiment, batch_size))
    predict = devices.map(experiment.predict)
    return Program(predict, (_variables(experiment), batch))


def gradient(variant: Variant, batch_size: int) -> Program:
    """Builds the program for the gradient of the sum of squared class logits by the parameters."""
    experiment, devices = variant.experiment, DataParallel()

    def gradient_of(variables, batch):
        def scalar(params):
            return jnp.square(experiment.predict(variables._replace(params=params), batch)).sum()

        return jax.grad(scalar)(variables.params)

    batch = _on_devices(devices, inputs(experiment, batch_size))
    return Program(devices.map(gradient_of), (_variables(experiment), batch))


def step(variant: Variant, batch_size: int) -> Program:
    """Builds a training step; each call starts from the state of the previous one."""
    experiment, devices = variant.experiment, DataParallel()
    state = devices.replicate(jax.jit(experiment.initial_state)())
    release_freed_memory()  # as training does
    label = experiment.objective.label
    batch = inputs(experiment, batch_size) | {
        label: labels(label, batch_size, experiment.num_classes)
    }
    mapped = devices.map(experiment.train_step(), donate=(0,))
    return Program(mapped, (state, _on_devices(devices, batch)), carries=True)


def inputs(experiment: Experiment, batch_size: int) -> dict[str, np.ndarray]:
    """Draws inputs of an experiment's shapes: any byte, any sample, or floats from -1 to 1."""
    draw = np.random.default_rng(0)

    def values(spec):
        if np.issubdtype(spec.dtype, np.integer):
            limits = np.iinfo(spec.dtype)
            return draw.integers(limits.min, limits.max, spec.shape, spec.dtype, endpoint=True)
        return draw.uniform(-1, 1, spec.shape).astype(spec.dtype)

    batch = {name: values(spec) for name, spec in experiment.batch_spec(batch_size).items()}
    return batch | {"index": np.arange(batch_size, dtype=np.int32)}


def labels(kind: str, batch_size: int, num_classes: int) -> np.ndarray:
    """Draws a 'label' for each example, or 'labels' [B, classes] of 0 and 1."""
    draw = np.random.default_rng(1)
    if kind == "label":
        return draw.integers(num_classes, size=batch_size, dtype=np.int32)
    return draw.integers(2, size=(batch_size, num_classes)).astype(np.float32)


def flops(experiment: Experiment, kind: str) -> int:
    """Returns the FLOPs of a program for one example, by the formulae of `perceiver.costs`."""
    return _FORWARDS[kind] * experiment.total_cost.flops


def batch_size(experiment: Experiment, kind: str, wanted: int | None) -> int:
    """Returns the batch size to time.

    Args:
      experiment: The experiment.
      kind: Kind of program.
      wanted: Batch size; None for as many of the config's examples as take seconds at most.

    Raises:
      InputError: Devices and accumulation do not divide `wanted`.
    """
    config = experiment.config
    parts = jax.local_device_count() * (config.train.accumulate if kind == "step" else 1)
    if wanted is not None:
        if wanted % parts:
            raise InputError(
                f"--batch={wanted} is not divisible among {jax.local_device_count()} devices"
                + (f" times {parts // jax.local_device_count()} parts" if kind == "step" else "")
                + f"; take a multiple of {parts}"
            )
        return wanted
    most = _MOST_FLOPS.get(jax.default_backend(), _MOST_FLOPS_ELSEWHERE)
    most *= jax.local_device_count()
    affordable, configured = (
        int(most // flops(experiment, kind)),
        configured_batch_size(config, kind),
    )
    if configured <= affordable and configured % parts == 0:
        return configured
    # A power of two times the devices and parts.
    per_part = max(1, min(configured, affordable) // parts)
    return parts * 2 ** (per_part.bit_length() - 1)


def configured_batch_size(config: ConfigDict, kind: str) -> int:
    """Returns the config's batch size for a kind of program."""
    return config["train" if kind == "step" else "eval"].batch_size


def _variables(experiment: Experiment) -> Variables:
    """Returns the variables on all devices, without parameters at zero."""
    initial = jax.jit(experiment.initial_variables)()
    draw = np.random.default_rng(2)

    def moved(x):
        return np.asarray(x) + _PERTURBATION * draw.standard_normal(x.shape, np.float32)

    params = jax.tree.map(moved, initial.params)
    return DataParallel().replicate(initial._replace(params=params))


def _on_devices(devices: DataParallel, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """Returns a batch whose parts stay on their devices."""
    return devices.map(lambda x: x)(devices.shard(batch))
