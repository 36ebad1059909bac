"""The text that the pages of a PDF show, as PDFium reads it; pypdf reads what it can't.

PDFium, the library of Chrome, knows what is said of glyphs that stand for no letter (ActualText), fonts of every kind,
and the order of what is written from right to left. It is written in C++, and runs in the process that takes files
apart, which a crash ends alone (`corpora.confined`).
"""

from __future__ import annotations

from typing import Any, BinaryIO

from corpora.extraction.right_to_left import RIGHT_TO_LEFT, Glyphs, as_read

_HYPHEN = "\ufffe"  # that a line ended with, which is not told then


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
            if RIGHT_TO_LEFT.search(text) and len(text) == held.count_chars():
                text = as_read(text, Glyphs(held))
        finally:
            held.close()
            page.close()
        return text.replace("\r\n", "\n").replace(_HYPHEN, "-\n")
