"""Semantic textual similarity: how well a model's scores of pairs agree with people's."""

from __future__ import annotations

from collections.abc import Iterable

from numpy.typing import ArrayLike

from semsearch.applications.similarity import Texts, similarity
from semsearch.arguments import as_list, check_whole
from semsearch.evaluation.correlation import Correlation, correlation
from semsearch.hardware import ANYWHERE, Compute
from semsearch.types import Encoder, Metric


def sts(
    first: Texts | ArrayLike,
    second: Texts | ArrayLike,
    gold: Iterable[float],
    *,
    encoder: str | Encoder | None = None,
    metric: Metric | str | None = None,
    compute: Compute = ANYWHERE,
    seed: int = 0,
) -> Correlation:
    """How the scores of pairs, text i of `first` with text i of `second`, correlate with `gold` `(n,)`.

    The arguments are those of `semsearch.similarity`; `seed` is that of the intervals. The mean over several tasks is
    `semsearch.evaluation.correlation.mean_correlation`.

    Raises:
        UsageError: There are not as many of each, or fewer than three.
        DataError: Scores or judgements are all the same, or hold NaN.
        MissingDependency: scipy, of the extra `eval`, is not installed.
        ModelError: The model can't be opened.
    """
    check_whole(seed, "seed", 0)
    scores = similarity(first, second, encoder=encoder, metric=metric, compute=compute)
    return correlation(scores, as_list(gold, "sts takes a list of judgements"), seed)
