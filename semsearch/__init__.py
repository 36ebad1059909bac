"""Semantic search you can trust: point it at a corpus, ask in your own words.

>>> import semsearch
>>> with semsearch.create("notes") as notes:                       # doctest: +SKIP
...     notes.add([semsearch.Document("1", "The cat sleeps.")])
...     notes.search("a dozing pet", k=1)[0].text
'The cat sleeps.'

Importing this loads nothing but this: what is used is loaded when it is used.
"""

from __future__ import annotations

from semsearch import process  # noqa: F401  (it notes which process this is before a library starts threads)

TYPE_CHECKING = False  # as type checkers take it; importing typing takes as long as all else here
if TYPE_CHECKING:
    from typing import Any

    from semsearch.applications.bitext import bitext
    from semsearch.applications.classification import classify
    from semsearch.applications.clusters import clusters
    from semsearch.applications.communities import communities
    from semsearch.applications.pairs import pairs
    from semsearch.applications.planar_layout import layout
    from semsearch.applications.similarity import similarity
    from semsearch.collection import Collection
    from semsearch.encoder.load import load_encoder
    from semsearch.encoder.multi_vector_encoder import load_multi_vector_encoder
    from semsearch.encoder.own import encoder_from
    from semsearch.encoder.sparse_encoder import load_sparse_encoder
    from semsearch.engine import Compacted, Problem
    from semsearch.errors import (
        CollectionClosed,
        CollectionDamaged,
        CollectionError,
        CollectionExists,
        CollectionLocked,
        CollectionNotFound,
        DataError,
        DimensionMismatch,
        DocumentChanged,
        DocumentNotFound,
        EncodingFailed,
        EngineUnreachable,
        FilterError,
        IndexDamaged,
        IndexForeign,
        MissingDependency,
        ModelError,
        ModelMismatch,
        ReadOnly,
        SemsearchError,
        StorageError,
        Untrusted,
        UsageError,
    )
    from semsearch.evaluation.sts import sts
    from semsearch.federation import Federation, search
    from semsearch.home import Home
    from semsearch.ingest.ingestion import IngestResult, Progress
    from semsearch.ingest.pictures import read_image
    from semsearch.ingest.source import Source
    from semsearch.ingest.sync import Synced
    from semsearch.opening import copy, create, drop, list_collections, open, restore
    from semsearch.parts.part_encoding import EncodedParts, encode
    from semsearch.places import Place
    from semsearch.reranker.load import load_reranker
    from semsearch.search.calibration import Calibration
    from semsearch.search.recall import Certificate
    from semsearch.sparse_vectors import SparseVectors
    from semsearch.training.encoder_training import train
    from semsearch.types import (
        Document,
        Encoder,
        Explanation,
        Hit,
        Hits,
        ImageDocument,
        Metric,
        Neighbors,
        Passage,
        Reranker,
    )
    from semsearch.vector_index import VectorIndex

__version__ = "0.1.0"

