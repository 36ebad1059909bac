"""semsearch's encoders and rerankers as mteb has models: texts come in batches, vectors or scores go out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

import numpy as np
import torch
from mteb.models.model_meta import ModelMeta
from mteb.types import PromptType
from numpy.typing import NDArray

from semsearch.encoder import DEFAULT_MODEL
from semsearch.encoder.own import encoder_from, named_encoder
from semsearch.hardware import Compute
from semsearch.reranker.load import DEFAULT_RERANKER, load_reranker
from semsearch.types import Encoder, Metric, Reranker

Batches = Iterable[Mapping[str, Any]]


def described_model(
    kind: str, name: str, fingerprint: str, options: Mapping[str, Any] | None = None, dim: int | None = None
) -> ModelMeta:
    """What mteb is told of a model, by which it keeps results apart: its name, its fingerprint, how it is asked."""
    given = name.strip("/").replace("\\", "/").split("/")
    owned = "/".join(given[-2:]) if len(given) > 1 else f"semsearch/{name}"
    known = {
        "name": owned,
        "revision": f"{kind}-{hashlib.sha256(fingerprint.encode()).hexdigest()[:16]}",
        "embed_dim": dim,
        "is_cross_encoder": kind == "cross-encoder",
        "experiment_kwargs": {key: _told(value) for key, value in (options or {}).items()} or None,
    }
    return ModelMeta.create_empty(overwrites=known)


def _told(value: Any) -> Any:
    """An option as mteb writes it down."""
    return value if isinstance(value, str | int | float | bool) or value is None else repr(value)


def name_of(model: object) -> str:
    """What an encoder or reranker that was given is called."""
    return str(getattr(model, "name", None) or f"{type(model).__module__}.{type(model).__qualname__}")


class MTEBEncoder:
    """A model as `mteb.evaluate` takes it: queries and documents are encoded as the model wants either."""

    def __init__(
        self,
        model_name: str | None = None,
        revision: str | None = None,
        *,
        device: str | None = None,
        encoder: Encoder | None = None,
        **kwargs: Any,
    ) -> None:
        """Open a model, or take an encoder that is open already.

        Args:
            model_name: A name or path, as `semsearch.load_encoder` takes it; of an encoder: what mteb calls it.
            revision: Of a model on the hub.
            device: As in `semsearch.load_encoder`.
            encoder: An encoder instead.
            **kwargs: What mteb tells its own models is left aside.

        Raises:
            ModelError: The model can't be found or opened.
        """
        own = model_name or DEFAULT_MODEL
        self.encoder = encoder_from(encoder) if encoder else named_encoder(own, revision, Compute(device, None))
        called = model_name or name_of(self.encoder)
        self.mteb_model_meta = described_model("encoder", called, self.encoder.fingerprint, dim=self.encoder.dim)

    def encode(self, inputs: Batches, *, prompt_type: PromptType | None = None, **kwargs: Any) -> NDArray[np.float32]:
        """The vectors `(n, dim)` of all texts, queries where `prompt_type` says so."""
        texts = [text for batch in inputs for text in batch["text"]]
        if prompt_type == PromptType.query:
            return self.encoder.encode_queries(texts)
        return self.encoder.encode_documents(texts)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """How alike all pairs are `(n, m)`, by the model's own metric; higher is better."""
        first, second = _rows(embeddings1), _rows(embeddings2)
        if self.encoder.metric == Metric.L2:
            squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None]
            return torch.from_numpy(2 * first @ second.T - squares)
        return torch.from_numpy(self._compared(first) @ self._compared(second).T)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """How alike the pairs in the same rows are `(n,)`."""
        first, second = _rows(embeddings1), _rows(embeddings2)
        if self.encoder.metric == Metric.L2:
            return torch.from_numpy(-((first - second) ** 2).sum(axis=1))
        return torch.from_numpy((self._compared(first) * self._compared(second)).sum(axis=1))

    def _compared(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.encoder.metric != Metric.COSINE:
            return rows
        return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


class MTEBCrossEncoder:
    """A reranker as `mteb.evaluate` takes it: a score for each pair of query and document."""

    def __init__(
        self,
        model_name: str | None = None,
        revision: str | None = None,
        device: str | None = None,
        *,
        reranker: Reranker | None = None,
        **kwargs: Any,
    ) -> None:
        """Open a model, or take one that is open already; as for `MTEBEncoder`."""
        self.reranker = reranker or load_reranker(model_name or DEFAULT_RERANKER, device=device, revision=revision)
        called = model_name or (name_of(reranker) if reranker else DEFAULT_RERANKER)
        fingerprint = getattr(self.reranker, "fingerprint", None) or f"{called} {revision or ''}"
        self.mteb_model_meta = described_model("cross-encoder", called, str(fingerprint))

    def predict(self, inputs1: Batches, inputs2: Batches, **kwargs: Any) -> NDArray[np.float32]:
        """The scores `(n,)` of pairs: queries and documents in the same places."""
        queries = [text for batch in inputs1 for text in batch["text"]]
        documents = [text for batch in inputs2 for text in batch["text"]]
        scores: list[NDArray[np.float32]] = []
        for query, pairs in groupby(zip(queries, documents, strict=True), key=lambda pair: pair[0]):
            scores.append(np.asarray(self.reranker.score(query, [text for _, text in pairs]), dtype=np.float32))
        return np.concatenate(scores) if scores else np.empty(0, dtype=np.float32)


def _rows(embeddings: Any) -> NDArray[np.float64]:
    array = np.asarray(embeddings, dtype=np.float64)
    return array[None] if array.ndim == 1 else array
