"""Passages by their words: candidates by the server's BM25, scored by the formula and the constants of all engines.

The server scores whole documents, with statistics that still count what was removed; scores here are those of
`semsearch.local.lexical.bm25`, over exactly the documents that are there: the server counts them by aggregations, and
the words of candidates are counted in their codes. Candidates are asked for, best first, until what the best of those
that were left out can be worth (`semsearch.cluster.word_bounds`) is less than the last of the first `k`. The first page
comes with the counts, before it is known what words weigh; mostly it proves itself the last.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from semsearch.cluster.cluster_connection import ClusterConnection, columns
from semsearch.cluster.cluster_filters import IS_DOCUMENT, DocumentFilter, any_of, terms
from semsearch.cluster.coded_words import CodedPassages, coded, unpacked_codes
from semsearch.cluster.dialects import Clause
from semsearch.cluster.document_frequencies import DocumentFrequencies
from semsearch.cluster.document_store import DOCUMENTS_READ, TEXT_FIELDS, DocumentStore, StoredDocument
from semsearch.cluster.index_totals import IndexTotals
from semsearch.cluster.word_bounds import (
    ROUNDED,
    ServerStatistics,
    ShapeLevel,
    WordTotals,
    idf,
    norm,
)
from semsearch.engine import Candidates
from semsearch.errors import CollectionDamaged
from semsearch.search.analysis import analysed, asked
from semsearch.search.document_words import passages_holding
from semsearch.search.languages import Languages
from semsearch.search.query_syntax import Query
from semsearch.search.term_weights import DOCUMENT_SHARE, K1, TITLE, weighed
from semsearch.vectors import top_k

MOST_CLAUSES = 1000  # words that the server is asked for; it takes 1,024
MOST_ALONE = 32  # words that the server is asked about one by one, which it knows at once, or remembers
LEAST_PAGE = 32  # candidates that are asked for at once: mostly they prove the first ten
TEXTS_ALONG = 2 * LEAST_PAGE  # candidates whose texts may come with their words
DEEPEST_WORDS = 20_000  # candidates, after which the best of them are taken for the best
KEPT_DOCUMENTS = 20_000  # that a view remembers
NO_CANDIDATES = Candidates(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32), ())
WORD_FIELDS: Clause = columns("kind", "num", "first", "codes")
WITH_TEXTS: Clause = {"stored_fields": [], "_source": list(TEXT_FIELDS)}
DOCUMENT_KIND = ["doc"]
_UNPARTED = ShapeLevel(None, float("inf"))


class _Passage(NamedTuple):
    key: int
    doc: int
    score: float


class _Coded(NamedTuple):
    """A document that was read for its words."""

    num: int
    first: int  # of its keys
    words: CodedPassages

    @classmethod
    def of(cls, hit: Any) -> _Coded:
        found = hit.get("fields", {})
        if "codes" not in found:
            raise _wordless()
        return cls(int(found["num"][0]), int(found["first"][0]), CodedPassages.of(unpacked_codes(found["codes"][0])))


@dataclass(frozen=True, slots=True)
class _Weights:
    """Of one query.

    Attributes:
        words: What each code of a word that is there weighs.
        boosts: By which the server is asked for it.
        phrases: What a phrase adds to passages that hold it, by key.
    """

    words: Mapping[str, float]
    boosts: Mapping[str, float]
    phrases: Mapping[int, float]

    @property
    def asked(self) -> list[str]:
        """The codes that the server is asked for, of more than it takes those that weigh most."""
        return sorted(self.words, key=lambda code: -self.words[code])[:MOST_CLAUSES]

    def most_boosted(self, weights: Mapping[str, float]) -> float:
        """How much more than by `weights` alone, as what was removed counts, a document may be worth with boosts."""
        return max(self.boosts[code] / weights[code] for code in self.words)

    @property
    def left_out(self) -> float:
        """What the others add to a score at most."""
        asked_for = set(self.asked)
        return (K1 + 1) * sum(weight for code, weight in self.words.items() if code not in asked_for)


@dataclass(slots=True)
class _Walk:
    """The candidates of one level, best first, as far as they were asked for."""

    level: ShapeLevel
    size: int
    least: float = float("inf")  # what the server gives those that were not asked for, at most; 0: there are none
    after: list[Any] | None = field(default=None)


class WordCandidates:
    """The passages of one index by their words; phrases are looked up once a view."""

    def __init__(
        self,
        store: DocumentStore,
        counted: IndexTotals,
        languages: Languages,
        counts: DocumentFrequencies,
        *,
        texts: bool = False,
    ) -> None:
        """`texts`: whether those of documents are short, so that they may come with first candidates.

        `counts`: what other views were told already.
        """
        self._store = store
        self._texts = texts
        self._light = store.connection.dialect.light_sources
        self._connection: ClusterConnection = store.connection
        self._counted = counted
        self._frequencies = counts
        self._languages = languages
        self._held: dict[tuple[str, bool], dict[int, int]] = {}
        self._copies = secrets.token_hex(8)
        self.documents: dict[int, StoredDocument] = {}  # that were read, by number
        self.sources: dict[int, Mapping[str, Any]] = {}  # of documents whose texts came along, by key

    @property
    def _totals(self) -> WordTotals:
        return self._counted.words

    def candidates(self, query: Query, k: int, allowed: DocumentFilter, *, grouped: bool) -> Candidates:
        """See `semsearch.engine.EngineView.lexical`."""
        words = Counter(asked(query.text, self._languages))
        if not words:
            return NO_CANDIDATES
        weights = {coded(word): weight for word, weight in weighed(words, self._languages).items()}
        boosted = self._boosted(query)
        begun = _Walk(_UNPARTED, max(LEAST_PAGE, k + k // 4))
        page, texts = self._body(begun, weights, allowed), list[Clause]()
        if self._texts and begun.size <= TEXTS_ALONG and self._light:
            page |= WITH_TEXTS
        elif self._texts and begun.size <= TEXTS_ALONG:  # of those alone that are mostly the first in the end
            texts.append({**page, **WITH_TEXTS, "docvalue_fields": ["kind"], "size": k + k // 2})
        own, served, hits = self._weighed(weights, boosted, page, texts)
        if not self._totals.passages:
            return NO_CANDIDATES
        if not self._counted.shapes:
            raise _wordless()
        if not own.words and not boosted:
            return NO_CANDIDATES
        scored: dict[int, list[_Passage]] = {}
        lacking = [key for key in boosted if allowed.keys is None or key in allowed.keys]
        for document in self._read_keys(lacking, allowed):
            scored[document.num] = self._scored(document, own, allowed)
        if not own.words:
            return _best(scored.values(), k, grouped)
        mean = served.mean if served is not None else self._totals.mean_whole
        levels = ShapeLevel.of(self._counted.shapes, self._totals, mean)
        factor = (K1 + 1) / served.factor * ROUNDED if served is not None else float("inf")
        self._read(begun, hits, own, allowed, scored)
        best = _best(scored.values(), k, grouped)
        worth = factor * max(level.excess for level in levels) * own.most_boosted(weights) * begun.least
        if len(weights) <= MOST_CLAUSES and (begun.least == 0 or (len(best.keys) >= k and worth < best.scores[-1])):
            return best
        walks = [_Walk(level, begun.size) for level in levels]
        asked_for = 0
        while True:
            asked_for += self._go_on(walks, own, allowed, scored)
            best = _best(scored.values(), k, grouped)
            least = float(best.scores[-1]) if len(best.keys) >= k else 0.0
            walks = [
                walk for walk in walks if walk.least and factor * walk.level.excess * walk.least + own.left_out >= least
            ]
            if not walks or asked_for >= DEEPEST_WORDS:
                return best

    def _go_on(
        self, walks: Sequence[_Walk], own: _Weights, allowed: DocumentFilter, scored: dict[int, list[_Passage]]
    ) -> int:
        """Ask for the next candidates of each level and score them; how many there were."""
        bodies = [self._body(walk, {code: own.boosts[code] for code in own.asked}, allowed) for walk in walks]
        said = self._connection.searches(self._store.index, bodies, copies=self._copies)
        found = [answer["hits"]["hits"] for answer in said]
        for walk, hits in zip(walks, found, strict=True):
            self._read(walk, hits, own, allowed, scored)
        return sum(map(len, found))

    def _read(
        self,
        walk: _Walk,
        hits: Sequence[Any],
        own: _Weights,
        allowed: DocumentFilter,
        scored: dict[int, list[_Passage]],
    ) -> None:
        """Score the candidates of a request."""
        for hit in hits:
            if hit.get("fields", {}).get("kind") != DOCUMENT_KIND:  # somebody else's
                continue
            document = _Coded.of(hit)
            self._keep_text(hit)
            if document.num not in scored:
                scored[document.num] = self._scored(document, own, allowed)
        walk.least = float(hits[-1]["sort"][0]) if len(hits) == walk.size else 0.0
        walk.after = hits[-1]["sort"] if hits else None
        walk.size = min(2 * walk.size, DOCUMENTS_READ * 4)

    def _keep_text(self, hit: Any) -> None:
        if "_source" in hit and len(self.sources) < KEPT_DOCUMENTS:
            self.sources |= dict.fromkeys(hit["_source"]["keys"], hit["_source"])

    def _body(self, walk: _Walk, boosts: Mapping[str, float], allowed: DocumentFilter) -> Clause:
        some = list(boosts.items())[:MOST_CLAUSES]
        should = [{"term": {"words": {"value": code, "boost": boost}}} for code, boost in some]
        # nothing but documents has words: to be told so again would take most of the server's time
        among: list[Clause] = [allowed.clause] if allowed.clauses else []
        if walk.level.clause is not None:
            among.append(walk.level.clause)
        if allowed.keys is not None:
            among.append(terms("keys", sorted(allowed.keys)))
        filtered = {"filter": among} if among else {}
        body: Clause = {
            "size": walk.size,
            "query": {"bool": {**filtered, "should": should, "minimum_should_match": 1}},
            "sort": [{"_score": "desc"}, {"num": "asc"}],
            "track_total_hits": False,
            **WORD_FIELDS,
        }
        return body if walk.after is None else {**body, "search_after": walk.after}

    def _scored(self, document: _Coded, weights: _Weights, allowed: DocumentFilter) -> list[_Passage]:
        """The passages of a document that share a word with a query, or hold a phrase of it."""
        totals, (title, passages) = self._totals, document.words
        several = totals.passages != totals.documents
        there = set(title).union(*passages)
        counts = [
            (weight, TITLE * title.count(code), [passage.count(code) for passage in passages])
            for code, weight in weights.words.items()
            if code in there
        ]
        whole = 0.0
        if several:
            held_back = norm(len(title) + sum(map(len, passages)), totals.mean_whole)
            for weight, of_title, of_passages in counts:
                count = of_title + sum(of_passages)
                whole += weight * count * (K1 + 1) / (count + held_back)
        found = []
        for place, passage in enumerate(passages):
            key = document.first + place
            if allowed.keys is not None and key not in allowed.keys:
                continue
            held_back, own = norm(len(title) + len(passage), totals.mean_passage), 0.0
            for weight, of_title, of_passages in counts:
                if count := of_title + of_passages[place]:
                    own += weight * count * (K1 + 1) / (count + held_back)
            score = DOCUMENT_SHARE * whole + (1 - DOCUMENT_SHARE) * own if several and own else own
            if key in weights.phrases:
                score += weights.phrases[key] * (K1 + 1) / (1 + held_back)
            if score:
                found.append(_Passage(key, document.num, score))
        return found

    # Statistics

    def _weighed(
        self, weights: Mapping[str, float], phrases: Mapping[int, float], page: Clause, texts: Sequence[Clause]
    ) -> tuple[_Weights, ServerStatistics | None, list[Any]]:
        """What the words of a query weigh, what the server counts of them, and the hits of a first page.

        What `texts` find is remembered.
        """
        seen, known = self._frequencies.latest
        before = self._counted.read
        if before and seen != self._counted.state:
            known = {}
        lacking = [code for code in weights if code not in known]
        own = _counting(lacking)
        first, told, *said = self._counted.searches(
            [page, _explained(list(weights)[:MOST_CLAUSES]), *own, *texts], copies=self._copies
        )
        counts = _counts(lacking, said[: len(own)])
        for hit in (hit for one in said[len(own) :] for hit in one["hits"]["hits"]):
            if hit.get("fields", {}).get("kind") == DOCUMENT_KIND:
                self._keep_text(hit)
        documents, state = self._totals.documents, self._counted.state
        there = [code for code in weights if code in known]
        if there and seen != state:  # it was told of a state that is gone
            said = self._connection.searches(self._store.index, _counting(there), copies=self._copies)
            counts |= _counts(there, said)
        if not before:  # else what came since, and may be gone again, counts too, and the state is as it was
            self._frequencies.learn(state, counts)
        counts = {code: counts[code] if code in counts else known[code] for code in weights}
        live = {code: count for code, count in counts.items() if count}
        words = {code: weights[code] * idf(count, documents) for code, count in live.items()}
        served = ServerStatistics.of(told["hits"]["hits"])
        worded = self._counted.worded
        if served is not None and served.documents != worded:  # what was removed counts, too: in each word, how much?
            untold = sorted(live.keys() - served.holding.keys(), key=lambda code: -words[code])[:MOST_ALONE]
            explained = [_explained([code]) for code in untold]
            said = self._connection.searches(self._store.index, explained, copies=self._copies)
            more = ServerStatistics.of([hit for one in said for hit in one["hits"]["hits"]])
            served.holding.update({} if more is None else more.holding)
        boosts = dict(words)
        if served is not None:
            boosts = {code: words[code] / served.idf(code, count, worded) for code, count in live.items()}
        return _Weights(words, boosts, phrases), served, list(first["hits"]["hits"])

    # Phrases

    def _boosted(self, query: Query) -> dict[int, float]:
        """What the phrases of a query add to passages that hold them: each weighs as a word that so many hold once."""
        boosted: dict[int, float] = {}
        for phrase in query.phrases:
            held = self.holding(phrase, exactly=True)
            for key in held:
                boosted[key] = boosted.get(key, 0.0) + idf(len(held), self._totals.passages)
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

    def _read_keys(self, keys: Sequence[int], allowed: DocumentFilter) -> Iterator[_Coded]:
        for at in range(0, len(keys), DOCUMENTS_READ):
            query = {"bool": {"filter": [allowed.clause, terms("keys", keys[at : at + DOCUMENTS_READ])]}}
            body = {"size": DOCUMENTS_READ, "query": query, **WORD_FIELDS}
            yield from map(_Coded.of, self._connection.search(self._store.index, body)["hits"]["hits"])


def _wordless() -> CollectionDamaged:
    return CollectionDamaged(
        "documents lack their words as they are kept now: an older semsearch, or somebody else, wrote them. 'semsearch "
        "repair' makes them anew."
    )


def _counting(codes: Sequence[str]) -> list[Clause]:
    """What has the server tell how many documents hold each word: see `_counts`."""
    bodies, together = [_counted(code) for code in codes[:MOST_ALONE]], codes[MOST_ALONE:]
    for at in range(0, len(together), MOST_CLAUSES):
        filters = {code: {"term": {"words": code}} for code in together[at : at + MOST_CLAUSES]}
        bodies.append({"size": 0, "query": IS_DOCUMENT, "aggs": {"own": {"filters": {"filters": filters}}}})
    return bodies


def _counts(codes: Sequence[str], said: Sequence[Any]) -> dict[str, int]:
    """What it told."""
    alone = codes[:MOST_ALONE]
    counts = {code: int(own["hits"]["total"]["value"]) for code, own in zip(alone, said, strict=False)}
    for one in said[len(alone) :]:
        counts |= {code: int(own["doc_count"]) for code, own in one["aggregations"]["own"]["buckets"].items()}
    return counts


def _counted(code: str) -> Clause:
    """What has the server tell how many documents hold a word."""
    return {"size": 0, "track_total_hits": True, "query": {"term": {"words": code}}}


def _explained(codes: Sequence[str]) -> Clause:
    """What has the server tell how it scores a document by some words: what it counts, it tells of each alike."""
    should = [{"term": {"words": code}} for code in codes]
    query = {"bool": {"should": should, "minimum_should_match": 1}}
    any_one = {"size": 1, "terminate_after": 1, "track_total_hits": False}
    return {**any_one, "query": query, "explain": True, **columns("num")}


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
