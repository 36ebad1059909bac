"""The modules that follow a transformer, on ragged tokens: pooling, dense, normalisation and their like.

Each is a `torch.nn.Module` from `Features` to `Features`, computes in float32 whatever the tokens came in, and is
checked against sentence-transformers' module of the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from semsearch.encoder.features import Features
from semsearch.encoder.pooling import modes_of
from semsearch.encoder.sizes import MOST_LAYERS, size_of
from semsearch.encoder.weights import fill, load_weights
from semsearch.errors import ModelError

Module = TypeVar("Module", bound=nn.Module)
FIELDS = {"token_embeddings": "tokens", "sentence_embedding": "sentence", "scores": "scores"}


class Pooling(nn.Module):
    """Token embeddings of each text to one vector: any of six ways, or several joined.

    A text without tokens (no word known) gives zeros.
    """

    def __init__(self, modes: tuple[str, ...], include_prompt: bool = True) -> None:
        super().__init__()
        self.modes = modes
        self.include_prompt = include_prompt

    @classmethod
    def load(cls, folder: Path, config: Mapping[str, Any]) -> Pooling:
        """From the configuration of any generation."""
        return cls(modes_of(folder, config), config.get("include_prompt", True))

    def width(self, dim: int) -> int:
        """Components of a pooled vector, from those of a token."""
        return dim * len(self.modes)

    def forward(self, features: Features) -> Features:
        """Sets `sentence` (n, modes · h), float32."""
        assert features.tokens is not None
        lengths = features.lengths
        starts = lengths.cumsum(0) - lengths  # (n,)
        skip = None if self.include_prompt else features.prompt_lengths.minimum(lengths)  # (n,)
        pooled = _Pooled(features.tokens, lengths, starts, skip, features.weights_sum)
        features.sentence = torch.cat([getattr(pooled, mode)() for mode in self.modes], dim=1)
        return features


class _Pooled:
    """One batch of tokens on its way to vectors: what several modes need is computed once.

    `skip` leading tokens of each text are left out. Nothing here asks a GPU for a value, which would be to wait for it.
    """

    def __init__(
        self, tokens: Tensor, lengths: Tensor, starts: Tensor, skip: Tensor | None, weights: Tensor | None
    ) -> None:
        self.tokens, self.lengths, self.starts, self.skip, self.weights = tokens, lengths, starts, skip, weights
        self._sum: Tensor | None = None

    def cls(self) -> Tensor:
        if self.skip is None:
            return self._row(self.starts)
        return self._row(self.starts + torch.where(self.skip < self.lengths, self.skip, 0))

    def lasttoken(self) -> Tensor:
        return self._row(self.starts + self.lengths - 1)

    def mean(self) -> Tensor:
        return self._total() / self._count().clamp(min=1e-9)

    def mean_sqrt_len_tokens(self) -> Tensor:
        return self._total() / self._count().clamp(min=1e-9).sqrt()

    def max(self) -> Tensor:
        tokens = self.tokens.float()
        if self.skip is not None:
            tokens = tokens.masked_fill(self._skipped()[:, None], -torch.inf)
        best = segments(tokens, self.lengths, "max")  # (n, h)
        return best.masked_fill((self._seen() == 0)[:, None], 0)

    def weightedmean(self) -> Tensor:
        weights = (self._positions() + 1).float()  # (T,)
        if self.skip is not None:
            weights = weights.masked_fill(self._skipped(), 0)
        total = segments(self.tokens.float() * weights[:, None], self.lengths, "sum")
        count = self.weights if self.weights is not None else segments(weights[:, None], self.lengths, "sum")
        return total / count.clamp(min=1e-9)

    def _row(self, at: Tensor) -> Tensor:
        if not len(self.tokens):
            return self.tokens.new_zeros((len(at), self.tokens.shape[1]), dtype=torch.float32)
        rows = self.tokens[at.clamp(0, len(self.tokens) - 1)].float()
        return rows.masked_fill((self.lengths == 0)[:, None], 0)

    def _total(self) -> Tensor:
        if self._sum is None:
            tokens = self.tokens.float()
            if self.skip is not None:
                tokens = tokens.masked_fill(self._skipped()[:, None], 0)
            self._sum = segments(tokens, self.lengths, "sum")
        return self._sum

    def _count(self) -> Tensor:
        return self.weights if self.weights is not None else self._seen()[:, None].float()

    def _seen(self) -> Tensor:
        """Tokens of each text that count: (n,)."""
        return self.lengths if self.skip is None else self.lengths - self.skip

    def _positions(self) -> Tensor:
        """Each token's place in its text, from 0: (T,)."""
        every = torch.arange(len(self.tokens), device=self.tokens.device)
        return every - self._spread(self.starts)

    def _skipped(self) -> Tensor:
        assert self.skip is not None
        return self._positions() < self._spread(self.skip)

    def _spread(self, values: Tensor) -> Tensor:
        """A text's value for each of its tokens: (n,) to (T,)."""
        return values.repeat_interleave(self.lengths, output_size=len(self.tokens))


