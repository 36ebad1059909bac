"""The order of a reranker and of the first stage, weighed against each other over the candidates of one question.

A reranker's scores and the first stage's have nothing in common: logits here, cosines or shares there. So the first
stage's are moved onto the reranker's scale, by giving them, over the candidates of the question, the mean and the
spread (standard deviation) that the reranker's have; then both are summed by weight. The order is that of weighted
z-scores, and the sum stays on the reranker's scale, so that answers of several collections still compare.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semsearch.arguments import check_number
from semsearch.errors import UsageError
from semsearch.types import Reranker

RERANK_WEIGHT = 1.0  # of a reranker that says none: its order alone, as its authors measured it

Wide = NDArray[np.float64]


def blend(reranked: Wide, first: Wide, weight: float) -> Wide:
    """The weighted sum of two scores for each candidate, `(n,)`, on the scale of `reranked`.

    With the weight 1 it is `reranked` itself. Where one of the two tells no candidate from another, the other alone
    orders them.

    Args:
        reranked: The reranker's scores, `(n,)`; finite unless the weight is 1.
        first: The first stage's, `(n,)`, finite.
        weight: The share of `reranked`, from 0 to 1.
    """
    if weight == 1 or not len(first):
        return reranked
    spread, mean = float(first.std()), float(reranked.mean())
    moved = np.full(len(first), mean)
    if spread > 0:
        moved += (float(reranked.std()) or 1.0) * (first - float(first.mean())) / spread
    blended: Wide = weight * reranked + (1 - weight) * moved
    return blended


def own_weight(reranker: Reranker) -> float:
    """The share that a reranker names as its own (`weight`), chosen where it was trained.

    Raises:
        UsageError: It is none.
    """
    weight = getattr(reranker, "weight", None)
    if weight is None:
        return RERANK_WEIGHT
    if not 0 <= check_number(weight, f"the weight of the reranker {type(reranker).__name__}") <= 1:
        raise UsageError(
            f"the weight of the reranker {type(reranker).__name__} must be between 0 and 1, not {weight!r}: give a "
            "rerank_weight."
        )
    return float(weight)
