"""The order of many queries, and that a batch is answered as each query alone."""

import os
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import semsearch
from semsearch.local.locality import MIN_ORDERED_QUERIES, side_by_side
from semsearch.types import Document


@given(st.integers(1, 300), st.integers(1, 40), st.integers(0, 5), st.floats(0, 1e18))
def test_every_query_comes_once_whatever_they_are(count, dim, seed, scale):
    queries = (scale * np.random.default_rng(seed).standard_normal((count, dim))).astype(np.float32)
    kept = queries.copy()
    with np.errstate(over="ignore", invalid="ignore"):
        assert sorted(side_by_side(queries).tolist()) == list(range(count))
    assert (queries == kept).all()


@pytest.mark.parametrize("offset", [0, 50])
def test_similar_queries_come_side_by_side(offset):
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((8, 16))
    group = rng.permutation(np.repeat(np.arange(8), 40))
    queries = (offset + 10 * centres[group] + 0.01 * rng.standard_normal((320, 16))).astype(np.float32)
    ordered = group[side_by_side(queries)]
    assert np.count_nonzero(np.diff(ordered)) == 7


def test_near_groups_follow_each_other():
    angles = np.repeat(np.linspace(0, np.pi, 16), 20)
    shuffled = np.random.default_rng(1).permutation(angles)
    queries = np.stack([np.cos(shuffled), np.sin(shuffled)], axis=1).astype(np.float32)
    steps = np.abs(np.diff(shuffled[side_by_side(queries)]))
    assert np.count_nonzero(steps > np.pi / 5) <= 2  # one way to an end, and over the start to the other
    assert np.count_nonzero(np.abs(np.diff(shuffled)) > np.pi / 5) > 100


@pytest.mark.skipif(os.cpu_count() == 1, reason="there is one core")
def test_no_other_thread_wakes_for_it():
    """A BLAS's threads would spin on while the index is searched."""
    queries = np.random.default_rng(0).standard_normal((4000, 768)).astype(np.float32)
    of_all, of_this = time.process_time(), time.thread_time()
    for _ in range(10):
        side_by_side(queries)
    of_all, of_this = time.process_time() - of_all, time.thread_time() - of_this
    assert of_all < 1.1 * of_this


@pytest.mark.slow
@pytest.mark.parametrize("count", [MIN_ORDERED_QUERIES - 1, MIN_ORDERED_QUERIES, 3 * MIN_ORDERED_QUERIES + 7])
def test_a_batch_is_answered_in_its_own_order(count):
    rng = np.random.default_rng(count)
    vectors, queries = (rng.standard_normal((rows, 8)) for rows in (500, count))
    with semsearch.create("order", encoder=None, dim=8, index="hnsw", options={"ef": 500}) as collection:
        collection.add([Document(str(i), "text") for i in range(len(vectors))], vectors=vectors)
        collection.reindex("hnsw")
        collection.add([Document("new", "text")], vectors=vectors[:1])
        collection.load_index()
        many = collection.search_many(vectors=queries, k=5)
        assert many == [collection.search(vector=query, k=5) for query in queries]
        assert many == collection.search_many(vectors=queries, k=5, exact=True)
        assert {way for hits in many for hit in hits for way in hit.found} == {"index", "fresh"}
