"""PowerPoint's PPTX: a part for each slide, with its notes and comments, its number kept.

python-docx opens the package, whose form all of Office's files share; a slide is then little more than its paragraphs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from corpora.extraction.office_xml import (
    alternative,
    attribute,
    charts,
    child,
    local,
    main_part,
    package,
    related,
    relation,
    root,
    title,
)
from corpora.extraction.parts import FilePart, Lost, ReadPart
from semsearch.places import Position

_OF_THE_LAYOUT = frozenset({"dt", "ftr", "hdr", "sldNum", "sldImg"})  # the same on every slide
_BESIDE = ("diagramData", "comments", "notesSlide")


def pptx(file: BinaryIO) -> Iterator[ReadPart]:
    """The slides in their order, hidden ones too."""
    shown = package(file)
    main, name = main_part(shown), title(shown)
    slides = child(root(main), "sldIdLst")
    for number, listed in enumerate(() if slides is None else slides, 1):
        place = f"slide={number}"
        try:
            slide = relation(main, _relation_id(listed))
            if slide is None:
                yield Lost(place, "the file has no such slide.")
                continue
            heading, lines = _slide(slide)
        except (MemoryError, RecursionError):
            raise
        except Exception as error:  # a broken slide costs itself
            yield Lost.of(place, error)
            continue
        text = "\n".join(lines) or heading
        if text:
            called = " › ".join(filter(None, [name, heading]))
            yield FilePart(place, text, called, {"slide": number}, Position(slide=number))
        elif any(local(element) == "pic" for element in root(slide).iter()):
            yield Lost(place, "it holds no text: pictures must go through text recognition first.")


def _relation_id(listed: Any) -> str:
    return next((str(value) for key, value in listed.attrib.items() if key.endswith("}id")), "")


def _slide(slide: Any) -> tuple[str, list[str]]:
    """The title of a slide, and its paragraphs; a table's row is a line."""
    heading: list[str] = []
    lines: list[str] = []
    _gather(root(slide), heading, lines)
    for kind in _BESIDE:
        for part in related(slide, kind):
            _gather(root(part), lines, lines)
    lines += charts(slide)
    return " ".join(heading), lines


def _gather(element: Any, heading: list[str], lines: list[str]) -> None:
    """Add the paragraphs of an element to `lines`, or to `heading` where it is the slide's title."""
    for inner in alternative(element) if local(element) == "AlternateContent" else element:
        name = local(inner)
        if name == "sp" and (kind := _placeholder(inner)) is not None:
            if kind not in _OF_THE_LAYOUT:
                _gather(inner, heading, heading if kind in ("title", "ctrTitle") else lines)
        elif name == "tr":
            cells = []
            for cell in inner:
                held: list[str] = []
                _gather(cell, held, held)
                cells.append(" ".join(held))
            if any(cells):
                lines.append(" | ".join(cells))
        elif name == "p" or (name == "text" and inner.text):  # a comment's text is an element of its own
            if text := _line(inner):
                lines.append(text)
        else:
            _gather(inner, heading, lines)


def _placeholder(shape: Any) -> str | None:
    """What a shape stands for in the layout; None if it is a shape of its own."""
    inside = next((inner for inner in shape.iter() if local(inner) == "ph"), None)
    return None if inside is None else attribute(inside, "type") or "obj"


def _line(paragraph: Any) -> str:
    if local(paragraph) == "text":
        return " ".join(str(paragraph.text).split())
    pieces = []
    for inner in paragraph.iter():
        if local(inner) == "t":
            pieces.append(inner.text or "")
        elif local(inner) in ("br", "tab"):
            pieces.append(" ")
    return " ".join("".join(pieces).split())
