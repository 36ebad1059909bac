"""One state of a collection in PostgreSQL: what is read in one transaction that sees nothing that comes later."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from semsearch.engine import SPARSE, Candidates, Settings
from semsearch.errors import CollectionDamaged
from semsearch.postgres import document_table, sparse_table
from semsearch.postgres.allowed_documents import (
    EVERY_DOCUMENT,
    DocumentSet,
    FieldTable,
    documents_allowed,
    facets_of,
)
from semsearch.postgres.array_format import vectors_of
from semsearch.postgres.connections import DatabaseSession, one
from semsearch.postgres.nearest_passages import NearestPassages, by_key, stream
from semsearch.postgres.passage_filter import PassageFilter
from semsearch.postgres.state_row import StateRow, check_words
from semsearch.postgres.word_search import NOTHING, WordCounts, WordSearch
from semsearch.scratch import scratch
from semsearch.search.analysis import analysed
from semsearch.search.languages import languages_of
from semsearch.search.query_syntax import Query
from semsearch.search.where import Filter
from semsearch.sparse_vectors import SparseVectors
from semsearch.types import Document, Keys, Metric, Passage, Vectors

STREAMED_PASSAGES = 4096  # passages streamed at a time
DOCUMENT_BATCH = 1000

# Each document once, without a sort: where the graph is walked, the planner is told to avoid one at any price.
_PASSAGES = b"""
SELECT key, doc, start, "end", NULL, NULL, NULL, NULL FROM passages WHERE key = ANY(%(keys)s)
UNION ALL
SELECT NULL, doc, NULL, NULL, id, title, metadata, text FROM documents
WHERE doc = ANY(ARRAY(SELECT p.doc FROM passages AS p WHERE p.key = ANY(%(keys)s)))
"""
_CONTEXT = b"""
SELECT asked.place, min(near.start), max(near."end"), min(near.doc) FROM (
    SELECT own.place, own.key, p.doc FROM unnest(%s::bigint[]) WITH ORDINALITY AS own (key, place)
    JOIN passages AS p USING (key)
) AS asked CROSS JOIN LATERAL (
    (SELECT doc, start, "end" FROM passages WHERE doc = asked.doc AND key <= asked.key ORDER BY key DESC LIMIT %s + 1)
    UNION ALL
    (SELECT doc, start, "end" FROM passages WHERE doc = asked.doc AND key > asked.key ORDER BY key LIMIT %s)
) AS near GROUP BY asked.place
"""
_STORED_PASSAGES = b"""
SELECT key, doc, start, "end", vector_send(vector) FROM passages WHERE key > %s ORDER BY key LIMIT %s
"""


KNOWN_FILTERS = 16


class Remembered:
    """What was found out about one state of a collection, for all views of it."""

    def __init__(self) -> None:
        self._lacking: tuple[int, int] | None = None
        self._filters: dict[tuple[int, Filter], PassageFilter] = {}

    def lacking_sparse(self, session: DatabaseSession, state: StateRow) -> int:
        """How many passages of a state, which is the session's, have no sparse vector: counted once."""
        known = self._lacking
        if known is None or known[0] != state.version:
            known = self._lacking = (state.version, state.passages - sparse_table.number_of_vectors(session))
        return known[1]

    def allowed(self, session: DatabaseSession, state: StateRow, where: Filter) -> PassageFilter:
        """The passages of a state that a filter allows: those of the last filters are known."""
        known = self._filters.get((state.version, where))
        if known is None:
            documents = documents_allowed(session, where)
            known = PassageFilter.of_documents(session, documents, state.documents)
            kept = list(self._filters.items())[1 - KNOWN_FILTERS :]
            self._filters = dict(kept) | {(state.version, where): known}
        return known


