"""The first pass of exact search by codes, one byte a component or bfloat16's two, and the files that keep them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from indexes.first_pass import ALL, Asked, padded, picked
from semsearch.arrays import read_array
from semsearch.types import Metric, Vectors
from semsearch.vector_codes import (
    LENGTH,
    PAD,
    RESIDUAL,
    SCALE,
    UNDERFLOW,
    Multiplier,
    as_tensor,
    encode,
    padded_width,
    squared_lengths,
)

if TYPE_CHECKING:
    import torch

ENCODED_ROWS = 8192  # encoded at a time
CODES, FACTS = "codes.npy", "facts.npy"
CONVERTED = 1 << 23  # components converted at a time


@dataclass(frozen=True)
class Codes:
    """Codes of all rows, in memory or mapped."""

    rows: NDArray[np.int8] | NDArray[np.uint16]  # (n, dim); integers padded to fours, or the bits of bfloat16
    facts: NDArray[np.float32]  # (n, 4), each rounded to the safe side

    @property
    def integer(self) -> bool:
        """Whether these are integers with a scale."""
        return self.rows.dtype == np.int8

    @classmethod
    def make(cls, vectors: Vectors, metric: Metric, kind: str) -> Self:
        """Encode all rows."""
        n, dim = vectors.shape
        rows: NDArray[np.int8] | NDArray[np.uint16]
        rows = np.empty((n, padded_width(dim, kind)), np.int8) if kind == "int8" else np.empty((n, dim), np.uint16)
        facts = np.empty((n, 4), dtype=np.float32)
        for start in range(0, n, ENCODED_ROWS):
            part = slice(start, start + ENCODED_ROWS)
            rows[part], facts[part] = encode(vectors[part], metric, kind)
        return cls(rows, facts)

    def save(self, folder: Path) -> None:
        """Two arrays in numpy's own format."""
        np.save(folder / CODES, self.rows)
        np.save(folder / FACTS, self.facts)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Map what `save` wrote."""
        return cls(read_array(folder / CODES), read_array(folder / FACTS))

    def check_shape(self, dim: int) -> None:
        """Raise ValueError unless these can be codes of vectors of so many components."""
        widths = {np.dtype(np.int8): padded_width(dim, "int8"), np.dtype(np.uint16): dim}
        fits = (
            self.rows.ndim == 2 and self.rows.shape[1] == widths.get(self.rows.dtype) and self.rows.flags.c_contiguous
        )
        if not fits or self.facts.dtype != np.float32 or self.facts.shape != (len(self.rows), 4):
            raise ValueError("its codes are of another kind or size")

    def verify(self, vectors: Vectors, metric: Metric) -> None:
        """Raise ValueError unless no bound that they give is below the true one: encoded anew, they are the same."""
        self.check_shape(vectors.shape[1])
        if len(self.rows) != len(vectors):
            raise ValueError(f"it holds {len(self.rows):,} rows, not {len(vectors):,}")
        for start in range(0, len(vectors), ENCODED_ROWS):
            part = slice(start, start + ENCODED_ROWS)
            rows, facts = encode(vectors[part], metric, "int8" if self.integer else "bf16")
            least = facts - np.abs(facts) * np.float32(2.0**-22)  # a sum in another order; PAD allows for more
            sound = np.array_equal(rows, self.rows[part]) and np.array_equal(facts[:, SCALE], self.facts[part, SCALE])
            if not sound or (self.facts[part] < least).any():
                raise ValueError("its codes are not those of the stored vectors")


class CodesPass:
    """Bounds from codes."""

    def __init__(self, codes: Codes, metric: Metric, device: str = "cpu") -> None:
        self.metric = metric
        self.device = device
        self._codes = codes
        self._rows: torch.Tensor | None = None
        self._largest: NDArray[np.float32] | None = None

    def ask(self, queries: Vectors) -> Asked:
        """Queries are encoded as rows are."""
        import torch

        self._open()
        n, dim = queries.shape
        codes, facts = encode(queries, self.metric, "int8" if self._codes.integer else "bf16")
        wide = facts.astype(np.float64)
        unit, residual, coded = wide[:, SCALE], wide[:, RESIDUAL], wide[:, LENGTH]
        squares = squared_lengths(queries)
        lengths = np.sqrt(squares)
        way = Multiplier.of(self._codes.integer, self.device, n)
        gamma, output = way.gamma(dim), way.output
        slack = UNDERFLOW + 2 * dim * 2.0**-52 * squares
        own = (residual + (gamma + PAD) * coded) * (1 + PAD)  # of a row, times its code's length
        weights = None
        if self.metric == Metric.COSINE:
            assert self._largest is not None
            slack += lengths * self._largest[RESIDUAL] + own * self._largest[LENGTH]
        else:
            own += 2 * output * coded
            output = 0.0
            columns = np.stack([lengths * (1 + PAD), own, np.ones(n)]) / unit
            weights = torch.from_numpy(columns).float().to(self.device)
        most = ALL if self.device != "cpu" or way.as_they_are else CONVERTED // dim
        return Asked(way.tensor(codes).T, unit, squares, slack, output, weights, most)

    def upper(self, asked: Asked, rows: slice | NDArray[np.int64], room: torch.Tensor) -> torch.Tensor:
        """One matrix product of codes, scaled."""
        self._open()
        assert self._rows is not None
        chosen = picked(rows, self.device)
        part, facts = self._rows[chosen], self._facts[chosen]
        padding = padded(room, len(part))
        bounds = padding[: len(part)]
        Multiplier.of(self._codes.integer, self.device, asked.codes.shape[1]).multiply(part, asked.codes, bounds)
        if self._codes.integer:
            bounds.mul_(facts[:, SCALE, None])
        if asked.weights is not None:
            bounds.addmm_(facts[:, RESIDUAL:], asked.weights)
        return padding

    def tightened(
        self, asked: Asked, query: NDArray[np.int64], rows: NDArray[np.int64], bounds: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Under COSINE all rows were given the largest residual; now each gets its own."""
        if asked.weights is not None or not len(bounds):
            return bounds
        assert self._largest is not None
        spared = (self._largest[RESIDUAL] - self._codes.facts[rows, RESIDUAL]).astype(np.float64)
        spared *= np.sqrt(asked.squares[query]) * (1 - PAD) / asked.unit[query]
        tight: NDArray[np.float32] = np.nextafter((bounds - spared).astype(np.float32), np.float32(np.inf))
        return tight

    def at_least(self, asked: Asked, bounds: NDArray[np.float32]) -> NDArray[np.float64] | None:
        """Not known: a code may lie anywhere below its bound."""
        return None

    def _open(self) -> None:
        """Hand the codes to torch: at the first search, so that opening an index costs nothing."""
        import torch

        if self._rows is None:
            self._facts = as_tensor(self._codes.facts).to(self.device)
            self._largest = self._codes.facts.max(axis=0)
            rows = as_tensor(self._codes.rows)
            self._rows = (rows if self._codes.integer else rows.view(torch.bfloat16)).to(self.device)
