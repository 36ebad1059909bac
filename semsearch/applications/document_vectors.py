"""The stored vectors by document: which passage belongs to which, and one vector for each document."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from semsearch.engine import EngineView
from semsearch.errors import DataError
from semsearch.scratch import scratch
from semsearch.types import Metric, Vectors
from semsearch.vectors import in_range, normalise

READ_IDS = 1_000  # documents read together


def passages_with_documents(view: EngineView, ids: Sequence[str]) -> tuple[Vectors, NDArray[np.int64]]:
    """The vectors of all passages `(n, dim)`, perhaps mapped, and for each the place of its document in `ids`.

    -1 for one that is in none of these.
    """
    keys, vectors = view.arrays()
    docs = np.full(len(keys), -1, dtype=np.int64)
    order = np.argsort(keys, kind="stable")
    for start in range(0, len(ids), READ_IDS):
        found = view.keys_of(ids[start : start + READ_IDS])
        pairs = [
            (key, start + at) for at, one in enumerate(ids[start : start + READ_IDS]) for key in found.get(one, ())
        ]
        if pairs:
            asked, numbers = np.array(pairs, dtype=np.int64).T
            docs[order[np.searchsorted(keys, asked, sorter=order)]] = numbers
    return vectors, docs


def document_vectors(view: EngineView) -> tuple[list[str], Vectors]:
    """The ids of all documents that have a passage, and a vector of each `(documents, dim)`.

    That of several passages is their mean, of unit length unless distances are compared.

    Raises:
        DataError: A stored vector holds NaN or infinite numbers.
    """
    ids = list(view.ids(None))
    vectors, docs = passages_with_documents(view, ids)
    for start in range(0, len(vectors), READ_IDS):
        if not in_range(vectors[start : start + READ_IDS]):
            raise DataError("a stored vector holds NaN, infinite or far too large numbers: 'semsearch check' names it.")
    metric = Metric(view.settings["metric"])
    single = len(docs) == len(ids) and np.array_equal(docs, np.arange(len(ids)))
    if single and metric != Metric.DOT:
        return ids, vectors
    order = np.argsort(docs, kind="stable")
    order = order[docs[order] >= 0]
    there, begins = np.unique(docs[order], return_index=True)
    made = scratch((len(there), view.dim), np.float32)
    ends = np.append(begins[1:], len(order))
    for start in range(0, len(there), READ_IDS):
        first, last = begins[start], ends[min(start + READ_IDS, len(there)) - 1]
        part = vectors[order[first:last]].astype(np.float64)
        sums = np.add.reduceat(part, begins[start : start + READ_IDS] - first, axis=0)
        counts = (ends - begins)[start : start + READ_IDS]
        made[start : start + READ_IDS] = (sums / counts[:, None]).astype(np.float32)
        if metric != Metric.L2:
            made[start : start + READ_IDS] = normalise(made[start : start + READ_IDS])
    return [ids[number] for number in there.tolist()], made
