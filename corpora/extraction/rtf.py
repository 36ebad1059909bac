"""Rich text: one part, with its footnotes, comments, headers and footers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from corpora.extraction.parts import FilePart, Unreadable

_ASIDE_GROUP = re.compile(r"(?:\\\*)?\\(?:footnote|annotation|header[flr]?|footer[flr]?)(?![a-z])\d* ?")
_DELETED_GROUP = re.compile(  # a group without groups in it; atomic, so that its time grows with the text
    r"\{(?>(?:[^{}\\]|\\(?!deleted(?![a-z0-9])).)*)\\deleted(?![a-z0-9])(?:[^{}\\]|\\.)*+\}", re.DOTALL
)


def rtf(file: BinaryIO) -> Iterator[FilePart]:
    """All of it; what the library passes over, since it stands beside the text, is made part of it first."""
    from striprtf.striprtf import rtf_to_text

    text = file.read().decode("cp1252", "replace")
    if not text.lstrip().startswith("{\\rtf"):
        raise Unreadable("it is no rich text: it does not begin with {\\rtf.")
    text = _ASIDE_GROUP.sub(r"\\par ", _DELETED_GROUP.sub("", text))
    yield FilePart("", rtf_to_text(text, errors="replace").strip())  # type: ignore[no-untyped-call]
