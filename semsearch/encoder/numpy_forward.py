"""A forward pass in numpy for the families of `semsearch.encoder.architectures`: one text, float32, no torch.

It is `semsearch.encoder.forward` without batches, and the tests hold one against the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.polynomial import Chebyshev
from numpy.typing import NDArray

from semsearch.encoder.architectures import Shape

Floats = NDArray[np.float32]


@dataclass(slots=True)
class TextFeatures:
    """One text of T tokens, and what the modules so far made of it."""

    ids: NDArray[np.int64]  # (T,)
    prompt_length: int
    tokens: Floats | None = None  # (T, h)
    sentence: Floats | None = None  # (d,)


class Transformer:
    """Token ids to token embeddings: `semsearch.encoder.forward.LeanEncoder`, for one text."""

    def __init__(self, tensors: Mapping[str, Floats], shape: Shape) -> None:
        self._tensors = tensors
        self._shape = shape
        self._activation = ACTIVATIONS[shape.activation]
        self._layers: list[Mapping[str, Floats]] = []
        for i in range(shape.layers):
            own = {name.removeprefix(f"{i}."): array for name, array in tensors.items() if name.startswith(f"{i}.")}
            self._layers.append(own)

    def __call__(self, features: TextFeatures) -> None:
        """Sets `tokens` (T, h)."""
        tensors, shape = self._tensors, self._shape
        ids = features.ids
        if not len(ids):
            features.tokens = np.zeros((0, shape.hidden), np.float32)
            return
        places = np.arange(len(ids))
        if shape.padding is not None:  # RoBERTa counts the tokens that are not padding
            real = ids != shape.padding
            places = np.cumsum(real) * real + shape.padding
        rows = tensors["word"][ids] + tensors["position"][places]
        if "type" in tensors:
            rows += tensors["type"][0]
        rows = self._norm(rows, tensors["norm.weight"], tensors["norm.bias"])
        if "project.weight" in tensors:
            rows = rows @ tensors["project.weight"].T + tensors["project.bias"]
        bias = self._bias(len(ids))
        for own in self._layers:
            rows = self._layer(rows, own, bias)
        features.tokens = rows

    def _layer(self, rows: Floats, own: Mapping[str, Floats], bias: Floats | None) -> Floats:
        heads = self._shape.heads
        count, hidden = rows.shape
        query, key, value = (
            (rows @ own[f"{part}.weight"].T + own[f"{part}.bias"]).reshape(count, heads, -1).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )  # (heads, T, d)
        scores = query @ key.transpose(0, 2, 1) * np.float32((hidden // heads) ** -0.5)  # (heads, T, T)
        if bias is not None:
            scores += bias
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        mixed = (weights @ value).transpose(1, 0, 2).reshape(count, hidden)
        rows = rows + mixed @ own["out.weight"].T + own["out.bias"]
        rows = self._norm(rows, own["attention_norm.weight"], own["attention_norm.bias"])
        wide = self._activation(rows @ own["up.weight"].T + own["up.bias"])
        rows = rows + wide @ own["down.weight"].T + own["down.bias"]
        return self._norm(rows, own["norm.weight"], own["norm.bias"])

    def _norm(self, rows: Floats, weight: Floats, bias: Floats) -> Floats:
        return layer_norm(rows, self._shape.epsilon) * weight + bias

    def _bias(self, length: int) -> Floats | None:
        """MPNet's preference for distances: (heads, T, T)."""
        table = self._tensors.get("relative")
        if table is None:
            return None
        place = np.arange(length)
        buckets = relative_bucket(place[None, :] - place[:, None], self._shape.buckets)
        bias: Floats = table[buckets].transpose(2, 0, 1)
        return bias


def relative_bucket(distance: NDArray[np.int64], buckets: int, farthest: int = 128) -> NDArray[np.int64]:
    """As `semsearch.encoder.forward.relative_bucket`, which says whose formula it is."""
    half = buckets // 2
    exact = half // 2
    away = np.abs(distance)
    scale = (half - exact) / math.log(farthest / exact)
    beyond = exact + (np.log(np.maximum(away, 1).astype(np.float32) / exact) * scale).astype(np.int64)
    near: NDArray[np.int64] = np.where(away < exact, away, np.minimum(beyond, half - 1))
    return near + (distance > 0) * half


def layer_norm(rows: Floats, epsilon: float = 1e-5) -> Floats:
    """Rows of mean 0 and variance 1 (Ba, Kiros and Hinton, 2016)."""
    centred = rows - rows.mean(axis=-1, keepdims=True)
    scaled: Floats = centred / np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + np.float32(epsilon))
    return scaled


# Activations


@cache
def _erf_over_x() -> Chebyshev:
    """erf(x) / x of x² between 0 and 16, where numpy has no erf: off by less than 1e-12; beyond, erf is 1 but 2e-8."""

    def erf_over_root(squares: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([math.erf(root) / root for root in np.sqrt(squares)])

    return Chebyshev.interpolate(erf_over_root, deg=24, domain=[0, 16])


def gelu(rows: Floats) -> Floats:
    """X · Φ(x) (Hendrycks and Gimpel, 2016)."""
    scaled = np.clip(rows * np.float32(math.sqrt(0.5)), -4, 4)
    made: Floats = (0.5 * rows * (1 + scaled * _erf_over_x()(np.square(scaled)))).astype(np.float32)
    return made


def gelu_tanh(rows: Floats) -> Floats:
    """Its approximation by tanh."""
    made: Floats = 0.5 * rows * (1 + np.tanh(math.sqrt(2 / math.pi) * (rows + 0.044715 * rows**3)))
    return made


def relu(rows: Floats) -> Floats:
    """What is above 0."""
    return np.maximum(rows, 0)


def swish(rows: Floats) -> Floats:
    """X / (1 + e⁻ˣ)."""
    with np.errstate(over="ignore"):  # of e¹⁰⁰ what is left is 0, as it should be
        made: Floats = rows / (1 + np.exp(-rows))
    return made


ACTIVATIONS: Mapping[str, Callable[[Floats], Floats]] = {
    "gelu": gelu,
    "tanh": gelu_tanh,
    "relu": relu,
    "swish": swish,
}
