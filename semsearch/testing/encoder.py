"""Encoders without a model, for tests: a text's vector is the sum of its words' random directions, or their counts."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semsearch.sparse_vectors import SparseVectors
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


class SparseWords:
    """A sparse encoder without a model: each word is a component, weighed by its letters and how often it comes.

    Of questions a word counts once. It has what a collection asks of `semsearch.encoder.sparse_encoder`'s.
    """

    def __init__(self, name: str, dim: int = 4_096) -> None:
        self.name, self.dim = name, dim
        self.fingerprint = f"sparse-words-{name}-{dim}"
        self._words: dict[int, str] = {}

    def encode_documents(self, texts: Sequence[str]) -> SparseVectors:
        """The vectors of texts to be found."""
        return self._encoded(texts, often=True)

    def encode_queries(self, texts: Sequence[str]) -> SparseVectors:
        """The vectors of questions."""
        return self._encoded(texts, often=False)

    def word(self, component: int) -> str:
        """What a component is called."""
        return self._words.get(component, f"#{component}")

    def description(self) -> dict[str, Any]:
        """What there is to know of it."""
        return {"window": None}

    def _encoded(self, texts: Sequence[str], *, often: bool) -> SparseVectors:
        rows = []
        for text in texts:
            counts: dict[int, float] = {}
            for word in text.lower().replace(".", " ").split():
                digest = hashlib.blake2b(f"{self.name} {word}".encode(), digest_size=8).digest()
                component = int.from_bytes(digest[:4], "little") % self.dim
                self._words[component] = word
                weight = 0.5 + digest[4] / 100
                counts[component] = counts.get(component, 0) + weight if often else weight
            components = sorted(counts)
            values = np.array([counts[component] for component in components], dtype=np.float32)
            rows.append((np.array(components, dtype=np.int32), values))
        return SparseVectors.of_rows(rows, self.dim)
