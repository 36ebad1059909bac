"""semsearch's models as Haystack's embedders."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from haystack import Document as HaystackDocument
from haystack import component, default_to_dict

from semsearch.adaptors.offloading import offloaded, offloaded_change
from semsearch.encoder import DEFAULT_MODEL
from semsearch.encoder.own import named_encoder
from semsearch.errors import UsageError
from semsearch.hardware import Compute
from semsearch.types import Encoder


class _Embedder:
    """A model that is opened when it is first needed."""

    def __init__(self, model: str = DEFAULT_MODEL, *, device: str | None = None) -> None:
        self.model = model
        self.device = device
        self._encoder: Encoder | None = None

    def warm_up(self) -> None:
        """Open the model now."""
        self.encoder()

    def encoder(self) -> Encoder:
        """The model."""
        if self._encoder is None:
            self._encoder = named_encoder(self.model, None, Compute(self.device, None))
        return self._encoder


@component
class SemsearchTextEmbedder(_Embedder):
    """The vector of a question; `model` is a name or path, as `semsearch.load_encoder` takes it."""

    def to_dict(self) -> dict[str, Any]:
        """What makes the same embedder again."""
        made: dict[str, Any] = default_to_dict(self, model=self.model, device=self.device)
        return made

    @component.output_types(embedding=list[float], meta=dict[str, Any])
    def run(self, text: str) -> dict[str, Any]:
        """The vector of a text under `embedding`, and the model's name under `meta`.

        Raises:
            UsageError: It is no text.
        """
        if not isinstance(text, str):
            raise UsageError(
                f"a text embedder takes a text, not {type(text).__name__}; a document embedder takes documents."
            )
        return {"embedding": self.encoder().encode_queries([text])[0].tolist(), "meta": {"model": self.model}}

    @component.output_types(embedding=list[float], meta=dict[str, Any])
    async def run_async(self, text: str) -> dict[str, Any]:
        """See `run`."""
        return await offloaded(self.run, text)


@component
class SemsearchDocumentEmbedder(_Embedder):
    """Documents with the vectors of their contents."""

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        device: str | None = None,
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
    ) -> None:
        """Nothing is opened yet.

        Args:
            model: A name or path, as `semsearch.load_encoder` takes it.
            device: As in `semsearch.load_encoder`.
            meta_fields_to_embed: Fields of the meta that are encoded in front of the content.
            embedding_separator: What stands between them.
        """
        _Embedder.__init__(self, model, device=device)  # Haystack makes a class anew, of which `super()` knows nothing
        self.meta_fields_to_embed = meta_fields_to_embed
        self.embedding_separator = embedding_separator

    def to_dict(self) -> dict[str, Any]:
        """What makes the same embedder again."""
        made: dict[str, Any] = default_to_dict(
            self,
            model=self.model,
            device=self.device,
            meta_fields_to_embed=self.meta_fields_to_embed,
            embedding_separator=self.embedding_separator,
        )
        return made

    @component.output_types(documents=list[HaystackDocument], meta=dict[str, Any])
    def run(self, documents: list[HaystackDocument]) -> dict[str, Any]:
        """Copies of the documents with their embeddings, under `documents`.

        Raises:
            UsageError: It is no list of documents.
        """
        if not isinstance(documents, list) or any(not isinstance(one, HaystackDocument) for one in documents):
            raise UsageError("a document embedder takes a list of haystack.Document; a text embedder takes a text.")
        vectors = self.encoder().encode_documents(list(map(self._text, documents))).tolist() if documents else []
        embedded = [replace(document, embedding=vector) for document, vector in zip(documents, vectors, strict=True)]
        return {"documents": embedded, "meta": {"model": self.model}}

    @component.output_types(documents=list[HaystackDocument], meta=dict[str, Any])
    async def run_async(self, documents: list[HaystackDocument]) -> dict[str, Any]:
        """See `run`."""
        return await offloaded_change(self.run, documents)

    def _text(self, document: HaystackDocument) -> str:
        values = [document.meta.get(name) for name in self.meta_fields_to_embed or ()]
        parts = [str(value) for value in values if value is not None]
        return self.embedding_separator.join([*parts, document.content or ""])
