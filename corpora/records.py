"""From records with named fields to documents: which field is what, what an id is, and that none comes twice."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from semsearch.errors import DataError, StorageError, UsageError
from semsearch.types import Document, Report
from semsearch.validation import check_document, kind_of

ID_FIELDS = ("_id", "id")
TEXT_FIELD = "text"
TITLE_FIELD = "title"


@dataclass(frozen=True)
class Columns:
    """Which fields hold the text, the id and the title; what is left is metadata.

    By default `text`, `_id` or `id` (where there is one) and `title` (where there is one). Each of several text fields
    makes a document of its own, as in a table of pairs.
    """

    text: tuple[str, ...] = ()
    id: str | None = None
    title: str | None = None

    def __post_init__(self) -> None:
        text = (self.text,) if isinstance(self.text, str) else tuple(self.text)
        if len(set(text)) < len(text):
            raise UsageError(f"a text column is named twice: {', '.join(text)}.")
        object.__setattr__(self, "text", text)

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


class Registrar:
    """Makes records into documents under ids that are unique in the corpus. Bad ones go to the report.

    The ids given so far lie in a temporary database that spills to disk, so memory stays bounded.
    """

    def __init__(self, columns: Columns, report: Report) -> None:
        self._columns = columns
        self._report = report
        self._title_is_there = columns.title is None
        self._ids = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._ids.execute("PRAGMA journal_mode = OFF")
        self._ids.execute("PRAGMA cache_size = -32768")  # KiB in memory, the rest in the temporary folder
        self._ids.execute("CREATE TABLE ids (id BLOB PRIMARY KEY, place TEXT) WITHOUT ROWID")
        self._ids.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ids.close()

    def documents(self, record: Mapping[str, Any], name: str, where: str) -> list[Document]:
        """The documents of a record (one for each text field); `name` is the file in ids, `where` in messages."""
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
                    isinstance(text, str) and not text.strip() and heading.strip()
                ):  # a record that is all title: the title is what there is to be found
                    text, heading = heading, ""
                if not isinstance(text, str):
                    raise DataError(f"{where}: the field '{field}' must be text, but is {kind_of(text)}.")
                own = identity if identity is None or len(fields) == 1 else f"{identity}/{field}"
                document = self.document(own, text, name, where, heading, metadata)
            except DataError as error:
                self._report.bad(error)
            else:
                if document is not None:
                    made.append(document)
        return made

    def document(
        self,
        identity: str | None,
        text: str,
        name: str,
        where: str,
        title: str = "",
        metadata: Mapping[str, Any] | None = None,
    ) -> Document | None:
        """One document, checked, or None if it has no id of its own and the same content came before."""
        document = Document("-" if identity is None else identity, text, title, metadata or {})
        check_document(document, where)
        if identity is None:
            content = title.encode() + b"\0" + text.encode()
            digest = hashlib.blake2b(content, digest_size=10).hexdigest()
            document = Document(f"{name.removesuffix('.gz')}:{digest}", text, title, metadata or {})
            check_document(Document(document.id, "-"), where)  # the file's name may be no text
        earlier = self._claim(document.id, where)
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
        field = columns.id_field(record)
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
        metadata = {name: record[name] for name in columns.metadata(record)}
        if isinstance(inner := metadata.get("metadata"), dict):  # BEIR's place for it; what stands outside wins
            del metadata["metadata"]
            metadata = {**inner, **metadata}
        return identity, title, metadata

    def _claim(self, identity: str, where: str) -> str | None:
        """Note that the id is taken, or say where it was taken before."""
        key = identity.encode()
        try:
            taken = self._ids.execute("INSERT OR IGNORE INTO ids VALUES (?, ?)", (key, where)).rowcount == 0
        except sqlite3.OperationalError as error:
            raise StorageError(f"the ids so far can't be kept in the temporary folder: {error}.") from error
        if not taken:
            return None
        place = self._ids.execute("SELECT place FROM ids WHERE id = ?", (key,)).fetchone()
        return str(place[0])
