"""An encoder without a model, for tests: a text's vector is the sum of its words' random directions."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from semsearch.types import Metric, Vectors


@lru_cache(100_000)
def _direction(salt: int, word: str, dim: int) -> NDArray[np.float64]:
    return np.random.default_rng(zlib.crc32(f"{salt} {word}".encode())).standard_normal(dim)


class HashEncoder:
    """Texts that share words are near each other; `calls` counts the documents that were encoded."""

    metric = Metric.COSINE

    def __init__(self, dim: int = 16, salt: int = 0) -> None:
        self.dim = dim
        self.salt = salt
        self.fingerprint = f"hash-{dim}-{salt}"
        self.calls = 0

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors `(len(texts), dim)` of unit length."""
        self.calls += len(texts)
        return self.encode_queries(texts)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """As `encode_documents`, not counted."""
        vectors = np.array([self._sum(text) for text in texts], dtype=np.float32).reshape(len(texts), self.dim)
        unit: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return unit

    def _sum(self, text: str) -> NDArray[np.float64]:
        total = np.zeros(self.dim)
        for word in text.lower().split():
            total += _direction(self.salt, word, self.dim)
        return total
