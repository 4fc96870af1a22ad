"""The error for mistakes about data. It imports without TensorFlow."""

_LONGEST = 400  # characters of what a library says


class DataError(Exception):
    """A user's mistake about data: a missing folder, an empty class, a file that cannot be read.

    The message is one line: what is wrong and with which value, where it should be, what to do.
    """


def reason(error: Exception) -> str:
    """What an error of a library says, short and in one line, or its kind if it says nothing."""
    return (" ".join(str(error).split()) or type(error).__name__)[:_LONGEST]
