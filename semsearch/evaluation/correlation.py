"""How well scores agree with people's: Pearson's and Spearman's correlations, their intervals, a mean over tasks."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from semsearch.errors import DataError, MissingDependency, UsageError
from semsearch.evaluation.metrics import LEVEL

LEAST_PAIRS = 3  # two pairs always correlate by ±1
RESAMPLES = 2_000
RESAMPLED_AT_ONCE = 1 << 20  # numbers


@dataclass(frozen=True)
class Correlation:
    """How scores of pairs agree with judgements, or the mean of that over several tasks.

    Attributes:
        pairs: How many were compared.
        pearson: Pearson's r, from -1 to 1.
        spearman: Spearman's rho: of the ranks, ties sharing their mean rank.
        pearson_interval: Within which r lies in 95 % of samples of pairs: a percentile bootstrap.
        spearman_interval: The same of rho.
        resampled: `(2, resamples)` r and rho of each sample.
    """

    pairs: int
    pearson: float
    spearman: float
    pearson_interval: tuple[float, float]
    spearman_interval: tuple[float, float]
    resampled: NDArray[np.float64] = field(repr=False, compare=False)

    def facts(self) -> dict[str, Any]:
        """As JSON has it; null is a mean of 1 and -1, which there is none of."""
        figures = (self.pearson, self.spearman, *self.pearson_interval, *self.spearman_interval)
        pearson, spearman, *ends = (None if math.isnan(figure) else figure for figure in figures)
        intervals = {"pearson": ends[:2], "spearman": ends[2:]}
        return {"pairs": self.pairs, "pearson": pearson, "spearman": spearman, "intervals": intervals}


def correlation(scores: ArrayLike, gold: ArrayLike, seed: int = 0) -> Correlation:
    """How `scores` `(n,)` agree with `gold` `(n,)`, by scipy; the same seed, the same intervals.

    Raises:
        UsageError: They are not as many, or fewer than three.
        DataError: One holds NaN or infinite numbers, or a single value, which agrees with nothing.
        MissingDependency: scipy is not installed.
    """
    stats = _scipy_stats()
    x, y = (_column(values, what) for values, what in ((scores, "the scores"), (gold, "the judgements")))
    if len(x) != len(y):
        raise UsageError(f"each pair needs a judgement, and there are {len(x):,} scores and {len(y):,} judgements.")
    if len(x) < LEAST_PAIRS:
        raise UsageError(f"a correlation takes {LEAST_PAIRS} pairs at least, and there are {len(x)}.")
    for values, what in ((x, "the scores"), (y, "the judgements")):
        if (values == values[0]).all():
            raise DataError(f"{what} are all {values[0]:g}: nothing correlates with what never changes.")

    def both(x: NDArray[np.float64], y: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
        ranked = (stats.rankdata(values, axis=axis) for values in (x, y))
        return np.array([stats.pearsonr(x, y, axis=axis).statistic, stats.pearsonr(*ranked, axis=axis).statistic])

    with warnings.catch_warnings():  # a sample of one pair alone, again and again, has none and is left out
        warnings.simplefilter("ignore")
        drawn = stats.bootstrap(
            (x, y),
            both,
            paired=True,
            vectorized=True,
            n_resamples=RESAMPLES,
            batch=max(1, RESAMPLED_AT_ONCE // len(x)),
            method="percentile",
            rng=np.random.default_rng(seed),
        ).bootstrap_distribution
    pearson, spearman = both(x, y).tolist()
    return _of(len(x), pearson, spearman, np.clip(drawn, -1, 1))


def mean_correlation(tasks: Sequence[Correlation] | Mapping[str, Correlation]) -> Correlation:
    """The mean over tasks by Fisher's z: tanh of the mean of artanh, since correlations near 1 lie close together.

    Fisher, "On the probable error of a coefficient of correlation" (1921). A task with a correlation of 1 makes it 1.

    Raises:
        UsageError: There is no task.
    """
    each = list(tasks.values() if isinstance(tasks, Mapping) else tasks)
    if not each:
        raise UsageError("there is no task to take the mean of.")
    pearson, spearman = _fisher_mean(np.array([[one.pearson, one.spearman] for one in each])).tolist()
    return _of(
        sum(one.pairs for one in each), pearson, spearman, _fisher_mean(np.array([one.resampled for one in each]))
    )


def _fisher_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over the first axis."""
    with np.errstate(divide="ignore", invalid="ignore"):  # artanh of ±1 is infinite, and the mean of both is none
        mean: NDArray[np.float64] = np.tanh(np.arctanh(np.clip(values, -1, 1)).mean(axis=0))
    return mean


def _of(pairs: int, pearson: float, spearman: float, resampled: NDArray[np.float64]) -> Correlation:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where no sample has a correlation there is no interval
        low, high = np.nanquantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
    (one, other) = ((float(low[at]), float(high[at])) for at in range(2))
    return Correlation(pairs, float(pearson), float(spearman), one, other, resampled)


def _column(values: ArrayLike, what: str) -> NDArray[np.float64]:
    try:
        column = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} must be numbers: {error}.") from error
    if column.ndim != 1:
        raise DataError(f"{what} must have the shape (n,), but have {column.shape}.")
    if not np.isfinite(column).all():
        raise DataError(f"number {int(np.argmin(np.isfinite(column)))} of {what} is NaN or infinite.")
    return column


def _scipy_stats() -> Any:
    try:
        from scipy import stats
    except ImportError as error:
        raise MissingDependency(
            "correlations need scipy, which is not installed: pip install 'semsearch[eval]'"
        ) from error
    return stats
