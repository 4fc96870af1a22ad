"""What a run says while it trains: a bar in a terminal, plain lines in a file."""

import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import TextIO

from tqdm import tqdm


class Progress:
    """Shows the step, the latest metrics, the speed, how long data took and the time left.

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
        self._waited = 0.0  # seconds for data, since the latest update
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
            self._waited = 0.0

    @contextmanager
    def waiting_for_data(self) -> Iterator[None]:
        """A context in which the loop takes the next batch."""
        start = monotonic()
        yield
        self._waited += monotonic() - start

    def update(self, step: int, values: Mapping[str, float]) -> dict[str, float]:
        """Shows the metrics of a log step, the speed since the last one and the time left.

        'data 97%' is the share of the time that the loop waited for batches. A step runs meanwhile,
        so data sets the pace only where it comes near to 100%.

        Args:
          step: completed steps, counting those before a resume.
          values: metrics by name, shown in their order; one with 'accuracy' or 'top_' in its name
            is a share of 1 and shown in percent.

        Returns:
          seconds_per_step and data_wait, a share of 1, since the last update; empty before they are
          known.
        """
        parts = [f"{name} {_format(name, value)}" for name, value in values.items()]
        speed = self._speed(step)
        if speed:
            rate = self._examples_per_step / speed["seconds_per_step"]
            parts.append(f"{rate:,.0f} examples/s" if rate >= 10 else f"{rate:.2g} examples/s")
            parts.append(f"data {speed['data_wait']:.0%}")
            parts.append(f"{_clock(self._left())} left")
        if self._bar is None:
            print("  ".join([f"step {step}/{self._total}", *parts]), file=self._stream, flush=True)
        else:
            self._bar.n = step
            self._bar.set_postfix_str("  ".join(parts), refresh=True)
        return speed

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

    def _speed(self, step: int) -> dict[str, float]:
        """Seconds a step and the share of them for data since the last update, once known."""
        self.mark(step)
        now = monotonic()
        latest_step, latest_time = self._latest
        if step <= latest_step or now <= latest_time:
            return {}
        seconds, waited = now - latest_time, self._waited
        self._latest, self._waited = (step, now), 0.0
        return {
            "seconds_per_step": seconds / (step - latest_step),
            "data_wait": waited / seconds,
        }

    def _left(self) -> float:
        """Seconds to the end of the run, as of the latest update."""
        (first_step, first_time), (step, now) = self._first, self._latest
        # The average since the start, because it has the evaluations and checkpoints in it that are
        # still to come.
        return (self._total - step) * (now - first_time) / (step - first_step)


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
