"""The modules of sparse encoders: what ends in a weight for a few components instead of in a vector.

Each sets `Features.active`; checked against sentence-transformers' modules of the same names.

Formal et al., 2021 (SPLADE: sum over tokens, arXiv 2107.05720; SPLADE v2: max, arXiv 2109.10086); Shen et al., 2025
(the logarithm taken twice, arXiv 2504.14839); Wen et al., 2025 (CSR, arXiv 2503.01776).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from semsearch.encoder.checkpoint import inside, weight_files
from semsearch.encoder.features import Active, Features
from semsearch.encoder.masked_language_head import MaskedLanguageHead
from semsearch.encoder.packing import Integers
from semsearch.encoder.sizes import size_of
from semsearch.encoder.weights import load_weights
from semsearch.errors import ModelError

POOLINGS = ("max", "sum")
SPLADE_ACTIVATIONS = {"relu": 1, "log1p_relu": 2}  # and how often the logarithm is taken
TOKENS, WORDS = 512, 512  # of a tile of logits: a megabyte, which stays in a core's cache
GPU_TOKENS = 8_192
STATISTICS = "stats_last_nonzero"  # of training
ENCODER, DECODER = "encoder.weight", "decoder.linear.weight"  # one and the same, stored under either name or both


class SpladePooling(nn.Module):
    """For each text log(1 + relu(logit)) of every word, its maximum or its sum over the tokens.

    The logits of all tokens for all words never lie in memory together: a tile of some tokens and some words is
    computed at a time and reduced while it is in the cache. Of a maximum the logarithm is taken once a text.
    """

    def __init__(self, head: MaskedLanguageHead, pooling: str, logarithms: int) -> None:
        super().__init__()
        self.head, self.pooling, self.logarithms = head, pooling, logarithms

    @classmethod
    def load(cls, folder: Path, config: Mapping[str, Any], head: MaskedLanguageHead) -> SpladePooling:
        """From a `N_SpladePooling` folder."""
        pooling, activation = config.get("pooling_strategy", "max"), config.get("activation_function", "relu")
        if pooling not in POOLINGS or not isinstance(activation, str) or activation not in SPLADE_ACTIVATIONS:
            raise ModelError(
                f"{folder} pools words by {pooling!r:.40} of {activation!r:.40}; known are {', '.join(POOLINGS)} of "
                f"{', '.join(SPLADE_ACTIVATIONS)}."
            )
        said = config.get("embedding_dimension", config.get("word_embedding_dimension"))
        if said is not None and said != len(head.weight):
            raise ModelError(
                f"{folder} says that there are {said!r:.40} words, and its model has {len(head.weight):,}: fetch the "
                "model anew, or choose another."
            )
        return cls(head, str(pooling), SPLADE_ACTIVATIONS[activation])

    @property
    def dim(self) -> int:
        """Words, each of which is a component."""
        return len(self.head.weight)

    def forward(self, features: Features) -> Features:
        """Sets `active` of the n texts."""
        assert features.tokens is not None
        lengths = features.lengths.cpu().numpy() if features.host_lengths is None else features.host_lengths
        starts = np.cumsum(lengths) - lengths
        states = self.head(features.tokens)
        order = np.argsort(lengths, kind="stable")
        parts = []
        start, most = 0, TOKENS if states.device.type == "cpu" else GPU_TOKENS
        sizes = lengths[order].tolist()
        while start < len(sizes):
            stop = start + 1
            while stop < len(sizes) and (stop + 1 - start) * sizes[stop] <= most:
                stop += 1
            some = order[start:stop]
            if sizes[stop - 1]:  # else they have no token at all
                parts.append(_active(self._pooled(states, starts[some], lengths[some]), torch.from_numpy(some)))
            start = stop
        features.active = Active.joined(parts, len(sizes), states.device)
        return features

    def _pooled(self, states: Tensor, starts: Integers, lengths: Integers) -> Tensor:
        """(n, V) float32 of some texts of nearly the same length."""
        longest = int(lengths[-1])
        places = np.arange(longest)[None]
        real = torch.from_numpy(places < lengths[:, None])
        # a text's last token stands in for what it is shorter: a maximum doesn't see it
        at = (starts[:, None] + np.minimum(places, (lengths - 1).clip(min=0)[:, None])).ravel()
        rows = states.index_select(0, torch.from_numpy(at).to(states.device))
        shape = (len(lengths), longest, -1)
        kept = real.to(device=states.device, dtype=torch.float32)[:, :, None]
        pooled = torch.empty((len(lengths), self.dim), dtype=torch.float32, device=states.device)
        weight, bias = self.head.weight, self.head.bias
        for start in range(0, self.dim, WORDS):
            words = slice(start, start + WORDS)
            logits = functional.linear(rows, weight[words], None if bias is None else bias[words]).view(shape)
            if self.pooling == "max":
                pooled[:, words] = logits.amax(1)
            else:
                pooled[:, words] = (self._weighed(logits.float()) * kept).sum(1)
        if self.pooling == "max":
            pooled = self._weighed(pooled)
            pooled[torch.from_numpy(lengths == 0).to(pooled.device)] = 0
        return pooled

    def _weighed(self, logits: Tensor) -> Tensor:
        made = logits.relu_()
        for _ in range(self.logarithms):
            made = made.log1p_()
        return made


def _active(dense: Tensor, texts: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Texts, which of them are finite, and row, component and value of what isn't 0."""
    finite = torch.isfinite(dense.amax(1))  # NaN is the greatest of its row
    rows, components = dense.nonzero(as_tuple=True)
    return texts, finite, rows, components, dense[rows, components]


