"""Collections that earlier versions wrote stay readable and writable: `golden/schema-N.tar.gz`."""

import shutil
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from fakes import HashEncoder

import semsearch
from semsearch.store import schema
from semsearch.types import Document, Metric
from semsearch.vectors import brute_force

GOLDEN = Path(__file__).parent / "golden"
sys.path.insert(0, str(GOLDEN))
from make import CHANGED, DIM, DOCUMENTS  # noqa: E402

VERSIONS = range(1, schema.VERSION + 1)
EXPECTED = {entry.id: entry for entry in [*DOCUMENTS, CHANGED]}


@pytest.fixture(params=VERSIONS)
def collection(request, tmp_path):
    with tarfile.open(GOLDEN / f"schema-{request.param}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    with semsearch.open("golden", home=tmp_path, encoder=HashEncoder(DIM)) as opened:
        yield opened


@pytest.mark.parametrize("version", VERSIONS)
def test_there_is_one_of_each_version_and_it_is_small(version):
    assert 0 < (GOLDEN / f"schema-{version}.tar.gz").stat().st_size < 50_000


def test_everything_is_there(collection):
    assert {entry.id: entry for entry in collection.documents()} == EXPECTED
    assert collection.check(deep=True) == []
    assert collection.sources == [{"kind": "text", "path": "somewhere"}]
    assert collection.get(["removed"]) == [None]


def test_answers_are_those_of_brute_force(collection):
    listed = list(EXPECTED.values())
    encoder = HashEncoder(DIM)
    vectors = encoder.encode_documents([f"{d.title} {d.text}" if d.title else d.text for d in listed])
    query = encoder.encode_queries(["the old words sing"])
    truth = brute_force(np.arange(len(listed)), vectors, query, 10, Metric.COSINE)
    expected = [(listed[key].id, score) for key, score in zip(truth.keys[0], truth.scores[0], strict=True)]
    for exact in (True, False):
        hits = collection.search(vector=query[0], k=10, exact=exact)
        assert [(hit.document.id, np.float32(hit.score)) for hit in hits] == expected
    assert {hit.document.id for hit in collection.search("bird", where={"place.country": "FR"})} == {"lists"}
    assert {hit.document.id for hit in collection.search("wine", where={"price": {"$lt": 8}})} == {"numbers"}


def test_its_index_is_still_loaded(collection):
    collection.warm()
    assert collection.info()["index"]["state"] == "ready"


def test_it_can_be_written_compacted_and_backed_up(collection, tmp_path):
    new = Document("new", "written by this version", metadata={"year": 2000})
    collection.add([new])
    collection.remove(["plain"])
    collection.reindex("hnsw")
    collection.compact()
    collection.backup(tmp_path / "backup")
    expected = {identity: entry for identity, entry in EXPECTED.items() if identity != "plain"} | {"new": new}
    assert {entry.id: entry for entry in collection.documents()} == expected
    assert collection.check(deep=True) == []
    shutil.copytree(collection.path, tmp_path / "copy" / "golden")
