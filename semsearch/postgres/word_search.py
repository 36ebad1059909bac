"""BM25 in SQL, over exactly the passages of one state, by the formula and the constants of all engines.

A passage's score is the mean of its own BM25 and that of its whole document, weighted, where documents have several
passages: see `semsearch.local.lexical.bm25`, whose scores these are to the last digits of a float32. Frequencies come
first and go back as weights: with them in one statement the planner reads all postings.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from semsearch.engine import Candidates
from semsearch.postgres.connections import DatabaseSession
from semsearch.postgres.passage_filter import PassageFilter
from semsearch.search.analysis import analysed, asked
from semsearch.search.document_words import passages_holding
from semsearch.search.languages import Languages
from semsearch.search.query_syntax import Query
from semsearch.search.term_weights import DOCUMENT_SHARE, K1, TITLE, B, weighed

SEARCHED_DOCUMENTS = 256  # at a time, where a phrase is looked for in texts
_TERM_FREQUENCIES = b"SELECT word, term, documents FROM terms WHERE word = ANY(%s) AND documents > 0"
_HOLDING = b"SELECT doc FROM postings WHERE term = ANY(%s) GROUP BY doc HAVING count(DISTINCT term) = %s"
_PHRASE_TEXTS = b"""
SELECT d.doc, d.title, d.text, array_agg(p.key ORDER BY p.key), array_agg(p.start ORDER BY p.key),
    array_agg(p."end" ORDER BY p.key)
