"""An encoder without a model: a text's vector is the sum of its words' random directions."""

import zlib
from functools import lru_cache

import numpy as np

from semsearch.types import Metric


@lru_cache(100_000)
def _direction(salt, word, dim):
    return np.random.default_rng(zlib.crc32(f"{salt} {word}".encode())).standard_normal(dim)


class HashEncoder:
    """Texts that share words are near each other; `calls` counts the documents that were encoded."""

    metric = Metric.COSINE

    def __init__(self, dim=16, salt=0):
        self.dim = dim
        self.salt = salt
        self.fingerprint = f"hash-{dim}-{salt}"
        self.calls = 0

    def encode_documents(self, texts):
        self.calls += len(texts)
        return self.encode_queries(texts)

    def encode_queries(self, texts):
        vectors = np.array([self._sum(text) for text in texts], dtype=np.float32).reshape(len(texts), self.dim)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def _sum(self, text):
        total = np.zeros(self.dim)
        for word in text.lower().split():
            total += _direction(self.salt, word, self.dim)
        return total
