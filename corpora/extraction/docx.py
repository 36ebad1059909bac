"""Word's DOCX: a part for each heading, for the heads and feet of its pages, for charts and for what it includes.

A table's row is a line. What Word shows is read, with what was inserted and without what was deleted under its eyes.
python-docx opens the package; its paragraphs and cells pass over whatever is wrapped in another element, so that the
walk is ours.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from corpora.extraction import KINDS, extractor
from corpora.extraction.office_xml import (
    alternative,
    attribute,
    charts,
    child,
    local,
    main_part,
    package,
    related,
    root,
    title,
)
from corpora.extraction.parts import Block, FilePart, Lost, ReadPart, sections

_DELETED = frozenset({"del", "moveFrom", "delText", "delInstrText"})
_NO_TEXT = _DELETED | {"instrText", "fldData", "pPr", "rPr", "sdtPr", "sectPr", "tblPr", "tblGrid", "trPr", "tcPr"}
_BREAKS = {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_NOTES = {"footnoteReference": "footnotes", "endnoteReference": "endnotes", "commentReference": "comments"}
_SYMBOLS = dict(  # Adobe's encoding of the font, as far as it is letters and signs of reckoning
    zip(
        (
            *range(0x41, 0x5B),
            *range(0x61, 0x7B),
            0xA3,
            0xA5,
            0xAE,
            0xB0,
            0xB1,
            0xB3,
            0xB4,
            0xB8,
            0xB9,
            0xBB,
            0xD6,
            0xE5,
        ),
        "ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖαβχδεφγηιϕκλμνοπθρστυϖωξψζ≤∞→°±≥×÷≠≈√∑",
        strict=True,
    )
)
_HEADING_STYLE = re.compile(r"heading ([1-9])", re.IGNORECASE)


def docx(file: BinaryIO) -> Iterator[ReadPart]:
    """The sections, then all headers and all footers, each text once."""
    book = package(file)
    main, name = main_part(book), title(book)
    document = _Document(main)
    yield from sections(document.blocks(child(root(main), "body")), name)
    for kind in ("header", "footer"):
        found = [text for part in related(main, kind) for _, text in document.blocks(root(part))]
        if text := "\n\n".join(dict.fromkeys(filter(None, found))):
            yield FilePart(kind, text, name)
    for number, part in enumerate(related(main, "diagramData"), 1):
        lines = ("".join(document.line(element)) for element in root(part).iter() if local(element) == "p")
        if text := "\n".join(line for line in lines if line.strip()):
            yield FilePart(f"diagram={number}", text, name)
    for number, text in enumerate(charts(main), 1):
        yield FilePart(f"chart={number}", text, name)
    for number, part in enumerate(related(main, "aFChunk"), 1):
        yield from _included(part, f"included={number}", name)


def _included(part: Any, place: str, name: str) -> Iterator[ReadPart]:
    """What a file includes whole (`altChunk`): a page, rich text, another file of Word's, plain text."""
    suffix = Path(str(part.partname)).suffix.lower()
    kind = suffix if suffix in KINDS else mimetypes.guess_extension(part.content_type.partition(";")[0])
    if kind not in KINDS:
        yield Lost(place, f"it is of the kind {part.content_type}, which no reader here knows.")
        return
    try:
        for inner in extractor(Path(f"x{kind}"))(BytesIO(part.blob)):
            inside = f"{place}/{inner.name}".rstrip("/")
            if isinstance(inner, Lost):
                yield replace(inner, name=inside)
            else:
                yield replace(inner, name=inside, title=" › ".join(filter(None, [name, inner.title])))
    except (MemoryError, RecursionError):
        raise
    except Exception as error:  # whatever is broken in it costs itself
        yield Lost.of(place, error)


def _symbol(element: Any) -> str:
    """A sign that is named by its number in a font: Symbol's are Greek, the pictures of others their own number."""
    try:
        number = int(attribute(element, "char") or "", 16)
        sign = chr(number)
    except (ValueError, OverflowError):
        return ""
    if (attribute(element, "font") or "").lower() == "symbol":
        return _SYMBOLS.get(number & 0xFF, sign)
    return sign


