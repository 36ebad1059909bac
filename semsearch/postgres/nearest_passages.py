"""The nearest passages by their vectors: through the graph of pgvector, by a scan, or by all vectors streamed.

Whatever proposes them, passages are scored by their stored vectors as everywhere in semsearch. A scan is exact by that
score, not only by pgvector's sum in float32: it goes on until what it has left out can't come among the best.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from psycopg import Cursor
from psycopg.rows import TupleRow

from semsearch.engine import Candidates
from semsearch.postgres.array_format import RowStream, VectorParameter, vectors_of
from semsearch.postgres.connections import DatabaseSession
from semsearch.postgres.passage_filter import PassageFilter
from semsearch.types import Keys, Metric, Scores, Vectors
from semsearch.vectors import score_each, score_pairs, top_k

ROUNDING = 2.0**-24  # of float32, relative
STREAMED_QUERIES = 8  # from so many on, all vectors are fetched once instead of scanned for each
STREAMED_ROWS = 8192
WALKED_QUERIES = 64  # in one round trip
MOST_EF = 1000  # pgvector takes no more
DISTANCE_OPERATORS = {Metric.COSINE: b"<#>", Metric.DOT: b"<#>", Metric.L2: b"<->"}

_SCAN = b"""
SELECT key, doc, vector_send(vector), distance FROM (
    SELECT p.key, p.doc, p.vector, (p.vector %s %%(query)s::vector) + 0 AS distance FROM passages AS p WHERE %s
    ORDER BY distance, key LIMIT %%(most)s
) AS nearest
"""
# One query a statement, whose vector is a value to the planner: one that comes out of a row is taken apart again for
# each comparison.
_WALK = b"""
SELECT p.key, p.doc, vector_send(p.vector) FROM passages AS p WHERE %s
ORDER BY %s %s %%(query)s::%s LIMIT %%(most)s
"""


_NEAR_WALKED = b"""
WITH near AS MATERIALIZED (
    SELECT p.key, p.doc, p.start, p."end", p.vector, (p.vector %s %%(query)s::vector)::float8 AS distance
    FROM passages AS p WHERE %s ORDER BY %s %s %%(query)s::%s LIMIT %%(most)s
)"""
_NEAR_SCANNED = b"""
WITH near AS MATERIALIZED (
    SELECT p.key, p.doc, p.start, p."end", p.vector, best.distance FROM (
        SELECT p.key, (p.vector %s %%(query)s::vector) + 0 AS distance FROM passages AS p WHERE %s
        ORDER BY distance, key LIMIT %%(most)s
    ) AS best JOIN passages AS p USING (key)
)"""

PassageRow: TypeAlias = tuple[int, int, bytes, float]  # key, document, vector, distance


class AtOnce(NamedTuple):
    """A search that may be all that is asked: a common table expression `near`, and what its rows say."""

    statement: bytes
    values: dict[str, Any]
    found: Callable[[Sequence[PassageRow]], Candidates | None]  # None where more must be asked


class NearestFound:
    """Passages with their true scores, best first."""

    __slots__ = ("docs", "keys", "scores")

    def __init__(self, keys: Keys, docs: NDArray[np.int64], scores: Scores) -> None:
        self.keys, self.docs, self.scores = keys, docs, scores

    def best(self, k: int) -> NearestFound:
        """The `k` best, of equals the smaller keys."""
        order = top_k(self.keys, self.scores, k)
        return NearestFound(self.keys[order], self.docs[order], self.scores[order])

    def of_documents(self, k: int) -> NearestFound:
        """The best passage of each of the `k` best documents; of passages in their order."""
        _, first = np.unique(self.docs, return_index=True)
        order = np.sort(first)[:k]
        return NearestFound(self.keys[order], self.docs[order], self.scores[order])

    def candidates(self, way: tuple[str, ...]) -> Candidates:
        """As the pipeline takes them."""
        return Candidates(self.keys, self.docs, self.scores, [way] * len(self.keys))


class NearestPassages:
    """The nearest passages of one state."""

    def __init__(self, session: DatabaseSession, dim: int, metric: Metric, longest: float, index: bytes | None) -> None:
        """`longest`: no stored vector is longer; `index`: what the graph is built over, "vector::halfvec(384)"."""
        self._session = session
        self._dim = dim
        self._metric = metric
        self._longest = longest
        self._index = index
        self.vectors: dict[int, Vectors] = {}  # that were fetched, by key

    def search(
        self, queries: Vectors, k: int, allowed: PassageFilter | None, *, exact: bool, grouped: bool
    ) -> list[Candidates]:
        """See `semsearch.engine.EngineView.dense`; `grouped` where documents have several passages."""
        condition = PassageFilter() if allowed is None else allowed
        if self._index is not None and not exact and not condition.scanned:
            return list(self._through_index(queries, k, condition, grouped))
        if len(queries) < STREAMED_QUERIES:
            return [self._scanned(query, k, condition, grouped).candidates(("exact",)) for query in queries]
        return [found.candidates(("exact",)) for found in self._streamed(queries, k, condition, grouped)]

    def at_once(self, query: Vectors, k: int, allowed: PassageFilter | None, *, exact: bool, grouped: bool) -> AtOnce:
        """A search for one query as part of a statement that gives other things, too."""
        wanted = 3 * k if grouped else k
        operator = DISTANCE_OPERATORS[self._metric]
        condition = PassageFilter() if allowed is None else allowed
        if walked := self._index is not None and not exact and not condition.scanned:
            assert self._index is not None
            most = wanted + max(30, wanted // 4)
            kind = self._index.partition(b"::")[2]
            statement = _NEAR_WALKED % (operator, condition.condition, b"p." + self._index, operator, kind)
        else:
            most = wanted + max(10, wanted // 10)
            statement = _NEAR_SCANNED % (operator, condition.condition)

        def found(rows: Sequence[PassageRow]) -> Candidates | None:
            every = self._scored(query, [row[:3] for row in rows])
            best = every.best(wanted)
            if not walked and len(rows) == most:
                least = max(distance for _, _, _, distance in rows)
                if float(best.scores[-1]) <= self._reachable(query, least):
                    return None
            if grouped:
                nearest = best.of_documents(k)
                if len(nearest.keys) < k and (walked or len(every.keys) >= wanted):
                    return None
                best = nearest
            if walked and len(best.keys) < k:
                return None
            return best.candidates(("index",) if walked else ("exact",))

        return AtOnce(statement, condition.values | {"query": VectorParameter(query), "most": most}, found)

    def _through_index(self, queries: Vectors, k: int, condition: PassageFilter, grouped: bool) -> Iterator[Candidates]:
        """By walks of the graph, some in one round trip; exactly where a walk ended too soon for `k`."""
        for start in range(0, len(queries), WALKED_QUERIES):
            some = queries[start : start + WALKED_QUERIES]
            wanted = 3 * k if grouped else k
            for query, found in zip(some, self._walked(some, wanted, condition), strict=True):
                best = found.of_documents(k) if grouped else found
                while grouped and len(best.keys) < k and len(found.keys) >= wanted:
                    wanted *= 4
                    (found,) = self._walked(query[None], wanted, condition)
                    best = found.of_documents(k)
                if len(best.keys) < k:
                    yield self._scanned(query, k, condition, grouped).candidates(("exact",))
                else:
                    yield best.candidates(("index",))

    def _walked(self, queries: Vectors, wanted: int, condition: PassageFilter) -> list[NearestFound]:
        assert self._index is not None
        kind = self._index.partition(b"::")[2]
        statement = _WALK % (condition.condition, b"p." + self._index, DISTANCE_OPERATORS[self._metric], kind)
        # more than are wanted: the order of the halved numbers is not that of the scores
        values = condition.values | {"most": wanted + max(30, wanted // 4)}

        def asked(query: Vectors) -> Cursor[TupleRow]:
            return self._session.execute(statement, values | {"query": VectorParameter(query)}, binary=True)

        with self._session.pipeline() if len(queries) > 1 else nullcontext():  # all sent before the first answers
            answers = list(map(asked, queries))
        found = [answer.fetchall() for answer in answers]
        return [self._scored(query, rows).best(wanted) for query, rows in zip(queries, found, strict=True)]

    def _scanned(self, query: Vectors, k: int, condition: PassageFilter, grouped: bool) -> NearestFound:
        return deepened(lambda wanted: self._scan(query, wanted, condition), k, grouped)

    def _scan(self, query: Vectors, wanted: int, condition: PassageFilter) -> NearestFound:
        most = wanted + max(10, wanted // 10)
        statement = _SCAN % (DISTANCE_OPERATORS[self._metric], condition.condition)
        while True:
            values = condition.values | {"query": VectorParameter(query), "most": most}
            rows = self._session.execute(statement, values, binary=True).fetchall()
            found = self._scored(query, [row[:3] for row in rows])
            best = found.best(wanted)
            if len(rows) < most or float(best.scores[-1]) > self._reachable(query, float(rows[-1][3])):
                return best
            most *= 4

    def _reachable(self, query: Vectors, distance: float) -> float:
        """What a passage may score at most that is as far away as this, by pgvector's sum of float32."""
        error = (self._dim + 4) * ROUNDING
        if self._metric == Metric.L2:
            return -(distance**2) * (1 - error)
        return -distance + error * float(np.linalg.norm(query.astype(np.float64))) * self._longest

    def _scored(self, query: Vectors, rows: Sequence[tuple[int, int, bytes]]) -> NearestFound:
        keys = np.array([key for key, _, _ in rows], dtype=np.int64)
        docs = np.array([doc for _, doc, _ in rows], dtype=np.int64)
        vectors = vectors_of([sent for _, _, sent in rows], self._dim)
        self.vectors.update(zip(keys.tolist(), vectors, strict=True))
        return NearestFound(keys, docs, score_pairs(query, vectors, self._metric))

    def _streamed(self, queries: Vectors, k: int, condition: PassageFilter, grouped: bool) -> list[NearestFound]:
        """The nearest of many queries, exactly, over all vectors that are allowed, fetched once."""
        wanted = 3 * k if grouped else k
        while True:
            found = self._stream(queries, wanted, condition)
            if not grouped:
                return found
            best = [own.of_documents(k) for own in found]
            if all(len(own.keys) == k or len(all_.keys) < wanted for own, all_ in zip(best, found, strict=True)):
                return best
            wanted *= 4

    def _stream(self, queries: Vectors, wanted: int, condition: PassageFilter) -> list[NearestFound]:
        empty = np.empty(0, dtype=np.int64)
        best = [NearestFound(empty, empty, np.empty(0, dtype=np.float32))] * len(queries)
        lengths = np.linalg.norm(queries.astype(np.float64), axis=1)
        slack = 2 * (self._dim + 4) * ROUNDING * lengths * max(self._longest, 1e-30)
        if self._metric == Metric.L2:
            slack = 4 * (self._dim + 4) * ROUNDING * (lengths + self._longest) ** 2
        for (keys, docs), vectors in stream(self._session, self._dim, condition):
            rough = self._rough(queries, vectors)
            for row, own in enumerate(best):
                least = -np.inf if len(own.keys) < wanted else float(own.scores[-1])
                if len(keys) > wanted:
                    nth = float(np.partition(rough[row], len(keys) - wanted)[len(keys) - wanted])
                    least = max(least, nth - slack[row])
                places = np.flatnonzero(rough[row] >= least - slack[row])
                if not len(places):
                    continue
                asked = np.full(len(places), row, dtype=np.intp)
                scores = score_each(queries, asked, vectors, places, self._metric)
                best[row] = NearestFound(
                    np.concatenate([own.keys, keys[places]]),
                    np.concatenate([own.docs, docs[places]]),
                    np.concatenate([own.scores, scores]),
                ).best(wanted)
        return best

    def _rough(self, queries: Vectors, vectors: Vectors) -> NDArray[np.float32]:
        products: NDArray[np.float32] = queries @ vectors.T
        if self._metric != Metric.L2:
            return products
        squares = np.einsum("nd,nd->n", vectors, vectors)
        rough: NDArray[np.float32] = 2 * products - squares - np.einsum("nd,nd->n", queries, queries)[:, None]
        return rough


