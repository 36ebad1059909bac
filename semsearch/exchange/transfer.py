"""A collection copied from one home to another, whatever the engines: documents, stored vectors, settings, origins.

Passages come in the order of their keys, so that ties are broken there as they are here. What was copied before an
interruption is not sent again: documents are known by the hash of their content. In the end both are read once more and
held against each other, document by document.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby, islice
from typing import Any, TypeAlias, TypeVar

import numpy as np

from semsearch.engine import (
    COPIED_FROM,
    JOINED,
    SPARSE,
    Engine,
    EngineView,
    File,
    IndexSpec,
    Origin,
    Settlement,
    SparseStore,
    SparseView,
)
from semsearch.errors import CollectionDamaged, CollectionExists, CollectionNotFound, ModelMismatch
from semsearch.home import Home
from semsearch.names import check_name
from semsearch.records import Entry, Record
from semsearch.types import Document, Span, Vectors

log = logging.getLogger("semsearch")

# That an engine keeps for itself.
OWN_SETTINGS = {
    "uuid",
    "graph",
    "reencoding",
    "last_generation",
    SPARSE,
    "sparse_index",
    "sparse_writes",
    COPIED_FROM,
    JOINED,
}
COPIED_DOCUMENTS = 1024  # of a commit
KnownSource: TypeAlias = tuple[int, dict[str, File]]  # the number of a source, and its files by name
Batched = TypeVar("Batched")
SHARED_INDEXES = ("auto", "exact", "hnsw")  # that every engine with an index has


def transfer(source: Engine, home: Home, name: str | None = None, progress: Callable[[int], None] | None = None) -> int:
    """Copy a collection into `home`; how many documents it has there.

    Args:
        source: The collection.
        home: Where to.
        name: What it is called there; as here by default.
        progress: Called with the number of documents that are there.

    Raises:
        CollectionExists: There is a collection of that name, and it is no copy of this one that was begun.
        ModelMismatch: The model was changed since the copy was begun.
        CollectionDamaged: What is there in the end is not what is here; says which document.
    """
    with source.view() as view:
        target = _begun(source, view, home, source.name if name is None else check_name(name))
        try:
            _send(view, source, target, _registered(source, target), progress)
            _send_sparse(view, source, target)
            _send_origins(source, target)
            count = _verify(view, source, target)
            target.set(COPIED_FROM, None)
        finally:
            target.close()
    return count


def _begun(source: Engine, view: EngineView, home: Home, name: str) -> Engine:
    """The new collection, or the one that an interrupted call has begun."""
    settings = {key: value for key, value in view.settings.items() if key not in OWN_SETTINGS}
    spec = IndexSpec.of(settings)
    if spec.backend not in SHARED_INDEXES or spec.options:  # the other engine may have other indexes and options
        settings["index"] = asdict(IndexSpec("auto", {}, spec.recall, spec.k))
    identity = str(view.settings.get("uuid") or f"{source.location}/{source.name}")
    try:
        target = home.open(name)
    except CollectionNotFound:
        return home.create(name, {**settings, COPIED_FROM: identity}, view.dim or None)
    if target.settings.get(COPIED_FROM) != identity:
        target.close()
        raise CollectionExists(
            f"a collection '{name}' is there already, in {home.location}, and is no copy of '{source.name}' that was "
            "begun and not done: copy under another name."
        )
    for key in ("encoder", "metric", "splitting"):
        if target.settings.get(key) != settings.get(key):
            target.close()
            raise ModelMismatch(
                f"the copy of '{source.name}' in {home.location} was begun when the collection had another model: drop "
                "it there, and copy anew."
            )
    return target


def _entries(view: EngineView, source: Engine) -> Iterator[list[Entry]]:
    """All documents with their passages and vectors, under the hashes that are stored."""
    for some in _batches(_documents(view), COPIED_DOCUMENTS):
        known = source.known([document.id for document, _, _ in some])
        yield [
            Entry(_record(document, vectors, known[document.id].hash if document.id in known else b""), spans, vectors)
            for document, spans, vectors in some
        ]


def _record(document: Document, vectors: Vectors, stored: bytes) -> Record:
    """Under the hash that is stored, which covers the vector too where it was given; else what changed since comes."""
    record = Record.of(document, checked=True)
    if record.hash != stored and len(vectors) == 1:
        with_vector = Record.of(document, vectors[0], checked=True)
        return with_vector if with_vector.hash == stored else record
    return record


def _batches(items: Iterable[Batched], count: int) -> Iterator[list[Batched]]:
    pending = iter(items)
    while some := list(islice(pending, count)):
        yield some


def _documents(view: EngineView) -> Iterator[tuple[Document, list[Span], Vectors]]:
    """Each document with all of its passages: those of one come side by side, if in two batches."""
    waiting: tuple[Document, list[Span], list[Vectors]] | None = None
    for passages, vectors in view.stored():
        for passage, vector in zip(passages, vectors, strict=True):
            if waiting is not None and waiting[0].id == passage.id:
                waiting[1].append(Span(passage.start, passage.end))
                waiting[2].append(vector)
                continue
            if waiting is not None:
                yield waiting[0], waiting[1], np.stack(waiting[2])
            waiting = passage.document, [Span(passage.start, passage.end)], [vector]
    if waiting is not None:
        yield waiting[0], waiting[1], np.stack(waiting[2])


def _send(
    view: EngineView,
    source: Engine,
    target: Engine,
    sources: Mapping[str, KnownSource],
    progress: Callable[[int], None] | None,
) -> None:
    done, there = 0, set[str]()
    for entries in _entries(view, source):
        known = target.known([entry.record.document.id for entry in entries])
        origins = _origins(source, sources, [entry.record.document.id for entry in entries])
        lacking: list[Entry] = []
        relabelled: list[Record] = []
        for entry in entries:
            old = known.get(entry.record.document.id)
            if old is None or old.hash != entry.record.hash:
                lacking.append(entry)
            elif old.metadata != entry.record.metadata:
                relabelled.append(entry.record)
        for known_origin, some in groupby(lacking, key=lambda entry: entry.record.document.id in origins):
            # an origin that comes later would write the document again
            target.put(list(some), origin=origins.__getitem__ if known_origin else None)
        if relabelled:
            target.put([], relabelled)
        there.update(entry.record.document.id for entry in entries)
        done += len(entries)
        if progress is not None:
            progress(done)
    if target.counts()[0] != len(there):  # removed here since the copy was begun
        with target.view() as other:
            gone = [identity for identity in other.ids(None) if identity not in there]
        target.remove(gone)


def _send_sparse(view: EngineView, source: Engine, target: Engine) -> None:
    """The sparse vectors, where both keep them; a passage that has none gets one when the copy is written to."""
    described = view.settings.get(SPARSE)
    if described is None:
        return
    assert isinstance(view, SparseView), "the engine says so"
    if not isinstance(target, SparseStore):
        log.warning("%s keeps no sparse vectors: those of '%s' were not copied.", target.location, source.name)
        return
    if target.settings.get(SPARSE) != described:
        target.begin_sparse(described)
    for ids in _batches(view.ids(None), COPIED_DOCUMENTS):
        ours = view.keys_of(ids)
        with target.view() as other:
            theirs = other.keys_of(ids)
        pairs = [pair for one in ids for pair in zip(ours.get(one, ()), theirs.get(one, ()), strict=True)]
        vectors = view.sparse_vectors(np.array([own for own, _ in pairs], dtype=np.int64))
        there = np.flatnonzero(vectors.counts)
        keys = np.array([key for _, key in pairs], dtype=np.int64)[there]
        target.put_sparse(keys, vectors[there], described["fingerprint"])


def _registered(source: Engine, target: Engine) -> dict[str, KnownSource]:
    """The sources of the collection, made known to the copy."""
    specs = [json.dumps(facts, sort_keys=True, ensure_ascii=False) for facts in source.origins.sources()]
    return {
        spec: target.origins.register(spec, list(found[1]))
        for spec in specs
        if (found := source.origins.find(spec)) is not None
    }


def _origins(source: Engine, sources: Mapping[str, KnownSource], ids: Sequence[str]) -> dict[str, Origin]:
    """Where documents are from, in the copy's numbers; of several sources the one that was registered first."""
    places = source.origins.of(ids) if sources else {}
    return {
        identity: Origin(sources[spec][0], sources[spec][1][name].number, position)
        for identity, (spec, name, position) in places.items()
        if spec in sources and name in sources[spec][1]
    }


