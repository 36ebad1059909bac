"""The steps of `scale.py`, each for one size in a process of its own: what it costs in time, memory and disk.

Memory is the most that the process held beside files that are mapped (`RssAnon`, looked at every few milliseconds):
what is mapped lies in the page cache, which the system takes back when others want it.
"""

from __future__ import annotations

import gc
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from blocks import BLOCK_ROWS, Blocks, part_of

import semsearch
from semsearch import plugins
from semsearch.engine import IndexSpec
from semsearch.hardware import threads
from semsearch.local.lexical.build import LexicalIndexing
from semsearch.local.lexical.searcher import Lexical
from semsearch.search.choose import choose
from semsearch.types import Metric, Neighbors, Vectors

RECALL, K = 0.95, 10
INDEX = "faiss-ivf"  # what `auto` chooses for a million and more; the same at all sizes, so that exponents are of one
TIMED = 300  # questions asked one at a time
JUDGED = 512  # questions whose answers are held against exact search
WATCHED_SECONDS = 0.005
Costs = dict[str, Any]

OPENING = """
import sys, time, semsearch
start = time.perf_counter()
with semsearch.open("scale", home=sys.argv[1]):
    imported = time.perf_counter(), time.process_time()
with semsearch.open("scale", home=sys.argv[1]) as collection, collection.engine.view():
    opened = time.perf_counter(), time.process_time()
    print(opened[0] - imported[0], opened[1] - imported[1], opened[0] - start)
"""


class Peak(threading.Thread):
    """The most memory that the process held since `restart`, without mapped files."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes = 0

    def run(self) -> None:
        """Look now and then; a thread of Python can't look while a library holds the interpreter for long."""
        while True:
            self.bytes = max(self.bytes, held())
            time.sleep(WATCHED_SECONDS)

    def restart(self) -> None:
        """Forget what was."""
        gc.collect()
        self.bytes = held()


def held() -> int:
    """Bytes of memory that the process holds now beside mapped files."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return 1024 * int(line.split()[1])
    return 0


@contextmanager
def spent(costs: Costs, name: str) -> Iterator[None]:
    """Seconds by the clock and of the processor, as `name_s` and `name_cpu_s`."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    costs[f"{name}_s"], costs[f"{name}_cpu_s"] = time.perf_counter() - wall, time.process_time() - cpu


def asked_singly(costs: Costs, name: str, ask: Callable[[int], object], count: int = TIMED) -> None:
    """The median and the 99th percentile of questions asked one at a time, and what one takes of the processor."""
    for place in range(16):
        ask(place)  # warm
    cpu, times = time.process_time(), []
    for place in range(count):
        start = time.perf_counter()
        ask(place)
        times.append(1e3 * (time.perf_counter() - start))
    costs[f"{name}_cpu_ms"] = 1e3 * (time.process_time() - cpu) / count
    costs[f"{name}_ms"], costs[f"{name}_p99_ms"] = statistics.median(times), float(np.quantile(times, 0.99))


def add(blocks: Blocks, rows: int, home: Path, peak: Peak) -> Costs:
    """Documents with given vectors; goes on behind what an interrupted run committed."""
    costs: Costs = {}
    try:
        collection = semsearch.open("scale", home=home)
    except semsearch.CollectionNotFound:
        collection = semsearch.create("scale", encoder=None, dim=blocks.dim, home=home, language="en")
    with collection:
        there = collection.engine.counts()[0] // BLOCK_ROWS * BLOCK_ROWS
        made = 0.0
        peak.restart()
        cpu = time.process_time()
        each = blocks.each(rows, there)
        start = time.perf_counter()
        while True:
            began, before = time.perf_counter(), time.process_time()
            block = next(each, None)
            made, cpu = made + time.perf_counter() - began, cpu + time.process_time() - before
            if block is None:
                break
            collection.add(block.documents, block.vectors, maintain=False)
        whole = rows / max(rows - there, 1)
        costs["add_s"] = whole * (time.perf_counter() - start - made)
        costs["add_cpu_s"] = whole * (time.process_time() - cpu)
        costs["add_bytes"] = peak.bytes
        costs["disk_bytes"] = collection.engine.bytes()
    return costs


