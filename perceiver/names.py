"""A user's word looked up in a table of what it may be, or told which one was probably meant."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

from perceiver.errors import InputError

T = TypeVar("T")


def look_up(table: Mapping[str, T], name: str, *, what: str) -> T:
    """Returns `table[name]`.

    Args:
      table: every valid name and what it stands for.
      name: the user's word.
      what: the kind of thing, for the message.

    Raises:
      InputError: `name` is not in the table; the message is that of `unknown`.
    """
    if name in table:
        return table[name]
    raise InputError(unknown(name, table, what=what))


def unknown(name: str, valid: Iterable[str], *, what: str) -> str:
    """Says in one line that a name is not valid: the nearest that is, or all of them."""
    valid = list(valid)
    near = difflib.get_close_matches(str(name).lower(), valid, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"valid are {', '.join(map(repr, valid))}"
    return f"unknown {what} {name!r}: {hint}"
