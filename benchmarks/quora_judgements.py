"""Quora's labelled question pairs as a BEIR folder to train a reranker on.

    python benchmarks/quora_judgements.py quora-pairs.tsv OUT [--questions 40000] [--seed 0]

A question with a duplicate is a query, its partners are judged documents, duplicates with grade 1 and the others with
0, and other questions fill the corpus up.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from pathlib import Path

import numpy as np


def main() -> None:
    """Write corpus.jsonl, queries.jsonl and qrels/train.tsv."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--questions", type=int, default=40_000, help="of the corpus")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with options.pairs.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    graded: dict[str, dict[str, int]] = defaultdict(dict)
    for row in rows:
        if row["question1"].strip() != row["question2"].strip():
            graded[row["question1"]][row["question2"]] = int(row["is_duplicate"])
    asked = [query for query, grades in graded.items() if query.strip() and any(grades.values())]
    np.random.default_rng(options.seed).shuffle(asked)
    corpus: dict[str, str] = {}  # text to id
    queries: list[str] = []
    for query in asked:
        if len(corpus) >= 0.6 * options.questions:
            break
        queries.append(query)
        for text in graded[query]:
            corpus.setdefault(text, f"d{len(corpus)}")
    chosen = set(queries)
    for row in rows:  # a query itself is no document: it would answer itself
        if len(corpus) >= options.questions:
            break
        if row["question2"] not in chosen and row["question2"].strip():
            corpus.setdefault(row["question2"], f"d{len(corpus)}")
    (options.out / "qrels").mkdir(parents=True, exist_ok=True)
    _write(options.out / "corpus.jsonl", [{"_id": own, "title": "", "text": text} for text, own in corpus.items()])
    _write(options.out / "queries.jsonl", [{"_id": f"q{i}", "text": text} for i, text in enumerate(queries)])
    with (options.out / "qrels" / "train.tsv").open("w", encoding="utf-8") as file:
        file.write("query-id\tcorpus-id\tscore\n")
        for i, query in enumerate(queries):
            file.writelines(f"q{i}\t{corpus[text]}\t{grade}\n" for text, grade in graded[query].items())
    print(f"{len(corpus):,} questions, {len(queries):,} queries")


def _write(path: Path, records: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


if __name__ == "__main__":
    main()
