"""JSON: one object a line, or an array of objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from semsearch.options import option
from semsearch.places import Position
from semsearch.reading.documents import Columns, Registrar, read_files
from semsearch.reading.files import UTF_8, CorpusFile, by_name, check_encoding, open_input
from semsearch.reading.json_objects import read_objects
from semsearch.types import Confidence, Document, Report
from semsearch.walk import FolderListing


@dataclass(frozen=True)
class JSONOptions(Columns):
    """Columns, and the encoding of the file."""

    encoding: str = option(UTF_8, "that the files are in")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "encoding", check_encoding(self.encoding))


class JSONLinesReader:
    """One document for each object, of a line or an array.

    Fields that are not text, id or title become metadata with their JSON types.
    """

    Options = JSONOptions
    suffixes = (".jsonl", ".ndjson", ".jsonlines", ".json")
    forgiving = False

    @classmethod
    def recognises(cls, path: Path) -> Confidence:
        """Files called .jsonl, .ndjson, .jsonlines or .json, also with .gz behind; a folder only when told so."""
        return by_name(path, cls.suffixes)

    @classmethod
    def read(cls, source: Path | BinaryIO | FolderListing, options: JSONOptions, report: Report) -> Iterator[Document]:
        """The documents of a file, a stream, or all such files of a folder."""
        return read_json(source, cls.suffixes, options, report)


def read_json(
    source: Path | BinaryIO | FolderListing,
    suffixes: tuple[str, ...],
    options: JSONOptions,
    report: Report,
    inside: str = "",
) -> Iterator[Document]:
    """The documents of files of JSON; `inside`: of the folder that is the source, this is the file that is read."""

    def documents(file: CorpusFile, registrar: Registrar) -> Iterator[Document]:
        with open_input(file, options.encoding) as data:
            for where, line, record in read_objects(data, report):
                yield from registrar.documents(record, file.name, where, Position(line, file=inside))

    return read_files(source, suffixes, options, report, documents)
