"""The ways from token embeddings to one vector, under the names that configurations have had for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from semsearch.errors import ModelError

# In the order in which several are joined, under the names of the configuration before version 5.4.
POOLING_MODES = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}


def modes_of(folder: Path, config: Mapping[str, Any]) -> tuple[str, ...]:
    """The ways that a configuration of any generation asks for.

    Raises:
        ModelError: One of them is not known.
    """
    said = config.get("pooling_mode")
    if said is None:
        said = [mode for mode, key in POOLING_MODES.items() if config.get(key)] or ["mean"]
    modes = (said,) if isinstance(said, str) else tuple(said)
    unknown = [mode for mode in modes if mode not in POOLING_MODES]
    if unknown or not modes:
        raise ModelError(f"{folder} asks for the pooling {unknown}; known are {', '.join(POOLING_MODES)}.")
    return modes
