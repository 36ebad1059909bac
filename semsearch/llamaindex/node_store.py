"""A collection as LlamaIndex's vector store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Self

import numpy as np
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.indices.query.embedding_utils import get_top_k_mmr_embeddings
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)

from semsearch.adaptors.matching import Condition, any_of, found_where, same
from semsearch.adaptors.offloading import offloaded, offloaded_change
from semsearch.adaptors.opened import GIVEN_VECTORS, CollectionSpec, closed_store, place_of
from semsearch.collection import Collection
from semsearch.engine import SPARSE
from semsearch.errors import UsageError
from semsearch.home import Home
from semsearch.llamaindex.kept_nodes import NODE_ID, OF_DOCUMENT, found_node, kept_node, node_of
from semsearch.llamaindex.metadata_filters import condition_of_filters
from semsearch.opening import HomeLike
from semsearch.search.where import Filter
from semsearch.types import Document, Hit, Metric

NODES_AT_ONCE = 1024
MMR_CANDIDATES, MMR_FACTOR = 100, 4  # that are thinned out: at least so many, and so many for each that is asked for
MEANINGLESS = (
    VectorStoreQueryMode.SEMANTIC_HYBRID,
    VectorStoreQueryMode.SVM,
    VectorStoreQueryMode.LOGISTIC_REGRESSION,
    VectorStoreQueryMode.LINEAR_REGRESSION,
)


class SemsearchVectorStore(BasePydanticVectorStore):
    """Nodes with their embeddings, found by meaning, by words, or both; the first that are put in make the collection.

    A collection that something else made is asked as well: its passages come as text nodes.

    Attributes:
        name: Of the collection.
        home: Where it is: a folder, `postgresql://…`, `http://…`, `:memory:`; see `semsearch.home.Home.of`.
        metric: How embeddings are compared: "cosine", "dot", "l2"; of a collection that is there, its own.
    """

    stores_text: bool = True
    is_embedding_query: bool = True
    name: str
    home: str | None = None
    metric: str = "cosine"
    _home: Any = PrivateAttr(default=None)
    _opened: Collection | None = PrivateAttr(default=None)
    _closed: bool = PrivateAttr(default=False)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    def __init__(self, name: str, home: HomeLike = None, metric: str = "cosine", **kwargs: Any) -> None:
        """Nothing is opened yet; see the class."""
        super().__init__(name=name, home=place_of(home), metric=str(Metric.of(metric)), **kwargs)
        self._home = home

    @classmethod
    def class_name(cls) -> str:
        """What LlamaIndex calls it in what it writes down."""
        return "SemsearchVectorStore"

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """One that opens the same collection anew."""
        return type(self)(self.name, self._home, self.metric)

    @property
    def client(self) -> Collection | None:
        """The collection; None where none is there yet."""
        return self._collection()

    def close(self) -> None:
        """Let go of the collection's files."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None
            self._closed = True

    def _collection(self, dim: int | None = None) -> Collection | None:
        """The collection; where there is none, one for embeddings of `dim` components is made."""
        with self._lock:
            if self._closed:
                raise closed_store(self.name)
            if self._opened is None:
                there = self.name in Home.of(self._home)
                if not there and dim is None:
                    return None
                spec = CollectionSpec(self.name, self._home) if there else self._new(dim)
                self._opened = spec.opened()
            return self._opened

    def _new(self, dim: int | None) -> CollectionSpec:
        return CollectionSpec(self.name, self._home, GIVEN_VECTORS, dim, self.metric)

    # Writing

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Put nodes with their embeddings in; known ids are replaced. Their ids.

        Raises:
            ValueError: A node has no embedding.
            DataError: An embedding has no direction or another length, or metadata hold what JSON does not.
        """
        if not nodes:
            return []
        vectors = [node.get_embedding() for node in nodes]
        collection = self._collection(len(vectors[0]))
        assert collection is not None, "it was made"
        collection.add([kept_node(node) for node in nodes], np.asarray(vectors, dtype=np.float64))
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Take out all nodes of a document."""
        self._remove(Condition(same(OF_DOCUMENT, ref_doc_id)))

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Take out the nodes of some ids that filters allow; without either, as LlamaIndex has it, all."""
        self._remove(condition_of_filters(filters, *self._of_ids(node_ids)))

    def clear(self) -> None:
        """Take all nodes out."""
        self._remove(None)

    def _remove(self, condition: Condition | None) -> None:
        collection = self._collection()
        if collection is not None:
            collection.remove([document.id for document in _stored(collection, condition)])

    # Reading

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """The nodes of some ids that filters allow, in the order in which they were put in."""
        collection = self._collection()
        if collection is None:
            return []
        condition = condition_of_filters(filters, *self._of_ids(node_ids))
        return [node_of(document) for document in _stored(collection, condition)]

    def _of_ids(self, node_ids: Sequence[str] | None) -> list[Filter]:
        return [] if node_ids is None else [any_of(NODE_ID, node_ids)]

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """The best nodes with their scores, higher is better, and their ids.

        Args:
            query: What is asked. The modes are default (by meaning), text_search (by words, BM25), sparse (by the
                collection's sparse model, by words where it has none), hybrid (both; `alpha` is the share of meaning,
                without it each counts as far as it stands out) and mmr.
            **kwargs: Options of `semsearch.Collection.search`; `mmr_threshold`; `mmr_prefetch_k`, mmr's candidates.

        Raises:
            UsageError: The mode has no meaning here, or lacks its embedding or text.
        """
        if query.mode in MEANINGLESS:
            raise UsageError(f"the query mode '{query.mode.value}' has no meaning here: choose default, hybrid or mmr.")
        collection = self._collection()
        if collection is None:
            return VectorStoreQueryResult(nodes=[], similarities=[], ids=[])
        # LlamaIndex's retriever hands over an empty list where a store keeps the texts itself, and means all nodes
        further = self._of_ids(query.node_ids or None)
        if query.doc_ids:
            further.append(any_of(OF_DOCUMENT, query.doc_ids))
        condition = condition_of_filters(query.filters, *further)
        if query.mode == VectorStoreQueryMode.MMR:
            return _thinned(collection, query, condition, kwargs)
        k, asked = _asked(collection, query)
        hits = found_where(_ask(collection, {**asked, **kwargs}), k, condition)
        return _result(hits, [hit.score for hit in hits])

    # The same without blocking an event loop

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """See `add`."""
        return await offloaded_change(self.add, nodes, **kwargs)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """See `delete`."""
        await offloaded_change(self.delete, ref_doc_id, **delete_kwargs)

    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """See `delete_nodes`."""
        await offloaded_change(self.delete_nodes, node_ids, filters, **delete_kwargs)

    async def aclear(self) -> None:
        """See `clear`."""
        await offloaded_change(self.clear)

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """See `get_nodes`."""
        return await offloaded(self.get_nodes, node_ids, filters)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """See `query`."""
        return await offloaded(self.query, query, **kwargs)


def _ask(collection: Collection, asked: dict[str, Any]) -> Callable[[int, Filter | None], Sequence[Hit]]:
    query = asked.pop("query", None)
    return lambda depth, where: collection.search(query, depth, where=where, **asked)


def _asked(collection: Collection, query: VectorStoreQuery) -> tuple[int, dict[str, Any]]:
    """How many are asked for, and with which options of a search."""
    k, embedding, text = query.similarity_top_k, query.query_embedding, query.query_str
    words = "sparse" if collection.settings.get(SPARSE) else "lexical"
    needed = {"text": text} if query.mode in (VectorStoreQueryMode.TEXT_SEARCH, VectorStoreQueryMode.SPARSE) else {}
    if query.mode == VectorStoreQueryMode.HYBRID:
        needed = {"text": text, "embedding": embedding}
    for what, value in (needed or {"embedding": embedding}).items():
        if value is None:
            raise UsageError(f"the query mode '{query.mode.value}' needs the {what} of the query.")
    match query.mode:
        case VectorStoreQueryMode.TEXT_SEARCH:
            return k, {"query": text, "mode": "lexical"}
        case VectorStoreQueryMode.SPARSE:
            return query.sparse_top_k or k, {"query": text, "mode": words}
        case VectorStoreQueryMode.HYBRID:
            both = {"query": text, "vector": embedding, "mode": "hybrid", "dense_weight": query.alpha}
            return query.hybrid_top_k or k, both
    return k, {"vector": embedding}


def _thinned(
    collection: Collection, query: VectorStoreQuery, condition: Condition | None, options: dict[str, Any]
) -> VectorStoreQueryResult:
    """The best nodes by LlamaIndex's own maximal marginal relevance, among the nearest."""
    options = dict(options)
    threshold = options.pop("mmr_threshold", query.mmr_threshold)
    depth = options.pop("mmr_prefetch_k", max(MMR_CANDIDATES, MMR_FACTOR * query.similarity_top_k))
    if query.query_embedding is None:
        raise UsageError("the query mode 'mmr' needs the embedding of the query.")
    hits = found_where(_ask(collection, {"vector": query.query_embedding, **options}), depth, condition)
    if not hits:
        return _result([], [])
    vectors = collection.vectors([hit.id for hit in hits])
    embeddings = [np.zeros(1) if one is None else one[0] for one in vectors]
    scores, places = get_top_k_mmr_embeddings(
        query.query_embedding,
        embeddings,  # type: ignore[arg-type]
        similarity_top_k=query.similarity_top_k,
        embedding_ids=list(range(len(hits))),
        mmr_threshold=threshold,
    )
    return _result([hits[place] for place in places], list(map(float, scores)))


def _result(hits: Sequence[Hit], scores: list[float]) -> VectorStoreQueryResult:
    return VectorStoreQueryResult(
        nodes=[found_node(hit) for hit in hits], similarities=scores, ids=[hit.id for hit in hits]
    )


def _stored(collection: Collection, condition: Condition | None) -> list[Document]:
    """The stored documents that meet a condition, in the order in which they were put in."""
    pending = iter(collection.ids(None if condition is None else condition.tree))
    found: list[Document] = []
    while some := list(islice(pending, NODES_AT_ONCE)):
        for document in collection.get(some):
            if document is not None and (
                condition is None
                or condition.holds is None
                or condition.holds(document.id, document.metadata, lambda: document)  # noqa: B023  (called at once)
            ):
                found.append(document)
    return found
