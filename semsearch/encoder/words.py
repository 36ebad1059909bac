"""Models over whole words: averaged word vectors (GloVe, komninos, Levy), bags of words, and the CNN and LSTM on them.

A word that the vocabulary lacks is left out; a text of such words alone has no tokens, and its vector is zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from semsearch.encoder.features import Features
from semsearch.encoder.modules import segments
from semsearch.encoder.sizes import MOST_LAYERS, size_of
from semsearch.encoder.weights import fill, load_weights
from semsearch.encoder.word_tokenization import need, vocabulary
from semsearch.errors import ModelError

WIDEST_KERNEL = 1 << 10


class WordEmbeddings(nn.Module):
    """A row of a table for each word."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.emb_layer = nn.Embedding(table.shape[0], table.shape[1], _weight=table.float())

    @classmethod
    def load(cls, folder: Path, config: Mapping[str, Any]) -> WordEmbeddings:
        """From a `0_WordEmbeddings` folder."""
        tensors = load_weights(folder)
        if set(tensors) != {"emb_layer.weight"}:
            raise ModelError(f"the weights in {folder} must be emb_layer.weight alone, but are {', '.join(tensors)}.")
        return cls(tensors["emb_layer.weight"])

    @property
    def rows(self) -> int:
        """Words that have a vector."""
        return int(self.emb_layer.num_embeddings)

    @property
    def dim(self) -> int:
        """Components of a vector."""
        return int(self.emb_layer.embedding_dim)

    def forward(self, features: Features) -> Features:
        """Sets `tokens` (T, h)."""
        features.tokens = self.emb_layer(features.ids)
        return features


class WordWeights(nn.Module):
    """Word vectors times a weight for each word (its idf, say); a mean over them divides by the weights' sum."""

    def __init__(self, weights: Sequence[float]) -> None:
        super().__init__()
        self.emb_layer = nn.Embedding(len(weights), 1, _weight=torch.tensor(weights, dtype=torch.float32)[:, None])

    @classmethod
    def load(cls, folder: Path, config: Mapping[str, Any]) -> WordWeights:
        """From a `N_WordWeights` folder: its saved table, else the one that its configuration describes."""
        need(config, "vocab", folder)
        module = cls(_weights(config["vocab"], config))
        tensors = _optional_weights(folder)
        if tensors:
            fill(module, tensors, folder)
        return module

    def forward(self, features: Features) -> Features:
        """Weighs `tokens` (T, h) and sets `weights_sum` (n, 1)."""
        assert features.tokens is not None
        weights = self.emb_layer(features.ids)  # (T, 1)
        features.tokens = features.tokens * weights
        features.weights_sum = segments(weights, features.lengths, "sum")
        return features


class BoW(nn.Module):
    """A component for each word of the vocabulary: its weight, times its count where counts cumulate."""

    def __init__(self, weights: Sequence[float], cumulative: bool) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float32), persistent=False)
        self.cumulative = cumulative

    @classmethod
    def load(cls, folder: Path, config: Mapping[str, Any]) -> BoW:
        """From a `0_BoW` folder."""
        need(config, "vocab", folder)
        return cls(_weights(vocabulary(config), config), config.get("cumulative_term_frequency", True))

    def forward(self, features: Features) -> Features:
        """Sets `sentence` (n, words)."""
        weights: Tensor = self.get_buffer("weights")
        owner = torch.arange(len(features.lengths), device=features.ids.device).repeat_interleave(
            features.lengths, output_size=len(features.ids)
        )
        sentence = weights.new_zeros((len(features.lengths), len(weights)))
        features.sentence = sentence.index_put_(
            (owner, features.ids), weights[features.ids], accumulate=self.cumulative
        )
        return features


