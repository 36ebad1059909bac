"""The families of encoders that are BERT under other names for the same tensors: the tables hold the names.

A weight that is missing, left over or of another shape is an error: a model with a part left at random gives vectors
that look right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from semsearch.encoder.sizes import check_limits, check_sizes
from semsearch.errors import ModelError


class Sized(Protocol):
    """A tensor of torch or an array of numpy, as far as its shape is looked at."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""
        ...


Array = TypeVar("Array", bound=Sized)


@dataclass(frozen=True)
class Shape:
    """What a configuration says of an encoder's sizes."""

    layers: int
    heads: int
    hidden: int
    activation: str  # "gelu", "tanh" (its approximation), "relu" or "swish"
    epsilon: float
    padding: int | None = None  # positions count from behind this token id, as RoBERTa's do; None: from 0
    buckets: int = 0  # of relative positions (MPNet); 0: none


GATE_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "tanh",
    "gelu_fast": "tanh",
    "gelu_pytorch_tanh": "tanh",
    "relu": "relu",
    "silu": "swish",
    "swish": "swish",
}
# Heads and buffers that checkpoints carry along and no embedding depends on.
IGNORED_TENSORS = re.compile(
    r"(embeddings\.(position_ids|token_type_ids)|(bert\.|mpnet\.|roberta\.)?pooler\..*|lm_head\..*|cls\..*|classifier\..*"
    r"|pre_classifier\..*|vocab_(transform|layer_norm|projector)\..*|qa_outputs\..*|predictions\..*|sop_classifier\..*"
    r"|discriminator_predictions\..*|generator_(predictions|lm_head)\..*|score\..*|linear\.weight)"
)
BERT_LAYER = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "out": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "norm": "output.LayerNorm",
}


@dataclass(frozen=True)
class Architecture:
    """Where a family keeps its tensors and its sizes."""

    prefix: str  # in checkpoints of the model with a head
    layer: str = "encoder.layer.{}."  # what comes before a layer's names
    parts: Mapping[str, str] = field(default_factory=lambda: BERT_LAYER)
    types: bool = True  # token type embeddings
    offset: bool = False  # positions count from behind the padding id
    project: str | None = None  # from the embeddings' width to the layers', where they differ
    relative: str | None = None  # the table of relative positions
    keys: Mapping[str, str] = field(default_factory=dict)  # configuration keys that differ from BERT's


ARCHITECTURES = {
    "bert": Architecture("bert."),
    "roberta": Architecture("roberta.", offset=True),
    "xlm-roberta": Architecture("roberta.", offset=True),
    "camembert": Architecture("roberta.", offset=True),
    "electra": Architecture("electra.", project="embeddings_project"),
    "mpnet": Architecture(
        "mpnet.",
        parts=BERT_LAYER
        | {
            "query": "attention.attn.q",
            "key": "attention.attn.k",
            "value": "attention.attn.v",
            "out": "attention.attn.o",
            "attention_norm": "attention.LayerNorm",
        },
        types=False,
        offset=True,
        relative="encoder.relative_attention_bias.weight",
    ),
    "distilbert": Architecture(
        "distilbert.",
        layer="transformer.layer.{}.",
        parts={
            "query": "attention.q_lin",
            "key": "attention.k_lin",
            "value": "attention.v_lin",
            "out": "attention.out_lin",
            "attention_norm": "sa_layer_norm",
            "up": "ffn.lin1",
            "down": "ffn.lin2",
            "norm": "output_layer_norm",
        },
        types=False,
        keys={
            "hidden_size": "dim",
            "num_hidden_layers": "n_layers",
            "num_attention_heads": "n_heads",
            "intermediate_size": "hidden_dim",
            "hidden_act": "activation",
        },
    ),
    "albert": Architecture(
        "albert.",
        layer="encoder.albert_layer_groups.0.albert_layers.0.",
        parts={
            "query": "attention.query",
            "key": "attention.key",
            "value": "attention.value",
            "out": "attention.dense",
            "attention_norm": "attention.LayerNorm",
            "up": "ffn",
            "down": "ffn_output",
            "norm": "full_layer_layer_norm",
        },
        project="encoder.embedding_hidden_mapping_in",
    ),
}


def family_of(folder: Path, config: Mapping[str, Any]) -> tuple[Architecture, Shape] | None:
    """The family of the model that `config` describes and its sizes; None where no lean forward pass does it."""
    check_limits(config, folder)
    family = ARCHITECTURES.get(str(config.get("model_type")))
    shape = _shape_of(family, config) if family else None
    if family is None or shape is None:
        return None
    if shape.hidden % shape.heads:
        raise ModelError(
            f"{folder / 'config.json'} shares {shape.hidden} components among {shape.heads} heads, which doesn't "
            "come out even. Fetch the model anew, or choose another."
        )
    return family, shape


