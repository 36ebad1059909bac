"""One number of threads for every library, and a slower way where a processor or torch lacks something."""

import json
import math
import os
import re
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from support import tiny
from support.command_line import corpus, run

from indexes.codes import CodesPass
from indexes.exact import ExactIndex, ExactParams, chosen_codes
from indexes.faiss_ivf import FaissIVFIndex, FaissIVFParams
from indexes.hnsw import HNSWIndex, HNSWParams
from semsearch import hardware, load_encoder
from semsearch.errors import UsageError
from semsearch.types import Metric
from semsearch.vector_codes import multiplied_as
from semsearch.vectors import brute_force

pytestmark = pytest.mark.threads


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    """What a test says of threads ends with it, for torch too."""
    monkeypatch.delenv(hardware.THREADS_VARIABLE, raising=False)
    monkeypatch.delenv("RAYON_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    yield
    monkeypatch.delenv(hardware.THREADS_VARIABLE, raising=False)
    hardware.set_threads(None)
    hardware._here = threading.local()
    torch.set_num_threads(before)


def vectors(n, dim=32, seed=0):
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


# ---- threads --------------------------------------------------------------------------------------------------------


def test_processors_are_those_of_the_affinity_and_of_the_tightest_quota(monkeypatch, tmp_path):
    """The files are read once a process: a search asks for the number of threads, too."""

    def cores():
        hardware._quota.cache_clear()
        return hardware.cores()

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)), raising=False)
    monkeypatch.setattr(hardware, "_groups", lambda: [tmp_path, tmp_path / "inner", tmp_path / "old", tmp_path / "no"])
    assert cores() == 12
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cores() == 12
    (tmp_path / "cpu.max").write_text("650000 100000\n")
    assert cores() == 7
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "cpu.max").write_text("25000 100000\n")
    assert cores() == 1
    (tmp_path / "inner" / "cpu.max").write_text("nonsense")
    assert cores() == 7
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "cpu.cfs_quota_us").write_text("400000\n")
    (tmp_path / "old" / "cpu.cfs_period_us").write_text("100000\n")
    assert cores() == 4
    (tmp_path / "old" / "cpu.cfs_quota_us").write_text("-1\n")
    assert cores() == 7
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert cores() == 1
    (tmp_path / "cpu.max").unlink()
    assert hardware.cores() == 1, "read once"
    hardware._quota.cache_clear()


def test_what_is_asked_for_goes_over_the_environment_and_that_over_the_machine(monkeypatch):
    assert hardware.threads() == hardware.cores()
    monkeypatch.setenv(hardware.THREADS_VARIABLE, "3")
    assert hardware.threads() == 3
    hardware.set_threads(5)
    assert hardware.threads() == 5
    hardware.set_threads(None)
    for wrong in ("0", "two", "-1", "1025", "²"):
        monkeypatch.setenv(hardware.THREADS_VARIABLE, wrong)
        with pytest.raises(UsageError, match=f"SEMSEARCH_THREADS must be a number of threads .*, not '{wrong}'"):
            hardware.threads()
    monkeypatch.delenv(hardware.THREADS_VARIABLE)
    for wrong in (0, -2, 1025):
        with pytest.raises(UsageError, match=f"between 1 and 1024, not {wrong}"):
            hardware.set_threads(wrong)


def test_torch_gets_them_in_every_thread_that_computes(tmp_path):
    encoder = load_encoder(str(tiny.bert(tmp_path)), device="cpu")
    seen = []

    def compute():
        encoder.encode_queries(["the cat"])
        seen.append(torch.get_num_threads())

    for count in (3, 1, 2):
        hardware.set_threads(count)
        compute()
        other = threading.Thread(target=compute)
        other.start()
        other.join()
    assert seen == [3, 3, 1, 1, 2, 2]


def test_torch_is_left_alone_unless_it_takes_more_than_there_are(monkeypatch, tmp_path):
    encoder = load_encoder(str(tiny.bert(tmp_path)), device="cpu")
    torch.set_num_threads(1)
    encoder.encode_queries(["the cat"])
    assert torch.get_num_threads() == 1, "as its user set it"
    hardware._here = threading.local()
    torch.set_num_threads(6)
    monkeypatch.setattr(hardware, "cores", lambda: 4)
    encoder.encode_queries(["the cat"])
    assert torch.get_num_threads() == 4


