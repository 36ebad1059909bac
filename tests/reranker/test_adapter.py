"""Adapters: what is learnt of judged questions, the folder it is kept in, and the command that makes one."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file
from support import tiny
from support.command_line import run
from support.judged import beir

import semsearch
from semsearch import load_reranker
from semsearch.errors import DataError, ModelError, UsageError
from semsearch.reranker.adapter import MATRIX, AdaptedEncoder
from semsearch.reranker.load import ADAPTER
from semsearch.training.adaptation import learn
from semsearch.training.judged import Judged
from semsearch.training.mining import MinedCandidates, mine

QUERY = "why do vaccines work"


@pytest.fixture
def kept(base, encoder, tmp_path):
    folder = tmp_path / "kept"
    shutil.copytree(base, folder)
    matrix = np.random.default_rng(0).standard_normal((encoder.dim, encoder.dim)).astype(np.float32)
    AdaptedEncoder(encoder, matrix, name="kept", weight=0.25).save(folder)
    return folder


def rotated(queries=40, documents=80, dim=8, seed=0):
    """Documents that answer the questions whose vectors are theirs with the signs of two components exchanged."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((documents, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    asked = vectors[:queries] * np.array([-1, -1, *[1] * (dim - 2)], dtype=np.float32)
    scores = asked @ vectors.T
    rows = np.argsort(-scores, axis=1, kind="stable")
    judged = Judged(
        "rotated",
        tuple(f"d{row}" for row in range(documents)),
        tuple(f"text {row}" for row in range(documents)),
        tuple(f"question {query}" for query in range(queries)),
        tuple({query: 1} for query in range(queries)),
        tuple(range(queries - 10)),
        tuple(range(queries - 10, queries)),
    )
    return judged, MinedCandidates(rows, -np.sort(-scores, axis=1), asked, vectors)


def test_what_questions_have_in_common_is_learnt():
    data = [rotated()]
    matrix, evaluations = learn(data, 80, 0)
    best = max(evaluations, key=lambda one: one.score)
    assert evaluations[0].after == evaluations[0].before, "it begins as the encoder"
    assert best.score > best.first_stage + 0.05
    assert best.weight > 0
    assert matrix[0, 0] < matrix[2, 2]
    again, _ = learn(data, 80, 0)
    assert np.array_equal(matrix, again)


def test_where_nothing_can_be_learnt_it_counts_nothing():
    judged, found = rotated()
    rng = np.random.default_rng(1)
    noise = MinedCandidates(found.rows, found.scores, found.query_vectors, rng.permutation(found.vectors))
    perfect = np.argsort(found.rows != np.arange(len(found.rows))[:, None], axis=1, kind="stable")
    first = MinedCandidates(
        np.take_along_axis(found.rows, perfect, 1), found.scores, noise.query_vectors, noise.vectors
    )
    _, evaluations = learn([(judged, first)], 80, 0)
    assert {one.weight for one in evaluations} == {0.0}


def test_without_a_relevant_candidate_there_is_nothing_to_learn():
    judged, found = rotated()
    with pytest.raises(DataError, match="no training query has a relevant document"):
        learn(
            [(judged, MinedCandidates(found.rows[:, -1:], found.scores[:, -1:], found.query_vectors, found.vectors))],
            1,
            0,
        )


# ---- the folder -----------------------------------------------------------------------------------------------------


def test_a_folder_opens_as_it_was_kept(kept, encoder):
    opened = load_reranker(str(kept), device="cpu", dtype="float32")
    expected = encoder.encode_documents(tiny.TEXTS) @ (opened.matrix @ encoder.encode_queries([QUERY])[0])
    assert opened.score(QUERY, tiny.TEXTS) == pytest.approx(expected, abs=1e-6)
    assert opened.weight == 0.25
    assert json.loads(json.dumps(opened.description()))["kind"] == "adapter"
    assert opened.score(QUERY, []).shape == (0,)
    for query, texts in ((QUERY, "one text"), (QUERY, [1]), (None, ["a"])):
        with pytest.raises(UsageError, match="a list of texts"):
            opened.score(query, texts)


@pytest.mark.parametrize(
    "matrix",
    [np.eye(3, dtype=np.float32), np.full((16, 16), np.nan, np.float32), np.eye(16), np.ones(16, np.float32)],
    ids=["small", "nan", "double", "vector"],
)
def test_a_matrix_that_can_not_be_right_is_refused(kept, matrix):
    save_file({"matrix": matrix}, kept / MATRIX)
    with pytest.raises(ModelError, match="must hold a finite float32 'matrix' of"):
        load_reranker(str(kept), device="cpu")


def test_damage_is_told(kept):
    (kept / ADAPTER).write_text('{"rerank_weight": -1}', "utf-8")
    with pytest.raises(ModelError, match="the weight -1; it must be from 0 to 1"):
        load_reranker(str(kept), device="cpu")
    (kept / ADAPTER).write_text("{}", "utf-8")
    (kept / MATRIX).write_bytes(b"torn")
    with pytest.raises(ModelError, match=r"adapter\.safetensors can't be read"):
        load_reranker(str(kept), device="cpu")
    (kept / MATRIX).unlink()
    with pytest.raises(ModelError, match=r"adapter\.safetensors can't be read"):
        load_reranker(str(kept), device="cpu")


# ---- the command ----------------------------------------------------------------------------------------------------


def test_the_command_takes_a_collections_vectors(base, tmp_path):
    data, home = beir(tmp_path / "toy"), tmp_path / "home"
    ended = run("index", data, "--name", "toy", "-m", base, "--home", home)
    assert ended.code == 0, ended.err
    out = tmp_path / "out"
    options = [
        "--kind",
        "adapter",
        "--model",
        base,
        "--collection",
        "toy",
        "--home",
        home,
        "--held-out",
        2,
        "--depth",
        20,
    ]
    ended = run("train-reranker", data, "--out", out, *options)
    assert ended.code == 0, ended.err
    assert "encoding" not in ended.err, "the collection has the vectors"
    made = load_reranker(str(out))
    assert f"is **{made.weight:g}**" in (out / "README.md").read_text("utf-8")
    ended = run("query", "toy", QUERY, "--home", home, "--rerank", out, "--mode", "hybrid", "--json")
    assert ended.code == 0, ended.err
    ended = run("train-reranker", data, "--out", tmp_path / "o", "--kind", "adapter", "--steps", 3)
    assert (ended.code, "--kind adapter is made without --steps" in ended.err) == (2, True)


def test_vectors_of_a_collection_serve_if_they_are_the_models(base, encoder, tmp_path):
    from semsearch.training.judged import read_judged

    judged = read_judged(beir(tmp_path / "toy"), "train", 2, 0)
    with semsearch.create("toy", home=tmp_path / "home", encoder=str(base), dtype="float32") as collection:
        documents = [semsearch.Document(name, text) for name, text in zip(judged.ids, judged.texts, strict=True)]
        collection.add(documents)
        told = []
        found = mine(judged, encoder, 10, collection=collection, say=told.append)
        assert told == []
        assert found.vectors == pytest.approx(encoder.encode_documents(judged.texts), abs=1e-3)
        collection.remove([judged.ids[3]])
        mine(judged, encoder, 10, collection=collection, say=told.append)
        assert len(told) == 1, "one is not there: all are encoded"
