"""What a run was started with, as parts of a web page: command, config, packages, devices."""

import json
import shlex
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from experiments.cli.config_files import CONFIGS, flatten, load_config
from experiments.report import tables as tables
from experiments.report.html import Html, details, joined, missing, note, table, tag
from experiments.run.records import ABOUT_FILE, AROUND, Run
from perceiver.errors import InputError


def settings(run: Run) -> Html:
    """The command, and the config: first where it is not as its file has it; then all of it."""
    if run.settings is None:
        return missing(f"The run has no {ABOUT_FILE}.")
    about = about_of(run)
    parts = []
    command = _command(about.get("command"))
    if command:
        parts += [tag("h3", "Command"), tag("pre", tag("code", command))]
    parts.append(tag("h3", "Changed from the config's file"))
    parts.append(_changed(run.settings, about.get("command")))
    around = [["what", "value"], ["folder", str(run.folder)], ["git", run.code or tables.ABSENT]]
    for key, value in run.settings.items():
        if key.partition(".")[0] in AROUND and key != "git":
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            around.append([key.removeprefix("versions."), shown])
    parts.append(details("Packages, devices and code", table(around, "settings")))
    of_section: dict[str, list[list[str]]] = {}
    for key, value in run.settings.items():
        section, _, rest = key.partition(".")
        if section not in AROUND:
            of_section.setdefault(section, []).append([rest or section, str(value)])
    parts += [
        details(f"config.{section}", table([["setting", "value"], *rows], "settings"))
        for section, rows in of_section.items()
    ]
    return joined(parts)


def about_of(run: Run) -> dict[str, Any]:
    """What config.json has; `run_records.read` has found it to be as it should."""
    path = run.folder / ABOUT_FILE
    return json.loads(path.read_bytes()) if path.exists() else {}


def _command(command: Any) -> str | None:
    """As a user types it."""
    if not isinstance(command, list) or not command:
        return None
    first, *rest = map(str, command)
    path = Path(first)
    if path.parent.name == "experiments":
        return shlex.join(["python", "-m", f"experiments.{path.stem}", *rest])
    return shlex.join([first, *rest])


def _changed(settings: dict[str, Any], command: Any) -> Html:
    """Settings that are not those of the config's file as it is now.

    Only the project's own files are asked: a config is a program.
    """
    spec = _config_file(command)
    if spec is None:
        return note("It is not known which config of this project the run began with.")
    try:
        given = load_config(str(CONFIGS.parent / spec))
    except InputError as error:
        return note(f"It is not known: {error}")
    default = dict(flatten(ConfigDict(json.loads(given.to_json()))))
    rows = [
        [key, str(settings.get(key, tables.ABSENT)), str(default.get(key, tables.ABSENT))]
        for key in sorted(default.keys() | {k for k in settings if k.partition(".")[0] in given})
        if settings.get(key, tables.ABSENT) != default.get(key, tables.ABSENT)
    ]
    if not rows:
        return note(f"Nothing: all values are those of {spec}.")
    return table([["setting", "value", f"in {spec}"], *rows], "settings")


def _config_file(command: Any) -> str | None:
    """configs/NAME.py[:variant] of a command that has such a --config."""
    words = [str(word) for word in command] if isinstance(command, list) else []
    for i, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name.lstrip("-") == "config" and word.startswith("-"):
            value = value if equals else "".join(words[i + 1 : i + 2])
            path = Path(value.partition(":")[0])
            if path.parent.name == CONFIGS.name and (CONFIGS / path.name).is_file():
                return f"{CONFIGS.name}/{path.name}" + value[len(str(path)) :]
    return None
