"""The words of passages as rows: which passage holds which term how often, and in how many documents each term is.

The terms are those of `semsearch.search.analysis`, as in every engine. Frequencies of a term over all documents are
kept with it, since to count them takes longer than all else of a query.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from semsearch.postgres.array_format import int4, int8, written
from semsearch.postgres.connections import DatabaseSession
from semsearch.search.analysis import analysed
from semsearch.search.languages import Languages

_FORGET = b"""
WITH gone AS (DELETE FROM postings WHERE doc = ANY(%s) RETURNING term, doc),
    counted AS (SELECT term, count(DISTINCT doc) AS documents FROM gone GROUP BY term)
UPDATE terms SET documents = terms.documents - counted.documents FROM counted WHERE terms.term = counted.term
"""
_NUMBERS_OF_TERMS = b"""
INSERT INTO terms (word, documents) SELECT * FROM unnest(%s::text[], %s::bigint[])
ON CONFLICT (word) DO UPDATE SET documents = terms.documents + excluded.documents RETURNING word, term
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


def write(session: DatabaseSession, documents: Sequence[Worded]) -> None:
    """Write the postings of documents that have none."""
    frequencies: Counter[str] = Counter()
    for document in documents:
        frequencies.update({*document.title, *(word for _, text in document.passages for word in text)})
    words = sorted(frequencies)
    numbers: dict[str, int] = dict(
        session.execute(_NUMBERS_OF_TERMS, (words, [frequencies[word] for word in words])).fetchall()
    )
    with session.cursor().copy(_COPY_POSTINGS) as copy:
        for piece in written(_rows(documents, numbers)):
            copy.write(piece)


def _rows(documents: Sequence[Worded], numbers: dict[str, int]) -> Iterable[Sequence[bytes]]:
    for document in documents:
        whole, doc = int4(document.whole_words), int8(document.doc)
        texts: Counter[str] = sum((text for _, text in document.passages), Counter())
        met: set[str] = set()
        for (key, text), length in zip(document.passages, document.words, strict=True):
            own, words = int8(key), int4(length)
            for word in document.title.keys() | text.keys():
                counts = (int4(document.title[word]), int4(text[word]), int4(-1 if word in met else texts[word]))
                yield own, doc, int4(numbers[word]), *counts, words, whole
            met |= document.title.keys() | text.keys()


def forget(session: DatabaseSession, docs: Sequence[int]) -> None:
    """Take away the postings of documents."""
    session.execute(_FORGET, (list(docs),))


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
        write(session, documents)
    recount(session)


def recount(session: DatabaseSession) -> None:
    """Count documents, passages and words anew."""
    session.execute(_RECOUNT)
