"""semsearch's models as LlamaIndex's embeddings."""

from __future__ import annotations

from typing import Any, Self

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import Field, PrivateAttr

from semsearch.adaptors.offloading import offloaded, offloaded_change
from semsearch.encoder import DEFAULT_MODEL
from semsearch.encoder.own import encoder_from, named_encoder
from semsearch.hardware import Compute
from semsearch.types import Encoder


class SemsearchEmbedding(BaseEmbedding):
    """A model's vectors; texts and questions are encoded as the model wants either.

    Attributes:
        model_name: A name or path, as `semsearch.load_encoder` takes it.
        device: As in `semsearch.load_encoder`.
        embed_batch_size: Texts that come together; the model makes batches of its own of them.
    """

    embed_batch_size: int = Field(default=512, gt=0, le=2048)
    model_name: str = DEFAULT_MODEL
    device: str | None = None
    _encoder: Encoder = PrivateAttr()

    def __init__(
        self,
        model_name: str = DEFAULT_MODEL,
        device: str | None = None,
        *,
        encoder: Encoder | None = None,
        **kwargs: Any,
    ) -> None:
        """Open a model, or take an encoder that is open already.

        Raises:
            ModelError: The model can't be found or opened.
        """
        name = model_name if encoder is None else str(getattr(encoder, "name", type(encoder).__qualname__))
        super().__init__(model_name=name, device=device, **kwargs)
        self._encoder = encoder_from(encoder) if encoder else named_encoder(model_name, None, Compute(device, None))

    @classmethod
    def class_name(cls) -> str:
        """What LlamaIndex calls it in what it writes down."""
        return "SemsearchEmbedding"

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """One with the same model, which is not opened twice."""
        copied: Self = self.model_copy()
        copied._encoder = self._encoder
        return copied

    def _get_query_embedding(self, query: str) -> list[float]:
        found: list[float] = self._encoder.encode_queries([query])[0].tolist()
        return found

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        found: list[list[float]] = self._encoder.encode_documents(texts).tolist()
        return found

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await offloaded(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await offloaded_change(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await offloaded_change(self._get_text_embeddings, texts)
