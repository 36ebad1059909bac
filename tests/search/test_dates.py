"""Dates compare by the moment they stand for, are found in ISO forms, and are values of metadata."""

import calendar
import datetime
import itertools
import sqlite3
from decimal import Decimal
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import HashEncoder

import semsearch
from semsearch import dates
from semsearch.errors import DataError, FilterError, UsageError
from semsearch.metadata_values import json_value
from semsearch.search.fields import MemoryFields
from semsearch.search.where import matches
from semsearch.search.where_mapping import parse
from semsearch.testing.memory import MemoryHome
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
        (np.datetime64("2024-05"), "'on', holds the month '2024-05' of numpy's, which says no day: give a day"),
        (np.datetime64("2024"), "the year '2024'"),
        (np.datetime64("2024-05-02", "W"), "the week '2024-05-02'"),
        (np.float32("nan"), "'on', holds nan, which is no JSON number"),
        (np.timedelta64(3, "M"), "'on', holds a timedelta64; texts, numbers, dates, booleans"),
        (np.timedelta64("NaT"), r"'on', holds no duration \(NaT\)"),
        (datetime.timedelta, "'on', holds a type"),
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


def test_what_a_database_gives_is_kept_as_parquet_keeps_it():
    """A frame says the same whether it is put in or written to a file before."""
    given = {
        "price": Decimal("1.10"),
        "long": Decimal("12345678901234567890.5"),
        "took": datetime.timedelta(days=1, microseconds=2),
        "numpy": np.timedelta64(1500, "ms"),
        "at": datetime.time(1, 2, 3),
        "key": UUID(int=1),
    }
    kept = {
        "price": 1.1,
        "long": "12345678901234567890.5",
        "took": 86400.000002,
        "numpy": 1.5,
        "at": "01:02:03",
        "key": "00000000-0000-0000-0000-000000000001",
    }
    with semsearch.create("odd", encoder=HashEncoder()) as odd:
        odd.add([Document("a", "cat", metadata=given), {"id": "b", "text": "dog", **given}])
        assert [dict(document.metadata) for document in odd.get(["a", "b"])] == [kept, kept]
        assert odd.count({"price": {"$lt": Decimal("1.2")}, "at": datetime.time(1, 2, 3)}) == 2
        assert odd.count({"took": {"$gt": datetime.timedelta(hours=1)}, "key": UUID(int=1)}) == 2


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


@pytest.fixture
def log():
    with semsearch.create("log", encoder=HashEncoder()) as log:
        days = ("2023-12-31", "2024-04-30", "2024-05-01", "2024-05-31", "2024-06-01", "2024-06-02")
        log.add([Document(day, "it began", metadata={"on": day, "n": place}) for place, day in enumerate(days)])
        yield log


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ({"on": np.datetime64("2024-05")}, 2),
        ({"on": np.datetime64("2024")}, 5),
        ({"on": {"$gt": np.datetime64("2024-05")}}, 2),
        ({"on": {"$lte": np.datetime64("2024-05")}}, 4),
        ({"on": {"$between": [np.datetime64("2024-04"), np.datetime64("2024-05")]}}, 3),
        ({"on": {"$in": [np.datetime64("2024-06", "M"), {"$date": np.datetime64("2023")}]}}, 3),
        ({"on": np.datetime64("2024-05-30", "W")}, 3),  # from the 30th to the 5th
        ({"on": np.datetime64("2024-05-31")}, 1),
    ],
)
def test_a_month_of_numpys_is_the_month(log, where, count):
    assert log.count(where) == count


@pytest.mark.parametrize(
    ("ago", "said"),
    [
        (datetime.timedelta(days=3), "3 days"),
        (datetime.timedelta(weeks=5), "35 days"),
        (datetime.timedelta(hours=36), "36 hours"),
        (np.timedelta64(3, "D"), "3 days"),
        (np.timedelta64(90, "m"), "90 minutes"),
        (np.timedelta64(2, "M"), "2 months"),
        (np.timedelta64(1, "Y"), "year"),
    ],
)
def test_a_timedelta_is_a_time_ago(log, clock, ago, said):
    clock("2024-06-02T12:00:00+00:00")
    found = log.ids({"on": {"$last": ago}})
    assert found == log.ids(f"on in the last {said}")
    assert bool(found) == ("minutes" not in said), "a day begins at midnight"


@pytest.mark.parametrize(
    "ago",
    ["0 days", datetime.timedelta(0), datetime.timedelta(-1), np.timedelta64(0, "h"), np.timedelta64("NaT"), 30,
     np.timedelta64(-2, "M"), np.timedelta64(5)],
)  # fmt: skip
def test_no_time_ago_is_told(log, ago):
    with pytest.raises(FilterError, match=r"at least one of them\), or a timedelta, not "):
        log.count({"on": {"$last": ago}})


def test_nothing_lies_in_the_last_0_days(log):
    with pytest.raises(FilterError, match="at least one of them"):
        log.count("on in the last 0 days")


@pytest.mark.parametrize(
    "where",
    ["n between 5 and 2", "n not between 5 and 2", "on between 2024-06 and 2024-05",
     "on between 2024-06-01 and 2024-05",
     'on between "b" and "a"', 'on between "2024-06-01" and 2024-05-01', {"n": {"$between": [5, np.float64(4.5)]}},
     {"on": {"$between": [datetime.date(2024, 6, 1), np.datetime64("2024-05")]}}],
)  # fmt: skip
def test_nothing_lies_between_ends_that_are_swapped(log, where):
    with pytest.raises(FilterError, match="takes the least value first and the greatest second, of one type: nothing"):
        log.count(where)
    with pytest.raises(FilterError, match="nothing lies between 2024-06 and 2024-05\\."):
        log.count("on between 2024-06 and 2024-05")
    assert log.count("n between 2 and 2") == log.count("on between 2024-06-01 and 2024-06-01") == 1
    assert log.count("on between 2024-05-31 and 2024-05") == 1


@pytest.mark.parametrize("home", [None, ":memory:"])
def test_values_of_no_field_are_told(monkeypatch, home):
    monkeypatch.setattr(MemoryHome, "_engines", {})
    with semsearch.create("films", encoder=HashEncoder(), home=home) as films:
        for ask in (films.values, films.field_types):
            with pytest.raises(UsageError, match="'films' has no field 'year'; no document has any metadata"):
                ask("year")
        films.add([Document("a", "cat", metadata={"year": 1990, "café": "x", "studio": {"name": None}})])
        for ask in (films.values, films.field_types):
            with pytest.raises(UsageError, match=r"has no field 'yaer'; there are: .*year\. Did you mean 'year'\?"):
                ask("yaer")
            with pytest.raises(UsageError, match="the name of a field is a text, not a number"):
                ask(3)
        assert films.values("year") == [1990]
        assert films.values("cafe\u0301") == ["x"]  # as filters compare names
        assert films.values("studio") == films.values("studio.name") == []
        assert films.field_types("studio.name") == {"null"}
        with pytest.raises(FilterError, match=r"no document has the field 'yer'; there are: .* Did you mean 'year'"):
            films.count("yer > 3")
