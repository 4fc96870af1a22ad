"""Signals that ask a run to save and end.

SIGTERM and SIGUSR1, as clusters send them before they take a machine away, and Ctrl-C.
"""

import os
import signal
import time

# Of its own, so that a launcher can tell 'saved, start me again' from success and from failure.
EXIT_STOPPED = 75

_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
# A launcher that signals a process and its group sends everything twice.
_SAME_REQUEST_SECONDS = 0.5


class StopRequest:
    """A context in which the first signal sets `requested`, and a later one ends the process.

    What comes within half a second of the first belongs to it.
    """

    def __init__(self):
        """Listens only once entered."""
        self.requested: str | None = None
        self._since = 0.0
        self._before = {}

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: object) -> None:
        name = signal.Signals(number).name
        if not self.requested:
            self.requested, self._since = name, time.monotonic()
            _write(f"{name}: saving after this step; once more to end at once\n")
        elif time.monotonic() - self._since > _SAME_REQUEST_SECONDS:
            _write(f"a second signal, {name}: ending at once\n")
            os._exit(128 + number)


def _write(text: str) -> None:
    """To stderr, past Python's buffer, which the signal may have found in use."""
    os.write(2, text.encode())
