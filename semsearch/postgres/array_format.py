"""Rows of numbers and vectors as PostgreSQL's binary COPY has them, to and from arrays."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection, Copy
from psycopg.adapt import Dumper
from psycopg.pq import Format

from semsearch.types import Keys, Vectors

SIGNATURE = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
TRAILER = struct.pack(">h", -1)
_HEAD = struct.Struct(">HH")  # of a vector: components, and a field that is not used
_SENT_BYTES = 1 << 20


class VectorParameter:
    """A vector `(dim,)` as the parameter of a statement, in the type's own binary form."""

    __slots__ = ("sent",)

    def __init__(self, vector: Vectors) -> None:
        self.sent = _HEAD.pack(len(vector), 0) + vector.astype(">f4").tobytes()


def register_vector(session: Connection[Any], oid: int) -> None:
    """Let a connection send `VectorParameter`s, by the number that pgvector's type has in its database."""

    class VectorDumper(Dumper):
        format = Format.BINARY

        def dump(self, obj: VectorParameter) -> bytes:
            return obj.sent

    VectorDumper.oid = oid
    session.adapters.register_dumper(VectorParameter, VectorDumper)


def literal(vector: Vectors) -> str:
    """A vector `(dim,)` as text that gives each float32 back."""
    return "[" + ",".join(map(repr, vector.tolist())) + "]"


def vector_of(sent: bytes) -> Vectors:
    """The vector that `vector_send` wrote."""
    return np.frombuffer(sent, ">f4", offset=_HEAD.size).astype(np.float32)


def vectors_of(sent: Sequence[bytes], dim: int) -> Vectors:
    """The vectors `(n, dim)` that `vector_send` wrote."""
    if not sent:
        return np.empty((0, dim), dtype=np.float32)
    rows = np.frombuffer(b"".join(sent), np.dtype([("head", "V4"), ("vector", ">f4", (dim,))]))
    return rows["vector"].astype(np.float32)


def bytes_of(vectors: Vectors) -> list[bytes]:
    """Each of the vectors `(n, dim)` as the type's own binary form."""
    head = _HEAD.pack(vectors.shape[1], 0)
    return [head + row.tobytes() for row in vectors.astype(">f4")]


def written(rows: Iterable[Sequence[bytes | None]]) -> Iterator[bytes]:
    """Rows of values in binary form, as COPY takes them, in pieces of about a megabyte."""
    pieces, size = [SIGNATURE], 0
    for row in rows:
        parts = [struct.pack(">h", len(row))]
        for value in row:
            if value is None:
                parts.append(b"\xff\xff\xff\xff")
            else:
                parts += (struct.pack(">i", len(value)), value)
        piece = b"".join(parts)
        pieces.append(piece)
        size += len(piece)
        if size >= _SENT_BYTES:
            yield b"".join(pieces)
            pieces, size = [], 0
    yield b"".join([*pieces, TRAILER])


def int8(value: int) -> bytes:
    """A bigint."""
    return value.to_bytes(8, "big", signed=True)


def float8(value: float) -> bytes:
    """A double precision."""
    return struct.pack(">d", value)


def int4(value: int) -> bytes:
    """An integer."""
    return value.to_bytes(4, "big", signed=True)


class RowStream:
    """Rows of bigints and, where `dim` says so, one vector, as COPY sends them: each is as long as another."""

    def __init__(self, numbers: int, dim: int | None = None) -> None:
        parts = [("fields", ">i2")]
        for column in range(numbers):
            parts += [(f"length{column}", ">i4"), (f"n{column}", ">i8")]
        layout: list[tuple[str, str] | tuple[str, str, tuple[int, ...]]] = [*parts]
        if dim is not None:
            layout += [("length", ">i4"), ("head", "V4"), ("vector", ">f4", (dim,))]
        self._numbers = numbers
        self._dim = dim
        self._dtype = np.dtype(layout)

    def read(self, copy: Copy, rows: int) -> Iterator[tuple[list[Keys], Vectors]]:
        """The columns of numbers and the vectors, so many rows at a time."""
        wanted, left, begun = rows * self._dtype.itemsize, bytearray(), False
        for block in copy:
            left += block
            if not begun and len(left) >= len(SIGNATURE):
                del left[: len(SIGNATURE)]
                begun = True
            while begun and len(left) >= wanted + len(TRAILER):
                yield self._parsed(bytes(left[:wanted]))
                del left[:wanted]
        size = (len(left) - len(TRAILER)) // self._dtype.itemsize * self._dtype.itemsize
        if begun and size > 0:
            yield self._parsed(bytes(left[:size]))

    def _parsed(self, piece: bytes) -> tuple[list[Keys], Vectors]:
        found = np.frombuffer(piece, self._dtype)
        numbers: list[NDArray[np.int64]] = [found[f"n{column}"].astype(np.int64) for column in range(self._numbers)]
        if self._dim is None:
            return numbers, np.empty((len(found), 0), dtype=np.float32)
        return numbers, found["vector"].astype(np.float32)
