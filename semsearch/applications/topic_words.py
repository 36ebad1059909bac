"""The words that tell a topic from the others: class-based tf-idf over the words by which the collection is searched.

Of a topic t and a term w, with d(w, t) the documents of t that have it and f(w) all that have it,

    √d(w, t) · d(w, t) / Σ d(·, t) · log(1 + A / f(w)),    A the mean of Σ d(·, t) over the topics,

which is the c-TF-IDF of Grootendorst ("BERTopic", 2022), counted in documents, so that none counts for its length or
for repeating itself, times the root of this number: else rare words that a document or two have, and that never come
together, stand among the first of a small topic (the coherence of 100 topics of 3,335 questions of banking77 rises from
−0.206 to −0.166, of 40 topics of CISI from 0.142 to 0.148). Only words count that the topic's documents have at least
twice as often as all others: this leaves out what a language is built with, whichever it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from semsearch.controls import one_line
from semsearch.search.analysis import Term, analyse, analysed, asked
from semsearch.search.function_words import ENGLISH
from semsearch.search.languages import Languages

MOST_COUNTS = 2_000_000  # of a term in a topic: some 200 MB
OFTENER = 2.0  # than in the other documents a topic's have a word
WORDS_OF_TOPIC = 10
AS_OFTEN = 0.7  # numbers of texts that have two terms of one word: the smaller over the greater
CANDIDATES = 4  # terms for each word: where no blanks part words, several terms are of one
# what the analysis leaves of "didn't" and its like beside the t
CONTRACTED = "ain aren couldn didn doesn don hadn hasn haven isn mightn mustn needn shan shouldn wasn weren won wouldn"
WORD_CHARACTERS = 40  # of a word that is shown


class TopicWord(NamedTuple):
    """A word as it is mostly written in a topic, and the weight of its best term."""

    text: str
    weight: float


class TopicTerms:
    """How many documents of each topic have which term.

    Where there come to be too many counts, the smallest are forgotten: then those of a topic may be too low, by at most
    the sum of what was forgotten (as in lossy counting; Manku and Motwani, "Approximate frequency counts over data
    streams", 2002).

    Args:
        topics: How many.
        languages: Of the collection.
        most: Counts that are kept.
    """

    def __init__(self, topics: int, languages: Languages, most: int = MOST_COUNTS) -> None:
        self.languages = languages
        self.forgotten = 0
        self._counts = [Counter[str]() for _ in range(topics)]
        self._others = Counter[str]()  # of documents in no topic
        self._sizes = np.zeros(topics + 1, dtype=np.int64)  # documents; of those in none last
        self._sums = np.zeros(topics, dtype=np.int64)
        self._most, self._kept = most, 0

    def add(self, topic: int, text: str) -> None:
        """Count a document of a topic; -1: of none."""
        terms = set(asked(text, self.languages))
        counts = self._others if topic < 0 else self._counts[topic]
        before = len(counts)
        counts.update(terms)
        self._kept += len(counts) - before
        self._sizes[topic] += 1
        if topic >= 0:
            self._sums[topic] += len(terms)
        if self._kept > self._most:
            self._forget()

    def _forget(self) -> None:
        while self._kept > self._most // 2:
            self.forgotten += 1
            for counts in (*self._counts, self._others):
                for term in [term for term, count in counts.items() if count <= self.forgotten]:
                    del counts[term]
            self._kept = len(self._others) + sum(map(len, self._counts))

    def best(self, count: int) -> list[list[tuple[str, float]]]:
        """Of each topic the `count` terms that tell it best from the others, with their weights, the best first."""
        everywhere = Counter(self._others)
        for counts in self._counts:
            everywhere.update(counts)
        documents = int(self._sizes.sum())
        mean = float(self._sums.mean()) if len(self._sums) else 0.0
        small = _function_terms(self.languages)
        found = []
        for topic, counts in enumerate(self._counts):
            others = documents - int(self._sizes[topic])
            weights = {
                term: own**1.5 / int(self._sums[topic]) * float(np.log1p(mean / everywhere[term]))
                for term, own in counts.items()
            }
            telling = {
                term
                for term, own in counts.items()
                if term not in small and own * others >= OFTENER * (everywhere[term] - own) * int(self._sizes[topic])
            }
            order = sorted(telling or weights.keys() - small or weights, key=lambda term: (-weights[term], term))
            found.append([(term, weights[term]) for term in order[:count]])
        return found


@cache
def _function_terms(languages: Languages) -> frozenset[str]:
    return frozenset(analysed(" ".join([*sorted(ENGLISH), CONTRACTED]), languages).split())


def written(terms: list[tuple[str, float]], texts: Sequence[str], languages: Languages) -> list[TopicWord]:
    """Words for the best terms of a topic, each as it is mostly written in `texts`.

    Where no blanks part words, terms that overlap, and that about as many texts have, are one word: 机器, 器学 and 学习
    stand for 机器学习.
    """
    weights = dict(terms)
    had = Counter(term for text in texts for term in weights.keys() & set(asked(text, languages)))
    forms: dict[str, Counter[str]] = {term: Counter() for term in weights}
    for text in texts:
        for form, own in _stretches(text, had, languages):
            for term in own:
                forms[term][form] += 1
    words: dict[str, TopicWord] = {}
    for term, weight in terms:
        counts = forms[term]
        form = min(counts, key=lambda one: (-counts[one], -len(one), one)) if counts else term
        form = form if len(form) <= WORD_CHARACTERS else form[: WORD_CHARACTERS - 1] + "…"
        words.setdefault(form.casefold(), TopicWord(form, weight))
    return list(words.values())[:WORDS_OF_TOPIC]


def _stretches(text: str, had: Mapping[str, int], languages: Languages) -> Iterator[tuple[str, list[str]]]:
    """What stands where terms overlap that about as many texts have, with these terms; `had` says how many."""
    stretch: list[Term] = []
    for term in analyse(text, languages):
        if term.text not in had:
            continue
        if stretch and not (term.start < stretch[-1].end and _alike(had[term.text], had[stretch[-1].text])):
            yield one_line(text[stretch[0].start : stretch[-1].end]), [one.text for one in stretch]
            stretch = []
        stretch.append(term)
    if stretch:
        yield one_line(text[stretch[0].start : stretch[-1].end]), [one.text for one in stretch]


def _alike(one: int, other: int) -> bool:
    return min(one, other) >= AS_OFTEN * max(one, other)
