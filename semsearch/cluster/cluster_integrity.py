"""What can be wrong with a collection though each document is whole: what others put in or left out; and what mends it.

That bytes on disk are what was written is for the server to see: Lucene's checksums, which it verifies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import orjson

from semsearch import versions
from semsearch.cluster.cluster_connection import DONE, ClusterConnection
from semsearch.cluster.cluster_filters import IS_DOCUMENT
from semsearch.cluster.coded_words import unpacked_codes
from semsearch.cluster.collection_state import StateOfCollection
from semsearch.cluster.dialects import Clause
from semsearch.cluster.document_store import TEXT_FIELDS, DocumentStore, StoredDocument
from semsearch.cluster.index_layout import CLUSTER_SCHEMA, COUNTED, index_name, metadata_source, word_source
from semsearch.cluster.second_index import retired
from semsearch.engine import Encode, Problem
from semsearch.records import Record
from semsearch.search.languages import languages_of
from semsearch.types import Metric
from semsearch.vectors import normalise

DOCUMENTS_NAMED = 3
STRANGERS: Clause = {"bool": {"must_not": [IS_DOCUMENT]}}
CHECKED = (*TEXT_FIELDS, "passages", "kv", "kinds", "p.v", *COUNTED)


def problems(store: DocumentStore, name: str, state: StateOfCollection, deep: bool) -> Iterator[Problem]:
    """See `semsearch.engine.Maintained.check`."""
    connection, fix = store.connection, f"semsearch repair {name}"
    health = connection.ask(
        "GET", f"_cluster/health/{quote(store.index)}", accept=(404, 408), wanted=("status",)
    ).body.get("status")
    if health == "red":
        yield Problem(
            "database",
            "a shard has no copy that works",
            "bring its node back; if it stays so, have the administrator send POST _cluster/reroute?retry_failed=true",
        )
        return
    if are_words_of_older(state):
        yield Problem("words", f"an older semsearch made them (analysis {state.source['analysis']})", fix)
    settings = _settings(connection, store.index)
    if _otherwise(connection, settings):
        yield Problem("index", "searches with a filter may miss some of the nearest passages", fix)
    if _is_blocked(settings):
        yield Problem("database", "it takes no writes: a reencoding was broken off in its last moments", fix)
    for index in _left_over(connection, name, state):
        yield Problem("index", f"{index} is no index of the collection any more", fix)
    if count := len(list(_strangers(store))):
        yield Problem("documents", f"{count} in the index were not put there by semsearch, and nothing finds them", fix)
    lacking, wrong, unequal, changed = _looked_through(store, state, deep)
    if lacking:
        yield Problem("vectors", f"{_named(lacking)} has passages without a vector of {state.dim} components", fix)
    if wrong:
        yield Problem("words", f"the words, fields or counts of {_named(wrong)} are not those of what is stored", fix)
    if unequal:
        yield Problem("vectors", f"those of {_named(unequal)} are not of unit length", "encode the collection anew")
    if changed:
        yield Problem("documents", f"{_named(changed)} is not what was stored", "index the source anew")


def are_words_of_older(state: StateOfCollection) -> bool:
    """Whether an older semsearch made the words, or kept them in another way."""
    return bool(state.source["analysis"] != versions.ANALYSIS or state.source["schema"] != CLUSTER_SCHEMA)


def _looked_through(
    store: DocumentStore, state: StateOfCollection, deep: bool
) -> tuple[list[str], list[str], list[str], list[str]]:
    """The ids of documents without vectors, with wrong words, with vectors of other lengths, and with other texts."""
    settings = state.settings
    lacking: list[str] = []
    wrong: list[str] = []
    unequal: list[str] = []
    changed: list[str] = []
    if not deep and _nested(store) == _passages(store):
        return lacking, wrong, unequal, changed
    languages, given = languages_of(settings), settings.get("encoder") is None
    cosine = settings["metric"] == Metric.COSINE
    source = store.connection.dialect.source(CHECKED)
    for hits in store.connection.pages(store.index, IS_DOCUMENT, source, page=200, fields=("codes",)):
        for hit in hits:
            one = {**hit["_source"], "words": "", "codes": hit.get("fields", {}).get("codes", [""])[0]}
            rows = [passage.get("v") for passage in one.get("p", ())]
            if len(rows) != len(one["keys"]) or any(row is None or len(row) != state.dim for row in rows):
                lacking.append(one["id"])
            elif deep and cosine:
                vectors = np.array(rows, dtype=np.float32)
                if (normalise(vectors) != vectors).any():
                    unequal.append(one["id"])
            if deep:
                stored = StoredDocument.of(one)
                record = Record.of(stored.document, checked=True)
                if not given and record.hash != stored.hash:
                    changed.append(one["id"])
                made = _derived(stored, record, languages) | {"passages": len(one["keys"])}
                del made["codes"]  # another zlib may pack them in another way
                one["words"] = unpacked_codes(one["codes"]) if one["codes"] else ""
                if any(one.get(field) != value for field, value in made.items()):
                    wrong.append(one["id"])
    return lacking, wrong, unequal, changed


def _derived(stored: StoredDocument, record: Record, languages: Any) -> dict[str, Any]:
    spans = [(start, end) for _, start, end in stored.spans]
    words = word_source(stored.document.title, stored.document.text, spans, languages)
    return {**words, **{name: value for name, value in metadata_source(record).items() if name != "metadata"}}


def _nested(store: DocumentStore) -> int:
    """How many passages have something stored of them."""
    body = {"size": 0, "query": IS_DOCUMENT, "aggs": {"own": {"nested": {"path": "p"}}}}
    return int(store.connection.search(store.index, body)["aggregations"]["own"]["doc_count"])


def _passages(store: DocumentStore) -> int:
    body = {"size": 0, "query": IS_DOCUMENT, "aggs": {"own": {"sum": {"field": "passages"}}}}
    return int(store.connection.search(store.index, body)["aggregations"]["own"]["value"])


def _strangers(store: DocumentStore) -> Iterator[str]:
    body = {"size": 10_000, "query": STRANGERS, "_source": False}
    yield from (hit["_id"] for hit in store.connection.search(store.index, body)["hits"]["hits"])


def _settings(connection: ClusterConnection, index: str) -> Mapping[str, Any]:
    """Of an index, by their names with dots."""
    options = {"flat_settings": "true"}
    said = connection.ask("GET", f"{quote(index)}/_settings", options=options, wanted=(index,)).body
    settings: Mapping[str, Any] = said[index]["settings"]
    return settings


def _is_blocked(settings: Mapping[str, Any]) -> bool:
    return str(settings.get("index.blocks.write", "false")) == "true"


def _otherwise(connection: ClusterConnection, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What of the settings that decide on answers, and can be changed, is not as it should be."""
    wanted = connection.dialect.changeable_settings
    return {name: value for name, value in wanted.items() if settings.get(f"index.{name}") != value}


