"""Metadata as filters see it: fields under dotted names, each with a type and a value.

A map gives its own field, of type object, and those within it under `name.inner`; a list gives its own, of type list,
and its elements one by one. A text that is a date in ISO form gives two: itself, and the moment, of type date. Every
engine keeps these fields, in whatever way it finds them fast.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from semsearch.dates import moment

Kind = Literal["number", "text", "bool", "null", "list", "object", "date"]
SCALARS = frozenset({str, int, float, bool, type(None)})


def fields_of(metadata: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, bool, Kind, Any]]:
    """Name, whether it is an element of a list, type and value of each field; lists and maps in a list have none."""
    for name, value in metadata.items():
        full = prefix + name
        if type(value) in SCALARS:  # nearly always, and isinstance with a Mapping is slow
            yield full, False, *typed(value)
            if type(value) is str and (when := moment(value)) is not None:
                yield full, False, "date", when
        elif isinstance(value, Mapping):
            yield full, False, "object", ""
            yield from fields_of(value, full + ".")
        elif isinstance(value, list | tuple):
            yield full, False, "list", ""
            for element in value:
                if not isinstance(element, Mapping | list | tuple):
                    yield full, True, *typed(element)
                    if isinstance(element, str) and (when := moment(element)) is not None:
                        yield full, True, "date", when
        else:
            yield full, False, *typed(value)


def typed(value: str | bool | float | None) -> tuple[Kind, Any]:
    """The type of a scalar, and what of it is compared."""
    if isinstance(value, str):
        return "text", value
    if value is None:
        return "null", ""
    return ("bool" if isinstance(value, bool) else "number"), value


class MemoryFields:
    """The catalog of the fields of documents that are in memory: a `semsearch.search.where.FieldCatalog`."""

    def __init__(self, metadata: Iterable[Mapping[str, Any]]) -> None:
        """Catalog the fields of the `metadata` of each document."""
        self._types: dict[tuple[str, bool], set[Kind]] = {}
        for entry in metadata:
            for name, element, kind, _ in fields_of(entry):
                self._types.setdefault((name, element), set()).add(kind)

    def names(self) -> Sequence[str]:
        """The names of fields, sorted."""
        return sorted({name for name, _ in self._types})

    def types(self, name: str, element: bool) -> frozenset[Kind]:
        """The types that the field, or the elements of its lists, have in any document."""
        return frozenset(self._types.get((name, element), ()))
