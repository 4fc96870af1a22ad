"""Looks up names that a user gives, and names the nearest valid one in the error."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from perceiver.errors import InputError

T = TypeVar("T")


def look_up(table: Mapping[str, T], name: str, *, what: str) -> T:
    """Returns `table[name]`.

    Args:
      table: every valid name and the value that it stands for.
      name: the user's word.
      what: the kind of thing that the table holds, for the message.

    Raises:
      InputError: `name` is not in the table; the message is that of `unknown`.
    """
    if name in table:
        return table[name]
    raise InputError(unknown(name, table, what=what))


def build(
    table: Mapping[str, Callable[..., T]],
    name: str,
    *,
    what: str,
    own: Mapping[str, Any],
    shared: Mapping[str, Any] | None = None,
) -> T:
    """Calls the function that a name stands for; the keys must be those of its signature.

    Args:
      table: every valid name and the function or record that it stands for.
      name: the user's word.
      what: the kind of thing that the table holds, for messages.
      own: the keys that depend on the name. They must be those of the function's signature.
      shared: arguments that every function of the table may take; each gets those it names.

    Raises:
      InputError: an unknown name, an own key that the function does not have, or a missing one.
    """
    function = look_up(table, name, what=what)
    parameters = inspect.signature(function).parameters
    shared = shared or {}
    valid = [key for key in parameters if key not in shared]
    for key in own:
        if key not in valid:
            hint = _hint(key, valid) if valid else "it has no keys of its own"
            raise InputError(f"{what} {name!r} has no key {key!r}: {hint}")
    for key in valid:
        if key not in own and parameters[key].default is inspect.Parameter.empty:
            raise InputError(f"{what} {name!r} needs the key {key!r}")
    return function(**{key: shared[key] for key in parameters if key in shared}, **own)


def unknown(name: str, valid: Iterable[str], *, what: str) -> str:
    """Returns the message that a name is not valid, with the nearest valid name, or all of them."""
    return f"unknown {what} {name!r}: {_hint(name, valid)}"


def _hint(name: str, valid: Iterable[str]) -> str:
    valid = list(valid)
    near = difflib.get_close_matches(str(name).lower(), valid, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"valid are {', '.join(map(repr, valid))}"
