"""Vectors out of collections and into them: the same again, checked, and nothing that comes in runs."""

import collections
import json
import os
import pickle

import numpy as np
import pytest
from support.command_line import corpus, run, tiny_model
from support.fakes import HashEncoder

import semsearch
from semsearch.errors import CollectionDamaged, DataError, DimensionMismatch, StorageError, UsageError
from semsearch.exchange.export import export
from semsearch.ingest import precomputed
from semsearch.ingest.precomputed import read_together, read_vectors
from semsearch.ingest.source import Source
from semsearch.local.store import document_rows as documents
from semsearch.types import Document


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


def answers(name, vector):
    with semsearch.open(name) as collection:
        hits = collection.search(vector=vector, k=20)
    return [(hit.document.id, hit.document.title, hit.text, hit.document.metadata, hit.score) for hit in hits]


@pytest.mark.parametrize("words", [("notes", "--parquet", "{}"), ("notes", "{}")])
def test_a_file_of_parquet_is_that_file(tmp_path, model, words):
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    run("index", corpus(tmp_path), "-m", model)
    file = tmp_path / "new" / "out.parquet"
    ended = run("export", *(word.format(file) for word in words))
    assert (ended.code, ended.out) == (0, f"exported 40 passages to {file}\n")
    assert [path.name for path in file.parent.iterdir()] == ["out.parquet"]
    told = json.loads(parquet.read_schema(file).metadata[b"semsearch.collection"])
    assert (told["name"], told["passages"]) == ("notes", 40)
    assert run("index", file, "--vectors", "vector", "--name", "again", "-m", model, "--passages", "off").code == 0
    assert run("export", "notes", file).code == 2, "it is there already"
    with pytest.raises(StorageError, match="can't be written"), semsearch.open("notes") as collection:
        collection.export(file / "in.parquet", parquet=True)


@pytest.mark.slow
@pytest.mark.parametrize("parquet", [False, True])
def test_what_goes_out_comes_in_again(tmp_path, model, parquet):
    run("index", corpus(tmp_path), "-m", model)
    run("remove", "notes", "d3")
    folder = tmp_path / "out"
    assert (
        run("export", "notes", folder, *(["--parquet"] if parquet else [])).out == f"exported 39 passages to {folder}\n"
    )
    if parquet:
        into = ("index", folder / "passages.parquet", "--vectors", "vector", "--name")
        vectors = read_vectors(folder / "passages.parquet")
    else:
        into = ("index", folder / "passages.jsonl", "--vectors", folder / "vectors.npy", "--name")
        vectors = np.load(folder / "vectors.npy")
    assert vectors.shape == (39, 32)
    ended = run(*into, "again", "-m", model)
    assert ended.out == "added 39, changed 0, unchanged 0, skipped 0\n"
    assert "encoded 39 of the texts again: the least alike vectors have a cosine of 1.0000" in ended.err
    assert run(*into, "own", "-m", "none").code == 0
    truth = answers("notes", vectors[5])
    assert len(truth) == 20
    for name in ("again", "own"):
        found = answers(name, vectors[5])
        assert [hit[:3] for hit in found] == [hit[:3] for hit in truth]
        assert [hit[4] for hit in found] == [hit[4] for hit in truth]
    assert run("query", "again", "oven", "--json").code == 0
    assert json.loads((folder / "collection.json").read_text())["encoder"]["name"] == str(model)
    assert run("export", "notes", folder).code == 2


def test_passages_of_one_document_have_ids_of_their_own_and_damage_is_refused(tmp_path):
    with semsearch.create("notes", encoder=HashEncoder(4)) as collection:
        collection.add([Document("a", "one two"), Document("b", "three", metadata={"x": [1]})])
        export(collection.engine, tmp_path / "out")
        lines = [json.loads(line) for line in (tmp_path / "out" / "passages.jsonl").read_text().splitlines()]
        assert lines[1] == {
            "id": "b", "document": "b", "title": "", "text": "three", "start": 0, "end": 5, "metadata": {"x": [1]},
        }  # fmt: skip
        file = next(collection.path.glob("vectors-*.f32"))
        raw = bytearray(file.read_bytes())
        raw[3] ^= 1
        file.write_bytes(raw)
        with pytest.raises(CollectionDamaged, match="the stored vector of 'a' in collection 'notes' is damaged"):
            export(collection.engine, tmp_path / "more")
        assert sorted(path.name for path in tmp_path.glob("*more*")) == []


