"""One ranking of two: by meaning and by words, as a convex sum of their scores, weighted by how sure each of them is.

Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval" (2023), stretch each list from 0 to 1 and
weigh both alike for every question: the best of a list that hardly tells its entries apart counts as much as one that
stands out. Here a list counts by its *contrast*: by meaning, how much of the way from the worst candidate to the very
same text the best one goes; by words, what share of its score the best one is ahead of the last.

That is, a cosine counts as it is, but for where the cosines of a model begin. `benchmarks/results/RESULTS.md` has what
else was tried, and what the constants are worth on collections that had no part in choosing them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semsearch.types import Balance, Keys, Metric, Scores

LEXICAL_FACTOR = 0.45  # what the contrast of words counts beside that of meaning
FUSION_DEPTH = 100  # entries that are fused of each list
PERFECT = {Metric.COSINE: 1.0, Metric.L2: 0.0}  # the score of the very same vector; of dot products there is none

List = tuple[Keys, Scores]  # best first, keys distinct


def balance(dense: Scores, lexical: Scores, metric: Metric = Metric.COSINE, depth: int = FUSION_DEPTH) -> Balance:
    """What each of two lists of scores counts, best first, for each of which `depth` entries were asked.

    Where the metric has no perfect score, meaning counts as words do that stand out as far as they can.
    """
    by_meaning = by_words = 0.0
    if len(dense) and dense[0] > dense[-1]:
        best, last = float(dense[0]), float(dense[-1])
        perfect = PERFECT.get(metric)
        by_meaning = LEXICAL_FACTOR if perfect is None else min((best - last) / (perfect - last), 1.0)
    if len(lexical):
        best, last = float(lexical[0]), float(lexical[-1])
        by_words = 1.0 if len(lexical) < depth else (best - last) / best
    together = by_meaning + LEXICAL_FACTOR * by_words
    return Balance(by_meaning / together if together > 0 else 0.5, by_meaning, by_words)


def fuse(dense: List, lexical: List, *, weight: float, depth: int = FUSION_DEPTH) -> tuple[Keys, Scores]:
    """All entries of both lists, best first, of equals the smaller key; scores between 0 and 1.

    Args:
        dense: Keys (of passages or documents) and scores of any range, by meaning.
        lexical: The same by words; scores above 0. Either may be empty: the order is then the other's.
        weight: The share of `dense`, from 0 to 1; the rest is that of `lexical`.
        depth: Entries that were asked for; a shorter list by words holds all that have any score.
    """
    # what is not in a full list scores at most as its last; words that are nowhere else score 0
    by_words = _of_best if len(lexical[0]) < depth else _stretched
    keys = np.union1d(dense[0], lexical[0]).astype(np.int64)
    scores = np.zeros(len(keys))
    for (own, given), share, measure in ((dense, weight, _stretched), (lexical, 1 - weight, by_words)):
        scores[np.searchsorted(keys, own)] += share * measure(np.asarray(given, dtype=np.float64))
    order = np.argsort(-scores, kind="stable")
    return keys[order], scores[order].astype(np.float32)


def _stretched(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """From 0 for the last to 1 for the first; 1 for all where they are equal."""
    if not len(scores) or scores[0] == scores[-1]:
        return np.ones(len(scores))
    above: NDArray[np.float64] = scores - scores[-1]
    return above / float(above[0])


def _of_best(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of the best one's."""
    return scores / float(scores[0]) if len(scores) else scores
