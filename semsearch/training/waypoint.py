"""The moments of a run that are asked: after which pass, and how far on the way from the model of before.

A model between two others often keeps what the one knew and has most of what the other learnt ("WiSE-FT"; Wortsman et
al., 2022, "Robust fine-tuning of zero-shot models").
"""

from __future__ import annotations

from collections.abc import Mapping

Waypoint = tuple[int, float]  # a pass, and the share of what was learnt by then
BASE: Waypoint = (0, 1.0)  # nothing was


def best_of(measured: Mapping[Waypoint, float]) -> Waypoint:
    """The best by its measure; of equals the first."""
    return max(measured, key=lambda one: measured[one])


def best_of_trained(measured: Mapping[Waypoint, float]) -> Waypoint | None:
    """The best that learnt something, if any did."""
    trained = {one: score for one, score in measured.items() if one[0]}
    return best_of(trained) if trained else None


def best_by_pass(measured: Mapping[Waypoint, float]) -> list[float]:
    """The measure of each pass at its best share, from before the first."""
    found: dict[int, float] = {}
    for (epoch, _), score in measured.items():
        found[epoch] = max(score, found.get(epoch, 0.0))
    return [found[epoch] for epoch in sorted(found)]
