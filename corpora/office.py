"""Documents as people have them: PDF, HTML, Office's and OpenDocument's, EPUB, e-mail, Markdown, source code, mixed.

Each file is taken apart: a page of a PDF, a section under its headings, a message, a definition is a document of its
own. The libraries that do it are the extra `documents`; they run in a process of their own, under limits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from corpora.confined import Confined
from corpora.extraction import KINDS
from corpora.extraction.parts import Lost
from semsearch.errors import DataError, UsageError
from semsearch.options import Options, option
from semsearch.reading.documents import Columns, Registrar, read_files
from semsearch.reading.files import UTF_8, CorpusFile, by_name, check_encoding, printable
from semsearch.types import Confidence, Document, Report
from semsearch.validation import is_empty
from semsearch.walk import FolderListing

PLAIN = (".txt", ".md")  # a folder of these alone is read as text, a document a file
LOOKED_AT = 10_000  # files of a folder, to know what it holds


@dataclass(frozen=True)
class DocumentsOptions(Options):
    """What a file may cost: `seconds` for a part of it, and `megabytes` of memory; and the encoding of plain text.

    `encoding` is of text, Markdown and source code; the other kinds say themselves what they are in.
    """

    seconds: float = option(60.0, "that a part of a file may take", low=0.001)
    megabytes: int = option(2048, "of memory that a file may take", low=256)
    encoding: str = option(UTF_8, "that files of plain text and source code are in")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "encoding", check_encoding(self.encoding))


class DocumentsReader:
    """Documents under 'file#part', the file's path in their metadata."""

    Options = DocumentsOptions
    suffixes = tuple(KINDS)
    forgiving = True

    @classmethod
    def recognises(cls, path: Path) -> Confidence:
        """Files of these kinds, plain text not as surely; and folders that hold more than plain text."""
        if path.is_dir():
            return Confidence.LIKELY if _holds_documents(path) else Confidence.NONE
        return Confidence.FALLBACK if by_name(path, (".txt",)) else by_name(path, cls.suffixes)

    @classmethod
    def read(
        cls, source: Path | BinaryIO | FolderListing, options: DocumentsOptions, report: Report
    ) -> Iterator[Document]:
        """The documents of a file, or of all such files of a folder."""
        with Confined(options.seconds, options.megabytes, options.encoding) as confined:

            def documents(file: CorpusFile, registrar: Registrar) -> Iterator[Document]:
                return _documents(file, confined, registrar, report)

            yield from read_files(source, cls.suffixes, Columns(), report, documents)


def _holds_documents(folder: Path) -> bool:
    """Whether a folder holds files of these kinds beside plain text."""
    wanted = tuple(suffix for suffix in KINDS if suffix not in PLAIN)
    count = 0
    for _, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in names:
            if not name.startswith(".") and name.lower().removesuffix(".gz").endswith(wanted):
                return True
        count += len(names)
        if count > LOOKED_AT:
            return False
    return False


def _documents(file: CorpusFile, confined: Confined, registrar: Registrar, report: Report) -> Iterator[Document]:
    if not isinstance(file.source, Path):
        raise UsageError("documents are read from files, not from standard input; --format text reads it.")
    try:
        yield from _parts(file, file.source, confined, registrar, report)
    except DataError as error:
        report.bad(error, file=True)
    report.progress(file.before + file.size, file.total)


def _parts(
    file: CorpusFile, path: Path, confined: Confined, registrar: Registrar, report: Report
) -> Iterator[Document]:
    names: dict[str, int] = {}
    for part in confined.parts(path):
        if isinstance(part, Lost):
            error = DataError(f"{printable(path)}{part.name and ', '}{part.name}: {part.reason}")
            report.lost(error, failed=part.failed)
            continue
        if is_empty(part.text):
            continue
        again = names[part.name] = names.get(part.name, 0) + 1
        name = part.name + (f"~{again}" if again > 1 else "")  # a heading that comes twice
        identity = f"{file.name}#{name}" if name else file.name
        where = f"{path}, {name or 'all'}"
        metadata = {"file": file.name, **part.metadata}
        title = part.title or file.name
        yield from registrar.admitted(identity[:4000], part.text, file.name, where, title, metadata, part.position)