class _Document:
    """The walk through a document, which knows its styles and notes."""

    def __init__(self, main: Any) -> None:
        self._styles = {attribute(style, "styleId"): style for part in related(main, "styles") for style in root(part)}
        self._notes = {
            (kind, attribute(note, "id")): note
            for kind in _NOTES.values()
            for part in related(main, kind)
            for note in root(part)
        }

    def blocks(self, container: Any) -> Iterator[Block]:
        """The headings, paragraphs and tables in an element; notes, comments and text boxes below their paragraph."""
        for element in _inner(container):
            match local(element):
                case "p":
                    asides: list[Any] = []
                    text = "".join(self._line(element, asides)).strip()
                    yield self._level(element) if text else 0, text
                    for aside in asides:
                        yield from ((0, text) for _, text in self.blocks(aside))
                case "tbl":
                    yield from self._table(element)
                case _:
                    yield from self.blocks(element)

    def line(self, paragraph: Any) -> Iterator[str]:
        """The text of a paragraph alone."""
        return self._line(paragraph, [])

    def _line(self, element: Any, asides: list[Any]) -> Iterator[str]:
        """The text of a paragraph; what it has beside it goes to `asides`."""
        for inner in _inner(element):
            name = local(inner)
            if name == "t":
                yield "".join(inner.itertext())
            elif name == "sym":
                yield _symbol(inner)
            elif name in _BREAKS:
                yield _BREAKS[name]
            elif name == "txbxContent":
                asides.append(inner)
            elif name in _NOTES:
                note = self._notes.pop((_NOTES[name], attribute(inner, "id")), None)  # once, and never in itself
                if note is not None:
                    asides.append(note)
            else:
                yield from self._line(inner, asides)

    def _table(self, table: Any) -> Iterator[Block]:
        rows = [[*_found(row, "tc")] for row in _found(table, "tr") if child(row, "trPr", "del") is None]
        if all(len(row) == 1 for row in rows):  # a frame around text
            for [cell] in rows:
                yield from ((0, text) for _, text in self.blocks(cell))
            return
        lines = (" | ".join(self._cell(cell) for cell in row) for row in rows)
        yield 0, "\n".join(line for line in lines if line.strip(" |"))

    def _cell(self, cell: Any) -> str:
        """A cell's text; none where it goes on with the one above or beside it."""
        for name in ("vMerge", "hMerge"):
            merged = child(cell, "tcPr", name)
            if merged is not None and attribute(merged, "val") != "restart":
                return ""
        return " ".join(" ".join(text.split()) for _, text in self.blocks(cell) if text)

    def _level(self, paragraph: Any) -> int:
        """Of a heading, by the paragraph's own outline, its style or what that is based on; 0 for all else."""
        outline, named = child(paragraph, "pPr", "outlineLvl"), child(paragraph, "pPr", "pStyle")
        for _ in range(len(self._styles) + 1):  # styles that are based on each other have no end
            if outline is not None:
                level = attribute(outline, "val") or ""
                return int(level) + 1 if level in tuple("012345") else 0
            style = None if named is None else self._styles.get(attribute(named, "val"))
            if style is None:
                return 0
            called = child(style, "name")
            name = (attribute(called, "val") or "") if called is not None else ""
            if heading := _HEADING_STYLE.fullmatch(name):
                return min(int(heading[1]), 6)
            if name.lower() == "title":
                return 1
            outline, named = child(style, "pPr", "outlineLvl"), child(style, "basedOn")
        return 0


def _inner(element: Any) -> Iterator[Any]:
    """What is in an element and is text or holds some; of alternatives for several Words one."""
    for inner in alternative(element) if local(element) == "AlternateContent" else element:
        if local(inner) and local(inner) not in _NO_TEXT:
            yield inner


def _found(element: Any, name: str) -> Iterator[Any]:
    """The rows of a table or cells of a row, also within content controls and the like."""
    for inner in _inner(element):
        if local(inner) == name:
            yield inner
        elif local(inner) not in ("tbl", "p"):
            yield from _found(inner, name)
