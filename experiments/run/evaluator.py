"""Evaluation of a model over a whole split, every example counted exactly once."""

import collections
from collections.abc import Callable

import jax
import numpy as np

from experiments.run.predictions import Predictions, many_label_predictions, one_label_predictions
from perceiver.data.dataset import Source
from perceiver.training.average_precision import mean_of
from perceiver.training.logging.metric_kinds import LOSS, MAP, TOP1, TOP5, MetricKind
from perceiver.training.objectives import Objective
from perceiver.training.parallel import AXIS, DataParallel
from perceiver.training.step import Variables, make_eval_step


class Evaluator:
    """Evaluates a model on a split."""

    def __init__(
        self,
        predict: Callable[[Variables, dict], jax.Array],
        source: Source,
        objective: Objective,
        devices: DataParallel,
        batch_size: int,
    ):
        """Compiles nothing yet.

        Args:
          predict: Function of variables and batch to class logits.
          source: The split.
          objective: Loss and metrics, without label smoothing.
          devices: The devices to map over.
          batch_size: Number of examples per global batch; rounded up to a multiple of the devices.
        """
        windows = source.eval_windows > 0
        self._step = devices.map(
            make_eval_step(predict, objective=objective, windows=windows, axis=AXIS)
        )
        self._source = source
        self._devices = devices
        self._batch_size = -(-batch_size // jax.device_count()) * devices.num_devices

    def __call__(self, variables: Variables) -> tuple[dict[str, float], Predictions]:
        """Evaluates; all processes call this and get the same result.

        Args:
          variables: Replicated on every device by `DataParallel.replicate`.

        Returns:
          The results and the predictions for each example. Results are loss and accuracies as
          means over all examples of all hosts, and num_examples; with several labels per example:
          loss, mAP, num_examples and num_classes, the number of classes that mAP averages.
        """
        sums: dict[str, float] = collections.defaultdict(float)
        outputs: list[dict[str, np.ndarray]] = []
        for batch in self._source.eval_batches(
            batch_size=self._batch_size,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        ):
            result = self._step(variables, self._devices.shard(batch))
            batch_sums, batch_outputs = self._devices.first(result)
            for name, x in batch_sums.items():
                sums[name] += float(x)
            valid = batch_outputs.pop("mask") > 0
            outputs.append({name: x[valid] for name, x in batch_outputs.items()})
        count = int(sums.pop("num_examples"))
        if count != self._source.num_examples:
            raise RuntimeError(
                f"evaluated {count} of {self._source.num_examples} examples; each must count once"
            )
        results = {name: x / count for name, x in sums.items()}
        joined = {name: np.concatenate([x[name] for x in outputs]) for name in outputs[0]}
        if "logits" in joined:
            predictions = many_label_predictions(**joined)
            results["mAP"], results["num_classes"] = mean_of(predictions.average_precision)
        else:
            predictions = one_label_predictions(joined)
        return {**results, "num_examples": count}, predictions


def summary(results: dict[str, float]) -> str:
    """Formats the results of an evaluation as one line."""

    def text(kind: MetricKind) -> str:
        return f"{kind.label} {kind.exact_text(results[kind.name])}"

    count = results["num_examples"]
    if MAP.name in results:
        return (
            f"{text(MAP)} over the {results['num_classes']} classes present in {count:,} examples, "
            f"{text(LOSS)}"
        )
    right = round(results[TOP1.name] * count)
    return f"{text(TOP1)} ({right:,} of {count:,} examples), {text(TOP5)}, {text(LOSS)}"
