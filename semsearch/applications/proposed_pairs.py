"""Pairs that a collection's index proposes, where each with each is too much; what it misses is measured and said.

The nearest that the index finds for each stored vector are the candidates, and these are scored by the rule of the
score. How much was missed is measured: some documents, drawn at random, are compared with all others exactly, and of
the pairs that belong into the answer the share that is in it is told, with what it is at least at 95 % confidence
(Clopper and Pearson, as the recall contract has it).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semsearch.applications.all_pairs import AllPairs, PairProgress
from semsearch.applications.pairs import Wanted
from semsearch.applications.runs import Runs, SortedPairs, ordered, records
from semsearch.applications.tiles import GroupedRows
from semsearch.arguments import check_progress
from semsearch.engine import EngineView
from semsearch.errors import UsageError
from semsearch.search.recall import lower_bound
from semsearch.types import Keys, Metric, Vectors
from semsearch.vectors import score_each

PROPOSED = 20  # documents for each passage, unless `k` asks for more
PROPOSED_TOGETHER = 512  # passages
MEASURED = 2048  # documents that are compared with all others


@dataclass(frozen=True)
class PairRecall:
    """How many of the pairs that belong into an answer are in it.

    Attributes:
        mean: The share, averaged over documents that have such pairs.
        at_least: What it is at least, at 95 % confidence.
        documents: So many had some, of those that were looked at.
        looked_at: Documents that were compared with all others.
    """

    mean: float
    at_least: float
    documents: int
    looked_at: int

    def __str__(self) -> str:
        if not self.documents:
            return f"none of {self.looked_at:,} documents that were compared with all others has such a pair."
        return (
            f"of the pairs of {self.documents:,} documents that were compared with all others it found "
            f"{self.mean:.1%}; with 95 % confidence it finds {self.at_least:.1%} at least."
        )


@dataclass(frozen=True)
class Side:
    """A collection's view, the keys `(n,)` of its rows, and the rows."""

    view: EngineView
    keys: Keys
    rows: GroupedRows


