"""The head of a masked language model: what makes a weight for each word of the vocabulary of a token's state.

The families of `architectures` have the same head, a dense layer, an activation, a norm and a projection onto the
vocabulary, under other names; the projection's weights are mostly the word vectors, and then stored once. Any other
architecture is transformers' own model, of which the last projection alone is taken over here: the weights for all
words of all tokens of a batch would be gigabytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from semsearch.encoder.architectures import ARCHITECTURES, GATE_ACTIVATIONS, family_of
from semsearch.encoder.checkpoint import first_line
from semsearch.encoder.forward import Linear, Norm
from semsearch.encoder.padded import PaddedEncoder
from semsearch.encoder.sizes import check_sizes
from semsearch.encoder.transformer import load_transformer
from semsearch.encoder.transformers_model import open_by_transformers
from semsearch.encoder.weights import load_weights
from semsearch.errors import ModelError

SPARE_TENSORS = re.compile(
    r"(.*\.)?(pooler|position_ids|classifier|score|seq_relationship|sop_classifier|rotary_emb)(\..*|$)"
)  # that transformers makes at random or leaves lying, and that no word's weight depends on


@dataclass(frozen=True)
class MaskedHeadNames:
    """Where a family keeps its head."""

    dense: str
    norm: str
    decoder: str
    bias: str  # of the projection, where it is not beside its weights
    activation: str | None = None  # None: the configuration's
    epsilon: float | None = None  # None: the configuration's


_LM_HEAD = MaskedHeadNames("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder", "lm_head.bias", "gelu")
MASKED_HEADS: Mapping[str, MaskedHeadNames] = {
    "bert": MaskedHeadNames(
        "cls.predictions.transform.dense",
        "cls.predictions.transform.LayerNorm",
        "cls.predictions.decoder",
        "cls.predictions.bias",
    ),
    **dict.fromkeys(("roberta", "xlm-roberta", "camembert", "mpnet"), _LM_HEAD),
    "distilbert": MaskedHeadNames(
        "vocab_transform", "vocab_layer_norm", "vocab_projector", "vocab_projector.bias", epsilon=1e-12
    ),
    "electra": MaskedHeadNames(
        "generator_predictions.dense",
        "generator_predictions.LayerNorm",
        "generator_lm_head",
        "generator_lm_head.bias",
        "gelu",
    ),
    "albert": MaskedHeadNames("predictions.dense", "predictions.LayerNorm", "predictions.decoder", "predictions.bias"),
}


class MaskedLanguageHead(nn.Module):
    """Token states to states that are multiplied with the vectors of words: `weight` (V, e) and `bias` (V,).

    A word's logit is the product of its vector and the state, and its bias.
    """

    def __init__(self, transform: nn.Module, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.transform = transform
        self.weight = weight
        self.bias = bias

    def forward(self, tokens: Tensor) -> Tensor:
        """(T, h) to (T, e), in the dtype of `weight`."""
        made: Tensor = self.transform(tokens)
        return made.to(self.weight.dtype)


class Transform(nn.Module):
    """A dense layer with its activation, and a norm."""

    def __init__(self, dense: Linear, norm: Norm, dtype: torch.dtype) -> None:
        super().__init__()
        self.dense, self.norm, self.dtype = dense, norm, dtype

    def forward(self, tokens: Tensor) -> Tensor:
        """(T, h) to (T, e)."""
        made: Tensor = self.norm(self.dense(tokens.to(self.dtype)).float())
        return made


def load_masked_language_model(
    folder: Path, config: Mapping[str, Any], tokenizer: Any, dtype: torch.dtype, device: torch.device
) -> tuple[nn.Module, MaskedLanguageHead]:
    """The transformer in a folder, from `Features` to `Features`, and its head.

    Raises:
        ModelError: The weights are not those of a masked language model that the configuration describes.
    """
    if family_of(folder, config) is None:
        return _by_transformers(folder, config, tokenizer, dtype, device)
    transformer = load_transformer(folder, config, tokenizer, dtype, device)
    kind = str(config["model_type"])
    names, family = MASKED_HEADS[kind], ARCHITECTURES[kind]
    stored = {_modern(name): tensor for name, tensor in load_weights(folder).items()}
    word = "embeddings.word_embeddings.weight"
    words = stored.get(family.prefix + word, stored.get(word))
    dense, norm = (
        {part: stored.get(f"{name}.{part}") for part in ("weight", "bias")} for name in (names.dense, names.norm)
    )
    own = stored.get(f"{names.decoder}.weight")
    decoder = words if own is None and config.get("tie_word_embeddings", True) else own
    bias = stored.get(f"{names.decoder}.bias", stored.get(names.bias))
    lacking = [
        f"{name}.{part}"
        for name, found in ((names.dense, dense), (names.norm, norm))
        for part, tensor in found.items()
        if tensor is None
    ]
    lacking += [f"{names.decoder}.weight"] * (decoder is None) + [names.bias] * (bias is None)
    if lacking or words is None or decoder is None or bias is None:
        raise ModelError(
            f"the weights in {folder} have no masked-language head, which a sparse encoder takes its words' weights "
            f"from: missing are {', '.join(lacking)}. Fetch the model anew, or choose another."
        )
    wide, hidden = words.shape[-1], int(config.get(family.keys.get("hidden_size", "hidden_size"), 0))
    e = wide if family.project else hidden
    wanted = {
        names.dense: (dense["weight"], (e, hidden)),
        f"{names.dense}.bias": (dense["bias"], (e,)),
        names.norm: (norm["weight"], (e,)),
        f"{names.norm}.bias": (norm["bias"], (e,)),
        names.decoder: (decoder, (len(words), e)),
        names.bias: (bias, (len(words),)),
    }
    for name, (tensor, shape) in wanted.items():
        if tensor is None or tuple(tensor.shape) != shape:
            raise ModelError(
                f"the weights in {folder} do not fit its config.json: {name} has the shape "
                f"{None if tensor is None else tuple(tensor.shape)} where {shape} is described. Fetch the model anew, "
                "or choose another."
            )
    activation = names.activation or GATE_ACTIVATIONS[config.get(family.keys.get("hidden_act", "hidden_act"), "gelu")]
    epsilon = names.epsilon if names.epsilon is not None else float(config.get("layer_norm_eps", 1e-12))

    def placed(tensor: Tensor | None) -> Tensor:
        assert tensor is not None
        return tensor.to(device=device, dtype=dtype)

    transform = Transform(
        Linear(placed(dense["weight"]), placed(dense["bias"]), activation),
        Norm(placed(norm["weight"]).float(), placed(norm["bias"]).float(), epsilon),
        dtype,
    )
    return transformer, MaskedLanguageHead(transform, placed(decoder), placed(bias)).eval()


def _modern(name: str) -> str:
    return re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name))


class _States(nn.Module):
    """A masked language model whose projection onto the words was taken off: what would go into it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> SimpleNamespace:
        given = self.model(input_ids=input_ids, attention_mask=attention_mask, return_dict=True)
        return SimpleNamespace(last_hidden_state=given.logits)


