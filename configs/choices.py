"""Keys whose value chooses a record: the optimiser, its schedule, and position encodings.

A config holds only the keys of the chosen record. `choose` replaces them.
"""

import copy
import difflib
import fnmatch
from collections.abc import Iterable, Iterator
from typing import Any

from ml_collections import ConfigDict

_ADAM = {
    "b1": 0.9,  # decay rate of the gradient's first moment, below 1
    "b2": 0.999,  # decay rate of the gradient's second moment, below 1
    "eps": 1e-6,  # number added to the root of the second moment
}
_SGD = {
    "momentum": 0.9,  # decay rate of the summed gradients, below 1
}
_STEP = {
    "boundaries": (),  # steps at which the learning rate is multiplied by `factor`
    "boundaries_epochs": (),  # the same boundaries in epochs, if there are none in steps
    "factor": 0.1,  # factor of the learning rate at each boundary
}
_FOURIER = {
    "bands": 64,  # number of frequencies per dimension
    # mu (Sec. 3.2) for each dimension: twice the highest frequency; () for the size of the input
    "max_resolution": (),
    "spacing": "linear",  # spacing of the frequencies: linear or log
}
_LEARNED = {
    "learned_channels": 128,  # channels of the learned positions
    "learned_init_scale": 1.0,  # standard deviation of the initial learned positions
}

# The records by key and value: the keys of each record with their defaults.
CHOICES: dict[str, dict[str, dict[str, Any]]] = {
    "optimizer.name": {"lamb": _ADAM, "adamw": _ADAM, "sgd": _SGD},
    "optimizer.schedule": {"constant": {}, "step": _STEP, "cosine": {}},
    "model.inputs.*.positions": {"fourier": _FOURIER, "learned": _LEARNED, "none": {}},
}
_NAMES = {
    "optimizer.name": "optimizer",
    "optimizer.schedule": "learning rate schedule",
    "model.inputs.*.positions": "positions",
}


def choice_keys(config: ConfigDict) -> list[str]:
    """Returns the keys of a config that choose a record, as in 'model.inputs.image.positions'."""
    return [key for pattern in CHOICES for key in _matches(config, pattern)]


def choose(config: ConfigDict, key: str, value: str) -> None:
    """Sets a key that chooses a record, and gives its section the keys of that record.

    Keys of both records keep their values; the other keys get their defaults.

    Raises:
      ValueError: the value chooses no record; the message names the nearest one that does.
    """
    (pattern,) = (p for p in CHOICES if key in _matches(config, p))
    records = CHOICES[pattern]
    if value not in records:
        raise ValueError(unknown(value, records, what=_NAMES[pattern]))
    section, name = section_of(config, key)
    old, new = records.get(section[name], {}), records[value]
    for own in old.keys() - new.keys():
        if own in section:
            del section[own]
    for own in new:
        if own not in section:
            section[own] = copy.copy(new[own])
    section[name] = value


def alternatives(config: ConfigDict, key: str) -> list[str]:
    """Returns the choices that would give a config a key, as in 'optimizer.name=sgd'."""
    section, _, name = key.rpartition(".")
    return [
        f"{chooser}={value}"
        for pattern, records in CHOICES.items()
        for chooser in _matches(config, pattern)
        for value, record in records.items()
        if chooser.rpartition(".")[0] == section and name in record
    ]


def unknown(name: str, valid: Iterable[str], *, what: str) -> str:
    """Returns the message that a name is not valid, with the nearest valid name, or all of them."""
    valid = [word for word in valid if word]
    near = difflib.get_close_matches(name, valid, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"valid are {', '.join(valid) or 'none'}"
    return f"unknown {what} {name!r}: {hint}"


def section_of(config: ConfigDict, key: str) -> tuple[ConfigDict, str]:
    """Returns the section that holds a flat key, and the key's last part.

    Raises:
      ValueError: the config has no such section.
    """
    *sections, name = key.split(".")
    for section in sections:
        if section not in config:
            raise ValueError(f"unknown key {key!r}")
        config = config[section]
    return config, name


def _matches(config: ConfigDict, pattern: str) -> list[str]:
    """Returns the flat keys of a config that match a pattern with '*'."""
    return [key for key in _flat_keys(config) if fnmatch.fnmatchcase(key, pattern)]


def _flat_keys(config: ConfigDict, prefix: str = "") -> Iterator[str]:
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            yield from _flat_keys(value, f"{prefix}{key}.")
        else:
            yield prefix + key
