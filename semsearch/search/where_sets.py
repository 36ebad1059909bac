"""A filter as sets of documents, for engines that look values up in an index of fields: `semsearch.search.fields`.

One walk of the tree, and one reading of what each of its leaves asks of the rows of that index; what a set is, a mask
or a query, is the engine's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, assert_never

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
    Size,
    Value,
    Within,
)

Sign: TypeAlias = Literal["=", "$in", "$like"] | Size
DocumentsFound = TypeVar("DocumentsFound")  # a set of documents
Leaf: TypeAlias = Equal | Compare | Member | Exists | Contains | Like | Within


@dataclass(frozen=True, slots=True)
class FieldCondition:
    """Rows of the index of fields.

    Attributes:
        name: Of the field.
        element: Of its lists' elements rather than of its own values.
        kind: The type of the value; any where None.
        tests: What the value passes, all of them: signs with what it is compared with, "$in" with a tuple.
    """

    name: str
    element: bool
    kind: Kind | None
    tests: tuple[tuple[Sign, Any], ...] = ()


class FilterSets(Protocol[DocumentsFound]):
    """The sets that an engine has."""

    def every(self) -> DocumentsFound:
        """All documents."""
        ...

    def none(self) -> DocumentsFound:
        """No document."""
        ...

    def having(self, condition: FieldCondition) -> DocumentsFound:
        """The documents with such a row."""
        ...

    def both(self, one: DocumentsFound, other: DocumentsFound) -> DocumentsFound:
        """What is in both; `one` may be changed."""
        ...

    def either(self, one: DocumentsFound, other: DocumentsFound) -> DocumentsFound:
        """What is in either; `one` may be changed."""
        ...

    def without(self, one: DocumentsFound, other: DocumentsFound) -> DocumentsFound:
        """What is in `one`, which may be changed, and not in the other."""
        ...


def documents_in(where: Filter, sets: FilterSets[DocumentsFound]) -> DocumentsFound:
    """The documents that a filter allows."""
    match where:
        case And((first, *parts)):
            found = documents_in(first, sets)
            for part in parts:  # one after the other: a thousand masks of a million documents are a gigabyte
                found = sets.both(found, documents_in(part, sets))
            return found
        case And():
            return sets.every()
        case Or(parts):
            found = sets.none()
            for part in parts:
                found = sets.either(found, documents_in(part, sets))
            return found
        case Not(part):
            return sets.without(sets.every(), documents_in(part, sets))
    found = sets.none()
    for condition in conditions_of(where):
        found = sets.either(found, sets.having(condition))
    return found


def conditions_of(where: Leaf) -> Iterator[FieldCondition]:
    """Conditions, any of which is enough."""
    match where:
        case Exists(name):
            yield FieldCondition(name, False, None)
        case Equal(name, sought):
            yield FieldCondition(name, False, sought.kind, (("=", sought.value),))
        case Contains(name, sought):
            yield FieldCondition(name, True, sought.kind, (("=", sought.value),))
        case Compare(name, size, sought):
            yield FieldCondition(name, False, sought.kind, ((size, sought.value),))
        case Like(name, text):
            yield FieldCondition(name, False, "text", (("$like", text),))
        case Member(name, values):
            for kind, of_kind in groupby(sorted(values, key=_kind), _kind):
                yield FieldCondition(name, False, kind, (("$in", tuple(each.value for each in of_kind)),))
        case Within(name, ranges, element):
            for first, behind in ranges:
                tests: list[tuple[Sign, Any]] = [] if first is None else [("$gte", first)]
                tests += [] if behind is None else [("$lt", behind)]
                yield FieldCondition(name, element, "date", tuple(tests))
        case _:
            assert_never(where)


def _kind(value: Value) -> Kind:
    return value.kind