def _send_origins(source: Engine, target: Engine) -> None:
    """Which source gave which document, as it is now, so that the copy is kept in step with them."""
    for facts in source.origins.sources():
        spec = json.dumps(facts, sort_keys=True, ensure_ascii=False)
        found = source.origins.find(spec)
        if found is None:
            continue
        number, files = found
        names = {file.number: name for name, file in files.items()}
        own, theirs = target.origins.register(spec, list(files))
        given = source.origins.given(number, list(names))
        settlement = Settlement(
            (
                _given(source, spec, own, [(identity, theirs[names[file]].number) for identity, file, _ in some])
                for some in _batches(given, COPIED_DOCUMENTS)
            ),
            frozenset(),
            {theirs[name].number: file.stamp for name, file in files.items()},
            (),
            (),
        )
        target.origins.settle(own, settlement)


def _given(source: Engine, spec: str, own: int, files: Sequence[tuple[str, int]]) -> dict[str, Origin]:
    places = source.origins.of([identity for identity, _ in files])
    return {
        identity: Origin(own, file, places[identity][2] if places.get(identity, ("",))[0] == spec else "")
        for identity, file in files
    }


def _verify(view: EngineView, source: Engine, target: Engine) -> int:
    """Hold what is there against what is here; the number of documents."""
    with target.view() as other:
        there, here = _digests(other), _digests(view)
    if there != here:
        wrong = next(identity for identity in here.keys() | there.keys() if here.get(identity) != there.get(identity))
        raise CollectionDamaged(
            f"the copy of '{source.name}' in {target.location} is not the same: document {wrong!r} differs, or is in "
            "one of them alone. Was it written to meanwhile? Run the same command again, or drop the copy."
        )
    return len(here)


def _digests(view: EngineView) -> Mapping[str, bytes]:
    """Of each document with its metadata, passages and vectors, by id."""
    return {document.id: _digest(document, spans, vectors) for document, spans, vectors in _documents(view)}


def _digest(document: Document, spans: Sequence[Span], vectors: Vectors) -> bytes:
    told: list[Any] = [document.title, document.text, document.metadata, spans]
    digest = hashlib.blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(vectors, dtype=np.float32).tobytes())
    return digest.digest()
