"""Filters on metadata as a small tree, which every engine compiles; `semsearch.search.where_mapping` reads it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, assert_never

from semsearch.search.fields import Kind, fields_of, folded

Size = Literal["$gt", "$gte", "$lt", "$lte"]


@dataclass(frozen=True, slots=True)
class Value:
    """What a field is compared with. The type is part of it: Python takes 1 and True for the same."""

    kind: Kind
    value: Any


@dataclass(frozen=True, slots=True)
class And:
    """Documents that all parts allow; with no parts, every document."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Documents that any part allows; with no parts, none."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Documents that the part does not allow."""

    part: Filter


@dataclass(frozen=True, slots=True)
class Equal:
    """The field has this type and value."""

    name: str
    value: Value


@dataclass(frozen=True, slots=True)
class Compare:
    """The field has the value's type, a number or a text, and is so much; texts are ordered by code points."""

    name: str
    operator: Size
    value: Value


@dataclass(frozen=True, slots=True)
class Member:
    """The field is equal to one of the values."""

    name: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Exists:
    """The document has the field, if only as null."""

    name: str


@dataclass(frozen=True, slots=True)
class Contains:
    """The field is a list, and one of its elements has this type and value."""

    name: str
    value: Value


@dataclass(frozen=True, slots=True)
class Like:
    """The field is a text that `text` stands in, whatever their capitals and accents: `text` is folded."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Within:
    """The field, or an element of it where it is a list, is a date in one of the ranges.

    A range is the first microsecond since 1970 in UTC and the one behind its last; None sets no bound.
    """

    name: str
    ranges: tuple[tuple[int | None, int | None], ...]
    element: bool = False


Filter = And | Or | Not | Equal | Compare | Member | Exists | Contains | Like | Within
"""A filter that was checked: a key of dictionaries, equal to every other of the same conditions in the same order."""

SIZES: dict[str, tuple[Size, Callable[[Any, Any], bool]]] = {
    "$gt": ("$gt", operator.gt),
    "$gte": ("$gte", operator.ge),
    "$lt": ("$lt", operator.lt),
    "$lte": ("$lte", operator.le),
}


class FieldCatalog(Protocol):
    """Which fields the documents of a collection have: what a filter is checked against."""

    def names(self) -> Sequence[str]:
        """The names of fields, sorted; of many, the first few hundred serve."""

    def types(self, name: str, element: bool) -> frozenset[Kind]:
        """The types that the field has in any document; those of the elements of its lists, where `element`."""

    def values(self, name: str, begins: str, most: int) -> Sequence[str | float | bool]:
        """Values of the field, and elements of its lists, whose text begins so: sorted, at most `most` of a type."""


def matches(where: Filter, metadata: Mapping[str, Any]) -> bool:
    """Whether `where` allows a document with this metadata."""
    found: dict[tuple[str, bool], list[Value]] = {}
    for name, element, kind, value in fields_of(metadata):
        found.setdefault((name, element), []).append(Value(kind, value))
    return _matches(where, found)


def _matches(where: Filter, found: Mapping[tuple[str, bool], Sequence[Value]]) -> bool:
    match where:
        case And(parts):
            return all(_matches(part, found) for part in parts)
        case Or(parts):
            return any(_matches(part, found) for part in parts)
        case Not(part):
            return not _matches(part, found)
        case Exists(name):
            return (name, False) in found
        case Equal(name, value):
            return value in found.get((name, False), ())
        case Contains(name, value):
            return value in found.get((name, True), ())
        case Member(name, values):
            return any(value in values for value in found.get((name, False), ()))
        case Within(name, ranges, element):
            moments = [own.value for own in found.get((name, element), ()) if own.kind == "date"]
            return any(
                (first is None or first <= moment) and (behind is None or moment < behind)
                for moment in moments
                for first, behind in ranges
            )
        case Compare(name, operator_, value):
            holds = SIZES[operator_][1]
            return any(own.kind == value.kind and holds(own.value, value.value) for own in found.get((name, False), ()))
        case Like(name, text):
            return any(own.kind == "text" and text in folded(own.value) for own in found.get((name, False), ()))
    assert_never(where)
