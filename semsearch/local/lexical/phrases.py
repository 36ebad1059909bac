"""Which passages hold a phrase, alone or across the places where their document was parted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, select

from semsearch.local.store.database_errors import decoding
from semsearch.local.store.schema import fulltext
from semsearch.local.store.store import View
from semsearch.search.analysis import analysed, holds, places_of_phrase

BEGINNING = 4  # terms that the second of two passages is looked up by
LONG_PHRASE = 2 * BEGINNING  # terms of a phrase whose end is not looked up by what passages begin with
BEGINNINGS = 64  # of them that are looked up together
NEAR_CHARACTERS = 200  # that are looked at on each side of a place where two passages meet, with the phrase's twice …
FAR_CHARACTERS = 2000  # … or so many, where they hold too few words to tell


def rows_holding(view: View, phrase: str, *, exactly: bool) -> NDArray[np.intp]:
    """The live rows whose title or text holds a phrase, looked up once a view: filters and scores ask for the same.

    Of a phrase across several passages that is each of them. `exactly`: its very words, which stems only suggest.
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
    languages = view.snapshot.languages
    forms = analysed(phrase, languages, stemmed=not exactly)
    if not forms:
        return []
    with decoding():
        if not exactly:
            return list(view.connection.execute(select(fulltext.c.rowid).where(holding([forms]))).scalars())
        return [
            key
            for key, *texts in view.connection.exec_driver_sql(_TEXTS, (_match([analysed(phrase, languages)]),))
            if any(holds(analysed(text, stemmed=False), forms) for text in texts)
        ]


def _across(view: View, phrase: str, exactly: bool) -> list[int]:
    """The keys of passages that hold it together with those before or behind in their document."""
    languages = view.snapshot.languages
    terms, forms = analysed(phrase, languages).split(), analysed(phrase, languages, stemmed=not exactly)
    places = len(terms) if len(terms) < LONG_PHRASE else len(terms) - BEGINNING + 1
    begin = list(dict.fromkeys(" ".join(terms[place : place + BEGINNING]) for place in range(1, places)))
    asked = [
        (_BEGUN, " OR ".join(f'text : ^ "{beginning}"' for beginning in begin[some : some + BEGINNINGS]))
        for some in range(0, len(begin), BEGINNINGS)
    ]
    if places < len(terms):  # the end of a long one is a word or two, with which too many passages begin
        asked.append((_AFTER_HOLDING, f'text : "{" ".join(terms[:-BEGINNING])}"'))
    looked_at: set[int] = set()
    found: list[int] = []
    with decoding():
        for statement, wanted in asked:
            for key, doc, start in view.connection.exec_driver_sql(statement, (wanted,)):
                if key not in looked_at:
                    looked_at.add(key)
                    found += _around(view, doc, start, phrase, forms, exactly)
    return found


def _around(view: View, doc: int, place: int, phrase: str, forms: str, exactly: bool) -> list[int]:
    """The keys of the passages of a document that hold a phrase together, near the place where two of them meet.

    Little of the text is looked at, unless it has too few terms for the phrase on either side.
    """
    languages = view.snapshot.languages
    for near in (NEAR_CHARACTERS + 2 * len(phrase), FAR_CHARACTERS + 2 * len(phrase)):
        passages = view.connection.exec_driver_sql(_NEAR, (doc, place - near, place + near)).all()
        spans: list[tuple[int, int, int]] = []
        whole, meets = "", 0
        for (key, start, end, text), following in zip(passages, [*(row[1] for row in passages[1:]), 0], strict=True):
            meets = len(whole) if start == place else meets
            spans.append((key, len(whole), len(whole) + len(text)))
            whole += text + ("\n" if end < following else "")
        before, behind = _end(whole[:meets], near), whole[meets : meets + near]
        if holds(analysed(before + behind, languages, stemmed=not exactly), forms):
            cut = meets - len(before)
            held = [
                (first + cut, last + cut)
                for first, last in places_of_phrase(before + behind, forms, languages, stemmed=not exactly)
            ]
            return [key for key, start, end in spans if any(start < last and first < end for first, last in held)]
        count = forms.count(" ")
        if all(analysed(side, languages, stemmed=not exactly).count(" ") > count for side in (before, behind)):
            break
    return []


_TEXTS = (
    "SELECT key, passage_texts.title, passage_texts.text FROM fulltext CROSS JOIN passage_texts "
    "ON key = fulltext.rowid WHERE fulltext MATCH ?"
)
_BEGUN = """
SELECT key, doc, "start" FROM fulltext CROSS JOIN passages ON key = fulltext.rowid
WHERE fulltext MATCH ? AND "start" > 0
"""
_AFTER_HOLDING = """
SELECT b.key, b.doc, b."start" FROM fulltext CROSS JOIN passages AS a ON a.key = fulltext.rowid
CROSS JOIN passages AS b ON b.doc = a.doc AND b."start" = (
    SELECT min("start") FROM passages AS other WHERE other.doc = a.doc AND other."start" > a."start"
)
WHERE fulltext MATCH ?
"""
_NEAR = """
SELECT key, "start", "end", text FROM passages JOIN passage_texts USING (key)
WHERE doc = ? AND "end" >= ? AND "start" <= ? ORDER BY "start"
"""


def _end(text: str, count: int) -> str:
    """The end of a text, without a part of a word at its beginning; where no blanks part words, letters do."""
    if len(text) <= count:
        return text
    _, blank, rest = text[-count:].partition(" ")
    return rest if blank else text[-count:]


def _match(phrases: Sequence[str]) -> str:
    return " OR ".join(f'"{phrase}"' for phrase in phrases)
