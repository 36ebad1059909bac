"""Arrays with a mask, which numpy uncovers without a word: what they hide would be searched as if it were there."""

from __future__ import annotations

from typing import Any

import numpy as np

from semsearch.errors import DataError


def unmasked(given: Any, what: str, row: int = 0) -> Any:
    """An array, or one `row` of it, without gradients.

    Raises:
        DataError: A value is masked.
    """
    if getattr(given, "requires_grad", False):
        return given.detach()
    if isinstance(given, np.ma.MaskedArray) and (mask := np.ma.getmaskarray(given)).any():
        row += int(np.argwhere(mask)[0][0]) if mask.ndim > 1 else 0
        raise DataError(f"row {row} of {what} holds masked values: fill them, or leave the row out.")
    return given
