"""The words of a document's passages, counted as BM25 needs them, and which of the passages hold a phrase."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from semsearch.search.analysis import analysed, holds, places_of_phrase
from semsearch.search.languages import Languages


class CountedWords(NamedTuple):
    """How often a document has its words: in its title, and in each passage. Counting takes longest of all writing."""

    title: Counter[str]
    passages: Sequence[Counter[str]]

    @classmethod
    def of(cls, title: str, texts: Iterable[str], languages: Languages) -> CountedWords:
        """The words of a title and of the text of each passage."""
        own = Counter(analysed(title, languages).split()) if title else Counter[str]()
        return cls(own, [Counter(analysed(text, languages).split()) for text in texts])

    def keyed(self, doc: int, keys: Iterable[int]) -> Worded:
        """With the document's number and the keys of its passages."""
        return Worded(doc, self.title, list(zip(keys, self.passages, strict=True)))


class Worded(NamedTuple):
    """The words of a document: those of its title, and those of each passage, by its key."""

    doc: int
    title: Counter[str]
    passages: Sequence[tuple[int, Counter[str]]]

    @classmethod
    def of(cls, doc: int, title: str, texts: Iterable[tuple[int, str]], languages: Languages) -> Worded:
        """The words of a title and of the text of each passage, by its key."""
        keyed = list(texts)
        return CountedWords.of(title, (text for _, text in keyed), languages).keyed(doc, (key for key, _ in keyed))

    @property
    def words(self) -> list[int]:
        """How many each passage has, with those of the title."""
        title = self.title.total()
        return [title + text.total() for _, text in self.passages]

    @property
    def whole_words(self) -> int:
        """How many the document has, its title once."""
        return self.title.total() + sum(text.total() for _, text in self.passages)


def passages_holding(
    title: str,
    text: str,
    passages: Sequence[tuple[int, int, int]],
    forms: str,
    languages: Languages,
    *,
    exactly: bool,
) -> list[int]:
    """The keys of the passages of a document that hold a phrase in title or text, alone or with those beside them.

    Args:
        title: Of the document.
        text: Of the document, whole.
        passages: Key, start and end of each.
        forms: The phrase as `analysed` gives it, without stems where `exactly`.
        languages: Of the collection.
        exactly: Its very words, which stems only suggest.
    """

    def within(some: str) -> bool:
        return holds(analysed(some, languages, stemmed=not exactly), forms)

    if within(title):
        return [key for key, _, _ in passages]
    found = {key for key, start, end in passages if within(text[start:end])}
    if len(passages) > 1:
        for first, last in places_of_phrase(text, forms, languages, stemmed=not exactly):
            found.update(key for key, start, end in passages if start < last and first < end)
    return sorted(found)