METADATA = {
    "plain": {
        "year": 1999,
        "title of it": "ä",
        "good": True,
        "rating": 7.5,
        "genres": ["Drama", "Silent"],
        "sizes": [1.5],
    },
    "empty": {},
    "sparse": {"year": 2001, "genres": [], "sizes": [0.25, -1.0], "sometimes": None},
    "mixed": {"rating": 7, "good": False, "sometimes": "text", "odd": [1, "two", None], "genres": [None]},
    "deep": {"map": {"a": {"b": [1, 2]}}, "lists": [[1], [2]], "nothing": [], "always": 0},
    "keys": {"a.b": 1, "metadata": {"inner": 1}, "document": "own", "start": "first", "id": "x", "Ω": -(2**63)},
}


def there_and_back(tmp_path, metadata, name="back"):
    """Each as the metadata of a document that is exported to Parquet and read in again."""
    with semsearch.create(f"of-{name}", encoder=None, dim=2) as collection:
        documents = [Document(key, f"text of {key}", metadata=own) for key, own in metadata.items()]
        collection.add(documents, np.eye(2)[[n % 2 for n in range(len(documents))]])
    assert run("export", f"of-{name}", tmp_path / name, "--parquet").code == 0
    file = tmp_path / name / "passages.parquet"
    assert run("index", file, "--vectors", "vector", "-m", "none", "--name", name).code == 0
    with semsearch.open(name) as collection:
        return {document.id: document.metadata for document in collection.documents()}, file


def same(found, wanted):
    """Equal, and of the same types: 7 is not 7.0."""
    return json.dumps(found, sort_keys=True) == json.dumps(wanted, sort_keys=True)


