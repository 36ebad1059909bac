"""Collections that earlier versions wrote stay readable and writable: `golden/schema-N.tar.gz`."""

import json
import shutil
import sqlite3
import tarfile
import zlib
from contextlib import closing

import numpy as np
import pytest
from support.fakes import HashEncoder
from support.golden import CHANGED, DIM, DOCUMENTS, GOLDEN, LONG, PLACED

import semsearch
from semsearch import versions
from semsearch.errors import CollectionDamaged
from semsearch.local.store import schema, segments
from semsearch.types import Document, Metric
from semsearch.vectors import brute_force

VERSIONS = range(1, schema.SCHEMA_VERSION + 1)
EXPECTED = {entry.id: entry for entry in [*DOCUMENTS, CHANGED]}
EXPECTED_OF = {version: EXPECTED | ({LONG.id: LONG} if version >= 4 else {}) for version in VERSIONS}


@pytest.fixture(params=VERSIONS)
def collection(request, tmp_path):
    with tarfile.open(GOLDEN / f"schema-{request.param}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    with semsearch.open("golden", home=tmp_path, encoder=HashEncoder(DIM)) as opened:
        yield opened


@pytest.mark.parametrize("version", VERSIONS)
def test_there_is_one_of_each_version_and_it_is_small(version):
    assert 0 < (GOLDEN / f"schema-{version}.tar.gz").stat().st_size < 50_000


@pytest.fixture
def expected(request):
    """The documents of the `collection`."""
    return EXPECTED_OF[request.node.callspec.params["collection"]]


def test_everything_is_there(collection, expected):
    assert {entry.id: entry for entry in collection.documents()} == expected
    assert collection.check(deep=True) == []
    assert collection.sources == [{"kind": "text", "path": "somewhere"}]
    assert collection.get(["removed"]) == [None]


def test_it_is_known_where_a_document_stands_since_version_5(collection, request):
    identity, file, position = PLACED
    version = request.node.callspec.params["collection"]
    known = {identity: (json.dumps({"kind": "text", "path": "somewhere"}), file, position)}
    assert collection.engine.origins.of([identity, "plain", "gone"]) == (known if version >= 5 else {})
    assert [hit.place for hit in collection.search("cat", 2)] == [None, None], "a path that is none leads nowhere"


def test_words_are_found_as_they_are_now(collection):
    for query in ("שָׁלוֹם", "ＪＡＧＥＮ", "Fu\u0308chse", '+"jagen nachts"'):
        assert collection.search(query, 1, mode="lexical")[0].id == "zwölf/🦊", query
    assert collection.info()["versions"]["analysis"] == versions.ANALYSIS


def old_collection(folder, version):
    with tarfile.open(GOLDEN / f"schema-{version}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return closing(sqlite3.connect(folder / "golden" / "collection.sqlite", isolation_level=None))


def test_a_passage_that_was_damaged_is_still_known_to_be(tmp_path, caplog):
    with old_collection(tmp_path, 2) as connection:
        connection.execute('UPDATE passages SET "end" = "end" - 1 WHERE doc = (SELECT doc FROM documents LIMIT 1)')
    with semsearch.open("golden", home=tmp_path, encoder=HashEncoder(DIM)) as opened:
        assert len(opened.search("water boils", k=50)) == len(EXPECTED) - 1
        assert "left out" in caplog.text
        assert any("took out 1 damaged vectors" in line for line in opened.repair())
        assert opened.check(deep=True) == []
        assert len(opened.search("water boils", k=50)) == len(EXPECTED)


@pytest.mark.parametrize("column", ["keys", "docs", "crcs"])
def test_old_segments_of_another_length_are_an_error_that_says_what_to_do(tmp_path, column):
    with old_collection(tmp_path, 2) as connection:
        connection.execute(f"UPDATE segments SET {column} = substr({column}, 2)")
    with pytest.raises(CollectionDamaged, match=r"segments of vector generation 1 are damaged.*backup"):
        semsearch.open("golden", home=tmp_path, encoder=HashEncoder(DIM))
    with closing(sqlite3.connect(tmp_path / "golden" / "collection.sqlite")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_change_of_model_that_was_under_way_keeps_its_places(tmp_path):
    vectors = np.ones((3, DIM), dtype="<f4")
    staged = [(101, 1, 2, 7), (102, 1, 5, 9), (105, 3, 0, 4)]
    with old_collection(tmp_path, 2) as connection:
        for key, doc, start, end in staged:
            crc = zlib.crc32(b"%d %d %d %d" % (key, doc, start, end))
            connection.execute("INSERT INTO reencoded VALUES (?, ?, x'00', ?, ?, ?)", (key, doc, start, end, crc))
        crcs = np.array([zlib.crc32(row.tobytes()) for row in vectors], "<u4")
        columns = [np.array(column, "<i8").tobytes() for column in list(zip(*staged, strict=True))[:2]]
        connection.execute("INSERT INTO segments VALUES (99, 0, ?, ?, ?)", (*columns, crcs.tobytes()))
    opened = semsearch.open("golden", home=tmp_path, encoder=HashEncoder(DIM))
    with opened, opened.engine.store.read() as view:
        places, crcs = segments.read(view.connection, 99)
    assert places.tolist() == staged
    assert (crcs == segments.checksums(vectors, places)).all()


def test_answers_are_those_of_brute_force(collection, expected):
    listed = list(expected.values())
    encoder = HashEncoder(DIM)
    vectors = encoder.encode_documents([f"{d.title} {d.text}" if d.title else d.text for d in listed])
    query = encoder.encode_queries(["the old words sing"])
    truth = brute_force(np.arange(len(listed)), vectors, query, 10, Metric.COSINE)
    best = [(listed[key].id, score) for key, score in zip(truth.keys[0], truth.scores[0], strict=True)]
    for exact in (True, False):
        hits = collection.search(vector=query[0], k=10, exact=exact)
        assert [(hit.document.id, np.float32(hit.score)) for hit in hits] == best
    assert {hit.document.id for hit in collection.search("bird", where={"place.country": "FR"})} == {"lists"}
    assert {hit.document.id for hit in collection.search("wine", where={"price": {"$lt": 8}})} == {"numbers"}


def test_its_index_is_still_loaded(collection):
    collection.load_index()
    assert collection.info()["index"]["state"] == "ready"


def test_it_can_be_written_compacted_and_backed_up(collection, expected, tmp_path):
    new = Document("new", "written by this version", metadata={"year": 2000})
    collection.add([new])
    collection.remove(["plain"])
    collection.reindex("hnsw")
    collection.compact()
    collection.backup(tmp_path / "backup")
    expected = {identity: entry for identity, entry in expected.items() if identity != "plain"} | {"new": new}
    assert {entry.id: entry for entry in collection.documents()} == expected
    assert collection.check(deep=True) == []
    shutil.copytree(collection.path, tmp_path / "copy" / "golden")