_LAZY = {  # loaded when it is used
    "Calibration": "semsearch.search.calibration",
    "Certificate": "semsearch.search.recall",
    "Collection": "semsearch.collection",
    "CollectionClosed": "semsearch.errors",
    "CollectionDamaged": "semsearch.errors",
    "CollectionError": "semsearch.errors",
    "CollectionExists": "semsearch.errors",
    "CollectionLocked": "semsearch.errors",
    "CollectionNotFound": "semsearch.errors",
    "Compacted": "semsearch.engine",
    "DataError": "semsearch.errors",
    "DimensionMismatch": "semsearch.errors",
    "Document": "semsearch.types",
    "DocumentChanged": "semsearch.errors",
    "DocumentNotFound": "semsearch.errors",
    "Encoder": "semsearch.types",
    "EncodedParts": "semsearch.parts.part_encoding",
    "EncodingFailed": "semsearch.errors",
    "EngineUnreachable": "semsearch.errors",
    "Explanation": "semsearch.types",
    "Federation": "semsearch.federation",
    "FilterError": "semsearch.errors",
    "Hit": "semsearch.types",
    "Hits": "semsearch.types",
    "ImageDocument": "semsearch.types",
    "Home": "semsearch.home",
    "IndexDamaged": "semsearch.errors",
    "IndexForeign": "semsearch.errors",
    "IngestResult": "semsearch.ingest.ingestion",
    "Metric": "semsearch.types",
    "MissingDependency": "semsearch.errors",
    "ModelError": "semsearch.errors",
    "ModelMismatch": "semsearch.errors",
    "Neighbors": "semsearch.types",
    "Passage": "semsearch.types",
    "Place": "semsearch.places",
    "Problem": "semsearch.engine",
    "Progress": "semsearch.ingest.ingestion",
    "ReadOnly": "semsearch.errors",
    "Reranker": "semsearch.types",
    "SemsearchError": "semsearch.errors",
    "Source": "semsearch.ingest.source",
    "SparseVectors": "semsearch.sparse_vectors",
    "StorageError": "semsearch.errors",
    "Synced": "semsearch.ingest.sync",
    "Untrusted": "semsearch.errors",
    "UsageError": "semsearch.errors",
    "VectorIndex": "semsearch.vector_index",
    "bitext": "semsearch.applications.bitext",
    "classify": "semsearch.applications.classification",
    "clusters": "semsearch.applications.clusters",
    "communities": "semsearch.applications.communities",
    "copy": "semsearch.opening",
    "create": "semsearch.opening",
    "drop": "semsearch.opening",
    "encode": "semsearch.parts.part_encoding",
    "encoder_from": "semsearch.encoder.own",
    "layout": "semsearch.applications.planar_layout",
    "list_collections": "semsearch.opening",
    "load_encoder": "semsearch.encoder.load",
    "load_multi_vector_encoder": "semsearch.encoder.multi_vector_encoder",
    "load_reranker": "semsearch.reranker.load",
    "load_sparse_encoder": "semsearch.encoder.sparse_encoder",
    "open": "semsearch.opening",
    "pairs": "semsearch.applications.pairs",
    "read_image": "semsearch.ingest.pictures",
    "restore": "semsearch.opening",
    "similarity": "semsearch.applications.similarity",
    "sts": "semsearch.evaluation.sts",
    "train": "semsearch.training.encoder_training",
}

__all__ = [
    "Calibration",
    "Certificate",
    "Collection",
    "CollectionClosed",
    "CollectionDamaged",
    "CollectionError",
    "CollectionExists",
    "CollectionLocked",
    "CollectionNotFound",
    "Compacted",
    "DataError",
    "DimensionMismatch",
    "Document",
    "DocumentChanged",
    "DocumentNotFound",
    "EncodedParts",
    "Encoder",
    "EncodingFailed",
    "EngineUnreachable",
    "Explanation",
    "Federation",
    "FilterError",
    "Hit",
    "Hits",
    "Home",
    "ImageDocument",
    "IndexDamaged",
    "IndexForeign",
    "IngestResult",
    "Metric",
    "MissingDependency",
    "ModelError",
    "ModelMismatch",
    "Neighbors",
    "Passage",
    "Place",
    "Problem",
    "Progress",
    "ReadOnly",
    "Reranker",
    "SemsearchError",
    "Source",
    "SparseVectors",
    "StorageError",
    "Synced",
    "Untrusted",
    "UsageError",
    "VectorIndex",
    "bitext",
    "classify",
    "clusters",
    "communities",
    "copy",
    "create",
    "drop",
    "encode",
    "encoder_from",
    "layout",
    "list_collections",
    "load_encoder",
    "load_multi_vector_encoder",
    "load_reranker",
    "load_sparse_encoder",
    "open",
    "pairs",
    "read_image",
    "restore",
    "search",
    "similarity",
    "sts",
    "train",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "search":  # the package, which can be called
        return import_module("semsearch.search")
    if name in _LAZY:
        found = globals()[name] = getattr(import_module(_LAZY[name]), name)
        return found
    raise AttributeError(f"module 'semsearch' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
