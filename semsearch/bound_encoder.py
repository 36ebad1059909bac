"""The model of one collection: opened when it is first needed, held against the fingerprint that made the vectors."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from semsearch import models
from semsearch.engine import Encodes, Engine, Settings
from semsearch.errors import ModelMismatch, UsageError
from semsearch.hardware import ANYWHERE, Compute
from semsearch.models import described_encoder
from semsearch.types import Encoder, Metric, Vectors, Windowed
from semsearch.vectors import stored_form

if TYPE_CHECKING:
    from semsearch.encoder.readings import Reading


class BoundEncoder:
    """Threads may share it; a forked child opens its own."""

    def __init__(
        self,
        engine: Engine,
        encoder: Encoder | None = None,
        compute: Compute = ANYWHERE,
    ) -> None:
        """`encoder` is what the collection was just made with; it isn't checked. Models are opened on `compute`."""
        self._name = engine.name
        self._encoder = encoder
        self.compute = compute
        self._served = engine.encoder if isinstance(engine, Encodes) else None
        self._lock, self._pid = threading.Lock(), os.getpid()
        self._take_over(engine.settings)

    def _take_over(self, settings: Settings) -> None:
        self.described = settings["encoder"]
        self.metric = Metric(settings["metric"])

    @property
    def at_hand(self) -> bool:
        """Whether queries can be encoded without opening a model, or there is none to open."""
        return self._encoder is not None or self.described is None

    def get(self) -> Encoder:
        """The model.

        Raises:
            UsageError: The collection has none.
            ModelMismatch: It was made with an object, or what is opened is another model.
        """
        if self._pid != os.getpid():  # a forked child: the thread that may hold the lock is not here
            self._pid, self._lock = os.getpid(), threading.Lock()
        with self._lock:
            if self._encoder is None:
                self._encoder = self._opened()
            return self._encoder

    def take(self, encoder: Encoder) -> None:
        """Use an object, if it is the one that the collection was made with."""
        from semsearch.encoder.own import encoder_from

        own = encoder_from(encoder)
        self._check(own)
        self._encoder = own

    def renew(self, settings: Settings, encoder: Encoder | None = None) -> None:
        """The collection was encoded anew, with `encoder` or by another process."""
        self._encoder = encoder
        self._take_over(settings)

    def queries(self, texts: Sequence[str]) -> Vectors:
        """The vectors `(len(texts), dim)` of questions, as they are compared."""
        encoder = self.get()
        return stored_form(encoder.encode_queries(texts), encoder.dim, encoder.metric, "the encoder's vectors")

    def readings(self, texts: Sequence[str]) -> list[Reading] | None:
        """How the model reads each text; None where there is no model, or nothing tells."""
        if self.described is None:
            return None
        from semsearch.encoder.text_encoder import TextEncoder

        encoder = self.get()
        if isinstance(encoder, TextEncoder):
            return encoder.readings(texts)
        if isinstance(encoder, Windowed):
            from tokenizers import Tokenizer

            from semsearch.encoder.tokenization import read

            if isinstance(encoder.tokenizer, Tokenizer):
                return read(encoder.tokenizer, texts)
        return None

    def described_as(self, encoder: str | Encoder, revision: str | None = None) -> tuple[Encoder, dict[str, Any]]:
        """Another model, opened as this one would be, and what a collection remembers of it."""
        return described_encoder(encoder, revision, self.compute)

    def _opened(self) -> Encoder:
        described = self.described
        if described is None:
            raise UsageError(
                f"collection '{self._name}' has no encoder: it takes and is searched by vectors alone (in Python: "
                f"add(documents, vectors), search(vector=…)), or 'semsearch similar {self._name} ID'."
            )
        if described["name"] is None:
            raise ModelMismatch(
                f"collection '{self._name}' was made with an encoder object of class {described['class']}: open it "
                f"with semsearch.open('{self._name}', encoder=…) and that object (fingerprint "
                f"{described['fingerprint']})."
            )
        if self._served is not None:
            encoder = self._served()
            self._check(encoder)
            return encoder
        encoder = models.encoder(described["name"], self.compute, revision=described["revision"])
        self._check(encoder)
        return encoder

    def _check(self, encoder: Encoder) -> None:
        described = self.described
        if described is None:
            raise UsageError(f"collection '{self._name}' was made without an encoder and is searched by vectors alone.")
        if encoder.fingerprint != described["fingerprint"]:
            made = described["name"] or described["class"]
            raise ModelMismatch(
                f"collection '{self._name}' was made with the model {made} (fingerprint "
                f"{described['fingerprint'][:16]}), and this one has the fingerprint {encoder.fingerprint[:16]}: their "
                "vectors don't compare. Use the model that it was made with, or index the documents anew under another "
                "name."
            )


class EncodedQueries:
    """The questions of one search of several collections, encoded once for each model."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, tuple[str, ...]], Vectors] = {}

    def of(self, model: BoundEncoder, texts: Sequence[str]) -> Vectors:
        """The vectors `(len(texts), dim)` that `BoundEncoder.queries` gives: the same of equal fingerprints."""
        if model.described is None:
            return model.queries(texts)  # which tells that there is none
        key = (str(model.described["fingerprint"]), tuple(texts))
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = model.queries(texts)
        return found


NO_VECTORS: Vectors = np.empty((0, 0), dtype=np.float32)
