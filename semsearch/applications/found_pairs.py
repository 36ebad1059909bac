"""What is kept of the pairs that tiles give: the best of all, or the nearest of each; several threads give at once.

Both tell what a pair must score to count yet, which rises as pairs are found. Of equal scores the smaller rows come
first, and blocks are gone through in that order, so that a later block must score more, and not as much.
"""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from semsearch.applications.runs import IN_MEMORY, Runs, SortedPairs, ordered, records

WAITING = 2  # times as many pairs as are kept of all groups wait before they are sorted in
LEAST_CUT = 1 << 16  # pairs beyond the limit that are kept before they are sorted out


class BestPairs:
    """The `limit` best pairs that score at least `least`, step by step, in `runs`.

    Args:
        runs: Where they go; holds what was found by earlier steps.
        least: What a pair must score.
        limit: How many to keep; None: all.
    """

    def __init__(self, runs: Runs, least: float, limit: int | None) -> None:
        self._runs = runs
        self._least = least
        self._limit = limit
        self._lock = threading.Lock()
        self._parts: list[SortedPairs] = []
        self._held = 0
        self._best = np.empty(0, dtype=np.float32)  # the scores of the `limit` best of finished steps
        self._within = -np.inf  # what the step under way needs
        for scores in runs.scores:
            self._remember(scores)

    @property
    def threshold(self) -> float:
        """What a pair must score at least."""
        beyond = -np.inf
        if self._limit is not None and len(self._best) >= self._limit:
            beyond = float(np.nextafter(self._best.min(), np.float32(np.inf)))
        return float(max(self._least, beyond, self._within))

    def add(self, pairs: SortedPairs) -> None:
        """Take in what a tile gave."""
        if not len(pairs):
            return
        with self._lock:
            self._parts.append(pairs)
            self._held += len(pairs)
            few = self._limit is not None and 2 * self._limit < IN_MEMORY
            if few and self._held > 2 * (self._limit or 0) + LEAST_CUT:
                self._cut()
            elif not few and self._held > IN_MEMORY:
                self._pass_on()

    def finish_step(self) -> None:
        """All pairs of the step are in."""
        with self._lock:
            self._pass_on()
            self._within = -np.inf
            self._runs.finish()

    def _cut(self) -> None:
        assert self._limit is not None
        best = ordered(np.concatenate(self._parts))[: self._limit]
        self._parts, self._held = [best], len(best)
        if len(best) == self._limit:
            self._within = max(self._within, float(best["score"][-1]))

    def _pass_on(self) -> None:
        if not self._parts:
            return
        pairs = ordered(np.concatenate(self._parts))[: self._limit]
        self._parts, self._held = [], 0
        self._remember(pairs["score"])
        self._runs.add(pairs)

    def _remember(self, scores: NDArray[np.float32]) -> None:
        if self._limit is None:
            return
        best = np.concatenate([self._best, scores])
        if len(best) > self._limit:
            best = np.partition(best, len(best) - self._limit)[len(best) - self._limit :]
        self._best = best


class Nearest:
    """The `k` nearest groups of each group, with the rows of the best pair.

    Attributes:
        scores: `(groups, k)` float32, falling, -inf where there are fewer.
        others: `(groups, k)` the row of the other side, -1 where there are fewer.
        own: `(groups, k)` the row of this side.
    """

    def __init__(self, groups: int, k: int, floors: NDArray[np.float64]) -> None:
        self.k = k
        self._floors = floors  # (groups,) what the last of each is known to score at least
        self.scores = np.full((groups, k), -np.inf, dtype=np.float32)
        self.others = np.full((groups, k), -1, dtype=np.int64)
        self.own = np.full((groups, k), -1, dtype=np.int64)
        self._waiting: list[tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]] = []
        self._held, self._room = 0, WAITING * groups * k
        self._lock = threading.Lock()

    def limits(self, groups: NDArray[np.int64], begin: int, least: float) -> NDArray[np.float64]:
        """What a pair must score to count for each of `groups`, if the other row is `begin` or a later one."""
        last, other = self.scores[groups, -1], self.others[groups, -1]
        beaten = (other >= 0) & (other < begin)  # what scores as much comes behind
        needed: NDArray[np.float64] = np.where(beaten, np.nextafter(last, np.float32(np.inf)), last).astype(np.float64)
        return np.maximum(needed, np.maximum(self._floors[groups], least))

    def update(
        self,
        groups: NDArray[np.int64],
        scores: NDArray[np.float32],
        own: NDArray[np.int64],
        others: NDArray[np.int64],
    ) -> None:
        """Take in pairs, of two groups at most one; what that changes may be seen after `finish` only."""
        with self._lock:
            self._waiting.append((groups, scores, own, others))
            self._held += len(groups)
            unknown = np.isneginf(self.scores[groups, -1]) & np.isneginf(self._floors[groups])
            if self._held > self._room or unknown.any():  # limits rise little above floors, and nothing else is one
                self._sort_in()

    def finish(self) -> None:
        """All pairs are in."""
        with self._lock:
            self._sort_in()

    def _sort_in(self) -> None:
        if self._waiting:
            groups, scores, own, others = (np.concatenate(columns) for columns in zip(*self._waiting, strict=True))
            self._waiting, self._held = [], 0
            worth = scores >= self.scores[groups, -1]
            groups, scores, own, others = groups[worth], scores[worth], own[worth], others[worth]
            touched = np.unique(groups)
            held = self.others[touched] >= 0
            group = np.concatenate([np.repeat(touched, self.k).reshape(held.shape)[held], groups])
            score = np.concatenate([self.scores[touched][held], scores])
            mine = np.concatenate([self.own[touched][held], own])
            other = np.concatenate([self.others[touched][held], others])
            order = np.lexsort((other, -score, group))
            group, score, mine, other = group[order], score[order], mine[order], other[order]
            rank = np.arange(len(group)) - np.searchsorted(group, group)
            kept = rank < self.k
            at = group[kept], rank[kept]
            self.scores[at], self.own[at], self.others[at] = score[kept], mine[kept], other[kept]

    def pairs(self, *, turned: bool = False) -> SortedPairs:
        """All of them as pairs, unsorted; `turned`: the other row first."""
        there = self.others >= 0
        columns = self.own[there], self.others[there]
        return records(self.scores[there], *(columns[::-1] if turned else columns))
