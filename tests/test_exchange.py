"""Vectors out of collections and into them: the same again, checked, and nothing that comes in runs."""

import collections
import json
import os
import pickle

import numpy as np
import pytest
from command_line import corpus, run, tiny_model
from fakes import HashEncoder

import semsearch
from semsearch.errors import CollectionDamaged, DataError, UsageError
from semsearch.exporting import export
from semsearch.given_vectors import read_together, read_vectors
from semsearch.types import Document


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


def answers(name, vector):
    with semsearch.open(name) as collection:
        hits = collection.search(vector=vector, k=20)
    return [(hit.document.id, hit.document.title, hit.text, hit.document.metadata, hit.score) for hit in hits]


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
        export(collection.store, tmp_path / "out")
        lines = [json.loads(line) for line in (tmp_path / "out" / "passages.jsonl").read_text().splitlines()]
        assert lines[1] == {
            "id": "b", "document": "b", "title": "", "text": "three", "start": 0, "end": 5, "metadata": {"x": [1]},
        }  # fmt: skip
        file = next(collection.path.glob("vectors-*.f32"))
        raw = bytearray(file.read_bytes())
        raw[3] ^= 1
        file.write_bytes(raw)
        with pytest.raises(CollectionDamaged, match="the stored vector of 'a' is damaged"):
            export(collection.store, tmp_path / "more")
        assert sorted(path.name for path in tmp_path.glob("*more*")) == []


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
            export(collection.store, tmp_path / "there")
        export(collection.store, tmp_path / "empty")
        assert np.load(tmp_path / "empty" / "vectors.npy").shape == (0, 4)
