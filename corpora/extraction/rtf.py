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
_LETTERED = "gtextUNICODE"  # the property of a shape that is the text of a WordArt
# A field EQ sets its operands over or beside one another: fractions, and the ruby of Japanese. No program stores what
# it looks like, so its operands are the text: what is left without the switches.
_EQUATION = re.compile(r"[\s{]*EQ(?![a-zA-Z])")
_BLANK_RUN = re.compile(" {2,}")
_SWITCH = re.compile(r"(?<![\w\\])EQ(?!\w)|\\\\\*\s*(?:\"[^\"{}]*\"|\w+)|\\\\[a-z]+ *\d*|[(),;]")


def rtf(file: BinaryIO) -> Iterator[FilePart]:
    """All of it; what the library passes over, since it stands beside the text, is made part of it first."""
    from striprtf.striprtf import rtf_to_text

    text = file.read().decode("cp1252", "replace")
    if not text.lstrip().startswith("{\\rtf"):
        raise Unreadable("it is no rich text: it does not begin with {\\rtf.")
    text = _ASIDE_GROUP.sub(r"\\par ", _DELETED_GROUP.sub("", _told(text)))
    yield FilePart("", rtf_to_text(text, errors="replace").strip())  # type: ignore[no-untyped-call]


def _told(text: str) -> str:
    """The document with its equations in their places and the text of its shapes behind the rest.

    The library passes over all that belongs to either.
    """
    boxes: list[str] = []
    doubles: list[str] = []
    equations: list[tuple[int, int, str]] = []  # where each stands, and its text
    named, fields = "", 0  # the property of a shape whose value comes next; how many fields are open
    groups: list[tuple[str, int, int]] = []  # the word, and where it and its content begin, of each that is open
    place, end = 0, len(text)
    while (mark := _CONTROLS.search(text, place)) is not None:
        place = mark.end()
        if mark[0][0] == "{":
            groups.append((mark[2] or "", mark.start(), place))
            fields += mark[2] == "fldinst"
        elif mark[1]:
            place += int(mark[1])  # bytes of a picture
        elif mark[0] == "}" and groups:
            word, start, begin = groups.pop()
            if word == "sn":
                named = text[begin : mark.start()].strip()
            elif word == "fldinst":
                fields -= 1
                if not fields and _EQUATION.match(text, begin):  # of fields in one another the outermost
                    operands = _SWITCH.sub(" ", text[begin : mark.start()])
                    equations.append((start, place, f"{{{_BLANK_RUN.sub(' ', operands)}}}"))
            elif word in _BOXES or (word == "sv" and named == _LETTERED):
                again = any(above == "shprslt" for above, *_ in groups)  # of a shape, for whom does not know shapes
                (doubles if again else boxes).append(text[begin : mark.start()].removeprefix(" "))
            if not groups:  # the document's own end
                end = mark.start()
                break
    parts, place = [], 0
    for start, behind, equation in equations:
        parts += [text[place:start], equation]
        place = behind
    return "".join([*parts, text[place:end], *(f"\\par {{{box}}}" for box in boxes or doubles), text[end:]])
