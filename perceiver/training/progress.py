"""What a run says while it trains: a bar in a terminal, plain lines in a file."""

import math
import sys
from collections.abc import Mapping
from time import monotonic
from typing import TextIO

from tqdm import tqdm


class Progress:
    """Shows the step, the latest metrics, the speed and the time left.

    The clock starts at the first `mark` or `update`, so that compilation before it counts neither
    as speed nor as time left. Use as a context manager or call `close`.
    """

    def __init__(
        self,
        total_steps: int,
        *,
        start: int = 0,
        examples_per_step: int,
        stream: TextIO | None = None,
    ):
        """Starts showing.

        Args:
          total_steps: the step at which the run ends.
          start: the step it resumes from.
          examples_per_step: batch size over all devices.
          stream: where to write; a bar where it is a terminal, else one line an update. None is
            standard error.
        """
        self._total = total_steps
        self._examples_per_step = examples_per_step
        self._stream = sys.stderr if stream is None else stream
        self._first: tuple[int, float] | None = None  # step and seconds at which the clock started
        self._latest: tuple[int, float] | None = None
        self._bar = None
        if self._stream.isatty():
            self._bar = tqdm(
                total=total_steps,
                initial=start,
                file=self._stream,
                dynamic_ncols=True,
                bar_format="{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix}",
            )

    def mark(self, step: int) -> None:
        """Starts the clock if it is not running; call when the first step has finished."""
        if self._first is None:
            self._first = self._latest = (step, monotonic())

    def update(self, step: int, values: Mapping[str, float]) -> None:
        """Shows the metrics of a log step, the speed since the last one and the time left.

        Args:
          step: completed steps, counting those before a resume.
          values: metrics by name, shown in their order; one with 'accuracy' or 'top_' in its name
            is a share of 1 and shown in percent.
        """
        parts = [f"{name} {_format(name, value)}" for name, value in values.items()]
        parts += self._speed(step)
        if self._bar is None:
            print("  ".join([f"step {step}/{self._total}", *parts]), file=self._stream, flush=True)
        else:
            self._bar.n = step
            self._bar.set_postfix_str("  ".join(parts), refresh=True)

    def message(self, text: str) -> None:
        """Writes a line of its own, above the bar where there is one."""
        if self._bar is None:
            print(text, file=self._stream, flush=True)
        else:
            self._bar.write(text, file=self._stream)

    def close(self) -> None:
        """Leaves the bar as it is and ends the line; may be called again."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _speed(self, step: int) -> list[str]:
        """'5,020 examples/s' since the last update and '0:41 left', once they are known."""
        self.mark(step)
        now = monotonic()
        (first_step, first_time), (latest_step, latest_time) = self._first, self._latest
        if step <= latest_step or now <= latest_time:
            return []
        self._latest = (step, now)
        rate = (step - latest_step) * self._examples_per_step / (now - latest_time)
        # The average since the start, because it has the evaluations and checkpoints in it that are
        # still to come.
        left = (self._total - step) * (now - first_time) / (step - first_step)
        rounded = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
        return [f"{rounded} examples/s", f"{_clock(left)} left"]


def _format(name: str, value: float) -> str:
    if math.isfinite(value) and ("accuracy" in name or "top_" in name):
        return f"{100 * value:.1f}%"
    return f"{value:.4g}"


def _clock(seconds: float) -> str:
    """Seconds as 0:41, 1:02:03 or 2 d 03:04:05."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour:02}:{minute:02}:{second:02}"
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"
