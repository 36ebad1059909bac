"""A collection in a cluster beside the bare requests for the same: one bulk load, one walk of the graph, one match.

    python benchmarks/clusters.py opensearch://host:9200 [--vectors FILE] [--rows 137551] [--alone] [--out FILE]

Bare: the very bytes of the bulk requests that semsearch sent, sent again, one after the other, to an index of the same
mapping, an eighth of all in turn; a search by `knn` with the same depth, filter and fields, which brings the texts and
vectors of the first; a `match` of the same words. semsearch: `Collection.add` with given vectors, `search` with one
and by words, so that no encoding is in it. Searches are interleaved, a query at a time, and as many other queries are
asked before, for what runs for the first time is compiled meanwhile. Both indexes are merged before, and what they take
is counted then. More rows than there are questions are points between two of them; `--alone` leaves the bare requests
out.
"""

from __future__ import annotations

import argparse
import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from texts import short_texts
from vector_sets import DEFAULT, encoded, vector_set

import semsearch
from semsearch.cluster.cluster_address import ClusterAddress
from semsearch.cluster.cluster_connection import ClusterConnection
from semsearch.cluster.cluster_filters import UNFILTERED, DocumentFilter, FilterCompiler, IndexFields
from semsearch.cluster.coded_words import coded
from semsearch.cluster.nearest_documents import LEAST_DEPTH
from semsearch.cluster.second_index import made_index, map_vectors
from semsearch.search.analysis import analysed
from semsearch.search.where_mapping import parse
from semsearch.types import Document, Metric, Vectors

K, MARGIN, MERGE_PATIENCE = 10, 10, 1800.0
WARMING, WARMING_ROWS = 2, 4000
LOADS = 8  # parts in which both are loaded in turn: what merges meanwhile is both's
SETTLING = 60.0  # seconds, after which servers no longer keep what was written for a copy that lags behind
LOOKS = 6  # at a size: servers count their files every ten seconds
SHARES = {
    "half": {"n": {"$lt": 0.5}},
    "10 %": {"n": {"$lt": 0.1}},
    "1 %": {"n": {"$lt": 0.01}},
    "0.01 %": {"n": {"$lt": 0.0001}},
}


def took(work: Callable[[], Any]) -> float:
    """Seconds that it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def load(
    there: semsearch.Collection,
    documents: list[Document],
    rows: Vectors,
    bare: tuple[str, str] | None,
    seconds: dict[str, float],
) -> None:
    """Add all to a collection, and send what that sent to the bare index of an alias, part by part."""
    connection = there.engine._connection  # type: ignore[attr-defined]
    size = -(-len(documents) // LOADS)

    def again(bodies: list[bytes], alias: str, index: str) -> None:
        for body in bodies:
            connection.dialect.send("POST", f"/{alias}/_bulk?require_alias=true&filter_path=errors", body, True)
        connection.refresh(index)

    for start in range(0, len(documents), size):
        part, own = documents[start : start + size], rows[start : start + size]
        begun = time.perf_counter()
        bodies = recorded(
            there, lambda part=part, own=own: there.add(part, vectors=own, maintain=False), kept=bool(bare)
        )
        seconds["load"] = seconds.get("load", 0.0) + time.perf_counter() - begun
        if bare:
            taken = took(lambda bodies=bodies: again(bodies, *bare))
            seconds["load, bare"] = seconds.get("load, bare", 0.0) + taken


def merged(connection: ClusterConnection, index: str) -> int:
    """Merge an index to a segment a shard, and its bytes: of all primaries."""
    connection.ask("POST", f"{index}/_forcemerge", options={"max_num_segments": "1", "wait_for_completion": "false"})
    deadline, sizes = time.monotonic() + MERGE_PATIENCE, list[int]()
    while time.monotonic() < deadline and (len(sizes) < LOOKS or len(set(sizes[-LOOKS:])) > 1):
        time.sleep(3)
        connection.ask("POST", f"{index}/_flush")
        connection.ask("POST", f"{index}/_refresh")  # what was merged is kept until nobody reads it any more
        said = connection.ask("GET", f"{index}/_stats/store,segments,merge").body["_all"]["primaries"]
        shards = connection.ask("GET", f"{index}/_stats").body["_shards"]["total"]
        if said["merges"]["current"] == 0 and said["segments"]["count"] <= shards:
            sizes.append(int(said["store"]["size_in_bytes"]))
    return sizes[-1]


def main() -> None:
    """Measure one size after another, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="of a cluster")
    parser.add_argument("--vectors", type=Path, default=DEFAULT, help="of the questions, in their order")
    parser.add_argument("--rows", type=int, nargs="+", default=[137_551], help="one size after another")
    parser.add_argument("--asked", type=int, default=100)
    parser.add_argument("--alone", action="store_true", help="without the bare requests")
    parser.add_argument("--out", type=Path, help="append the results to this file, as JSON lines")
    options = parser.parse_args()
    for rows in options.rows:
        measure(options, rows)


