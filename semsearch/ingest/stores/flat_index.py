"""Vectors out of FAISS's files, of the indexes that hold them as they are: flat ones, with ids of their own or without.

The library itself trusts its files, and these come from elsewhere: they are read here, and every length is looked at.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semsearch.errors import DataError, UsageError

FLAT: Final = (b"IxFI", b"IxF2", b"IxFl")
WITH_IDS: Final = (b"IxMp", b"IxM2")
_INDEX_HEAD: Final = struct.Struct("<iqqq?i")  # dim, vectors, two unused numbers, whether it is trained, metric
MAX_INDEX_DIM: Final = 1 << 16


def read_flat_index(path: Path) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
    """The vectors `(n, dim)` in a file and their ids `(n,)`, None where they are numbered in their order.

    Raises:
        UsageError: It is an index of another kind.
        DataError: It is none, or was cut short.
    """
    try:
        content = path.read_bytes()
        kind, dim, count, at = _head(content, 0, path)
        if kind not in WITH_IDS:
            return _flat(content, at, kind, dim, count, path)[0], None
        inner, dim, count, at = _head(content, at, path)
        vectors, at = _flat(content, at, inner, dim, count, path)
        (ids,) = struct.unpack_from("<Q", content, at)
        if ids != count:
            raise DataError(f"{path} is damaged: it has {count:,} vectors and {ids:,} ids.")
        return vectors, np.frombuffer(content, "<i8", count, at + 8).astype(np.int64)
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}.") from error
    except (struct.error, ValueError) as error:
        if isinstance(error, DataError | UsageError):
            raise
        raise DataError(f"{path} is no index of FAISS's, or was cut short.") from error


def _head(content: bytes, at: int, path: Path) -> tuple[bytes, int, int, int]:
    kind = content[at : at + 4]
    if kind not in FLAT + WITH_IDS:
        named = kind.decode("ascii", "replace")
        if len(kind) < 4 or kind[:1] != b"I":
            raise DataError(f"{path} is no index of FAISS's.")
        raise UsageError(
            f"{path} is an index of FAISS's of the kind '{named}', which holds no vectors as they were given: flat "
            "ones (IndexFlatIP, IndexFlatL2, with or without IndexIDMap) are read. Export its vectors as .npy, and use "
            "'semsearch index FILE --vectors V.npy'."
        )
    dim, count, _, _, _, metric = _INDEX_HEAD.unpack_from(content, at + 4)
    if not 0 < dim <= MAX_INDEX_DIM or count < 0:
        raise DataError(f"{path} is damaged: {count:,} vectors of {dim:,} components.")
    return kind, dim, count, at + 4 + _INDEX_HEAD.size + (4 if metric > 1 else 0)


def _flat(content: bytes, at: int, kind: bytes, dim: int, count: int, path: Path) -> tuple[NDArray[np.float32], int]:
    if kind not in FLAT:
        raise DataError(f"{path} is damaged: an index with ids lies in another.")
    (numbers,) = struct.unpack_from("<Q", content, at)
    if numbers != dim * count:
        raise DataError(f"{path} is damaged: {numbers:,} numbers are no {count:,} vectors of {dim:,} components.")
    vectors = np.frombuffer(content, "<f4", numbers, at + 8).astype(np.float32)
    return vectors.reshape(count, dim), at + 8 + 4 * numbers
