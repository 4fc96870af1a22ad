"""The error for mistakes about data. It imports without TensorFlow."""


class DataError(Exception):
    """A user's mistake about data: a missing folder, an empty class, a file that cannot be read.

    The message is one line: what is wrong and with which value, where it should be, what to do.
    """
