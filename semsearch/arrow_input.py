"""Vectors in frames: pandas, polars, pyarrow, Hugging Face's datasets, and whatever else has `__arrow_c_stream__`.

A frame has a column of lists of numbers, a vector a row, or nothing but columns of numbers, a component each. A column
`_id` or `id`, or an index that says something, names the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from semsearch.errors import DataError, MissingDependency, SemsearchError, UsageError
from semsearch.masked_values import unmasked
from semsearch.tabular import RowIds

ID_COLUMNS = ("_id", "id")
ROWS_AT_ONCE = 1024  # of what is read bit by bit
LISTS = (list, tuple, np.ndarray)  # what holds a vector in a column of objects
VECTOR_COLUMNS = ("vector", "vectors", "embedding", "embeddings")


def is_frame(given: object) -> bool:
    """Whether something gives an Arrow stream, as frames and their columns do."""
    if hasattr(given, "__arrow_c_stream__") or is_dataset(given):
        return True
    return hasattr(given, "collect") and hasattr(given, "collect_schema")


def is_table(frame: object) -> bool:
    """Whether a frame has columns, and is not one."""
    named = any(hasattr(type(frame), name) for name in ("columns", "column_names", "schema", "collect_schema"))
    return named or not isinstance(frame, Iterable)


def is_dataset(given: object) -> bool:
    """Whether something is a dataset of Hugging Face's, which gives Arrow tables when it is asked to.

    Raises:
        UsageError: It is a dictionary of them.
    """
    if not (hasattr(given, "with_format") and hasattr(given, "column_names")):
        return False
    if isinstance(given, Mapping):
        parts = ", ".join(map(repr, given)) or "none"
        raise UsageError(f"these are several datasets: give one of them, dataset['…']; there are: {parts}.")
    return True


def rows_in(given: Any, what: str = "vectors") -> tuple[Any, RowIds | None]:
    """The vectors `(n, dim)` of a frame or of a column of lists, without a copy where Arrow has them side by side.

    Anything else is given back as it is.

    Raises:
        UsageError: No column holds vectors, or several do.
        DataError: A row has no vector, one of another length, or one with masked values.
        MissingDependency: pyarrow is not installed.
    """
    if not is_frame(given):
        return given, None
    pa = load_pyarrow()
    table = _read(pa, given, what)
    ids = _index_of(given)
    if not isinstance(table, pa.Table):
        return _of_lists(pa, table, what), ids
    if twice := [name for name, count in Counter(table.column_names).items() if count > 1]:
        raise UsageError(f"several columns of the frame are called '{twice[0]}': give one of them, or rename them.")
    for name in ID_COLUMNS:
        if name in table.column_names:
            ids = RowIds(table.column(name).to_pylist(), name)
            table = table.drop_columns([name])
            break
    lists = [name for name in table.column_names if _is_list(pa, table.schema.field(name).type)]
    if len(lists) > 1:
        lists = [name for name in lists if name.lower() in VECTOR_COLUMNS]
    if len(lists) == 1:
        return _of_lists(pa, table.column(lists[0]), f"column '{lists[0]}'"), ids
    names = ", ".join(map(repr, table.column_names)) or "none"
    numbers = [pa.types.is_integer(field.type) or pa.types.is_floating(field.type) for field in table.schema]
    if lists or not numbers or not all(numbers):
        raise UsageError(
            f"the frame must have one column of lists of numbers, or nothing but numbers, beside its ids; it has "
            f"{names}. Give the column of {what}: frame['…']."
        )
    columns = [column.to_numpy() for column in table.columns]
    return np.stack(columns, axis=1) if columns else np.empty((0, 0)), ids


def _read(pa: Any, given: Any, what: str) -> Any:
    """A table, or one column in chunks.

    Raises:
        DataError: It can't be read, or holds masked values.
    """
    for name, values in _objects(given, what):  # Arrow would uncover what is masked
        for row, value in enumerate(values):
            if isinstance(value, np.ma.MaskedArray):
                unmasked(value, name, row)
    try:
        if hasattr(given, "collect") and hasattr(given, "collect_schema"):  # polars, lazy
            given = given.collect()
        return _table(pa, given)
    except SemsearchError:
        raise
    except Exception as error:  # whatever the library that gives it raises
        raise DataError(_unreadable(pa, given, what, error)) from error


def load_pyarrow() -> Any:
    """The library that takes what frames give.

    Raises:
        MissingDependency: It is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise MissingDependency(
            "frames are read by pyarrow, which is not installed: pip install pyarrow, or give arrays."
        ) from error
    return pyarrow


