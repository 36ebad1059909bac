"""A lean forward pass for the encoders that most published models are: BERT and what differs from it in details.

Token rows `(S, h)` go through fused projections; only attention sees the rectangle of `Rows`. Where the slots are
nearly full the whole model runs on the rectangle, else tokens are moved into it and out again in each layer. On a CPU
the weights are laid out once for oneDNN's matrix kernels, which saves reordering them in every call (4 % for large
batches, 30 % for a single query), and attention over short rows in bfloat16 is two batched products and a softmax,
which there beats the fused kernel (measured: 7.8 against 11.4 ms for 4,096 tokens in rows of 64, 24 against 29 in rows
of 256; with AMX the fused kernel is ahead from rows of 32 on).

Devlin et al., 2019 (BERT); Liu et al., 2019 (RoBERTa); Sanh et al., 2019 (DistilBERT); Song et al., 2020 (MPNet).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from semsearch.encoder.architectures import Shape
from semsearch.encoder.features import Features
from semsearch.encoder.packing import Rows, spared
from semsearch.hardware import cpu_has, packs_linear

CACHED = 2_000_000  # bytes of scores that a core handles at a time


class Linear(nn.Module):
    """`activation(x · Wᵀ + b)` with the weight laid out for the device."""

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: str = "none") -> None:
        super().__init__()
        self.activation = activation
        self.packed = weight.device.type == "cpu" and _packs(weight.dtype)
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, None) if self.packed else weight  # (out, in)
        self.bias = bias

    def forward(self, rows: Tensor) -> Tensor:
        """(S, in) to (S, out)."""
        if self.packed:
            attribute = "gelu" if self.activation == "tanh" else self.activation
            algorithm = {"gelu": "none", "tanh": "tanh"}.get(self.activation, "")
            made: Tensor = torch.ops.mkldnn._linear_pointwise(rows, self.weight, self.bias, attribute, [], algorithm)
            return made
        rows = functional.linear(rows, self.weight, self.bias)
        match self.activation:
            case "gelu":
                return functional.gelu(rows)
            case "tanh":
                return functional.gelu(rows, approximate="tanh")
            case "relu":
                return functional.relu_(rows)
            case "swish":
                return functional.silu(rows, inplace=True)
        return rows


class Norm(nn.Module):
    """Layer normalisation, in float32."""

    def __init__(self, weight: Tensor, bias: Tensor, epsilon: float) -> None:
        super().__init__()
        self.weight, self.bias, self.epsilon = weight.float(), bias.float(), epsilon

    def forward(self, rows: Tensor) -> Tensor:
        """(S, h) to (S, h)."""
        return functional.layer_norm(rows, self.weight.shape, self.weight, self.bias, self.epsilon)


class Layer(nn.Module):
    """Attention and a two-layer perceptron, each added to its input and normalised after.

    Sums and norms are float32 whatever the products are computed in: that costs nothing, brings bfloat16 a third nearer
    to float32, and keeps what little neighbours change from growing over the layers.
    """

    def __init__(self, tensors: Mapping[str, Tensor], shape: Shape) -> None:
        super().__init__()
        parts = ("query", "key", "value")
        weight, bias = (torch.cat([tensors[f"{part}.{kind}"] for part in parts]) for kind in ("weight", "bias"))
        self.dtype = weight.dtype
        self.qkv = Linear(weight, bias)
        self.out = Linear(tensors["out.weight"], tensors["out.bias"])
        self.up = Linear(tensors["up.weight"], tensors["up.bias"], shape.activation)
        self.down = Linear(tensors["down.weight"], tensors["down.bias"])
        self.attention_norm = Norm(tensors["attention_norm.weight"], tensors["attention_norm.bias"], shape.epsilon)
        self.norm = Norm(tensors["norm.weight"], tensors["norm.bias"], shape.epsilon)

    def forward(self, rows: Tensor, attention: Attention, keep: Tensor | None = None) -> Tensor:
        """(S, h) to (S, h), float32; to (len(keep), h) where only the rows `keep` are wanted. `rows` may be changed."""
        mixed = attention(self.qkv(rows.to(self.dtype)))
        if keep is not None:
            rows, mixed = rows.index_select(0, keep), mixed.index_select(0, keep)
        rows = self.attention_norm(_sum(rows, self.out(mixed)))
        made: Tensor = self.norm(_sum(rows, self.down(self.up(rows.to(self.dtype)))))
        return made


class Attention:
    """Each token's mean of the values of its own text: one batch's rectangle and mask, used by every layer.

    Queries come scaled already.
    """

    def __init__(self, rows: Rows, heads: int, bias: Tensor | None, device: torch.device, dtype: torch.dtype) -> None:
        self.rows, self.heads = rows, heads
        self.mask = _mask(rows, bias, device, dtype)
        self.fused = device.type != "cpu" or dtype is not torch.bfloat16 or cpu_has("amx_tile")
        if not self.fused:
            self.mask = _flat(self.mask, rows, heads)
        self.source: Tensor | None = None  # the token in each slot, where tokens do not lie in their slots already
        if rows.slots is not None and not rows.dense:
            count = len(rows.slots)
            self.source = rows.slots.new_zeros(rows.count * rows.length)  # holes repeat token 0, and nobody looks
            self.source[rows.slots] = torch.arange(count, device=device)
            self.slots = functional.pad(rows.slots, (0, spared(count) - count))

    def __call__(self, qkv: Tensor) -> Tensor:
        """Queries, keys and values side by side (S, 3h) to (S, h)."""
        count, length = self.rows.count, self.rows.length
        if self.source is not None:
            qkv = qkv.index_select(0, self.source)  # (count · length, 3h)
        split = qkv.view(count, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # (3, count, heads, length, d)
        if self.fused:
            query, key, value = split.unbind(0)
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=self.mask, scale=1.0)
            mixed = mixed.transpose(1, 2)  # (count, length, heads, d)
        else:
            mixed = self._in_chunks(split)
        mixed = mixed.reshape(count * length, -1)
        return mixed if self.source is None else mixed.index_select(0, self.slots)

    def _in_chunks(self, split: Tensor) -> Tensor:
        """So many rows at a time that the scores stay in the cache: (count, length, heads, d)."""
        _, count, heads, length, size = split.shape
        step = max(1, CACHED * torch.get_num_threads() // (heads * length * length * split.element_size()))
        if count <= step:
            return self._weighed(split, self.mask)
        mixed = split.new_empty((count, length, heads, size))
        for start in range(0, count, step):
            mask = None if self.mask is None else self.mask[start * heads : (start + step) * heads]
            mixed[start : start + step] = self._weighed(split[:, start : start + step], mask)
        return mixed

    def _weighed(self, split: Tensor, mask: Tensor | None) -> Tensor:
        """A softmax between two batched products."""
        _, count, heads, length, size = split.shape
        query, key, value = split.reshape(3, count * heads, length, size).unbind(0)
        key = key.transpose(1, 2)
        scores = torch.bmm(query, key) if mask is None else torch.baddbmm(mask, query, key)
        weights = torch.softmax(scores, -1, out=scores)
        return torch.bmm(weights, value).view(count, heads, length, size).transpose(1, 2)


class LeanEncoder(nn.Module):
    """Token ids to token embeddings, ragged in and out.

    Args:
        tensors: Under the names of `architectures.named_tensors`, in the dtype and on the device of the computation.
        shape: Sizes and ways.
        all_layers: Whether the hidden states of every layer are kept.

    With `first_only` set, `tokens` holds the first token of each text alone, (n, h): the last layer skips the others.
    """

    shares_rows = True  # understands `Features.rows` with several texts in a row

    def __init__(self, tensors: Mapping[str, Tensor], shape: Shape, *, all_layers: bool = False) -> None:
        super().__init__()
        self.shape, self.all_layers = shape, all_layers
        self.first_only = False
        self.word = tensors["word"]  # (vocabulary, e), as it was stored: on a CPU only the rows in use are read
        self.position = tensors["position"].float()  # (positions, e)
        self.kinds: Tensor | None = None  # (types, e), from what the first adds
        if "type" in tensors:  # a text alone is all of type 0
            first = tensors["type"][0].float()
            self.position = self.position + first
            self.kinds = tensors["type"].float() - first
        self.first_norm = Norm(tensors["norm.weight"], tensors["norm.bias"], shape.epsilon)
        self.project = (
            Linear(tensors["project.weight"], tensors["project.bias"]) if "project.weight" in tensors else None
        )
        self.relative = tensors.get("relative")  # (buckets, heads)
        self.dtype = tensors["0.query.weight"].dtype
        made: dict[int, Layer] = {}  # ALBERT's layers are one and the same
        layers = []
        for i in range(shape.layers):
            own = {name.removeprefix(f"{i}."): tensor for name, tensor in tensors.items() if name.startswith(f"{i}.")}
            identity = id(own["query.weight"])
            if identity not in made:
                made[identity] = Layer(own, shape)
            layers.append(made[identity])
        self.layers = nn.ModuleList(layers)

    def forward(self, features: Features) -> Features:
        """Sets `tokens` (T, h), and `layers` where they are wanted."""
        rows = features.rows if features.rows is not None else _lay_out(features)
        count = len(features.ids)
        parts = [features.ids, self._positions(features.ids, rows)]
        if features.kinds is not None and self.kinds is not None:
            parts.append(features.kinds)
        outside = None  # takes the tokens out of the rectangle at the end
        if rows.slots is not None and rows.dense:
            holes = features.ids.new_zeros((len(parts), rows.count * rows.length))  # holes hold token 0 at place 0
            parts = list(holes.index_copy_(1, rows.slots, torch.stack(parts)).unbind(0))
            outside = rows.slots
        elif rows.slots is not None:
            parts = [functional.pad(part, (0, spared(count) - count)) for part in parts]
        ids, where, *kinds = parts
        hidden = functional.embedding(where, self.position).add_(functional.embedding(ids, self.word))
        if kinds and self.kinds is not None:
            hidden.add_(functional.embedding(kinds[0], self.kinds))
        hidden = self.first_norm(hidden)
        if self.project is not None:
            hidden = self.project(hidden.to(self.dtype)).float()
        attention = Attention(rows, self.shape.heads, self._bias(rows.length), ids.device, self.dtype)
        states = [hidden]
        first = self._first(features.lengths, outside) if self.first_only else None
        for number, layer in enumerate(self.layers, start=1):
            own = hidden.clone() if self.all_layers else hidden  # a layer adds to it in place
            hidden = layer(own, attention, first if number == len(self.layers) else None)
            states = [*states, hidden] if self.all_layers else [hidden]
        if first is not None:
            features.tokens = hidden[: len(features.lengths)]
            return features
        ragged = [state[:count] if outside is None else state.index_select(0, outside) for state in states]
        features.tokens = ragged[-1]
        features.layers = ragged if self.all_layers else None
        return features

    def _first(self, lengths: Tensor, outside: Tensor | None) -> Tensor:
        """Where each text begins, with some rows to spare."""
        first = lengths.cumsum(0) - lengths
        first = first if outside is None else outside.index_select(0, first)
        return functional.pad(first, (0, spared(len(first)) - len(first)))

    def _positions(self, ids: Tensor, rows: Rows) -> Tensor:
        """Row of the position table for each token: (T,)."""
        if self.shape.padding is None:
            return rows.positions
        # RoBERTa counts the tokens that are not padding, even where a text spells the padding token out.
        real = (ids != self.shape.padding).long()
        before = real.cumsum(0) - real
        first = torch.arange(len(ids), device=ids.device) - rows.positions  # (T,) where each token's text begins
        return (before - before[first] + 1) * real + self.shape.padding

    def _bias(self, length: int) -> Tensor | None:
        """MPNet's preference for distances, added to the scores: (1, heads, length, length)."""
        if self.relative is None:
            return None
        place = torch.arange(length, device=self.relative.device)
        bucket = relative_bucket(place[None, :] - place[:, None], self.shape.buckets)
        return functional.embedding(bucket, self.relative).permute(2, 0, 1)[None]


