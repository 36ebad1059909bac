"""What a config.json says of a model's sizes, held against its weights before anything is made of that size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from semsearch.encoder.checkpoint import weight_files
from semsearch.errors import ModelError

WIDEST_LAYER, MOST_LAYERS, MOST_HEADS, MOST_WORDS, MOST_POSITIONS = 1 << 20, 1 << 10, 1 << 12, 1 << 26, 1 << 26
LIMITS: Mapping[str, tuple[int, int]] = {  # of every setting by the names that families have for it
    **dict.fromkeys(("num_hidden_layers", "n_layers", "n_layer", "num_layers"), (1, MOST_LAYERS)),
    **dict.fromkeys(("encoder_layers", "decoder_layers", "num_decoder_layers"), (0, MOST_LAYERS)),
    **dict.fromkeys(("num_hidden_groups", "inner_group_num"), (1, MOST_LAYERS)),
    **dict.fromkeys(("num_attention_heads", "n_heads", "n_head", "num_heads", "num_key_value_heads"), (1, MOST_HEADS)),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), (1, MOST_HEADS)),
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "embedding_size"), (1, WIDEST_LAYER)),
    **dict.fromkeys(("intermediate_size", "hidden_dim", "d_ff", "n_inner", "head_dim", "d_kv"), (1, WIDEST_LAYER)),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), (1, WIDEST_LAYER)),
    "vocab_size": (1, MOST_WORDS),
    "type_vocab_size": (0, WIDEST_LAYER),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), (-1, MOST_POSITIONS)),  # -1: it has none
}
SHARED = {"albert"}  # kinds whose layers are one


def check_sizes(config: Mapping[str, Any], folder: Path) -> None:
    """Raise ModelError unless the sizes can be those of the weights in `folder`.

    A number takes a byte at least, so that what is described can't have more numbers than the weights have bytes.
    """
    check_limits(config, folder)
    stored = sum(path.stat().st_size for path in weight_files(folder))
    hidden = next((config[key] for key in ("hidden_size", "d_model", "dim", "n_embd") if _is_size(config.get(key))), 0)
    wide, layers = config.get("intermediate_size"), config.get("num_hidden_layers")
    embedded = config.get("embedding_size")
    parts: dict[str, tuple[Any, Any]] = {
        "word vectors": (config.get("vocab_size"), embedded if _is_size(embedded) else hidden),
        "layers": (0 if config.get("model_type") in SHARED else layers, hidden),
        "layers inside": (wide, hidden),
    }
    for part, (count, width) in parts.items():
        if stored and _is_size(count) and count * width > stored:
            raise ModelError(
                f"{folder / 'config.json'} describes {part} of {count:,} times {width:,} numbers, more than the "
                f"{stored:,} bytes of its weights can hold. Fetch the model anew, or choose another."
            )


def size_of(
    config: Mapping[str, Any], key: str, folder: Path, default: int | None = None, most: int = WIDEST_LAYER
) -> int:
    """A size that a module's configuration names, between 1 and `most`."""
    said = config.get(key, default)
    if not _is_size(said) or not 1 <= said <= most:
        raise ModelError(
            f"the configuration in {folder} says {key} {said!r:.40}, which must be between 1 and {most:,}."
        )
    return int(said)


def check_limits(config: Mapping[str, Any], folder: Path, depth: int = 0) -> None:
    """Raise ModelError unless every size is a number that a model could have."""
    for key, value in config.items():
        if isinstance(value, Mapping) and key.endswith("_config") and depth < 3:
            check_limits(value, folder, depth + 1)
        if key in LIMITS and value is not None:
            low, high = LIMITS[key]
            if not all(_is_size(one) and low <= one <= high for one in (value if isinstance(value, list) else [value])):
                raise ModelError(
                    f"{folder / 'config.json'} says {key} {value!r:.40}, which must be between {low} and {high:,}: "
                    "fetch the model anew, or choose another."
                )


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
