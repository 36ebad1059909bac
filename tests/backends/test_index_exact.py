"""Exact search is brute force, bit for bit, whatever the metric, the lengths of the vectors and the way taken."""

import dataclasses
from functools import cache
from types import MappingProxyType

import numpy as np
import pytest
import torch

from indexes.codes import CODES, FACTS, Codes, CodesPass
from indexes.exact import ExactIndex, chosen_codes
from indexes.first_pass import Float32Pass, threshold
from semsearch.errors import UsageError
from semsearch.testing import IndexContract
from semsearch.types import Metric
from semsearch.vectors import MAX_COMPONENT, brute_force, normalise, score_pairs

pytestmark = pytest.mark.threads

WAYS = ("none", "int8", "bf16", "int8 as float32", "int8 as bf16", "bf16 as float32")  # the last three: other hardware


class TestFloat32(IndexContract):
    index_class = ExactIndex
    options = MappingProxyType({"codes": "none"})


@pytest.mark.slow
class TestInt8(IndexContract):
    index_class = ExactIndex
    options = MappingProxyType({"codes": "int8"})


@pytest.mark.slow
class TestBfloat16(IndexContract):
    index_class = ExactIndex
    options = MappingProxyType({"codes": "bf16"})


@pytest.fixture(params=WAYS)
def codes(request, monkeypatch):
    """Each kind of codes, and how each is multiplied on processors that this one may not be."""
    kind, _, how = request.param.partition(" as ")
    if how:
        monkeypatch.setattr("semsearch.vector_codes.multiplied_as", lambda integer, device, queries: how)
    return kind


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


@cache
def compared(metric, n, dim, q, k):
    """A sample, which of its rows are allowed, and the truth among all and those: once for all codes."""
    keys, vectors, queries = sample(metric, n, dim, q)
    allowed = np.random.default_rng(1).random(n) < 0.3
    among_allowed = brute_force(keys[allowed], vectors[allowed], queries, k, metric)
    return keys, vectors, queries, allowed, brute_force(keys, vectors, queries, k, metric), among_allowed


def assert_same(found, expected):
    assert found.keys.tolist() == expected.keys.tolist()
    assert found.scores.tobytes() == expected.scores.tobytes()


def build(keys, vectors, metric, codes):
    return ExactIndex.build(keys, vectors, metric, ExactIndex.Params(codes=codes))


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize(("n", "dim"), [(0, 4), (1, 3), (33, 1), (5000, 33), (20_000, 96)])
@pytest.mark.parametrize(("q", "k"), [(1, 10), (40, 3), (2, 700)])
def test_is_brute_force_bit_for_bit(metric, n, dim, q, k, codes):
    keys, vectors, queries, allowed, among_all, among_allowed = compared(metric, n, dim, q, k)
    index = build(keys, vectors, metric, codes)
    assert_same(index.search(queries, k), among_all)
    assert_same(index.search_allowed(queries, k, allowed), among_allowed)


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize(("name", "size"), [("QUERY_TILE", 16), ("TILE_NEIGHBORS", 160), ("TILE_NEIGHBORS", 1)])
def test_many_chunks_and_tiles_of_queries(metric, codes, name, size, monkeypatch):
    monkeypatch.setattr(f"indexes.exact.{name}", size)
    monkeypatch.setattr("indexes.exact.ESTIMATES", 1024 * 16)
    keys, vectors, queries = sample(metric, 9_001, 24, 40)
    index = build(keys, vectors, metric, codes)
    assert_same(index.search(queries, 10), brute_force(keys, vectors, queries, 10, metric))


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("spread", [1e-7, 1e-4, 1e-2])
def test_near_duplicates(metric, spread, codes):
    """Rows that differ less than any code can tell: more and more of them pass, at last all, and the oracle decides."""
    rng = np.random.default_rng(2)
    vectors = np.tile(rng.standard_normal(48, dtype=np.float32), (6000, 1))
    vectors += np.float32(spread) * rng.standard_normal(vectors.shape, dtype=np.float32)
    if metric is Metric.COSINE:
        vectors = normalise(vectors)
    keys = rng.permutation(6000).astype(np.int64)
    queries = vectors[[5, 77]]
    index = build(keys, vectors, metric, codes)
    assert_same(index.search(queries, 7), brute_force(keys, vectors, queries, 7, metric))


