"""What is timed: a network's forward pass, gradient or training step, on inputs made up once.

Each is built as `experiments.train` and `experiments.evaluate` build it, from a config, over all
devices; so is a second form of it to compare with.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.benchmark.variants import Form
from experiments.run import build, checks, networks
from perceiver.costs import total
from perceiver.errors import InputError
from perceiver.plain_perceiver import plain_perceiver
from perceiver.training.host_memory import release_freed_memory
from perceiver.training.parallel import DataParallel
from perceiver.training.step import Variables

# FLOPs of a call and device, where the batch size is not given: seconds on any of its kind.
_MOST_FLOPS = {"cpu": 1e12}
_MOST_FLOPS_ELSEWHERE = 3e13
# The backward pass has two products for each of the forward pass.
_FORWARDS = {"forward": 1, "gradient": 3, "step": 3}

# Of what may start at zero, as heads do: behind a zero nothing has a gradient.
_PERTURBATION = 0.02


@dataclasses.dataclass
class Program:
    """A function with its arguments on the devices.

    Attributes:
      function: mapped over devices; what `jax.jit` returns has the same methods.
      arguments: its own, on the devices.
      carries: whether the first argument is a state, given up to each call, which returns the next
        one first.
    """

    function: Callable
    arguments: tuple
    carries: bool = False

    def __call__(self) -> Any:
        """Starts a call and returns what to wait for."""
        result = self.function(*self.arguments)
        if self.carries:
            state, result = result
            self.arguments = (state, *self.arguments[1:])
        return result


def program(kind: str, form: Form, batch_size: int) -> Program:
    """A 'forward', a 'gradient' or a 'step' of a config's network; see these."""
    return {"forward": forward, "gradient": gradient, "step": step}[kind](form, batch_size)


def check(forms: Sequence[Form], kinds: Sequence[str], wanted: int | None) -> None:
    """Refuses what can't be built, in any form, before the first is compiled.

    Args:
      forms: all that are to be timed.
      kinds: of programs.
      wanted: the batch size, None for what `batch_size` takes.

    Raises:
      InputError: what is wrong.
    """
    for form in forms:
        checks.check(form.config)
        for kind in kinds:
            batch_size(form.config, kind, wanted)


def forward(form: Form, batch_size: int) -> Program:
    """The class logits of a batch in evaluation."""
    network, devices = _network(form), DataParallel()
    variables = _variables(form.config)
    batch = _on_devices(devices, inputs(form.config, batch_size))
    return Program(devices.map(networks.predictor(network)), (variables, batch))


def gradient(form: Form, batch_size: int) -> Program:
    """The gradient of the sum of the squared class logits, with respect to the parameters."""
    predict, devices = networks.predictor(_network(form)), DataParallel()

    def gradient_of(variables, batch):
        def scalar(params):
            return jnp.square(predict(variables._replace(params=params), batch)).sum()

        return jax.grad(scalar)(variables.params)

    variables = _variables(form.config)
    batch = _on_devices(devices, inputs(form.config, batch_size))
    return Program(devices.map(gradient_of), (variables, batch))


def step(form: Form, batch_size: int) -> Program:
    """A training step: forward, backward, optimiser; each starts from the last one's state."""
    config, network, devices = form.config, _network(form), DataParallel()
    # How long an epoch is changes the learning rate only.
    optimizer, schedule = build.optimizer(config, 1_000_000 * config.train.batch_size)
    objective = build.objective(config, training=True)
    train_step = build.train_step(config, network, optimizer, schedule, objective)
    # The parameters are the same in every form.
    real = networks.network(config, config.data.num_classes)
    state = jax.jit(functools.partial(build.initial_state, config, real, optimizer))()
    state = devices.replicate(state)
    release_freed_memory()  # as training does
    batch = inputs(config, batch_size) | {
        objective.label: labels(objective.label, batch_size, config.data.num_classes)
    }
    mapped = devices.map(train_step, donate=(0,))
    return Program(mapped, (state, _on_devices(devices, batch)), carries=True)


def inputs(config: ConfigDict, batch_size: int) -> dict[str, np.ndarray]:
    """Inputs of the config's shapes: any byte, any sample, or floats from -1 to 1."""
    draw = np.random.default_rng(0)

    def made(spec):
        if np.issubdtype(spec.dtype, np.integer):
            limits = np.iinfo(spec.dtype)
            return draw.integers(limits.min, limits.max, spec.shape, spec.dtype, endpoint=True)
        return draw.uniform(-1, 1, spec.shape).astype(spec.dtype)

    batch = {name: made(spec) for name, spec in networks.batch_spec(config, batch_size).items()}
    return batch | {"index": np.arange(batch_size, dtype=np.int32)}


def labels(kind: str, batch_size: int, num_classes: int) -> np.ndarray:
    """A 'label' of each example, or the 'labels' [B, classes] of 0 and 1 that it has or lacks."""
    draw = np.random.default_rng(1)
    if kind == "label":
        return draw.integers(num_classes, size=batch_size, dtype=np.int32)
    return draw.integers(2, size=(batch_size, num_classes)).astype(np.float32)


def flops(config: ConfigDict, kind: str) -> int:
    """Of the network for one example, by the formulae of `perceiver.costs`."""
    return _FORWARDS[kind] * total(networks.costs(config, config.data.num_classes)).flops


def batch_size(config: ConfigDict, kind: str, wanted: int | None) -> int:
    """The batch to time: the wanted, or as much of the config's as takes seconds at the most.

    Raises:
      InputError: the wanted does not divide among devices and accumulation.
    """
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
    affordable, own = int(most // flops(config, kind)), configured_batch_size(config, kind)
    if own <= affordable and own % parts == 0:
        return own
    # A power of two times what devices and parts need.
    of_part = max(1, min(own, affordable) // parts)
    return parts * 2 ** (of_part.bit_length() - 1)


def configured_batch_size(config: ConfigDict, kind: str) -> int:
    """The config's own."""
    return config["train" if kind == "step" else "eval"].batch_size


def _network(form: Form) -> hk.TransformedWithState:
    """The network of a form."""
    config = form.config
    network = networks.network(config, config.data.num_classes)
    if not form.plain:
        return network

    def apply(params, state, rng, batch, is_training):
        encode = hk.transform(lambda: networks.byte_arrays(config, batch, is_training))
        parts = encode.apply(params, rng)
        architecture = networks.architecture(config)
        return plain_perceiver(params, architecture, parts, config.model.dtype), state

    return network._replace(apply=apply)


def _variables(config: ConfigDict) -> Variables:
    """Parameters on all devices, none of them at zero."""
    network = networks.network(config, config.data.num_classes)

    initial = jax.jit(functools.partial(networks.initial_variables, network, config))()
    draw = np.random.default_rng(2)

    def moved(x):
        return np.asarray(x) + _PERTURBATION * draw.standard_normal(x.shape, np.float32)

    params = jax.tree.map(moved, initial.params)
    return DataParallel().replicate(initial._replace(params=params))


def _on_devices(devices: DataParallel, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """The batch, its parts on their devices to stay."""
    return devices.map(lambda x: x)(devices.shard(batch))
