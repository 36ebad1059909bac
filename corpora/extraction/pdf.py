"""PDF: a part for each page, its number kept."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any, BinaryIO

from corpora.extraction.parts import FilePart, Lost, ReadPart, Unreadable, reason
from semsearch.places import Position

MAX_BROKEN = 100  # pages that can't be read, beyond which the file is given up
_SCANNED = "scanned images must go through text recognition first."
_DRAWN = re.compile(rb"(?:^|\s)(?:Do|BI)(?=\s|$)")  # the operators that paint a picture
_LIGATURE = re.compile("[\ufb00-\ufb06]")
_BEHIND_HYPHEN = frozenset({"und", "oder", "bzw", "and", "or", "to"})  # behind a hyphen that stands for a word to come
_BROKEN = re.compile(r"\b(\w++)-[ \t]*\n[ \t]*([^\W\d_]\w*)")
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
    found = False
    read: set[int] = set()  # each page once, however often the file names it
    lost: list[Lost] = []
    broken = 0
    for number, page in enumerate(reader.pages, 1):
        place = page.indirect_reference
        if place is not None:
            if place.idnum in read:
                continue
            read.add(place.idnum)
        try:
            text = words(page.extract_text()).strip()
            drawn = not text and _is_drawn(page)
        except (MemoryError, RecursionError):
            raise
        except Exception as error:  # a broken page costs itself
            lost.append(Lost.of(f"page={number}", error))
            broken += 1
            if broken > MAX_BROKEN:
                raise Unreadable(f"given up at the page {number:,}, with {broken:,} that can't be read.") from error
            continue
        if drawn:
            lost.append(Lost(f"page={number}", f"it holds no text: {_SCANNED}"))
        if text:
            found = True
            yield from lost
            lost.clear()
            yield FilePart(f"page={number}", text, title, {"page": number}, Position(page=number))
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
