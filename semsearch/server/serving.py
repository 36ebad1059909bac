"""Running a server: the socket it listens at, the program that speaks HTTP, and an end that waits for requests.

One process with threads: an index, the vectors and a model are in memory once, questions of all clients are encoded
together, and a collection has one writer in any case. Several processes would each hold a model and share no batch.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from semsearch.errors import UsageError
from semsearch.server import (
    application_routes,
    assistant_routes,
    collection_routes,
    document_routes,
    engine_routes,
    errand_routes,
    field_routes,
    file_routes,
    http_protocol,
    model_routes,
    openapi,
    page_routes,
    search_routes,
    status_routes,
    task_routes,
    tei_routes,
)
from semsearch.server.application import application
from semsearch.server.operations import Table
from semsearch.server.service import Service

BACKLOG = 2048
DRAIN_SECONDS = 30  # for requests that are under way when the server ends
LONGEST_SOCKET_PATH = 100  # bytes: systems take some 104


def table() -> Table:
    """Everything that a server can be asked."""
    return Table(
        "",
        status_routes.routes,
        collection_routes.routes,
        document_routes.routes,
        search_routes.routes,
        field_routes.routes,
        task_routes.routes,
        application_routes.routes,
        file_routes.routes,
        model_routes.routes,
        tei_routes.routes,
        engine_routes.routes,
        errand_routes.routes,
        openapi.routes,
        page_routes.routes,
    )


def server_application(service: Service) -> ASGIApp:
    """The application of all that a server can be asked."""
    service.table = table()
    service.open_paths |= page_routes.OPEN_PATHS
    return application(service, service.table, assistant_routes.routes(service))


class Server(uvicorn.Server):
    """One that says it is no more ready as soon as it is told to end, and tells when it listens."""

    def __init__(self, config: uvicorn.Config, service: Service, listening: Callable[[], None] | None = None) -> None:
        super().__init__(config)
        self._service = service
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See `uvicorn.Server.startup`."""
        await super().startup(sockets)
        if self._listening is not None:
            self._listening()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """See `uvicorn.Server.handle_exit`."""
        self._service.draining = True
        super().handle_exit(sig, frame)


def server(service: Service, listening: Callable[[], None] | None = None) -> Server:
    """A server that is to be run on a socket of `listen`."""
    config = uvicorn.Config(
        server_application(service),
        http=http_protocol.BoundedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=int(http_protocol.UNASKED_SECONDS),
        timeout_graceful_shutdown=DRAIN_SECONDS,
        h11_max_incomplete_event_size=http_protocol.HEADER_BYTES,
    )
    return Server(config, service, listening)


def listen(host: str, port: int, uds: str | None = None) -> socket.socket:
    """A socket to serve on; a Unix socket is for its owner alone.

    Raises:
        UsageError: It can't be had; says why.
    """
    _raise_descriptors()
    if uds is not None:
        return _unix(uds)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # By the protocol asyncio knows that it may send at once; else an answer waits 40 ms until its head is acknowledged.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except (OSError, OverflowError) as error:
        found.close()
        raise UsageError(f"the server can't listen at {host}:{port}: {getattr(error, 'strerror', error)}.") from error
    found.listen(BACKLOG)
    return found


def _unix(path: str) -> socket.socket:
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise UsageError(f"{path} is too long for a socket: systems take {LONGEST_SOCKET_PATH} bytes.")
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise UsageError(f"{path} is there and is no socket: choose another path.")
        if _answers(path):
            raise UsageError(f"a server listens at {path} already.")
        os.unlink(path)  # noqa: PTH108  (left by one that was killed)
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        found.bind(path)
    except OSError as error:
        found.close()
        raise UsageError(f"the server can't listen at {path}: {error.strerror}.") from error
    finally:
        os.umask(before)
    found.listen(BACKLOG)
    return found


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
        asked.settimeout(1)
        try:
            asked.connect(path)
        except OSError:
            return False
        return True


def _raise_descriptors() -> None:
    """Take as many open files as the system gives: each connection is one."""
    with suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def run(service: Service, host: str, port: int, uds: str | None, listening: Callable[[socket.socket], None]) -> None:
    """Serve until the process is told to end; `listening` is called when requests are taken."""
    import torch  # noqa: F401  (so that models are opened in full: numpy's pass is for a single question)

    with listen(host, port, uds) as found:
        running = server(service, lambda: listening(found))
        try:
            asyncio.run(running.serve([found]))
        except KeyboardInterrupt:
            pass  # it was told to end, and has
        finally:
            if uds is not None:
                with suppress(OSError):
                    os.unlink(uds)  # noqa: PTH108
