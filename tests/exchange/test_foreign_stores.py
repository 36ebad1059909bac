"""Stores of other vector databases, written by their own packages, where those are installed."""

import pickle
import sqlite3
import sys
import types

import numpy as np
import pytest
from support.command_line import run

import semsearch
from semsearch.errors import CollectionDamaged, DataError, UsageError
from semsearch.ingest.stores.chroma_lancedb import is_lance, read_chroma, read_lance
from semsearch.ingest.stores.other_stores import tool_of, verify_taken
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
    documents, vectors = read_chroma(tmp_path / "chroma")
    found = {document: tuple(vector) for document, vector in zip(map(repr, documents), vectors.tolist(), strict=True)}
    assert found == {
        repr(Document("abcde"[n], TEXTS[n], metadata={"n": n})): tuple(VECTORS[n].tolist()) for n in range(5)
    }
    client.create_collection("empty", embedding_function=None)
    with pytest.raises(UsageError, match="holds articles, empty: say which with --inside"):
        read_chroma(tmp_path / "chroma")
    with pytest.raises(DataError, match="holds no records"):
        read_chroma(tmp_path / "chroma", "empty")
    ended = run("import", tmp_path / "chroma", "--from", "chroma", "--inside", "articles", "-m", "none")
    assert ended.out == "added 5, changed 0, unchanged 0, skipped 0\n"
    with semsearch.open("articles") as made:
        assert made.search(vector=VECTORS[2], k=1)[0].document.id == "c"


@pytest.mark.filterwarnings("ignore")
def test_lancedb(tmp_path):
    lancedb = pytest.importorskip("lancedb")
    rows = [{"id": n, "vector": VECTORS[n].tolist(), "text": TEXTS[n], "kind": "x"} for n in range(5)]
    lancedb.connect(str(tmp_path / "lance")).create_table("articles", rows)
    for place in (tmp_path / "lance", tmp_path / "lance" / "articles.lance"):
        assert is_lance(place)
        documents, vectors = read_lance(place)
        assert documents == [Document(str(n), TEXTS[n], metadata={"kind": "x"}) for n in range(5)]
        assert np.allclose(vectors, VECTORS)
    with pytest.raises(UsageError, match="has no 'other': articles"):
        read_lance(tmp_path / "lance", "other")
    assert run("import", tmp_path / "lance", "-m", "none").out == "added 5, changed 0, unchanged 0, skipped 0\n"


IDS = [1, "00000000-0000-0000-0000-000000000002", 3, 4, 5]


def in_a_collection(name, ids=None):
    """What was taken in, by id."""
    with semsearch.open(name) as made:
        documents = list(made)
        assert [document.id for document in documents] == [str(one) for one in ids or range(5)]
        for place, vector in enumerate(made.vectors([document.id for document in documents])):
            assert np.allclose(vector[0], VECTORS[place] / np.linalg.norm(VECTORS[place]), atol=1e-6)
        return documents


def test_qdrant(tmp_path):
    qdrant = pytest.importorskip("qdrant_client")
    client = qdrant.QdrantClient(path=str(tmp_path / "qdrant"))
    size = qdrant.models.VectorParams(size=4, distance=qdrant.models.Distance.COSINE)
    client.create_collection("articles", vectors_config=size)
    points = [
        qdrant.models.PointStruct(
            id=IDS[n], vector=VECTORS[n].tolist(), payload={"text": TEXTS[n], "tags": ["a"], "n": n}
        )
        for n in range(5)
    ]
    client.upsert("articles", points)
    client.close()
    ended = run("import", "--from", "qdrant", tmp_path / "qdrant", "-m", "none", "--name", "taken")
    assert ended.code == 0, ended.err
    assert "all 5 records are there, and 5 of them were found again" in ended.err
    documents = in_a_collection("taken", IDS)
    assert documents[3] == Document("4", "text 3", metadata={"tags": ["a"], "n": 3})
    ended = run("import", "--from", "txtai", tmp_path / "qdrant", "-m", "none")
    assert ended.code == 2
    assert "is no store of txtai's; it looks like one of qdrant's" in ended.err


