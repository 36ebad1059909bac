"""Real vectors for the benchmarks: the distinct Quora questions of SEMSEARCH_DATA through all-MiniLM-L6-v2.

Encoding 137,551 questions takes minutes, so they are kept in the file that `--vectors` names.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

import semsearch
from semsearch.types import Vectors
from semsearch.vectors import normalise


def question_vectors(file: Path) -> Vectors:
    """The vectors in `file` `(n, dim)`, encoded and written first if it isn't there."""
    if not file.exists():
        pairs = Path(os.environ["SEMSEARCH_DATA"]) / "quora-pairs.tsv"
        questions: dict[str, None] = {}
        with pairs.open(encoding="utf-8") as lines:
            next(lines)
            for line in lines:
                questions.update(dict.fromkeys(line.rstrip("\n").split("\t")[:2]))
        np.save(file, semsearch.load_encoder("all-MiniLM-L6-v2").encode_documents(list(questions)))
    return np.load(file)


def stored_and_asked(file: Path, rows: int, queries: int = 2048) -> tuple[Vectors, Vectors]:
    """`rows` vectors to store and real questions to ask, none of which is stored.

    Beyond the real ones, rows are points between two real ones with some noise, normalised: a denser crowd of the same
    shape.
    """
    real = question_vectors(file)
    rng = np.random.default_rng(0)
    real = real[rng.permutation(len(real))]
    asked, real = np.ascontiguousarray(real[:queries]), real[queries:]
    if rows <= len(real):
        return np.ascontiguousarray(real[:rows]), asked
    stored = np.empty((rows, real.shape[1]), dtype=np.float32)
    stored[: len(real)] = real
    for start in range(len(real), rows, 1 << 16):
        count = min(1 << 16, rows - start)
        one, other = (real[rng.integers(0, len(real), count)] for _ in range(2))
        share = rng.uniform(0, 0.5, (count, 1)).astype(np.float32)
        noise = rng.standard_normal(one.shape, dtype=np.float32) * np.float32(0.01)
        stored[start : start + count] = normalise((1 - share) * one + share * other + noise)
    return stored, asked
