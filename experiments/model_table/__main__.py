"""Prints the parameters and FLOPs of networks, per part and in total, and those of the paper."""

import argparse
import json
from collections.abc import Iterator, Sequence

from ml_collections import ConfigDict

from experiments.cli.config_files import all_configs, config_files, variants
from experiments.cli.main import run
from experiments.cli.parser import Parser
from experiments.model_table import paper_rows
from experiments.model_table.config_page import config_reference
from experiments.run.from_config import from_config
from perceiver import networks
from perceiver.costs import Cost, total
from perceiver.errors import InputError


def parser() -> Parser:
    """Returns the parser of the program's flags."""
    parser = Parser(
        "experiments.model_table",
        """Prints the parameters and forward FLOPs of one config's network, or of all configs.

--paper prints them for Tables 1 to 7 of the paper, with the printed numbers and whether they agree.
--format=markdown prints the tables of docs/experiments.md, --format=config_reference the page
docs/configs.md.""",
        examples=["--config=configs/imagenet.py --format=json", "--paper"],
    )
    parser.add_config(required=False)
    parser.add_switch("paper", "the paper's tables with its sizes and ours")
    parser.add_argument(
        "--format",
        default="text",
        choices=("text", "json", "markdown", "config_reference"),
        help="a table to read, JSON, the tables of docs/experiments.md, or the page "
        "docs/configs.md",
    )
    return parser


def main(options: argparse.Namespace) -> None:
    """Prints the table."""
    config = options.config
    is_page = options.format in ("markdown", "config_reference")
    for flag, given in (("--paper", options.paper), (f"--format={options.format}", is_page)):
        if given and config is not None:
            raise InputError(f"{flag} is about all configs; leave --config out")
    if options.paper and is_page:
        raise InputError(f"--paper goes with --format=text or json, not {options.format}")

    if options.format == "markdown":
        print("\n\n".join(f"### `{file}`\n\n{text}" for file, text in markdown().items()))
        return
    if options.format == "config_reference":
        print(config_reference(), end="")
        return
    if options.paper:
        result = paper_table()
        lines = list(_paper_lines(result))
    elif config is None:
        result = {name: table(config) for name, config in all_configs()}
        lines = [line for name, rows in result.items() for line in (name, *_lines(rows), "")]
    else:
        from_config(config)  # validates it
        result = table(config)
        lines = _lines(result)
    print(json.dumps(result, indent=2) if options.format == "json" else "\n".join(lines))


def table(config: ConfigDict) -> dict:
    """Returns the input sizes, the costs of the parts and their total, as plain values."""
    num_classes = config.data.num_classes
    model, data = config.model.to_dict(), config.data.to_dict()
    costs = networks.costs(model, data, num_classes)
    specs = networks.batch_spec(model, data, 1)
    return {
        "inputs": {name: list(specs[name].shape[1:]) for name in networks.modalities_of(model)},
        "num_classes": num_classes,
        "parts": [cost._asdict() for cost in costs],
        "total": total(costs)._asdict(),
    }


def paper_table() -> list[dict]:
    """Returns the paper's rows, table by table, with the sizes of this project's networks.

    Returns:
      One object per row: `table`, `row`, `metric`, `value` and `slip` of `PrintedRow`; `config`,
      its `parameters` and `flops`; and `agreement`, for each printed size ours in the same format,
      the printed one, and whether they agree.
    """
    configs, costs = dict(all_configs()), {}
    for name in dict(paper_rows.PRINTED):
        costs[name] = _total(configs[name])
    rows = []
    for name, row in paper_rows.PRINTED:
        found = paper_rows.agreements(row, configs[name], costs[name])
        rows.append(
            dict(
                table=row.table,
                row=row.row,
                config=name,
                metric=row.metric,
                value=row.value,
                parameters=costs[name].parameters,
                flops=costs[name].flops,
                agreement={size: dict(x._asdict(), agrees=x.holds) for size, x in found.items()},
                slip=row.slip,
            )
        )
    return rows


