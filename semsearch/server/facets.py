"""Documents counted by the values of a field, among those that a filter allows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from semsearch.engine import EngineView, Faceted
from semsearch.search.fields import VALUED, composed, fields_of
from semsearch.search.where import Filter
from semsearch.types import Document

DOCUMENTS_AT_ONCE = 1_000


def facets(view: EngineView, name: str, where: Filter | None, most: int) -> list[tuple[str | float | bool, int]]:
    """The `most` frequent values of a field with the number of documents that have them; of equals the smaller first.

    An element of a list is a value of the field; a document counts once for each of its values.
    """
    if isinstance(view, Faceted):
        return view.facets(name, where, most)
    counts: Counter[tuple[str, Any]] = Counter()
    for document in _documents(view, where):
        counts.update(_values(document.metadata, composed(name)))
    return most_frequent(counts, most)


def kind_and_value(value: str | float | bool) -> tuple[str, str | float | bool]:
    """A value with its type, by which it is counted: true is no 1."""
    return ("bool" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"), value


def most_frequent(counts: Mapping[tuple[str, Any], int], most: int) -> list[tuple[str | float | bool, int]]:
    """The `most` frequent values, of counts by type and value."""
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0][0], one[0][1]))
    return [(value, count) for (_, value), count in ordered[:most]]


def _documents(view: EngineView, where: Filter | None) -> Iterator[Document]:
    if where is None:
        yield from view.documents()
        return
    ids = view.ids(where)
    for start in range(0, len(ids), DOCUMENTS_AT_ONCE):
        yield from view.get(ids[start : start + DOCUMENTS_AT_ONCE]).values()


def _values(metadata: Mapping[str, Any], name: str) -> set[tuple[str, Any]]:
    return {(kind, value) for own, _, kind, value in fields_of(metadata) if own == name and kind in VALUED}
