"""Numbers of any size: what would overflow is refused at the door, and what older versions took in does no harm."""

import json
import re
from functools import partial

import numpy as np
import pytest
from support.backends import BUILT_IN
from support.command_line import run

import semsearch
from semsearch.errors import CollectionDamaged, DataError
from semsearch.types import Document, Metric
from semsearch.vectors import MAX_COMPONENT, MAX_SCORE, brute_force, check_vectors, normalise, score_pairs, stored_form

DIM, COUNT = 16, 700
UNBOUNDED = [Metric.DOT, Metric.L2]


def some(count=COUNT, seed=0):
    return np.random.default_rng(seed).standard_normal((count, DIM), dtype=np.float32)


def documents(count=COUNT, prefix="d"):
    return [Document(f"{prefix}{number}", f"text {number}") for number in range(count)]


def create(metric, index="auto"):
    return semsearch.create("far", encoder=None, dim=DIM, metric=metric, index=index)


@pytest.fixture
def unchecked(monkeypatch):
    """Writes as older versions did, which took every finite number."""

    def write(collection, found, vectors):
        with monkeypatch.context() as older:
            older.setattr("semsearch.vectors.in_range", lambda vectors, largest=0: True)
            collection.add(found, vectors=vectors, maintain=False)

    return write


@pytest.mark.parametrize("value", [1.01 * MAX_COMPONENT, -1e17, 1e18, 3e38])
def test_a_number_that_would_overflow_is_refused_with_its_row(value):
    vectors = some(5)
    vectors[3, 7] = value
    with pytest.raises(DataError, match=re.escape(f"row 3 of vectors holds {value:.3g}, and numbers beyond ±1e+12")):
        check_vectors(vectors, DIM)
    assert stored_form(vectors, DIM, Metric.COSINE)[3, 7] == np.sign(value)  # of any length before


@pytest.mark.parametrize("metric", UNBOUNDED)
def test_scores_within_the_range_keep_their_order(metric):
    """The worst there are: as many components as a model has, each as large as may be."""
    rows = np.linspace(-MAX_COMPONENT, MAX_COMPONENT, 9, dtype=np.float32)[:, None].repeat(1 << 16, axis=1)
    scores = score_pairs(rows[-1], check_vectors(rows, 1 << 16), metric)
    assert np.isfinite(scores).all()
    assert (np.diff(scores) > 0).all()


@pytest.mark.parametrize("metric", UNBOUNDED)
@pytest.mark.parametrize("index", BUILT_IN)
def test_the_collection_takes_none_of_it(metric, index):
    vectors = some()
    vectors[5] *= np.float32(1e18)
    with create(metric, index) as collection:
        with pytest.raises(DataError, match="row 5 of vectors holds"):
            collection.add(documents(), vectors=vectors)
        assert len(collection) == 0
        collection.add(documents(), vectors=np.clip(vectors, -MAX_COMPONENT, MAX_COMPONENT))
        with pytest.raises(DataError, match="row 0 of the query's vector holds"):
            collection.search(vector=vectors[5])
        for query in (np.full(DIM, MAX_COMPONENT), np.full(DIM, -MAX_COMPONENT), np.ones(DIM)):
            scores = [hit.score for hit in collection.search(vector=query, k=20)]
            assert len(scores) == 20
            assert np.isfinite(scores).all()


@pytest.mark.parametrize("metric", UNBOUNDED)
@pytest.mark.parametrize("length", [1e14, 1e19, 1e30])
@pytest.mark.parametrize("every", [1, 7])
def test_exact_search_over_what_older_versions_stored(metric, length, every):
    from indexes.exact import ExactIndex

    vectors, keys, queries = some(5000), np.arange(5000), some(4, seed=1)
    vectors[::every] *= np.float32(length)
    expected = brute_force(keys, vectors, queries, 20, metric)
    with np.errstate(over="ignore", invalid="ignore"):
        found = ExactIndex.build(keys, vectors, metric, ExactIndex.Params(codes="none")).search(queries, 20)
    assert (found.keys >= 0).all()
    assert (found.keys == expected.keys).all()
    assert (found.scores == expected.scores).all()
    assert (np.abs(found.scores) <= MAX_SCORE).all()


@pytest.mark.slow
@pytest.mark.parametrize("metric", UNBOUNDED)
@pytest.mark.parametrize("index", BUILT_IN)
def test_a_collection_of_an_older_version_that_holds_such_rows(metric, index, unchecked, caplog):
    vectors = some()
    vectors[5] *= np.float32(1e19)
    vectors[9] *= np.float32(1e30)
    with create(metric, index) as collection:
        unchecked(collection, documents(), vectors)
    with semsearch.open("far") as collection:
        collection.add(documents(3, "more"), vectors=some(3, seed=2))  # maintenance tells, and the process lives
        assert index == "exact" or "no index can be built of the stored vectors" in caplog.text
        (problem,) = (found for found in collection.check(deep=True) if "±" in found.what)
        assert "2 vectors hold numbers beyond ±1e+12, of 2 documents, the first is 'd5'" in problem.what
        if index != "exact":
            with pytest.raises(CollectionDamaged, match=r"row 5 of vectors holds .*check far --deep"):
                collection.reindex(index)
        query = some(1, seed=3)[0]
        truth = brute_force(np.arange(COUNT), vectors, query[None], 10, metric)
        hits = collection.search(vector=query, k=10)
        assert [hit.id for hit in hits] == [f"d{key}" for key in truth.keys[0]]
        assert np.isfinite([hit.score for hit in hits]).all()
    ended = run("similar", "far", "d3", "--json", "-k", COUNT)
    assert ended.code == 0, ended.err
    loads = partial(json.loads, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    answer = loads(ended.out)
    assert None not in [hit["score"] for hit in answer["hits"]]
    with semsearch.open("far") as collection:  # what the advice says helps
        collection.remove(["d5", "d9"])
        collection.compact()
        assert not collection.check(deep=True)
        collection.reindex(index)
        assert collection.info()["index"]["state"] == "ready"


def test_lengths_of_cosines_are_free():
    vectors = some(9)
    with create(Metric.COSINE) as collection:
        collection.add(documents(9), vectors=vectors * np.float32(1e30))
        (hit, *_) = collection.search(vector=vectors[4] * np.float32(1e37))
        assert hit.id == "d4"
        assert hit.score == pytest.approx(1)
        with collection.engine.view() as view:
            assert view.arrays()[1] == pytest.approx(normalise(vectors), abs=1e-6)
