"""Connections to one database: a pool, transactions that read one state, those that write, the writers' turn.

Who writes documents shares the turn with others that do; who changes what all documents depend on has it alone.

A transaction begins on another connection where the first one turns out to be lost, for `RECONNECT_SECONDS`:
that is how a failover looks from here. One that has begun is repeated where that does no harm (`repeated`), and else
not: its caller may have seen of it. Where the address asks for standbys, writes go to the primary all the same, and so
do the reads of whoever has written.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

from semsearch.errors import CollectionClosed, SemsearchError
from semsearch.postgres.array_format import register_vector
from semsearch.postgres.database_address import DatabaseAddress
from semsearch.postgres.server_errors import COLLISIONS, is_lost, told
from semsearch.postgres.watched_session import AT_WORK, WatchedSession

DatabaseSession: TypeAlias = psycopg.Connection[TupleRow]

logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # what it warns of is told where it matters

Repeated = TypeVar("Repeated")

MOST_CONNECTIONS = 16  # of a process to one collection
RECONNECT_SECONDS = 10.0  # seconds: for a lost server, and for a connection of the pool
LOCK_TIMEOUT = "10s"  # for the writer's turn and for tables

# The server looks, too, whether its client is still there, whose locks it would else keep.
# A planner that knows each query's own numbers, and `exact` that stays exact: psycopg prepares what it sees often.
# Compiling a statement takes longer than running it. A walk of the graph goes on until enough was let through.
_SETTINGS = b"""
SELECT 'vector'::regtype::oid::int8, '[1]'::vector, set_config('plan_cache_mode', 'force_custom_plan', false),
    set_config('jit', 'off', false), set_config('work_mem', '32MB', false),
    set_config('hnsw.iterative_scan', 'relaxed_order', false),
    CASE WHEN current_setting('lock_timeout') = '0' THEN set_config('lock_timeout', %(lock)s, false) END,
    set_config('tcp_keepalives_idle', '30', false), set_config('tcp_keepalives_interval', '10', false),
    set_config('tcp_keepalives_count', '3', false), set_config('client_connection_check_interval', '10s', false)
