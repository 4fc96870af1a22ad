"""Signals that ask a run to save and end.

SIGTERM and SIGUSR1, as clusters send them before they take a machine away.
"""

import os
import signal
import sys

# Of its own, so that a launcher can tell 'saved, start me again' from success and from failure.
EXIT_STOPPED = 75

_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class StopRequest:
    """A context in which the first signal sets `requested`, and a second one ends the process."""

    def __init__(self):
        """Listens only once entered."""
        self.requested: str | None = None
        self._before = {}

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: object) -> None:
        name = signal.Signals(number).name
        if self.requested:
            sys.stderr.write(f"a second signal, {name}: ending at once\n")
            os._exit(128 + number)
        self.requested = name
