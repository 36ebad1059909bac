"""The recall of an engine's own index, measured through its views: its knob is set on one half of the queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from semsearch.engine import EngineView, IndexSpec
from semsearch.search.recall import Certificate, Synthesis, certify, synthetic_queries
from semsearch.types import Keys, Metric, Neighbors, Vectors
from semsearch.vectors import score_each

SYNTHETIC_VECTORS = 8000  # stored ones that synthetic queries are made of


def certified(
    view: EngineView,
    set_knob: Callable[[int], None],
    knob: str,
    ladder: Sequence[int],
    spec: IndexSpec,
    queries: Vectors | Synthesis | None,
    *,
    exact: bool,
) -> Certificate:
    """The recall of what `view` finds.

    Args:
        view: Of the engine.
        set_knob: Has the view search with a value of the knob from now on.
        knob: Its name.
        ladder: Values of it, ascending.
        spec: What is asked for.
        queries: To measure on, or what makes some; None lets vectors stand in.
        exact: There is no index: searches are exact.
    """
    assert spec.recall is not None
    metric = Metric(view.settings["metric"])

    def neighbors(asked: Vectors, k: int, exactly: bool) -> Neighbors:
        found = view.dense(asked, k, allowed=None, exact=exactly, grouped=False)
        keys = np.full((len(asked), k), -1, dtype=np.int64)
        scores = np.full((len(asked), k), -np.inf, dtype=np.float32)
        for row, own in enumerate(found):
            keys[row, : len(own.keys)], scores[row, : len(own.keys)] = own.keys, own.scores
        return Neighbors(keys, scores)

    def found(asked: Vectors, k: int, value: int | None) -> Neighbors:
        if value is not None:
            set_knob(value)
        return neighbors(asked, k, exact)

    def scores_of(asked: Vectors, keys: NDArray[np.int64]) -> NDArray[np.float32]:
        scores = np.full(keys.shape, -np.inf, dtype=np.float32)
        rows, places = np.nonzero(keys >= 0)
        vectors = view.vectors(keys[rows, places])
        scores[rows, places] = score_each(asked, rows, vectors, np.arange(len(rows)), metric)
        return scores

    def synthetic(count: int, generator: np.random.Generator) -> tuple[Vectors, Keys]:
        keys = view.sample(min(max(4 * count, SYNTHETIC_VECTORS), view.passages), generator)
        return synthetic_queries(keys, view.vectors(keys), count, generator)

    return certify(
        found,
        lambda asked, k: neighbors(asked, k, exactly=True),
        scores_of,
        synthetic if queries is None or (exact and callable(queries)) else queries,  # which take a model to make
        target=spec.recall,
        k=spec.k,
        knob=None if exact else knob,
        ladder=() if exact else tuple(ladder),
        proven=exact,
    )
