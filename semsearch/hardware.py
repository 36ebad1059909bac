"""What this machine can do, and the threads that this process computes on: one policy for every library.

Threads: torch, FAISS, hnswlib, Annoy, the BLAS under numpy and the tokenizer each bring a pool of their own. All get
the same number: what was asked for (`set_threads`, `--threads`, `SEMSEARCH_THREADS`), else the processors that this
process may use, by its affinity and the quota of its control group. They take turns within a search, and an OpenMP pool
that is done spins for some microseconds, not for the up to 15 ms (GNU) or 200 ms (LLVM) it would by itself,
in which it would take the processors from the pool whose turn it is.

Threads that share a product wait for each other at its end. On a machine that others use too, one of them is often not
running, and the rest wait, thousands of times. So torch's work that falls into parts is done side by side, each part on
a thread of its own (`side_by_side`); what doesn't is shared only where a trial shows that it pays (`sharing_pays`).

A forked child computes on its own thread alone: OpenMP, under torch and FAISS, keeps a pool of threads; a fork copies
the pool's books and not its threads, and the child would wait for them for ever.

Probes: what a processor or a build of torch has is asked here, by public functions where there are some and by trying
where there are none, so that without it there is a slower way and no traceback.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from semsearch.arguments import check_whole, kind_of
from semsearch.errors import UsageError
from semsearch.process import forked as forked  # backends ask it here

if TYPE_CHECKING:
    import torch

THREADS_VARIABLE = "SEMSEARCH_THREADS"
MOST_THREADS = 1024
CGROUP = Path("/sys/fs/cgroup")
CPUINFO = Path("/proc/cpuinfo")
SMALL_PRODUCT = (32, 384, 1536)  # rows, inputs and outputs: a question in the layer of a small model
GAIN = 1.25  # how many times as fast sharing must be: it takes the other processors' time, too
Parted = TypeVar("Parted")
Worked = TypeVar("Worked")


@dataclass(frozen=True)
class Compute:
    """What a model computes on; None leaves the choice to the hardware."""

    device: str | None = None  # "cpu", "cuda", "cuda:1", "mps"; several by commas
    dtype: str | None = None  # "float32", "bfloat16" or "float16"
    batch_tokens: int | None = None  # tokens of a batch

    def __post_init__(self) -> None:
        if self.device is not None and not isinstance(self.device, str):
            raise UsageError(f"device must be a name such as 'cpu' or 'cuda:1', not {kind_of(self.device)}.")
        if (
            self.dtype is not None and not isinstance(self.dtype, str) and type(self.dtype).__name__ != "dtype"
        ):  # torch's
            raise UsageError(f"dtype must be a name such as 'float32', not {kind_of(self.dtype)}.")
        if self.batch_tokens is not None:
            check_whole(self.batch_tokens, "batch_tokens")

    @property
    def devices(self) -> list[str]:
        """Those that are named, one by one."""
        return [name.strip() for name in (self.device or "").split(",")] if self.device else []

    @property
    def on_one_device(self) -> Compute:
        """The same on the first of several devices."""
        return replace(self, device=self.devices[0]) if self.device else self


ANYWHERE = Compute()


# Threads


def cores() -> int:
    """Processors that this process may use, by its affinity and its control group's quota; at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, _quota())))


def threads() -> int:
    """Threads that a library gets: 1 in a forked child, else what was asked for, else `cores()`.

    Raises:
        UsageError: SEMSEARCH_THREADS is no number of threads.
    """
    return 1 if forked() else _wanted() or cores()


def set_threads(count: int | None) -> None:
    """Let every library compute on so many threads, in this process, from now on; None: as if nothing had been said.

    Raises:
        UsageError: It is less than 1, or absurd.
    """
    global _asked
    if count is not None and not 1 <= count <= MOST_THREADS:
        raise UsageError(f"threads must be between 1 and {MOST_THREADS}, not {count}.")
    _asked = count
    _limit_blas(threads())
    if "torch" in sys.modules:
        settle_threads()


def settle_threads() -> None:
    """Give torch its threads in the present thread; call before it computes.

    Torch keeps what its user set, unless it was asked for here, or is more than there are processors.
    """
    wanted = 1 if forked() else _wanted()
    if getattr(_here, "settled", _NEVER) == wanted:
        return
    import torch

    count = wanted or min(torch.get_num_threads(), cores())
    if count != torch.get_num_threads() or wanted:  # OpenMP's number is each thread's own
        torch.set_num_threads(count)
    if wanted:
        os.environ.setdefault("RAYON_NUM_THREADS", str(wanted))  # the tokenizer's, read when it begins
    _here.settled = wanted


def side_by_side(work: Callable[[Parted], Worked], parts: Sequence[Parted]) -> Iterator[Worked]:
    """What `work` makes of each part, in their order: as many at once as torch has threads, each on one of its own.

    One after the other, and each on all threads, where there is one part or torch's OpenMP can't be told.
    """
    import torch

    count = min(torch.get_num_threads(), len(parts))
    if count < 2 or _openmp() is None:
        yield from map(work, parts)
        return

    def begin() -> None:
        torch.get_num_threads()  # by this a thread first takes the number that all have
        _count_here(1, 1)

    with ThreadPoolExecutor(count, "semsearch-torch", begin) as pool:
        yield from pool.map(work, parts)


@contextmanager
def on_one_thread() -> Iterator[None]:
    """Torch computes on the present thread alone meanwhile."""
    import torch

    before = torch.get_num_threads()
    if before == 1 or _openmp() is None:
        yield
        return
    of_mkl = _count_here(1, 1)
    try:
        yield
    finally:
        _count_here(before, of_mkl)


