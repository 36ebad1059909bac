"""The figure that published encoders give for themselves: STS benchmark, test part."""

import csv
import gzip

import numpy as np


def sts_benchmark(encoder, data):
    """100 times the rank correlation of the test pairs' cosines with their judgements."""
    with gzip.open(data / "stsbenchmark.tsv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row["split"] == "test"]
    assert len(rows) == 1379
    first = encoder.encode_documents([row["sentence1"] for row in rows]).astype(np.float64)
    second = encoder.encode_documents([row["sentence2"] for row in rows]).astype(np.float64)
    cosines = (first * second).sum(axis=1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    return 100 * spearman(cosines, np.array([float(row["score"]) for row in rows]))


def spearman(left, right):
    """Rank correlation, ties sharing their mean rank."""

    def ranks(values):
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        return (np.cumsum(counts) - (counts - 1) / 2)[inverse]

    return np.corrcoef(ranks(left), ranks(right))[0, 1]