def markdown() -> dict[str, str]:
    """Returns the tables of docs/experiments.md by config file."""
    configs, texts = dict(all_configs()), {}
    printed = paper_rows.of_variants(paper_rows.PRINTED)
    literature = paper_rows.of_variants(paper_rows.LITERATURE)
    for path in config_files():
        file = f"configs/{path.name}"
        rows = []
        for variant, about in variants(path).items():
            name = f"{file}:{variant}".rstrip(":")
            cost = _total(configs[name])
            words = paper_rows.in_words(printed.get(name, []))
            if name in literature:
                words = f"{paper_rows.in_words(literature[name])}, from the literature"
            rows.append(
                (
                    f"`:{variant}`" if variant else "(none)",
                    about,
                    words,
                    f"{cost.parameters:,}",
                    _gflops(cost.flops),
                    paper_rows.MEASURED.get(name, ""),
                )
            )
        head = ("variant", "what it is", "printed", "parameters", "GFLOPs", "run here")
        filled = [i for i in range(len(head)) if any(row[i] for row in rows)]
        lines = [head, ["---", "---", "---", "---:", "---:", "---"], *rows]
        texts[file] = "\n".join(f"| {' | '.join(line[i] for i in filled)} |" for line in lines)
    return texts


def _total(config: ConfigDict) -> Cost:
    """Returns the parameters and FLOPs of a config's whole network."""
    model, data = config.model.to_dict(), config.data.to_dict()
    return total(networks.costs(model, data, config.data.num_classes))


def _gflops(flops: int) -> str:
    """Formats FLOPs in billions: one decimal place, or three digits below ten."""
    return f"{flops / 1e9:,.1f}" if flops >= 10e9 else f"{flops / 1e9:.3g}"


def _paper_lines(rows: list[dict]) -> Iterator[str]:
    sized = [row for row in rows if "FLOPs" in row["agreement"]]
    yield "Parameters and forward FLOPs per picture (Tables 5, 6 and 7), ours and printed"
    table = [("table", "row", "variant", "parameters", "printed", "FLOPs", "printed", "")]
    for row in sized:
        parameters, flops = (row["agreement"][size] for size in ("parameters", "FLOPs"))
        counts = (f"{row['parameters']:,}", parameters["printed"], flops["ours"], flops["printed"])
        table.append((str(row["table"]), row["row"], _variant(row), *counts, _verdict(row)))
    yield from _aligned(table, left=3)

    yield "\nInput receptive field in pixels (Table 2), ours and printed"
    table = [("table", "row", "variant", "field", "printed", "")]
    for row in rows:
        if "receptive field" in row["agreement"]:
            field = row["agreement"]["receptive field"]
            sizes = (field["ours"], field["printed"])
            table.append((str(row["table"]), row["row"], _variant(row), *sizes, _verdict(row)))
    yield from _aligned(table, left=3)

    yield "\nTables 1 to 4, which print no parameters and no FLOPs: per picture, clip or cloud"
    table = [("table", "row", "config", "printed", "parameters", "GFLOPs", "")]
    for row in rows:
        if row["table"] <= 4:
            counts = (f"{row['parameters']:,}", _gflops(row["flops"]))
            result = f"{row['value']} {row['metric']}"
            table.append((str(row["table"]), row["row"], row["config"], result, *counts, ""))
    yield from _aligned(table, left=3)

    figures = [x["agrees"] for row in rows for x in row["agreement"].values()]
    yield f"\n{sum(figures)} of {len(figures)} printed sizes agree to the last printed digit"


def _aligned(rows: Sequence[tuple[str, ...]], left: int) -> Iterator[str]:
    """Yields lines with `left` columns aligned left, further ones right, and the last unaligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for *cells, last in rows:
        padded = [
            f"{cell:{'<' if i < left else '>'}{width}}"
            for i, (cell, width) in enumerate(zip(cells, widths, strict=False))
        ]
        yield "  ".join([*padded, last]).rstrip()


def _variant(row: dict) -> str:
    file, _, variant = row["config"].partition(":")
    return f":{variant}" if variant else file


def _verdict(row: dict) -> str:
    """Returns 'agrees' if the printed sizes are ours, otherwise the sizes that differ."""
    wrong = [size for size, x in row["agreement"].items() if not x["agrees"]]
    if not wrong:
        return "agrees"
    return f"DIFFERS in {' and '.join(wrong)}" + (f", {row['slip']}" if row["slip"] else "")


def _lines(rows: dict) -> list[str]:
    shapes = [f"{name} {' x '.join(map(str, shape))}" for name, shape in rows["inputs"].items()]
    lines = [
        f"{', '.join(shapes)}; {rows['num_classes']} classes",
        f"{'part':<20}{'blocks':>8}{'parameters':>16}{'GFLOPs':>14}",
    ]
    for row in [*rows["parts"], rows["total"]]:
        cost = Cost(**row)
        blocks = "" if cost.part == "total" else f"{cost.applied:,}"
        lines.append(f"{cost.part:<20}{blocks:>8}{cost.parameters:>16,}{cost.flops / 1e9:>14,.3f}")
    return lines


if __name__ == "__main__":
    run(main, parser())
