"""Stores of other vector databases, written by their own packages, where those are installed."""

import numpy as np
import pytest
from support.command_line import run

import semsearch
from semsearch.errors import DataError, UsageError
from semsearch.exchange.chroma_lancedb import is_store, read_store
from semsearch.types import Document

VECTORS = np.eye(5, 4, dtype=np.float32) + 0.1
TEXTS = [f"text {n}" for n in range(5)]


@pytest.mark.filterwarnings("ignore")
def test_chroma(tmp_path):
    chromadb = pytest.importorskip("chromadb")
    client = chromadb.PersistentClient(str(tmp_path / "chroma"))
    collection = client.create_collection("articles", embedding_function=None)
    metadatas = [{"n": n} for n in range(5)]
    collection.add(ids=list("abcde"), embeddings=VECTORS.tolist(), documents=TEXTS, metadatas=metadatas)
    documents, vectors = read_store(tmp_path / "chroma")
    found = {document: tuple(vector) for document, vector in zip(map(repr, documents), vectors.tolist(), strict=True)}
    assert found == {
        repr(Document("abcde"[n], TEXTS[n], metadata={"n": n})): tuple(VECTORS[n].tolist()) for n in range(5)
    }
    client.create_collection("empty", embedding_function=None)
    with pytest.raises(UsageError, match="holds articles, empty: say which with --from"):
        read_store(tmp_path / "chroma")
    with pytest.raises(DataError, match="holds no records"):
        read_store(tmp_path / "chroma", "empty")
    ended = run("import", tmp_path / "chroma", "--from", "articles", "-m", "none")
    assert ended.out == "added 5, changed 0, unchanged 0, skipped 0\n"
    with semsearch.open("articles") as made:
        assert made.search(vector=VECTORS[2], k=1)[0].document.id == "c"


@pytest.mark.filterwarnings("ignore")
def test_lancedb(tmp_path):
    lancedb = pytest.importorskip("lancedb")
    rows = [{"id": n, "vector": VECTORS[n].tolist(), "text": TEXTS[n], "kind": "x"} for n in range(5)]
    lancedb.connect(str(tmp_path / "lance")).create_table("articles", rows)
    for place in (tmp_path / "lance", tmp_path / "lance" / "articles.lance"):
        assert is_store(place)
        documents, vectors = read_store(place)
        assert documents == [Document(str(n), TEXTS[n], metadata={"kind": "x"}) for n in range(5)]
        assert np.allclose(vectors, VECTORS)
    with pytest.raises(UsageError, match="has no 'other': articles"):
        read_store(tmp_path / "lance", "other")
    assert run("import", tmp_path / "lance", "-m", "none").out == "added 5, changed 0, unchanged 0, skipped 0\n"


def test_without_the_package_the_error_says_what_to_install(tmp_path, monkeypatch):
    for package, file in (("chromadb", "chroma.sqlite3"), ("lancedb", "x.lance")):
        monkeypatch.setitem(__import__("sys").modules, package, None)
        (tmp_path / package).mkdir()
        (tmp_path / package / file).write_bytes(b"")
        ended = run("import", tmp_path / package, "-m", "none")
        assert ended.code == 2
        assert f"pip install {package}" in ended.err
    assert not is_store(tmp_path)
