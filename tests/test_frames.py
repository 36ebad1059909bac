"""Frames in and out: hits and the results of applications, ids, order, an index and further columns kept."""

import builtins
import subprocess
import sys

import numpy as np
import pytest

import semsearch
from semsearch import tabular
from semsearch.applications import bitext as mining
from semsearch.errors import DataError, MissingDependency, SemsearchError, UsageError
from semsearch.testing.encoder import HashEncoder
from semsearch.types import Hits

pd, pl, pa = (pytest.importorskip(name) for name in ("pandas", "polars", "pyarrow"))
DIM = 8
NAMES = [f"n{row:02}" for row in range(40)]


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    return (rng.standard_normal((5, DIM))[np.arange(40) % 5] + 0.1 * rng.standard_normal((40, DIM))).astype(np.float32)


@pytest.fixture
def notes(vectors, tmp_path):
    with semsearch.create("notes", home=tmp_path, encoder=None, dim=DIM) as made:
        made.add(
            [
                semsearch.Document(
                    name,
                    f"text {name}",
                    metadata={
                        "year": 2000 + row,
                        "score": "an A",  # as a hit has one
                        **({"pages": 2**60 + row} if row % 2 else {}),
                        **({"tags": ["a", "b"]} if row % 3 == 0 else {}),
                        "odd": row if row % 2 else f"no {row}",
                    },
                )
                for row, name in enumerate(NAMES)
            ],
            vectors=vectors,
        )
        yield made


def columns_of(frame):
    """Any of the three frames as lists of Python's values."""
    if isinstance(frame, pa.Table):
        return frame.to_pydict()
    if isinstance(frame, pl.DataFrame):
        return frame.to_dict(as_series=False)
    return {name: [None if value is pd.NA else value for value in frame[name].tolist()] for name in frame.columns}


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow"])
def test_hits_keep_their_order_and_every_field_of_metadata(notes, vectors, kind):
    hits = notes.search(vector=vectors[0], k=12)
    frame = getattr(hits, f"to_{kind}")()
    found = columns_of(frame)
    assert list(found)[:7] == ["id", "rank", "score", "title", "text", "start", "end"]
    assert found["id"] == [hit.id for hit in hits]
    assert found["rank"] == list(range(1, 13))
    assert found["score"] == pytest.approx([hit.score for hit in hits])
    assert found["year"] == [hit.metadata["year"] for hit in hits]
    assert found["metadata.score"] == ["an A"] * 12
    pages = [hit.metadata.get("pages") for hit in hits]
    assert None in pages
    assert found["pages"] == pages  # to the last digit
    assert [None if one is None else list(one) for one in found["tags"]] == [hit.metadata.get("tags") for hit in hits]
    odd = [hit.metadata["odd"] for hit in hits]
    assert found["odd"] == (odd if kind == "pandas" else [str(one) if type(one) is int else f'"{one}"' for one in odd])


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow"])
def test_no_hits_are_a_frame_without_rows(kind):
    frame = getattr(Hits(), f"to_{kind}")()
    assert len(frame) == 0
    assert list(columns_of(frame)) == ["id", "rank", "score", "title", "text", "start", "end"]


def frames_of(vectors, ids):
    """The same rows in every kind of frame: a column of lists, fixed lists, or a column for each component."""
    lists = vectors.tolist()
    yield pd.DataFrame({"id": ids, "vector": lists, "more": range(len(ids))})
    yield pd.DataFrame({"embedding": [np.array(one) for one in lists]}, index=pd.Index(ids, name="key"))
    yield pd.DataFrame(vectors, index=ids).rename(columns=str)
    yield pl.DataFrame({"_id": ids, "embedding": lists})
    yield pl.DataFrame({"id": ids, "embedding": pl.Series(vectors)})  # a polars Array
    yield pl.LazyFrame({"id": ids, "x": lists})
    yield pa.table({"id": ids, "vector": lists})
    yield pa.RecordBatchReader.from_batches(
        (table := pa.table({"id": ids, "vector": lists})).schema, table.to_batches(max_chunksize=7)
    )
    yield pa.table({"id": ids, **{f"c{place}": vectors[:, place] for place in range(DIM)}})


