"""The truth table of filters: documents, and which of them each filter allows, for any engine to be held against."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class FilterTable:
    """Documents, and what filters say of them.

    Attributes:
        metadata: Of each document; the documents are known by their place here.
        allows: Filters, each with the places of the documents that it allows.
        refuses: Filters that are mistakes, each with a pattern that the message of the `FilterError` matches.
    """

    metadata: Sequence[Mapping[str, Any]]
    allows: Sequence[tuple[Any, set[int]]]
    refuses: Sequence[tuple[Any, str]]


FILMS = FilterTable(
    metadata=[
        {"year": 1985, "genres": ["Drama", "War"], "title": "A", "seen": True, "rating": 7.5},
        {"year": 1990, "genres": ["Comedy"], "title": "Bee", "seen": False, "rating": None},
        {"year": 2001, "genres": [], "title": "C_e%e", "studio": {"name": "X", "country": "FR"}},
        {"genres": ["Drama"], "title": "drama queen", "year": 1990.5, "codes": [1, "1", True]},
        {},
    ],
    allows=[
        ({}, {0, 1, 2, 3, 4}),
        ({"year": 1990}, {1}),
        ({"year": {"$gte": 1990}}, {1, 2, 3}),
        ({"year": {"$gt": 1985, "$lt": 2000}}, {1, 3}),
        ({"year": {"$ne": 1990}}, {0, 2, 3, 4}),
        ({"year": {"$in": [1985, 2001]}}, {0, 2}),
        ({"year": {"$nin": [1985, 2001]}}, {1, 3}),
        ({"year": {"$exists": False}}, {4}),
        ({"studio": {"$exists": True}}, {2}),
        ({"studio.country": "FR"}, {2}),
        ({"genres": {"$contains": "Drama"}}, {0, 3}),
        ({"genres": {"$contains": "Drama"}, "year": {"$lt": 1990}}, {0}),
        ({"title": {"$like": "DRAMA"}}, {3}),
        ({"title": {"$like": "_"}}, {2}),
        ({"title": {"$like": "%"}}, {2}),
        ({"title": {"$gte": "C"}}, {2, 3}),
        ({"seen": True}, {0}),
        ({"seen": {"$ne": True}}, {1, 2, 3, 4}),
        ({"rating": None}, {1}),
        ({"codes": {"$contains": 1}}, {3}),
        ({"codes": {"$contains": "1"}}, {3}),
        ({"$or": [{"year": 1985}, {"title": "Bee"}]}, {0, 1}),
        ({"$and": [{"year": 1985}, {"title": "Bee"}]}, set()),
        ({"$not": {"year": 1985}}, {1, 2, 3, 4}),
        ({"year": {"$not": {"$gt": 1986}}}, {0, 4}),
        ({"$or": []}, set()),
        ({"$and": []}, {0, 1, 2, 3, 4}),
        ({"title": "'; DROP TABLE documents; --"}, set()),
        ("year = 1985", {0}),
        ("year >= 1990 and not genres contains 'Drama'", {1, 2}),
        ('{"year": {"$gte": 1990}}', {1, 2, 3}),
    ],
    refuses=[
        ({"colour": "red"}, "no document has the field 'colour'; there are: .*genres.*year"),
        ({"year": "1985"}, "holds number, but '1985' asks for a text"),
        ({"year": {"$gte": "1985"}}, "asks for a text"),
        ({"title": {"$gt": 5}}, "holds text, but 5 asks for a number"),
        ({"title": {"$contains": "A"}}, "holds text.*asks for a list"),
        ({"genres": {"$like": "Dra"}}, "holds list.*asks for a text"),
        ({"genres": {"$contains": 5}}, "elements of 'genres' are text, but 5"),
        ({"year": {"$exists": 1}}, "true or false"),
        ({"year": {"$about": 1985}}, r"where.year.\$about is no operator"),
        ({"$xor": []}, r"where.\$xor"),
        ({"year": {}}, "no condition"),
        ({"year": {"$gt": None}}, "by size"),
        ({"year": {"$in": "19"}}, "takes a list"),
        ({"year": math.nan}, "finite"),
        ({"year": 2**70}, "64 bits"),
        ({"year": {"$in": list(range(10_001))}}, "10,001 values"),
        ({"title": "\ud800"}, "surrogate"),
        ({"title": {"$eq": ["a"]}}, "takes a text"),
        (1985, "must be a mapping"),
        ({"$and": ["year = 1985"]}, r"where.\$and\[0\] must be a mapping"),
        ("year >= '1985'", "asks for a text"),
    ],
)

EDGES = FilterTable(
    metadata=[
        {"n": 2**53, "t": "É", "m": {"a": 1, "b": {"c": "deep"}}, "l": [None, True, 1.5]},
        {"n": 2**53 + 1, "t": "é", "m.a": 2, "l": [[1], {"x": 1}]},
        {"n": float(2**53), "t": "\uffff", "b": 1, "l": []},
        {"n": -(2**63), "t": "\U0001f600", "b": True, "x y": "q"},
        {"n": 2**63 - 1, "t": "\u212a", "b": None},  # the Kelvin sign: k in small
        {"n": "1", "t": ""},
    ],
    allows=[
        ({"n": 2**53}, {0, 2}),
        ({"n": {"$gt": 2**53}}, {1, 4}),
        ({"n": {"$gt": float(2**53)}}, {1, 4}),
        ({"n": {"$in": [2**53 + 1, "1"]}}, {1, 5}),
        ({"n": {"$lt": 0.5}}, {3}),
        ({"n": {"$lte": 2.0**63}}, {0, 1, 2, 3, 4}),
        ({"n": {"$gte": 2.0**63}}, set()),
        ({"n": "1"}, {5}),
        ({"n": {"$nin": []}}, {0, 1, 2, 3, 4, 5}),
        ({"t": {"$like": "é"}}, {0, 1}),
        ({"t": {"$like": "E"}}, {0, 1}),
        ({"t": {"$like": "e\u0301"}}, {0, 1}),
        ({"t": {"$like": "k"}}, {4}),
        ({"t": "e\u0301"}, {1}),
        ({"t": {"$in": ["E\u0301"]}}, {0}),
        ({"t": {"$like": ""}}, {0, 1, 2, 3, 4, 5}),
        ({"t": {"$gt": "\uffff"}}, {3}),
        ({"t": {"$lt": "É"}}, {4, 5}),  # the Kelvin sign is a K in the form NFC
        ({"m.a": 1}, {0}),
        ({"m.a": 2}, {1}),
        ({"m.a": {"$ne": 1}}, {1, 2, 3, 4, 5}),
        ({"m": {"$exists": True}}, {0}),
        ({"m.b.c": "deep"}, {0}),
        ({"l": {"$contains": None}}, {0}),
        ({"l": {"$contains": True}}, {0}),
        ({"l": {"$contains": 1}}, set()),
        ({"l": {"$exists": True}}, {0, 1, 2}),
        ({"b": 1}, {2}),
        ({"b": True}, {3}),
        ({"b": None}, {4}),
        ({"b": {"$ne": None}}, {0, 1, 2, 3, 5}),
        ({"b": {"$in": [1, True, None]}}, {2, 3, 4}),
        ({"b": {"$nin": [1]}}, {3, 4}),
        ({"b": {"$nin": []}}, {2, 3, 4}),
        ({"b": {"$in": []}}, set()),
        ({"b": {"$exists": True, "$not": 1}}, {3, 4}),
        ({"x y": "q"}, {3}),
        ("`x y` = 'q' or b = null", {3, 4}),
        ({"nowhere": {"$exists": False}}, {0, 1, 2, 3, 4, 5}),
        ({"nowhere": None}, set()),
        ({"nowhere": {"$in": []}}, set()),
        ({"$and": [], "$or": []}, set()),
        ({"$not": {}}, set()),
    ],
    refuses=[
        ({"nowhere": 1}, "no document has the field 'nowhere'; there are: b, l, m, m.a"),
        ({"m": 1}, "'m' holds object, but 1 asks for a number"),
        ({"l": {"$contains": "a"}}, "elements of 'l' are bool or null or number, but 'a'"),
        ({"t": {"$gt": True}}, "compares by size"),
        ({"t": "a\0"}, "NUL"),
        ({"t": {"$like": "a\0"}}, "NUL"),
        ({"t": {"$like": "\udfff"}}, "surrogate"),
        ({"\ud800": 1}, "surrogate"),
    ],
)

LETTERS = FilterTable(
    metadata=[
        {"t": "Straße"},
        {"t": "STRASSE"},
        {"t": "Кафе́ й", "gro\u0308ße": 1},
        {"t": "café's", "größe": 2, "l": ["e\u0301"]},
        {"t": "cafe\u0301's"},
        {"t": "が"},
        {"t": "कि"},
        {"t": "שָׁלוֹם"},
    ],
    allows=[
        ({"t": {"$like": "strasse"}}, {0, 1}),
        ({"t": {"$like": "ß"}}, {0, 1}),
        ({"t": {"$like": "КАФЕ"}}, {2}),
        ({"t": {"$like": "и"}}, set()),
        ({"t": {"$like": "CAFE'S"}}, {3, 4}),
        ({"t": {"$like": "'"}}, {3, 4}),
        ({"t": {"$like": "か"}}, set()),
        ({"t": {"$like": "कु"}}, set()),
        ({"t": {"$like": "שלום"}}, {7}),
        ({"t": "café's"}, {3, 4}),
        ({"t": "cafe\u0301's"}, {3, 4}),
        ({"t": "CAFÉ'S"}, set()),
        ({"t": {"$ne": "café's"}}, {0, 1, 2, 5, 6, 7}),
        ({"größe": {"$exists": True}}, {2, 3}),
        ({"gro\u0308ße": {"$gte": 1}}, {2, 3}),
        ({"l": {"$contains": "é"}}, {3}),
        (r"""t = 'café\'s' or t = "a\\b" """, {3, 4}),
    ],
    refuses=[
        (r"t = 'a\d'", "has the escape .*d' in a text; a backslash stands before quotes"),
        (r"t = 'a' or t like 'b\n'", "has the escape"),
    ],
)

BARE = FilterTable(
    metadata=[{}, {}],
    allows=[({}, {0, 1}), ({"year": {"$exists": False}}, {0, 1}), ({"year": None}, set())],
    refuses=[
        ({"year": 1990}, "no document has the field 'year'; no document has any metadata"),
        ("year like '19'", "no document has any metadata"),
        ("tags contains 'a'", "no document has any metadata"),
    ],
)

DATES = FilterTable(
    metadata=[
        {"on": "2024-05-01", "dates": ["2024-01-01", "2024-05-01T23:30:00-05:00", "soon"]},
        {"on": "2024-05-01T23:30:00-05:00", "dates": []},  # in UTC it is the next day
        {"on": "2024-05-02T00:15:00+02:00"},  # in UTC it is still the first of May
        {"on": "2024-05-01 12:00:00.250Z", "year": 2024},
        {"on": "1969-12-31T23:59:59", "year": 1969},
        {"on": "2024-02-30"},  # no date
        {"on": "2024-05", "code": "2024-05-01x"},  # a month is none, either
        {"last": "Smith", "between": 3},
    ],
    allows=[
        ("on = 2024-05-01", {0, 2, 3}),
        ("on = '2024-05-01'", {0, 2, 3}),
        ({"on": "2024-05-01"}, {0, 2, 3}),
        ({"on": datetime.date(2024, 5, 1)}, {0, 2, 3}),
        ({"on": {"$date": "2024-05-01"}}, {0, 2, 3}),
        ({"on": np.datetime64("2024-05-01")}, {0, 2, 3}),
        ("on != 2024-05-01", {1, 4, 5, 6, 7}),
        ("on = 2024-05", {0, 1, 2, 3}),
        ("on = '2024-05'", {0, 1, 2, 3, 6}),  # a text means itself, too
        ("on > 2024-05-01", {1}),
        ("on >= 2024-05-01", {0, 1, 2, 3}),
        ("on >= '2024-05-01'", {0, 1, 2, 3}),
        ("on < 2024-05-01", {4}),
        ("on <= 2024-05-01", {0, 2, 3, 4}),
        ("on <= 2024-05-01T12:00Z", {0, 4}),
        ("on > 2024-05-01T14:00+02:00", {1, 2, 3}),
        ("on = 2024-05-02T06:30:00+02:00", {1}),
        ("on = 2024-05-01T22:15Z", {2}),
        ({"on": datetime.datetime(2024, 5, 1, 22, 15, tzinfo=datetime.UTC)}, {2}),
        ({"on": {"$gte": datetime.datetime(2024, 5, 1, 12)}}, {1, 2, 3}),
        ("on between 2024-05-01 and 2024-05-02", {0, 1, 2, 3}),
        ("on between 1969-12 and 1970-01", {4}),
        ("on not between 2024-05-01 and 2024-05-31", {4, 5, 6}),
        ({"on": {"$between": [datetime.date(2024, 5, 2), "2024-06-01"]}}, {1}),
        ("year between 1969 and 2000", {4}),
        ({"year": {"$between": (np.int64(1969), np.float32(2024))}}, {3, 4}),
        ("on in (2024-05-02, 1969-12-31)", {1, 4}),
        ({"on": {"$in": ["2024-05-02", "2024-05", "2024-02-30"]}}, {0, 1, 2, 3, 5, 6}),
        ({"on": {"$nin": [datetime.date(2024, 5, 1)]}}, {1, 4, 5, 6}),
        ({"year": {"$in": np.array([1969, 2024])}}, {3, 4}),
        ("dates contains 2024-05-02", {0}),
        ("dates contains '2024-05-01T23:30:00-05:00'", {0}),
        ("dates contains 2024-05-01", set()),
        ("on like '2024-05'", {0, 1, 2, 3, 6}),
        ("on exists", {0, 1, 2, 3, 4, 5, 6}),
        ("on in the last 30 days", set()),
        ("last = 'Smith' and between = 3", {7}),
        ("on in the last 9999 years", {0, 1, 2, 3, 4}),
    ],
    refuses=[
        ("on > 2024", "'on' holds date or text, but 2024 asks for a number; write a date as 2024-05-01"),
        ("year > 2024-05-01", "'year' holds number, but '2024-05-01' asks for a date"),
        ("on = 2024-02-30", "'2024-02-30' is no date; they are written 2024-05-01"),
        ({"on": {"$date": 5}}, r"\$date takes a date as text, not 5"),
        ({"on": {"$gte": np.datetime64("NaT")}}, r"no date \(NaT\)"),
        ({"on": {"$last": "fortnight"}}, "takes a time like '30 days' .*, not 'fortnight'"),
        ({"on": {"$last": 30}}, "takes a time like '30 days' .*, not 30"),
        ("year in the last 30 days", "'year' holds number, but '30 days' asks for a date"),
        ("year between 2000 and 1969", "takes the least value first and the greatest second"),
        ("on in the last 0 days", "at least one of them"),
        ({"on": {"$between": ["2024-05-01"]}}, "takes two values, the least and the greatest, not 1"),
        ({"on": {"$between": "2024-05-01"}}, "takes a list, not"),
        ("year between 'a' and 'b'", "'year' holds number, but 'a' asks for a text"),
        ("code > 2024-05-01", "'code' holds text, but '2024-05-01' asks for a date"),
    ],
)

TABLES = (FILMS, EDGES, LETTERS, BARE, DATES)
