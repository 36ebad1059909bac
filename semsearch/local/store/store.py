"""A collection's folder: the database, the vector file and the lock, kept consistent through every failure.

A commit is: append vectors, fsync, then one SQLite transaction that records documents, passages, keys and checksums.
Only that transaction makes anything exist; whatever a crash leaves outside it is an orphan and is cut off later.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from semsearch import plain_files, versions
from semsearch.engine import SPARSE, Origin, Written
from semsearch.errors import (
    CollectionDamaged,
    CollectionExists,
    CollectionNotFound,
    DimensionMismatch,
    ModelMismatch,
    StorageError,
    UsageError,
)
from semsearch.local.store import document_rows as documents
from semsearch.local.store import (
    generations,
    migrations,
    origins,
    platform,
    registry,
    schema,
    segments,
    terms,
    vector_file,
)
from semsearch.local.store.database import Database, closed, driver
from semsearch.local.store.failpoints import failpoint
from semsearch.local.store.location import Location
from semsearch.local.store.lock import WriterLock
from semsearch.local.store.settings import SPARSE_INDEX, put_setting, read_settings
from semsearch.local.store.snapshot import Snapshot, take
from semsearch.local.store.vector_file import vector_path
from semsearch.plain_files import read_plain
from semsearch.records import Entry, Known, Record
from semsearch.search.garbage import uncollected
from semsearch.search.languages import LANGUAGES, Languages, languages_of, same_stems, to_be_found
from semsearch.types import Vectors

log = logging.getLogger("semsearch")

DATABASE = "collection.sqlite"
MARKER = "marker"


@dataclass(frozen=True, slots=True)
class View:
    """A read transaction: the database and the arrays of one and the same commit."""

    connection: Connection
    snapshot: Snapshot
    rows_holding: dict[tuple[str, bool], NDArray[np.intp]] = field(default_factory=dict)  # phrases that were looked up


class Store:
    """One collection on disk. Any number of readers, in threads and processes; one writer at a time.

    A forked child opens its own connections: SQLite's may not be carried across a fork.
    """

    def __init__(self, folder: Path) -> None:
        """Open an existing collection's folder."""
        self.folder = folder
        self.name = folder.name
        self._pid = os.getpid()
        self._closed = False
        self._location = Location(folder / DATABASE)
        if kind := platform.network_file_system(folder):
            log.warning(
                "collection '%s' lies on a network file system (%s), where SQLite's log does not keep writers on "
                "several machines apart: use it from one machine at a time, or copy it to a local disk.",
                self.name,
                kind,
            )
        platform.listed(folder)  # whoever made it may have put links into it
        platform.listed(folder / "indexes")
        self._database = self._open_database()
        self._lock = WriterLock(folder)
        self._snapshot: Snapshot | None = None
        self._settings: tuple[int | None, Mapping[str, Any]] | None = None
        self.opened_with: Mapping[str, Any]
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def _check(self) -> None:
        """See that it is what this semsearch can use, and bring it forward if it was made by an older one."""
        with self._database.read() as connection:
            behind = migrations.behind(connection, self.name)
            self.opened_with = {} if behind else self._settings_in(connection)
        if behind:
            self._bring_forward()
            self.opened_with = self.settings
        path = self.folder / MARKER
        marker = read_plain(path, 100).decode(errors="replace").strip() if plain_files.is_file(path) else None
        self.check_location()  # else the marker may be that of another
        if marker is not None and marker != (identity := self.opened_with.get("uuid")):
            raise CollectionDamaged(
                f"the database in {self.folder} belongs to another collection (its uuid is {identity}, the "
                f"marker's {marker}): put the right one back from a backup."
            )

    @classmethod
    def create(cls, folder: Path, settings: Mapping[str, Any], dim: int | None) -> Store:
        """Lay out a new collection: under another name first, so that a crash leaves none or a whole one."""
        building = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
        try:
            platform.make_folder(building)
            identity = str(uuid.uuid4())
            database = Database(building / DATABASE, mode="rwc")
            with database.write() as connection:
                schema.create(connection)
                connection.exec_driver_sql("UPDATE state SET dim = ?", (dim,))
                for name, value in {**settings, "uuid": identity}.items():
                    put_setting(connection, name, value)
            database.close()
            platform.write_durably(building / MARKER, identity.encode())
            platform.rename(building, folder)
        except BaseException as error:
            platform.remove(building)
            if isinstance(error, OSError | StorageError) and (folder / MARKER).exists():
                raise CollectionExists(f"another process made the collection '{folder.name}' meanwhile.") from error
            if isinstance(error, OSError):
                raise platform.storage_error(error, "creating", folder) from error
            raise
        return cls(folder)

    def _open_database(self) -> Database:
        self.check_location()
        path = self.folder / DATABASE
        if not path.exists():
            if not (self.folder / MARKER).exists():
                raise CollectionNotFound(f"collection '{self.name}' was dropped or moved just now.")
            raise CollectionDamaged(
                f"the database {path} is missing, though the collection's marker is there. Restore it from a backup, "
                f"or take the rest away with 'semsearch drop {self.name}'."
            )
        mode = _mode(path)
        self._unchanging = _stamp(path) if mode == "immutable" else None
        return Database(path, mode=mode, check=partial(migrations.check, name=self.name), location=self._location)

    def _bring_forward(self) -> None:
        """Take every step from an older semsearch to this one, each a transaction of its own."""
        with self.write():
            more = True
            while more:
                with self._database.write() as connection:
                    more = migrations.bring_forward(connection, self.name)

    @property
    def database(self) -> Database:
        """The database, opened anew in a forked child; `CollectionClosed` after `close`."""
        self.check_open()
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._database.forget()
            self._database = self._open_database()
            self._lock = WriterLock(self.folder)
        elif self._unchanging is not None and self._unchanging != _stamp(self.folder / DATABASE):
            self._database.close()  # not the media were read-only but we: somebody else writes
            self._database = self._open_database()
        return self._database

    def check_open(self) -> None:
        """Raise `CollectionClosed` after `close`, for what needs no database."""
        if self._closed:
            raise closed(self.name)

    def close(self) -> None:
        """Close the connections for good; the last one to leave folds the write-ahead log into the database.

        Closing again does nothing; whatever else is asked from now on is `CollectionClosed`.
        """
        self._closed = True
        if self._pid == os.getpid():
            self._database.close()
        else:
            self._database.forget()
        self._snapshot = None

    # Reading

    @contextmanager
    def read(self) -> Iterator[View]:
        """One consistent state of the collection, however much is written meanwhile."""
        gone = None
        while True:
            known = self._snapshot  # before the transaction: it should not be newer than that
            with self.database.read(check=False) as connection:
                try:
                    snapshot = take(connection, self.folder, known)
                except CollectionDamaged:
                    self.check_location()
                    raise
                except FileNotFoundError as error:  # compacted away since this transaction began: read again
                    self.check_location()
                    if error.filename == gone:
                        raise CollectionDamaged(
                            f"the vector file {gone} is missing. Restore the collection from a backup, or let "
                            f"'semsearch repair {self.name}' encode it again from the stored text."
                        ) from error
                    gone = error.filename
                    continue
                if snapshot is not known:
                    self.check_location()  # else it may have mapped the file of another
                newest = self._snapshot
                if newest is None or snapshot.version > newest.version:
                    self._snapshot = snapshot
                yield View(connection, snapshot)
                return

    @property
    def settings(self) -> Mapping[str, Any]:
        """What was fixed at creation or chosen since, as of now; read again when something was committed."""
        with self.database.read() as connection:
            return self._settings_in(connection)

    def _settings_in(self, connection: Connection) -> Mapping[str, Any]:
        found = driver(connection).execute("SELECT version FROM state").fetchone()
        version, known = None if found is None else found[0], self._settings
        if known is None or known[0] != version:
            known = self._settings = (version, read_settings(connection))
        return known[1]

    @property
    def model(self) -> str:
        """The fingerprint of the model whose vectors are stored; "none" where they were given."""
        described = self.settings.get("encoder")
        return str(described["fingerprint"]) if described else "none"

    @property
    def versions(self) -> dict[str, int]:
        """What made it: the numbers of the schema, of the analysis of words and of the encoding."""
        with self.database.read() as connection:
            made = connection.execute(select(schema.state.c.analysis, schema.state.c.encoding)).one()
            return {"schema": schema.SCHEMA_VERSION, "analysis": made.analysis, "encoding": made.encoding}

    def counts(self) -> tuple[int, int]:
        """Documents and passages."""
        with self.database.read() as connection:
            documents, passages = connection.exec_driver_sql(
                "SELECT (SELECT count(*) FROM documents), (SELECT count(*) FROM passages)"
            ).one()
            return documents, passages

    def known(self, ids: Sequence[str]) -> dict[str, Known]:
        """What is stored of `ids`."""
        with self.database.read() as connection:
            return documents.known(connection, ids)

    # Writing

    def check_writable(self) -> None:
        """Raise `ReadOnly` where nothing can be written, `CollectionNotFound` where it does not lie any more."""
        database = self.database  # in a forked child this also makes the lock anew
        self.check_location()
        if not database.writable:
            with database.write():  # says why not
                pass

    @contextmanager
    def write(self) -> Iterator[None]:
        """Hold the writer's lock."""
        self.check_writable()
        with ExitStack() as held:
            try:
                held.enter_context(self._lock.hold())
            finally:
                self.check_location()  # the lock was found by its path, and may be that of another collection
            yield

    def check_location(self) -> None:
        """Raise `CollectionNotFound` where another collection, or none, lies in the folder by now.

        Whoever opens a file by its path asks this behind it, and before it takes one away.
        """
        self._location.check()

    def put(
        self,
        entries: Sequence[Entry],
        metadata_only: Sequence[Record] = (),
        *,
        model: str | None = None,
        again: bool = False,
        origin: Callable[[str], Origin] | None = None,
    ) -> Written:
        """Commit documents with their vectors, and documents of which only the metadata changed.

        A document that another writer has put meanwhile with the same
        text is not written twice, unless `again` says so. `model` is the fingerprint of what made the vectors,
        `origin` tells of an id which source gave it: known as soon as the document is, so that a run that is killed
        leaves none that its source could not take back.
        """
        with self.write(), uncollected():
            self._check_model(model)
            with self.database.read() as connection:
                stored = documents.known(
                    connection,
                    [entry.record.document.id for entry in entries] + [record.document.id for record in metadata_only],
                )
                generation, rows, dim = connection.exec_driver_sql("SELECT generation, rows, dim FROM state").one()
            fresh = list(entries)
            if stored and not again:
                fresh = [entry for entry in entries if not _same_content(entry.record, stored)]
            records = list(metadata_only)
            if len(fresh) < len(entries):
                records += [entry.record for entry in entries if _same_content(entry.record, stored)]
            changes = [
                (record, stored[record.document.id])
                for record in records
                if _same_content(record, stored) and stored[record.document.id].metadata != record.metadata
            ]
            if not fresh and not changes:
                return Written(0, 0, 0)
            vectors = self._stacked(fresh, dim)
            if len(vectors):
                vector_file.append(vector_path(self.folder, generation), rows, vectors, self.check_location)
            with self.database.write() as connection:
                version = self.advance(connection, len(vectors), vectors.shape[1])
                failpoint("write documents")
                old_docs = [old.doc for entry in fresh if (old := stored.get(entry.record.document.id)) is not None]
                if old_docs:
                    documents.remove_passages(connection, old_docs, version)
                documents.update_metadata(connection, changes)
                places = documents.insert(connection, fresh, stored)
                if origin is not None:
                    origins.note(
                        connection,
                        [(origin(identity), identity) for identity in {entry.record.document.id for entry in fresh}],
                    )
                failpoint("write segment")
                if len(places):
                    segments.write(connection, generation, rows, places, segments.checksums(vectors, places))
            return Written(len(fresh) - len(old_docs), len(old_docs) + len(changes), len(vectors))

    def remove(self, ids: Sequence[str]) -> int:
        """Commit the removal of documents; how many were there."""
        with self.write():
            with self.database.read() as connection:
                stored = documents.known(connection, ids)
            if stored:
                with self.database.write() as connection:
                    version = self.advance(connection)
                    failpoint("remove documents")
                    documents.remove_documents(connection, [old.doc for old in stored.values()], version)
            return len(stored)

    def bytes(self) -> int:
        """What the folder takes on the disk."""
        self.check_location()
        return platform.folder_bytes(self.folder)

    def new_generation(self) -> int:
        """A number for a vector file, never given before nor again."""
        with self.write(), self.database.write() as connection:
            self.advance(connection)
            return generations.reserve(connection)

    def sweep(self) -> bool:
        """Delete files that no commit refers to: old generations, and what a crash left half made.

        False if the system keeps one for now, because somebody has it open.
        """
        done = True
        with self.write():  # else it would take away what another writer is about to commit
            with self.read() as view:
                begun = view.connection.exec_driver_sql("SELECT DISTINCT generation FROM segments").scalars().all()
                keep = {vector_path(self.folder, g).name for g in (*begun, view.snapshot.generation)}
                there = {index.folder for index in (view.snapshot.index, view.snapshot.lexical) if index is not None}
                if (said := view.snapshot.settings.get(SPARSE_INDEX)) is not None:
                    there.add(f"{SPARSE}-{said['number']}")
            left = [path for path in self.folder.glob("vectors-*.f32") if path.name not in keep]
            try:
                indexes = platform.listed(self.folder / "indexes")
            except StorageError:  # what was done is done: the next writer takes them away
                indexes, done = [], False
            left += [path for path in indexes if not path.name.startswith(".") and path.name not in there]
            for path in left:
                self.check_location()
                done &= platform.remove(path)
        return done

    def set(self, name: str, value: Any) -> None:
        """Commit one setting (any JSON value)."""
        with self.write(), self.database.write() as connection:
            self.advance(connection)
            put_setting(connection, name, value)

    def set_languages(self, languages: Languages, *, found: bool = False) -> bool:
        """See `semsearch.engine.Engine`: the languages and all words by them, in one commit."""
        with self.write(), self.database.write() as connection:
            settings = read_settings(connection)
            if found and not to_be_found(settings):
                return False
            self.advance(connection)
            put_setting(connection, LANGUAGES, list(languages))
            if same_stems(languages, languages_of(settings)):
                return True
            failpoint("change languages")
            terms.rebuild(connection)
            registry.retire(connection, words=True)
            return True

    def _check_model(self, model: str | None) -> None:
        if model is not None and model != self.model:
            raise ModelMismatch(
                f"collection '{self.name}' was encoded anew with another model meanwhile; run the same command again."
            )
        if model is not None and self.versions["encoding"] < versions.ENCODING:
            raise ModelMismatch(
                f"an older semsearch encoded collection '{self.name}', whose vectors don't compare with those of this "
                f"one: encode it anew with 'semsearch reencode {self.name}'."
            )

    def _stacked(self, entries: Sequence[Entry], dim: int | None) -> Vectors:
        if not entries:
            return np.empty((0, dim or 0), dtype=np.float32)
        for record, spans, vectors in entries:
            if len(vectors) != len(spans):
                raise UsageError(f"{len(spans)} passages came with {len(vectors)} vectors.")
            if dim is not None and vectors.shape[1] != dim:
                raise DimensionMismatch(
                    f"document {record.document.id!r}: its vector has {vectors.shape[1]} components, those of "
                    f"collection '{self.name}' have {dim}."
                )
        return np.concatenate([entry.vectors for entry in entries]).astype(np.float32, copy=False)

    def advance(self, connection: Connection, new_rows: int = 0, dim: int | None = None) -> int:
        """Count a commit, inside the caller's write transaction; its version."""
        return int(
            connection.exec_driver_sql(
                "UPDATE state SET version = version + 1, rows = rows + ?, dim = coalesce(dim, ?) RETURNING version",
                (new_rows, dim),
            ).scalar_one()
        )


def _same_content(record: Record, stored: Mapping[str, Known]) -> bool:
    old = stored.get(record.document.id)
    return old is not None and old.hash == record.hash


def _stamp(path: Path) -> tuple[int, ...]:
    """What tells that a database or its log was written."""
    log = path.with_name(path.name + "-wal")
    states = [file.stat() for file in (path, log) if file.exists()]
    return tuple(number for state in states for number in (state.st_ino, state.st_size, state.st_mtime_ns))


def _mode(path: Path) -> str:
    """How the database can be opened where it lies.

    On media that can't be written a WAL database opens read-only if its shared memory file is there; without it only as
    immutable, which would silently ignore a write-ahead log: then a copy is needed.
    """
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        return "rw"
    log = path.with_name(path.name + "-wal")
    if not log.exists() or log.stat().st_size == 0:
        return "immutable"
    if path.with_name(path.name + "-shm").exists():
        return "ro"
    raise CollectionDamaged(
        f"{path} can't be written here and has a write-ahead log with commits that are not yet in it: copy the whole "
        "collection to a writable place and open it there."
    )
