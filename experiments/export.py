"""Exports a trained network to one file: its parameters, or its forward function.

python -m experiments.export --workdir=runs/mine --out=mine.safetensors
python -m experiments.export --workdir=runs/mine --out=mine.jax
"""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax

from experiments.cli.main import run
from experiments.cli.parser import Parser, listed, path
from experiments.run import restore
from perceiver.errors import InputError
from perceiver.library import exported, safetensors_files


def parser() -> Parser:
    """Returns the parser of the program's flags."""
    parser = Parser(
        "experiments.export",
        """Writes a trained network to one file.

NAME.safetensors has its parameters, for any program that reads arrays by name. NAME.jax has its
forward function, which runs with JAX alone, without this project.""",
        examples=[
            "--workdir=runs/mine --out=mine.safetensors",
            "--workdir=runs/mine --out=mine.jax --platforms=cpu,cuda",
        ],
    )
    parser.add_workdir("folder of a run, or a FILE.safetensors that was exported from one")
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=path,
        required=True,
        help="FILE.safetensors or FILE.jax to write; it replaces only files of this program",
    )
    parser.add_argument("--checkpoint", default="newest", help="newest, best or a step")
    parser.add_argument(
        "--batch_size",
        type=int,
        help="the only batch size of the function in FILE.jax; by default it accepts any",
    )
    parser.add_argument(
        "--platforms",
        type=listed,
        help="platforms for the function in FILE.jax, which this machine need not have; by default "
        f"{','.join(exported.PLATFORMS)}",
    )
    return parser


def main(options: argparse.Namespace) -> None:
    """Loads the network and writes the file.

    Raises:
      InputError: wrong arguments, no such run, or a file that can't be written.
      CheckpointError: the checkpoint is missing or damaged.
    """
    out, file_format = _output(options.out)
    function_options = _function_options(options, out)
    classifier = restore.load(options.workdir, options.checkpoint)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        file_format.write(classifier, out, **function_options)
    except OSError as error:
        raise InputError(f"--out={options.out} can't be written: {error.strerror}") from error
    count = sum(math.prod(x.shape) for x in jax.tree.leaves(classifier.params))
    step = "an unknown step" if classifier.step is None else f"step {classifier.step:,}"
    size = out.stat().st_size / 1e6
    print(
        f"{out}: {file_format.content}; {count:,} parameters, {step}, {size:,.1f} MB\n"
        f"load it: {file_format.load.format(str(out))}"
    )


class _Format(NamedTuple):
    """A file format.

    Attributes:
      content: description of what the file contains.
      write: function of a network, a path and the format's own options; it writes the file.
      is_written_here: function that returns whether this program wrote a file.
      load: instructions for loading the file, with a placeholder for its path.
    """

    content: str
    write: Callable[..., None]
    is_written_here: Callable[[Path], bool]
    load: str


_FORMATS = {
    ".safetensors": _Format(
        "parameters, config and class names",
        safetensors_files.write_safetensors,
        safetensors_files.is_written_here,
        "from perceiver import library; library.load({!r})\n"
        "or give it to experiments.predict and other programs as --workdir",
    ),
    ".jax": _Format(
        "the forward function, its parameters and class names",
        exported.export_forward,
        exported.is_written_here,
        "from perceiver.library import exported; exported.load({!r})\n"
        "or run it with JAX alone, as docs/library.md shows",
    ),
}


def _output(name: str) -> tuple[Path, _Format]:
    """Returns the file to write and its format, if the file may be written."""
    out = Path(name)
    file_format = _FORMATS.get(out.suffix)
    if file_format is None:
        raise InputError(
            f"--out={name} ends in neither of {' and '.join(_FORMATS)}; the ending chooses the "
            "format"
        )
    if out.is_dir():
        raise InputError(f"--out={name} is a folder; name a file in it, such as model{out.suffix}")
    if out.exists() and not file_format.is_written_here(out):
        raise InputError(
            f"--out={name} is there and is no file of this program's; name another, or remove it"
        )
    return out, file_format


def _function_options(options: argparse.Namespace, out: Path) -> dict[str, object]:
    """Returns the options for an exported function."""
    given: dict[str, object] = {}
    if options.batch_size is not None:
        given["batch_size"] = options.batch_size
    if options.platforms is not None:
        given["platforms"] = [word for word in options.platforms if word]
    if given and out.suffix != ".jax":
        name = next(iter(given))
        raise InputError(f"--{name} is an option of FILE.jax, and --out={out} is none")
    return given


if __name__ == "__main__":
    run(main, parser())