def _shape_of(family: Architecture, config: Mapping[str, Any]) -> Shape | None:
    """The sizes of a lean encoder; None where the configuration asks for something that it doesn't do."""

    def said(key: str, otherwise: Any = None) -> Any:
        return config.get(family.keys.get(key, key), otherwise)

    activation = GATE_ACTIVATIONS.get(said("hidden_act", "gelu_new" if family is ARCHITECTURES["albert"] else "gelu"))
    plain = (
        activation is not None
        and config.get("position_embedding_type", "absolute") == "absolute"
        and not config.get("is_decoder")
        and not config.get("add_cross_attention")
        and config.get("num_hidden_groups", 1) == 1
        and config.get("inner_group_num", 1) == 1
    )
    sizes = [said(key) for key in ("num_hidden_layers", "num_attention_heads", "hidden_size")]
    if not plain or not all(isinstance(size, int) for size in sizes):
        return None
    padding = config.get("pad_token_id")
    return Shape(
        layers=sizes[0],
        heads=sizes[1],
        hidden=sizes[2],
        activation=str(activation),
        epsilon=float(config.get("layer_norm_eps", 1e-12)),
        padding=(1 if padding is None else int(padding)) if family.offset else None,
        buckets=int(config.get("relative_attention_num_buckets", 32)) if family.relative else 0,
    )


def named_tensors(
    folder: Path, weights: Mapping[str, Array], family: Architecture, shape: Shape, config: Mapping[str, Any]
) -> dict[str, Array]:
    """The weights of a folder under the names that the lean forward passes know, all there and of the right shapes.

    Raises:
        ModelError: They are not those that the configuration describes.
    """
    stored = {_modern(name): tensor for name, tensor in weights.items()}
    check_sizes(config, folder)
    if any(name.startswith(family.prefix) for name in stored):
        inner = {name.removeprefix(family.prefix): t for name, t in stored.items() if name.startswith(family.prefix)}
        stored = {n: t for n, t in stored.items() if not n.startswith(family.prefix)} | inner
    wanted = _names(family, shape, config, stored)
    missing = sorted({name for name in wanted.values() if name not in stored})
    used = set(wanted.values())
    unexpected = sorted(name for name in stored if name not in used and not IGNORED_TENSORS.fullmatch(name))
    if missing or unexpected:
        faults = [f"missing are {_some(missing)}"] if missing else []
        faults += [f"nothing uses {_some(unexpected)}"] if unexpected else []
        raise ModelError(
            f"the weights in {folder} are not those of the {config['model_type']} that its config.json describes: "
            f"{'; '.join(faults)}. Fetch the model anew, or choose another."
        )
    tensors = {name: stored[source] for name, source in wanted.items()}
    _check_shapes(folder, tensors, shape)
    positions = config.get("max_position_embeddings", 0)
    if positions > tensors["position"].shape[0]:
        raise ModelError(
            f"the weights in {folder} have {tensors['position'].shape[0]:,} positions where its config.json says "
            f"{positions:,}. Fetch the model anew, or choose another."
        )
    return tensors


def _names(
    family: Architecture, shape: Shape, config: Mapping[str, Any], stored: Mapping[str, Array]
) -> dict[str, str]:
    """From our names to those of the checkpoint."""
    names = {"word": "embeddings.word_embeddings.weight", "position": "embeddings.position_embeddings.weight"}
    both = ("weight", "bias")
    names |= {f"norm.{kind}": f"embeddings.LayerNorm.{kind}" for kind in both}
    if family.types and (config.get("type_vocab_size", 2) or 0) > 0:
        names["type"] = "embeddings.token_type_embeddings.weight"
    if family.project and (config["model_type"] == "albert" or config.get("embedding_size") != shape.hidden):
        names |= {f"project.{kind}": f"{family.project}.{kind}" for kind in both}
    if family.relative:
        names["relative"] = family.relative
    for i in range(shape.layers):
        before = family.layer.format(i)
        names |= {
            f"{i}.{part}.{kind}": f"{before}{name}.{kind}" for part, name in family.parts.items() for kind in both
        }
    return names


def _check_shapes(folder: Path, tensors: Mapping[str, Array], shape: Shape) -> None:
    hidden = shape.hidden
    if len(tensors["word"].shape) != 2:
        raise ModelError(f"the word embeddings in {folder} have the shape {tuple(tensors['word'].shape)}.")
    wide = tensors["0.up.weight"].shape[0] if shape.layers else 0
    embedded = tensors["word"].shape[1]
    expected: dict[str, tuple[int, ...]] = {
        "query": (hidden, hidden),
        "key": (hidden, hidden),
        "value": (hidden, hidden),
        "out": (hidden, hidden),
        "up": (wide, hidden),
        "down": (hidden, wide),
        "attention_norm": (hidden,),
        "norm": (hidden,),
        "project": (hidden, embedded),
    }
    whole = {"norm.weight": (embedded,), "norm.bias": (embedded,), "relative": (shape.buckets, shape.heads)}
    for name, tensor in tensors.items():
        part, _, kind = name.removesuffix("").rpartition(".")
        part = part.rpartition(".")[2]
        wanted = whole.get(name) or (expected.get(part, ())[: 1 if kind == "bias" else None])
        if wanted and tuple(tensor.shape) != wanted:
            raise ModelError(
                f"the weights in {folder} do not fit its config.json: {name} has the shape {tuple(tensor.shape)} "
                f"where {wanted} is described. Fetch the model anew, or choose another."
            )
    if (
        len(tensors["position"].shape) != 2
        or tensors["position"].shape[1] != embedded
        or (shape.padding is None and not embedded)
    ):
        raise ModelError(f"the position embeddings in {folder} are not as wide as its word embeddings.")


def _modern(name: str) -> str:
    """Today's name of a tensor that a checkpoint of 2019 calls as TensorFlow did."""
    return re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name))


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
