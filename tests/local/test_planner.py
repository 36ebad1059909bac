"""How a search runs: through the index's own filter, where it has one, and on the device that was asked for."""

from functools import partial

import numpy as np
import pytest
import torch
from support.fakes import HashEncoder

import semsearch
from indexes.exact import ExactIndex
from semsearch import plugins
from semsearch.local import planner
from semsearch.local.planner import LoadedIndex, Planner
from semsearch.types import Document, Metric
from semsearch.vectors import brute_force, normalise


def topics(count, seed=0):
    """Unit vectors of 48 components in 60 clusters."""
    centres = np.random.default_rng(7).standard_normal((60, 48))
    rng = np.random.default_rng(seed)
    topic = rng.integers(0, 60, count)
    return normalise((centres[topic] + 1.2 * rng.standard_normal((count, 48))).astype(np.float32))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """A collection of 12,000 vectors, and inverted lists over it of which a search looks into a few."""
    kind = plugins.index_backend("faiss-ivf")
    if not kind.library.installed:
        pytest.skip("the extra 'faiss' is not installed")
    vectors = topics(12_000)
    home = tmp_path_factory.mktemp("planner")
    with semsearch.create("many", encoder=None, dim=48, home=home) as made:
        made.add([Document(str(i), str(i)) for i in range(len(vectors))], vectors)
        with made.engine.store.read() as view:
            snapshot = view.snapshot
        params = kind.Params(nprobe=12, threads=1)
        index = kind.build(snapshot.keys, snapshot.vectors, Metric.COSINE, params)
        yield snapshot, index


def asked_of(index, monkeypatch):
    """How many candidates each call asks the index for, and by which method."""
    calls = []
    for name in ("search", "search_allowed"):

        def noted(real, name, queries, k, **more):
            calls.append((name, k))
            return real(queries, k, **more)

        monkeypatch.setattr(index, name, partial(noted, getattr(index, name), name))
    return calls


def recall(found, truth):
    return np.mean(
        [len(set(a) & set(b)) / len(b) for a, b in zip(found.keys.tolist(), truth.keys.tolist(), strict=True)]
    )


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.5, 0.2, 0.1])
@pytest.mark.parametrize("kind", ["anything", "a region"])
def test_a_filter_costs_no_recall_and_few_candidates(loaded, monkeypatch, share, kind):
    snapshot, index = loaded
    monkeypatch.setattr(planner, "GATHERED_ROWS", 0)
    queries = topics(60, seed=1)
    keys, vectors = snapshot.keys, snapshot.vectors
    along = vectors @ vectors[:40].sum(axis=0) if kind == "a region" else np.random.default_rng(3).random(12_000)
    allowed = along > np.quantile(along, 1 - share)
    plain = index.search(queries, 10)
    usual = recall(plain, brute_force(keys, vectors, queries, 10, Metric.COSINE))
    assert 0.5 < usual < 0.97, "these lists find everything, or nothing: ask them for more, or less"
    calls = asked_of(index, monkeypatch)
    found = Planner(Metric.COSINE).search(
        snapshot, queries, 10, allowed=allowed, loaded=LoadedIndex(1, index, len(snapshot))
    )
    assert found.how == "index"
    assert found.neighbors.keys.min() >= 0
    assert allowed[snapshot.rows_of(found.neighbors.keys)].all()
    truth = brute_force(keys[allowed], vectors[allowed], queries, 10, Metric.COSINE)
    assert recall(found.neighbors, truth) >= usual
    assert calls == [("search_allowed", 10)]


@pytest.mark.slow
def test_few_removed_rows_are_masked_afterwards(loaded, monkeypatch):
    snapshot, index = loaded
    calls = asked_of(index, monkeypatch)
    allowed = np.arange(12_000) % 50 > 0
    queries = topics(5, seed=2)
    Planner(Metric.COSINE).search(snapshot, queries, 10, allowed=allowed, loaded=LoadedIndex(1, index, len(snapshot)))
    assert calls[0] == ("search", 20)


def test_what_the_index_can_not_find_among_the_allowed_is_found_exactly(loaded, monkeypatch):
    """Its filter gives fewer than there are: never fewer than min(k, matches) come."""
    snapshot, index = loaded
    monkeypatch.setattr(planner, "GATHERED_ROWS", 0)
    allowed = np.arange(12_000) % 4 == 0
    queries = topics(5, seed=2)

    def nearly_blind(queries, k, allowed):
        found = real(queries, k, allowed)
        found.keys[1:, 1:] = -1
        found.scores[1:, 1:] = -np.inf
        return found

    real = index.search_allowed
    monkeypatch.setattr(index, "search_allowed", nearly_blind)
    found = Planner(Metric.COSINE).search(
        snapshot, queries, 3000, allowed=allowed, loaded=LoadedIndex(1, index, len(snapshot))
    )
    truth = brute_force(snapshot.keys[allowed], snapshot.vectors[allowed], queries[1:], 3000, Metric.COSINE)
    assert found.neighbors.keys[1:].tolist() == truth.keys.tolist()
    assert (found.neighbors.keys >= 0).all()


@pytest.mark.parametrize("device", ["cpu", None])
def test_exact_search_runs_on_the_device_that_was_asked_for(monkeypatch, device):
    built = []
    real = ExactIndex.build.__func__

    def noted(cls, keys, vectors, metric, params):
        built.append(params.device)
        return real(cls, keys, vectors, metric, params)

    monkeypatch.setattr(ExactIndex, "build", classmethod(noted))
    monkeypatch.setattr(planner, "GATHERED_ROWS", 0)
    with semsearch.create("few", encoder=HashEncoder(8), device=device) as made:
        made.add([Document(str(i), f"word{i}") for i in range(30)])
        made.search("word3", k=2, exact=True)
    with semsearch.open("few", encoder=HashEncoder(8), device=device) as opened:
        opened.search("word3", k=2)
    assert built == [device or "auto"] * 2


def test_a_device_that_is_not_there_is_said(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with semsearch.create("few", encoder=HashEncoder(8), device="cuda") as made:
        made.add([Document(str(i), f"word{i}") for i in range(30)])
        with pytest.raises(semsearch.errors.UsageError, match="'cuda' was asked for"):
            made.search("word3", k=2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_exact_search_runs_on_a_gpu():
    vectors = topics(5000)
    queries = topics(7, seed=4)
    with semsearch.create("many", encoder=None, dim=48, device="cuda") as made:
        made.add([Document(str(i), str(i)) for i in range(len(vectors))], vectors)
        found = made.search_many(vector=queries, k=10)
    truth = brute_force(np.arange(5000), vectors, queries, 10, Metric.COSINE)
    assert [[int(hit.document.id) for hit in hits] for hits in found] == truth.keys.tolist()
