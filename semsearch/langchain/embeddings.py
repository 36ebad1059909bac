"""semsearch's models as LangChain's embeddings."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings

from semsearch.adaptors.offloading import offloaded, offloaded_change
from semsearch.encoder import DEFAULT_MODEL
from semsearch.encoder.own import encoder_from, named_encoder
from semsearch.hardware import Compute
from semsearch.types import Encoder


class SemsearchEmbeddings(Embeddings):
    """A model's vectors as lists of floats; documents and questions are encoded as the model wants either."""

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        device: str | None = None,
        dtype: str | None = None,
        revision: str | None = None,
        encoder: Encoder | None = None,
    ) -> None:
        """Open a model.

        Args:
            model: A name or path, as `semsearch.load_encoder` takes it, or `openai-compatible:URL#model`.
            device: As in `semsearch.load_encoder`.
            dtype: As in `semsearch.load_encoder`.
            revision: Of a model on the hub.
            encoder: An encoder that is open already, instead of all that.

        Raises:
            ModelError: The model can't be found or opened.
        """
        self.model = model if encoder is None else str(getattr(encoder, "name", type(encoder).__qualname__))
        self._encoder = (
            named_encoder(model, revision, Compute(device, dtype)) if encoder is None else encoder_from(encoder)
        )

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector for each text that is to be found."""
        found: list[list[float]] = self._encoder.encode_documents(texts).tolist()
        return found

    def embed_query(self, text: str) -> list[float]:
        """The vector of a question."""
        found: list[float] = self._encoder.encode_queries([text])[0].tolist()
        return found

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """See `embed_documents`."""
        return await offloaded_change(self.embed_documents, texts)

    async def aembed_query(self, text: str) -> list[float]:
        """See `embed_query`."""
        return await offloaded(self.embed_query, text)
