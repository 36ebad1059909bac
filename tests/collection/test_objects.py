"""What else than documents goes into a collection: mappings, texts, frames."""

import datetime
import subprocess
import sys

import numpy as np
import pytest
from support.fakes import HashEncoder

import semsearch
from semsearch.errors import DataError, UsageError
from semsearch.testing.memory import MemoryHome
from semsearch.types import Document

RECORDS = [
    {"id": "a", "title": "Cats", "text": "the cat sleeps", "year": 1990, "tags": ["x"]},
    {"id": 7, "title": None, "text": "the dog runs", "year": None, "on": datetime.date(2024, 5, 1)},
]
DOCUMENTS = [
    Document("a", "the cat sleeps", "Cats", {"year": 1990, "tags": ["x"]}),
    Document("7", "the dog runs", "", {"year": None, "on": "2024-05-01"}),
]


@pytest.fixture(params=[None, ":memory:"])
def notes(request, monkeypatch):
    monkeypatch.setattr(MemoryHome, "_engines", {})
    with semsearch.create("notes", encoder=HashEncoder(), home=request.param) as collection:
        yield collection


def held(notes):
    return [Document(one.id, one.text, one.title, dict(one.metadata)) for one in notes]


@pytest.mark.parametrize("kind", [list, iter, tuple, lambda records: map(dict, records)])
def test_mappings(notes, kind):
    assert notes.add(kind(RECORDS)).added == 2
    assert held(notes) == DOCUMENTS
    assert notes.add(kind(RECORDS)).unchanged == 2
    assert notes.estimate(kind(RECORDS)).unchanged == 2


def test_texts_have_ids_of_their_own(notes):
    assert notes.add(["the cat sleeps", np.str_("the dog runs"), "the cat sleeps"]).added == 2
    first, second = notes
    assert (first.text, second.text) == ("the cat sleeps", "the dog runs")
    assert len(first.id) == 20
    assert notes.add([{"text": "the cat sleeps"}]).unchanged == 1  # the same document, however it was said
    assert notes.add([{"text": "the cat sleeps", "title": "Cats"}]).added == 1


def test_all_kinds_beside_each_other(notes):
    notes.add([DOCUMENTS[0], RECORDS[1], "a text"])
    assert [one.text for one in notes] == ["the cat sleeps", "the dog runs", "a text"]


def test_fields_of_other_names(notes):
    notes.add([{"key": 3, "plot": "a heist", "name": "Heat", "text": "left"}], text="plot", title="name", id="key")
    assert held(notes) == [Document("3", "a heist", "Heat", {"text": "left"})]
    notes.add([{"plot": "one", "name": "N"}, {"plot": "two"}], text="plot", title="name")
    assert len(notes) == 3


def test_metadata_as_a_document_has_it(notes):
    notes.add([{"_id": "a", "text": "cat", "metadata": {"year": 1, "of": 2}, "year": 3}])
    assert held(notes) == [Document("a", "cat", "", {"year": 3, "of": 2})]


@pytest.mark.parametrize(
    ("record", "how", "message"),
    [
        (
            {"id": "x", "plot": "y"},
            {},
            r"record 2: there is no field 'text'; there are: 'id', 'plot'. .*add\(…, text='…'\)",
        ),
        ({"id": "x", "text": "y"}, {"text": "plott"}, "record 2: there is no field 'plott'; there are: 'id', 'text'.$"),
        ({"text": None}, {}, "record 2: the text must be text, but is null"),
        ({"text": "y", "title": 3}, {}, "record 2: the title must be text, but is a number"),
        ({"id": 1.5, "text": "y"}, {}, "record 2: the id must be text or a whole number, but is a number"),
        ({"id": True, "text": "y"}, {}, "the id must be text or a whole number, but is true"),
        ({"id": None, "text": "y"}, {}, "the id must be text or a whole number, but is null"),
        ({"text": "y"}, {"id": "key"}, "there is no field 'key'"),
        ({"text": " "}, {}, "the text is empty"),
        ({"text": "y", 5: 6}, {}, "a key must be text, but is a number"),
        ({"text": "y\ud800"}, {}, "half a surrogate"),
    ],
)
def test_a_record_that_makes_no_document(notes, record, how, message):
    good = {"id": 0, "key": 0, "text": "good", "plott": "good"}
    with pytest.raises(DataError, match=message):
        notes.add([good, record], **how)
    errors = []
    changes = notes.add([good, record, {**good, "id": 2, "key": 2}], on_error=errors.append, **how)
    assert (changes.skipped, len(notes)) == (1, 2)
    with semsearch.create("given", encoder=None, dim=2, home=":memory:") as given:
        changes = given.add([good, record], [[1, 0], [0, 1]], on_error=errors.append, **how)
        assert (changes.added, changes.skipped) == (1, 1)
        assert str(errors[1]) == str(errors[0])


def test_a_name_of_a_field_that_is_none(notes):
    with pytest.raises(UsageError, match="text is the name of a field, and 5 is none"):
        notes.add([], text=5)


