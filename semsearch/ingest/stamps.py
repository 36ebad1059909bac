"""The files of a source as they are now, held against how they were when they were read last.

A file is the same if its size and time are; where the time differs, or was too fresh to be relied on, its content
decides.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path

from semsearch.engine import NEVER, File, Stamp
from semsearch.ingest.source import STDIN, Source
from semsearch.walk import FolderListing

FRESH = 2 * 10**9  # nanoseconds in which a second write may leave a file's time as it is
ONLY_FILE = ""  # the name of a source's only file


class SourceFiles:
    """What is there, what is known of it, and what need not be read again."""

    def __init__(self, source: Source, known: Mapping[str, File] | None = None) -> None:
        """`known`: the files as they were read last; without it all are to be read."""
        self.known = dict(known or {})
        self.listing = source.listing()
        self._root = Path(source.path)
        self._began = time.time_ns()
        self._restamped: dict[str, Stamp] = {}
        self.there = self._look(source)
        self.unread = {name for name, now in self.there.items() if self._same(name, now)}

    @property
    def names(self) -> list[str]:
        """Of all files, sorted."""
        return sorted({ONLY_FILE} if not self.there else self.there)

    @property
    def read(self) -> set[str]:
        """Files that are read this time."""
        return self.there.keys() - self.unread

    @property
    def wanted(self) -> FolderListing | None:
        """The listing of the files that are read, where the source is a folder of files."""
        if self.listing is None:
            return None
        return replace(self.listing, files=[file for file in self.listing.files if file.name not in self.unread])

    @property
    def gone(self) -> set[str]:
        """Files that were there the last time and are not now, though one could have seen them."""
        if self.listing is None:
            return set()
        hidden = tuple(prefix for prefix, _ in self.listing.unreadable)
        odd = set(self.listing.others)
        gone = self.known.keys() - self.there.keys() - odd - {ONLY_FILE}
        return {name for name in gone if not name.startswith(hidden)} if hidden else gone

    def numbers(self, names: AbstractSet[str]) -> Sequence[int]:
        """The numbers of those of `names` that are known."""
        return sorted(self.known[name].number for name in names if name in self.known)

    def stamps(self, names: AbstractSet[str]) -> dict[int, Stamp]:
        """How files were while they were read, by number; those that were written meanwhile are left out."""
        found = self._restamped | {name: stamp for name in names if (stamp := self._stamped(name)) is not None}
        return {self.known[name].number: stamp for name, stamp in found.items()}

    def _look(self, source: Source) -> dict[str, Stamp]:
        """The files as they are now, their content not looked at."""
        found: dict[str, Stamp] = {}
        if self.listing is not None:
            found = {file.name: Stamp(file.size, file.mtime, b"") for file in self.listing.files}
        elif source.path != STDIN and (now := _whole(self._root)) is not None:
            found = {ONLY_FILE: now}
        if found and (beside := source.beside) and (now := _whole(Path(beside))) is not None:
            found[beside] = now
        return found

    def _same(self, name: str, now: Stamp) -> bool:
        known = self.known.get(name)
        if known is None or known.stamp == NEVER or known.stamp.size != now.size:
            return False
        if known.stamp.mtime == now.mtime:
            return True
        with contextlib.suppress(OSError):
            if self._digest(name) == known.stamp.hash:
                self._restamped[name] = Stamp(now.size, self._reliable(now.mtime), known.stamp.hash)
                return True
        return False

    def _stamped(self, name: str) -> Stamp | None:
        """How the file was while it was read; None if it was written meanwhile."""
        before, path = self.there[name], self._path(name)
        try:
            status = path.stat()
            if name != ONLY_FILE or not path.is_dir():
                after = Stamp(status.st_size, status.st_mtime_ns, b"")
            else:
                after = _whole(path) or NEVER
            if after != before:
                return None
            return Stamp(before.size, self._reliable(before.mtime), self._digest(name))
        except OSError:
            return None

    def _digest(self, name: str) -> bytes:
        path = self._path(name)
        if path.is_dir():
            now = _whole(path)
            return now.hash if now is not None else b""
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()

    def _reliable(self, mtime: int) -> int:
        return mtime if mtime < self._began - FRESH else -1

    def _path(self, name: str) -> Path:
        return self._root / name if name != ONLY_FILE else self._root


def _whole(path: Path) -> Stamp | None:
    """How a file, or all of a folder, is now; None of what can't be read a second time."""
    status = path.stat()
    if stat.S_ISREG(status.st_mode):
        return Stamp(status.st_size, status.st_mtime_ns, b"")
    if not stat.S_ISDIR(status.st_mode):
        return None
    digest, size, newest = hashlib.blake2b(digest_size=16), 0, 0
    for folder, inner, names in os.walk(path):
        inner.sort()
        for name in sorted(names):
            with contextlib.suppress(OSError):
                inside = os.stat(os.path.join(folder, name))  # noqa: PTH116, PTH118  (a Path each costs more than it)
                size += inside.st_size
                newest = max(newest, inside.st_mtime_ns)
                digest.update(f"{folder}/{name}\0{inside.st_size}\0{inside.st_mtime_ns}\0".encode(errors="replace"))
    return Stamp(size, newest, digest.digest())
