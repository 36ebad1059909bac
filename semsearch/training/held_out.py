"""What a reranker does to questions that it was not trained on, and what it should count beside its first stage.

A reranker that was made from little may know things that its first stage does not, and still order worse by itself. So
each weight is tried on the held-out questions (`semsearch.search.blending`), and one is taken only if no data set does
worse with it than without any reranking: with the weight 0, which is always among them, the order is the first stage's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from semsearch.evaluation.metrics import scored
from semsearch.search.blending import blend
from semsearch.training.judged import Judged
from semsearch.training.mining import MinedCandidates
from semsearch.types import Reranker, Scores

WEIGHTS = tuple(tenth / 10 for tenth in range(11))

Figures = tuple[float, float]  # nDCG@10, MRR@10
ScoreRows = Callable[[Judged, MinedCandidates, int, list[int]], Scores]  # a query's documents by row: `(len(rows),)`


@dataclass(frozen=True)
class Evaluation:
    """Held-out queries of each data set, their candidates ordered by the first stage, by the reranker, and by both."""

    step: int
    before: dict[str, Figures]
    after: dict[str, Figures]  # by the reranker alone
    weight: float  # of the reranker, chosen on them
    blended: dict[str, Figures]  # with that weight

    @classmethod
    def of(cls, logged: Mapping[str, Any]) -> Evaluation:
        """From the log."""
        before, after, blended = (
            {name: tuple(pair) for name, pair in logged[key].items()} for key in ("before", "after", "blended")
        )
        return cls(logged["step"], before, after, logged["weight"], blended)

    def logged(self) -> dict[str, Any]:
        """For the log."""
        return asdict(self)

    @property
    def score(self) -> float:
        """What the best step is chosen by: the mean nDCG@10 over the data sets, with the weight."""
        return float(np.mean([pair[0] for pair in self.blended.values()]))

    @property
    def first_stage(self) -> float:
        """The mean nDCG@10 over the data sets without reranking."""
        return float(np.mean([pair[0] for pair in self.before.values()]))


def by_text(reranker: Reranker) -> ScoreRows:
    """The scores of a reranker, which reads texts."""

    def score(judged: Judged, _: MinedCandidates, query: int, rows: list[int]) -> Scores:
        return reranker.score(judged.queries[query], [judged.texts[row] for row in rows])

    return score


def evaluate(score: ScoreRows, data: Sequence[tuple[Judged, MinedCandidates]], step: int, depth: int) -> Evaluation:
    """Rerank the first `depth` candidates of the held-out queries with every weight, and choose one."""
    figures = {judged.name: _figures(score, judged, found, depth) for judged, found in data}
    weight = chosen_weight({name: [pair[0] for pair in own] for name, own in figures.items()})
    before, after, blended = (
        {name: own[WEIGHTS.index(share)] for name, own in figures.items()} for share in (0.0, 1.0, weight)
    )
    return Evaluation(step, before, after, weight, blended)


def chosen_weight(gains: Mapping[str, Sequence[float]]) -> float:
    """The weight of the best mean, of those with which no data set does worse than with 0; of equals the smallest.

    Args:
        gains: Of each data set a measure for each of `WEIGHTS`, higher is better.
    """
    by_weight = np.array(list(gains.values()))  # (data sets, weights)
    harmless = (by_weight >= by_weight[:, :1]).all(axis=0)
    means = np.where(harmless, by_weight.mean(axis=0), -np.inf)
    return WEIGHTS[int(np.argmax(means))]


def _figures(score: ScoreRows, judged: Judged, found: MinedCandidates, depth: int) -> list[Figures]:
    """For each of `WEIGHTS`."""
    ranked: list[dict[int, list[int]]] = [{} for _ in WEIGHTS]
    for query in judged.held_out:
        there = found.rows[query, :depth] >= 0
        rows = found.rows[query, :depth][there]
        first = found.scores[query, :depth][there].astype(np.float64)
        scores = score(judged, found, query, rows.tolist())
        for own, weight in zip(ranked, WEIGHTS, strict=True):
            order = np.argsort(-blend(np.asarray(scores, dtype=np.float64), first, weight), kind="stable")
            own[query] = rows[order].tolist()
    return [measured(judged, rankings) for rankings in ranked]


def measured(judged: Judged, rankings: Mapping[int, Sequence[int]]) -> Figures:
    """nDCG@10 and MRR@10 of some queries' rankings of rows."""
    qrels = {str(query): {str(row): grade for row, grade in judged.grades[query].items()} for query in rankings}
    run = {str(query): {str(row): float(-place) for place, row in enumerate(rows)} for query, rows in rankings.items()}
    figures = scored(run, qrels)
    return figures.mean("nDCG@10"), figures.mean("MRR@10")
