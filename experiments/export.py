"""Takes what a network has learned elsewhere: its parameters, or its forward function, in one file.

python -m experiments.export --workdir=runs/mine --out=mine.safetensors
python -m experiments.export --workdir=runs/mine --out=mine.jax
"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax

from experiments.cli.argument_parser import Parser
from experiments.cli.errors import answered
from experiments.run import restore
from perceiver.errors import InputError
from perceiver.library import exported, safetensors_files

RUN_HERE = "python -m experiments.export"


class _Form(NamedTuple):
    """A kind of file.

    Attributes:
      what: it has.
      write: it, from a network, a path and the options of a function.
      is_written_here: whether a file is one of them.
      load: how that is done, with a place for the path.
    """

    what: str
    write: Callable[..., None]
    is_written_here: Callable[[Path], bool]
    load: str


_FORMS = {
    ".safetensors": _Form(
        "parameters, config and class names",
        safetensors_files.write_safetensors,
        safetensors_files.is_written_here,
        "from perceiver import library; library.load({!r})\n"
        "or give it to experiments.predict and other programs as --workdir",
    ),
    ".jax": _Form(
        "the forward function, its parameters and class names",
        exported.export_forward,
        exported.is_written_here,
        "from perceiver.library import exported; exported.load({!r})\n"
        "or run it with JAX alone, as docs/library.md shows",
    ),
}


def _parser() -> argparse.ArgumentParser:
    platforms = ",".join(exported.PLATFORMS)
    parser = Parser(
        prog=RUN_HERE,
        description="Writes what a network has learned into one file. NAME.safetensors has its "
        "parameters, for any program that reads numbers by name; NAME.jax has its forward "
        "function, which runs with JAX alone, without this project.",
        epilog=f"example: {RUN_HERE} --workdir=runs/mine --out=mine.safetensors",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--workdir",
        metavar="RUN",
        help="a run's folder, or a FILE.safetensors that was exported from one",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="what to write, FILE.safetensors or FILE.jax; only a file that this program wrote is "
        "replaced",
    )
    parser.add_argument(
        "--checkpoint", default="newest", help="newest (the default), best, or a step"
    )
    parser.add_argument(
        "--batch_size",
        type=int,
        help="of FILE.jax: how many examples the function takes at once; by default any number",
    )
    parser.add_argument(
        "--platforms",
        help=f"of FILE.jax: what it is to run on, none of which need be here; {platforms} unless "
        "told otherwise",
    )
    return parser


def write(options: argparse.Namespace) -> None:
    """Loads the network and writes the file.

    Raises:
      InputError: wrong arguments, no such run, or a file that can't be written.
      CheckpointError: the checkpoint is missing or damaged.
    """
    for name in ("workdir", "out"):
        if not getattr(options, name):
            example = f"{RUN_HERE} --workdir=runs/mine --out=mine.safetensors"
            raise InputError(f"--{name} is missing, as in: {example}")
    out, form = _file(options.out)
    of_function = _of_function(options, out)
    classifier = restore.load(options.workdir, options.checkpoint)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        form.write(classifier, out, **of_function)
    except OSError as error:
        raise InputError(f"--out={options.out} can't be written: {error.strerror}") from error
    count = sum(math.prod(x.shape) for x in jax.tree.leaves(classifier.params))
    step = "an unknown step" if classifier.step is None else f"step {classifier.step:,}"
    print(
        f"{out}: {form.what}; {count:,} parameters, {step}, {out.stat().st_size / 1e6:,.1f} MB\n"
        f"load it: {form.load.format(str(out))}"
    )


def _file(name: str) -> tuple[Path, _Form]:
    """The file to write, if it may be written, and its kind."""
    try:
        out = Path(name).expanduser()
    except RuntimeError as error:  # of a ~ before the name of nobody here
        raise InputError(f"--out={name}: {error}; give the file's path") from error
    form = _FORMS.get(out.suffix)
    if form is None:
        raise InputError(
            f"--out={name} ends in neither of {' and '.join(_FORMS)}; name the file so that its "
            "end says what to write"
        )
    if out.is_dir():
        raise InputError(f"--out={name} is a folder; name a file in it, such as model{out.suffix}")
    if out.exists() and not form.is_written_here(out):
        raise InputError(
            f"--out={name} is there and is no file of this program's; name another, or remove it"
        )
    return out, form


def _of_function(options: argparse.Namespace, out: Path) -> dict[str, object]:
    """The options that only a function has."""
    given = {}
    if options.batch_size is not None:
        given["batch_size"] = options.batch_size
    if options.platforms is not None:
        given["platforms"] = [word for word in options.platforms.split(",") if word]
    if given and out.suffix != ".jax":
        raise InputError(f"--{next(iter(given))} is an option of FILE.jax, and --out={out} is none")
    return given


def main(arguments: Sequence[str]) -> None:
    """Runs, or ends the program with a line that says why not."""
    with answered():
        write(_parser().parse_args(arguments))


if __name__ == "__main__":
    main(sys.argv[1:])
