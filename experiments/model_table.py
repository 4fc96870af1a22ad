"""Prints parameters and FLOPs of networks, in total and for each part."""

import json

from absl import flags
from ml_collections import ConfigDict

from experiments import build, checks
from experiments.command_line import all_configs, run
from perceiver.costs import Cost, total

USAGE = """Prints parameters and forward FLOPs of one config's network, or of all configs'.

  python -m experiments.model_table --config=configs/imagenet.py --format=json
"""


def main(config: ConfigDict | None, _: str | None) -> None:
    """Prints the table."""
    if config is None:
        result = {name: table(config) for name, config in all_configs()}
        lines = [line for name, rows in result.items() for line in (name, *_lines(rows), "")]
    else:
        checks.check_numbers(config)
        result = table(config)
        lines = _lines(result)
    print(json.dumps(result, indent=2) if flags.FLAGS.format == "json" else "\n".join(lines))


def table(config: ConfigDict) -> dict:
    """Input sizes, the parts' costs and their total, as plain values."""
    num_classes = config.data.num_classes
    costs = build.costs(config, num_classes)
    spec = build.batch_spec(config, 1)[build.modality_of(config)]
    return {
        "input_shape": list(spec.shape[1:]),
        "num_classes": num_classes,
        "parts": [cost._asdict() for cost in costs],
        "total": total(costs)._asdict(),
    }


def _lines(rows: dict) -> list[str]:
    shape = " x ".join(map(str, rows["input_shape"]))
    lines = [
        f"input {shape}, {rows['num_classes']} classes",
        f"{'part':<20}{'blocks':>8}{'parameters':>16}{'GFLOPs':>14}",
    ]
    for row in [*rows["parts"], rows["total"]]:
        cost = Cost(**row)
        blocks = "" if cost.part == "total" else f"{cost.applied:,}"
        lines.append(f"{cost.part:<20}{blocks:>8}{cost.parameters:>16,}{cost.flops / 1e9:>14,.3f}")
    return lines


if __name__ == "__main__":
    flags.DEFINE_enum("format", "text", ["text", "json"], "a table to read, or JSON")
    run(main, USAGE, required=())
