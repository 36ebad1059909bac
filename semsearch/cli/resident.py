"""`semsearch resident status, stop`: the processes that stay and answer."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import click

from semsearch import wire
from semsearch.cli import parameters
from semsearch.cli.render import out, say, show_table
from semsearch.errors import UsageError
from semsearch.resident import address, client

NONE_RUNS = "no resident process runs. One stays behind 'semsearch query … --resident'."


@click.group(short_help="The process that answers at once.")
def resident() -> None:
    r"""See or end the processes that stay to answer query, search, similar, grep and get at once.

    One is left behind by '--resident' on these commands, and goes after ten idle minutes.

    \b
    semsearch resident status
    semsearch resident stop
    """


@resident.command(short_help="Which run.")
@parameters.as_json
def status(as_json: bool) -> int:
    r"""Show what resident processes there are. The exit code is 1 if there is none.

    \b
    semsearch resident status --json
    """
    found = []
    for name, said in _asked(client.STATUS):
        told: dict[str, Any] = json.loads(said.partition(b"\n")[0])
        found.append(told | {"answers_here": name == address.name_of(address.environment())})
    if as_json:
        out(wire.dumps(found))
    elif not found:
        say(NONE_RUNS)
    else:
        keys = ("pid", "age", "requests", "version", "python", "models", "answers_here")
        show_table(
            [*keys[:-1], "answers here"],
            [
                [
                    ", ".join(one[key]) if key == "models" else "yes" if one[key] is True else one[key] or ""
                    for key in keys
                ]
                for one in found
            ],
        )
    return 0 if found else 1


@resident.command(short_help="End them.")
def stop() -> int:
    r"""End the resident processes, each when what it runs has ended.

    \b
    semsearch resident stop
    """
    stopped = sum(1 for _ in _asked(client.STOP))
    say(f"stopped {stopped}" if stopped else NONE_RUNS)
    return 0


def _asked(what: bytes) -> Iterator[tuple[str, bytes]]:
    """The name of each that runs, and what it answers."""
    try:
        folder = address.open_folder()
    except address.NoResident as why:
        raise UsageError(f"{why}.") from None
    if folder is None:
        return
    try:
        for entry in sorted(os.listdir(folder)):  # noqa: PTH208
            if not entry.endswith(address.SOCKET):
                continue
            try:
                connection = client.connect(address.at(folder, entry))
            except (OSError, client.NotTaken) as why:
                say(f"{entry}: {why}")
                continue
            try:
                client.send(connection, [what])
                yield entry.removesuffix(address.SOCKET), client.answer(connection)
            except OSError as error:
                say(f"{entry}: {error}")
            finally:
                connection.close()
    finally:
        os.close(folder)


COMMANDS = (resident,)
