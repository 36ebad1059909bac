"""What safety costs: adding and re-checking documents, beside the same rows written by hand.

    python benchmarks/store.py [--rows 100000] [--source 200000] [--rounds 3] [--out FILE]

Bare: the same rows into the same tables by sqlite3 in WAL mode at synchronous FULL, and a file of vectors fsynced
before each commit, in the same batches, nothing checked. semsearch: `Collection.add` with given vectors, which checks
every document, hashes it, looks it up, records a checksum of each vector and takes the writer's lock; by then the rows
are safe and can be searched. What follows, index, words and calibration, is told apart: the rows written by hand have
nothing of the kind. Then all of them
are added again unchanged (nothing may be written), and read again from a JSON lines file as `semsearch index` does.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import semsearch
from semsearch.ingest.ingestion import BATCH_DOCUMENTS
from semsearch.ingest.source import Source
from semsearch.local.store import schema
from semsearch.local.store.database import Database
from semsearch.types import Document

DIM = 384
WORDS = 5000


def documents(count: int) -> list[Document]:
    """Short passages of some 15 words, drawn with the frequencies of a language (Zipf)."""
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randrange(3, 10))) for _ in range(WORDS)]
    weights = [1 / (rank + 1) for rank in range(WORDS)]
    return [
        Document(f"d{i}", " ".join(rng.choices(words, weights, k=15)), title=words[i % WORDS], metadata={"n": i})
        for i in range(count)
    ]


def bare(folder: Path, rows: list[Document], vectors: np.ndarray) -> float:
    """Seconds to write the rows by hand."""
    folder.mkdir()
    database = Database(folder / "bare.sqlite", mode="rwc")
    with database.write() as empty:
        schema.create(empty)
    database.close()
    start = time.perf_counter()
    connection = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    with (folder / "vectors").open("wb") as file:
        for first in range(0, len(rows), BATCH_DOCUMENTS):
            batch = list(enumerate(rows[first : first + BATCH_DOCUMENTS], first))
            file.write(vectors[first : first + BATCH_DOCUMENTS].data)
            file.flush()
            os.fsync(file.fileno())
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
                [(i, d.id, d.title, d.text, json.dumps(d.metadata), b"", 0) for i, d in batch],
            )
            connection.executemany(
                "INSERT INTO passages VALUES (?, ?, ?, ?)", [(i, i, 0, len(d.text)) for i, d in batch]
            )
            connection.executemany(
                "INSERT INTO fulltext (rowid, title, text) VALUES (?, ?, ?)", [(i, d.title, d.text) for i, d in batch]
            )
            connection.executemany(
                "INSERT INTO fields VALUES (?, 0, 'number', ?, ?)",
                [(name, value, i) for i, d in batch for name, value in d.metadata.items()],
            )
            connection.execute("COMMIT")
    connection.close()
    return time.perf_counter() - start


def added(folder: Path, rows: list[Document], vectors: np.ndarray) -> tuple[float, float, float]:
    """Seconds to add the rows, to build what makes searching them fast, and to add them again unchanged."""
    # told, for words of random letters are of no language, and to find that out takes 0.8 s once a process
    with semsearch.create("store", encoder=None, dim=DIM, home=folder, language="en") as collection:
        start = time.perf_counter()
        collection.add(rows, vectors=vectors, maintain=False)
        first = time.perf_counter() - start
        start = time.perf_counter()
        collection.maintain()
        indexed = time.perf_counter() - start
        start = time.perf_counter()
        changes = collection.add(rows, vectors=vectors)
        again = time.perf_counter() - start
        assert changes.unchanged == len(rows)
        return first, indexed, again


class Instant:
    """An encoder that takes no time, so that what is measured is everything else."""

    dim, metric, fingerprint = 4, semsearch.Metric.COSINE, "instant"

    def encode_documents(self, texts: list[str]) -> np.ndarray:
        """The same vector for all."""
        return np.full((len(texts), 4), 0.5, dtype=np.float32)

    encode_queries = encode_documents


def rechecked(folder: Path, rows: list[Document]) -> float:
    """Seconds to read a source of unchanged documents again."""
    source = folder / "source.jsonl"
    with source.open("w") as file:
        for row in rows:
            file.write(json.dumps({"id": row.id, "title": row.title, "text": row.text, **row.metadata}) + "\n")
    with semsearch.create("source", encoder=Instant(), home=folder) as collection:
        collection.add(read(source))
        start = time.perf_counter()
        changes = collection.add(read(source))
        assert changes.unchanged == len(rows)
        return time.perf_counter() - start


def read(path: Path) -> Iterator[Document]:
    """The documents of a JSON lines file, by the reader that the command line uses."""
    return Source.of(path).read()


def main() -> None:
    """Measure, interleaved, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--source", type=int, default=200_000, help="documents that are read and looked up again")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="append the results to this file, as JSON lines")
    options = parser.parse_args()
    rows = documents(options.rows)
    vectors = np.random.default_rng(0).standard_normal((options.rows, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    times: dict[str, list[float]] = {"bare": [], "add": [], "index": [], "add unchanged": []}
    for _ in range(options.rounds):
        folder = Path(tempfile.mkdtemp())
        try:
            times["bare"].append(bare(folder / "bare", rows, vectors))
            first, indexed, again = added(folder, rows, vectors)
            times["add"].append(first)
            times["index"].append(indexed)
            times["add unchanged"].append(again)
        finally:
            shutil.rmtree(folder)
    folder = Path(tempfile.mkdtemp())
    try:
        times[f"re-check {options.source:,} of a source"] = [rechecked(folder, documents(options.source))]
    finally:
        shutil.rmtree(folder)
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"{options.rows:,} short passages of {DIM} dimensions, median of {options.rounds}")
    for name, seconds in medians.items():
        spread = f"{min(times[name]):.2f} to {max(times[name]):.2f}"
        print(f"{name:30} {seconds:7.2f} s  ({spread})   {seconds / medians['bare']:.2f} x bare")
    if options.out:
        with options.out.open("a") as file:
            file.write(json.dumps({"benchmark": "store", "rows": options.rows, "seconds": times}) + "\n")


if __name__ == "__main__":
    main()
