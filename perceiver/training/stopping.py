"""Handles signals that ask a run to save and stop.

Clusters send SIGTERM or SIGUSR1 before they take a machine away; Ctrl-C sends SIGINT.
"""

import os
import signal
import time

# A separate exit status, so that a launcher can distinguish 'saved, restart' from success and
# failure.
EXIT_STOPPED = 75

_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
# A launcher that signals a process and its group sends every signal twice.
_SAME_REQUEST_SECONDS = 0.5


class StopRequest:
    """A context in which the first signal sets `requested` and a second one ends the process.

    Signals within half a second of the first one count as the same request.

    Attributes:
      requested: name of the first signal, None before it.
    """

    def __init__(self):
        """Installs no handlers yet; entering the context does."""
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
    """Writes to stderr without the buffer of Python, which the signal may have interrupted."""
    os.write(2, text.encode())
