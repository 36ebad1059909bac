"""Vectors in numpy alone: check, normalise, score exactly, take the best, merge.

The score of a pair is defined here once for the whole engine: the dot product of the two stored float32 vectors,
accumulated in float64 and rounded to float32 (for L2: minus the squared distance). Products of float32 are exact in
float64 and each row is summed in the same order whatever its neighbours, so a score depends on nothing but the pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from semsearch.arguments import check_whole
from semsearch.errors import DataError, DimensionMismatch
from semsearch.masked_values import unmasked
from semsearch.types import Keys, Metric, Neighbors, Scores, Vectors

MAX_COMPONENT = 1e12  # of a component: scores, and what libraries sum on the way to them, stay far within float32
MAX_SCORE = np.array(np.finfo(np.float32).max, dtype=np.float64)  # no score is above it …
MIN_SCORE = -MAX_SCORE  # … or below this
RANGE_ROWS = 1 << 14  # looked at together, so that rows that are mapped are read once
PRECISE = 2.0**-100  # beneath it, components beside the largest of a vector lose digits in float32
SQUARED = 1e18  # what still has a square in float32
SCORED_PAIRS = 256  # scored at a time: their float64 copies stay in cache
UNIT = 2.0**-20  # how far from 1 the length of a vector in float32 may be to count as 1


def check_vectors(vectors: ArrayLike, dim: int | None, what: str = "vectors", any_length: bool = False) -> Vectors:
    """`vectors` as float32 `(n, dim)`, C-contiguous, within ±`MAX_COMPONENT`; an error names the first bad row.

    Of any `dim` where that is None. Tensors are taken without their gradients. Where they have `any_length`, as only
    their directions count, they are within what float32 holds, and a row that it would hold as nothing is scaled up.
    """
    largest = float(MAX_SCORE) if any_length else MAX_COMPONENT
    shape = f"(n, {'dim' if dim is None else dim})"
    plain = vectors if type(vectors) is np.ndarray and vectors.dtype != object else _plain(vectors, what)
    try:
        given = np.asarray(plain)
        if given.dtype.kind not in "fiu":
            raise TypeError(given.dtype)
        if given.dtype == np.float32:
            array = np.ascontiguousarray(given)
        else:
            with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite and is named below
                array = np.ascontiguousarray(given, dtype=np.float32)
    except (TypeError, ValueError, RuntimeError) as error:  # the last is torch's
        from semsearch.arrow_input import odd_row

        row = odd_row(list(plain)) if isinstance(plain, list | np.ndarray) else None
        got = f"got {error}" if row is None else f"row {row} is {plain[row]!r:.60}"
        raise DataError(f"{what} must be an array of numbers of shape {shape}; {got}.") from error
    if array.ndim != 2 or (array.shape[1] != dim if dim is not None else not array.shape[1] and len(array)):
        raise DimensionMismatch(f"{what} must have the shape {shape}, but have {array.shape}.")
    for start in range(0, len(array), RANGE_ROWS):
        rows = array[start : start + RANGE_ROWS]
        if any_length and given.dtype.itemsize > array.itemsize:
            _scale_up(rows, given[start : start + RANGE_ROWS])
        if not in_range(rows, largest):
            row = next(row for row in range(len(rows)) if not in_range(rows[row], largest))
            if not np.isfinite(given[start + row]).all():
                raise DataError(f"row {start + row} of {what} holds NaN or infinite numbers.")
            if not np.isfinite(rows[row]).all():
                raise DataError(
                    f"row {start + row} of {what} holds {_farthest(given[start + row]):.3g}, too large for float32, "
                    f"which ends at {MAX_SCORE:.3g}. Scale the vectors down, all by the same factor."
                )
            raise DataError(
                f"row {start + row} of {what} holds {_farthest(rows[row]):.3g}, and numbers beyond ±{largest:g} are "
                "not taken: scores of them would overflow. Scale the vectors down, all by the same factor."
            )
    return array


def _scale_up(narrow: Vectors, given: NDArray[Any]) -> None:
    """Write those rows of `given` into `narrow` anew, scaled, that are too small to keep their direction in float32."""
    tiny = np.flatnonzero(np.abs(narrow).max(axis=1, initial=0) < PRECISE)
    if len(tiny):
        wide = given[tiny]
        longest = np.abs(wide).max(axis=1, keepdims=True, initial=0)
        narrow[tiny] = wide / np.where(longest > 0, longest, 1)


def _plain(given: Any, what: str) -> Any:
    """What numpy takes as it is meant: all in a list, tensors without gradients.

    Raises:
        DataError: A value is masked, which numpy would uncover.
    """
    if isinstance(given, Iterator | list | tuple) or (
        isinstance(given, np.ndarray) and given.dtype == object and given.ndim == 1  # of arrays, as pandas has columns
    ):
        return [unmasked(row, what, number) for number, row in enumerate(given)]
    return unmasked(given, what)


def one_row(vector: Any) -> NDArray[Any]:
    """A single vector as an array `(1, dim)` of the numbers that it has.

    Raises:
        DataError: numpy can't take it, or a value is masked.
    """
    try:
        return np.asarray(_plain(vector, "the vector"))[None]
    except (TypeError, ValueError, RuntimeError) as error:  # the last is torch's
        raise DataError(f"the vector must be an array of numbers of shape (dim,); got {error}.") from error


def in_range(vectors: Vectors, largest: float = MAX_COMPONENT) -> bool:
    """Whether all of an array is within ±`largest`; NaN is not."""
    # the sum of squares takes half of the time, of a query a fifth, and is seldom large; `vdot` warns of no overflow
    if np.vdot(vectors, vectors) < min(largest, SQUARED) ** 2 / 2:
        return True
    return bool(np.maximum.reduce(vectors, axis=None, initial=0) <= largest) and bool(
        np.minimum.reduce(vectors, axis=None, initial=0) >= -largest
    )


def _farthest(row: NDArray[Any]) -> float:
    return float(row[np.argmax(np.abs(row))])


def check_k(k: object) -> int:
    """`k` as an int of at least 1."""
    return check_whole(k, "k")


def normalise(vectors: Vectors) -> Vectors:
    """Each row divided by its length (computed in float64); a zero row, and one of unit length, stays as it is.

    Where nothing changes, `vectors` itself is given back.
    """
    norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    if len(norms) == 1:  # that of a question: numbers are compared sooner than arrays of one
        (norm,) = norms.tolist()
        return vectors if norm == 0 or abs(norm - 1) < UNIT else (vectors / norms[:, None]).astype(np.float32)
    stays = (norms == 0) | (np.abs(norms - 1) < UNIT)  # so that normalising twice changes nothing
    if stays.all():
        return vectors
    norms[stays] = 1
    unit = np.empty(vectors.shape, dtype=np.float32)
    np.divide(vectors, norms[:, None], out=unit, casting="unsafe")  # in float64, without a copy of all in it
    return unit


def stored_form(vectors: ArrayLike, dim: int | None, metric: Metric, what: str = "vectors") -> Vectors:
    """`vectors` as they are stored and searched: checked, float32 `(n, dim)`, of unit length where that matters.

    Of any `dim` where that is None.
    """
    if metric == Metric.COSINE:  # of any length before
        return normalise(check_vectors(vectors, dim, what, any_length=True))
    return check_vectors(vectors, dim, what)


def score_pairs(query: Vectors, vectors: Vectors, metric: Metric) -> Scores:
    """The true scores of `vectors` `(n, dim)`, against one query `(dim,)` or one each `(n, dim)`: float32 `(n,)`."""
    return _scored(query.astype(np.float64), vectors.astype(np.float64), metric)


def _scored(query: NDArray[np.float64], wide: NDArray[np.float64], metric: Metric) -> Scores:
    """The scores along the last axis of float64 copies; `wide` is used up."""
    if metric == Metric.L2:
        wide -= query
        wide *= wide
    else:
        wide *= query
    scores = wide.sum(axis=-1)
    np.minimum(scores, MAX_SCORE, out=scores)  # collections of older versions hold vectors as long as that
    np.maximum(scores, MIN_SCORE, out=scores)
    rounded: Scores = (-scores if metric == Metric.L2 else scores).astype(np.float32)
    return rounded


def score_each(
    queries: Vectors, query: NDArray[np.intp], vectors: Vectors, rows: NDArray[np.intp], metric: Metric
) -> Scores:
    """The true scores of the pairs of `queries[query[i]]` and `vectors[rows[i]]`: float32 `(len(rows),)`."""
    scores = np.empty(len(rows), dtype=np.float32)
    narrow = np.empty((min(SCORED_PAIRS, len(rows)), vectors.shape[1]), dtype=np.float32)
    wide, asked = np.empty(narrow.shape), np.empty(narrow.shape)  # made once: new memory costs more than the products
    for start in range(0, len(rows), SCORED_PAIRS):
        pairs = slice(start, start + SCORED_PAIRS)
        count = len(rows[pairs])
        for some, of, into in ((vectors, rows, wide), (queries, query, asked)):
            np.take(some, of[pairs], axis=0, out=narrow[:count], mode="clip")  # the only mode that writes in place
            into[:count] = narrow[:count]
        scores[pairs] = _scored(asked[:count], wide[:count], metric)
    return scores


def score_rows(queries: Vectors, vectors: Vectors, rows: NDArray[np.intp], metric: Metric) -> Scores:
    """The true scores of `vectors[rows]` against the query of each of `rows` `(q, k)`: float32 `(q, k)`."""
    scores = np.empty(rows.shape, dtype=np.float32)
    at_once = max(SCORED_PAIRS // max(rows.shape[1], 1), 1)
    for start in range(0, len(rows), at_once):
        some = rows[start : start + at_once]
        wide = vectors.take(some.ravel(), axis=0).astype(np.float64).reshape(*some.shape, vectors.shape[1])
        scores[start : start + at_once] = _scored(
            queries[start : start + at_once, None].astype(np.float64), wide, metric
        )
    return scores


def top_k(keys: Keys, scores: Scores, k: int) -> NDArray[np.intp]:
    """Positions of the `k` best scores, best first, ties to the smaller key."""
    if len(scores) > k:
        threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
        candidates = np.flatnonzero(scores >= threshold)
    else:
        candidates = np.arange(len(scores))
    order = np.lexsort((keys[candidates], -scores[candidates]))
    return candidates[order[:k]]


def brute_force(keys: Keys, vectors: Vectors, queries: Vectors, k: int, metric: Metric) -> Neighbors:
    """Exact search by definition: slow, and the oracle that everything else is held against."""
    found = Neighbors(
        np.full((len(queries), k), -1, dtype=np.int64), np.full((len(queries), k), -np.inf, dtype=np.float32)
    )
    for row, query in enumerate(queries):
        scores = score_pairs(query, vectors, metric)
        best = top_k(keys, scores, k)
        found.keys[row, : len(best)] = keys[best]
        found.scores[row, : len(best)] = scores[best]
    return found


def merge(parts: Sequence[Neighbors], k: int) -> Neighbors:
    """The `k` best of several searches of the same queries over distinct keys."""
    keys = parts[0].keys if len(parts) == 1 else np.concatenate([part.keys for part in parts], axis=1)
    scores = parts[0].scores if len(parts) == 1 else np.concatenate([part.scores for part in parts], axis=1)
    order = np.lexsort((keys, -scores), axis=1)[:, :k]  # padding has score -inf and so comes last
    rows = np.arange(len(keys))[:, None]
    return Neighbors(keys[rows, order], scores[rows, order])


class ChosenRows:
    """Some rows of vectors, gathered where they are read: a copy of all would take as much memory as the vectors.

    numpy makes an array of it where one is asked for; what reads rows by itself takes `vectors[rows]`.

    Attributes:
        vectors: `(n, dim)`, perhaps mapped.
        rows: `(m,)` those that are meant, rising.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, vectors: Vectors, rows: NDArray[np.intp]) -> None:
        self.vectors = vectors
        self.rows = rows
        self.shape = (len(rows), vectors.shape[1])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, places: slice | NDArray[np.intp]) -> Vectors:
        return self.vectors[self.rows[places]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Vectors:
        return self[:]

    def check(self) -> None:
        """Raise what `check_vectors` does."""
        for start in range(0, len(self), RANGE_ROWS):
            check_vectors(self[start : start + RANGE_ROWS], self.shape[1])


def group_equal(vectors: Vectors) -> NDArray[np.int64]:
    """For each of `vectors` `(n, dim)` the number of the first that is the same in every bit, counting distinct ones.

    Sums that differ tell vectors apart, and those of one sum are compared: whoever wrote the vectors may have made sums
    meet. What has the sum of another vector and is unlike it counts as one of its own.
    """
    odd = np.random.default_rng(0).integers(0, 1 << 63, vectors.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    sums = [
        (np.ascontiguousarray(vectors[start : start + RANGE_ROWS]).view(np.uint32).astype(np.uint64) * odd).sum(axis=1)
        for start in range(0, len(vectors), RANGE_ROWS)
    ]
    if not sums:
        return np.empty(0, dtype=np.int64)
    _, first, inverse = np.unique(np.concatenate(sums), return_index=True, return_inverse=True)
    same = first[inverse]  # the row that each may be equal to
    later = np.flatnonzero(same != np.arange(len(same)))
    for start in range(0, len(later), RANGE_ROWS):
        rows = later[start : start + RANGE_ROWS]
        unlike = (vectors[rows].view(np.uint32) != vectors[same[rows]].view(np.uint32)).any(axis=1)
        same[rows[unlike]] = rows[unlike]
    return np.cumsum(same == np.arange(len(same)), dtype=np.int64)[same] - 1
