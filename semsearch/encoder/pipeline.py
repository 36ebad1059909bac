"""Texts to vectors in batches sorted by length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import nn

from semsearch.encoder.features import Features
from semsearch.types import Vectors


class Pipeline:
    """Sorts texts by length and runs them through the modules in batches."""

    def __init__(
        self,
        tokenize: Callable[[Sequence[str], str], tuple[list[list[int]], int]],
        modules: Sequence[nn.Module],
        dim: int,
        device: torch.device,
        dtype: torch.dtype,
        *,
        max_tokens: int,
    ) -> None:
        self.tokenize, self.modules, self.dim, self.device = tokenize, modules, dim, device

    @torch.inference_mode()
    def encode(self, texts: Sequence[str] | Iterable[str], prompt: str = "", out: Vectors | None = None) -> Vectors:
        """Vectors `(n, dim)`."""
        ids, prompt_length = self.tokenize(list(texts), prompt)
        found = out if out is not None else np.empty((len(ids), self.dim), dtype=np.float32)
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        for start in range(0, len(order), 32):
            rows = order[start : start + 32]
            lengths = torch.tensor([len(ids[i]) for i in rows])
            features = Features(
                ids=torch.tensor([token for i in rows for token in ids[i]], dtype=torch.int64),
                lengths=lengths,
                prompt_lengths=torch.full_like(lengths, prompt_length),
            )
            for module in self.modules:
                features = module(features)
            assert features.sentence is not None
            found[rows] = features.sentence.float().numpy()
        return found
