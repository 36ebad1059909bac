"""Which indexes the collection has: a row in SQLite makes a folder of files into one, and nothing else does.

There is at most one of vectors, by some backend, and one of words.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, insert, update

from semsearch.local.store.database import driver
from semsearch.local.store.database_errors import decoding
from semsearch.local.store.schema import indexes
from semsearch.local.store.settings import SPARSE_INDEX
from semsearch.plain_files import is_plain_name

LEXICAL = "lexical"  # the backend of an index of words


@dataclass(frozen=True, slots=True)
class Registered:
    """An index generation as it was published; its files lie in `indexes/{backend}-{number}`."""

    number: int
    backend: str
    params: dict[str, Any]
    generation: int  # of the vectors it was built from
    rows: int  # it covers the first `rows` rows of them
    digest: str  # of its manifest
    contract: dict[str, Any] | None  # the recall that was asked for and measured

    @property
    def folder(self) -> str:
        """The name of its folder."""
        return f"{self.backend}-{self.number}"


@decoding()
def current(connection: Connection, generation: int, *, words: bool = False) -> Registered | None:
    """The newest index over a vector generation, of its vectors or of the words of the same rows."""
    # past SQLAlchemy: compiling the statement would take a third of opening a collection
    row = (
        driver(connection)
        .execute(
            "SELECT number, backend, params, generation, rows, digest, contract FROM indexes "
            "WHERE generation = ? AND (backend = ?) = ? ORDER BY number DESC LIMIT 1",
            (generation, LEXICAL, words),
        )
        .fetchone()
    )
    if row is None:
        return None
    found = dict(zip(Registered.__dataclass_fields__, row, strict=True))
    if not is_plain_name(found["backend"]):  # it names the folder
        raise ValueError(f"the index {found['backend']!r} has no name")
    contract = None if found["contract"] is None else _in_present_terms(json.loads(found["contract"]))
    params = json.loads(found["params"])
    if not isinstance(params, dict):
        raise ValueError(f"the index {found['number']!r} has no options")
    if contract is not None:  # what is looked at in maintenance and by `check`
        names = ["target", "met", "k", "rows", "removed", *(["certified"] if contract["met"] is not True else [])]
        if not {int, float, bool}.issuperset(type(contract[name]) for name in names):
            raise ValueError(f"the contract of the index {found['number']!r} is none")
    return Registered(**{**found, "params": params, "contract": contract})


def _in_present_terms(contract: dict[str, Any]) -> dict[str, Any]:
    """A contract under the names that it has now, whatever version wrote it."""
    named = {{"at": "k", "says": "summary"}.get(name, name): value for name, value in contract.items()}
    if named.get("source") == "stand-ins":
        named["source"] = "synthetic"
    return named


def next_number(connection: Connection) -> int:
    """The number that the next index gets; never one that was used."""
    last = connection.exec_driver_sql("SELECT seq FROM sqlite_sequence WHERE name = 'indexes'").scalar()
    return (last or 0) + 1


def publish(connection: Connection, index: Registered) -> None:
    """Make `index` the collection's index in place of others of its kind, inside the caller's transaction."""
    retire(connection, words=index.backend == LEXICAL)
    connection.execute(insert(indexes).values(asdict(index) | _as_json(index.params, index.contract)))


def retire(connection: Connection, *, words: bool) -> None:
    """Leave the collection without an index of vectors, or of words, inside the caller's transaction."""
    connection.execute(delete(indexes).where(_of_words(words)))


def retire_all(connection: Connection) -> None:
    """Leave the collection without any index, inside the caller's transaction."""
    connection.execute(delete(indexes))
    connection.exec_driver_sql("DELETE FROM settings WHERE name = ?", (SPARSE_INDEX,))


def tune(connection: Connection, number: int, params: dict[str, Any], contract: dict[str, Any] | None) -> None:
    """Change the search-time options and the contract of a published index, inside the caller's transaction."""
    connection.execute(update(indexes).where(indexes.c.number == number).values(_as_json(params, contract)))


def _of_words(words: bool) -> ColumnElement[bool]:
    return (indexes.c.backend == LEXICAL) if words else (indexes.c.backend != LEXICAL)


def _as_json(params: dict[str, Any], contract: dict[str, Any] | None) -> dict[str, str | None]:
    return {"params": json.dumps(params), "contract": None if contract is None else json.dumps(contract)}
