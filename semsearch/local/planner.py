"""How one search runs: exactly, among a few allowed rows, or through the index and the exact tail behind it.

Whatever the way, the result is right at every moment: an index only proposes keys; rows newer than it are searched
exactly, rows that are gone or not allowed are masked, and every score is computed from the stored vector. Never fewer
than min(k, allowed rows) neighbours come back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semsearch import plugins
from semsearch.errors import DataError
from semsearch.local.index.equals import Equals
from semsearch.local.locality import MIN_ORDERED_QUERIES, side_by_side
from semsearch.local.store.snapshot import Snapshot
from semsearch.types import Keys, Metric, Neighbors, Vectors
from semsearch.vector_index import Filterable, VectorIndex
from semsearch.vectors import brute_force, merge, score_each, score_rows

GATHERED_ROWS = 4096  # below this many allowed rows, gathering them beats every other way
OWN_FILTER_SHARE = 0.9  # with fewer rows allowed, an index that has a filter of its own finds more by it
DENSE_FRACTION = 0.05  # with fewer rows allowed than this, an index would be asked for too much


@dataclass(frozen=True, slots=True)
class LoadedIndex:
    """A loaded index and what it covers: the first `rows` rows of the generation it was built from.

    With `equals` it holds one row of each distinct vector.
    """

    number: int
    index: VectorIndex
    rows: int
    equals: Equals | None = None


@dataclass(frozen=True, slots=True)
class PlannedAnswer:
    """Neighbours with true scores, and the way they were found."""

    neighbors: Neighbors
    how: str  # "exact", "subset" or "index"


class Planner:
    """Chooses the way of each search over the snapshots of one collection."""

    def __init__(self, metric: Metric, device: str | None = None) -> None:
        self._metric = metric
        self._device = device
        self._exact: tuple[tuple[int, int, int], Any] | None = None
        self._tail: tuple[tuple[int, int, int], Any] | None = None

    def search(
        self,
        snapshot: Snapshot,
        queries: Vectors,
        k: int,
        *,
        allowed: NDArray[np.bool_] | None = None,
        loaded: LoadedIndex | None = None,
    ) -> PlannedAnswer:
        """The `k` best live rows for each of `queries` `(q, dim)`, among the rows where `allowed` `(n,)` if given."""
        mask = allowed & snapshot.live if allowed is not None else (snapshot.live if snapshot.removed else None)
        count = len(snapshot) if mask is None else int(np.count_nonzero(mask))
        k = min(k, count)
        if k == 0:
            return PlannedAnswer(_nothing(len(queries)), "exact")
        if mask is not None and count <= GATHERED_ROWS:
            rows = np.flatnonzero(mask)
            found = brute_force(snapshot.keys[rows], snapshot.vectors[rows], queries, k, self._metric)
            if (found.keys < 0).any():
                raise DataError("stored vectors hold NaN: their scores can't be compared.")
            return PlannedAnswer(found, "subset")
        if loaded is not None and count >= DENSE_FRACTION * len(snapshot):
            return PlannedAnswer(self._through_index(snapshot, queries, k, mask, loaded), "index")
        return PlannedAnswer(self._exactly(snapshot, queries, k, mask), "exact")

    def _exactly(self, snapshot: Snapshot, queries: Vectors, k: int, mask: NDArray[np.bool_] | None) -> Neighbors:
        place = (snapshot.generation, 0, len(snapshot))
        if self._exact is None or self._exact[0] != place:
            self._exact = (place, self._build(snapshot, 0))
        return _masked(self._exact[1], queries, k, mask)

    def _build(self, snapshot: Snapshot, first: int) -> Any:
        backend = plugins.index_backend("exact")
        options = {"codes": "none", **({"device": self._device} if self._device else {})}
        params = backend.Params.parse(options, "index 'exact'")
        return backend.build(snapshot.keys[first:], snapshot.vectors[first:], self._metric, params)

    def _through_index(
        self, snapshot: Snapshot, queries: Vectors, k: int, mask: NDArray[np.bool_] | None, loaded: LoadedIndex
    ) -> Neighbors:
        if len(queries) < MIN_ORDERED_QUERIES:
            return self._in_order(snapshot, queries, k, mask, loaded)
        order = side_by_side(queries)
        found = self._in_order(snapshot, queries[order], k, mask, loaded)
        keys, scores = np.empty_like(found.keys), np.empty_like(found.scores)
        keys[order], scores[order] = found.keys, found.scores
        return Neighbors(keys, scores)

    def _in_order(
        self, snapshot: Snapshot, queries: Vectors, k: int, mask: NDArray[np.bool_] | None, loaded: LoadedIndex
    ) -> Neighbors:
        parts = [self._proposed(snapshot, queries, k, None if mask is None else mask[: loaded.rows], loaded)]
        if loaded.rows < len(snapshot):
            place = (snapshot.generation, loaded.rows, len(snapshot))
            if self._tail is None or self._tail[0] != place:
                self._tail = (place, self._build(snapshot, loaded.rows))
            tail_mask = None if mask is None else mask[loaded.rows :]
            count = len(snapshot) - loaded.rows if tail_mask is None else int(np.count_nonzero(tail_mask))
            if count:
                parts.append(_masked(self._tail[1], queries, min(k, count), tail_mask))
        return parts[0] if len(parts) == 1 else merge(parts, k)

    def _proposed(
        self, snapshot: Snapshot, queries: Vectors, k: int, mask: NDArray[np.bool_] | None, loaded: LoadedIndex
    ) -> Neighbors:
        """What the index proposes, masked and scored anew; asked for more until k are left, and exactly at last.

        An index with a filter of its own is asked among the allowed rows: it looks further where they are few. What is
        masked afterwards loses recall where the allowed rows are unlike the query, and is asked for up to twenty times
        as many candidates. Of exact search nothing is lost either way, and masking costs it less.
        """
        count = loaded.rows if mask is None else int(np.count_nonzero(mask))
        k = min(k, count)
        if k == 0:
            return _nothing(len(queries))
        index, equals = loaded.index, loaded.equals
        search, fetch, most = index.search, k, max(k, loaded.rows // 4)
        if mask is not None:
            # a look at a protocol costs most
            if count < OWN_FILTER_SHARE * loaded.rows and isinstance(index, Filterable) and not index.exact:
                own = mask if equals is None else equals.allowed(mask)
                search, most = partial(index.search_allowed, allowed=own), 0
            else:
                fetch = min(int(1.2 * k * loaded.rows / count) + 8, loaded.rows)
        found = self._once(snapshot, queries, k, fetch, mask, search, equals)
        if found is not None and found.keys[:, -1].min() >= 0:  # padding comes last: every query has its k
            return found
        keys = np.full((len(queries), k), -1, dtype=np.int64)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        waiting = np.arange(len(queries))
        while found is not None:
            keys[waiting], scores[waiting] = found.keys, found.scores
            waiting = waiting[(found.keys < 0).any(axis=1)]
            fetch *= 4
            if not len(waiting) or fetch > most:
                break
            found = self._once(snapshot, queries[waiting], k, fetch, mask, search, equals)
        if len(waiting):  # the index gave too few: a row it lost, or a filter that hides what it prefers
            allowed = np.zeros(len(snapshot), dtype=np.bool_)
            allowed[: loaded.rows] = True if mask is None else mask
            rest = self._exactly(snapshot, queries[waiting], k, allowed)
            keys[waiting], scores[waiting] = rest.keys, rest.scores
        return Neighbors(keys, scores)

    def _once(
        self,
        snapshot: Snapshot,
        queries: Vectors,
        k: int,
        fetch: int,
        mask: NDArray[np.bool_] | None,
        search: Callable[[Vectors, int], Neighbors],
        equals: Equals | None,
    ) -> Neighbors | None:
        """The `k` best of `fetch` proposals of the index, `(q, k)`; None if it reads vectors that are damaged."""
        try:
            proposed = search(queries, fetch).keys
        except DataError:
            return None
        if equals is not None:
            proposed = equals.first(proposed, mask)
            one_each = merge([_scored(snapshot, queries, proposed, mask, self._metric)], fetch)
            proposed = equals.expanded(one_each, k, mask).keys
        found = merge([_scored(snapshot, queries, proposed, mask, self._metric)], k)
        lacking = k - found.keys.shape[1]
        if lacking <= 0:
            return found
        return Neighbors(
            np.pad(found.keys, ((0, 0), (0, lacking)), constant_values=-1),
            np.pad(found.scores, ((0, 0), (0, lacking)), constant_values=-np.inf),
        )


def _masked(exact: Any, queries: Vectors, k: int, mask: NDArray[np.bool_] | None) -> Neighbors:
    found: Neighbors = exact.search(queries, k) if mask is None else exact.search_allowed(queries, k, mask)
    return found


def _scored(
    snapshot: Snapshot, queries: Vectors, proposed: Keys, mask: NDArray[np.bool_] | None, metric: Metric
) -> Neighbors:
    """Proposed keys without those that are unknown or masked, under their true scores."""
    rows = np.minimum(snapshot.rows_of(proposed), len(snapshot) - 1)
    known = snapshot.keys[rows] == proposed  # padding, and keys that a stale index made up, are not
    first = _first_of_each(proposed)
    if first is not None:
        known &= first
    if mask is not None:
        known &= mask[np.minimum(rows, len(mask) - 1)]
        known &= rows < len(mask)
    if np.count_nonzero(known) == known.size:  # nearly always, without a filter
        return Neighbors(proposed, score_rows(queries, snapshot.vectors, rows, metric))
    keys = np.where(known, proposed, -1)
    scores = np.full(keys.shape, -np.inf, dtype=np.float32)
    asked, _ = np.nonzero(known)
    scores[known] = score_each(queries, asked, snapshot.vectors, rows[known], metric)
    return Neighbors(keys, scores)


def _first_of_each(keys: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    """Where a key comes for the first time in its row of `keys` `(q, k)`; None where all do."""
    if len(keys) == 1 and len(set(keys[0].tolist())) == keys.shape[1]:  # sooner so than by numpy
        return None
    ranked = np.sort(keys, axis=1)
    if not (ranked[:, 1:] == ranked[:, :-1]).any():  # nearly always
        return None
    rows = np.arange(len(keys))[:, None]
    order = np.argsort(keys, axis=1, kind="stable")
    ranked = keys[rows, order]
    first = np.ones(keys.shape, dtype=np.bool_)
    first[rows, order[:, 1:]] = ranked[:, 1:] != ranked[:, :-1]
    return first


def _nothing(queries: int) -> Neighbors:
    return Neighbors(np.empty((queries, 0), np.int64), np.empty((queries, 0), np.float32))
