"""Flags of the mains, and how they are started.

--config=FILE[:variant]  --workdir=DIR  --config.section.key=value ...
"""

import contextlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from experiments.cli import distributed, suggestions
from experiments.cli.config_files import list_all, list_configs, list_variants
from experiments.cli.distributed import ProcessesError
from experiments.cli.errors import EXIT_FAILED, answered, unused_gpu
from perceiver.errors import InputError
from perceiver.names import unknown
from perceiver.training.host_memory import keep_freed_memory

_HELP = re.compile(r"--?(help|helpshort|helpfull|h|\?)$")
# Keys of a config whose values are paths: a shell leaves the ~ in --key=~/folder as it is.
_PATHS = ("dir", "prepared")


def run(
    main: Callable[..., int | None],
    usage: str,
    *,
    required: Sequence[str] = ("config", "workdir"),
    optional: Sequence[str] = (),
    many_processes: bool = False,
) -> None:
    """Runs a main: parses flags, and turns a user's mistake into one line and exit status 2.

    Args:
      main: called with the config and the workdir, each None where it is not given; returns the
        exit status, None for success.
      usage: what the program does, with an example in its last line, for --help.
      required: the flags that must be given.
      optional: those that may be, 'config' and 'workdir' among them where the main uses them; a
        program takes neither unless one of the two names it.
      many_processes: whether the main can run as one of several processes, which then meet first.
    """
    if many_processes:
        distributed.define_flags()
        optional = (*optional, *distributed.FLAGS)
    names = (*required, *optional)
    if "config" in names:
        config_flags.DEFINE_config_file(
            "config",
            None,
            "FILE[:variant] of configs/; override its values with --config.section.key=value",
        )
    if "workdir" in names:
        flags.DEFINE_string("workdir", None, "folder of the run: checkpoints, curves, results")

    def value(name: str) -> object:
        return flags.FLAGS[name].value if name in names else None

    def parse(argv: list[str]) -> list[str]:
        with answered():
            given = [argument for argument in argv if not _HELP.match(argument)]
            helping = len(given) < len(argv)
            suggestions.check_spaces(given)
            defaults = suggestions.check_overrides(given) if "config" in names else {}
            rest = _parse(suggestions.without_empty_config(given), names, defaults)
            if helping:
                _help(usage, given, names)
            suggestions.check_tuples(defaults, value("config"))
            if rest[1:]:
                raise InputError(suggestions.of_word(rest[1], names))
            for name in required:
                if value(name) in (None, ""):
                    if name == "config":
                        print(f"{list_all()}\n", file=sys.stderr)
                    raise InputError(f"--{name} is missing, as in: {_example(usage)}")
            return rest

    def guarded(_: list[str]) -> int | None:
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)
        if note := unused_gpu():
            print(note, file=sys.stderr)
        keep_freed_memory()  # before JAX and TensorFlow start their threads
        with _many_ended() if many_processes else contextlib.nullcontext(), answered():
            if many_processes:
                distributed.connect()
            config, workdir = value("config"), value("workdir")
            _expand_home(config)
            return main(config, workdir and os.path.expanduser(workdir))

    app.run(guarded, flags_parser=parse)


def run_subcommand(
    mains: Mapping[str, Callable[..., int | None]],
    usage: str,
    *,
    required: Sequence[str] = ("config", "workdir"),
) -> None:
    """Runs one of several mains, by the word that is given before the flags.

    Args:
      mains: by that word; see `run` for what they are, and for the other arguments.
      usage: see there; its example has a subcommand.
      required: see there.
    """
    word = sys.argv[1] if sys.argv[1:] else "-"
    if any(map(_HELP.match, sys.argv[1:2])):
        run(next(iter(mains.values())), usage, required=(), optional=required)
    with answered():
        if word.startswith("-"):
            words = ", ".join(mains)
            raise InputError(
                f"a subcommand ({words}) comes before the flags, as in: {_example(usage)}"
            )
        if word not in mains:
            raise InputError(unknown(word, mains, what="subcommand"))
    del sys.argv[1]
    run(mains[word], usage, required=required)


def _example(usage: str) -> str:
    return usage.strip().splitlines()[-1].strip()


@contextlib.contextmanager
def _many_ended() -> Iterator[None]:
    """A context that one process of several leaves at once where it fails, so that all end."""
    try:
        yield
    except SystemExit as end:
        # What all refuse together they leave together: the first to go would end the rest.
        together = isinstance(end.__context__, ProcessesError)
        if jax.distributed.is_initialized() and not together:
            if distributed.is_of_all(end):
                distributed.name_the_gone()
            distributed.leave(end.code)
        raise
    except Exception as error:
        if not jax.distributed.is_initialized():
            raise
        if distributed.is_of_all(error):
            print(f"error: {distributed.in_a_line(error)}", file=sys.stderr)
            distributed.name_the_gone()
        else:
            traceback.print_exc()
        distributed.leave(EXIT_FAILED)


def _parse(argv: list[str], names: Sequence[str], defaults: Mapping[str, object]) -> list[str]:
    """Parses as absl does, its errors in one line."""
    try:
        return flags.FLAGS(argv)
    except flags.UnrecognizedFlagError as error:
        raise InputError(suggestions.of_flag(error, names, defaults)) from error
    except InputError:
        raise
    except (flags.Error, TypeError, ValueError) as error:
        raise InputError(suggestions.of_value(str(error))) from error


def _expand_home(config: ConfigDict | None) -> None:
    """Makes a ~ at the beginning of the data's folders the user's home, as a shell does."""
    for key in _PATHS:
        value = config.data.get(key) if config and "data" in config else None
        if isinstance(value, str) and value.startswith("~"):
            config.data[key] = os.path.expanduser(value)


def _help(usage: str, argv: Sequence[str], names: Sequence[str]) -> None:
    """Prints the usage, the configs or variants to choose from, and the flags; ends the program."""
    for name in names:
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])
    about = usage
    if "config" in names:
        spec = suggestions.config_spec(argv)
        about += "\n" + (
            list_variants(spec.partition(":")[0])
            if spec
            else f"{list_configs()}\n\n--help with --config=FILE lists the variants of a config."
        )
    # absl prints the main module's docstring, and fills in what follows a %.
    sys.modules["__main__"].__doc__ = f"{about}\n".replace("%", "%%")
    app.usage(shorthelp=True, writeto_stdout=True)
    sys.exit(0)
