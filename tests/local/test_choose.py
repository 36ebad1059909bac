"""The index that `auto` takes, and the sentence that says why."""

import re
from pathlib import Path

import pytest

from semsearch.search import choose as module
from semsearch.search.choose import choose, free_memory
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


@pytest.mark.skipif(not Path("/proc/meminfo").is_file(), reason="holds it against what Linux tells")
def test_some_of_the_memory_is_free():
    total = re.search(r"MemTotal: +(\d+) kB", Path("/proc/meminfo").read_text("ascii"))
    assert 0 < free_memory() < int(total[1]) * 1024


def test_free_memory_is_what_the_container_allows(monkeypatch):
    told = {
        "/proc/meminfo": "MemTotal: 99 kB\nMemFree: 5 kB\nMemAvailable: 8000 kB\n",
        "/sys/fs/cgroup/memory.max": "3000000\n",
        "/sys/fs/cgroup/memory.current": "1000000\n",
    }
    monkeypatch.setattr(Path, "read_text", lambda self, **given: told[str(self)])
    assert free_memory() == 2_000_000
    told["/sys/fs/cgroup/memory.max"] = "max\n"
    assert free_memory() == 8000 * 1024  # with what is only cached
    monkeypatch.delattr("os.sysconf")  # as on Windows
    assert free_memory() == 0
