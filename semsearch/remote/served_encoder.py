"""The models of a server's collection, which encode there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from semsearch import engine_wire as ew
from semsearch.encoder.image_preparation import checked_pixels
from semsearch.errors import DimensionMismatch
from semsearch.sparse_vectors import SparseVectors
from semsearch.types import Metric, Vectors

TEXTS_AT_ONCE = 512
PIXELS_AT_ONCE = 16 << 20  # bytes of pixels in a request, about: a server takes 32 MiB


class ServedEncoder:
    """See `semsearch.types.Encoder`."""

    def __init__(self, facts: Mapping[str, Any], ask: Callable[..., Any]) -> None:
        """`facts` are what the server says of the model; `ask` asks its engine."""
        self.name = str(facts["name"])
        self.dim = int(facts["dim"])
        self.metric = Metric(facts["metric"])
        self.fingerprint = str(facts["fingerprint"])
        self._facts = facts
        self._ask = ask

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """See `Encoder.encode_documents`."""
        return self._encoded(list(texts), "document")

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """See `Encoder.encode_queries`."""
        return self._encoded(list(texts), "query")

    def _encoded(self, texts: list[str], role: str) -> Vectors:
        parts = [np.empty((0, self.dim), dtype=np.float32)]
        for first in range(0, len(texts), TEXTS_AT_ONCE):
            own = texts[first : first + TEXTS_AT_ONCE]
            said = self._ask("encode", texts=own, role=role, fingerprint=self.fingerprint)
            vectors = ew.unpack_vectors(said, self.dim)
            if len(vectors) != len(own):
                raise DimensionMismatch(f"the server gave {len(vectors)} vectors for {len(own)} texts.")
            parts.append(vectors)
        return np.concatenate(parts)


class WindowedServedEncoder(ServedEncoder):
    """See `semsearch.types.Windowed`: documents are split here, as the server itself would."""

    @property
    def window(self) -> int:
        """See `Windowed.window`."""
        return int(self._facts["window"])

    @property
    def query_window(self) -> int:
        """Tokens of a question that are read."""
        return int(self._facts.get("query_window", self._facts["window"]))

    @cached_property
    def tokenizer(self) -> Any:
        """See `Windowed.tokenizer`."""
        from tokenizers import Tokenizer

        return Tokenizer.from_str(str(self._facts["tokenizer"]))


class PictureServedEncoder(WindowedServedEncoder):
    """One that reads pictures too: they are decoded here, in a confined process, and encoded there."""

    def encode_images(self, images: Sequence[Any]) -> Vectors:
        """See `semsearch.ingest.pictures.ReadsImages`."""
        parts = [np.empty((0, self.dim), dtype=np.float32)]
        waiting: list[Any] = []
        size = 0
        for pixels in checked_pixels(images):
            if waiting and size + pixels.size > PIXELS_AT_ONCE:
                parts.append(self._seen(waiting))
                waiting, size = [], 0
            waiting.append(pixels)
            size += pixels.size
        if waiting:
            parts.append(self._seen(waiting))
        return np.concatenate(parts)

    def _seen(self, images: Sequence[Any]) -> Vectors:
        said = self._ask("encode_images", images=list(map(ew.pixels_json, images)), fingerprint=self.fingerprint)
        vectors = ew.unpack_vectors(said, self.dim)
        if len(vectors) != len(images):
            raise DimensionMismatch(f"the server gave {len(vectors)} vectors for {len(images)} pictures.")
        return vectors


class ServedSparseEncoder:
    """See `semsearch.sparse_vectors.SparseEncoder`."""

    def __init__(self, facts: Mapping[str, Any], ask: Callable[..., Any]) -> None:
        """`facts` are what the server says of the model; `ask` asks its engine."""
        self.name = str(facts["name"])
        self.dim = int(facts["dim"])
        self.fingerprint = str(facts["fingerprint"])
        self._facts = facts
        self._ask = ask

    def encode_documents(self, texts: Sequence[str]) -> SparseVectors:
        """See `SparseEncoder.encode_documents`."""
        return self._encoded(list(texts), "document")

    def encode_queries(self, texts: Sequence[str]) -> SparseVectors:
        """See `SparseEncoder.encode_queries`."""
        return self._encoded(list(texts), "query")

    def word(self, component: int) -> str:
        """See `SparseEncoder.word`; all of them come at once, when the first is asked for."""
        return self._words[component] if component < len(self._words) else f"#{component}"

    def description(self) -> dict[str, Any]:
        """See `SparseEncoder.description`."""
        return dict(self._facts["description"])

    @cached_property
    def _words(self) -> list[str]:
        return list(map(str, self._ask("sparse_words", fingerprint=self.fingerprint)))

    def _encoded(self, texts: list[str], role: str) -> SparseVectors:
        parts = []
        for first in range(0, len(texts), TEXTS_AT_ONCE):
            own = texts[first : first + TEXTS_AT_ONCE]
            said = self._ask("encode_sparse", texts=own, role=role, fingerprint=self.fingerprint)
            vectors = ew.read_sparse(said)
            if vectors.shape != (len(own), self.dim):
                raise DimensionMismatch(f"the server gave {len(vectors)} sparse vectors for {len(own)} texts.")
            parts.append(vectors)
        return SparseVectors.joined(parts, self.dim)
