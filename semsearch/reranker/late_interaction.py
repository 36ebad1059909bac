"""Late interaction: every token of a query looks for the token of a passage that is most like it.

The score is `Σ wᵢ maxⱼ cos(qᵢ, dⱼ) / Σ wᵢ` over the query's tokens: the "MaxSim" of ColBERT (Khattab and Zaharia, 2020)
with the token embeddings of an encoder that was trained for one vector a text, and with weights by rarity, since those
embeddings have not learnt which tokens matter: `wᵢ = ln((N + 1) / (nᵢ + ½))` for a token in `nᵢ` of `N` documents.

Nothing is trained but these counts. A folder of one is an encoder's with `late_interaction.json`, the counts and the
weight beside the first stage.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from semsearch.arguments import as_list
from semsearch.encoder.checkpoint import read_json
from semsearch.encoder.features import Features
from semsearch.encoder.inference import Pipeline
from semsearch.encoder.modules import Pooling, segments
from semsearch.encoder.text_encoder import TextEncoder
from semsearch.encoder.tokenization import TextTokenizer
from semsearch.errors import ModelError, UsageError
from semsearch.reranker.layout import checked_weight
from semsearch.reranker.load import LATE_INTERACTION as FILE
from semsearch.types import Scores

COUNTED_TOGETHER = 1_024  # documents

Counts = NDArray[np.int64]


class LikestTokens(nn.Module):
    """For each text, the mean over a query's tokens of the greatest cosine to a token of the text, by weight."""

    def __init__(self, query: Tensor, weights: Tensor) -> None:
        super().__init__()
        self.query = functional.normalize(query.float(), dim=1)  # (m, h)
        self.weights = weights  # (m,), of sum 1

    def forward(self, features: Features) -> Features:
        """Sets `sentence` (n, 1); of a text without tokens it is -1, the least that a cosine is."""
        assert features.tokens is not None
        cosines = functional.normalize(features.tokens.float(), dim=1) @ self.query.T  # (T, m)
        features.sentence = segments(cosines, features.lengths, "max").clamp(min=-1) @ self.weights[:, None]
        return features


class LateInteraction:
    """A reranker of an encoder's token embeddings.

    Args:
        encoder: A transformer that computes in this process, on one device.
        holding: `(vocabulary,)` how many documents hold each token.
        documents: Of which so many were counted.
        name: For people.
        weight: What it counts beside its first stage, from 0 to 1; None where that was not chosen.
    """

    def __init__(
        self, encoder: TextEncoder, holding: Counts, documents: int, *, name: str, weight: float | None = None
    ) -> None:
        self.encoder, self.name, self.weight = encoder, name, weight
        self.holding, self.documents = holding, documents
        self.rarity = np.log((documents + 1) / (np.minimum(holding, documents) + 0.5)).clip(min=0)
        self._documents, self._queries = (token_pipeline(encoder, role) for role in ("document", "query"))

    def score(self, query: str, texts: Iterable[str]) -> Scores:
        """One float32 score for each text `(n,)`, from -1 to 1; of a long text, its first tokens count.

        Raises:
            UsageError: `texts` is no list of texts, or `query` is none.
        """
        texts = as_list(texts, "a ranking needs one query, a text, and a list of texts")
        if not all(isinstance(text, str) for text in (query, *texts)):
            raise UsageError("a ranking needs one query, a text, and a list of texts.")
        prompts = self.encoder.prompts
        asked = self._queries.features(query, prompts.query, len(self._queries.modules))
        assert asked.tokens is not None
        pipeline = self._documents
        (ids,), prompt_length = pipeline_ids(self._queries, query, prompts.query)
        interaction = LikestTokens(asked.tokens, self._weights(ids, prompt_length).to(asked.tokens.device))
        scoring = Pipeline(
            pipeline.tokenize,
            (*pipeline.modules, interaction),
            1,
            pipeline.device,
            pipeline.dtype,
            max_tokens=pipeline.max_tokens,
            batch_tokens=pipeline.budget,
        )
        return scoring.encode(texts, prompts.document)[:, 0]

    def description(self) -> dict[str, Any]:
        """What there is to know about the model, in JSON values."""
        return {
            "name": self.name,
            "kind": "late interaction",
            "weight": self.weight,
            "documents": self.documents,
            "device": str(self._documents.device),
            "dtype": str(self._documents.dtype).removeprefix("torch."),
        }

    def save(self, folder: Path) -> None:
        """Write the counts and the weight into a folder that holds the encoder's files."""
        facts = {"rerank_weight": self.weight, "documents": self.documents, "holding": self.holding.tolist()}
        (folder / FILE).write_text(json.dumps(facts) + "\n", "utf-8")

    def __repr__(self) -> str:
        return f"<LateInteraction {self.name}: {self._documents.dtype} on {self._documents.device}>"

    def _weights(self, ids: NDArray[np.int64], prompt_length: int) -> Tensor:
        """Of the query's tokens, of sum 1: those that the tokenizer or the prompt puts in weigh nothing."""
        tokenizer = self._queries.tokenize
        assert isinstance(tokenizer, TextTokenizer)
        own = np.zeros(len(ids), dtype=np.bool_)
        own[max(tokenizer.head, prompt_length) : len(ids) - tokenizer.tail] = True
        weights = np.where(own, self.rarity[np.minimum(ids, len(self.rarity) - 1)], 0.0)
        if weights.sum() <= 0:  # every document has them, or there is none: they count alike
            weights = own.astype(np.float64) if own.any() else np.ones(len(ids))
        return torch.from_numpy((weights / weights.sum()).astype(np.float32))


