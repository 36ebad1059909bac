"""Results as frames of pandas and polars and as Arrow tables: a row each, in their order, every column under its name.

None of these libraries is loaded before its frame is asked for.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from semsearch.errors import MissingDependency

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

_LEAST, _MOST = -(2**63), 2**63 - 1  # of a whole number in a column
MIXED = "mixed"  # what has no type in Arrow


class RowIds(NamedTuple):
    """What the rows of a frame are called."""

    values: Sequence[Any]
    name: str | None = None
    indexed: bool = False  # whether they were the frame's index

    def of(self, rows: Any) -> list[Any]:
        """The ids of some rows `(m,)`."""
        return [self.values[row] for row in np.asarray(rows).tolist()]


class Tabular(ABC):
    """What can be had as a frame."""

    @abstractmethod
    def _columns(self) -> Mapping[str, Sequence[Any]]:
        """The columns, all of one length."""

    def _index(self) -> RowIds | None:
        """What the rows are called, where they came with an index."""
        return None

    def to_pandas(self) -> pandas.DataFrame:
        """A pandas frame; whole numbers and truth values with gaps stay what they are.

        Raises:
            MissingDependency: pandas is not installed.
        """
        pd = _library("pandas", "to_pandas")
        index = self._index()
        columns = {name: _of_pandas(pd, column) for name, column in self._columns().items()}
        named = None if index is None else pd.Index(list(index.values), name=index.name)
        frame: pandas.DataFrame = pd.DataFrame(columns, index=named)
        return frame

    def to_polars(self) -> polars.DataFrame:
        """A polars frame; a column of values of several kinds holds them as JSON.

        Raises:
            MissingDependency: polars is not installed.
        """
        pl = _library("polars", "to_polars")
        columns = {name: _of_one_kind(column) for name, column in self._whole().items()}
        frame: polars.DataFrame = pl.DataFrame([pl.Series(name, column) for name, column in columns.items()])
        return frame

    def to_arrow(self) -> pyarrow.Table:
        """An Arrow table; a column of values of several kinds holds them as JSON.

        Raises:
            MissingDependency: pyarrow is not installed.
        """
        pa = _library("pyarrow", "to_arrow")
        return pa.table({name: _of_one_kind(column) for name, column in self._whole().items()})

    def _whole(self) -> dict[str, Sequence[Any]]:
        """The columns with those of an index before them, for frames that have none."""
        index, columns = self._index(), dict(self._columns())
        if index is None:
            return columns
        name = index.name or "index"
        return {name if name not in columns else f"index.{name}": list(index.values), **columns}


def _library(name: str, method: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingDependency(f"{method} needs {name}, which is not installed: pip install {name}") from error


def kind_of_value(value: Any) -> str | None:
    """What a value of JSON is to a column: "text", "number", "bool", lists of these, `MIXED`; None for a gap."""
    if value is None:
        return None
    if isinstance(value, bool | np.bool_):
        return "bool"
    if isinstance(value, int | np.integer):
        return "whole" if _LEAST <= value <= _MOST else MIXED
    if isinstance(value, float | np.floating):
        return "number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, list):
        inner = _common(map(kind_of_value, value))
        return MIXED if inner == MIXED or (inner or "").startswith("list") else f"list of {inner}"
    return MIXED


def _common(kinds: Any) -> str | None:
    """The kind of values of several."""
    found = {kind for kind in kinds if kind is not None}
    if "number" in found:
        found.discard("whole")
    if len(found) > 1:
        found = {kind for kind in found if kind != "list of None"}  # an empty list is one of anything
        if found == {"list of whole", "list of number"}:
            return "list of number"
    return found.pop() if len(found) == 1 else MIXED if found else None


def _of_one_kind(column: Sequence[Any]) -> Any:
    """A column as Arrow and polars take it."""
    if isinstance(column, np.ndarray):
        return column
    kind = _common(map(kind_of_value, column))
    if kind == "number":
        return [None if value is None else float(value) for value in column]
    if kind == "list of number":
        return [None if value is None else [None if one is None else float(one) for one in value] for value in column]
    if kind != MIXED:
        return list(column)
    return [None if value is None else json.dumps(value, ensure_ascii=False) for value in column]


def _of_pandas(pd: Any, column: Sequence[Any]) -> Any:
    """A column as pandas takes it, which by itself makes floats of whole numbers with a gap."""
    if isinstance(column, np.ndarray):
        return column
    kind = _common(map(kind_of_value, column))
    if kind in ("whole", "bool") and any(value is None for value in column):
        return pd.array(list(column), dtype="Int64" if kind == "whole" else "boolean")
    if kind in (MIXED, None) or kind.startswith("list"):
        return pd.Series(list(column), dtype=object).array
    return list(column)
