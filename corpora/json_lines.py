"""JSON: one object a line, or an array of objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from semsearch.dates import read as date_of
from semsearch.errors import DataError, UsageError
from semsearch.options import option
from semsearch.places import Position
from semsearch.reading.documents import Columns, Registrar, read_files
from semsearch.reading.files import UTF_8, CorpusFile, by_name, check_encoding, open_input
from semsearch.reading.json_objects import read_objects
from semsearch.types import Confidence, Document, Report
from semsearch.walk import FolderListing


@dataclass(frozen=True)
class JSONOptions(Columns):
    """Columns, and the encoding of the file.

    JSON says all types but that of a date, which `types` names where a field holds them in the form of e-mail, say;
    those in ISO form need no type. Times are kept in UTC.
    """

    types: Mapping[str, str] = option({}, "fields that hold dates, as in created=date")
    encoding: str = option(UTF_8, "that the files are in")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "encoding", check_encoding(self.encoding))
        for name, kind in self.types.items():
            if kind != "date":
                raise UsageError(f"JSON says the type of '{name}' itself: 'date' alone can be named, not {kind!r}.")


class JSONLinesReader:
    """One document for each object, of a line or an array.

    Fields that are not text, id or title become metadata with their JSON types.
    """

    Options = JSONOptions
    suffixes = (".jsonl", ".ndjson", ".jsonlines", ".json")
    forgiving = False

    @classmethod
    def recognises(cls, path: Path) -> Confidence:
        """Files called .jsonl, .ndjson, .jsonlines or .json, also with .gz behind, and folders of no others."""
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
        lacking = set(options.types)
        with open_input(file, options.encoding) as data:
            for where, line, record in read_objects(data, report):
                if options.types:
                    lacking -= {name for name in lacking if _holder(record, name) is not None}
                    try:
                        record = _with_dates(record, options.types, where)
                    except DataError as error:
                        report.bad(error)
                        continue
                yield from registrar.documents(record, file.name, where, Position(line, file=inside))
            if lacking:
                report.bad(DataError(f"{data.name}: no record has the field '{min(lacking)}', to be a date."))

    return read_files(source, suffixes, options, report, documents)


def _holder(record: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """The object that has the field: the record, or the metadata in it."""
    inner = record.get("metadata")
    return record if name in record else inner if isinstance(inner, dict) and name in inner else None


def _with_dates(record: dict[str, Any], names: Iterable[str], where: str) -> dict[str, Any]:
    """The record with its dates in the form that is kept."""
    for name in names:
        holder = _holder(record, name)
        if holder is None or holder[name] is None:
            continue
        try:
            value = holder[name]
            read = [date_of(one) for one in value] if isinstance(value, list) else date_of(value)
        except (ValueError, AttributeError):  # or no text at all
            raise DataError(f"{where}: the field '{name}' should be a date, but is {holder[name]!r:.60}.") from None
        changed = {**holder, name: read}
        record = changed if holder is record else {**record, "metadata": changed}
    return record
