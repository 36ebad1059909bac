"""Haystack's filters as conditions on stored documents, with the meaning of its own in-memory store.

A field that is missing equals None. Texts are compared by size as dates in ISO form alone; a date without a zone counts
as UTC. What can't be said as a filter (a field of the document itself, a list or a map as a value) is held against each
document by Haystack's own function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from haystack.errors import FilterError as HaystackFilterError
from haystack.utils.filters import document_matches_filter

from semsearch.adaptors.matching import (
    EVERYTHING,
    NO_DOCUMENTS_AT_ALL,
    SIZE_OPERATORS,
    Condition,
    any_of,
    at_moment,
    lacks,
    same,
    sized,
)
from semsearch.dates import moment
from semsearch.errors import FilterError
from semsearch.haystack.kept_documents import haystack_document
from semsearch.search.where import And, Filter, Not, Or
from semsearch.types import Document, Metadata

MAX_NESTED = 50  # levels of a filter
META = "meta."
COMPARISONS = ("==", "!=", *SIZE_OPERATORS, "in", "not in")


def condition_of(filters: Mapping[str, Any] | None) -> Condition | None:
    """What `filters` ask for; None where they ask for nothing.

    Raises:
        haystack.errors.FilterError: What is wrong with them.
    """
    if not filters:
        return None
    try:
        tree = _tree(filters, 0)
    except FilterError as error:
        raise HaystackFilterError(str(error)) from error
    if tree is not None:
        return Condition(tree)
    return Condition(EVERYTHING, _by_haystack(dict(filters)))


def _by_haystack(filters: dict[str, Any]) -> Callable[[str, Metadata, Callable[[], Document]], bool]:
    return lambda identity, metadata, read: document_matches_filter(filters, haystack_document(read()))


def _tree(filters: Any, depth: int) -> Filter | None:
    """The filter; None where none says it."""
    if not isinstance(filters, Mapping):
        raise HaystackFilterError(f"a filter is a dictionary with 'field' or 'conditions', not {filters!r:.60}.")
    if depth > MAX_NESTED:
        raise HaystackFilterError(f"the filter is nested deeper than {MAX_NESTED} levels.")
    if "operator" not in filters:
        raise HaystackFilterError(f"'operator' is missing in {filters!r:.200}.")
    if "field" in filters:
        if "value" not in filters:
            raise HaystackFilterError(f"'value' is missing in {filters!r:.200}.")
        return _comparison(filters["field"], filters["operator"], filters["value"])
    if "conditions" not in filters:
        raise HaystackFilterError(f"'conditions' or 'field' is missing in {filters!r:.200}.")
    joined = filters["operator"]
    if joined not in ("AND", "OR", "NOT"):
        raise HaystackFilterError(f"{joined!r:.60} joins no conditions; AND, OR and NOT do.")
    found = [_tree(part, depth + 1) for part in filters["conditions"]]
    parts = tuple(part for part in found if part is not None)
    if len(parts) < len(found):
        return None
    return Or(parts) if joined == "OR" else And(parts) if joined == "AND" else Not(And(parts))


def _comparison(field: Any, sign: Any, value: Any) -> Filter | None:
    if sign not in COMPARISONS:
        raise HaystackFilterError(f"{sign!r:.60} is no operator; they are {', '.join(COMPARISONS)}.")
    if not isinstance(field, str):
        raise HaystackFilterError(f"the name of a field is a text, not {field!r:.60}.")
    found: Filter | None
    if sign in SIZE_OPERATORS:
        found = _size(field, sign, value)
    elif sign in ("in", "not in"):
        found = _among(field, value)
    else:
        found = _equal(field, value)
    if not field.startswith(META):
        return None  # a field of the document itself, or a name in the form of an older version
    return Not(found) if found is not None and sign in ("!=", "not in") else found


def _equal(field: str, value: Any) -> Filter | None:
    name = field.removeprefix(META)
    if value is None:
        return lacks(name)
    if isinstance(value, date):
        value = value.isoformat()
    if not isinstance(value, str | bool | int | float):
        return None
    when = moment(value) if isinstance(value, str) else None
    return same(name, value) if when is None else Or((same(name, value), at_moment(name, "==", when)))


def _among(field: str, values: Any) -> Filter | None:
    if not isinstance(values, list):
        raise HaystackFilterError(f"'in' and 'not in' take a list, not {values!r:.60}.")
    name, plain, parts = field.removeprefix(META), [], []
    for value in values:
        if isinstance(value, str | bool | int | float) and not (isinstance(value, str) and moment(value) is not None):
            plain.append(value)
            continue
        part = _equal(field, value)
        if part is None:
            return None
        parts.append(part)
    return Or((any_of(name, plain), *parts))


def _size(field: str, sign: str, value: Any) -> Filter:
    name = field.removeprefix(META)
    if value is None:
        return NO_DOCUMENTS_AT_ALL
    if isinstance(value, str | date):
        text = value if isinstance(value, str) else value.isoformat()
        when = moment(text)
        if when is None:
            raise HaystackFilterError(
                f"texts are compared by '{sign}' as dates in ISO form alone, and {text!r:.60} is none."
            )
        return at_moment(name, sign, when)
    if not isinstance(value, bool | int | float):
        raise HaystackFilterError(f"'{sign}' compares with a number or a date, not {value!r:.60}.")
    return sized(name, sign, value)
