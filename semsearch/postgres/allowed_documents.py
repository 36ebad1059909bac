"""Filters as sets of documents in SQL. Nothing of a filter ever becomes SQL text: names and values are parameters.

Each part is a query of document numbers, and parts are put together by INTERSECT, UNION and EXCEPT, which hash or sort:
`NOT IN` over a million rows would look through them for every document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from semsearch.postgres.connections import DatabaseSession
from semsearch.postgres.tables import KEPT_LETTERS
from semsearch.search.fields import VALUED, Kind, composed, folded, in_text
from semsearch.search.where import Filter
from semsearch.search.where_sets import FieldCondition, Sign, documents_in

EVERY_DOCUMENT = b"SELECT doc FROM documents"
NO_DOCUMENT = b"SELECT doc FROM documents WHERE false"
MOST_FIELDS = 200
SAMPLED_VALUES = 2_000
_SQL_SIGNS: Mapping[str, bytes] = {"=": b"=", "$gt": b">", "$gte": b">=", "$lt": b"<", "$lte": b"<="}
_OF_FIELD = (
    b"field = ANY(ARRAY(SELECT n.field FROM field_names AS n WHERE left(n.name, 200) = left(%s, 200) AND n.name = %s"
)


@dataclass(frozen=True, slots=True)
class DocumentSet:
    """A query that gives document numbers, each once or several times, and its parameters."""

    query: bytes
    values: tuple[Any, ...] = ()

    def joined(self, operator: bytes, other: DocumentSet) -> DocumentSet:
        """Of two sets: `INTERSECT`, `UNION` or `EXCEPT`."""
        return DocumentSet(
            b"(" + self.query + b") " + operator + b" (" + other.query + b")", (*self.values, *other.values)
        )


def documents_allowed(session: DatabaseSession, where: Filter) -> DocumentSet:
    """The documents that a filter allows."""
    return documents_in(where, _Queries(session))


class _Queries:
    """Sets of documents as queries; see `semsearch.search.where_sets.FilterSets`."""

    def __init__(self, session: DatabaseSession) -> None:
        self._session = session

    def every(self) -> DocumentSet:
        return DocumentSet(EVERY_DOCUMENT)

    def none(self) -> DocumentSet:
        return DocumentSet(NO_DOCUMENT)

    def having(self, condition: FieldCondition) -> DocumentSet:
        rows, values = _rows(condition)
        for sign, text in condition.tests:
            if sign == "$like":  # by folding in the client: each distinct value of the field is looked at once
                found = self._session.execute(b"SELECT DISTINCT value FROM fields WHERE " + rows, values)
                alike = [value for (value,) in found if text in folded(value)]
                rows, values = rows + b" AND value = ANY(%s)", (*values, alike)
        return DocumentSet(b"SELECT doc FROM fields WHERE " + rows, values)

    def both(self, one: DocumentSet, other: DocumentSet) -> DocumentSet:
        return other if one.query == EVERY_DOCUMENT else one.joined(b"INTERSECT", other)

    def either(self, one: DocumentSet, other: DocumentSet) -> DocumentSet:
        return other if one.query == NO_DOCUMENT else one.joined(b"UNION", other)

    def without(self, one: DocumentSet, other: DocumentSet) -> DocumentSet:
        return one.joined(b"EXCEPT", other)


def _rows(condition: FieldCondition) -> tuple[bytes, tuple[Any, ...]]:
    """What rows of `fields` must be; but for how texts are alike."""
    if condition.kind is None:
        return _OF_FIELD + b" AND n.element = %s))", (condition.name, condition.name, condition.element)
    rows, values = _field(condition.name, condition.element, condition.kind)
    for sign, sought in condition.tests:
        if condition.kind in ("number", "bool", "date"):
            compared, given = _by_number(sign, sought)
        elif condition.kind == "text" and sign != "$like":
            compared, given = _by_text(sign, sought)
        else:  # of null, lists and objects there is one value
            continue
        rows, values = rows + compared, (*values, *given)
    return rows, values


def _by_number(sign: Sign, sought: Any) -> tuple[bytes, tuple[Any, ...]]:
    if sign == "$in":
        return b" AND number = ANY(%s)", ([Decimal(value) for value in sought],)
    return b" AND number " + _SQL_SIGNS[sign] + b" %s", (Decimal(sought),)


def _by_text(sign: Sign, sought: Any) -> tuple[bytes, tuple[Any, ...]]:
    """By its beginning first, which is in the index, and in the order of the whole."""
    if sign == "$in":
        beginnings = [value[:KEPT_LETTERS] for value in sought]
        return b" AND value IS NOT NULL AND left(value, 200) = ANY(%s) AND value = ANY(%s)", (beginnings, list(sought))
    own = _SQL_SIGNS[sign]
    near = own if own == b"=" else own[:1] + b"="
    rows = b" AND value IS NOT NULL AND left(value, 200) " + near + b" left(%s, 200) AND value " + own + b" %s"
    return rows, (sought, sought)


def _field(name: str, element: bool, kind: Kind) -> tuple[bytes, tuple[Any, ...]]:
    return _OF_FIELD + b" AND n.element = %s AND n.type = %s))", (name, name, element, kind)


class FieldTable:
    """The catalog of the fields of one state: a `semsearch.search.where.FieldCatalog`."""

    def __init__(self, session: DatabaseSession) -> None:
        self._session = session

    def names(self) -> Sequence[str]:
        """See `FieldCatalog.names`."""
        rows = self._session.execute(
            "SELECT DISTINCT name FROM field_names AS n WHERE EXISTS (SELECT FROM fields WHERE fields.field = n.field) "
            "ORDER BY name LIMIT %s",
            (MOST_FIELDS,),
        )
        return [name for (name,) in rows]

    def types(self, name: str, element: bool) -> frozenset[Kind]:
        """See `FieldCatalog.types`."""
        rows = self._session.execute(
            "SELECT type FROM field_names AS n WHERE left(name, 200) = left(%s, 200) AND name = %s AND element = %s "
            "AND EXISTS (SELECT FROM fields WHERE fields.field = n.field)",
            (name, name, element),
        )
        return frozenset(kind for (kind,) in rows)

    def values(self, name: str, begins: str, most: int) -> Sequence[str | float | bool]:
        """See `FieldCatalog.values`."""
        found: list[str | float | bool] = []
        for kind in VALUED:
            own: set[str | float | bool] = set()
            for element in (False, True):
                condition, values = _field(name, element, kind)
                if kind == "text":
                    condition += b" AND starts_with(value, %s)"
                    values = (*values, begins)
                column = b"value" if kind == "text" else b"number"
                rows = self._session.execute(
                    b"SELECT DISTINCT " + column + b" FROM fields WHERE " + condition + b" ORDER BY 1 LIMIT %s",
                    (*values, most if kind == "text" else SAMPLED_VALUES),
                )
                shown = [_shown(value, kind) for (value,) in rows]
                own.update([value for value in shown if in_text(value).startswith(begins)][:most])
            found += sorted(own)[:most]
        return found


def facets_of(
    session: DatabaseSession, name: str, where: Filter | None, most: int
) -> list[tuple[str | float | bool, int]]:
    """See `semsearch.engine.Faceted`."""
    condition, values = b"", ()
    if where is not None:
        allowed = documents_allowed(session, where)
        condition, values = b" AND f.doc IN (" + allowed.query + b")", allowed.values
    rows = session.execute(
        b"SELECT n.type, f.number, f.value, count(DISTINCT f.doc) FROM field_names AS n JOIN fields AS f USING (field) "
        b"WHERE left(n.name, 200) = left(%s, 200) AND n.name = %s AND n.type = ANY(%s)" + condition + b" "
        b"GROUP BY n.type, f.number, f.value ORDER BY 4 DESC, 1, 2, 3 LIMIT %s",
        (composed(name), composed(name), list(VALUED), *values, most),
    )
    return [(_shown(value if kind == "text" else number, kind), count) for kind, number, value, count in rows]


def _shown(value: Any, kind: Kind) -> str | float | bool:
    if kind == "bool":
        return bool(value)
    if kind == "number":
        return int(value) if value == value.to_integral_value() else float(value)
    return str(value)
