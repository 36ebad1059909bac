"""From records with named fields to documents: which field is what, what an id is, and that none comes twice.

Public: readers of corpora stand on this and on `semsearch.reading.files`, a third party's like the built-in ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from semsearch.arguments import kind_of
from semsearch.errors import DataError, UsageError
from semsearch.options import Options, option
from semsearch.places import Position
from semsearch.reading.files import CorpusFile, corpus_files
from semsearch.types import Document, Report
from semsearch.validation import check_document, is_empty
from semsearch.walk import FolderListing

ID_FIELDS = ("_id", "id")
TEXT_FIELD = "text"
TITLE_FIELD = "title"


@dataclass(frozen=True)
class Columns(Options):
    """Which fields hold the text, the id and the title; what is left is metadata.

    By default `text`, `_id` or `id` (where there is one) and `title` (where there is one). Each of several text fields
    makes a document of its own, as in a table of pairs.
    """

    text: tuple[str, ...] = option((), "field that holds the text; several make a document each")
    id: str | None = option(None, "field that holds the id")
    title: str | None = option(None, "field that holds the title")

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.text)) < len(self.text):
            raise UsageError(f"a text column is named twice: {', '.join(self.text)}.")

    def check(self, names: Iterable[str], where: str) -> None:
        """Refuse a header that lacks a column that is needed; the error lists those there are."""
        names = list(names)
        wanted = [*(self.text or (TEXT_FIELD,)), *(name for name in (self.id, self.title) if name is not None)]
        for name in wanted:
            if name not in names:
                raise DataError(f"{where}: {_missing(name, names, bool(self.text) or name != TEXT_FIELD)}")

    def metadata(self, names: Iterable[str]) -> list[str]:
        """The names that are neither text nor id nor title."""
        names = list(names)
        used = {*(self.text or (TEXT_FIELD,)), self.title or TITLE_FIELD, self.id_field(names)}
        return [name for name in names if name not in used]

    def id_field(self, names: Container[str]) -> str | None:
        """The field that holds the id, if there is one."""
        if self.id is not None:
            return self.id
        return next((name for name in ID_FIELDS if name in names), None)


def _missing(name: str, names: list[str], chosen: bool) -> str:
    listed = ", ".join(f"'{known[:40]}'" for known in names[:40]) + (", …" if len(names) > 40 else "")
    advice = "" if chosen else " Say with --text which one holds the text."
    return f"there is no column '{name}'; there are: {listed or 'none'}.{advice}"


def read_files(
    source: Path | BinaryIO | FolderListing,
    suffixes: tuple[str, ...],
    columns: Columns,
    report: Report,
    documents: Callable[[CorpusFile, Registrar], Iterator[Document]],
) -> Iterator[Document]:
    """What nearly every reader's `read` is: `documents` of each file, a file that can't be read costing only itself.

    Args:
        source: A file, a stream, or a folder, whose files with these suffixes are read in turn.
        suffixes: Of the files that are read in a folder.
        columns: How records become documents.
        report: Told of what is bad, and of how far the reading is.
        documents: The documents of one file; it gives what is wrong with a record to the report, and raises a
            `DataError` where the rest of the file can't be read.
    """
    registrar = Registrar(columns, report)
    for file in corpus_files(source, suffixes, report):
        try:
            yield from documents(file, registrar)
        except DataError as error:
            report.bad(error, file=True)


class Registrar:
    """Makes records into documents, each checked and under an id that no other has. Bad ones go to the report."""

    def __init__(self, columns: Columns, report: Report) -> None:
        self._columns = columns
        self._report = report
        self._title_is_there = columns.title is None
        self._layout: tuple[list[str], str | None, list[str]] = ([], None, [])  # of the record before

    def documents(
        self, record: Mapping[str, Any], name: str, where: str, position: Position | None = None
    ) -> list[Document]:
        """The documents of a record (one for each text field).

        Args:
            record: Its fields.
            name: The file, as ids carry it.
            where: The record's place, as messages name it.
            position: That place for programs: what is opened when somebody goes from a hit to its source.
        """
        try:
            identity, title, metadata = self._shared(record, where)
        except DataError as error:
            self._report.bad(error)
            return []
        fields = self._columns.text or (TEXT_FIELD,)
        made = []
        for field in fields:
            try:
                if field not in record:
                    raise DataError(f"{where}: {_missing(field, list(record), bool(self._columns.text))}")
                text, heading = record[field], title
                if (
                    isinstance(text, str) and is_empty(text) and not is_empty(heading)
                ):  # a record that is all title: the title is what there is to be found
                    text, heading = heading, ""
                if not isinstance(text, str):
                    raise DataError(f"{where}: the field '{field}' must be text, but is {kind_of(text)}.")
            except DataError as error:
                self._report.bad(error)
            else:
                own = identity if identity is None or len(fields) == 1 else f"{identity}/{field}"
                made.extend(self.admitted(own, text, name, where, heading, metadata, position))
        return made

    def admitted(
        self,
        identity: str | None,
        text: str,
        name: str,
        where: str,
        title: str = "",
        metadata: Mapping[str, Any] | None = None,
        position: Position | None = None,
    ) -> list[Document]:
        """As `document`, in a list that is empty if there is none or it is bad, which the report is told."""
        try:
            document = self.document(identity, text, name, where, title, metadata, position)
        except DataError as error:
            self._report.bad(error)
            return []
        return [] if document is None else [document]

    def document(
        self,
        identity: str | None,
        text: str,
        name: str,
        where: str,
        title: str = "",
        metadata: Mapping[str, Any] | None = None,
        position: Position | None = None,
    ) -> Document | None:
        """One document, checked, or None if it has no id of its own and the same content came before.

        Args:
            identity: The record's own id; None makes one of the file's name and the content.
            text: What is to be found.
            name: The file, as ids carry it.
            where: The record's place, as messages name it: "films.csv, line 3".
            title: Put before the text.
            metadata: JSON values.
            position: Where it stands in the file.

        Raises:
            DataError: It can't be stored, or its id was given before.
        """
        document = Document("-" if identity is None else identity, text, title, metadata or {})
        check_document(document, where)
        if identity is None:
            content = title.encode() + b"\0" + text.encode()
            digest = hashlib.blake2b(content, digest_size=10).hexdigest()
            document = Document(f"{name.removesuffix('.gz')}:{digest}", text, title, metadata or {})
            check_document(Document(document.id, "-"), where)  # the file's name may be no text
        earlier = self._report.register(document.id, where, position)
        if earlier is None:
            return document
        if identity is None:
            self._report.merged()
            return None
        raise DataError(f"{where}: the id {identity!r:.80} was given before, at {earlier}; ids must be unique.")

    def _shared(self, record: Mapping[str, Any], where: str) -> tuple[str | None, str, dict[str, Any]]:
        """Id, title and metadata of a record."""
        columns = self._columns
        if not self._title_is_there:  # later records may lack it; a name that the first one lacks is a slip
            if columns.title not in record:
                raise DataError(f"{where}: {_missing(str(columns.title), list(record), True)}")
            self._title_is_there = True
        names, field, others = self._layout
        if names != (own := list(record)):  # most have the fields of the one before
            names, field, others = self._layout = own, columns.id_field(own), columns.metadata(own)
        identity = None
        if field is not None:
            if field not in record:
                raise DataError(f"{where}: {_missing(field, list(record), True)}")
            identity = record[field]
            if isinstance(identity, int) and not isinstance(identity, bool):
                identity = str(identity)
            if not isinstance(identity, str):
                raise DataError(f"{where}: the id must be text or a whole number, but is {kind_of(record[field])}.")
        title = record.get(columns.title or TITLE_FIELD)
        if title is None:
            title = ""
        if not isinstance(title, str):
            raise DataError(f"{where}: the title must be text, but is {kind_of(title)}.")
        metadata = {name: record[name] for name in others}
        if isinstance(inner := metadata.get("metadata"), dict):  # BEIR's place for it; what stands outside wins
            del metadata["metadata"]
            metadata = {**inner, **metadata}
        return identity, title, metadata
