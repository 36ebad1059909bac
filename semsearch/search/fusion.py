"""One ranking of two: by meaning and by words, as a convex sum of their scores, weighted by how sure each of them is.

Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval" (2023), stretch each list from 0 to 1 and
weigh both alike for every question: the best of a list that hardly tells its entries apart counts as much as one that
stands out. Here a list counts by its *contrast*: by meaning, how much of the way from the worst candidate to the very
same text the best one goes; by words, what share of its score the best one is ahead of what is not in the list. That
is, a cosine counts as it is, but for where the cosines of a model begin, and a score by words as a share of the best.

Each candidate counts with its scores of both kinds, whichever list proposed it. `benchmarks/results/RESULTS.md` has
what else was tried, and what this is worth on collections that had no part in choosing the constant.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semsearch.types import Balance, Keys, Metric, Scores

LEXICAL_FACTOR = 0.4  # what the contrast of words counts beside that of meaning
FUSION_DEPTH = 100  # candidates that each list proposes
LEXICAL_DEPTH = 1_000  # entries by words that are asked for: those that meaning proposes are mostly among them
PERFECT = {Metric.COSINE: 1.0, Metric.L2: 0.0}  # the score of the very same vector; of dot products there is none

List = tuple[Keys, Scores]  # best first, keys distinct


def balance(dense: Scores, lexical: Scores, floor: float = 0.0, metric: Metric = Metric.COSINE) -> Balance:
    """What each of two lists of scores counts, best first.

    Where the metric has no perfect score, meaning counts as words do that stand out as far as they can.

    Args:
        dense: Of all candidates, by meaning.
        lexical: By words; above 0.
        floor: What is not in `lexical` scores at most so much.
        metric: Of `dense`.
    """
    by_meaning = by_words = 0.0
    if len(dense) and dense[0] > dense[-1]:
        best, last = float(dense[0]), float(dense[-1])
        perfect = PERFECT.get(metric)
        by_meaning = LEXICAL_FACTOR if perfect is None else min((best - last) / (perfect - last), 1.0)
    if len(lexical):
        best = float(lexical[0])
        by_words = (best - floor) / best
    together = by_meaning + LEXICAL_FACTOR * by_words
    return Balance(by_meaning / together if together > 0 else 0.5, by_meaning, by_words)


def fuse(dense: List, lexical: List, *, weight: float, floor: float = 0.0) -> tuple[Keys, Scores]:
    """All entries of both lists, best first, of equals the smaller key; scores between 0 and 1.

    Args:
        dense: Keys (of passages or documents) and scores of any range, by meaning; what is not there is as the last.
        lexical: The same by words; scores above 0. Either may be empty: the order is then the other's.
        weight: The share of `dense`, from 0 to 1; the rest is that of `lexical`.
        floor: What is not in `lexical` counts as if it scored so much by words, which is at most the last of them.
    """
    keys = np.sort(np.concatenate([dense[0], lexical[0]]).astype(np.int64))  # numpy's union1d takes five times as long
    keys = np.concatenate([keys[:1], keys[1:][keys[1:] != keys[:-1]]])
    scores = np.zeros(len(keys))
    for (own, given), share, least in ((dense, weight, None), (lexical, 1 - weight, floor)):
        scores[np.searchsorted(keys, own)] += share * stretched(np.asarray(given, dtype=np.float64), least)
    order = np.argsort(-scores, kind="stable")
    return keys[order], scores[order].astype(np.float32)


def stretched(scores: NDArray[np.float64], least: float | None) -> NDArray[np.float64]:
    """From 0 for `least`, or the last, to 1 for the first; 1 for all where they are equal."""
    if not len(scores):
        return scores
    low = float(scores[-1]) if least is None else least
    if scores[0] <= low:
        return np.ones(len(scores))
    stretched: NDArray[np.float64] = (scores - low) / (float(scores[0]) - low)
    return stretched
