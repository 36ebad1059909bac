"""What turns a pair's tokens into logits: heads of our own on lean encoders, else transformers' own models, padded.

Whatever the encoder computes in, the head computes in float32: in half precision the logits of the best candidates,
which lie close together, become equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from semsearch.encoder.architectures import ARCHITECTURES
from semsearch.encoder.checkpoint import first_line
from semsearch.encoder.features import Features
from semsearch.encoder.forward import LeanEncoder
from semsearch.encoder.sizes import check_sizes
from semsearch.encoder.transformer import load_transformer
from semsearch.encoder.transformers_model import open_by_transformers
from semsearch.encoder.weights import load_weights
from semsearch.errors import ModelError
from semsearch.reranker.layout import Answers, RerankerLayout


class HeadNames(NamedTuple):
    """Where a family keeps its head: a dense layer on the first token, its activation, and the classifier."""

    dense: str
    activation: str
    out: str


ROBERTA = HeadNames("classifier.dense", "tanh", "classifier.out_proj")
HEADS: Mapping[str, HeadNames] = {
    "bert": HeadNames("bert.pooler.dense", "tanh", "classifier"),
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "camembert": ROBERTA,
    "mpnet": ROBERTA,
    "electra": HeadNames("classifier.dense", "gelu", "classifier.out_proj"),
    "distilbert": HeadNames("pre_classifier", "relu", "classifier"),
    "albert": HeadNames("albert.pooler", "tanh", "classifier"),
}
HEAD_ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "gelu": functional.gelu,
    "relu": functional.relu,
}
# What checkpoints carry along and no logit depends on: buffers, and heads of other tasks.
IGNORED_HEAD_TENSORS = re.compile(
    r"(.*\.)?(position_ids|token_type_ids|rotary_emb\..*|masked_spec_embed)|(lm_head|cls)\..*"
)


class Head(nn.Module):
    """`out(activation(dense(first token)))`, in float32: the classification head of BERT and its kin.

    The encoder gives the first tokens alone (`LeanEncoder.first_only`).
    """

    def __init__(self, tensors: Mapping[str, Tensor], names: HeadNames) -> None:
        super().__init__()
        self.activation = HEAD_ACTIVATIONS[names.activation]
        self.dense, self.out = (_linear(tensors, name) for name in (names.dense, names.out))

    def forward(self, features: Features) -> Features:
        """Sets `sentence` (n, labels): the logits."""
        assert features.tokens is not None
        features.sentence = self.out(self.activation(self.dense(features.tokens.float())))
        return features


class ScoringHead(nn.Module):
    """The scores of a chain as its logits."""

    def forward(self, features: Features) -> Features:
        """Sets `sentence` (n, labels) from `scores`."""
        assert features.scores is not None
        features.sentence = features.scores.float()
        return features


class PaddedScorer(nn.Module):
    """A transformers model with its head; texts are padded to the longest of the batch, at the model's side.

    Args:
        model: Gives `logits`.
        padding: The id that fills up.
        left: Whether texts are filled up in front.
        causal: Whether the logits wanted are those of the last token, and the score is the first less the second.
    """

    shares_rows = False

    def __init__(self, model: nn.Module, padding: int, *, left: bool, causal: bool) -> None:
        super().__init__()
        self.model, self.padding, self.left, self.causal = model, padding, left, causal
        self.kinds = "token_type_ids" in signature(model.forward).parameters

    def forward(self, features: Features) -> Features:
        """Sets `sentence` (n, labels): the logits."""
        lengths = features.lengths
        length = int(lengths.max())
        place = torch.arange(length, device=lengths.device)
        mask = place >= length - lengths[:, None] if self.left else place < lengths[:, None]  # (n, length)

        def padded(values: Tensor, fill: int) -> Tensor:
            return values.new_full(mask.shape, fill).masked_scatter_(mask, values)

        given: dict[str, Any] = {"input_ids": padded(features.ids, self.padding), "attention_mask": mask.long()}
        if self.kinds and features.kinds is not None:
            given["token_type_ids"] = padded(features.kinds, 0)
        if self.causal:
            given |= {"logits_to_keep": 1, "use_cache": False}
            given["position_ids"] = (mask.long().cumsum(1) - 1).clamp(min=0)
        logits = self.model(**given).logits.float()
        if self.causal:
            logits = logits[:, -1]  # (n, 1 or 2)
            logits = logits[:, :1] - logits[:, 1:] if logits.shape[1] == 2 else logits
        features.sentence = logits
        return features


def load_classifier(
    layout: RerankerLayout, tokenizer: Tokenizer, dtype: torch.dtype, device: torch.device, *, left: bool, padding: int
) -> list[nn.Module]:
    """The modules of a sequence-classification folder, from `Features` to logits in `sentence`.

    Raises:
        ModelError: Weights are missing, left over, or of other shapes than declared.
    """
    kind = str(layout.config.get("model_type"))
    names = HEADS.get(kind)
    if names is not None and kind in ARCHITECTURES:
        encoder = load_transformer(layout.folder, layout.config, tokenizer, dtype, device)
        if isinstance(encoder, LeanEncoder):
            encoder.first_only = True
            return [encoder, _head(layout, names, encoder.shape.hidden).to(device).eval()]
    from transformers import AutoModelForSequenceClassification

    model = _opened(AutoModelForSequenceClassification, layout, dtype)
    for name, part in model.named_children():
        if name != model.base_model_prefix:
            in_float32(part)
    if padding >= 0 and model.config.pad_token_id is None:
        model.config.pad_token_id = padding  # decoders look for the last token by it
    return [PaddedScorer(model.to(device).eval(), max(padding, 0), left=left, causal=False)]


def load_causal(
    layout: RerankerLayout, answers: tuple[int, int | None], dtype: torch.dtype, device: torch.device, padding: int
) -> list[nn.Module]:
    """A causal language model of whose vocabulary only the answers are left, their logits in float32."""
    from transformers import AutoModelForCausalLM

    model = _opened(AutoModelForCausalLM, layout, dtype)
    head = model.get_output_embeddings()
    chosen = [answer for answer in answers if answer is not None]
    if not isinstance(head, nn.Linear) or max(chosen) >= head.out_features:
        raise ModelError(f"{layout.folder} has no output for the tokens {chosen}, which a reranker answers with.")
    small = nn.Linear(head.in_features, len(chosen), bias=head.bias is not None, dtype=torch.float32)
    with torch.no_grad():
        small.weight.copy_(head.weight[chosen])
        if head.bias is not None:
            small.bias.copy_(head.bias[chosen])
    in_float32(small)
    model.config.tie_word_embeddings = False
    model.set_output_embeddings(small)
    return [PaddedScorer(model.to(device).eval().requires_grad_(False), padding, left=True, causal=True)]


def answers_of(answers: Answers, tokenizer: Tokenizer, folder: Path) -> tuple[int, int | None]:
    """The ids of the answers."""

    def found(answer: int | str | None) -> int | None:
        return tokenizer.token_to_id(answer) if isinstance(answer, str) else answer

    yes, no = found(answers.yes), found(answers.no)
    if yes is None or (no is None and answers.no is not None):
        raise ModelError(
            f"{folder} holds a causal language model whose tokenizer has no tokens 'yes' and 'no': it is no reranker "
            "of the kind that answers so. Choose another model."
        )
    return yes, no


def _head(layout: RerankerLayout, names: HeadNames, hidden: int) -> Head:
    tensors = load_weights(layout.folder)
    wanted = [f"{part}.{kind}" for part in (names.dense, names.out) for kind in ("weight", "bias")]
    missing = [name for name in wanted if name not in tensors]
    if missing:
        raise ModelError(
            f"the weights in {layout.folder} are no reranker's: missing is its head, {', '.join(missing)}. Give a "
            "cross-encoder, or train one from this model: semsearch train-reranker."
        )
    prefixes = {name.partition(".")[0] for name in names if "." not in name or name.startswith("classifier")}
    unexpected = sorted(
        name for name in tensors if name.partition(".")[0] in prefixes | {"score"} and name not in wanted
    )
    kind = layout.config["model_type"]
    shapes = [(hidden, hidden), (hidden,), (layout.labels, hidden), (layout.labels,)]
    wrong = [
        f"{name} has the shape {tuple(tensors[name].shape)} where {shape} is declared"
        for name, shape in zip(wanted, shapes, strict=True)
        if tuple(tensors[name].shape) != shape
    ]
    faults = [*([f"nothing uses {', '.join(unexpected)}"] if unexpected else []), *wrong]
    if faults:
        raise ModelError(
            f"the weights in {layout.folder} are not those of the {kind} that its config.json describes: "
            f"{'; '.join(faults)}. Fetch the model anew, or choose another."
        )
    return Head(tensors, names)


def _linear(tensors: Mapping[str, Tensor], name: str) -> nn.Linear:
    weight = tensors[f"{name}.weight"]
    made = nn.Linear(weight.shape[1], weight.shape[0])
    made.load_state_dict({kind: tensors[f"{name}.{kind}"].float() for kind in ("weight", "bias")})
    return made.requires_grad_(False)


def _opened(opener: Any, layout: RerankerLayout, dtype: torch.dtype) -> Any:
    kind = layout.config.get("model_type")
    check_sizes(layout.config, layout.folder)
    try:
        sizes = {"num_labels": layout.labels} if "ForSequence" in opener.__name__ else {}
        model, report = open_by_transformers(opener, layout.folder, dtype, **sizes)
    except Exception as error:  # transformers raises what its parts raise
        raise ModelError(f"the reranker in {layout.folder} ('{kind}') can't be opened: {first_line(error)}.") from error
    keys = {key: sorted(str(k) for k in report[f"{key}_keys"]) for key in ("missing", "unexpected")}
    wrong = sorted(str(entry[0]) for entry in report.get("mismatched_keys", ()))
    for fault, names in (
        ("missing are", keys["missing"]),
        ("nothing uses", keys["unexpected"]),
        ("of another shape are", wrong),
    ):
        found = [name for name in names if not IGNORED_HEAD_TENSORS.fullmatch(name)]
        if found:
            raise ModelError(
                f"the weights in {layout.folder} are not those of the {kind} with a head that its config.json says: "
                f"{fault} {', '.join(found[:5])}{f' and {len(found) - 5} more' if len(found) > 5 else ''}."
            )
    return model


def in_float32(part: nn.Module) -> None:
    """Let a part compute in float32 whatever it is given, and whatever is cast around it."""
    compute = part.float().forward

    def exact(*given: Any, **named: Any) -> Any:
        wide = [value.float() if isinstance(value, Tensor) and value.is_floating_point() else value for value in given]
        with torch.autocast(next((v.device.type for v in wide if isinstance(v, Tensor)), "cpu"), enabled=False):
            return compute(*wide, **named)

    part.forward = exact
