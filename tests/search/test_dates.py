"""Dates compare by the moment they stand for, are found in ISO forms, and are values of metadata."""

import calendar
import datetime
import itertools
import sqlite3

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import HashEncoder

import semsearch
from semsearch import dates
from semsearch.errors import DataError, FilterError
from semsearch.metadata_values import json_value
from semsearch.search.fields import MemoryFields
from semsearch.search.where import matches
from semsearch.search.where_mapping import parse
from semsearch.types import Document

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
ZONES = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(
    lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes))
)


@given(st.datetimes(timezones=ZONES), st.sampled_from("T "))
def test_a_moment_is_pythons(time, sign):
    assert dates.moment(time.isoformat(sign)) == (time - EPOCH) // datetime.timedelta(microseconds=1)


@given(st.datetimes(timezones=ZONES))
def test_what_is_kept_is_the_same_moment(time):
    assert dates.moment(dates.iso(time)) == dates.moment(time.isoformat())


@given(st.dates())
def test_a_month_ends_where_the_next_begins(day):
    first, behind = dates.span(f"{day:%Y-%m}".rjust(7, "0"))
    assert first <= dates.moment(day.isoformat()) < behind
    last = day.replace(day=calendar.monthrange(day.year, day.month)[1])
    assert behind == dates.span(last.isoformat())[1]


@pytest.mark.parametrize(
    "text",
    ["", "2024", "2024-5-1", "2024-02-30", "2024-05-01T24:00", "2024-05-01T12", "2024-05-01x", "x2024-05-01",
     "0000-01-01", "2024-05-01T12:00+25:00", "2024-05-01T12:00:60", "٢٠٢٤-٠٥-٠١", "2024-05-01 ", "1234-567-89"],
)  # fmt: skip
def test_what_is_no_date(text):
    assert dates.moment(text) is None
    assert dates.span(text) is None


@pytest.fixture
def clock(monkeypatch):
    def at(text):
        monkeypatch.setattr(dates, "now", lambda: datetime.datetime.fromisoformat(text))

    return at


@pytest.mark.parametrize(
    ("said", "first"),
    [
        ("30 days", "2024-03-01"),
        ("1 day", "2024-03-30"),
        ("week", "2024-03-24"),
        ("2 hours", "2024-03-31T10:30:00Z"),
        ("90 Minutes", "2024-03-31T11:00:00Z"),
        ("month", "2024-02-29"),  # of a month without a 31st its last day
        ("13 months", "2023-02-28"),
        ("year", "2023-03-31"),
        ("9000 years", "0001-01-01"),
    ],
)
def test_the_last(clock, said, first):
    clock("2024-03-31T12:30:00+00:00")
    assert dates.last(said) == (dates.moment(first), dates.moment("2024-03-31T12:30:00Z") + 1)


def test_what_is_to_come_is_not_in_the_last_days(clock):
    clock("2024-03-31T12:30:00+00:00")
    held = [{"on": on} for on in ("2024-03-30", "2024-03-31", "2024-03-31T13:00Z", "2024-04-01", "2024-03-29")]
    for text in ("on in the last 1 day", "on last day", "on in last 1 days", "on IN THE LAST DAY"):
        where = parse(text, MemoryFields(held))
        assert [matches(where, metadata) for metadata in held] == [True, True, False, False, False]


def test_the_last_hour_moves_on(clock):
    with semsearch.create("log", encoder=HashEncoder(), home=":memory:") as log:
        log.add([Document("a", "it began", metadata={"at": datetime.datetime(2024, 3, 31, 12)})])
        for time, found in (("12:30", 1), ("12:59", 1), ("13:30", 0)):
            clock(f"2024-03-31T{time}:00+00:00")
            assert len(log.search("began", where="at in the last 1 hour")) == found
            assert log.count("at in the last 1 hour") == found


