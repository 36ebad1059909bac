"""The words of passages as rows: which passage holds which term how often, and in how many documents each term is.

The terms are those of `semsearch.search.analysis`, as in every engine. Frequencies of a term over all documents are
kept with it, since to count them takes longer than all else of a query. Every writer changes those of the same words:
so a term gets its number apart from its frequency, and the frequencies of a commit are added last, all at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from semsearch.postgres.array_format import int4, int8, written
from semsearch.postgres.connections import DatabaseSession
from semsearch.search.document_words import CountedWords, Worded
from semsearch.search.languages import Languages

_FORGET = b"""
WITH gone AS (DELETE FROM postings WHERE doc = ANY(%s) RETURNING term, doc)
SELECT term, count(DISTINCT doc) FROM gone GROUP BY term
"""
_NUMBERS_OF_TERMS = b"SELECT word, term FROM terms WHERE word = ANY(%s)"
_NUMBER_TERMS = b"""
INSERT INTO terms (word, documents) SELECT word, 0 FROM unnest(%s::text[]) AS given (word) ON CONFLICT (word) DO NOTHING
"""
_COUNT_TERMS = b"""
UPDATE terms SET documents = documents + more FROM unnest(%s::int[], %s::bigint[]) AS given (term, more)
WHERE terms.term = given.term
"""
_COPY_POSTINGS = (
    b"COPY postings (key, doc, term, titles, texts, whole_texts, words, whole_words) FROM STDIN (FORMAT binary)"
)
_DOCUMENT_TEXTS = b"""
SELECT d.doc, d.title, d.text, array_agg(p.key ORDER BY p.key), array_agg(p.start ORDER BY p.key),
    array_agg(p."end" ORDER BY p.key)
FROM (SELECT * FROM documents WHERE doc > %s ORDER BY doc LIMIT %s) AS d JOIN passages AS p USING (doc)
GROUP BY d.doc, d.title, d.text ORDER BY d.doc
"""
_RECOUNT = b"""
UPDATE state SET documents = d.documents, whole_words = d.words, passages = p.passages, words = p.words
FROM (SELECT count(*) AS documents, coalesce(sum(words), 0) AS words FROM documents) AS d,
    (SELECT count(*) AS passages, coalesce(sum(words), 0) AS words FROM passages) AS p
"""
REBUILT_DOCUMENTS = 1000  # at a time


def words_in(counted: Iterable[CountedWords]) -> set[str]:
    """All words of documents."""
    return {word for own in counted for words in (own.title, *own.passages) for word in words}


def numbers(session: DatabaseSession, words: Iterable[str]) -> dict[str, int]:
    """The numbers of words, which get one where they have none."""
    wanted = sorted(words)
    known: dict[str, int] = dict(session.execute(_NUMBERS_OF_TERMS, (wanted,)).fetchall())
    if lacking := [word for word in wanted if word not in known]:
        session.execute(_NUMBER_TERMS, (lacking,))
        known |= dict(session.execute(_NUMBERS_OF_TERMS, (lacking,)).fetchall())
    return known


def write(session: DatabaseSession, documents: Sequence[Worded]) -> Counter[int]:
    """Write the postings of documents that have none; in how many of them each term is."""
    frequencies: Counter[str] = Counter()
    for document in documents:
        frequencies.update({*document.title, *(word for _, text in document.passages for word in text)})
    known = numbers(session, frequencies)
    with session.cursor().copy(_COPY_POSTINGS) as copy:
        for piece in written(_rows(documents, known)):
            copy.write(piece)
    return Counter({known[word]: count for word, count in frequencies.items()})


def count(session: DatabaseSession, frequencies: Mapping[int, int]) -> None:
    """Add to the frequencies of terms; other writers wait for them until the end of the transaction."""
    terms = sorted(term for term, more in frequencies.items() if more)
    if terms:
        session.execute(_COUNT_TERMS, (terms, [frequencies[term] for term in terms]))


def _rows(documents: Sequence[Worded], known: Mapping[str, int]) -> Iterable[Sequence[bytes]]:
    for document in documents:
        whole, doc = int4(document.whole_words), int8(document.doc)
        texts: Counter[str] = sum((text for _, text in document.passages), Counter())
        met: set[str] = set()
        for (key, text), length in zip(document.passages, document.words, strict=True):
            own, words = int8(key), int4(length)
            for word in document.title.keys() | text.keys():
                counts = (int4(document.title[word]), int4(text[word]), int4(-1 if word in met else texts[word]))
                yield own, doc, int4(known[word]), *counts, words, whole
            met |= document.title.keys() | text.keys()


def forget(session: DatabaseSession, docs: Sequence[int]) -> Counter[int]:
    """Take away the postings of documents; in how many of them each term was."""
    return Counter(dict(session.execute(_FORGET, (list(docs),)).fetchall()))


def texts(session: DatabaseSession) -> Iterator[list[tuple[Any, ...]]]:
    """Number, title and text of documents with the keys, starts and ends of their passages, some at a time."""
    last = 0
    while rows := session.execute(_DOCUMENT_TEXTS, (last, REBUILT_DOCUMENTS)).fetchall():
        last = rows[-1][0]
        yield rows


def rebuild(session: DatabaseSession, languages: Languages) -> None:
    """Make all words anew of the stored texts, in the order of their documents, and count them."""
    session.execute(b"DELETE FROM postings")
    session.execute(b"DELETE FROM terms")
    for rows in texts(session):
        documents = [
            Worded.of(doc, title, ((key, text[start:end]) for key, start, end in zip(*places, strict=True)), languages)
            for doc, title, text, *places in rows
        ]
        keys = [key for document in documents for key, _ in document.passages]
        session.execute(
            b"UPDATE passages SET words = made.words FROM unnest(%s::bigint[], %s::int[]) AS made (key, words) "
            b"WHERE passages.key = made.key AND passages.words <> made.words",
            (keys, [words for document in documents for words in document.words]),
        )
        session.execute(
            b"UPDATE documents SET words = made.words FROM unnest(%s::bigint[], %s::bigint[]) AS made (doc, words) "
            b"WHERE documents.doc = made.doc AND documents.words <> made.words",
            ([document.doc for document in documents], [document.whole_words for document in documents]),
        )
        count(session, write(session, documents))
    recount(session)


def recount(session: DatabaseSession) -> None:
    """Count documents, passages and words anew."""
    session.execute(_RECOUNT)
