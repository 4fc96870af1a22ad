"""Prints the networks of all configs as JSON.

    python -m configs.networks

The package `perceiver` is installed without the configs. setup.py writes this output into it, and
`perceiver.library` reads it from there. In a checkout, `perceiver.library` runs this command.
"""

import importlib
import json
import pkgutil
from pathlib import Path
from typing import Any


def all_networks() -> dict[str, dict[str, Any]]:
    """Returns the parts of each variant that describe its network: `model`, `data`, `train.loss`.

    The names are 'imagenet', 'imagenet:resnet', ...
    """
    networks = {}
    for module_info in pkgutil.iter_modules([str(Path(__file__).parent)]):
        module = importlib.import_module(f"configs.{module_info.name}")
        if hasattr(module, "get_config"):
            for variant in module.VARIANTS:
                config = module.get_config(variant)
                networks[f"{module_info.name}:{variant}".rstrip(":")] = {
                    "model": config.model.to_dict(),
                    "data": config.data.to_dict(),
                    "train": {"loss": config.train.loss},
                }
    return networks


if __name__ == "__main__":
    print(json.dumps(all_networks()))
