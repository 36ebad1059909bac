"""The collections in one PostgreSQL database."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from semsearch.errors import CollectionExists, StorageError, UsageError
from semsearch.home import Home
from semsearch.names import check_name
from semsearch.postgres import tables
from semsearch.postgres.connections import DatabaseConnections, DatabaseSession, connected, one, quoted
from semsearch.postgres.database_address import DatabaseAddress
from semsearch.postgres.engine import PostgresEngine, first_rows
from semsearch.postgres.server_errors import told

LEAST_PGVECTOR = (0, 8, 4)  # before it VACUUM could fail on a graph


class PostgresHome(Home):
    """A database, in which one schema lists the collections, and each collection has one of its own."""

    def __init__(self, place: str) -> None:
        """`place`: `postgresql://user@host/database`; see `DatabaseAddress`."""
        self._address = DatabaseAddress(place)
        self._schema = self._address.schema
        self.location = self._address.location

    def names(self) -> Sequence[str]:
        """See `Home.names`."""
        with told(self.location), connected(self._address) as session:
            if not self._is_there(session):
                return []
            rows = session.execute(b"SELECT name FROM " + self._list())
            return sorted(name for (name,) in rows)

    def create(
        self, name: str, settings: Mapping[str, Any], dim: int | None, *, device: str | None = None
    ) -> PostgresEngine:
        """See `Home.create`; searches compute on the server."""
        name = check_name(name)
        with told(self.location), connected(self._address, writes=True) as session, session.transaction():
            # two that make the first collection at once would both make the list of them
            session.execute(b"SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"semsearch {self._schema}",))
            extension = self._extension(session)
            self._make_list(session)
            number = one(
                session,
                b"INSERT INTO " + self._list() + b" (name) VALUES (%s) ON CONFLICT DO NOTHING RETURNING number",
                (name,),
            )
            if number is None:
                raise CollectionExists(
                    f"a collection '{name}' is there already, in {self.location}: open it, choose another name, or "
                    f"take it away with 'semsearch drop {name}'."
                )
            while one(session, b"SELECT to_regnamespace(%s)", (self._schema_of(number),)) is not None:  # another's
                renumber = b"UPDATE " + self._list() + b" SET number = DEFAULT WHERE number = %s RETURNING number"
                number = one(session, renumber, (number,))
            schema = self._schema_of(number)
            self._make_schema(session, schema)
            session.execute(b"SET LOCAL search_path = " + quoted(schema) + b", " + quoted(extension))
            for statement in tables.statements(tables.collection):
                session.execute(statement)
            if dim is not None and dim <= tables.PLAIN_COMPONENTS:  # else a scan looks each vector up elsewhere
                session.execute(b"ALTER TABLE passages ALTER COLUMN vector SET STORAGE PLAIN")
            first_rows(session, settings, dim)
        return self._engine(name, schema, extension, new=True)

    def open(self, name: str, *, device: str | None = None) -> PostgresEngine:
        """See `Home.open`; searches compute on the server."""
        name = check_name(name)
        with told(self.location), connected(self._address) as session:
            number = None
            if self._is_there(session):
                number = one(session, b"SELECT number FROM " + self._list() + b" WHERE name = %s", (name,))
            if number is None:
                raise self.missing(name)
            extension = self._extension(session)
        return self._engine(name, self._schema_of(number), extension)

    def drop(self, name: str) -> None:
        """See `Home.drop`."""
        name = check_name(name)
        with told(self.location), connected(self._address, writes=True) as session, session.transaction():
            number = None
            if self._is_there(session):
                number = one(session, b"DELETE FROM " + self._list() + b" WHERE name = %s RETURNING number", (name,))
            if number is None:
                raise self.missing(name)
            session.execute(b"SET LOCAL lock_timeout = '10s'")
            session.execute(b"DROP SCHEMA " + quoted(self._schema_of(number)) + b" CASCADE")

    def _engine(self, name: str, schema: str, extension: str, *, new: bool = False) -> PostgresEngine:
        connections = DatabaseConnections(self._address, [schema, extension], name)
        if new:
            connections.read_from_primary()
        return PostgresEngine(name, self.location, schema, connections)

    def _list(self) -> bytes:
        return quoted(self._schema) + b".collections"

    def _schema_of(self, number: int) -> str:
        return f"{self._schema}_{number}"

    def _is_there(self, session: DatabaseSession) -> bool:
        return one(session, b"SELECT to_regclass(%s)", (f"{self._schema}.collections",)) is not None

    def _make_list(self, session: DatabaseSession) -> None:
        if self._is_there(session):
            return
        if one(session, b"SELECT to_regclass(%s)", (f"{self._schema}.passages",)) is not None:
            raise UsageError(
                f"the schema '{self._schema}' is a collection's own, with which a list of others would be dropped: "
                "name another behind ?schema=, or leave it out."
            )
        if one(session, b"SELECT to_regnamespace(%s)", (self._schema,)) is None:
            self._make_schema(session, self._schema)
        session.execute(b"SET LOCAL search_path = " + quoted(self._schema))
        for statement in tables.statements(tables.home):
            session.execute(statement)

    def _make_schema(self, session: DatabaseSession, name: str) -> None:
        try:
            session.execute(b"CREATE SCHEMA " + quoted(name))
        except psycopg.errors.InsufficientPrivilege:
            raise StorageError(
                f"the role may make no schema in {self.location}, and each collection is one. Ask its administrator "
                "for: GRANT CREATE ON DATABASE … TO …;"
            ) from None

    def _extension(self, session: DatabaseSession) -> str:
        """The schema that pgvector lies in, which is made if the role may make it.

        Raises:
            UsageError: It is too old, or is not there and can't be made by this role; says what its administrator runs.
        """
        found = self._version(session)
        if found is None:
            if one(session, b"SHOW server_encoding") != "UTF8":
                raise UsageError(f"the database {self.location} is not in UTF8: texts of every script need that.")
            try:
                with session.transaction():
                    session.execute(b"CREATE EXTENSION vector SCHEMA public")
            except psycopg.errors.InsufficientPrivilege:
                raise UsageError(
                    f"the role may not make extensions in {self.location}. Have its administrator run there, once: "
                    "CREATE EXTENSION vector;"
                ) from None
            except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile):
                raise UsageError(
                    f"the server of {self.location} has no pgvector: install the package (postgresql-18-pgvector, say) "
                    f"in version {_dotted(LEAST_PGVECTOR)} or newer, then run CREATE EXTENSION vector;"
                ) from None
            found = self._version(session)
            assert found is not None
        version, schema = found
        if tuple(map(int, re.findall(r"\d+", version)[:3])) < LEAST_PGVECTOR:
            raise UsageError(
                f"{self.location} has pgvector {version}, and semsearch needs {_dotted(LEAST_PGVECTOR)} or newer, as "
                "older ones can fail to vacuum a graph: update the package, then have its administrator run "
                "ALTER EXTENSION vector UPDATE;"
            )
        return schema

    def _version(self, session: DatabaseSession) -> tuple[str, str] | None:
        """The version and the schema of pgvector."""
        row = session.execute(
            b"SELECT extversion, nspname FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = extnamespace "
            b"WHERE extname = 'vector'"
        ).fetchone()
        return None if row is None else (row[0], row[1])


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