def segments(rows: Tensor, lengths: Tensor, reduce: str) -> Tensor:
    """Sum or max of each run of `lengths` rows: (T, h) to (n, h); runs in order, so neighbours change nothing."""
    if rows.device.type == "mps":  # has no segment_reduce
        owner = torch.arange(len(lengths), device=rows.device).repeat_interleave(lengths)[:, None].expand_as(rows)
        empty = rows.new_zeros((len(lengths), rows.shape[1]))
        return empty.scatter_reduce(0, owner, rows, "amax" if reduce == "max" else "sum", include_self=reduce == "sum")
    return torch.segment_reduce(rows, reduce, lengths=lengths, unsafe=True)


class Dense(nn.Module):
    """A linear layer with an activation, on sentences or tokens, with a residual connection where declared."""

    def __init__(self, config: Mapping[str, Any], folder: Path) -> None:
        super().__init__()
        try:
            inputs, outputs = (size_of({key: config[key]}, key, folder) for key in ("in_features", "out_features"))
        except KeyError as error:
            raise ModelError(f"the Dense module in {folder} doesn't say its {error}.") from error
        self.linear = nn.Linear(inputs, outputs, bias=bool(config.get("bias", True)))
        self.activation = activation(config.get("activation_function", "torch.nn.modules.activation.Tanh"), folder)
        self.source = _field(config.get("module_input_name") or config.get("key_name") or "sentence_embedding", folder)
        said = config.get("module_output_name")
        self.target = _field(said, folder) if said else self.source
        self.use_residual = bool(config.get("use_residual", False))
        if self.use_residual and inputs != outputs:
            self.residual = nn.Linear(inputs, outputs, bias=False)

    @classmethod
    def load(cls, folder: Path, config: Mapping[str, Any]) -> Dense:
        """From a `N_Dense` folder."""
        with torch.device("meta"):
            module = cls(config, folder)
        return _filled(module, folder)

    def width(self, dim: int) -> int:
        """Components that come out, for so many that go in."""
        if dim != self.linear.in_features:
            raise ModelError(f"a Dense module takes {self.linear.in_features} components, but is given {dim}.")
        return int(self.linear.out_features)

    def forward(self, features: Features) -> Features:
        """Replaces the rows it is declared for, (…, in) to (…, out)."""
        rows = getattr(features, self.source).to(self.linear.weight.dtype)
        made = self.activation(self.linear(rows))
        if self.use_residual:
            made = made + (self.residual(rows) if hasattr(self, "residual") else rows)
        setattr(features, self.target, made)
        return features


