"""What a server was started with: where it listens, what it may open, and its bounds."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from semsearch.errors import UsageError
from semsearch.hardware import ANYWHERE, Compute

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """See `semsearch serve --help`.

    Attributes:
        host: The address that is listened at.
        uds: A Unix socket instead.
        hosts: Names that the server answers to beside its own.
        origins: Pages of these origins may ask it.
        folders: That may be indexed, by the name that a request calls them by.
        encoders: Models that a new collection may have; the first is the default.
        sparse: Sparse models that a collection may have beside the other; the first answers `/embed_sparse`.
        rerankers: Models that a search may be reranked with; the first is the default.
        files: Where uploaded files are kept; None keeps their documents alone.
        max_body: Bytes of a body, or of a line of a stream.
        max_upload: Bytes of an uploaded file.
        max_k: Answers to a query.
        max_queries: Queries, texts or ids of a request.
        max_waiting: Searches that wait; more are refused.
        seconds: That an answer may take.
        idle_seconds: That a body may come to a stop.
        compute: What models compute on.
    """

    host: str = "127.0.0.1"
    uds: str | None = None
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    folders: Mapping[str, Path] = field(default_factory=dict)
    encoders: tuple[str, ...] = ()
    sparse: tuple[str, ...] = ()
    rerankers: tuple[str, ...] = ()
    files: Path | None = None
    max_body: int = 32 * MEGABYTE
    max_upload: int = 256 * MEGABYTE
    max_k: int = 10_000
    max_queries: int = 10_000
    max_waiting: int = 1_024
    seconds: float = 120.0
    idle_seconds: float = 30.0
    compute: Compute = ANYWHERE

    def is_host(self, said: str) -> bool:
        """Whether a Host header names this server.

        An address is always one of ours where other machines may come: no name was made to point here with it.
        """
        name = host_name(said)
        if name in LOOPBACK or name in self.hosts:
            return True
        return self.uds is None and self.host not in LOOPBACK and (name == self.host.lower() or is_address(name))

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return self.uds is not None or self.host in LOOPBACK

    def inside(self, folder: str, path: str = "") -> Path:
        """The path of what lies in a folder that may be indexed.

        Raises:
            UsageError: There is no such folder, or the path leads out of it.
        """
        if folder not in self.folders:
            known = f"There are {', '.join(sorted(self.folders))}." if self.folders else "It was started without any."
            raise UsageError(f"this server has no folder '{folder:.60}' that may be indexed (--folder). {known}")
        root = Path(os.path.realpath(self.folders[folder]))
        if "\0" in path:
            raise UsageError("a path holds no character 0.")
        found = Path(os.path.realpath(root / path))
        if not self.is_inside(found):
            raise UsageError(f"the path '{path:.100}' leads out of the folder '{folder}'.")
        if not found.exists():
            raise UsageError(f"there is no '{path:.100}' in the folder '{folder}'.")
        return found

    def is_inside(self, path: str | os.PathLike[str]) -> bool:
        """Whether a path, where its links lead, lies in a folder that may be indexed."""
        real = Path(os.path.realpath(path))
        return any(real.is_relative_to(os.path.realpath(folder)) for folder in self.folders.values())


def host_name(host: str) -> str:
    """The name in a Host header, without the port."""
    if host.startswith("["):
        return host.partition("]")[0][1:].lower()
    return host.rpartition(":")[0].lower() if host.count(":") == 1 else host.lower()


def is_address(name: str) -> bool:
    """Whether a name is an address, which can't be made to point elsewhere."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