FRAME = {
    "id": ["a", "b", "c"],
    "text": ["the cat sleeps", "the dog runs", "water boils"],
    "year": [1990, None, 2001],
    "rating": [7.5, None, 1.25],
    "seen": [True, False, None],
    "on": [datetime.datetime(2024, 5, 1, 12, 30), None, datetime.datetime(2024, 5, 2)],
    "tags": [["x", "y"], [], None],
}
ROWS = [
    {"year": 1990, "rating": 7.5, "seen": True, "on": "2024-05-01T12:30:00", "tags": ["x", "y"]},
    {"year": None, "rating": None, "seen": False, "on": None, "tags": []},
    {"year": 2001, "rating": 1.25, "seen": None, "on": "2024-05-02T00:00:00", "tags": None},
]


def test_a_frame_of_pandas(notes):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(FRAME)
    frame["year"] = frame["year"].astype("Int64")
    frame["kind"] = pandas.Categorical(["film", None, "film"])
    assert notes.add(frame).added == 3
    kinds = ["film", None, "film"]
    assert [dict(one.metadata) for one in notes] == [
        {**row, "kind": kind} for row, kind in zip(ROWS, kinds, strict=True)
    ]
    assert notes.ids() == ["a", "b", "c"]
    assert notes.add(frame).unchanged == 3
    assert notes.add(frame.set_index("id")).unchanged == 3  # an index that has a name is a column
    notes.add(frame["text"])
    assert len(notes) == 6
    assert notes.count("on >= 2024-05-02") == 1
    with pytest.raises(UsageError, match="several columns 'id'"):
        notes.add(pandas.concat([frame, frame], axis=1))
    assert notes.search_many(frame["text"], 1)[0][0].id == "a"


@pytest.mark.parametrize("missing", ["a frame", "its rows", "mappings"])
def test_what_is_missing_is_null_however_it_is_given(notes, missing):
    """A frame and the records made of it are the same documents."""
    pandas = pytest.importorskip("pandas")
    rows = [
        {
            "id": 1,
            "text": "the cat sleeps",
            "title": "Cats",
            "year": 1990.0,
            "on": pandas.Timestamp(2024, 5, 1),
            "n": 1,
        },
        {
            "id": 2,
            "text": "the dog runs",
            "title": float("nan"),
            "year": float("nan"),
            "on": pandas.NaT,
            "n": pandas.NA,
        },
        {
            "id": 3,
            "text": "water boils",
            "title": None,
            "year": np.float32("nan"),
            "on": np.datetime64("NaT"),
            "n": None,
        },
    ]
    frame = pandas.DataFrame(rows).astype({"n": "Int64"})
    given = {"a frame": frame, "its rows": frame.to_dict("records"), "mappings": rows}[missing]
    assert notes.add(given).added == 3
    none = {"year": None, "on": None, "n": None}
    assert held(notes) == [
        Document("1", "the cat sleeps", "Cats", {"year": 1990.0, "on": "2024-05-01T00:00:00", "n": 1}),
        Document("2", "the dog runs", "", none),
        Document("3", "water boils", "", none),
    ]


def test_a_number_that_is_none_is_missing_only_as_a_field_of_a_record(notes):
    for given, said in (
        (Document("a", "x", metadata={"year": float("nan")}), "'year', holds nan, which is no JSON number"),
        ({"text": "x", "year": float("inf")}, "'year', holds inf, which is no JSON number"),
        ({"text": "x", "years": [float("nan")]}, "'years', holds nan"),
        ({"text": "x", "metadata": {"year": float("nan")}}, "'year', holds nan"),
    ):
        with pytest.raises(DataError, match=said):
            notes.add([given])
    with pytest.raises(DataError, match="the text must be text, but is null"):
        notes.add([{"text": float("nan")}])


def test_a_large_frame_of_pandas(notes):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"key": range(2500), "text": [f"text number {number}" for number in range(2500)]})
    notes.add(frame, id="key")
    assert notes.ids() == [str(number) for number in range(2500)]


def test_a_frame_of_polars(notes):
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(FRAME)
    assert notes.add(frame).added == 3
    assert [dict(one.metadata) for one in notes] == ROWS
    assert notes.add(frame.lazy()).unchanged == 3
    assert notes.add(frame.iter_rows(named=True)).unchanged == 3
    assert [hits[0].id for hits in notes.search_many(frame["text"], 1)] == ["a", "b", "c"]
    assert notes.remove(frame["id"]) == 3


def test_a_table_of_arrow(notes):
    pyarrow = pytest.importorskip("pyarrow")
    assert notes.add(pyarrow.table(FRAME)).added == 3
    assert [dict(one.metadata) for one in notes] == ROWS


def test_no_library_of_frames_is_loaded():
    script = (
        "import sys; from semsearch.ingest.objects import ObjectReader, each;"
        "list(map(ObjectReader().document, each(['a'], 'x')));"
        "assert not {'pandas', 'polars', 'pyarrow', 'tqdm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
