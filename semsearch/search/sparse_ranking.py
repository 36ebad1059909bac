"""One ranking of three: by meaning, by words, and by a sparse model's words; see `semsearch.search.fusion`.

A sparse list counts by its contrast as words do: what share of its score the best one is ahead of what is not in the
list. Each candidate counts with its scores of all kinds, whichever list proposed it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semsearch.engine import Candidates, EngineView, SparseView
from semsearch.search.fusion import LEXICAL_FACTOR, balance, stretched
from semsearch.search.ranking import FusedRanking, Ranking
from semsearch.search.request import Request
from semsearch.sparse_vectors import SparseVectors
from semsearch.types import BalanceOfThree, Metric, Vectors
from semsearch.vectors import score_pairs

STAGES = ("dense", "lexical", "sparse")


@dataclass(frozen=True, slots=True)
class Proposed:
    """One list of candidates, and the score that what is not in it has at most."""

    candidates: Candidates
    floor: float

    @property
    def contrast(self) -> float:
        """What share of its score the best is ahead of what is not in the list."""
        scores = self.candidates.scores
        return (float(scores[0]) - self.floor) / float(scores[0]) if len(scores) else 0.0


def floor_of(candidates: Candidates, asked: int) -> float:
    """What is not in a list of which so many were asked for scores at most so much; scores are above 0."""
    return float(candidates.scores[-1]) if len(candidates.keys) == asked else 0.0


def fused_with_sparse(
    dense: Candidates,
    lexical: Proposed,
    sparse: Proposed,
    query: Vectors,
    sparse_query: SparseVectors,
    view: EngineView,
    metric: Metric,
    request: Request,
    depth: int,
) -> Ranking:
    """The `request.depth` best of the first `depth` of each of three lists.

    Where documents are asked for, of one that several found, the passage nearest in meaning stands for it, else that
    of its words. Of what `dense_weight` leaves, words and the sparse model have their shares by their contrasts.
    """
    assert isinstance(view, SparseView), "the collection has sparse vectors"
    grouped, k = request.group_by == "document", request.depth
    lists = dict(zip(STAGES, (dense, lexical.candidates, sparse.candidates), strict=True))
    places: dict[str, dict[int, int]] = {}
    stands: dict[int, tuple[int, int]] = {}  # by unit: key and document of what stands for it
    for stage, own in lists.items():
        units = (own.docs if grouped else own.keys).tolist()
        places[stage] = {unit: place for place, unit in reversed(list(enumerate(units)))}
        for place, unit in enumerate(units[:depth]):
            stands.setdefault(unit, (int(own.keys[place]), int(own.docs[place])))
    units = list(stands)
    keys = np.array([key for key, _ in stands.values()], dtype=np.int64)
    known = {
        "dense": _known(dense, places["dense"], units),
        "lexical": _known(lexical.candidates, places["lexical"], units),
        "sparse": _known(sparse.candidates, places["sparse"], units),
    }
    unmet = np.flatnonzero(np.isnan(known["dense"]))
    known["dense"][unmet] = score_pairs(query, view.vectors(keys[unmet]), metric)
    unmet = np.flatnonzero(np.isnan(known["sparse"]))
    known["sparse"][unmet] = sparse_query.dot(view.sparse_vectors(keys[unmet]))[0]
    ranked = np.sort(known["dense"])[::-1]
    weighed = _weighed(ranked, lexical, sparse, metric, request)
    shares = dict(zip(STAGES, _shares(weighed), strict=True))
    scores = shares["dense"] * _within(known["dense"], float(ranked[-1]) if len(ranked) else 0.0)
    for stage, floor in (("lexical", lexical.floor), ("sparse", sparse.floor)):
        given = np.where(np.isnan(known[stage]), floor, known[stage])
        scores += shares[stage] * _within(given, floor)
    order = np.lexsort((keys, -scores))[:k]
    found = []
    for place in order.tolist():
        ways = [lists[stage].found[places[stage][units[place]]] for stage in STAGES if units[place] in places[stage]]
        found.append(tuple(way for own in ways for way in own))
    docs = np.array([doc for _, doc in stands.values()], dtype=np.int64)
    best = Candidates(keys[order], docs[order], scores[order].astype(np.float32), found)
    chosen = order.tolist()
    scores_by_stage = {
        stage: {int(keys[at]): float(given[at]) for at in chosen if not np.isnan(given[at])}
        for stage, given in known.items()
    }
    ranks_by_stage = {
        stage: {int(keys[at]): there[units[at]] + 1 for at in chosen if units[at] in there}
        for stage, there in places.items()
    }
    return FusedRanking("fused", best, weighed, scores_by_stage, ranks_by_stage)


def _weighed(
    meant: NDArray[np.float64], lexical: Proposed, sparse: Proposed, metric: Metric, request: Request
) -> BalanceOfThree:
    by_meaning = balance(meant.astype(np.float32), lexical.candidates.scores[:0], metric=metric).dense
    words, terms = lexical.contrast, sparse.contrast
    together = by_meaning + LEXICAL_FACTOR * (words + terms)
    share = by_meaning / together if together > 0 else 1 / 3
    if request.dense_weight is not None:
        share = request.dense_weight
    both = words + terms
    of_rest = terms / both if both > 0 else 0.5
    asked = request.dense_weight is not None
    return BalanceOfThree(share, by_meaning, words, asked, terms, (1 - share) * of_rest)


def _shares(weighed: BalanceOfThree) -> tuple[float, float, float]:
    return weighed.weight, 1 - weighed.weight - weighed.sparse_weight, weighed.sparse_weight


def _known(candidates: Candidates, places: dict[int, int], units: list[int]) -> NDArray[np.float64]:
    """The score of each unit in a list; NaN where it is not in it."""
    return np.array([float(candidates.scores[places[unit]]) if unit in places else np.nan for unit in units])


def _within(scores: NDArray[np.float64], low: float) -> NDArray[np.float64]:
    """From 0 for `low` and below to 1 for the best; 0 for all where none is above."""
    if not len(scores) or scores.max() <= low:
        return np.zeros(len(scores))
    order = np.argsort(-scores, kind="stable")
    spread = np.empty(len(scores))
    spread[order] = np.clip(stretched(scores[order], low), 0, 1)
    return spread
