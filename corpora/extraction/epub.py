"""EPUB: the chapters in their order, a part for each heading."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO
from urllib.parse import unquote

from corpora.extraction.archive import opened
from corpora.extraction.html import page
from corpora.extraction.parts import Lost, Part, Unreadable

_NAMES = {
    "c": "urn:oasis:names:tc:opendocument:xmlns:container",
    "o": "http://www.idpf.org/2007/opf",
    "d": "http://purl.org/dc/elements/1.1/",
}


def epub(file: BinaryIO) -> Iterator[Part]:
    """The sections of all chapters, titled with the book's title."""
    with opened(file) as book:
        container = _xml(book.read("META-INF/container.xml"))
        place = container.find(".//c:rootfile", _NAMES)
        if place is None:
            raise Unreadable("it names no content.")
        opf = place.get("full-path")
        package = _xml(book.read(opf))
        title = " ".join((package.findtext(".//d:title", namespaces=_NAMES) or "").split())
        items = {item.get("id"): item.get("href") for item in package.iterfind(".//o:manifest/o:item", _NAMES)}
        read: set[str] = set()  # each page once, however often the book names it
        for reference in package.iterfind(".//o:spine/o:itemref", _NAMES):
            href = items.get(reference.get("idref"))
            if href is None:
                continue
            name = posixpath.normpath(posixpath.join(posixpath.dirname(opf), unquote(href)))
            if name in read:
                continue
            read.add(name)
            for part in page(book.read(name), title):
                inside = f"{name}/{part.name}".rstrip("/")
                yield Lost(inside, part.reason) if isinstance(part, Lost) else replace(part, name=inside)


def _xml(raw: bytes) -> Any:
    from lxml import etree

    return etree.fromstring(raw, etree.XMLParser(resolve_entities=False, no_network=True))
