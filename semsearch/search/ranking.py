"""The list of passages that answers one query: of one stage, or of two that were fused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from semsearch.local.store.snapshot import Snapshot
from semsearch.search.fusion import fuse
from semsearch.types import Document, Hit, Keys, Metric, Scores, Vectors
from semsearch.vectors import score_pairs


@dataclass(frozen=True, slots=True)
class Asked:
    """Queries, as texts (none where a vector is all there is) and as vectors `(q, dim)` (none for a lexical search)."""

    texts: Sequence[str]
    vectors: Vectors


@dataclass(frozen=True, slots=True)
class Ranking:
    """Passages of one stage, best first."""

    stage: str
    keys: Keys
    scores: Scores
    found: Callable[[Sequence[int]], Iterable[tuple[str, ...]]]  # the ways by which keys were found

    def hits(self, passages: Iterator[tuple[Document, int, int]]) -> list[Hit]:
        """Its passages as hits; takes the document, start and end of each, and no more, from `passages`."""
        keys, stage = self.keys.tolist(), self.stage
        rows = zip(keys, self.scores.tolist(), self.found(keys), passages, strict=False)
        return [
            Hit(document, start, end, score, {stage: score}, rank, key, found)
            for rank, (key, score, found, (document, start, end)) in enumerate(rows, start=1)
        ]


@dataclass(frozen=True, slots=True)
class FusedRanking(Ranking):
    """Passages of two stages in one order."""

    scores_by_stage: Mapping[str, Mapping[int, float]]
    ranks_by_stage: Mapping[str, Mapping[int, int]]

    def hits(self, passages: Iterator[tuple[Document, int, int]]) -> list[Hit]:
        """With the scores and ranks of both stages, where they have a key."""
        hits = super(FusedRanking, self).hits(passages)
        for hit in hits:
            scores = {stage: own[hit.key] for stage, own in self.scores_by_stage.items() if hit.key in own}
            hit.scores = {**scores, self.stage: hit.score}
            hit.ranks = {stage: own[hit.key] for stage, own in self.ranks_by_stage.items() if hit.key in own}
        return hits


def fused(
    dense: Ranking,
    lexical: Ranking,
    query: Vectors,
    snapshot: Snapshot,
    metric: Metric,
    k: int,
    grouped: bool,
    depth: int,
) -> Ranking:
    """The `k` best of both lists, for each of which `depth` entries were asked.

    With `grouped`, of a document that both found, the passage nearest in meaning stands for it. A passage that only
    its words found gets its dense score too: it costs one product.
    """

    def unit(keys: Keys) -> Keys:
        return snapshot.docs[snapshot.rows_of(keys)] if grouped else keys

    shown: dict[int, int] = {}  # the passage that stands for a document
    for ranking in (lexical, dense):
        shown.update(zip(unit(ranking.keys).tolist(), ranking.keys.tolist(), strict=True))
    units, scores = fuse((unit(dense.keys), dense.scores), (unit(lexical.keys), lexical.scores), depth=depth)
    keys = np.asarray([shown[one] for one in units[:k].tolist()], dtype=np.int64)
    by_meaning = dict(zip(dense.keys.tolist(), dense.scores.tolist(), strict=True))
    missing = np.asarray([key for key in keys.tolist() if key not in by_meaning], dtype=np.int64)
    if len(missing):
        found = score_pairs(query, snapshot.vectors[snapshot.rows_of(missing)], metric)
        by_meaning.update(zip(missing.tolist(), found.tolist(), strict=True))
    at = dict(zip(unit(lexical.keys).tolist(), range(len(lexical.keys)), strict=True))
    own = dict(zip(keys.tolist(), units[:k].tolist(), strict=True))
    words = {key: at[one] for key, one in own.items() if one in at}
    ranked = {key: rank for rank, key in enumerate(dense.keys.tolist(), start=1)}
    ways = dict(zip(ranked, dense.found(list(ranked)), strict=False))
    both = {key: (*ways.get(key, ()), *(("lexical",) if key in words else ())) for key in own}
    return FusedRanking(
        "fused",
        keys,
        scores[:k],
        lambda keys: map(both.__getitem__, keys),
        {"dense": by_meaning, "lexical": {key: float(lexical.scores[place]) for key, place in words.items()}},
        {"dense": ranked, "lexical": {key: place + 1 for key, place in words.items()}},
    )
