"""Vectors of which few components are not 0, row by row: what sparse encoders give and sparse search compares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from semsearch.errors import DataError
from semsearch.types import Scores

COMPARED = 1 << 22  # products that are made at a time, about


@dataclass(frozen=True, slots=True, eq=False)
class SparseVectors:
    """`n` vectors of `dim` components in compressed rows; the components of a row ascend, none comes twice.

    Row `i` has the components `indices[indptr[i]:indptr[i + 1]]` with those `values`; all others are 0.
    """

    indptr: NDArray[np.int64]  # (n + 1,)
    indices: NDArray[np.int32]  # (nnz,)
    values: NDArray[np.float32]  # (nnz,)
    dim: int

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def shape(self) -> tuple[int, int]:
        """Vectors, and components of each."""
        return len(self), self.dim

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many components of each are not 0: `(n,)`."""
        return np.diff(self.indptr)

    def row(self, place: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The components of one vector that are not 0, and their values."""
        some = slice(int(self.indptr[place]), int(self.indptr[place + 1]))
        return self.indices[some], self.values[some]

    def rows(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float32]]]:
        """All of them, one after the other."""
        return map(self.row, range(len(self)))

    def __getitem__(self, places: slice | Sequence[int] | NDArray[np.intp]) -> Self:
        """Some of the vectors."""
        chosen = np.arange(len(self))[places]
        return type(self).of_rows([self.row(place) for place in chosen.tolist()], self.dim)

    @classmethod
    def of_rows(cls, rows: Iterable[tuple[NDArray[np.int32], NDArray[np.float32]]], dim: int) -> Self:
        """Of (components, values) of each."""
        whole = list(rows)
        indptr = np.zeros(len(whole) + 1, dtype=np.int64)
        np.cumsum([len(indices) for indices, _ in whole], out=indptr[1:])
        indices = np.concatenate([indices for indices, _ in whole]) if whole else np.empty(0)
        values = np.concatenate([values for _, values in whole]) if whole else np.empty(0)
        return cls(indptr, indices.astype(np.int32, copy=False), values.astype(np.float32, copy=False), dim)

    @classmethod
    def joined(cls, parts: Sequence[SparseVectors], dim: int) -> Self:
        """Those of several, one after the other."""
        starts = np.cumsum([0, *(int(part.indptr[-1]) for part in parts)])
        first = np.zeros(1, dtype=np.int64)
        indptr = [first, *(part.indptr[1:] + start for part, start in zip(parts, starts[:-1], strict=True))]
        indices = [np.empty(0, np.int32), *(part.indices for part in parts)]
        values = [np.empty(0, np.float32), *(part.values for part in parts)]
        return cls(np.concatenate(indptr), np.concatenate(indices), np.concatenate(values), dim)

    @classmethod
    def of_dense(cls, dense: NDArray[np.float32]) -> Self:
        """Of an array `(n, dim)`."""
        rows, indices = np.nonzero(dense)
        indptr = np.zeros(len(dense) + 1, dtype=np.int64)
        np.cumsum(np.bincount(rows, minlength=len(dense)), out=indptr[1:])
        return cls(indptr, indices.astype(np.int32), dense[rows, indices].astype(np.float32), dense.shape[1])

    def dense(self) -> NDArray[np.float32]:
        """All components, `(n, dim)` float32."""
        laid_out = np.zeros(self.shape, dtype=np.float32)
        laid_out[np.repeat(np.arange(len(self)), self.counts), self.indices] = self.values
        return laid_out

    def dot(self, others: SparseVectors) -> Scores:
        """The dot products `(n, len(others))` with others, summed in float64 and rounded to float32.

        Raises:
            DataError: They have another number of components.
        """
        if self.dim != others.dim:
            raise DataError(
                f"sparse vectors of {self.dim:,} and {others.dim:,} components can't be compared: they are of "
                "different models."
            )
        scores = np.zeros((len(self), len(others)), dtype=np.float32)
        laid_out = np.zeros(self.dim)
        filled = np.flatnonzero(others.counts)
        parts = np.split(filled, np.flatnonzero(np.diff(others.indptr[filled] // COMPARED)) + 1) if len(filled) else []
        for place, (components, values) in enumerate(self.rows()):
            laid_out[components] = values
            for rows in parts:
                some = slice(int(others.indptr[rows[0]]), int(others.indptr[rows[-1] + 1]))
                products = laid_out[others.indices[some]] * others.values[some]
                scores[place, rows] = np.add.reduceat(products, others.indptr[rows] - some.start)
            laid_out[components] = 0
        return scores

    def fault(self) -> str:
        """What keeps the arrays from being such vectors; "" if nothing does."""
        if self.indptr.ndim != 1 or not len(self.indptr) or self.indptr[0] != 0 or (np.diff(self.indptr) < 0).any():
            return "its rows have no place"
        if not self.indptr[-1] == len(self.indices) == len(self.values):
            return "its arrays are of different lengths"
        if len(self.indices):
            if self.indices.min() < 0 or self.indices.max() >= self.dim:
                return f"it has a component beyond the {self.dim:,} that there are"
            within = np.ones(len(self.indices), dtype=np.bool_)
            within[self.indptr[:-1][self.counts > 0]] = False
            if (np.diff(self.indices, prepend=-1)[within] <= 0).any():
                return "the components of a row do not ascend"
            if not np.isfinite(self.values).all():
                return "it holds values that are not finite"
        return ""


class SparseEncoder(Protocol):
    """What gives texts sparse vectors: what `semsearch.load_sparse_encoder` opens, or a server's."""

    @property
    def name(self) -> str:
        """As a person names it."""
        ...

    @property
    def dim(self) -> int:
        """Components of a vector."""
        ...

    @property
    def fingerprint(self) -> str:
        """Of all that decides a vector."""
        ...

    def encode_documents(self, texts: Sequence[str]) -> SparseVectors:
        """The vectors of texts to be found."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> SparseVectors:
        """The vectors of questions."""
        ...

    def word(self, component: int) -> str:
        """What a component is called."""
        ...

    def description(self) -> dict[str, Any]:
        """What there is to know of it, in JSON values."""
        ...
