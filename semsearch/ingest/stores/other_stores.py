"""The folders of other tools, by the tool's name: what is in them, and whether it arrived."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semsearch.engine import Engine, EngineView
from semsearch.errors import CollectionDamaged, UsageError
from semsearch.ingest.stores.chroma_lancedb import Taken, is_chroma, is_lance, read_chroma, read_lance
from semsearch.ingest.stores.faiss_folders import is_faiss, read_faiss
from semsearch.ingest.stores.sqlite_stores import is_qdrant, is_txtai, read_qdrant, read_txtai
from semsearch.types import Document, Metric, Vectors
from semsearch.vectors import score_pairs, stored_form

TOOLS = {
    "chroma": (is_chroma, read_chroma),
    "lancedb": (is_lance, read_lance),
    "qdrant": (is_qdrant, read_qdrant),
    "faiss": (is_faiss, read_faiss),
    "txtai": (is_txtai, read_txtai),
}
SAMPLED_DOCUMENTS = 20  # whose vectors are asked again
SAMPLED_ANSWERS = 10
SAME_SCORE = 1e-5


def tool_of(path: Path) -> str | None:
    """The tool whose folder (or file) it is; None of another."""
    return next((tool for tool, (is_its, _) in TOOLS.items() if is_its(path)), None)


def read_from(tool: str, path: Path, name: str | None = None) -> Taken:
    """The documents of a tool's folder and their vectors `(n, dim)`.

    Args:
        tool: One of `TOOLS`.
        path: The folder; of LanceDB also that of a table, of FAISS also the index's file.
        name: The collection, table or index in it; may be left out where there is one.

    Raises:
        UsageError: It is no folder of that tool's.
        MissingDependency: The package that reads it is not installed.
        DataError: A record lacks its text or its vector.
    """
    is_its, read = TOOLS[tool]
    if not path.exists():
        raise UsageError(f"'{path}' is not there.")
    if not is_its(path):
        other = tool_of(path)
        raise UsageError(f"'{path}' is no store of {tool}'s" + (f"; it looks like one of {other}'s." if other else "."))
    return read(path, name)


def verify_taken(engine: Engine, documents: Sequence[Document], vectors: NDArray[Any], *, alone: bool) -> int:
    """Hold a collection against what it was made of: all ids, and sampled documents by vector and answers; how many.

    Args:
        engine: What they were put into.
        documents: What was taken.
        vectors: Theirs `(n, dim)`.
        alone: Nothing else is in the collection, so that answers can be held against those over `vectors`.

    Raises:
        CollectionDamaged: It is not the same; says which document.
    """
    last = {document.id: row for row, document in enumerate(documents)}  # of an id that comes twice, the last wins
    ids, rows = list(last), np.fromiter(last.values(), dtype=np.int64)
    count, _ = engine.counts()
    with engine.view() as view:
        keys = view.keys_of(ids)
        missing = next((identity for identity in ids if not keys.get(identity)), None)
        if missing is not None or (alone and count != len(ids)):
            raise _differs(engine, f"it has {count:,} documents, the store {len(ids):,}; {missing!r} is missing")
        metric = Metric(view.settings["metric"])
        given = stored_form(np.asarray(vectors)[rows], view.dim, metric)
        sampled = np.random.default_rng(0).choice(len(ids), min(SAMPLED_DOCUMENTS, len(ids)), replace=False)
        for row in sampled.tolist():
            stored = view.vectors(np.asarray(keys[ids[row]][:1], dtype=np.int64))
            if not np.allclose(stored[0], given[row], rtol=1e-6, atol=1e-6):
                raise _differs(engine, f"the vector of {ids[row]!r} is not what it was")
            if alone and not _same_answers(view, given, row, metric):
                raise _differs(engine, f"the nearest of {ids[row]!r} are others than they were")
    return len(sampled)


def _differs(engine: Engine, what: str) -> CollectionDamaged:
    return CollectionDamaged(f"collection '{engine.name}' is not what was taken in: {what}. Import it again.")


def _same_answers(view: EngineView, given: Vectors, row: int, metric: Metric) -> bool:
    """Whether the nearest of a document have the scores that are computed over all vectors."""
    scores = score_pairs(given[row], given, metric)
    count = min(SAMPLED_ANSWERS, len(given))
    best = np.sort(scores)[::-1][:count]
    (found,) = view.dense(given[row : row + 1], count, allowed=None, exact=True, grouped=True)
    stored = score_pairs(given[row], view.vectors(found.keys), metric)
    return len(stored) == count and bool(np.allclose(np.sort(stored)[::-1], best, rtol=SAME_SCORE, atol=SAME_SCORE))
