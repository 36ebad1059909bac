"""What an engine is asked over HTTP, method by method: see `semsearch.server.engine_routes`.

What a request names is looked for first: a view itself takes its keys on trust.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from semsearch import engine_wire as ew
from semsearch.arguments import as_ids
from semsearch.collection import Collection
from semsearch.engine import (
    JOINED,
    SPARSE,
    Engine,
    EngineView,
    Indexed,
    Maintained,
    SparseStore,
    SparseView,
    fingerprint,
)
from semsearch.errors import DataError, DocumentChanged, UsageError
from semsearch.ingest.model_doubt import DOUBTED
from semsearch.ingest.pictures import ReadsImages, reader_of_pictures
from semsearch.records import Entry
from semsearch.search.languages import named
from semsearch.search.ranking import scored
from semsearch.search.where_mapping import parse as parse_filter
from semsearch.server.facets import facets
from semsearch.server.failures import Refusal
from semsearch.server.operations import Call
from semsearch.types import Keys, Metadata, Metric, Windowed
from semsearch.vectors import stored_form

MOST_CANDIDATES = 100_000
FIXED = frozenset(
    {"languages", "encoder", SPARSE, "metric", "passages", "splitting", "created", "uuid"}
)  # no `set` changes them
MODEL_FACTS = ("window", "query_window")


class EngineMethod(NamedTuple):
    """What may be asked: the role that it needs, and what gives the answer."""

    role: str
    answer: Callable[[Call[Any], Collection, Mapping[str, Any]], Any]


NOTED_BY_WRITERS: Mapping[str, Callable[[Any], bool]] = {  # settings that say what whoever writes has seen
    JOINED: lambda value: value is True,
    DOUBTED: lambda value: isinstance(value, list) and len(value) < 1000 and all(map(_is_code, value)),
}


def _is_code(value: Any) -> bool:
    """Whether it is the code of a language."""
    return isinstance(value, str) and value.isalpha() and len(value) <= 3


def _state(call: Call[Any], collection: Collection, facts: Mapping[str, Any]) -> Any:
    with collection.engine.view() as view:
        lacking = view.lacking_sparse if SPARSE in view.settings and isinstance(view, SparseView) else 0
        return {
            "settings": call.service.shown_settings(view.settings, call.grant),
            "version": json.dumps(view.version, default=str),
            "dim": view.dim,
            "passages": view.passages,
            "lacking_sparse": lacking,
        }


def _about(call: Call[Any], collection: Collection, facts: Mapping[str, Any]) -> Any:
    engine = collection.engine
    return {
        "name": engine.name,
        "settings": call.service.shown_settings(engine.settings, call.grant),
        "versions": dict(engine.versions),
        "engine": engine.capabilities.engine,
        "looked_after": isinstance(engine, Indexed) and isinstance(engine, Maintained),
        "sparse": isinstance(engine, SparseStore),
    }


def _counts(call: Call[Any], collection: Collection, facts: Mapping[str, Any]) -> Any:
    return list(collection.engine.counts())


def _bytes(call: Call[Any], collection: Collection, facts: Mapping[str, Any]) -> Any:
    return collection.engine.bytes()


def _known(call: Call[Any], collection: Collection, facts: Mapping[str, Any]) -> Any:
    return {identity: ew.known_json(known) for identity, known in collection.engine.known(_ids(facts)).items()}


def _put(call: Call[Any], collection: Collection, facts: Mapping[str, Any]) -> Any:
    entries = [ew.read_entry(entry) for entry in facts["entries"]]
    check_lengths(collection.engine, entries)
    origins = {identity: ew.read_origin(origin) for identity, origin in (facts.get("origins") or {}).items()}
    written = collection.engine.put(
        entries,
        [ew.read_record(record) for record in facts["metadata_only"]],
        model=facts.get("model"),
        again=facts.get("again") is True,
        origin=origins.__getitem__ if origins else None,
    )
    call.service.maintain(call.collection)
    return list(written)


def check_lengths(engine: Engine, entries: Iterable[Entry], form: tuple[Metric, int] | None = None) -> None:
    """Refuse vectors that a collection of cosines could not have made: they are stored as they come.

    `form` is the metric and the number of components, where they are not those that the collection has now.
    """
    if form is None:
        with engine.view() as view:
            form = Metric(view.settings["metric"]), view.dim
    metric, dim = form
    for entry in entries:
        if entry.vectors.shape[1] != dim and dim:
            continue  # which the engine refuses
        kept = stored_form(entry.vectors, entry.vectors.shape[1], metric)
        if metric == Metric.COSINE and not np.allclose(kept, entry.vectors, atol=1e-5):
            raise DataError(f"document {entry.record.document.id!r}: its vector is not of unit length.")


def _remove(call: Call[Any], collection: Collection, facts: Mapping[str, Any]) -> Any:
    removed = collection.engine.remove(_ids(facts))
    call.service.maintain(call.collection)
    return removed


def _update_metadata(call: Call[Any], collection: Collection, facts: Mapping[str, Any]) -> Any:
    """Each document's metadata, where it is what whoever made the new one had seen."""
    made = {_canonical(old): new for old, new in facts["changes"]}

    def change(old: Metadata) -> Metadata:
        new = made.get(_canonical(old))
        if new is None:
            raise DocumentChanged("the metadata of a document was changed meanwhile: read it again.")
        return dict(new)

    return collection.engine.update_metadata(_ids(facts), change)


