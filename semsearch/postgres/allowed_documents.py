"""Filters as sets of documents in SQL. Nothing of a filter ever becomes SQL text: names and values are parameters.

Each part is a query of document numbers, and parts are put together by INTERSECT, UNION and EXCEPT, which hash or sort:
`NOT IN` over a million rows would look through them for every document.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, assert_never

from semsearch.postgres.connections import DatabaseSession
from semsearch.search.fields import VALUED, Kind, composed, folded, in_text
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

EVERY_DOCUMENT = b"SELECT doc FROM documents"
NO_DOCUMENT = b"SELECT doc FROM documents WHERE false"
MOST_FIELDS = 200
SAMPLED_VALUES = 2_000
_SIZE_SIGNS = {"$gt": b">", "$gte": b">=", "$lt": b"<", "$lte": b"<="}
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
    match where:
        case And(parts):
            return _joined(session, b"INTERSECT", parts, DocumentSet(EVERY_DOCUMENT))
        case Or(parts):
            return _joined(session, b"UNION", parts, DocumentSet(NO_DOCUMENT))
        case Not(part):
            return DocumentSet(EVERY_DOCUMENT).joined(b"EXCEPT", documents_allowed(session, part))
        case Like(name, text):
            return _like(session, name, text)
    found = [DocumentSet(b"SELECT doc FROM fields WHERE " + own, values) for own, values in _conditions(where)]
    return _together(b"UNION", found, DocumentSet(NO_DOCUMENT))


def _joined(session: DatabaseSession, operator: bytes, parts: Sequence[Filter], empty: DocumentSet) -> DocumentSet:
    return _together(operator, [documents_allowed(session, part) for part in parts], empty)


def _together(operator: bytes, parts: Sequence[DocumentSet], empty: DocumentSet) -> DocumentSet:
    if not parts:
        return empty
    whole, *rest = parts
    for part in rest:
        whole = whole.joined(operator, part)
    return whole


def _conditions(
    where: Equal | Compare | Member | Exists | Contains | Within,
) -> Iterator[tuple[bytes, tuple[Any, ...]]]:
    """Conditions on rows of `fields`, any of which is enough."""
    match where:
        case Exists(name):
            yield _OF_FIELD + b" AND NOT n.element))", (name, name)
        case Equal(name, sought):
            yield _compared(name, False, b"=", sought)
        case Contains(name, sought):
            yield _compared(name, True, b"=", sought)
        case Compare(name, size, sought):
            yield _compared(name, False, _SIZE_SIGNS[size], sought)
        case Member(name, several):
            for value in several:
                yield _compared(name, False, b"=", value)
        case Within(name, ranges, element):
            for first, behind in ranges:
                condition, values = _field(name, element, "date")
                for sign, bound in ((b">=", first), (b"<", behind)):
                    if bound is not None:
                        condition += b" AND number " + sign + b" %s"
                        values = (*values, Decimal(bound))
                yield condition, values
        case _:
            assert_never(where)


def _field(name: str, element: bool, kind: Kind) -> tuple[bytes, tuple[Any, ...]]:
    return _OF_FIELD + b" AND n.element = %s AND n.type = %s))", (name, name, element, kind)


def _compared(name: str, element: bool, sign: bytes, sought: Value) -> tuple[bytes, tuple[Any, ...]]:
    condition, values = _field(name, element, sought.kind)
    if sought.kind in ("number", "bool", "date"):
        return condition + b" AND number " + sign + b" %s", (*values, Decimal(sought.value))
    if sought.kind == "text":
        near = sign if sign == b"=" else sign[:1] + b"="  # beginnings are in the order of the whole
        condition += (
            b" AND value IS NOT NULL AND left(value, 200) " + near + b" left(%s, 200) AND value " + sign + b" %s"
        )
        return condition, (*values, sought.value, sought.value)
    return condition, values  # null, list, object: there is one value


def _like(session: DatabaseSession, name: str, text: str) -> DocumentSet:
    """By folding in the client: each distinct value of the field is looked at once."""
    condition, values = _field(name, False, "text")
    rows = session.execute(b"SELECT DISTINCT value FROM fields WHERE " + condition, values)
    alike = [value for (value,) in rows if text in folded(value)]
    return DocumentSet(b"SELECT doc FROM fields WHERE " + condition + b" AND value = ANY(%s)", (*values, alike))


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