ODD = {
    "day": datetime.date(2024, 5, 1),
    "time": datetime.datetime(2024, 5, 1, 12, 30),
    "zoned": datetime.datetime(2024, 5, 1, 0, 30, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
    "whole": np.int64(7),
    "real": np.float32(0.5),
    "double": np.float64(0.1),
    "truth": np.bool_(True),
    "word": np.str_("wort"),
    "then": np.datetime64("2024-05-01T12:00:00.123456789"),
    "month": np.datetime64("2024-05"),
    "hour": np.datetime64("2024-05-01T12"),
    "many": np.array([1, 2]),
    "mixed": [datetime.date(2024, 5, 1), np.int8(3), {"inner": np.datetime64("2024-05-01")}],
    "pair": (1, 2),
}
KEPT = {
    "day": "2024-05-01",
    "time": "2024-05-01T12:30:00",
    "zoned": "2024-04-30T22:30:00+00:00",
    "whole": 7,
    "real": 0.5,
    "double": 0.1,
    "truth": True,
    "word": "wort",
    "then": "2024-05-01T12:00:00.123456789",
    "month": "2024-05-01",
    "hour": "2024-05-01T12:00",
    "many": [1, 2],
    "mixed": ["2024-05-01", 3, {"inner": "2024-05-01"}],
    "pair": [1, 2],
}


@pytest.mark.parametrize("home", [None, ":memory:"])
def test_what_metadata_takes(home):
    with semsearch.create("odd", encoder=HashEncoder(), home=home) as odd:
        odd.add([Document("a", "cat", metadata=ODD), Document("b", "dog")])
        assert odd.update_metadata(["b"], ODD) == 2 - 1
        for document in odd.get(["a", "b"]):
            assert dict(document.metadata) == KEPT
            assert all(type(value) is type(KEPT[name]) for name, value in document.metadata.items())
        assert dict(odd.search("cat", k=1)[0].metadata) == KEPT
        assert odd.count({"whole": 7}) == odd.count({"real": np.float32(0.5)}) == odd.count("truth = true") == 2
        assert odd.count("zoned = 2024-04-30") == odd.count({"then": {"$gte": np.datetime64("2024-05-01T12:00")}}) == 2
        assert odd.count({"mixed": {"$contains": datetime.date(2024, 5, 1)}}) == 2
        assert odd.count({"mixed": {"$contains": np.int64(3)}}) == 2
        assert odd.add([Document("a", "cat", metadata=ODD)]).unchanged == 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.datetime64("NaT"), r"'on', holds no date \(NaT\)"),
        (np.float32("nan"), "'on', holds nan, which is no JSON number"),
        (np.timedelta64(3, "D"), "'on', holds a timedelta64; texts, numbers, dates, booleans"),
        (datetime.timedelta(1), "'on', holds a timedelta"),
        (np.array([1, np.nan]), "'on', holds nan"),
        ([np.datetime64("NaT")], "no date"),
        (np.array([object()]), "'on', holds an object"),
        (np.complex64(1), "holds a complex64"),
    ],
)
def test_what_metadata_does_not_take(value, message):
    with semsearch.create("odd", encoder=HashEncoder()) as odd:
        with pytest.raises(DataError, match=message):
            odd.add([Document("a", "cat", metadata={"on": value})])
        odd.add([Document("a", "cat")])
        with pytest.raises(DataError, match=message):
            odd.update_metadata(["a"], {"on": value})


def test_a_value_of_a_timestamps_class():
    """pandas' Timestamp and NaT are datetimes; the one has nanoseconds, the other is not equal to itself."""

    class Nat(datetime.datetime):
        def __eq__(self, other):
            return False

        def __ne__(self, other):
            return True

        __hash__ = None

    with pytest.raises(ValueError, match="no date"):
        json_value(Nat(2024, 5, 1))


def test_what_a_search_is_given_once_serves_every_look(monkeypatch):
    with semsearch.create("odd", encoder=HashEncoder()) as odd:
        odd.add([Document(str(year), "a film", metadata={"year": year}) for year in (1969, 1990, 2024)])
        wanted = {"1969", "2024"}
        assert {hit.id for hit in odd.search("film", where={"year": {"$in": iter([1969, 2024])}})} == wanted
        answers = odd.search_many(["film", "+film"], where={"year": {"$in": (y for y in (1969, 2024))}}, mode="hybrid")
        assert [{hit.id for hit in hits} for hits in answers] == [wanted, wanted]
        assert odd.count({"year": {"$in": {1969, 2024}.__iter__()}}) == 2
        nested = {}
        nested["$and"] = [nested]
        with pytest.raises(FilterError, match="nested deeper than 50"):
            odd.search("film", where=nested)


def test_a_collection_of_an_earlier_version(tmp_path):
    """Its texts that are dates become comparable as such, and nothing else of it changes."""
    home = tmp_path / "old"
    metadata = [
        {"on": "2024-05-01", "list": ["2024-01-01", "x"], "n": 5},
        {"on": "no date"},
        {"on": "2024-05-01T23:00-05:00"},
    ]
    with semsearch.create("old", encoder=HashEncoder(), home=home) as old:
        old.add([Document(str(number), "a text", metadata=each) for number, each in enumerate(metadata)])
    database = sqlite3.connect(home / "old" / "collection.sqlite")
    rows = set(database.execute("SELECT * FROM fields"))
    database.execute("DELETE FROM fields WHERE type = 'date'")
    database.execute("ALTER TABLE origins DROP COLUMN position")
    database.execute("PRAGMA user_version = 4")
    database.commit()
    database.close()
    with semsearch.open("old", home=home, encoder=HashEncoder()) as old:
        assert list(old.ids("on = 2024-05-01")) == ["0"]
        assert list(old.ids("on >= '2024-05-02'")) == ["2"]
        assert list(old.ids("list contains 2024-01-01")) == ["0"]
        assert not old.check(deep=True)
    database = sqlite3.connect(home / "old" / "collection.sqlite")
    assert set(database.execute("SELECT * FROM fields")) == rows
    database.close()


def test_zones_order_as_moments_do():
    texts = [
        "2024-05-01T23:00-05:00",
        "2024-05-02T00:00+02:00",
        "2024-05-02",
        "2024-05-01T22:30Z",
        "2024-05-02 09:00 +0900",
    ]
    order = sorted(texts, key=dates.moment)
    assert order == [texts[1], texts[3], texts[2], texts[4], texts[0]]
    fields = MemoryFields([{"on": text} for text in texts])
    for one, other in itertools.product(texts, repeat=2):
        assert matches(parse({"on": {"$lt": {"$date": other}}}, fields), {"on": one}) == (
            dates.moment(one) < dates.moment(other)
        )
