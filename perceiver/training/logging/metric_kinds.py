"""The metrics of a run: names, titles, units and formats, for progress, curves and reports."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

BRIEF_SHARE, EXACT_SHARE = ".1%", ".2%"  # formats of fractions of 1, in percent


class MetricKind(NamedTuple):
    """The names and formats of a metric.

    Attributes:
      name: key in metrics.jsonl and eval.json.
      word: name in the progress line.
      label: name in tables, as in 'last top-1'.
      title: title of its chart.
      unit: label of its chart's axis.
      phrase: name in a sentence.
      brief: format for progress lines and legends.
      exact: format for tables.
    """

    name: str
    word: str
    label: str
    title: str
    unit: str
    phrase: str
    brief: str = ".4g"
    exact: str = ".4g"

    @property
    def is_share(self) -> bool:
        """True if values are fractions of 1 and are shown in percent."""
        return self.exact.endswith("%")

    def brief_text(self, value: float) -> str:
        """Returns a value as in progress lines and legends: '45.6%' or '1.234'."""
        return format(value, self.brief if math.isfinite(value) else "g")

    def exact_text(self, value: float) -> str:
        """Returns a value as in tables: '45.60%' or '1.2345'."""
        return format(value, self.exact if math.isfinite(value) else "g")


_SHARE = {"brief": BRIEF_SHARE, "exact": EXACT_SHARE}
LOSS = MetricKind(
    name="loss",
    word="loss",
    label="loss",
    title="Loss",
    unit="loss (nats)",
    phrase="loss",
    exact=".4f",
)
TOP1 = MetricKind(
    name="top1",
    word="accuracy",
    label="top-1",
    title="Accuracy",
    unit="top-1 accuracy",
    phrase="top-1 accuracy",
    **_SHARE,
)
TOP5 = MetricKind(
    name="top5",
    word="top-5",
    label="top-5",
    title="Top-5 accuracy",
    unit="top-5 accuracy",
    phrase="top-5 accuracy",
    **_SHARE,
)
MAP = MetricKind(
    name="mAP",
    word="mAP",
    label="mAP",
    title="Mean average precision",
    unit="mAP",
    phrase="mean average precision",
    **_SHARE,
)
LEARNING_RATE = MetricKind(
    name="learning_rate",
    word="learning_rate",
    label="learning rate",
    title="Learning rate",
    unit="rate",
    phrase="learning rate",
)
METRIC_KINDS = {kind.name: kind for kind in (LOSS, TOP1, TOP5, MAP, LEARNING_RATE)}


def metric_kind(name: str) -> MetricKind:
    """Returns the kind of a metric; a metric that is not in `METRIC_KINDS` is shown by its name."""
    return METRIC_KINDS.get(name) or MetricKind(name, *[name] * 5)


def primary_metric(records: Iterable[Mapping[str, Any]]) -> str | None:
    """Returns the metric by which a run is judged: 'mAP', 'top1', or None if it has neither.

    Both are fractions of 1.

    Args:
      records: objects with metrics by name, for example from `read_metrics`.
    """
    logged = {name for record in records for name in record}
    return next((kind.name for kind in (MAP, TOP1) if kind.name in logged), None)
