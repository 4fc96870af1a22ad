"""The error for unusable values, files and folders of a user."""


class InputError(ValueError):
    """A value, file or folder from the user that cannot be used.

    The message is one line: the problem with the offending value, its place, and what to do.
    """
