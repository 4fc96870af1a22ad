"""The error for mistakes about data. It imports without TensorFlow."""

import re

_LONGEST = 400  # characters of what a library says


class DataError(Exception):
    """A user's mistake about data: a missing folder, an empty class, a file that cannot be read.

    The message is one line: what is wrong and with which value, where it should be, what to do.
    """


def reason(error: Exception) -> str:
    """What an error of a library says, short and in one line, or its kind if it says nothing."""
    return (" ".join(str(error).split()) or type(error).__name__)[:_LONGEST]


def plain(message: str) -> str:
    """What TensorFlow says of a failed operation, without the names that it gives operations."""
    message = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", message, flags=re.DOTALL)
    return message.strip().splitlines()[0].strip()
