"""Search by meaning and by words of many questions at once: one `search_many` beside a loop of `search`.

    python benchmarks/hybrid.py [--batches 1 64 1024] [--rows 20000] [--rounds 3] [--vectors FILE] [--out FILE]

Without SEMSEARCH_DATA, on the few sentences of the shipped samples, whose figures say little.

The stored texts are Quora's questions, and what is asked are others of them, by their texts and by their vectors, which
are made beforehand: encoding has a benchmark of its own. Postings are built, vectors are searched exactly; ten answers
each. Processor time, since other work on the machine would count otherwise; rounds interleaved, medians. `same` is the
share of questions whose answers, ids and scores, are those of the loop to the last bit.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from texts import short_texts
from vector_sets import DEFAULT, encoded

import semsearch
from semsearch.bench.run import machine
from semsearch.types import Document, Vectors

K = 10


def stored(texts: Sequence[str], vectors: Vectors, folder: Path) -> semsearch.Collection:
    """A collection of texts `(n,)` with their vectors `(n, dim)`, its postings built."""
    collection = semsearch.create("questions", encoder=None, dim=vectors.shape[1], home=folder)
    collection.add([Document(str(number), text) for number, text in enumerate(texts)], vectors=vectors)
    collection.maintain()
    return collection


def measured(
    collection: semsearch.Collection, texts: Sequence[str], vectors: Vectors, batch: int, rounds: int
) -> dict[str, Any]:
    """Milliseconds a question, one by one and in batches, of the questions `texts` with their `vectors` `(q, dim)`."""
    spent: dict[str, list[float]] = {"one by one": [], "at once": []}
    answers: dict[str, list[list[tuple[str, float]]]] = {}
    for _ in range(rounds):
        for way, step in (("one by one", 1), ("at once", batch)):
            found: list[semsearch.Hits] = []
            began = time.process_time()
            for start in range(0, len(texts), step):
                part, theirs = texts[start : start + step], vectors[start : start + step]
                if way == "at once":
                    found += collection.search_many(part, K, vectors=theirs, mode="hybrid")
                else:
                    found.append(collection.search(part[0], K, vector=theirs[0], mode="hybrid"))
            spent[way].append(1000 * (time.process_time() - began) / len(texts))
            answers[way] = [[(hit.id, hit.score) for hit in hits] for hits in found]
    alone, together = (statistics.median(times) for times in spent.values())
    same = [one == other for one, other in zip(*answers.values(), strict=True)]
    return {"batch": batch, "one_by_one_ms": alone, "at_once_ms": together, "x": alone / together} | {
        "same": sum(same) / len(same)
    }


def main() -> None:
    """Measure, interleaved, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 64, 1024], help="questions at once")
    parser.add_argument("--rows", type=int, default=20_000, help="questions that are stored")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--vectors", type=Path, default=DEFAULT, help="the questions' vectors; made where they are not")
    parser.add_argument("--out", type=Path, help="append the results to this file, as JSON lines")
    options = parser.parse_args()
    texts = short_texts()
    asked = min(max(options.batches), len(texts) // 10)
    rows = min(options.rows, len(texts) - asked)
    places = np.random.default_rng(0).permutation(len(texts))[: rows + asked]
    chosen, vectors = [texts[place] for place in places], encoded(options.vectors)[places]
    with (
        tempfile.TemporaryDirectory() as folder,
        stored(chosen[asked:], vectors[asked:], Path(folder)) as collection,
    ):
        lines = [
            measured(collection, chosen[:asked], vectors[:asked], min(batch, asked), options.rounds)
            for batch in options.batches
        ]
    print(f"{rows:,} questions stored, {asked:,} asked {options.rounds} times, processor time")
    for line in lines:
        print(
            f"{line['batch']:6,} at once {line['at_once_ms']:7.2f} ms a question, one by one "
            f"{line['one_by_one_ms']:7.2f} ({line['x']:5.2f} x), the same answers for {line['same']:.4f}"
        )
    if options.out:
        with options.out.open("a", encoding="utf-8") as file:
            facts = {"benchmark": "hybrid", "rows": rows, "queries": asked, **machine()}
            file.writelines(json.dumps(line) + "\n" for line in [facts, *lines])


if __name__ == "__main__":
    main()
