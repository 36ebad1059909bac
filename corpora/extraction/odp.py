"""OpenDocument's ODP: a part for each slide, with its notes and comments, its number kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from corpora.extraction.odt import OpenDocument, blocks
from corpora.extraction.office_xml import attribute, local
from corpora.extraction.parts import FilePart, Lost, ReadPart
from semsearch.places import Position

_LAYOUT_CLASSES = frozenset({"header", "footer", "date-time", "page-number"})  # the same on every slide


def odp(file: BinaryIO) -> Iterator[ReadPart]:
    """The slides in their order, hidden ones too, then the objects within them."""
    document = OpenDocument.of(file)
    pages = (element for element in document.body.iter() if local(element) == "page")
    for number, page in enumerate(pages, 1):
        heading: list[str] = []
        lines: list[str] = []
        for shape in page:
            kind = attribute(shape, "class")
            if kind not in _LAYOUT_CLASSES:
                held = heading if kind == "title" else lines
                held += [text for _, text in blocks([shape]) if text]
        place, called = f"slide={number}", " ".join(heading)
        if text := "\n".join(lines) or called:
            title = " › ".join(filter(None, [document.title, called]))
            yield FilePart(place, text, title, {"slide": number}, Position(slide=number))
        elif any(local(element) == "image" for element in page.iter()):
            yield Lost(place, "it holds no text: pictures must go through text recognition first.")
    yield from document.objects()