def _canonical(metadata: Metadata) -> str:
    return json.dumps(metadata, sort_keys=True, ensure_ascii=False)


def _set(call: Call[Any], collection: Collection, facts: Mapping[str, Any]) -> Any:
    if facts["name"] in FIXED or not isinstance(facts["name"], str):
        raise UsageError(f"the setting {facts['name']!r:.40} was fixed when the collection was made.")
    noted = NOTED_BY_WRITERS.get(facts["name"])
    if noted is None and not call.grant.has("admin"):
        raise Refusal(403, "not_allowed", "that needs a key of the role 'admin'.")
    if noted is not None and not noted(facts["value"]):
        raise UsageError(f"the setting {facts['name']!r:.40} can't be that.")
    collection.engine.set(facts["name"], facts["value"])


def _drop_unused(call: Call[Any], collection: Collection, facts: Mapping[str, Any]) -> Any:
    return call.service.drop_unused(collection)


def _index_info(call: Call[Any], collection: Collection, facts: Mapping[str, Any]) -> Any:
    return chosen_index(collection).index_info()


def _kept_queries(call: Call[Any], collection: Collection, facts: Mapping[str, Any]) -> Any:
    return chosen_index(collection).kept_queries()


def _keep_queries(call: Call[Any], collection: Collection, facts: Mapping[str, Any]) -> Any:
    chosen_index(collection).keep_queries(list(ew.strings(facts["queries"], "queries")))


def chosen_index(collection: Collection) -> Indexed:
    """The engine of a collection whose index can be chosen.

    Raises:
        UsageError: It has none.
    """
    if not isinstance(collection.engine, Indexed):
        raise UsageError(f"the server's collection '{collection.name}' is searched exactly: it has no index.")
    return collection.engine


def _set_languages(call: Call[Any], collection: Collection, facts: Mapping[str, Any]) -> Any:
    languages = named(ew.strings(facts["languages"], "languages")) if facts["languages"] else ()
    return collection.engine.set_languages(languages, found=facts.get("found") is True)


# The model


def _model(call: Call[Any], collection: Collection, facts: Mapping[str, Any]) -> Any:
    encoder = collection.encoder
    told: dict[str, Any] = {
        "name": call.service.shown_model(getattr(encoder, "name", ""), call.grant),
        "dim": encoder.dim,
        "metric": str(encoder.metric),
        "fingerprint": encoder.fingerprint,
    }
    if isinstance(encoder, Windowed):
        told |= {name: int(getattr(encoder, name)) for name in MODEL_FACTS if hasattr(encoder, name)}
        told["tokenizer"] = encoder.tokenizer.to_str()
    return told | {"images": isinstance(encoder, ReadsImages)}


def _encode(call: Call[Any], collection: Collection, facts: Mapping[str, Any]) -> Any:
    texts, role = ew.strings(facts["texts"], "texts"), facts["role"]
    if role not in ("query", "document"):
        raise UsageError("a role is 'query' or 'document'.")
    if len(texts) > call.service.options.max_queries:
        raise UsageError(f"at most {call.service.options.max_queries:,} texts are encoded at once.")
    encoder = collection.encoder
    _check_model(collection, facts)
    vectors = call.service.queues.of(encoder, role).vectors(texts, call.gone)
    return ew.pack(np.asarray(vectors, dtype=np.float32))


def _encode_images(call: Call[Any], collection: Collection, facts: Mapping[str, Any]) -> Any:
    reads = reader_of_pictures(collection.encoder)
    _check_model(collection, facts)
    if not isinstance(facts["images"], list) or len(facts["images"]) > call.service.options.max_queries:
        raise UsageError(f"a list of at most {call.service.options.max_queries:,} pictures is encoded at once.")
    vectors = reads.encode_images(list(map(ew.read_pixels, facts["images"])))
    return ew.pack(np.asarray(vectors, dtype=np.float32))


def _check_model(collection: Collection, facts: Mapping[str, Any]) -> None:
    if facts.get("fingerprint") not in (None, fingerprint(collection.settings)):
        raise DocumentChanged("the collection was encoded anew with another model meanwhile: open it again.")


# A view