def write_points(folder, point):
    (folder / "collection" / "articles").mkdir(parents=True)
    (folder / "meta.json").write_text("{}")
    with sqlite3.connect(folder / "collection" / "articles" / "storage.sqlite") as database:
        database.execute("CREATE TABLE points (id TEXT PRIMARY KEY, point BLOB)")
        database.execute("INSERT INTO points VALUES ('x', ?)", (point,))
    database.close()


class Runs:
    def __reduce__(self):
        return (print, ("it ran",))


@pytest.mark.parametrize(
    ("point", "says"),
    [
        (pickle.dumps(Runs()), "only data is read"),
        (b"no pickle", "can't be read as a pickle"),
        (pickle.dumps([1]), "holds what is no point"),
        (pickle.dumps({"id": 1, "vector": [1.0], "payload": {"n": 1}}), "the point '1' has no text"),
        (pickle.dumps({"id": 1, "vector": {"a": [1.0], "b": [1.0]}, "payload": {"text": "x"}}), "has not one vector"),
    ],
)
def test_points_of_a_stranger(tmp_path, point, says, capfd):
    write_points(tmp_path / "qdrant", point)
    ended = run("import", tmp_path / "qdrant", "-m", "none")
    assert ended.code == 3
    assert says in ended.err
    assert "it ran" not in capfd.readouterr().out


def test_txtai(tmp_path):
    faiss = pytest.importorskip("faiss")
    index = faiss.IndexIDMap(faiss.IndexFlatIP(4))
    index.add_with_ids(VECTORS[::-1].copy(), np.arange(5)[::-1].copy())
    folder = tmp_path / "txtai"
    folder.mkdir()
    faiss.write_index(index, str(folder / "embeddings"))
    (folder / "config.json").write_text('{"backend": "faiss", "content": true}')
    with sqlite3.connect(folder / "documents") as database:
        database.execute("CREATE TABLE documents (id TEXT PRIMARY KEY, data JSON, tags TEXT, entry DATETIME)")
        database.execute(
            "CREATE TABLE sections (indexid INTEGER PRIMARY KEY, id TEXT, text TEXT, tags TEXT, entry DATETIME)"
        )
        database.execute("""INSERT INTO documents VALUES ('1', '{"text": "text 1", "n": 7}', NULL, NULL)""")
        database.executemany(
            "INSERT INTO sections VALUES (?, ?, ?, ?, NULL)", [(n, str(n), TEXTS[n], None) for n in range(5)]
        )
    database.close()
    ended = run("import", "--from", "txtai", folder, "-m", "none", "--name", "taken")
    assert ended.code == 0, ended.err
    assert in_a_collection("taken")[1] == Document("1", "text 1", metadata={"n": 7})
    (folder / "documents").unlink()
    assert "was made without its texts" in run("import", "--from", "txtai", folder, "-m", "none").err


def test_what_txtai_writes_itself(tmp_path):
    txtai = pytest.importorskip("txtai")
    made = txtai.Embeddings(
        method="external", transform=lambda texts: VECTORS[[int(t[-1]) for t in texts]], content=True
    )
    made.index([(str(n), {"text": TEXTS[n], "n": n}, None) for n in range(5)])
    made.config.pop("transform")
    made.save(str(tmp_path / "txtai"))
    made.close()
    assert run("import", "--from", "txtai", tmp_path / "txtai", "-m", "none", "--name", "taken").code == 0
    assert in_a_collection("taken")[4].metadata == {"n": 4}


@pytest.fixture
def langchain_classes(monkeypatch):
    """Classes under the names that LangChain's have, to be pickled."""
    made = {}
    for module, name in (
        ("langchain_community.docstore.in_memory", "InMemoryDocstore"),
        ("langchain_core.documents.base", "Document"),
    ):
        top = module.partition(".")[0]
        for one in (top, module) if top not in sys.modules else (module,):
            monkeypatch.setitem(sys.modules, one, types.ModuleType(one))
        made[name] = type(name, (), {"__module__": module, "__qualname__": name})
        setattr(sys.modules[module], name, made[name])
    return made


