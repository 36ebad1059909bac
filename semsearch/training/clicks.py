"""Judgements from what people clicked: a log of questions, what was shown for them, and what of it was opened.

Somebody who clicks the third answer has seen the first two and passed them by ("skip above"; Joachims et al., 2005), so
these count against it, and what stands below the last click counts for nothing: it may not have been seen. A click low
in the list says more than one at the top, which is clicked for where it stands: it counts by the inverse of how often
that rank is looked at, 1/log2(1 + rank) (inverse propensity; Joachims, Swaminathan and Schnabel, 2017), up to
`MOST_WEIGHT`. The same question asked again is the same question, and no document answers more than its share of
them, since what is clicked for everything says nothing about anything.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from semsearch.applications.wording import folded
from semsearch.arguments import kind_of
from semsearch.errors import DataError
from semsearch.reading.files import CorpusFile, StrictReport, open_input
from semsearch.reading.json_objects import read_objects
from semsearch.training.corpus import TrainingCorpus
from semsearch.training.training_questions import Graded, TrainingQuestions

MOST_WEIGHT = 4.0  # of a click, in those at the top
MOST_OF_DOCUMENT = 0.05  # of the questions that one document answers …
LEAST_OF_DOCUMENT = 5  # … or so many


def read_clicks(path: Path, corpus: TrainingCorpus) -> TrainingQuestions:
    """Questions with the documents that were clicked for them.

    Args:
        path: JSON lines of `query`, `shown` (ids in their order) and `clicked` (ids).
        corpus: Other documents are left out and counted.

    Raises:
        DataError: A line is no entry of such a log, or nothing in it was clicked that the collection has.
    """
    texts: dict[str, str] = {}
    clicks: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    passed: dict[str, Counter[str]] = defaultdict(Counter)
    strange = 0
    with open_input(CorpusFile(path, "")) as data:
        for where, _, record in read_objects(data, StrictReport()):
            query, shown, clicked = _entry(record, where)
            question = folded("", query)
            texts.setdefault(question, query)
            last = max((place for place, one in enumerate(shown) if one in clicked), default=-1)
            for place, document in enumerate(shown[: last + 1]):
                if document not in corpus.place:
                    strange += document in clicked
                elif document in clicked:
                    clicks[question][document] += min(math.log2(2 + place), MOST_WEIGHT)
                    seen[question][document] += 1
                else:
                    passed[question][document] += 1
    grades: Graded = {}
    weights: dict[tuple[str, str], float] = {}
    for question, found in clicks.items():
        liked = {document for document in found if seen[question][document] > passed[question][document]}
        if liked:
            grades[question] = {document: int(document in liked) for document in [*found, *passed[question]]}
            weights |= {(question, one): found[one] / seen[question][one] for one in liked}
    said = (
        [f"{strange:,} clicks are on documents that the collection does not have, and are left out."] if strange else []
    )
    said += _capped(grades, weights)
    if not grades:
        raise DataError(
            f"{path} holds no question that clicks tell something about: none was clicked that the collection has and "
            "that was not passed by as often, or one document was clicked for everything."
        )
    numbered = {question: f"click-{place}" for place, question in enumerate(grades)}
    return TrainingQuestions(
        {numbered[question]: texts[question] for question in grades},
        {numbered[question]: own for question, own in grades.items()},
        {(numbered[question], one): weight for (question, one), weight in weights.items() if question in grades},
        said,
    )


def _capped(grades: Graded, weights: dict[tuple[str, str], float]) -> list[str]:
    """Take a document out of the answers of all questions where it is clicked for too many of them."""
    counts = Counter(document for own in grades.values() for document, grade in own.items() if grade > 0)
    most = max(LEAST_OF_DOCUMENT, MOST_OF_DOCUMENT * len(grades))
    swamping = {document for document, count in counts.items() if count > most}
    for question in list(grades):
        own = {one: grade for one, grade in grades[question].items() if one not in swamping}
        if any(grade > 0 for grade in own.values()):
            grades[question] = own
        else:
            del grades[question]
    for pair in [pair for pair in weights if pair[1] in swamping]:
        del weights[pair]
    if not swamping:
        return []
    return [
        f"{len(swamping):,} documents were clicked for more than {MOST_OF_DOCUMENT:.0%} of the questions "
        f"({', '.join(repr(one)[:40] for one in sorted(swamping)[:3])}) and tell nothing: they are left out."
    ]


def _entry(record: dict[str, Any], where: str) -> tuple[str, list[str], set[str]]:
    query, shown, clicked = (record.get(name) for name in ("query", "shown", "clicked"))
    if not isinstance(query, str) or not query.strip():
        raise DataError(f"{where}: 'query' must be a text, and is {kind_of(query)}.")
    for name, ids in (("shown", shown), ("clicked", clicked)):
        if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
            raise DataError(f"{where}: '{name}' must be a list of ids, and is {kind_of(ids)}.")
    assert isinstance(shown, list)
    assert isinstance(clicked, list)
    if unseen := set(clicked) - set(shown):
        raise DataError(f"{where}: {sorted(unseen)[0]!r:.80} was clicked and is not among what was shown.")
    return query, list(dict.fromkeys(shown)), set(clicked)
