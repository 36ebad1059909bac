"""What every backend does around its library: arrays checked on the way in, positions made keys on the way out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semsearch.errors import DataError, UsageError
from semsearch.types import Keys, Neighbors, Vectors
from semsearch.vectors import check_k, check_vectors


def checked_rows(keys: Keys, vectors: Vectors) -> tuple[Keys, Vectors]:
    """Keys `(n,)` int64 and finite float32 vectors `(n, dim)`, C-contiguous; copied only where they are not."""
    keys, vectors = shaped_rows(keys, vectors)
    return keys, check_vectors(vectors, vectors.shape[1])


def shaped_rows(keys: Keys, vectors: Vectors) -> tuple[Keys, Vectors]:
    """As `checked_rows` without reading a vector, for backends that find a NaN later."""
    keys, vectors = np.asarray(keys), np.asarray(vectors)
    if vectors.ndim != 2 or vectors.shape[1] == 0:
        raise DataError(f"vectors must have the shape (n, dim), but have {vectors.shape}.")
    if keys.shape != (len(vectors),) or keys.dtype.kind not in "iu":
        raise DataError(f"keys must be {len(vectors)} whole numbers, but are {keys.dtype} of shape {keys.shape}.")
    if vectors.dtype != np.float32 or not vectors.flags.c_contiguous:
        vectors = check_vectors(vectors, vectors.shape[1])
    return np.ascontiguousarray(keys, dtype=np.int64), vectors


def checked_queries(queries: Vectors, k: int, dim: int) -> tuple[Vectors, int]:
    """Finite float32 queries `(q, dim)` and a k of at least 1."""
    return check_vectors(queries, dim, "queries"), check_k(k)


def nothing(queries: int, k: int) -> Neighbors:
    """No neighbours at all: padding."""
    return Neighbors(np.full((queries, k), -1, dtype=np.int64), np.full((queries, k), -np.inf, dtype=np.float32))


def neighbors(keys: Keys, rows: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> Neighbors:
    """What a library found, rows `(q, ≤ k)` with -1 where it found none, as keys padded to k."""
    if rows.shape[1] == k and (rows.min(initial=0) >= 0):
        return Neighbors(keys[rows], scores)
    found = nothing(len(rows), k)
    some = rows >= 0
    found.keys[:, : rows.shape[1]][some] = keys[rows[some]]
    found.scores[:, : rows.shape[1]][some] = scores[some]
    return found


def some_rows(count: int, wanted: int, seed: int) -> NDArray[np.int64]:
    """`wanted` of `count` rows, sorted so that a mapped file is read forwards; all of them if there are no more."""
    if wanted >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, wanted, replace=False))


def built_otherwise(expected: int, found: int) -> UsageError:
    """The error of loading an index over other rows than it was built from."""
    return UsageError(
        f"the index holds {found} vectors, but {expected} were given to load it: it was built from others."
    )