"""


_TURN = b"SELECT pg_advisory_xact_lock(%s)"
_SHARED_TURN = b"SELECT pg_advisory_xact_lock_shared(%s)"

# What `at_once` leaves behind for its next call, as all others want it.
_USUAL = b"SELECT set_config('enable_sort', 'on', false)"


def connected(address: DatabaseAddress, *, writes: bool = False) -> WatchedSession:
    """One connection outside of any pool, each statement of which is a transaction of its own."""
    session = _made(address, writes)
    session.at_work = partial(_is_at_work, address, writes)
    return session


def _made(address: DatabaseAddress, writes: bool) -> WatchedSession:
    with told(address.location):
        return WatchedSession.connect(**(address.writing if writes else address.parameters), autocommit=True)


def _is_at_work(address: DatabaseAddress, writes: bool, process: int) -> bool:
    with _made(address, writes) as session:
        return bool(one(session, AT_WORK, (process,)))


class DatabaseConnections:
    """The connections of one collection. Threads may share them; a forked child makes its own."""

    def __init__(self, address: DatabaseAddress, schemas: list[str], name: str) -> None:
        """`schemas` are looked in for tables and types, in this order."""
        self.location = address.location
        self._address = address
        self._path = ", ".join('"' + schema.replace('"', '""') + '"' for schema in schemas)
        self._name = name
        self._closed = False
        self._firsts: WeakKeyDictionary[DatabaseSession, bytes] = WeakKeyDictionary()
        self._own = threading.local()  # the connection that holds the writer's turn, of each thread
        self._make()

    def _make(self) -> None:
        self._pid = os.getpid()
        self._pool = self._primary = self._made(self._address.parameters)
        self._wrote = self._address.parameters == self._address.writing  # from then on reads go where writes went
        if not self._wrote:
            self._primary = self._made(self._address.writing)

    def _made(self, parameters: dict[str, Any]) -> ConnectionPool[WatchedSession]:
        return ConnectionPool(
            connection_class=WatchedSession,
            kwargs={**parameters, "autocommit": True},
            min_size=0,
            max_size=MOST_CONNECTIONS,
            open=True,
            timeout=RECONNECT_SECONDS,
            num_workers=1,
            configure=self._configure,
            reconnect_timeout=RECONNECT_SECONDS,
        )

    def _configure(self, session: WatchedSession) -> None:
        session.at_work = partial(_is_at_work, self._address, self._wrote)
        session.execute("SELECT set_config('search_path', %s, false)", (self._path,))  # where the type is found
        register_vector(session, one(session, _SETTINGS, {"lock": LOCK_TIMEOUT}))

    def read_from_primary(self) -> None:
        """Read where writes go from now on: what was just written may not be on the standbys yet."""
        self._wrote = True

    def check_open(self) -> None:
        """Raise `CollectionClosed` after `close`."""
        if self._closed:
            raise CollectionClosed(f"collection '{self._name}' was closed: open it again.")

    def close(self) -> None:
        """Let go of all connections; again does nothing."""
        self._closed = True
        if self._pid == os.getpid():
            self._pool.close()
            self._primary.close()

    @contextmanager
    def session(self) -> Iterator[DatabaseSession]:
        """A connection without a transaction: for what can't run in one."""
        with told(self.location), self._taken(writes=True) as session:
            yield session

    @contextmanager
    def reading(self, first: bytes) -> Iterator[tuple[DatabaseSession, TupleRow]]:
        """A transaction that sees one state, whatever is written meanwhile, and the row of its `first` statements."""
        statement = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; " + first
        with told(self.location), self._begun(statement, as_it_is=True) as begun:
            yield begun

    def at_once(self, first: bytes, statement: bytes, values: Mapping[str, Any] | Sequence[Any]) -> list[TupleRow]:
        """The rows of a statement that reads, in a transaction of its own: one round trip.

        Args:
            first: Sets up the session; sent where the connection's last one was another.
            statement: What is asked.
            values: Its parameters.
        """
        deadline = time.monotonic() + RECONNECT_SECONDS
        with told(self.location):
            while True:
                with self._taken(as_it_is=True) as session:
                    try:
                        if self._firsts.get(session) != first:
                            session.execute(first)
                            self._firsts[session] = first
                        return session.execute(statement, values, binary=True).fetchall()
                    except psycopg.Error as error:
                        if not is_lost(error) or time.monotonic() > deadline:
                            raise

    @contextmanager
    def writing(self, turn: int, *, shared: bool = False) -> Iterator[DatabaseSession]:
        """A transaction of whoever has the writer's `turn`; waits for it, then commits, or nothing is there.

        `shared`: with others that share it, too.
        """
        held: DatabaseSession | None = getattr(self._own, "session", None)
        with told(self.location):
            if held is not None:
                with held.transaction():
                    yield held
                return
            statement = b"BEGIN; SELECT 1"
            with self._begun(statement, writes=True) as (session, _):
                session.execute(_SHARED_TURN if shared else _TURN, (turn,))
                yield session

    @contextmanager
    def holding(self, turn: int) -> Iterator[None]:
        """Have the writer's turn over several transactions of this thread."""
        if getattr(self._own, "session", None) is not None:
            yield
            return
        with told(self.location), self._taken(writes=True) as session:
            session.execute("SELECT pg_advisory_lock(%s)", (turn,))
            self._own.session = session
            try:
                yield
            finally:
                self._own.session = None
                _end(session, b"SELECT pg_advisory_unlock(%s)", (turn,))

    @contextmanager
    def trying(self, turn: int) -> Iterator[DatabaseSession | None]:
        """A connection that has a turn, or None where somebody else has it."""
        with told(self.location), self._taken(writes=True) as session:
            row = session.execute("SELECT pg_try_advisory_lock(%s)", (turn,)).fetchone()
            if row is None or not row[0]:
                yield None
                return
            try:
                yield session
            finally:
                _end(session, b"SELECT pg_advisory_unlock(%s)", (turn,))

    def repeated(self, work: Callable[[], Repeated], *, lost: bool = True) -> Repeated:
        """What `work`, one transaction, gives; it is done again, for a while, where another writer's came between.

        And, if `lost`, where its connection is lost, when it may have been done: again must do no harm then. Of a
        thread that holds the writer's turn nothing is repeated, since its turn is lost with the connection.
        """
        deadline = time.monotonic() + RECONNECT_SECONDS
        while True:
            try:
                return work()
            except SemsearchError as error:
                cause = error.__cause__
                again = isinstance(cause, COLLISIONS) or (lost and isinstance(cause, psycopg.Error) and is_lost(cause))
                held = getattr(self._own, "session", None) is not None
                if not again or held or time.monotonic() > deadline:
                    raise

    @contextmanager
    def _begun(
        self, statement: bytes, *, as_it_is: bool = False, writes: bool = False
    ) -> Iterator[tuple[DatabaseSession, TupleRow]]:
        """A transaction that `statement` begins, ended by a commit, or taken back where something is raised."""
        deadline = time.monotonic() + RECONNECT_SECONDS
        while True:
            with self._taken(as_it_is=as_it_is, writes=writes) as session:
                try:
                    cursor = session.execute(statement)
                    while cursor.nextset():  # that of the last one
                        pass
                    row = cursor.fetchone()
                except psycopg.Error as error:
                    _end(session, b"ROLLBACK")
                    if not is_lost(error) or time.monotonic() > deadline:
                        raise
                    continue
                assert row is not None
                try:
                    yield session, row
                except BaseException:
                    _end(session, b"ROLLBACK")
                    raise
                session.execute("COMMIT")
                return

    @contextmanager
    def _taken(self, *, as_it_is: bool = False, writes: bool = False) -> Iterator[DatabaseSession]:
        """A connection of the pool; `as_it_is`: whoever takes it sets up all that `at_once` may have."""
        self.check_open()
        if self._pid != os.getpid():
            self._make()
        self._wrote |= writes
        pool = self._primary if self._wrote else self._pool
        try:
            session = pool.getconn()
        except psycopg.OperationalError:  # of the pool: nothing was to be had in all that time
            connected(self._address, writes=self._wrote).close()  # which says why
            raise
        try:
            if not as_it_is and self._firsts.pop(session, None) is not None:
                session.execute(_USUAL)
            yield session
        finally:
            pool.putconn(session)


def _end(session: DatabaseSession, statement: bytes, values: Sequence[Any] = ()) -> None:
    """End a transaction, or a turn, by a statement.

    A connection that takes no statement is closed, which ends both: its last one was broken off by Ctrl-C, say. What
    was raised there is what counts; that this fails, too, would be taken for a lost server, and all done again.
    """
    try:
        if not session.closed:
            session.execute(statement, values)
    except psycopg.Error:
        session.close()


def quoted(name: str) -> bytes:
    """A name as SQL has it."""
    return sql.Identifier(name).as_bytes(None)


def one(session: DatabaseSession, statement: bytes, values: Any = None) -> Any:
    """The only value of the only row."""
    row = session.execute(statement, values).fetchone()
    return None if row is None else row[0]