def test_metadata_goes_out_typed_and_comes_in_as_it_was(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    found, file = there_and_back(tmp_path, METADATA)
    assert same(found, METADATA)
    column = parquet.read_schema(file).field("metadata").type
    types = {child.name: str(child.type) for child in column}
    assert {name: types[name] for name in ("year", "good", "genres", "sizes", "Ω", "nothing", "map", "sometimes")} == {
        "year": "int64", "good": "bool", "genres": "list<element: string>", "sizes": "list<element: double>",
        "Ω": "int64", "nothing": "list<element: string>", "map": "string", "sometimes": "string",
    }  # fmt: skip
    assert types["rating"] == "string"  # whole numbers and others
    assert parquet.read_table(file)["metadata"].combine_chunks().field("year").to_pylist() == [
        1999, None, 2001, None, None, None,
    ]  # fmt: skip
    assert isinstance(column, pyarrow.StructType)


def test_nulls_that_are_values_stay_and_no_metadata_is_none(tmp_path):
    pytest.importorskip("pyarrow")
    for number, metadata in enumerate(
        [
            {"a": {"x": None, "y": 1}, "b": {"x": "t", "y": 2}},
            {"a": {"x": None}, "b": {"x": None}},
            {"a": {}, "b": {}},
            {"a": {f"f{n}": n for n in range(1500)}, "b": {}},
        ]
    ):
        assert same(there_and_back(tmp_path, metadata, f"n{number}")[0], metadata)


def test_a_struct_of_somebody_else_is_read_as_it_stands_and_damage_is_said(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table(
        {"id": ["a", "b"], "text": ["one", "two"], "start": [1, 2], "metadata": [{"x": None}, {"x": 1}]}
    )
    parquet.write_table(table, tmp_path / "theirs.parquet")
    assert [document.metadata for document in Source.of(tmp_path / "theirs.parquet").read()] == [
        {"start": 1, "x": None}, {"start": 2, "x": 1},
    ]  # fmt: skip
    field = pyarrow.field("metadata", pyarrow.string(), metadata={b"semsearch": b"json"})
    schema = pyarrow.schema([("id", pyarrow.string()), ("text", pyarrow.string()), field])
    table = pyarrow.table({"id": ["a", "b"], "text": ["one", "two"], "metadata": ["{}", "{"]}, schema=schema)
    parquet.write_table(table, tmp_path / "bad.parquet")
    with pytest.raises(DataError, match="row 2: its metadata is no JSON"):
        list(Source.of(tmp_path / "bad.parquet").read())


def test_vectors_of_another_model_are_refused(tmp_path, model):
    notes = corpus(tmp_path)
    vectors = np.random.default_rng(0).standard_normal((40, 32)).astype(np.float32)
    np.save(tmp_path / "v.npy", vectors)
    ended = run("index", notes, "--vectors", tmp_path / "v.npy", "-m", model)
    assert (ended.code, ended.out) == (4, "")
    assert "the vectors are not this model's" in ended.err
    assert run("list").out == ""
    assert run("index", notes, "--vectors", tmp_path / "v.npy", "-m", model, "--unchecked").code == 0
    np.save(tmp_path / "v.npy", vectors[:, :31])
    ended = run("index", notes, "--name", "x", "--vectors", tmp_path / "v.npy", "-m", model)
    assert (ended.code, "31 components" in ended.err) == (3, True)
    np.save(tmp_path / "v.npy", vectors[:39])
    ended = run("index", notes, "--name", "x", "--vectors", tmp_path / "v.npy", "-m", "none")
    assert (ended.code, "40 documents need as many vectors" in ended.err) == (3, True)
    assert run("index", notes, "--name", "x", "-m", "none").code == 2
    assert run("index", notes, "--name", "x", "--vectors", "nowhere.npy").code == 2
    assert run("query", "notes", "oven").code == 0


def test_records_that_cannot_be_matched_are_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "same"}\n{"text": "same"}\n')
    np.save(tmp_path / "v.npy", np.eye(2, dtype=np.float32))
    ended = run("index", tmp_path / "a.jsonl", "--vectors", tmp_path / "v.npy", "-m", "none")
    assert (ended.code, "give each record an id" in ended.err) == (3, True)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("owned",)


def test_a_pickle_is_read_and_nothing_in_it_runs(tmp_path, monkeypatch, model):
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    vectors = np.eye(3, dtype=np.float32)
    texts = ["one", "two", "three"]
    for kind in (vectors, torch.from_numpy(vectors), list(torch.from_numpy(vectors)), vectors.astype(np.float16)):
        for protocol in (2, 4, 5):
            content = {"sentences": texts, "embeddings": kind}
            (tmp_path / "e.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
            documents, found = read_together(tmp_path / "e.pkl")
            assert [document.text for document in documents] == texts
            assert np.array_equal(found, vectors)
    for evil in (Evil(), {"sentences": texts, "embeddings": Evil()}, collections.Counter, semsearch.create):
        (tmp_path / "e.pkl").write_bytes(pickle.dumps(evil))
        with pytest.raises(DataError, match=r"which might run anything"):
            read_together(tmp_path / "e.pkl")
    assert not (tmp_path / "owned").exists()
    (tmp_path / "e.pkl").write_bytes(b"\x80\x04no")
    with pytest.raises(DataError):
        read_together(tmp_path / "e.pkl")
    np.savez(tmp_path / "e.npz", ids=np.array(["a", "b", "c"]), texts=np.array(texts), vectors=vectors)
    assert run("import", tmp_path / "e.npz", "-m", "none").out == "added 3, changed 0, unchanged 0, skipped 0\n"
    with semsearch.open("e") as collection:
        assert collection.search(vector=vectors[1], k=1)[0].document == Document("b", "two")
    np.savez(tmp_path / "e.npz", vectors=np.array([object()]))
    assert run("import", tmp_path / "e.npz", "-m", "none").code == 3


def test_what_is_no_array_is_said(tmp_path):
    (tmp_path / "v.npy").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"v\.npy is no array that numpy saved"):
        read_vectors(tmp_path / "v.npy")
    np.savez(tmp_path / "v.npz", other=np.eye(2))
    with pytest.raises(DataError, match="holds none of vectors, embeddings"):
        read_vectors(tmp_path / "v.npz")
    with semsearch.create("notes", encoder=HashEncoder(4)) as collection:
        (tmp_path / "there").mkdir()
        with pytest.raises(UsageError, match="is there already"):
            export(collection.engine, tmp_path / "there")
        export(collection.engine, tmp_path / "empty")
        assert np.load(tmp_path / "empty" / "vectors.npy").shape == (0, 4)


@pytest.mark.parametrize(
    "vector",
    [[[1.0, 2.0]], ["x", "y"], [{"a": 1}], [b"\xff"], "x", 1.5, {"a": 1}],
    ids=["lists", "texts", "structs", "bytes", "a text", "a number", "a struct"],
)
def test_a_column_of_parquet_that_holds_no_vectors_is_said(tmp_path, vector):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    parquet.write_table(pyarrow.table({"v": [vector] * 3}), tmp_path / "v.parquet")
    with pytest.raises(DataError, match=r"v\.parquet has no column 'v' of vectors"):
        read_vectors(tmp_path / "v.parquet", "v")


@pytest.mark.parametrize("lying", [False, True])
def test_a_small_file_of_parquet_does_not_fill_the_memory(tmp_path, monkeypatch, lying):
    """One value is stored once, however many vectors are made of it; the file may also lie about how many."""
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    file = tmp_path / "v.parquet"
    parquet.write_table(pyarrow.table({"v": [[1.0] * 500] * 4000, "text": ["x"] * 4000}), file)
    assert read_vectors(file, "v").shape == (4000, 500), "8 MB are nothing"
    monkeypatch.setattr(precomputed, "MOST_INFLATED", 1000)
    if lying:
        monkeypatch.setattr(precomputed, "_said", lambda *_: 0)
    with pytest.raises(DataError, match=r"the column 'v' would be more than [\d,]+ bytes of numbers, far more than"):
        read_vectors(file, "v")


def test_vectors_of_parquet_are_of_one_length(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    file, numbers = tmp_path / "v.parquet", np.arange(6, dtype=np.float32).reshape(3, 2)
    for kind in (
        pyarrow.list_(pyarrow.float32()),
        pyarrow.list_(pyarrow.float64(), 2),
        pyarrow.large_list(pyarrow.int8()),
    ):
        for rows in (1, 3):  # in groups
            column = pyarrow.array([[int(n) for n in row] for row in numbers], kind)
            parquet.write_table(pyarrow.table({"v": column}), file, row_group_size=rows)
            assert np.array_equal(read_vectors(file, "v"), numbers)
    for column in ([[1.0, 2.0], [1.0]], [[1.0], None], [[], []], []):
        parquet.write_table(pyarrow.table({"v": pyarrow.array(column, pyarrow.list_(pyarrow.float32()))}), file)
        with pytest.raises(DimensionMismatch, match="are of different lengths, or missing"):
            read_vectors(file, "v")
    with pytest.raises(DataError, match=r"has no column 'w' of vectors: .*'v'"):
        read_vectors(file, "w")


def given(folder, model, texts, name="a"):
    """Records and the model's vectors of them, in two files."""
    import semsearch.encoder.own

    (folder / f"{name}.jsonl").write_text(
        "".join(json.dumps({"id": key, "text": text, "n": len(text)}) + "\n" for key, text in texts.items())
    )
    vectors = semsearch.encoder.own.named_encoder(str(model)).encode_documents(list(texts.values()))
    np.save(folder / f"{name}.npy", vectors)
    return vectors


def stored(name):
    """Texts and vectors, by id."""
    with semsearch.open(name) as collection, collection.engine.store.read() as view:
        snapshot = view.snapshot
        listed = documents.read(view.connection, snapshot.docs.tolist()).documents
        return {
            listed[snapshot.docs[row]].id: (listed[snapshot.docs[row]].text, snapshot.vectors[row].tolist())
            for row in np.flatnonzero(snapshot.live)
        }


def held(texts, vectors):
    return {key: (text, vector.tolist()) for (key, text), vector in zip(texts.items(), vectors, strict=True)}


@pytest.mark.parametrize("encoder", ["model", "none"])
def test_a_source_with_vectors_is_synced(tmp_path, model, encoder):
    chosen = model if encoder == "model" else "none"
    texts = {f"d{n}": f"whale storm {'tide ' * n}reef" for n in range(10)}
    given(tmp_path, model, texts)
    file, own = tmp_path / "a.jsonl", ("--vectors", tmp_path / "a.npy")
    assert run("index", file, *own, "-m", chosen).out == "added 10, changed 0, unchanged 0, skipped 0\n"
    assert run("sync").out == "added 0, changed 0, removed 0, unchanged 10\n"
    texts = {"new": "oven loaf", **texts, "d3": "wheel chain"}  # every row moves
    del texts["d7"]
    vectors = given(tmp_path, model, texts)
    seen = run("sync", "--dry-run")
    assert seen.lines == ["add\tnew", "change\td3", "remove\td7"]
    assert run("sync").out == "added 1, changed 1, removed 1, unchanged 8\n"
    assert stored("a") == held(texts, vectors)
    vectors[4] = -vectors[4]  # the texts are as they were
    np.save(tmp_path / "a.npy", vectors)
    ended = run("sync")
    if encoder == "model":
        assert (ended.code, ended.out) == (4, "")
        assert f"document {list(texts)[4]!r} comes to a cosine of -1.0000" in ended.err
        assert f"Nothing was taken from {file}" in ended.err
        ended = run("sync", "--unchecked")
    assert ended.out == "added 0, changed 1, removed 0, unchanged 9\n"
    assert stored("a") == held(texts, vectors)
    assert run("index", file, *own).out == "added 0, changed 0, unchanged 10, skipped 0\n"
    assert run("check", "a", "--deep").code == 0


def test_what_cannot_be_matched_any_more_removes_nothing(tmp_path, model):
    texts = {f"d{n}": f"whale storm {'tide ' * n}reef" for n in range(10)}
    vectors = given(tmp_path, model, texts)
    file = tmp_path / "a.jsonl"
    run("index", file, "--vectors", tmp_path / "a.npy", "-m", model)
    other = tmp_path / "other.jsonl"
    other.write_text('{"id": "o", "text": "oven"}\n')
    assert run("index", other, "--name", "a").code == 2  # another source must be added
    assert run("index", other, "--name", "a", "--add").code == 0
    other.write_text('{"id": "o", "text": "oven"}\n{"id": "p", "text": "loaf"}\n')
    before = stored("a")

    def refused(said):
        ended = run("sync", "--yes")
        assert ended.code == 3
        assert said in ended.err
        assert {key: kept for key, kept in stored("a").items() if key not in "op"} == {
            key: kept for key, kept in before.items() if key != "o"
        }

    np.save(tmp_path / "a.npy", vectors[:9])
    refused("10 documents need as many vectors")
    assert "p" in stored("a")  # the other source is in step all the same
    np.save(tmp_path / "a.npy", np.full_like(vectors, np.nan))
    refused("holds NaN")
    np.save(tmp_path / "a.npy", vectors)
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:5], "{\n", *lines[6:]]))
    refused("line 6")
    file.write_text("".join(lines))
    (tmp_path / "a.npy").unlink()
    refused(f"{tmp_path / 'a.npy'} is not there")
    file.write_text("")
    np.save(tmp_path / "a.npy", vectors[:0])
    refused("holds no documents")


