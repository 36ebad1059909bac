"""A collection as LangChain's retriever, with all ways to search."""

from __future__ import annotations

from typing import Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document as TextDocument
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field, PrivateAttr

from semsearch.adaptors.absent_fields import lenient
from semsearch.adaptors.offloading import offloaded
from semsearch.adaptors.opened import CollectionSpec
from semsearch.collection import Collection
from semsearch.errors import UsageError
from semsearch.langchain.text_documents import found_passage, text_document
from semsearch.types import Hit

SearchType = Literal["similarity", "similarity_score_threshold", "mmr"]


class SemsearchRetriever(BaseRetriever):
    """Asks a collection, by its name in a home or as an open one; what `invoke` is told beside the query goes first.

    Attributes:
        name: Of the collection; made where it is not there yet.
        home: Where it is: a folder, `postgresql://…`, `http://…`; see `semsearch.home.Home.of`.
        encoder: The model of a new collection, or the object that it was made with.
        collection: An open collection, instead of name and home.
        k: Documents to give.
        filter: A mapping or a text: `{"year": {"$gte": 1990}}`, `"year >= 1990"`.
        search_type: "similarity", "mmr" (near-duplicates make room), or "similarity_score_threshold": only what is as
            strong as `score_threshold`. That is the probability of being relevant, where the collection was calibrated
            on judgements, else the share of random pairs of question and passage that score less (0.999, say).
        score_threshold: From 0 to 1.
        fetch_k: Candidates of "mmr".
        lambda_mult: Of "mmr": 1 keeps the order of the scores, 0 puts near-duplicates last.
        passages: Give the passages that were found, with `start_index` and `end_index`, instead of whole documents.
        search_kwargs: Further options of `semsearch.Collection.search`: `mode`, `rerank`, `rerank_weight`, `exact`, ….
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    name: str | None = None
    home: Any = None
    encoder: Any = None
    collection: Any = None
    k: int = 4
    filter: Any = None
    search_type: SearchType = "similarity"
    score_threshold: float | None = None
    fetch_k: int = 20
    lambda_mult: float = 0.5
    passages: bool = False
    search_kwargs: dict[str, Any] = Field(default_factory=dict)
    _opened: Collection | None = PrivateAttr(default=None)

    def opened(self) -> Collection:
        """The collection that is asked.

        Raises:
            UsageError: Neither a name nor a collection was given.
        """
        if self.collection is not None:
            return self.collection  # type: ignore[no-any-return]
        if self._opened is None:
            if self.name is None:
                raise UsageError(
                    "a retriever needs the name of a collection, or an open one: SemsearchRetriever(name='…')."
                )
            self._opened = CollectionSpec(self.name, self.home, self.encoder).opened()
        return self._opened

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun | None = None, **kwargs: Any
    ) -> list[TextDocument]:
        hits = self.hits(query, **kwargs)
        return [found_passage(hit) if self.passages else text_document(hit.document) for hit in hits]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun | None = None, **kwargs: Any
    ) -> list[TextDocument]:
        return await offloaded(self._get_relevant_documents, query, **kwargs)

    def hits(self, query: str, **kwargs: Any) -> list[Hit]:
        """What semsearch finds, with scores, percentiles and places.

        Raises:
            UsageError: A threshold is asked for of a collection that has no calibration yet.
        """
        asked = {"k": self.k, "filter": self.filter, **self.search_kwargs, **kwargs}
        kind, least = asked.pop("search_type", self.search_type), asked.pop("score_threshold", self.score_threshold)
        fetch_k, lambda_mult = asked.pop("fetch_k", self.fetch_k), asked.pop("lambda_mult", self.lambda_mult)
        collection, k, where = self.opened(), asked.pop("k"), asked.pop("filter")
        if kind == "mmr":
            asked |= {"mmr_lambda": lambda_mult, "candidates": max(fetch_k, k)}
        elif kind == "similarity_score_threshold":
            asked |= _least(collection, least)
        return collection.search(query, k, where=lenient(collection, where), **asked)


def _least(collection: Collection, threshold: float | None) -> dict[str, float]:
    if threshold is None:
        raise UsageError("search_type 'similarity_score_threshold' needs a score_threshold, from 0 to 1.")
    calibration = collection.info()["calibration"]
    if calibration is None:
        raise UsageError(
            f"collection '{collection.name}' has not measured yet what its scores mean, which takes 32 passages: put "
            "more in, call collection.calibrate(), or ask for a raw score (search_kwargs={'min_score': …})."
        )
    judged = collection.settings.get("calibration", {}).get("slope") is not None
    return {"min_probability" if judged else "min_percentile": threshold}
