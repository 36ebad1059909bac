"""Metadata filters in SQLite: the truth table, and a plain-Python reading of the same rules."""

import sqlite3
import unicodedata
from contextlib import closing

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine
from support.fakes import HashEncoder

import semsearch
from semsearch import versions
from semsearch.errors import FilterError
from semsearch.local.store.database import FOLDED, driver
from semsearch.local.store.document_rows import insert
from semsearch.local.store.filters import StoredFields, documents_of
from semsearch.local.store.schema import create
from semsearch.records import Entry, Record
from semsearch.search.fields import MemoryFields, folded
from semsearch.search.where import matches
from semsearch.search.where_mapping import MAX_CONDITIONS, MAX_LIKE, MAX_VALUES, parse
from semsearch.testing.filters import FILMS, TABLES
from semsearch.types import Document, Span


def stored(metadata):
    """A database in memory that holds documents with this metadata."""
    connection = create_engine("sqlite://").connect()
    create(connection)
    driver(connection).create_function(FOLDED, 1, folded, deterministic=True)
    documents = [Document(str(i), f"film {i}", metadata=entry) for i, entry in enumerate(metadata)]
    vector = np.ones((1, 2), dtype=np.float32)
    insert(connection, [Entry(Record.of(document), [Span(0, 6)], vector) for document in documents], {})
    return connection


@pytest.fixture(scope="module")
def tables():
    connections = [stored(table.metadata) for table in TABLES]
    yield connections
    for connection in connections:
        connection.close()


def select(connection, where):
    return {int(doc) - 1 for doc in np.flatnonzero(documents_of(connection, parse(where, StoredFields(connection))))}


@pytest.mark.parametrize(
    ("table", "where", "expected"),
    [(number, where, expected) for number, table in enumerate(TABLES) for where, expected in table.allows],
)
def test_selects(tables, table, where, expected):
    assert select(tables[table], where) == expected


@pytest.mark.parametrize(
    ("table", "where", "message"),
    [(number, where, message) for number, table in enumerate(TABLES) for where, message in table.refuses],
)
def test_refuses(tables, table, where, message):
    with pytest.raises(FilterError, match=message):
        select(tables[table], where)


def test_a_filter_reads_the_documents_that_it_allows_and_not_all():
    with stored([{"x": n % 50} for n in range(1_000)]) as connection:
        driver(connection).execute("UPDATE sqlite_sequence SET seq = seq")  # a transaction is open now
        steps = []
        driver(connection).set_progress_handler(lambda: steps.append(1) and False, 10)
        for where, most in (({"x": 7}, 100), ({"$and": [{"x": 7}, {"x": {"$lt": 9}}]}, 300), ({"x": {"$ne": 7}}, None)):
            steps.clear()
            select(connection, where)
            assert most is None or len(steps) < most, where


def test_a_document_that_is_gone_is_allowed_by_nothing():
    with stored([{"x": 1}, {"x": 2}, {}]) as connection:
        connection.exec_driver_sql("DELETE FROM documents WHERE doc = 2")
        assert [select(connection, where) for where in ({}, {"x": {"$ne": 1}}, {"$not": {"x": 2}})] == [
            {0, 2},
            {2},
            {0, 2},
        ]


@pytest.mark.slow
def test_the_largest_filters_are_answered():
    metadata = [{"n": i / 7, "t": f"text {i}"} for i in range(50)]
    with stored(metadata) as connection:
        statements = []
        connection.connection.driver_connection.set_trace_callback(statements.append)
        assert select(connection, {"n": {"$in": [i / 7 for i in range(MAX_VALUES)]}}) == set(range(50))
        assert len(statements) == 3  # of all documents, of the types of the field, of the values
        assert select(connection, {"$or": [{"n": i / 7} for i in range(MAX_CONDITIONS)]}) == set(range(50))
        for letter in ("a", "%", "é", "\U0001f600"):
            assert select(connection, {"t": {"$like": letter * MAX_LIKE}}) == set()


