"""Sparse models over HTTP: TEI's route, collections that have one, and the server as their home."""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from support.named_hash import NAME
from support.serving import served

import semsearch
from semsearch.engine import SparseStore
from semsearch.errors import ModelMismatch, SemsearchError, UsageError
from semsearch.hardware import Compute
from semsearch.home import Home
from semsearch.testing.encoder import SparseWords

TEXTS = ["the cat sleeps", "a bird sings and sings"]


@pytest.fixture
def words(monkeypatch):
    """Sparse models without weights, by name."""
    opened = {}
    monkeypatch.setattr(
        "semsearch.models._sparse_encoders",
        lambda name, revision, compute: opened.setdefault(name, SparseWords(name)),
    )
    return opened


@pytest.fixture
def sparse_server(serve, fill, words):
    with serve(sparse=("words", "others")) as running:
        running.ask("/v1/collections", {"name": "animals", "sparse": "words"}, 201)
        fill_documents(running)
        yield running


def fill_documents(running):
    documents = [
        {"id": "cat", "text": "the cat sleeps on the warm sofa"},
        {"id": "bird", "text": "a bird sings in the old tree", "metadata": {"legs": 2}},
    ]
    running.ask("/v1/collections/animals/documents", {"documents": documents})


def test_teis_shape_of_sparse_vectors(sparse_server):
    for inputs, texts in ((TEXTS, TEXTS), (TEXTS[0], TEXTS[:1])):  # a list for a single text, too
        answer = sparse_server.ask("/embed_sparse", {"inputs": inputs})
        expected = SparseWords("words").encode_documents(texts)
        assert answer == [
            [{"index": int(i), "value": float(v)} for i, v in zip(*row, strict=True)] for row in expected.rows()
        ]
    asked = sparse_server.ask("/embed_sparse", {"inputs": TEXTS[1], "prompt_name": "query", "truncate": True})
    assert sorted(one["value"] for one in asked[0]) != sorted(one["value"] for one in answer[0])
    (row,) = SparseWords("words").encode_queries([TEXTS[1]]).rows()
    assert [one["index"] for one in asked[0]] == row[0].tolist()


def test_errors_of_sparse_vectors_are_teis(sparse_server, serve):
    for body, status, kind in (
        ({"inputs": ""}, 400, "Empty"),
        ({"inputs": []}, 400, "Empty"),
        ({"inputs": [[1, 2]]}, 422, "Validation"),
        ({"inputs": "x", "prompt_name": "poem"}, 422, "Validation"),
        ({"inputs": "x", "normalize": True}, 422, "Validation"),
    ):
        told = sparse_server.ask("/embed_sparse", body, status)
        assert set(told) == {"error", "error_type"}
        assert told["error_type"] == kind, body
    with serve(home=":memory:") as without:
        assert "--sparse MODEL" in without.ask("/embed_sparse", {"inputs": "x"}, 404)["error"]
    assert {"words", "others"} < {one["id"] for one in sparse_server.ask("/v1/models")["data"]}
    assert sparse_server.ask("/v1/server")["sparse"] == ["words", "others"]


def test_a_collection_is_searched_by_its_sparse_model(sparse_server):
    found = sparse_server.ask("/v1/collections/animals/search", {"query": "a bird sings", "mode": "sparse"})
    stored = SparseWords("words").encode_documents([" a bird sings in the old tree"])
    (score,) = SparseWords("words").encode_queries(["a bird sings"]).dot(stored)[0].tolist()
    best = found["hits"][0]
    assert (best["id"], best["score"]) == ("bird", pytest.approx(score, abs=1e-6))
    assert found["hits"][0]["scores"].keys() == {"sparse"}
    explained = sparse_server.ask(
        "/v1/collections/animals/search", {"query": "bird", "mode": "sparse", "explain": True}
    )
    assert [term["term"] for term in explained["hits"][0]["explanation"]["terms"]] == ["bird"]
    fused = sparse_server.ask("/v1/search", {"query": "a bird", "mode": "hybrid", "collections": ["animals"]})
    assert all("sparse" in hit["scores"] for hit in fused["hits"])
    several = sparse_server.ask("/v1/collections/animals/search", {"queries": ["bird", "cat"], "mode": "sparse"})
    assert [answer["hits"][0]["id"] for answer in several["answers"]] == ["bird", "cat"]


def test_a_sparse_model_comes_and_goes_by_a_task(server, words):
    server.refused("/v1/collections/animals/reencode", {"sparse": "words"}, 403)
    error = server.refused("/v1/collections/animals/search", {"query": "x", "mode": "sparse"})
    assert "has no sparse vectors" in error["message"]
    server.service.options = type(server.service.options)(encoders=(NAME,), sparse=("words",))
    for wrong in ({}, {"sparse": "words", "encoder": NAME}):
        assert "say which model" in server.refused("/v1/collections/animals/reencode", wrong)["message"]
    task = server.ask("/v1/collections/animals/reencode", {"sparse": "words"}, 202)
    assert server.finished(task)["result"] == {"passages": 3}
    assert server.ask("/v1/collections/animals/search", {"query": "park", "mode": "sparse"})["hits"][0]["id"] == "dog"
    task = server.ask("/v1/collections/animals/reencode", {"sparse": "none"}, 202)
    assert server.finished(task)["state"] == "done"
    server.refused("/v1/collections/animals/search", {"query": "park", "mode": "sparse"})


