"""Static embeddings: a vector for each token of a subword tokenizer, averaged; sentence-transformers' and model2vec's.

A model2vec folder may hold fewer vectors than tokens (`mapping`, token to row) and a weight for each token
(`weights`); its own library leaves unknown tokens out and reads 512 tokens of a text, and so is it done here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from semsearch.encoder.features import Features
from semsearch.encoder.modules import segments
from semsearch.encoder.weights import load_weights
from semsearch.errors import ModelError


class StaticEmbedding(nn.Module):
    """The mean of the tokens' vectors; a text without tokens has the zero vector."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.embedding = nn.Embedding(table.shape[0], table.shape[1], _weight=table.float())

    @classmethod
    def load(cls, folder: Path, config: Mapping[str, Any]) -> StaticEmbedding:
        """From the tensors of either library."""
        tensors = load_weights(folder)
        known = {"embedding.weight", "embeddings", "weights", "mapping"}
        table = tensors.get("embedding.weight", tensors.get("embeddings"))
        if table is None or not tensors.keys() <= known:
            raise ModelError(f"the weights in {folder} are {', '.join(tensors)}; known are {', '.join(sorted(known))}.")
        if (mapping := tensors.get("mapping")) is not None:
            if len(mapping) and not 0 <= int(mapping.min()) <= int(mapping.max()) < len(table):
                raise ModelError(f"the mapping in {folder} leads beyond the {len(table)} vectors that are there.")
            table = table[mapping.long()]
        if (weights := tensors.get("weights")) is not None:
            if len(weights) != len(table):
                raise ModelError(f"{folder} has {len(weights)} token weights for {len(table)} tokens.")
            table = table.float() * weights.float()[:, None]
        return cls(table)

    @property
    def dim(self) -> int:
        """Components of a vector."""
        return int(self.embedding.embedding_dim)

    def forward(self, features: Features) -> Features:
        """Sets `sentence` (n, d)."""
        total = segments(self.embedding(features.ids), features.lengths, "sum")
        features.sentence = total / features.lengths[:, None].clamp(min=1)
        return features