def _by_transformers(
    folder: Path, config: Mapping[str, Any], tokenizer: Any, dtype: torch.dtype, device: torch.device
) -> tuple[nn.Module, MaskedLanguageHead]:
    check_sizes(config, folder)
    kind = config.get("model_type")
    from transformers import AutoModelForMaskedLM

    try:
        model, report = open_by_transformers(AutoModelForMaskedLM, folder, dtype)
    except Exception as error:  # transformers raises what its parts raise
        raise ModelError(
            f"the masked language model in {folder} ('{kind}') can't be opened: {first_line(error)}."
        ) from error
    for fault, names in (
        ("missing are", report["missing_keys"]),
        ("nothing uses", report["unexpected_keys"]),
        ("of another shape are", [str(entry[0]) for entry in report.get("mismatched_keys", ())]),
    ):
        some = sorted(name for name in names if not SPARE_TENSORS.fullmatch(name))
        if some:
            raise ModelError(
                f"the weights in {folder} are not those of the masked language model ('{kind}') that its config.json "
                f"describes: {fault} {', '.join(some[:5])}{f' and {len(some) - 5} more' if len(some) > 5 else ''}."
            )
    model = model.eval().requires_grad_(False)
    projection = model.get_output_embeddings()
    if not isinstance(projection, nn.Linear):
        raise ModelError(f"{folder} holds a masked language model ('{kind}') whose words' weights are no projection.")
    probe = {"input_ids": torch.tensor([[1, 2, 3]]), "attention_mask": torch.ones((1, 3), dtype=torch.long)}
    with torch.inference_mode():
        whole = model(**probe).logits
        model.set_output_embeddings(nn.Identity())
        apart = projection(model(**probe).logits)
    if whole.shape != apart.shape or not torch.allclose(whole.float(), apart.float(), atol=1e-2, rtol=1e-2):
        raise ModelError(
            f"{folder} holds a masked language model ('{kind}') that does more than a projection in the end, which is "
            "not computed here. Choose another model."
        )
    padding = config.get("pad_token_id")
    encoder = PaddedEncoder(
        _States(model).to(device), None, padding=padding if isinstance(padding, int) and padding >= 0 else 0
    )
    projection = projection.to(device)
    return encoder, MaskedLanguageHead(nn.Identity(), projection.weight.detach(), projection.bias).eval()