def in_view(answer: Callable[[EngineView, Mapping[str, Any]], Any]) -> Callable[..., Any]:
    """A method of `EngineView`, as one that is asked."""

    def asked(call: Call[Any], collection: Collection, facts: Mapping[str, Any]) -> Any:
        with collection.engine.view() as view:
            return answer(view, facts)

    return asked


def _fields(view: EngineView, facts: Mapping[str, Any]) -> Any:
    catalog = view.fields()
    if "values" in facts:
        most = min(int(facts["most"]), MOST_CANDIDATES)
        return list(catalog.values(str(facts["values"]), str(facts["begins"]), most))
    if "types" in facts:
        return sorted(catalog.types(str(facts["types"]), bool(facts["element"])))
    return list(catalog.names())


def _where(facts: Mapping[str, Any]) -> Any:
    return None if facts.get("where") is None else ew.read_filter(facts["where"])


def allowed_of(view: EngineView, facts: Mapping[str, Any]) -> Any:
    """The passages that may be found, as `EngineView.allowed` gives them."""
    query = None if facts.get("ruled") is None else ew.read_query(facts["ruled"])
    where = _where(facts)
    return None if where is None and query is None else view.allowed(where, query)


def most_of(view: EngineView, facts: Mapping[str, Any]) -> int:
    """How many candidates are asked for, of those that there are."""
    k = facts["k"]
    if type(k) is not int or k < 1:
        raise UsageError(f"candidates are from 1 to {MOST_CANDIDATES:,}.")
    if k > MOST_CANDIDATES and (k := max(view.passages, 1)) > MOST_CANDIDATES:
        raise UsageError(f"a server answers with {MOST_CANDIDATES:,} candidates at most: ask for fewer.")
    return k


def _dense(call: Call[Any], collection: Collection, facts: Mapping[str, Any]) -> Any:
    engine = collection.engine
    with engine.view() as view:
        queries = ew.unpack_vectors(facts["queries"], int(facts["dim"]))
        metric = Metric(view.settings["metric"])
        queries = stored_form(queries, view.dim, metric, "the query's vector") if view.dim else queries
        found = view.dense(
            queries,
            most_of(view, facts),
            allowed=allowed_of(view, facts),
            exact=bool(facts["exact"]),
            grouped=bool(facts["grouped"]),
        )
        if not engine.capabilities.scored:
            found = [scored(view, one, query, metric) for one, query in zip(found, queries, strict=True)]
        return list(map(ew.candidates_json, found))


def _lexical(view: EngineView, facts: Mapping[str, Any]) -> Any:
    query = ew.read_query(facts["query"])
    return ew.candidates_json(
        view.lexical(query, most_of(view, facts), allowed=allowed_of(view, facts), grouped=bool(facts["grouped"]))
    )


def known_keys(view: EngineView, facts: Mapping[str, Any], *, whole: bool = True) -> tuple[Keys, Any]:
    """The keys that are asked for and which of them are there; `whole`: all of them must be."""
    keys = ew.unpack_keys(facts["keys"])
    there = view.present(keys)
    if whole and not there.all():
        raise DocumentChanged("a document was changed or removed since it was found: search again.")
    return keys, there


def _passages(view: EngineView, facts: Mapping[str, Any]) -> Any:
    keys, there = known_keys(view, facts, whole=False)
    found = iter(view.passages_of(keys[there]))
    passages = [next(found) if here else None for here in there.tolist()]
    return [None if passage is None else ew.passage_json(passage) for passage in passages]


def _context(view: EngineView, facts: Mapping[str, Any]) -> Any:
    keys, _ = known_keys(view, facts)
    return list(map(ew.passage_json, view.context_of(keys, min(int(facts["count"]), 1000))))


def _text(view: EngineView, facts: Mapping[str, Any]) -> Any:
    """The text of the document of a passage."""
    keys, _ = known_keys(view, facts)
    (passage,) = view.passages_of(keys)
    if passage is None:
        raise DocumentChanged("a document was changed or removed since it was found: search again.")
    return passage.document.text


def _vectors(view: EngineView, facts: Mapping[str, Any]) -> Any:
    keys, _ = known_keys(view, facts)
    return ew.pack(view.vectors(keys))


def _docs(view: EngineView, facts: Mapping[str, Any]) -> Any:
    keys, _ = known_keys(view, facts)
    return ew.pack(view.docs_of(keys))


def _present(view: EngineView, facts: Mapping[str, Any]) -> Any:
    return known_keys(view, facts, whole=False)[1].tolist()


def _arrays(view: EngineView, facts: Mapping[str, Any]) -> Any:
    keys, vectors = view.arrays()
    return [ew.pack(keys), ew.pack(vectors), int(vectors.shape[1]) if vectors.ndim == 2 else 0]


