"""`semsearch mcp`: the collections for assistants, over stdin and stdout."""

from __future__ import annotations

import importlib.util
from urllib.parse import urlsplit

import click

from semsearch.cli import parameters
from semsearch.cli.render import out, say
from semsearch.errors import MissingDependency, UsageError
from semsearch.home import Home


@click.command(short_help="Let assistants search, over the Model Context Protocol.")
@click.argument("names", nargs=-1, shell_complete=parameters.collections)
@click.option("--install", is_flag=True, help="Print the line that tells each of the usual clients of it, and end.")
@click.option(
    "--url", metavar="URL", help="With --install: of a 'semsearch serve' that runs, as http://127.0.0.1:7700."
)
@click.option(
    "--max-bytes",
    type=click.IntRange(min=2_000),
    default=24_000,
    show_default=True,
    help="Bytes of an answer at most; what is left out is said.",
)
@click.option("--device", metavar="DEVICE", help="Where the models run, as in 'semsearch query'.")
@parameters.home
def mcp(
    names: tuple[str, ...], install: bool, url: str | None, max_bytes: int, device: str | None, home: str | None
) -> int:
    r"""Let an assistant search the collections NAMES, or all, over the Model Context Protocol on stdin and stdout.

    Its tools search, read documents, find similar ones and list the collections; none of them writes. What
    'semsearch describe' said of a collection tells the assistant when to ask it.

    \b
    semsearch mcp --install
    semsearch mcp papers notes
    semsearch mcp --install --url http://127.0.0.1:7700
    """
    if url is not None:
        if not install or names:
            raise UsageError("--url goes with --install, and with no names: a server shows what its keys cover.")
        _install_url(url)
        return 0
    where = Home.of(home)
    for name in names:
        where.require(name)
    if install:
        _install(names, home)
        return 0
    if importlib.util.find_spec("mcp") is None:
        raise MissingDependency("'semsearch mcp' needs the package mcp: pip install 'semsearch[mcp]'.")
    from semsearch.mcp.protocol import make_server

    make_server(where, names, device=device, max_bytes=max_bytes).run("stdio")
    return 0


def _install(names: tuple[str, ...], home: str | None) -> None:
    from semsearch.mcp.clients import lines

    chosen = ["--home", Home.of(home).location]  # a client runs it in a folder of its own
    for client, line in lines(["mcp", *names, *chosen]):
        say(f"{client}")
        out(line)
        out("")
    say("A 'semsearch serve' that runs is asked at its /mcp: --install --url http://127.0.0.1:7700 prints those lines.")


def _install_url(url: str) -> None:
    from semsearch.mcp.clients import lines_for_url

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise UsageError(f"--url takes the address of a server, as http://127.0.0.1:7700, and not {url!r:.100}.")
    address = url.rstrip("/")
    for client, line in lines_for_url(address if parts.path.rstrip("/").endswith("/mcp") else f"{address}/mcp"):
        say(f"{client}")
        out(line)
        out("")
    say("A server with keys wants the header 'Authorization: Bearer KEY' beside the address.")
