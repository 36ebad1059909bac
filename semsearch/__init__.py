"""Semantic search you can trust: point it at a corpus, ask in your own words.

>>> import semsearch
>>> with semsearch.create("notes") as notes:                       # doctest: +SKIP
...     notes.add([semsearch.Document("1", "The cat sleeps.")])
...     notes.search("a dozing pet", k=1)[0].text
'The cat sleeps.'

Importing this loads neither torch nor any other heavy library; what is used is loaded when it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from semsearch import hardware as processes  # noqa: F401  (it notes which process this is before a library starts threads)
from semsearch.errors import SemsearchError
from semsearch.types import Document, Encoder, Hit, Metric, Neighbors
from semsearch.vector_index import VectorIndex

if TYPE_CHECKING:
    from semsearch.collection import Collection
    from semsearch.encoder.load import load_encoder
    from semsearch.encoder.own import encoder_from
    from semsearch.opening import create, drop, list_collections, open, restore
    from semsearch.reranker.load import load_reranker

__version__ = "0.1.0"
__all__ = [
    "Collection",
    "Document",
    "Encoder",
    "Hit",
    "Metric",
    "Neighbors",
    "SemsearchError",
    "VectorIndex",
    "create",
    "drop",
    "encoder_from",
    "list_collections",
    "load_encoder",
    "load_reranker",
    "open",
    "restore",
]

_LAZY = {
    "Collection": "semsearch.collection",
    "create": "semsearch.opening",
    "drop": "semsearch.opening",
    "list_collections": "semsearch.opening",
    "open": "semsearch.opening",
    "restore": "semsearch.opening",
    "encoder_from": "semsearch.encoder.own",
    "load_encoder": "semsearch.encoder.load",
    "load_reranker": "semsearch.reranker.load",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'semsearch' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
