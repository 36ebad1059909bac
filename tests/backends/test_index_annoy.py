"""Annoy under the contract, and what is particular to it."""

import sys
from types import MappingProxyType

import numpy as np
import pytest

from indexes.annoy import FOREST_FILE, AnnoyIndex
from semsearch.errors import MissingDependency, StorageError
from semsearch.testing import IndexContract, make_keys, make_vectors
from semsearch.types import Metric

pytestmark = pytest.mark.threads

pytest.importorskip("annoy", reason="the extra 'annoy' is not installed")


@pytest.mark.slow
class TestAnnoy(IndexContract):
    index_class = AnnoyIndex
    options = MappingProxyType({"search_k": 50_000})  # for inner products in one and two dimensions


def test_keys_that_would_fill_the_memory_cost_nothing(tmp_path):
    """Annoy makes room for the largest id: 2**60 would end the process. Row positions go in instead."""
    vectors = make_vectors(Metric.COSINE, 3, 8)
    keys = np.array([2**60, 5, 2**40])
    index = AnnoyIndex.build(keys, vectors, Metric.COSINE, AnnoyIndex.Params())
    assert index.search(vectors, 1).keys.ravel().tolist() == keys.tolist()
    index.save(tmp_path)
    assert (tmp_path / FOREST_FILE).stat().st_size < 100_000


def test_a_save_that_fails_is_an_error(tmp_path):
    index = AnnoyIndex.build(make_keys(50), make_vectors(Metric.COSINE, 50, 8), Metric.COSINE, AnnoyIndex.Params())
    with pytest.raises(StorageError, match="no such folder"):
        index.save(tmp_path / "no such folder")


def test_a_missing_library_gives_the_line_to_type(monkeypatch):
    monkeypatch.setitem(sys.modules, "annoy", None)
    with pytest.raises(MissingDependency, match=r"pip install 'semsearch\[annoy\]'"):
        AnnoyIndex.build(make_keys(5), make_vectors(Metric.COSINE, 5, 8), Metric.COSINE, AnnoyIndex.Params())
