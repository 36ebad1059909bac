"""The text that the pages of a PDF show, as PDFium reads it; pypdf reads what it can't.

PDFium, the library of Chrome, knows what is said of glyphs that stand for no letter (ActualText), fonts of every kind,
and the order of what is written from right to left. It is written in C++, and runs in the process that takes files
apart, which a crash ends alone (`corpora.confined`).
"""

from __future__ import annotations

import ctypes
import re
from typing import Any, BinaryIO

_HYPHEN = "\ufffe"  # that a line ended with, which is not told then
_ARABIC = re.compile(r"[\u0620-\u064a\u066e-\u06d3]{2,}")


class ShownText:
    """The text of a file's pages."""

    def __init__(self, file: BinaryIO, pages: int) -> None:
        """`pages` is how many pypdf finds: where PDFium finds more or fewer, numbers are others, and pypdf reads."""
        from pypdfium2 import PdfDocument, PdfiumError

        self._failures = (PdfiumError, ValueError, AssertionError)
        self._document: Any = None
        try:
            document = PdfDocument(file)
            self._document = document if len(document) == pages else None
        except self._failures:  # what it makes nothing of, pypdf may
            pass

    def of(self, number: int, page: Any) -> str:
        """What a page shows.

        Args:
            number: Of the page, counted from 0.
            page: The same one, of pypdf.
        """
        if self._document is not None:
            try:
                text = self._read(number)
            except self._failures:
                text = ""
            if text.strip():
                return text
        return str(page.extract_text())

    def _read(self, number: int) -> str:
        page = self._document[number]
        held = page.get_textpage()
        try:
            text = str(held.get_text_range())
            if _ARABIC.search(text) and len(text) == held.count_chars():
                text = _ligatures_turned(text, held)
        finally:
            held.close()
            page.close()
        return text.replace("\r\n", "\n").replace(_HYPHEN, "-\n")


def _ligatures_turned(text: str, held: Any) -> str:
    """Arabic text, the letters of a ligature (lam and alef) in their order.

    All letters are turned round, from how they stand on the page to how they are read; those of one glyph, which has
    one place, were in the order of reading already.
    """
    from pypdfium2 import raw

    x, y = ctypes.c_double(), ctypes.c_double()

    def place(number: int) -> tuple[float, float]:
        raw.FPDFText_GetCharOrigin(held, number, x, y)
        return x.value, y.value

    letters = list(text)
    for word in _ARABIC.finditer(text):
        first, end = word.span()
        places = [place(number) for number in range(first, end)]
        start = first
        for number in range(first + 1, end + 1):
            if number == end or places[number - first] != places[start - first]:
                letters[start:number] = reversed(letters[start:number])
                start = number
    return "".join(letters)
