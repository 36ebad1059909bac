"""Thousands of vectors that are one and the same: an index that is not exact says what it can't do for them."""

import numpy as np
import pytest

import semsearch
from semsearch.types import Document
from semsearch.vectors import most_equal


def made(home, equal, backend="exact"):
    vectors = np.random.default_rng(0).normal(size=(600, 16)).astype(np.float32)
    vectors[:equal] = vectors[0]
    collection = semsearch.create("many", encoder=None, dim=16, home=home, index=backend)
    collection.add([Document(str(n), "text") for n in range(600)], vectors)
    return collection, vectors


@pytest.mark.parametrize("backend", ["hnsw", "faiss-ivf", "annoy"])
def test_an_index_that_is_not_exact_says_so(tmp_path, caplog, backend):
    pytest.importorskip({"hnsw": "hnswlib", "faiss-ivf": "faiss", "annoy": "annoy"}[backend])
    with made(tmp_path / "many", 400)[0] as collection:
        caplog.clear()
        collection.reindex(backend)
        assert "400 of the 600 vectors in collection 'many' are one and the same" in caplog.text
        assert f"the index '{backend}' finds any" in caplog.text
        assert "'semsearch reindex many --index exact' finds all" in caplog.text
        caplog.clear()
        collection.reindex("exact")
        assert "one and the same" not in caplog.text
    with made(tmp_path / "few", 50)[0] as collection:
        caplog.clear()
        collection.reindex(backend)
        assert "one and the same" not in caplog.text


def test_the_most_that_are_equal_are_counted():
    vectors = np.random.default_rng(0).normal(size=(40_000, 3)).astype(np.float32)
    assert most_equal(vectors) == 1
    vectors[5::1000] = vectors[7]
    assert most_equal(vectors) == 41
    assert most_equal(vectors[:0]) == 0
