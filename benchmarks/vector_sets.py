"""Vectors to measure on: real questions of our own making, or the field's sets from their files.

`--vectors` names one of

- `questions.npy`: the distinct Quora questions of SEMSEARCH_DATA through all-MiniLM-L6-v2, encoded and written first if
  the file isn't there (137,551 of them take minutes). Without SEMSEARCH_DATA, in the file `samples.npy` beside it, the
  sentences of the shipped samples, which are few.
- any other `.npy` `(n, dim)`.
- `.hdf5`: a set of ann-benchmarks: `train` is stored, `test` is asked, `neighbors` is the truth, and the attribute
  `distance` says how they are compared.
- `NAME_base.fvecs` (or `.bvecs`): a set of corpus-texmex, Euclidean, with `NAME_query.fvecs` and, if it is there,
  `NAME_groundtruth.ivecs` beside it.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from texts import short_texts

import semsearch
from semsearch.types import Metric, Vectors
from semsearch.vectors import normalise

DEFAULT = Path("build") / "questions.npy"
ASKED = 2048
DISTANCES = {"angular": Metric.COSINE, "euclidean": Metric.L2, "dot": Metric.DOT, "ip": Metric.DOT}


@dataclass(frozen=True)
class VectorSet:
    """Vectors to store and to ask, none of the asked being stored."""

    name: str
    stored: Vectors  # (n, dim)
    asked: Vectors  # (q, dim)
    metric: Metric = Metric.COSINE
    truth: NDArray[np.integer] | None = None  # (q, k): rows of the nearest, best first, as the set's authors tell them


def vector_set(file: Path, rows: int | None = None, asked: int = ASKED) -> VectorSet:
    """`rows` vectors of `file` (None: all) and at most `asked` queries.

    Only a set of `.npy` vectors can be asked for more rows than it has: the others are points between two real ones
    with some noise, normalised, a denser crowd of the same shape. The authors' truth holds for a whole set only.

    Raises:
        SystemExit: A file that can't be read, with the reason.
    """
    suffix = file.suffix.lower()
    if suffix in (".hdf5", ".h5"):
        found = _of_hdf5(file)
    elif suffix in (".fvecs", ".bvecs"):
        found = _of_texmex(file)
    else:
        return _of_npy(file, rows, asked)
    whole = rows is None or rows >= len(found.stored)
    return VectorSet(
        found.name,
        np.ascontiguousarray(found.stored if whole else found.stored[:rows]),
        np.ascontiguousarray(found.asked[:asked]),
        found.metric,
        found.truth[:asked] if whole and found.truth is not None else None,
    )


def _of_hdf5(file: Path) -> VectorSet:
    import h5py

    with h5py.File(file) as content:
        distance = str(content.attrs.get("distance", "angular"))
        if distance not in DISTANCES:
            sys.exit(f"{file}: the distance {distance!r} is none of {', '.join(DISTANCES)}.")
        metric = DISTANCES[distance]
        stored, asked = (np.asarray(content[name], dtype=np.float32) for name in ("train", "test"))
        truth = np.asarray(content["neighbors"]) if "neighbors" in content else None
    if metric is Metric.COSINE:
        stored, asked = normalise(stored), normalise(asked)
    return VectorSet(file.stem, stored, asked, metric, truth)


def _of_texmex(file: Path) -> VectorSet:
    name, found = re.subn(r"_(base|learn)$", "", file.stem)
    queries = file.with_name(f"{name}_query{file.suffix}")
    if not found or not queries.exists():
        sys.exit(f"{file}: the queries are looked for in {queries.name} beside it, and aren't there.")
    truth = file.with_name(f"{name}_groundtruth.ivecs")
    return VectorSet(name, read_vecs(file), read_vecs(queries), Metric.L2, read_vecs(truth) if truth.exists() else None)


def read_vecs(file: Path) -> NDArray[np.generic]:
    """The rows of an `.fvecs` (float32), `.ivecs` (int32) or `.bvecs` (bytes, given as float32) file, `(n, dim)`.

    Each row is its dimension as a little-endian int32, then its components (http://corpus-texmex.irisa.fr).
    """
    kind = np.dtype({".fvecs": "<f4", ".ivecs": "<i4", ".bvecs": "u1"}[file.suffix.lower()])
    raw = np.fromfile(file, dtype=np.uint8)
    dim = int(raw[:4].view("<i4")[0]) if len(raw) >= 4 else 0
    width = 4 + dim * kind.itemsize
    if dim < 1 or len(raw) % width:
        sys.exit(f"{file}: {len(raw):,} bytes are no whole number of rows of dimension {dim}.")
    rows = raw.reshape(-1, width)
    if (rows[:, :4].copy().view("<i4") != dim).any():
        sys.exit(f"{file}: its rows have different dimensions.")
    values = rows[:, 4:].copy().view(kind)
    return values.astype(np.float32) if kind == np.uint8 else values


def _of_npy(file: Path, rows: int | None, asked: int) -> VectorSet:
    real = encoded(file)
    rng = np.random.default_rng(0)
    real = real[rng.permutation(len(real))]
    asked = min(asked, len(real) // 10)
    queries, real = np.ascontiguousarray(real[:asked]), real[asked:]
    if rows is None or rows <= len(real):
        return VectorSet(file.stem, np.ascontiguousarray(real[:rows]), queries)
    stored = np.empty((rows, real.shape[1]), dtype=np.float32)
    stored[: len(real)] = real
    for start in range(len(real), rows, 1 << 16):
        count = min(1 << 16, rows - start)
        one, other = (real[rng.integers(0, len(real), count)] for _ in range(2))
        share = rng.uniform(0, 0.5, (count, 1)).astype(np.float32)
        noise = rng.standard_normal(one.shape, dtype=np.float32) * np.float32(0.01)
        stored[start : start + count] = normalise((1 - share) * one + share * other + noise)
    return VectorSet(f"{file.stem}, {rows - len(real):,} between them", stored, queries)


def encoded(file: Path = DEFAULT) -> Vectors:
    """The vectors in `file` `(n, dim)`, mapped; if it isn't there, those of `short_texts()`, encoded and written."""
    if not file.exists() and not os.environ.get("SEMSEARCH_DATA"):
        file = file.with_name("samples.npy")
    if not file.exists():
        texts = short_texts()
        print(f"encoding {len(texts):,} texts into {file}", file=sys.stderr)
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, semsearch.load_encoder("all-MiniLM-L6-v2").encode_documents(texts))
    return np.load(file, mmap_mode="r")
