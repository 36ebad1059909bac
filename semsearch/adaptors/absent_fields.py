"""Filters as frameworks mean them: a field that no document has finds nothing, and is no slip."""

from __future__ import annotations

from collections.abc import Sequence

from semsearch.collection import Collection
from semsearch.search.fields import Kind
from semsearch.search.where import FieldCatalog, Filter
from semsearch.search.where_mapping import Where, parse


class _AnyField:
    """The fields that there are, and every other, as one that is null wherever it is: a `FieldCatalog`."""

    def __init__(self, known: FieldCatalog) -> None:
        self._known = known

    def names(self) -> Sequence[str]:
        return self._known.names()

    def types(self, name: str, element: bool) -> frozenset[Kind]:
        found = self._known.types(name, element)
        there = found or (element and self._known.types(name, False))
        return found if there else frozenset[Kind]({"null"})

    def values(self, name: str, begins: str, most: int) -> Sequence[str | float | bool]:
        return self._known.values(name, begins, most)


def lenient(collection: Collection, where: Where | None) -> Filter | None:
    """What `where` stands for; a field that no document has is none that any meets, and no error.

    Raises:
        FilterError: What can't be understood of it.
    """
    if where is None:
        return None
    with collection.engine.view() as view:
        return parse(where, _AnyField(view.fields()))
