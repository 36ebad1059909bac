"""What a score means in one collection: how random pairs of query and passage score there.

A cosine of 0.7 is a very good match to one model and less than chance to another. So the scores of random pairs are
measured; a hit's *percentile* is the share of them that score less. Beyond what a sample can show, the tail is taken to
fall off exponentially (Pickands 1975: excesses over a high threshold of most distributions do). Where judgements
exist, a logistic curve gives a *probability* of being relevant (Platt 1999).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from semsearch.engine import Engine, Settings, fingerprint
from semsearch.errors import UsageError
from semsearch.types import Hit, Metric, Passage, Vectors

SAMPLED_QUERIES = 256
SAMPLED_PASSAGES = 4_096
MIN_PASSAGES = 32  # passages, with fewer of which there is nothing to measure
QUERY_WORDS = 12  # of a passage without a title, that make a query
TAIL = 0.001  # share of the pairs that the exponential is fitted to
LEVELS = np.concatenate([[0.0], np.linspace(0.01, 0.99, 99), [0.995, 1 - TAIL]])
SHOWN_QUANTILES = {"median": 0.5, "99 %": 0.99, "99.9 %": 1 - TAIL}
JUDGED = 10  # hits of each judged query that the curve of probability is fitted to

JudgedScores: TypeAlias = tuple[list[float], list[bool]]


@dataclass(frozen=True)
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

    @cached_property
    def _quantiles(self) -> NDArray[np.float64]:
        return np.asarray(self.scores)  # made once: each search asks

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self | None:
        """The calibration that a collection's settings hold, if it is of its present model."""
        kept = settings.get("calibration")
        if kept is None or kept["model"] != fingerprint(settings):
            return None
        return cls(**{**kept, "scores": tuple(kept["scores"])})

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "scores": list(self.scores)}

    def percentile(self, scores: ArrayLike) -> NDArray[np.float64]:
        """The share of random pairs that score less than each of `scores`, between 0 and 1."""
        given = np.asarray(scores, dtype=np.float64)
        last = self.scores[-1]
        inside = np.interp(given, self._quantiles, LEVELS)
        beyond = 1 - TAIL * np.exp(np.minimum(last - given, 0) / self.mean_excess)
        shares: NDArray[np.float64] = np.where(given > last, beyond, inside)
        return shares

    def log_tail(self, scores: ArrayLike) -> NDArray[np.float64]:
        """The natural logarithm of the share of random pairs that score as high: it goes on where 1 less it is 1."""
        given = np.asarray(scores, dtype=np.float64)
        logs: NDArray[np.float64] = np.log(np.maximum(1 - np.interp(given, self._quantiles, LEVELS), TAIL))
        beyond = given > self.scores[-1]
        logs[beyond] = math.log(TAIL) - (given[beyond] - self.scores[-1]) / self.mean_excess
        return logs

    def probability(self, scores: ArrayLike) -> NDArray[np.float64] | None:
        """The probability that hits of these scores are relevant; None without judgements."""
        if self.slope is None or self.intercept is None:
            return None
        exponent = np.clip(self.slope * np.asarray(scores, dtype=np.float64) + self.intercept, -500, 500)
        probabilities: NDArray[np.float64] = 1 / (1 + np.exp(-exponent))
        return probabilities


def calibrate(
    engine: Engine,
    encode: Callable[[Sequence[str]], Vectors] | None,
    judged: JudgedScores | None = None,
) -> Calibration | None:
    """Measure, and keep the outcome in the collection; None if there are too few passages.

    Args:
        engine: The collection's.
        encode: Encodes questions; None where vectors are all there is.
        judged: Scores of hits of judged queries, and whether each is relevant; without them the curve that was fitted
            before is kept.

    Raises:
        UsageError: The judged hits are all of one kind.
    """
    settings = engine.settings
    calibration = measure(engine, fingerprint(settings), encode)
    if calibration is None:
        return None
    before = Calibration.of(settings)
    if judged is not None:
        slope, intercept = fit(*judged)
        calibration = replace(calibration, slope=slope, intercept=intercept, judged=len(judged[0]))
    elif before is not None:
        calibration = replace(calibration, slope=before.slope, intercept=before.intercept, judged=before.judged)
    engine.set("calibration", calibration.as_dict())
    return calibration