def _keys_of(view: EngineView, facts: Mapping[str, Any]) -> Any:
    return view.keys_of(_ids(facts))


def _sample(view: EngineView, facts: Mapping[str, Any]) -> Any:
    generator = np.random.default_rng(int(facts["seed"]))
    return ew.pack(view.sample(min(int(facts["count"]), MOST_CANDIDATES), generator))


def _get(view: EngineView, facts: Mapping[str, Any]) -> Any:
    return [ew.document_json(document) for document in view.get(_ids(facts)).values()]


def _count(view: EngineView, facts: Mapping[str, Any]) -> Any:
    return view.count(ew.read_filter(facts["where"]))


def _all_ids(view: EngineView, facts: Mapping[str, Any]) -> Any:
    return list(view.ids(_where(facts)))


def _facets(view: EngineView, facts: Mapping[str, Any]) -> Any:
    return facets(view, str(facts["name"]), _where(facts), min(int(facts["most"]), MOST_CANDIDATES))


# Where documents are from


def _sources(call: Call[Any], collection: Collection, facts: Mapping[str, Any]) -> Any:
    shown = call.service.shown_path
    return [
        {**source, "path": shown(str(source.get("path", "")), call.grant)}
        for source in collection.engine.origins.sources()
    ]


def _find(call: Call[Any], collection: Collection, facts: Mapping[str, Any]) -> Any:
    return _source(collection.engine.origins.find(str(facts["spec"])))


def _register(call: Call[Any], collection: Collection, facts: Mapping[str, Any]) -> Any:
    return _source(collection.engine.origins.register(str(facts["spec"]), ew.strings(facts["names"], "names")))


def _source(found: Any) -> Any:
    return None if found is None else [found[0], {name: ew.file_json(file) for name, file in found[1].items()}]


def _given(call: Call[Any], collection: Collection, facts: Mapping[str, Any]) -> Any:
    return list(collection.engine.origins.given(int(facts["source"]), _numbers(facts["files"])))


def _given_count(call: Call[Any], collection: Collection, facts: Mapping[str, Any]) -> Any:
    files = facts.get("files")
    return collection.engine.origins.count(int(facts["source"]), None if files is None else _numbers(files))


def _origins(call: Call[Any], collection: Collection, facts: Mapping[str, Any]) -> Any:
    found = collection.engine.origins.of(_ids(facts))
    if not call.service.shows_paths(call.grant):
        return {}
    return {identity: list(origin) for identity, origin in found.items()}


def _settle(call: Call[Any], collection: Collection, facts: Mapping[str, Any]) -> Any:
    collection.engine.origins.settle(int(facts["source"]), ew.read_settlement(facts["settlement"]))


def _numbers(said: Any) -> Sequence[int]:
    if not isinstance(said, list) or not all(type(one) is int for one in said):
        raise DataError("numbers of files come in a list.")
    return said


def _ids(facts: Mapping[str, Any]) -> list[str]:
    return as_ids(ew.strings(facts["ids"], "ids"), "ids come in a list")


def _parse(call: Call[Any], collection: Collection, facts: Mapping[str, Any]) -> Any:
    """A filter as it was written, held against the fields that there are."""
    with collection.engine.view() as view:
        return ew.filter_json(parse_filter(facts["where"], view.fields()))


ENGINE_METHODS: Mapping[str, EngineMethod] = {
    **{
        name: EngineMethod("read", answer)
        for name, answer in {
            "state": _state,
            "about": _about,
            "counts": _counts,
            "bytes": _bytes,
            "known": _known,
            "model": _model,
            "encode": _encode,
            "encode_images": _encode_images,
            "dense": _dense,
            "parse": _parse,
            "sources": _sources,
            "find": _find,
            "given": _given,
            "given_count": _given_count,
            "origins": _origins,
            "index_info": _index_info,
            "kept_queries": _kept_queries,
        }.items()
    },
    **{
        name: EngineMethod("read", in_view(answer))
        for name, answer in {
            "fields": _fields,
            "lexical": _lexical,
            "passages": _passages,
            "context": _context,
            "text": _text,
            "vectors": _vectors,
            "docs": _docs,
            "present": _present,
            "arrays": _arrays,
            "keys_of": _keys_of,
            "sample": _sample,
            "get": _get,
            "count": _count,
            "ids": _all_ids,
            "facets": _facets,
        }.items()
    },
    **{
        name: EngineMethod("write", answer)
        for name, answer in {
            "put": _put,
            "set_languages": _set_languages,
            "remove": _remove,
            "update_metadata": _update_metadata,
            "register": _register,
            "settle": _settle,
        }.items()
    },
    "set": EngineMethod("write", _set),  # of which most is for the role admin
    "drop_unused": EngineMethod("admin", _drop_unused),
    "keep_queries": EngineMethod("admin", _keep_queries),
}
