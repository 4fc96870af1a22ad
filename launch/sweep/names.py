"""The names of points, which are those of their folders: what they override, and safe anywhere."""

import collections
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence

from launch.sweep.values import as_flag

_LONGEST = 100  # letters; file systems end at 255 bytes, and people before that


def short_keys(keys: Iterable[str]) -> dict[str, str]:
    """The shortest end of each key that no other has: 'num_latents' for 'model.num_latents'."""
    keys = list(keys)
    endings = collections.Counter(end for key in keys for end in _endings(key))
    return {key: next((end for end in _endings(key) if endings[end] == 1), key) for key in keys}


def _endings(key: str) -> list[str]:
    """From the shortest to the whole key."""
    words = key.split(".")
    return [".".join(words[-n:]) for n in range(1, len(words) + 1)]


def names(points: Sequence[tuple[str, Mapping[str, object]]]) -> list[str]:
    """A name for each point, as in 'wide,learning_rate=0.004,num_latents=16'.

    A name that doesn't tell all, since letters had to be left out or it would be too long, or
    because another differs from it in capitals alone (which some file systems don't see), ends
    with '~' and a hash of the whole. No other name has a '~', so that two points never share one.

    Args:
      points: of each the name that the file gives it, or '', and the overrides to name it by.
    """
    short = short_keys(dict.fromkeys(key for _, overrides in points for key in overrides))
    parts = [
        [*([own] if own else []), *(f"{short[key]}={as_flag(x)}" for key, x in overrides.items())]
        for own, overrides in points
    ]
    folded = collections.Counter(",".join(x).casefold() for x in set(map(tuple, parts)))
    return [_name(x, alone=folded[",".join(x).casefold()] == 1) for x in parts]


def _name(parts: Sequence[str], *, alone: bool) -> str:
    name = ",".join(re.sub(r"[^A-Za-z0-9._+=-]+", "_", part) for part in parts)
    if name == ",".join(parts) and len(name) <= _LONGEST and alone:
        return name
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:10]
    return f"{name[: _LONGEST - 11]}~{digest}"
