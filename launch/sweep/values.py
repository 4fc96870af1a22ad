"""Values of a swept key: lists, ranges and random draws.

    8,16,32                  a list; a comma in brackets is part of a value: (8.0,8.0)
    1..4    0..1..0.25       from 1 to 4 in steps of 1, from 0 to 1 in steps of 0.25, inclusive
    log2(8..64)              8, 16, 32, 64; log10(0.001..1) has steps of a factor of ten
    uniform(0,0.5)           a number between the two, drawn for each point
    loguniform(1e-4,1e-1)    the same, uniform in the logarithm
    integers(2,8)            a whole number, inclusive
    choice(lamb,adamw)       one of the values

Lists and ranges may be combined, as in 1,log2(8..64). A draw must be the only item.
"""

import dataclasses
import difflib
import math
import random
import re
from collections.abc import Iterable
from decimal import Decimal

MOST_POINTS = 10_000  # of a sweep; a larger number is probably a typing error

_NUMBER = r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(?:\.\.({_NUMBER}))?")
_CALL = re.compile(r"([A-Za-z]\w*)\((.*)\)", re.DOTALL)
_SCALES = {"log2": 2, "log10": 10}
_DRAWS = ("uniform", "loguniform", "integers", "choice")


class SweepError(Exception):
    """Wrong input; the message is one line that says what to do."""


@dataclasses.dataclass(frozen=True)
class Draw:
    """A random value, drawn for each point.

    Attributes:
      kind: 'uniform', 'loguniform', 'integers' or 'choice'.
      arguments: the two bounds, or the values to choose from.
    """

    kind: str
    arguments: tuple[str, ...]

    def value(self, seed: int, number: int, key: str) -> str:
        """Returns the value of a key at a point, a function of seed, point number and key."""
        source = random.Random(f"{seed}/{number}/{key}")  # same in every Python
        if self.kind == "choice":
            return source.choice(self.arguments)
        if self.kind == "integers":
            return str(source.randint(*map(int, self.arguments)))
        low, high = map(float, self.arguments)
        if self.kind == "uniform":
            drawn = source.uniform(low, high)
        else:
            drawn = math.exp(source.uniform(math.log(low), math.log(high)))
        # Four digits, so that the folder's name has the exact value; `repr` keeps the .0 of 1.0.
        return repr(float(f"{drawn:.4g}"))


def read_values(text: str, where: str) -> list[str] | Draw:
    """Reads the values after KEY=, or a text in a file.

    Args:
      text: see the module's docstring.
      where: the key, for messages.

    Raises:
      SweepError: wrong syntax, or more than MOST_POINTS values.
    """
    items = split(text, ",")
    values = []
    for item in items:
        if not item:
            raise SweepError(f"{where}={text}: a value is missing; write it as in {where}=8,16,32")
        call = _CALL.fullmatch(item)
        if call is None:
            numbers = _RANGE.fullmatch(item)
            values += [item] if numbers is None else _steps(*numbers.groups(), f"{where}={item}")
        elif call[1] in _SCALES:
            values += _scale(_SCALES[call[1]], call[2], f"{where}={item}")
        elif call[1] not in _DRAWS:
            raise SweepError(f"{where}: {unknown(call[1], [*_SCALES, *_DRAWS], what='function')}")
        elif len(items) > 1:
            raise SweepError(f"{where}={text}: {call[1]}(...) stands alone, without a list")
        else:
            return _draw(call[1], call[2], f"{where}={item}")
    return values


def _draw(kind: str, inside: str, where: str) -> Draw:
    arguments = tuple(split(inside, ","))
    if kind == "choice":
        if not all(arguments) or len(set(arguments)) < len(arguments):
            raise SweepError(f"{where}: give values to choose from, each once, as in choice(a,b)")
        return Draw(kind, arguments)
    number = r"[-+]?\d+" if kind == "integers" else _NUMBER
    if len(arguments) != 2 or not all(re.fullmatch(number, x) for x in arguments):
        what = "whole numbers" if kind == "integers" else "numbers"
        raise SweepError(f"{where}: give two {what}, as in {kind}(1,8)")
    low, high = map(float, arguments)
    if not low < high or (kind == "loguniform" and low <= 0):
        more = " and is above 0" if kind == "loguniform" else ""
        raise SweepError(f"{where}: the first number is the smaller one{more}")
    return Draw(kind, arguments)


def _steps(first: str, last: str, step: str | None, where: str) -> list[str]:
    # Decimal, because 0.1 is inexact in binary: 0..0.3..0.1 must end at 0.3.
    start, end, by = Decimal(first), Decimal(last), Decimal(step or 1)
    if by <= 0 or end < start:
        raise SweepError(f"{where}: goes upwards, as in 1..4 or 0..1..0.25")
    return [_plain(start + n * by) for n in range(_few(int((end - start) / by) + 1, where))]


def _scale(base: int, inside: str, where: str) -> list[str]:
    numbers = _RANGE.fullmatch(inside)
    if numbers is None or numbers[3] or not 0 < Decimal(numbers[1]) <= Decimal(numbers[2]):
        raise SweepError(f"{where}: give a range upwards from above 0, as in log{base}(8..64)")
    start, end = Decimal(numbers[1]), Decimal(numbers[2])
    values = []
    while start <= end:
        values.append(_plain(start))
        start *= base
    return values


def _plain(number: Decimal) -> str:
    """Formats a number without an exponent, which flags for whole numbers don't take."""
    return format(number.normalize(), "f")


def _few(count: int, where: str) -> int:
    if count > MOST_POINTS:
        raise SweepError(f"{where}: {count:,} values are more than {MOST_POINTS:,}")
    return count


def split(text: str, separator: str) -> list[str]:
    """Splits a text at separators outside of brackets, and strips the parts."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == separator and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def as_flag(value: object) -> str:
    """Formats a value for a flag of a config; a list becomes a tuple, as in (64.0, 64.0)."""
    return repr(tuple(value)) if isinstance(value, list) else str(value)


def unknown(name: str, valid: Iterable[str], *, what: str) -> str:
    """Returns the message for an unknown name, with the nearest valid one or all of them."""
    valid = list(valid)
    near = difflib.get_close_matches(name, valid, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"valid are {', '.join(map(repr, valid))}"
    return f"unknown {what} {name!r}: {hint}"
