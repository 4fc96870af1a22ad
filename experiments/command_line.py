"""Flags of the mains, and how a user's mistake is answered: one line, exit status 2.

--config=FILE[:variant]  --workdir=DIR  --config.section.key=value ...
"""

import contextlib
import errno
import importlib.util
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from experiments import processes
from experiments.processes import MeetingError, ProcessesError
from perceiver.data.errors import DataError
from perceiver.names import unknown
from perceiver.training.checkpoints import CheckpointError
from perceiver.training.host_memory import keep_freed_memory

EXIT_FAILED = 1
EXIT_USER_ERROR = 2
# What a disk does wrong, full or broken.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
EXIT_INTERRUPTED = 128 + signal.SIGINT

T = TypeVar("T")

CONFIGS = Path(__file__).parent.parent / "configs"


class UserError(Exception):
    """Wrong input; its message is one line that says what to do."""


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
      main: called with the config and the workdir; returns the exit status, None for success.
      usage: what the program does, with an example, for --help.
      required: the flags that must be given; main gets None for a config or workdir that is not.
      optional: flags that --help lists beside them: 'workdir' where it may be given and is used,
        and flags of the main's own.
      many_processes: whether the main can run as one of several processes, which then meet first.
    """
    if many_processes:
        processes.define_flags()
        optional = (*optional, *processes.FLAGS)
    config = config_flags.DEFINE_config_file(
        "config",
        None,
        "FILE[:variant] of configs/; override its values with --config.section.key=value",
    )
    workdir = flags.DEFINE_string(
        "workdir", None, "folder of the run: checkpoints, curves, results"
    )

    def parse(argv: list[str]) -> list[str]:
        with _user_errors():
            defaults = _check_config_flags(argv)
            if any(re.match(r"--?(help|\?)", argument) for argument in argv[1:]):
                _prepare_help(usage, argv, ("config", *required, *optional))
            rest = _parse(argv)
            _check_tuples(defaults, config.value)
            if rest[1:]:
                raise UserError(f"{rest[1]!r} is not a flag; flags begin with --, see --help")
            for name in required:
                if flags.FLAGS[name].value is None:
                    raise UserError(f"--{name} is missing, as in: {_example(usage)}")
            return rest

    def guarded(_: list[str]) -> int | None:
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)
        keep_freed_memory()  # before JAX and TensorFlow start their threads
        with _many_ended() if many_processes else contextlib.nullcontext(), _user_errors():
            if many_processes:
                processes.connect()
            return main(config.value, workdir.value)

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

    def without(*_) -> None:
        words = ", ".join(mains)
        raise UserError(f"a subcommand ({words}) comes before the flags, as in: {_example(usage)}")

    word = sys.argv[1] if sys.argv[1:] else "-"
    if word.startswith("-"):  # it may be --help
        run(without, usage, required=())
    with _user_errors():
        if word not in mains:
            raise UserError(unknown(word, mains, what="subcommand"))
    del sys.argv[1]
    run(mains[word], usage, required=required)


def _example(usage: str) -> str:
    return usage.strip().splitlines()[-1].strip()


def user_values(function: Callable[..., T], *args, **kwargs) -> T:
    """Calls a library function; a value that it refuses is the user's."""
    try:
        return function(*args, **kwargs)
    except ValueError as error:
        raise UserError(" ".join(str(error).split())) from error


@contextlib.contextmanager
def _many_ended() -> Iterator[None]:
    """A context that one process of several leaves at once where it fails, so that all end."""
    try:
        yield
    except SystemExit as end:
        # What all refuse together they leave together: the first to go would end the rest.
        together = isinstance(end.__context__, ProcessesError)
        if jax.distributed.is_initialized() and not together:
            if processes.is_of_all(end):
                processes.name_the_gone()
            processes.leave(end.code)
        raise
    except Exception as error:
        if not jax.distributed.is_initialized():
            raise
        if processes.is_of_all(error):
            print(f"error: {processes.in_a_line(error)}", file=sys.stderr)
            processes.name_the_gone()
        else:
            traceback.print_exc()
        processes.leave(EXIT_FAILED)


