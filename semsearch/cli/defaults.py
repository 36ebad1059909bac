"""Defaults from `semsearch.toml`, in the folder of the collections and here.

What stands at the top holds for every command that has such an option; a table named after a command for that one. A
flag goes over the environment (`SEMSEARCH_QUERY_K`), that over the file here, that over the one in the home, that over
what is built in.

The file here may have come with a clone. Until the person trusts it as it is, it may set numbers, choices and switches
that take no protection away; what it says in words (a model, a home, a file, an address) ends the command that would
use it.

::

    device = "cpu"
    [query]
    k = 5
    [index]
    encoder = "intfloat/e5-small-v2"
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import click

from semsearch import trusted
from semsearch.errors import Untrusted, UsageError
from semsearch.home import current_folder, default_folder, user_folder
from semsearch.search.request import meant

CONFIG_FILE = "semsearch.toml"
MAX_CONFIG = 1 << 20  # bytes
VARIABLE_PREFIX = "SEMSEARCH"
NEVER_CONFIGURED = frozenset(  # what a person must say each time
    {"yes", "unchecked", "open_it", "config", "help", "version"}
)
UNGUARDING = frozenset(  # switches that take a protection away, or leave a process behind
    {"add", "follow_links", "no_ignore", "spreadsheet_safe", "resident"}
)


class Setting(NamedTuple):
    """What a file says of an option."""

    command: str
    parameter: str
    value: Any
    path: Path
    strange: bool  # it may not be used: nobody here has said so


def files() -> list[Path]:
    """The files there are, the one that goes over the other last."""
    return _files(_in_home())


def _files(own: Path | None) -> list[Path]:
    return [path for path in dict.fromkeys((own, current_folder() / CONFIG_FILE)) if path and path.is_file()]


def _in_home() -> Path | None:
    """The file that comes with the home; none while the home is a stranger's, which whoever needs it is told."""
    try:
        return (default_folder() or user_folder()) / CONFIG_FILE
    except Untrusted:
        return None


def name_variables(name: str, command: click.Command) -> None:
    """Give every option that may be set a variable of the environment, as in `SEMSEARCH_QUERY_K`."""
    for option in _options(command).values():
        if option.envvar is None:
            own = f"{VARIABLE_PREFIX}_{name}_{_long(option)}".upper().replace("-", "_")
            option.envvar = [own, f"{VARIABLE_PREFIX}_HOME"] if option.name == "home" else [own]


def defaults(group: click.Group, *, strange: bool = True) -> dict[str, dict[str, Any]]:
    """What the files say, as click's default map: by command and parameter.

    What may not be used is a function there, which raises when a command asks for its value; without `strange` it is
    left out.

    Raises:
        UsageError: A file that is no TOML, or a name that is no command or option.
    """
    found: dict[str, dict[str, Any]] = {}
    for setting in _settings(group):
        if strange or not setting.strange:
            value = partial(_refuse, setting) if setting.strange else setting.value
            found.setdefault(setting.command, {})[setting.parameter] = value
    return found


def _refuse(setting: Setting) -> NoReturn:
    raise Untrusted(
        f"{setting.path} sets '{setting.parameter}' to {setting.value!r} for '{setting.command}', and may have come "
        f"with a clone or an archive. If you know whose it is, type: {trusted.line(setting.path)}"
    )


def origins(group: click.Group) -> Iterator[tuple[str, str, str]]:
    """Every option that has a value when no flag is given: its name, the value, and where it came from."""
    from_files = {(setting.command, setting.parameter): setting for setting in _settings(group)}
    for name, command in group.commands.items():
        for option in _options(command).values():
            shown = f"{name} --{_long(option)}"
            variable = next((variable for variable in option.envvar or () if os.environ.get(variable)), None)
            if variable is not None:
                yield shown, os.environ[variable], f"environment ({variable})"
            elif (name, str(option.name)) in from_files:
                setting = from_files[name, str(option.name)]
                unused = f" (not used until: {trusted.line(setting.path)})" if setting.strange else ""
                yield shown, str(setting.value), f"{setting.path}{unused}"
            elif isinstance(option.default, str | int | float) and not option.is_flag:
                yield shown, str(option.default), "built-in"


def _settings(group: click.Group) -> Iterator[Setting]:
    """All that the files say, in the order in which one goes over another."""
    own = _in_home()
    for path in _files(own):
        raw, content = _read(path)
        strange = path != own and not trusted.trusts_defaults(path, raw)
        common = {key: value for key, value in content.items() if not isinstance(value, Mapping)}
        for key, value in common.items():
            commands = [name for name, command in group.commands.items() if key in _options(command)]
            if not commands:
                known = {option for command in group.commands.values() for option in _options(command)}
                raise UsageError(f"{path}: there is no option '{key}'{_near(key, known)}.")
            for name in commands:
                option = _options(group.commands[name])[key]
                _check_value(option, value, path)
                yield Setting(name, str(option.name), value, path, strange and not _harmless(option))
        for name, table in content.items():
            if not isinstance(table, Mapping):
                continue
            if name not in group.commands:
                raise UsageError(f"{path}: there is no command '{name}'{_near(name, group.commands)}.")
            options = _options(group.commands[name])
            for key, value in table.items():
                if key not in options:
                    raise UsageError(f"{path}: '{name}' has no option '{key}' to be set here{_near(key, options)}.")
                _check_value(options[key], value, path)
                for one in (name, "search") if name == "query" else (name,):
                    yield Setting(one, str(options[key].name), value, path, strange and not _harmless(options[key]))


def _check_value(option: click.Option, value: Any, path: Path) -> None:
    """Refuse what is no number for an option that is one: click can't tell."""
    if not isinstance(option.type, click.types.IntParamType | click.types.FloatParamType):
        return
    for one in value if isinstance(value, list) and option.multiple else [value]:
        if not isinstance(one, str | int | float) or (isinstance(one, float) and not math.isfinite(one)):
            raise UsageError(f"{path}: '{_long(option)}' can't be {one!r:.60}.")


def _harmless(option: click.Option) -> bool:
    """Whether it takes nothing but numbers, choices or a yes or no that leads nowhere and guards nothing."""
    kinds = click.types.IntParamType, click.types.FloatParamType, click.types.BoolParamType, click.Choice
    return isinstance(option.type, kinds) and option.name not in UNGUARDING


def _read(path: Path) -> tuple[bytes, dict[str, Any]]:
    import tomllib

    try:
        with path.open("rb") as file:
            raw = file.read(MAX_CONFIG + 1)
        if len(raw) > MAX_CONFIG:
            raise ValueError(f"it has more than {MAX_CONFIG:,} bytes")
        return raw, tomllib.loads(raw.decode())
    except (OSError, ValueError, RecursionError) as error:
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
