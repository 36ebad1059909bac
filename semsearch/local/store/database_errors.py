"""What goes wrong with the SQLite database, as one of our own errors, with what to do."""

from __future__ import annotations

import sqlite3
from contextlib import ContextDecorator
from typing import NamedTuple

from sqlalchemy.exc import TimeoutError as PoolTimeout

from semsearch.errors import (
    CollectionClosed,
    CollectionDamaged,
    CollectionError,
    CollectionLocked,
    ReadOnly,
    SemsearchError,
    StorageError,
)


class Undecodable(Exception):
    """A value in the database that no sound one holds; leaves `Database` as `CollectionDamaged`."""


class OutOfMemory(Exception):
    """There was not room for what the database holds; leaves `Database` as `StorageError`."""


class decoding(ContextDecorator):
    """Around whatever makes something of the values of rows, and around nothing else.

    What fails there is damage, or a lack of memory.

    A class and no generator, for each search enters it several times.
    """

    def __enter__(self) -> None:
        """Nothing yet."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """What fails is damage, unless it is one of our own errors."""
        if isinstance(error, MemoryError):
            raise OutOfMemory(str(error) or "MemoryError") from error
        told = (LookupError, ValueError, TypeError, AttributeError, OverflowError)
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
        OutOfMemory,
        (),
        StorageError,
        "there is not enough memory to read collection '{name}' ({error}): end other programs, or have fewer "
        "collections open; nothing is lost. If there is plenty, look it over with 'semsearch check {name}'.",
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
        (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE),  # to read takes 32 KB that readers share, too
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
        "the database {path} can't be opened ({error}): check that it is there and readable, and that this process may "
        "open more files ('ulimit -n').",
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
