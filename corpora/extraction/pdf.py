"""PDF: a part for each page, its number kept, with what was filled in and noted on it."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from corpora.extraction.parts import FilePart, Lost, ReadPart, Unreadable, reason
from corpora.extraction.pdf_text import ShownText
from semsearch.places import Position

MAX_BROKEN = 100  # pages that can't be read, beyond which the file is given up
MAX_FIELDS_ABOVE = 32  # a field, which may say that it belongs to itself
_SCANNED = "scanned images must go through text recognition first."
_DRAWN = re.compile(rb"(?:^|\s)(?:Do|BI)(?=\s|$)")  # the operators that paint a picture
_LIGATURE = re.compile("[\ufb00-\ufb06]")
_BEHIND_HYPHEN = frozenset({"und", "oder", "bzw", "and", "or", "to"})  # behind a hyphen that stands for a word to come
_BROKEN = re.compile(r"\b(\w++)[-\u2010][ \t]*\n[ \t]*([^\W\d_]\w*)")
_HYPHENED = re.compile(r"\b\w++-\w+")


def pdf(file: BinaryIO) -> Iterator[ReadPart]:
    """The pages that hold text, titled with the file's title; those that show no more than pictures are lost."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError

    reader = PdfReader(file, strict=False)
    try:
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable("it is locked with a password.")
    except DependencyError as error:
        raise Unreadable(reason(ImportError(name="cryptography"))) from error
    information = reader.metadata
    title = " ".join(str((information.title if information else None) or "").split())
    shown, found = ShownText(file, len(reader.pages)), False
    read: set[int] = set()  # each page once, however often the file names it
    lost: list[Lost] = []
    broken = 0
    for number, page in enumerate(reader.pages, 1):
        place = page.indirect_reference
        if place is not None:
            if place.idnum in read:
                continue
            read.add(place.idnum)
        text, missing = _read(shown, number, page)
        lost += missing
        broken += any(one.failed for one in missing)
        if broken > MAX_BROKEN:
            raise Unreadable(f"given up at the page {number:,}, with {broken:,} that can't be read.")
        if text:
            found = True
            yield from lost
            lost.clear()
            yield FilePart(f"page={number}", text, title, {"page": number}, Position(page=number))
    said, there = _said(reader), len(reader.pages)
    if said > there:
        why = f"the file says that it has {said:,} pages, and {there:,} can be found: the others are lost."
        lost.append(Lost("", why, failed=True))
        broken += 1
    if not found and not broken:
        raise Unreadable(f"no page holds text: {_SCANNED}")
    yield from lost


def words(text: str) -> str:
    """Text with ligatures as their letters, and words that were broken at the ends of lines put together again.

    A hyphen stays where the same page has the word with it within a line ("well-known").
    """
    text = _LIGATURE.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text)
    text = re.sub("\xad[ \t]*\n?", "", text)
    hyphened = frozenset(_HYPHENED.findall(text))

    def joined(found: re.Match[str]) -> str:
        if found[2] in _BEHIND_HYPHEN:
            return f"{found[1]}- {found[2]}"
        whole, one = f"{found[1]}-{found[2]}", found[1] + found[2]
        broken = found[2][0].islower() or (one.isupper() and len(found[1]) > 1 and len(found[2]) > 1)
        return one if broken and whole not in hyphened else whole

    return _BROKEN.sub(joined, text)


def _is_drawn(page: Any) -> bool:
    """Whether a page shows pictures."""
    contents = page.get_contents()
    return contents is not None and _DRAWN.search(contents.get_data()) is not None


def _read(shown: ShownText, number: int, page: Any) -> tuple[str, list[Lost]]:
    """The text of a page, and what of it is lost: a broken page costs itself."""
    place = f"page={number}"
    try:
        torn = _torn(page)
        lost = [Lost(place, torn, failed=True)] if torn else []
        text = words(shown.of(number - 1, page)).strip()
        if not text and _is_drawn(page):
            lost.append(Lost(place, f"it holds no text: {_SCANNED}"))
        return "\n".join([text, *_noted(page, text)]).strip(), lost
    except (MemoryError, RecursionError):
        raise
    except Exception as error:  # whatever the library throws
        return "", [Lost.of(place, error)]


def _said(reader: Any) -> int:
    """How many pages the file says that it has; 0 where it says nothing that can be."""
    said = reader.root_object.get("/Pages", {}).get("/Count")
    return said if isinstance(said, int) else 0


def _torn(page: Any) -> str:
    """What is missing of the contents of a page, which the library passes over; empty if all is there."""
    if "/Contents" not in page:
        return ""
    contents = page["/Contents"]
    for one in contents if isinstance(contents, list) else [contents]:
        stream: Any = None if one is None else one.get_object()
        if not hasattr(stream, "get_data"):
            return "a part of its contents is not in the file."
        filters = stream.get("/Filter")
        first = filters[:1] if isinstance(filters, list) else [filters]
        if first == ["/FlateDecode"] and not _is_whole(stream._data):
            return "its contents are cut short or damaged: what stands behind is lost."
    return ""


def _is_whole(packed: bytes) -> bool:
    """Whether deflated bytes go on to their end; their checksum is not looked at, which many files lack."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    rest = packed[2:]
    try:
        while rest and not stream.eof:
            stream.decompress(rest, 1 << 20)
            rest = stream.unconsumed_tail
    except zlib.error:
        return False
    return stream.eof


def _noted(page: Any, text: str) -> Iterator[str]:
    """What was filled into the fields of a page, and what was noted on it, where the page does not show it itself."""
    shown, told = " ".join(text.split()), {""}
    annotations = page.get("/Annots")
    for one in (None if annotations is None else annotations.get_object()) or ():
        try:
            annotation = one.get_object()
            found = [_value(annotation)] if annotation.get("/Subtype") == "/Widget" else [annotation.get("/Contents")]
        except (AttributeError, TypeError, ValueError):  # what is no annotation says nothing
            continue
        for value in found:
            said = " ".join(value.split()) if isinstance(value, str) else ""
            if said not in told and said not in shown:
                told.add(said)
                yield words(value.strip())


def _value(field: Any) -> Any:
    """What was filled in: the text or the choice, which a field may have from the one that it belongs to."""
    kind = value = None
    for _ in range(MAX_FIELDS_ABOVE):
        kind, value = kind or field.get("/FT"), value or field.get("/V")
        if (above := field.get("/Parent")) is None:
            break
        field = above.get_object()
    value = None if value is None else value.get_object()
    if isinstance(value, list):
        value = "\n".join(str(one.get_object()) for one in value)
    return value if kind in ("/Tx", "/Ch") else None
