"""Compares runs: their results, the settings that differ, and their curves.

python -m experiments.report runs/a runs/b
python -m experiments.report runs/sweep --format=markdown
python -m experiments.report runs/a --html=a.html
"""

import argparse
import csv
import io
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.cli.errors import EXIT_FAILED, printable
from experiments.cli.main import call, prepare_stdout
from experiments.cli.parser import Parser, path
from experiments.figures.curves import MOST_RUNS, draw_comparison
from experiments.report import tables
from experiments.report.page import render
from experiments.run.records import RunSummary, find_runs, read_summary
from perceiver.errors import InputError
from perceiver.training.files import replace_file

PICTURE = Path("report.png")
# Fields of a run that JSON and CSV show under another name or not at all.
_NO_FIGURES = ("name", "folder", "records", "settings")


def parser() -> Parser:
    """Returns the parser of the program's flags."""
    parser = Parser(
        "experiments.report",
        """Compares runs, the best first.

It prints their results, the settings in which they differ, and means over seeds of runs that differ
in the seed only. It draws their metric in evaluation, training loss and learning rate against the
step. --html writes a web page, which also shows the confusions, the best and worst examples and the
attention maps of the best run.""",
        examples=[
            "runs/a fourier=runs/b runs/sweep --output=both.png",
            "runs/digits --html=digits.html",
        ],
    )
    parser.add_argument(
        "runs",
        nargs="*",
        required=True,
        metavar="[NAME=]DIR",
        help="a run's --workdir, or a folder that has runs one or two levels below; without NAME "
        "a run has the name of its folder",
    )
    parser.add_argument(
        "--format",
        default="text",
        choices=("text", "markdown", "json", "csv"),
        help="tables to read, Markdown, one JSON object, or one line of CSV for each run",
    )
    parser.add_argument(
        "--output",
        metavar="FILE.png",
        type=path,
        help=f"picture to write; by default {PICTURE} in the current folder for text and markdown, "
        "none for json, csv and with --html; it replaces only pictures of this program",
    )
    parser.add_argument(
        "--html",
        metavar="FILE.html",
        type=path,
        help="page to write in addition to the tables: one file that can be read offline. It needs "
        "the data and checkpoints of the best run; the page names parts that are missing. It "
        "replaces only pages of this program",
    )
    return parser


# The name of the program, in its pictures and pages. Other files are not replaced.
PROGRAM = parser().prog


def main(options: argparse.Namespace) -> int:
    """Reads the runs, writes the picture and the page, and prints the tables.

    Returns:
      The exit status: EXIT_FAILED if a damaged run was left out.

    Raises:
      InputError: a folder has no runs, all runs are damaged, or a file cannot be written.
    """
    picture = _picture(options)
    page = None if options.html is None else _file("--html", options.html, ".html")
    runs, damaged = [], []
    for name, folder in find_runs(options.runs).items():
        try:
            runs.append(read_summary(name, folder))
        except InputError as error:
            damaged.append(f"{name} is left out: {error}")
    if not runs:
        raise InputError(damaged[0] + (f"; and {len(damaged) - 1} more" if damaged[1:] else ""))
    runs = tables.in_order(runs)
    logged = [run for run in runs if run.records]
    if picture and logged:
        _draw(logged[:MOST_RUNS], picture)
    if page:
        _write_page(runs, page)
    print(_FORMATS[options.format](runs, picture if logged else None))
    if page and options.format in ("text", "markdown"):  # programs read the other formats
        print(f"\npage: {page} ({page.stat().st_size / 1e3:,.0f} kB)")
    if picture and not logged:
        print("no picture: nothing is logged yet", file=sys.stderr)
    elif picture and len(logged) > MOST_RUNS:
        print(f"{picture} has the first {MOST_RUNS} of {len(logged)} runs", file=sys.stderr)
    for problem in damaged:
        print(f"error: {printable(problem)}", file=sys.stderr)
    return EXIT_FAILED if damaged else 0