def needs_calibration(engine: Engine) -> bool:
    """Whether the collection has doubled since it was calibrated, or has another model."""
    with engine.view() as view:
        known, passages = Calibration.of(view.settings), view.passages
    return passages >= MIN_PASSAGES and (known is None or passages >= 2 * known.passages)


def judged_hits(answers: Mapping[str, Sequence[Hit]], judgements: Mapping[str, Mapping[str, int]]) -> JudgedScores:
    """The dense scores of the best hits of judged queries, and whether each is relevant; without a grade it is not.

    Raises:
        UsageError: All are of one kind.
    """
    hits = [(query, hit) for query, own in answers.items() for hit in own]
    relevant = [judgements[query].get(hit.id, 0) > 0 for query, hit in hits]
    if not any(relevant) or all(relevant):
        kind = "relevant" if relevant and all(relevant) else "not relevant"
        raise UsageError(
            f"the best hits of the {len(answers)} judged queries are all {kind}: a probability can't be fitted. "
            "Do the judgements belong to this collection?"
        )
    return [hit.score for _, hit in hits], relevant


def calibration_info(settings: Settings) -> dict[str, Any] | None:
    """What people are told of it: where random scores lie, and how many judged hits there were."""
    calibration = Calibration.of(settings)
    if calibration is None:
        return None
    quantiles = {
        name: round(float(np.interp(level, LEVELS, calibration.scores)), 4) for name, level in SHOWN_QUANTILES.items()
    }
    return {"random scores": quantiles, "pairs": calibration.pairs, "judged hits": calibration.judged}


def measure(
    engine: Engine, model: str, encode: Callable[[Sequence[str]], Vectors] | None, seed: int = 0
) -> Calibration | None:
    """Score random queries against random passages of other documents; None if there are too few.

    Queries are titles, or the first words of passages; without an encoder (`encode`) stored vectors stand for them.
    """
    generator = np.random.default_rng(seed)
    with engine.view() as view:
        count = view.passages
        if count < MIN_PASSAGES:
            return None
        metric = Metric(view.settings["metric"])
        asked, others = view.sample(SAMPLED_QUERIES, generator), view.sample(SAMPLED_PASSAGES, generator)
        found = view.passages_of(asked) if encode is not None else []
        asked = asked if encode is None else asked[[passage is not None for passage in found]]
        queries, passages = view.vectors(asked), view.vectors(others)
        apart = view.docs_of(asked)[:, None] != view.docs_of(others)
    if encode is not None:
        queries = encode([_question(passage) for passage in found if passage is not None])
    with np.errstate(over="ignore", invalid="ignore"):  # of older versions' vectors; what is no number is left out
        scores = queries @ passages.T
        if metric == Metric.L2:
            squares = (queries**2).sum(axis=1)[:, None] + (passages**2).sum(axis=1)
            scores = 2 * scores - squares
    random = np.sort(scores[apart].astype(np.float64))
    random = random[np.isfinite(random)]
    if len(random) < MIN_PASSAGES:
        return None
    quantiles = np.quantile(random, LEVELS)
    excess = random[random > quantiles[-1]] - quantiles[-1]
    mean_excess = float(excess.mean()) if len(excess) else 0.0
    spread = float(random[-1] - random[0])
    floor = max(spread * 1e-3, 1e-9)  # scores that hardly differ must not make the tail infinitely steep
    scores_at = tuple(quantiles.tolist())
    return Calibration(model, count, len(random), scores_at, max(mean_excess, floor))


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


def _question(passage: Passage) -> str:
    """What a person might have typed to find a passage."""
    if len(passage.title.split()) > 2:
        return passage.title
    return " ".join(passage.text.split()[:QUERY_WORDS]) or passage.title
