"""Runs side by side: a table of what each reached, and their curves in one picture.

python -m experiments.compare_runs runs/a runs/b --out=curves.png
"""

import argparse
import json
import math
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.argument_parser import Parser
from experiments.command_line import EXIT_USER_ERROR, UserError
from perceiver.training.curves import draw_comparison, metric_of, read_run
from perceiver.training.logs import METRICS_FILE

RUN_HERE = "python -m experiments.compare_runs"


class Row(NamedTuple):
    """What a run reached; None where it is not known.

    Attributes:
      name: of the run.
      step: the last that was logged.
      parameters: of its network.
      best: the highest figure in evaluation, from 0 to 1.
      best_step: where it was reached.
      last: the last figure in evaluation.
      loss: the last in training, in nats.
    """

    name: str
    step: int
    parameters: int | None
    best: float | None
    best_step: int | None
    last: float | None
    loss: float | None


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=RUN_HERE,
        description="Prints what runs reached, and draws their accuracy (or mAP) in evaluation and "
        "their training loss against the step, into one picture.",
        epilog=f"example: {RUN_HERE} runs/a fourier=runs/b --out=curves.png",
        allow_abbrev=False,
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="[NAME=]DIR",
        help="folder of a run, its --workdir; without NAME it is called as its folder is",
    )
    parser.add_argument("--out", required=True, metavar="PNG", help="the picture to write")
    return parser


def named(arguments: Sequence[str]) -> dict[str, Path]:
    """Folders by name, of arguments [NAME=]DIR.

    A folder may have '=' in its name, as those of sweeps do: what is a folder is one.

    Raises:
      UserError: two have the same name, or an argument lacks the name or the folder.
    """
    runs: dict[str, Path] = {}
    for argument in arguments:
        name, equals, folder = argument.partition("=")
        if not equals or Path(argument).is_dir():
            name, folder = Path(argument).resolve().name, argument
        if not name or not folder:
            raise UserError(f"{argument!r} is no run; give DIR or NAME=DIR, as in first=runs/a")
        if name in runs:
            raise UserError(
                f"two runs are called {name!r}, {runs[name]} and {folder}; "
                f"name them, as in first={runs[name]}"
            )
        runs[name] = Path(folder).expanduser()
    return runs


def row(name: str, folder: Path, records: Sequence[dict[str, Any]]) -> Row:
    """A run's line of the table.

    Args:
      name: of the run.
      folder: its workdir.
      records: what it logged.

    Raises:
      UserError: eval.json or config.json can't be read, or is not as it should be; or a step of
        training was logged without its loss.
    """
    metric = metric_of(records)
    trained = [record for record in records if record["split"] == "train"]
    for record in trained:
        if "loss" not in record:
            where = f"{folder / METRICS_FILE}: step {record['step']}"
            raise UserError(f"{where} in training has no loss; remove its line")
    figures = [(r["step"], r[metric]) for r in records if r["split"] == "eval" and metric in r]
    file = folder / "eval.json"
    result = _read_json(file)
    # A run that set examples apart is watched on them; those that end without are in eval.json.
    part = _object(file, result.get("held_out", result))
    if not figures and metric in part:
        figures.append((_number(file, result, "step"), _number(file, part, metric)))
    finite = [(step, figure) for step, figure in figures if math.isfinite(figure)]
    about = folder / "config.json"
    best_step, best = max(finite, key=lambda pair: pair[1], default=(None, None))
    return Row(
        name,
        step=records[-1]["step"],
        parameters=_number(about, _read_json(about), "parameters"),
        best=best,
        best_step=best_step,
        last=figures[-1][1] if figures else None,
        loss=trained[-1]["loss"] if trained else None,
    )


def _read_json(path: Path) -> dict[str, Any]:
    """The object of a file, empty where there is no such file."""
    try:
        return _object(path, json.loads(path.read_bytes()))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is damaged, it is not JSON ({error}); remove it") from error


def _object(path: Path, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        found = textwrap.shorten(json.dumps(value), 40)
        raise UserError(f"{path} has {found} where an object belongs; remove it")
    return value


def _number(path: Path, values: dict[str, Any], key: str) -> float | None:
    """A number of a file, None where there is none; null is one that was not finite."""
    if key not in values:
        return None
    value = math.nan if values[key] is None else values[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        found = textwrap.shorten(json.dumps(value), 40)
        raise UserError(f"{path} has {key} {found}, which is no number; remove it")
    return value


def table(rows: Sequence[Row], metric: str | None) -> list[str]:
    """Lines of text, '-' for what is not known."""
    figure = {"mAP": "mAP", "top1": "top-1"}.get(metric, "figure")
    cells = [("run", "step", "parameters", f"best {figure}", "at step", f"last {figure}", "loss")]
    cells += [
        (
            row.name,
            _shown(row.step, ","),
            _shown(row.parameters, ","),
            _shown(row.best, ".2%"),
            _shown(row.best_step, ","),
            _shown(row.last, ".2%"),
            _shown(row.loss, ".4f"),
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(rest, widths[1:], strict=True))]
        )
        for first, *rest in cells
    ]


def _shown(value: float | None, form: str) -> str:
    if value is None:
        return "-"
    return "nan" if math.isnan(value) else format(value, form)


def compare(arguments: Sequence[str], out: str) -> None:
    """Reads the runs, prints the table, writes the picture.

    Raises:
      UserError: folders that are no runs, or that can't be compared, or a picture that can't be
        written.
    """
    if Path(out).suffix.lower() != ".png":
        raise UserError(f"--out={out} is not the name of a PNG; give one that ends in .png")
    folders = named(arguments)
    try:
        runs = {name: read_run(folder) for name, folder in folders.items()}
    except (FileNotFoundError, ValueError) as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(f"{error.filename} can't be read: {error.strerror}") from error
    rows = [row(name, folder, runs[name]) for name, folder in folders.items()]
    picture = Path(out).expanduser()
    try:
        picture.parent.mkdir(parents=True, exist_ok=True)
        draw_comparison(runs, picture)
    except ValueError as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(f"--out={out} can't be written: {error.strerror}") from error
    metrics = [metric for run in runs.values() if (metric := metric_of(run))]
    print("\n".join(table(rows, metrics[0] if metrics else None)))
    print(f"picture: {picture}")


def main(arguments: Sequence[str]) -> int:
    """Runs; returns the exit status."""
    try:
        options = _parser().parse_args(arguments)
        compare(options.runs, options.out)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