NAMES = st.sampled_from(["a", "b", "a.b"])
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from([0.5, 1.0, 2**53, 2.0**53, 2**53 + 1, 2**63 - 1, 2.0**63, 0.1, 0.1 + 0.2]),
    st.text("aAéÉ%_\\", max_size=2),
)
METADATA = st.dictionaries(
    NAMES, VALUES | st.lists(VALUES | st.just([1]), max_size=3) | st.dictionaries(NAMES, VALUES, max_size=2), max_size=3
)
CONDITIONS = st.one_of(
    VALUES,
    st.dictionaries(st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$contains", "$like"]), VALUES),
    st.fixed_dictionaries({"$exists": st.booleans()}),
    st.dictionaries(st.sampled_from(["$in", "$nin"]), st.lists(VALUES, max_size=4), min_size=1),
)
FILTERS = st.recursive(
    st.dictionaries(NAMES, CONDITIONS | st.fixed_dictionaries({"$not": CONDITIONS}), max_size=2),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"$not": inner}),
        st.dictionaries(st.sampled_from(["$and", "$or"]), st.lists(inner, max_size=3), min_size=1),
    ),
    max_leaves=6,
)


def outcome(where, fields):
    """The filter, or the message of its refusal."""
    try:
        return parse(where, fields)
    except FilterError as error:
        return str(error)


@pytest.mark.slow
@settings(max_examples=300)
@given(st.lists(METADATA, max_size=6), st.lists(FILTERS, min_size=1, max_size=6))
@example([{"a": 0.1 + 0.2}, {"a": 0.3}], [{"a": {"$in": [0.1 + 0.2]}}])
def test_selects_what_matches(metadata, filters):
    fields = MemoryFields(metadata)
    with stored(metadata) as connection:
        for where in filters:
            wanted = outcome(where, fields)
            assert outcome(where, StoredFields(connection)) == wanted
            if not isinstance(wanted, str):
                allowed = set((np.flatnonzero(documents_of(connection, wanted)) - 1).tolist())
                assert allowed == {i for i, entry in enumerate(metadata) if matches(wanted, entry)}


def test_a_collection_takes_filters_as_mappings_and_as_texts(tmp_path):
    with semsearch.create("films", encoder=HashEncoder(4), home=tmp_path) as films:
        films.add([Document(str(i), f"film {i}", metadata=entry) for i, entry in enumerate(FILMS.metadata)])
        for where in ("year >= 1990", '{"year": {"$gte": 1990}}', {"year": {"$gte": 1990}}):
            assert {hit.document.id for hit in films.search("film", where=where)} == {"1", "2", "3"}
            assert {hit.document.id for hit in films.similar(["0"], where=where)} == {"1", "2", "3"}
            assert films.count(where) == 3
            assert films.ids(where) == ["1", "2", "3"]
        for where in ("year >=", {1: 1, "year": 2}, {"year": 10**5000}, "year = " + "9" * 5000, 5):
            for ask in (films.count, films.ids, lambda where: films.search("film", where=where)):
                with pytest.raises(FilterError):
                    ask(where)


def test_a_remembered_filter_is_not_taken_for_another(tmp_path):
    with semsearch.create("films", encoder=HashEncoder(4), home=tmp_path) as films:
        films.add([Document(name, f"film {name}", metadata={"b": b}) for name, b in {"one": 1, "true": True}.items()])
        for where, expected in [({"b": 1}, "one"), ({"b": True}, "true"), ("b = 1.0", "one"), ("b = true", "true")]:
            assert [hit.document.id for hit in films.search("film", where=where)] == [expected]


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


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


def test_metadata_that_an_older_version_wrote_is_compared_in_the_form_nfc(tmp_path):
    raw = unicodedata.normalize("NFD", "Bücher")
    with semsearch.create("films", encoder=HashEncoder(), home=tmp_path) as made:
        made.add([Document("1", "a film", metadata={raw: raw, "l": [raw, "Bücher"], "n": 1, "m": {raw: None}})])
        file = made.path / "collection.sqlite"
    with closing(sqlite3.connect(file)) as direct, direct:
        direct.execute("UPDATE OR IGNORE fields SET name = replace(name, 'Bücher', ?)", (raw,))
        direct.execute("UPDATE OR IGNORE fields SET value = ? WHERE value = 'Bücher' AND element = 0", (raw,))
        direct.execute("UPDATE state SET analysis = 2")
    with semsearch.open("films", encoder=HashEncoder(), home=tmp_path) as opened:
        assert opened.info()["versions"]["analysis"] == versions.ANALYSIS
        for where in ({"Bücher": "Bücher"}, {raw: raw}, {"l": {"$contains": raw}}, {"m.Bücher": None}, {"n": 1}):
            assert [hit.id for hit in opened.search("film", where=where)] == ["1"], where
        assert opened.check(deep=True) == []