def test_a_server_as_a_home_keeps_sparse_vectors_there(sparse_server, words, monkeypatch):
    home = Home.of(sparse_server.url)
    with semsearch.open("animals", home=home) as animals:
        assert isinstance(animals.engine, SparseStore)
        words.clear()
        monkeypatch.setattr("semsearch.bound_sparse.models.sparse_encoder", None)  # nothing is opened here
        assert [hit.id for hit in animals.search("sofa", mode="sparse", explain=True)] == ["cat"]
        animals.add([semsearch.Document("fish", "a fish swims in the sea")])
        assert [hit.id for hit in animals.search("fish", mode="sparse")] == ["fish"]
        assert animals.info()["index"]["sparse"]["lacking"] == 0
        with animals.engine.view() as view:
            keys = view.sample(10, np.random.default_rng(0))
            assert len(view.sparse_vectors(keys)) == len(keys) == 3
            assert len(view.without_sparse(-1, 10)) == 0
        animals.engine.end_sparse()
        with pytest.raises(UsageError, match="has no sparse vectors"):
            animals.search("fish", mode="sparse")


def test_a_home_takes_only_sparse_models_that_are_served_and_are_the_same(sparse_server, words):
    home = Home.of(sparse_server.url)
    with semsearch.open("animals", home=home) as animals:
        with pytest.raises(SemsearchError, match="no sparse model 'unknown'"):
            animals.add_sparse("unknown")
        described = {"name": "others", "revision": None, "fingerprint": "x", "dim": 4096}
        with pytest.raises(ModelMismatch, match="another than the one of that name elsewhere"):
            animals.engine.begin_sparse(described)
        assert animals.add_sparse("others") == 2
        assert [hit.id for hit in animals.search("sofa", mode="sparse")] == ["cat"]
        vectors = SparseWords("x", dim=7).encode_documents(["a"])
        with pytest.raises(SemsearchError, match="7 components"):
            animals.engine.put_sparse(np.array([1]), vectors, "words")
        with pytest.raises(UsageError, match="fixed when the collection was made"):
            animals.engine.set("sparse", None)


def test_what_is_sent_as_sparse_vectors_is_checked(sparse_server):
    query = {"k": 1, "grouped": True, "where": None}
    for said in (None, [], ["", "", "", 0], ["!", "", "", 4096], ["AAAAAAAAAAA=", "AAAAAA==", "", 4096]):
        sparse_server.ask("/v1/engine/animals/sparse", {**query, "query": said}, 422)


@pytest.mark.real
@pytest.mark.models
def test_a_real_sparse_model_gives_over_http_what_its_peer_gives(data):
    """By TEI's own shape, since no client has a method for it; many clients at once are encoded together."""
    folder = Path(os.environ.get("SEMSEARCH_MODELS", "-")) / "splade-tiny"
    if not folder.is_dir():
        pytest.skip("set SEMSEARCH_MODELS to the folder of the real models")
    from sentence_transformers import SparseEncoder

    lines = (data / "quora-pairs.tsv").read_text("utf-8").splitlines()[1:60]
    texts = [*dict.fromkeys(line.split("\t")[0] for line in lines), "Wie viele Menschen leben in Berlin?", "x" * 3_000]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = SparseEncoder(str(folder), device="cpu", local_files_only=True)
        of_documents, of_queries = (
            encode(texts, convert_to_sparse_tensor=False).numpy()
            for encode in (peer.encode_document, peer.encode_query)
        )
    with served(":memory:", sparse=(str(folder),), compute=Compute(dtype="float32")) as running:
        limit = {"truncate": True}
        together = running.ask("/embed_sparse", {"inputs": texts, **limit})
        assert_as(together, of_documents)
        assert_as(running.ask("/embed_sparse", {"inputs": texts, "prompt_name": "query", **limit}), of_queries)
        with ThreadPoolExecutor(16) as clients:
            alone = list(clients.map(lambda text: running.ask("/embed_sparse", {"inputs": text, **limit})[0], texts))
        assert_as(alone, of_documents)
        assert running.ask("/v1/models")["data"][-1]["id"] == str(folder)


def assert_as(answer, expected):
    """Indices ascend, each once; what is left out is zero."""
    assert len(answer) == len(expected)
    for own, row in zip(answer, expected, strict=True):
        indices = [one["index"] for one in own]
        assert indices == sorted(set(indices))
        made = np.zeros_like(row)
        made[indices] = [one["value"] for one in own]
        assert (made[indices] > 0).all()
        assert np.allclose(made, row, atol=1e-4)
