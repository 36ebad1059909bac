"""The text form of filters, and that nothing typed there ends in anything but a mapping or a FilterError."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semsearch.errors import FilterError
from semsearch.search.where_text import EXAMPLE, parse_where


@pytest.mark.parametrize(
    ("text", "mapping"),
    [
        ("year >= 1990", {"year": {"$gte": 1990}}),
        ("year=1990", {"year": {"$eq": 1990}}),
        ("rating > -1.5e1", {"rating": {"$gt": -15.0}}),
        ('genres contains "Drama"', {"genres": {"$contains": "Drama"}}),
        ("title like 'it\\'s'", {"title": {"$like": "it's"}}),
        ('title = "say \\"hi\\""', {"title": {"$eq": 'say "hi"'}}),
        ("seen = true or seen = NULL", {"$or": [{"seen": {"$eq": True}}, {"seen": {"$eq": None}}]}),
        ("a = 1 AND b = 2 and c = 3", {"$and": [{"a": {"$eq": 1}}, {"b": {"$eq": 2}}, {"c": {"$eq": 3}}]}),
        (
            "a = 1 or b = 2 and c = 3",
            {"$or": [{"a": {"$eq": 1}}, {"$and": [{"b": {"$eq": 2}}, {"c": {"$eq": 3}}]}]},
        ),
        ("not (a = 1 or b = 2)", {"$not": {"$or": [{"a": {"$eq": 1}}, {"b": {"$eq": 2}}]}}),
        ("year in (1990, 1991)", {"year": {"$in": [1990, 1991]}}),
        ("year not in [1990]", {"year": {"$nin": [1990]}}),
        ("year in ()", {"year": {"$in": []}}),
        ("studio.country = 'FR'", {"studio.country": {"$eq": "FR"}}),
        ("`box office` <> 0", {"box office": {"$ne": 0}}),
        ("order = 1", {"order": {"$eq": 1}}),
        ("android = 1", {"android": {"$eq": 1}}),
        (
            "year exists and not rating exists",
            {"$and": [{"year": {"$exists": True}}, {"$not": {"rating": {"$exists": True}}}]},
        ),
        ("year not exists", {"year": {"$exists": False}}),
        ("x between 1 and 2 and y = 3", {"$and": [{"x": {"$between": [1, 2]}}, {"y": {"$eq": 3}}]}),
        ("x not between 1 and 2", {"$and": [{"x": {"$exists": True}}, {"$not": {"x": {"$between": [1, 2]}}}]}),
        ("on in the last 30 days", {"on": {"$last": "30 days"}}),
        ("on last week or x = 1", {"$or": [{"on": {"$last": "week"}}, {"x": {"$eq": 1}}]}),
        ("last = 1 and between = 2", {"$and": [{"last": {"$eq": 1}}, {"between": {"$eq": 2}}]}),
        ("on = 2024-05-01", {"on": {"$eq": {"$date": "2024-05-01"}}}),
        ("on in (2024-05, 3)", {"on": {"$in": [{"$date": "2024-05"}, 3]}}),
        ("on > 2024-05-01 12:00 +0200", {"on": {"$gt": {"$date": "2024-05-01 12:00 +0200"}}}),
        ('{"year": {"$gte": 1990}}', {"year": {"$gte": 1990}}),
        ("name = '; DROP TABLE documents; --'", {"name": {"$eq": "; DROP TABLE documents; --"}}),
    ],
)
def test_reads(text, mapping):
    assert parse_where(text) == mapping


def test_reads_its_own_example():
    assert set(parse_where(EXAMPLE)) == {"$and"}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "character 1, at the end"),
        ("year >=", "at the end"),
        ("year ~ 5", "character 6, at '~ 5'"),
        ("(year = 5", "at the end"),
        ("year = 5 6", "character 10, at '6'"),
        ("year = abc", "at 'abc'"),
        ("{year", "JSON"),
        ("(" * 5000 + "a = 1", "at the end"),
        ("year = \ud800", r"at character 8, at '\ud800'"),
    ],
)
def test_says_where_it_stopped(text, place):
    with pytest.raises(FilterError, match=re.escape(place)):
        parse_where(text)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(" * 50 + "a = 1" + ")" * 50, "nested deeper than 50 levels"),
        ("(" * 10_000 + "a = 1" + ")" * 10_000, "nested deeper than 50 levels"),
        ("not " * 20_000 + "a = 1", "nested deeper than 50 levels"),
        ('{"$not": ' * 50_000 + "{}" + "}" * 50_000, "nested deeper than 50 levels"),
        (" or ".join(["a = 1"] * 50_000), "more than 30,000 words, numbers and signs"),
        ("(" * 100_000, "more than 30,000 words, numbers and signs"),
        ("a in (" + "1, " * 100_000 + "1)", "more than 30,000 words, numbers and signs"),
        ("a = " + "9" * 5000, "99999999999999999999… of 5,000 digits does not fit 64 bits"),
        ("a = -" + "9" * 5000, "5,001 digits does not fit 64 bits"),
        ('{"a": ' + "9" * 5000 + "}", "99999999999999999999… of 5,000 digits does not fit 64 bits"),
        ("a = '" + "x" * 1_000_000 + "'", "has 1,000,006 characters; at most 1,000,000"),
        (" " * 50_000_000, "has 50,000,000 characters"),
        ('{"a": "' + "x" * 1_000_000 + '"}', "has 1,000,009 characters"),
        ('{"a": {"$gt": 1}, "a": {"$lt": 5}}', "names 'a' twice in one object"),
    ],
)
def test_has_limits(text, message):
    with pytest.raises(FilterError, match=re.escape(message)):
        parse_where(text)


@pytest.mark.slow
def test_reads_up_to_its_limits():
    assert parse_where("not " * 49 + "a = 1")
    assert parse_where("a = '" + "x" * 999_994 + "'") == {"a": {"$eq": "x" * 999_994}}
    assert parse_where("a = '" + "\\'" * 499_997 + "'") == {"a": {"$eq": "'" * 499_997}}
    assert parse_where("(" * 49 + "a = 1" + ")" * 49) == {"a": {"$eq": 1}}
    values = list(range(10_000))
    assert parse_where(f"a in {values}") == {"a": {"$in": values}}
    assert len(parse_where(" or ".join(f"not (a = {i})" for i in range(1000)))["$or"]) == 1000


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(["a", "=", "1", "and", "or", "not", "(", ")", "in", "'x'", "{", ","])).map(" ".join)
)
def test_gives_a_mapping_or_an_error(text):
    with contextlib.suppress(FilterError):
        assert isinstance(parse_where(text), dict)
