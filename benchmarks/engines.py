"""A collection in PostgreSQL beside bare pgvector with the same parameters, and beside the same collection in a folder.

    python benchmarks/engines.py postgresql://user@host/database [--vectors FILE] [--rows 137551] [--out FILE]

Bare: a table of a key and a vector, filled by binary COPY; a graph over halves of the numbers with the same options,
walked for as many candidates as semsearch takes, and a scan for ten. semsearch: `Collection.add` with given vectors,
`reindex`, `search` with a vector, so that no encoding is in it. Searches are interleaved, a query at a time.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from vector_sets import DEFAULT, vector_set

import semsearch
from semsearch.postgres.array_format import bytes_of, int8, literal, written
from semsearch.postgres.database_address import DatabaseAddress
from semsearch.types import Document, Vectors

K, EF, CANDIDATES = 10, 100, 40  # semsearch walks for K + 30
OPTIONS = {"M": 16, "ef_construction": 100, "ef": EF}
SETTINGS = ("jit = off", f"hnsw.ef_search = {EF}", "hnsw.iterative_scan = relaxed_order", "enable_sort = on")


def took(work: Callable[[], Any]) -> float:
    """Seconds that it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def filled(connection: psycopg.Connection, table: str, vectors: Vectors) -> None:
    """A bare table of keys and vectors."""
    connection.execute(f"CREATE TABLE {table} (key bigint PRIMARY KEY, vector vector({vectors.shape[1]}))")
    connection.execute(f"ALTER TABLE {table} ALTER COLUMN vector SET STORAGE PLAIN")
    with connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
        rows = ((int8(key), own) for key, own in enumerate(bytes_of(vectors)))
        for piece in written(rows):
            copy.write(piece)


def main() -> None:
    """Measure, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="of a database with pgvector")
    parser.add_argument("--vectors", type=Path, default=DEFAULT)
    parser.add_argument("--rows", type=int, default=137_551)
    parser.add_argument("--asked", type=int, default=300)
    parser.add_argument("--out", type=Path, help="append the results to this file, as JSON lines")
    options = parser.parse_args()
    given = vector_set(options.vectors, options.rows, options.asked)
    stored, asked = given.stored, given.asked
    address, table, dim = DatabaseAddress(options.url), f"bare_{uuid.uuid4().hex[:8]}", stored.shape[1]
    bare = psycopg.connect(**address.parameters, autocommit=True)
    bare.execute("CREATE EXTENSION IF NOT EXISTS vector")
    bare.execute("SELECT '[1]'::vector")
    for setting in SETTINGS:
        bare.execute(f"SET {setting}")
    name = f"bench-{table[5:]}"
    documents = [Document(str(number), f"text {number}") for number in range(len(stored))]
    walk = f"SELECT key FROM {table} ORDER BY vector::halfvec({dim}) <#> %s::halfvec({dim}) LIMIT {CANDIDATES}"
    scan = f"SELECT key FROM {table} ORDER BY (vector <#> %s::vector) + 0 LIMIT {K}"
    graph = (
        f"CREATE INDEX ON {table} USING hnsw ((vector::halfvec({dim})) halfvec_ip_ops) WITH (m=16, ef_construction=100)"
    )
    seconds: dict[str, float] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        semsearch.create(name, home=options.url, encoder=None, dim=dim) as there,
        semsearch.create(name, home=folder, encoder=None, dim=dim) as here,
    ):
        try:
            seconds["load, bare"] = took(lambda: filled(bare, table, stored))
            seconds["load"] = took(lambda: there.add(documents, vectors=stored, maintain=False))
            seconds["load, folder"] = took(lambda: here.add(documents, vectors=stored, maintain=False))
            seconds["graph, bare"] = took(lambda: bare.execute(graph))
            bare.execute(f"ANALYZE {table}")
            seconds["graph"] = took(lambda: there.reindex("hnsw", OPTIONS))
            seconds["graph, folder"] = took(lambda: here.reindex("hnsw", OPTIONS))
            here.load_index()
            truth = [{hit.id for hit in hits} for hits in here.search_many(vectors=asked, k=K, exact=True)]
            ways: dict[str, Callable[[Vectors], set[str]]] = {
                "walk, bare": lambda query: {str(key) for (key,) in bare.execute(walk, (literal(query),)).fetchall()},
                "walk": lambda query: {hit.id for hit in there.search(vector=query, k=K)},
                "walk, folder": lambda query: {hit.id for hit in here.search(vector=query, k=K)},
                "exact, bare": lambda query: {str(key) for (key,) in bare.execute(scan, (literal(query),)).fetchall()},
                "exact": lambda query: {hit.id for hit in there.search(vector=query, k=K, exact=True)},
                "exact, folder": lambda query: {hit.id for hit in here.search(vector=query, k=K, exact=True)},
            }
            times: dict[str, list[float]] = {way: [] for way in ways}
            found: dict[str, list[float]] = {way: [] for way in ways}
            for row, query in enumerate(asked):
                for way, ask in ways.items():
                    start = time.perf_counter()
                    ids = ask(query)
                    times[way].append(1e3 * (time.perf_counter() - start))
                    found[way].append(len(ids & truth[row]) / len(truth[row]))
        finally:
            bare.execute(f"DROP TABLE IF EXISTS {table}")
            there.close()
            semsearch.drop(name, home=options.url)
    print(f"{len(stored):,} vectors of {dim} components, {len(asked)} queries")
    for what, taken in seconds.items():
        print(f"{what:16} {taken:8.1f} s")
    for way, taken in times.items():
        base = np.median(times[way.split(",")[0] + ", bare"])
        p50, p95 = np.percentile(taken, [50, 95])
        print(
            f"{way:16} {p50:8.2f} ms p50 {p95:8.2f} ms p95   {p50 / base:.2f} x bare   recall {np.mean(found[way]):.4f}"
        )
    if options.out:
        told = {
            way: {"p50": float(np.median(taken)), "recall": float(np.mean(found[way]))} for way, taken in times.items()
        }
        with options.out.open("a") as file:
            file.write(json.dumps({"benchmark": "engines", "rows": len(stored), "seconds": seconds, "ms": told}) + "\n")


if __name__ == "__main__":
    main()