def words(blocks: Blocks, rows: int, home: Path, peak: Peak) -> Costs:
    """The index of words."""
    costs: Costs = {}
    with semsearch.open("scale", home=home) as collection:
        store = collection.engine.store
        peak.restart()
        with spent(costs, "words"):
            LexicalIndexing(store, Lexical(store)).rebuild()
    costs["words_bytes"] = peak.bytes
    return costs


def index(blocks: Blocks, rows: int, home: Path, peak: Peak) -> Costs:
    """The index that `auto` chooses for a million and more, its recall certified on half of the questions."""
    costs: Costs = {}
    with semsearch.open("scale", home=home) as collection:
        spec = IndexSpec(INDEX, {}, RECALL, K)
        costs["auto"] = choose(rows, blocks.dim, recall=RECALL).backend or "none"
        peak.restart()
        with spent(costs, "index"):
            certificate = collection.engine.rebuild(spec, blocks.asked[::2])
        costs["index_bytes"] = peak.bytes
        if certificate is not None:
            costs["certified"], costs["knob"] = certificate.certified, f"{certificate.knob}={certificate.value}"
        costs["disk_bytes"] = collection.engine.bytes()
    return costs


def serve(blocks: Blocks, rows: int, home: Path, peak: Peak) -> Costs:
    """Opening, and questions that had no part in the certificate: by meaning, by words, by both, with filters."""
    costs: Costs = {}
    asked, texts = np.ascontiguousarray(blocks.asked[1::2]), blocks.asked_texts[1::2]
    times = []
    for _ in range(4):  # the first reads from the disk
        done = subprocess.run([sys.executable, "-c", OPENING, str(home)], stdout=subprocess.PIPE, text=True, check=True)
        times.append([float(value) for value in done.stdout.split()])
    for name, column in zip(("open_s", "open_cpu_s", "open_and_import_s"), zip(*times[1:], strict=True), strict=True):
        costs[name] = statistics.median(column)
    peak.restart()
    with semsearch.open("scale", home=home) as collection:
        with spent(costs, "load"):
            collection.load_index()
        asked_singly(costs, "meaning", lambda place: collection.search(vector=asked[place % len(asked)], k=K))
        with spent(costs, "first_words"):
            collection.search(texts[0], k=K, mode="lexical")
        asked_singly(costs, "words", lambda place: collection.search(texts[place % len(texts)], k=K, mode="lexical"))
        asked_singly(
            costs,
            "both",
            lambda place: collection.search(
                texts[place % len(texts)], vector=asked[place % len(asked)], k=K, mode="hybrid"
            ),
        )
        for name, where in {"of_1_percent": {"part": 7}, "of_half": {"part": {"$lt": 50}}}.items():
            filtered(costs, name, collection, asked, where)
        costs["serve_bytes"] = peak.bytes
        asked_singly(
            costs,
            "as_stored",
            lambda place: collection.search(vector=asked[place % len(asked)], k=K, exact=True),
            count=max(8, min(100, 20_000_000 // rows)),
        )
        some = asked[:JUDGED]
        truth = collection.search_many(vectors=some, k=K, exact=True)
        found = collection.search_many(vectors=some, k=K)
        shares = [
            len({hit.id for hit in mine} & {hit.id for hit in true}) / len(true)
            for mine, true in zip(found, truth, strict=True)
        ]
        costs["recall"] = statistics.fmean(shares)
    return costs


def filtered(costs: Costs, name: str, collection: Any, asked: Vectors, where: Mapping[str, Any]) -> None:
    """The first question with a filter, and those after it."""
    with spent(costs, f"first_{name}"):
        collection.search(vector=asked[0], k=K, where=where)
    asked_singly(costs, name, lambda place: collection.search(vector=asked[place % len(asked)], k=K, where=where), 100)


def exact(blocks: Blocks, rows: int, home: Path, peak: Peak) -> Costs:
    """Exact search through codes, beside reading the codes once on as many threads."""
    costs: Costs = {}
    kind = plugins.index_backend("exact")
    folder = home / "codes"
    folder.mkdir(exist_ok=True)
    with semsearch.open("scale", home=home) as collection, collection.engine.store.read() as view:
        keys, vectors = view.snapshot.keys, view.snapshot.vectors
        params = kind.Params(codes="int8")
        peak.restart()
        if not any(folder.iterdir()):
            with spent(costs, "codes"):
                kind.build(keys, vectors, Metric.COSINE, params).save(folder)
            costs["codes_bytes"] = peak.bytes
        searched = kind.load(folder, keys, vectors, Metric.COSINE, params)
        codes = next(folder.glob("codes*"))
        read = np.memmap(codes, dtype=np.uint64, mode="r", offset=codes.stat().st_size % 8)
        count = max(5, min(100, 30_000_000 // rows))
        mapped: list[float] = []
        for _ in range(max(5, count // 4)):
            start = time.perf_counter()
            read_once(read)
            mapped.append(1e3 * (time.perf_counter() - start))
        costs["reading_ms"], costs["codes_on_disk"] = statistics.median(mapped), codes.stat().st_size
        asked_singly(costs, "exact", lambda place: searched.search(blocks.asked[place, None], K), count)
    costs["exact_of_reading"] = costs["exact_ms"] / costs["reading_ms"]
    return costs


def read_once(numbers: Any) -> None:
    """Look at every number, on all threads."""
    parts = np.array_split(numbers, threads())
    readers = [threading.Thread(target=np.bitwise_or.reduce, args=(part,)) for part in parts]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()


def faiss_by_hand(blocks: Blocks, rows: int, home: Path, peak: Peak) -> Costs:
    """What its wiki advises for such numbers: four-bit codes in lists, candidates refined by the stored vectors."""
    import faiss

    costs: Costs = {}
    lists = max(1, min(int(4 * rows**0.5), rows // 39))
    codes = f"PQ{blocks.dim // 2}x4fs" if rows >= 20_000 else "Flat"
    library = faiss.index_factory(blocks.dim, f"IVF{lists},{codes}", faiss.METRIC_INNER_PRODUCT)
    with semsearch.open("scale", home=home) as collection, collection.engine.store.read() as view:
        vectors = view.snapshot.vectors  # the same file; by hand they would lie in one like it
        peak.restart()
        with spent(costs, "faiss_index"):
            sample = np.sort(np.random.default_rng(0).choice(rows, min(64 * lists, rows), replace=False))
            library.train(vectors[sample])
            for start in range(0, rows, BLOCK_ROWS):
                library.add(vectors[start : start + BLOCK_ROWS])
        costs["faiss_bytes"] = peak.bytes
        half = np.ascontiguousarray(blocks.asked[::2][:JUDGED])
        truth = exact_neighbors(vectors, half)

        def ask(queries: Vectors) -> np.ndarray:
            if codes == "Flat":
                return library.search(queries, K)[1]
            rows_found = library.search(queries, 4 * K)[1]
            found = np.empty((len(queries), K), dtype=np.int64)
            for place, (query, own) in enumerate(zip(queries, rows_found, strict=True)):
                scores = vectors[own] @ query
                found[place] = own[np.argsort(-scores)[:K]]
            return found

        turn_to_recall(costs, "faiss", (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024), library, ask, half, truth)
        other = np.ascontiguousarray(blocks.asked[1::2])
        asked_singly(costs, "faiss_meaning", lambda place: ask(other[place % len(other), None]))
    return costs


def turn_to_recall(
    costs: Costs, name: str, ladder: tuple[int, ...], library: Any, ask: Any, asked: Vectors, truth: np.ndarray
) -> None:
    """The least number of lists that gives the recall."""
    for nprobe in ladder:
        library.nprobe = nprobe
        found = ask(asked)
        recall = statistics.fmean(
            len(set(mine) & set(true)) / K for mine, true in zip(found.tolist(), truth.tolist(), strict=True)
        )
        if recall >= RECALL:
            break
    costs[f"{name}_recall"], costs[f"{name}_knob"] = recall, f"nprobe={nprobe}"


def exact_neighbors(vectors: Vectors, asked: Vectors) -> np.ndarray:
    """The rows of the true neighbours `(q, k)`."""
    kind = plugins.index_backend("exact")
    params = kind.Params(codes="none")
    found: Neighbors = kind.build(np.arange(len(vectors)), vectors, Metric.COSINE, params).search(asked, K)
    return found.keys


def lancedb_table(blocks: Blocks, rows: int, home: Path, peak: Peak) -> Costs:
    """LanceDB with the index and the parameters that its guide advises, words and a filter included."""
    import lancedb
    import pyarrow as pa
    from lancedb.query import MatchQuery

    costs: Costs = {}
    database = lancedb.connect(home / "lancedb")
    vector = pa.list_(pa.float32(), blocks.dim)
    schema = pa.schema([("id", pa.string()), ("text", pa.string()), ("part", pa.int64()), ("vector", vector)])

    made = {"s": 0.0, "cpu_s": 0.0}

    def batches() -> Iterator[Any]:
        for first, block in enumerate(blocks.each(rows)):
            start = first * BLOCK_ROWS
            flat = pa.FixedSizeListArray.from_arrays(pa.array(block.vectors.ravel()), blocks.dim)
            ids = pa.array([document.id for document in block.documents])
            texts = pa.array([document.text for document in block.documents])
            parts = pa.array(part_of(start, start + len(block.documents)))
            yield pa.RecordBatch.from_arrays([ids, texts, parts, flat], schema=schema)

    def counted() -> Iterator[Any]:
        each, end = batches(), object()
        while True:
            wall, cpu = time.perf_counter(), time.thread_time()
            batch = next(each, end)
            made["s"] += time.perf_counter() - wall
            made["cpu_s"] += time.thread_time() - cpu
            if batch is end:
                return
            yield batch

    peak.restart()
    with spent(costs, "lancedb_add"):
        table = database.create_table("scale", counted(), schema=schema, mode="overwrite")
    for name, own in made.items():
        costs[f"lancedb_add_{name}"] -= own
    with spent(costs, "lancedb_index"):
        table.create_index(metric="cosine", vector_column_name="vector", index_type="IVF_PQ")
        table.wait_for_index([one.name for one in table.list_indices()])
    with spent(costs, "lancedb_words"):
        table.create_fts_index("text", replace=True)
    with spent(costs, "lancedb_part"):
        table.create_scalar_index("part", index_type="BITMAP", replace=True)
    costs["lancedb_bytes"] = peak.bytes
    costs["lancedb_disk_bytes"] = sum(file.stat().st_size for file in (home / "lancedb").rglob("*") if file.is_file())
    half, other = blocks.asked[::2][:128], blocks.asked[1::2]
    with semsearch.open("scale", home=home) as collection, collection.engine.store.read() as view:
        truth = exact_neighbors(view.snapshot.vectors, np.ascontiguousarray(half))

    def ask(query: Vectors, nprobes: int, refine: int, where: str | None = None) -> list[str]:
        search = table.search(query).distance_type("cosine").nprobes(nprobes).refine_factor(refine).limit(K)
        search = search.where(where, prefilter=True) if where else search
        return search.select(["id"]).to_arrow()["id"].to_pylist()

    for setting in ((8, 10), (20, 10), (40, 20), (80, 20), (160, 40), (320, 40)):
        hits = [
            len(set(ask(query, *setting)) & {f"d{row}" for row in own})
            for query, own in zip(half, truth.tolist(), strict=True)
        ]
        if (recall := statistics.fmean(hits) / K) >= RECALL:
            break
    costs["lancedb_recall"], costs["lancedb_knob"] = recall, "nprobes={}, refine={}".format(*setting)
    asked_singly(costs, "lancedb_meaning", lambda place: ask(other[place % len(other)], *setting))
    texts = blocks.asked_texts[1::2]
    asked_singly(
        costs,
        "lancedb_words",
        lambda place: (  # as words: what stands in quotes would be a phrase, whose places it has not kept
            table.search(MatchQuery(texts[place % len(texts)], "text")).limit(K).select(["id", "_score"]).to_arrow()
        ),
        100,
    )
    asked_singly(costs, "lancedb_of_1_percent", lambda place: ask(other[place % len(other)], *setting, "part = 7"), 100)
    return costs


STEPS: dict[str, Callable[[Blocks, int, Path, Peak], Costs]] = {
    "add": add,
    "words": words,
    "index": index,
    "serve": serve,
    "exact": exact,
    "faiss": faiss_by_hand,
    "lancedb": lancedb_table,
}
NEEDS = {"lancedb": "lancedb", "faiss": "faiss"}  # modules; a step without its peer is left out, and said so


def run(step: str, vectors: Path, rows: int, home: Path) -> Costs:
    """One step in this process."""
    peak = Peak()
    blocks = Blocks(vectors)
    peak.start()
    costs = STEPS[step](blocks, rows, home, peak)
    return {**costs, "peak_rss_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
