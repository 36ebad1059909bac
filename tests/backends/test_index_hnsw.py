"""HNSW under the contract, and what is particular to hnswlib."""

import sys

import numpy as np
import pytest

from indexes.hnsw import GRAPH_FILE, HNSWIndex
from semsearch.errors import MissingDependency, StorageError, UsageError
from semsearch.testing import IndexContract, make_keys, make_vectors
from semsearch.types import Metric
from semsearch.vectors import brute_force

pytestmark = pytest.mark.threads

pytest.importorskip("hnswlib", reason="the extra 'hnsw' is not installed")


class TestHNSW(IndexContract):
    index_class = HNSWIndex


def test_the_same_graph_from_the_same_vectors(tmp_path):
    vectors = make_vectors(Metric.COSINE, 1500, 24)
    params = HNSWIndex.Params(deterministic=True)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        HNSWIndex.build(make_keys(1500), vectors, Metric.COSINE, params).save(tmp_path / name)
    assert (tmp_path / "one" / GRAPH_FILE).read_bytes() == (tmp_path / "two" / GRAPH_FILE).read_bytes()


@pytest.mark.parametrize("links", [0, 1, -3, 257])
def test_numbers_of_links_that_end_hnswlib_are_refused(links):
    with pytest.raises(UsageError, match="'M'"):
        HNSWIndex.Params(M=links)


def test_a_graph_in_pieces_gives_what_it_reaches():
    """Far clusters with two links a node: hnswlib raises where it can't reach k; here fewer come back."""
    rng = np.random.default_rng(0)
    vectors = np.concatenate([rng.standard_normal((200, 4)) + 1e3 * i for i in range(6)]).astype(np.float32)
    keys = make_keys(len(vectors))
    index = HNSWIndex.build(keys, vectors, Metric.L2, HNSWIndex.Params(M=2, ef_construction=8, ef=10))
    found = index.search(vectors[::100], 1200)
    reached = (found.keys >= 0).sum(axis=1)
    assert (reached < 1200).any(), "this data no longer breaks the graph: make it harder"
    assert (reached > 0).all()
    truth = brute_force(keys, vectors, vectors[::100], 1, Metric.L2)
    assert (found.keys[:, 0] == truth.keys[:, 0]).mean() >= 0.5


def test_a_save_that_stops_short_is_noticed(tmp_path, monkeypatch):
    index = HNSWIndex.build(make_keys(50), make_vectors(Metric.COSINE, 50, 8), Metric.COSINE, HNSWIndex.Params())
    with pytest.raises(StorageError, match="0 of"):
        index.save(tmp_path / "no such folder")  # hnswlib writes nothing, and says nothing


def test_a_missing_library_gives_the_line_to_type(monkeypatch):
    monkeypatch.setitem(sys.modules, "hnswlib", None)
    with pytest.raises(MissingDependency, match=r"pip install 'semsearch\[hnsw\]'"):
        HNSWIndex.build(make_keys(5), make_vectors(Metric.COSINE, 5, 8), Metric.COSINE, HNSWIndex.Params())
