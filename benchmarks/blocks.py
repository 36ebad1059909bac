"""Any number of short texts with vectors, made block by block: real ones first, then points between two of them.

A block is made of its number alone, so that what reads the set twice, or in another process, reads the same, and none
of it is kept in memory or on the disk. As the vector of a point between two questions is a mixture of theirs with some
noise, its text is the first half of the one's words and the second half of the other's. Its `part` is one of a hundred.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from texts import short_texts
from vector_sets import ASKED, encoded

from semsearch.types import Document, Vectors
from semsearch.vectors import normalise

BLOCK_ROWS = 1 << 15
PARTS = 100


@dataclass(frozen=True)
class Block:
    """Rows that lie side by side: their documents, and their vectors `(n, dim)`."""

    documents: list[Document]
    vectors: Vectors


class Blocks:
    """The set; `asked` `(q, dim)` and `asked_texts` are real questions that are not in it."""

    def __init__(self, file: Path) -> None:
        """Over the vectors of `file` (`vector_sets.encoded`) and the texts that they are of."""
        self._encoded, self._every_text = encoded(file), short_texts()
        order = np.random.default_rng(0).permutation(len(self._every_text))
        asked, self._stored = np.split(order, [min(ASKED, len(order) // 10)])
        self.asked = self._encoded[asked]
        self.asked_texts = [self._every_text[row] for row in asked.tolist()]
        self.dim = self.asked.shape[1]

    @cached_property
    def _vectors(self) -> Vectors:
        """The real ones, in memory only where rows are made of them."""
        return self._encoded[self._stored]

    @cached_property
    def _texts(self) -> list[str]:
        return [self._every_text[row] for row in self._stored.tolist()]

    def each(self, rows: int, first: int = 0) -> Iterator[Block]:
        """The rows from `first` on, of `rows` in all; `first` is where a block begins."""
        for start in range(first, rows, BLOCK_ROWS):
            yield self._block(start, min(start + BLOCK_ROWS, rows))

    def _block(self, start: int, end: int) -> Block:
        vectors, one, other = self._made(start, end)
        documents = [
            Document(f"d{row}", self._text(mine, its), metadata={"part": part})
            for row, mine, its, part in zip(
                range(start, end), one.tolist(), other.tolist(), part_of(start, end).tolist(), strict=True
            )
        ]
        return Block(documents, vectors)

    def _made(self, start: int, end: int) -> tuple[Vectors, NDArray[np.int64], NDArray[np.int64]]:
        """The vectors of the rows, and of which two real ones each is made."""
        rng = np.random.default_rng((1, start))
        count, real = BLOCK_ROWS, len(self._vectors)  # a whole one, so that its end does not change what is in it
        one, other = (rng.integers(0, real, count) for _ in range(2))
        share = rng.uniform(0, 0.5, (count, 1)).astype(np.float32)
        noise = rng.standard_normal((count, self.dim), dtype=np.float32) * np.float32(0.01)
        rows = np.arange(start, start + count)
        one, other = np.where(rows < real, rows, one), np.where(rows < real, rows, other)
        vectors = normalise((1 - share) * self._vectors[one] + share * self._vectors[other] + noise)
        vectors[rows < real] = self._vectors[rows[rows < real]]
        size = end - start
        return vectors[:size], one[:size], other[:size]

    def _text(self, one: int, other: int) -> str:
        if one == other:
            return self._texts[one]
        mine, its = self._texts[one].split(), self._texts[other].split()
        return " ".join(mine[: (len(mine) + 1) // 2] + its[len(its) // 2 :])


def part_of(start: int, end: int) -> NDArray[np.int64]:
    """One of `PARTS` for each row, scattered evenly."""
    scattered = np.arange(start, end, dtype=np.uint64) * np.uint64(2654435761) % np.uint64(1 << 32)
    return (scattered >> np.uint64(8)).astype(np.int64) % PARTS
