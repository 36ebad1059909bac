"""Which documents a filter allows, found in the index of fields.

Nothing of a filter ever becomes SQL text: names and values are bound parameters.
"""

from __future__ import annotations

import json
import math
import operator
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import groupby, islice
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Select, func, select

from semsearch.local.store.database import FOLDED, driver
from semsearch.local.store.database_errors import decoding
from semsearch.local.store.schema import documents, fields
from semsearch.search.fields import VALUED, Kind, composed, in_text
from semsearch.search.where import (
    And,
    Compare,
    Contains,
    Equal,
    Exists,
    Filter,
    Like,
    Member,
    Not,
    Or,
    Value,
    Within,
)

_MOST_NAMES = 200
_MOST_LOOKED_AT = 2_000  # values
_FIRST_VALUE = "SELECT min(value) FROM fields WHERE name = ? AND element = ? AND type = ? AND value >= ?"
_NEXT_VALUE = "SELECT min(value) FROM fields WHERE name = ? AND element = ? AND type = ? AND value > ?"
_DOC = np.dtype([("doc", np.int64)])
_COMPARISONS = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}


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
    return _Masks(connection).of(where)


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
            mask = self.nothing()
            mask[docs] = True
        return mask

    def nothing(self) -> NDArray[np.bool_]:
        """No document."""
        return np.zeros(self._count, dtype=np.bool_)

    @cached_property
    @decoding()
    def _count(self) -> int:
        last = driver(self._connection).execute("SELECT max(doc) FROM documents").fetchone()[0]
        return max(int(last or 0), 0) + 1

    def of(self, where: Filter) -> NDArray[np.bool_]:
        match where:
            case And((first, *parts)):
                result = self.of(first)
                for part in parts:  # one after the other: a thousand masks of a million documents are a gigabyte
                    result &= self.of(part)
                return result
            case And():
                return self.everything.copy()
            case Or(parts):
                result = self.nothing()
                for part in parts:
                    result |= self.of(part)
                return result
            case Not(part):
                return self.everything & ~self.of(part)
        result = self.nothing()
        for condition in _conditions(where):
            docs = self.docs(select(fields.c.doc).where(*condition))
            with decoding():
                result[docs] = True
        return result

    @decoding()
    def docs(self, query: Select[tuple[int]]) -> NDArray[np.int64]:
        with self._connection.execute(query) as result:
            rows: Any = result.cursor  # past SQLAlchemy: a filter may allow a million rows
            found: NDArray[np.int64] = np.fromiter(rows, _DOC)["doc"]
        return found


def _conditions(
    where: Equal | Compare | Member | Exists | Contains | Like | Within,
) -> Iterator[list[ColumnElement[bool]]]:
    """Conditions on rows of `fields`, any list of which is enough."""
    row, value = fields.c, fields.c.value
    own, element = [row.name == where.name, row.element == 0], [row.name == where.name, row.element == 1]
    match where:
        case Exists():
            yield own
        case Equal(_, sought):
            yield [*own, row.type == sought.kind, value == sought.value]
        case Contains(_, sought):
            yield [*element, row.type == sought.kind, value == sought.value]
        case Compare(_, sign, sought):
            yield [*own, row.type == sought.kind, _COMPARISONS[sign](value, sought.value)]
        case Within(_, ranges, in_list):
            for first, behind in ranges:
                bounds = [] if first is None else [value >= first]
                bounds += [] if behind is None else [value < behind]
                yield [*(element if in_list else own), row.type == "date", *bounds]
        case Like(_, text):
            yield [*own, row.type == "text", func.instr(getattr(func, FOLDED)(value), text) > 0]
        case Member(_, values):  # bound, not as JSON: SQLite reads the last digit of a float as it likes
            for kind, of_kind in groupby(sorted(values, key=_kind), _kind):
                yield [*own, row.type == kind, value.in_([each.value for each in of_kind])]
        case _:
            assert_never(where)


def _kind(value: Value) -> Kind:
    return value.kind
