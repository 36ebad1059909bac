"""The modules of a model by numpy, float32, a text at a time: the first question is answered before torch is imported.

What most published models are made of: the lean families of transformers and static vectors, from safetensors, which
are mapped and not read; pooling, dense layers and normalisation behind them. Everything else is `Unsupported`, and is
left to torch. The tests hold every module against torch's of the same name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from tokenizers import Tokenizer

from semsearch.encoder.architectures import family_of, named_tensors
from semsearch.encoder.mapped_weights import Unsupported, load_weights
from semsearch.encoder.numpy_forward import Floats, TextFeatures, Transformer, gelu, layer_norm, relu, swish
from semsearch.encoder.pooling import modes_of
from semsearch.encoder.sizes import size_of
from semsearch.encoder.tokenization import Tokenize
from semsearch.errors import EncodingFailed, ModelError
from semsearch.types import Vectors

TINY = 1e-12  # the shortest length that is divided by, as torch has it


class NumpyModule(Protocol):
    """A step on the way of a text."""

    def __call__(self, features: TextFeatures, /) -> None:
        """Set what it makes."""
        ...


class NumpyModules:
    """See `semsearch.encoder.assemble.ModuleLibrary`."""

    device = "cpu"
    dtype = "float32"

    def load(self, kind: str, folder: Path, config: Mapping[str, Any]) -> NumpyModule:
        """A module; `Unsupported` where torch is needed."""
        if kind not in NUMPY_KINDS:
            raise Unsupported(kind)
        module: NumpyModule = NUMPY_KINDS[kind](folder, config)
        return module

    def transformer(
        self, folder: Path, config: dict[str, Any], tokenizer: Tokenizer, *, all_layers: bool
    ) -> NumpyModule:
        """A lean forward pass; `Unsupported` where there is none for the family."""
        if all_layers or config.get("is_encoder_decoder"):
            raise Unsupported("all layers")
        found = family_of(folder, config)
        if found is None:
            raise Unsupported(str(config.get("model_type")))
        family, shape = found
        return Transformer(named_tensors(folder, load_weights(folder), family, shape, config), shape)

    def truncate(self, dim: int, *, norm_first: bool) -> NumpyModule:
        """Keeps the leading components."""
        return Truncate(dim, norm_first)

    def normalize(self) -> NumpyModule:
        """Scales vectors to unit length."""
        return Normalize()

    def stream(self, tokenize: Tokenize, modules: Sequence[NumpyModule], dim: int, *, max_tokens: int) -> NumpyStream:
        """What runs texts through all of the modules, one after the other."""
        return NumpyStream(tokenize, modules, dim)


class NumpyStream:
    """A tokenizer and the modules behind it."""

    def __init__(self, tokenize: Tokenize, modules: Sequence[NumpyModule], dim: int) -> None:
        self._tokenize = tokenize
        self._modules = modules
        self._dim = dim

    @property
    def truncated(self) -> int:
        """Texts so far that were longer than the model's window, and were cut."""
        return int(getattr(self._tokenize, "truncated", 0))

    def encode(self, texts: Iterable[str], prompt: str = "") -> Vectors:
        """Float32 vectors (n, dim), each with the prompt before it.

        Raises:
            EncodingFailed: A text's vector is not finite.
        """
        texts = list(texts)
        ids, prompt_length = self._tokenize(texts, prompt)
        vectors = np.empty((len(texts), self._dim), np.float32)
        for place, own in enumerate(ids):
            features = TextFeatures(np.array(own, dtype=np.int64), prompt_length)
            for module in self._modules:
                module(features)
            vectors[place] = features.sentence
        if not (finite := np.isfinite(vectors).all(axis=1)).all():
            text = texts[int(finite.argmin())]
            raise EncodingFailed(f"the model gave NaN or infinite numbers for the text {text[:80]!r}.")
        return vectors


class Pooling:
    """Token embeddings to one vector: any of six ways, or several joined."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self._modes = modes_of(folder, config)
        self._include_prompt = config.get("include_prompt", True)

    def width(self, dim: int) -> int:
        """Components of a pooled vector, from those of a token."""
        return dim * len(self._modes)

    def __call__(self, features: TextFeatures) -> None:
        """Sets `sentence` (modes · h,)."""
        assert features.tokens is not None
        tokens = features.tokens
        skip = 0 if self._include_prompt else min(features.prompt_length, len(tokens))
        features.sentence = np.concatenate([self._pooled(mode, tokens, skip) for mode in self._modes])

    def _pooled(self, mode: str, tokens: Floats, skip: int) -> Floats:
        seen = tokens[skip:]
        if not len(tokens):
            return np.zeros(tokens.shape[1], np.float32)
        if mode in ("cls", "lasttoken"):
            row: Floats = tokens[-1 if mode == "lasttoken" else skip if skip < len(tokens) else 0]
            return row
        if not len(seen):
            return np.zeros(tokens.shape[1], np.float32)
        if mode == "max":
            best: Floats = seen.max(axis=0)
            return best
        if mode == "weightedmean":
            weights = np.arange(skip + 1, len(tokens) + 1, dtype=np.float32)
            mean: Floats = weights @ seen / weights.sum()
            return mean
        divisor = len(seen) if mode == "mean" else math.sqrt(len(seen))
        pooled: Floats = seen.sum(axis=0) / np.float32(divisor)
        return pooled


class Dense:
    """A linear layer with an activation, on the sentence embedding."""

    ACTIVATIONS: ClassVar[Mapping[str, Callable[[Floats], Floats]]] = {
        "Tanh": np.tanh,
        "Identity": lambda rows: rows,
        "ReLU": relu,
        "GELU": gelu,
        "SiLU": swish,
    }

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        path = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
        activation = self.ACTIVATIONS.get(path.rpartition(".")[2])
        source = config.get("module_input_name") or config.get("key_name") or "sentence_embedding"
        target = config.get("module_output_name") or source
        elsewhere = {source, target} != {"sentence_embedding"}
        if activation is None or not path.startswith("torch.nn.") or elsewhere or config.get("use_residual"):
            raise Unsupported("a dense layer")
        self._activation = activation
        self._in, self._out = (size_of({key: config.get(key)}, key, folder) for key in ("in_features", "out_features"))
        tensors = load_weights(folder)
        wanted: dict[str, tuple[int, ...]] = {"linear.weight": (self._out, self._in)}
        if config.get("bias", True):
            wanted["linear.bias"] = (self._out,)
        _check(tensors, wanted, folder)
        self._weight, self._bias = tensors["linear.weight"], tensors.get("linear.bias")

    def width(self, dim: int) -> int:
        """Components that come out, for so many that go in."""
        if dim != self._in:
            raise ModelError(f"a Dense module takes {self._in} components, but is given {dim}.")
        return self._out

    def __call__(self, features: TextFeatures) -> None:
        """Replaces `sentence`, (in,) to (out,)."""
        made = self._weight @ features.sentence
        features.sentence = self._activation(made if self._bias is None else made + self._bias)


class LayerNorm:
    """Layer normalisation of the sentence embedding."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        dim = size_of(config, "dimension", folder)
        tensors = load_weights(folder)
        _check(tensors, {"norm.weight": (dim,), "norm.bias": (dim,)}, folder)
        self._weight, self._bias = tensors["norm.weight"], tensors["norm.bias"]

    def __call__(self, features: TextFeatures) -> None:
        """Normalises `sentence` (d,)."""
        assert features.sentence is not None
        features.sentence = layer_norm(features.sentence) * self._weight + self._bias


