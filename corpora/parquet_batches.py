"""The rows of a Parquet file, a batch at a time, of bounded memory.

A value may be stored once, in a dictionary, and named by every row: a small file can mean terabytes. So rows are read
together as the longest value of their dictionaries allows, what lies in lists stays numbers of a dictionary until it is
known how much it is, and a group of rows that becomes far more than its own length is given up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

BATCH_ROWS = 1024  # read together, where they are short
BATCH_BYTES = 1 << 26  # that they may take
ROW_BYTES = 1 << 28  # that one of them may take
GROUP_BYTES = 1 << 30  # that any group of rows may become …
GROUP_RATIO = 200  # … and more by its own length


def batches(opened: Callable[..., Any], names: Sequence[str]) -> Iterator[Any]:
    """The columns `names` of all rows, as record batches; for those that are given up a sentence and their number.

    Args:
        opened: The file as a `pyarrow.parquet.ParquetFile`, each time that it is called with options of that.
        names: The columns.
    """
    with opened() as file:
        leaves = _leaves(file, names)
        flat, nested = ([path for path, deep, _ in leaves if deep is inside] for inside in (False, True))
        with opened(read_dictionary=flat) as probed, opened(read_dictionary=nested) as read:
            for number in range(file.num_row_groups):
                yield from _group(file.metadata.row_group(number), number, probed, read, leaves, names)


def _leaves(file: Any, names: Sequence[str]) -> list[tuple[str, bool, int]]:
    """The columns of values: the path of each, whether it lies in a list or struct, and the bytes that a value takes.

    Those of a text or of bytes of any length take 0.
    """
    found = []
    for place in range(len(file.schema.names)):
        column = file.schema.column(place)
        if any(column.path == name or column.path.startswith(f"{name}.") for name in names):
            width = 0 if column.physical_type == "BYTE_ARRAY" else max(column.length, 8)
            found.append((column.path, column.path not in names, width))
    return found


def _group(
    group: Any, number: int, probed: Any, read: Any, leaves: Sequence[tuple[str, bool, int]], names: Sequence[str]
) -> Iterator[Any]:
    """The batches of one group of rows."""
    chunks = {chunk.path_in_schema: chunk for chunk in map(group.column, range(group.num_columns))}
    held = [chunks[path] for path, _, _ in leaves]
    packed, unpacked = (
        sum(getattr(chunk, f"total_{kind}_size") for chunk in held) for kind in ("compressed", "uncompressed")
    )
    inner = sum(chunks[path].num_values * (width or 4) for path, deep, width in leaves if deep)
    most = max(GROUP_BYTES, GROUP_RATIO * packed)
    told = f"row group {number + 1:,}: its {packed:,} bytes become more than {most:,}, and are not read"
    if unpacked + inner > most:
        yield f"{told}.", group.num_rows
        return
    flat = [path for path, deep, width in leaves if not deep and not width and chunks[path].has_dictionary_page]
    row = _longest(probed, number, flat) + sum(width for _, deep, width in leaves if not deep)
    row += unpacked // max(group.num_rows, 1)
    total = rows = 0
    for batch in read.iter_batches(max(1, min(BATCH_ROWS, BATCH_BYTES // max(row, 1))), [number], columns=names):
        for piece in _pieces(batch):
            size = _size(piece)
            total += size
            if total > most:
                yield f"{told} from the row {rows + 1:,} of the group on.", group.num_rows - rows
                return
            rows += piece.num_rows
            if size > ROW_BYTES and piece.num_rows == 1:
                yield f"its values take {size:,} bytes, where {ROW_BYTES:,} are the most.", 1
            else:
                yield piece


def _longest(probed: Any, number: int, columns: Sequence[str]) -> int:
    """Bytes of the longest values in the dictionaries of these columns, one of each together."""
    from pyarrow import compute

    if not columns:
        return 0
    for batch in probed.iter_batches(1, [number], columns=list(columns)):  # which has all of each dictionary
        lengths = (compute.max(compute.binary_length(column.dictionary)).as_py() for column in batch.columns)
        return sum(length or 0 for length in lengths)
    return 0


def _pieces(batch: Any) -> Iterator[Any]:
    """A batch in pieces that take no more than they may, or are a row."""
    if batch.num_rows > 1 and _size(batch) > BATCH_BYTES:
        half = batch.num_rows // 2
        yield from _pieces(batch.slice(0, half))
        yield from _pieces(batch.slice(half))
    else:
        yield batch


def _size(batch: Any) -> int:
    return sum(map(_bytes, batch.columns))


def _bytes(array: Any) -> int:
    """What an array takes once each value of a dictionary stands where it is named."""
    from pyarrow import compute, types

    kind = array.type
    if types.is_dictionary(kind):
        if not (types.is_string(kind.value_type) or types.is_large_string(kind.value_type) or _is_bytes(kind)):
            return int(array.nbytes)
        lengths = compute.binary_length(array.dictionary).take(array.indices)
        return int(compute.sum(lengths.cast("int64")).as_py() or 0)
    if types.is_struct(kind):
        return sum(map(_bytes, array.flatten()))
    if types.is_map(kind):
        return _bytes(_within(array, array.keys)) + _bytes(_within(array, array.items))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _bytes(array.flatten())
    return int(array.nbytes)


def _within(array: Any, values: Any) -> Any:
    """The values of a map that belong to this slice of it."""
    if not len(array):
        return values.slice(0, 0)
    first, last = array.offsets[0].as_py(), array.offsets[len(array)].as_py()
    return values.slice(first, last - first)


def _is_bytes(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_binary(kind.value_type) or types.is_large_binary(kind.value_type))
