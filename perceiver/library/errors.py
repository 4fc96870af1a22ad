"""What goes wrong with a file or folder that a user gives."""


class LibraryError(ValueError):
    """A path that has no network to load; the message is one line that names it."""
