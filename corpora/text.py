"""Plain text: a file holds a document a line or a paragraph, a folder a document a file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from corpora.files import MAX_BYTES, Input, entries, has_suffix, open_input, read_lines, read_text
from corpora.office import holds_documents
from corpora.records import Columns, Registrar
from semsearch.errors import DataError, UsageError
from semsearch.types import Document, Report
from semsearch.walk import FolderListing

SUFFIXES = (".txt", ".md")
UNITS = ("line", "paragraph", "file")
_HEADING = re.compile(r"\s*#[ \t]+(.+?)[ \t#]*(?:\r?\n|$)")  # Markdown's first-level heading at the very top


@dataclass(frozen=True)
class TextOptions:
    """`unit` is what makes a document: a line, a paragraph (up to an empty line) or a file.

    By default a file for a folder, a paragraph for a Markdown file, and a line for all else.
    """

    unit: str | None = None

    def __post_init__(self) -> None:
        if self.unit is not None and self.unit not in UNITS:
            raise UsageError(f"unit must be one of {', '.join(UNITS)}, not {self.unit!r}.")


class TextReader:
    """Documents without fields. A Markdown file that is a document has its first heading for a title."""

    Options = TextOptions
    suffixes = SUFFIXES

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Files called .txt, also with .gz behind, and every folder that is neither BEIR's nor one of documents."""
        if path.is_dir():
            beir = any((path / name).exists() for name in ("corpus.jsonl", "corpus.jsonl.gz"))
            return not beir and not holds_documents(path)
        return has_suffix(path, (".txt",))

    @classmethod
    def read(cls, source: Path | BinaryIO | FolderListing, options: TextOptions, report: Report) -> Iterator[Document]:
        """The documents of a file, a stream, or all such files of a folder. Empty lines part paragraphs."""
        unit = options.unit or _usual_unit(source)
        with Registrar(Columns(), report) as registrar:
            for entry in entries(source, SUFFIXES, report):
                try:
                    with open_input(entry) as data:
                        if unit == "file":
                            pieces = _whole(data, report)
                        else:
                            pieces = _lines(data, report) if unit == "line" else _paragraphs(data, report)
                        for text, where, title in pieces:
                            identity = entry.name if unit == "file" else None
                            yield from _document(registrar, report, identity, text, entry.name, where, title)
                except DataError as error:
                    report.bad(error)


def _usual_unit(source: Path | BinaryIO | FolderListing) -> str:
    if isinstance(source, FolderListing):
        return "file"
    if isinstance(source, Path):
        if source.is_dir():
            return "file"
        if has_suffix(source, (".md",)):
            return "paragraph"
    return "line"


def _document(
    registrar: Registrar, report: Report, identity: str | None, text: str, name: str, where: str, title: str
) -> list[Document]:
    try:
        document = registrar.document(identity, text, name, where, title)
    except DataError as error:
        report.bad(error)
        return []
    return [] if document is None else [document]


def _whole(data: Input, report: Report) -> Iterator[tuple[str, str, str]]:
    text = read_text(data)
    heading = _HEADING.match(text) if has_suffix(Path(data.name), (".md",)) else None
    yield text, data.name, heading[1] if heading else ""
    data.progress(report)


def _lines(data: Input, report: Report) -> Iterator[tuple[str, str, str]]:
    for number, line in read_lines(data, report):
        if not line.isspace():
            yield line.rstrip("\r\n"), f"{data.name}, line {number:,}", ""


def _paragraphs(data: Input, report: Report) -> Iterator[tuple[str, str, str]]:
    held: list[str] = []
    first = size = 0
    for number, line in read_lines(data, report):
        if not line.isspace():
            if not held:
                first, size = number, 0
            size += len(line)
            if size <= MAX_BYTES:  # what is beyond is not kept, the length alone is
                held.append(line)
            continue
        if held:
            yield from _paragraph(held, size, f"{data.name}, line {first:,}", report)
            held = []
    if held:
        yield from _paragraph(held, size, f"{data.name}, line {first:,}", report)


def _paragraph(held: list[str], size: int, where: str, report: Report) -> Iterator[tuple[str, str, str]]:
    if size > MAX_BYTES:
        report.bad(DataError(f"{where}: a paragraph of {size:,} characters, where {MAX_BYTES:,} are the most."))
    else:
        yield "".join(held).rstrip("\r\n"), where, ""
