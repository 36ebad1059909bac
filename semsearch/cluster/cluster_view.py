"""A collection in a cluster as searches see it: each document in one state, several requests not in the same."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semsearch.cluster.cluster_connection import Elsewhere
from semsearch.cluster.cluster_filters import (
    UNFILTERED,
    DocumentFilter,
    FilterCompiler,
    IndexFields,
    terms,
)
from semsearch.cluster.collection_state import StateOfCollection
from semsearch.cluster.document_frequencies import DocumentFrequencies
from semsearch.cluster.document_store import DOCUMENTS_READ, TEXT_FIELDS, DocumentStore, StoredDocument, StoredVectors
from semsearch.cluster.index_totals import IndexTotals
from semsearch.cluster.nearest_documents import VECTOR_DOCUMENTS, VECTOR_FIELDS, NearestDocuments
from semsearch.cluster.word_candidates import WordCandidates
from semsearch.engine import Candidates, Settings, StateMoved
from semsearch.errors import DocumentChanged
from semsearch.scratch import Arriving, gathered
from semsearch.search.analysis import analysed
from semsearch.search.languages import languages_of
from semsearch.search.query_syntax import Query
from semsearch.search.where import Filter
from semsearch.types import Document, Keys, Metric, Passage, Vectors

LISTED_KEYS = 10_000  # that are all read to draw some of them
KEY_DRAWS = 20  # of random keys, before all are read


class ClusterView:
    """See `semsearch.engine.EngineView`."""

    def __init__(
        self,
        store: DocumentStore,
        state: StateOfCollection,
        depth: int | None,
        counts: DocumentFrequencies,
        *,
        prompt: Elsewhere | None = None,
        texts: bool | None = None,
    ) -> None:
        """`depth`: how many passages a walk of the graph keeps; None where searches are exact.

        `counts`: of words, of the collection.
        `prompt`: what is asked for along with the counts; what was written anew between two requests is a `StateMoved`
            then, for who asks begins again.
        `texts`: see `NearestDocuments`.
        """
        self._store = store
        self._connection = store.connection
        self._state = state
        self.settings: Settings = state.settings
        self.dim = state.dim
        self.metric = Metric(self.settings["metric"])
        self.depth = depth
        self._prompt = prompt is not None
        self._texts = texts
        self._counts = counts
        self.totals = IndexTotals(store.connection, store.index, prompt)
        self._read: dict[int, StoredDocument] = {}

    @cached_property
    def _words(self) -> WordCandidates:
        languages, texts = languages_of(self.settings), bool(self._texts)
        return WordCandidates(self._store, self.totals, languages, self._counts, texts=texts)

    @cached_property
    def nearest(self) -> NearestDocuments:
        """What finds the nearest."""
        return NearestDocuments(self._store, self.dim, self.metric, self.totals, self.depth, texts=self._texts)

    @property
    def version(self) -> object:
        """See `EngineView.version`."""
        return (self._state.source["version"], self.totals.state)

    @property
    def passages(self) -> int:
        """See `EngineView.passages`."""
        return self.totals.extent.passages

    @property
    def document_count(self) -> int:
        """How many documents there are."""
        return self.totals.extent.documents

    # Candidates

    def fields(self) -> IndexFields:
        """See `EngineView.fields`."""
        return IndexFields(self._connection, self._store.index)

    def facets(self, name: str, where: Filter | None, most: int) -> list[tuple[str | float | bool, int]]:
        """See `semsearch.engine.Faceted`."""
        among = (self.allowed(where) or UNFILTERED).clause
        counts = FilterCompiler(self._connection, self._store.index).counts(name, among)
        ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0][0], one[0][1]))
        return [(value, count) for (_, value), count in ordered[:most]]

    def allowed(self, where: Filter | None, query: Query | None = None) -> DocumentFilter | None:
        """See `EngineView.allowed`."""
        allowed = None
        if where is not None:
            allowed = DocumentFilter((FilterCompiler(self._connection, self._store.index).clause(where),))
        if query is None or query.plain:
            return allowed
        allowed = allowed or UNFILTERED
        for phrase in query.required:
            if analysed(phrase):  # else it is nothing but punctuation
                allowed = allowed.among(frozenset(self._words.holding(phrase, exactly=True)))
        for phrase in query.excluded:
            if analysed(phrase):
                clause = self._words.clause_of_stems(phrase)
                if clause is None:
                    held = self._words.holding(phrase, exactly=False)
                    clause = terms("num", sorted(set(held.values())))
                allowed = allowed.without(clause)
        return allowed

    def dense(
        self, queries: Vectors, k: int, *, allowed: DocumentFilter | None, exact: bool, grouped: bool
    ) -> list[Candidates]:
        """See `EngineView.dense`."""
        return self.nearest.search(queries, k, allowed or UNFILTERED, exact=exact, grouped=grouped)

    def lexical(self, query: Query, k: int, *, allowed: DocumentFilter | None, grouped: bool) -> Candidates:
        """See `EngineView.lexical`."""
        own = self.allowed(None, query) or UNFILTERED
        if allowed is not None:
            own = DocumentFilter((*own.clauses, *allowed.clauses), own.keys)
            own = own if allowed.keys is None else own.among(allowed.keys)
        return self._words.candidates(query, k, own, grouped=grouped)

    # Passages

    def present(self, keys: Keys) -> NDArray[np.bool_]:
        """See `EngineView.present`."""
        wanted = [key for key in keys.tolist() if key > 0]
        there = {key for hit in self._store.of_keys(wanted, ("keys",)) for key in hit["_source"]["keys"]}
        return np.array([key in there for key in keys.tolist()], dtype=np.bool_)

    def passages_of(self, keys: Keys) -> list[Passage | None]:
        """See `EngineView.passages_of`."""
        documents = self._of_keys(keys)
        self.nearest.forget([key for key in keys.tolist() if key not in documents])  # else they are proposed again
        return [documents[key].passage(key) if key in documents else None for key in keys.tolist()]

    def _of_keys(self, keys: Keys) -> dict[int, StoredDocument]:
        """Documents by the keys of their passages."""
        wanted = set(keys.tolist())
        known = {key: own for own in self._words.documents.values() for key in own.keys if key in wanted} | self._read
        lacking = [key for key in dict.fromkeys(keys.tolist()) if key not in known]
        came = ChainMap(self.nearest.sources, self._words.sources)
        along = [came[key] for key in lacking if key in came]
        lacking = [key for key in lacking if key not in came]
        for source in (*along, *(hit["_source"] for hit in self._store.of_keys(lacking, TEXT_FIELDS))):
            stored = StoredDocument.of(source)
            known |= dict.fromkeys(stored.keys, stored)
            if len(self._read) < DOCUMENTS_READ:
                self._read |= dict.fromkeys(stored.keys, stored)
        return known

    def context_of(self, keys: Keys, count: int) -> list[Passage]:
        """See `EngineView.context_of`."""
        documents, found = self._of_keys(keys), []
        self._all_there(keys, documents)
        for key in keys.tolist():
            own = documents[key]
            place = own.keys.index(key)
            first, last = max(place - count, 0), min(place + count, len(own.keys) - 1)
            found.append(Passage.of(own.document, own.starts[first], max(own.ends[first : last + 1])))
        return found

    def vectors(self, keys: Keys) -> Vectors:
        """See `EngineView.vectors`."""
        known = self.nearest.of_keys(keys.tolist())
        if not len(keys):
            return np.empty((0, self.dim), dtype=np.float32)
        self._all_there(keys, known)
        return np.stack([known[key] for key in keys.tolist()])

    def arrays(self) -> tuple[Keys, Vectors]:
        """See `EngineView.arrays`; all of them come over the wire."""
        known = [np.empty(0, dtype=np.int64)]
        with Arriving(self.dim) as arriving:
            for hits in self._pages(VECTOR_FIELDS, page=VECTOR_DOCUMENTS):
                part = StoredVectors.of(hits, self.dim)
                known.append(part.keys)
                arriving.add(part.vectors)
            keys = np.concatenate(known)
            order = np.argsort(keys)
            return keys[order], gathered(arriving.whole(), order)

    def _all_there(self, keys: Keys, known: Mapping[int, Any]) -> None:
        """What was found is gone where its document was written anew meanwhile."""
        if any(key not in known for key in keys.tolist()):
            if self._prompt:
                raise StateMoved
            raise DocumentChanged("documents were written anew, or removed, while they were read: try again.")

    def keys_of(self, ids: Sequence[str]) -> dict[str, list[int]]:
        """See `EngineView.keys_of`."""
        return {identity: list(old.source["keys"]) for identity, old in self._store.stored(ids, ("id", "keys")).items()}

    def docs_of(self, keys: Keys) -> NDArray[np.int64]:
        """See `EngineView.docs_of`."""
        docs = dict(self.nearest.docs)
        lacking = [key for key in keys.tolist() if key not in docs]
        for hit in self._store.of_keys(lacking, ("num", "keys")):
            docs |= dict.fromkeys(hit["_source"]["keys"], hit["_source"]["num"])
        self._all_there(keys, docs)
        return np.array([docs[key] for key in keys.tolist()], dtype=np.int64)

    def sample(self, count: int, generator: np.random.Generator) -> Keys:
        """See `EngineView.sample`; by random numbers, those of which are kept that are keys."""
        extent = self.totals.extent
        if extent.passages > max(LISTED_KEYS, 2 * count):
            found: set[int] = set()
            for _ in range(KEY_DRAWS):
                drawn = generator.integers(extent.first, extent.last + 1, 2 * count).tolist()
                wanted = [key for key in dict.fromkeys(drawn) if key not in found]
                there = {key for hit in self._store.of_keys(wanted, ("keys",)) for key in hit["_source"]["keys"]}
                found.update([key for key in wanted if key in there][: count - len(found)])
                if len(found) >= count:
                    return np.array(sorted(found), dtype=np.int64)
        every = np.array([key for hits in self._pages(("keys",)) for hit in hits for key in hit["_source"]["keys"]])
        chosen = generator.choice(every.astype(np.int64), min(count, len(every)), replace=False)
        return np.sort(chosen)

    # Documents

    def get(self, ids: Sequence[str]) -> dict[str, Document]:
        """See `EngineView.get`."""
        return self._store.documents(ids)

    def count(self, where: Filter) -> int:
        """See `EngineView.count`."""
        allowed = self.allowed(where) or UNFILTERED
        body = {"size": 0, "track_total_hits": True, "query": allowed.clause}
        return int(self._connection.search(self._store.index, body)["hits"]["total"]["value"])

    def ids(self, where: Filter | None) -> Sequence[str]:
        """See `EngineView.ids`."""
        allowed = self.allowed(where) or UNFILTERED
        return [hit["_source"]["id"] for hits in self._pages(("id",), allowed) for hit in hits]

    def documents(self) -> Iterator[Document]:
        """See `EngineView.documents`."""
        for hits in self._pages(TEXT_FIELDS):
            yield from (StoredDocument.of(hit["_source"]).document for hit in hits)

    def stored(self) -> Iterator[tuple[list[Passage], Vectors]]:
        """See `EngineView.stored`."""
        for hits in self._pages((*TEXT_FIELDS, "p.v"), page=VECTOR_DOCUMENTS):
            own = [StoredDocument.of(hit["_source"]) for hit in hits]
            vectors = StoredVectors.of(hits, self.dim)
            yield [one.passage(key) for one in own for key in one.keys], vectors.vectors

    def _pages(
        self, fields: Sequence[str], allowed: DocumentFilter = UNFILTERED, page: int = DOCUMENTS_READ
    ) -> Iterator[list[Any]]:
        source = self._connection.dialect.source(fields)
        return self._connection.pages(self._store.index, allowed.clause, source, page=page)
