"""Which index suits a collection: by its size, this machine and what is installed, with the reason in a sentence."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semsearch import plugins

UNINDEXED_ROWS = 20_000  # scanned as they are in a millisecond or two
CODE_SCAN_RATE = 15e9  # bytes of codes a second that two cores read
PATIENCE = 0.010  # seconds that a scan for one query may take before another index is worth its lost recall
HIGH_RECALL = 0.98  # above which coarse codes need so many candidates that a graph is faster
GRAPH_SHARE = 0.25  # of the free memory that a graph with its copy of the vectors may take


@dataclass(frozen=True, slots=True)
class Choice:
    """A backend with its options, and why."""

    backend: str | None  # None: search the vectors as they are, without an index
    reason: str
    options: Mapping[str, Any] = field(default_factory=dict)


def choose(count: int, dim: int, *, recall: float | None = None, memory: int | None = None) -> Choice:
    """The index for `count` vectors of `dim` components.

    Args:
        count: Rows.
        dim: Components.
        recall: The recall that is asked for, if any.
        memory: Bytes that are free; looked up when None.
    """
    rows = f"{count:,} vectors of {dim} components"
    if count < UNINDEXED_ROWS:
        return Choice(None, f"{rows} are scanned in a millisecond or two: no index is needed.")
    seconds = count * dim / CODE_SCAN_RATE
    scan = f"scanned exactly in about {max(1.0, 1e3 * seconds):.0f} ms"
    gpu = gpu_memory()
    if 2 * count * dim < gpu / 2:
        return Choice("exact", f"{rows} fit into the GPU, which scans them exactly in a few milliseconds.")
    if seconds <= PATIENCE:
        return Choice(
            "exact", f"{rows} are {scan}, through codes of a byte a component: an index would hardly be faster."
        )
    if recall is not None and recall >= 1:
        return Choice("exact", f"a recall of 1 was asked for; {rows} are {scan}.")
    faiss, hnsw = (plugins.index_backend(name) for name in ("faiss-ivf", "hnsw"))
    graph = count * hnsw.bytes_per_row(dim, hnsw.Params())
    free = free_memory() if memory is None else memory
    fits = f"a graph of {graph / 2**30:.1f} GB fits well into {free / 2**30:.1f} GB of free memory"
    roomy = graph < GRAPH_SHARE * free
    if hnsw.library.installed and roomy and (recall or 0) > HIGH_RECALL:
        return Choice(
            "hnsw", f"{rows} would be {scan}; for a recall over {HIGH_RECALL} a graph is fastest, and {fits}."
        )
    if faiss.library.installed:
        return Choice(
            "faiss-ivf",
            f"{rows} would be {scan}; lists of four-bit codes build fastest and take an eighth of the vectors.",
        )
    if hnsw.library.installed and roomy:
        return Choice("hnsw", f"{rows} would be {scan}; FAISS is not installed ({faiss.library.advice}), and {fits}.")
    return Choice(
        "exact",
        f"{rows} are {scan}; {faiss.library.advice} would allow an index that is faster, if not exact.",
    )


def free_memory() -> int:
    """Bytes of memory that can be had; 0 where that can't be told."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024  # what is only cached can be had too
    except (OSError, ValueError, AttributeError):
        return 0
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii").strip()
        return min(free, int(limit) - int(used))
    except (OSError, ValueError):  # no such limit here, or "max"
        return free


def gpu_memory() -> int:
    """Bytes of the first CUDA device; 0 where there is none."""
    import torch

    return int(torch.cuda.get_device_properties(0).total_memory) if torch.cuda.is_available() else 0
