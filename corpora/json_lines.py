"""JSON lines: one object a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from semsearch.reading.documents import Columns, Registrar, read_files
from semsearch.reading.files import CorpusFile, by_name, open_input, read_objects
from semsearch.types import Confidence, Document, Report
from semsearch.walk import FolderListing


class JSONLinesReader:
    """One document for each object. Fields that are not text, id or title become metadata with their JSON types."""

    Options = Columns
    suffixes = (".jsonl", ".ndjson", ".jsonlines")
    forgiving = False

    @classmethod
    def recognises(cls, path: Path) -> Confidence:
        """Files called .jsonl, .ndjson or .jsonlines, also with .gz behind; a folder of them only when told so."""
        return by_name(path, cls.suffixes)

    @classmethod
    def read(cls, source: Path | BinaryIO | FolderListing, options: Columns, report: Report) -> Iterator[Document]:
        """The documents of a file, a stream, or all such files of a folder."""

        def documents(file: CorpusFile, registrar: Registrar) -> Iterator[Document]:
            with open_input(file) as data:
                for where, record in read_objects(data, report):
                    yield from registrar.documents(record, file.name, where)

        return read_files(source, cls.suffixes, options, report, documents)
