"""The command-line parser of every program: flags, config overrides, subcommands and --help.

It accepts what absl accepts: one dash or two, `--flag=value` or `--flag value`, and for switches
`--name`, `--noname` and `--name=true`.
"""

import argparse
import os
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import NoReturn

from absl import flags
from absl.flags import argparse_flags

from experiments.cli import overrides, suggestions
from experiments.cli.config_files import key_lines, list_all, list_configs, list_variants
from perceiver.errors import InputError
from perceiver.names import unknown

_HELP = re.compile(r"--?(help|helpshort|helpfull|h|\?)(=.*)?$")
_WIDTH = 98  # columns of --help


class Parser(argparse_flags.ArgumentParser):
    """Parses the arguments of one program, or of one of its subcommands.

    A program declares its flags and calls `parse`. The result has an attribute for each flag, and
    in addition `config` (a ConfigDict with all overrides, or None) and `config_spec`
    ('FILE[:variant]', or None) after `add_config`, and `subcommand` after `add_subcommand`. The
    flags of absl's logging are accepted too. Every error is an `InputError` of one line.
    """

    def __init__(self, program: str, about: str, *, examples: Sequence[str]):
        """Makes a parser without flags.

        Args:
          program: module that Python starts with `python -m`, and the subcommand if there is one.
          about: description of the program; --help prints it with its line breaks.
          examples: arguments of complete commands, for --help; errors show the first command.
        """
        self._program = program
        self._about = about.strip()
        self._examples = [f"python -m {program} {arguments}".rstrip() for arguments in examples]
        self._flags: list[argparse.Action] = []
        self._positional: argparse.Action | None = None
        self._required: list[argparse.Action] = []
        self._rest: tuple[str, str | None] | None = None
        self._takes_config = False
        self.subcommands: dict[str, Parser] = {}
        self._parent: Parser | None = None
        # argparse's --help would end the program before a config is loaded.
        super().__init__(
            prog=f"python -m {program}",
            add_help=False,
            allow_abbrev=False,
            conflict_handler="resolve",
        )
        self._flags.clear()  # absl's flags are accepted, but not listed

    # Declarations.

    def add_argument(self, *names: str, required: bool = False, **options) -> argparse.Action:
        """Declares a flag, or the positional arguments; see `argparse`.

        Args:
          *names: '--name' of a flag, or the name of the positional arguments.
          required: True if a value must be given; --help works without it.
          **options: see `argparse`. --help adds the default value to the help text.

        Returns:
          The action.
        """
        action = super().add_argument(*names, **options)
        if action.option_strings:
            self._flags.append(action)
        else:
            self._positional = action
        if required:
            self._required.append(action)
        return action

    def add_switch(self, name: str, text: str) -> None:
        """Declares a flag that is on with --name and off with --noname, its default."""
        self.add_argument(f"--{name}", f"--no{name}", action=_Switch, help=text)

    def add_config(self, *, required: bool = True) -> None:
        """Declares --config=FILE[:variant] and the overrides --config.section.key=value."""
        self._takes_config = True
        self.add_argument(
            "--config",
            metavar="FILE[:variant]",
            required=required,
            help="FILE[:variant] of configs/; override its values with --config.section.key=value",
        )

    def add_workdir(self, text: str, *, required: bool = True) -> None:
        """Declares --workdir, with its description for --help."""
        self.add_argument("--workdir", metavar="DIR", type=path, required=required, help=text)

    def add_rest(self, name: str, metavar: str | None) -> None:
        """Declares an attribute for all arguments after `--`; --help omits it without a metavar."""
        self._rest = name, metavar

    def add_subcommand(self, name: str, about: str, *, examples: Sequence[str]) -> "Parser":
        """Adds a subcommand, which must be the first argument, and returns its parser."""
        parser = Parser(f"{self._program} {name}", about, examples=examples)
        parser._parent = self
        self.subcommands[name] = parser
        return parser

    # Parsing.

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parses the arguments after the program's name; --help prints and ends the program.

        Raises:
          InputError: an unknown flag, config or key, a wrong value, or a missing flag.
        """
        if self.subcommands:
            return self._parse_subcommand(arguments)
        end = list(arguments).index("--") if "--" in arguments else len(arguments)
        given, rest = list(arguments[:end]), list(arguments[end + 1 :])
        helping = any(map(_HELP.match, given))
        given = [argument for argument in given if not _HELP.match(argument)]
        suggestions.check_spaces(given)
        try:
            given = flags.FLAGS.read_flags_from_files(given, force_gnu=True)
            options = self._parse_flags(given, rest)
        except InputError:
            raise
        except (flags.Error, ValueError) as error:
            raise InputError(suggestions.wrong_value(str(error))) from error
        if helping:
            print(self._help(options))
            sys.exit(0)
        self._check_required(options)
        return options

    def _parse_subcommand(self, arguments: Sequence[str]) -> argparse.Namespace:
        word = arguments[0] if arguments else "-"
        if _HELP.match(word):
            print(self._help(argparse.Namespace()))
            sys.exit(0)
        if word.startswith("-"):
            words = ", ".join(self.subcommands)
            raise InputError(
                f"a subcommand ({words}) comes before the flags, as in: {self._examples[0]}"
            )
        if word not in self.subcommands:
            raise InputError(unknown(word, self.subcommands, what="subcommand"))
        options = self.subcommands[word].parse(arguments[1:])
        options.subcommand = word
        return options

    def _parse_flags(self, given: Sequence[str], rest: Sequence[str]) -> argparse.Namespace:
        """Parses flags, overrides and positional arguments; `rest` comes after `--`."""
        config = spec = None
        if self._takes_config:
            given, spec, changes = overrides.split(given)
            config = overrides.load(spec, changes)
        given = [self._in_argparse_form(argument) for argument in given]
        options, unused = self.parse_known_intermixed_args(given)
        if unused:
            self._refuse(unused[0], list(overrides.keys(config)))
        if self._rest:
            setattr(options, self._rest[0], list(rest))
        elif self._positional:
            values = [*getattr(options, self._positional.dest), *rest]
            setattr(options, self._positional.dest, values)
        elif rest:
            raise InputError(f"{rest[0]!r}: nothing may come after -- in this command")
        if self._takes_config:
            options.config, options.config_spec = config, spec
        return options

    def _in_argparse_form(self, argument: str) -> str:
        """Returns an argument with the dashes that argparse expects, and a switch without value."""
        found = re.match(r"--?(\w+)(=.*)?$", argument, re.DOTALL)
        if not found:
            return argument
        name, value = found[1], found[2] or ""
        for option in (f"--{name}", f"-{name}"):
            action = self._option_string_actions.get(option)
            if action and action.nargs == 0 and value:
                try:
                    on = flags.BooleanParser().parse(value[1:])
                except ValueError as error:
                    raise InputError(f"{option} takes true or false, not {value[1:]!r}") from error
                return option if on else f"--no{name}"
            if action:
                return option + value
        return argument

    def _refuse(self, word: str, keys: Sequence[str]) -> NoReturn:
        """Raises the error for an argument that this program does not have."""
        names = [action.dest for action in self._flags]
        if not word.startswith("-"):
            raise InputError(suggestions.stray_word(word, names))
        name = word.lstrip("-").partition("=")[0]
        others = self._parent._takers(name) if self._parent else []
        if others:
            here = self._program.rpartition(" ")[2]
            raise InputError(f"--{name} is not for {here}; it is for {', '.join(others)}")
        raise InputError(suggestions.unknown_flag(name, names, keys))

    def _takers(self, name: str) -> list[str]:
        """Returns the subcommands that have a flag."""
        return [
            word
            for word, parser in self.subcommands.items()
            if name in (action.dest for action in parser._flags)
        ]

    def _check_required(self, options: argparse.Namespace) -> None:
        for action in self._required:
            value = getattr(options, action.dest)
            if action.dest == "config":
                value = options.config_spec
            if value not in (None, "", []):
                continue
            example = f"as in: {self._examples[0]}"
            if not action.option_strings:
                raise InputError(f"no {action.metavar} is given, {example}")
            if action.dest == "config":
                print(f"{list_all()}\n", file=sys.stderr)
            raise InputError(f"{action.option_strings[0]} is missing, {example}")

    def error(self, message: str) -> NoReturn:
        """Raises an `InputError` where argparse would print its usage."""
        raise InputError(suggestions.wrong_value(message))

    # Help.

    def _help(self, options: argparse.Namespace) -> str:
        """Returns the text of --help, for the config if one is given."""
        parts = [_fill(f"usage: {self._usage()}", first_indent=""), self._about]
        if self._positional:
            parts.append(_entry(str(self._positional.metavar), self._positional))
        parts.append("\n".join(["flags:", *self._flag_entries()]))
        if self._takes_config or any(x._takes_config for x in self.subcommands.values()):
            parts.append(_config_help(getattr(options, "config_spec", None)))
        examples = "\n         ".join(self._examples)
        return "\n\n".join([*parts, f"example: {examples}"])

    def _usage(self) -> str:
        if self.subcommands:
            return f"{self.prog} {{{','.join(self.subcommands)}}} [flags]"
        words = [
            f"{action.option_strings[0]}={action.metavar or action.dest.upper()}"
            for action in self._required
            if action.option_strings
        ]
        words.append("[flags]")
        if self._positional:
            words.append(f"{self._positional.metavar} ...")
        if self._rest and self._rest[1]:
            words.append(f"[-- {self._rest[1]}]")
        return " ".join([self.prog, *words])

    def _flag_entries(self) -> list[str]:
        """Returns a paragraph for each flag of this program and of all its subcommands."""
        if not self.subcommands:
            return [_entry(_spelling(action), action) for action in self._flags]
        takers: dict[str, list[str]] = {}
        for word, parser in self.subcommands.items():
            for entry in parser._flag_entries():
                takers.setdefault(entry, []).append(word)
        everyone = list(self.subcommands)
        return [
            entry if words == everyone else _fill(f"{entry} [{', '.join(words)}]")
            for entry, words in takers.items()
        ]


class _Switch(argparse.Action):
    """Stores True for --name and False for --noname."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options):
        super().__init__(option_strings, dest, nargs=0, default=False, **options)

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, option_string == self.option_strings[0])


