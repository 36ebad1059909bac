"""Metadata filters: a `where` becomes the set of documents that it allows, found in the index of fields.

A mapping as people know it: `{"year": {"$gte": 1990}, "genres": {"$contains": "Drama"}}`. A field with a bare value
means `$eq`; several fields, or several operators of one, mean and. Nothing of a filter ever becomes SQL text: names
and values are bound parameters.

Types never coerce. A document without the field fails every operator but `$ne` and `$exists: false`; an operand of a
type that the field has in no document is an error that names both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from semsearch.errors import FilterError
from semsearch.local.store.database import decoding
from semsearch.records import typed

MAX_DEPTH = 50
MAX_VALUES = 10_000  # of $in and $nin

_COMPARISONS = {"$eq": "=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
OPERATORS = (*_COMPARISONS, "$ne", "$in", "$nin", "$exists", "$contains", "$like")


@dataclass(frozen=True, slots=True)
class _Fields:
    """The index of fields of one commit."""

    connection: Connection
    size: int  # one more than the greatest document number
    everything: NDArray[np.bool_]

    @decoding()
    def mask(self, sql: str, parameters: Sequence[Any]) -> NDArray[np.bool_]:
        """The documents that a query on `fields` gives."""
        found = self.connection.exec_driver_sql(f"SELECT doc FROM fields WHERE {sql}", tuple(parameters))
        docs = np.fromiter((row[0] for row in found), dtype=np.int64)
        mask = np.zeros(self.size, dtype=np.bool_)
        mask[docs] = True
        return mask

    def types(self, name: str, element: int) -> set[str]:
        """The types that the field has anywhere."""
        return {
            kind
            for kind in ("number", "text", "bool", "null", "list", "object")
            if self.connection.exec_driver_sql(
                "SELECT 1 FROM fields WHERE name = ? AND element = ? AND type = ? LIMIT 1", (name, element, kind)
            ).first()
        }

    def names(self) -> list[str]:
        """All field names, by skipping through the index rather than reading it."""
        found: list[str] = []
        while True:
            after = found[-1] if found else ""
            name = self.connection.exec_driver_sql("SELECT min(name) FROM fields WHERE name > ?", (after,)).scalar()
            if name is None or len(found) >= 200:
                return found
            found.append(name)


def allowed_documents(connection: Connection, where: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Which documents `where` allows: a mask `(n,)` by document number.

    Raises:
        FilterError: what can't be understood, and where in the filter.
    """
    with decoding():
        size = (connection.exec_driver_sql("SELECT max(doc) FROM documents").scalar() or 0) + 1
        everything = np.zeros(size, dtype=np.bool_)
        docs = np.fromiter(connection.exec_driver_sql("SELECT doc FROM documents").scalars(), dtype=np.int64)
        everything[docs] = True
    return _mapping(_Fields(connection, size, everything), where, "where", 0)


def _mapping(fields: _Fields, where: object, place: str, depth: int) -> NDArray[np.bool_]:
    if not isinstance(where, Mapping):
        raise FilterError(f"{place} must be a mapping of fields to conditions, not {where!r:.60}.")
    if depth > MAX_DEPTH:
        raise FilterError(f"the filter is nested deeper than {MAX_DEPTH} levels, at {place:.200}.")
    result = fields.everything.copy()
    for name, condition in where.items():
        here = f"{place}.{name}"
        if name in ("$and", "$or"):
            parts = _list(condition, here)
            masks = [_mapping(fields, part, f"{here}[{i}]", depth + 1) for i, part in enumerate(parts)]
            join: Callable[..., NDArray[np.bool_]] = np.logical_and if name == "$and" else np.logical_or
            result &= join.reduce(masks) if masks else (fields.everything if name == "$and" else ~fields.everything)  # type: ignore[attr-defined]
        elif name == "$not":
            result &= ~_mapping(fields, condition, here, depth + 1)
        elif not isinstance(name, str) or name.startswith("$"):
            raise FilterError(f"{here} is no operator that joins conditions; they are $and, $or and $not.")
        else:
            result &= _field(fields, name, condition, here)
    return result


