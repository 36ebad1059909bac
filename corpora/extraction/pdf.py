"""PDF: a part for each page, its number kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from corpora.extraction.parts import FilePart, Unreadable


def pdf(file: BinaryIO) -> Iterator[FilePart]:
    """The pages that hold text, titled with the file's title."""
    from pypdf import PdfReader

    reader = PdfReader(file, strict=False)
    if reader.is_encrypted and not reader.decrypt(""):
        raise Unreadable("it is locked with a password.")
    information = reader.metadata
    title = " ".join(str((information.title if information else None) or "").split())
    found = False
    read: set[int] = set()  # each page once, however often the file names it
    for number, page in enumerate(reader.pages, 1):
        place = page.indirect_reference
        if place is not None:
            if place.idnum in read:
                continue
            read.add(place.idnum)
        text = page.extract_text().strip()
        if text:
            found = True
            yield FilePart(f"page={number}", text, title, {"page": number})
    if not found:
        raise Unreadable("no page holds text: scanned images must go through text recognition first.")
