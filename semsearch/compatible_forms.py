"""Characters in their compatible forms: other widths and drawings of the same letter."""

from __future__ import annotations

import re
import unicodedata


def compatible(text: str) -> str:
    """NFKC, but for raised and lowered characters, which say something else: 10² is not 102, and 1½ not 11⁄2."""
    if text.isascii():
        return text
    raised = {one for one in set(text) if unicodedata.decomposition(one).startswith(("<super>", "<sub>", "<fraction>"))}
    parts = re.split(f"([{''.join(raised)}]+)", text) if raised else [text]
    return "".join(part if part[:1] in raised else unicodedata.normalize("NFKC", part) for part in parts)
