"""Which documents a filter allows, found in the index of fields.

Nothing of a filter ever becomes SQL text: names and values are bound parameters.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Select, func, select

from semsearch.local.store.database import FOLDED, driver
from semsearch.local.store.database_errors import decoding
from semsearch.local.store.schema import documents, fields
from semsearch.search.fields import VALUED, Kind, composed, in_text
from semsearch.search.where import SIZES, Filter
from semsearch.search.where_sets import FieldCondition, documents_in

_MOST_NAMES = 200
_MOST_LOOKED_AT = 2_000  # values
_FIRST_VALUE = "SELECT min(value) FROM fields WHERE name = ? AND element = ? AND type = ? AND value >= ?"
_NEXT_VALUE = "SELECT min(value) FROM fields WHERE name = ? AND element = ? AND type = ? AND value > ?"
_DOC = np.dtype([("doc", np.int64)])


class StoredFields:
    """The catalog of the fields of one commit."""

    def __init__(self, connection: Connection) -> None:
        """Catalog the fields that `connection` sees."""
        self._connection = driver(connection)

    def names(self) -> Sequence[str]:
        """All field names, by skipping through the index rather than reading it."""
        found: list[str] = []
        while len(found) < _MOST_NAMES:
            after = found[-1] if found else ""
            (name,) = self._connection.execute("SELECT min(name) FROM fields WHERE name > ?", (after,)).fetchone()
            if name is None:
                break
            found.append(name)
        return found

    def types(self, name: str, element: bool) -> frozenset[Kind]:
        """The types that the field, or the elements of its lists, have anywhere."""
        found = self._connection.execute(
            """SELECT value FROM json_each('["number", "text", "bool", "null", "list", "object", "date"]') AS kind
            WHERE EXISTS (SELECT 1 FROM fields WHERE name = ? AND element = ? AND type = kind.value)""",
            (name, element),
        )
        return frozenset(kind for (kind,) in found)

    def values(self, name: str, begins: str, most: int) -> Sequence[str | float | bool]:
        """Values of the field, and elements of its lists, whose text begins so: sorted, at most `most` of a type."""
        found: list[str | float | bool] = []
        for kind in VALUED:
            own: set[str | float | bool] = set()
            for element in (0, 1):
                own.update(islice(self._values(name, element, kind, begins), most))
            found += sorted(own)[:most]  # all of one type
        return found

    def _values(self, name: str, element: int, kind: Kind, begins: str) -> Iterator[str | float | bool]:
        """By skipping through the index: a value that many documents have is read once."""
        value: Any = begins if kind == "text" else -math.inf
        statement = _FIRST_VALUE
        for _ in range(_MOST_LOOKED_AT):
            (value,) = self._connection.execute(statement, (name, element, kind, value)).fetchone()
            if value is None or (kind == "text" and not str(value).startswith(begins)):
                return
            shown = bool(value) if kind == "bool" else value
            if in_text(shown).startswith(begins):
                yield shown
            statement = _NEXT_VALUE


def documents_of(connection: Connection, where: Filter) -> NDArray[np.bool_]:
    """Which documents a filter allows: a mask `(n,)` by document number."""
    return documents_in(where, _Masks(connection))


def facets_of(
    connection: Connection, name: str, where: Filter | None, most: int
) -> list[tuple[str | float | bool, int]]:
    """See `semsearch.engine.Faceted`."""
    bound = (composed(name), json.dumps(VALUED))
    if where is None:
        rows = driver(connection).execute(
            "SELECT type, value, count(DISTINCT doc) FROM fields WHERE name = ? "
            "AND type IN (SELECT value FROM json_each(?)) GROUP BY type, value",
            bound,
        )
        counts = {(kind, value): count for kind, value, count in rows}
    else:
        allowed = documents_of(connection, where)
        rows = driver(connection).execute(
            "SELECT DISTINCT type, value, doc FROM fields WHERE name = ? AND type IN (SELECT value FROM json_each(?))",
            bound,
        )
        counts = Counter((kind, value) for kind, value, doc in rows if 0 <= doc < len(allowed) and allowed[doc])
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0][0], one[0][1]))
    return [(bool(value) if kind == "bool" else value, count) for (kind, value), count in ordered[:most]]


class _Masks:
    """The documents `(n,)` that the parts of a filter allow, in one commit."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @cached_property
    def everything(self) -> NDArray[np.bool_]:
        """All documents, read only for what is said of those that a condition does not hold for."""
        docs = self.docs(select(documents.c.doc))
        with decoding():
            mask = self.none()
            mask[docs] = True
        return mask

    @cached_property
    @decoding()
    def _count(self) -> int:
        last = driver(self._connection).execute("SELECT max(doc) FROM documents").fetchone()[0]
        return max(int(last or 0), 0) + 1

    def every(self) -> NDArray[np.bool_]:
        return self.everything.copy()

    def none(self) -> NDArray[np.bool_]:
        return np.zeros(self._count, dtype=np.bool_)

    def having(self, condition: FieldCondition) -> NDArray[np.bool_]:
        found = self.none()
        docs = self.docs(select(fields.c.doc).where(*_rows(condition)))
        with decoding():
            found[docs] = True
        return found

    def both(self, one: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.bool_]:
        one &= other
        return one

    def either(self, one: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.bool_]:
        one |= other
        return one

    def without(self, one: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.bool_]:
        one &= ~other
        return one

    @decoding()
    def docs(self, query: Select[tuple[int]]) -> NDArray[np.int64]:
        with self._connection.execute(query) as result:
            rows: Any = result.cursor  # past SQLAlchemy: a filter may allow a million rows
            found: NDArray[np.int64] = np.fromiter(rows, _DOC)["doc"]
        return found


def _rows(condition: FieldCondition) -> list[ColumnElement[bool]]:
    """What rows of `fields` must be."""
    row = fields.c
    found: list[Any] = [row.name == condition.name, row.element == int(condition.element)]
    if condition.kind is not None:
        found.append(row.type == condition.kind)
    for sign, sought in condition.tests:
        if sign == "=":
            found.append(row.value == sought)
        elif sign == "$in":  # bound, not as JSON: SQLite reads the last digit of a float as it likes
            found.append(row.value.in_(sought))
        elif sign == "$like":
            found.append(func.instr(getattr(func, FOLDED)(row.value), sought) > 0)
        else:
            found.append(SIZES[sign][1](row.value, sought))
    return found
