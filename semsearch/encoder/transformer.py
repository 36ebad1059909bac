"""Opens the transformer of a checkpoint: a lean forward pass where there is one, else transformers' own model.

The latter goes through `AutoModel`, which costs seconds to import and pads its batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from semsearch.encoder.architectures import family_of, named_tensors
from semsearch.encoder.forward import LeanEncoder
from semsearch.encoder.weights import load_weights


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
    found = family_of(folder, config)
    if found is None:
        from semsearch.encoder.padded import load_padded

        return load_padded(folder, config, tokenizer, dtype, device, all_layers=all_layers)
    family, shape = found
    tensors = named_tensors(folder, load_weights(folder), family, shape, config)
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
