"""Writes the networks of all configs to the file that `perceiver.library.build` reads.

The library is installed without the configs. Run this program after a change to a config's network;
a test fails if the file is out of date.
"""

import json
from pathlib import Path

from experiments.cli.argument_parser import Parser
from experiments.cli.config_files import all_configs
from experiments.cli.errors import answered
from perceiver import networks
from perceiver.library import named
from perceiver.modalities import MODALITIES

RUN_HERE = "python -m experiments.model_table.named_networks"
FILE = Path(named.__file__).with_name("networks.json")


def text() -> str:
    """Returns the content of the file: one line per variant of each config."""
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


if __name__ == "__main__":
    with answered():
        Parser(
            prog=RUN_HERE, description=__doc__.partition("\n")[0], epilog=f"example: {RUN_HERE}"
        ).parse_args()
    FILE.write_text(text(), "utf-8")
    print(f"wrote {FILE}")
