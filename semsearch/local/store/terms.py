"""The full text of a collection: the terms of each passage's title and text, side by side, in SQLite's FTS5.

It is written by the transaction that writes the passages, by the languages that the collection has in it. It keeps no
text: where it is built anew, or looked over, the terms are found in the documents again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Connection
from sqlalchemy.exc import DatabaseError

from semsearch.local.store.database import driver
from semsearch.local.store.settings import read_settings
from semsearch.search.languages import Languages, languages_of

BATCH = 1 << 12  # passages that are read together

_INSERT_TERMS = "INSERT INTO fulltext (rowid, title, text) VALUES (?, ?, ?)"
_DELETE_TERMS = "INSERT INTO fulltext (fulltext, rowid, title, text) VALUES ('delete', ?, ?, ?)"
# What is damaged need be no text any more, and is taken away as it is.
_OF_KEYS = (
    "SELECT key, CAST(title AS BLOB), CAST(text AS BLOB) FROM passage_texts "
    "WHERE key IN (SELECT value FROM json_each(?))"
)
_BEHIND = "SELECT key, CAST(title AS BLOB), CAST(text AS BLOB) FROM passage_texts WHERE key > ? ORDER BY key LIMIT ?"
# Of all places of a term.
_SUMS = (
    "SELECT term, sum((doc * 1000003 + \"offset\" * 31 + (col = 'text')) % 2147483647) FROM temp.places GROUP BY term"
)


def insert(connection: Connection, keys: Sequence[int], titles: Sequence[str], texts: Sequence[str]) -> None:
    """Write the terms of new passages: the key, title and text of each."""
    if keys:
        rows = _analysed(keys, titles, texts, languages_of(read_settings(connection)))
        connection.exec_driver_sql(_INSERT_TERMS, rows)


def remove(connection: Connection, keys: str) -> None:
    """Take away the terms of the passages of `keys`, a JSON list; they are there still."""
    languages = languages_of(read_settings(connection))
    rows = driver(connection).execute(_OF_KEYS, (keys,)).fetchall()
    if rows:
        connection.exec_driver_sql(_DELETE_TERMS, _decoded(rows, languages))


def rebuild(connection: Connection) -> None:
    """Find the terms of all passages anew."""
    empty(connection)
    for rows in _all(connection):
        connection.exec_driver_sql(_INSERT_TERMS, rows)


def empty(connection: Connection) -> None:
    """Take away the terms of all passages."""
    connection.exec_driver_sql("INSERT INTO fulltext (fulltext) VALUES ('delete-all')")


def optimize(connection: Connection) -> None:
    """Merge what was written, so that nothing of what was removed stays."""
    connection.exec_driver_sql("INSERT INTO fulltext (fulltext) VALUES ('optimize')")


def fit(connection: Connection) -> bool:
    """Whether the full text is whole and holds the terms of the passages; needs a connection that may write."""
    try:
        connection.exec_driver_sql("INSERT INTO fulltext (fulltext) VALUES ('integrity-check')")
        connection.exec_driver_sql(
            "CREATE VIRTUAL TABLE IF NOT EXISTS temp.places USING fts5vocab (main, fulltext, instance)"
        )
        found = {term: places for term, places in connection.exec_driver_sql(_SUMS)}  # of a damaged one anything
    except (DatabaseError, MemoryError):  # a damaged one may tell SQLite of words of any length
        return False
    wanted: Counter[str] = Counter()
    for rows in _all(connection):
        for key, *columns in rows:
            for column, text in enumerate(columns):
                for offset, term in enumerate(text.split()):
                    wanted[term] += (key * 1000003 + offset * 31 + column) % 2147483647
    return found == wanted


def _all(connection: Connection) -> Iterator[list[tuple[int, str, str]]]:
    """The terms of all passages, some at a time."""
    languages = languages_of(read_settings(connection))
    last = -1
    while rows := driver(connection).execute(_BEHIND, (last, BATCH)).fetchall():
        yield _decoded(rows, languages)
        last = rows[-1][0]


def _decoded(
    rows: Iterable[tuple[int, bytes | None, bytes | None]], languages: Languages
) -> list[tuple[int, str, str]]:
    """The terms of passages as they are stored."""
    keys, *columns = zip(*rows, strict=True)
    titles, texts = ([(content or b"").decode("utf-8", "replace") for content in column] for column in columns)
    return _analysed(keys, titles, texts, languages)


def _analysed(
    keys: Sequence[int], titles: Sequence[str], texts: Sequence[str], languages: Languages
) -> list[tuple[int, str, str]]:
    from semsearch.search.analysis import analysed_many  # takes a while to import, and readers need none of it

    return list(zip(keys, analysed_many(titles, languages), analysed_many(texts, languages), strict=True))
