"""BM25 in SQL, over exactly the passages of one state, by the formula and the constants of all engines.

A passage's score is the mean of its own BM25 and that of its whole document, weighted, where documents have several
passages: see `semsearch.local.lexical.bm25`, whose scores these are to the last digits of a float32.

Not every posting is read. However often a passage holds a word, that adds to its score at most so much. Words that may
add most are looked at first, in documents enough to know what the k-th best scores at least; words that may add least,
and all together less than that, bring no passage among the best by themselves, so that what they add is looked up for
those alone that the others bring near enough (MaxScore: Turtle and Flood, "Query evaluation: strategies and
optimizations", 1995). Where few passages are allowed, every word is looked up for those.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from psycopg.rows import TupleRow

from semsearch.engine import Candidates
from semsearch.postgres.connections import DatabaseSession
from semsearch.postgres.nearest_passages import AtOnce, PassageRow
from semsearch.postgres.passage_filter import PassageFilter
from semsearch.search.analysis import analysed, asked
from semsearch.search.document_words import passages_holding
from semsearch.search.languages import Languages
from semsearch.search.query_syntax import Query
from semsearch.search.term_weights import DOCUMENT_SHARE, K1, TITLE, B, weighed

SEARCHED_DOCUMENTS = 256  # at a time, where a phrase is looked for in texts
SEEDS = 3  # times as many documents as are wanted are looked at first …
SEEDS_SHARE = 0.125  # … but no greater share of all
DEARER = 4  # times, to look a posting up than to read it where all are read; what the essential words bring …
LIKELY = 30  # … is guessed to be so many times what is wanted, and no more than the documents that hold one
PROBED = 4096  # words of passages, at most, where those are few
LOWERED = 1 - 2.0**-21  # of a score, below which none is rounded up to it
_TERM_FREQUENCIES = b"SELECT word, term, documents FROM terms WHERE word = ANY(%s) AND documents > 0"
_HOLDING = b"SELECT doc FROM postings WHERE term = ANY(%s) GROUP BY doc HAVING count(DISTINCT term) = %s"
_PHRASE_TEXTS = b"""
SELECT d.doc, d.title, d.text, array_agg(p.key ORDER BY p.key), array_agg(p.start ORDER BY p.key),
    array_agg(p."end" ORDER BY p.key)
FROM documents AS d JOIN passages AS p USING (doc) WHERE d.doc = ANY(%s) GROUP BY d.doc
"""
# What stands in the statements below more than once; of `near`, in the second, one posting is looked up.
_PARTS = {
    b"postings": b"CROSS JOIN LATERAL (SELECT * FROM postings WHERE postings.term = w.term OFFSET 0) AS p",
    b"posting": b"""CROSS JOIN LATERAL (
        SELECT * FROM postings WHERE postings.term = w.term AND postings.key = near.key OFFSET 0
    ) AS p""",
    b"own": b"""(w.most * (p.titles * %(title)s + p.texts)
        / ((p.titles * %(title)s + p.texts) + %(least)s + %(by_words)s * p.words))""",
    b"whole": b"""(w.most * (p.titles * %(title)s + p.whole_texts)
        / ((p.titles * %(title)s + p.whole_texts) + %(least)s + %(by_whole_words)s * p.whole_words))""",
    b"of_document": b"%(share)s * sum(p.whole) + (1 - %(share)s) * coalesce(max(p.own) FILTER (WHERE p.allowed), 0)",
}
# The words of a query. `most`: what one adds at most; `before`: the documents of those that may add more; `reached`:
# what it and those that may add less add together.
_ASKED = b"""
WITH asked AS MATERIALIZED (
    SELECT term, most, documents, sum(documents) OVER (ORDER BY most DESC, term) - documents AS before,
        sum(most) OVER (ORDER BY most, term DESC) AS reached
    FROM (
        SELECT t.term, t.documents,
            given.weight * %%(top)s * ln((%%(documents)s + 1) / (t.documents + 0.5::float8)) AS most
        FROM unnest(%%(words)s::text[], %%(weights)s::float8[]) AS given (word, weight) JOIN terms AS t USING (word)
        WHERE t.documents > 0
    ) AS weighed
)"""
_PARTED = b"""
, parted AS MATERIALIZED (
    SELECT w.term, w.most, NOT (%%(few)s OR (
        w.reached < sure.score AND w.documents > %%(dearer)s * least(
            %%(likely)s, (SELECT min(before) FROM asked WHERE reached < (SELECT score FROM sure))
        )
    )) AS essential FROM asked AS w CROSS JOIN sure
)"""
# What a document must have of the essential words to be near enough.
_NEAR_ENOUGH = b"""
, bar AS MATERIALIZED (
    SELECT greatest(
        (SELECT score FROM sure),
        %%(lowered)s * (SELECT score FROM reached WHERE found ORDER BY score DESC OFFSET %%(depth)s - 1 LIMIT 1)
    ) - coalesce((SELECT sum(most) FROM parted WHERE NOT essential), 0) AS score
)"""
_OF_ONE_PASSAGE = (
    _ASKED
    + b"""
