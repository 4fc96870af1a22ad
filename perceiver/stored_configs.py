"""Converts configs that earlier versions stored to the keys of this version.

Earlier versions gave every config the keys of all optimisers, schedules and position encodings, and
used only those of the chosen ones. Run folders and safetensors files still hold the other keys.
"""

from collections.abc import Mapping
from typing import Any

_ADAM = ("b1", "b2", "eps")
_OPTIMIZERS = {"lamb": _ADAM, "adamw": _ADAM, "sgd": ("momentum",)}
_SCHEDULES = {"constant": (), "step": ("boundaries", "boundaries_epochs", "factor"), "cosine": ()}
_POSITIONS = {
    "fourier": ("bands", "max_resolution", "spacing"),
    "learned": ("learned_channels", "learned_init_scale"),
    "none": (),
}


def upgrade(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a stored config without the keys that earlier versions ignored.

    Args:
      config: nested plain values as JSON holds them. A config of this version is returned
        unchanged, and so are sections that are missing.

    Raises:
      TypeError or AttributeError: the values are not those of a config.
    """
    upgraded = dict(config)
    if "inputs" in config.get("model", {}):
        inputs = {
            name: _without_unused(section, positions=_POSITIONS)
            for name, section in config["model"]["inputs"].items()
        }
        upgraded["model"] = dict(config["model"]) | {"inputs": inputs}
    if "optimizer" in config:
        upgraded["optimizer"] = _without_unused(
            config["optimizer"], name=_OPTIMIZERS, schedule=_SCHEDULES
        )
    return upgraded


def _without_unused(
    section: Mapping[str, Any], **tables: Mapping[str, tuple[str, ...]]
) -> dict[str, Any]:
    """Returns a section without the keys of the records that it does not choose.

    Args:
      section: keys and values.
      **tables: for each key that names a record, the keys of the record by name.
    """
    unused = set()
    for choice, own_keys in tables.items():
        if section.get(choice) in own_keys:
            unused |= set().union(*own_keys.values()) - set(own_keys[section[choice]])
    return {key: value for key, value in section.items() if key not in unused}
