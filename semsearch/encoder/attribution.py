"""Which tokens carry a score: the exact split of a product with a mean-pooled vector.

With token embeddings h₁ … hₙ, the vector of a text is their mean, divided by its length L for a cosine model. So its
product with a query vector q is Σ (q · hᵢ) / (n L), one term for each token, nothing left over. Models that pool
otherwise, or pass the mean through further layers, have no such split and are told apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from semsearch.encoder.inference import Pipeline
from semsearch.encoder.load import load_encoder
from semsearch.encoder.modules import Dropout, Normalize, Pooling, Truncate
from semsearch.encoder.text_encoder import TextEncoder
from semsearch.encoder.tokenization import TextTokenizer
from semsearch.errors import UsageError
from semsearch.types import Vectors


@dataclass(frozen=True, slots=True)
class Attribution:
    """One text's tokens and what each adds to its product with a query vector."""

    spans: list[tuple[int, int]]  # in characters of the text; empty for special tokens and the prompt's
    weights: NDArray[np.float64]  # (tokens,), adding up to `score`
    score: float  # of the text's vector as this encoder gives it


class Indivisible(UsageError):
    """A model whose scores don't split into parts of tokens; says why."""


def in_float32(encoder: TextEncoder) -> TextEncoder:
    """The same model, computing in float32 in this process."""
    if encoder.dtype == torch.float32 and isinstance(encoder.stream("document"), Pipeline):
        return encoder
    prompts = {"query": encoder.prompts.query, "document": encoder.prompts.document}
    return load_encoder(
        str(encoder.folder),
        str(encoder.device),
        "float32",
        truncate_dim=encoder.truncate_dim,
        prompts=prompts,
        normalize=encoder.normalized,
    )


def attribute(encoder: TextEncoder, query: Vectors, text: str) -> Attribution:
    """Split the product of `query` `(dim,)` with the vector of a document's `text` into its tokens' parts.

    Raises:
        Indivisible: The model is of another kind.
    """
    pipeline = encoder.stream("document")
    if not isinstance(pipeline, Pipeline) or not isinstance(pipeline.tokenize, TextTokenizer):
        raise Indivisible(f"the model {encoder.name} is not a transformer: its tokens are not weighed one by one.")
    before, pooling, after = _taken_apart(pipeline, encoder.name)
    cut = next((module.dim for module in after if isinstance(module, Truncate)), None)
    prompt = encoder.prompts.document
    features = pipeline.features(text, prompt, before)
    assert features.tokens is not None
    tokens = features.tokens.double().cpu().numpy()[:, :cut]
    if not pooling.include_prompt:
        skipped = min(int(features.prompt_lengths[0]), len(tokens))
        tokens[:skipped] = 0
        count = len(tokens) - skipped
    else:
        count = len(tokens)
    mean = tokens.sum(axis=0) / max(count, 1)
    length = float(np.linalg.norm(mean)) if any(isinstance(module, Normalize) for module in after) else 1.0
    weights = tokens @ query.astype(np.float64) / (max(count, 1) * (length or 1.0))
    vector = encoder.encode_documents([text])[0]
    score = float(vector.astype(np.float64) @ query.astype(np.float64))
    return Attribution(pipeline.tokenize.spans(text, prompt), weights, score)


def _taken_apart(pipeline: Pipeline, name: str) -> tuple[int, Pooling, list[torch.nn.Module]]:
    """How many modules come before the pooling, the pooling, and what comes after it; if the split holds for them."""
    for place, module in enumerate(pipeline.modules):
        if isinstance(module, Pooling):
            after = [module for module in pipeline.modules[place + 1 :] if not isinstance(module, Dropout)]
            if module.modes != ("mean",):
                raise Indivisible(
                    f"the model {name} pools by {' and '.join(module.modes)}, not by the mean: its score is not a sum "
                    "over tokens."
                )
            for later in after:
                if not isinstance(later, Normalize | Truncate) or getattr(later, "norm_first", False):
                    raise Indivisible(
                        f"the model {name} passes the mean of its tokens through {type(later).__name__}: its score is "
                        "not a sum over tokens."
                    )
            return place, module, after
    raise Indivisible(f"the model {name} has no pooling of tokens: its score is not a sum over tokens.")
