"""The nearest passages by their vectors: through the graph of the server, or exactly, in slices that it scans.

A server that is asked for as many passages as a filter leaves, or more, compares them all, without a script: so exact
search goes through slices of keys, each of fewer passages than may be asked for. Whatever proposes them, documents are
scored by their stored vectors as everywhere in semsearch, and asked for until what was left out can't come among the
best by what the server's sums of float32 may be off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from semsearch.cluster.cluster_connection import ClusterConnection, columns
from semsearch.cluster.cluster_filters import IS_DOCUMENT, DocumentFilter, terms
from semsearch.cluster.dialects import Clause
from semsearch.cluster.document_store import TEXT_FIELDS, DocumentStore, StoredVectors
from semsearch.cluster.index_totals import IndexExtent, IndexTotals
from semsearch.engine import Candidates
from semsearch.types import Metric, Scores, Vectors
from semsearch.vectors import score_pairs, top_k

MOST_ASKED = 10_000  # passages that a server proposes at once
SLICE_PASSAGES = 8000  # of a slice, so that with those of its last document they are fewer than may be asked for
LEAST_DEPTH = 200  # of a walk: from here on it misses next to nothing, and finds the best passage of what it finds
BUCKETS = 20_000  # of a histogram of keys
SEARCHES = 16  # sent together
VECTOR_DOCUMENTS = 200  # whose vectors are read at once
TEXTS_KEPT = 2000  # passages whose texts came with vectors; those of more are asked for
VECTORS_KEPT = 64 << 20  # bytes of vectors that a view remembers
QUERIES_STREAMED = 8  # from so many on, all vectors may be read once instead of scanned for each
SCAN_COST, READ_COST = 0.012, 0.0002  # seconds: of a slice for a query, of a passage that is read
FLOAT32_STEP = 2.0**-23  # of float32, relative: twice what one rounding may be off
VECTOR_FIELDS = ("num", "keys", "p.v")
COMPARED_EXACTLY, WALKED = ("exact",), ("index",)


class NearestDocuments:
    """The nearest passages in one index."""

    def __init__(
        self,
        store: DocumentStore,
        dim: int,
        metric: Metric,
        totals: IndexTotals,
        depth: int | None,
        *,
        texts: bool | None = None,
    ) -> None:
        """`depth`: how many passages a walk keeps; None where searches are exact.

        `texts`: whether walks bring them with the vectors; None: where `totals` say that they are short.
        """
        self._store = store
        self._connection: ClusterConnection = store.connection
        self._dim = dim
        self._metric = metric
        self._totals = totals
        self.depth = depth
        self._texts = texts
        self._slices: dict[bytes, list[tuple[int, int, int]]] = {}  # of what a clause allows
        self.vectors: dict[int, Vectors] = {}  # that were read, by key
        self.docs: dict[int, int] = {}
        self._keys: dict[int, list[int]] = {}  # of documents whose vectors were read, by their numbers
        self.sources: dict[int, Mapping[str, Any]] = {}  # of documents whose texts were read, by key

    @property
    def _extent(self) -> IndexExtent:
        return self._totals.extent

    @property
    def texts(self) -> bool:
        """Whether walks bring texts with the vectors."""
        if self._texts is None:
            self._texts = self._totals.short_texts
        return self._texts

    def search(
        self, queries: Vectors, k: int, allowed: DocumentFilter, *, exact: bool, grouped: bool
    ) -> list[Candidates]:
        """See `semsearch.engine.EngineView.dense`."""
        if allowed.keys is None and self.depth is not None and not exact:
            return self._walked(queries, k, allowed, grouped)
        if not self._extent.passages or not len(queries):
            return [_candidates(_NONE_FOUND, COMPARED_EXACTLY)] * len(queries)
        if allowed.keys is not None:
            own = [self._stored(hits) for hits in self._of_keys(allowed)]
            return [self._best(query, own, k, grouped, allowed, COMPARED_EXACTLY) for query in queries]
        slices = self._sliced(allowed)
        if len(queries) >= QUERIES_STREAMED:
            passages = sum(of for _, _, of in slices)
            read = min(len(queries) * _margined(k), passages)  # of what slices propose, each once
            if len(queries) * len(slices) * SCAN_COST + read * READ_COST > passages * READ_COST:
                return self._streamed(queries, k, allowed, grouped)
        return [self._scanned(query, k, allowed, grouped) for query in queries]

    # Through the graph

    def _walked(self, queries: Vectors, k: int, allowed: DocumentFilter, grouped: bool) -> list[Candidates]:
        assert self.depth is not None
        found: list[Candidates] = []
        wanted = _margined(k)
        if wanted > MOST_ASKED:
            return [self._scanned(query, k, allowed, grouped) for query in queries]
        depth = min(max(self.depth, wanted), MOST_ASKED)
        along = len(queries) == 1  # what several queries find is read once
        for at in range(0, len(queries), SEARCHES):
            some = queries[at : at + SEARCHES]
            bodies = [self._body(query, depth, wanted, allowed.clause, vectors=along) for query in some]
            for query, said in zip(some, self._totals.searches(bodies), strict=True):
                hits = said["hits"]["hits"]
                read = [self._proposed(hits)] if along else list(self._of_documents([_number(hit) for hit in hits]))
                own = self._best(query, read, k, grouped, allowed, WALKED)
                if len(hits) < wanted:
                    if len(own.keys) < k and not self._are_all(hits, allowed):
                        own = self._deeper(query, k, wanted, allowed, grouped)
                elif self._may_miss(query, own, k, grouped, hits[-1]):
                    own = self._deeper(query, k, wanted, allowed, grouped)
                found.append(own)
        return found

    def _deeper(self, query: Vectors, k: int, wanted: int, allowed: DocumentFilter, grouped: bool) -> Candidates:
        """By a deeper walk; exactly where a walk ends too soon for `k`."""
        assert self.depth is not None
        while wanted * 4 <= MOST_ASKED:
            wanted *= 4
            depth = min(max(self.depth, wanted), MOST_ASKED)
            hits = self._search(self._body(query, depth, wanted, allowed.clause, vectors=True))
            own = self._best(query, [self._proposed(hits)], k, grouped, allowed, WALKED)
            if len(hits) < wanted and len(own.keys) < k:
                break
            if len(hits) < wanted or not self._may_miss(query, own, k, grouped, hits[-1]):
                return own
        return self._scanned(query, k, allowed, grouped)

    def _proposed(self, hits: Sequence[Any]) -> StoredVectors:
        """The vectors of a walk's hits, whose texts are remembered where they came with them."""
        if self.texts:
            for hit in hits:
                if len(self.sources) >= TEXTS_KEPT:
                    break
                text = {name: hit["_source"][name] for name in TEXT_FIELDS}
                self.sources |= dict.fromkeys(text["keys"], text)
        return self._stored(hits)

    def _are_all(self, hits: Sequence[Any], allowed: DocumentFilter) -> bool:
        """Whether these are all documents that are allowed: walks end too soon, and filters leave few."""
        body = {"size": 0, "track_total_hits": True, "query": allowed.clause}
        return int(self._connection.search(self._store.index, body)["hits"]["total"]["value"]) == len(hits)

    # Exactly

    def _scanned(self, query: Vectors, k: int, allowed: DocumentFilter, grouped: bool) -> Candidates:
        """By slices, each of which the server compares as a whole."""
        wanted = _margined(k)
        while True:
            proposed: list[tuple[float, int]] = []
            read: list[StoredVectors] = []
            cut = -np.inf  # no document that was left out has more
            small = [(low, high) for low, high, passages in self._sliced(allowed) if passages < MOST_ASKED]
            for low, high, passages in self._sliced(allowed):
                if passages >= MOST_ASKED:  # documents of thousands of passages
                    read += [self._stored(hits) for hits in self._pages(allowed, low, high)]
            size = min(wanted, MOST_ASKED)
            for at in range(0, len(small), SEARCHES):
                bodies = [
                    self._body(query, MOST_ASKED, size, _within(allowed, low, high), vectors=False)
                    for low, high in small[at : at + SEARCHES]
                ]
                for said in self._connection.searches(self._store.index, bodies):
                    hits = said["hits"]["hits"]
                    own = [(self._value(hit["_score"]), _number(hit)) for hit in hits]
                    proposed += own
                    if len(hits) == size and size < MOST_ASKED:
                        cut = max(cut, own[-1][0])
            proposed.sort(key=lambda one: (-one[0], one[1]))
            best = proposed[:wanted]
            if len(proposed) > wanted:
                cut = max(cut, proposed[wanted][0])
            read += self._of_documents([num for _, num in best])
            own_best = self._best(query, read, k, grouped, allowed, COMPARED_EXACTLY)
            if cut == -np.inf or not self._reaches(query, own_best, k, cut):
                return own_best
            wanted *= 4

    def _streamed(self, queries: Vectors, k: int, allowed: DocumentFilter, grouped: bool) -> list[Candidates]:
        """The nearest of many queries over all vectors that are allowed, read once."""
        best = [_NONE_FOUND] * len(queries)
        for hits in self._pages(allowed, None, None):
            some = self._stored(hits)
            for row, query in enumerate(queries):
                scores = score_pairs(query, some.vectors, self._metric)
                own = best[row]
                joined = _Found(
                    np.concatenate([own.keys, some.keys]),
                    np.concatenate([own.docs, some.docs]),
                    np.concatenate([own.scores, scores]),
                )
                best[row] = joined.best(k, grouped)
        return [_candidates(own, COMPARED_EXACTLY) for own in best]

    def _sliced(self, allowed: DocumentFilter) -> list[tuple[int, int, int]]:
        """First keys from and below, and passages, of slices that together are all that is allowed."""
        clause = orjson.dumps(allowed.clause)
        if clause not in self._slices:
            extent = self._extent
            whole = [(extent.first, extent.last + 1, extent.passages)]
            self._slices[clause] = whole if extent.passages < SLICE_PASSAGES else list(self._counted(allowed))
        return self._slices[clause]

    def _counted(self, allowed: DocumentFilter) -> Iterator[tuple[int, int, int]]:
        extent = self._extent
        width = max(SLICE_PASSAGES // 4, (extent.last - extent.first) // BUCKETS + 1)
        own = {"passages": {"sum": {"field": "passages"}}}
        histogram = {"field": "first", "interval": width, "min_doc_count": 1}
        aggregations = {"slices": {"histogram": histogram, "aggs": own}}
        said = self._connection.search(self._store.index, {"size": 0, "query": allowed.clause, "aggs": aggregations})
        low: int | None = None
        high = passages = 0
        for bucket in said["aggregations"]["slices"]["buckets"]:
            more = int(bucket["passages"]["value"])
            if low is not None and passages + more > SLICE_PASSAGES:
                yield low, high, passages
                low, passages = None, 0
            low = int(bucket["key"]) if low is None else low
            high, passages = int(bucket["key"]) + width, passages + more
        if low is not None:
            yield low, high, passages

    # Scores

    def _body(self, query: Vectors, depth: int, size: int, among: Clause, *, vectors: bool) -> Clause:
        asked = {"size": size, "query": self._connection.dialect.nearest(query, depth, among)}
        if vectors:
            return {
                **asked,
                "_source": self._connection.dialect.source((*TEXT_FIELDS, "p.v") if self.texts else VECTOR_FIELDS),
            }
        return {**asked, **columns("num")}

    def _search(self, body: Clause) -> list[Any]:
        return list(self._connection.search(self._store.index, body)["hits"]["hits"])

    def _best(
        self,
        query: Vectors,
        read: Sequence[StoredVectors],
        k: int,
        grouped: bool,
        allowed: DocumentFilter,
        way: tuple[str, ...],
    ) -> Candidates:
        """The best of what was read, by its stored vectors."""
        found = _NONE_FOUND
        for some in read:
            keys, docs, vectors = some.keys, some.docs, some.vectors
            if allowed.keys is not None:
                mask = np.array([key in allowed.keys for key in keys.tolist()], dtype=np.bool_)
                keys, docs, vectors = keys[mask], docs[mask], vectors[mask]
            scores = score_pairs(query, vectors, self._metric)
            found = _Found(
                np.concatenate([found.keys, keys]),
                np.concatenate([found.docs, docs]),
                np.concatenate([found.scores, scores]),
            ).best(k, grouped)
        return _candidates(found, way)

    def _value(self, score: float) -> float:
        """What the server's score says of the product, or of minus the squared distance."""
        if self._metric == Metric.L2:
            return 1 - 1 / score if score > 0 else -np.inf
        if score >= 1:
            return score - 1
        return 1 - 1 / score if score > 0 else -np.inf

    def _may_miss(self, query: Vectors, own: Candidates, k: int, grouped: bool, last: Any) -> bool:
        """Whether a document behind the `last` hit may be among the best."""
        return self._reaches(query, own, k, self._value(last["_score"]))

    def _reaches(self, query: Vectors, own: Candidates, k: int, value: float) -> bool:
        """Whether what the server gives a `value` may be among the `k` best that are known."""
        return len(own.keys) < k or value + self._off(query, value) >= float(own.scores[-1])

    def _off(self, query: Vectors, value: float) -> float:
        """By how much the server's value may be off: its sums, and its score, are of float32."""
        length = float(np.linalg.norm(query.astype(np.float64)))
        longest = self._extent.longest
        size = length * longest if self._metric != Metric.L2 else (length + longest) ** 2
        return (self._dim + 4) * FLOAT32_STEP / 2 * size + 2 * FLOAT32_STEP * (1 + abs(value))

    # Reading

    def of_keys(self, keys: Sequence[int]) -> dict[int, Vectors]:
        """The vectors of those of the passages that are there, by key."""
        known = {key: self.vectors[key] for key in keys if key in self.vectors}
        lacking = [key for key in dict.fromkeys(keys) if key not in known]
        for at in range(0, len(lacking), VECTOR_DOCUMENTS):
            own = self._stored(list(self._store.of_keys(lacking[at : at + VECTOR_DOCUMENTS], VECTOR_FIELDS)))
            known.update(zip(own.keys.tolist(), own.vectors, strict=True))
        return known

    def forget(self, keys: Sequence[int]) -> None:
        """Read anew the documents that had these passages when they were read."""
        for key in keys:
            for gone in self._keys.pop(self.docs.get(key, -1), ()):
                self.vectors.pop(gone, None)
                self.docs.pop(gone, None)

    def _stored(self, hits: Sequence[Any]) -> StoredVectors:
        """What hits say, remembered as long as it is not too much."""
        read = StoredVectors.of(hits, self._dim)
        if len(self.vectors) * self._dim * 4 < VECTORS_KEPT:
            keys, docs = read.keys.tolist(), read.docs.tolist()
            self._keys |= {doc: [] for doc in docs}
            for key, doc in zip(keys, docs, strict=True):
                self._keys[doc].append(key)
            self.docs.update(zip(keys, docs, strict=True))
            self.vectors.update(zip(keys, read.vectors, strict=True))
        return read

    def _of_keys(self, allowed: DocumentFilter) -> Iterator[list[Any]]:
        keys = sorted(allowed.keys or ())
        for at in range(0, len(keys), VECTOR_DOCUMENTS):
            query = {"bool": {"filter": [allowed.clause, terms("keys", keys[at : at + VECTOR_DOCUMENTS])]}}
            yield self._read(query, VECTOR_DOCUMENTS)

    def _of_documents(self, nums: Sequence[int]) -> Iterator[StoredVectors]:
        known = [(key, num) for num in nums for key in self._keys.get(num, ())]
        if known:
            keys, docs = np.array(known, dtype=np.int64).T
            yield StoredVectors(keys, docs, np.stack([self.vectors[key] for key, _ in known]))
        lacking = [num for num in nums if num not in self._keys]
        for at in range(0, len(lacking), VECTOR_DOCUMENTS):
            query = {"bool": {"filter": [IS_DOCUMENT, terms("num", lacking[at : at + VECTOR_DOCUMENTS])]}}
            yield self._stored(self._read(query, VECTOR_DOCUMENTS))

    def _read(self, query: Clause, size: int) -> list[Any]:
        return self._search({"size": size, "query": query, "_source": self._connection.dialect.source(VECTOR_FIELDS)})

    def _pages(self, allowed: DocumentFilter, low: int | None, high: int | None) -> Iterator[list[Any]]:
        among = allowed.clause if low is None or high is None else _within(allowed, low, high)
        source = self._connection.dialect.source(VECTOR_FIELDS)
        yield from self._connection.pages(self._store.index, among, source, page=VECTOR_DOCUMENTS)


def _within(allowed: DocumentFilter, low: int, high: int) -> Clause:
    return {"bool": {"filter": [allowed.clause, {"range": {"first": {"gte": low, "lt": high}}}]}}


def _number(hit: Any) -> int:
    return int(hit["fields"]["num"][0])


def _margined(k: int) -> int:
    return k + max(10, k // 10)


@dataclass(frozen=True, slots=True)
class _Found:
    """Passages with their scores, best first."""

    keys: NDArray[np.int64]
    docs: NDArray[np.int64]
    scores: Scores

    def best(self, k: int, grouped: bool) -> _Found:
        """The `k` best, or the best of each of the `k` best documents; of equals the smaller keys."""
        order = top_k(self.keys, self.scores, len(self.keys) if grouped else k)
        if grouped:
            _, first = np.unique(self.docs[order], return_index=True)
            order = order[np.sort(first)[:k]]
        return _Found(self.keys[order], self.docs[order], self.scores[order])


_NONE_FOUND = _Found(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))


def _candidates(found: _Found, way: tuple[str, ...]) -> Candidates:
    return Candidates(found.keys, found.docs, found.scores, [way] * len(found.keys))
