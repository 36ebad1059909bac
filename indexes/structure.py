"""What files that somebody else wrote are looked through with, before a library that trusts them may read them."""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semsearch.types import Vectors

LOOKED_ROWS = 1 << 14  # rows at a time


@cache
def _struct(layout: str) -> struct.Struct:
    return struct.Struct("<" + layout)


class Cursor:
    """A file of a library, read from its beginning to its end and never beyond."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bytes = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.empty(0, np.uint8)
        self.at = 0

    @property
    def left(self) -> int:
        """Bytes that come."""
        return len(self._bytes) - self.at

    def expect(self, fits: bool, what: str) -> None:
        """Raise ValueError with `what` is wrong unless something `fits`."""
        if not fits:
            raise ValueError(f"{self._path.name} was not written by this library: {what} before byte {self.at:,}")

    def values(self, layout: str) -> tuple[Any, ...]:
        """Numbers as `struct` has them, little-endian and without gaps."""
        known = _struct(layout)
        return known.unpack(self.array(known.size, np.uint8).tobytes())

    def array(self, count: int, dtype: Any) -> NDArray[Any]:
        """So many numbers that come next, where they lie."""
        size = np.dtype(dtype).itemsize
        if not 0 <= count <= self.left // size:  # the sentence is not put together for each row that is right
            self.expect(False, f"there are no {count:,} numbers")
        end = self.at + count * size
        found: NDArray[Any] = self._bytes[self.at : end].view(dtype)
        self.at = end
        return found

    def sized(self, dtype: Any) -> NDArray[Any]:
        """Numbers behind their count."""
        (count,) = self.values("Q")
        return self.array(count, dtype)

    def end(self) -> None:
        """Nothing more may come."""
        self.expect(self.at == len(self._bytes), "more follows")


def same_bytes(stored: NDArray[Any], vectors: Vectors, rows: NDArray[Any] | slice) -> bool:
    """Whether an index's own copies of vectors are those of the collection, bit for bit."""
    return bool(
        np.array_equal(
            np.ascontiguousarray(stored).view(np.uint32), np.ascontiguousarray(vectors[rows]).view(np.uint32)
        )
    )


def each_once(rows: NDArray[Any], count: int) -> bool:
    """Whether `rows` are all numbers below `count`, each once."""
    if len(rows) != count or not count:
        return len(rows) == count
    if rows.min() < 0 or rows.max() >= count:
        return False
    seen = np.zeros(count, dtype=np.bool_)
    seen[rows] = True
    return bool(seen.all())
