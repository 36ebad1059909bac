"""The SQLite database through SQLAlchemy Core: connections, and read and write transactions opened by hand."""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError, MultipleResultsFound, NoResultFound
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from semsearch.errors import (
    CollectionClosed,
    CollectionDamaged,
    ReadOnly,
    SemsearchError,
)
from semsearch.local.store import schema
from semsearch.local.store.database_errors import FAULTS, OutOfMemory, Undecodable
from semsearch.local.store.failpoints import failpoint
from semsearch.local.store.location import Location
from semsearch.names import printable
from semsearch.plain_files import is_file, open_plain
from semsearch.search.fields import folded

FOLDED = "semsearch_folded"  # what filters call `folded` by, within statements
BUSY_SECONDS = 10
TURN_SECONDS = 30  # that a thread waits for its turn …
CONNECTED_THREADS = 64  # … while so many others have theirs
CONNECTIONS = (
    3 * CONNECTED_THREADS
)  # a thread may hold several: one for an iterator that is open, one for a search meanwhile
READY_CONNECTIONS = 8  # that nobody holds are kept open

_OF_SEVERAL = bytes.fromhex("d9d505f920a163d7")  # ends a journal that names another one


class Database:
    """Connections to one SQLite file.

    Reads happen inside `read()`, one consistent snapshot each; writes inside `write()`, which takes SQLite's write
    lock at once (a deferred transaction that turns into a write would fail without waiting).
    """

    def __init__(
        self,
        path: Path,
        *,
        mode: str = "rw",
        check: Callable[[sqlite3.Connection], None] | None = None,
        location: Location | None = None,
    ) -> None:
        """A database.

        Args:
            path: Its file.
            mode: "rw"; "rwc" to create; "ro" and "immutable" for media that can't be written.
            check: Begins each transaction; raises where the database must be left alone.
            location: Tells whether the file is still the one that it was: asked when a connection is made, when a
                transaction begins, and before it is committed.
        """
        self.path = path
        self.check = check
        self.location = location
        self.name = path.parent.name
        self.writable = mode in ("rw", "rwc")
        self.closed = False
        self.turns = _Turns()
        self.used: set[sqlite3.Connection] = set()  # connections that somebody holds
        self.ready: list[Connection] = []  # those that nobody holds: to fetch one from the pool takes a search longer
        query = "mode=ro&immutable=1" if mode == "immutable" else f"mode={mode}"
        uri = f"file:{quote(str(path.absolute()))}?{query}"

        def connect() -> sqlite3.Connection:
            check_files(path)
            connection = sqlite3.connect(
                uri,
                uri=True,
                timeout=BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=256,
            )
            try:
                self._prepare(connection)
            except UnicodeDecodeError as error:  # of the schema, or of what SQLite says of it
                connection.close()
                raise CollectionDamaged(
                    f"the database {path} is damaged: its schema holds bytes that are no text. Restore it from a "
                    "backup, or index the sources anew."
                ) from error
            except BaseException:
                connection.close()
                raise
            return connection

        self.engine: Engine = create_engine(
            "sqlite://",
            creator=connect,
            poolclass=QueuePool,
            pool_size=READY_CONNECTIONS,
            max_overflow=CONNECTIONS - READY_CONNECTIONS,
            pool_timeout=TURN_SECONDS,
            pool_reset_on_return=None,  # transactions are ended here, in every case
        )

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Nothing that a stranger wrote into the database runs, and what is damaged is noticed rather than followed."""
        if sys.version_info >= (3, 12):
            connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
        cursor = connection.cursor()
        cursor.execute("PRAGMA trusted_schema = OFF")  # no function that could do harm, in what the schema says
        cursor.execute("PRAGMA cell_size_check = ON")
        cursor.execute("PRAGMA mmap_size = 0")
        cursor.execute("PRAGMA foreign_keys = ON")
        found = schema.strange(frozenset(cursor.execute("SELECT sql FROM sqlite_master").fetchall()))
        if found is not None:
            (version,) = cursor.execute("PRAGMA user_version").fetchone()
            cursor.close()
            connection.close()
            if version > schema.SCHEMA_VERSION:  # which may have made it
                raise schema.newer(self.name, "schema", version, schema.SCHEMA_VERSION)
            raise CollectionDamaged(
                f"the database {self.path} holds what semsearch never puts there and what may run "
                f"({printable(found)}): it was left alone. Restore it from a backup, or index the sources anew."
            )
        if self.writable:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = FULL")  # a commit that returned survives a power cut
        cursor.close()
        connection.create_function(FOLDED, 1, folded, deterministic=True)
        if self.location is not None:
            self.location.recognise(connection)

    def read(self, *, check: bool = True) -> AbstractContextManager[Connection]:
        """A connection inside a read transaction: everything read in it belongs to one commit.

        Without `check`, whoever reads calls it where a commit is met that was not met before.
        """
        return _Session(self, "BEGIN", check=check)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection inside a write transaction, committed at the end and rolled back on any error."""
        if not self.writable:
            raise ReadOnly(f"{self.path.parent} can be searched but not written here; copy it to a writable place.")
        with _Session(self, "BEGIN IMMEDIATE") as connection:
            yield connection
            failpoint("commit")
            if self.location is not None:
                self.location.check()
            connection.exec_driver_sql("COMMIT")
            failpoint("committed")

    def plain(self) -> AbstractContextManager[Connection]:
        """A connection outside any transaction, for VACUUM and checkpoints."""
        return _Session(self)

    def told(self, error: BaseException) -> BaseException:
        """An error of the database, and of nothing else, as one of ours: what its users raise stays as it is."""
        cause = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(cause, sqlite3.DatabaseError) and not isinstance(cause, sqlite3.ProgrammingError):
            return self.explain(cause)  # a ProgrammingError is a mistake of ours
        if isinstance(cause, PoolTimeout | Undecodable | OutOfMemory | NoResultFound | MultipleResultsFound):
            return self.explain(cause)
        return error

    def explain(self, error: BaseException) -> SemsearchError:
        """An error as one of ours, with what to do."""
        code = getattr(error, "sqlite_errorcode", 0)
        codes = {code, code & 0xFF}  # one of its own, and of the family
        fault = next(
            fault
            for fault in FAULTS
            if isinstance(error, fault.raised) and not (fault.codes and codes.isdisjoint(fault.codes))
        )
        return fault.told_as(fault.sentence.format(name=self.name, path=self.path, error=error))

    def check_open(self) -> None:
        """Raise `CollectionClosed` after `close`."""
        if self.closed:
            raise closed(self.name)

    def close(self) -> None:
        """Close every connection, for good. What others still read ends in `CollectionClosed`."""
        self.closed = True
        for direct in list(self.used):
            with suppress(sqlite3.Error):
                direct.interrupt()  # its thread closes it
        self._let_go()
        self.engine.dispose()

    def take(self) -> Connection:
        """A connection that nobody holds."""
        with suppress(IndexError):
            return self.ready.pop()
        return self.engine.connect()

    def give_back(self, connection: Connection) -> None:
        """Let others have a connection, on which SQLite has no transaction open."""
        if self.closed or len(self.ready) >= READY_CONNECTIONS or connection.closed or connection.invalidated:
            connection.close()
            return
        if connection.in_transaction():  # as SQLAlchemy sees it, since its first statement
            connection.rollback()
        self.ready.append(connection)
        if self.closed:  # meanwhile
            self._let_go()

    def _let_go(self) -> None:
        with suppress(IndexError):
            while True:
                self.ready.pop().close()

    def forget(self) -> None:
        """Drop the connections without closing them: in a forked child they belong to the parent."""
        self.ready.clear()
        self.engine.dispose(close=False)


