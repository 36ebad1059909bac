"""OpenDocument's ODT: a part for each heading, for the heads and feet of its pages, and for each object within it.

A table's row is a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Self

from corpora.extraction.archive import opened
from corpora.extraction.office_xml import attribute, child, local
from corpora.extraction.parts import Block, FilePart, sections

_UNREAD = frozenset({"tracked-changes", "forms", "sequence-decls", "note-citation", "covered-table-cell"})
_SHAPES = "caption circle connector custom-shape ellipse line measure path polygon polyline rect regular-polygon"
_ASIDE = frozenset({"note-body", "annotation", "text-box"}) | frozenset(_SHAPES.split())
_DESCRIBED = frozenset({"title", "desc"})  # what is said of a picture
_OBJECT = re.compile(r"[^/]+/content\.xml")  # charts, formulas and documents within the document
_HEADS = {f"{kind}{where}": kind for kind in ("header", "footer") for where in ("", "-first", "-left")}


def odt(file: BinaryIO) -> Iterator[FilePart]:
    """The sections, then all headers and all footers, each text once."""
    document = OpenDocument.of(file)
    yield from sections(blocks(document.body), document.title)
    found: dict[str, list[str]] = {"header": [], "footer": []}
    for element in () if document.styles is None else document.styles.iter():
        if kind := _HEADS.get(local(element)):
            found[kind] += [text for _, text in blocks(element) if text]
    for kind, texts in found.items():
        if texts:
            yield FilePart(kind, "\n\n".join(dict.fromkeys(texts)), document.title)
    yield from document.objects()


@dataclass(frozen=True, slots=True)
class OpenDocument:
    """What any file of OpenDocument holds, as elements."""

    body: Any
    styles: Any  # None where there are none
    title: str
    inner: Sequence[tuple[str, Any]]  # the objects within it, by name

    @classmethod
    def of(cls, file: BinaryIO) -> Self:
        """The document in a file."""
        with opened(file) as archive:
            names = set(archive.namelist())
            objects = sorted(name for name in names if _OBJECT.fullmatch(name))
            inner = [(name.partition("/")[0], element_of(archive.read(name))) for name in objects]
            content, styles, meta = (
                element_of(archive.read(name)) if name in names or name == "content.xml" else None
                for name in ("content.xml", "styles.xml", "meta.xml")
            )
        called = None if meta is None else child(meta, "meta", "title")
        return cls(
            child(content, "body"), styles, " ".join(("" if called is None else called.text or "").split()), inner
        )

    def objects(self) -> Iterator[FilePart]:
        """A part for each object: a chart, a formula."""
        for name, held in self.inner:
            body = child(held, "body")
            if text := "\n\n".join(text for _, text in blocks(held if body is None else body) if text):
                yield FilePart(name, text, self.title)


def blocks(container: Iterable[Any]) -> Iterator[Block]:
    """The headings, paragraphs and tables in an element; notes, comments and text boxes below their paragraph."""
    for element in container:
        match local(element):
            case "p" | "h" as name:
                asides: list[Any] = []
                text = "".join(_line(element, asides)).strip()
                level = attribute(element, "outline-level") or "1"
                yield (min(int(level), 6) if level.isdigit() and int(level) else 1) if name == "h" and text else 0, text
                for aside in asides:
                    yield from ((0, text) for _, text in blocks(aside))
            case "table":
                rows = (cells(row) for row in element.iter() if local(row) == "table-row" and _table_of(row) is element)
                yield 0, "\n".join(row for row in rows if row.strip(" |"))
            case name if name in _DESCRIBED and not len(element):
                yield 0, (element.text or "").strip()
            case name if name and name not in _UNREAD:
                yield from blocks(element)


def _table_of(row: Any) -> Any:
    return next((above for above in row.iterancestors() if local(above) == "table"), None)


def cells(row: Any) -> str:
    """A row of a table as a line."""
    held = (cell for cell in row if local(cell) == "table-cell")
    return " | ".join(" ".join(" ".join(text.split()) for _, text in blocks(cell) if text) for cell in held)


def _line(element: Any, asides: list[Any]) -> Iterator[str]:
    """The text of a paragraph; what it has beside it goes to `asides`."""
    yield element.text or ""
    for inner in element:
        name = local(inner)
        if name in _ASIDE:
            asides.append(inner)
        elif name in ("s", "tab"):
            yield " "
        elif name in _DESCRIBED and not len(inner):
            yield f" {inner.text or ''} "
        elif name == "line-break":
            yield "\n"
        elif name and name not in _UNREAD:
            yield from _line(inner, asides)
        yield inner.tail or ""


def element_of(raw: bytes) -> Any:
    """The element that a part of a file is."""
    from lxml import etree

    return etree.fromstring(raw, etree.XMLParser(resolve_entities=False, no_network=True))