@pytest.mark.parametrize("number", range(9))
def test_what_is_found_in_a_frame_has_its_ids(vectors, number):
    def frame():
        return list(frames_of(vectors, NAMES))[number]

    bare = semsearch.pairs(vectors, limit=20)
    found = semsearch.pairs(frame(), limit=20)
    assert found.scores == pytest.approx(bare.scores)
    given = [[NAMES[row] for row in side.tolist()] for side in (bare.first, bare.second)]
    for kind in ("pandas", "polars", "arrow"):
        columns = columns_of(getattr(found, f"to_{kind}")())
        assert list(columns) == ["score", "first", "second"]
        assert [columns["first"], columns["second"]] == given
    groups = semsearch.communities(frame(), 0.8, min_size=3)
    assert [rows.tolist() for rows in groups] == [rows.tolist() for rows in semsearch.communities(vectors, 0.8, 3)]
    columns = columns_of(groups.to_arrow())
    assert columns["id"] == [NAMES[row] for rows in groups for row in rows.tolist()]
    assert [one for one, centre in zip(columns["id"], columns["centre"], strict=True) if centre] == [
        NAMES[int(rows[0])] for rows in groups
    ]


def test_a_pandas_index_comes_back(vectors):
    index = pd.Index([f"k{row}" for row in range(40)], name="key")
    frame = pd.DataFrame({"vector": vectors.tolist(), "label": [row % 5 for row in range(40)]}, index=index)
    found = semsearch.clusters(frame, min_score=0.8, min_size=3)
    assert list(found.ids) == index.tolist()
    made = found.to_pandas()
    assert made.index.equals(index)
    assert made.index.name == "key"
    assert list(made.columns) == ["cluster", "score"]
    assert made["cluster"].fillna(-1).tolist() == found.labels.tolist()
    assert (
        found.labels.tolist()
        == semsearch.clusters(np.stack(frame["vector"]), min_score=0.8, min_size=3).labels.tolist()
    )
    assert columns_of(found.to_polars())["key"] == index.tolist()
    labelled = semsearch.classify(frame.iloc[30:], frame.iloc[:30], frame["label"].iloc[:30])
    assert [type(one.best) for one in labelled] == [int] * 10
    made = labelled.to_pandas()
    assert made.index.equals(index[30:])
    assert (made["best"] == frame["label"].iloc[30:]).all()
    assert set(made["nearest"]) <= set(index[:30])


def test_what_is_not_known_is_a_gap(vectors):
    found = semsearch.clusters(vectors[:7], min_score=0.8, min_size=2)
    assert (found.labels < 0).any()
    for kind in ("pandas", "polars", "arrow"):
        columns = columns_of(getattr(found, f"to_{kind}")())
        assert columns["row"] == list(range(7))
        assert columns["cluster"] == [None if label < 0 else label for label in found.labels.tolist()]
    assert found.to_pandas()["cluster"].dtype == "Int64"


def test_the_other_results(notes, vectors):
    pairs = notes.pairs(limit=5)
    assert columns_of(pairs.to_polars())["first"] == [pair.first.id for pair in pairs]
    assert list(columns_of(pairs.to_pandas())) == ["score", "first", "second", "first_text", "second_text"]
    gone = notes.duplicates(min_score=0.9, wording=False)
    assert columns_of(gone.to_arrow())["of"] == [each.of for each in gone]
    clusters = notes.clusters(min_score=0.8, min_size=3)
    assert columns_of(clusters.to_pandas())["id"] == list(clusters.ids)
    left, right = pl.DataFrame({"id": NAMES, "vector": vectors.tolist()}), vectors[::-1]
    found = semsearch.bitext(left, right)
    assert columns_of(found.to_pandas())["first"] == [NAMES[row] for row in found.first.tolist()]
    assert columns_of(found.to_pandas())["second"] == found.second.tolist()


