"""The settings of a run as parts of a web page: command, config, packages and devices."""

import json
import shlex
from pathlib import Path
from typing import Any

from markupsafe import Markup
from ml_collections import ConfigDict

from experiments.cli.config_files import CONFIGS, flatten, load_config
from experiments.report import tables
from experiments.report.elements import details, joined, missing, note, table, tag
from experiments.run.records import ENVIRONMENT_KEYS, RunSummary
from perceiver import run_files
from perceiver.errors import InputError


def settings(run: RunSummary) -> Markup:
    """Returns the command, the values that differ from the config's file, and all values."""
    if run.settings is None:
        return missing(f"The run has no {run_files.CONFIG}.")
    about = read_about(run)
    parts = []
    command = _command(about.get("command"))
    if command:
        parts += [tag("h3", "Command"), tag("pre", tag("code", command))]
    parts.append(tag("h3", "Changed from the config's file"))
    parts.append(_changed(run.settings, about.get("command")))
    environment = [["name", "value"], ["folder", str(run.folder)]]
    environment.append(["git", run.code or tables.ABSENT])
    for key, value in run.settings.items():
        if key.partition(".")[0] in ENVIRONMENT_KEYS and key != "git":
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            environment.append([key.removeprefix("versions."), shown])
    parts.append(details("Packages, devices and code", table(environment, "settings")))
    rows_by_section: dict[str, list[list[str]]] = {}
    for key, value in run.settings.items():
        section, _, rest = key.partition(".")
        if section not in ENVIRONMENT_KEYS:
            rows_by_section.setdefault(section, []).append([rest or section, str(value)])
    parts += [
        details(f"config.{section}", table([["setting", "value"], *rows], "settings"))
        for section, rows in rows_by_section.items()
    ]
    return joined(parts)


def read_about(run: RunSummary) -> dict[str, Any]:
    """Returns the content of config.json, which `records.read_summary` has checked; {} without."""
    path = run.folder / run_files.CONFIG
    return json.loads(path.read_bytes()) if path.exists() else {}


def _command(command: Any) -> str | None:
    """Returns the command as a user types it; None if it is not known."""
    if not isinstance(command, list) or not command:
        return None
    first, *rest = map(str, command)
    path = Path(first)
    if path.parent.name == "experiments":
        return shlex.join(["python", "-m", f"experiments.{path.stem}", *rest])
    return shlex.join([first, *rest])


def _changed(settings: dict[str, Any], command: Any) -> Markup:
    """Returns a table of the settings that differ from the config's file as it is now.

    Only the project's configs are loaded, because a config is a program.
    """
    spec = _config_file(command)
    if spec is None:
        return note("It is not known which config of this project the run was started with.")
    try:
        config = load_config(str(CONFIGS.parent / spec))
    except InputError as error:
        return note(f"The config cannot be loaded: {error}")
    default = dict(flatten(ConfigDict(json.loads(config.to_json()))))
    rows = [
        [key, str(settings.get(key, tables.ABSENT)), str(default.get(key, tables.ABSENT))]
        for key in sorted(default.keys() | {k for k in settings if k.partition(".")[0] in config})
        if settings.get(key, tables.ABSENT) != default.get(key, tables.ABSENT)
    ]
    if not rows:
        return note(f"Nothing: all values are those of {spec}.")
    return table([["setting", "value", f"in {spec}"], *rows], "settings")


def _config_file(command: Any) -> str | None:
    """Returns configs/NAME.py[:variant] from a command's --config; None if it has none."""
    words = [str(word) for word in command] if isinstance(command, list) else []
    for i, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name.lstrip("-") == "config" and word.startswith("-"):
            value = value if equals else "".join(words[i + 1 : i + 2])
            path = Path(value.partition(":")[0])
            if path.parent.name == CONFIGS.name and (CONFIGS / path.name).is_file():
                return f"{CONFIGS.name}/{path.name}" + value[len(str(path)) :]
    return None
