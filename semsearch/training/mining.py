"""Candidates for each query: what a first stage finds is what a reranker must tell apart.

They are what a collection answers, or, where there is none, a collection made of the data for this; those that are not
judged relevant are the hard negatives. The first stage's scores are kept with them, since the reranker is weighed
against it in the end, and so are the encoder's vectors, for a loss that listens to them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semsearch.arrays import read_archive
from semsearch.collection import Collection
from semsearch.engine import fingerprint
from semsearch.errors import DataError
from semsearch.opening import create
from semsearch.training.judged import Judged
from semsearch.types import Document, Encoder, Vectors

ASKED_TOGETHER = 64  # queries
SCALE = 20.0  # of cosines, for the order that an encoder gives: what such encoders are trained with


@dataclass(frozen=True)
class MinedCandidates:
    """What a first stage finds for the `q` queries of a data set, best first."""

    rows: NDArray[np.int64]  # (q, depth) documents; -1 where there are no more
    scores: NDArray[np.float32]  # (q, depth) of the first stage; 0 where there are no more
    query_vectors: Vectors  # (q, dim)
    vectors: Vectors  # (documents, dim)

    def similarities(self, query: int, rows: Sequence[int]) -> NDArray[np.float32]:
        """The encoder's, (len(rows),)."""
        found: NDArray[np.float32] = self.vectors[list(rows)] @ self.query_vectors[query]
        return found

    def without(self, withheld: Mapping[int, Set[int]]) -> MinedCandidates:
        """Without some rows of some queries; what comes behind them moves up."""
        rows, scores = self.rows.copy(), self.scores.copy()
        for query, own in withheld.items():
            kept = ~np.isin(self.rows[query], list(own))
            count = int(kept.sum())
            rows[query, :count], scores[query, :count] = self.rows[query][kept], self.scores[query][kept]
            rows[query, count:], scores[query, count:] = -1, 0
        return replace(self, rows=rows, scores=scores)


def mine(
    judged: Judged,
    encoder: Encoder,
    depth: int,
    *,
    mode: str = "hybrid",
    collection: Collection | None = None,
    cache: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> MinedCandidates:
    """Candidates for every query of a data set.

    Args:
        judged: The data.
        encoder: Gives the vectors.
        depth: Candidates of a query.
        mode: How they are searched for: "dense", "lexical" or "hybrid".
        collection: Ask this one; its documents must have the ids of the data's. None makes one of the data.
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
    known = None if collection is None else _stored(judged, encoder, collection)
    if known is None:
        say(f"{judged.name}: encoding {len(judged.texts):,} documents and {len(judged.queries):,} queries.")
    vectors = encoder.encode_documents(judged.texts) if known is None else known
    queries = encoder.encode_queries(judged.queries)
    if collection is not None:
        rows, scores = _asked(judged, collection, depth, mode=mode)
    else:
        rows, scores = _made(judged, encoder, vectors, queries, depth, mode)
    if cache is not None:
        whole = cache.with_name(f"{cache.stem}.part.npz")
        np.savez(whole, rows=rows, scores=scores, query_vectors=queries, vectors=vectors)
        whole.replace(cache)
    return MinedCandidates(rows, scores, queries, vectors)


def _stored(judged: Judged, encoder: Encoder, collection: Collection) -> Vectors | None:
    """The first passage's vector of each document, which has as much of it as the encoder reads.

    None where the collection is of another model, or lacks one of them.
    """
    if fingerprint(collection.settings) != encoder.fingerprint:
        return None
    found = collection.vectors(judged.ids)
    if any(own is None or not len(own) for own in found):
        return None
    return np.stack([own[0] for own in found if own is not None])


def _made(
    judged: Judged, encoder: Encoder, vectors: Vectors, queries: Vectors, depth: int, mode: str
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """What a collection of whole documents answers that is there for this alone."""
    written = [row for row, text in enumerate(judged.texts) if text.strip()]
    with (
        tempfile.TemporaryDirectory(prefix="semsearch-") as home,
        create("candidates", encoder=encoder, home=home, passages=False) as collection,
    ):
        documents = [Document(judged.ids[row], judged.texts[row]) for row in written]
        collection.add(documents, vectors=vectors[written])
        given = None if mode == "lexical" else queries
        return _asked(judged, collection, depth, mode=mode, vectors=given)


def _asked(
    judged: Judged, collection: Collection, depth: int, *, mode: str, vectors: Vectors | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows of what a collection finds, and their scores."""
    known = {identity: row for row, identity in enumerate(judged.ids)}
    rows = np.full((len(judged.queries), depth), -1, np.int64)
    scores = np.zeros((len(judged.queries), depth), np.float32)
    for start in range(0, len(judged.queries), ASKED_TOGETHER):
        own = slice(start, start + ASKED_TOGETHER)
        given = None if vectors is None else vectors[own]
        answers = collection.search_many(judged.queries[own], depth, mode=mode, vectors=given)
        for place, hits in enumerate(answers, start):
            found = [(known[hit.id], hit.score) for hit in hits if hit.id in known]
            rows[place, : len(found)] = [row for row, _ in found]
            scores[place, : len(found)] = [score for _, score in found]
    if (rows < 0).all():
        raise DataError(
            f"the collection '{collection.name}' finds no document of {judged.name}: it must hold the same documents, "
            "under the same ids."
        )
    return rows, scores
