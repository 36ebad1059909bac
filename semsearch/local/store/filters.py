"""Which documents a filter allows, found in the index of fields.

Nothing of a filter ever becomes SQL text: names and values are bound parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from semsearch.local.store.database import driver
from semsearch.search.fields import Kind
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
)

_MOST_NAMES = 200
_DOC = np.dtype([("doc", np.int64)])
_COMPARISONS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


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
            """SELECT value FROM json_each('["number", "text", "bool", "null", "list", "object"]') AS kind
            WHERE EXISTS (SELECT 1 FROM fields WHERE name = ? AND element = ? AND type = kind.value)""",
            (name, element),
        )
        return frozenset(kind for (kind,) in found)


def documents_of(connection: Connection, where: Filter) -> NDArray[np.bool_]:
    """Which documents a filter allows: a mask `(n,)` by document number."""
    return _Masks(connection).of(where)


@dataclass(slots=True)
class _Masks:
    """The documents `(n,)` that the parts of a filter allow, in one commit."""

    connection: Connection
    everything: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        docs = self.docs("SELECT doc FROM documents", ())
        self.everything = np.zeros(docs.max(initial=0) + 1, dtype=np.bool_)
        self.everything[docs] = True

    def of(self, where: Filter) -> NDArray[np.bool_]:
        match where:
            case And(parts):
                result = self.everything.copy()
                for part in parts:  # one after the other: a thousand masks of a million documents are a gigabyte
                    result &= self.of(part)
                return result
            case Or(parts):
                result = np.zeros_like(self.everything)
                for part in parts:
                    result |= self.of(part)
                return result
            case Not(part):
                return self.everything & ~self.of(part)
        result = np.zeros_like(self.everything)
        for condition, parameters in _conditions(where):
            result[self.docs(f"SELECT doc FROM fields WHERE {condition}", parameters)] = True
        return result

    def docs(self, query: str, parameters: tuple[Any, ...]) -> NDArray[np.int64]:
        rows = driver(self.connection).execute(query, parameters)
        found: NDArray[np.int64] = np.fromiter(rows, _DOC)["doc"]
        return found


def _conditions(
    where: Equal | Compare | Member | Exists | Contains | Like,
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Conditions on rows of `fields`, any of which is enough, with their parameters."""
    match where:
        case Exists(name):
            yield "name = ? AND element = 0", (name,)
        case Equal(name, value):
            yield "name = ? AND element = 0 AND type = ? AND value = ?", (name, value.kind, value.value)
        case Contains(name, value):
            yield "name = ? AND element = 1 AND type = ? AND value = ?", (name, value.kind, value.value)
        case Compare(name, operator, value):
            compared = f"value {_COMPARISONS[operator]} ?"
            yield f"name = ? AND element = 0 AND type = ? AND {compared}", (name, value.kind, value.value)
        case Like(name, text):
            pattern = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            yield (
                "name = ? AND element = 0 AND type = 'text' AND value LIKE ? ESCAPE '\\'",
                (name, f"%{pattern}%"),
            )
        case Member(name, values):  # bound, not as JSON: SQLite reads the last digit of a float as it likes
            for kind, of_kind in groupby(sorted(values, key=_kind), _kind):
                own = [value.value for value in of_kind]
                places = ", ".join("?" * len(own))
                yield f"name = ? AND element = 0 AND type = ? AND value IN ({places})", (name, kind, *own)
        case _:
            assert_never(where)


def _kind(value: Value) -> Kind:
    return value.kind
