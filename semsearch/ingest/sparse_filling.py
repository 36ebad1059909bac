"""Sparse vectors for passages that lack them: new and mended ones, all where a collection just got a sparse model.

Each batch is a commit, and what is done is not done again: whoever is interrupted goes on with the same call. Dense
vectors are not touched.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from semsearch.chunking import compose
from semsearch.engine import Engine, SparseStore, SparseView
from semsearch.errors import EncodingFailed
from semsearch.sparse_vectors import SparseEncoder, SparseVectors
from semsearch.types import Keys

log = logging.getLogger("semsearch")

FILLED_PASSAGES = 2_048  # encoded and committed at a time: what an interruption can cost


def fill(engine: Engine, encoder: SparseEncoder, progress: Callable[[int], None] | None = None) -> int:
    """Encode every passage that has no sparse vector; how many got one.

    A text that the model can't encode is told and goes without: it is not found by its sparse vector.

    Args:
        engine: Keeps sparse vectors.
        encoder: The collection's sparse model.
        progress: Called with the number of passages encoded so far.
    """
    assert isinstance(engine, SparseStore), "only such an engine has a sparse model"
    after, count = -1, 0
    while True:
        with engine.view() as view:
            assert isinstance(view, SparseView), "views of such an engine are"
            keys = view.without_sparse(after, FILLED_PASSAGES)
            passages = view.passages_of(keys) if len(keys) else []
        if not len(keys):
            return count
        after = int(keys[-1])  # what is damaged, or can't be encoded, is passed over
        whole = [(key, passage) for key, passage in zip(keys.tolist(), passages, strict=True) if passage is not None]
        made, vectors = _encoded(
            encoder,
            np.array([key for key, _ in whole], dtype=np.int64),
            [compose(passage.title, passage.text) for _, passage in whole],
        )
        count += engine.put_sparse(made, vectors, encoder.fingerprint)
        if progress is not None:
            progress(count)


def _encoded(encoder: SparseEncoder, keys: Keys, texts: list[str]) -> tuple[Keys, SparseVectors]:
    """Those of `keys` whose texts could be encoded, and their vectors."""
    try:
        return keys, encoder.encode_documents(texts)
    except EncodingFailed as error:
        if len(keys) == 1:
            log.warning("a passage gets no sparse vector: %s", error)
            return keys[:0], SparseVectors.of_rows([], encoder.dim)
    half = len(keys) // 2
    parts = [_encoded(encoder, keys[some], texts[some]) for some in (slice(half), slice(half, None))]
    return np.concatenate([own for own, _ in parts]), SparseVectors.joined([own for _, own in parts], encoder.dim)
