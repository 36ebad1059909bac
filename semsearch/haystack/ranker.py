"""semsearch's rerankers as Haystack's ranker."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from haystack import Document as HaystackDocument
from haystack import component, default_to_dict

from semsearch.adaptors.offloading import offloaded
from semsearch.reranker.load import DEFAULT_RERANKER, load_reranker
from semsearch.types import Reranker


@component
class SemsearchRanker:
    """Orders documents by a cross-encoder that reads them together with the query."""

    def __init__(
        self,
        model: str = DEFAULT_RERANKER,
        *,
        top_k: int | None = 10,
        device: str | None = None,
        score_threshold: float | None = None,
    ) -> None:
        """Nothing is opened yet.

        Args:
            model: A name or path, as `semsearch.load_reranker` takes it.
            top_k: Documents to give; None for all.
            device: As in `semsearch.load_reranker`.
            score_threshold: Leave out what scores less.
        """
        self.model = model
        self.top_k = top_k
        self.device = device
        self.score_threshold = score_threshold
        self._reranker: Reranker | None = None

    def to_dict(self) -> dict[str, Any]:
        """What makes the same ranker again."""
        made: dict[str, Any] = default_to_dict(
            self, model=self.model, top_k=self.top_k, device=self.device, score_threshold=self.score_threshold
        )
        return made

    def warm_up(self) -> None:
        """Open the model now."""
        if self._reranker is None:
            self._reranker = load_reranker(self.model, device=self.device)

    @component.output_types(documents=list[HaystackDocument])
    def run(
        self,
        query: str,
        documents: list[HaystackDocument],
        top_k: int | None = None,
        score_threshold: float | None = None,
    ) -> dict[str, list[HaystackDocument]]:
        """Copies of the best documents with their scores, best first, under `documents`."""
        if not documents:
            return {"documents": []}
        self.warm_up()
        assert self._reranker is not None, "it was opened just now"
        scores = np.asarray(self._reranker.score(query, [document.content or "" for document in documents]))
        least = self.score_threshold if score_threshold is None else score_threshold
        order = np.argsort(-scores, kind="stable")[: self.top_k if top_k is None else top_k].tolist()
        ranked = [replace(documents[place], score=float(scores[place])) for place in order]
        return {"documents": [one for one in ranked if least is None or (one.score or 0.0) >= least]}

    @component.output_types(documents=list[HaystackDocument])
    async def run_async(
        self,
        query: str,
        documents: list[HaystackDocument],
        top_k: int | None = None,
        score_threshold: float | None = None,
    ) -> dict[str, list[HaystackDocument]]:
        """See `run`."""
        return await offloaded(self.run, query, documents, top_k, score_threshold)
