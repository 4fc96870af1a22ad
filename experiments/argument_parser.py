"""The parser of the programs that take no config: its errors are one line."""

import argparse
from typing import NoReturn

from experiments.command_line import UserError


class Parser(argparse.ArgumentParser):
    """Raises a `UserError` where argparse would print its usage."""

    def error(self, message: str) -> NoReturn:
        """See `argparse.ArgumentParser.error`."""
        raise UserError(f"{message}; see {self.prog} --help")
