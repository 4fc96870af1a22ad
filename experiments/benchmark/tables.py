"""Formats results as text."""

from collections.abc import Mapping, Sequence
from typing import Any


def rows(titles: Sequence[str], lines: Mapping[str, Sequence[str]]) -> list[str]:
    """Formats a table: a name at the start of each line, cells right-aligned below the titles."""
    first = 2 + max(map(len, lines))
    widths = [
        2 + max(len(title), *(len(cells[i]) for cells in lines.values()))
        for i, title in enumerate(titles)
    ]

    def row(name: str, cells: Sequence[str]) -> str:
        texts = (f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        return f"{name:<{first}}{''.join(texts)}".rstrip()

    return [row("", titles), *(row(name, cells) for name, cells in lines.items())]


def figures(values: Mapping[str, float], unit: float = 1.0) -> str:
    """Formats a spread in a unit, with four digits: 'median (lowest to highest)'."""
    texts = {key: number(value / unit) for key, value in values.items()}
    return f"{texts['median']} ({texts['min']} to {texts['max']})"


def number(value: float) -> str:
    """Formats a number with four digits and no exponent."""
    if value == 0:
        return "0"
    digits = 0
    while digits < 9 and abs(value) * 10**digits < 1000:
        digits += 1
    return f"{value:,.{digits}f}"


def gigabytes(value: int) -> str:
    """Formats bytes in units of 10^9."""
    return f"{value / 1e9:,.3f} GB"


def heading(result: Mapping[str, Any]) -> list[str]:
    """Returns the heading lines: the config and the machine."""
    where = result["surroundings"]
    on = f"{where['devices']} x {where['device']}"
    if where["platform"] == "cpu":
        on = f"{where['device']}, {where['cores']} cores"
    flags = f", XLA_FLAGS={where['xla_flags']}" if where["xla_flags"] else ""
    return [f"{result['config']} on {on}; jax {where['jax']}{flags}"]
