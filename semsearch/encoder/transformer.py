"""The transformer, through transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn

from semsearch.encoder.features import Features


class _Auto(nn.Module):
    def __init__(self, model: Any, all_layers: bool) -> None:
        super().__init__()
        self.model, self.all_layers = model, all_layers

    def forward(self, features: Features) -> Features:
        texts = features.ids.split(features.lengths.tolist())
        ids = nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=self.model.config.pad_token_id or 0)
        mask = torch.arange(ids.shape[1])[None] < features.lengths[:, None]
        found = self.model(input_ids=ids, attention_mask=mask.long(), output_hidden_states=self.all_layers)
        features.tokens = found.last_hidden_state[mask]
        if self.all_layers:
            features.layers = [layer[mask] for layer in found.hidden_states]
        return features


def load_transformer(
    folder: Path,
    config: dict[str, Any],
    tokenizer: Tokenizer,
    dtype: torch.dtype,
    device: torch.device,
    *,
    all_layers: bool = False,
) -> nn.Module:
    """The model in a folder, by transformers."""
    from transformers import AutoModel

    return _Auto(AutoModel.from_pretrained(str(folder), dtype=dtype), all_layers).eval()