def measure(options: argparse.Namespace, rows_asked: int) -> None:
    """A collection of one size."""
    texts, order = short_texts(), np.random.default_rng(0).permutation(len(encoded(options.vectors)))
    chosen = vector_set(options.vectors, rows_asked, 2 * options.asked)  # the first half to warm up
    rows, queries = chosen.stored, chosen.asked
    asked, stored = order[: len(queries)], order[len(queries) :]
    documents = [
        Document(str(place), texts[stored[place % len(stored)]], metadata={"n": place / len(rows)})
        for place in range(len(rows))
    ]
    connection = ClusterConnection(ClusterAddress.of(options.url))
    name = f"bench-{uuid.uuid4().hex[:8]}"
    nodes = int(connection.ask("GET", "_cluster/health").body["number_of_nodes"])
    seconds: dict[str, float] = {}
    size: list[int] = []
    with semsearch.create(f"{name}-first", home=options.url, encoder=None, dim=rows.shape[1]) as first:
        for _ in range(WARMING):  # what runs for the first time is compiled meanwhile, on the server and here
            first.add(documents[:WARMING_ROWS], vectors=rows[:WARMING_ROWS], maintain=False)
            first.remove(first.ids())
    semsearch.drop(f"{name}-first", home=options.url)
    with semsearch.create(name, home=options.url, encoder=None, dim=rows.shape[1]) as there:
        bare, alias = made_index(connection, f"{name}-bare", "bare")
        try:
            map_vectors(connection, bare, rows.shape[1], Metric.COSINE, {})
            load(there, documents, rows, None if options.alone else (alias, bare), seconds)
            there.reindex("hnsw")
            own = there.engine._read().index  # type: ignore[attr-defined]
            for index in (own, bare):
                connection.ask("POST", f"{index}/_flush")
            time.sleep(SETTLING)
            seconds["merge"] = took(lambda: size.append(merged(connection, own)))
            if not options.alone:
                merged(connection, bare)
            raw = rows.nbytes + sum(len(one.text.encode()) for one in documents)
            ways = Ways(there, connection, own, None if options.alone else bare)
            half = len(queries) // 2
            searched(ways, queries[:half], [texts[row] for row in asked[:half]], rows)
            times, found = searched(ways, queries[half:], [texts[row] for row in asked[half:]], rows)
        finally:
            connection.ask("DELETE", bare, accept=(404,))
            there.close()
            semsearch.drop(name, home=options.url)
    print(f"{len(rows):,} vectors of {rows.shape[1]} components, {half} queries, {nodes} nodes")
    for what, taken in seconds.items():
        print(f"{what:24} {taken:8.1f} s")
    if not options.alone:
        print(f"load is {seconds['load, bare'] / seconds['load']:.2f} of the bare one's rate")
    print(f"{size[0] / 1e6:.1f} MB on disk, merged: {size[0] / raw:.2f} of vectors and texts")
    told = {}
    for way, taken in times.items():
        base = float(np.median(times.get(f"{way.split(',')[0]}, bare", taken)))
        p50, p95 = np.percentile(taken, [50, 95])
        told[way] = {"p50": float(p50), "p95": float(p95), "recall": float(np.mean(found[way])) if found[way] else None}
        recall = f"   recall {np.mean(found[way]):.4f}" if found[way] else ""
        print(f"{way:24} {p50:8.2f} ms p50 {p95:8.2f} ms p95   {p50 / base:.2f} x bare{recall}")
    if options.out:
        record = {"benchmark": "clusters", "flavour": connection.dialect.flavour, "nodes": nodes, "rows": len(rows)}
        record |= {"shards": connection.address.shards, "replicas": connection.address.replicas}
        record |= {"seconds": seconds, "bytes": size[0], "raw": raw, "ms": told}
        with options.out.open("a") as file:
            file.write(json.dumps(record) + "\n")


