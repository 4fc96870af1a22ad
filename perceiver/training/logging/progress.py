"""Shows the progress of training: a bar in a terminal, plain lines in a file."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import TextIO

from tqdm import tqdm

from perceiver.training.logging.metric_kinds import metric_kind


class Progress:
    """Shows the step, the latest metrics, the speed, the wait for data and the time left.

    The clock starts at the first `mark` or `update`, so that the compilation before it affects
    neither the speed nor the time left. Use as a context manager or call `close`.
    """

    def __init__(
        self,
        total_steps: int,
        *,
        start: int = 0,
        examples_per_step: int,
        stream: TextIO | None = None,
        active: bool = True,
    ):
        """Starts showing progress.

        Args:
          total_steps: step at which the run ends.
          start: step at which the run resumes.
          examples_per_step: batch size over all devices.
          stream: output; a terminal gets a bar, any other stream one line per update. None for
            standard error.
          active: False on processes that must not write; they still measure their speed.
        """
        self._total = total_steps
        self._examples_per_step = examples_per_step
        self._stream = sys.stderr if stream is None else stream
        self._active = active
        self._first: tuple[int, float] | None = None  # step and time at which the clock started
        self._latest: tuple[int, float] | None = None  # step and time of the latest update
        self._waited = 0.0  # seconds of waiting for data since the latest update
        self._bar = None
        if active and self._stream.isatty():
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
        """A context in which the training loop takes the next batch."""
        start = monotonic()
        yield
        self._waited += monotonic() - start

    def update(self, step: int, values: Mapping[str, float]) -> dict[str, float]:
        """Shows the metrics of a log step, the speed since the last update and the time left.

        'data 97%' is the share of the time in which the loop waited for batches. A step runs in
        the background meanwhile, so data limits the speed only if the share is close to 100%.

        Args:
          step: number of completed steps, including those before a resume.
          values: metrics by their names in metrics.jsonl, in the order in which to show them; see
            `metric_kind` for how they are shown.

        Returns:
          seconds_per_step and data_wait (a fraction of 1) since the last update; empty until they
          are known.
        """
        parts = [f"{metric_kind(k).word} {metric_kind(k).brief_text(x)}" for k, x in values.items()]
        speed = self._speed(step)
        if speed:
            rate = self._examples_per_step / speed["seconds_per_step"]
            parts.append(f"{rate:,.0f} examples/s" if rate >= 10 else f"{rate:.2g} examples/s")
            parts.append(f"data {speed['data_wait']:.0%}")
            parts.append(f"{_clock(self._left())} left")
        if self._bar is None:
            self.message("  ".join([f"step {step}/{self._total}", *parts]))
        else:
            self._bar.n = step
            self._bar.set_postfix_str("  ".join(parts), refresh=True)
        return speed

    def message(self, text: str) -> None:
        """Writes a line, above the bar if there is one."""
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        elif self._active:
            print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Leaves the bar as it is and ends its line; may be called again."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _speed(self, step: int) -> dict[str, float]:
        """Returns the speed and the wait for data since the last update, empty if unknown."""
        self.mark(step)
        now = monotonic()
        assert self._latest is not None  # `mark` sets it
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
        """Returns the estimated seconds to the end of the run at the latest update."""
        assert self._first is not None  # `mark` sets both
        assert self._latest is not None
        (first_step, first_time), (step, now) = self._first, self._latest
        # The average since the start includes evaluations and checkpoints, more of which follow.
        return (self._total - step) * (now - first_time) / (step - first_step)


def _clock(seconds: float) -> str:
    """Returns seconds as 0:41, 1:02:03 or 2 d 03:04:05."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour:02}:{minute:02}:{second:02}"
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"
