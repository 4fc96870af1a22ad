"""A network with its parameters and class names, which can be called on arrays."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from perceiver import networks
from perceiver.errors import InputError

Array = jax.Array | np.ndarray
Inputs = Array | Mapping[str, Array]


class Classifier:
    """A network that can be called on arrays.

    Inputs are a mapping from modalities to arrays [B, ...], or one array if there is one modality.
    Shapes and dtypes are those of `inputs`, but floats are accepted as well: bytes of images are
    divided by 255, floats are used unchanged. Each method is compiled once per batch size.

    Attributes:
      config: config of the network, as plain values.
      params: parameters, as Haiku stores them.
      state: Haiku state, moving averages of BatchNorm; empty for a Perceiver.
      num_classes: K, number of outputs of the head.
      class_names: names of the classes in the order of the outputs; empty if unknown.
      step: number of training steps; None if there were none or it is unknown.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        params: Mapping[str, Mapping[str, Array]],
        state: Mapping[str, Mapping[str, Array]],
        *,
        num_classes: int,
        class_names: Sequence[str] = (),
        step: int | None = None,
    ):
        """Sets the attributes; the config needs the sections `model` and `data`, and `train.loss`.

        Raises:
          InputError: sizes in the config do not match.
        """
        self.config = config
        self.params = params
        self.state = state
        self.num_classes = num_classes
        self.class_names = tuple(class_names)
        self.step = step
        self._network = networks.network(self.model, self.data, num_classes)
        self._encoders: dict[tuple, Callable] = {}  # by cross-attends and latents

    @property
    def model(self) -> Mapping[str, Any]:
        """The section `model` of the config."""
        return self.config["model"]

    @property
    def data(self) -> Mapping[str, Any]:
        """The section `data` of the config, with at least the keys that the network needs."""
        return self.config["data"]

    @property
    def multi_label(self) -> bool:
        """True if an example may have several classes with independent probabilities."""
        return self.config["train"]["loss"] == "sigmoid"

    @property
    def inputs(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and dtype of one example by modality, without the batch axis."""
        specs = networks.batch_spec(self.model, self.data, 1)
        return {
            name: jax.ShapeDtypeStruct(specs[name].shape[1:], specs[name].dtype)
            for name in networks.modalities_of(self.model)
        }

    def logits(self, inputs: Inputs) -> jax.Array:
        """Returns class logits, float32 [B, K].

        Raises:
          InputError: the modalities, shapes or dtypes of the inputs are not those of the network.
        """
        return self._logits(self.params, self.state, self._batch(inputs))

    def probabilities(self, inputs: Inputs) -> jax.Array:
        """Returns class probabilities, float32 [B, K]; they sum to 1 unless `multi_label`.

        Raises:
          InputError: see `logits`.
        """
        return self.probabilities_of(self.logits(inputs))

    def probabilities_of(self, logits: jax.Array) -> jax.Array:
        """Converts class logits [B, K] to class probabilities [B, K]."""
        return jax.nn.sigmoid(logits) if self.multi_label else jax.nn.softmax(logits, axis=-1)

    def latents(self, inputs: Inputs) -> jax.Array:
        """Returns the latents after the last tower, float32 [B, N, D]; the head uses their mean.

        Raises:
          InputError: the network is not a Perceiver, or see `logits`.
        """
        return self._encode(inputs, (), None)[0].astype(jnp.float32)

    def attention_logits(
        self,
        inputs: Inputs,
        cross_attends: Sequence[int],
        latents: Sequence[int] | None = None,
    ) -> dict[int, jax.Array]:
        """Returns attention logits of cross-attends, before mask and softmax (Figs. 3, 7 to 31).

        Args:
          inputs: B examples.
          cross_attends: indices of the cross-attends, from 0 in the order of the network.
          latents: indices of the latents, from 0; None for all N.

        Returns:
          For each cross-attend, float32 [B, H, N, M], or the number of chosen latents instead of N.
          M are the inputs of this cross-attend in the order of the network (see
          `perceiver.permutations`); fused modalities are concatenated.

        Raises:
          InputError: a cross-attend or latent does not exist, or see `latents`.
        """
        chosen = None if latents is None else tuple(latents)
        return self._encode(inputs, tuple(cross_attends), chosen)[1]

    @functools.cached_property
    def _logits(self):
        def logits(params, state, batch):
            return self._network.apply(params, state, None, batch, False)[0]

        return jax.jit(logits)

    def _encode(self, inputs, cross_attends, latents):
        key = (cross_attends, latents)
        if key not in self._encoders:
            encoder = networks.encoder(self.model, logits_of=cross_attends, latents_of=latents)
            self._encoders[key] = jax.jit(lambda p, batch: encoder.apply(p, None, batch))
        return self._encoders[key](self.params, self._batch(inputs))

    def _batch(self, inputs: Inputs) -> dict[str, jax.Array]:
        """Checks inputs and converts them to a batch of the network."""
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
                array = np.asarray(array)  # its dtype is checked before JAX narrows it
            if array.shape[1:] != spec.shape or not array.ndim:
                raise InputError(
                    f"{name} is {_format_shape(array.shape)}; the network takes "
                    f"[B, {_format_shape(spec.shape)[1:]}"
                )
            if array.dtype != spec.dtype and not jnp.issubdtype(array.dtype, jnp.floating):
                raise InputError(
                    f"{name} is {array.dtype}; the network takes {spec.dtype}, or floats"
                )
            batch[name] = jnp.asarray(array)
        sizes = {len(array) for array in batch.values()}
        if len(sizes) > 1:
            raise InputError(
                f"inputs are of {sorted(sizes)} examples; give the same number for each modality"
            )
        # With a random permutation per example, it must not depend on the position in the batch.
        (batch_size,) = sizes
        return batch | {"index": jnp.zeros(batch_size, jnp.int32)}


def _format_shape(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape))}]"