@pytest.mark.parametrize("ids", [False, True])
def test_faiss_with_a_docstore_of_langchain(tmp_path, langchain_classes, ids):
    faiss = pytest.importorskip("faiss")
    index = faiss.IndexFlatL2(4)
    index = faiss.IndexIDMap2(index) if ids else index
    index.add_with_ids(VECTORS, np.arange(5) + 7) if ids else index.add(VECTORS)
    faiss.write_index(index, str(tmp_path / "index.faiss"))
    docstore, known = langchain_classes["InMemoryDocstore"](), {}
    for n in range(5):
        known[str(n)] = document = langchain_classes["Document"]()
        document.__dict__ |= {"id": str(n), "page_content": TEXTS[n], "metadata": {"n": n}, "type": "Document"}
    docstore._dict = known
    (tmp_path / "index.pkl").write_bytes(pickle.dumps((docstore, {n: str(n) for n in range(5)})))
    ended = run("import", "--from", "faiss", tmp_path, "-m", "none", "--name", "taken")
    assert ended.code == 0, ended.err
    assert in_a_collection("taken")[2] == Document("2", "text 2", metadata={"n": 2})


def test_faiss_with_lines_beside_it(tmp_path):
    faiss = pytest.importorskip("faiss")
    index = faiss.IndexFlatIP(4)
    index.add(VECTORS)
    file = tmp_path / "own.index"
    faiss.write_index(index, str(file))
    assert "has vectors, and no texts" in run("import", "--from", "faiss", file, "-m", "none").err
    (tmp_path / "own.txt").write_text("\n".join(TEXTS))
    assert run("import", "--from", "faiss", file, "-m", "none", "--name", "taken").code == 0
    in_a_collection("taken")
    (tmp_path / "own.jsonl").write_text("\n".join(f'{{"id": "k{n}", "text": "text {n}", "n": {n}}}' for n in range(5)))
    assert run("import", file, "-m", "none", "--name", "records").code == 0
    assert in_a_collection("records", [f"k{n}" for n in range(5)])[0].metadata == {"n": 0}
    (tmp_path / "own.jsonl").write_text('{"text": "one"}')
    ended = run("import", file, "-m", "none", "--name", "few")
    assert ended.code == 3
    assert "has 5 vectors, and 1 texts stand beside it" in ended.err
    whole = file.read_bytes()
    for cut in (3, 20, 40, len(whole) - 1):
        file.write_bytes(whole[:cut])
        assert run("import", file, "-m", "none", "--name", "cut").code == 3
    faiss.write_index(faiss.IndexHNSWFlat(4, 8), str(file))
    ended = run("import", file, "-m", "none")
    assert ended.code == 2
    assert "of the kind 'IHNf'" in ended.err


def test_what_did_not_arrive_is_seen(tmp_path):
    documents = [Document(str(n), TEXTS[n]) for n in range(5)]
    with semsearch.create("notes", home=tmp_path, encoder=None, dim=4) as notes:
        notes.add(documents, VECTORS)
        assert verify_taken(notes.engine, documents, VECTORS, alone=True) == 5
        with pytest.raises(CollectionDamaged, match="the vector of"):
            verify_taken(notes.engine, documents, VECTORS[::-1].copy(), alone=True)
        with pytest.raises(CollectionDamaged, match="it has 5 documents, the store 6"):
            verify_taken(
                notes.engine, [*documents, Document("6", "x")], np.eye(6, 4, dtype=np.float32) + 0.1, alone=True
            )
        notes.add([Document("more", "x")], VECTORS[:1])
        assert verify_taken(notes.engine, documents, VECTORS, alone=False) == 5


def test_without_the_package_the_error_says_what_to_install(tmp_path, monkeypatch):
    for package, file in (("chromadb", "chroma.sqlite3"), ("lancedb", "x.lance")):
        monkeypatch.setitem(__import__("sys").modules, package, None)
        (tmp_path / package).mkdir()
        (tmp_path / package / file).write_bytes(b"")
        ended = run("import", tmp_path / package, "-m", "none")
        assert ended.code == 2
        assert f"pip install {package}" in ended.err
    assert tool_of(tmp_path) is None
