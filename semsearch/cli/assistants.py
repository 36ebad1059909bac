"""`semsearch mcp`: the collections for assistants, over stdin and stdout."""

from __future__ import annotations

import importlib.util

import click

from semsearch.cli import parameters
from semsearch.cli.render import out, say
from semsearch.errors import MissingDependency
from semsearch.home import Home


@click.command(short_help="Let assistants search, over the Model Context Protocol.")
@click.argument("names", nargs=-1, shell_complete=parameters.collections)
@click.option("--install", is_flag=True, help="Print the line that tells each of the usual clients of it, and end.")
@click.option(
    "--max-bytes",
    type=click.IntRange(min=2_000),
    default=24_000,
    show_default=True,
    help="Bytes of an answer at most; what is left out is said.",
)
@click.option("--device", metavar="DEVICE", help="Where the models run, as in 'semsearch query'.")
@parameters.home
def mcp(names: tuple[str, ...], install: bool, max_bytes: int, device: str | None, home: str | None) -> int:
    r"""Let an assistant search the collections NAMES, or all, over the Model Context Protocol on stdin and stdout.

    Its tools search, read documents, find similar ones and list the collections; none of them writes. What
    'semsearch describe' said of a collection tells the assistant when to ask it.

    \b
    semsearch mcp --install
    semsearch mcp papers notes
    """
    where = Home.of(home)
    for name in names:
        where.require(name)
    if install:
        _install(names, home)
        return 0
    if importlib.util.find_spec("mcp") is None:
        raise MissingDependency("'semsearch mcp' needs the package mcp: pip install 'semsearch[mcp]'.")
    from semsearch.mcp.tools import make_server

    make_server(where, names, device=device, max_bytes=max_bytes).run("stdio")
    return 0


def _install(names: tuple[str, ...], home: str | None) -> None:
    from semsearch.mcp.clients import lines

    chosen = ["--home", Home.of(home).location]  # a client runs it in a folder of its own
    for client, line in lines(["mcp", *names, *chosen]):
        say(f"{client}")
        out(line)
        out("")