def _sum(rows: Tensor, made: Tensor) -> Tensor:
    """Both, in float32, in the place of one of them: new memory costs as much as the sum."""
    return made.add_(rows) if made.dtype is rows.dtype else rows.add_(made)


def relative_bucket(distance: Tensor, buckets: int, farthest: int = 128) -> Tensor:
    """The bucket of a distance key - query, each direction its half, exact up to a point and logarithmic beyond.

    Raffel et al., 2020 (T5), section 2.1, as MPNet uses it.
    """
    half = buckets // 2
    exact = half // 2
    away = distance.abs()
    scale = (half - exact) / math.log(farthest / exact)
    beyond = exact + ((away.clamp(min=1).float() / exact).log() * scale).long()
    return torch.where(away < exact, away, beyond.clamp(max=half - 1)) + (distance > 0).long() * half


def _mask(rows: Rows, bias: Tensor | None, device: torch.device, dtype: torch.dtype) -> Tensor | None:
    """What is added to the scores, broadcastable to (count, heads, length, length); None where all see all."""
    if rows.owners is None:
        return bias
    owners = rows.owners
    unseen = (owners < 0)[:, None, None, :]  # (count, 1, 1, length)
    if rows.shared:  # holes see holes: no row is without a key
        unseen = owners[:, None, :, None] != owners[:, None, None, :]  # (count, 1, length, length)
    mask = torch.zeros(unseen.shape, dtype=dtype, device=device).masked_fill_(unseen, -torch.inf)
    return mask if bias is None else mask + bias


def _flat(mask: Tensor | None, rows: Rows, heads: int) -> Tensor | None:
    """The same mask with one entry for each head of each row: (count · heads, 1 or length, length)."""
    if mask is None:
        return None
    whole = mask.expand(rows.count, heads, -1, -1)
    return whole.reshape(rows.count * heads, *whole.shape[2:])


def _lay_out(features: Features) -> Rows:
    """A row for each text, for features that were not planned by a pipeline."""
    from semsearch.encoder.packing import Batch

    lengths = features.lengths.cpu().numpy()
    every = torch.arange(len(lengths)).numpy()
    batch = Batch(every, every, every * 0, len(lengths), max(1, int(lengths.max(initial=1))), False)
    return batch.rows(lengths).to(features.ids.device)


def _packs(dtype: torch.dtype) -> bool:
    """Whether oneDNN takes weights of a type; of float16 it would make another sum."""
    return dtype is not torch.float16 and bool(torch.backends.mkldnn.enabled) and packs_linear(dtype)