def _field(fields: _Fields, name: str, condition: object, place: str) -> NDArray[np.bool_]:
    if not isinstance(condition, Mapping):
        condition = {"$eq": condition}
    if not condition:
        raise FilterError(f"{place} has no condition; the operators are {', '.join(OPERATORS)}.")
    result = fields.everything.copy()
    for operator, operand in condition.items():
        if operator == "$not":
            result &= ~_field(fields, name, operand, f"{place}.$not")
        elif operator not in OPERATORS:
            raise FilterError(f"{place}.{operator} is no operator; they are {', '.join(OPERATORS)} and $not.")
        else:
            result &= _leaf(fields, name, operator, operand, f"{place}.{operator}") & fields.everything
    return result


def _leaf(fields: _Fields, name: str, operator: str, operand: object, place: str) -> NDArray[np.bool_]:
    if operator == "$exists":
        if not isinstance(operand, bool):
            raise FilterError(f"{place} takes true or false, not {operand!r:.60}.")
        there = fields.mask("name = ? AND element = 0", [name])
        return there if operand else ~there
    if operator in ("$in", "$nin"):
        return _member(fields, name, operator, operand, place)
    if operator == "$ne":
        return ~_equal(fields, name, 0, operand, place)
    if operator == "$contains":
        _check_type(fields, name, "list", operand, place)
        return _equal(fields, name, 1, operand, place)
    if operator == "$like":
        if not isinstance(operand, str):
            raise FilterError(f"{place} looks for a substring and takes a text, not {operand!r:.60}.")
        _check_type(fields, name, "text", operand, place)
        pattern = "%" + operand.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        return fields.mask("name = ? AND element = 0 AND type = 'text' AND value LIKE ? ESCAPE '\\'", [name, pattern])
    if operator == "$eq":
        return _equal(fields, name, 0, operand, place)
    kind, value = _scalar(operand, place)
    if kind not in ("number", "text"):
        raise FilterError(f"{place} compares by size and takes a number or a text, not {operand!r}.")
    _check_type(fields, name, kind, operand, place)
    return fields.mask(
        f"name = ? AND element = 0 AND type = ? AND value {_COMPARISONS[operator]} ?", [name, kind, value]
    )


def _member(fields: _Fields, name: str, operator: str, operand: object, place: str) -> NDArray[np.bool_]:
    values = _list(operand, place)
    if len(values) > MAX_VALUES:
        raise FilterError(f"{place} lists {len(values):,} values; at most {MAX_VALUES:,} are allowed.")
    found = np.zeros(fields.size, dtype=np.bool_)
    for value in values:
        found |= _equal(fields, name, 0, value, place)
    return found if operator == "$in" else fields.mask("name = ? AND element = 0", [name]) & ~found


def _equal(fields: _Fields, name: str, element: int, operand: object, place: str) -> NDArray[np.bool_]:
    kind, value = _scalar(operand, place)
    if kind != "null":
        _check_type(fields, name, kind, operand, place, element)
    return fields.mask("name = ? AND element = ? AND type = ? AND value = ?", [name, element, kind, value])


def _check_type(fields: _Fields, name: str, kind: str, operand: object, place: str, element: int = 0) -> None:
    """An operand must be of a type that the field has somewhere, else the filter is a mistake, not an empty answer."""
    types = fields.types(name, element)
    if kind in types or types == {"null"}:
        return
    if types:
        what = f"the elements of '{name}' are" if element else f"'{name}' holds"
        wants = "a list" if kind == "list" else f"a {kind}"
        raise FilterError(f"{place}: {what} {' or '.join(sorted(types))}, but {operand!r:.60} asks for {wants}.")
    names = fields.names()
    if not element and names and name not in names:
        raise FilterError(f"{place}: no document has the field '{name}'; there are: {', '.join(names[:30])}.")


def _scalar(operand: object, place: str) -> tuple[str, Any]:
    if operand is not None and not isinstance(operand, str | bool | int | float):
        raise FilterError(f"{place} takes a text, a number, true, false or null, not {operand!r:.60}.")
    if isinstance(operand, float) and not math.isfinite(operand):
        raise FilterError(f"{place} takes a finite number, not {operand}.")
    if isinstance(operand, int) and not -(2**63) <= operand < 2**63:
        raise FilterError(f"{place}: {operand} does not fit 64 bits.")
    if isinstance(operand, str):
        try:
            operand.encode()
        except UnicodeEncodeError as error:
            raise FilterError(f"{place}: half a surrogate pair is no text.") from error
    return typed(operand)


def _list(operand: object, place: str) -> Sequence[Any]:
    if isinstance(operand, str) or not isinstance(operand, Sequence):
        raise FilterError(f"{place} takes a list, not {operand!r:.60}.")
    return operand
