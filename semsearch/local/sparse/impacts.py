"""An inverted index of sparse vectors in arrays: for each component the rows that have it, and one byte of how much.

A byte is the value on a scale of the component's own, rounded away from 0, so that what it is off by is bounded, and no
value is lost: what a query's sums over bytes can be off by is bounded, too, and no row that could be among the best is
missed (`Impacts.error`). True scores are then computed from the stored vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from semsearch.arrays import read_array
from semsearch.errors import DataError
from semsearch.sparse_vectors import SparseVectors
from semsearch.types import Scores

LOOKED_IMPACTS = 1 << 20  # looked through at a time
FREQUENT_SHARE = 16  # a component that one row of so many has is frequent, …
SPREAD_ROWS = 10_000  # … where there are more rows than this
FREQUENT_BYTES = 1 << 26  # that those are kept of
IMPACT_STEPS = 127  # of a scale, in either direction
IMPACT_LAYOUT: Mapping[str, Any] = {
    "starts": np.int64,
    "rows": np.int32,
    "impacts": np.int8,
    "scales": np.float32,
    "size": np.int64,
}


@dataclass(frozen=True, eq=False)
class Impacts:
    """Which of `n` rows, numbered from 0, have which of `v` components; `p` of them in all."""

    starts: NDArray[np.int64]  # (v + 1,) where the rows of each component begin, and the last one's end
    rows: NDArray[np.int32]  # (p,) ascending for each component
    impacts: NDArray[np.int8]  # (p,) values, in steps of the component's scale
    scales: NDArray[np.float32]  # (v,)
    size: NDArray[np.int64]  # (1,) n

    def __len__(self) -> int:
        return int(self.size[0])

    @classmethod
    def made(cls, rows: NDArray[np.int64], vectors: SparseVectors, count: int) -> Self:
        """Of the vectors of some of `count` rows, which ascend."""
        owners = np.repeat(rows, vectors.counts).astype(np.int32)
        order = np.argsort(vectors.indices, kind="stable")
        components, values = vectors.indices[order], vectors.values[order]
        starts = np.zeros(vectors.dim + 1, dtype=np.int64)
        np.cumsum(np.bincount(components, minlength=vectors.dim), out=starts[1:])
        scales = np.zeros(vectors.dim, dtype=np.float32)
        filled = np.flatnonzero(np.diff(starts))
        if len(filled):
            greatest = np.maximum.reduceat(np.abs(values), starts[filled])
            scales[filled] = np.maximum(greatest / IMPACT_STEPS, np.finfo(np.float32).tiny)
        with np.errstate(over="ignore"):
            steps = np.ceil(np.abs(values) / scales[components])
        impacts = (np.sign(values) * np.clip(steps, 1, IMPACT_STEPS)).astype(np.int8)
        return cls(starts, owners[order], impacts, scales, np.array([count], dtype=np.int64))

    def add(self, scores: Scores, components: NDArray[np.int32], weights: NDArray[np.float32]) -> None:
        """Add to `scores` `(n,)`, about, the products of a query's weights with what rows have of its components."""
        for component, weight in zip(components.tolist(), weights.tolist(), strict=True):
            some = slice(int(self.starts[component]), int(self.starts[component + 1]))
            step = np.float32(weight * float(self.scales[component]))
            if (some.stop - some.start) * FREQUENT_SHARE >= len(self) > SPREAD_ROWS:
                scores += step * self._spread(component, some)
            else:
                scores[self.rows[some]] += step * self.impacts[some]

    def _spread(self, component: int, some: slice) -> NDArray[np.int8]:
        """The impact in every row, of a component that so many rows have: adding up is several times faster so."""
        known = self.frequent.get(component)
        if known is None:
            known = np.zeros(len(self), dtype=np.int8)
            known[self.rows[some]] = self.impacts[some]
            if len(self.frequent) * len(self) < FREQUENT_BYTES:
                self.frequent[component] = known
        return known

    @cached_property
    def frequent(self) -> dict[int, NDArray[np.int8]]:
        """Those that were asked for already."""
        return {}

    def error(self, components: NDArray[np.int32], weights: NDArray[np.float32]) -> tuple[float, float]:
        """How far, at most, a sum of `add` is below the true one, and above: a step a component, and roundings."""
        steps = weights.astype(np.float64) * self.scales[components].astype(np.float64)
        rounding = float(np.abs(steps).sum() * IMPACT_STEPS * 1e-6 * (2 + len(components)))
        whole = float(np.abs(steps).sum())
        below = whole if self.signed else float(-steps[steps < 0].sum())
        above = whole if self.signed else float(steps[steps > 0].sum())
        return below + rounding, above + rounding

    @cached_property
    def signed(self) -> bool:
        """Whether there are values below 0, as no published model gives them."""
        return bool(len(self.impacts)) and bool(self.impacts.min() < 0)

    def save(self, folder: Path) -> None:
        """Write each array as a file of its own."""
        for field in fields(self):
            np.save(folder / f"{field.name}.npy", getattr(self, field.name), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Map what `save` wrote; DataError for arrays in which a component would lead to rows that are not there."""
        found = cls(**{field.name: read_array(folder / f"{field.name}.npy") for field in fields(cls)})
        if fault := found.fault():
            raise DataError(f"{folder} holds no index of sparse vectors: {fault}.")
        return found

    def fault(self) -> str:
        """What keeps the arrays from belonging together; "" if nothing does."""
        for name, dtype in IMPACT_LAYOUT.items():
            array: NDArray[Any] = getattr(self, name)
            if array.dtype != dtype or array.ndim != 1:
                return f"{name} is {array.dtype} of the shape {array.shape}"
        if len(self.size) != 1 or len(self.rows) != len(self.impacts) or len(self.starts) != len(self.scales) + 1:
            return "its arrays are of different lengths"
        if self.starts[0] != 0 or self.starts[-1] != len(self.rows) or (np.diff(self.starts) < 0).any():
            return "a component has no place"
        if not np.isfinite(self.scales).all() or (self.scales < 0).any():
            return "a scale is no number"
        for start in range(0, len(self.rows), LOOKED_IMPACTS):
            some = self.rows[start : start + LOOKED_IMPACTS]
            if some.min() < 0 or some.max() >= len(self):
                return "a component is said to be in a row that is not there"
        return ""
