"""Rich text: one part, with its footnotes, comments, headers, footers and text boxes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from corpora.extraction.parts import FilePart, Unreadable

_ASIDE_GROUP = re.compile(r"(?:\\\*)?\\(?:footnote|annotation|header[flr]?|footer[flr]?)(?![a-z])\d* ?")
_DELETED_GROUP = re.compile(  # a group without groups in it; atomic, so that its time grows with the text
    r"\{(?>(?:[^{}\\]|\\(?!deleted(?![a-z0-9])).)*)\\deleted(?![a-z0-9])(?:[^{}\\]|\\.)*+\}", re.DOTALL
)
_CONTROLS = re.compile(r"\\bin(\d{1,9}) ?|\\[^a-zA-Z]|\{\s*(?:\\\*)?(?:\s*\\([a-z]+))?|\}", re.DOTALL)
_BOXES = ("shptxt", "dptxbxtext")  # the text of a shape, as Word writes it since 1997, and as it did before


def rtf(file: BinaryIO) -> Iterator[FilePart]:
    """All of it; what the library passes over, since it stands beside the text, is made part of it first."""
    from striprtf.striprtf import rtf_to_text

    text = file.read().decode("cp1252", "replace")
    if not text.lstrip().startswith("{\\rtf"):
        raise Unreadable("it is no rich text: it does not begin with {\\rtf.")
    text = _ASIDE_GROUP.sub(r"\\par ", _DELETED_GROUP.sub("", _boxes_last(text)))
    yield FilePart("", rtf_to_text(text, errors="replace").strip())  # type: ignore[no-untyped-call]


def _boxes_last(text: str) -> str:
    """The document with the text of its shapes behind the rest; the library passes over all that belongs to them."""
    boxes: list[str] = []
    doubles: list[str] = []
    groups: list[tuple[str, int]] = []  # the word and the beginning of the content of each that is open
    place = 0
    while (mark := _CONTROLS.search(text, place)) is not None:
        place = mark.end()
        if mark[0][0] == "{":
            groups.append((mark[2] or "", place))
        elif mark[1]:
            place += int(mark[1])  # bytes of a picture
        elif mark[0] == "}" and groups:
            word, begin = groups.pop()
            if word in _BOXES:
                again = any(above == "shprslt" for above, _ in groups)  # of a shape, for whom does not know shapes
                (doubles if again else boxes).append(text[begin : mark.start()])
            if not groups:  # the document's own end
                boxes = boxes or doubles
                return text[: mark.start()] + "".join(f"\\par {{{box}}}" for box in boxes) + text[mark.start() :]
    return text