class SparseStaticEmbedding(nn.Module):
    """A weight for each token that is there, however often: a query that costs no model.

    Without a weight of its own (0) a token says nothing.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight.float()

    @classmethod
    def load(cls, folder: Path, config: Mapping[str, Any], tokenizer: Tokenizer) -> SparseStaticEmbedding:
        """From a folder with the tensor `weight`, or with idf.json."""
        said = config.get("path")
        if said is not None or not weight_files(folder):
            return cls(_of_json(folder, PurePosixPath(str(said or "idf.json")).name, tokenizer))
        tensors = load_weights(folder)
        if tensors.keys() != {"weight"} or tensors["weight"].ndim != 1:
            shown = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items())
            raise ModelError(f"the weights in {folder} are {shown}; one row of numbers, 'weight', is expected.")
        return cls(tensors["weight"])

    @property
    def dim(self) -> int:
        """Tokens, each of which is a component."""
        return len(self.weight)

    def forward(self, features: Features) -> Features:
        """Sets `active` of the n texts."""
        count = len(features.lengths)
        owners = torch.arange(count, device=features.ids.device)
        owners = owners.repeat_interleave(features.lengths, output_size=len(features.ids))  # which it needn't ask for
        known = features.ids < self.dim
        codes = torch.unique(owners[known] * self.dim + features.ids[known])
        rows, components = codes // self.dim, codes % self.dim
        values = self.weight[components]
        there = values != 0
        texts = torch.arange(count)
        finite = torch.ones(count, dtype=torch.bool, device=values.device)
        finite[rows[~torch.isfinite(values)]] = False
        part = (texts, finite, rows[there], components[there], values[there])
        features.active = Active.joined([part], count, values.device)
        return features


def _of_json(folder: Path, name: str, tokenizer: Tokenizer) -> Tensor:
    """The weights of tokens from a file beside the module, or beside the model that it is a part of."""
    places = (inside(folder, name), inside(folder.parent, name))
    file = next((path for path in places if path.is_file()), None)
    if file is None:
        raise ModelError(f"{folder} lacks its weights of words ({name}): fetch the model anew.")
    try:
        said = json.loads(file.read_text("utf-8"))
        unknown = tokenizer.token_to_id(str(getattr(tokenizer.model, "unk_token", None)))
        weights = torch.zeros(tokenizer.get_vocab_size(with_added_tokens=True))
        for word, weight in said.items():
            place = tokenizer.token_to_id(word)
            place = unknown if place is None else place  # as transformers has it
            if place is not None:
                weights[place] = float(weight)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{file} is no table of words and their weights ({error!r:.200}).") from error
    return weights


class SparseAutoEncoder(nn.Module):
    """The `k` greatest components of a wide linear layer over a dense vector, those above 0."""

    def __init__(self, weight: Tensor, before: Tensor, after: Tensor, k: int, *, normalize: bool) -> None:
        super().__init__()
        self.weight, self.before, self.after = weight.float(), before.float(), after.float()
        self.k, self.normalize = k, normalize

    @classmethod
    def load(cls, folder: Path, config: Mapping[str, Any], most: int | None) -> SparseAutoEncoder:
        """From a `N_SparseAutoEncoder` folder; `most` stands for the `k` that it was trained with."""
        inputs, hidden = size_of(config, "input_dim", folder), size_of(config, "hidden_dim", folder, 512)
        k = size_of(config, "k", folder, 8, hidden)
        tensors = {name: tensor for name, tensor in load_weights(folder).items() if name != STATISTICS}
        decoder = tensors.pop(DECODER, None)
        if decoder is not None:
            tensors.setdefault(ENCODER, decoder)
        wanted = {ENCODER: (hidden, inputs), "pre_bias": (inputs,), "latent_bias": (hidden,)}
        found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        if found != wanted:
            raise ModelError(f"the weights in {folder} do not fit its configuration: {found} where {wanted} is said.")
        chosen = min(most, hidden) if most is not None else k
        return cls(
            tensors[ENCODER],
            tensors["pre_bias"],
            tensors["latent_bias"],
            chosen,
            normalize=bool(config.get("normalize", False)),
        )

    @property
    def dim(self) -> int:
        """Components, of which `k` at most are not 0."""
        return len(self.weight)

    def width(self, dim: int) -> int:
        """Components that come out, for so many that go in."""
        if dim != self.weight.shape[1]:
            raise ModelError(f"a SparseAutoEncoder takes {self.weight.shape[1]} components, but is given {dim}.")
        return self.dim

    def forward(self, features: Features) -> Features:
        """Sets `active` of the n texts."""
        assert features.sentence is not None
        rows = features.sentence.float()
        if self.normalize:
            rows = rows - rows.mean(dim=-1, keepdim=True)
            rows = rows / (rows.std(dim=-1, keepdim=True) + 1e-5)
        made = functional.linear(rows - self.before, self.weight, self.after)
        best = torch.topk(made, self.k, dim=-1)
        dense = torch.zeros_like(made).scatter_(-1, best.indices, best.values).relu_()
        finite = torch.isfinite(made).all(dim=-1)
        texts, _, place, components, values = _active(dense, torch.arange(len(rows)))
        features.active = Active.joined([(texts, finite, place, components, values)], len(rows), rows.device)
        return features


class MostActive(nn.Module):
    """Of each vector the so many greatest components."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, features: Features) -> Features:
        """Thins out `active`."""
        assert features.active is not None
        active = features.active
        order = torch.argsort(active.values.abs(), descending=True, stable=True)
        order = order[torch.argsort(active.rows[order], stable=True)]
        counts = torch.bincount(active.rows, minlength=len(active.finite))
        place = torch.ones_like(order).cumsum(0) - 1  # how many there are the host needn't know
        rank = place - (counts.cumsum(0) - counts)[active.rows[order]]
        kept = order[rank < self.most].sort().values
        features.active = Active(active.finite, active.rows[kept], active.components[kept], active.values[kept])
        return features


class UnitLength(nn.Module):
    """Each vector to length 1, for models whose vectors are compared by the cosine."""

    def forward(self, features: Features) -> Features:
        """Scales `active`."""
        assert features.active is not None
        active = features.active
        squares = torch.zeros(len(active.finite), dtype=torch.float64, device=active.values.device)
        squares.index_add_(0, active.rows, active.values.double() ** 2)
        values = (active.values / squares.sqrt()[active.rows]).float()
        features.active = Active(active.finite, active.rows, active.components, values)
        return features
