"""The modules of a model by torch: how each kind is made of its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from tokenizers import Tokenizer
from torch import nn

from semsearch.encoder.inference import Pipeline
from semsearch.encoder.modules import Dense, Dropout, LayerNorm, Normalize, Pooling, Truncate, WeightedLayerPooling
from semsearch.encoder.static import StaticEmbedding
from semsearch.encoder.tokenization import Tokenize
from semsearch.encoder.transformer import load_transformer
from semsearch.encoder.words import CNN, LSTM, BoW, WordEmbeddings, WordWeights


class Loadable(Protocol):
    """A module class that reads itself from its folder."""

    @classmethod
    def load(cls, folder: Path, config: Mapping[str, Any]) -> nn.Module:
        """The module."""
        ...


TORCH_KINDS: Mapping[str, type[Loadable]] = {
    "pooling": Pooling,
    "dense": Dense,
    "layernorm": LayerNorm,
    "normalize": Normalize,
    "weightedlayerpooling": WeightedLayerPooling,
    "wordweights": WordWeights,
    "cnn": CNN,
    "lstm": LSTM,
    "dropout": Dropout,
    "staticembedding": StaticEmbedding,
    "wordembeddings": WordEmbeddings,
    "bow": BoW,
}


def _text_tower(folder: Path, dtype: torch.dtype, device: torch.device) -> nn.Module:
    from semsearch.encoder.checkpoint import read_json
    from semsearch.encoder.image_text import TextTower, load_towers

    config = read_json(folder / "config.json")
    return TextTower(load_towers(folder, config, dtype, device), config)


class TorchModules:
    """See `semsearch.encoder.assemble.ModuleLibrary`."""

    def __init__(self, dtype: torch.dtype, device: torch.device, batch_tokens: int | None = None) -> None:
        self.dtype = dtype
        self.device = device
        self._batch_tokens = batch_tokens

    def load(self, kind: str, folder: Path, config: Mapping[str, Any]) -> nn.Module:
        """A module, ready to compute."""
        if kind == "clipmodel":
            return self._ready(_text_tower(folder, self.dtype, self.device))
        return self._ready(TORCH_KINDS[kind].load(folder, config))

    def transformer(self, folder: Path, config: dict[str, Any], tokenizer: Tokenizer, *, all_layers: bool) -> nn.Module:
        """A lean forward pass where there is one, else transformers' own model."""
        return self._ready(load_transformer(folder, config, tokenizer, self.dtype, self.device, all_layers=all_layers))

    def truncate(self, dim: int, *, norm_first: bool) -> nn.Module:
        """Keeps the leading components."""
        return Truncate(dim, norm_first=norm_first)

    def normalize(self) -> nn.Module:
        """Scales vectors to unit length."""
        return Normalize()

    def stream(self, tokenize: Tokenize, modules: Sequence[nn.Module], dim: int, *, max_tokens: int) -> Pipeline:
        """A tokenizer and the modules behind it."""
        limits = {"max_tokens": max_tokens, "batch_tokens": self._batch_tokens}
        return Pipeline(tokenize, modules, dim, self.device, self.dtype, **limits)

    def _ready(self, module: nn.Module) -> nn.Module:
        return module.to(self.device).eval().requires_grad_(False)
