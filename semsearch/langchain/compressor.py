"""semsearch's rerankers as LangChain's document compressor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor
from langchain_core.documents import Document as TextDocument
from pydantic import ConfigDict, PrivateAttr

from semsearch.adaptors.offloading import offloaded
from semsearch.reranker.load import DEFAULT_RERANKER, load_reranker
from semsearch.types import Reranker


class SemsearchCompressor(BaseDocumentCompressor):
    """Orders documents by a cross-encoder that reads them together with the question, and keeps the best.

    Attributes:
        model: A name or path, as `semsearch.load_reranker` takes it, or an object with `score(query, texts)`.
        top_n: Documents to keep; None for all.
        min_score: Leave out what scores less.
        device: As in `semsearch.load_reranker`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    model: Any = DEFAULT_RERANKER
    top_n: int | None = 3
    min_score: float | None = None
    device: str | None = None
    _reranker: Reranker | None = PrivateAttr(default=None)

    def compress_documents(
        self, documents: Sequence[TextDocument], query: str, callbacks: Callbacks = None
    ) -> Sequence[TextDocument]:
        """Copies of the best documents, best first, each with its `relevance_score` in the metadata."""
        if not documents:
            return []
        if self._reranker is None:
            named = isinstance(self.model, str)
            self._reranker = load_reranker(self.model, device=self.device) if named else self.model
        scores = np.asarray(self._reranker.score(query, [document.page_content for document in documents]))
        order = np.argsort(-scores, kind="stable")[: self.top_n].tolist()
        return [
            documents[place].model_copy(
                update={"metadata": {**documents[place].metadata, "relevance_score": float(scores[place])}}
            )
            for place in order
            if self.min_score is None or scores[place] >= self.min_score
        ]

    async def acompress_documents(
        self, documents: Sequence[TextDocument], query: str, callbacks: Callbacks = None
    ) -> Sequence[TextDocument]:
        """See `compress_documents`."""
        return await offloaded(self.compress_documents, documents, query, callbacks)