def test_topics_and_maps_are_frames_too(notes):
    topics = notes.topics("communities", min_score=0.8, min_size=3)
    labels = [None if label < 0 else label for label in topics.clusters.labels.tolist()]
    drawn = notes.map(method="communities", min_score=0.8, min_size=3)
    for kind in ("pandas", "polars", "arrow"):
        columns = columns_of(getattr(topics, f"to_{kind}")())
        assert list(columns) == ["id", "topic", "name", "score"]
        assert columns["id"] == NAMES
        assert columns["topic"] == labels
        assert columns["name"] == [None if label is None else topics.names[label] for label in labels]
        columns = columns_of(getattr(drawn, f"to_{kind}")())
        assert list(columns) == ["id", "text", "x", "y", "topic"]
        assert columns["text"] == [f"text {name}" for name in NAMES]
        assert list(zip(columns["x"], columns["y"], strict=True)) == list(map(tuple, drawn.places.tolist()))
        assert columns["topic"] == [None if topic < 0 else topics.names[topic] for topic in drawn.topic_of.tolist()]


class Streamed:
    """What has nothing but its stream."""

    def __init__(self, table):
        self._table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self._table.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize("number", range(9))
def test_whatever_takes_vectors_takes_a_frame_and_keeps_its_ids(vectors, number):
    def frame():
        return list(frames_of(vectors, NAMES))[number]

    lying = semsearch.layout(frame())
    assert lying.places.tobytes() == semsearch.layout(vectors).places.tobytes()
    for kind in ("pandas", "polars", "arrow"):
        made = getattr(lying, f"to_{kind}")()
        columns = columns_of(made)
        assert list(columns)[-2:] == ["x", "y"]
        names = made.index.tolist() if kind == "pandas" and number in (1, 2) else next(iter(columns.values()))
        assert names == NAMES
        assert list(zip(columns["x"], columns["y"], strict=True)) == list(map(tuple, lying.places.tolist()))
    scores = semsearch.similarity(frame(), vectors[::-1])
    assert scores.tobytes() == semsearch.similarity(vectors, vectors[::-1]).tobytes()
    assert (
        semsearch.similarity(Streamed(pa.table({"v": vectors.tolist()})), vectors[::-1]).tobytes() == scores.tobytes()
    )
    assert mining.xsim(frame(), vectors) == 0
    assert mining.learn_margin(frame(), vectors) == mining.learn_margin(vectors, vectors)


def test_columns_of_texts_are_texts():
    frame = pl.DataFrame({"one": ["water boils", "a cat", "tea"], "other": ["boiling water", "a dog", "tea"]})
    encoder = HashEncoder(DIM)
    bare = semsearch.similarity(frame["one"].to_list(), frame["other"].to_list(), encoder=encoder)
    for made in (frame, frame.to_arrow(), frame.to_pandas()):
        assert semsearch.similarity(made["one"], made["other"], encoder=encoder).tobytes() == bare.tobytes()
        with pytest.raises(UsageError, match="must have one column of lists"):
            semsearch.similarity(made, made, encoder=encoder)  # its names of columns are no texts
        judged = semsearch.sts(made["one"], made["other"], pd.Series([1.0, 2.0, 5.0]), encoder=encoder)
        assert judged.pairs == 3


@pytest.mark.parametrize(
    ("frame", "error", "says"),
    [
        ({"a": [[1.0, 2.0]], "b": [[1.0, 2.0]]}, UsageError, "must have one column of lists"),
        ({"a": ["x"], "b": [1.0]}, UsageError, "it has 'a', 'b'"),
        (
            {"vector": [[1.0, 2.0], [1.0]]},
            DataError,
            "row 1 of column 'vector' has 1 components, where the first has 2",
        ),
        ({"vector": [[1.0, 2.0], None]}, DataError, "row 1 of column 'vector' has no vector"),
        ({"vector": [[1.0, 2.0], [None, 1.0]]}, DataError, "NaN"),
    ],
)
def test_a_frame_without_a_vector_a_row_is_refused(frame, error, says):
    for library in (pl.DataFrame, pa.table):
        with pytest.raises(error, match=says):
            semsearch.pairs(library(frame))