class PostgresView:
    """See `semsearch.engine.EngineView`."""

    def __init__(
        self,
        session: DatabaseSession,
        state: StateRow,
        settings: Settings,
        index: bytes | None,
        remembered: Remembered,
    ) -> None:
        """`index`: what the graph is built over, if there is one."""
        self._session = session
        self._state = state
        self.settings = settings
        self.version: object = state.version
        self.dim = state.dim or 0
        self.passages = state.passages
        self.metric = Metric(settings["metric"])
        counts = WordCounts(state.documents, state.passages, state.words, state.whole_words)
        self._words = WordSearch(session, counts, languages_of(settings))
        self._nearest = NearestPassages(session, self.dim, self.metric, state.longest, index)
        self._documents: dict[int, Document] = {}
        self._remembered = remembered

    # Candidates

    def fields(self) -> FieldTable:
        """See `EngineView.fields`."""
        return FieldTable(self._session)

    def allowed(self, where: Filter | None, query: Query | None = None) -> PassageFilter | None:
        """See `EngineView.allowed`."""
        condition = None if where is None else self._remembered.allowed(self._session, self._state, where)
        if query is None or query.plain:
            return condition
        check_words(self._state, self.settings)
        condition = condition or PassageFilter()
        for number, phrase in enumerate(query.required):
            if analysed(phrase):  # else it is nothing but punctuation
                condition = condition.among(self._words.holding(phrase, exactly=True), number)
        excluded: set[int] = set()
        for phrase in query.excluded:
            if analysed(phrase):
                excluded.update(self._words.holding(phrase, exactly=False).values())
        return condition.without_documents(list(excluded)) if excluded else condition

    def dense(
        self, queries: Vectors, k: int, *, allowed: PassageFilter | None, exact: bool, grouped: bool
    ) -> list[Candidates]:
        """See `EngineView.dense`."""
        if not self.passages or not self.dim:
            return [NOTHING] * len(queries)
        grouped &= self._state.passages != self._state.documents
        return self._nearest.search(queries, k, allowed, exact=exact, grouped=grouped)

    def lexical(self, query: Query, k: int, *, allowed: PassageFilter | None, grouped: bool) -> Candidates:
        """See `EngineView.lexical`."""
        check_words(self._state, self.settings)
        own = self.allowed(None, query)
        if own is not None and allowed is not None:
            own = own.both(allowed)
        return self._words.candidates(query, k, own or allowed, grouped=grouped)

    # Sparse vectors

    def sparse(self, query: SparseVectors, k: int, *, allowed: PassageFilter | None, grouped: bool) -> Candidates:
        """See `semsearch.engine.SparseView`."""
        if not self._keeps_sparse():
            return NOTHING
        grouped &= self._state.passages != self._state.documents
        return sparse_table.best(self._session, query, k, allowed or PassageFilter(), grouped)

    def sparse_vectors(self, keys: Keys) -> SparseVectors:
        """See `semsearch.engine.SparseView`."""
        return sparse_table.read(self._session, keys, int(self.settings[SPARSE]["dim"]))

    def without_sparse(self, after: int, most: int) -> Keys:
        """See `semsearch.engine.SparseView`."""
        return np.array(sparse_table.lacking(self._session, after, most), dtype=np.int64)

    @property
    def lacking_sparse(self) -> int:
        """See `semsearch.engine.SparseView`."""
        return self._remembered.lacking_sparse(self._session, self._state) if self._keeps_sparse() else 0

    def _keeps_sparse(self) -> bool:
        return self.settings.get(SPARSE) is not None

    # Passages

    def present(self, keys: Keys) -> NDArray[np.bool_]:
        """See `EngineView.present`."""
        rows = self._session.execute(b"SELECT key FROM passages WHERE key = ANY(%s)", (keys.tolist(),))
        return np.isin(keys, [key for (key,) in rows])

    def passages_of(self, keys: Keys) -> list[Passage | None]:
        """See `EngineView.passages_of`."""
        rows = self._session.execute(_PASSAGES, {"keys": list(set(keys.tolist()))}, binary=True).fetchall()
        documents = {
            doc: Document(identity, text, title, json.loads(metadata))
            for key, doc, _, _, identity, title, metadata, text in rows
            if key is None
        }
        found = {key: Passage.of(documents[doc], start, end) for key, doc, start, end, *_ in rows if key is not None}
        return [found.get(key) for key in keys.tolist()]

    def _read(self, docs: set[int]) -> Mapping[int, Document]:
        """Documents by their numbers, each read once a view."""
        lacking = [doc for doc in docs if doc not in self._documents]
        if lacking:
            if len(self._documents) > STREAMED_PASSAGES:
                self._documents = {doc: self._documents[doc] for doc in docs if doc in self._documents}
            self._documents |= dict(document_table.documents_of(self._session, b"doc = ANY(%s)", (lacking,)))
        return self._documents

    def context_of(self, keys: Keys, count: int) -> list[Passage]:
        """See `EngineView.context_of`."""
        rows = self._session.execute(_CONTEXT, (keys.tolist(), count, count)).fetchall()
        documents = self._read({doc for _, _, _, doc in rows})
        spans = {place: Passage.of(documents[doc], start, end) for place, start, end, doc in rows}
        return [spans[place] for place in range(1, len(keys) + 1)]

    def vectors(self, keys: Keys) -> Vectors:
        """See `EngineView.vectors`."""
        known = self._nearest.vectors
        lacking = [key for key in set(keys.tolist()) if key not in known]
        if lacking:
            rows = self._session.execute(
                b"SELECT key, vector_send(vector) FROM passages WHERE key = ANY(%s)", (lacking,), binary=True
            ).fetchall()
            sent = vectors_of([vector for _, vector in rows], self.dim)
            known = {**known, **dict(zip([key for key, _ in rows], sent, strict=True))}
        return by_key(known, keys, self.dim)

    def arrays(self) -> tuple[Keys, Vectors]:
        """See `EngineView.arrays`; all of them come over the wire."""
        keys = np.empty(self.passages, dtype=np.int64)
        vectors = scratch((self.passages, self.dim), np.float32)
        done = 0
        for (own, _), some in stream(self._session, self.dim, ordered=True) if self.passages else ():
            keys[done : done + len(own)], vectors[done : done + len(own)] = own, some
            done += len(own)
        return keys[:done], vectors[:done]

    def keys_of(self, ids: Sequence[str]) -> dict[str, list[int]]:
        """See `EngineView.keys_of`."""
        rows = self._session.execute(
            b"SELECT id, array_agg(key ORDER BY key) FROM documents JOIN passages USING (doc) "
            b"WHERE digest = ANY(%s) GROUP BY id",
            (document_table.digests(ids),),
        )
        return dict(rows.fetchall())

    def docs_of(self, keys: Keys) -> NDArray[np.int64]:
        """See `EngineView.docs_of`."""
        rows = self._session.execute(b"SELECT key, doc FROM passages WHERE key = ANY(%s)", (keys.tolist(),))
        docs: dict[int, int] = dict(rows.fetchall())
        return np.array([docs[key] for key in keys.tolist()], dtype=np.int64)

    def sample(self, count: int, generator: np.random.Generator) -> Keys:
        """See `EngineView.sample`."""
        places = np.sort(generator.choice(self.passages, min(count, self.passages), replace=False)) + 1
        rows = self._session.execute(
            b"SELECT key FROM (SELECT key, row_number() OVER (ORDER BY key) AS place FROM passages) AS numbered "
            b"WHERE place = ANY(%s) ORDER BY key",
            (places.tolist(),),
        )
        return np.array([key for (key,) in rows], dtype=np.int64)

    # Documents

    def get(self, ids: Sequence[str]) -> dict[str, Document]:
        """See `EngineView.get`."""
        found = document_table.documents_of(self._session, b"digest = ANY(%s)", (document_table.digests(ids),))
        return {document.id: document for _, document in found}

    def count(self, where: Filter) -> int:
        """See `EngineView.count`."""
        allowed = documents_allowed(self._session, where)
        statement = b"SELECT count(DISTINCT doc) FROM (" + allowed.query + b") AS allowed"
        return int(one(self._session, statement, allowed.values))

    def facets(self, name: str, where: Filter | None, most: int) -> list[tuple[str | float | bool, int]]:
        """See `semsearch.engine.Faceted`."""
        return facets_of(self._session, name, where, most)

    def ids(self, where: Filter | None) -> Sequence[str]:
        """See `EngineView.ids`."""
        allowed = DocumentSet(EVERY_DOCUMENT) if where is None else documents_allowed(self._session, where)
        rows = self._session.execute(
            b"SELECT id FROM documents WHERE doc IN (" + allowed.query + b") ORDER BY doc", allowed.values
        )
        return [identity for (identity,) in rows]

    def documents(self) -> Iterator[Document]:
        """See `EngineView.documents`."""
        last = 0
        while found := document_table.documents_of(
            self._session, b"doc > %s ORDER BY doc LIMIT %s", (last, DOCUMENT_BATCH)
        ):
            last = found[-1][0]
            yield from (document for _, document in found)

    def stored(self) -> Iterator[tuple[list[Passage], Vectors]]:
        """See `EngineView.stored`."""
        last = 0
        while rows := self._session.execute(_STORED_PASSAGES, (last, STREAMED_PASSAGES), binary=True).fetchall():
            last = rows[-1][0]
            documents = self._read({row[1] for row in rows})
            for _, doc, *_ in rows:
                if doc not in documents:
                    raise CollectionDamaged("a passage has no document: 'semsearch repair' takes it away.")
            passages = [Passage.of(documents[doc], start, end) for _, doc, start, end, _ in rows]
            yield passages, vectors_of([row[4] for row in rows], self.dim)
