"""What a choice is worth where it was not made: on each collection, what was best on all the others.

Cross-validation over collections instead of queries: queries of one collection are alike, and what is chosen on some
of them mostly holds for the rest, but says little of a collection that nobody has seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from semsearch.errors import UsageError
from semsearch.evaluation.metrics import Values


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A collection that had no part in a choice.

    Attributes:
        name: The collection.
        chosen: What was best on the others.
        values: `(q,)` What that is worth here, by query.
        best: What would have been best here, in hindsight.
    """

    name: str
    chosen: str
    values: Values
    best: str


def leave_one_out(figures: Mapping[str, Mapping[str, Values]]) -> list[LeftOut]:
    """Each collection with what is best in the mean over the others, all of which count alike.

    Args:
        figures: For each collection, for each of the same choices the values `(q,)` of a measure by query. Of equally
            good choices the first is taken.

    Raises:
        UsageError: There are fewer than two collections.
    """
    if len(figures) < 2:
        raise UsageError("to leave one collection out takes two at least.")
    means = {name: {choice: float(values.mean()) for choice, values in own.items()} for name, own in figures.items()}
    choices = list(next(iter(means.values())))
    found = []
    for name, own in figures.items():

        def elsewhere(choice: str, left_out: str = name) -> float:
            return sum(one[choice] for other, one in means.items() if other != left_out)

        chosen = max(choices, key=elsewhere)
        found.append(LeftOut(name, chosen, own[chosen], max(choices, key=means[name].__getitem__)))
    return found