@pytest.mark.parametrize("odd", [[1.0, "x", 2.0], "x", 5.0, [[1.0], 2.0, 3.0], {"a": 1}, object(), [10**400, 1, 2]])
def test_a_row_of_another_kind_is_named(odd):
    rows = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], odd, [7.0, 8.0, 9.0]]
    for given in (pd.DataFrame({"vector": rows}), pd.Series(rows, name="vector")):
        with pytest.raises(
            DataError, match=r"^row 2 of column 'vectors?' is .*, and the first is \[1.0, 2.0, 3.0\]: make"
        ):
            semsearch.pairs(given)
    with pytest.raises(DataError, match=r"^row 1 of column 'a' is 'x', and the first is"):
        semsearch.clusters(pd.DataFrame({"a": [1.0, "x", 2.0], "b": [1.0, 2.0, 3.0]}))


class BrokenStream:
    """What can't give what it says."""

    def __arrow_c_stream__(self, requested_schema=None):
        raise RuntimeError("the disk is gone")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (lambda: pd.DataFrame(np.eye(2), columns=["a", "a"]), "can't be read: Duplicate column names found"),
        (lambda: pd.DataFrame({"vector": [np.ones((2, 2))] * 3}), "can't be read: Can only convert 1-dimensional"),
        (lambda: pd.DataFrame(np.eye(2) * 1j), "can't be read: Unsupported numpy type"),
        (lambda: pl.LazyFrame({"a": [1]}).select("b"), 'can\'t be read: unable to find column "b"'),
        (lambda: BrokenStream(), "can't be read: the disk is gone"),
        (
            lambda: pa.Table.from_arrays([pa.array([[1.0]])] * 2, names=["v", "v"]),
            "several columns of the frame are called 'v': give one of them, or rename them",
        ),
    ],
)
@pytest.mark.parametrize(
    "applied", [semsearch.pairs, semsearch.layout, lambda given: semsearch.similarity(given, given)]
)
def test_a_frame_that_can_not_be_read_is_a_sentence(applied, given, says):
    with pytest.raises(SemsearchError, match=says):
        applied(given())


def objects(values):
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


MASKED = np.ma.masked_array([1.0, 2.0], mask=[False, True])


@pytest.mark.parametrize("row", [0, 1])
def test_a_masked_vector_in_a_column_is_not_uncovered(row):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    values = [np.ones(2)] * 3
    values[row] = MASKED
    series = pandas.Series(values)
    for column, what in (
        (series, "column 'vectors'"),
        (pandas.DataFrame({"id": list("abc"), "vector": series}), "column 'vector'"),
        (series.to_numpy(), "vectors"),
    ):
        with pytest.raises(
            DataError, match=f"row {row} of {what} holds masked values: fill them, or leave the row out"
        ):
            semsearch.pairs(column)
    values[row] = np.ma.masked_array([1.0, 2.0])
    assert len(semsearch.pairs(pandas.Series(values)).first) == 3


@pytest.mark.parametrize("odd", [None, "x", 3.0, object(), {"a": 1}, ["x", "y"], np.ones((1, 2)), memoryview(b"ab")])
def test_an_odd_row_of_a_column_is_named(odd):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    values = pandas.Series([np.ones(2), odd, np.ones(2)])
    tags = [["x"], ["y"], []]
    for column in (values, pandas.DataFrame({"tags": tags, "vector": values}), objects(values.tolist())):
        if isinstance(odd, memoryview) and isinstance(column, np.ndarray):
            continue  # numbers to numpy
        with pytest.raises(DataError, match=r"row 1 (of (vectors|column 'vectors?') )?(is|has no vector)"):
            semsearch.pairs(column)


def test_a_column_as_an_array_of_arrays_serves():
    rows = np.random.default_rng(0).standard_normal((4, 3))
    wanted, found = semsearch.pairs(rows), semsearch.pairs(objects(list(rows)))
    assert (found.scores == wanted.scores).all()


