"""Which passages hold a phrase, or two that follow one another hold across the place where they were parted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, select

from semsearch.local.store.database_errors import decoding
from semsearch.local.store.schema import fulltext
from semsearch.local.store.store import View
from semsearch.search.analysis import analysed, holds

BEGINNING = 4  # terms that the second of two passages is looked up by
MAX_ACROSS = 64  # terms of a phrase that is looked for across two passages
ACROSS_CHARACTERS = 2000  # characters, and as many as the phrase has, that are looked at on each side of the place
MAX_PAIRS = 5_000  # pairs of passages that are looked at; of "of the" there are enough within passages


def rows_holding(view: View, phrase: str, *, exactly: bool) -> NDArray[np.intp]:
    """The live rows whose title or text holds a phrase, looked up once a view: filters and scores ask for the same.

    Of a phrase across two passages that is both. `exactly`: its very words, which stems only suggest.
    """
    known = view.rows_holding.get((phrase, exactly))
    if known is None:
        found = _within(view, phrase, exactly) + _across(view, phrase, exactly)
        keys = np.unique(np.asarray(found, dtype=np.int64))
        known = view.snapshot.rows_of(keys[np.isin(keys, view.snapshot.keys)])
        view.rows_holding[phrase, exactly] = known
    return known


def holding(phrases: Sequence[str]) -> ColumnElement[bool]:
    """Whether one of `phrases` is there: finished terms, never the query language of the full text."""
    return fulltext.c.fulltext.match(_match(phrases))


def _within(view: View, phrase: str, exactly: bool) -> list[int]:
    """The keys of passages that hold it."""
    forms = analysed(phrase, stemmed=not exactly)
    if not forms:
        return []
    with decoding():
        if not exactly:
            return list(view.connection.execute(select(fulltext.c.rowid).where(holding([forms]))).scalars())
        return [
            key
            for key, *texts in view.connection.exec_driver_sql(_TEXTS, (_match([analysed(phrase)]),))
            if any(holds(analysed(text, stemmed=False), forms) for text in texts)
        ]


def _across(view: View, phrase: str, exactly: bool) -> list[int]:
    """The keys of passages that hold it together with the one before or behind in their document."""
    terms, forms = analysed(phrase).split(), analysed(phrase, stemmed=not exactly)
    if not 2 <= len(terms) <= MAX_ACROSS:
        return []
    begin = dict.fromkeys(" ".join(terms[place : place + BEGINNING]) for place in range(1, len(terms)))
    wanted = " OR ".join(f'text : ^ "{beginning}"' for beginning in begin)
    found: list[int] = []
    with decoding():
        pairs = view.connection.exec_driver_sql(_PAIRS, (wanted, MAX_PAIRS)).all()
        for first, second, parted, before, behind in pairs:
            near = ACROSS_CHARACTERS + len(phrase)
            joined = f"{_end(before, near)}{chr(10) if parted else ''}{behind[:near]}"
            if holds(analysed(joined, stemmed=not exactly), forms):
                found += [first, second]
    return found


_TEXTS = (
    "SELECT key, passage_texts.title, passage_texts.text FROM fulltext CROSS JOIN passage_texts "
    "ON key = fulltext.rowid WHERE fulltext MATCH ?"
)
_PAIRS = """
SELECT a.key, b.key, a."end" < b."start", before.text, behind.text
FROM fulltext CROSS JOIN passages AS b ON b.key = fulltext.rowid
CROSS JOIN passages AS a ON a.doc = b.doc AND a."start" = (
    SELECT max("start") FROM passages AS other WHERE other.doc = b.doc AND other."start" < b."start"
)
CROSS JOIN passage_texts AS before ON before.key = a.key
CROSS JOIN passage_texts AS behind ON behind.key = b.key
WHERE fulltext MATCH ? LIMIT ?
"""


def _end(text: str, count: int) -> str:
    """The end of a text, without a part of a word at its beginning; where no blanks part words, letters do."""
    if len(text) <= count:
        return text
    _, blank, rest = text[-count:].partition(" ")
    return rest if blank else text[-count:]


def _match(phrases: Sequence[str]) -> str:
    return " OR ".join(f'"{phrase}"' for phrase in phrases)
