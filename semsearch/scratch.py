"""Room for large arrays: in memory while they are small, beyond in a temporary file that is gone with them."""

from __future__ import annotations

import math
import os
from tempfile import TemporaryFile
from typing import IO, Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from semsearch.errors import DataError, StorageError

IN_MEMORY_BYTES = 1 << 28
ROWS_AT_A_TIME = 1_000  # at a time


def scratch(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array of some shape, its content undefined.

    Raises:
        StorageError: The disk has no room for it. It is taken at once: to run out of it later would end the process.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size <= IN_MEMORY_BYTES:
        return np.empty(shape, dtype)
    try:
        with _file() as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, dtype, "r+", shape=shape) if size else np.empty(shape, dtype)
    except OSError as error:
        raise _no_room(size, error) from error


def gathered(vectors: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """Some rows `(len(rows), dim)` of `vectors` `(n, dim)`, copied.

    Raises:
        StorageError: The disk has no room for them.
    """
    kept = scratch((len(rows), vectors.shape[1]), vectors.dtype)
    for start in range(0, len(rows), ROWS_AT_A_TIME):
        kept[start : start + ROWS_AT_A_TIME] = vectors[rows[start : start + ROWS_AT_A_TIME]]
    return kept


class Arriving:
    """Rows that arrive a part at a time and become one array, however many they are; a context to add them in.

    Args:
        dim: Of each, where none arrives.
    """

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._parts: list[NDArray[np.float32]] = []
        self._size = 0
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()  # what is mapped stays

    def add(self, rows: NDArray[np.float32]) -> None:
        """Take in a part `(n, dim)`.

        Raises:
            DataError: It has another `dim` than those before.
            StorageError: The disk has no room for it.
        """
        if not self._size:
            self._dim = rows.shape[1]
        if rows.shape[1] != self._dim:
            raise DataError(f"vectors of {rows.shape[1]} components arrive among some of {self._dim}.")
        self._parts.append(rows)
        self._size += rows.nbytes
        if self._size > IN_MEMORY_BYTES:
            try:
                if self._file is None:
                    self._file = _file()
                for part in self._parts:
                    self._file.write(np.ascontiguousarray(part, dtype=np.float32).data)
                self._file.flush()
            except OSError as error:
                raise _no_room(self._size, error) from error
            self._parts = []

    def whole(self) -> NDArray[np.float32]:
        """All of them `(rows, dim)`."""
        if self._file is None:
            return np.concatenate([np.empty((0, self._dim), dtype=np.float32), *self._parts])
        return np.memmap(self._file, np.float32, "r+", shape=(self._size // (4 * self._dim), self._dim))


def _file() -> IO[bytes]:
    """One that is gone from its folder, and there while it is mapped."""
    return TemporaryFile(prefix="semsearch-")


def _no_room(size: int, error: OSError) -> StorageError:
    return StorageError(
        f"a temporary file of {size / 1e9:.1f} GB can't be made: {error.strerror or error}. Make room, or name "
        "another folder with TMPDIR."
    )