class LayerNorm(nn.Module):
    """Layer normalisation of the sentence embedding."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)

    @classmethod
    def load(cls, folder: Path, config: Mapping[str, Any]) -> LayerNorm:
        """From a `N_LayerNorm` folder."""
        with torch.device("meta"):
            module = cls(size_of(config, "dimension", folder))
        return _filled(module, folder)

    def forward(self, features: Features) -> Features:
        """Normalises `sentence` (n, d)."""
        features.sentence = self.norm(features.sentence)
        return features


class Normalize(nn.Module):
    """Rows to unit length."""

    def __init__(self, source: str = "sentence", target: str = "sentence") -> None:
        super().__init__()
        self.source, self.target = source, target

    @classmethod
    def load(cls, folder: Path, config: Mapping[str, Any]) -> Normalize:
        """From the configuration of version 6; earlier ones have none."""
        source = config.get("module_input_name") or "sentence_embedding"
        return cls(_field(source, folder), _field(config.get("module_output_name") or source, folder))

    def forward(self, features: Features) -> Features:
        """Scales each row; a zero row stays zero."""
        setattr(features, self.target, nn.functional.normalize(getattr(features, self.source).float(), dim=-1))
        return features


class Truncate(nn.Module):
    """The leading components of the sentence embedding; a unit vector is not one afterwards."""

    def __init__(self, dim: int, *, norm_first: bool = False) -> None:
        super().__init__()
        self.dim = dim
        self.norm_first = norm_first

    def forward(self, features: Features) -> Features:
        """Cuts `sentence` (n, d) to (n, dim), where declared after a layer normalisation without parameters."""
        assert features.sentence is not None
        rows = features.sentence
        if self.norm_first:
            rows = nn.functional.layer_norm(rows, rows.shape[1:])
        features.sentence = rows[:, : self.dim]
        return features


class WeightedLayerPooling(nn.Module):
    """Token embeddings as a weighted mean over the hidden layers from `layer_start` on."""

    def __init__(self, start: int, layers: int) -> None:
        super().__init__()
        self.start = start
        self.layer_weights = nn.Parameter(torch.ones(layers + 1 - start))

    @classmethod
    def load(cls, folder: Path, config: Mapping[str, Any]) -> WeightedLayerPooling:
        """From a `N_WeightedLayerPooling` folder."""
        layers = size_of(config, "num_hidden_layers", folder, 12, MOST_LAYERS)
        start = config.get("layer_start", 4)
        if not isinstance(start, int) or not 0 <= start <= layers:
            raise ModelError(f"the configuration in {folder} weighs the layers from {start!r:.40} on, of {layers}.")
        return _filled(cls(start, layers), folder)

    def forward(self, features: Features) -> Features:
        """Sets `tokens` (T, h) from `layers`."""
        if features.layers is None:
            raise ModelError("the weighted layer pooling needs the transformer's hidden layers, and got none.")
        total = torch.zeros_like(features.layers[0], dtype=torch.float32)
        for weight, layer in zip(self.layer_weights, features.layers[self.start :], strict=True):
            total += weight * layer
        features.tokens = total / self.layer_weights.sum()
        return features


class Dropout(nn.Module):
    """Does nothing: dropout is for training."""

    @classmethod
    def load(cls, folder: Path, config: Mapping[str, Any]) -> Dropout:
        """From a `N_Dropout` folder."""
        return cls()

    def forward(self, features: Features) -> Features:
        """The features as they are."""
        return features


def activation(path: str, folder: Path) -> nn.Module:
    """The activation that a configuration names, which must be one of torch's own."""
    name = path.rpartition(".")[2]
    own = name == "Identity" or name in nn.modules.activation.__all__
    if path.startswith("torch.nn.") and own:
        try:
            made: nn.Module = getattr(nn, name)()
            return made
        except TypeError:  # wants arguments, as MultiheadAttention does
            pass
    raise ModelError(f"{folder} names the activation '{path}', which is not one of torch's and is not imported.")


def _field(name: str, folder: Path) -> str:
    if name not in FIELDS:
        raise ModelError(f"{folder} wants the feature '{name}'; known are {', '.join(FIELDS)}.")
    return FIELDS[name]


def _filled(module: Module, folder: Path) -> Module:
    fill(module, load_weights(folder), folder)
    return module
