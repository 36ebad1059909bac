"""One collection in several engines side by side: a folder, and those of some servers.

    python benchmarks/engines.py URL… [--vectors FILE] [--rows 137551] [--asked 300] [--out FILE]

Each URL is a home: `postgresql://user@host/database`, `opensearch://host:9200`, `elasticsearch://host:9200`. Loaded are
the questions with given vectors, so that no encoding is in it; the graph is built, or merged, afterwards. Searches are
interleaved, a query at a time, by one client. Beside PostgreSQL stands bare pgvector with the same parameters: a table
of a key and a vector, filled by binary COPY, a graph over halves of the numbers, walked for as many candidates as
semsearch takes, and a scan for ten.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from texts import short_texts
from vector_sets import DEFAULT, vector_set

import semsearch
from semsearch.types import Document, Vectors

K, EF, CANDIDATES = 10, 100, 40  # semsearch walks PostgreSQL's graph for K + 30
GRAPH = {"M": 16, "ef_construction": 100}
FEW = {"n": {"$lt": 0.01}}
SETTINGS = ("jit = off", f"hnsw.ef_search = {EF}", "hnsw.iterative_scan = relaxed_order", "enable_sort = on")


class Question(NamedTuple):
    """One that is asked."""

    vector: Vectors
    text: str


Ways = Mapping[str, Callable[[Question], set[str]]]


def took(work: Callable[[], Any]) -> float:
    """Seconds that it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class Bare:
    """A table of pgvector's own."""

    def __init__(self, url: str) -> None:
        import psycopg

        from semsearch.postgres.database_address import DatabaseAddress

        self._connection = psycopg.connect(**DatabaseAddress(url).parameters, autocommit=True)
        self._table = f"bare_{uuid.uuid4().hex[:8]}"
        self._connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        self._connection.execute("SELECT '[1]'::vector")
        for setting in SETTINGS:
            self._connection.execute(f"SET {setting}")

    def fill(self, vectors: Vectors) -> None:
        """With keys and vectors."""
        from semsearch.postgres.array_format import bytes_of, int8, written

        table = self._table
        self._connection.execute(f"CREATE TABLE {table} (key bigint PRIMARY KEY, vector vector({vectors.shape[1]}))")
        self._connection.execute(f"ALTER TABLE {table} ALTER COLUMN vector SET STORAGE PLAIN")
        with self._connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
            for piece in written((int8(key), own) for key, own in enumerate(bytes_of(vectors))):
                copy.write(piece)

    def build(self, dim: int) -> None:
        """The graph."""
        options = f"(m={GRAPH['M']}, ef_construction={GRAPH['ef_construction']})"
        over = f"hnsw ((vector::halfvec({dim})) halfvec_ip_ops)"
        self._connection.execute(f"CREATE INDEX ON {self._table} USING {over} WITH {options}")
        self._connection.execute(f"ANALYZE {self._table}")

    def bytes(self) -> int:
        """Of the table and its indexes."""
        ((size,),) = self._connection.execute(f"SELECT pg_total_relation_size('{self._table}')").fetchall()
        return int(size)

    def ways(self, dim: int) -> Ways:
        """How it is asked."""
        half = f"halfvec({dim})"
        walk = f"SELECT key FROM {self._table} ORDER BY vector::{half} <#> %s::{half} LIMIT {CANDIDATES}"
        scan = f"SELECT key FROM {self._table} ORDER BY (vector <#> %s::vector) + 0 LIMIT {K}"
        return {"dense": lambda one: self._asked(walk, one), "exact": lambda one: self._asked(scan, one)}

    def _asked(self, statement: str, one: Question) -> set[str]:
        from semsearch.postgres.array_format import literal

        return {str(key) for (key,) in self._connection.execute(statement, (literal(one.vector),)).fetchall()}

    def drop(self) -> None:
        """Take it away."""
        self._connection.execute(f"DROP TABLE IF EXISTS {self._table}")
        self._connection.close()


@contextmanager
def collection(home: str, dim: int) -> Iterator[semsearch.Collection]:
    """A new one that is dropped afterwards."""
    name = f"bench-{uuid.uuid4().hex[:8]}"
    try:
        with semsearch.create(name, home=home, encoder=None, dim=dim) as made:
            yield made
    finally:
        semsearch.drop(name, home=home)


