"""Exact search is brute force, bit for bit, whatever the metric, the lengths of the vectors and the way taken."""

import numpy as np
import pytest

from indexes.exact import ExactIndex
from semsearch.testing import IndexContract
from semsearch.types import Metric
from semsearch.vectors import brute_force, normalise


class TestExact(IndexContract):
    index_class = ExactIndex
    exact = True


def sample(metric, n, dim, q, seed=0):
    """Vectors of very unequal length (but for COSINE), some equal, one zero; queries, one of them a stored vector."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((n, dim), dtype=np.float32)
    queries = rng.standard_normal((q, dim), dtype=np.float32)
    if metric is not Metric.COSINE:
        vectors *= np.exp(2 * rng.standard_normal((n, 1), dtype=np.float32))
    if n > 20:
        vectors[n // 2 : n // 2 + 5] = vectors[3]
        vectors[7] = 0
    if n:
        queries[0] = vectors[0]
    if metric is Metric.COSINE:
        vectors, queries = normalise(vectors), normalise(queries)
    return rng.permutation(10 * n + 1)[:n].astype(np.int64), vectors, queries


def assert_same(found, expected):
    assert found.keys.tolist() == expected.keys.tolist()
    assert found.scores.tobytes() == expected.scores.tobytes()


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize(("n", "dim"), [(0, 4), (1, 3), (33, 1), (5000, 33), (20_000, 96)])
@pytest.mark.parametrize(("q", "k"), [(1, 10), (40, 3), (2, 700)])
def test_is_brute_force_bit_for_bit(metric, n, dim, q, k):
    keys, vectors, queries = sample(metric, n, dim, q)
    index = ExactIndex.build(keys, vectors, metric, ExactIndex.Params())
    assert_same(index.search(queries, k), brute_force(keys, vectors, queries, k, metric))
    allowed = np.random.default_rng(1).random(n) < 0.3
    expected = brute_force(keys[allowed], vectors[allowed], queries, k, metric)
    assert_same(index.search_allowed(queries, k, allowed), expected)


@pytest.mark.parametrize("metric", Metric)
def test_many_chunks_and_tiles_of_queries(metric, monkeypatch):
    monkeypatch.setattr("indexes.exact.QUERIES", 16)
    monkeypatch.setattr("indexes.exact.ESTIMATES", 1024 * 16)
    keys, vectors, queries = sample(metric, 9_001, 24, 40)
    index = ExactIndex.build(keys, vectors, metric, ExactIndex.Params())
    assert_same(index.search(queries, 10), brute_force(keys, vectors, queries, 10, metric))


@pytest.mark.parametrize("metric", Metric)
def test_rows_too_alike_for_any_first_pass(metric):
    """Six thousand rows that differ in the last bits: the first pass lets all through, and the oracle decides."""
    rng = np.random.default_rng(2)
    vectors = np.tile(rng.standard_normal(48, dtype=np.float32), (6000, 1))
    vectors += 1e-7 * rng.standard_normal(vectors.shape, dtype=np.float32)
    if metric is Metric.COSINE:
        vectors = normalise(vectors)
    keys = rng.permutation(6000).astype(np.int64)
    queries = vectors[[5, 77]]
    index = ExactIndex.build(keys, vectors, metric, ExactIndex.Params())
    assert_same(index.search(queries, 7), brute_force(keys, vectors, queries, 7, metric))