FROM documents AS d JOIN passages AS p USING (doc) WHERE d.doc = ANY(%s) GROUP BY d.doc
"""
_HITS = b"""
WITH own AS MATERIALIZED (
    SELECT p.key, p.doc, sum(q.idf * (p.titles * %(title)s + p.texts) * %(top)s
        / ((p.titles * %(title)s + p.texts) + %(k1)s * (1 - %(b)s + %(b)s * p.words / %(mean)s))) AS score,
        sum(q.idf * (p.titles * %(title)s + p.whole_texts) * %(top)s / ((p.titles * %(title)s + p.whole_texts)
            + %(k1)s * (1 - %(b)s + %(b)s * p.whole_words / %(whole_mean)s))) FILTER (WHERE p.whole_texts >= 0) AS whole
    FROM unnest(%(terms)s::int[], %(weights)s::float8[]) AS q (term, idf)
    CROSS JOIN LATERAL (SELECT * FROM postings WHERE postings.term = q.term OFFSET 0) AS p
    GROUP BY p.key, p.doc
), of_documents AS (
    SELECT doc, sum(whole) AS score FROM own GROUP BY doc
), of_words AS (
    SELECT own.key, own.doc, %(share)s * of_documents.score + (1 - %(share)s) * own.score AS score
    FROM own JOIN of_documents USING (doc)
)"""
_HITS_OF_ONE_PASSAGE = b"""
WITH of_words AS (
    SELECT p.key, p.doc, sum(q.idf * (p.titles * %(title)s + p.texts) * %(top)s
        / ((p.titles * %(title)s + p.texts) + %(k1)s * (1 - %(b)s + %(b)s * p.words / %(mean)s))) AS score
    FROM unnest(%(terms)s::int[], %(weights)s::float8[]) AS q (term, idf)
    CROSS JOIN LATERAL (SELECT * FROM postings WHERE postings.term = q.term OFFSET 0) AS p
    GROUP BY p.key, p.doc
)"""
_SCORED = b""", scored AS (SELECT p.key, p.doc, p.score::real AS score FROM of_words AS p WHERE """
_SCORED_WITH_PHRASES = b""", of_phrases AS (
    SELECT p.key, p.doc, sum(q.idf * %(top)s / (1 + %(k1)s * (1 - %(b)s + %(b)s * p.words / %(mean)s))) AS score
    FROM unnest(%(keys)s::bigint[], %(phrases)s::float8[]) AS q (key, idf) JOIN passages AS p USING (key)
    GROUP BY p.key, p.doc
), scored AS (
    SELECT p.key, p.doc, p.score::real AS score FROM (
        SELECT key, doc, sum(score) AS score FROM (SELECT * FROM of_words UNION ALL SELECT * FROM of_phrases) AS parts
        GROUP BY key, doc
    ) AS p WHERE """
_BEST = b") SELECT key, doc, score FROM scored ORDER BY score DESC, key LIMIT %(k)s"
_BEST_OF_DOCUMENTS = b""")
SELECT key, doc, score FROM (SELECT DISTINCT ON (doc) key, doc, score FROM scored ORDER BY doc, score DESC, key) AS best
ORDER BY score DESC, key LIMIT %(k)s
"""


class WordCounts(NamedTuple):
    """What scores need to know of a state."""

    documents: int
    passages: int
    words: int
    whole_words: int


class WordSearch:
    """The passages of one state by their words; phrases are looked up once a view."""

    def __init__(self, session: DatabaseSession, counts: WordCounts, languages: Languages) -> None:
        self._session = session
        self._counts = counts
        self._languages = languages
        self._held: dict[tuple[str, bool], dict[int, int]] = {}

    def candidates(self, query: Query, k: int, allowed: PassageFilter | None, *, grouped: bool) -> Candidates:
        """See `semsearch.engine.EngineView.lexical`."""
        words, counts = Counter(asked(query.text, self._languages)), self._counts
        if not words or not counts.passages:
            return NOTHING
        weights = weighed(words, self._languages)
        found = self._session.execute(_TERM_FREQUENCIES, (list(words),)).fetchall()
        idf = {term: weights[word] * _idf(documents, counts.documents) for word, term, documents in found}
        boosted: Counter[int] = Counter()
        for phrase in query.phrases:
            if held := self.holding(phrase, exactly=True):
                own = _idf(len(held), counts.passages)
                for key in held:
                    boosted[key] += own  # type: ignore[assignment]  # weights, not whole numbers
        if not idf and not boosted:
            return NOTHING
        condition = PassageFilter() if allowed is None else allowed
        values = _values(idf, boosted, counts, k) | condition.values
        several = counts.passages != counts.documents
        statement = _HITS if several else _HITS_OF_ONE_PASSAGE
        statement += (_SCORED_WITH_PHRASES if boosted else _SCORED) + condition.condition
        statement += _BEST_OF_DOCUMENTS if grouped and several else _BEST
        rows = self._session.execute(statement, values, binary=True).fetchall()
        return Candidates(
            np.array([key for key, _, _ in rows], dtype=np.int64),
            np.array([doc for _, doc, _ in rows], dtype=np.int64),
            np.array([score for _, _, score in rows], dtype=np.float32),
            [("lexical",)] * len(rows),
        )

    def holding(self, phrase: str, *, exactly: bool) -> dict[int, int]:
        """The passages that hold a phrase in title or text, alone or with those beside them: documents by key.

        `exactly`: its very words, which stems only suggest.
        """
        if (phrase, exactly) not in self._held:
            self._held[phrase, exactly] = self._find(phrase, exactly)
        return self._held[phrase, exactly]

    def _find(self, phrase: str, exactly: bool) -> dict[int, int]:
        terms = set(analysed(phrase, self._languages).split())
        forms = analysed(phrase, self._languages, stemmed=not exactly)
        found = self._session.execute(_TERM_FREQUENCIES, (sorted(terms),)).fetchall()
        if not terms or len(found) < len(terms):
            return {}
        numbers = [term for _, term, _ in found]
        if not exactly and " " not in forms:
            rows = self._session.execute("SELECT key, doc FROM postings WHERE term = ANY(%s)", (numbers,))
            return {key: doc for key, doc in rows}
        docs = [doc for (doc,) in self._session.execute(_HOLDING, (numbers, len(numbers)))]
        held: dict[int, int] = {}
        for start in range(0, len(docs), SEARCHED_DOCUMENTS):
            for doc, title, text, keys, starts, ends in self._session.execute(
                _PHRASE_TEXTS, (docs[start : start + SEARCHED_DOCUMENTS],)
            ):
                passages = list(zip(keys, starts, ends, strict=True))
                own = passages_holding(title, text, passages, forms, self._languages, exactly=exactly)
                held |= dict.fromkeys(own, int(doc))
        return held


def _idf(holding: int, count: int) -> float:
    return math.log1p((count - holding + 0.5) / (holding + 0.5))


def _values(idf: Mapping[int, float], boosted: Mapping[int, float], counts: WordCounts, k: int) -> dict[str, Any]:
    return {
        "terms": list(idf),
        "weights": list(idf.values()),
        "keys": list(boosted),
        "phrases": list(map(float, boosted.values())),
        "title": float(TITLE),
        "top": K1 + 1,
        "k1": K1,
        "b": B,
        "mean": counts.words / counts.passages or 1.0,
        "whole_mean": counts.whole_words / max(counts.documents, 1) or 1.0,
        "share": DOCUMENT_SHARE,
        "k": k,
    }


NOTHING = Candidates(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32), ())
