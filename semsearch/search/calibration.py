"""What a score means in one collection: how random pairs of query and passage score there.

A cosine of 0.7 is a very good match to one model and less than chance to another. So the scores of random pairs are
measured; a hit's *percentile* is the share of them that score less. Beyond what a sample can show, the tail is taken to
fall off exponentially (Pickands 1975: excesses over a high threshold of most distributions do). Where judgements
exist, a logistic curve gives a *probability* of being relevant (Platt 1999).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from semsearch.local.store import document_rows as rows
from semsearch.local.store.store import View
from semsearch.types import Document, Metric, Vectors

QUERIES = 256
PASSAGES = 4_096
FEWEST = 32  # passages, with fewer of which there is nothing to measure
WORDS = 12  # of a passage without a title, that make a query
TAIL = 0.001  # share of the pairs that the exponential is fitted to
LEVELS = np.concatenate([[0.0], np.linspace(0.01, 0.99, 99), [0.995, 1 - TAIL]])


@dataclass(frozen=True, slots=True)
class Calibration:
    """The distribution of random scores, and the curve of probability where there is one; kept in the settings.

    `scores[i]` is the quantile of `LEVELS[i]`; above the last the share of greater scores is
    `TAIL · exp(−(s − scores[-1]) / mean_excess)`. The probability is `1 / (1 + exp(−(slope · s + intercept)))`.
    """

    model: str  # the encoder's fingerprint
    passages: int  # that there were
    pairs: int
    scores: tuple[float, ...]
    mean_excess: float
    slope: float | None = None
    intercept: float | None = None
    judged: int = 0

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self | None:
        """The calibration that a collection's settings hold, if it is of its present model."""
        kept = settings.get("calibration")
        model = (settings.get("encoder") or {}).get("fingerprint", "")
        if kept is None or kept["model"] != model:
            return None
        return cls(**{**kept, "scores": tuple(kept["scores"])})

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "scores": list(self.scores)}

    def percentile(self, scores: ArrayLike) -> NDArray[np.float64]:
        """The share of random pairs that score less than each of `scores`, between 0 and 1."""
        given = np.asarray(scores, dtype=np.float64)
        inside = np.interp(given, self.scores, LEVELS)
        beyond = 1 - TAIL * np.exp(-np.maximum(given - self.scores[-1], 0) / self.mean_excess)
        shares: NDArray[np.float64] = np.where(given > self.scores[-1], beyond, inside)
        return shares

    def probability(self, scores: ArrayLike) -> NDArray[np.float64] | None:
        """The probability that hits of these scores are relevant; None without judgements."""
        if self.slope is None or self.intercept is None:
            return None
        exponent = np.clip(self.slope * np.asarray(scores, dtype=np.float64) + self.intercept, -500, 500)
        probabilities: NDArray[np.float64] = 1 / (1 + np.exp(-exponent))
        return probabilities


def measure(
    view: View, metric: Metric, model: str, encode: Callable[[Sequence[str]], Vectors] | None, seed: int = 0
) -> Calibration | None:
    """Score random queries against random passages of other documents; None if there are too few.

    Queries are titles, or the first words of passages; without an encoder (`encode`) stored vectors stand for them.
    """
    snapshot = view.snapshot
    live = np.flatnonzero(snapshot.live)
    if len(live) < FEWEST:
        return None
    generator = np.random.default_rng(seed)
    asked = np.sort(generator.choice(live, min(QUERIES, len(live)), replace=False))
    others = np.sort(generator.choice(live, min(PASSAGES, len(live)), replace=False))
    if encode is None:
        queries = np.asarray(snapshot.vectors[asked])
    else:
        asked = asked[snapshot.sound(asked)]
        documents, _ = rows.read(view.connection, np.unique(snapshot.docs[asked]).tolist())
        asked = asked[np.isin(snapshot.docs[asked], list(documents))]
        queries = encode(
            [_question(documents[doc], start, end) for _, doc, start, end in snapshot.places(asked).tolist()]
        )
    passages = np.asarray(snapshot.vectors[others])
    scores = queries @ passages.T
    if metric is Metric.L2:
        squares = (queries**2).sum(axis=1)[:, None] + (passages**2).sum(axis=1)
        scores = 2 * scores - squares
    random = np.sort(scores[snapshot.docs[asked][:, None] != snapshot.docs[others]].astype(np.float64))
    random = random[np.isfinite(random)]
    if len(random) < FEWEST:
        return None
    quantiles = np.quantile(random, LEVELS)
    excess = random[random > quantiles[-1]] - quantiles[-1]
    mean_excess = float(excess.mean()) if len(excess) else 0.0
    spread = float(random[-1] - random[0])
    floor = max(spread * 1e-3, 1e-9)  # scores that hardly differ must not make the tail infinitely steep
    scores_at = tuple(quantiles.tolist())
    return Calibration(model, len(live), len(random), scores_at, max(mean_excess, floor))


def fit(scores: ArrayLike, relevant: ArrayLike) -> tuple[float, float]:
    """Slope and intercept of a logistic curve through judged scores, by Newton's method with Platt's smoothed targets.

    Args:
        scores: `(n,)`.
        relevant: `(n,)` truth values; both kinds must be there.
    """
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(relevant, dtype=np.bool_)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    targets = np.where(truth, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    centre, scale = float(values.mean()), float(values.std()) or 1.0
    standard = np.stack([(values - centre) / scale, np.ones_like(values)], axis=1)
    weights = np.array([0.0, np.log((positives + 1) / (negatives + 1))])
    for _ in range(100):
        chance = 1 / (1 + np.exp(-np.clip(standard @ weights, -500, 500)))
        gradient = standard.T @ (chance - targets) + 1e-6 * weights
        curvature = (standard * (chance * (1 - chance))[:, None]).T @ standard + 1e-6 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        step *= min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))  # no leap out of where the curve is known
        weights -= step
        if np.abs(step).max() < 1e-10:
            break
    slope = weights[0] / scale
    return float(slope), float(weights[1] - slope * centre)


def _question(document: Document, start: int, end: int) -> str:
    """What a person might have typed to find a passage."""
    if len(document.title.split()) > 2:
        return document.title
    words = document.text[start:end].split()
    return " ".join(words[:WORDS]) or document.title
