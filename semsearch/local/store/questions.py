"""The questions that the recall of an index is measured on: thousands, and read only when it is."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select

from semsearch.local.store.schema import questions


def read(connection: Connection) -> list[str]:
    """All of them, in the order in which they were given."""
    return list(connection.execute(select(questions.c.text).order_by(questions.c.question)).scalars())


def replace(connection: Connection, texts: Sequence[str]) -> None:
    """Keep these and no others, inside the caller's transaction."""
    connection.execute(delete(questions))
    if texts:
        connection.execute(insert(questions), [{"text": text} for text in texts])