class Normalize:
    """The sentence embedding to unit length; a zero stays zero."""

    def __init__(self, folder: Path | None = None, config: Mapping[str, Any] | None = None) -> None:
        said = {(config or {}).get(key) or "sentence_embedding" for key in ("module_input_name", "module_output_name")}
        if said != {"sentence_embedding"}:
            raise Unsupported("normalised tokens")

    def __call__(self, features: TextFeatures) -> None:
        """Scales `sentence` (d,)."""
        assert features.sentence is not None
        features.sentence = features.sentence / np.float32(max(float(np.linalg.norm(features.sentence)), TINY))


class Truncate:
    """The leading components of the sentence embedding."""

    def __init__(self, dim: int, norm_first: bool) -> None:
        self._dim = dim
        self._norm_first = norm_first

    def __call__(self, features: TextFeatures) -> None:
        """Cuts `sentence` (d,) to (dim,)."""
        assert features.sentence is not None
        rows = layer_norm(features.sentence) if self._norm_first else features.sentence
        features.sentence = rows[: self._dim]


class Dropout:
    """Does nothing: dropout is for training."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None: ...

    def __call__(self, features: TextFeatures) -> None:
        """The features as they are."""


class StaticEmbedding:
    """The mean of the tokens' vectors, of sentence-transformers' or model2vec's; see the module of torch."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        tensors = load_weights(folder)
        table = tensors.get("embedding.weight", tensors.get("embeddings"))
        if table is None or not tensors.keys() <= {"embedding.weight", "embeddings", "weights", "mapping"}:
            raise Unsupported("a static model")
        self._table, self._mapping, self._weights = table, tensors.get("mapping"), tensors.get("weights")
        rows = len(table)
        if (mapping := self._mapping) is not None:
            if len(mapping) and not 0 <= int(mapping.min()) <= int(mapping.max()) < len(table):
                raise ModelError(f"the mapping in {folder} leads beyond the {len(table)} vectors that are there.")
            rows = len(mapping)
        if self._weights is not None and len(self._weights) != rows:
            raise ModelError(f"{folder} has {len(self._weights)} token weights for {rows} tokens.")
        self.rows = rows

    @property
    def dim(self) -> int:
        """Components of a vector."""
        return int(self._table.shape[1])

    def __call__(self, features: TextFeatures) -> None:
        """Sets `sentence` (d,)."""
        ids = features.ids
        rows = self._table[ids if self._mapping is None else self._mapping[ids].astype(np.int64)].astype(np.float32)
        if self._weights is not None:
            rows = rows * self._weights[ids].astype(np.float32)[:, None]
        features.sentence = rows.sum(axis=0) / np.float32(max(len(ids), 1))


class WordEmbeddings:
    """A row of a table for each word."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        tensors = load_weights(folder)
        if set(tensors) != {"emb_layer.weight"}:
            raise ModelError(f"the weights in {folder} must be emb_layer.weight alone, but are {', '.join(tensors)}.")
        self._table = tensors["emb_layer.weight"]
        self.rows, self.dim = int(self._table.shape[0]), int(self._table.shape[1])

    def __call__(self, features: TextFeatures) -> None:
        """Sets `tokens` (T, h)."""
        features.tokens = self._table[features.ids].astype(np.float32)


def _check(tensors: Mapping[str, Floats], wanted: Mapping[str, tuple[int, ...]], folder: Path) -> None:
    """Leave a module whose weights are not those declared to torch, which says what is wrong with it."""
    if {name: array.shape for name, array in tensors.items()} != dict(wanted):
        raise Unsupported(f"the weights in {folder}")


NUMPY_KINDS: Mapping[str, Callable[[Path, Mapping[str, Any]], Any]] = {
    "pooling": Pooling,
    "dense": Dense,
    "layernorm": LayerNorm,
    "normalize": Normalize,
    "dropout": Dropout,
    "staticembedding": StaticEmbedding,
    "wordembeddings": WordEmbeddings,
}