class CNN(nn.Module):
    """Convolutions of several widths over the tokens of each text, side by side."""

    def __init__(self, inputs: int, channels: int, kernels: Sequence[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(inputs, channels, kernel, padding=kernel // 2) for kernel in kernels)
        self.dim = channels * len(kernels)

    @classmethod
    def load(cls, folder: Path, config: Mapping[str, Any]) -> CNN:
        """From a `N_CNN` folder."""
        kernels = config.get("kernel_sizes", [1, 3, 5])
        strides = config.get("stride_sizes") or [1] * len(kernels)
        if any(kernel % 2 == 0 for kernel in kernels) or any(stride != 1 for stride in strides):
            raise ModelError(
                f"{folder}: convolutions of even width or with strides other than 1 have no tokens to pool."
            )
        named = "in_embedding_dimension" if config.get("in_embedding_dimension") else "in_word_embedding_dimension"
        channels = size_of(config, "out_channels", folder, 256)
        if not 1 <= len(kernels) <= WIDEST_KERNEL or not all(1 <= kernel <= WIDEST_KERNEL for kernel in kernels):
            raise ModelError(f"the configuration in {folder} names convolutions of the widths {kernels!r:.40}.")
        with torch.device("meta"):
            module = cls(size_of(config, named, folder), channels, kernels)
        fill(module, load_weights(folder), folder)
        return module

    def width(self, dim: int) -> int:
        """Components of a token that come out."""
        return self.dim

    def forward(self, features: Features) -> Features:
        """Replaces `tokens` (T, h) by (T, channels · widths); what lies beyond a text's ends is zero."""
        rows, inside = _rectangle(features)
        columns = rows.transpose(1, 2)  # (n, h, longest)
        made = torch.cat([conv(columns) for conv in self.convs], dim=1).transpose(1, 2)
        features.tokens = made[inside]
        return features


class LSTM(nn.Module):
    """An LSTM over the tokens of each text, usually in both directions."""

    def __init__(self, inputs: int, hidden: int, layers: int, both: bool) -> None:
        super().__init__()
        self.encoder = nn.LSTM(inputs, hidden, num_layers=layers, bidirectional=both, batch_first=True)
        self.dim = hidden * (2 if both else 1)

    @classmethod
    def load(cls, folder: Path, config: Mapping[str, Any]) -> LSTM:
        """From a `N_LSTM` folder."""
        named = "embedding_dimension" if config.get("embedding_dimension") else "word_embedding_dimension"
        inputs, hidden = size_of(config, named, folder), size_of(config, "hidden_dim", folder)
        layers = size_of(config, "num_layers", folder, 1, MOST_LAYERS)
        with torch.device("meta"):
            module = cls(inputs, hidden, layers, bool(config.get("bidirectional", True)))
        fill(module, load_weights(folder), folder)
        return module

    def width(self, dim: int) -> int:
        """Components of a token that come out."""
        return self.dim

    def forward(self, features: Features) -> Features:
        """Replaces `tokens` (T, h) by (T, hidden · directions)."""
        rows, inside = _rectangle(features)
        lengths = features.lengths.clamp(min=1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(rows, lengths, batch_first=True, enforce_sorted=False)
        made, _ = nn.utils.rnn.pad_packed_sequence(
            self.encoder(packed)[0], batch_first=True, total_length=rows.shape[1]
        )
        features.tokens = made[inside]
        return features


def _weights(vocab: Sequence[str], config: Mapping[str, Any]) -> list[float]:
    """A weight for each word: its own, else that of its lower-case form, else the one for unknown words."""
    known, unknown = config.get("word_weights") or {}, config.get("unknown_word_weight", 1)
    return [known.get(word, known.get(word.lower(), unknown)) for word in vocab]


def _optional_weights(folder: Path) -> dict[str, Tensor]:
    try:
        return load_weights(folder)
    except ModelError:
        return {}


def _rectangle(features: Features) -> tuple[Tensor, Tensor]:
    """The tokens as (n, longest, h) with zeros beyond each text's end, and which places are inside a text."""
    assert features.tokens is not None
    longest = max(1, int(features.lengths.max()))
    inside = torch.arange(longest, device=features.lengths.device)[None] < features.lengths[:, None]
    rows = features.tokens.new_zeros((len(features.lengths), longest, features.tokens.shape[1]))
    rows[inside] = features.tokens
    return rows, inside