def stream(
    session: DatabaseSession, dim: int, condition: PassageFilter | None = None, *, ordered: bool = False
) -> Iterator[tuple[list[Keys], Vectors]]:
    """Keys, documents and vectors of passages, some thousand at a time; in the order of their keys if `ordered`."""
    allowed = PassageFilter() if condition is None else condition
    statement = b"COPY (SELECT p.key, p.doc, p.vector FROM passages AS p WHERE " + allowed.condition
    statement += b" ORDER BY p.key) TO STDOUT (FORMAT binary)" if ordered else b") TO STDOUT (FORMAT binary)"
    with session.cursor().copy(statement, allowed.values or None) as copy:
        yield from RowStream(2, dim).read(copy, STREAMED_ROWS)


def deepened(ask: Callable[[int], NearestFound], k: int, grouped: bool) -> NearestFound:
    """The `k` best passages, or the best of each of the `k` best documents, asked for more until there are so many."""
    if not grouped:
        return ask(k)
    wanted = 3 * k
    while True:
        found = ask(wanted)
        best = found.of_documents(k)
        if len(best.keys) == k or len(found.keys) < wanted:
            return best
        wanted *= 4


def by_key(vectors: Mapping[int, Vectors], keys: Keys, dim: int) -> Vectors:
    """The vectors `(len(keys), dim)` of keys."""
    if not len(keys):
        return np.empty((0, dim), dtype=np.float32)
    return np.stack([vectors[key] for key in keys.tolist()])
