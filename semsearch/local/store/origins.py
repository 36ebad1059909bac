"""Which source, and which of its files, gave which document; and how those files were when they were read.

A document that two sources give belongs to both, and is gone only when neither has it. What was put in without a source
belongs to none, and no vanishing file takes it away.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from semsearch.engine import NEVER, File, Origin, Stamp
from semsearch.local.store.database import driver
from semsearch.local.store.database_errors import decoding
from semsearch.local.store.document_rows import among
from semsearch.local.store.schema import origins


@decoding()
def sources(connection: Connection) -> list[dict[str, Any]]:
    """All sources, in the order in which they were first read."""
    specs = connection.exec_driver_sql("SELECT spec FROM sources ORDER BY source").scalars()
    return [json.loads(spec) for spec in specs]


def source_number(connection: Connection, spec: str) -> int | None:
    """The number of a source, if it is known."""
    return connection.exec_driver_sql("SELECT source FROM sources WHERE spec = ?", (spec,)).scalar()


def add_source(connection: Connection, spec: str) -> int:
    """The number of a source that is known from now on."""
    connection.exec_driver_sql("INSERT OR IGNORE INTO sources (spec) VALUES (?)", (spec,))
    number = source_number(connection, spec)
    assert number is not None
    return number


@decoding()
def files(connection: Connection, source: int) -> dict[str, File]:
    """The files of a source that are known, by name."""
    rows = connection.exec_driver_sql("SELECT name, file, size, mtime, hash FROM files WHERE source = ?", (source,))
    return {name: File(number, Stamp(*stamp)) for name, number, *stamp in rows.all()}


def add_files(connection: Connection, source: int, names: Sequence[str]) -> None:
    """Make files known before the first of their documents is stored."""
    _many(
        connection,
        "INSERT OR IGNORE INTO files (source, name, size, mtime, hash) VALUES (?, ?, ?, ?, ?)",
        [(source, name, *NEVER) for name in names],
    )


def restamp(connection: Connection, stamps: Mapping[int, Stamp]) -> None:
    """Note how files were when they were read, by number."""
    rows = [(*stamp, number) for number, stamp in stamps.items()]
    _many(connection, "UPDATE files SET size = ?, mtime = ?, hash = ? WHERE file = ?", rows)


def forget(connection: Connection, numbers: Sequence[int]) -> None:
    """Files that are gone; documents that came from them belong to their source no more."""
    _many(connection, "DELETE FROM files WHERE file = ?", [(number,) for number in numbers])


def note(connection: Connection, given: Sequence[tuple[Origin, str]]) -> None:
    """That documents, by id, were given by an origin, and no other file of that source."""
    _many(
        connection,
        "INSERT INTO origins SELECT doc, ?, ?, ? FROM documents WHERE id = ? "
        "ON CONFLICT (doc, source) DO UPDATE SET file = excluded.file, position = excluded.position",
        [(*origin, identity) for origin, identity in given],
    )


@decoding()
def given_by(connection: Connection, source: int, ids: Sequence[str]) -> dict[str, Origin]:
    """Where each of `ids` is known to be from; documents that the source did not give are left out."""
    rows = connection.exec_driver_sql(
        "SELECT id, file, coalesce(position, '') FROM documents JOIN origins USING (doc) "
        "WHERE source = ? AND id IN (SELECT value FROM json_each(?))",
        (source, json.dumps(ids)),
    )
    return {identity: Origin(source, file, position) for identity, file, position in rows.all()}


@decoding()
def of(connection: Connection, ids: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    """Where each of `ids` is from: source, file and position."""
    rows = driver(connection).execute(
        "SELECT d.id, s.spec, f.name, coalesce(o.position, '') FROM json_each(?) AS asked "
        "CROSS JOIN documents AS d ON d.id = asked.value "
        "JOIN origins AS o USING (doc) JOIN sources AS s ON s.source = o.source JOIN files AS f ON f.file = o.file "
        "ORDER BY o.source DESC",
        (json.dumps(ids),),
    )
    return {identity: (spec, name, position) for identity, spec, name, position in rows.fetchall()}


def given(connection: Connection, source: int, numbers: Sequence[int]) -> Iterator[tuple[str, int, bool]]:
    """The documents from these files of a source: id, file, and whether another source gives it too."""
    rows = connection.exec_driver_sql(
        "SELECT id, file, EXISTS (SELECT 1 FROM origins AS other WHERE other.doc = own.doc AND other.source != ?) "
        "FROM origins AS own JOIN documents USING (doc) "
        "WHERE source = ? AND file IN (SELECT value FROM json_each(?)) ORDER BY doc",
        (source, source, json.dumps(numbers)),
    )
    for identity, file, shared in rows:
        yield identity, file, bool(shared)


def count(connection: Connection, source: int, numbers: Sequence[int] | None = None) -> int:
    """The documents that a source gave, or these files of it."""
    given = select(func.count()).select_from(origins).where(origins.c.source == source)
    if numbers is not None:
        given = given.where(among(origins.c.file, numbers))
    return connection.execute(given).scalar_one()


def release(connection: Connection, source: int, ids: Sequence[str]) -> None:
    """Documents that this source gives no more, and another one still does."""
    connection.exec_driver_sql(
        "DELETE FROM origins WHERE source = ? AND doc IN "
        "(SELECT doc FROM documents WHERE id IN (SELECT value FROM json_each(?)))",
        (source, json.dumps(ids)),
    )


def _many(connection: Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        connection.exec_driver_sql(statement, list(rows))
