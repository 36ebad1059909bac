"""BM25 over exactly the live passages of one snapshot, and over the documents that they make up.

A passage's score is the mean of its own BM25 and that of its whole document, weighted: what a document says elsewhere
helps to tell what a passage is about. Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond"
(2009), with the idf of Lucene, which is never negative, counted over documents.

A word that a query repeats counts again, one that carries nothing for little (`semsearch.search.term_weights`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from semsearch.local.lexical.postings import Postings
from semsearch.local.store.snapshot import Snapshot
from semsearch.search.term_weights import DOCUMENT_SHARE, K1, TITLE, B
from semsearch.types import Scores

FREQUENT = 0.005  # what a word that a greater share of the rows holds contributes is remembered …
EVERYWHERE = 0.125  # … for all rows, if this share holds it …
REMEMBERED = 1 << 25  # … as long as all of it is less than so many numbers …
WORDS = 4_096  # … and that of a rare word as long as no more than so many are


@dataclass(frozen=True, slots=True)
class BM25:
    """The postings of one snapshot, with what scores need to know of it."""

    parts: list[tuple[int, Postings]]
    live: NDArray[np.bool_] | None  # (n,); None: all rows are
    passages: int
    norms: NDArray[np.float32]  # (n,) K1 · (1 - B + B · length / mean length)
    group: NDArray[np.int64] | None  # (n,) the document of each row, numbered from 0; None: each has one passage
    documents: int
    whole_norms: NDArray[np.float32]  # (documents,) as `norms`, of whole documents
    known: _Remembered

    @classmethod
    def of(cls, snapshot: Snapshot, parts: list[tuple[int, Postings]]) -> BM25:
        """Count and measure the live rows."""
        columns = [part.lengths for _, part in parts]
        lengths = np.concatenate(columns).astype(np.float64) if columns else np.zeros((0, 2))
        live = snapshot.live if snapshot.removed else None
        if live is not None:
            lengths[~live] = 0
        passages = len(snapshot) - snapshot.removed
        norms = _norms(lengths.sum(axis=1), passages)
        begins = np.append(True, snapshot.docs[1:] != snapshot.docs[:-1])[: len(snapshot)]  # side by side: their rows
        if begins.all():
            return cls(parts, live, passages, norms, None, passages, norms, _Remembered())
        group = np.cumsum(begins) - 1
        first = np.flatnonzero(begins)
        titles = _maxima(lengths[:, 0], first)
        sizes = titles + np.add.reduceat(lengths[:, 1], first)
        documents = int(np.count_nonzero(_maxima(snapshot.live, first)))
        return cls(parts, live, passages, norms, group, documents, _norms(sizes, documents), _Remembered())

    def scores(self, words: Mapping[str, float]) -> Scores:
        """The score `(n,)` of every row; 0 where it holds none of `words`, each of which has a weight."""
        scores = np.zeros(len(self.norms), dtype=np.float32)
        whole = np.zeros(len(self.whole_norms), dtype=np.float32)
        for word, weight in words.items():
            shares = self.known.get(word) or self._shares(word)
            _add(scores, shares.rows, shares.own, weight)
            if self.group is not None:
                _add(whole, shares.documents, shares.whole, weight)
        if self.group is not None:
            mixed = np.take(DOCUMENT_SHARE * whole, self.group)
            mixed += (1 - DOCUMENT_SHARE) * scores
            mixed[scores == 0] = 0
            return mixed
        return scores

    def once(self, rows: NDArray[np.intp]) -> Scores:
        """What something adds to the scores of the `rows` that hold it once, and no others do."""
        return _idf(len(rows), self.passages) * _saturated(np.ones(len(rows), dtype=np.float32), self.norms[rows])

    def _shares(self, word: str) -> _Shares:
        """What a word contributes, remembered where it is worth it."""
        rows, titles, texts = self._pairs(word)
        if self.group is None:
            own = _idf(len(rows), self.passages) * _saturated(TITLE * titles + texts, self.norms[rows])
            documents: NDArray[Any] = rows
            whole = own
        else:
            groups = self.group[rows]
            first = np.flatnonzero(np.diff(groups, prepend=-1))
            documents = groups[first]
            # each passage has the title
            counts = TITLE * _maxima(titles, first) + (np.add.reduceat(texts, first) if len(first) else texts)
            idf = _idf(len(documents), self.documents)
            own = idf * _saturated(TITLE * titles + texts, self.norms[rows])
            whole = idf * _saturated(counts, self.whole_norms[documents])
        shares = _Shares(rows, own, documents, whole)
        if len(rows) > EVERYWHERE * len(self.norms):
            shares = _Shares(None, _spread(rows, own, self.norms), None, _spread(documents, whole, self.whole_norms))
        frequent = len(rows) > FREQUENT * len(self.norms)
        if (frequent or len(self.known) < WORDS) and self.known.numbers < REMEMBERED:
            self.known[word] = shares
            self.known.numbers += shares.size()
        return shares

    def _pairs(self, word: str) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
        """The live rows that hold `word`, ascending, and how often in title and text."""
        found = [(first, part, part.of(word)) for first, part in self.parts]
        rows = np.concatenate([part.rows[at] + np.int32(first) for first, part, at in found])
        titles = np.concatenate([part.titles[at] for _, part, at in found]).astype(np.float32)
        texts = np.concatenate([part.texts[at] for _, part, at in found]).astype(np.float32)
        if self.live is not None:
            kept = self.live[rows]
            rows, titles, texts = rows[kept], titles[kept], texts[kept]
        return rows, titles, texts


class _Shares(NamedTuple):
    """What a word adds to the scores of some rows, and of some documents; None where it says something of all."""

    rows: NDArray[Any] | None
    own: Scores
    documents: NDArray[Any] | None
    whole: Scores

    def size(self) -> int:
        """Numbers that it takes."""
        return 2 * (len(self.own) + len(self.whole))


class _Remembered(dict[str, _Shares]):
    """What words contribute that were asked for already."""

    numbers = 0  # that all of it takes


def _spread(places: NDArray[Any], values: Scores, like: Scores) -> Scores:
    every = np.zeros_like(like)
    every[places] = values
    return every


def _add(scores: Scores, places: NDArray[Any] | None, values: Scores, weight: float) -> None:
    if weight != 1:
        values = np.float32(weight) * values
    if places is None:
        scores += values
    else:
        scores[places] += values


def _norms(lengths: NDArray[np.float64], count: int) -> NDArray[np.float32]:
    mean = lengths.sum() / count if count else 1.0
    return (K1 * (1 - B + B * lengths / (mean or 1.0))).astype(np.float32)


def _saturated(counts: NDArray[np.float32], norms: NDArray[np.float32]) -> Scores:
    return counts * np.float32(K1 + 1) / (counts + norms)


def _maxima(values: NDArray[Any], first: NDArray[np.intp]) -> NDArray[Any]:
    """The greatest of each part, where `first` says the parts begin."""
    return np.maximum.reduceat(values, first) if len(first) else values[:0]


def _idf(holding: int, count: int) -> float:
    return float(np.log1p((count - holding + 0.5) / (holding + 0.5)))
