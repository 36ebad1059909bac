"""`semsearch serve, key`: the collections of a home over HTTP, and the keys of those who may ask."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from semsearch.cli import parameters
from semsearch.cli.parameters import ComputeOptions
from semsearch.cli.render import out, say
from semsearch.cli.target import NONE
from semsearch.errors import MissingDependency, UsageError
from semsearch.home import Home

if TYPE_CHECKING:
    import socket

PORT = 7700
ROLES_OF_KEYS = ("read", "write", "admin")


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What `semsearch serve` takes."""

    host: str
    port: int
    uds: str | None
    encoder: tuple[str, ...]
    sparse: tuple[str, ...]
    reranker: tuple[str, ...]
    folder: tuple[tuple[str, str], ...]
    files: str | None
    keys: str | None
    allow_host: tuple[str, ...]
    allow_origin: tuple[str, ...]
    max_body: int
    max_upload: int
    timeout: float
    quiet: bool
    compute: ComputeOptions
    home: str | None


@click.command(short_help="Serve the collections over HTTP.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0: any that is free.")
@click.option("--uds", type=parameters.file, metavar="PATH", help="Listen at a Unix socket instead.")
@click.option(
    "-m",
    "--encoder",
    multiple=True,
    type=parameters.model,
    metavar="MODEL",
    help="Of new collections, and to encode with; the first is the default; 'none': without.",
)
@click.option(
    "--sparse",
    multiple=True,
    type=parameters.model,
    metavar="MODEL",
    help="A sparse model that collections may have; the first answers /embed_sparse.",
)
@click.option(
    "--reranker",
    multiple=True,
    type=parameters.model,
    metavar="MODEL",
    help="That searches may ask for; the first is the default.",
)
@click.option(
    "--folder", multiple=True, type=parameters.pair, metavar="NAME=PATH", help="That requests may index, by its name."
)
@click.option(
    "--files", type=parameters.file, metavar="FOLDER", help="Where files that are put in are kept; without it none are."
)
@click.option(
    "--keys", type=parameters.file, metavar="FILE", help="Of those who may ask, as 'semsearch key' writes it."
)
@click.option("--allow-host", multiple=True, metavar="NAME", help="Another name of this server.")
@click.option("--allow-origin", multiple=True, metavar="ORIGIN", help="Whose pages may ask, as in https://example.org.")
@click.option(
    "--max-body",
    type=click.IntRange(1024),
    default=32 << 20,
    show_default=True,
    metavar="BYTES",
    help="Of a request, or of a line of a stream.",
)
@click.option(
    "--max-upload", type=click.IntRange(1024), default=256 << 20, show_default=True, metavar="BYTES", help="Of a file."
)
@click.option(
    "--timeout",
    type=parameters.NumberIn(1, 86_400),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="For an answer.",
)
@click.option("--quiet", is_flag=True, help="No line for each request.")
@parameters.compute
@parameters.home
@parameters.typed(ServeOptions)
def serve(options: ServeOptions) -> int:
    r"""Serve the collections of the home over HTTP, to this machine alone unless there are keys; Ctrl-C ends it.

    What can be asked stands at /docs. Each request is noted on stderr, as a line of JSON.

    \b
    semsearch serve
    semsearch key keys.jsonl laptop --role write
    semsearch serve --host 0.0.0.0 --keys keys.jsonl --folder papers=/data/papers
    """
    try:
        from semsearch.server import serving
        from semsearch.server.configuration import ServerOptions
        from semsearch.server.gate import log_line
        from semsearch.server.keys import KeysFile
        from semsearch.server.service import Service
    except ImportError as error:
        raise MissingDependency(f"the server needs {error.name}: pip install 'semsearch[server]'.") from error
    from semsearch import models
    from semsearch.encoder import DEFAULT_MODEL
    from semsearch.encoder.remote import trust_named
    from semsearch.hardware import Compute

    encoders = _named(options.encoder, trust_named, models.check_encoder)
    sparse = _named(options.sparse, models.check_sparse_encoder)
    rerankers = _named(options.reranker, models.check_reranker)
    chosen = ServerOptions(
        host=options.host,
        uds=options.uds,
        hosts=frozenset(name.lower() for name in options.allow_host),
        origins=frozenset(options.allow_origin),
        folders={name: _folder(path) for name, path in options.folder},
        encoders=encoders if options.encoder else (DEFAULT_MODEL,),
        sparse=sparse,
        rerankers=rerankers,
        files=None if options.files is None else _made(options.files),
        max_body=options.max_body,
        max_upload=options.max_upload,
        seconds=options.timeout,
        compute=Compute(options.compute.device, options.compute.dtype),
    )
    keyring = None if options.keys is None else KeysFile(Path(options.keys))
    if not chosen.is_local and not keyring:
        raise UsageError(
            f"at {options.host} other machines reach the server, which then needs keys: 'semsearch key keys.jsonl "
            "NAME' makes one, --keys keys.jsonl takes it. Without them it listens at 127.0.0.1 or at a socket (--uds)."
        )
    home = Home.of(options.home)

    def note(facts: Mapping[str, Any]) -> None:
        say(log_line(facts))

    def listening(socket: socket.socket) -> None:
        where = f"unix:{options.uds}" if options.uds else _url(*socket.getsockname()[:2])
        out(f"serving {home.location} at {where}")
        sys.stdout.flush()  # a program that started this waits for the line

    service = Service(home, chosen, keyring, None if options.quiet else note)
    serving.run(service, options.host, options.port, options.uds, listening)
    if (
        service.tasks.unfinished or service.errands.unfinished
    ):  # what tells nothing can't be stopped, and may be cut short anywhere
        os._exit(0)
    return 0


def _named(names: tuple[str, ...], *checks: Callable[[str], None]) -> tuple[str, ...]:
    """The models that were named, if they are there: who starts a server is told so, and not who first asks it."""
    named = tuple(name for name in names if name != NONE)
    for name in named:
        for check in checks:
            check(name)
    return named


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _made(path: str) -> Path:
    found = Path(path).expanduser().absolute()
    try:
        found.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--files: {path} is no folder and can't be made one: {error.strerror}.") from error
    return found


def _folder(path: str) -> Path:
    found = Path(path).expanduser().absolute()
    if not path or not found.is_dir():
        raise UsageError(f"--folder: there is no folder '{path}'.")
    return found


@click.command(short_help="Make a key for the server.")
@click.argument("file", type=parameters.file)
@click.argument("key_name", metavar="NAME")
@click.option(
    "--role",
    type=click.Choice(ROLES_OF_KEYS),
    default="read",
    show_default=True,
    help="read: search. write: documents, too. admin: collections, too.",
)
@click.option(
    "--collection",
    "collections",
    multiple=True,
    shell_complete=parameters.collections,
    metavar="NAME",
    help="That it is for [default: all].",
)
def key(file: str, key_name: str, role: str, collections: tuple[str, ...]) -> int:
    r"""Make a key called NAME, print it, and write its digest into FILE, which 'semsearch serve --keys FILE' takes.

    The key itself is kept nowhere. Who loses it makes another; who wants it gone takes its line out of the file. A
    server that runs reads the file again.

    \b
    semsearch key keys.jsonl laptop --role write --collection notes
    """
    from semsearch.server.keys import add_key

    out(add_key(Path(file), key_name, role, collections))
    say(f"'{key_name}' may {role} {', '.join(collections) or 'all collections'}; the key is shown this once.")
    return 0
