"""The list of passages that answers one query: of one stage, or of two that were fused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from semsearch.engine import Candidates, EngineView
from semsearch.search.fusion import balance, fuse
from semsearch.search.request import Request
from semsearch.types import Balance, BalanceOfThree, Hit, Keys, Metric, Passage, Scores, Vectors
from semsearch.vectors import score_pairs

VECTORS_TOGETHER = 8_192  # vectors at most that are read for several questions at once
UNKNOWN_WORDS = "no word of the query is found: these are answers by meaning alone."


@dataclass(frozen=True, slots=True)
class Ranking:
    """Passages of one stage, best first; `notes` say what the query ruled out, and what it could not be asked for."""

    stage: str
    candidates: Candidates
    notes: tuple[str, ...] = field(default=(), kw_only=True)

    def hits(self, passages: Iterator[Passage]) -> list[Hit]:
        """Its passages as hits; takes as many as it has, and no more, from `passages`."""
        keys, _, scores, found = self.candidates
        stage = self.stage
        rows = zip(keys.tolist(), scores.tolist(), found, passages, strict=False)
        return [
            Hit(passage, score, {stage: score}, rank, key, way)
            for rank, (key, score, way, passage) in enumerate(rows, start=1)
        ]


@dataclass(frozen=True, slots=True)
class FusedRanking(Ranking):
    """Passages of two stages in one order."""

    balance: Balance | BalanceOfThree
    scores_by_stage: Mapping[str, Mapping[int, float]]
    ranks_by_stage: Mapping[str, Mapping[int, int]]

    def hits(self, passages: Iterator[Passage]) -> list[Hit]:
        """With the scores and ranks of both stages, where they have a key, and what each stage counted."""
        hits = super(FusedRanking, self).hits(passages)
        for hit in hits:
            scores = {stage: own[hit.key] for stage, own in self.scores_by_stage.items() if hit.key in own}
            hit.scores = {**scores, self.stage: hit.score}
            hit.ranks = {stage: own[hit.key] for stage, own in self.ranks_by_stage.items() if hit.key in own}
            hit.balance = self.balance
        return hits


def scored(view: EngineView, candidates: Candidates, query: Vectors, metric: Metric) -> Candidates:
    """Candidates under their true scores, best first, of equals the smaller key; see `semsearch.engine`."""
    scores = score_pairs(query, view.vectors(candidates.keys), metric)
    order = np.lexsort((candidates.keys, -scores))
    keys, docs, _, found = candidates
    return Candidates(keys[order], docs[order], scores[order], [found[place] for place in order.tolist()])


class TwoLists:
    """What the meaning of one question and its words proposed.

    Where documents are asked for, of one that both found, the passage nearest in meaning stands for it. A passage that
    only its words proposed counts with its dense score too, which costs one product.
    """

    def __init__(self, dense: Candidates, lexical: Candidates, floor: float, depth: int, *, grouped: bool) -> None:
        """The first `depth` of each list count; what is not in `lexical` scores at most `floor`."""
        self._dense, self._lexical, self._floor = dense, lexical, floor
        self._meant, self._worded = (dense.docs, lexical.docs) if grouped else (dense.keys, lexical.keys)
        shared = _among(self._worded, self._meant)
        counts = shared.copy()
        counts[:depth] = True
        self._by_words = np.flatnonzero(counts)  # places in `lexical`
        self._alone = np.flatnonzero(~shared[:depth])
        self.unscored: Keys = lexical.keys[self._alone]  # by meaning

    def ranking(self, missed: Scores, metric: Metric, request: Request) -> Ranking:
        """The `request.depth` best of both; `missed` are the dense scores of what is unscored."""
        dense, lexical, k = self._dense, self._lexical, request.depth
        known = np.concatenate([dense.scores, missed])
        order = np.argsort(-known, kind="stable")
        by_meaning = np.concatenate([self._meant, self._worded[self._alone]])[order], known[order]
        by_words = self._worded[self._by_words], lexical.scores[self._by_words]
        weighed = balance(by_meaning[1], by_words[1], self._floor, metric)
        if request.dense_weight is not None:
            weighed = weighed._replace(weight=request.dense_weight, asked=True)
        units, scores = fuse(by_meaning, by_words, weight=weighed.weight, floor=self._floor)
        keys, docs, found = [], [], []
        scores_by_stage: dict[str, dict[int, float]] = {"dense": {}, "lexical": {}}
        ranks_by_stage: dict[str, dict[int, int]] = {"dense": {}, "lexical": {}}
        for near, said in zip(_places(units[:k], self._meant), _places(units[:k], self._worded), strict=True):
            stands, place = (dense, near) if near is not None else (lexical, said)
            assert place is not None, "one of the lists proposed it"
            key = int(stands.keys[place])
            keys.append(key)
            docs.append(int(stands.docs[place]))
            ways: list[str] = []
            if near is not None:
                scores_by_stage["dense"][key], ranks_by_stage["dense"][key] = float(dense.scores[near]), near + 1
                ways += dense.found[near]
            else:
                scores_by_stage["dense"][key] = float(missed[np.searchsorted(self._alone, place)])
            if said is not None:
                scores_by_stage["lexical"][key], ranks_by_stage["lexical"][key] = float(lexical.scores[said]), said + 1
                ways += lexical.found[said]
            found.append(tuple(ways))
        best = Candidates(np.array(keys, dtype=np.int64), np.array(docs, dtype=np.int64), scores[:k], found)
        notes = (UNKNOWN_WORDS,) if len(dense.keys) and not len(lexical.keys) else ()
        return FusedRanking("fused", best, weighed, scores_by_stage, ranks_by_stage, notes=notes)


def fused(
    lists: Iterable[TwoLists], queries: Vectors, view: EngineView, metric: Metric, request: Request, depth: int
) -> list[Ranking]:
    """One ranking for each question, whose vectors are `queries` `(q, dim)`.

    What only words proposed is read for many questions together, as far as `VECTORS_TOGETHER` allows.
    """
    rankings: list[Ranking] = []
    waiting = iter(lists)
    while some := list(islice(waiting, max(VECTORS_TOGETHER // depth, 1))):
        vectors = view.vectors(np.concatenate([one.unscored for one in some]))
        end = 0
        for one in some:
            begin, end = end, end + len(one.unscored)
            missed = score_pairs(queries[len(rankings)], vectors[begin:end], metric)
            rankings.append(one.ranking(missed, metric, request))
    return rankings


def _among(values: Keys, others: Keys) -> NDArray[np.bool_]:
    """Which of `values` are among `others`: numpy's isin takes five times as long for a few hundred."""
    if not len(others):
        return np.zeros(len(values), dtype=np.bool_)
    ordered = np.sort(others)
    at = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    found: NDArray[np.bool_] = ordered[at] == values
    return found


def _places(values: Keys, others: Keys) -> list[int | None]:
    """Where each of `values` stands first in `others`."""
    same = values[:, None] == others
    if not len(others):
        return [None] * len(values)
    return [at if there else None for at, there in zip(same.argmax(axis=1).tolist(), same.any(axis=1), strict=True)]
