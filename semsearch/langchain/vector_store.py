"""A collection as LangChain's vector store."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Self
from uuid import uuid4

from langchain_core.documents import Document as TextDocument
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from semsearch.adaptors.absent_fields import lenient
from semsearch.adaptors.offloading import offloaded, offloaded_change
from semsearch.adaptors.opened import CollectionSpec
from semsearch.collection import Collection
from semsearch.encoder.own import encoder_from
from semsearch.errors import UsageError
from semsearch.langchain.embeddings import SemsearchEmbeddings
from semsearch.langchain.text_documents import stored_document, text_document
from semsearch.opening import HomeLike
from semsearch.search.where_mapping import Where
from semsearch.types import Encoder, Hit, Metric

ScoredTexts = list[tuple[TextDocument, float]]


class SemsearchVectorStore(VectorStore):
    """Texts with metadata under ids, found by their vectors; made where it is not there yet.

    Scores are similarities: higher is better. Every search takes a `filter`, as a mapping or a text
    (`{"year": {"$gte": 1990}}`, `"year >= 1990"`), and the options of `semsearch.Collection.search` by their names:
    `mode="hybrid"`, `rerank=True`, `exact=True`, `min_score=0.4`. Metadata are JSON's values; dates become texts.
    """

    def __init__(
        self,
        name: str,
        embedding: Embeddings | None = None,
        home: HomeLike = None,
        metric: Metric | str | None = "cosine",
        *,
        encoder: str | Encoder | None = None,
    ) -> None:
        """Open the collection `name`, or make it.

        Args:
            name: Of the collection.
            embedding: Gives the vectors; None: the collection's own model.
            home: Where it is: a folder, `postgresql://…`, `http://…`, `:memory:`; see `semsearch.home.Home.of`.
            metric: How vectors are compared: "cosine", "dot", "l2"; None takes what the collection or the model has.
            encoder: Without an embedding: the model of a new collection, by name or as an object.

        Raises:
            UsageError: The collection has another metric.
            ModelMismatch: It was made with another embedding.
        """
        if embedding is not None and encoder is not None:
            raise UsageError("an embedding gives the vectors, and so does an encoder: give one of them.")
        self._embedding = embedding
        self._again = partial(type(self), name, embedding, home, metric, encoder=encoder)
        model = encoder if embedding is None else encoder_of(embedding, metric or Metric.COSINE)
        self.collection: Collection = CollectionSpec(name, home, model, metric=metric).opened()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """One that opens the same collection anew, with the same embedding."""
        return self._again()

    @property
    def embeddings(self) -> Embeddings:
        """What gives the vectors: the embedding that was given, or the collection's model as one."""
        return self._embedding or SemsearchEmbeddings(encoder=self.collection.encoder)

    def close(self) -> None:
        """Let go of the collection's files."""
        self.collection.close()

    # Writing

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Put texts in; known ids are replaced, and a text that is unchanged is not encoded again. Their ids.

        Raises:
            UsageError: There are not as many ids or metadata as texts.
            DataError: Metadata hold what is no value of JSON's.
        """
        texts = list(texts)
        for what, given in (("metadata", metadatas), ("ids", ids)):
            if given is not None and len(given) != len(texts):
                raise UsageError(f"there are {len(texts):,} texts, and {len(given):,} {what} for them.")
        own = [str(uuid4()) if identity is None else identity for identity in ids or [None] * len(texts)]
        each = zip(own, texts, metadatas or [{}] * len(texts), strict=True)
        self.collection.add([stored_document(identity, text, metadata or {}) for identity, text, metadata in each])
        return own

    def add_documents(self, documents: list[TextDocument], **kwargs: Any) -> list[str]:
        """Put documents in, under `ids=` or their own ids, or new ones; the documents stay as they are. Their ids."""
        ids = kwargs.pop("ids", None) or [document.id for document in documents]
        texts = [document.page_content for document in documents]
        return self.add_texts(texts, [document.metadata for document in documents], ids=ids, **kwargs)

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Take documents out, all of them without `ids`; an id that is not there is no error."""
        self.collection.remove(self.collection.ids() if ids is None else ids)
        return True

    # Reading

    def get_by_ids(self, ids: Sequence[str], /) -> list[TextDocument]:
        """The documents of `ids` that are there."""
        return [text_document(document) for document in self.collection.get(ids) if document is not None]

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[TextDocument]:
        """The `k` documents that answer best."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    def similarity_search_with_score(  # type: ignore[override]  # the base leaves all open
        self,
        query: str,
        k: int = 4,
        filter: Where | None = None,  # noqa: A002  (as others call it)
        **kwargs: Any,
    ) -> ScoredTexts:
        """The `k` documents that answer best, each with its similarity: higher is better."""
        return _scored(self.collection.search(query, k, where=lenient(self.collection, filter), **kwargs))

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, **kwargs: Any) -> list[TextDocument]:
        """The `k` documents nearest to a vector."""
        return [document for document, _ in self.similarity_search_with_score_by_vector(embedding, k, **kwargs)]

    def similarity_search_with_score_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        filter: Where | None = None,  # noqa: A002  (as others call it)
        **kwargs: Any,
    ) -> ScoredTexts:
        """The `k` documents nearest to a vector, each with its similarity."""
        where = lenient(self.collection, filter)
        return _scored(self.collection.search(None, k, vector=embedding, where=where, **kwargs))

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Where | None = None,  # noqa: A002
        **kwargs: Any,
    ) -> list[TextDocument]:
        """The `k` best of `fetch_k`, where near-duplicates of better ones come later, with `lambda_mult` 0 last."""
        thinned = {"mmr_lambda": lambda_mult, "candidates": max(fetch_k, k), **kwargs}
        return self.similarity_search(query, k, filter=filter, **thinned)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Where | None = None,  # noqa: A002
        **kwargs: Any,
    ) -> list[TextDocument]:
        """As `max_marginal_relevance_search`, by a vector."""
        thinned = {"mmr_lambda": lambda_mult, "candidates": max(fetch_k, k), **kwargs}
        return self.similarity_search_by_vector(embedding, k, filter=filter, **thinned)

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        """From a similarity to a share between 0 and 1 that rises with it; the base's are made for distances."""
        if self.collection.metric == Metric.COSINE:
            return lambda score: min(max((1 + score) / 2, 0.0), 1.0)
        if self.collection.metric == Metric.L2:  # minus the squared distance
            return lambda score: 1 / (1 + math.sqrt(max(-score, 0.0)))
        return lambda score: 1 / (1 + math.exp(-min(max(score, -500.0), 500.0)))

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        name: str = "langchain",
        **kwargs: Any,
    ) -> Self:
        """A store that holds texts; `name`, `home` and `metric` say which, as for the class."""
        store = cls(name, embedding, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    # The same without blocking an event loop

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """See `add_texts`."""
        return await offloaded_change(self.add_texts, texts, metadatas, ids=ids, **kwargs)

    async def aadd_documents(self, documents: list[TextDocument], **kwargs: Any) -> list[str]:
        """See `add_documents`."""
        return await offloaded_change(self.add_documents, documents, **kwargs)

    async def adelete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """See `delete`."""
        return await offloaded_change(self.delete, ids, **kwargs)

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[TextDocument]:
        """See `get_by_ids`."""
        return await offloaded(self.get_by_ids, ids)

    async def asimilarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[TextDocument]:
        """See `similarity_search`."""
        return await offloaded(self.similarity_search, query, k, **kwargs)

    async def asimilarity_search_with_score(self, *args: Any, **kwargs: Any) -> ScoredTexts:
        """See `similarity_search_with_score`."""
        return await offloaded(self.similarity_search_with_score, *args, **kwargs)

    async def asimilarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[TextDocument]:
        """See `similarity_search_by_vector`."""
        return await offloaded(self.similarity_search_by_vector, embedding, k, **kwargs)

    async def amax_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[TextDocument]:
        """See `max_marginal_relevance_search`."""
        return await offloaded(self.max_marginal_relevance_search, query, k, fetch_k, lambda_mult, **kwargs)

    async def amax_marginal_relevance_search_by_vector(
        self, embedding: list[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[TextDocument]:
        """See `max_marginal_relevance_search_by_vector`."""
        searched = self.max_marginal_relevance_search_by_vector
        return await offloaded(searched, embedding, k, fetch_k, lambda_mult, **kwargs)

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """See `from_texts`."""
        return await offloaded_change(cls.from_texts, texts, embedding, metadatas, ids=ids, **kwargs)


def encoder_of(embedding: Embeddings, metric: Metric | str) -> Encoder:
    """An embedding as a collection's encoder, known by its class and the model that it names."""
    kind = type(embedding)
    names = (getattr(embedding, name, None) for name in ("model", "model_name", "model_id", "repo_id", "deployment"))
    model = next((name for name in names if isinstance(name, str)), "")
    return encoder_from(
        lambda texts: embedding.embed_documents(list(texts)),
        name=f"{kind.__module__}.{kind.__qualname__} {model}".strip(),
        queries=lambda texts: [embedding.embed_query(text) for text in texts],
        metric=metric,
    )


def _scored(hits: Sequence[Hit]) -> ScoredTexts:
    return [(text_document(hit.document), hit.score) for hit in hits]