@contextlib.contextmanager
def _user_errors() -> Iterator[None]:
    """A context in which a mistake or a fault that has a message of its own ends the program."""
    try:
        yield
    except (UserError, DataError, ProcessesError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except (CheckpointError, FloatingPointError, MeetingError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_FAILED)
    except OSError as error:
        if error.errno not in _DISK or error.filename is None:
            raise
        print(
            f"error: {error.filename} can't be written: {error.strerror}; see to the disk, then "
            "start again to go on from the last checkpoint",
            file=sys.stderr,
        )
        sys.exit(EXIT_FAILED)


def _parse(argv: list[str]) -> list[str]:
    """Parses as absl does, its errors in one line."""
    try:
        return flags.FLAGS(argv)
    except (flags.Error, TypeError, ValueError) as error:
        raise UserError(" ".join(str(error).split())) from error


def _check_config_flags(argv: list[str]) -> dict[str, object]:
    """Refuses an unknown config, variant or key, naming the nearest, before absl parses.

    Returns the config's values before they are overridden, by key.
    """
    spec = _config_spec(argv)
    overrides = [arg for arg in argv[1:] if re.match(r"--?(no)?config\.", arg)]
    if spec is None:
        if overrides:
            raise UserError(f"{overrides[0]} overrides a config, but --config=FILE is missing")
        return {}
    config = load_config(spec)
    known = dict(flatten(config))
    for override in overrides:
        key = re.sub(r"^--?config\.", "", override.split("=", 1)[0])
        negated = re.sub(r"^--?noconfig\.", "", key)
        if key not in known and negated not in known:
            sections = {k.rsplit(".", n)[0] for k in known for n in range(1, k.count(".") + 1)}
            if key in sections:
                raise UserError(f"config.{key} is a section; override one of its keys")
            raise UserError(unknown(key, known, what="config key"))
    return known


def _check_tuples(defaults: Mapping[str, object], config: ConfigDict | None) -> None:
    """Refuses words in tuples of numbers, which absl makes of what it can't read, and fractions."""
    for key, value in flatten(config or ConfigDict()):
        default = defaults.get(key)
        if isinstance(default, tuple) and not any(isinstance(x, str) for x in default):
            words = [x for x in value if not isinstance(x, int | float)]
            if words:
                raise UserError(f"config.{key} takes numbers, as in (0.5, 2.0), not {words[0]!r}")
            whole = default and all(isinstance(x, int) for x in default)
            parts = [x for x in value if whole and not isinstance(x, int)]
            if parts:
                raise UserError(f"config.{key} takes whole numbers, not {parts[0]}")


def _config_spec(argv: list[str]) -> str | None:
    """FILE[:variant] as given by --config=..., or by --config and the next argument."""
    for i, arg in enumerate(argv[1:], start=1):
        name, equals, value = arg.partition("=")
        if name in ("--config", "-config"):
            if equals:
                return value
            if i + 1 < len(argv):
                return argv[i + 1]
    return None


def load_config(spec: str) -> ConfigDict:
    """Loads FILE[:variant].

    Raises:
      UserError: no such file, not a config, or no such variant.
    """
    path, _, variant = spec.partition(":")
    if not Path(path).is_file():
        known = [str(file.relative_to(CONFIGS.parent)) for file in config_files()]
        raise UserError(unknown(path, known, what="config"))
    module = _load_module(Path(path))
    if not hasattr(module, "get_config"):
        raise UserError(f"{path} is not a config: it has no get_config(variant)")
    try:
        return module.get_config(variant)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


def _load_module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    if spec is None:
        raise UserError(f"{path} is not a Python file; configs are, see configs/")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def config_files() -> list[Path]:
    """The project's configs, in alphabetical order."""
    return [f for f in sorted(CONFIGS.glob("*.py")) if hasattr(_load_module(f), "get_config")]


def variants(file: Path) -> Mapping[str, str]:
    """The variants of a config, each with a line on what it is; '' is the config without one.

    Raises:
      UserError: it does not list them.
    """
    module = _load_module(file)
    if not hasattr(module, "VARIANTS"):
        raise UserError(f"{file} has no VARIANTS; list its variants in it, each with a line")
    return module.VARIANTS


def _prepare_help(usage: str, argv: Sequence[str], names: Sequence[str]) -> None:
    """Lets absl's --help print the usage, the configs or variants to choose from, and flags."""
    for name in names:
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])
    about = f"{usage}\n{_help_on_configs(_config_spec(argv))}\n"
    # absl prints the main module's docstring, and fills in what follows a %.
    sys.modules["__main__"].__doc__ = about.replace("%", "%%")


def _help_on_configs(spec: str | None) -> str:
    """The variants of the config that is given, or the project's configs."""
    if spec is None:
        heads = {
            f"configs/{file.name}": (_load_module(file).__doc__ or "").partition("\n")[0]
            for file in config_files()
        }
        return "\n".join(
            [
                "configs:",
                *_columns(heads),
                "",
                "--help with --config=FILE lists the variants of a config.",
            ]
        )
    file = spec.partition(":")[0]
    lines = {
        f"{file}:{variant}".rstrip(":"): line for variant, line in variants(Path(file)).items()
    }
    return "\n".join(["variants:", *_columns(lines)])


def _columns(lines: Mapping[str, str]) -> list[str]:
    width = max(map(len, lines))
    return [f"  {name:{width}}  {line}" for name, line in lines.items()]


def all_configs() -> Iterator[tuple[str, ConfigDict]]:
    """Every variant of every config of the project, as ('configs/NAME.py:variant', config)."""
    for file in config_files():
        module = _load_module(file)
        for variant in module.VARIANTS:
            name = f"configs/{file.name}" + (f":{variant}" if variant else "")
            yield name, module.get_config(variant)


def flatten(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Pairs ('section.key', value) of all values."""
    for key in config:
        value = config[key]
        if isinstance(value, ConfigDict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
