"""A model as transformers itself opens it, for the families without a forward pass here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def open_by_transformers(opener: Any, folder: Path, dtype: torch.dtype, **settings: Any) -> tuple[Any, dict[str, Any]]:
    """The model in a folder, by one of transformers' classes for it, and what that says of its weights.

    No code of the checkpoint's runs, nothing is fetched, and no bar is drawn: who loads a model to answer a question
    would find it in the midst of the answer. Raises what its parts raise.
    """
    from transformers.utils import logging

    drawn = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model, report = opener.from_pretrained(
            str(folder),
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            **settings,
        )
    finally:
        if drawn:
            logging.enable_progress_bar()
    return model, report
