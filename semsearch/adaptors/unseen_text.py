"""Texts that say nothing, which frameworks keep (an empty page, a picture without words) and no collection does.

A sign stands in their place, which is no word and so is never found by words.
"""

from __future__ import annotations

from typing import Final

from semsearch.errors import DataError
from semsearch.validation import is_empty

STAND_IN: Final = "∅"


def seen(text: str) -> str:
    """The text as it is stored.

    Raises:
        DataError: It is none.
    """
    if not isinstance(text, str):
        raise DataError(f"a text is wanted, not {text!r:.60}.")
    return STAND_IN if is_empty(text) else text