def _left_over(connection: ClusterConnection, name: str, state: StateOfCollection) -> list[str]:
    """Indexes of this very collection that are neither the present one nor one that is being made."""
    pattern = f"{connection.address.prefix}-{index_name(name)}.g*"
    said = connection.ask("GET", f"{quote(pattern, safe='*')}/_mapping", accept=(404,)).body
    second = state.source.get("second") or {}
    kept = {state.index, second.get("index"), *(own["index"] for own in retired(state))}
    return sorted(
        index
        for index, own in said.items()
        if index not in kept
        and isinstance(own, dict)
        and own.get("mappings", {}).get("_meta", {}).get("semsearch", {}).get("collection")
        == state.source["collection"]
    )


def _named(ids: Sequence[str]) -> str:
    names = ", ".join(f"document {identity!r:.60}" for identity in ids[:DOCUMENTS_NAMED])
    return names + (f" and {len(ids) - DOCUMENTS_NAMED} more" if len(ids) > DOCUMENTS_NAMED else "")


def mended(
    store: DocumentStore,
    connection: ClusterConnection,
    name: str,
    state: StateOfCollection,
    encode: Encode | None,
    reserve: Callable[[str, int], int],
) -> list[str]:
    """Mend what `problems` finds, but for words of another analysis; what was done, in sentences."""
    done: list[str] = []
    settings = _settings(connection, store.index)
    if otherwise := _otherwise(connection, settings):
        connection.ask("PUT", f"{quote(store.index)}/_settings", {"index": otherwise}, wanted=DONE)
        done.append("had searches with a filter look at more of the graph")
    if _is_blocked(settings):
        body = {"index": {"blocks": {"write": None}}}
        connection.ask("PUT", f"{quote(store.index)}/_settings", body, wanted=DONE)
        done.append("let writers in again")
    for index in _left_over(connection, name, state):
        connection.ask("DELETE", quote(index), accept=(404,), wanted=DONE)
        done.append(f"took away the index {index}")
    if strangers := list(_strangers(store)):
        store.write([(one, orjson.dumps({"delete": {"_id": one}}) + b"\n") for one in strangers])
        done.append(f"took out {len(strangers)} documents that were not semsearch's")
    lacking, wrong, _, _ = _looked_through(store, state, True)
    languages = languages_of(state.settings)
    if lacking and encode is not None:
        documents = store.documents(lacking)
        store.put(encode([Record.of(one) for one in documents.values()]), (), True, None, reserve)
        done.append(f"encoded {len(lacking)} documents again")
    if not are_words_of_older(state) and (wrong := [one for one in wrong if one not in lacking]):
        found = store.stored(wrong, TEXT_FIELDS)
        made = {
            identity: _derived(stored, Record.of(stored.document), languages) | {"passages": len(stored.keys)}
            for identity, stored in ((one, StoredDocument.of(old.source)) for one, old in found.items())
        }
        store.change(made, lambda old: made[old["id"]])
        done.append(f"made the words and fields of {len(made)} documents anew")
    return done