@pytest.mark.parametrize("metric", Metric)
def test_extreme_lengths(metric, codes):
    """Zero, tiny and enormous vectors beside ordinary ones."""
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((5000, 20), dtype=np.float32)
    vectors[::7] *= np.float32(1e-25)
    vectors[::11] = 0
    if metric is Metric.COSINE:
        vectors = normalise(vectors)
    else:
        vectors[1::13] *= np.float32(MAX_COMPONENT / 8)
    keys = np.arange(5000)
    queries = vectors[[1, 7, 11, 14]]
    expected = brute_force(keys, vectors, queries, 20, metric)
    found = build(keys, vectors, metric, codes).search(queries, 20)
    assert_same(found, expected)


@pytest.mark.parametrize("metric", Metric)
def test_no_row_is_over_its_bound(metric, codes):
    """The theorem itself, row by row, for queries that lie along what a code leaves out: the worst there are."""
    rng = np.random.default_rng(4)
    vectors = rng.standard_normal((300, 40), dtype=np.float32) * rng.uniform(0.1, 3, (300, 1)).astype(np.float32)
    if metric is Metric.COSINE:
        vectors = normalise(vectors)
    first_pass, left = Float32Pass(vectors, metric), vectors
    if codes != "none":
        made = Codes.make(vectors, metric, codes)
        first_pass = CodesPass(made, metric)
        half = torch.from_numpy(made.rows).view(torch.bfloat16).float().numpy() if codes == "bf16" else None
        left = vectors - (half if half is not None else made.rows * made.facts[:, :1])
    queries = np.concatenate([left * 100, vectors, rng.standard_normal((50, 40), dtype=np.float32)])
    queries = normalise(queries) if metric is Metric.COSINE else queries
    asked = first_pass.ask(queries)
    bounds = first_pass.upper(asked, slice(0, 300), torch.empty(320, len(queries))).numpy()[:300]
    true = np.stack([score_pairs(query, vectors, metric) for query in queries], axis=1)
    for row, scores in enumerate(true):
        assert (bounds[row] >= threshold(asked, scores, metric, 40)).all()
    if codes == "int8":  # without the residual's part the same rows would be lost: the test can fail
        careless = dataclasses.replace(asked, slack=asked.slack * 0)
        if asked.weights is None:
            own = true[np.arange(300), np.arange(300)]
            own = np.concatenate([own, np.full(len(queries) - 300, -np.inf, np.float32)])
            assert (bounds[np.arange(300), np.arange(300)] < threshold(careless, own, metric, 40)[:300]).any()


def test_codes_are_mapped_and_without_codes_nothing_is_kept(tmp_path):
    keys, vectors, _ = sample(Metric.COSINE, 500, 16, 1)
    for codes, files in (("none", []), ("int8", [CODES, FACTS]), ("bf16", [CODES, FACTS])):
        folder = tmp_path / codes
        folder.mkdir()
        params = ExactIndex.Params(codes=codes)
        ExactIndex.build(keys, vectors, Metric.COSINE, params).save(folder)
        assert sorted(path.name for path in folder.iterdir()) == files
        loaded = ExactIndex.load(folder, keys, vectors, Metric.COSINE, params)
        if files:
            assert isinstance(loaded._codes.rows.base, np.memmap)


def test_opening_reads_no_vector():
    """A fresh collection is searchable at once: without codes a build must not depend on the number of rows."""

    class Unread(np.ndarray):
        def __getitem__(self, item):
            raise AssertionError("a vector was read")

    vectors = np.zeros((1000, 8), dtype=np.float32).view(Unread)
    assert len(build(np.arange(1000), vectors, Metric.L2, "none")) == 1000


def test_auto_says_why():
    keys, vectors, _ = sample(Metric.COSINE, 40, 8, 1)
    assert "without codes" in ExactIndex.build(keys, vectors, Metric.COSINE, ExactIndex.Params()).reason
    kind, reason = chosen_codes(ExactIndex.Params(device="cpu"), 1_000_000)
    assert kind in ("none", "int8", "bf16")
    assert "processor" in reason


def test_no_cuda_is_an_error_only_when_asked_for():
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    keys, vectors, _ = sample(Metric.COSINE, 40, 8, 1)
    with pytest.raises(UsageError, match="torch sees no CUDA device"):
        ExactIndex.build(keys, vectors, Metric.COSINE, ExactIndex.Params(device="cuda"))


@pytest.mark.gpu
@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("codes", ["none", "bf16", "int8"])
def test_on_a_gpu_too(metric, codes):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    keys, vectors, queries = sample(metric, 20_000, 96, 40)
    index = ExactIndex.build(keys, vectors, metric, ExactIndex.Params(codes=codes, device="cuda"))
    assert_same(index.search(queries, 10), brute_force(keys, vectors, queries, 10, metric))
