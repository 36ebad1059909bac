"""Passages by their words: candidates by the server's BM25, scored by the formula and the constants of all engines.

The server scores whole documents, with statistics that still count what was removed; scores here are those of
`semsearch.local.lexical.bm25`, over exactly the documents that are there: the server counts them by aggregations, and
the words of candidates are counted in their texts. Candidates are asked for until the best of those that were left out,
by the server's score and by how much more than it says a candidate is worth, can't come among the first `k`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from semsearch.cluster.cluster_connection import ClusterConnection
from semsearch.cluster.cluster_filters import IS_DOCUMENT, DocumentFilter, any_of, terms
from semsearch.cluster.coded_words import coded
from semsearch.cluster.dialects import Clause
from semsearch.cluster.document_store import DOCUMENTS_READ, TEXT_FIELDS, DocumentStore, StoredDocument
from semsearch.engine import Candidates
from semsearch.search.analysis import analysed, asked
from semsearch.search.document_words import Worded, passages_holding
from semsearch.search.languages import Languages
from semsearch.search.query_syntax import Query
from semsearch.search.term_weights import DOCUMENT_SHARE, K1, TITLE, B, weighed
from semsearch.vectors import top_k

MOST_CLAUSES = 1000  # words that the server is asked for; it takes 1,024
FIRST_DEPTH = 100  # candidates
DEEPEST_WORDS = 10_000  # that a server gives at once
SLACK = 1.05  # by how much more than of any candidate seen the ratio of the two scores may be
KEPT_DOCUMENTS = 20_000  # that a view remembers
NO_CANDIDATES = Candidates(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32), ())


class WordTotals(NamedTuple):
    """What scores need to know of a collection."""

    documents: int
    passages: int
    words_of_passages: int
    words_of_whole: int


class _Passage(NamedTuple):
    key: int
    doc: int
    score: float


@dataclass(frozen=True, slots=True)
class _Weights:
    """Of one query: what each word weighs, and what a phrase adds to passages that hold it."""

    words: Mapping[str, float]
    phrases: Mapping[int, float]  # by key


class WordCandidates:
    """The passages of one index by their words; phrases are looked up once a view."""

    def __init__(self, store: DocumentStore, totals: WordTotals, languages: Languages) -> None:
        self._store = store
        self._connection: ClusterConnection = store.connection
        self._totals = totals
        self._languages = languages
        self._held: dict[tuple[str, bool], dict[int, int]] = {}
        self._words: dict[int, Worded] = {}
        self.documents: dict[int, StoredDocument] = {}  # that were read, by number

    def candidates(self, query: Query, k: int, allowed: DocumentFilter, *, grouped: bool) -> Candidates:
        """See `semsearch.engine.EngineView.lexical`."""
        words = Counter(asked(query.text, self._languages))
        if not words or not self._totals.passages:
            return NO_CANDIDATES
        weights = weighed(words, self._languages)
        boosted = self._boosted(query)
        frequencies = self._frequencies(list(words))
        idf = {
            word: weights[word] * _idf(count, self._totals.documents) for word, count in frequencies.items() if count
        }
        if not idf and not boosted:
            return NO_CANDIDATES
        own = _Weights(idf, boosted)
        scored: dict[int, list[_Passage]] = {}
        lacking = [key for key in boosted if allowed.keys is None or key in allowed.keys]
        for stored in self._read_keys(lacking, allowed):
            scored[stored.num] = self._scored(stored, own, allowed)
        depth = max(FIRST_DEPTH, 2 * k)
        while True:
            best, proven = self._deepened(weights, own, depth, k, allowed, grouped, scored)
            if proven or depth >= DEEPEST_WORDS:
                return best
            depth = min(4 * depth, DEEPEST_WORDS)

    def _deepened(
        self,
        weights: Mapping[str, float],
        own: _Weights,
        depth: int,
        k: int,
        allowed: DocumentFilter,
        grouped: bool,
        scored: dict[int, list[_Passage]],
    ) -> tuple[Candidates, bool]:
        """The best among so many candidates, and whether no other can be among them."""
        depth = min(depth, DEEPEST_WORDS)
        if not own.words:
            return _best(scored.values(), k, grouped), True
        chosen = sorted(own.words, key=lambda word: -own.words[word])[:MOST_CLAUSES]
        should = [{"term": {"words": {"value": coded(word), "boost": weights[word]}}} for word in chosen]
        among: list[Clause] = [allowed.clause]
        if allowed.keys is not None:
            among.append(terms("keys", sorted(allowed.keys)))
        body = {
            "size": depth,
            "query": {"bool": {"filter": among, "should": should, "minimum_should_match": 1}},
            "_source": False,
            "docvalue_fields": ["num"],
        }
        (said,) = self._connection.searches(self._store.index, [body], exactly=True)
        hits = said["hits"]["hits"]
        nums = [int(hit["fields"]["num"][0]) for hit in hits]
        for stored in self._of_numbers([num for num in nums if num not in scored]):
            scored[stored.num] = self._scored(stored, own, allowed)
        ratio = 0.0
        for num, hit in zip(nums, hits, strict=True):
            if scored.get(num):  # else it was removed just now
                ratio = max(ratio, max(one.score for one in scored[num]) / max(hit["_score"], 1e-9))
        best = _best(scored.values(), k, grouped)
        if len(hits) < depth:
            return best, True
        return best, len(best.keys) >= k and float(best.scores[-1]) > SLACK * ratio * float(hits[-1]["_score"])

    def _scored(self, stored: StoredDocument, weights: _Weights, allowed: DocumentFilter) -> list[_Passage]:
        """The passages of a document that share a word with a query, or hold a phrase of it."""
        words = self._worded(stored)
        counts = self._totals
        several = counts.passages != counts.documents
        mean = counts.words_of_passages / counts.passages or 1.0
        whole_mean = counts.words_of_whole / max(counts.documents, 1) or 1.0
        whole = 0.0
        if several:
            norm = K1 * (1 - B + B * words.whole_words / whole_mean)
            for word, idf in weights.words.items():
                count = TITLE * words.title[word] + sum(text[word] for _, text in words.passages)
                if count:
                    whole += idf * count * (K1 + 1) / (count + norm)
        found = []
        for (key, text), length in zip(words.passages, words.words, strict=True):
            if allowed.keys is not None and key not in allowed.keys:
                continue
            norm, own = K1 * (1 - B + B * length / mean), 0.0
            for word, idf in weights.words.items():
                count = TITLE * words.title[word] + text[word]
                if count:
                    own += idf * count * (K1 + 1) / (count + norm)
            score = DOCUMENT_SHARE * whole + (1 - DOCUMENT_SHARE) * own if several and own else own
            if key in weights.phrases:
                score += weights.phrases[key] * (K1 + 1) / (1 + norm)
            if score:
                found.append(_Passage(key, stored.num, score))
        return found

    def _worded(self, stored: StoredDocument) -> Worded:
        known = self._words.get(stored.num)
        if known is None:
            text = stored.document.text
            texts = ((key, text[start:end]) for key, start, end in stored.spans)
            known = Worded.of(stored.num, stored.document.title, texts, self._languages)
            self._words[stored.num] = known
        return known

    # Statistics

    def _frequencies(self, words: Sequence[str]) -> dict[str, int]:
        """In how many documents each word is."""
        found: dict[str, int] = {}
        for at in range(0, len(words), MOST_CLAUSES):
            some = words[at : at + MOST_CLAUSES]
            filters = {str(place): {"term": {"words": coded(word)}} for place, word in enumerate(some)}
            body = {"size": 0, "query": IS_DOCUMENT, "aggs": {"own": {"filters": {"filters": filters}}}}
            said = self._connection.search(self._store.index, body)["aggregations"]["own"]["buckets"]
            found |= {word: int(said[str(place)]["doc_count"]) for place, word in enumerate(some)}
        return found

    # Phrases

    def _boosted(self, query: Query) -> dict[int, float]:
        """What the phrases of a query add to passages that hold them: each weighs as a word that so many hold once."""
        boosted: dict[int, float] = {}
        for phrase in query.phrases:
            held = self.holding(phrase, exactly=True)
            for key in held:
                boosted[key] = boosted.get(key, 0.0) + _idf(len(held), self._totals.passages)
        return boosted

    def holding(self, phrase: str, *, exactly: bool) -> dict[int, int]:
        """The passages that hold a phrase in title or text, alone or with those beside them: documents by key.

        `exactly`: its very words, which stems only suggest.
        """
        if (phrase, exactly) not in self._held:
            self._held[phrase, exactly] = self._find(phrase, exactly)
        return self._held[phrase, exactly]

    def clause_of_stems(self, phrase: str) -> Clause | None:
        """What lets documents through that hold a word by its stem; None of a phrase, which takes a look at texts."""
        found = analysed(phrase, self._languages).split()
        return {"term": {"words": coded(found[0])}} if len(found) == 1 else None

    def _find(self, phrase: str, exactly: bool) -> dict[int, int]:
        stems = analysed(phrase, self._languages).split()
        forms = analysed(phrase, self._languages, stemmed=not exactly)
        if not stems:
            return {}
        codes = list(map(coded, stems))
        every = {"bool": {"filter": [{"term": {"words": code}} for code in dict.fromkeys(codes)][:MOST_CLAUSES]}}
        beside = {"match_phrase": {"words": " ".join(codes[:MOST_CLAUSES])}}
        uneven = {"bool": {"filter": [{"term": {"uneven": True}}, every]}}
        query = {"bool": {"filter": [IS_DOCUMENT, any_of([beside, uneven])]}}
        held: dict[int, int] = {}
        for hits in self._connection.pages(self._store.index, query, list(TEXT_FIELDS), page=DOCUMENTS_READ // 4):
            for hit in hits:
                stored = self._kept(hit)
                own = passages_holding(
                    stored.document.title, stored.document.text, stored.spans, forms, self._languages, exactly=exactly
                )
                held |= dict.fromkeys(own, stored.num)
        return held

    # Documents

    def _kept(self, hit: Any) -> StoredDocument:
        stored = StoredDocument.of(hit["_source"])
        if len(self.documents) < KEPT_DOCUMENTS:
            self.documents[stored.num] = stored
        return stored

    def _of_numbers(self, nums: Sequence[int]) -> Iterator[StoredDocument]:
        """Documents by their numbers, each read once a view."""
        yield from [self.documents[num] for num in nums if num in self.documents]
        lacking = [num for num in nums if num not in self.documents]
        for at in range(0, len(lacking), DOCUMENTS_READ):
            query = {"bool": {"filter": [IS_DOCUMENT, terms("num", lacking[at : at + DOCUMENTS_READ])]}}
            body = {"size": DOCUMENTS_READ, "query": query, "_source": list(TEXT_FIELDS)}
            for hit in self._connection.search(self._store.index, body)["hits"]["hits"]:
                yield self._kept(hit)

    def _read_keys(self, keys: Sequence[int], allowed: DocumentFilter) -> Iterator[StoredDocument]:
        for at in range(0, len(keys), DOCUMENTS_READ):
            query = {"bool": {"filter": [allowed.clause, terms("keys", keys[at : at + DOCUMENTS_READ])]}}
            body = {"size": DOCUMENTS_READ, "query": query, "_source": list(TEXT_FIELDS)}
            for hit in self._connection.search(self._store.index, body)["hits"]["hits"]:
                yield self._kept(hit)


def _best(scored: Any, k: int, grouped: bool) -> Candidates:
    passages = [one for own in scored for one in own]
    if not passages:
        return NO_CANDIDATES
    keys = np.array([one.key for one in passages], dtype=np.int64)
    docs = np.array([one.doc for one in passages], dtype=np.int64)
    scores = np.array([one.score for one in passages], dtype=np.float32)
    order = top_k(keys, scores, len(keys) if grouped else k)
    if grouped:
        _, first = np.unique(docs[order], return_index=True)
        order = order[np.sort(first)[:k]]
    return Candidates(keys[order], docs[order], scores[order], [("lexical",)] * len(order))


def _idf(holding: int, count: int) -> float:
    return math.log1p((count - holding + 0.5) / (holding + 0.5))
