"""What a certificate is worth: the setting that each way of measuring chooses, and the recall that questions then get.

    python benchmarks/synthetic_queries.py [--rows 20000 130000] [--recall 0.9 0.95] [--index hnsw faiss-ivf annoy]

The questions of no part in the measuring ("unseen") are the judges. A setting is chosen by the rule of the recall
contract (`semsearch/search/recall.py`) on

- stored vectors, each without itself, alone: what seems fair, and flatters a graph;
- synthetic queries, which semsearch takes when no questions are given: stored vectors and points between them, the
  worse of the two;
- real questions, as with `--queries FILE`.

Asked are questions among other questions (`--rows` of them), and, where SEMSEARCH_DATA is, passages by the questions
that belong to them, and passages of the web by questions that people put elsewhere.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from vector_sets import DEFAULT, encoded, vector_set

import semsearch
from semsearch.evaluation.judgements import read_queries
from semsearch.ingest.source import Source
from semsearch.plugins import index_backend
from semsearch.search.recall import CHOOSING, NOT_STORED, Sample, draw_sample, lower_bound, sample_recall
from semsearch.search.truth import Truth
from semsearch.types import Metric, Vectors

K = 10
TIMED = 200
STORED, SYNTHETIC, QUESTIONS, UNSEEN = "stored vectors alone", "synthetic queries", "questions", "unseen"
Set = tuple[str, Vectors, Vectors]  # its name, what is stored, what is asked


def sets(rows: list[int]) -> Iterator[Set]:
    """Questions among questions, then passages with questions, all in random order."""
    for count in rows:
        found = vector_set(DEFAULT, count)
        yield f"{len(found.stored):,} questions", found.stored, found.asked
    folder = os.environ.get("SEMSEARCH_DATA")
    if not folder:
        return
    data, rng = Path(folder), np.random.default_rng(0)
    corpora = ("scifact", "nfcorpus", "msmarco-dl19")
    stored, asked = zip(*(_corpus(data / corpus) for corpus in corpora), strict=True)
    own = np.concatenate(asked[:2])
    yield "SciFact and NFCorpus, their questions", np.concatenate(stored[:2]), own[rng.permutation(len(own))]
    people = encoded(DEFAULT)
    yield "DL19, Quora's questions", stored[2], people[rng.permutation(len(people))[:2000]]


def _corpus(folder: Path) -> tuple[Vectors, Vectors]:
    """The vectors of a corpus and of its questions, encoded once and kept beside those of the questions."""
    file = DEFAULT.with_name(f"{folder.name}.npz")
    if not file.exists():
        print(f"encoding {folder.name} into {file}", file=sys.stderr)
        encoder = semsearch.load_encoder("all-MiniLM-L6-v2")
        texts = [f"{document.title or ''} {document.text}".strip() for document in Source.of(str(folder)).read()]
        asked = list(read_queries(folder).values())
        np.savez(file, stored=encoder.encode_documents(texts), asked=encoder.encode_queries(asked))
    with np.load(file) as kept:
        return kept["stored"], kept["asked"]


def curve(name: str, stored: Vectors, asked: Vectors) -> Iterator[dict[str, Any]]:
    """Along the knob: the recall of each kind of query, and the milliseconds of one."""
    keys = np.arange(len(stored))
    kind = index_backend(name)
    params = kind.Params()
    index = kind.build(keys, stored, Metric.COSINE, params)
    half = len(asked) // 2
    truth = Truth(keys, stored, Metric.COSINE)
    made = draw_sample(truth.neighbors, K, truth.synthetic, count=1000)
    assert made.own is not None
    samples: dict[str, Sample] = {
        STORED: made.part(made.own != NOT_STORED),
        SYNTHETIC: made,
        QUESTIONS: draw_sample(truth.neighbors, K, asked[:half][:1000]),
        UNSEEN: draw_sample(truth.neighbors, K, asked[half:][:1000]),
    }
    assert kind.knob is not None
    for value in kind.knob.ladder(len(keys)):
        index.tune(replace(params, **{kind.knob.option: value}))
        point: dict[str, Any] = {"knob": kind.knob.option, "value": value}
        for what, sample in samples.items():
            point[what] = sample.weakest(sample_recall(index.search, sample, truth.scores_of, K))[1:]
        times = []
        for query in samples[UNSEEN].queries[:TIMED]:
            start = time.perf_counter()
            index.search(query[None], K)
            times.append(1e3 * (time.perf_counter() - start))
        yield {**point, "ms": float(np.median(times))}


def chosen(points: list[dict[str, Any]], way: str, target: float) -> dict[str, Any]:
    """The first setting that this way of measuring takes to reach the target, else the best."""
    for point in points:
        recall, count = point[way]
        if lower_bound(recall * count, count, CHOOSING) >= target:
            return point
    return max(points, key=lambda point: point[way][0])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 130_000])
    parser.add_argument("--recall", type=float, nargs="+", default=[0.9, 0.95])
    parser.add_argument("--index", nargs="+", default=["hnsw", "faiss-ivf", "annoy"])
    parser.add_argument("--out", type=Path, help="append the results to this file, as JSON lines")
    given = parser.parse_args()
    lines = []
    for title, stored, asked in sets(given.rows):
        for name in given.index:
            points = list(curve(name, stored, asked))
            for target in given.recall:
                for way in (STORED, SYNTHETIC, QUESTIONS):
                    point = chosen(points, way, target)
                    lines.append(
                        {
                            "benchmark": "synthetic_queries",
                            "set": title,
                            "rows": len(stored),
                            "index": name,
                            "target": target,
                            "measured on": way,
                            "knob": point["knob"],
                            "value": point["value"],
                            "recall": round(point[UNSEEN][0], 4),
                            "ms": round(point["ms"], 4),
                        }
                    )
                    print(json.dumps(lines[-1]), flush=True)
    if given.out:
        with given.out.open("a") as out:
            out.writelines(json.dumps(line) + "\n" for line in lines)


if __name__ == "__main__":
    main()
