"""Calibrating a collection: measured by who writes, kept in its settings, told to people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from semsearch.errors import UsageError
from semsearch.search.calibration import FEWEST, LEVELS, TAIL, Calibration, fit, measure

if TYPE_CHECKING:
    from semsearch.searchable import Searchable

JUDGED = 10  # hits of each judged query that the curve of probability is fitted to
SHOWN = {"median": 0.5, "99 %": 0.99, "99.9 %": 1 - TAIL}


def calibrate(collection: Searchable, judgements: Mapping[str, Mapping[str, int]] | None = None) -> Calibration | None:
    """As `Collection.calibrate`."""
    store = collection.store
    with store.read() as view:
        settings = view.snapshot.settings
        encode = None if settings["encoder"] is None else collection.encoder.encode_queries
        calibration = measure(view, collection.metric, store.model, encode)
    if calibration is None:
        return None
    before = Calibration.of(settings)
    if judgements is not None:
        scores, relevant = _judged(collection, judgements)
        slope, intercept = fit(scores, relevant)
        calibration = replace(calibration, slope=slope, intercept=intercept, judged=len(scores))
    elif before is not None:
        calibration = replace(calibration, slope=before.slope, intercept=before.intercept, judged=before.judged)
    store.set("calibration", calibration.as_dict())
    return calibration


def renew_calibration(collection: Searchable) -> None:
    """Calibrate anew if the collection has doubled, or has another model; a reader alone never does."""
    with collection.store.read() as view:
        settings, live = view.snapshot.settings, len(view.snapshot) - view.snapshot.removed
    known = Calibration.of(settings)
    if live >= FEWEST and (known is None or live >= 2 * known.passages):
        calibrate(collection)


def calibration_info(settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """What people are told of it: where random scores lie, and how many judged hits there were."""
    calibration = Calibration.of(settings)
    if calibration is None:
        return None
    quantiles = {name: round(float(np.interp(level, LEVELS, calibration.scores)), 4) for name, level in SHOWN.items()}
    return {"random scores": quantiles, "pairs": calibration.pairs, "judged hits": calibration.judged}


def _judged(collection: Searchable, judgements: Mapping[str, Mapping[str, int]]) -> tuple[list[float], list[bool]]:
    """The dense scores of the best hits of judged queries, and whether each is relevant; without a grade it is not."""
    scores: list[float] = []
    relevant: list[bool] = []
    queries = list(judgements)
    for query, hits in zip(queries, collection.search_many(queries, JUDGED, exact=True), strict=True):
        for hit in hits:
            scores.append(hit.score)
            relevant.append(judgements[query].get(hit.document.id, 0) > 0)
    if not any(relevant) or all(relevant):
        kind = "relevant" if relevant and all(relevant) else "not relevant"
        raise UsageError(
            f"the best hits of the {len(queries)} judged queries are all {kind}: a probability can't be fitted. "
            "Do the judgements belong to this collection?"
        )
    return scores, relevant