class _Session:
    """A connection for the time of a `with`: the thread's turn, a transaction if one is begun, errors told as ours.

    A class, for each search enters one, and generators within generators cost as much as the search of an index.
    """

    __slots__ = ("_begin", "_check", "_connection", "_database", "_direct", "_thread")

    def __init__(self, database: Database, begin: str = "", *, check: bool = True) -> None:
        self._database, self._begin, self._check = database, begin, check
        self._thread: int | None = None
        self._connection: Connection | None = None

    def __enter__(self) -> Connection:
        database = self._database
        try:
            self._thread = database.turns.take()
            database.check_open()
            connection = self._connection = database.take()
            direct = self._direct = driver(connection)
            database.used.add(direct)
            database.check_open()  # it may have been closed while this thread waited
            if self._begin:
                direct.execute(self._begin)
                if database.location is not None:
                    database.location.check()
                if self._check and database.check is not None:
                    database.check(direct)
            return connection
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        database = self._database
        try:
            if self._connection is not None:
                self._end(self._connection)
        except sqlite3.Error as failed:
            if error is None:
                raise database.told(failed) from failed
        finally:
            if self._thread is not None:
                database.turns.give_back(self._thread)
        if error is not None and (told := database.told(error)) is not error:
            if database.location is not None and not database.closed:
                database.location.check()  # what fails where another one lies by now is no fault of this one
            raise told from error

    def _end(self, connection: Connection) -> None:
        """Roll back what was not committed, unless SQLite has done so by itself, and give the connection back."""
        database, direct = self._database, self._direct
        database.used.discard(direct)
        try:
            if direct.in_transaction:
                direct.execute("ROLLBACK")
        except sqlite3.Error:
            if not database.closed:  # then it is closed next, which ends the transaction as well
                raise
        finally:
            if database.closed:
                connection.detach()  # nobody takes it from the pool any more
            database.give_back(connection)


