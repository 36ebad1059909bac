"""semsearch's rerankers as LlamaIndex's node postprocessor."""

from __future__ import annotations

from typing import Any

import numpy as np
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from semsearch.adaptors.offloading import offloaded
from semsearch.errors import UsageError
from semsearch.reranker.load import DEFAULT_RERANKER, load_reranker
from semsearch.types import Reranker


class SemsearchRerank(BaseNodePostprocessor):
    """Orders nodes by a cross-encoder that reads them together with the query, and keeps the best.

    Attributes:
        model: A name or path, as `semsearch.load_reranker` takes it, or an object with `score(query, texts)`.
        top_n: Nodes to keep; None for all.
        device: As in `semsearch.load_reranker`.
    """

    model: Any = DEFAULT_RERANKER
    top_n: int | None = 3
    device: str | None = None
    _reranker: Reranker | None = PrivateAttr(default=None)

    @classmethod
    def class_name(cls) -> str:
        """What LlamaIndex calls it in what it writes down."""
        return "SemsearchRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise UsageError("a reranker reads the query: give query_str or query_bundle.")
        if not nodes:
            return []
        if self._reranker is None:
            named = isinstance(self.model, str)
            self._reranker = load_reranker(self.model, device=self.device) if named else self.model
        texts = [one.node.get_content(metadata_mode=MetadataMode.EMBED) for one in nodes]
        scores = np.asarray(self._reranker.score(query_bundle.query_str, texts))
        order = np.argsort(-scores, kind="stable")[: self.top_n].tolist()
        return [NodeWithScore(node=nodes[place].node, score=float(scores[place])) for place in order]

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return await offloaded(self._postprocess_nodes, nodes, query_bundle)
