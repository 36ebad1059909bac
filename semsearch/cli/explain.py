"""Explanations as people and programs see them: how a hit was found, and its passage with the words that carried it."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from semsearch.types import Hit, Span

if TYPE_CHECKING:
    from rich.text import Text

_WORD = re.compile(r"\w+(?:['’\-]\w+)*")
STRONG, WEAK = 0.7, 0.45  # of the weightiest word's weight: where a word stands out, and where it is marked
SHOWN_WORDS = 6  # words named on a line


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a hit and what its tokens add to the cosine together."""

    field: str  # "title" or "text"
    span: Span
    text: str
    weight: float


def words_of(hit: Hit) -> list[Word]:
    """The words of title and passage with their weights; tokens outside words are left out."""
    explanation = hit.explanation
    if explanation is None or explanation.parts is None:
        return []
    found = []
    for field, text, start in (("title", hit.title, 0), ("text", hit.text, hit.start)):
        spans = [Span(start + match.start(), start + match.end()) for match in _WORD.finditer(text)]
        owner = {at: number for number, span in enumerate(spans) for at in range(*span)}
        weights: dict[int, float] = defaultdict(float)
        for part in explanation.parts:
            if part.field == field and part.start in owner:
                weights[owner[part.start]] += part.weight
        for number in sorted(weights):
            first, last = spans[number]
            found.append(Word(field, spans[number], text[first - start : last - start], weights[number]))
    return found


def sentence(hit: Hit) -> str:
    """How the hit was found and, in a few words, why."""
    explanation = hit.explanation
    assert explanation is not None
    scores = ", ".join(f"{stage} {score:.4f}" for stage, score in hit.scores.items())
    told = [explanation.way, scores]
    if hit.percentile is not None:
        told.append(f"above {100 * hit.percentile:.6g} % of random pairs")
    if hit.probability is not None:
        told.append(f"relevant with probability {hit.probability:.2f}")
    if explanation.parts is None:
        told.append(explanation.why.rstrip("."))
    else:
        told.append(f"float32 {explanation.cosine:.6f}, stored {explanation.difference or 0:+.6f}")
        heaviest: dict[str, float] = {}  # of a word that comes often, where it weighs most
        for word in sorted(words_of(hit), key=lambda word: -word.weight):
            heaviest.setdefault(word.text.lower(), word.weight)
        told.append(", ".join(f"{text} {weight:.3f}" for text, weight in list(heaviest.items())[:SHOWN_WORDS]))
    return "; ".join(told)


def highlight(text: Text, hit: Hit, field: str, start: int) -> None:
    """Mark in `text`, the characters of the hit's title or document from `start` on, the words that carried it."""
    words = words_of(hit)
    most = max((word.weight for word in words), default=0.0)
    for word in words:
        if word.field == field and word.weight >= WEAK * most > 0:
            style = "bold yellow" if word.weight >= STRONG * most else "yellow"
            text.stylize(style, max(word.span.start - start, 0), word.span.end - start)