def sharing_pays(dtype: torch.dtype) -> bool:
    """Whether torch's threads are faster together than one of them in the products of a question: tried once."""
    import torch

    count = torch.get_num_threads()
    if count == 1:
        return False
    with _trying:
        if (dtype, count) not in _tried:
            with on_one_thread():
                alone = _seconds_of_small_products(dtype, math.inf)
            _tried[dtype, count] = _seconds_of_small_products(dtype, alone / GAIN) < alone / GAIN
        return _tried[dtype, count]


def _seconds_of_small_products(dtype: torch.dtype, limit: float) -> float:
    """The least of three times; it is given up where the first try takes as long as ten times the limit."""
    import torch

    rows, inputs, outputs = SMALL_PRODUCT
    hidden, up = torch.ones(rows, inputs, dtype=dtype), torch.ones(outputs, inputs, dtype=dtype)
    down, least = up.t().contiguous(), math.inf
    with torch.inference_mode():
        torch.nn.functional.linear(hidden, up)  # makes the kernel, and the pool of threads
        for _ in range(3):
            began = time.perf_counter()
            for _ in range(6):
                torch.nn.functional.linear(torch.nn.functional.linear(hidden, up), down)
                if time.perf_counter() - began > 10 * limit:
                    return math.inf
            least = min(least, time.perf_counter() - began)
    return least


def _count_here(count: int, of_mkl: int) -> int:
    """Set OpenMP's number of threads in the present thread, and MKL's own; returns MKL's of before.

    Torch's own function would tell all threads that are still to come, too.
    """
    _openmp().omp_set_num_threads(count)
    mkl = getattr(_openmp(), "MKL_Set_Num_Threads_Local", None)  # not every build has MKL
    return int(mkl(of_mkl)) if mkl is not None else 0


@cache
def _openmp() -> Any:
    """The OpenMP that torch computes with, whose number of threads is each thread's own; None where it has none."""
    import torch

    with suppress(OSError, AttributeError, TypeError):
        library = ctypes.CDLL(torch._C.__file__)  # finds what it is linked with
        library.omp_set_num_threads.restype = None
        return library
    return None


def _wanted() -> int | None:
    """What was asked for."""
    if _asked is not None:
        return _asked
    said = os.environ.get(THREADS_VARIABLE, "").strip()
    if not said:
        return None
    if not said.isascii() or not said.isdigit() or not 1 <= int(said) <= MOST_THREADS:
        raise UsageError(f"{THREADS_VARIABLE} must be a number of threads between 1 and {MOST_THREADS}, not '{said}'.")
    return int(said)


def _limit_blas(count: int) -> None:
    """Of the libraries that are loaded, as far as threadpoolctl is installed."""
    with suppress(ImportError):
        import threadpoolctl

        threadpoolctl.threadpool_limits(limits=count, user_api="blas")


@cache  # each search asks for the threads, and the files are a millisecond's work
def _quota() -> float:
    """Processors that the control groups left this process together when first asked; infinite without a limit."""
    least = math.inf
    for folder in _groups():
        with suppress(OSError, ValueError):
            if (folder / "cpu.max").exists():
                quota, period = (folder / "cpu.max").read_text("ascii").split()
            else:
                quota = (folder / "cpu.cfs_quota_us").read_text("ascii").strip()
                period = (folder / "cpu.cfs_period_us").read_text("ascii")
            if quota != "max" and int(quota) > 0:
                least = min(least, int(quota) / int(period))
    return least


def _groups() -> list[Path]:
    """Folders of the control groups that may hold a quota: this process's and all above, of either version."""
    found = [CGROUP, CGROUP / "cpu"]  # within a container they are its own
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/cgroup").read_text("utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            group = (CGROUP / controllers if controllers else CGROUP) / path.strip("/")
            found += [folder for folder in (group, *group.parents) if folder.is_relative_to(CGROUP)]
    return list(dict.fromkeys(found))


_asked: int | None = None
_here = threading.local()
_trying = threading.Lock()
_tried: dict[tuple[torch.dtype, int], bool] = {}  # whether sharing paid, by the numbers and the count of threads
_NEVER = object()


# Probes


def cpu_has(feature: str) -> bool:
    """Whether the processor has "amx_tile", "avx512_bf16" or "avx512_vnni", as Linux calls them."""
    return bool(_cpu().get(feature))


def bf16_is_fast(device: torch.device) -> bool:
    """Whether a device has units for bfloat16."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and (cpu_has("amx_tile") or cpu_has("avx512_bf16"))


@cache
def packs_linear(dtype: torch.dtype) -> bool:
    """Whether oneDNN lays weights of a type out for its kernels on this processor; private in torch, so it is tried."""
    import torch

    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    try:
        weight = torch.ops.mkldnn._reorder_linear_weight(torch.zeros(16, 16, dtype=dtype), None)
        torch.ops.mkldnn._linear_pointwise(torch.zeros(1, 16, dtype=dtype), weight, None, "none", [], "")
    except (AttributeError, RuntimeError, TypeError):
        return False
    return True


@cache
def multiplies_int8() -> bool:
    """Whether products of bytes are quick and right on this CPU: without VNNI sums of two products may saturate."""
    import torch

    try:
        torch._int_mm(torch.zeros(32, 32, dtype=torch.int8), torch.zeros(32, 32, dtype=torch.int8))
    except (AttributeError, RuntimeError, TypeError):
        return False
    return cpu_has("avx512_vnni")


@cache
def _cpu() -> Mapping[str, object]:
    """Features of the processor."""
    import torch

    told = getattr(torch.cpu, "get_capabilities", None)  # since torch 2.11
    if told is not None:
        return dict(told())
    with suppress(OSError):
        for line in CPUINFO.read_text("utf-8").splitlines():
            if line.startswith("flags"):
                return dict.fromkeys(line.partition(":")[2].split(), True)
    return {}