def test_a_pipe_is_no_file_of_vectors(tmp_path):
    os.mkfifo(tmp_path / "p.npz")
    write = tmp_path / "t.jsonl"
    write.write_text('{"id": "1", "text": "one"}\n')
    ended = run("import", tmp_path / "p.npz", "-m", "none")
    assert (ended.code, "p.npz' is no file." in ended.err) == (2, True)
    ended = run("index", write, "--vectors", tmp_path / "p.npz", "-m", "none")
    assert (ended.code, "p.npz' is no file." in ended.err) == (2, True)


def test_a_column_of_parquet_is_synced(tmp_path, model):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    def write(texts):
        vectors = given(tmp_path, model, texts)
        table = {"id": list(texts), "text": list(texts.values()), "own": list(vectors)}
        parquet.write_table(pyarrow.table(table), tmp_path / "docs.parquet")
        return held(texts, vectors)

    texts = {f"d{n}": f"whale storm {'tide ' * n}reef" for n in range(10)}
    truth = write(texts)
    file = tmp_path / "docs.parquet"
    assert run("index", file, "--vectors", "own", "-m", model).code == 0
    assert stored("docs") == truth
    del texts["d2"]
    truth = write({**texts, "d9": "oven", "e": "loaf"})
    assert run("sync").out == "added 1, changed 1, removed 1, unchanged 8\n"
    assert stored("docs") == truth


