"""The SQLite database through SQLAlchemy Core: connections, and read and write transactions opened by hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import QueuePool

from semsearch.errors import (
    CollectionDamaged,
    CollectionError,
    CollectionLocked,
    ReadOnly,
    SemsearchError,
    StorageError,
)
from semsearch.local.store.failpoints import failpoint

BUSY_SECONDS = 10


class Database:
    """Connections to one SQLite file.

    Reads happen inside `read()`, one consistent snapshot each; writes inside `write()`, which takes SQLite's write
    lock at once (a deferred transaction that turns into a write would fail without waiting).
    """

    def __init__(self, path: Path, *, mode: str = "rw") -> None:
        """`mode`: "rw"; "rwc" to create; "ro" and "immutable" for media that can't be written."""
        self.path = path
        self.writable = mode in ("rw", "rwc")
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
            max_overflow=56,
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
        with self._errors(), self.engine.connect() as connection:
            direct = driver(connection)
            direct.execute("BEGIN")
            try:
                yield connection
            finally:
                direct.execute("ROLLBACK")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection inside a write transaction, committed at the end and rolled back on any error."""
        if not self.writable:
            raise ReadOnly(f"{self.path.parent} can be searched but not written here; copy it to a writable place.")
        with self._errors(), self.engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
                failpoint("commit")
                connection.exec_driver_sql("COMMIT")
                failpoint("committed")
            except BaseException:
                if _in_transaction(connection):  # a full disk makes SQLite roll back by itself
                    connection.exec_driver_sql("ROLLBACK")
                raise

    @contextmanager
    def plain(self) -> Iterator[Connection]:
        """A connection outside any transaction, for VACUUM and checkpoints."""
        with self._errors(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except DatabaseError as error:
            raise self.explain(error.orig if error.orig is not None else error) from error
        except sqlite3.DatabaseError as error:
            raise self.explain(error) from error
        except SemsearchError:
            raise
        except JSONDecodeError as error:
            raise self.explain(error) from error
        except (LookupError, ValueError, TypeError, OverflowError, MemoryError) as error:
            if self._sound():
                raise
            raise self.explain(error) from error  # values that no sound database holds

    def _sound(self) -> bool:
        """Whether SQLite finds nothing wrong; looked for when something else has gone wrong."""
        try:
            with self.engine.connect() as connection:
                said = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar()
                return said == "ok" and connection.exec_driver_sql("PRAGMA foreign_key_check").first() is None
        except (DatabaseError, ValueError):
            return False

    def explain(self, error: BaseException) -> SemsearchError:
        """SQLite's error as one of ours, with what to do."""
        name = self.path.parent.name
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return CollectionLocked(f"collection '{name}' is being written by another process; try again in a moment.")
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return CollectionDamaged(
                f"the database of collection '{name}' is damaged ({error}). Restore it from a backup with 'semsearch "
                "restore', or index the sources anew under another name; the vector and index files were left alone."
            )
        if code == sqlite3.SQLITE_FULL:
            return StorageError(
                f"the disk that holds {self.path} is full. Free some space and run the same command again; what was "
                "committed is safe."
            )
        if code == sqlite3.SQLITE_READONLY:
            return ReadOnly(f"{self.path} can't be written: check permissions, or copy the collection elsewhere.")
        if code == sqlite3.SQLITE_CANTOPEN:
            return CollectionError(
                f"the database {self.path} can't be opened ({error}): check that it is there and readable."
            )
        if code == sqlite3.SQLITE_IOERR:
            return StorageError(
                f"reading or writing {self.path} failed ({error}): check the disk; what was committed is safe."
            )
        return CollectionDamaged(
            f"the database of collection '{name}' could not be used: {error}. Look it over with 'semsearch check "
            f"{name}', and restore it from a backup if that finds damage."
        )

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def forget(self) -> None:
        """Drop the connections without closing them: in a forked child they belong to the parent."""
        self.engine.dispose(close=False)


def driver(connection: Connection) -> sqlite3.Connection:
    """SQLite's own connection beneath: a statement that every search runs costs a tenth there."""
    direct = connection.connection.driver_connection
    assert isinstance(direct, sqlite3.Connection)
    return direct


def _in_transaction(connection: Connection) -> bool:
    direct: Any = connection.connection.driver_connection
    return bool(direct is not None and direct.in_transaction)
