"""Tables: comma- or tab-separated values under a header, a document a row."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from semsearch.dates import read as read_date
from semsearch.errors import DataError, UsageError
from semsearch.options import option
from semsearch.places import Position
from semsearch.reading.documents import Columns, Registrar, read_files
from semsearch.reading.files import (
    MAX_TEXT_BYTES,
    UTF_8,
    CorpusFile,
    Input,
    Line,
    NullReport,
    StrictReport,
    by_name,
    check_encoding,
    has_suffix,
    open_input,
    read_lines,
    rereadable,
    rewind,
)
from semsearch.types import Confidence, Document, Report
from semsearch.walk import FolderListing

TYPES = ("str", "int", "float", "bool", "date", "list")
_INT = re.compile(r"[+-]?(?:0|[1-9][0-9]*)")  # 007 is a name, not a number
_FLOAT = re.compile(r"[+-]?(?:0|[1-9][0-9]*)?(?:\.[0-9]+|(?<=[0-9])\.?)(?:[eE][+-]?[0-9]+)?")
_LONG = "long"  # of a whole number that is none of a float: beside fractions it stays text
_BOOL = {"true": True, "false": False}
_QUOTED = re.compile(r'"(?:[^"]|"")*"?')
_SEPARATOR = re.compile(r"sep=(.)\s*", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class TableOptions(Columns):
    """Columns, and how the table is written.

    `types` says what a metadata column holds (`str`, `int`, `float`, `bool`, `date`, `list`) where the whole file would
    suggest another type; of a list the texts are parted by `separator`. A date in ISO form needs no type: `date` reads
    that of e-mail, too, and refuses what is none; times are kept in UTC.

    `delimiter` is found in the header where it is not
    given; `quotes=False` takes quotation marks as any other character.
    """

    types: Mapping[str, str] = option({}, "type of each metadata column that is not to be found out")
    delimiter: str | None = option(None, "between the cells; found in the header")
    quotes: bool = option(True, "whether quotation marks enclose cells")
    separator: str = option(",", "between the texts of a cell that is a list")
    encoding: str = option(UTF_8, "that the files are in")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, kind in self.types.items():
            if kind not in TYPES:
                raise UsageError(f"the type of column '{name}' must be one of {', '.join(TYPES)}, not {kind!r}.")
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n'):
            raise UsageError(f"the delimiter must be one character, not {self.delimiter!r}.")
        if not self.separator:
            raise UsageError("the separator is empty; a comma or a semicolon, say, parts the texts of a list.")
        object.__setattr__(self, "encoding", check_encoding(self.encoding))

    def check(self, names: Iterable[str], where: str) -> None:
        """Refuse a header that lacks a column, or holds one twice."""
        names = list(names)
        super().check(names, where)
        for name in self.types:
            if name not in names:
                raise DataError(f"{where}: there is no column '{name}' to give the type '{self.types[name]}' to.")
            if name not in self.metadata(names):
                raise DataError(f"{where}: the column '{name}' is no metadata but text, id or title, and stays text.")
        for position, name in enumerate(names):
            if name in names[:position]:
                raise DataError(f"{where}: the column '{name}' is there twice.")


class DelimitedReader:
    """One document for each row, or for each text column of it; the cells that are left over become metadata.

    Their types (int, float, bool, else text) are those that every filled cell of a column has; an empty cell is no
    metadata. That takes two readings, so a stream is first copied to a temporary file.
    """

    Options = TableOptions
    suffixes = (".csv", ".tsv", ".tab")
    forgiving = False

    @classmethod
    def recognises(cls, path: Path) -> Confidence:
        """Files called .csv, .tsv or .tab, also with .gz behind, and folders of no others."""
        return by_name(path, cls.suffixes)

    @classmethod
    def read(cls, source: Path | BinaryIO | FolderListing, options: TableOptions, report: Report) -> Iterator[Document]:
        """The documents of a file, a stream, or all such files of a folder."""

        def documents(file: CorpusFile, registrar: Registrar) -> Iterator[Document]:
            with rereadable(file) as table:
                yield from _documents(table, options, registrar, report)

        return read_files(source, cls.suffixes, options, report, documents)


def _documents(file: CorpusFile, options: TableOptions, registrar: Registrar, report: Report) -> Iterator[Document]:
    types: dict[str, str] = {}
    rewind(file)
    with open_input(file, options.encoding) as data:
        rows = TableRows(data, options, NullReport())
        columns = [name for name in options.metadata(rows.names) if name not in options.types]
        if columns:
            types = infer_types(rows, columns)
    types |= options.types
    rewind(file)
    with open_input(file, options.encoding) as data:
        rows = TableRows(data, options, report)
        left = set(options.metadata(rows.names))
        for line, row in rows:
            where = f"{data.name}, line {line:,}"
            record: dict[str, Any] = dict(row)
            try:
                for name in left:
                    if row[name]:
                        record[name] = convert(row[name], types.get(name, "str"), name, where, options.separator)
                    else:
                        del record[name]
            except DataError as error:
                report.bad(error)
                continue
            yield from registrar.documents(record, file.name, where, Position(line))


class TableRows:
    """The rows under a header, each with the line where it begins; rows of another length go to the report."""

    def __init__(self, data: Input, options: TableOptions, report: Report) -> None:
        self._data, self._report, self._quotes = data, report, options.quotes
        gate = _HeaderGate()
        lines = read_lines(data, gate)
        first = next((line for line in lines if not line.text.isspace()), None)
        told = _SEPARATOR.fullmatch(first.text) if first is not None else None
        if told is not None:  # Excel's own line, which is no part of the table
            first = next((line for line in lines if not line.text.isspace()), None)
        if first is None:
            raise DataError(f"{data.name} has no header line: it is empty.")
        self._start: int | None = None  # the line where the row that is being read begins
        self._last = first.number  # the line that was read last
        csv.field_size_limit(max(csv.field_size_limit(), MAX_TEXT_BYTES))  # its 128 KiB would refuse a long document
        self._reader = csv.reader(
            self._feed(chain([first], lines)),
            delimiter=options.delimiter or (told[1] if told else _delimiter(data.name, first.text, options.quotes)),
            quoting=csv.QUOTE_MINIMAL if options.quotes else csv.QUOTE_NONE,
            strict=True,
        )
        try:
            header = next(self._reader)
        except csv.Error as error:
            raise DataError(f"{data.name}, line {first.number:,}: the header can't be read: {error}.") from None
        gate.report = report
        self.names = [name or f"column{position}" for position, name in enumerate(header, start=1)]
        options.check(self.names, f"{data.name}, line {first.number:,}")

    def _feed(self, lines: Iterable[Line]) -> Iterator[str]:
        for number, text in lines:
            if self._start is None:
                self._start = number
            self._last = number
            yield text

    def __iter__(self) -> Iterator[tuple[int, dict[str, str]]]:
        while True:
            self._start = None
            try:
                row = next(self._reader, None)
            except csv.Error as error:
                hint = (
                    " If quotation marks are ordinary characters in this file, say so (--read quotes=false)."
                    if self._quotes
                    else ""
                )
                lines = self._last - (self._start or 0) + 1
                lost = f" It costs {lines:,} lines, to the line {self._last:,}." if lines > 1 else ""
                if "unexpected end of data" in str(error):
                    error = csv.Error("a quotation mark that begins a cell of it is never closed")
                self._report.bad(
                    DataError(f"{self._data.name}, line {self._start:,}: the row can't be read: {error}.{lost}{hint}")
                )
                continue
            if row is None:
                return
            if not row:
                continue
            line = self._start or 1
            where = f"{self._data.name}, line {line:,}"
            if len(row) != len(self.names):
                self._report.bad(
                    DataError(f"{where}: the row has {_fields(len(row))}, where the header has {len(self.names):,}.")
                )
                continue
            yield line, dict(zip(self.names, row, strict=True))


class _HeaderGate(StrictReport):
    """Raises what is wrong up to the header, without which nothing can be read; then passes on to a report."""

    report: Report | None = None

    def bad(self, error: DataError, *, file: bool = False) -> None:
        """Raise it, or give it to the report."""
        if self.report is None:
            raise error
        self.report.bad(error, file=file)

    def progress(self, done: int, total: int) -> None:
        """Give it to the report."""
        if self.report is not None:
            self.report.progress(done, total)


def _delimiter(name: str, header: str, quotes: bool) -> str:
    if has_suffix(Path(name), (".tsv", ".tab")):
        return "\t"
    bare = _QUOTED.sub("", header) if quotes else header
    return max((",", ";", "\t", "|"), key=bare.count)


def infer_types(rows: TableRows, columns: Sequence[str]) -> dict[str, str]:
    """The narrowest type that every filled cell of each column has; columns without a filled cell are left out."""
    types: dict[str, str] = {}
    open_columns = list(columns)
    for _, row in rows:
        for name in open_columns:
            if cell := row[name]:
                kind, before = _type_of(cell), types.get(name)
                types[name] = kind if before is None else _either(kind, before)
        open_columns = [name for name in open_columns if types.get(name) != "str"]
        if not open_columns:
            break
    return {name: "int" if kind == _LONG else kind for name, kind in types.items()}


def _either(one: str, other: str) -> str:
    """The type of a column that holds cells of two."""
    kinds = {one, other}
    if len(kinds) == 1:
        return one
    if kinds == {"int", _LONG}:
        return _LONG
    return "float" if kinds == {"int", "float"} else "str"


def _type_of(cell: str) -> str:
    """The type as which a cell comes back as it was written; 1.10 is none of a number, which would be 1.1."""
    if _INT.fullmatch(cell):
        if len(cell) > 20 or not -(2**63) <= (number := int(cell)) < 2**63 or str(number) != cell:
            return "str"
        return "int" if int(float(number)) == number else _LONG
    if _FLOAT.fullmatch(cell) and math.isfinite(fraction := float(cell)):
        same = Decimal(repr(fraction)) == Decimal(cell) if "e" in cell.lower() else repr(fraction) == cell
        return "float" if same else "str"
    return "bool" if cell.lower() in _BOOL else "str"


def convert(cell: str, kind: str, name: str, where: str, separator: str = ",") -> str | int | float | bool | list[str]:
    """A cell as its column's type, or a `DataError`."""
    try:
        match kind:
            case "int":
                return int(cell)
            case "float":
                number = float(cell)
                if not math.isfinite(number):
                    raise ValueError
                return number
            case "bool":
                return _BOOL[cell.lower()]
            case "date":
                return read_date(cell)
            case "list":
                return [text for part in cell.split(separator) if (text := part.strip())]
    except (ValueError, KeyError):
        raise DataError(f"{where}: the column '{name}' should hold type {kind}, but here holds {cell!r:.60}.") from None
    return cell


def _fields(count: int) -> str:
    return "1 field" if count == 1 else f"{count:,} fields"