class _Turns:
    """So many threads at a time may hold connections; one that has its turn never waits for another one.

    If it did, threads that hold one connection each, and wait for a second, would wait for ever.
    """

    def __init__(self) -> None:
        self._held: dict[int, int] = {}  # connections by thread
        self._lock = threading.Lock()
        self._free = threading.Condition(self._lock)
        self._waiting = 0

    def take(self) -> int:
        """Hold one more connection; for which thread, as `give_back` wants to know it: another one may end it.

        Raises:
            PoolTimeout: The others kept theirs.
        """
        thread = threading.get_ident()
        with self._lock:
            held = self._held.get(thread, 0)
            if held >= CONNECTIONS:  # nobody but itself could give one back
                raise PoolTimeout
            if not held and len(self._held) >= CONNECTED_THREADS:
                self._wait()
            self._held[thread] = held + 1
        return thread

    def _wait(self) -> None:
        self._waiting += 1
        try:
            if not self._free.wait_for(lambda: len(self._held) < CONNECTED_THREADS, TURN_SECONDS):
                raise PoolTimeout
        finally:
            self._waiting -= 1

    def give_back(self, thread: int) -> None:
        """Hold one less."""
        with self._lock:
            if self._held[thread] > 1:
                self._held[thread] -= 1
                return
            del self._held[thread]
            if self._waiting:
                self._free.notify()


def check_files(path: Path) -> None:
    """Refuse a database that would lead SQLite to other files.

    SQLite follows links, and Python can't tell it not to. A journal of several databases names a file, which SQLite
    deletes.

    Raises:
        NotPlain: The database, or a log beside it, is no plain file.
        CollectionDamaged: There is such a journal; semsearch never makes one.
    """
    for suffix in ("", "-wal", "-shm", "-journal"):
        file = path.with_name(path.name + suffix)
        if is_file(file) and suffix == "-journal" and _end(file) == _OF_SEVERAL:
            raise CollectionDamaged(
                f"{file} belongs to several databases, as no journal of semsearch's does, and SQLite would delete the "
                "file that it names. Restore the collection from a backup, or take the journal away."
            )


def _end(file: Path) -> bytes:
    with open_plain(file) as journal:
        journal.seek(max(journal.seek(0, 2) - len(_OF_SEVERAL), 0))
        return bytes(journal.read())


def closed(name: str) -> CollectionClosed:
    """The error of whatever is asked of a closed collection."""
    return CollectionClosed(f"collection '{name}' is closed: open it again with semsearch.open('{name}').")


def driver(connection: Connection) -> sqlite3.Connection:
    """SQLite's own connection beneath: a statement that every search runs costs a tenth there."""
    direct = connection.connection.driver_connection
    assert isinstance(direct, sqlite3.Connection)
    return direct
