"""Vectors of tokens in two bits a component: the nearest of some centroids, and the rest of the way rounded.

Santhanam et al., 2022 (ColBERTv2, section 3.3). What a component differs from its centroid's is one of four levels,
which are placed where the squared error is least (Lloyd, 1982; Max, 1960), the same for all components. A vector is
scaled back to its length, so that what has unit length keeps it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from semsearch.types import Vectors

KMEANS_ROUNDS = 6  # of k-means: later ones move the error by less than a hundredth
LLOYD_MAX_ROUNDS = 20
MOST_SAMPLED = 1 << 17  # vectors
CENTROID_SHARE = 24  # vectors for each centroid, at least: fewer fit only those that were sampled
MOST_CENTROIDS = 1 << 12  # 2 MB of 128 components: they stay in the cache
MULTIPLIED_TOGETHER = 2_048  # vectors whose products with the centroids lie in memory together
DECODED_TOGETHER = 1_024  # vectors that are decoded together: they stay in the cache
SHIFTS = np.array([0, 2, 4, 6], dtype=np.uint8)  # bits of a byte in which each of four components begins
SHAPE_HEAD = "<u4"


class ResidualCodes:
    """Centroids and levels, by which vectors become bytes and are read again.

    Args:
        centroids: `(K, dim)` float32.
        levels: `(4,)` float32, ascending.
    """

    def __init__(self, centroids: Vectors, levels: NDArray[np.float32]) -> None:
        self.centroids, self.levels = centroids, levels
        self.dim = int(centroids.shape[1])
        self._packed: int = -(-self.dim // 4)  # bytes of a vector's residual
        self._padded = np.zeros((len(centroids), 4 * self._packed), np.float32)
        self._padded[:, : self.dim] = centroids
        four = levels[(np.arange(256, dtype=np.uint8)[:, None] >> SHIFTS) & 3]  # (256, 4)
        self._four = np.ascontiguousarray(four, np.float32).view(np.complex128).ravel()  # 16 bytes are taken at once

    @property
    def width(self) -> int:
        """Bytes of a vector: the centroid, the scale, the residual."""
        return 2 + 2 + self._packed

    @classmethod
    def train(cls, vectors: Vectors, seed: int = 0) -> Self:
        """From a sample `(n, dim)`, n at least 1: k-means, then the levels of what is left; the same sample, the same.

        Raises:
            ValueError: There are no vectors.
        """
        if not len(vectors):
            raise ValueError("centroids need vectors")
        rng = np.random.default_rng(seed)
        if len(vectors) > MOST_SAMPLED:
            vectors = vectors[np.sort(rng.choice(len(vectors), MOST_SAMPLED, replace=False))]
        count = min(MOST_CENTROIDS, max(1, len(vectors) // CENTROID_SHARE))
        centroids = vectors[np.sort(rng.choice(len(vectors), count, replace=False))].astype(np.float32)
        for _ in range(KMEANS_ROUNDS):
            owners = nearest_centroid(vectors, centroids)
            order = np.argsort(owners, kind="stable")
            held, starts = np.unique(owners[order], return_index=True)  # an empty one stays where it is
            sums = np.add.reduceat(vectors[order], starts, axis=0, dtype=np.float64)
            counts = np.diff(np.append(starts, len(order)))
            centroids[held] = sums / counts[:, None]
        rest = (vectors - centroids[nearest_centroid(vectors, centroids)]).ravel()
        some = rest if len(rest) <= 1 << 20 else rest[:: len(rest) >> 20]
        return cls(centroids, _levels(some))

    def encode(self, vectors: Vectors) -> bytes:
        """`(t, dim)` to `t · width` bytes: all centroids' numbers, then all scales, then all residuals."""
        owners = nearest_centroid(vectors, self.centroids)
        rest = np.zeros((len(vectors), 4 * self._packed), np.float32)
        rest[:, : self.dim] = vectors - self.centroids[owners]
        cuts = (self.levels[1:] + self.levels[:-1]) / 2
        parts = np.searchsorted(cuts, rest).astype(np.uint8).reshape(len(vectors), self._packed, 4)
        packed = np.bitwise_or.reduce(parts << SHIFTS, axis=2)
        lengths = np.linalg.norm(self._near(owners, packed), axis=1)
        scales = np.linalg.norm(vectors, axis=1) / np.maximum(lengths, 1e-12)
        return b"".join((owners.astype("<u2").tobytes(), scales.astype("<f2").tobytes(), packed.tobytes()))

    def decode(self, contents: Sequence[bytes]) -> list[Vectors]:
        """What `encode` was given, nearly: float32 `(t, dim)` each."""
        lengths = np.array([len(content) // self.width for content in contents], dtype=np.int64)
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if len(ends) else 0
        cuts = list(zip(contents, (2 * lengths).tolist(), (4 * lengths).tolist(), strict=True))
        owners = np.frombuffer(b"".join(content[:a] for content, a, _ in cuts), "<u2")
        scales = np.frombuffer(b"".join(content[a:b] for content, a, b in cuts), "<f2").astype(np.float32)
        packed = np.frombuffer(b"".join(content[b:] for content, _, b in cuts), np.uint8).reshape(-1, self._packed)
        decoded = np.empty((total, self.dim), np.float32)
        for start in range(0, total, DECODED_TOGETHER):
            some = slice(start, start + DECODED_TOGETHER)
            np.multiply(self._near(owners[some], packed[some]), scales[some, None], out=decoded[some])
        return np.split(decoded, ends[:-1].tolist()) if len(ends) else []

    def fits(self, content: bytes) -> bool:
        """Whether bytes may be what `encode` gave."""
        count, over = divmod(len(content), self.width)
        return not over and bool((np.frombuffer(content[: 2 * count], "<u2") < len(self.centroids)).all())

    def to_bytes(self) -> bytes:
        """All of it; `from_bytes` reads it again."""
        head = np.array(self.centroids.shape, SHAPE_HEAD).tobytes()
        return head + self.levels.astype("<f4").tobytes() + self.centroids.astype("<f4").tobytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """What `to_bytes` gave.

        Raises:
            ValueError: It is something else.
        """
        if len(content) < 24:
            raise ValueError("too short")
        count, dim = np.frombuffer(content[:8], SHAPE_HEAD).tolist()
        numbers = np.frombuffer(content[8:], "<f4").astype(np.float32)
        if not count or not np.isfinite(numbers).all():
            raise ValueError("no finite numbers")
        return cls(numbers[4:].reshape(count, dim), numbers[:4])

    def _near(self, owners: NDArray[Any], packed: NDArray[np.uint8]) -> Vectors:
        """Centroids and residuals, not scaled: `(t, dim)`."""
        near = self._padded.take(owners, axis=0)
        near += self._four.take(packed).view(np.float32)
        return near[:, : self.dim]


def nearest_centroid(vectors: Vectors, centroids: Vectors) -> NDArray[np.int64]:
    """The nearest centroid of each vector by Euclid, of equal ones the first: `(n,)`."""
    import torch

    half = torch.from_numpy((centroids * centroids).sum(axis=1) / 2)
    columns = torch.from_numpy(centroids).T
    found = np.empty(len(vectors), np.int64)
    for start in range(0, len(vectors), MULTIPLIED_TOGETHER):
        rows = torch.from_numpy(np.ascontiguousarray(vectors[start : start + MULTIPLIED_TOGETHER], np.float32))
        found[start : start + MULTIPLIED_TOGETHER] = torch.addmm(-half, rows, columns).argmax(dim=1).numpy()
    return found


def _levels(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Four levels of least squared error: each the mean of what is nearest to it."""
    ordered = np.sort(values.astype(np.float64))
    sums = np.append(0.0, np.cumsum(ordered))
    levels = np.quantile(ordered, [0.125, 0.375, 0.625, 0.875])
    for _ in range(LLOYD_MAX_ROUNDS):
        edges = np.searchsorted(ordered, (levels[1:] + levels[:-1]) / 2)
        edges = np.concatenate([[0], edges, [len(ordered)]])
        counts = np.diff(edges)
        levels = np.where(counts > 0, np.diff(sums[edges]) / np.maximum(counts, 1), levels)
    return levels.astype(np.float32)