def _table(pa: Any, given: Any) -> Any:
    if hasattr(given, "iloc") and hasattr(given, "columns"):  # pandas, whose index is no column here
        return pa.Table.from_pandas(given, preserve_index=False)
    if hasattr(given, "iloc"):
        return pa.chunked_array([pa.array(given, from_pandas=True)])
    if is_dataset(given):
        return pa.concat_tables(given.with_format("arrow").iter(ROWS_AT_ONCE))
    if isinstance(given, pa.Table | pa.ChunkedArray):
        return given
    try:
        return pa.table(given)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, ValueError):
        return pa.chunked_array(given)  # a stream of something other than records


def _objects(given: Any, what: str) -> Iterator[tuple[str, list[Any]]]:
    """Those columns of pandas that hold objects, each with its name."""
    if hasattr(given, "iloc"):
        columns = given.items() if hasattr(given, "columns") else [(what, given)]
        for name, column in columns:
            if column.dtype == object:
                yield f"column '{name}'", column.tolist()


def _unreadable(pa: Any, given: Any, what: str, error: Exception) -> str:
    """What to say of a frame or column that can't be read; of pandas, where a row is unlike the others."""
    for name, values in _objects(given, what):
        with suppress(pa.ArrowException, TypeError, ValueError):
            pa.array(values, from_pandas=True)
            continue  # it is another column
        row = odd_row(values)
        if row is None and _is_row(pa, values[0]):  # numpy takes all of them
            row = next((row for row, value in enumerate(values) if not _is_row(pa, value)), None)
        if row is not None:
            odd, other = (f"{values[one]!r:.60}".partition("\n")[0] for one in (row, 0 if row else -1))
            return f"row {row} of {name} is {odd}, and the {'first' if row else 'last'} is {other}: make them alike."
    reason = "; ".join(str(part).partition("\n")[0] for part in error.args) or type(error).__name__
    return f"the frame can't be read: {reason.removesuffix('.')}. Give one of its columns, or an array."


def _is_row(pa: Any, value: Any) -> bool:
    """Whether Arrow takes a value for a list of numbers."""
    try:
        return isinstance(value, LISTS) and _is_list(pa, pa.array([value]).type)
    except (pa.ArrowException, TypeError, ValueError):
        return False


def odd_row(rows: Sequence[Any]) -> int | None:
    """The first that holds no numbers, or is of another shape than the first; None if there is none."""
    shape: tuple[int, ...] | None = None
    for row, value in enumerate(rows):
        try:
            numbers = np.asarray(value)
        except (TypeError, ValueError, RuntimeError):
            return row
        shape = numbers.shape if shape is None else shape
        if numbers.dtype.kind not in "fiu" or numbers.shape != shape:
            return row
    return None


def _index_of(given: Any) -> RowIds | None:
    """The index of pandas, unless it only counts."""
    index = getattr(given, "index", None) if hasattr(given, "iloc") else None
    if index is None or (type(index).__name__ == "RangeIndex" and index.name is None):
        return None
    return RowIds(index.tolist(), index.name, indexed=True)


def _is_list(pa: Any, kind: Any) -> bool:
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(lists) and bool(pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))


def _of_lists(pa: Any, column: Any, what: str) -> Any:
    """A column of lists of numbers as `(n, dim)`."""
    if not _is_list(pa, column.type):
        raise UsageError(f"{what} must be lists of numbers, and are {column.type}.")
    if column.null_count:
        at = next(row for row, value in enumerate(column) if not value.is_valid)
        raise DataError(f"row {at} of {what} has no vector.")
    parts, start, dim = [], 0, None
    for chunk in column.chunks:
        if not len(chunk):
            continue
        lengths = chunk.value_lengths().to_numpy(zero_copy_only=False)
        dim = int(lengths[0]) if dim is None else dim
        if (lengths != dim).any():
            at = int(np.flatnonzero(lengths != dim)[0])
            raise DataError(f"row {start + at} of {what} has {lengths[at]} components, where the first has {dim}.")
        values = chunk.flatten()
        parts.append(values.to_numpy(zero_copy_only=values.null_count == 0).reshape(len(chunk), dim))
        start += len(chunk)
    if not parts:
        return np.empty((0, 0), dtype=np.float32)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
