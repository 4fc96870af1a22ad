"""Keeps Orbax's talk of its own progress out of the log that it shares with the program."""

import logging


class _OrbaxChatter(logging.Filter):
    """Lets Orbax's warnings through, but not the trace that every thread logs of one error.

    That error is raised by the next call.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if "orbax" not in record.pathname:
            return True
        return record.levelno >= logging.WARNING and not record.exc_info


_CHATTER = _OrbaxChatter()


def quieten_orbax() -> None:
    """Drops what Orbax logs below a warning; calling it again does nothing."""
    logging.getLogger("absl").addFilter(_CHATTER)
