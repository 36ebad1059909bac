"""Exact search by torch: a fast first pass whose error is bounded, then the true score of all that could matter.

The first pass multiplies all rows by all queries in float32, or in int8 or bfloat16 codes that are read two to four
times faster, and yields for every row an upper bound of its true score. The true scores (`semsearch.vectors`) of any k
rows give a threshold; a row whose upper bound lies under it can't be among the k best. What is left, rarely more than a
few dozen rows, is scored truly. So keys and scores are those of `brute_force`, bit for bit, whatever the codes.

Rows are held in blocks: only blocks whose largest bound passes the threshold are looked into, which costs a tenth of a
`topk` over all rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from indexes import without_torch
from indexes.codes import CODES, Codes, CodesPass
from indexes.first_pass import BOUND_BLOCK, Asked, FirstPass, Float32Pass, threshold
from indexes.pair_scores import Pairs
from indexes.translation import built_otherwise, checked_queries, checked_rows, nothing, shaped_rows
from semsearch.errors import UsageError
from semsearch.hardware import cpu_has, multiplies_int8, settle_threads
from semsearch.options import Options, option
from semsearch.types import Keys, Metric, Neighbors, Vectors
from semsearch.vector_index import Baseline, Knob, Library
from semsearch.vectors import top_k

if TYPE_CHECKING:
    import torch

QUERY_TILE = 1024  # searched together
TILE_NEIGHBORS = 1 << 16  # of all queries that are searched together, so that what is held of them stays in cache
ESTIMATES = 1 << 22  # upper bounds held at a time: 16 MB, so that they are still in cache when they are looked at
GATHERED = 1 << 23  # components of allowed rows gathered at a time
WORTH = 256  # pairs above which a look in float32 pays before they are scored in float64
FLOOD = 0.05  # share of the rows above which a first pass has told nothing about a query
RESCORED_ROWS = 4096  # rows scored truly before all but the best are dropped
SMALL = 16_384  # rows below which codes gain less than a millisecond


@dataclass(frozen=True)
class ExactParams(Options):
    """Options of exact search."""

    codes: str = option("auto", "what the first pass multiplies", choices=("auto", "none", "int8", "bf16"))
    device: str = option("auto", "where it runs: cpu, cuda, cuda:1, …; auto takes a GPU for codes")


class ExactIndex:
    """Every row is looked at; the answer is `semsearch.vectors.brute_force`'s."""

    Params: ClassVar = ExactParams
    library: ClassVar = Library("torch")
    metrics: ClassVar = frozenset(Metric)
    knob: ClassVar[Knob | None] = None
    exact: ClassVar[bool] = True  # recall is 1 by proof, not by measurement
    filterable: ClassVar[bool] = True
    variants: ClassVar[Sequence[Mapping[str, Any]]] = ({"codes": "none"}, {"codes": "int8"}, {"codes": "bf16"})

    def __init__(
        self, keys: Keys, vectors: Vectors, metric: Metric, params: ExactParams, codes: Codes | None, reason: str
    ) -> None:
        self._keys = keys
        self._vectors = vectors  # (n, dim), perhaps mapped
        self._metric = metric
        self._pairs = Pairs(keys, vectors, metric)
        self._codes = codes
        self.reason = reason  # for these codes and this device, in a sentence
        self._params = params
        if params.device != "auto":
            chosen_device(params)  # what was asked for must be there

    @cached_property
    def _passes(self) -> list[FirstPass]:
        device = chosen_device(self._params)
        own: FirstPass = Float32Pass(self._vectors, self._metric, device)
        return [own] if self._codes is None else [CodesPass(self._codes, self._metric, device), own]

    @classmethod
    def bytes_per_row(cls, dim: int, params: ExactParams) -> float:
        """Its code, where there are any, and the facts for its bound."""
        kind, _ = chosen_codes(params, SMALL)
        return {"none": 0, "int8": dim + 16, "bf16": 2 * dim + 16}[kind]

    @classmethod
    def baseline(cls, vectors: Vectors, metric: Metric, params: ExactParams, threads: int) -> Baseline | None:
        """A product of matrices and the best of each row; for distances torch has no single call."""
        import torch

        if metric == Metric.L2:
            return None
        stored = torch.from_numpy(np.array(vectors))
        return Baseline(
            lambda value: None, lambda queries, k: torch.topk(torch.from_numpy(queries) @ stored.T, k).indices
        )

    @classmethod
    def build(cls, keys: Keys, vectors: Vectors, metric: Metric, params: ExactParams) -> Self:
        """An index of `vectors` `(n, dim)`; without codes nothing is read or computed here."""
        keys, vectors = shaped_rows(keys, vectors)
        kind, reason = chosen_codes(params, len(keys))
        codes = None
        if kind != "none":
            settle_threads()
            keys, vectors = checked_rows(keys, vectors)
            codes = Codes.make(vectors, metric, kind)
        return cls(keys, vectors, metric, params, codes, reason)

    def search(self, queries: Vectors, k: int) -> Neighbors:
        """The `k` best keys of each query, ties to the smaller key."""
        return self._search(queries, k, None)

    def search_allowed(self, queries: Vectors, k: int, allowed: NDArray[np.bool_]) -> Neighbors:
        """As `search`, among the rows `i` where `allowed[i]`."""
        return self._search(queries, k, np.flatnonzero(allowed))

    def tune(self, params: ExactParams) -> None:
        """Nothing can be tuned: the answer is exact."""

    def save(self, folder: Path) -> None:
        """The codes, if there are any."""
        if self._codes is not None:
            self._codes.save(folder)

    @classmethod
    def load(cls, folder: Path, keys: Keys, vectors: Vectors, metric: Metric, params: ExactParams) -> Self:
        """The index that `save` wrote, its codes mapped."""
        keys, vectors = shaped_rows(keys, vectors)
        codes, reason = None, "no codes were made"
        if (folder / CODES).exists():
            codes, reason = Codes.load(folder), "codes as they were made"
            if len(codes.rows) != len(keys):
                raise built_otherwise(len(keys), len(codes.rows))
            codes.check_shape(vectors.shape[1])
        return cls(keys, vectors, metric, params, codes, reason)

    @classmethod
    def verify(cls, folder: Path, keys: Keys, vectors: Vectors, metric: Metric, params: ExactParams) -> None:
        """The codes are those of the vectors, and what they leave out is not said to be less than it is."""
        if (folder / CODES).exists():
            Codes.load(folder).verify(vectors, metric)

    def __len__(self) -> int:
        return len(self._keys)

    def _search(self, queries: Vectors, k: int, rows: NDArray[np.int64] | None) -> Neighbors:
        queries, k = checked_queries(queries, k, self._vectors.shape[1])
        if without_torch.serves(self._vectors, queries, self._metric):
            return without_torch.search(self._keys, self._pairs, self._vectors, queries, k, rows)
        settle_threads()
        count = len(self._keys) if rows is None else len(rows)
        found = nothing(len(queries), k)
        size = max(1, min(QUERY_TILE, TILE_NEIGHBORS // max(k, 1)))
        for start in range(0, len(queries) if count else 0, size):
            tile = np.arange(start, min(start + size, len(queries)))
            for first_pass in self._passes if count > k else []:
                tile = self._certified(first_pass, queries, tile, k, rows, found)
                if not len(tile):
                    break
            for query in tile:
                self._by_definition(queries, int(query), k, rows, found)
        return found

    def _certified(
        self,
        first_pass: FirstPass,
        queries: Vectors,
        tile: NDArray[np.int64],
        k: int,
        rows: NDArray[np.int64] | None,
        found: Neighbors,
    ) -> NDArray[np.int64]:
        """Answer the queries of `tile`; returns those for which the first pass let too many rows through."""
        import torch

        asked = first_pass.ask(queries[tile])
        count = len(self._keys) if rows is None else len(rows)
        most = asked.most if rows is None else min(asked.most, GATHERED // queries.shape[1])  # gathering copies
        step = max(min(max(ESTIMATES // len(tile), 4 * k, 1024), most) // BOUND_BLOCK * BOUND_BLOCK, BOUND_BLOCK)
        room = torch.empty(
            min(step, count + BOUND_BLOCK) // BOUND_BLOCK * BOUND_BLOCK, len(tile), device=first_pass.device
        )
        least = np.full(len(tile), -np.inf)  # of the k best true scores none is below this
        candidates = _Candidates(len(tile), max(int(FLOOD * count), 4 * k, 4096))
        due = 2
        for number, start in enumerate(range(0, count, step), 1):
            part = slice(start, min(start + step, count)) if rows is None else rows[start : start + step]
            bounds = first_pass.upper(asked, part, room)  # (rows padded to blocks, q)
            blocks = bounds.view(-1, BOUND_BLOCK if len(bounds) >= 4 * k * BOUND_BLOCK else 1, len(tile))
            maxima = blocks.amax(dim=1)  # (blocks, q)
            if number == 1:
                kth = maxima.topk(k, dim=0).values[-1].cpu().numpy() if len(maxima) >= k else least
                lower = first_pass.at_least(asked, kth)
                least = self._first_least(blocks, maxima, queries[tile], k, part) if lower is None else lower
            elif number == due:
                least = np.maximum(least, self._reached(first_pass, asked, candidates, queries, tile, k))
            due *= 4 if number == due else 1  # the threshold settles early: by chunks 1, 2, 8, 32, …
            limit = self._limit(asked, least)
            limit[candidates.flooded] = np.inf
            query, place, over = passing(blocks, maxima, torch.from_numpy(limit).to(first_pass.device))
            place = place + part.start if isinstance(part, slice) else part[place]
            candidates.add(query, place, first_pass.tightened(asked, query, place, over), limit)
        if count > step:
            least = np.maximum(least, self._reached(first_pass, asked, candidates, queries, tile, k))
        close = first_pass.at_least(asked, np.zeros(len(tile), np.float32)) is not None
        self._decide(candidates, self._limit(asked, least), queries, tile, k, found, close=close)
        return tile[candidates.flooded]

    def _limit(self, asked: Asked, least: NDArray[np.float64]) -> NDArray[np.float32]:
        return threshold(asked, least, self._metric, self._vectors.shape[1])

    def _first_least(
        self,
        blocks: torch.Tensor,
        maxima: torch.Tensor,
        queries: Vectors,
        k: int,
        part: slice | NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """What the k best score at least, by the first row of each of the k best blocks: `(q,)`."""
        import torch

        q = len(queries)
        at = maxima.topk(min(k, len(maxima)), dim=0).indices  # (k, q)
        offset = blocks[at, :, torch.arange(q, device=at.device)].argmax(dim=2)
        row = (at * blocks.shape[1] + offset).cpu().numpy()
        real = row < (part.stop - part.start if isinstance(part, slice) else len(part))  # the rest is padding
        query = np.broadcast_to(np.arange(q), row.shape)[real]
        return self._least(
            queries, np.arange(q), query, row[real] + part.start if isinstance(part, slice) else part[row[real]], k
        )

    def _reached(
        self,
        first_pass: FirstPass,
        asked: Asked,
        candidates: _Candidates,
        queries: Vectors,
        tile: NDArray[np.int64],
        k: int,
    ) -> NDArray[np.float64]:
        """What the k best candidates of each query score at least: `(q,)`."""
        lower = first_pass.at_least(asked, candidates.kth_bound(k))
        return self._least(queries, tile, *candidates.best(k), k) if lower is None else lower

    def _least(
        self, queries: Vectors, tile: NDArray[np.int64], query: NDArray[np.int64], rows: NDArray[np.int64], k: int
    ) -> NDArray[np.float64]:
        """For each query what the lowest of its k rows scores at least; -inf where there are fewer than k."""
        low, _ = self._pairs.approximately(queries, tile[query], rows)
        return kth_best(query, low, k, len(tile))

    def _decide(
        self,
        candidates: _Candidates,
        limit: NDArray[np.float32],
        queries: Vectors,
        tile: NDArray[np.int64],
        k: int,
        found: Neighbors,
        *,
        close: bool,
    ) -> None:
        """Score the candidates truly and write the best of each query into `found`; `close`: few are more than k."""
        query, rows = candidates.over(limit)
        if len(query) > WORTH and not close:  # float32 leaves hardly more than k of a query to be scored in float64
            low, high = self._pairs.approximately(queries, tile[query], rows)
            least = kth_best(query, low, k, len(tile))[query]
            keep = ~(high < least - np.abs(least) * 2.0**-23)  # true scores are rounded to float32
            query, rows = query[keep], rows[keep]
        scores = self._pairs.exactly(queries, tile[query], rows)
        order = np.lexsort((self._keys[rows], -scores, query))
        query, rows, scores = query[order], rows[order], scores[order]
        rank = ranks(query)
        top = rank < k
        found.keys[tile[query[top]], rank[top]] = self._keys[rows[top]]
        found.scores[tile[query[top]], rank[top]] = scores[top]

    def _by_definition(
        self, queries: Vectors, query: int, k: int, rows: NDArray[np.int64] | None, found: Neighbors
    ) -> None:
        """Score every row truly: for few rows, or when rows are so alike that no first pass tells them apart."""
        count = len(self._keys) if rows is None else len(rows)
        keys, scores = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        for start in range(0, count, RESCORED_ROWS):
            part = (
                np.arange(start, min(start + RESCORED_ROWS, count))
                if rows is None
                else rows[start : start + RESCORED_ROWS]
            )
            keys = np.concatenate([keys, self._keys[part]])
            scores = np.concatenate([scores, self._pairs.exactly(queries, np.full(len(part), query), part)])
            best = top_k(keys, scores, k)
            keys, scores = keys[best], scores[best]
        found.keys[query, : len(keys)] = keys
        found.scores[query, : len(keys)] = scores


class _Candidates:
    """Rows that may be among the best of each of some queries."""

    def __init__(self, queries: int, flood: int) -> None:
        self._seen = np.zeros(queries, dtype=np.int64)
        self._flood = flood
        self._parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]] = []

    @property
    def flooded(self) -> NDArray[np.bool_]:
        """Queries `(q,)` with so many candidates that the first pass has told nothing."""
        return self._seen > self._flood

    def add(
        self,
        query: NDArray[np.int64],
        rows: NDArray[np.int64],
        bounds: NDArray[np.float32],
        limit: NDArray[np.float32],
    ) -> None:
        """Take in rows for `query` whose bounds aren't under the limit."""
        keep = ~(bounds < limit[query])
        self._seen += np.bincount(query[keep], minlength=len(self._seen))
        self._parts.append((query[keep], rows[keep], bounds[keep]))

    def best(self, k: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Queries and rows of the k largest bounds of each query."""
        query, rows, bounds = self._joined()
        order = np.lexsort((-bounds, query))
        order = order[ranks(query[order]) < k]
        return query[order], rows[order]

    def kth_bound(self, k: int) -> NDArray[np.float32]:
        """The k-th largest bound of each query, -inf where there are fewer: `(q,)`."""
        query, _, bounds = self._joined()
        return kth_best(query, bounds, k, len(self._seen)).astype(np.float32)

    def over(self, limit: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Queries and rows whose bound reaches the final limit, of queries that are not flooded."""
        query, rows, bounds = self._joined()
        keep = ~(bounds < limit[query]) & ~self.flooded[query]
        return query[keep], rows[keep]

    def _joined(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        if len(self._parts) > 1:
            query, rows, bounds = zip(*self._parts, strict=True)
            self._parts = [(np.concatenate(query), np.concatenate(rows), np.concatenate(bounds))]
        return self._parts[0]


def passing(
    blocks: torch.Tensor, maxima: torch.Tensor, limit: torch.Tensor
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Query, place and bound of every entry of `blocks` `(blocks, block, q)` not under its query's limit.

    Written as "not less", so that the NaN of a spoilt vector passes, to be named when it is scored.
    """
    import torch

    at, query = (maxima < limit).logical_not().nonzero(as_tuple=True)
    inside = blocks[at, :, query]  # (passing blocks, block)
    which, offset = (inside < limit[query, None]).logical_not().nonzero(as_tuple=True)
    bounds = inside[which, offset]
    real = bounds != -torch.inf  # padding
    place = at[which] * blocks.shape[1] + offset
    return query[which][real].cpu().numpy(), place[real].cpu().numpy(), bounds[real].cpu().numpy()


def kth_best(query: NDArray[np.int64], scores: NDArray[np.floating[Any]], k: int, count: int) -> NDArray[np.float64]:
    """For each of `count` queries the k-th largest of its scores, or -inf: `(count,)`."""
    order = np.lexsort((-scores, query))
    at = order[ranks(query[order]) == k - 1]
    kth = np.full(count, -np.inf)
    kth[query[at]] = scores[at]
    return kth


def ranks(sorted_queries: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place of each entry among those of its query, from 0; entries of a query stand together."""
    return np.arange(len(sorted_queries)) - np.searchsorted(sorted_queries, sorted_queries)


def chosen_device(params: ExactParams) -> str:
    """Where to search: on a GPU only with codes, which are worth the way there, unless it is asked for."""
    if params.device in ("cpu", "mps") or (params.device == "auto" and params.codes == "none"):
        return "cpu"  # mps has no float64, in which errors are bounded
    import torch

    if torch.cuda.is_available():
        return "cuda" if params.device == "auto" else params.device
    if params.device != "auto":
        raise UsageError(
            f"device '{params.device}' was asked for, but torch sees no CUDA device here: take auto or cpu."
        )
    return "cpu"


def chosen_codes(params: ExactParams, count: int) -> tuple[str, str]:
    """The kind of codes, and why."""
    if params.codes != "auto":
        return params.codes, "asked for"
    if count < SMALL:
        return "none", f"{count:,} rows are searched in a millisecond without codes"
    if chosen_device(params) != "cpu":
        return "bf16", "a GPU multiplies bfloat16 fastest"
    if multiplies_int8():
        return "int8", "this processor has VNNI: bytes are read four times faster than float32, and multiplied as fast"
    if cpu_has("avx512_bf16"):
        return "bf16", "this processor multiplies bfloat16 twice as fast as float32"
    return "none", "this processor multiplies float32 faster than any code"
