"""The list of passages that answers one query: of one stage, or of two that were fused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from semsearch.engine import Candidates, EngineView
from semsearch.search.fusion import balance, fuse
from semsearch.search.request import Request
from semsearch.types import Balance, Hit, Keys, Metric, Passage, Vectors
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

    balance: Balance
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

    shared = np.isin(unit(lexical), unit(dense))
    by_words = np.flatnonzero(shared | (np.arange(len(shared)) < depth))  # places in `lexical`
    by_words_alone = np.flatnonzero(~shared[:depth])
    shown: dict[int, tuple[int, int]] = {}  # the passage that stands for a document, and the document
    for own, places in ((lexical, by_words), (dense, slice(None))):
        stands = zip(own.keys[places].tolist(), own.docs[places].tolist(), strict=True)
        shown.update(zip(unit(own)[places].tolist(), stands, strict=True))
    missed = lexical.keys[by_words_alone]
    known = np.concatenate([dense.scores, score_pairs(query, view.vectors(missed), metric)])
    order = np.argsort(-known, kind="stable")
    meant = np.concatenate([unit(dense), unit(lexical)[by_words_alone]])[order], known[order]
    worded = unit(lexical)[by_words], lexical.scores[by_words]
    weighed = balance(meant[1], worded[1], floor, metric)
    if request.dense_weight is not None:
        weighed = weighed._replace(weight=request.dense_weight, asked=True)
    units, scores = fuse(meant, worded, weight=weighed.weight, floor=floor)
    best = [shown[one] for one in units[:k].tolist()]
    keys = np.asarray([key for key, _ in best], dtype=np.int64)
    docs = np.asarray([doc for _, doc in best], dtype=np.int64)
    by_meaning = dict(zip([*dense.keys.tolist(), *missed.tolist()], known.tolist(), strict=True))
    at = dict(zip(worded[0].tolist(), by_words.tolist(), strict=True))
    words = {key: at[one] for key, one in zip(keys.tolist(), units[:k].tolist(), strict=True) if one in at}
    ranked = {key: rank for rank, key in enumerate(dense.keys.tolist(), start=1)}
    ways = dict(zip(ranked, dense.found, strict=True))
    both = [(*ways.get(key, ()), *(lexical.found[words[key]] if key in words else ())) for key in keys.tolist()]
    return FusedRanking(
        "fused",
        Candidates(keys, docs, scores[:k], both),
        weighed,
        {"dense": by_meaning, "lexical": {key: float(lexical.scores[place]) for key, place in words.items()}},
        {"dense": ranked, "lexical": {key: place + 1 for key, place in words.items()}},
    )
