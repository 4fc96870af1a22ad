"""The parser of the programs that take no config: its errors are one line."""

import argparse
import textwrap
from typing import NoReturn

from perceiver.errors import InputError

_WIDTH = 78  # of a description


class Parser(argparse.ArgumentParser):
    """Raises an `InputError` where argparse would print its usage.

    The epilog, an example, is printed as it is: broken in two it could not be copied.
    """

    def __init__(self, *, description: str, **options: object):
        """See `argparse.ArgumentParser`."""
        super().__init__(
            description=textwrap.fill(description, width=_WIDTH),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **options,
        )

    def error(self, message: str) -> NoReturn:
        """See `argparse.ArgumentParser.error`."""
        raise InputError(f"{message}; see {self.prog} --help")
