"""What an engine that keeps sparse vectors is asked over HTTP: see `semsearch.server.engine_methods`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from semsearch import engine_wire as ew
from semsearch.collection import Collection
from semsearch.engine import SPARSE, EngineView, SparseStore, SparseView
from semsearch.errors import DataError, DimensionMismatch, DocumentChanged, ModelMismatch, UsageError
from semsearch.server.engine_methods import (
    MOST_CANDIDATES,
    EngineMethod,
    allowed_of,
    in_view,
    known_keys,
    most_of,
)
from semsearch.server.operations import Call
from semsearch.sparse_vectors import SparseEncoder, SparseVectors

AskedFacts = Mapping[str, Any]


def _store(collection: Collection) -> SparseStore:
    if not isinstance(collection.engine, SparseStore):
        raise UsageError(f"the server's collection '{collection.name}' keeps no sparse vectors.")
    return collection.engine


def _view(view: EngineView) -> SparseView:
    if not isinstance(view, SparseView) or SPARSE not in view.settings:
        raise DocumentChanged("the collection has no sparse vectors any more: search again.")
    return view


def _vectors(said: Any, settings: Mapping[str, Any]) -> SparseVectors:
    vectors, dim = ew.read_sparse(said), int(settings[SPARSE]["dim"])
    if vectors.dim != dim:
        raise DimensionMismatch(f"sparse vectors of {vectors.dim:,} components came where there are {dim:,}.")
    return vectors


# Reading


def _sparse(view: EngineView, facts: AskedFacts) -> Any:
    own, query = _view(view), _vectors(facts["query"], view.settings)
    if len(query) != 1:
        raise DataError(f"one sparse vector is asked with at a time, not {len(query):,}.")
    found = own.sparse(query, most_of(view, facts), allowed=allowed_of(view, facts), grouped=bool(facts["grouped"]))
    return ew.candidates_json(found)


def _sparse_vectors(view: EngineView, facts: AskedFacts) -> Any:
    keys, _ = known_keys(view, facts)
    return ew.sparse_json(_view(view).sparse_vectors(keys))


def _without_sparse(view: EngineView, facts: AskedFacts) -> Any:
    most = min(int(facts["most"]), MOST_CANDIDATES)
    return ew.pack(np.asarray(_view(view).without_sparse(int(facts["after"]), most), dtype=np.int64))


# The model


def _encoder(collection: Collection, facts: AskedFacts) -> SparseEncoder:
    encoder = collection.sparse_encoder
    if facts.get("fingerprint") not in (None, encoder.fingerprint):
        raise DocumentChanged("the collection got another sparse model meanwhile: open it again.")
    return encoder


def _sparse_model(call: Call[Any], collection: Collection, facts: AskedFacts) -> Any:
    encoder = _encoder(collection, facts)
    return {
        "name": encoder.name,
        "dim": encoder.dim,
        "fingerprint": encoder.fingerprint,
        "description": encoder.description(),
    }


def _sparse_words(call: Call[Any], collection: Collection, facts: AskedFacts) -> list[str]:
    encoder = _encoder(collection, facts)
    return [encoder.word(component) for component in range(encoder.dim)]


def _encode_sparse(call: Call[Any], collection: Collection, facts: AskedFacts) -> Any:
    texts, role = ew.strings(facts["texts"], "texts"), facts["role"]
    if role not in ("query", "document"):
        raise UsageError("a role is 'query' or 'document'.")
    if len(texts) > call.service.options.max_queries:
        raise UsageError(f"at most {call.service.options.max_queries:,} texts are encoded at once.")
    queue = call.service.queues.of_sparse(_encoder(collection, facts), role)
    return ew.sparse_json(queue.vectors(texts, call.gone))


# Writing


def _begin_sparse(call: Call[Any], collection: Collection, facts: AskedFacts) -> None:
    """The model is one that the server was started with, and the same one."""
    described = dict(facts["described"])
    own = call.service.sparse_encoder(str(described["name"]))
    if own.fingerprint != described["fingerprint"] or own.dim != described["dim"]:
        raise ModelMismatch(
            f"the server's model '{own.name}' is another than the one of that name elsewhere: their weights or "
            "settings differ."
        )
    _store(collection).begin_sparse(described)


def _put_sparse(call: Call[Any], collection: Collection, facts: AskedFacts) -> int:
    keys = ew.unpack_keys(facts["keys"])
    settings = collection.settings
    if SPARSE not in settings:
        raise ModelMismatch(f"the collection '{collection.name}' has no sparse model any more.")
    vectors = _vectors(facts["vectors"], settings)
    if len(keys) != len(vectors):
        raise DimensionMismatch(f"{len(vectors):,} sparse vectors came with {len(keys):,} keys.")
    done = _store(collection).put_sparse(keys, vectors, str(facts["model"]))
    call.service.maintain(call.collection)
    return done


def _end_sparse(call: Call[Any], collection: Collection, facts: AskedFacts) -> None:
    _store(collection).end_sparse()


SPARSE_METHODS: Mapping[str, EngineMethod] = {
    "sparse": EngineMethod("read", in_view(_sparse)),
    "sparse_vectors": EngineMethod("read", in_view(_sparse_vectors)),
    "without_sparse": EngineMethod("read", in_view(_without_sparse)),
    "sparse_model": EngineMethod("read", _sparse_model),
    "sparse_words": EngineMethod("read", _sparse_words),
    "encode_sparse": EngineMethod("read", _encode_sparse),
    "put_sparse": EngineMethod("write", _put_sparse),
    "begin_sparse": EngineMethod("admin", _begin_sparse),
    "end_sparse": EngineMethod("admin", _end_sparse),
}