def test_indexes_take_them_too(monkeypatch):
    faiss = pytest.importorskip("faiss")
    pytest.importorskip("hnswlib")
    rows, keys, taken = vectors(2000), np.arange(2000), []
    real = faiss.omp_set_num_threads
    monkeypatch.setattr(faiss, "omp_set_num_threads", lambda count: (taken.append(count), real(count))[1])
    hardware.set_threads(3)
    lists = FaissIVFIndex.build(keys, rows, Metric.DOT, FaissIVFParams())
    hardware.set_threads(2)
    lists.search(rows[:3], 5)
    assert taken[::2] == [3, 2], "in between it gets back what it had"
    asked = FaissIVFIndex.build(keys, rows, Metric.DOT, FaissIVFParams(threads=1))
    asked.search(rows[:3], 5)
    assert taken[4::2] == [1, 1], "an index's own number goes over it"

    class Graph:
        def knn_query(self, queries, k, num_threads):
            taken.append(num_threads)
            return np.zeros((len(queries), k), dtype=np.int64), np.zeros((len(queries), k), dtype=np.float32)

        def set_ef(self, ef):
            pass

    graph = HNSWIndex(Graph(), keys, 32, Metric.DOT, HNSWParams())
    for count in (4, 2):
        hardware.set_threads(count)
        graph.search(rows[:3], 5)
    assert taken[-2:] == [4, 2]


