"""FAISS's inverted lists under the contract with each kind of storage, and what is particular to them."""

import subprocess
import sys
from types import MappingProxyType

import numpy as np
import pytest

from indexes.faiss_ivf import FaissIVFIndex, gpu_works, lists_for
from semsearch.errors import MissingDependency, StorageError, UsageError
from semsearch.testing import IndexContract, make_keys, make_vectors
from semsearch.types import Metric
from semsearch.vectors import brute_force

pytestmark = pytest.mark.threads

faiss = pytest.importorskip("faiss", reason="the extra 'faiss' is not installed")


@pytest.mark.slow
class TestPQ(IndexContract):
    index_class = FaissIVFIndex
    options = MappingProxyType({"threads": 1})  # hundreds of tiny trainings, which threads only slow down


@pytest.mark.slow
class TestSQ8(IndexContract):
    index_class = FaissIVFIndex
    options = MappingProxyType({"storage": "sq8"})


class TestFlat(IndexContract):
    index_class = FaissIVFIndex
    options = MappingProxyType({"storage": "flat"})


def test_lists_grow_with_the_collection_and_are_never_starved():
    assert lists_for(1) == 1
    assert lists_for(1000) == 1000 // 39
    assert lists_for(1_000_000) == 4000


@pytest.mark.parametrize("storage", ["flat", "sq8", "pq"])
@pytest.mark.parametrize("count", [1, 5, 100, 700])
def test_too_few_rows_to_train_on_are_no_error(storage, count, capfd):
    """FAISS raises for fewer rows than lists and warns on stderr for few; both asked for here."""
    keys, vectors = make_keys(count), make_vectors(Metric.COSINE, count, 16)
    params = FaissIVFIndex.Params(storage=storage, lists=512, nprobe=512, threads=1)
    index = FaissIVFIndex.build(keys, vectors, Metric.COSINE, params)
    assert index.search(vectors[:1], 1).keys.tolist() == [[int(keys[0])]]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("metric", Metric)
def test_every_list_looked_into_and_every_row_rescored_is_exact(metric):
    keys, vectors = make_keys(2000), make_vectors(metric, 2000, 32)
    queries = make_vectors(metric, 30, 32, seed=1)
    params = FaissIVFIndex.Params(nprobe=1 << 20, refine=1000, threads=1)
    found = FaissIVFIndex.build(keys, vectors, metric, params).search(queries, 10)
    assert found.keys.tolist() == brute_force(keys, vectors, queries, 10, metric).keys.tolist()


@pytest.mark.slow
def test_vectors_are_not_copied(tmp_path):
    """Codes of four bits for two components: the file is an eighth of the vectors and a bit, whatever is rescored."""
    vectors = make_vectors(Metric.COSINE, 4000, 128)
    index = FaissIVFIndex.build(make_keys(4000), vectors, Metric.COSINE, FaissIVFIndex.Params(threads=1))
    index.save(tmp_path)
    written = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert written < vectors.nbytes / 4
    assert index._vectors is vectors


@pytest.mark.slow
def test_a_filter_reaches_into_the_lists():
    """One row in a thousand is allowed: a search that filtered afterwards would find next to none."""
    keys, vectors = make_keys(8000), make_vectors(Metric.COSINE, 8000, 32)
    index = FaissIVFIndex.build(keys, vectors, Metric.COSINE, FaissIVFIndex.Params(nprobe=1 << 20))
    allowed = np.zeros(8000, dtype=np.bool_)
    allowed[::1000] = True
    found = index.search_allowed(vectors[:5], 8, allowed)
    truth = brute_force(keys[allowed], vectors[allowed], vectors[:5], 8, Metric.COSINE)
    assert found.keys.tolist() == truth.keys.tolist()


def test_a_gpu_that_is_not_there_is_an_error_only_when_asked_for():
    if gpu_works():
        pytest.skip("this machine has a GPU that FAISS can use")
    keys, vectors = make_keys(100), make_vectors(Metric.COSINE, 100, 8)
    with pytest.raises(UsageError, match="faiss-gpu"):
        FaissIVFIndex.build(keys, vectors, Metric.COSINE, FaissIVFIndex.Params(storage="flat", device="cuda"))


def test_a_save_that_fails_is_an_error(tmp_path):
    keys, vectors = make_keys(100), make_vectors(Metric.COSINE, 100, 8)
    index = FaissIVFIndex.build(keys, vectors, Metric.COSINE, FaissIVFIndex.Params(threads=1))
    with pytest.raises(StorageError, match="no such folder"):
        index.save(tmp_path / "no such folder")


def test_a_missing_library_gives_the_line_to_type(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingDependency, match=r"pip install 'semsearch\[faiss\]'"):
        FaissIVFIndex.build(
            make_keys(5), make_vectors(Metric.COSINE, 5, 8), Metric.COSINE, FaissIVFIndex.Params(threads=1)
        )


def test_its_threads_are_its_own():
    """FAISS and torch may share one OpenMP: what one is told must not slow the other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        vectors = np.random.default_rng(0).standard_normal((500, 8)).astype(np.float32)
        params = FaissIVFIndex.Params(threads=1)
        index = FaissIVFIndex.build(np.arange(500), vectors, Metric.L2, params)
        index.search(vectors[:3], 2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


SCARCE = """
import resource, sys
import numpy as np
sys.path[:] = {path!r}
from indexes.faiss_ivf import FaissIVFIndex
from semsearch.testing import make_keys, make_vectors
from semsearch.types import Metric

keys, vectors = make_keys(6000), make_vectors(Metric.COSINE, 6000, 32)
params = FaissIVFIndex.Params(storage={storage!r}, threads=2)
index = FaissIVFIndex.build(keys, vectors, Metric.COSINE, params)
for spare in {spare!r}:
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (spare << 20), -1))
    for what in (lambda: FaissIVFIndex.build(keys, vectors, Metric.COSINE, params), lambda: index.search(vectors, 50)):
        try:
            what()
            print("done")
        except MemoryError as error:
            print(error)
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits and measures its address space as Linux does")
@pytest.mark.parametrize("storage", ["pq", "flat"])
def test_memory_that_is_short_is_an_error_and_no_end_of_the_process(storage):
    """FAISS and the BLAS beneath it end the process where they get none; 40 MB to spare did."""
    program = SCARCE.format(path=sys.path, storage=storage, spare=[1, 10, 40, 80, 4000])
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    said = ended.stdout.splitlines()
    assert len(said) == 10
    assert said[-2:] == ["done", "done"]
    assert "building an index of FAISS needs" in said[0]
    assert "building an index of FAISS needs" in said[4], "with 40 MB to spare"
