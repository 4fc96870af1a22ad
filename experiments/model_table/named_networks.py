"""Writes down what the configs say of their networks, for `perceiver.library.build`.

The library is installed without the configs, and reads none. Run this where a config's network has
changed; a test holds the two together.
"""

import argparse
import json
from pathlib import Path

from experiments.cli.config_files import all_configs
from experiments.cli.main import run
from experiments.cli.parser import Parser
from perceiver import networks
from perceiver.library import named
from perceiver.modalities import MODALITIES

RUN_HERE = "python -m experiments.model_table.named_networks"
FILE = Path(named.__file__).with_name("networks.json")


def text() -> str:
    """The file: a line for each variant of each config."""
    lines = []
    for spec, config in all_configs():
        file, _, variant = spec.partition(":")
        name = Path(file).stem + (f":{variant}" if variant else "")
        model = config.model.to_dict()
        sizes = {key for part in networks.modalities_of(model) for key in MODALITIES[part].sizes}
        values = {
            "model": model,
            "data": {key: config.data[key] for key in sorted(sizes | {"num_classes"})},
            "train": {"loss": config.train.loss},
        }
        lines.append(f"{json.dumps(name)}: {json.dumps(values, sort_keys=True)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main(_: argparse.Namespace) -> None:
    """Writes the file."""
    FILE.write_text(text(), "utf-8")
    print(f"wrote {FILE}")


if __name__ == "__main__":
    run(
        main,
        Parser(
            "experiments.model_table.named_networks",
            __doc__.partition("\n")[0],
            examples=[""],
        ),
    )