def test_blas_takes_them_where_threadpoolctl_is_there():
    threadpoolctl = pytest.importorskip("threadpoolctl")

    def blas():
        return {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}

    hardware.set_threads(1)
    assert blas() == {1}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_computes_on_one_thread_whatever_was_asked_for():
    hardware.set_threads(2)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        hardware.settle_threads()
        os.write(write, f"{hardware.threads()} {torch.get_num_threads()}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 100) == b"1 1"
    assert hardware.threads() == 2


def pools():
    """The numbers of threads that OpenMP and MKL would take here, as torch tells them."""
    told = torch.__config__.parallel_info()
    return set(re.findall(r"^\s*(?:at::get_num|omp_get_max|mkl_get_max)_threads\(\) : (\d+)", told, re.MULTILINE))


def test_parts_are_done_side_by_side_each_on_one_thread():
    torch.set_num_threads(2)
    both = threading.Barrier(2)
    caller = threading.get_ident()

    def work(part):
        both.wait(timeout=60)  # two are under way at once, or this breaks
        return part, pools(), threading.get_ident() == caller

    shared = pools()
    assert list(hardware.side_by_side(work, range(6))) == [(part, {"1"}, False) for part in range(6)]
    with hardware.on_one_thread():
        assert pools() == {"1"}
    assert pools() == shared
    seen = [torch.get_num_threads()]
    other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert seen == [2, 2], "neither the caller nor a new thread has fewer"


@pytest.mark.parametrize(("threads", "parts", "openmp"), [(1, 3, True), (2, 1, True), (2, 3, False)])
def test_what_has_no_company_is_done_by_the_caller(monkeypatch, threads, parts, openmp):
    if not openmp:
        monkeypatch.setattr(hardware, "_openmp", lambda: None)
    torch.set_num_threads(threads)
    done = list(
        hardware.side_by_side(lambda part: (part, torch.get_num_threads(), threading.get_ident()), range(parts))
    )
    assert done == [(part, threads, threading.get_ident()) for part in range(parts)]
    with hardware.on_one_thread():
        assert torch.get_num_threads() == (1 if openmp else threads)


def test_what_one_part_raises_reaches_the_caller_and_no_thread_stays():
    torch.set_num_threads(2)
    before = threading.active_count()

    def work(part):
        if part == 1:
            raise ValueError("the second")
        return part

    with pytest.raises(ValueError, match="the second"):
        list(hardware.side_by_side(work, range(50)))
    assert threading.active_count() == before


def test_on_one_thread_ends_with_its_block():
    torch.set_num_threads(2)
    seen = []

    def fails():
        seen.append(torch.get_num_threads())
        other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        other.start()
        other.join()
        raise KeyError

    with pytest.raises(KeyError), hardware.on_one_thread():
        fails()
    assert seen == [1, 2], "it is the present thread's alone"
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("together", "pays"), [(0.5, True), (0.79, True), (0.81, False), (2.0, False)])
def test_whether_sharing_pays_is_tried_once(monkeypatch, together, pays):
    tries = []

    def seconds(dtype, limit):
        tries.append(torch.get_num_threads())
        return 1.0 if torch.get_num_threads() == 1 else together

    monkeypatch.setattr(hardware, "_tried", {})
    monkeypatch.setattr(hardware, "_seconds_of_small_products", seconds)
    torch.set_num_threads(1)
    assert not hardware.sharing_pays(torch.float32)
    assert tries == [], "there is nobody to share with"
    torch.set_num_threads(2)
    assert [hardware.sharing_pays(torch.float32) for _ in range(3)] == [pays] * 3
    assert tries == [1, 2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_trial_ends_soon_where_it_does_not_pay(monkeypatch, dtype):
    with hardware.on_one_thread():  # together they may wait for long, on a machine that others use
        assert 0 < hardware._seconds_of_small_products(dtype, math.inf) < math.inf
    assert hardware._seconds_of_small_products(dtype, 0) == math.inf
    monkeypatch.setattr(hardware, "_tried", {})
    assert isinstance(hardware.sharing_pays(dtype), bool)


@pytest.mark.slow
def test_pools_that_are_done_do_not_spin():
    program = "import semsearch.hardware, os; print(os.environ['GOMP_SPINCOUNT'], os.environ['KMP_BLOCKTIME'])"
    for given, wanted in (({}, "1000 1"), ({"GOMP_SPINCOUNT": "7", "KMP_BLOCKTIME": "9"}, "7 9")):
        bare = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "KMP_BLOCKTIME")}
        done = subprocess.run(
            [sys.executable, "-c", program], env=bare | given, capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == wanted.split()


def test_the_command_line_says_how_many(tmp_path, monkeypatch):
    model = str(tiny.bert(tmp_path / "model"))
    assert run("index", corpus(tmp_path), "-m", model, "--threads", "1").code == 0
    assert (hardware.threads(), torch.get_num_threads()) == (1, 1)
    assert run("query", "notes", "oven", "--threads", "2").code == 0
    assert (hardware.threads(), torch.get_num_threads()) == (2, 2)
    assert run("reindex", "notes", "--threads", "3").code == 0
    assert hardware.threads() == 3
    assert run("query", "notes", "oven", "--threads", "0").code == 2
    hardware.set_threads(None)
    monkeypatch.setenv(hardware.THREADS_VARIABLE, "many")
    failed = run("query", "notes", "oven")
    assert failed.code == 2
    assert "SEMSEARCH_THREADS must be a number of threads" in failed.err


# ---- probes ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def bare_torch(monkeypatch):
    """Torch without what is private in it, or new."""

    class Without:
        """`torch.ops` without oneDNN's operators."""

        def __init__(self, ops):
            self._ops = ops

        def __getattr__(self, name):
            if name == "mkldnn":
                raise AttributeError(name)
            return getattr(self._ops, name)

    monkeypatch.setattr(torch, "ops", Without(torch.ops))
    monkeypatch.delattr(torch, "_int_mm")
    for name in [name for name in dir(torch.cpu) if name.startswith("_is_") or name == "get_capabilities"]:
        monkeypatch.delattr(torch.cpu, name)
    for probe in (hardware.packs_linear, hardware.multiplies_int8, hardware._cpu):
        probe.cache_clear()
    yield
    for probe in (hardware.packs_linear, hardware.multiplies_int8, hardware._cpu):
        probe.cache_clear()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_encodes_the_same_without_private_torch(tmp_path, dtype, bare_torch):
    folder = str(tiny.bert(tmp_path))
    assert not hardware.packs_linear(torch.float32)
    plain = load_encoder(folder, "cpu", dtype).encode_documents(tiny.TEXTS)
    wanted = load_encoder(folder, "cpu", "float32").encode_documents(tiny.TEXTS)
    assert np.abs(plain - wanted).max() < (1e-6 if dtype == "float32" else 0.05)


def test_packed_weights_give_what_plain_ones_give(tmp_path, monkeypatch):
    folder = str(tiny.bert(tmp_path))
    packed = load_encoder(folder, "cpu", "float32").encode_documents(tiny.TEXTS)
    monkeypatch.setattr("semsearch.encoder.forward.packs_linear", lambda dtype: False)
    assert np.abs(load_encoder(folder, "cpu", "float32").encode_documents(tiny.TEXTS) - packed).max() < 1e-6


def test_a_number_type_that_the_processor_can_not_pack_is_computed_without(tmp_path, monkeypatch):
    def refuse(*_):
        raise RuntimeError("bf16 path needs the cpu support avx_ne_convert or avx512bw, avx512vl and avx512dq")

    folder = str(tiny.bert(tmp_path))
    monkeypatch.setattr("torch.ops.mkldnn._reorder_linear_weight", refuse)
    hardware.packs_linear.cache_clear()
    try:
        half = load_encoder(folder, "cpu", "bfloat16").encode_documents(tiny.TEXTS)
    finally:
        hardware.packs_linear.cache_clear()
    assert np.abs(half - load_encoder(folder, "cpu", "float32").encode_documents(tiny.TEXTS)).max() < 0.05


@pytest.mark.parametrize("codes", ["int8", "bf16"])
def test_exact_search_is_exact_without_private_torch(codes, bare_torch):
    rows, keys, queries = vectors(3000), np.arange(3000), vectors(40, seed=1)
    found = ExactIndex.build(keys, rows, Metric.DOT, ExactParams(codes=codes, device="cpu")).search(queries, 7)
    wanted = brute_force(keys, rows, queries, 7, Metric.DOT)
    assert np.array_equal(found.keys, wanted.keys)
    assert np.array_equal(found.scores, wanted.scores)


def test_what_the_processor_has_decides_what_is_multiplied(monkeypatch):
    for has, kind, narrow, wide in (
        (set(), "none", "float32", "float32"),
        ({"avx512_vnni"}, "int8", "int8", "int8"),
        ({"avx512_vnni", "amx_tile", "avx512_bf16"}, "int8", "int8", "bf16"),
    ):
        monkeypatch.setattr(hardware, "_cpu", lambda has=has: dict.fromkeys(has, True))
        hardware.multiplies_int8.cache_clear()
        assert chosen_codes(ExactParams(device="auto"), 1_000_000)[0] == kind
        index = ExactIndex.build(np.arange(9), vectors(9), Metric.DOT, ExactParams(codes="int8"))
        (first, *_) = index._passes
        assert isinstance(first, CodesPass)
        assert (multiplied_as(True, "cpu", 1), multiplied_as(True, "cpu", 1000)) == (narrow, wide)
    hardware.multiplies_int8.cache_clear()


def test_flags_are_read_from_linux_where_torch_does_not_tell(bare_torch, monkeypatch, tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("model name\t: A\nflags\t\t: fpu avx512_vnni amx_tile\n")
    monkeypatch.setattr(hardware, "CPUINFO", info)
    assert [hardware.cpu_has(name) for name in ("avx512_vnni", "amx_tile", "avx512_bf16")] == [True, True, False]
    hardware._cpu.cache_clear()
    monkeypatch.setattr(hardware, "CPUINFO", tmp_path / "none")
    assert not hardware.cpu_has("avx512_vnni")


def test_probes_agree_with_torch():
    if hasattr(torch.cpu, "_is_vnni_supported"):
        assert hardware.cpu_has("avx512_vnni") == torch.cpu._is_vnni_supported()
        assert hardware.cpu_has("amx_tile") == torch.cpu._is_amx_tile_supported()
        assert hardware.cpu_has("avx512_bf16") == torch.cpu._is_avx512_bf16_supported()


def test_probing_imports_nothing_at_import():
    program = "import sys, json, semsearch.hardware; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"torch", "faiss", "hnswlib", "threadpoolctl"} & set(json.loads(done.stdout))
