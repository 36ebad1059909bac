"""Metadata as a typed column of a table, and back as it was.

A table wants one type for a field and a value in every row. So each field that has a type of its own becomes a child of
a struct, where a null says that the document lacks it. What no type holds (values of several types, maps, lists of
lists) becomes JSON text, and so does a field that is null here and missing there. How to read a column back is noted in
the schema, beside it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

MAX_COLUMNS = 1000  # fields beyond which all of the metadata is one JSON text: they are data, not columns
MARK = b"semsearch"
JSON = b"json"  # text that is read as JSON
NULLS = b"nulls"  # every document has the field, and nulls are values
OWN = b"own"  # a struct of ours: unless a child says otherwise, a null means that there is no such field
PLACE_COLUMN = b"place"  # a column about the passage and not of its document

_SCALARS = {str: "string", bool: "bool_", int: "int64", float: "float64"}


class MetadataColumns:
    """The fields of the metadata that was added, and what a column for all of it is like."""

    def __init__(self) -> None:
        self._kinds: dict[str, set[str]] = {}
        self._counts: Counter[str] = Counter()
        self._documents = 0

    def add(self, metadata: Mapping[str, Any]) -> None:
        """Look at the values of one document."""
        self._documents += 1
        self._counts.update(metadata.keys())
        for name, value in metadata.items():
            self._kinds.setdefault(name, set()).add(_kind(value))

    def column(self) -> Any:
        """The `pyarrow.Field` of the column; None if there is no metadata."""
        import pyarrow

        if not self._kinds:
            return None
        if len(self._kinds) > MAX_COLUMNS:
            return pyarrow.field("metadata", pyarrow.string(), metadata={MARK: JSON})
        children = []
        for name in sorted(self._kinds):
            mark, kind = self._typed(name)
            children.append(pyarrow.field(name, _arrow(kind), metadata={MARK: mark} if mark else None))
        return pyarrow.field("metadata", pyarrow.struct(children), metadata={MARK: OWN})

    def _typed(self, name: str) -> tuple[bytes | None, str]:
        """How a field is marked, and its kind."""
        kinds = self._kinds[name]
        typed = kinds - {"null"}
        if any(kind.startswith("list ") for kind in typed):
            typed -= {"list"}  # an empty one, which fits all
        if len(typed) != 1 or typed == {"json"} or ("null" in kinds and self._counts[name] < self._documents):
            return JSON, "string"
        return NULLS if "null" in kinds else None, typed.pop()


def packer(column: Any) -> Callable[[Mapping[str, Any]], Any]:
    """What turns the metadata of a document into the value for `column`, as `MetadataColumns` gave it."""
    if column.metadata[MARK] == JSON:
        return _text
    texts = {child.name for child in column.type if (child.metadata or {}).get(MARK) == JSON}

    def write(metadata: Mapping[str, Any]) -> dict[str, Any]:
        return {name: _text(value) if name in texts else value for name, value in metadata.items()}

    return write


def unpacker(column: Any) -> Callable[[Any], Any] | None:
    """What turns a value of `column` back into metadata; None if it is not one that `MetadataColumns` gave.

    Raises:
        ValueError: (when called) A text that is no JSON.
    """
    mark = (column.metadata or {}).get(MARK)
    if mark == JSON:
        return json.loads
    if mark != OWN:
        return None
    marks = {child.name: (child.metadata or {}).get(MARK) for child in column.type}

    def read(value: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: json.loads(inner) if inner is not None and marks[name] == JSON else inner
            for name, inner in value.items()
            if inner is not None or marks[name] == NULLS
        }

    return read


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if not isinstance(value, list | tuple):
        return _SCALARS.get(type(value), "json")
    inner = {_kind(element) for element in value} - {"null"}
    if not inner:
        return "list"
    kind = inner.pop()
    return f"list {kind}" if not inner and kind in _SCALARS.values() else "json"


def _arrow(kind: str) -> Any:
    import pyarrow

    if kind.startswith("list"):
        return pyarrow.list_(_arrow(kind.removeprefix("list").strip() or "string"))
    return getattr(pyarrow, kind)()
