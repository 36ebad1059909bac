"""Metadata filters against a plain-Python reading of the same rules."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.fakes import HashEncoder

import semsearch
from semsearch.errors import FilterError
from semsearch.local.store.filters import allowed_documents
from semsearch.local.store.store import Store
from semsearch.records import Entry, Record
from semsearch.types import Document, Span

FILMS = [
    {"year": 1985, "genres": ["Drama", "War"], "title": "A", "seen": True, "rating": 7.5},
    {"year": 1990, "genres": ["Comedy"], "title": "Bee", "seen": False, "rating": None},
    {"year": 2001, "genres": [], "title": "C_e%e", "studio": {"name": "X", "country": "FR"}},
    {"genres": ["Drama"], "title": "drama queen", "year": 1990.5, "codes": [1, "1", True]},
    {},
]


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    store = Store.create(tmp_path_factory.mktemp("films") / "films", {}, 2)
    documents = [Document(str(i), f"film {i}", metadata=metadata) for i, metadata in enumerate(FILMS)]
    vector = np.ones((1, 2), dtype=np.float32)
    store.put([Entry(Record.of(document), [Span(0, 6)], vector) for document in documents])
    yield store
    store.close()


def select(store, where):
    with store.read() as view:
        mask = allowed_documents(view.connection, where)
    return {int(doc) - 1 for doc in np.flatnonzero(mask)}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
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
    ],
)
def test_selects(films, where, expected):
    assert select(films, where) == expected


@pytest.mark.parametrize(
    ("where", "message"),
    [
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
        ("year = 1985", "must be a mapping"),
    ],
)
def test_refuses(films, where, message):
    with pytest.raises(FilterError, match=message):
        select(films, where)


def test_refuses_endless_nesting(films):
    where = {"year": 1985}
    for _ in range(60):
        where = {"$not": where}
    with pytest.raises(FilterError, match="nested deeper"):
        select(films, where)


SCALARS = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, 1.0]), st.sampled_from(["a", "b", "ab"]), st.booleans())


def kind(value):
    return "bool" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"


def holds(metadata, name, operator, operand):
    """The rules, for one document."""
    there = name in metadata
    value = metadata.get(name)
    same = there and not isinstance(value, list) and kind(value) == kind(operand)
    match operator:
        case "$ne":
            return not (same and value == operand)
        case "$eq":
            return same and value == operand
        case "$gt":
            return same and value > operand
        case "$lte":
            return same and value <= operand
        case "$contains":
            return (
                there
                and isinstance(value, list)
                and any(kind(element) == kind(operand) and element == operand for element in value)
            )
    raise AssertionError(operator)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.fixed_dictionaries({}, optional={"x": SCALARS, "y": st.lists(SCALARS, max_size=3)}), min_size=1, max_size=12
    ),
    st.sampled_from([("x", "$eq"), ("x", "$ne"), ("x", "$gt"), ("x", "$lte"), ("y", "$contains")]),
    SCALARS,
)
def test_selects_as_the_rules_say(tmp_path_factory, metadata, condition, operand):
    name, operator = condition
    if operator in ("$gt", "$lte") and isinstance(operand, bool):
        return
    with semsearch.create("films", encoder=HashEncoder(4), home=tmp_path_factory.mktemp("home")) as films:
        films.add([Document(str(i), f"film {i}", metadata=entry) for i, entry in enumerate(metadata)])
        try:
            found = films.search("film", k=100, where={name: {operator: operand}})
        except FilterError:  # right only if no document has the field with the operand's type
            assert not any(
                name in entry
                and any(
                    kind(value) == kind(operand)
                    for value in (entry[name] if isinstance(entry[name], list) else [entry[name]])
                )
                for entry in metadata
            )
            return
        expected = {str(i) for i, entry in enumerate(metadata) if holds(entry, name, operator, operand)}
        assert {hit.document.id for hit in found} == expected