, sure AS MATERIALIZED (
    SELECT coalesce((
        SELECT p.score FROM (
            SELECT p.key, p.doc, sum(%(own)b) AS score FROM asked AS w %(postings)b
            WHERE w.before < %%(seeds)s AND %(documents)b GROUP BY p.key, p.doc
        ) AS p WHERE %(condition)b ORDER BY p.score DESC OFFSET %%(depth)s - 1 LIMIT 1
    ), 0) * %%(lowered)s AS score
)"""
    + _PARTED
    + b"""
, reached AS MATERIALIZED (
    SELECT p.key, p.doc, p.score, true AS found FROM (
        SELECT p.key, p.doc, sum(%(own)b) AS score FROM parted AS w %(postings)b
        WHERE w.essential AND %(documents)b GROUP BY p.key, p.doc
    ) AS p WHERE %(condition)b
    UNION ALL
    SELECT p.key, p.doc, 0, true FROM passages AS p WHERE %%(few)s AND %(condition)b
)"""
    + _NEAR_ENOUGH
    + b"""
, of_words AS (
    SELECT near.key, near.doc, near.score + coalesce((
        SELECT sum(%(own)b) FROM parted AS w %(posting)b WHERE NOT w.essential
    ), 0) AS score FROM reached AS near WHERE near.score >= (SELECT score FROM bar)
)"""
)
# By documents, for which their best passages stand.
_OF_PASSAGES = (
    _ASKED
    + b"""
, sure AS MATERIALIZED (
    SELECT coalesce((
        SELECT %(of_document)b AS score FROM (
            SELECT p.doc, p.own, p.whole, (%(condition)b) AS allowed FROM (
                SELECT p.key, p.doc, sum(%(own)b) AS own,
                    coalesce(sum(%(whole)b) FILTER (WHERE p.whole_texts >= 0), 0) AS whole
                FROM asked AS w %(postings)b WHERE w.before < %%(seeds)s AND %(documents)b GROUP BY p.key, p.doc
            ) AS p
        ) AS p GROUP BY p.doc HAVING bool_or(p.allowed) ORDER BY score DESC OFFSET %%(depth)s - 1 LIMIT 1
    ), 0) * %%(lowered)s AS score
)"""
    + _PARTED
    + b"""
, partial AS MATERIALIZED (
    SELECT p.key, p.doc, p.own, p.whole, (%(condition)b) AS allowed FROM (
        SELECT p.key, p.doc, sum(%(own)b) AS own,
            coalesce(sum(%(whole)b) FILTER (WHERE p.whole_texts >= 0), 0) AS whole
        FROM parted AS w %(postings)b WHERE w.essential AND %(documents)b GROUP BY p.key, p.doc
    ) AS p
    UNION ALL
    SELECT p.key, p.doc, 0, 0, true FROM passages AS p WHERE %%(few)s AND %(condition)b
), reached AS MATERIALIZED (
    SELECT p.doc, %(of_document)b AS score, bool_or(p.allowed) AS found FROM partial AS p GROUP BY p.doc
)"""
    + _NEAR_ENOUGH
    + b"""
