"""Plain text: a file holds a document a line or a paragraph, a folder a document a file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from semsearch.errors import DataError
from semsearch.options import Options, option
from semsearch.places import Position
from semsearch.reading.documents import Columns, Registrar, read_files
from semsearch.reading.files import (
    MAX_TEXT_BYTES,
    UTF_8,
    CorpusFile,
    Input,
    by_name,
    check_encoding,
    has_suffix,
    open_input,
    read_lines,
    read_text,
)
from semsearch.types import Confidence, Document, Report
from semsearch.validation import is_empty
from semsearch.walk import FolderListing

UNITS = ("line", "paragraph", "file")
_HEADING = re.compile(r"\s*#[ \t]+(.+?)[ \t#]*(?:\r?\n|$)")  # Markdown's first-level heading at the very top


@dataclass(frozen=True)
class TextOptions(Options):
    """`unit` is what makes a document: a line, a paragraph (up to an empty line) or a file.

    By default a file for a folder, a paragraph for a Markdown file, and a line for all else.
    """

    unit: str | None = option(None, "what makes a document: line, paragraph or file", choices=UNITS)
    encoding: str = option(UTF_8, "that the files are in")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "encoding", check_encoding(self.encoding))


class TextReader:
    """Documents without fields. A Markdown file that is a document has its first heading for a title."""

    Options = TextOptions
    suffixes = (".txt", ".md")
    forgiving = False

    @classmethod
    def recognises(cls, path: Path) -> Confidence:
        """Files called .txt, also with .gz behind; every folder where nobody knows better."""
        return Confidence.FALLBACK if path.is_dir() else by_name(path, (".txt",))

    @classmethod
    def read(cls, source: Path | BinaryIO | FolderListing, options: TextOptions, report: Report) -> Iterator[Document]:
        """The documents of a file, a stream, or all such files of a folder. Empty lines part paragraphs."""
        unit = options.unit or _usual_unit(source)
        pieces = {"line": _lines, "paragraph": _paragraphs, "file": _whole}[unit]

        def documents(file: CorpusFile, registrar: Registrar) -> Iterator[Document]:
            with open_input(file, options.encoding) as data:
                for text, line, title in pieces(data, report):
                    identity = file.name if unit == "file" else None
                    where = data.name if unit == "file" else f"{data.name}, line {line:,}"
                    stands = Position(lines=((0, line),))
                    yield from registrar.admitted(identity, text, file.name, where, title, position=stands)

        return read_files(source, cls.suffixes, Columns(), report, documents)


def _usual_unit(source: Path | BinaryIO | FolderListing) -> str:
    if isinstance(source, FolderListing):
        return "file"
    if isinstance(source, Path):
        if source.is_dir():
            return "file"
        if has_suffix(source, (".md",)):
            return "paragraph"
    return "line"


def _whole(data: Input, report: Report) -> Iterator[tuple[str, int, str]]:
    text = read_text(data)
    heading = _HEADING.match(text) if has_suffix(Path(data.name), (".md",)) else None
    if not is_empty(text) or "\0" in text:  # else the file is one that holds no text, and named as that
        yield text, 1, heading[1] if heading else ""
    if (fault := data.fault()) is not None:
        report.bad(fault, file=True)
    data.progress(report)


def _lines(data: Input, report: Report) -> Iterator[tuple[str, int, str]]:
    for number, line in read_lines(data, report):
        if not is_empty(line):
            yield line.rstrip("\r\n"), number, ""


def _paragraphs(data: Input, report: Report) -> Iterator[tuple[str, int, str]]:
    held: list[str] = []
    first = size = 0
    for number, line in read_lines(data, report):
        if not is_empty(line):
            if not held:
                first, size = number, 0
            size += len(line)
            if size <= MAX_TEXT_BYTES:  # what is beyond is not kept, the length alone is
                held.append(line)
            continue
        if held:
            yield from _paragraph(held, size, data, first, report)
            held = []
    if held:
        yield from _paragraph(held, size, data, first, report)


def _paragraph(held: list[str], size: int, data: Input, first: int, report: Report) -> Iterator[tuple[str, int, str]]:
    if size > MAX_TEXT_BYTES:
        where = f"{data.name}, line {first:,}"
        report.bad(DataError(f"{where}: a paragraph of {size:,} characters, where {MAX_TEXT_BYTES:,} are the most."))
    else:
        yield "".join(held).rstrip("\r\n"), first, ""
