"""Opens the transformer of a checkpoint: a lean forward pass where there is one, else transformers' own model.

The families below are BERT under other names for the same tensors; the table holds the names. Everything else goes
through `AutoModel`, which costs seconds to import and pads its batches. Either way a weight that is missing, left over
or of another shape is an error: a model with a part left at random gives vectors that look right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from semsearch.encoder.forward import LeanEncoder, Shape
from semsearch.encoder.sizes import check_limits, check_sizes
from semsearch.encoder.weights import load_weights
from semsearch.errors import ModelError

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
    r"|discriminator_predictions\..*|generator_(predictions|lm_head)\..*|score\..*)"
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


def load_transformer(
    folder: Path,
    config: Mapping[str, Any],
    tokenizer: Any,
    dtype: torch.dtype,
    device: torch.device | str,
    *,
    all_layers: bool = False,
) -> nn.Module:
    """The transformer in a folder as a module from `Features` to `Features`, ready to compute.

    Args:
        folder: Holds the weights.
        config: Its config.json.
        tokenizer: The `tokenizers.Tokenizer` of the model, asked for the type ids that it gives (XLNet's).
        dtype: Of weights and computation.
        device: Where to compute.
        all_layers: Whether `Features.layers` are wanted.

    Raises:
        ModelError: The weights are not those that the configuration describes.
    """
    device = torch.device(device)
    check_limits(config, folder)
    family = ARCHITECTURES.get(str(config.get("model_type")))
    shape = _shape(family, config) if family else None
    if shape is not None and shape.hidden % shape.heads:
        raise ModelError(
            f"{folder / 'config.json'} shares {shape.hidden} components among {shape.heads} heads, which doesn't "
            "come out even. Fetch the model anew, or choose another."
        )
    if family is None or shape is None:
        from semsearch.encoder.padded import load_padded

        return load_padded(folder, config, tokenizer, dtype, device, all_layers=all_layers)
    tensors = _tensors(folder, family, shape, config)
    scale = (shape.hidden // shape.heads) ** -0.5  # of the scores of attention, taken over by the queries
    placed: dict[tuple[int, bool], Tensor] = {}  # what layers share (ALBERT's are all one) stays shared
    for name, stored in tensors.items():
        key = (id(stored), ".query." in name)
        if key not in placed:
            kept = device.type == "cpu" and name in ("word", "position")
            tensor = stored.float() * scale if key[1] else stored
            placed[key] = tensor if kept else tensor.to(device=device, dtype=dtype)
    tensors = {name: placed[id(tensor), ".query." in name] for name, tensor in tensors.items()}
    return LeanEncoder(tensors, shape, all_layers=all_layers).eval()


def _shape(family: Architecture, config: Mapping[str, Any]) -> Shape | None:
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


def _tensors(folder: Path, family: Architecture, shape: Shape, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights under the names that `LeanEncoder` knows, all there and of the right shapes."""
    stored = {_modern(name): tensor for name, tensor in load_weights(folder).items()}
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
    if positions > len(tensors["position"]):
        raise ModelError(
            f"the weights in {folder} have {len(tensors['position']):,} positions where its config.json says "
            f"{positions:,}. Fetch the model anew, or choose another."
        )
    return tensors


def _names(
    family: Architecture, shape: Shape, config: Mapping[str, Any], stored: Mapping[str, Tensor]
) -> dict[str, str]:
    """From the names of `LeanEncoder` to those of the checkpoint."""
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


def _check_shapes(folder: Path, tensors: Mapping[str, Tensor], shape: Shape) -> None:
    hidden = shape.hidden
    if tensors["word"].ndim != 2:
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
        tensors["position"].ndim != 2
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
