"""Documents as people have them: PDF, HTML, DOCX, EPUB, e-mail, Markdown and source code, mixed in a folder.

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
from corpora.extraction.parts import Part
from corpora.files import Entry, entries, has_suffix
from corpora.records import Columns, Registrar
from semsearch.errors import DataError, UsageError
from semsearch.types import Document, Report
from semsearch.walk import FolderListing

SUFFIXES = tuple(KINDS)
PLAIN = (".txt", ".md")  # a folder of these alone is read as text, a document a file
LOOKED_AT = 10_000  # files of a folder, to know what it holds


@dataclass(frozen=True)
class DocumentsOptions:
    """What a file may cost: `seconds` for a part of it, and `megabytes` of memory."""

    seconds: float = 60.0
    megabytes: int = 2048

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise UsageError(f"seconds must be more than 0, not {self.seconds}.")
        if not self.megabytes >= 256:
            raise UsageError(f"megabytes must be at least 256, not {self.megabytes}.")


class DocumentsReader:
    """Documents under 'file#part', the file's path in their metadata."""

    Options = DocumentsOptions
    suffixes = SUFFIXES
    forgiving = True

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Files of these kinds, and folders that hold more than plain text; not BEIR's."""
        if path.is_dir():
            return holds_documents(path)
        return has_suffix(path, SUFFIXES) and not has_suffix(path, (".txt",))

    @classmethod
    def read(
        cls, source: Path | BinaryIO | FolderListing, options: DocumentsOptions, report: Report
    ) -> Iterator[Document]:
        """The documents of a file, or of all such files of a folder."""
        with Registrar(Columns(), report) as registrar, Confined(options.seconds, options.megabytes) as confined:
            for entry in entries(source, SUFFIXES, report):
                if not isinstance(entry.source, Path):
                    raise UsageError("documents are read from files, not from standard input; --format text reads it.")
                yield from _documents(entry, confined, registrar, report)
                report.progress(entry.before + entry.size, entry.total)


def holds_documents(folder: Path) -> bool:
    """Whether a folder holds files of these kinds beside plain text."""
    if any((folder / name).exists() for name in ("corpus.jsonl", "corpus.jsonl.gz")):
        return False
    wanted = tuple(suffix for suffix in SUFFIXES if suffix not in PLAIN)
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


def _documents(entry: Entry, confined: Confined, registrar: Registrar, report: Report) -> Iterator[Document]:
    assert isinstance(entry.source, Path)
    names: dict[str, int] = {}
    try:
        for part in confined.parts(entry.source):
            if not part.text.strip():
                continue
            try:
                document = _document(entry, part, names, registrar)
            except DataError as error:
                report.bad(error)
            else:
                if document is not None:
                    yield document
    except DataError as error:
        report.bad(error)


def _document(entry: Entry, part: Part, names: dict[str, int], registrar: Registrar) -> Document | None:
    again = names[part.name] = names.get(part.name, 0) + 1
    name = part.name + (f"~{again}" if again > 1 else "")  # a heading that comes twice
    identity = f"{entry.name}#{name}" if name else entry.name
    title = part.title or entry.name
    metadata = {"file": entry.name, **part.metadata}
    return registrar.document(
        identity[:4000], part.text, entry.name, f"{entry.source}, {name or 'all'}", title, metadata
    )
