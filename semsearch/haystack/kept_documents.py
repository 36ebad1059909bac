"""Haystack's documents as semsearch keeps them, and back: whatever they hold comes back as it was.

What a stored document has no place for (an embedding in the caller's own precision, a blob, a content that is None) is
one field of metadata: a list with a map in it, within which no filter looks.
"""

from __future__ import annotations

import base64
from typing import Any, Final

import numpy as np
from haystack import Document as HaystackDocument
from haystack.dataclasses import ByteStream, SparseEmbedding

from semsearch.adaptors.unseen_text import seen
from semsearch.errors import DataError
from semsearch.types import Document

REST: Final = "_haystack"
UNEMBEDDED: Final = "_haystack_unembedded"  # true where nothing gave the document a vector of its own


def kept_document(given: HaystackDocument, *, unembedded: bool) -> Document:
    """What is stored for a document of Haystack's.

    Raises:
        DataError: Its content is no text, or its meta have a field of the adaptor's own.
    """
    if own := next((name for name in (REST, UNEMBEDDED) if name in given.meta), None):
        raise DataError(f"document {given.id!r:.100}: {own!r} in the meta is a field of the adaptor's own.")
    content = given.content or ""
    kept = seen(content)
    rest: dict[str, Any] = {}
    if kept != given.content:
        rest["content"] = given.content
    if given.embedding is not None:
        rest["embedding"] = _packed(given.embedding)
    if given.blob is not None:
        rest["blob"] = {
            "data": base64.b64encode(given.blob.data).decode(),
            "meta": given.blob.meta,
            "mime_type": given.blob.mime_type,
        }
    if given.sparse_embedding is not None:
        rest["sparse_embedding"] = [given.sparse_embedding.to_dict()]
    if given.score is not None:
        rest["score"] = given.score
    metadata = dict(given.meta)
    if rest:
        metadata[REST] = [rest]
    if unembedded:
        metadata[UNEMBEDDED] = True
    return Document(given.id, kept, metadata=metadata)


def haystack_document(
    stored: Document, score: float | None = None, *, return_embedding: bool = True
) -> HaystackDocument:
    """The document of Haystack's that is stored; a title that something else gave it stands in its meta."""
    meta = {name: value for name, value in stored.metadata.items() if name not in (REST, UNEMBEDDED)}
    if stored.title:
        meta.setdefault("title", stored.title)
    (rest,) = stored.metadata.get(REST, ({},))
    blob, sparse, embedding = rest.get("blob"), rest.get("sparse_embedding"), rest.get("embedding")
    return HaystackDocument(
        id=stored.id,
        content=rest.get("content", stored.text) if "content" in rest else stored.text,
        blob=None if blob is None else ByteStream(base64.b64decode(blob["data"]), blob["meta"], blob["mime_type"]),
        meta=meta,
        score=rest.get("score") if score is None else score,
        embedding=_unpacked(embedding) if embedding is not None and return_embedding else None,
        sparse_embedding=None if sparse is None else SparseEmbedding.from_dict(sparse[0]),
    )


def _packed(embedding: Any) -> list[str]:
    """Numbers in single precision where that says the same, else in double."""
    exact = np.asarray(embedding, dtype=np.float64)
    single = exact.astype(np.float32)
    stored = single if np.array_equal(single.astype(np.float64), exact) else exact
    return [stored.dtype.name, base64.b64encode(stored.tobytes()).decode()]


def _unpacked(packed: list[str]) -> list[float]:
    kind, data = packed
    found: list[float] = np.frombuffer(base64.b64decode(data), dtype=kind).tolist()
    return found