class ProposedPairs:
    """As `FoundPairs`, of candidates of an index."""

    def __init__(
        self, left: Side, right: Side | None, metric: Metric, wanted: Wanted, progress: PairProgress | None = None
    ) -> None:
        check_progress(progress)
        if wanted.limit is None and wanted.k is None and wanted.min_score is None and wanted.min_percentile is None:
            raise UsageError("an index proposes no pairs of all documents with all: ask for a score, k or a limit.")
        self._left, self._right, self._metric = left, right, metric
        compared = AllPairs(left.rows, None if right is None else right.rows, metric, "cpu")
        self.least = wanted.least(compared)
        proposed = max(PROPOSED, wanted.k or 0)
        pairs = self._proposed(left, right or left, proposed, progress)
        if right is not None:
            back = self._proposed(right, left, proposed, None)
            back["first"], back["second"] = back["second"].copy(), back["first"].copy()
            pairs = np.concatenate([pairs, back])
        pairs = self._best_of_documents(pairs)
        if wanted.k is not None:
            pairs = pairs[self._among_nearest(pairs, wanted.k)]
        pairs = pairs[pairs["score"] >= self.least][: wanted.limit]
        self.recall = self._measured(pairs, wanted)
        self.runs = Runs()
        self.runs.add(pairs)
        self._count = len(pairs)

    def __len__(self) -> int:
        return self._count

    @property
    def notes(self) -> tuple[str, ...]:
        """How much may be missing."""
        return (f"the index proposed the candidates: {self.recall}",)

    def stream(self) -> Iterator[SortedPairs]:
        """The pairs, best first, some thousand at a time."""
        return self.runs.stream(None)

    def _proposed(self, asking: Side, asked: Side, count: int, progress: PairProgress | None) -> SortedPairs:
        """Each passage of one side with the best passage of each of the `count` nearest documents of the other."""
        same = self._right is None
        order = np.argsort(asked.keys, kind="stable")
        found = []
        for start in range(0, len(asking.rows), PROPOSED_TOGETHER):
            part = np.array(asking.rows.vectors[start : start + PROPOSED_TOGETHER])
            answers = asked.view.dense(part, count + same, allowed=None, exact=False, grouped=asked.rows.grouped)
            own = np.repeat(np.arange(len(part)) + start, [len(answer.keys) for answer in answers])
            keys = np.concatenate([np.empty(0, dtype=np.int64), *(answer.keys for answer in answers)])
            other = order[np.searchsorted(asked.keys, keys, sorter=order)]
            if same:
                apart = asking.rows.groups[own] != asked.rows.groups[other]
                own, other = np.minimum(own, other)[apart], np.maximum(own, other)[apart]
            scores = score_each(asking.rows.vectors, own, asked.rows.vectors, other, self._metric)
            reached = scores >= self.least
            found.append(records(scores[reached], own[reached], other[reached]))
            if progress is not None:
                progress(float(min(start + PROPOSED_TOGETHER, len(asking.rows))), float(len(asking.rows)))
        return np.concatenate([records(*_nothing()), *found])

    def _best_of_documents(self, pairs: SortedPairs) -> SortedPairs:
        """Of two documents the best pair, best first."""
        pairs = ordered(pairs)
        first = _once(self._documents(pairs))
        return pairs[np.sort(first)]

    def _documents(self, pairs: SortedPairs) -> NDArray[np.int64]:
        """A number for each two documents."""
        right = (self._right or self._left).rows.groups
        width = int(right[-1]) + 1 if len(right) else 1
        made: NDArray[np.int64] = self._left.rows.groups[pairs["first"]] * width + right[pairs["second"]]
        return made

    def _among_nearest(self, pairs: SortedPairs, k: int) -> NDArray[np.bool_]:
        """Of which pairs, best first, one document is among the `k` nearest of the other."""
        own = self._left.rows.groups[pairs["first"]]
        other = (self._right or self._left).rows.groups[pairs["second"]]
        if self._right is not None:
            return (_ranks(own) < k) | (_ranks(other) < k)
        both = np.stack([own, other], axis=1).ravel()  # pair after pair, so that ranks go by score
        near = _ranks(both) < k
        return near[::2] | near[1::2]

    def _measured(self, pairs: SortedPairs, wanted: Wanted) -> PairRecall:
        """By documents that are compared with all others."""
        left, right = self._left.rows, (self._right or self._left).rows
        there = np.unique(left.groups)
        rng = np.random.default_rng(0)
        drawn = np.sort(rng.choice(there, min(MEASURED, len(there)), replace=False)) if len(there) else there
        if not len(drawn) or not len(right):
            return PairRecall(1.0, 0.0, 0, len(drawn))
        at = np.flatnonzero(np.isin(left.groups, drawn))
        some = GroupedRows(_copied(left.vectors, at), np.searchsorted(drawn, left.groups[at]))
        last = self.least
        if wanted.limit is not None and len(pairs) == wanted.limit:
            last = max(last, float(pairs["score"][-1]))
        exact = AllPairs(some, right, self._metric, "cpu")
        same = self._right is None
        if wanted.k is None and last > -np.inf:
            with Runs() as runs:
                exact.best(runs, last)
                true = np.concatenate([records(*_nothing()), *runs.stream(None)])
        else:
            true = exact.nearest((wanted.k or PROPOSED) + same, last)[0].pairs()
        true["first"] = at[true["first"]]
        true = true[true["score"] >= last]
        own, other = left.groups[true["first"]], right.groups[true["second"]]
        if same:
            true, own, other = (part[own != other] for part in (true, own, other))
            turned = true["first"] > true["second"]
            true["first"][turned], true["second"][turned] = true["second"][turned], true["first"][turned]
        hit = np.isin(self._documents(true), self._documents(pairs))
        if len(pairs) == wanted.limit:
            hit[true["score"] <= last] = True  # ties with the last of as many as may be
        documents, place = np.unique(own, return_inverse=True)
        recalls = np.bincount(place, weights=hit) / np.bincount(place) if len(documents) else np.empty(0)
        at_least = lower_bound(float(recalls.sum()), len(recalls)) if len(recalls) else 0.0
        mean = float(recalls.mean()) if len(recalls) else 1.0
        return PairRecall(mean, at_least, len(documents), len(drawn))


def _ranks(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place of each entry among those of its group, from 0."""
    order = np.argsort(groups, kind="stable")
    ranks = np.empty(len(groups), dtype=np.int64)
    ranks[order] = np.arange(len(groups)) - np.searchsorted(groups[order], groups[order])
    return ranks


def _once(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each number stands first."""
    first: NDArray[np.int64] = np.unique(numbers, return_index=True)[1]
    return first


def _copied(vectors: Vectors, rows: NDArray[np.int64]) -> Vectors:
    return np.array(vectors[rows])


def _nothing() -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    return np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
