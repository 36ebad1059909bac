"""Haystack's retrievers over a collection: by embedding, by keywords, by both."""

from __future__ import annotations

from typing import Any, Self

from haystack import Document as HaystackDocument
from haystack import component, default_from_dict, default_to_dict
from haystack.document_stores.types import FilterPolicy, apply_filter_policy

from semsearch.arguments import check_whole
from semsearch.errors import UsageError
from semsearch.haystack.haystack_store import SemsearchDocumentStore

FoundDocuments = dict[str, list[HaystackDocument]]


class _Retriever:
    """What the three have in common."""

    def __init__(
        self,
        document_store: SemsearchDocumentStore,
        *,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        scale_score: bool = False,
        return_embedding: bool | None = None,
        filter_policy: str | FilterPolicy = FilterPolicy.REPLACE,
        options: dict[str, Any] | None = None,
    ) -> None:
        """Nothing is opened yet.

        Args:
            document_store: What is asked.
            filters: Of every call that brings none.
            top_k: Documents to give.
            scale_score: Give scores as shares between 0 and 1.
            return_embedding: Give documents with their embedding; None: as the store was told.
            filter_policy: What becomes of `filters` where a call brings its own: REPLACE or MERGE.
            options: Of `semsearch.Collection.search`: exact, rerank, dense_weight, mmr_lambda, min_score, ….

        Raises:
            UsageError: `document_store` is another's, or `top_k` is no whole number from 1.
        """
        if not isinstance(document_store, SemsearchDocumentStore):
            raise UsageError(f"document_store must be a SemsearchDocumentStore, not {type(document_store).__name__}.")
        self.document_store = document_store
        self.filters = filters
        self.top_k = check_whole(top_k, "top_k")
        self.scale_score = scale_score
        self.return_embedding = return_embedding
        policy = FilterPolicy.from_str(filter_policy) if isinstance(filter_policy, str) else filter_policy
        self.filter_policy = policy
        self.options = options

    def to_dict(self) -> dict[str, Any]:
        """What makes the same retriever again."""
        made: dict[str, Any] = default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            filters=self.filters,
            top_k=self.top_k,
            scale_score=self.scale_score,
            return_embedding=self.return_embedding,
            filter_policy=self.filter_policy.value,
            options=self.options,
        )
        return made

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The retriever that `to_dict` told of."""
        own = data["init_parameters"]
        if isinstance(own["document_store"], dict):
            own = {**own, "document_store": SemsearchDocumentStore.from_dict(own["document_store"])}
        made: Self = default_from_dict(cls, {**data, "init_parameters": own})
        return made

    def _asked(
        self,
        filters: dict[str, Any] | None,
        top_k: int | None,
        scale_score: bool | None,
        return_embedding: bool | None,
    ) -> dict[str, Any]:
        return {
            "filters": apply_filter_policy(self.filter_policy, self.filters, filters),
            "top_k": self.top_k if top_k is None else top_k,
            "scale_score": self.scale_score if scale_score is None else scale_score,
            "return_embedding": self.return_embedding if return_embedding is None else return_embedding,
            **(self.options or {}),
        }


@component
class SemsearchEmbeddingRetriever(_Retriever):
    """The documents nearest to the embedding of a query."""

    @component.output_types(documents=list[HaystackDocument])
    def run(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        scale_score: bool | None = None,
        return_embedding: bool | None = None,
    ) -> FoundDocuments:
        """The documents, best first, under `documents`; what is not said is as the retriever was told."""
        asked = self._asked(filters, top_k, scale_score, return_embedding)
        return {"documents": self.document_store.embedding_retrieval(query_embedding, **asked)}

    @component.output_types(documents=list[HaystackDocument])
    async def run_async(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        scale_score: bool | None = None,
        return_embedding: bool | None = None,
    ) -> FoundDocuments:
        """See `run`."""
        asked = self._asked(filters, top_k, scale_score, return_embedding)
        return {"documents": await self.document_store.embedding_retrieval_async(query_embedding, **asked)}


@component
class SemsearchKeywordRetriever(_Retriever):
    """The documents that best have the words of a query (BM25), in any script."""

    @component.output_types(documents=list[HaystackDocument])
    def run(
        self,
        query: str,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        scale_score: bool | None = None,
        return_embedding: bool | None = None,
    ) -> FoundDocuments:
        """The documents, best first, under `documents`; what is not said is as the retriever was told."""
        asked = self._asked(filters, top_k, scale_score, return_embedding)
        return {"documents": self.document_store.keyword_retrieval(query, **asked)}

    @component.output_types(documents=list[HaystackDocument])
    async def run_async(
        self,
        query: str,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        scale_score: bool | None = None,
        return_embedding: bool | None = None,
    ) -> FoundDocuments:
        """See `run`."""
        asked = self._asked(filters, top_k, scale_score, return_embedding)
        return {"documents": await self.document_store.keyword_retrieval_async(query, **asked)}


@component
class SemsearchHybridRetriever(_Retriever):
    """The best documents by meaning and by words together; the collection's model encodes the query."""

    @component.output_types(documents=list[HaystackDocument])
    def run(
        self,
        query: str,
        query_embedding: list[float] | None = None,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        scale_score: bool | None = None,
        return_embedding: bool | None = None,
    ) -> FoundDocuments:
        """The documents, best first, under `documents`; a store of given embeddings needs that of the query, too."""
        asked = self._asked(filters, top_k, scale_score, return_embedding)
        return {"documents": self.document_store.hybrid_retrieval(query, query_embedding, **asked)}

    @component.output_types(documents=list[HaystackDocument])
    async def run_async(
        self,
        query: str,
        query_embedding: list[float] | None = None,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        scale_score: bool | None = None,
        return_embedding: bool | None = None,
    ) -> FoundDocuments:
        """See `run`."""
        asked = self._asked(filters, top_k, scale_score, return_embedding)
        return {"documents": await self.document_store.hybrid_retrieval_async(query, query_embedding, **asked)}
