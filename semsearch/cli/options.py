"""Options that several commands share, and the types of their values."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def pair(text: str) -> tuple[str, str]:
    """`KEY=VALUE`, as a type of an option."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise click.BadParameter(f"'{text}' is not of the form KEY=VALUE.")
    return key.strip(), value


def typed_pair(text: str) -> tuple[str, Any]:
    """As `pair`, the value read as JSON where it is JSON: `ef=200` gives a number, `quotes=false` a truth value."""
    key, value = pair(text)
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def model(name: str) -> str:
    """A model's name; one in a folder or file is known by its whole path, from wherever it is asked for later."""
    path = Path(name).expanduser()
    return str(path.absolute()) if path.exists() else name


def where(text: str) -> dict[str, Any]:
    """A filter as it is typed, or as JSON."""
    from semsearch.where import parse_where

    return parse_where(text)


def utf8(text: str) -> str:
    """Words for the encoder: the shell may hand over bytes that are not UTF-8, the tokenizer must not see them."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise click.BadParameter(f"{text!a} is not UTF-8 text.") from error
    return text


def home(command: Command) -> Command:
    """Add `--home`."""
    return click.option(
        "--home",
        metavar="FOLDER",
        help="Where the collections are [default: SEMSEARCH_HOME, else the nearest .semsearch here or above, else "
        "your data folder].",
    )(command)


def compute(command: Command) -> Command:
    """Add `--device` and `--dtype`."""
    command = click.option("--dtype", metavar="TYPE", help="Numbers the model computes with: auto, float32, bfloat16…")(
        command
    )
    return click.option("--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps [default: auto].")(command)


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
