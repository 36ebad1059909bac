"""EPUB: the chapters in their order, then the pages that stand in none; a part for each heading."""

from __future__ import annotations

import mimetypes
import posixpath
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO
from urllib.parse import unquote
from zipfile import ZipFile

from corpora.extraction.archive import opened
from corpora.extraction.html import chapter
from corpora.extraction.parts import FilePart, Lost, ReadPart, Unreadable
from semsearch.places import Position

_NAMES = {
    "c": "urn:oasis:names:tc:opendocument:xmlns:container",
    "o": "http://www.idpf.org/2007/opf",
    "d": "http://purl.org/dc/elements/1.1/",
}


def epub(file: BinaryIO) -> Iterator[ReadPart]:
    """The sections of all chapters, titled with the book's title."""
    with opened(file) as book:
        container = _xml(book.read("META-INF/container.xml"))
        place = container.find(".//c:rootfile", _NAMES)
        if place is None:
            raise Unreadable("it names no content.")
        opf = place.get("full-path")
        package = _xml(book.read(opf))
        title = " ".join((package.findtext(".//d:title", namespaces=_NAMES) or "").split())
        listing = package.findall(".//o:manifest/o:item", _NAMES)
        items = {item.get("id"): item.get("href") for item in listing}
        read: set[str] = set()  # each page once, however often the book names it
        locked = _locked(book)
        spine = [str(reference.get("idref")) for reference in package.iterfind(".//o:spine/o:itemref", _NAMES)]
        beside = [str(item.get("id")) for item in listing if _is_page(item)]  # notes that a click opens, say
        for listed in [*spine, *beside]:
            href = items.get(listed)
            name = listed if href is None else posixpath.normpath(posixpath.join(posixpath.dirname(opf), unquote(href)))
            if name in read:
                continue
            read.add(name)
            if href is None or name in locked:
                yield Lost(name, "the book has no such chapter." if href is None else "it is encrypted.")
                continue
            try:
                yield from _chapter(book, name, title)
            except KeyError:
                yield Lost(name, "the book has no such chapter.")
            except (MemoryError, RecursionError):
                raise
            except Exception as error:  # a broken chapter costs itself
                yield Lost.of(name, error)


def _is_page(item: Any) -> bool:
    """Whether an item of the manifest is a page of text; the table of contents says what the headings say."""
    kind = item.get("media-type") or mimetypes.guess_type(unquote(item.get("href") or ""))[0]
    return kind in ("application/xhtml+xml", "text/html") and "nav" not in (item.get("properties") or "").split()


def _chapter(book: ZipFile, name: str, title: str) -> Iterator[ReadPart]:
    for part in chapter(book.read(name), title):
        inside = f"{name}/{part.name}".rstrip("/")
        if isinstance(part, FilePart):
            part = replace(part, position=Position(chapter=name))
        yield replace(part, name=inside)


def _locked(book: ZipFile) -> set[str]:
    """What is encrypted; fonts often are, and no text."""
    if "META-INF/encryption.xml" not in book.namelist():
        return set()
    found = _xml(book.read("META-INF/encryption.xml")).iterfind(".//{*}CipherReference")
    return {posixpath.normpath(unquote(reference.get("URI", ""))) for reference in found}


def _xml(raw: bytes) -> Any:
    from lxml import etree

    return etree.fromstring(raw, etree.XMLParser(resolve_entities=False, no_network=True))
