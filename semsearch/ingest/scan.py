"""One reading of a source into a collection: what need not be read again, what came, and what vanished.

A file is the same if its size and time are; where the time differs, or was too fresh to be relied on, its content
decides. A document has vanished if the file it came from is gone, or was read to its end without it. Nothing vanishes
with what could not be read: a folder that can't be listed, a file with a bad record, a source that gives nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from semsearch.ingest.pipeline import READ_DOCUMENTS, Changes, Ingestion, Progress
from semsearch.ingest.source import STDIN, ReadReport, Source
from semsearch.local.store import document_rows as rows
from semsearch.local.store import origins
from semsearch.local.store.document_rows import Record
from semsearch.local.store.origins import NEVER, File, Origin, Stamp
from semsearch.local.store.store import Store
from semsearch.types import Document, Encoder

FRESH = 2 * 10**9  # nanoseconds in which a second write may leave a file's time as it is
BATCH = 4096  # documents looked up or removed at a time
WHOLE = ""  # the name of a source's only file


@dataclass(frozen=True, slots=True)
class Lost:
    """What a source gave once and gives no more."""

    ids: list[str]  # documents that no other source has
    shared: list[str]  # documents that another source still gives
    files: set[str]  # files that lack them
    of: int  # documents that the source gave before


@dataclass(frozen=True, slots=True)
class Preview:
    """What a reading would do."""

    added: list[str]
    changed: list[str]
    unchanged: int


class Reading:
    """Reads a source once. First `begin`, then `into` or `preview`, then `lost`, then `settle`."""

    def __init__(self, source: Source, report: ReadReport, known: Mapping[str, File] | None = None) -> None:
        """`known`: the files as they were read last, to pass over those that are the same; without it all are read."""
        self.source = source
        self.report = report
        self.known = dict(known or {})
        self._began = time.time_ns()
        self._listing = source.listing()
        self._there = self._look()
        self._restamped: dict[str, Stamp] = {}
        self.unread = {name for name, now in self._there.items() if self._same(name, now)}
        self.documents: Iterator[Document] = iter(())
        self.empty = True  # nothing is new
        self.vanished = 0  # documents that the source gave before and gives no more, as far as is known

    def begin(self) -> None:
        """Read up to the first document.

        Raises:
            DataError: The source gives no document, or (unless the report skips them) the first bad record.
        """
        incoming = self._incoming()
        first = next(incoming, None)
        if first is None and not self.unread:
            raise self.source.nothing(self.report)
        self.empty = first is None
        self.documents = incoming if first is None else chain([first], incoming)

    @property
    def repeatable(self) -> bool:
        """Whether it can be read again: standard input and pipes can't."""
        return self._listing is not None or bool(self._there)

    def into(
        self,
        store: Store,
        encoder: Callable[[], Encoder],
        progress: Callable[[Progress], None] | None = None,
    ) -> Changes:
        """Store what is new or changed, noting where it is from; `encoder` loads the model."""
        model = encoder()
        changes = Ingestion(store, model, self.report.bad, progress, self._origin(store)).run(self.documents)
        return changes + Changes(unchanged=self.passed(store))

    def _origin(self, store: Store) -> Callable[[str], Origin]:
        """Make the source and its files known; the answer tells where a document is from."""
        spec = self.source.to_json()
        with store.write(), store.database.write() as connection:
            store.advance(connection)
            number = origins.add_source(connection, spec)
            origins.add_files(connection, number, sorted({WHOLE} if not self._there else self._there.keys()))
            self.known = origins.files(connection, number)

        def origin(identity: str) -> Origin:
            return Origin(number, self.known[self.report.ids.file(identity) or WHOLE].number)

        return origin

    def passed(self, store: Store) -> int:
        """Documents of the files that were not read again."""
        number = self._number(store)
        if number is None or not self.unread:
            return 0
        with store.database.read() as connection:
            return origins.count(connection, number, self._numbers(self.unread))

    def preview(self, store: Store) -> Preview:
        """What `into` would do; nothing is encoded or written."""
        added: list[str] = []
        changed: list[str] = []
        unchanged = 0
        while chunk := list(islice(self.documents, READ_DOCUMENTS)):
            records = {document.id: self._record(document) for document in chunk}
            known = store.known(list(records))
            for identity, record in records.items():
                if identity not in known:
                    added.append(identity)
                elif (known[identity].hash, known[identity].metadata) != (record.hash, record.metadata):
                    changed.append(identity)
                else:
                    unchanged += 1
        return Preview(added, changed, unchanged + self.passed(store))

    def _record(self, document: Document) -> Record:
        return rows.record(document, checked=True)

    def lost(self, store: Store) -> Lost:
        """What has vanished; after all documents were read."""
        number = self._number(store)
        lost = Lost([], [], set(), 0)
        if number is None:
            return lost
        names = {file.number: name for name, file in self.known.items()}
        suspects = self._numbers(self._gone() | (self._read() - self.report.doubtful))
        with store.database.read() as connection:
            for identity, file, shared in origins.given(connection, number, suspects):
                if self.report.ids.file(identity) is None:
                    (lost.shared if shared else lost.ids).append(identity)
                    lost.files.add(names[file])
            return replace(lost, of=origins.count(connection, number))

    def settle(self, store: Store, lost: Lost, *, remove: bool) -> int:
        """Note which file each document is from and how the files were, and `remove` what is lost; how many it were.

        Crash-safe in this order: until the last step, the next reading comes to the same conclusions.
        """
        number = self._number(store)
        if number is None:
            return 0
        removed = 0
        if remove:
            for first in range(0, len(lost.ids), BATCH):
                removed += store.remove(lost.ids[first : first + BATCH])
        stamps = self._restamped | {
            name: stamp
            for name in self._read() - self.report.doubtful - (set() if remove else lost.files)
            if (stamp := self._stamped(name)) is not None
        }
        with store.write(), store.database.write() as connection:
            store.advance(connection)
            moved: set[int] = set()
            for ids in self.report.ids.batches():
                before = origins.of(connection, number, list(ids))
                now = {identity: self.known[name].number for identity, name in ids.items()}
                origins.note(
                    connection,
                    [
                        (Origin(number, file), identity)
                        for identity, file in now.items()
                        if before.get(identity) != file
                    ],
                )
                moved.update(before[identity] for identity, file in now.items() if before.get(identity, file) != file)
            for file in moved & set(self._numbers(self.unread)):  # it may have them still: look next time
                origins.restamp(connection, {file: NEVER})
                stamps = {name: stamp for name, stamp in stamps.items() if self.known[name].number != file}
            origins.restamp(connection, {self.known[name].number: stamp for name, stamp in stamps.items()})
            if remove:
                origins.release(connection, number, lost.shared)
                origins.forget(connection, self._numbers(self._gone()))
        return removed

    def _incoming(self) -> Iterator[Document]:
        listing = self._listing
        if self._there and not self._read():
            return
        if listing is not None:
            listing = replace(listing, files=[file for file in listing.files if file.name not in self.unread])
        yield from self.source.documents(self.report, listing)

    def _look(self) -> dict[str, Stamp]:
        """The files as they are now, their content not looked at."""
        found: dict[str, Stamp] = {}
        if self._listing is not None:
            found = {file.name: Stamp(file.size, file.mtime, b"") for file in self._listing.files}
        elif self.source.path != STDIN and (now := _whole(Path(self.source.path))) is not None:
            found = {WHOLE: now}
        if found and (beside := self.source.beside) and (now := _whole(Path(beside))) is not None:
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
        before = self._there[name]
        try:
            status = self._path(name).stat()
            if name != WHOLE or not self._path(name).is_dir():
                after = Stamp(status.st_size, status.st_mtime_ns, b"")
            else:
                after = _whole(self._path(name)) or NEVER
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
        return Path(self.source.path) / name if name != WHOLE else Path(self.source.path)

    def _read(self) -> set[str]:
        return self._there.keys() - self.unread

    def _gone(self) -> set[str]:
        """Files that were there the last time and are not now, though one could have seen them."""
        if self._listing is None:
            return set()
        hidden = tuple(prefix for prefix, _ in self._listing.unreadable)
        odd = set(self._listing.others)
        gone = self.known.keys() - self._there.keys() - odd - {WHOLE}
        return {name for name in gone if not name.startswith(hidden)} if hidden else gone

    def _number(self, store: Store) -> int | None:
        with store.database.read() as connection:
            return origins.source_number(connection, self.source.to_json())

    def _numbers(self, names: set[str]) -> Sequence[int]:
        return sorted(self.known[name].number for name in names if name in self.known)


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
