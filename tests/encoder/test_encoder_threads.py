"""One encoder for many threads, as a server has it: each gets the vectors that it would get alone."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support import tiny

import semsearch
from semsearch import Document, load_encoder

pytestmark = pytest.mark.threads

THREADS = 16
QUERIES = [" ".join(tiny.WORDS[i : i + 1 + i % 9]) for i in range(len(tiny.WORDS))]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.bert(tmp_path_factory.mktemp("models") / "bert")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", None])
def test_many_threads_get_the_vectors_that_each_gets_alone(model, dtype):
    encoder = load_encoder(str(model), device="cpu", dtype=dtype)
    alone = {
        role: [getattr(encoder, role)([text]) for text in QUERIES] for role in ("encode_queries", "encode_documents")
    }

    def encoded(thread):
        role = ("encode_queries", "encode_documents")[thread % 2]
        order = np.random.default_rng(thread).permutation(len(QUERIES))
        return role, {int(i): getattr(encoder, role)([QUERIES[i]]) for i in order}

    with ThreadPoolExecutor(THREADS) as pool:
        for role, vectors in pool.map(encoded, range(THREADS)):
            for i, vector in vectors.items():
                assert np.array_equal(vector, alone[role][i]), (role, QUERIES[i])


@pytest.mark.slow
def test_threads_that_open_it_at_once_get_one_right_encoder(model, tmp_path):
    """The first searches of a collection come together, before its model is loaded: all are answered."""
    with semsearch.create("many", encoder=str(model), home=tmp_path, device="cpu", dtype="float32") as made:
        made.add([Document(str(i), text) for i, text in enumerate(QUERIES)])
        alone = [made.search(text, k=5) for text in QUERIES]
    with (
        semsearch.open("many", home=tmp_path, device="cpu", dtype="float32") as opened,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        found = list(pool.map(lambda text: opened.search(text, k=5), QUERIES))
        assert found == alone
