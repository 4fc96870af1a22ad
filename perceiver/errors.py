"""The error for everything that a user gives and that cannot be used."""


class InputError(ValueError):
    """A value, file or folder from the user that cannot be used.

    The message is one line: what is wrong and with which value, where it stands, and what to do.
    """
