"""Filters as a tree: what each `where` is reduced to, and its limits, which end in sentences."""

from collections import deque
from enum import IntEnum, StrEnum
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semsearch.errors import FilterError
from semsearch.search.fields import MemoryFields
from semsearch.search.where import And, Compare, Contains, Equal, Exists, Like, Member, Not, Or, Value, matches
from semsearch.search.where_mapping import parse
from semsearch.testing.filters import TABLES

FIELDS = MemoryFields([{"n": 1, "t": "a", "b": True, "l": ["a", 1], "m": {"n": 1}}])
ONE = Value("number", 1)


class Year(IntEnum):
    FIRST = 1


class Name(StrEnum):
    FIRST = "a"


@pytest.mark.parametrize(
    ("where", "tree"),
    [
        ({}, And(())),
        ({"n": 1}, Equal("n", ONE)),
        ({"n": {"$ne": 1}}, Not(Equal("n", ONE))),
        ({"n": {"$gte": 1, "$lt": 2}}, And((Compare("n", "$gte", ONE), Compare("n", "$lt", Value("number", 2))))),
        ({"n": {"$in": [1, None]}}, Member("n", (ONE, Value("null", "")))),
        ({"n": {"$nin": [1]}}, And((Exists("n"), Not(Member("n", (ONE,)))))),
        ({"n": {"$exists": False}}, Not(Exists("n"))),
        ({"l": {"$contains": 1}}, Contains("l", ONE)),
        ({"t": {"$like": "x"}}, Like("t", "x")),
        ({"n": {"$not": {"$gt": 1}}}, Not(Compare("n", "$gt", ONE))),
        ({"$or": [{"n": 1}, {"b": True}]}, Or((Equal("n", ONE), Equal("b", Value("bool", True))))),
        ("n = 1 and m.n = 1", And((Equal("n", ONE), Equal("m.n", ONE)))),
        (MappingProxyType({"n": MappingProxyType({"$in": deque([1])})}), Member("n", (ONE,))),
        ({"n": Year.FIRST, "t": Name.FIRST}, And((Equal("n", ONE), Equal("t", Value("text", "a"))))),
        ({"n": np.float64(1)}, Equal("n", ONE)),
    ],
)
def test_is_reduced_to_a_tree(where, tree):
    found = parse(where, FIELDS)
    assert found == tree
    assert hash(found) == hash(tree)


def test_true_and_one_are_different_filters():
    assert parse({"b": True}, MemoryFields([{"b": 1}, {"b": True}])) != parse(
        {"b": 1}, MemoryFields([{"b": 1}, {"b": True}])
    )


@pytest.mark.parametrize(
    ("table", "where", "expected"), [(table, where, expected) for table in TABLES for where, expected in table.allows]
)
def test_matches_in_plain_python(table, where, expected):
    wanted = parse(where, MemoryFields(table.metadata))
    assert {i for i, entry in enumerate(table.metadata) if matches(wanted, entry)} == expected


@pytest.mark.parametrize(
    ("table", "where", "message"), [(table, where, message) for table in TABLES for where, message in table.refuses]
)
def test_refuses(table, where, message):
    with pytest.raises(FilterError, match=message):
        parse(where, MemoryFields(table.metadata))


def nested(levels, inner, *, of_field=False):
    for _ in range(levels):
        inner = {"$not": inner}
    return {"n": inner} if of_field else inner


ENDLESS = {}
ENDLESS["$and"] = [ENDLESS]
WIDE = {"n": 1}
for _ in range(40):
    WIDE = {"$or": [WIDE, WIDE]}  # a small object that stands for 2 to the power of 40 conditions