def pipeline_ids(pipeline: Pipeline, text: str, prompt: str) -> tuple[list[NDArray[np.int64]], int]:
    """A text's tokens, told without asking the device that computes with them, and how many are the prompt's."""
    found, prompt_length = pipeline.tokenize([text], prompt)
    return [np.array(ids, dtype=np.int64) for ids in found], prompt_length


def token_pipeline(encoder: TextEncoder, role: Any) -> Pipeline:
    """An encoder up to its token embeddings.

    Raises:
        ModelError: It has none; says why.
    """
    pipeline = encoder.stream(role)
    if isinstance(pipeline, Pipeline) and isinstance(pipeline.tokenize, TextTokenizer):
        for place, module in enumerate(pipeline.modules):
            if isinstance(module, Pooling) and place:
                return Pipeline(
                    pipeline.tokenize,
                    pipeline.modules[:place],
                    encoder.dim,
                    pipeline.device,
                    pipeline.dtype,
                    max_tokens=pipeline.max_tokens,
                    batch_tokens=pipeline.budget,
                )
    raise ModelError(
        f"{encoder.name} gives no embeddings of single tokens, which late interaction compares: take a transformer "
        "that pools them, on one device."
    )


def count_tokens(encoder: TextEncoder, texts: Iterable[str]) -> Counts:
    """How many of the texts hold each token of the vocabulary, `(vocabulary,)`."""
    tokenizer = token_pipeline(encoder, "document").tokenize
    assert isinstance(tokenizer, TextTokenizer)
    holding = np.zeros(tokenizer.tokenizer.get_vocab_size(), dtype=np.int64)
    texts = list(texts)
    for start in range(0, len(texts), COUNTED_TOGETHER):
        pieces, _ = tokenizer(texts[start : start + COUNTED_TOGETHER])
        for ids in pieces:
            holding[np.unique(ids)] += 1
    return holding


def read(folder: Path, encoder: TextEncoder, name: str) -> LateInteraction:
    """The reranker in a folder whose encoder is open.

    Raises:
        ModelError: The file of its counts can't be right.
    """
    facts = read_json(folder / FILE)
    weight = checked_weight(facts.get("rerank_weight"), folder / FILE)
    documents, holding = facts.get("documents"), facts.get("holding")
    try:
        counts = np.asarray(holding, dtype=np.int64)
    except (TypeError, ValueError, OverflowError):
        counts = np.empty(0, dtype=np.int64)
    if (
        not isinstance(documents, int)
        or isinstance(documents, bool)
        or documents < 1
        or counts.ndim != 1
        or not len(counts)
        or int(counts.min()) < 0
    ):
        raise ModelError(
            f"{folder / FILE} must say how many documents hold each token, which it does not: make the reranker anew "
            "(semsearch train-reranker --kind late-interaction)."
        )
    return LateInteraction(encoder, counts, documents, name=name, weight=weight)
