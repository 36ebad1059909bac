"""What the server or its library says, as one sentence: what was wrong, where, and what to do. No password is in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors as sqlstate
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from semsearch.errors import (
    CollectionLocked,
    CollectionNotFound,
    EngineUnreachable,
    ReadOnly,
    SemsearchError,
    StorageError,
    UsageError,
)

# Of two transactions at once, one of which has to begin again.
COLLISIONS = (sqlstate.UniqueViolation, sqlstate.DeadlockDetected, sqlstate.SerializationFailure)


@contextmanager
def told(location: str) -> Iterator[None]:
    """Raise what psycopg raises as an error of semsearch's."""
    try:
        yield
    except PoolClosed:
        raise
    except (psycopg.Error, PoolTimeout, TooManyRequests) as error:
        raise sentence(error, location) from error


def is_lost(error: psycopg.Error) -> bool:
    """Whether the connection is gone, or the server is going or not yet there, so that another one may serve."""
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and (
        error.sqlstate is None
        or isinstance(error, sqlstate.AdminShutdown | sqlstate.CrashShutdown | sqlstate.CannotConnectNow)
    )


def sentence(error: Exception, location: str) -> SemsearchError:
    """The error of semsearch's for one of psycopg's."""
    said = _said(error)
    for kinds, made, words in _SENTENCES:
        if isinstance(error, kinds):
            return made(words.format(location=location, said=said))
    at_first = isinstance(error, psycopg.OperationalError | psycopg.ProgrammingError) and error.sqlstate is None
    if at_first and any(words in said for words in _WRONG_VALUES):
        return UsageError(
            f"{location} can't be used ({said}): set it right behind the '?' of the URL, or in libpq's variables (PG…)."
        )
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        if "authentication" in said or "password" in said:
            return EngineUnreachable(_REFUSED.format(location=location, said=said))
        if "does not exist" in said and 'role "' in said:
            return UsageError(
                f"{location} can't be used ({said}): name a role that is there, or have this one made (createuser)."
            )
        if "does not exist" in said:
            return UsageError(f"{location} can't be used ({said}): have the database made first (createdb).")
        return EngineUnreachable(
            f"{location} can't be reached, or went away ({said}). What was acknowledged is there; what was under way "
            "may be, and the same command again does it once."
        )
    return StorageError(f"{location} refused a statement ({said}).")


# Of a parameter of the connection: libpq's, psycopg's and the server's words
_WRONG_VALUES = (
    "bad value for connect_timeout",
    "for connection option",
    "invalid channel_binding value",
    "invalid gssencmode value",
    "invalid load_balance_hosts value",
    "invalid require_auth value",
    "invalid sslmode value",
    "invalid target_session_attrs value",
    "unrecognized configuration parameter",
    "invalid value for parameter",
)
_REFUSED = (
    "{location} does not let you in ({said}). A password comes from ~/.pgpass, a service file or PGPASSWORD; it may "
    "have expired."
)
_SENTENCES: tuple[tuple[tuple[type[Exception], ...], type[SemsearchError], str], ...] = (
    (
        (PoolTimeout, TooManyRequests),
        CollectionLocked,
        "too many ask {location} at once from this process: all its connections are taken; try again.",
    ),
    (
        (sqlstate.LockNotAvailable,),
        CollectionLocked,
        "another process keeps writing, or a table is locked, in {location}: waited as long as lock_timeout says; "
        "try again.",
    ),
    (
        COLLISIONS,
        CollectionLocked,
        "another process wrote the same at once in {location} ({said}): try again.",
    ),
    (
        (sqlstate.QueryCanceled,),
        StorageError,
        "{location} stopped a statement ({said}). Its statement_timeout may be too short for this: raise it for the "
        "role, or in the URL: ?options=-c%20statement_timeout=60000. Nothing was half done.",
    ),
    (
        (sqlstate.ReadOnlySqlTransaction,),
        ReadOnly,
        "{location} is read-only, a standby, say: nothing was written. Name all hosts in the URL, and "
        "target_session_attrs=read-write, to reach the one that takes writes.",
    ),
    (
        (sqlstate.DiskFull, sqlstate.OutOfMemory, sqlstate.InsufficientResources),
        StorageError,
        "{location} has no room for this ({said}): nothing of it was written.",
    ),
    (
        (sqlstate.InsufficientPrivilege,),
        StorageError,
        "the role has no right to do this in {location} ({said}): ask who looks after it.",
    ),
    ((sqlstate.InvalidPassword, sqlstate.InvalidAuthorizationSpecification), EngineUnreachable, _REFUSED),
    (
        (sqlstate.UndefinedTable, sqlstate.InvalidSchemaName),
        CollectionNotFound,
        "the collection was dropped from {location} just now.",
    ),
    (
        (sqlstate.InvalidCatalogName,),
        UsageError,
        "{location} can't be used ({said}): have the database made first (createdb).",
    ),
    (
        (sqlstate.NumericValueOutOfRange, sqlstate.ProgramLimitExceeded),
        StorageError,
        "{location} can't store this ({said}): nothing of it was written.",
    ),
)


def _said(error: Exception) -> str:
    """The server's first line, or libpq's last one, which tells of the last host."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        return error.diag.message_primary
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".")[:300] if lines else type(error).__name__
