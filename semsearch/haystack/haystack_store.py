"""A collection as Haystack's document store."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from typing import Any, Final, Self

import numpy as np
from haystack import Document as HaystackDocument
from haystack import default_from_dict, default_to_dict
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy

from semsearch.adaptors.matching import EVERYTHING, Condition, found_where
from semsearch.adaptors.offloading import offloaded, offloaded_change
from semsearch.adaptors.opened import GIVEN_VECTORS, CollectionSpec, closed_store, has_encoder, place_of
from semsearch.collection import Collection
from semsearch.errors import DimensionMismatch, UsageError
from semsearch.haystack.conditions import META, condition_of
from semsearch.haystack.kept_documents import REST, UNEMBEDDED, haystack_document, kept_document
from semsearch.opening import HomeLike
from semsearch.search.where import And, Exists, Filter, Not
from semsearch.types import Document, Hit, Metric

STORED_AT_ONCE = 1024  # documents
DOT_SCALE, WORDS_SCALE = 100, 8  # of scores that have no bound, on the way to a share: as Haystack's own store has them
EMBEDDED: Final = Not(Exists(UNEMBEDDED))


class SemsearchDocumentStore:
    """Documents of Haystack's in a collection, which is made when it is first used.

    By default the collection's own model gives the vectors, of a new one `encoder` or the default model; a document
    that comes with an embedding, which must be of that model, keeps it. With `dim` all vectors are the caller's:
    documents without an embedding are kept too, and found by keywords. Written with no policy, ids that are there are
    an error.
    """

    def __init__(
        self,
        name: str,
        home: HomeLike = None,
        *,
        encoder: str | None = None,
        dim: int | None = None,
        metric: str | None = None,
        return_embedding: bool = True,
    ) -> None:
        """Nothing is opened yet.

        Args:
            name: Of the collection.
            home: Where it is: a folder, `postgresql://…`, `http://…`, `:memory:`; see `semsearch.home.Home.of`. It is
                written down when a pipeline is: a password does better in the environment (`PGPASSWORD`).
            encoder: The model of a new collection.
            dim: Components of the embeddings that documents come with.
            metric: How vectors are compared: "cosine" (where nothing is said), "dot", "l2".
            return_embedding: Give found documents with their embedding.

        Raises:
            UsageError: Both an encoder and `dim` are given.
        """
        if encoder is not None and dim is not None:
            raise UsageError(
                "dim is for embeddings that documents come with, and an encoder makes them: give one of them."
            )
        self.name = name
        self.home = home
        self.encoder = encoder
        self.dim = dim
        self.metric = metric
        self.return_embedding = return_embedding
        self._opened: Collection | None = None
        self._closed = False
        self._lock = threading.Lock()

    def to_dict(self) -> dict[str, Any]:
        """What makes the same store again."""
        made: dict[str, Any] = default_to_dict(
            self,
            name=self.name,
            home=place_of(self.home),
            encoder=self.encoder,
            dim=self.dim,
            metric=self.metric,
            return_embedding=self.return_embedding,
        )
        return made

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The store that `to_dict` told of."""
        made: Self = default_from_dict(cls, data)
        return made

    def __getstate__(self) -> dict[str, Any]:
        """What a copy, or another process, opens anew."""
        return {name: value for name, value in vars(self).items() if name not in ("_opened", "_closed", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _opened=None, _closed=False, _lock=threading.Lock())

    @property
    def collection(self) -> Collection:
        """The collection, opened or made when it is first asked for."""
        with self._lock:
            if self._closed:
                raise closed_store(self.name)
            if self._opened is None:
                # beside the caller's components one more, which is all that a document without an embedding has
                given, dim = (None, None) if self.dim is None else (GIVEN_VECTORS, self.dim + 1)
                self._opened = CollectionSpec(self.name, self.home, given or self.encoder, dim, self.metric).opened()
            return self._opened

    def close(self) -> None:
        """Let go of the collection's files."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None
            self._closed = True

    # What it holds

    def count_documents(self) -> int:
        """Documents."""
        return len(self.collection)

    def count_documents_by_filter(self, filters: Mapping[str, Any]) -> int:
        """Documents that `filters` allow."""
        condition = condition_of(filters)
        if condition is not None and condition.holds is None:
            return self.collection.count(condition.tree)
        return sum(1 for _ in self._stored(condition))

    def filter_documents(self, filters: Mapping[str, Any] | None = None) -> list[HaystackDocument]:
        """The documents that `filters` allow, in the order they were first written.

        Raises:
            haystack.errors.FilterError: What is wrong with the filters.
        """
        return [haystack_document(document) for document in self._stored(condition_of(filters))]

    def write_documents(self, documents: list[HaystackDocument], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int:
        """Put documents in; how many were written.

        Raises:
            ValueError: It is no list of documents, or one of them can't be stored; says which and why.
            DuplicateDocumentError: With FAIL (or NONE) an id is there, or comes twice: then nothing is written.
        """
        if not isinstance(documents, Iterable) or isinstance(documents, str):
            raise UsageError("write_documents takes a list of haystack.Document.")
        documents = list(documents)
        if strange := [one for one in documents if not isinstance(one, HaystackDocument)]:
            raise UsageError(f"write_documents takes a list of haystack.Document, not {strange[0]!r:.60}.")
        if policy is not DuplicatePolicy.OVERWRITE:
            documents = self._new_ones(documents, policy)
        for bare, some in groupby(documents, self._is_unembedded):
            self._write(list(some), bare)
        self.collection.maintain()
        return len(documents)

    def _new_ones(self, documents: Sequence[HaystackDocument], policy: DuplicatePolicy) -> list[HaystackDocument]:
        found = self.collection.get([document.id for document in documents])
        known = {document.id for document in found if document is not None}
        fresh: list[HaystackDocument] = []
        for document in documents:
            if document.id not in known:
                fresh.append(document)
                known.add(document.id)
            elif policy is not DuplicatePolicy.SKIP:
                raise DuplicateDocumentError(
                    f"there is a document of the id {document.id!r:.100} already: write with DuplicatePolicy.OVERWRITE "
                    "or SKIP."
                )
        return fresh

    def _is_unembedded(self, document: HaystackDocument) -> bool:
        """Whether nothing is known that a vector could be made of; None of what the model encodes."""
        return document.embedding is None

    def _write(self, documents: list[HaystackDocument], bare: bool) -> None:
        """Put in documents that all have an embedding, or none of which has."""
        collection, encoded = self.collection, has_encoder(self.collection)
        if not bare:
            kept = [kept_document(document, unembedded=False) for document in documents]
            collection.add(kept, self._vectors([document.embedding for document in documents]), maintain=False)
        elif encoded:
            collection.add(
                [kept_document(one, unembedded=not (one.content or "").strip()) for one in documents], maintain=False
            )
        else:
            kept = [kept_document(document, unembedded=True) for document in documents]
            alone = np.zeros((len(kept), self._dim() + 1), dtype=np.float32)
            alone[:, -1] = 1
            collection.add(kept, alone, maintain=False)

    def _dim(self) -> int:
        """Components of the embeddings that documents come with.

        Raises:
            UsageError: Nobody said so.
        """
        if self.dim is None:
            with self.collection.engine.view() as view:
                there = view.dim
            raise UsageError(
                f"collection '{self.name}' has no model, so that documents come with their embeddings: say of how many "
                f"components, dim={there - 1} where this adaptor made it."
            )
        return self.dim

    def _vectors(self, embeddings: Sequence[Any]) -> Any:
        """Embeddings as the collection has them `(n, dim)`.

        Raises:
            DimensionMismatch: One has another number of components.
        """
        collection = self.collection
        wanted = collection.encoder.dim if has_encoder(collection) else self._dim()
        for embedding in embeddings:
            if len(embedding) != wanted:
                raise DimensionMismatch(
                    f"an embedding has {len(embedding):,} components, those of '{self.name}' have {wanted:,}"
                    + (": they must be of its own model." if has_encoder(collection) else ".")
                )
        vectors = np.asarray(embeddings, dtype=np.float64)
        if has_encoder(collection):
            return vectors
        return np.pad(vectors, ((0, 0), (0, 1)))

    def delete_documents(self, document_ids: list[str]) -> None:
        """Take documents out; an id that is not there is no error."""
        self.collection.remove(document_ids)

    def delete_all_documents(self) -> None:
        """Take all documents out."""
        self.collection.remove(self.collection.ids())

    def delete_by_filter(self, filters: Mapping[str, Any]) -> int:
        """Take out the documents that `filters` allow; how many."""
        return self.collection.remove(self._ids(condition_of(filters)))

    def update_by_filter(self, filters: Mapping[str, Any], meta: dict[str, Any]) -> int:
        """Set fields of the meta of documents that `filters` allow; nothing is encoded. How many."""
        return self.collection.update_metadata(self._ids(condition_of(filters)), meta)

    # What the meta hold

    def get_metadata_fields_info(self) -> dict[str, dict[str, str]]:
        """The types of all fields: "keyword", "int", "float", "boolean"."""
        types: dict[str, dict[str, str]] = {}
        for document in self._stored(None):
            for name, value in document.metadata.items():
                if value is not None and name not in (REST, UNEMBEDDED):
                    kinds = {bool: "boolean", int: "int", float: "float"}
                    types[name] = {"type": kinds.get(type(value), "keyword")}
        return types

    def get_metadata_field_min_max(self, metadata_field: str) -> dict[str, Any]:
        """The least and the greatest value of a field; None where there is none, or they don't compare."""
        values = [value for value in self._values(metadata_field, None) if isinstance(value, int | float | str)]
        try:
            return {"min": min(values, default=None), "max": max(values, default=None)}
        except TypeError:
            return {"min": None, "max": None}

    def get_metadata_field_unique_values(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int = 10,
        filters: Mapping[str, Any] | None = None,
    ) -> tuple[list[Any], int]:
        """A page of the values of a field, sorted as texts, and how many there are; those that hold `search_term`."""
        known = {_identity(value): value for value in self._values(metadata_field, filters)}
        wanted = (search_term or "").lower()
        found = {key: value for key, value in known.items() if wanted in str(value).lower()}
        order = sorted(found, key=lambda key: (str(found[key]), key[0]))
        return [found[key] for key in order[from_ : from_ + size]], len(order)

    def count_unique_metadata_by_filter(self, filters: Mapping[str, Any], metadata_fields: list[str]) -> dict[str, int]:
        """How many values fields have among the documents that `filters` allow; 1, 1.0 and true are one."""
        return {
            field.removeprefix(META): len({_identity(value)[1] for value in self._values(field, filters)})
            for field in metadata_fields
        }

    def _values(self, field: str, filters: Mapping[str, Any] | None) -> Iterator[Any]:
        name = field.removeprefix(META)
        for document in self._stored(condition_of(filters)):
            if (value := document.metadata.get(name)) is not None:
                yield value

    # Reading by a condition

    def _stored(self, condition: Condition | None) -> Iterator[Document]:
        """The stored documents that meet a condition, in the order they were first written."""
        if condition is None or condition.tree == EVERYTHING:
            found: Iterator[Document] = self.collection.documents()
        else:
            found = self._read(self.collection.ids(condition.tree))
        holds = None if condition is None else condition.holds
        return found if holds is None else (one for one in found if holds(one.id, one.metadata, lambda: one))  # noqa: B023

    def _read(self, ids: Sequence[str]) -> Iterator[Document]:
        pending = iter(ids)
        while some := list(islice(pending, STORED_AT_ONCE)):
            yield from (document for document in self.collection.get(some) if document is not None)

    def _ids(self, condition: Condition | None) -> list[str]:
        if condition is not None and condition.holds is None:
            return list(self.collection.ids(condition.tree))
        return [document.id for document in self._stored(condition)]

    # Searching

    def embedding_retrieval(
        self,
        query_embedding: Sequence[float],
        filters: Mapping[str, Any] | None = None,
        top_k: int = 10,
        scale_score: bool = False,
        return_embedding: bool | None = None,
        **options: Any,
    ) -> list[HaystackDocument]:
        """The documents nearest to an embedding, best first; those without one are left out.

        Args:
            query_embedding: Of the model that the documents' vectors are of.
            filters: As Haystack has them.
            top_k: Documents to give.
            scale_score: Give the score as a share between 0 and 1 that rises with it.
            return_embedding: Give the documents with their embedding; None: as the store was told.
            **options: Of `semsearch.Collection.search`: exact, mmr_lambda, min_score, ….
        """
        (vector,) = self._vectors([query_embedding])

        def ask(depth: int, where: Filter | None) -> Sequence[Hit]:
            own = self._embedded(where)
            return self.collection.search(None, depth, vector=vector, where=own, **options)

        return self._found(ask, filters, top_k, scale_score, return_embedding, words=False)

    def keyword_retrieval(
        self,
        query: str,
        filters: Mapping[str, Any] | None = None,
        top_k: int = 10,
        scale_score: bool = False,
        return_embedding: bool | None = None,
        **options: Any,
    ) -> list[HaystackDocument]:
        """The documents that best have the words of a query (BM25); further as `embedding_retrieval`."""

        def ask(depth: int, where: Filter | None) -> Sequence[Hit]:
            return self.collection.search(query, depth, where=where, mode="lexical", **options)

        return self._found(ask, filters, top_k, scale_score, return_embedding, words=True)

    def hybrid_retrieval(
        self,
        query: str,
        query_embedding: Sequence[float] | None = None,
        filters: Mapping[str, Any] | None = None,
        top_k: int = 10,
        scale_score: bool = False,
        return_embedding: bool | None = None,
        **options: Any,
    ) -> list[HaystackDocument]:
        """The best documents by meaning and by words together; the collection's model encodes what has no embedding.

        `options` may have `dense_weight`, the share of meaning, `rerank` and `rerank_weight`.
        """
        vector = None if query_embedding is None else self._vectors([query_embedding])[0]

        def ask(depth: int, where: Filter | None) -> Sequence[Hit]:
            own = self._embedded(where) if has_encoder(self.collection) else where
            return self.collection.search(query, depth, vector=vector, where=own, mode="hybrid", **options)

        return self._found(ask, filters, top_k, scale_score, return_embedding, words=True)

    def _embedded(self, where: Filter | None) -> Filter | None:
        """Without what has no vector of its own, where there is any."""
        if not self.collection.has_field(UNEMBEDDED):
            return where
        return EMBEDDED if where is None else And((where, EMBEDDED))

    def _found(
        self,
        ask: Any,
        filters: Mapping[str, Any] | None,
        top_k: int,
        scale_score: bool,
        return_embedding: bool | None,
        *,
        words: bool,
    ) -> list[HaystackDocument]:
        with_embedding = self.return_embedding if return_embedding is None else return_embedding
        hits = found_where(ask, top_k, condition_of(filters))
        return [
            haystack_document(
                hit.document,
                self._share(hit.score, words) if scale_score else hit.score,
                return_embedding=with_embedding,
            )
            for hit in hits
        ]

    def _share(self, score: float, words: bool) -> float:
        if not words and self.collection.metric == Metric.COSINE:
            return min(max((score + 1) / 2, 0.0), 1.0)
        scaled = score / (WORDS_SCALE if words else DOT_SCALE)
        return 1 / (1 + math.exp(-min(max(scaled, -500.0), 500.0)))

    # The same without blocking an event loop

    async def count_documents_async(self) -> int:
        """See `count_documents`."""
        return await offloaded(self.count_documents)

    async def count_documents_by_filter_async(self, filters: Mapping[str, Any]) -> int:
        """See `count_documents_by_filter`."""
        return await offloaded(self.count_documents_by_filter, filters)

    async def filter_documents_async(self, filters: Mapping[str, Any] | None = None) -> list[HaystackDocument]:
        """See `filter_documents`."""
        return await offloaded(self.filter_documents, filters)

    async def write_documents_async(
        self, documents: list[HaystackDocument], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """See `write_documents`."""
        return await offloaded_change(self.write_documents, documents, policy)

    async def delete_documents_async(self, document_ids: list[str]) -> None:
        """See `delete_documents`."""
        await offloaded_change(self.delete_documents, document_ids)

    async def delete_all_documents_async(self) -> None:
        """See `delete_all_documents`."""
        await offloaded_change(self.delete_all_documents)

    async def delete_by_filter_async(self, filters: Mapping[str, Any]) -> int:
        """See `delete_by_filter`."""
        return await offloaded_change(self.delete_by_filter, filters)

    async def update_by_filter_async(self, filters: Mapping[str, Any], meta: dict[str, Any]) -> int:
        """See `update_by_filter`."""
        return await offloaded_change(self.update_by_filter, filters, meta)

    async def get_metadata_fields_info_async(self) -> dict[str, dict[str, str]]:
        """See `get_metadata_fields_info`."""
        return await offloaded(self.get_metadata_fields_info)

    async def get_metadata_field_min_max_async(self, metadata_field: str) -> dict[str, Any]:
        """See `get_metadata_field_min_max`."""
        return await offloaded(self.get_metadata_field_min_max, metadata_field)

    async def get_metadata_field_unique_values_async(self, *args: Any, **kwargs: Any) -> tuple[list[Any], int]:
        """See `get_metadata_field_unique_values`."""
        return await offloaded(self.get_metadata_field_unique_values, *args, **kwargs)

    async def count_unique_metadata_by_filter_async(
        self, filters: Mapping[str, Any], metadata_fields: list[str]
    ) -> dict[str, int]:
        """See `count_unique_metadata_by_filter`."""
        return await offloaded(self.count_unique_metadata_by_filter, filters, metadata_fields)

    async def embedding_retrieval_async(self, *args: Any, **kwargs: Any) -> list[HaystackDocument]:
        """See `embedding_retrieval`."""
        return await offloaded(self.embedding_retrieval, *args, **kwargs)

    async def keyword_retrieval_async(self, *args: Any, **kwargs: Any) -> list[HaystackDocument]:
        """See `keyword_retrieval`."""
        return await offloaded(self.keyword_retrieval, *args, **kwargs)

    async def hybrid_retrieval_async(self, *args: Any, **kwargs: Any) -> list[HaystackDocument]:
        """See `hybrid_retrieval`."""
        return await offloaded(self.hybrid_retrieval, *args, **kwargs)


def _identity(value: Any) -> tuple[str, Any]:
    """What tells values apart: 1, 1.0, "1" and true by their types, lists and maps by what they hold."""
    if isinstance(value, list | tuple):
        return "list", ("list", tuple(_identity(one) for one in value))
    if isinstance(value, Mapping):
        return "dict", ("dict", frozenset((name, _identity(one)) for name, one in value.items()))
    return type(value).__name__, value