def test_columns_serve_as_well(vectors):
    frame = pl.DataFrame({"id": NAMES, "a": vectors.tolist(), "b": vectors[::-1].tolist()})
    bare = semsearch.pairs(vectors, vectors[::-1], limit=9)
    for found in (
        semsearch.pairs(frame["a"], frame["b"], limit=9),
        semsearch.pairs(frame.to_arrow()["a"], frame.to_arrow()["b"], limit=9),
        semsearch.pairs(frame.to_pandas()["a"], frame.to_pandas()["b"], limit=9),
    ):
        assert found.first.tolist() == bare.first.tolist()
    with pytest.raises(UsageError, match="must be lists of numbers"):
        semsearch.pairs(frame["id"])
    assert len(semsearch.pairs(pl.DataFrame(schema={"vector": pl.List(pl.Float32)})).first) == 0


class Stream:
    """What gives records as Arrow does, and is no frame of a library that is known."""

    def __init__(self, table):
        self._table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self._table.__arrow_c_stream__(requested_schema)


def test_whatever_streams_arrow_is_added(tmp_path, vectors):
    table = pa.table({"id": NAMES, "text": [f"text {name}" for name in NAMES], "year": [None, *range(1, 40)]})
    with semsearch.create("notes", home=tmp_path, encoder=None, dim=DIM) as made:
        made.add(Stream(table), vectors=vectors)
        reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches())
        assert made.add(reader, vectors=vectors).unchanged == 40
        assert [document.metadata.get("year") for document in made.get(NAMES[:3])] == [None, 1, 2]
        hits = made.search(vector=vectors[3], k=3)
        assert semsearch.pairs(Stream(pa.table({"v": vectors.tolist()})), limit=1).scores[0] > 0.9
        again = made.add(
            hits.to_polars().select("id", "text", "year"), vectors=vectors[[int(hit.id[1:]) for hit in hits]]
        )
        assert again.unchanged == 3  # what came out goes in


def test_nothing_is_loaded_before_it_is_asked_for():
    script = (
        "import sys, semsearch\n"
        "semsearch.pairs, semsearch.clusters, semsearch.classify, semsearch.bitext, semsearch.Hits()\n"
        "loaded = {'pandas', 'polars', 'pyarrow'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize(("kind", "library"), [("pandas", "pandas"), ("polars", "polars"), ("arrow", "pyarrow")])
def test_a_library_that_is_absent_is_named(monkeypatch, kind, library):
    def absent(name, *_):
        raise ImportError(name)

    monkeypatch.setattr(tabular, "import_module", absent)
    with pytest.raises(MissingDependency, match=rf"to_{kind} needs {library}, which is not installed: pip install"):
        getattr(Hits(), f"to_{kind}")()


def test_frames_need_pyarrow(monkeypatch):
    imported = builtins.__import__

    def absent(name, *rest):
        if name == "pyarrow":
            raise ImportError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingDependency, match="pip install pyarrow, or give arrays"):
        semsearch.pairs(pl.DataFrame({"v": [[1.0]]}))


@pytest.mark.parametrize(
    ("values", "polars_type"),
    [
        ([1, None, 3], pl.Int64),
        ([1, 2.5, None], pl.Float64),
        ([True, None], pl.Boolean),
        ([["a"], [], None], pl.List(pl.String)),
        ([[1], [2.5]], pl.List(pl.Float64)),
        (["a", 1], pl.String),
        ([2**70, 1], pl.String),
        ([{"a": 1}], pl.String),
        ([[1, "a"]], pl.String),
        ([None, None], pl.Null),
    ],
)
def test_a_column_has_the_type_of_its_values(values, polars_type):
    class One(tabular.Tabular):
        def _columns(self):
            return {"x": values}

    assert One().to_polars().schema["x"] == polars_type
    assert One().to_arrow().num_rows == len(values)
    kept = [None if value is pd.NA else value for value in One().to_pandas()["x"].tolist()]
    gaps = [np.nan if value is None else value for value in values]  # as pandas has them among fractions
    assert kept == pytest.approx(gaps, nan_ok=True) if polars_type == pl.Float64 else kept == values
