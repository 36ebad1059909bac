"""What there is once in a collection: its state, whose version counts commits, and its settings."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from semsearch import versions
from semsearch.engine import Settings
from semsearch.errors import CollectionError, UsageError
from semsearch.postgres.connections import DatabaseSession


class StateRow(NamedTuple):
    """The one row of `state`."""

    version: int
    dim: int | None
    documents: int
    passages: int
    words: int
    whole_words: int
    longest: float
    schema: int
    analysis: int
    encoding: int


READ_STATE = (
    b"SELECT version, dim, documents, passages, words, whole_words, longest, schema, analysis, encoding FROM state"
)


def read_state(session: DatabaseSession) -> StateRow:
    """The state that a session sees."""
    row = session.execute(READ_STATE).fetchone()
    if row is None:
        raise UsageError("the collection is empty of all, even of its state: restore it.")
    return StateRow(*row)


def check_words(state: StateRow, settings: Settings) -> None:
    """Raise where this semsearch makes other words of a text than the collection's are."""
    if state.analysis != versions.ANALYSIS:
        raise CollectionError(
            f"the words of the collection were made by an older semsearch (analysis {state.analysis}, this one's is "
            f"{versions.ANALYSIS}): 'semsearch migrate' makes them anew, and older versions can't use it from then on. "
            "Until then it is searched by meaning alone."
        )


def read_settings(session: DatabaseSession) -> dict[str, Any]:
    """All settings."""
    rows = session.execute(b"SELECT name, value FROM settings")
    return {name: json.loads(value) for name, value in rows}


def put_setting(session: DatabaseSession, name: str, value: Any) -> None:
    """Write one setting."""
    session.execute(
        b"INSERT INTO settings VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, json.dumps(value)),
    )
