"""Any other architecture: transformers' own model behind `Features`, padded inside and ragged outside.

Of a model with an encoder and a decoder, a text's vectors are those that sentence-transformers makes of it: where it
opens the encoder by itself, the encoder's last state; where it opens the whole model, the decoder's, which reads the
text shifted by one token. Other such families are refused: nobody has said which of the two is meant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from semsearch.encoder.assemble import DECODER_STATE
from semsearch.encoder.checkpoint import first_line
from semsearch.encoder.features import Features
from semsearch.encoder.sizes import check_sizes
from semsearch.encoder.transformers_model import open_by_transformers
from semsearch.errors import ModelError

ENCODER_STATE = {
    *("t5", "mt5", "umt5", "longt5", "switch_transformers", "pegasus", "pegasus_x", "marian", "m2m_100"),
    *("blenderbot", "blenderbot-small", "prophetnet"),
}
# Parts that transformers makes at random when a checkpoint has none, and that no token embedding depends on.
RANDOM_TENSORS = re.compile(
    r"(.*\.)?(pooler|position_ids|lm_head|classifier|cls|score|rotary_emb|final_logits_bias)(\..*|$)"
    r"|(.*\.)?masked_spec_embed"
)


class PaddedEncoder(nn.Module):
    """A transformers model; texts are padded at the end to the longest of the batch.

    `types` are the token type ids that the tokenizer gives the body of a text and the special tokens after it;
    `padding` is the id that fills up: some decoders look for the last token before it.
    """

    shares_rows = False

    def __init__(
        self, model: nn.Module, types: tuple[int, list[int]] | None, *, padding: int = 0, all_layers: bool = False
    ) -> None:
        super().__init__()
        self.padding = padding
        self.model, self.types, self.all_layers = model, types, all_layers
        self.kinds = "token_type_ids" in signature(model.forward).parameters

    def forward(self, features: Features) -> Features:
        """Sets `tokens` (T, h), and `layers` where they are wanted."""
        rows = features.rows
        lengths = features.lengths
        if rows is None:
            count, length = len(lengths), int(lengths.max())
            place = torch.arange(length, device=lengths.device)
            mask = place[None, :] < lengths[:, None]  # (n, length)
        else:
            count, length = rows.count, rows.length
            mask = torch.ones((count, length), dtype=torch.bool, device=lengths.device)
            if rows.owners is not None:
                mask = rows.owners >= 0
        slots = mask.flatten().nonzero().flatten() if rows is None else rows.slots
        ids = (
            features.ids
            if slots is None
            else features.ids.new_full((count * length,), self.padding).index_copy_(0, slots, features.ids)
        )
        arguments: dict[str, Tensor] = {"input_ids": ids.view(count, length), "attention_mask": mask.long()}
        if features.kinds is not None and self.kinds:
            kinds = features.kinds
            kinds = kinds if slots is None else kinds.new_zeros(count * length).index_copy_(0, slots, kinds)
            arguments["token_type_ids"] = kinds.view(count, length)
        elif self.types is not None:
            arguments["token_type_ids"] = self._types(lengths, count, length)
        given = self.model(**arguments, output_hidden_states=self.all_layers, return_dict=True)

        def ragged(states: Tensor) -> Tensor:
            flat = states.reshape(count * length, -1)
            return flat if slots is None else flat.index_select(0, slots)

        features.tokens = ragged(given.last_hidden_state)
        if self.all_layers:
            features.layers = [ragged(states) for states in given.hidden_states]
        return features

    def _types(self, lengths: Tensor, count: int, length: int) -> Tensor:
        assert self.types is not None
        body, tail = self.types
        kinds = torch.full((count, length), body, dtype=torch.long, device=lengths.device)
        for i, kind in enumerate(reversed(tail), start=1):
            kinds.scatter_(1, (lengths - i).clamp(min=0)[:, None], kind)
        return kinds


def load_padded(
    folder: Path,
    config: Mapping[str, Any],
    tokenizer: Any,
    dtype: torch.dtype,
    device: torch.device,
    *,
    all_layers: bool = False,
) -> nn.Module:
    """The model in a folder through `AutoModel`.

    Raises:
        ModelError: The architecture needs code from the checkpoint, is unknown, or its weights do not fit it; or it
            has a decoder, and nobody knows whether the decoder's state is meant.
    """
    check_sizes(config, folder)
    kind = config.get("model_type")
    if "AutoModel" in (config.get("auto_map") or {}):
        known = _known(str(kind))
        if not known:
            raise ModelError(
                f"{folder} needs code of its own for its model ('{kind}'), and semsearch runs no code from "
                "checkpoints. Look for a version of it that needs none (often named '-hf'), or choose another model."
            )
    both = bool(config.get("is_encoder_decoder"))
    if both and kind not in ENCODER_STATE | DECODER_STATE:
        raise ModelError(
            f"{folder} holds a model with an encoder and a decoder, of a family ('{kind}') of which nobody has said "
            "whose last state its vectors are. Choose another model."
        )
    if kind in DECODER_STATE and all_layers:
        raise ModelError(
            f"{folder} weighs the layers of a model with an encoder and a decoder ('{kind}'), which "
            "sentence-transformers does not do either. Choose another model."
        )
    from transformers import AutoModel, AutoModelForTextEncoding

    text_only = kind in ("t5", "mt5", "umt5")
    opener = AutoModelForTextEncoding if text_only else AutoModel
    try:
        model, report = open_by_transformers(opener, folder, dtype)
    except Exception as error:  # transformers raises what its parts raise
        raise ModelError(f"the model in {folder} ('{kind}') can't be opened: {first_line(error)}.") from error
    encoder_alone = both and kind in ENCODER_STATE
    decoder = re.compile(r"(.*\.)?decoder\..*") if encoder_alone else re.compile(r"(?!)")
    skip = (RANDOM_TENSORS, decoder)
    missing = sorted(name for name in report["missing_keys"] if not any(p.fullmatch(name) for p in skip))
    unexpected = sorted(name for name in report["unexpected_keys"] if not any(p.fullmatch(name) for p in skip))
    wrong = sorted(str(entry[0]) for entry in report.get("mismatched_keys", ()))
    for fault, names in (("missing are", missing), ("nothing uses", unexpected), ("of another shape are", wrong)):
        if names:
            raise ModelError(
                f"the weights in {folder} are not those of the {kind} that its config.json describes: "
                f"{fault} {', '.join(names[:5])}{f' and {len(names) - 5} more' if len(names) > 5 else ''}."
            )
    if encoder_alone and not text_only:
        model = model.get_encoder()
    elif both:
        model.config.use_cache = False
    padding = config.get("pad_token_id")
    return PaddedEncoder(
        model.to(device).eval(),
        _types_of(tokenizer, config),
        padding=padding if isinstance(padding, int) and padding >= 0 else 0,
        all_layers=all_layers,
    )


def _known(kind: str) -> bool:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return kind in CONFIG_MAPPING_NAMES


def _types_of(tokenizer: Any, config: Mapping[str, Any]) -> tuple[int, list[int]] | None:
    """Token type ids of a text and of the special tokens behind it; None where all are 0, the default."""
    if tokenizer is None or config.get("model_type") != "xlnet":
        return None
    probe = tokenizer.encode("a")
    body = [i for i, special in enumerate(probe.special_tokens_mask) if not special]
    if not body or not any(probe.type_ids):
        return None
    return probe.type_ids[body[0]], probe.type_ids[body[-1] + 1 :]
