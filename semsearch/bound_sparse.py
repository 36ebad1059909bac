"""The sparse model of one collection: opened when it is first needed, held against the fingerprint of its vectors."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any

from semsearch import models
from semsearch.arguments import check_path
from semsearch.engine import SPARSE, EncodesSparse, Engine, Settings
from semsearch.errors import ModelMismatch, UsageError
from semsearch.hardware import ANYWHERE, Compute
from semsearch.sparse_vectors import SparseEncoder, SparseVectors


class BoundSparseEncoder:
    """Threads may share it; a forked child opens its own."""

    def __init__(self, engine: Engine, compute: Compute = ANYWHERE) -> None:
        self._engine = engine
        self._name = engine.name
        self._compute = compute
        self._encoder: SparseEncoder | None = None
        self._lock, self._pid = threading.Lock(), os.getpid()

    def get(self, settings: Settings) -> SparseEncoder:
        """The model that the collection's settings name.

        Raises:
            UsageError: They name none.
            ModelMismatch: What is opened is another one.
        """
        described = settings.get(SPARSE)
        if described is None:
            raise UsageError(
                f"collection '{self._name}' has no sparse vectors: 'semsearch reencode {self._name} --sparse MODEL' "
                "encodes its passages with a sparse model (in Python: add_sparse)."
            )
        if self._pid != os.getpid():  # a forked child: the thread that may hold the lock is not here
            self._pid, self._lock = os.getpid(), threading.Lock()
        with self._lock:
            if self._encoder is None or self._encoder.fingerprint != described["fingerprint"]:
                opened = self._opened(described)
                if opened.fingerprint != described["fingerprint"]:
                    raise ModelMismatch(
                        f"the sparse vectors of collection '{self._name}' were made with {described['name']} "
                        f"(fingerprint {described['fingerprint'][:16]}), and this one has the fingerprint "
                        f"{opened.fingerprint[:16]}: they don't compare. Use the model that made them, or have them "
                        f"made anew: 'semsearch reencode {self._name} --sparse MODEL'."
                    )
                self._encoder = opened
            return self._encoder

    def _opened(self, described: Settings) -> SparseEncoder:
        if isinstance(self._engine, EncodesSparse):
            return self._engine.sparse_encoder()
        return models.sparse_encoder(described["name"], self._compute, revision=described["revision"])

    def queries(self, settings: Settings, texts: Sequence[str]) -> SparseVectors:
        """The vectors of questions; errors as for `get`."""
        return self.get(settings).encode_queries(texts)


def described_sparse(
    name: str, revision: str | None = None, compute: Compute = ANYWHERE
) -> tuple[SparseEncoder, dict[str, Any]]:
    """The sparse model of that name, opened, and what a collection remembers of it, as JSON values."""
    opened = models.sparse_encoder(check_path(name, "a sparse model"), compute, revision=revision)
    facts = {"name": opened.name, "revision": revision, "fingerprint": opened.fingerprint, "dim": opened.dim}
    return opened, facts | opened.description()