DEEP_LIST = []
for _ in range(100_000):
    DEEP_LIST = [DEEP_LIST]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "message"),
    [
        (nested(51, {"n": 1}), "nested deeper than 50 levels"),
        (nested(100_000, {"n": 1}), "nested deeper than 50 levels"),
        (nested(51, 1, of_field=True), "nested deeper than 50 levels"),
        (nested(100_000, 1, of_field=True), "nested deeper than 50 levels"),
        (ENDLESS, "nested deeper than 50 levels"),
        ({"$or": [{"n": 1}] * 1001}, r"more than 1,000 conditions, at where.\$or\[1000\].*\$in"),
        ({"$and": [{}] * 1001}, "more than 1,000 conditions"),
        ({"$and": [{"$or": []}] * 1001}, "more than 1,000 conditions"),
        (WIDE, "more than 1,000 conditions"),
        ({"n": {"$in": [1] * 6000, "$nin": [1] * 6000}}, "6,000 values, the 12,000 of the filter so far.*10,000"),
        ({"n": {"$in": range(10**12)}}, "1,000,000,000,000 values"),
        ({"t": {"$like": "a" * 10_001}}, "10,001 characters; at most 10,000"),
        ({"n": 10**5000}, "does not fit 64 bits"),
        ({"n": {"$in": [-(10**5000)]}}, "does not fit 64 bits"),
        ({"n": {"$gt": 2**63}}, "9223372036854775808 does not fit 64 bits"),
        ({"n": [10**5000]}, "takes a text, a number"),
        ({"n": DEEP_LIST}, "takes a text, a number"),
        ({"n": float("-inf")}, "finite"),
        ({"t": "a" * 1_000_001}, r"where.t.\$eq: a text of 1,000,001 characters; at most 1,000,000"),
        ({"t": {"$in": ["a", "a" * 1_000_001]}}, "a text of 1,000,001 characters"),
        ({"t": {"$gt": "\ud800"}}, r"where.t.\$gt: half a surrogate"),
        ({"t": {"$in": ["\ud800"]}}, "half a surrogate"),
        ({"l": {"$contains": "\ud800"}}, "half a surrogate"),
        ({"\ud800": {"$exists": True}}, "half a surrogate"),
        ({"$\ud800": 1}, "no operator that joins"),
        ({"n": {"\ud800": 1}}, "is no operator"),
        ({1: 1, "n": 1}, "where.1 is no operator"),
        ({10**5000: 1}, "no operator that joins"),
        ({"n": {10**5000: 1}}, "is no operator"),
        ({"x" * 10**6: 1}, "no document has the field"),
        ({"": 1}, "the name of a field is empty; there are: "),
        (b"n = 1", "must be a mapping of fields to conditions, or a text"),
        ({"n": {"$in": b"1"}}, "takes a list"),
        (None, "must be a mapping"),
    ],
)
def test_has_limits(where, message):
    with pytest.raises(FilterError, match=message) as refused:
        parse(where, FIELDS)
    assert len(str(refused.value).encode()) < 1000  # a sentence, that can be printed


def test_reads_up_to_its_limits():
    assert parse(nested(50, {"n": 1}), FIELDS)
    assert parse(nested(50, 1, of_field=True), FIELDS)
    assert len(parse({"$or": [{"n": i} for i in range(1000)]}, FIELDS).parts) == 1000
    assert len(parse({"n": {"$in": range(10_000)}}, FIELDS).values) == 10_000
    assert parse({"t": {"$like": "a" * 10_000}}, FIELDS)
    assert parse({"t": "a" * 1_000_000}, FIELDS)


def test_the_same_reference_to_a_field_is_looked_up_once():
    class Counting(MemoryFields):
        asked = 0

        def types(self, name, element):
            self.asked += 1
            return super().types(name, element)

    fields = Counting([{"n": 1}])
    parse({"$or": [{"n": 1}] * 100}, fields)
    assert fields.asked == 1


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=3)
    | st.binary(max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["n", "t", "$and", "$or", "$not", "$in", "$eq", "$gt", "$like", "$contains"])
            | st.integers(),
            inner,
            max_size=3,
        )
    ),
)


@pytest.mark.slow
@given(ANYTHING)
def test_gives_a_filter_or_an_error(where):
    try:
        found = parse(where, FIELDS)
    except FilterError as error:
        str(error).encode()
    else:
        assert matches(found, {"n": 1}) in (True, False)
