"""Exact search by torch: a fast first pass whose error is bounded, then the true score of all that could matter.

The first pass multiplies all rows by all queries in float32, or in int8 or bfloat16 codes that are read two to four
times faster, and yields for every row an upper bound of its true score. The true scores (`semsearch.vectors`) of any k
rows give a threshold; a row whose upper bound lies under it can't be among the k best. What is left, rarely more than a
few dozen rows, is scored truly. So keys and scores are those of `brute_force`, bit for bit, whatever the codes.

Rows are held in blocks: only blocks whose largest bound passes the threshold are looked into, which costs a tenth of a
`topk` over all rows.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from indexes.codes import CODES, Codes, CodesPass
from indexes.first_pass import BLOCK, FirstPass, Float32Pass, threshold
from indexes.translation import built_otherwise, checked_queries, checked_rows, nothing, shaped_rows
from semsearch.errors import DataError, UsageError
from semsearch.options import Options, option
from semsearch.types import Keys, Metric, Neighbors, Scores, Vectors
from semsearch.vectors import score_pairs, top_k

if TYPE_CHECKING:
    import torch

QUERIES = 1024  # searched together
ESTIMATES = 1 << 22  # upper bounds held at a time: 16 MB, so that they are still in cache when they are looked at
GATHERED = 1 << 23  # components of allowed rows gathered at a time
PAIRS = 4096  # rows scored truly at a time
FLOOD = 0.05  # share of the rows above which a first pass has told nothing about a query
SMALL = 16_384  # rows below which codes gain less than a millisecond


@dataclass(frozen=True)
class ExactParams(Options):
    """Options of exact search."""

    codes: str = option("auto", "what the first pass multiplies", choices=("auto", "none", "int8", "bf16"))
    device: str = option("auto", "where it runs", choices=("auto", "cpu", "cuda"))


@dataclass
class _Candidates:
    """Rows that may be among the best, as parallel arrays."""

    queries: list[NDArray[np.int64]] = field(default_factory=list)
    rows: list[NDArray[np.int64]] = field(default_factory=list)
    bounds: list[NDArray[np.float32]] = field(default_factory=list)


class ExactIndex:
    """Every row is looked at; the answer is `semsearch.vectors.brute_force`'s."""

    Params = ExactParams

    def __init__(
        self, keys: Keys, vectors: Vectors, metric: Metric, params: ExactParams, codes: Codes | None, reason: str
    ) -> None:
        self._keys = keys
        self._vectors = vectors  # (n, dim), perhaps mapped
        self._metric = metric
        self._codes = codes
        self.reason = reason  # for these codes and this device, in a sentence
        device = chosen_device(params)
        self._passes: list[FirstPass] = [Float32Pass(vectors, metric, device)]
        if codes is not None:
            self._passes.insert(0, CodesPass(codes, metric, device))
        self._pid = os.getpid()

    @classmethod
    def build(cls, keys: Keys, vectors: Vectors, metric: Metric, params: ExactParams) -> Self:
        """An index of `vectors` `(n, dim)`; without codes nothing is read or computed here."""
        keys, vectors = shaped_rows(keys, vectors)
        kind, reason = chosen_codes(params, len(keys))
        codes = None
        if kind != "none":
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
        return cls(keys, vectors, metric, params, codes, reason)

    def __len__(self) -> int:
        return len(self._keys)

    def _search(self, queries: Vectors, k: int, rows: NDArray[np.int64] | None) -> Neighbors:
        queries, k = checked_queries(queries, k, self._vectors.shape[1])
        self._survive_fork()
        count = len(self._keys) if rows is None else len(rows)
        found = nothing(len(queries), k)
        for start in range(0, len(queries) if count else 0, QUERIES):
            tile = np.arange(start, min(start + QUERIES, len(queries)))
            for first_pass in self._passes if count > k else []:
                tile = self._certified(first_pass, queries, tile, k, rows, found)
                if not len(tile):
                    break
            for query in tile:
                self._by_definition(queries[query], int(query), k, rows, found)
        return found

    def _survive_fork(self) -> None:
        """A forked child has no threads but its own: the parent's OpenMP pool would be waited for forever."""
        if os.getpid() != self._pid:
            import torch

            torch.set_num_threads(1)
            self._pid = os.getpid()

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

        dim = queries.shape[1]
        asked = first_pass.ask(queries[tile])
        count = len(self._keys) if rows is None else len(rows)
        step = max(ESTIMATES // len(tile), 4 * k, 1024) // BLOCK * BLOCK
        most = asked.most if rows is None else min(asked.most, GATHERED // queries.shape[1])  # gathering copies
        step = max(min(step, most // BLOCK * BLOCK), BLOCK)
        flood = max(int(FLOOD * count), 4 * k, 4096)
        best: Scores = np.full((k, len(tile)), -np.inf, dtype=np.float32)  # the best true scores so far, not sorted
        seen = np.zeros(len(tile), dtype=np.int64)
        limit = torch.full((len(tile),), -torch.inf, device=first_pass.device)
        candidates = _Candidates()
        due = 1
        for number, start in enumerate(range(0, count, step), 1):
            part = slice(start, min(start + step, count)) if rows is None else rows[start : start + step]
            bounds = first_pass.upper(asked, part)  # (rows padded to blocks, q)
            block = BLOCK if len(bounds) >= 4 * k * BLOCK else 1
            blocks = bounds.view(-1, block, len(tile))
            maxima = blocks.amax(dim=1) if block > 1 else bounds  # (blocks, q)
            if number == due:  # the threshold settles early: chunks 1, 4, 16, …
                due *= 4
                best = self._raise(best, blocks, maxima, queries[tile], k, part)
                limit = torch.from_numpy(threshold(asked, best.min(axis=0), self._metric, dim)).to(first_pass.device)
            at, query = (maxima < limit).logical_not().nonzero(as_tuple=True)  # NaN passes, to be named below
            if block == 1:
                values, row = bounds[at, query], at
            else:
                inside = blocks[at, :, query]  # (passing blocks, block)
                which, offset = (inside < limit[query, None]).logical_not().nonzero(as_tuple=True)
                values, row, query = inside[which, offset], at[which] * block + offset, query[which]
            keep = values != -torch.inf  # padding
            place, which_query = row[keep].cpu().numpy(), query[keep].cpu().numpy()
            seen += np.bincount(which_query, minlength=len(tile))
            limit[torch.from_numpy(seen > flood)] = torch.inf
            candidates.queries.append(which_query)
            candidates.rows.append(place + part.start if isinstance(part, slice) else part[place])
            candidates.bounds.append(values[keep].cpu().numpy())
        flooded = seen > flood
        self._decide(
            candidates, threshold(asked, best.min(axis=0), self._metric, dim), flooded, queries, tile, k, found
        )
        return tile[flooded]

    def _raise(
        self,
        best: Scores,
        blocks: torch.Tensor,
        maxima: torch.Tensor,
        queries: Vectors,
        k: int,
        part: slice | NDArray[np.int64],
    ) -> Scores:
        """The k best true scores known, `(k, q)`, after scoring the first row of each of the k best blocks."""
        import torch

        q = len(queries)
        at = maxima.topk(min(k, len(maxima)), dim=0).indices  # (k, q)
        offset = blocks[at, :, torch.arange(q, device=at.device)].argmax(dim=2)
        row = (at * blocks.shape[1] + offset).cpu().numpy()
        last = (part.stop - part.start if isinstance(part, slice) else len(part)) - 1
        padding = row > last
        row = np.minimum(row, last)
        row = row + part.start if isinstance(part, slice) else part[row]
        scores = self._score(queries, np.tile(np.arange(q), len(row)), row.ravel()).reshape(row.shape)
        scores[padding] = -np.inf
        return np.partition(np.concatenate([best, scores]), len(scores), axis=0)[-k:]

    def _score(self, queries: Vectors, query: NDArray[np.int64], rows: NDArray[np.int64]) -> Scores:
        """True scores of the pairs `(query[i], rows[i])`."""
        scores = np.empty(len(rows), dtype=np.float32)
        for start in range(0, len(rows), PAIRS):
            pairs = slice(start, start + PAIRS)
            scores[pairs] = score_pairs(queries[query[pairs]], self._vectors[rows[pairs]], self._metric)
        if not np.isfinite(scores).all():
            self._name_bad(rows[~np.isfinite(scores)])
        return scores

    def _name_bad(self, rows: NDArray[np.int64]) -> None:
        """Raise for a stored vector that is none; a score may also be infinite because vectors are very long."""
        bad = rows[~np.isfinite(self._vectors[rows]).all(axis=1)]
        if len(bad):
            raise DataError(
                f"row {bad[0]} of the vectors (key {self._keys[bad[0]]}) holds NaN or infinite numbers: encode it anew."
            )

    def _decide(
        self,
        candidates: _Candidates,
        limit: NDArray[np.float32],
        flooded: NDArray[np.bool_],
        queries: Vectors,
        tile: NDArray[np.int64],
        k: int,
        found: Neighbors,
    ) -> None:
        """Score the candidates truly and write the best of each query into `found`."""
        query, rows = np.concatenate(candidates.queries), np.concatenate(candidates.rows)
        keep = ~(np.concatenate(candidates.bounds) < limit[query]) & ~flooded[query]
        query, rows = query[keep], rows[keep]
        scores = self._score(queries, tile[query], rows)
        order = np.lexsort((self._keys[rows], -scores, query))
        query, rows, scores = query[order], rows[order], scores[order]
        rank = np.arange(len(query)) - np.searchsorted(query, query)
        top = rank < k
        found.keys[tile[query[top]], rank[top]] = self._keys[rows[top]]
        found.scores[tile[query[top]], rank[top]] = scores[top]

    def _by_definition(self, query: Vectors, at: int, k: int, rows: NDArray[np.int64] | None, found: Neighbors) -> None:
        """Score every row truly: for few rows, or when rows are so alike that no first pass tells them apart."""
        count = len(self._keys) if rows is None else len(rows)
        keys, scores = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        for start in range(0, count, PAIRS):
            part = slice(start, min(start + PAIRS, count)) if rows is None else rows[start : start + PAIRS]
            keys = np.concatenate([keys, self._keys[part]])
            scores = np.concatenate([scores, score_pairs(query, self._vectors[part], self._metric)])
            best = top_k(keys, scores, k)
            keys, scores = keys[best], scores[best]
        found.keys[at, : len(keys)] = keys
        found.scores[at, : len(keys)] = scores


def chosen_device(params: ExactParams) -> str:
    """Where to search: on a GPU only with codes, which are worth the way there, unless it is asked for."""
    if params.device == "cpu" or (params.device == "auto" and params.codes == "none"):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if params.device == "cuda":
        raise UsageError("device 'cuda' was asked for, but torch sees no CUDA device here. Use device 'auto' or 'cpu'.")
    return "cpu"


def chosen_codes(params: ExactParams, count: int) -> tuple[str, str]:
    """The kind of codes, and why."""
    if params.codes != "auto":
        return params.codes, "asked for"
    if count < SMALL:
        return "none", f"{count:,} rows are searched in a millisecond without codes"
    if chosen_device(params) == "cuda":
        return "bf16", "a GPU multiplies bfloat16 fastest"
    import torch

    if torch.cpu._is_vnni_supported():
        return "int8", "this processor has VNNI: bytes are read four times faster than float32, and multiplied as fast"
    if torch.cpu._is_avx512_bf16_supported():
        return "bf16", "this processor multiplies bfloat16 twice as fast as float32"
    return "none", "this processor multiplies float32 faster than any code"