class Ways(NamedTuple):
    """What is asked: a collection, its index, and the bare one beside it, if there is one."""

    there: semsearch.Collection
    connection: ClusterConnection
    own: str
    bare: str | None


def recorded(collection: semsearch.Collection, work: Callable[[], Any], *, kept: bool) -> list[bytes]:
    """Do it, and the bodies of the bulk requests that were sent, if they are to be `kept`."""
    dialect = collection.engine._connection.dialect  # type: ignore[attr-defined]
    send, bodies = dialect.send, []

    def noted(method: str, path: str, body: bytes | None, lines: bool) -> Any:
        if kept and "/_bulk" in path and body is not None:
            bodies.append(body)
        return send(method, path, body, lines)

    dialect.send = noted
    try:
        work()
    finally:
        dialect.send = send
    return bodies


def searched(
    ways: Ways, queries: Vectors, texts: list[str], rows: Vectors
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Milliseconds of each query in each way, and how much of the ten nearest it found."""
    there, connection, own, bare = ways
    dialect = connection.dialect
    fields = {"_source": dialect.source(("id", "title", "text", "metadata", "keys", "starts", "ends", "p.v"))}
    compiler, catalog = FilterCompiler(connection, own), IndexFields(connection, own)
    allowed = {share: DocumentFilter((compiler.clause(parse(where, catalog)),)) for share, where in SHARES.items()}
    numbers = np.arange(len(rows)) / len(rows)
    limits = {share: where["n"]["$lt"] for share, where in SHARES.items()}

    def walk(query: Vectors, among: DocumentFilter) -> list[str]:
        body = {"size": K + MARGIN, "query": dialect.nearest(query, LEAST_DEPTH, among.clause), **fields}
        return [hit["_source"]["id"] for hit in connection.search(str(bare), body)["hits"]["hits"]][:K]

    def match(text: str) -> list[str]:
        words = " ".join(map(coded, analysed(text, ("en",)).split()))
        body = {"size": K, "query": {"match": {"words": words}}, **fields}
        said = connection.search(str(bare), body, options={"search_type": "dfs_query_then_fetch"})
        return [hit["_source"]["id"] for hit in said["hits"]["hits"]]

    times: dict[str, list[float]] = {}
    found: dict[str, list[float]] = {}

    def timed(way: str, ask: Callable[[], list[str]], truth: set[str] | None = None) -> None:
        if bare is None and way.endswith(", bare"):
            return
        start = time.perf_counter()
        ids = ask()
        times.setdefault(way, []).append(1e3 * (time.perf_counter() - start))
        found.setdefault(way, [])
        if truth:
            found[way].append(len(truth & set(ids)) / len(truth))

    for row, (query, text) in enumerate(zip(queries, texts, strict=True)):
        order = np.argsort(-(rows @ query), kind="stable")
        best = set(map(str, order[:K].tolist()))

        def ours(**how: Any) -> Callable[[], list[str]]:
            return lambda: [hit.id for hit in there.search(k=K, **how)]

        timed("dense, bare", lambda query=query: walk(query, UNFILTERED), best)
        timed("dense", ours(vector=query), best)
        if row < len(queries) // 4:
            timed("dense, exact", ours(vector=query, exact=True), best)
        timed("words, bare", lambda text=text: match(text))
        timed("words", ours(query=text, mode="lexical"))
        for share, where in SHARES.items():
            truth = set(map(str, order[numbers[order] < limits[share]][:K].tolist()))
            timed(f"{share}, bare", lambda query=query, share=share: walk(query, allowed[share]), truth)
            timed(share, ours(vector=query, where=where), truth)
            timed(f"{share}, exact", ours(vector=query, where=where, exact=True), truth)
    return times, found


if __name__ == "__main__":
    main()