, likely AS MATERIALIZED (
    SELECT doc FROM reached WHERE score >= (SELECT score FROM bar)
), added AS MATERIALIZED (
    SELECT key, doc, sum(own) AS own, sum(whole) AS whole FROM (
        SELECT key, doc, own, whole FROM partial WHERE (doc IN (SELECT doc FROM likely)) IS TRUE
        UNION ALL
        SELECT p.key, p.doc, %(own)b, CASE WHEN p.whole_texts >= 0 THEN %(whole)b ELSE 0 END
        FROM likely CROSS JOIN LATERAL (SELECT key FROM passages WHERE passages.doc = likely.doc OFFSET 0) AS near
        CROSS JOIN parted AS w %(posting)b WHERE NOT w.essential
    ) AS parts GROUP BY key, doc
), of_documents AS (
    SELECT doc, sum(whole) AS score FROM added GROUP BY doc
), of_words AS (
    SELECT p.key, p.doc, %%(share)s * of_documents.score + (1 - %%(share)s) * p.own AS score
    FROM added AS p JOIN of_documents USING (doc) WHERE p.own > 0 AND %(condition)b
)"""
)
_SCORED = b"""
, scored AS (
    SELECT key, doc, score::real AS score FROM of_words WHERE score > 0
)"""
_SCORED_WITH_PHRASES = b"""
, of_phrases AS (
    SELECT p.key, p.doc, sum(q.idf * %%(top)s / (1 + %%(least)s + %%(by_words)s * p.words)) AS score
    FROM unnest(%%(keys)s::bigint[], %%(phrases)s::float8[]) AS q (key, idf) JOIN passages AS p USING (key)
    WHERE %(condition)b GROUP BY p.key, p.doc
), scored AS (
    SELECT key, doc, sum(score)::real AS score FROM (
        SELECT * FROM of_words UNION ALL SELECT * FROM of_phrases
    ) AS parts GROUP BY key, doc HAVING sum(score) > 0
)"""
_AS_NEAR = b"""
, near AS MATERIALIZED (
    SELECT p.key, p.doc, p.start, p."end", NULL::vector AS vector, -best.score::float8 AS distance
    FROM (%b) AS best JOIN passages AS p USING (key)
)"""
_BEST = b" SELECT key, doc, score FROM scored ORDER BY score DESC, key LIMIT %(k)s"
_BEST_OF_DOCUMENTS = b"""
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
        boosted: Counter[int] = Counter()
        for phrase in query.phrases:
            if held := self.holding(phrase, exactly=True):
                own = _idf(len(held), self._counts.passages)
                for key in held:
                    boosted[key] += own  # type: ignore[assignment]  # weights, not whole numbers
        asked = self._asked(query, k, allowed, boosted, grouped)
        if asked is None:
            return NOTHING
        statement, best, values = asked
        return _found(self._session.execute(statement + best, values, binary=True).fetchall())

    def at_once(self, query: Query, k: int, allowed: PassageFilter | None, *, grouped: bool) -> AtOnce | None:
        """The same of a query without phrases, as part of a statement that gives other things, too; None: nothing."""
        asked = self._asked(query, k, allowed, {}, grouped)
        if asked is None:
            return None
        statement, best, values = asked

        def found(rows: Sequence[PassageRow]) -> Candidates:
            ordered = sorted((distance, key, doc) for key, doc, _, distance in rows)
            return _found([(key, doc, -distance) for distance, key, doc in ordered])

        return AtOnce(statement + _AS_NEAR % best, values, found)

    def _asked(
        self, query: Query, k: int, allowed: PassageFilter | None, boosted: Mapping[int, float], grouped: bool
    ) -> tuple[bytes, bytes, dict[str, Any]] | None:
        """Common table expressions, what selects the best of them, and the parameters of both."""
        words, counts = Counter(asked(query.text, self._languages)), self._counts
        if not words or not counts.passages:
            return None
        condition = PassageFilter() if allowed is None else allowed
        several = counts.passages != counts.documents
        statement = _OF_PASSAGES if several else _OF_ONE_PASSAGE
        statement += _SCORED_WITH_PHRASES if boosted else _SCORED
        statement %= {**_PARTS, b"condition": condition.condition, b"documents": condition.documents}
        values = _values(weighed(words, self._languages), boosted, counts, k, condition)
        return statement, _BEST_OF_DOCUMENTS if grouped and several else _BEST, values

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


def _found(rows: Sequence[TupleRow]) -> Candidates:
    """Of keys, documents and scores, best first."""
    return Candidates(
        np.array([key for key, _, _ in rows], dtype=np.int64),
        np.array([doc for _, doc, _ in rows], dtype=np.int64),
        np.array([score for _, _, score in rows], dtype=np.float32),
        [("lexical",)] * len(rows),
    )


def _idf(holding: int, count: int) -> float:
    return math.log1p((count - holding + 0.5) / (holding + 0.5))


def _values(
    weights: Mapping[str, float], boosted: Mapping[int, float], counts: WordCounts, k: int, condition: PassageFilter
) -> dict[str, Any]:
    most = condition.most
    few = most is not None and most * len(weights) * counts.passages <= PROBED * counts.documents
    seeds = SEEDS * k if most is None else SEEDS * k * counts.documents / max(most, 1)
    return condition.values | {
        "words": list(weights),
        "weights": [float(weight) for weight in weights.values()],
        "documents": float(counts.documents),
        "few": few,
        "seeds": 0 if few or boosted else min(int(seeds), int(SEEDS_SHARE * counts.documents)),
        "depth": counts.passages + 1 if boosted else k,  # a phrase may add anything, so that all are scored
        "lowered": LOWERED,
        "dearer": DEARER,
        "likely": LIKELY * k,
        "keys": list(boosted),
        "phrases": list(map(float, boosted.values())),
        "title": float(TITLE),
        "top": K1 + 1,
        "least": K1 * (1 - B),
        "by_words": K1 * B / (counts.words / counts.passages or 1.0),
        "by_whole_words": K1 * B / (counts.whole_words / max(counts.documents, 1) or 1.0),
        "share": DOCUMENT_SHARE,
        "k": k,
    }


NOTHING = Candidates(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32), ())
