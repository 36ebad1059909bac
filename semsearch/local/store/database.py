"""The SQLite database through SQLAlchemy Core: connections, and read and write transactions opened by hand."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ContextDecorator, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, MultipleResultsFound, NoResultFound
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from semsearch.errors import (
    CollectionClosed,
    CollectionDamaged,
    CollectionError,
    CollectionLocked,
    ReadOnly,
    SemsearchError,
    StorageError,
)
from semsearch.local.store.failpoints import failpoint

BUSY_SECONDS = 10
TURN_SECONDS = 30  # that a thread waits for its turn …
CONNECTED_THREADS = 64  # … while so many others have theirs
CONNECTIONS = (
    3 * CONNECTED_THREADS
)  # a thread may hold several: one for an iterator that is open, one for a search meanwhile


class Undecodable(Exception):
    """A value in the database that no sound one holds; leaves `Database` as `CollectionDamaged`."""


class decoding(ContextDecorator):
    """Around whatever makes something of the values of rows, and around nothing else: what fails there is damage.

    A class and no generator, for each search enters it several times.
    """

    def __enter__(self) -> None:
        """Nothing yet."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """What fails is damage, unless it is one of our own errors."""
        told = (LookupError, ValueError, TypeError, OverflowError, MemoryError)
        if isinstance(error, told) and not isinstance(error, SemsearchError):
            raise Undecodable(f"{type(error).__name__}: {error}") from error


class Fault(NamedTuple):
    """How an error of the database is told."""

    raised: type[Exception]
    codes: tuple[int, ...]  # SQLite's, one of which it has; none: any
    told_as: type[SemsearchError]
    sentence: str  # of {name}, {path} and {error}


FAULTS = (
    Fault(
        PoolTimeout,
        (),
        CollectionLocked,
        "too many threads use collection '{name}' at once, or iterators over it were left open: read them to their "
        "end or close them, and try again in a moment.",
    ),
    Fault(
        sqlite3.Error,
        (sqlite3.SQLITE_INTERRUPT,),
        CollectionClosed,
        "collection '{name}' was closed meanwhile: open it again with semsearch.open('{name}').",
    ),
    Fault(
        sqlite3.Error,
        (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED),
        CollectionLocked,
        "collection '{name}' is being written by another process; try again in a moment.",
    ),
    Fault(
        sqlite3.Error,
        (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB),
        CollectionDamaged,
        "the database of collection '{name}' is damaged ({error}). Restore it from a backup with 'semsearch restore', "
        "or index the sources anew under another name; the vector and index files were left alone.",
    ),
    Fault(
        sqlite3.Error,
        (sqlite3.SQLITE_FULL,),
        StorageError,
        "the disk that holds {path} is full. Free some space and run the same command again; what was committed is "
        "safe.",
    ),
    Fault(
        sqlite3.Error,
        (sqlite3.SQLITE_READONLY,),
        ReadOnly,
        "{path} can't be written: check permissions, or copy the collection elsewhere.",
    ),
    Fault(
        sqlite3.Error,
        (sqlite3.SQLITE_CANTOPEN,),
        CollectionError,
        "the database {path} can't be opened ({error}): check that it is there and readable.",
    ),
    Fault(
        sqlite3.Error,
        (sqlite3.SQLITE_IOERR,),
        StorageError,
        "reading or writing {path} failed ({error}): check the disk; what was committed is safe.",
    ),
    Fault(
        Exception,
        (),
        CollectionDamaged,
        "the database of collection '{name}' could not be used: {error}. Look it over with 'semsearch check {name}', "
        "and restore it from a backup if that finds damage.",
    ),
)
"""The first that fits tells the error."""


class Database:
    """Connections to one SQLite file.

    Reads happen inside `read()`, one consistent snapshot each; writes inside `write()`, which takes SQLite's write
    lock at once (a deferred transaction that turns into a write would fail without waiting).
    """

    def __init__(
        self, path: Path, *, mode: str = "rw", check: Callable[[sqlite3.Connection], None] | None = None
    ) -> None:
        """A database.

        Args:
            path: Its file.
            mode: "rw"; "rwc" to create; "ro" and "immutable" for media that can't be written.
            check: Begins each transaction; raises where the database must be left alone.
        """
        self.path = path
        self._check = check
        self.name = path.parent.name
        self.writable = mode in ("rw", "rwc")
        self._closed = False
        self._turns = _Turns()
        self._used: set[sqlite3.Connection] = set()
        query = "mode=ro&immutable=1" if mode == "immutable" else f"mode={mode}"
        uri = f"file:{quote(str(path.absolute()))}?{query}"

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(
                uri,
                uri=True,
                timeout=BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=256,
            )

        self.engine: Engine = create_engine(
            "sqlite://",
            creator=connect,
            poolclass=QueuePool,
            pool_size=8,
            max_overflow=CONNECTIONS - 8,
            pool_timeout=TURN_SECONDS,
            pool_reset_on_return=None,  # transactions are ended here, in every case
        )
        event.listen(self.engine, "connect", self._prepare)

    def _prepare(self, connection: sqlite3.Connection, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        if self.writable:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = FULL")  # a commit that returned survives a power cut
        cursor.close()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection inside a read transaction: everything read in it belongs to one commit."""
        with self.plain() as connection:
            direct = driver(connection)
            direct.execute("BEGIN")
            try:
                if self._check is not None:
                    self._check(direct)
                yield connection
            finally:
                self._roll_back(direct)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection inside a write transaction, committed at the end and rolled back on any error."""
        if not self.writable:
            raise ReadOnly(f"{self.path.parent} can be searched but not written here; copy it to a writable place.")
        with self.plain() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                if self._check is not None:
                    self._check(driver(connection))
                yield connection
                failpoint("commit")
                connection.exec_driver_sql("COMMIT")
                failpoint("committed")
            except BaseException:
                self._roll_back(driver(connection))
                raise

    @contextmanager
    def plain(self) -> Iterator[Connection]:
        """A connection outside any transaction, for VACUUM and checkpoints."""
        with self._errors(), self._turns.turn():
            self._check_open()
            with self.engine.connect() as connection:
                direct = driver(connection)
                self._used.add(direct)
                try:
                    self._check_open()  # it may have been closed while this thread waited
                    yield connection
                finally:
                    self._used.discard(direct)
                    if self._closed:
                        connection.detach()  # nobody takes it from the pool any more

    def _check_open(self) -> None:
        if self._closed:
            raise closed(self.name)

    def _roll_back(self, direct: sqlite3.Connection) -> None:
        """End the transaction, unless SQLite has done so by itself, as on a full disk."""
        if direct.in_transaction:
            try:
                direct.execute("ROLLBACK")
            except sqlite3.Error:
                if not self._closed:  # then it is closed next, which ends the transaction as well
                    raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Tell errors of the database, and of nothing else, as ours: what its users raise passes as it is."""
        try:
            yield
        except sqlite3.ProgrammingError:
            raise  # a mistake of ours
        except (PoolTimeout, sqlite3.DatabaseError, Undecodable, NoResultFound, MultipleResultsFound) as error:
            raise self.explain(error) from error
        except DBAPIError as error:
            if isinstance(error.orig, sqlite3.ProgrammingError) or not isinstance(error.orig, sqlite3.DatabaseError):
                raise
            raise self.explain(error.orig) from error

    def explain(self, error: BaseException) -> SemsearchError:
        """An error as one of ours, with what to do."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        fault = next(
            fault for fault in FAULTS if isinstance(error, fault.raised) and (not fault.codes or code in fault.codes)
        )
        return fault.told_as(fault.sentence.format(name=self.name, path=self.path, error=error))

    def close(self) -> None:
        """Close every connection, for good. What others still read ends in `CollectionClosed`."""
        self._closed = True
        for direct in list(self._used):
            with suppress(sqlite3.Error):
                direct.interrupt()  # its thread closes it
        self.engine.dispose()

    def forget(self) -> None:
        """Drop the connections without closing them: in a forked child they belong to the parent."""
        self.engine.dispose(close=False)


class _Turns:
    """So many threads at a time may hold connections; one that has its turn never waits for another one.

    If it did, threads that hold one connection each, and wait for a second, would wait for ever.
    """

    def __init__(self) -> None:
        self._free = threading.Semaphore(CONNECTED_THREADS)
        self._held: dict[int, int] = {}  # connections by thread
        self._lock = threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold one more connection."""
        thread = threading.get_ident()
        with self._lock:
            mine = thread in self._held
            if mine:
                self._held[thread] += 1
        if not mine:
            if not self._free.acquire(timeout=TURN_SECONDS):
                raise PoolTimeout
            with self._lock:
                self._held[thread] = 1
        try:
            yield
        finally:
            with self._lock:  # of the thread that began: a generator may be ended by another one
                self._held[thread] -= 1
                last = not self._held[thread]
                if last:
                    del self._held[thread]
            if last:
                self._free.release()


def closed(name: str) -> CollectionClosed:
    """The error of whatever is asked of a closed collection."""
    return CollectionClosed(f"collection '{name}' is closed: open it again with semsearch.open('{name}').")


def driver(connection: Connection) -> sqlite3.Connection:
    """SQLite's own connection beneath: a statement that every search runs costs a tenth there."""
    direct = connection.connection.driver_connection
    assert isinstance(direct, sqlite3.Connection)
    return direct