def ways_of(own: semsearch.Collection) -> Ways:
    """How a collection is asked."""
    return {
        "dense": lambda one: {hit.id for hit in own.search(vector=one.vector, k=K)},
        "exact": lambda one: {hit.id for hit in own.search(vector=one.vector, k=K, exact=True)},
        "1 %": lambda one: {hit.id for hit in own.search(vector=one.vector, k=K, where=FEW)},
        "words": lambda one: {hit.id for hit in own.search(one.text, k=K, mode="lexical")},
        "hybrid": lambda one: {hit.id for hit in own.search(one.text, vector=one.vector, k=K, mode="hybrid")},
    }


def main() -> None:
    """Measure, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("urls", nargs="*", metavar="URL", help="of a server")
    parser.add_argument("--vectors", type=Path, default=DEFAULT, help="of the questions, in their order")
    parser.add_argument("--rows", type=int, default=137_551)
    parser.add_argument("--asked", type=int, default=300)
    parser.add_argument("--out", type=Path, help="append the results to this file, as JSON lines")
    options = parser.parse_args()
    given = vector_set(options.vectors, options.rows, options.asked)
    stored, dim, texts = given.stored, given.stored.shape[1], short_texts()
    order = np.random.default_rng(0).permutation(len(texts))  # that of the vectors
    asked = [Question(vector, texts[row]) for vector, row in zip(given.asked, order, strict=False)]
    rest = order[len(given.asked) :]
    documents = [
        Document(str(number), texts[rest[number % len(rest)]], metadata={"n": number / len(stored)})
        for number in range(len(stored))
    ]
    raw = stored.nbytes + sum(len(one.text.encode()) for one in documents)
    seconds: dict[str, dict[str, float]] = {}
    sizes: dict[str, int] = {}
    ways: dict[tuple[str, str], Callable[[Question], set[str]]] = {}
    with ExitStack() as stack:
        for home in (stack.enter_context(tempfile.TemporaryDirectory()), *options.urls):
            engine, _, far = home.partition("://")
            engine = engine if far else "folder"
            if engine == "postgresql":
                bare = Bare(home)
                stack.callback(bare.drop)
                loaded, built = took(lambda bare=bare: bare.fill(stored)), took(lambda bare=bare: bare.build(dim))
                seconds["pgvector, bare"], sizes["pgvector, bare"] = {"load": loaded, "graph": built}, bare.bytes()
                ways |= {("pgvector, bare", way): ask for way, ask in bare.ways(dim).items()}
            own = stack.enter_context(collection(home, dim))
            loaded = took(lambda own=own: own.add(documents, vectors=stored, maintain=False))
            walked = GRAPH if far and engine != "postgresql" else {**GRAPH, "ef": EF}
            built = took(lambda own=own, walked=walked: own.reindex("hnsw", walked))
            if not far:
                own.load_index()
            elif engine != "postgresql":
                built = took(own.compact)  # which builds one graph a shard
            seconds[engine], sizes[engine] = {"load": loaded, "graph": built}, own.engine.bytes()
            ways |= {(engine, way): ask for way, ask in ways_of(own).items()}
        truth = [ways["folder", "exact"](one) for one in asked]
        few = [{hit for hit in ways["folder", "1 %"](one)} for one in asked]
        times: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
        found: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
        for row, one in enumerate(asked):
            for (engine, way), ask in ways.items():
                start = time.perf_counter()
                ids = ask(one)
                times[engine, way].append(1e3 * (time.perf_counter() - start))
                wanted = few[row] if way == "1 %" else truth[row]
                if way in ("dense", "exact", "1 %"):
                    found[engine, way].append(len(ids & wanted) / len(wanted))
    print(f"{len(stored):,} vectors of {dim} components, {len(asked)} queries")
    records = []
    for engine, own_seconds in seconds.items():
        told = {
            way: {"p50": float(np.median(times[of, way])), "recall": _mean(found[of, way])}
            for of, way in ways
            if of == engine
        }
        size = sizes[engine]
        print(
            f"{engine:15} load {own_seconds['load']:.1f} s, graph {own_seconds['graph']:.1f} s, {size / raw:.2f} x raw"
        )
        for way, ms in told.items():
            recall = "" if ms["recall"] is None else f"   recall {ms['recall']:.4f}"
            print(f"    {way:8} {ms['p50']:8.2f} ms p50{recall}")
        records.append({"engine": engine, "seconds": own_seconds, "bytes": size, "raw": raw, "ms": told})
    if options.out:
        with options.out.open("a") as file:
            file.writelines(
                json.dumps({"benchmark": "engines", "rows": len(stored), **record}) + "\n" for record in records
            )


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


if __name__ == "__main__":
    main()