def _picture(options: argparse.Namespace) -> Path | None:
    """Returns the path of the picture, or None for no picture; the page includes its curves."""
    if options.output is not None:
        return _file("--output", options.output, ".png")
    if options.format in ("json", "csv") or options.html is not None:
        return None
    return _file("--output", str(PICTURE), ".png")


def _file(flag: str, value: str, ending: str) -> Path:
    """Returns the path of a file to write, after a check that it may be written.

    An existing file is replaced only if this program made it.
    """
    path = Path(value)
    if path.suffix.lower() != ending:
        kind = {".png": "a PNG", ".html": "a page"}[ending]
        raise InputError(
            f"{flag}={value} is not the name of {kind}; give one that ends in {ending}"
        )
    try:
        with path.open("rb") as file:
            # The name is in the text of a PNG, or in the generator of a page.
            ours = PROGRAM.encode() in file.read(1024)
    except FileNotFoundError:
        return path
    except OSError as error:
        raise InputError(f"{flag}={path} can't be written: {error.strerror}") from error
    if not ours:
        raise InputError(
            f"{path} is there, not made by {PROGRAM}; give another {flag}=FILE{ending}"
        )
    return path


def _write_page(runs: Sequence[RunSummary], path: Path) -> None:
    content = render(runs, PROGRAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    except OSError as error:
        raise InputError(f"--html={path} can't be written: {error.strerror}") from error


def _draw(runs: Sequence[RunSummary], picture: Path) -> None:
    try:
        picture.parent.mkdir(parents=True, exist_ok=True)
        draw_comparison(
            {run.name: run.records for run in runs},
            picture,
            held_out=[run.name for run in runs if run.held_out],
            software=PROGRAM,
        )
    except OSError as error:
        raise InputError(f"--output={picture} can't be written: {error.strerror}") from error


def _sections(runs: Sequence[RunSummary]) -> list[tuple[str, tables.Cells]]:
    """Returns the tables with their headings."""
    sections = [("", tables.run_cells(runs))]
    different = tables.differences(runs)
    if different:
        names = [run.name for run in runs if run.settings is not None]
        sections.append(
            ("Settings that differ:", tables.difference_cells(different, names)),
        )
    seeds = tables.over_seeds(runs)
    if seeds:
        heading = "Over seeds, of runs that are done, mean ± standard deviation of a run:"
        sections.append((heading, tables.seed_cells(seeds)))
    return sections


def _text(runs: Sequence[RunSummary], picture: Path | None) -> str:
    parts = [f"{head}\n{tables.text(x)}".strip("\n") for head, x in _sections(runs)]
    return "\n\n".join([*parts, *([f"picture: {picture}"] if picture else [])])


def _markdown(runs: Sequence[RunSummary], picture: Path | None) -> str:
    parts = [f"{head}\n\n{tables.markdown(x)}".strip("\n") for head, x in _sections(runs)]
    return "\n\n".join([*parts, *([f"![curves](<{picture}>)"] if picture else [])])


def _figures(run: RunSummary) -> dict[str, Any]:
    """Returns the values of a run for JSON and CSV; values that are not finite become None."""
    return {"run": run.name, "folder": printable(str(run.folder))} | {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in run._asdict().items()
        if key not in _NO_FIGURES
    }


def _json(runs: Sequence[RunSummary], _: Path | None) -> str:
    result = {
        "runs": [_figures(run) for run in runs],
        "differences": tables.differences(runs),
        "seeds": [
            {key: None if value != value else value for key, value in group._asdict().items()}
            for group in tables.over_seeds(runs)
        ],
    }
    return json.dumps(result, indent=2)


def _csv(runs: Sequence[RunSummary], _: Path | None) -> str:
    different = tables.differences(runs)
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow([*_figures(runs[0]), *different])
    for run in runs:
        settings = (by_run.get(run.name, "") for by_run in different.values())
        writer.writerow([*_figures(run).values(), *map(str, settings)])
    return lines.getvalue().rstrip("\n")


_FORMATS = {"text": _text, "markdown": _markdown, "json": _json, "csv": _csv}


if __name__ == "__main__":
    prepare_stdout()
    sys.exit(call(main, parser(), sys.argv[1:]))
