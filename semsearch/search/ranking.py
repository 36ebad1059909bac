"""The list of passages that answers one query: of one stage, or of two that were fused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from semsearch.engine import Candidates, EngineView
from semsearch.search.fusion import balance, fuse
from semsearch.search.request import Request
from semsearch.types import Balance, BalanceOfThree, Hit, Keys, Metric, Passage, Vectors
from semsearch.vectors import score_pairs


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


def fused(
    dense: Candidates,
    lexical: Candidates,
    query: Vectors,
    view: EngineView,
    metric: Metric,
    request: Request,
    depth: int,
    floor: float,
) -> Ranking:
    """The `request.depth` best of the first `depth` of each list; what is not in `lexical` scores at most `floor`.

    Where documents are asked for, of one that both found, the passage nearest in meaning stands for it. A passage that
    only its words proposed counts with its dense score too, which costs one product.
    """
    grouped, k = request.group_by == "document", request.depth

    def unit(candidates: Candidates) -> Keys:
        return candidates.docs if grouped else candidates.keys

    meant, worded = unit(dense), unit(lexical)
    shared = _among(worded, meant)
    by_words = np.flatnonzero(shared | (np.arange(len(shared)) < depth))  # places in `lexical`
    alone = np.flatnonzero(~shared[:depth])
    missed = score_pairs(query, view.vectors(lexical.keys[alone]), metric)
    known = np.concatenate([dense.scores, missed])
    order = np.argsort(-known, kind="stable")
    by_meaning = np.concatenate([meant, worded[alone]])[order], known[order]
    weighed = balance(by_meaning[1], lexical.scores[by_words], floor, metric)
    if request.dense_weight is not None:
        weighed = weighed._replace(weight=request.dense_weight, asked=True)
    units, scores = fuse(by_meaning, (worded[by_words], lexical.scores[by_words]), weight=weighed.weight, floor=floor)
    keys, docs, found = [], [], []
    scores_by_stage: dict[str, dict[int, float]] = {"dense": {}, "lexical": {}}
    ranks_by_stage: dict[str, dict[int, int]] = {"dense": {}, "lexical": {}}
    for near, said in zip(_places(units[:k], meant), _places(units[:k], worded), strict=True):
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
            scores_by_stage["dense"][key] = float(missed[np.searchsorted(alone, place)])
        if said is not None:
            scores_by_stage["lexical"][key], ranks_by_stage["lexical"][key] = float(lexical.scores[said]), said + 1
            ways += lexical.found[said]
        found.append(tuple(ways))
    best = Candidates(np.array(keys, dtype=np.int64), np.array(docs, dtype=np.int64), scores[:k], found)
    return FusedRanking("fused", best, weighed, scores_by_stage, ranks_by_stage)


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
