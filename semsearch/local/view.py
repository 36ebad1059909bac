"""One state of a collection on this machine: candidates from its index, its words and its rows, each hit verified.

Every passage that is found is held against the checksums of its row and of its document; what is not as it was stored
is said once, left out from then on, and costs a hit, never a wrong one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from semsearch.engine import SPARSE, Candidates
from semsearch.errors import CollectionDamaged, DataError, DocumentChanged
from semsearch.local.index.loader import IndexLoader
from semsearch.local.store import document_rows as rows
from semsearch.local.store import pieces, sparse_rows
from semsearch.local.store.document_rows import Long, Stored
from semsearch.local.store.snapshot import Snapshot
from semsearch.local.store.store import Store, View
from semsearch.scratch import gathered
from semsearch.types import Document, Keys, Metric, Neighbors, Passage, Vectors

if TYPE_CHECKING:
    from semsearch.local.lexical.searcher import Lexical
    from semsearch.local.planner import Planner
    from semsearch.local.sparse.sparse_search import SparseSearch
    from semsearch.local.store.filters import StoredFields
    from semsearch.search.query_syntax import Query
    from semsearch.search.where import Filter
    from semsearch.sparse_vectors import SparseVectors

log = logging.getLogger("semsearch")

Mask = NDArray[np.bool_]  # (n,) by row

PASSAGE_BATCH = 4096  # passages streamed at a time
KEPT_MASKS = 16
NAMED = 3  # damaged documents in one warning
NO_COMPONENTS = (np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32))
EXACT, INDEX, FRESH = ("exact",), ("index",), ("fresh",)


class Retriever:
    """What is kept between the views of one collection with one model: index, words, filters, known damage."""

    def __init__(self, store: Store, metric: Metric, loader: IndexLoader, device: str | None = None) -> None:
        self.store = store
        self.metric = metric
        self.loader = loader
        self._device = device
        self.damaged: frozenset[int] = frozenset()
        self._filters: dict[tuple[int, Filter], Mask] = {}
        self._several: tuple[int, bool] | None = None
        self._lacking: tuple[int, int] | None = None

    @cached_property
    def planner(self) -> Planner:
        """What finds by meaning."""
        from semsearch.local.planner import Planner

        return Planner(self.metric, self._device)

    @cached_property
    def lexical(self) -> Lexical:
        """What finds by words."""
        from semsearch.local.lexical.searcher import Lexical

        return Lexical(self.store)

    @cached_property
    def sparse(self) -> SparseSearch:
        """What finds by sparse vectors."""
        from semsearch.local.sparse.sparse_search import SparseSearch

        return SparseSearch(self.store)

    def several_passages(self, snapshot: Snapshot) -> bool:
        """Whether documents have more than one passage: those of one lie side by side."""
        if self._several is None or self._several[0] != snapshot.version:
            self._several = (snapshot.version, bool((snapshot.docs[1:] == snapshot.docs[:-1]).any()))
        return self._several[1]

    def filtered(self, view: View, where: Filter) -> Mask:
        """The rows whose documents `where` allows, remembered for the commit."""
        version = view.snapshot.version
        key = (version, where)
        found = self._filters.get(key)
        if found is None:
            from semsearch.local.store.filters import documents_of

            allowed = documents_of(view.connection, where)
            docs = view.snapshot.docs
            known = (docs >= 0) & (docs < len(allowed))
            found = allowed[np.where(known, docs, 0)] & known
            current = {known: mask for known, mask in self._filters.items() if known[0] == version}
            self._filters = dict(list(current.items())[-KEPT_MASKS + 1 :]) | {key: found}
        return found

    def lacking_sparse(self, view: View) -> int:
        """How many passages have no sparse vector, counted once a commit."""
        if self._lacking is None or self._lacking[0] != view.snapshot.version:
            self._lacking = (view.snapshot.version, sparse_rows.lacking(view.connection))
        return self._lacking[1]

    def find_all_damage(self, snapshot: Snapshot) -> bool:
        """Leave out all rows that are not what was committed; False if that is known of all of them."""
        live = np.flatnonzero(snapshot.live)
        damaged = frozenset(snapshot.keys[live[~snapshot.sound(live)]].tolist()) - self.damaged
        self.damaged |= damaged
        if damaged:
            name = self.store.name
            log.warning(
                "%d stored vectors in collection '%s' are damaged and were left out; 'semsearch check %s --deep' names "
                "a document, 'semsearch repair %s' encodes them again from the stored text.",
                len(damaged),
                name,
                name,
                name,
            )
        return len(damaged) > 0


class Unread:
    """A long document as a search found it, its text not read until it is called for."""

    __slots__ = ("_found", "_store")

    def __init__(self, found: Long, store: Store) -> None:
        self._found = found
        self._store = store

    def __call__(self) -> Document:
        """Read it, as it was found.

        Raises:
            DocumentChanged: It has another text by now, or is gone.
            CollectionDamaged: Its text is not what was stored.
        """
        found = self._found
        with self._store.database.read() as connection:
            text = rows.text_of(connection, found)
        if text is None:
            raise DocumentChanged(
                f"document {found.id!r} in collection '{self._store.name}' was changed or removed since the search "
                "that found it: search again."
            )
        return Document(found.id, text, found.title, found.metadata)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unread) and self._found == other._found

    def __hash__(self) -> int:
        return hash(self._found.id)

    def __reduce__(self) -> tuple[Callable[[Document], Document], tuple[Document]]:
        """A copy is the document itself: what reads it stays in this process."""
        return _itself, (self(),)


def _itself(document: Document) -> Document:
    return document


class LocalView:
    """An `EngineView` of one commit, inside its read transaction."""

    def __init__(self, view: View, retriever: Retriever) -> None:
        self._view = view
        self._retriever = retriever
        self._connection = view.connection
        self.snapshot = view.snapshot
        self.settings = view.snapshot.settings
        self.version: object = view.snapshot.version
        self.dim = view.snapshot.dim

    @property
    def passages(self) -> int:
        """How many passages there are."""
        return len(self.snapshot) - self.snapshot.removed

    # Candidates

    def fields(self) -> StoredFields:
        """See `EngineView.fields`."""
        from semsearch.local.store.filters import StoredFields

        return StoredFields(self._connection)

    def facets(self, name: str, where: Filter | None, most: int) -> list[tuple[str | float | bool, int]]:
        """See `semsearch.engine.Faceted`."""
        from semsearch.local.store.filters import facets_of

        return facets_of(self._connection, name, where, most)

    def allowed(self, where: Filter | None, query: Query | None = None) -> Mask | None:
        """See `EngineView.allowed`."""
        mask = None if where is None else self._retriever.filtered(self._view, where)
        own = None if query is None else self._retriever.lexical.allowed(self._view, query)
        return mask if own is None else own if mask is None else mask & own

    def dense(self, queries: Vectors, k: int, *, allowed: Mask | None, exact: bool, grouped: bool) -> list[Candidates]:
        """See `EngineView.dense`."""
        snapshot, several = self.snapshot, self._retriever.several_passages(self.snapshot)
        loaded = None if exact else self._retriever.loader.loaded_for(snapshot, len(queries))
        grouped &= several
        wanted = 3 * k if grouped else k
        while True:
            try:
                with np.errstate(invalid="ignore", over="ignore"):  # damaged rows may hold anything
                    found = self._retriever.planner.search(
                        snapshot, queries, wanted, allowed=self._sound(allowed), loaded=loaded
                    )
            except DataError:  # what is no number can't even be compared
                if not self._retriever.find_all_damage(snapshot):
                    raise
                continue
            neighbors = found.neighbors
            best = _best_of_documents(neighbors, snapshot, k) if grouped else neighbors
            if not grouped or neighbors.keys.shape[1] < wanted or (best.keys[:, -1] >= 0).all():
                newer = None  # the first key that the index does not cover
                if loaded is not None and loaded.rows < len(snapshot):
                    newer = int(snapshot.keys[loaded.rows])
                return self._candidates(best, found.how == "index", newer)
            wanted *= 4

    def _candidates(self, neighbors: Neighbors, index: bool, newer: int | None) -> list[Candidates]:
        docs = self.snapshot.docs.take(self.snapshot.rows_of(neighbors.keys), mode="clip")  # padding has no row
        way = INDEX if index else EXACT
        candidates = []
        for own, (keys, scores) in zip(docs, neighbors, strict=True):
            found = [way] * len(keys)
            if index and newer is not None:
                found = [FRESH if key >= newer else INDEX for key in keys.tolist()]
            candidates.append(Candidates(keys, own[: len(keys)], scores, found))
        return candidates

    def lexical(self, query: Query, k: int, *, allowed: Mask | None, grouped: bool) -> Candidates:
        """See `EngineView.lexical`."""
        grouped &= self._retriever.several_passages(self.snapshot)
        wanted = 3 * k if grouped else k
        while True:
            found, scores, way = self._retriever.lexical.search(self._view, query, wanted, self._sound(allowed))
            keys = found
            if grouped:
                best = _best_of_documents(Neighbors(keys[None], scores[None]), self.snapshot, k)
                ((keys, scores),) = best
            if not grouped or len(found) < wanted or len(keys) == k:
                docs = self.snapshot.docs[self.snapshot.rows_of(keys)]
                return Candidates(keys, docs, scores, [way] * len(keys))
            wanted *= 4

    def sparse(self, query: SparseVectors, k: int, *, allowed: Mask | None, grouped: bool) -> Candidates:
        """See `semsearch.engine.SparseView`."""
        grouped &= self._retriever.several_passages(self.snapshot)
        wanted = 3 * k if grouped else k
        while True:
            found, scores = self._retriever.sparse.search(self._view, query, wanted, self._sound(allowed))
            keys = found
            if grouped:
                best = _best_of_documents(Neighbors(keys[None], scores[None]), self.snapshot, k)
                ((keys, scores),) = best
            if not grouped or len(found) < wanted or len(keys) == k:
                docs = self.snapshot.docs[self.snapshot.rows_of(keys)]
                return Candidates(keys, docs, scores, [(SPARSE,)] * len(keys))
            wanted *= 4

    def sparse_vectors(self, keys: Keys) -> SparseVectors:
        """See `semsearch.engine.SparseView`."""
        own, vectors = self._retriever.sparse.vectors(self._view, keys)
        places = {key: place for place, key in enumerate(own.tolist())}
        rows = [vectors.row(places[key]) if key in places else NO_COMPONENTS for key in keys.tolist()]
        from semsearch.sparse_vectors import SparseVectors

        return SparseVectors.of_rows(rows, vectors.dim)

    def without_sparse(self, after: int, most: int) -> Keys:
        """See `semsearch.engine.SparseView`."""
        return np.array(sparse_rows.missing(self._connection, after, most), dtype=np.int64)

    @property
    def lacking_sparse(self) -> int:
        """See `semsearch.engine.SparseView`."""
        return self._retriever.lacking_sparse(self._view)

    def _sound(self, allowed: Mask | None) -> Mask | None:
        """`allowed` without the rows that are known to be damaged."""
        damaged = self._retriever.damaged
        if not damaged:
            return allowed
        sound = ~np.isin(self.snapshot.keys, list(damaged))
        return sound if allowed is None else allowed & sound

    # Passages

    def passages_of(self, keys: Keys) -> list[Passage | None]:
        """See `EngineView.passages_of`."""
        snapshot = self.snapshot
        places = snapshot.rows_of(keys).tolist()
        once = sorted(set(places))  # many queries find the same; few rows are sorted sooner so than by numpy
        found = np.array(once, dtype=np.intp)
        docs = snapshot.docs[found].tolist()
        asked = list(dict.fromkeys(docs))
        stored = rows.read(self._connection, asked)
        sound = snapshot.sound(found)
        if np.count_nonzero(sound) == len(sound) and len(stored.documents) == len(asked):
            documents = map(stored.documents.__getitem__, docs)
            whole = map(Passage.of, documents, snapshot.starts[found].tolist(), snapshot.ends[found].tolist())
            return list(map(dict(zip(once, whole, strict=True)).__getitem__, places))
        passages = self._read(stored, found, sound)
        self._note_damage(found, sound, np.array([passage is not None for passage in passages]), stored.ids)
        of_row = dict(zip(once, passages, strict=True))
        return [of_row[place] for place in places]

    def _read(self, stored: Stored, found: NDArray[np.intp], sound: Mask) -> list[Passage | None]:
        """The passages in the rows `found`, of what was `stored`; None where row or text are not as they were."""
        snapshot = self.snapshot
        columns = (snapshot.docs[found], snapshot.starts[found], snapshot.ends[found])
        places = list(zip(*(column.tolist() for column in columns), strict=True))
        return [
            passage if whole else None
            for passage, whole in zip(self._passages(stored, places), sound.tolist(), strict=True)
        ]

    def _passages(self, stored: Stored, places: Sequence[tuple[int, int, int]]) -> list[Passage | None]:
        """`text[start:end]` of each of `places`: document, start and end."""
        in_pieces = [place for place in places if place[0] in stored.long]
        texts = dict(zip(in_pieces, pieces.spans(self._connection, in_pieces), strict=True)) if in_pieces else {}
        passages: list[Passage | None] = []
        for place in places:
            doc, start, end = place
            if (document := stored.documents.get(doc)) is not None:
                passages.append(Passage.of(document, start, end))
            elif (text := texts.get(place)) is not None:
                long = stored.long[doc]
                source = Unread(long, self._retriever.store)
                passages.append(Passage(long.id, long.title, long.metadata, text, start, end, long.size, source))
            else:
                passages.append(None)
        return passages

    def present(self, keys: Keys) -> Mask:
        """See `EngineView.present`."""
        snapshot = self.snapshot
        if not len(snapshot):
            return np.zeros(len(keys), dtype=np.bool_)
        found = np.minimum(snapshot.rows_of(keys), len(snapshot) - 1)
        here: Mask = (snapshot.keys[found] == keys) & snapshot.live[found]
        return here

    def context_of(self, keys: Keys, count: int) -> list[Passage]:
        """See `EngineView.context_of`."""
        snapshot = self.snapshot
        own, spans = snapshot.rows_of(keys), []
        for row in own.tolist():
            near = np.arange(max(row - count, 0), min(row + count + 1, len(snapshot)))
            near = near[(snapshot.docs[near] == snapshot.docs[row]) & snapshot.live[near] & snapshot.sound(near)]
            spans.append((int(snapshot.docs[row]), int(snapshot.starts[near[0]]), int(snapshot.ends[near[-1]])))
        stored = rows.read(self._connection, sorted({doc for doc, _, _ in spans}))
        found = self._passages(stored, spans)
        if None in found:  # a neighbour lies in a damaged piece
            alone = self._read(stored, own, snapshot.sound(own))
            found = [context or passage for context, passage in zip(found, alone, strict=True)]
        return [self._whole(passage, int(doc), stored) for passage, doc in zip(found, snapshot.docs[own], strict=True)]

    def _whole(self, passage: Passage | None, doc: int, stored: Stored) -> Passage:
        """A passage that must be as it was stored."""
        if passage is None:
            what = f"document {stored.ids[doc]!r}" if doc in stored.ids else "a document"
            raise CollectionDamaged(
                f"{what} in collection '{self._retriever.store.name}' is damaged: see 'semsearch check --deep'."
            )
        return passage

    def vectors(self, keys: Keys) -> Vectors:
        """See `EngineView.vectors`."""
        return self.snapshot.vectors[self.snapshot.rows_of(keys)]

    def arrays(self) -> tuple[Keys, Vectors]:
        """See `EngineView.arrays`."""
        snapshot = self.snapshot
        if snapshot.removed:
            return snapshot.keys[snapshot.live], gathered(snapshot.vectors, np.flatnonzero(snapshot.live))
        return snapshot.keys, snapshot.vectors

    def keys_of(self, ids: Sequence[str]) -> dict[str, list[int]]:
        """See `EngineView.keys_of`."""
        return rows.keys_of(self._connection, ids)

    def docs_of(self, keys: Keys) -> NDArray[np.int64]:
        """See `EngineView.docs_of`."""
        return self.snapshot.docs[self.snapshot.rows_of(keys)]

    def sample(self, count: int, generator: np.random.Generator) -> Keys:
        """See `EngineView.sample`."""
        live = np.flatnonzero(self.snapshot.live)
        chosen = np.sort(generator.choice(live, min(count, len(live)), replace=False))
        keys: Keys = self.snapshot.keys[chosen]
        return keys

    # Documents

    def get(self, ids: Sequence[str]) -> dict[str, Document]:
        """See `EngineView.get`."""
        return rows.get(self._connection, list(ids))

    def count(self, where: Filter) -> int:
        """See `EngineView.count`."""
        from semsearch.local.store.filters import documents_of

        return int(np.count_nonzero(documents_of(self._connection, where)))

    def ids(self, where: Filter | None) -> Sequence[str]:
        """See `EngineView.ids`."""
        if where is None:
            return rows.all_ids(self._connection)
        from semsearch.local.store.filters import documents_of

        return rows.ids_of(self._connection, np.flatnonzero(documents_of(self._connection, where)).tolist())

    def documents(self) -> Iterator[Document]:
        """See `EngineView.documents`."""
        return rows.everything(self._connection)

    def stored(self) -> Iterator[tuple[list[Passage], Vectors]]:
        """See `EngineView.stored`."""
        snapshot = self.snapshot
        live = np.flatnonzero(snapshot.live)
        for first in range(0, len(live), PASSAGE_BATCH):
            places = live[first : first + PASSAGE_BATCH]
            vectors = np.ascontiguousarray(snapshot.vectors[places])
            sound = snapshot.sound(places)
            docs = snapshot.docs[places]
            stored = rows.read(self._connection, np.unique(docs).tolist())
            for doc in docs[~sound].tolist():
                if doc in stored.documents or doc in stored.long:
                    raise CollectionDamaged(
                        f"the stored vector of {stored.ids[doc]!r} in collection '{self._retriever.store.name}' is "
                        "damaged: 'semsearch repair' encodes it anew."
                    )
            found = self._read(stored, places, sound)
            yield [self._whole(*each, stored) for each in zip(found, docs.tolist(), strict=True)], vectors

    # Damage

    def _note_damage(self, found: NDArray[np.intp], sound: Mask, whole: Mask, ids: Mapping[int, str]) -> None:
        """Leave out from now on the found rows that are not `whole`: not what was committed, or their text is not."""
        snapshot = self.snapshot
        docs = snapshot.docs[found]
        there = np.isin(docs, list(ids))
        for places, sentence in (
            (~sound, "the stored vector of %s %s damaged and left out; 'semsearch repair' encodes it again"),
            (
                sound & ~whole & there,
                "%s %s damaged in the database and left out; 'semsearch check --deep' tells what fixes it",
            ),
            (sound & ~there, "the document of %s %s lost, its vector left out; 'semsearch repair' fixes it"),
        ):
            self._warn(sentence, snapshot.keys[found[places]].tolist(), docs[places].tolist(), ids)
        self._retriever.damaged |= frozenset(snapshot.keys[found[~whole]].tolist())

    def _warn(self, sentence: str, keys: list[int], docs: Iterable[int], ids: Mapping[int, str]) -> None:
        """Say once what is wrong with some passages, naming the documents of the first few."""
        if keys:
            each = zip(keys, docs, strict=True)
            names = list(dict.fromkeys(f"document {ids[doc]!r}" if doc in ids else f"key {key}" for key, doc in each))
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            verb = "is" if len(names) == 1 else "are"
            log.warning(
                f"collection '%s': {sentence}.", self._retriever.store.name, ", ".join(names[:NAMED]) + more, verb
            )


def _best_of_documents(neighbors: Neighbors, snapshot: Snapshot, k: int) -> Neighbors:
    """The first passage of each document, for the first `k` documents of each query."""
    k = min(k, neighbors.keys.shape[1])
    best = Neighbors(
        np.full((len(neighbors), k), -1, dtype=np.int64), np.full((len(neighbors), k), -np.inf, dtype=np.float32)
    )
    for query, (keys, scores) in enumerate(neighbors):
        _, first = np.unique(snapshot.docs[snapshot.rows_of(keys)], return_index=True)
        first = np.sort(first)[:k]
        best.keys[query, : len(first)] = keys[first]
        best.scores[query, : len(first)] = scores[first]
    return best