def test_what_contradicts_the_collection_is_refused(tmp_path, model):
    given(tmp_path, model, {"a": "whale", "b": "oven"})
    own = ("--vectors", tmp_path / "a.npy")
    file = tmp_path / "a.jsonl"
    assert run("index", file, *own, "-m", model, "--dry-run").code == 2
    assert run("list").out == ""
    np.save(tmp_path / "bad.npy", np.full((2, 3), np.inf))
    ended = run("index", file, "--vectors", tmp_path / "bad.npy", "-m", "none")
    assert (ended.code, run("list").out) == (3, "")
    assert run("index", file, *own, "-m", "none", "--index", "exact", "--option", "nothing=1").code == 2
    assert run("index", file, *own, "-m", "none", "--index", "exact").code == 0
    assert json.loads(run("info", "a", "--json").out)["index"]["wanted"]["backend"] == "exact"
    ended = run("index", file, *own, "-m", model)
    assert (ended.code, "has no model" in ended.err) == (4, True)
    run("index", corpus(tmp_path), "-m", model)
    ended = run("index", file, *own, "--name", "notes", "--add", "-m", "none")
    assert (ended.code, "was made with the model" in ended.err) == (4, True)


def test_a_place_where_no_folder_can_be_is_said(tmp_path):
    given_vectors = np.eye(3, dtype=np.float32)
    np.savez(tmp_path / "a.npz", texts=np.array(["one", "two", "three"]), vectors=given_vectors)
    assert run("import", tmp_path / "a.npz", "-m", "none").code == 0
    (tmp_path / "file").write_text("no folder")
    for command in (("export",), ("export", "--parquet")):
        ended = run(command[0], "a", tmp_path / "file" / "x", *command[1:])
        assert (ended.code, ended.out) == (4, "")
        assert f"{tmp_path / 'file' / 'x'} can't be written" in ended.err
    ended = run("backup", "a", tmp_path / "file" / "x.backup")
    assert (ended.code, f"there is no folder {tmp_path / 'file'}" in ended.err) == (2, True)
    ended = run("bench", "a", "--quick", "--out", tmp_path / "file" / "x")
    assert (ended.code, "can't be made" in ended.err) == (2, True)


