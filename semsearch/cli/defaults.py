"""Defaults from `semsearch.toml`, in the folder of the collections and here.

What stands at the top holds for every command that has such an option; a table named after a command for that one. A
flag goes over the environment (`SEMSEARCH_QUERY_K`), that over the file here, that over the one in the home, that over
what is built in.

::

    device = "cpu"
    [query]
    k = 5
    [index]
    encoder = "intfloat/e5-small-v2"
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from semsearch.errors import UsageError
from semsearch.home import Home, current_folder, user_folder
from semsearch.search.request import meant

CONFIG_FILE = "semsearch.toml"
VARIABLE_PREFIX = "SEMSEARCH"
NEVER_CONFIGURED = frozenset({"yes", "unchecked", "config", "help", "version"})  # what a person must say each time


def files() -> list[Path]:
    """The files there are, the one that goes over the other last."""
    here = current_folder() / CONFIG_FILE
    home = (Home.of().folder or user_folder()) / CONFIG_FILE
    return [path for path in dict.fromkeys((home, here)) if path.is_file()]


def name_variables(group: click.Group) -> None:
    """Give every option that may be set a variable of the environment, as in `SEMSEARCH_QUERY_K`."""
    for name, command in group.commands.items():
        for option in _options(command).values():
            if option.envvar is None:
                own = f"{VARIABLE_PREFIX}_{name}_{_long(option)}".upper().replace("-", "_")
                option.envvar = [own, f"{VARIABLE_PREFIX}_HOME"] if option.name == "home" else [own]


def defaults(group: click.Group) -> dict[str, dict[str, Any]]:
    """What the files say, as click's default map: by command and parameter.

    Raises:
        UsageError: A file that is no TOML, or a name that is no command or option.
    """
    found: dict[str, dict[str, Any]] = {}
    for command, parameter, value, _ in _settings(group):
        found.setdefault(command, {})[parameter] = value
    return found


def origins(group: click.Group) -> Iterator[tuple[str, str, str]]:
    """Every option that has a value when no flag is given: its name, the value, and where it came from."""
    from_files = {(command, parameter): (value, path) for command, parameter, value, path in _settings(group)}
    for name, command in group.commands.items():
        for option in _options(command).values():
            shown = f"{name} --{_long(option)}"
            variable = next((variable for variable in option.envvar or () if os.environ.get(variable)), None)
            if variable is not None:
                yield shown, os.environ[variable], f"environment ({variable})"
            elif (name, str(option.name)) in from_files:
                value, path = from_files[name, str(option.name)]
                yield shown, str(value), str(path)
            elif isinstance(option.default, str | int | float) and not option.is_flag:
                yield shown, str(option.default), "built-in"


def _settings(group: click.Group) -> Iterator[tuple[str, str, Any, Path]]:
    """Command, parameter, value and file of all that the files say, in the order in which one goes over another."""
    for path in files():
        content = _read(path)
        common = {key: value for key, value in content.items() if not isinstance(value, Mapping)}
        for key, value in common.items():
            commands = [name for name, command in group.commands.items() if key in _options(command)]
            if not commands:
                known = {option for command in group.commands.values() for option in _options(command)}
                raise UsageError(f"{path}: there is no option '{key}'{_near(key, known)}.")
            for name in commands:
                yield name, str(_options(group.commands[name])[key].name), value, path
        for name, table in content.items():
            if not isinstance(table, Mapping):
                continue
            if name not in group.commands:
                raise UsageError(f"{path}: there is no command '{name}'{_near(name, group.commands)}.")
            options = _options(group.commands[name])
            for key, value in table.items():
                if key not in options:
                    raise UsageError(f"{path}: '{name}' has no option '{key}' to be set here{_near(key, options)}.")
                for one in (name, "search") if name == "query" else (name,):
                    yield one, str(options[key].name), value, path


def _read(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} can't be read: {error}.") from error


def _options(command: click.Command) -> dict[str, click.Option]:
    """The options that may be set, by the name that they are typed with."""
    options = [option for option in command.params if isinstance(option, click.Option)]
    return {_long(option): option for option in options if option.name not in NEVER_CONFIGURED}


def _long(option: click.Option) -> str:
    return max(option.opts, key=len).lstrip("-")


def _near(name: str, known: Iterable[str]) -> str:
    near = meant(name, known)
    return f"; did you mean '{near}'?" if near else ""
