"""The index that `auto` takes, and the sentence that says why."""

import pytest

from semsearch.local.index import choose as module
from semsearch.local.index.choose import choose, free_memory
from semsearch.vector_index import Library


@pytest.fixture(autouse=True)
def _machine(monkeypatch):
    """No GPU, everything installed: what a test doesn't change is the same on every machine."""
    monkeypatch.setattr(module, "gpu_memory", lambda: 0)
    monkeypatch.setattr(Library, "installed", True)


@pytest.mark.parametrize(
    ("count", "dim", "given", "backend"),
    [
        (1_000, 384, {}, None),
        (137_551, 384, {}, "exact"),
        (5_000_000, 384, {}, "faiss-ivf"),
        (5_000_000, 384, {"recall": 0.95}, "faiss-ivf"),
        (5_000_000, 384, {"recall": 0.99}, "hnsw"),
        (5_000_000, 384, {"recall": 0.99, "memory": 8 << 30}, "faiss-ivf"),
        (5_000_000, 384, {"recall": 1.0}, "exact"),
        (5_000_000, 8, {}, "exact"),
    ],
)
def test_size_recall_and_memory_decide(count, dim, given, backend):
    choice = choose(count, dim, **{"memory": 128 << 30, **given})
    assert choice.backend == backend
    assert f"{count:,} vectors of {dim} components" in choice.reason
    assert choice.reason.endswith(".")


def test_what_is_not_installed_is_not_taken(monkeypatch):
    monkeypatch.setattr(Library, "installed", property(lambda library: library.module == "hnswlib"))
    choice = choose(5_000_000, 384, memory=128 << 30)
    assert choice.backend == "hnsw"
    assert "semsearch[faiss]" in choice.reason
    monkeypatch.setattr(Library, "installed", False)
    assert choose(5_000_000, 384, memory=128 << 30).backend == "exact"


def test_a_gpu_scans(monkeypatch):
    monkeypatch.setattr(module, "gpu_memory", lambda: 80 << 30)
    assert choose(5_000_000, 384).backend == "exact"
    monkeypatch.setattr(module, "gpu_memory", lambda: 4 << 30)
    assert choose(5_000_000, 384).backend == "faiss-ivf"


def test_free_memory_is_told_where_the_system_tells():
    assert free_memory() >= 0