def test_what_another_tool_s_file_lacks_is_said(tmp_path):
    def refused(said, **arrays):
        np.savez(tmp_path / "a.npz", **arrays)
        ended = run("import", tmp_path / "a.npz", "-m", "none")
        assert (ended.code, said in ended.err) == (3, True)
        assert run("list").out == ""

    refused("holds no texts", texts=np.array([], dtype=str), vectors=np.zeros((0, 4)))
    refused("the id 'x' twice", texts=np.array(["a", "b"]), ids=np.array(["x", "x"]), vectors=np.eye(2))
    refused("its vector is zero", texts=np.array(["a", "b"]), vectors=np.zeros((2, 3)))
    (tmp_path / "a.jsonl").write_text('{"text": "one"}')
    ended = run("index", tmp_path / "a.jsonl", "--vectors", tmp_path / "a.jsonl", "-m", "none")
    assert (ended.code, "is no array that numpy saved" in ended.err, "pickle" in ended.err) == (3, True, False)
    np.save(tmp_path / "v.npy", np.eye(1))
    ended = run("index", tmp_path / "a.jsonl", "--vectors", tmp_path / "v.npy", "--vector-column", "x", "-m", "none")
    assert (ended.code, "names a column of a Parquet file" in ended.err) == (2, True)
    assert run("index", tmp_path / "a.jsonl", "--vectors", tmp_path / "v.npy", "-m", "none").code == 0
    assert "'semsearch similar a ID'" in run("query", "a", "one").err
