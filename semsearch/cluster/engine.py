"""The engine on a cluster of OpenSearch or Elasticsearch: an index a collection, a document with its passages."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

from semsearch import versions
from semsearch.cluster import cluster_integrity
from semsearch.cluster.cluster_connection import ClusterConnection, Elsewhere
from semsearch.cluster.cluster_origins import ClusterOrigins
from semsearch.cluster.cluster_view import ClusterView
from semsearch.cluster.collection_state import CollectionState, StateOfCollection
from semsearch.cluster.dialects import RequestTimeout
from semsearch.cluster.document_frequencies import DocumentFrequencies
from semsearch.cluster.document_store import DocumentStore, IndexReplaced, relabelled
from semsearch.cluster.index_layout import CLUSTER_SCHEMA, GRAPH_OPTIONS, graph_options, source_of, word_source
from semsearch.cluster.index_totals import IndexTotals
from semsearch.cluster.nearest_documents import LEAST_DEPTH
from semsearch.cluster.second_index import (
    KEPT,
    WITH_VECTORS,
    IndexChange,
    SecondIndex,
    drop_retired,
    map_vectors,
    retired,
)
from semsearch.engine import (
    Capabilities,
    Compacted,
    Encode,
    IndexSpec,
    Origin,
    Problem,
    Settings,
    StateMoved,
    Written,
    fingerprint,
)
from semsearch.errors import (
    CollectionClosed,
    CollectionError,
    CollectionNotFound,
    DimensionMismatch,
    ModelMismatch,
    SemsearchError,
    UsageError,
)
from semsearch.ingest.ingestion import BATCH_DOCUMENTS
from semsearch.records import Entry, Known, Record
from semsearch.search import engine_recall
from semsearch.search.languages import LANGUAGES, Languages, languages_of, same_stems, to_be_found
from semsearch.search.recall import Certificate, Synthesis
from semsearch.types import Document, Metadata, Metric, Vectors

log = logging.getLogger("semsearch")
WriteOutcome = TypeVar("WriteOutcome")

MERGE_PAUSE = 2.0  # seconds between two looks at a merge that takes longer than a request may
SHARD_COUNTS = ("_all", "_shards")  # what the servers' own counts have
WALK = "graph"  # the setting that tells how searches walk; None where they are exact
WALK_DEPTHS = (LEAST_DEPTH, 300, 400, 600, 800, 1200, 2000, 4000, 10_000)
BUILDING_PATIENCE = 60.0  # seconds for who makes another index just now
REPLACED_PATIENCE = 20.0  # seconds for an index that is being replaced
WALKED_PASSAGES = 20_000  # up to which slices are compared soon enough
CERTIFIED_ANEW_SHARE = 0.1  # of passages, above which a recall is certified again


class ClusterEngine:
    """See `semsearch.engine.Engine`; it is `Indexed`, `Maintained`, `Refreshing` and `Prompt`, too."""

    def __init__(self, name: str, connection: ClusterConnection, state: CollectionState) -> None:
        self.name = name
        self.location = connection.location
        self.capabilities = Capabilities(
            connection.address.flavour,
            snapshot="document",
            scored=True,
            refreshes=True,
            tools=self._tools(connection),
        )
        self._connection = connection
        self._state = state
        self._closed = False
        self._unseen = False  # whether something was written here that searches may not see
        self._texts: bool | None = None  # whether they were short when they were last looked at
        self._frequencies = DocumentFrequencies()
        self._latest: StateOfCollection | None = None  # that was read
        self._lock = threading.Lock()
        self.origins = ClusterOrigins(connection, state, self._searchable, self._writable)

    def _tools(self, connection: ClusterConnection) -> str:
        indexes = f"{connection.address.prefix},{connection.address.prefix}.home,{connection.address.prefix}-*"
        return (
            "the cluster's snapshots: register a repository, then PUT _snapshot/REPOSITORY/NAME?wait_for_completion="
            f'true {{"indices": "{indexes}", "include_global_state": false}}; POST _snapshot/REPOSITORY/NAME/_restore '
            "brings all back where these indexes are not"
        )

    # State

    def _read(self) -> StateOfCollection:
        self.check_open()
        self._latest = self._checked(self._state.read())
        return self._latest

    def _to_write(self) -> StateOfCollection:
        self.check_open()
        return self._checked(self._state.for_writing())

    def _checked(self, state: StateOfCollection) -> StateOfCollection:
        """Refuse what a newer semsearch made: this one would read or write it wrongly."""
        for what, theirs, ours in (
            ("schema", state.source["schema"], CLUSTER_SCHEMA),
            ("analysis of words", state.source["analysis"], versions.ANALYSIS),
            ("encoding", state.source["encoding"], versions.ENCODING),
        ):
            if theirs > ours:
                raise CollectionError(
                    f"collection '{self.name}' was made, or brought forward, by a newer semsearch: its {what} is "
                    f"{theirs}, and this semsearch knows {ours}. Update semsearch here; nothing was changed."
                )
        return state

    def _store(self, state: StateOfCollection) -> DocumentStore:
        return DocumentStore(self._connection, state.index, languages_of(state.settings))

    def _searchable(self) -> DocumentStore:
        store = self._store(self._read())
        self._refresh(store)
        return store

    def _writable(self) -> DocumentStore:
        store = self._store(self._to_write())
        self._unseen = True
        return store

    def _refresh(self, store: DocumentStore) -> None:
        with self._lock:
            unseen, self._unseen = self._unseen, False
        if unseen:
            try:
                self._connection.refresh(store.index)
            except BaseException:
                self._unseen = True
                raise

    def refresh(self) -> None:
        """See `Refreshing.refresh`."""
        if self._unseen:
            self._searchable()

    # Reading

    @property
    def settings(self) -> Settings:
        """See `Engine.settings`."""
        return self._read().settings

    @property
    def versions(self) -> Mapping[str, int]:
        """See `Engine.versions`."""
        source = self._read().source
        return {name: int(source[name]) for name in ("schema", "analysis", "encoding")}

    def check_open(self) -> None:
        """See `Engine.check_open`."""
        if self._closed:
            raise CollectionClosed(f"collection '{self.name}' was closed: open it again.")

    def view(self) -> AbstractContextManager[ClusterView]:
        """See `Engine.view`."""
        return self._view(self._read())

    @contextmanager
    def prompt_view(self) -> Iterator[ClusterView]:
        """See `semsearch.engine.Prompt`: by the state that was read last, which the first request may find gone."""
        self.check_open()
        known = self._latest
        if known is None or self._unseen:
            known = self._read()
        try:
            with self._view(known, prompt=self._state.search()) as view:
                yield view
        except SemsearchError:
            self._hold_to(known)  # else what failed is another index, or gone
            raise
        self._hold_to(known, view.totals.beside)

    def _hold_to(self, known: StateOfCollection, said: Any = None) -> None:
        """Raises `StateMoved` where what was taken for granted is not what is there, as a search said, if one did."""
        hits = said["hits"]["hits"] if said else []
        if hits and self._state.is_version(hits[0]["_source"], known):
            return
        if self._read().source["version"] != known.source["version"]:
            raise StateMoved

    @contextmanager
    def _view(self, state: StateOfCollection, *, prompt: Elsewhere | None = None) -> Iterator[ClusterView]:
        store = self._store(state)
        self._refresh(store)
        graph = state.settings.get(WALK)
        depth = int(graph["k"]) if graph else None
        view = ClusterView(store, state, depth, self._frequencies, prompt=prompt, texts=self._texts)
        yield view
        if view.totals.read:
            self._texts = view.totals.short_texts

    def counts(self) -> tuple[int, int]:
        """See `Engine.counts`."""
        extent = IndexTotals(self._connection, self._searchable().index).extent
        return extent.documents, extent.passages

    def bytes(self) -> int:
        """See `Engine.bytes`."""
        store = self._searchable()
        said = self._connection.ask("GET", f"{quote(store.index)}/_stats/store", wanted=SHARD_COUNTS).body
        return int(said["_all"]["total"]["store"]["size_in_bytes"])

    def known(self, ids: Sequence[str]) -> dict[str, Known]:
        """See `Engine.known`."""
        return self._store(self._read()).known(ids)

    # Writing

    def put(
        self,
        entries: Sequence[Entry],
        metadata_only: Sequence[Record] = (),
        *,
        model: str | None = None,
        again: bool = False,
        origin: Callable[[str], Origin] | None = None,
    ) -> Written:
        """See `Engine.put`."""
        return self._patiently(lambda: self._put(entries, metadata_only, model, again, origin))

    def _patiently(self, write: Callable[[], WriteOutcome]) -> WriteOutcome:
        """What `write` does, to the new index where the present one is being replaced."""
        deadline = time.monotonic() + REPLACED_PATIENCE
        while True:
            before = self._read().index
            try:
                return write()
            except IndexReplaced:
                if time.monotonic() > deadline:
                    raise
            except CollectionNotFound:
                if self._read().index == before:
                    raise
            time.sleep(0.1)

    def _put(
        self,
        entries: Sequence[Entry],
        metadata_only: Sequence[Record],
        model: str | None,
        again: bool,
        origin: Callable[[str], Origin] | None,
    ) -> Written:
        state = self._to_write()
        settings = state.settings
        self._check_words(state)
        if model is not None and model != fingerprint(settings):
            raise ModelMismatch(
                f"collection '{self.name}' was encoded anew with another model meanwhile; run the same command again."
            )
        if entries:
            self._fit(state, entries)
        self._unseen = True
        store = self._store(state)
        return store.put(entries, metadata_only, again, origin, self._state.reserve)

    def _fit(self, state: StateOfCollection, entries: Sequence[Entry]) -> None:
        """Have vectors of all entries the collection's number of components, which the first ones decide."""
        dim = state.dim
        mapped = bool(state.source.get("mapped"))
        for entry in entries:
            dim = dim or entry.vectors.shape[1]
            if entry.vectors.shape[1] != dim:
                raise DimensionMismatch(
                    f"document {entry.record.document.id!r}: its vector has {entry.vectors.shape[1]} components, those "
                    f"of collection '{self.name}' have {dim}."
                )
        if mapped:
            return
        most = self._connection.dialect.most_components
        if dim > most:
            raise UsageError(
                f"{self._connection.address.flavour} takes vectors of up to {most:,} components, not {dim}."
            )
        graph = graph_options(self._connection.dialect, IndexSpec.of(state.settings))

        def decided(now: StateOfCollection) -> Mapping[str, Any] | None:
            return {**now.source, "dim": now.dim or dim, "mapped": True}

        if (state.dim or None) is None:
            state = self._state.change(lambda now: None if now.dim else {**now.source, "dim": dim})
            if state.dim != dim:
                self._fit(state, entries)
                return
        map_vectors(self._connection, state.index, dim, Metric(state.settings["metric"]), graph)
        self._state.change(decided)

    def _check_words(self, state: StateOfCollection) -> None:
        if cluster_integrity.are_words_of_older(state):
            raise CollectionError(
                f"the words of the collection were made by an older semsearch (analysis {state.source['analysis']}, "
                f"this one's is {versions.ANALYSIS}): 'semsearch repair' makes them anew, and older versions can't use "
                "it from then on."
            )

    def remove(self, ids: Sequence[str]) -> int:
        """See `Engine.remove`."""
        return self._patiently(lambda: self._writable().remove(ids))

    def update_metadata(self, ids: Iterable[str], change: Callable[[Metadata], Metadata]) -> int:
        """See `Engine.update_metadata`."""
        pending, found = list(dict.fromkeys(ids)), 0
        for at in range(0, len(pending), BATCH_DOCUMENTS):
            some = pending[at : at + BATCH_DOCUMENTS]
            found += self._patiently(partial(self._relabel, some, change))
        return found

    def _relabel(self, ids: Sequence[str], change: Callable[[Metadata], Metadata]) -> int:
        return self._writable().change_metadata(ids, lambda document: relabelled(document, change))

    def set(self, name: str, value: Any) -> None:
        """See `Engine.set`."""
        self._to_write()
        self._set({name: value})

    def _set(self, new: Mapping[str, Any]) -> None:
        self._state.change(lambda state: {**state.source, "settings": json.dumps({**state.settings, **new})})

    def set_languages(self, languages: Languages, *, found: bool = False) -> bool:
        """See `Engine.set_languages`."""
        state = self._to_write()
        settings = state.settings
        if found and not to_be_found(settings):
            return False
        told = {LANGUAGES: list(languages)}
        if same_stems(languages, languages_of(settings)) or not self.counts()[0]:
            self._set(told)
            return True
        return self._words_anew(told, languages, lambda now: not found or to_be_found(now.settings))

    def _words_anew(
        self,
        settings: Mapping[str, Any],
        languages: Languages,
        wanted: Callable[[StateOfCollection], bool] | None = None,
    ) -> bool:
        """Make the words of all documents in another index, which is put in place together with `settings`."""

        def transform(sources: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
            return [
                {**source, **word_source(source["title"], source["text"], _spans(source), languages)}
                for source in sources
            ]

        self._moved(settings, transform, wanted=wanted)
        return languages_of(self._read().settings) == languages

    def _moved(
        self,
        settings: Mapping[str, Any],
        transform: Callable[[Sequence[Mapping[str, Any]]], Sequence[Mapping[str, Any]]],
        spec: IndexSpec | None = None,
        wanted: Callable[[StateOfCollection], bool] | None = None,
    ) -> None:
        """Put the documents, changed as `transform` says, into another index; the vectors stay what they are."""
        state = self._to_write()
        metric = Metric(state.settings["metric"])
        graph = graph_options(self._connection.dialect, spec or IndexSpec.of(state.settings))
        change = IndexChange(
            settings, state.dim, metric, graph, WITH_VECTORS, transform, BATCH_DOCUMENTS, BUILDING_PATIENCE, wanted
        )
        SecondIndex(self._connection, self._state, self.name).change(change)

    def hold(self) -> AbstractContextManager[None]:
        """See `Engine.hold`."""
        self.check_open()
        return self._state.holding()

    def close(self) -> None:
        """See `Engine.close`."""
        if not self._closed:
            self._closed = True
            self._connection.close()

    # Index

    def rebuild(self, spec: IndexSpec, queries: Vectors | Synthesis | None) -> Certificate | None:
        """See `Indexed.rebuild`."""
        if spec.backend not in ("auto", "exact", "hnsw"):
            raise UsageError(
                f"a cluster has the indexes 'hnsw' and 'exact', and 'auto' chooses; '{spec.backend}' is one of folders."
            )
        unknown = sorted(set(spec.options) - set(GRAPH_OPTIONS) - {"k"})
        if unknown:
            raise UsageError(
                f"a cluster's hnsw has no option {', '.join(unknown)}: there are M, ef_construction and k."
            )
        passages, graph = self.counts()[1], graph_options(self._connection.dialect, spec)
        walked = bool(passages) and _wanted(spec, passages)
        depth = max(int(spec.options.get("k", LEAST_DEPTH)), 1)
        settings = {WALK: {"k": depth, **_shown(graph or {}), "contract": None} if walked else None}
        before = self._read()
        if before.source.get("mapped") and graph != graph_options(
            self._connection.dialect, IndexSpec.of(before.settings)
        ):
            self._moved({**settings, "index": asdict(spec)}, lambda sources: sources, spec)
        else:
            self._set(settings)
        if not walked:
            if spec.recall is None or spec.backend == "auto" or not passages:
                return None
            return self._measured(spec, queries, exact=True)
        return self._certified(spec, queries) if spec.recall is not None else None

    def tune(self, spec: IndexSpec, queries: Vectors | Synthesis | None) -> Certificate:
        """See `Indexed.tune`."""
        if self.settings.get(WALK) is None:
            return self._measured(spec, queries, exact=True)
        return self._certified(spec, queries)

    def _certified(self, spec: IndexSpec, queries: Vectors | Synthesis | None) -> Certificate:
        certificate = self._measured(spec, queries, exact=False)
        kept = dict(self.settings[WALK] or {})
        # shallower walks than this may miss the best passage of what they find
        kept["k"] = max(int(certificate.value or LEAST_DEPTH), LEAST_DEPTH)
        kept["contract"] = {**asdict(certificate), "passages": self.counts()[1]}
        self._set({WALK: kept})
        return certificate

    def _measured(self, spec: IndexSpec, queries: Vectors | Synthesis | None, *, exact: bool) -> Certificate:
        with self.view() as view:

            def set_depth(value: int) -> None:
                view.nearest.depth = value

            if not exact and view.nearest.depth is None:
                view.nearest.depth = LEAST_DEPTH
            return engine_recall.certified(view, set_depth, "k", WALK_DEPTHS, spec, queries, exact=exact)

    def kept_queries(self) -> list[str]:
        """See `Indexed.kept_queries`."""
        stored = self._connection.get(self._connection.address.prefix, self._questions_id())
        return [] if stored is None else list(stored["_source"]["questions"])

    def keep_queries(self, queries: Sequence[str]) -> None:
        """See `Indexed.keep_queries`."""
        self._to_write()
        home, identity = self._connection.address.prefix, self._questions_id()
        source = {"kind": "questions", "collection": self._state.uuid, "questions": list(queries)}
        while not self._connection.put(home, identity, source, self._connection.get(home, identity)):
            pass

    def _questions_id(self) -> str:
        return f"q:{self._state.uuid}"

    def load_index(self) -> None:
        """See `Indexed.load_index`; the servers keep it."""

    def index_info(self) -> dict[str, Any]:
        """See `Indexed.index_info`."""
        settings, passages = self._read().settings, self.counts()[1]
        there, spec = settings.get(WALK), IndexSpec.of(settings)
        why = "as asked for"
        if spec.backend == "auto":
            why = f"up to {WALKED_PASSAGES:,} passages are compared soon enough, and of more a graph is walked."
        return {
            "wanted": asdict(spec),
            "why": why,
            "backend": "hnsw" if there else "exact",
            "params": {name: there[name] for name in ("M", "ef_construction", "k")} if there else {},
            "state": "ready" if there else "none",
            "rows": passages if there else 0,
            "fresh": 0,
            "removed": 0,
            "contract": there.get("contract") if there else None,
            "words": {"state": "ready", "rows": passages, "fresh": 0},
        }

    # Maintenance

    def maintain(self, queries: Callable[[], Vectors | Synthesis | None]) -> None:
        """See `Maintained.maintain`."""
        self.refresh()
        state = self._read()
        if retired(state):
            drop_retired(self._connection, self._state)
        settings = state.settings
        spec, there, passages = IndexSpec.of(settings), settings.get(WALK), self.counts()[1]
        certificate = None
        if there is None:
            if _wanted(spec, passages):
                certificate = self.rebuild(spec, queries() if spec.recall is not None else None)
        elif spec.recall is not None:
            measured = (there.get("contract") or {}).get("passages", 0)
            if abs(passages - measured) > CERTIFIED_ANEW_SHARE * measured:
                certificate = self._certified(spec, queries())
        if certificate is not None and not certificate.met:  # nobody asked for it now, so nobody looks at it
            log.warning("the index of collection '%s': %s", self.name, certificate.summary)

    def check(self, *, deep: bool = False) -> list[Problem]:
        """See `Maintained.check`."""
        store = self._searchable()
        return list(cluster_integrity.problems(store, self.name, self._read(), deep))

    def repair(self, encode: Encode | None, queries: Callable[[], Vectors | Synthesis | None]) -> list[str]:
        """See `Maintained.repair`."""
        state, store = self._to_write(), self._searchable()
        self._unseen = True
        done = cluster_integrity.mended(store, self._connection, self.name, state, encode, self._state.reserve)
        if cluster_integrity.are_words_of_older(state):
            self._words_anew({}, languages_of(state.settings))
            done.append("made the words anew")
        return done

    def compact(self) -> Compacted:
        """See `Maintained.compact`: merges segments, which takes what was removed out of them.

        A merge builds a graph anew, so a recall that was certified before is measured again by the next `maintain`.
        """
        before = self.bytes()
        drop_retired(self._connection, self._state, at_once=True)
        index = quote(self._read().index)
        gone = self._deleted(index)
        self._merge(index)
        self._connection.refresh(self._read().index)
        there = self.settings.get(WALK)
        if there and there["contract"]:
            self._set({WALK: {**there, "contract": None}})
        return Compacted(gone, before, self.bytes(), self._deleted(index) == 0)

    def _merge(self, index: str) -> None:
        options = {"max_num_segments": "1"}
        try:
            self._connection.ask("POST", f"{index}/_forcemerge", options=options, wanted=("_shards",))
        except RequestTimeout:  # servers go on with it
            while self._statistics(index, "merge")["merges"]["current"]:
                time.sleep(MERGE_PAUSE)

    def _statistics(self, index: str, what: str) -> Any:
        return self._connection.ask("GET", f"{index}/_stats/{what}", wanted=SHARD_COUNTS).body["_all"]["primaries"]

    def _deleted(self, index: str) -> int:
        return int(self._statistics(index, "docs")["docs"]["deleted"])

    def reencode(
        self, target: Settings, dim: int, encode: Encode, progress: Callable[[int], None] | None = None
    ) -> int:
        """See `Maintained.reencode`."""
        state = self._to_write()
        languages = languages_of({**state.settings, **target})
        metric = Metric({**state.settings, **target}["metric"])

        def transform(sources: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
            records = [
                Record(
                    Document(source["id"], source["text"], source["title"], json.loads(source["metadata"])),
                    source["metadata"],
                    bytes.fromhex(source["hash"]),
                )
                for source in sources
            ]
            entries = {entry.record.document.id: entry for entry in encode(records)}
            if not entries and records:
                raise UsageError("the new model gave no vectors; nothing was changed.")
            first = self._state.reserve("keys", sum(max(len(entry.spans), 1) for entry in entries.values()))
            made: list[Mapping[str, Any]] = []
            for source in sources:
                entry = entries.get(source["id"])
                if entry is None:
                    continue
                keys = range(first, first + len(entry.spans))
                first += max(len(entry.spans), 1)
                kept = source_of(entry, source["num"], keys, source["origins"], languages)
                made.append({**kept, "rev": source["rev"]})
            return made

        settings = {**target, "calibration": None, WALK: None}
        graph = graph_options(self._connection.dialect, IndexSpec.of(state.settings))
        change = IndexChange(settings, dim, metric, graph, KEPT, transform, BATCH_DOCUMENTS)
        return SecondIndex(self._connection, self._state, self.name).change(change, progress)


def _spans(source: Mapping[str, Any]) -> list[tuple[int, int]]:
    return list(zip(source["starts"], source["ends"], strict=True))


def _wanted(spec: IndexSpec, passages: int) -> bool:
    """Whether searches are to walk the graph."""
    return spec.backend == "hnsw" or (spec.backend == "auto" and passages >= WALKED_PASSAGES)


def _shown(options: Mapping[str, int]) -> dict[str, int]:
    return {name: int(options.get(name, usual)) for name, (_, usual) in GRAPH_OPTIONS.items()}
