"""Evaluation of a model over a whole split, every example counted exactly once."""

import collections
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from perceiver.training.parallel import AXIS, DataParallel
from perceiver.training.step import make_eval_step

if TYPE_CHECKING:
    from perceiver.data.source import Source


class Evaluator:
    """Runs a model over the whole evaluation split."""

    def __init__(
        self,
        apply: Callable[[Any, dict], jax.Array],
        source: "Source",
        devices: DataParallel,
        batch_size: int,
    ):
        """Takes class logits as a function of parameters and batch, and the examples.

        The global batch is rounded up to a multiple of the devices; padding is masked.
        """
        self._step = devices.map(make_eval_step(apply, axis=AXIS))
        self._source = source
        self._devices = devices
        self._batch_size = -(-batch_size // jax.device_count()) * devices.num_devices

    def __call__(self, params: Any) -> dict[str, float]:
        """Loss, top1 and top5 as means over all examples of all hosts, and num_examples.

        Args:
          params: on every device, as `DataParallel.replicate` gives them.
        """
        from perceiver.data.pipeline import eval_batches

        sums: dict[str, float] = collections.Counter()
        for batch in eval_batches(
            self._source,
            batch_size=self._batch_size,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        ):
            part = self._step(params, self._devices.shard(model_inputs(batch)))
            sums.update({name: float(x) for name, x in self._devices.first(part).items()})
        count = int(sums.pop("num_examples"))
        if count != self._source.num_examples:
            raise RuntimeError(
                f"evaluated {count} of {self._source.num_examples} examples; each must count once"
            )
        return {**{k: float(v) / count for k, v in sums.items()}, "num_examples": count}


def model_inputs(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A batch without what only the host needs to know."""
    return {name: value for name, value in batch.items() if name != "index"}


def summary(results: dict[str, float]) -> str:
    """Results in a line."""
    count = results["num_examples"]
    return (
        f"top-1 {results['top1']:.2%} ({round(results['top1'] * count):,} of {count:,} examples), "
        f"top-5 {results['top5']:.2%}, loss {results['loss']:.4f}"
    )
