"""Evaluation of a model over a whole split, every example counted exactly once."""

import collections
from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import numpy as np

from experiments.run.predictions import Predictions, of_many_labels, of_one_label
from perceiver.training.average_precision import mean_of
from perceiver.training.objectives import Objective
from perceiver.training.parallel import AXIS, DataParallel
from perceiver.training.step import Variables, make_eval_step

if TYPE_CHECKING:
    from perceiver.data.dataset import Source


class Evaluator:
    """Runs a model over a whole split."""

    def __init__(
        self,
        predict: Callable[[Variables, dict], jax.Array],
        source: "Source",
        objective: Objective,
        devices: DataParallel,
        batch_size: int,
    ):
        """Takes class logits as a function of variables and batch, and the examples.

        The global batch is rounded up to a multiple of the devices; padding is masked.
        """
        windows = source.eval_windows > 0
        self._step = devices.map(
            make_eval_step(predict, objective=objective, windows=windows, axis=AXIS)
        )
        self._source = source
        self._devices = devices
        self._batch_size = -(-batch_size // jax.device_count()) * devices.num_devices

    def __call__(self, variables: Variables) -> dict[str, float]:
        """What `with_predictions` measures."""
        return self.with_predictions(variables)[0]

    def with_predictions(self, variables: Variables) -> tuple[dict[str, float], Predictions]:
        """Evaluates; the same on all processes.

        Args:
          variables: on every device, as `DataParallel.replicate` gives them.

        Returns:
          Loss and accuracies as means over all examples of all hosts, and num_examples; with
          several labels an example: loss, mAP and num_classes, the classes that it is over. And
          what was said of each example.
        """
        from perceiver.data.stream.batches import eval_batches

        sums: dict[str, float] = collections.Counter()
        kept: list[dict[str, np.ndarray]] = []
        for batch in eval_batches(
            self._source,
            batch_size=self._batch_size,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        ):
            of_batch = self._step(variables, self._devices.shard(batch))
            part, of_examples = self._devices.first(of_batch)
            sums.update({name: float(x) for name, x in part.items()})
            real = of_examples.pop("mask") > 0
            kept.append({name: x[real] for name, x in of_examples.items()})
        count = int(sums.pop("num_examples"))
        if count != self._source.num_examples:
            raise RuntimeError(
                f"evaluated {count} of {self._source.num_examples} examples; each must count once"
            )
        results = {name: x / count for name, x in sums.items()}
        whole = {name: np.concatenate([x[name] for x in kept]) for name in kept[0]}
        if "logits" in whole:
            predictions = of_many_labels(**whole)
            results["mAP"], results["num_classes"] = mean_of(predictions.average_precision)
        else:
            predictions = of_one_label(whole)
        return {**results, "num_examples": count}, predictions


def summary(results: dict[str, float]) -> str:
    """Results in a line."""
    count = results["num_examples"]
    if "mAP" in results:
        return (
            f"mAP {results['mAP']:.2%} over the {results['num_classes']} classes present in "
            f"{count:,} examples, loss {results['loss']:.4f}"
        )
    return (
        f"top-1 {results['top1']:.2%} ({round(results['top1'] * count):,} of {count:,} examples), "
        f"top-5 {results['top5']:.2%}, loss {results['loss']:.4f}"
    )
