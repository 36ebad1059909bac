"""Search by words: semsearch beside bm25s and SQLite's own full text, on the Quora questions of SEMSEARCH_DATA.

    python benchmarks/lexical.py [--queries 500] [--rounds 3] [--out FILE]

Without SEMSEARCH_DATA, on the few sentences of the shipped samples, whose figures say little.

One thread, one query at a time, the ten best; queries are questions that are stored themselves. Processor time, since
other work on the machine would count otherwise; rounds interleaved, medians. bm25s as its README has it: its tokenizer,
English stop words left out, PyStemmer; semsearch and SQLite keep stop words. The share is that of
queries whose first answer is the question itself.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from texts import short_texts

import semsearch
from semsearch.bench.run import machine
from semsearch.local.lexical.build import LexicalIndexing
from semsearch.local.lexical.searcher import Lexical
from semsearch.local.store import terms
from semsearch.search.analysis import asked
from semsearch.search.query_syntax import parse
from semsearch.types import Document

K = 10
Search = Callable[[str], list[int]]  # numbers of questions, best first


def ours(texts: list[str], folder: Path) -> tuple[dict[str, Search], dict[str, float]]:
    """A collection and its full text, and the seconds to build each."""
    collection = semsearch.create("questions", encoder=None, dim=2, home=folder)
    vectors = np.full((len(texts), 2), 0.5, dtype=np.float32)
    documents = [Document(str(number), text) for number, text in enumerate(texts)]
    collection.add(documents, vectors=vectors, maintain=False)
    seconds, lexical = {}, Lexical(collection.engine.store)
    began = time.process_time()
    LexicalIndexing(collection.engine.store, lexical).rebuild()
    seconds["semsearch"] = time.process_time() - began
    began = time.process_time()
    with collection.engine.store.database.write() as connection:
        terms.rebuild(connection)
    seconds["SQLite"] = time.process_time() - began

    def by_semsearch(query: str) -> list[int]:
        with collection.engine.store.read() as view:
            keys, _, _ = lexical.search(view, parse(query), K)
        return [key - 1 for key in keys.tolist()]

    def by_sqlite(query: str) -> list[int]:
        match = " OR ".join(f'"{term}"' for term in set(asked(query)))
        with collection.engine.store.read() as view:
            found = view.connection.exec_driver_sql(
                "SELECT rowid FROM fulltext WHERE fulltext MATCH ? ORDER BY bm25(fulltext) LIMIT ?", (match, K)
            )
            return [key - 1 for key in found.scalars()]

    return {"semsearch": by_semsearch, "SQLite": by_sqlite}, seconds


def peer(texts: list[str]) -> tuple[Search, float]:
    """bm25s, and the seconds to build it."""
    import bm25s
    import Stemmer

    stemmer = Stemmer.Stemmer("english")
    began = time.process_time()
    split = bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)
    retriever = bm25s.BM25()
    retriever.index(split, show_progress=False)
    seconds = time.process_time() - began

    def search(query: str) -> list[int]:
        asked = bm25s.tokenize(query, stopwords="en", stemmer=stemmer, show_progress=False)
        found, _ = retriever.retrieve(asked, k=K, show_progress=False)
        return [int(number) for number in found[0]]

    return search, seconds


def main() -> None:
    """Measure, interleaved, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="append the results to this file, as JSON lines")
    options = parser.parse_args()
    texts = short_texts()
    options.queries = min(options.queries, len(texts))
    asked = np.random.default_rng(0).choice(len(texts), options.queries, replace=False).tolist()
    with tempfile.TemporaryDirectory() as temporary:
        ways, seconds = ours(texts, Path(temporary))
        ways["bm25s"], seconds["bm25s"] = peer(texts)
        times: dict[str, list[float]] = {name: [] for name in ways}
        first: dict[str, int] = dict.fromkeys(ways, 0)
        for number in range(options.rounds):
            for name, search in ways.items():
                for place in asked:
                    began = time.process_time()
                    found = search(texts[place])
                    times[name].append(1000 * (time.process_time() - began))
                    first[name] += number == 0 and place in found[:1]
    print(f"{len(texts):,} questions, {options.queries} asked {options.rounds} times, processor time")
    lines = []
    for name, spent in times.items():
        p50, p95 = statistics.median(spent), float(np.quantile(spent, 0.95))
        ratio = p50 / statistics.median(times["bm25s"])
        share = first[name] / options.queries
        lines.append({"way": name, "p50_ms": p50, "p95_ms": p95, "x": ratio, "build_s": seconds[name], "first": share})
        print(
            f"{name:10} p50 {p50:7.2f} ms ({ratio:6.2f} x bm25s)  p95 {p95:7.2f} ms  built in {seconds[name]:5.2f} s  "
            f"itself first {share:.3f}"
        )
    if options.out:
        with options.out.open("a") as file:
            facts = {"benchmark": "lexical", "rows": len(texts), "queries": options.queries, **machine()}
            file.writelines(json.dumps(line) + "\n" for line in [facts, *lines])


if __name__ == "__main__":
    main()