def _spelling(action: argparse.Action) -> str:
    return f"--[no]{action.dest}" if isinstance(action, _Switch) else action.option_strings[0]


def _entry(name: str, action: argparse.Action) -> str:
    """Returns the lines of --help about a flag or the positional arguments."""
    facts = []
    if action.choices:
        facts.append(", ".join(map(str, action.choices)))
    if action.default not in (None, False, []):
        facts.append(f"default: {action.default}")
    text = (action.help or "") + (f" ({'; '.join(facts)})" if facts else "")
    return _fill(f"  {name}: {text}")


def _fill(text: str, first_indent: str = "  ") -> str:
    return textwrap.fill(
        " ".join(text.split()),
        width=_WIDTH,
        initial_indent=first_indent,
        subsequent_indent=" " * 6,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _config_help(spec: str | None) -> str:
    """Returns the list of the project's configs, or the variants and keys of one config."""
    if spec is None:
        more = "--help with --config=FILE lists the variants and keys of a config."
        return f"{list_configs()}\n\n{more}"
    keys = "\n".join(f"  {line}" for line in key_lines(spec))
    return f"{list_variants(spec.partition(':')[0])}\n\nkeys, for --config.KEY=VALUE:\n{keys}"


# Types of values, for `type=`. `suggestions.wrong_value` puts the flag in front of the messages.


def path(text: str) -> str:
    """Returns a path with ~ replaced by the user's home; shells leave the ~ of --flag=~/x."""
    expanded = os.path.expanduser(text)
    if expanded.startswith("~"):
        user = expanded.partition("/")[0][1:]
        raise argparse.ArgumentTypeError(
            f"={text}: there is no user {user!r} on this machine; give the folder's path"
        )
    return expanded


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """Returns a type for whole numbers from `least` to `most`."""
    return _number(int, least, most)


def number(least: float) -> Callable[[str], float]:
    """Returns a type for numbers of at least `least`."""
    return _number(float, least, None)


def _number(kind: type, least: float, most: float | None) -> Callable:
    def parse(text: str) -> float:
        value = kind(text)
        if not least <= value or (most is not None and value > most):
            bounds = f"at least {least:g}" if most is None else f"{least:g} to {most:g}"
            raise argparse.ArgumentTypeError(f"={text}: give {bounds}")
        return value

    parse.__name__ = kind.__name__  # argparse's "invalid int value"
    return parse


def listed(text: str) -> list[str]:
    """Returns the words between commas."""
    return [word.strip() for word in text.split(",")] if text else []
