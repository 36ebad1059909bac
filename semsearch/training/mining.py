"""Candidates for each query: what a first stage finds is what a reranker must tell apart.

The nearest documents by the encoder, or what a collection answers; those that are not judged relevant are the hard
negatives. The encoder's similarities are kept besides, for a loss that listens to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from semsearch.arrays import read_archive
from semsearch.errors import DataError
from semsearch.training.judged import Judged
from semsearch.types import Encoder, Hit, Vectors

MINED_QUERIES = 256  # whose similarities to all documents are held at a time


class FirstStage(Protocol):
    """What finds the candidates: a `semsearch.Collection`."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    def search(self, query: str, *, k: int) -> Sequence[Hit]:
        """The `k` best documents."""
        ...


@dataclass(frozen=True)
class MinedCandidates:
    """What a first stage finds for the `q` queries of a data set, best first."""

    rows: NDArray[np.int64]  # (q, depth) documents; -1 where there are no more
    query_vectors: Vectors  # (q, dim)
    vectors: Vectors  # (documents, dim)

    def similarities(self, query: int, rows: Sequence[int]) -> NDArray[np.float32]:
        """The encoder's, (len(rows),)."""
        found: NDArray[np.float32] = self.vectors[list(rows)] @ self.query_vectors[query]
        return found


def mine(
    judged: Judged,
    encoder: Encoder,
    depth: int,
    *,
    collection: FirstStage | None = None,
    cache: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> MinedCandidates:
    """Candidates for every query of a data set.

    Args:
        judged: The data.
        encoder: Gives the vectors.
        depth: Candidates of a query.
        collection: Ask this one instead; its documents must have the ids of the data's.
        cache: A file (.npz) that keeps what was computed, for the next time.
        say: Is told what is done.

    Raises:
        DataError: The collection finds nothing that the data knows.
    """
    if cache is not None and cache.is_file():
        kept = read_archive(cache)
        names = [field.name for field in fields(MinedCandidates)]
        if missing := [name for name in names if name not in kept]:
            raise DataError(f"{cache} lacks {', '.join(missing)}: it keeps something else; name another file.")
        found = MinedCandidates(**{name: kept[name] for name in names})
        if len(found.rows) == len(judged.queries) and len(found.vectors) == len(judged.texts):
            return found
    say(f"{judged.name}: encoding {len(judged.texts):,} documents and {len(judged.queries):,} queries.")
    vectors = encoder.encode_documents(judged.texts)
    queries = encoder.encode_queries(judged.queries)
    rows = _asked(judged, collection, depth) if collection is not None else _nearest(queries, vectors, depth)
    if cache is not None:
        whole = cache.with_name(f"{cache.stem}.part.npz")
        np.savez(whole, rows=rows, query_vectors=queries, vectors=vectors)
        whole.replace(cache)
    return MinedCandidates(rows, queries, vectors)


def _nearest(queries: Vectors, vectors: Vectors, depth: int) -> NDArray[np.int64]:
    """Rows of the `depth` nearest vectors, by inner product, best first."""
    depth = min(depth, len(vectors))
    found = np.empty((len(queries), depth), np.int64)
    for start in range(0, len(queries), MINED_QUERIES):
        scores = queries[start : start + MINED_QUERIES] @ vectors.T
        best = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
        order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable")
        found[start : start + MINED_QUERIES] = np.take_along_axis(best, order, 1)
    return found


def _asked(judged: Judged, collection: FirstStage, depth: int) -> NDArray[np.int64]:
    """Rows of what a collection finds."""
    known = {identity: row for row, identity in enumerate(judged.ids)}
    rows = np.full((len(judged.queries), depth), -1, np.int64)
    for place, query in enumerate(judged.queries):
        ids = [hit.id for hit in collection.search(query, k=depth)]
        own = [known[identity] for identity in ids if identity in known]
        rows[place, : len(own)] = own
    if (rows < 0).all():
        raise DataError(
            f"the collection '{collection.name}' finds no document of {judged.name}: it must hold the same documents, "
            "under the same ids."
        )
    return rows
