"""Explanations as people and programs see them: how a hit was found, and its passage with the words that carried it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from semsearch.types import Hit, Part, Span

if TYPE_CHECKING:
    from rich.text import Text

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
        owner = {start + at: word for word in _shown_words(text) for at in range(word.start, word.end)}
        weights: dict[Span, float] = defaultdict(float)
        for part in explanation.parts:
            if part.field == field and (word := owner.get(part.start)) is not None:
                own = Span(start + word.start, start + word.end) if word.whole else Span(part.start, part.end)
                weights[own] += part.weight
        for span in sorted(weights):
            found.append(Word(field, span, text[span.start - start : span.end - start], weights[span]))
    return found


class _Shown(NamedTuple):
    start: int
    end: int
    whole: bool  # else a run of letters without blanks, in which each token of the model's stands for itself


def _shown_words(text: str) -> Iterator[_Shown]:
    """The words of a text as people read them: "don't" and "state-of-the-art" are one."""
    from semsearch.search.analysis import words

    last: _Shown | None = None
    for word in map(_Shown._make, words(text)):
        if last is not None and last.whole and word.whole and text[last.end : word.start] in ("'", "’", "-", "_"):
            last = _Shown(last.start, word.end, True)
            continue
        if last is not None:
            yield last
        last = word
    if last is not None:
        yield last


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
    if explanation.terms:
        told.append(", ".join(f"{term} {weight:.3f}" for term, weight in explanation.terms[:SHOWN_WORDS]))
    if explanation.pairs:
        told.append(", ".join(_pairs(hit, explanation.pairs)))
    if explanation.parts is None:
        told.append(explanation.why.rstrip("."))
    else:
        told.append(f"float32 {explanation.cosine:.6f}, stored {explanation.difference or 0:+.6f}")
        heaviest: dict[str, float] = {}  # of a word that comes often, where it weighs most
        for word in sorted(words_of(hit), key=lambda word: -word.weight):
            heaviest.setdefault(word.text.lower(), word.weight)
        told.append(", ".join(f"{text} {weight:.3f}" for text, weight in list(heaviest.items())[:SHOWN_WORDS]))
    return "; ".join(told)


def _pairs(hit: Hit, pairs: Sequence[tuple[str, Part]]) -> Iterator[str]:
    """The likest pairs of words, as `vaccine ~ vaccines .91`."""
    shown = 0
    for asked, part in pairs:
        if asked and part.field != "special" and shown < SHOWN_WORDS:
            shown += 1
            there = (
                hit.title[part.start : part.end]
                if part.field == "title"
                else hit.text[part.start - hit.start : part.end - hit.start]
            )
            yield f"{asked} ~ {there} {part.weight:.3f}"


def highlight(text: Text, hit: Hit, field: str, start: int) -> None:
    """Mark in `text`, the characters of the hit's title or document from `start` on, the words that carried it."""
    found = words_of(hit)
    most = max((word.weight for word in found), default=0.0)
    for word in found:
        if word.field == field and word.weight >= WEAK * most > 0:
            style = "bold yellow" if word.weight >= STRONG * most else "yellow"
            text.stylize(style, max(word.span.start - start, 0), word.span.end - start)
