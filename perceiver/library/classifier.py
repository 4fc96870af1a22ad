"""A network with its parameters and the names of its classes."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from perceiver import networks
from perceiver.errors import InputError

Inputs = jax.Array | np.ndarray | Mapping[str, jax.Array | np.ndarray]


class Classifier:
    """A network that can be called on arrays.

    Inputs are arrays by modality, [B, ...] each, or the array itself where there is one modality.
    They have the sizes that `inputs` says, and its dtype or a floating one: bytes of pictures count
    255 as 1, floats are taken as they are. What is called is compiled anew for every other B.

    Attributes:
      config: the values of the config that the network was built from, as plain values.
      params: its parameters, as Haiku keeps them.
      state: what it gathers in training beside them; empty for a Perceiver.
      num_classes: K, the outputs of the head.
      class_names: in the order of the outputs; empty where they are not known.
      step: after so many training steps; None where there were none, or it is not known.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        params: Mapping[str, Mapping[str, jax.Array]],
        state: Mapping[str, Mapping[str, jax.Array]],
        *,
        num_classes: int,
        class_names: Sequence[str] = (),
        step: int | None = None,
    ):
        """Takes the attributes; of the config sections `model` and `data`, and `train.loss`.

        Raises:
          InputError: sizes that do not fit together.
        """
        self.config = config
        self.params = params
        self.state = state
        self.num_classes = num_classes
        self.class_names = tuple(class_names)
        self.step = step
        self._network = networks.network(self.model, self.data, num_classes)
        self._encoders = {}

    @property
    def model(self) -> Mapping[str, Any]:
        """The config's section `model`."""
        return self.config["model"]

    @property
    def data(self) -> Mapping[str, Any]:
        """The config's section `data`, or of it what the network goes by."""
        return self.config["data"]

    @property
    def multi_label(self) -> bool:
        """Whether an example may have several classes, each with a probability of its own."""
        return self.config["train"]["loss"] == "sigmoid"

    @property
    def inputs(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and dtype of one example by modality, without the axis B."""
        specs = networks.batch_spec(self.model, self.data, 1)
        return {
            name: jax.ShapeDtypeStruct(specs[name].shape[1:], specs[name].dtype)
            for name in networks.modalities_of(self.model)
        }

    def logits(self, inputs: Inputs) -> jax.Array:
        """Class logits, float32 [B, K].

        Raises:
          InputError: inputs of other modalities or sizes than the network's.
        """
        return self._logits(self.params, self.state, self._batch(inputs))

    def probabilities(self, inputs: Inputs) -> jax.Array:
        """Probabilities of the classes, float32 [B, K]; they add up to 1 unless `multi_label`.

        Raises:
          InputError: inputs of other modalities or sizes than the network's.
        """
        return self.probabilities_of(self.logits(inputs))

    def probabilities_of(self, logits: jax.Array) -> jax.Array:
        """Probabilities of the classes, [B, K], of class logits [B, K]."""
        return jax.nn.sigmoid(logits) if self.multi_label else jax.nn.softmax(logits, axis=-1)

    def latents(self, inputs: Inputs) -> jax.Array:
        """The latent array behind the last tower, float32 [B, N, D]; its mean is what the head has.

        Raises:
          InputError: the network is no Perceiver, or as for `logits`.
        """
        return self._encode(inputs, (), None)[0].astype(jnp.float32)

    def attention_logits(
        self,
        inputs: Inputs,
        cross_attends: Sequence[int],
        latents: Sequence[int] | None = None,
    ) -> dict[int, jax.Array]:
        """Attention logits of chosen cross-attends, before mask and softmax (Figs. 3, 7 to 31).

        Args:
          inputs: B examples.
          cross_attends: which, counted from 0 in the order of the network; of others none are kept.
          latents: which, counted from 0; None for all N.

        Returns:
          By cross-attend float32 [B, H, N, M], or with a place for each chosen latent instead of N.
          M counts the inputs that this cross-attend attends to, in the order that the network has
          them (see `perceiver.permutations`), fused modalities after one another.

        Raises:
          InputError: no such cross-attend or latent, or as for `latents`.
        """
        wanted = None if latents is None else tuple(latents)
        return self._encode(inputs, tuple(cross_attends), wanted)[1]

    @functools.cached_property
    def _logits(self):
        def logits(params, state, batch):
            return self._network.apply(params, state, None, batch, False)[0]

        return jax.jit(logits)

    def _encode(self, inputs, cross_attends, latents):
        wanted = (cross_attends, latents)
        if wanted not in self._encoders:
            encoder = networks.encoder(self.model, logits_of=cross_attends, latents_of=latents)
            self._encoders[wanted] = jax.jit(lambda p, batch: encoder.apply(p, None, batch))
        return self._encoders[wanted](self.params, self._batch(inputs))

    def _batch(self, inputs: Inputs) -> dict[str, jax.Array]:
        """Inputs as the network takes them."""
        specs = self.inputs
        if not isinstance(inputs, Mapping):
            if len(specs) > 1:
                raise InputError(f"give a mapping of {', '.join(specs)} to arrays, not one array")
            inputs = dict.fromkeys(specs, inputs)
        if inputs.keys() != specs.keys():
            raise InputError(f"inputs are {list(inputs)}; the network takes {list(specs)}")
        batch = {}
        for name, spec in specs.items():
            array = inputs[name]
            if not isinstance(array, jax.Array):
                array = np.asarray(array)  # its dtype is told before JAX narrows it
            if array.shape[1:] != spec.shape or not array.ndim:
                raise InputError(
                    f"{name} is {_shape(array.shape)}; the network takes "
                    f"[B, {_shape(spec.shape)[1:]}"
                )
            if array.dtype != spec.dtype and not jnp.issubdtype(array.dtype, jnp.floating):
                raise InputError(
                    f"{name} is {array.dtype}; the network takes {spec.dtype}, or floats"
                )
            batch[name] = jnp.asarray(array)
        sizes = {len(array) for array in batch.values()}
        if len(sizes) > 1:
            raise InputError(f"inputs are of {sorted(sizes)} examples; give as many of each")
        # Where each example has an order of its own, it must not depend on its place in the batch.
        return batch | {"index": jnp.zeros(*sizes, jnp.int32)}


def _shape(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape))}]"
