"""Look a user's word up in a table of what it may be, or say which one was probably meant."""

import difflib
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def look_up(table: Mapping[str, T], name: str, *, what: str) -> T:
    """Returns `table[name]`.

    Args:
      table: every valid name and what it stands for.
      name: the user's word.
      what: the kind of thing, for the message.

    Raises:
      ValueError: `name` is not in the table; the message has the nearest name and all valid ones.
    """
    if name in table:
        return table[name]
    near = difflib.get_close_matches(str(name).lower(), table, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"unknown {what} {name!r}: {hint}Valid are {', '.join(map(repr, table))}.")
