"""Parquet: one document for each row, read a batch at a time."""

from __future__ import annotations

import datetime
import decimal
import math
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from corpora.parquet_batches import batches
from semsearch.errors import DataError, MissingDependency
from semsearch.metadata_values import decimal_value
from semsearch.parquet_metadata import MARK, PLACE_COLUMN, unpacker
from semsearch.reading.documents import Columns, Registrar, read_files
from semsearch.reading.files import CorpusFile, by_name
from semsearch.types import Confidence, Document, Report
from semsearch.walk import FolderListing

_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}  # of a unit of time below the second


class ParquetReader:
    """Columns that are not text, id or title become metadata; lists of floating-point numbers (vectors) don't.

    Metadata is what JSON has: times are texts in ISO 8601, in UTC where they have a zone, so that they compare;
    decimals and durations (in seconds) are numbers where a number holds them, else texts; bytes are the text that they
    are, else their hexadecimal digits. What `semsearch export --parquet` wrote is read as it was:
    `semsearch.parquet_metadata` tells how.
    """

    Options = Columns
    suffixes = (".parquet",)
    forgiving = False

    @classmethod
    def recognises(cls, path: Path) -> Confidence:
        """Files called .parquet, and folders of no others."""
        return by_name(path, cls.suffixes)

    @classmethod
    def read(cls, source: Path | BinaryIO | FolderListing, options: Columns, report: Report) -> Iterator[Document]:
        """The documents of a file, a stream, or all such files of a folder."""

        def documents(file: CorpusFile, registrar: Registrar) -> Iterator[Document]:
            return _rows(file, options, registrar, report)

        return read_files(source, cls.suffixes, options, report, documents)


def _rows(file: CorpusFile, columns: Columns, registrar: Registrar, report: Report) -> Iterator[Document]:
    try:
        import pyarrow
        from pyarrow import parquet, types
    except ImportError as error:
        raise MissingDependency("Parquet needs pyarrow: pip install 'semsearch[documents]'.") from error
    place = file.source if isinstance(file.source, Path) else "standard input"
    source = file.source if isinstance(file.source, Path) else pyarrow.py_buffer(file.source.read())

    def opened(**options: Any) -> Any:
        return parquet.ParquetFile(source if isinstance(source, Path) else pyarrow.BufferReader(source), **options)

    try:
        with opened() as table:
            schema, total = table.schema_arrow, table.metadata.num_rows
        for name, count in Counter(schema.names).items():
            if count > 1:
                raise DataError(f"{place}: the column '{name}' is there twice; one of the two would be lost.")
        columns.check(schema.names, str(place))
        wanted = [
            field.name
            for field in schema
            if (field.metadata or {}).get(MARK) != PLACE_COLUMN
            and not (
                (types.is_list(field.type) or types.is_fixed_size_list(field.type) or types.is_large_list(field.type))
                and types.is_floating(field.type.value_type)
            )
        ]
        rows = _Rows(schema, set(schema.names) - set(columns.metadata(schema.names)))
        number = 0
        for batch in batches(opened, wanted):
            if isinstance(batch, tuple):
                reason, count = batch
                where = f"row {number + 1:,}" if count == 1 else f"the rows {number + 1:,} to {number + count:,}"
                report.bad(DataError(f"{place}, {where}: {reason}"))
                number += count
                continue
            for record in rows.records(batch):
                number += 1
                where = f"{place}, row {number:,}"
                if isinstance(record, str):
                    report.bad(DataError(f"{where}: {record}"))
                else:
                    yield from registrar.documents(record, file.name, where)
            report.progress(file.before + file.size * number // total, file.total or file.size)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{place} can't be read: {str(error)[:200]}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{place} can't be read: the name of a column is not UTF-8; write the file anew.") from error


class _Rows:
    """Turns batches into records of JSON values."""

    def __init__(self, schema: Any, texts: set[str]) -> None:
        """`texts`: the columns of text, title and id, whose bytes must be text."""
        self._texts = texts
        self._own = {field.name: read for field in schema if (read := unpacker(field)) is not None}

    def records(self, batch: Any) -> Iterator[dict[str, Any] | str]:
        """The rows of a batch; for one that holds what can't be, what is wrong with it."""
        try:
            found: list[dict[str, Any] | str] = [*self._read(batch)]
        except (ValueError, OverflowError):
            found = [self._record(batch.slice(row, 1)) for row in range(batch.num_rows)]
        yield from found

    def _record(self, row: Any) -> dict[str, Any] | str:
        try:
            return next(self._read(row))
        except UnicodeDecodeError:
            return "a text that is not UTF-8; write the file anew."
        except (ValueError, OverflowError) as error:
            return f"{error}."

    def _read(self, batch: Any) -> Iterator[dict[str, Any]]:
        names = batch.schema.names
        columns = [self._column(name, column) for name, column in zip(names, batch.columns, strict=True)]
        for values in zip(*columns, strict=True):
            yield dict(zip(names, values, strict=True))

    def _column(self, name: str, column: Any) -> list[Any]:
        if (own := self._own.get(name)) is not None:
            try:
                return [own(value) for value in column.to_pylist()]
            except UnicodeDecodeError:
                raise
            except ValueError as error:
                raise ValueError(f"its metadata is no JSON: {error}") from error
        if _is_special(column.type):
            return [_value(scalar, name in self._texts) for scalar in column]
        return [_plain(value) for value in column.to_pylist()]


def _is_special(kind: Any) -> bool:
    """Whether a type is, or holds, one whose values Python has no right value for."""
    from pyarrow import types

    if types.is_dictionary(kind):
        return _is_special(kind.value_type)
    if types.is_nested(kind):
        return any(_is_special(kind.field(place).type) for place in range(kind.num_fields))
    return bool(types.is_temporal(kind) or types.is_duration(kind) or _is_binary(kind))


def _is_binary(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


def _value(scalar: Any, text: bool) -> Any:
    """A value of such a type as JSON has it; `text`: bytes must be text.

    Raises:
        ValueError: It can't be said.
    """
    from pyarrow import types

    if not scalar.is_valid:
        return None
    kind = scalar.type
    if types.is_dictionary(kind):
        return _value(scalar.value, text)
    if types.is_struct(kind):
        return {name: _value(inner, text) for name, inner in scalar.items()}
    if types.is_nested(kind):
        return [_value(inner, text) for inner in scalar.values]
    if types.is_timestamp(kind):
        return _moment(scalar.value, kind.unit) + ("+00:00" if kind.tz is not None else "")
    if types.is_date(kind):
        days = scalar.value if types.is_date32(kind) else scalar.value // 86_400_000
        return _moment(days * 86_400, "s").partition("T")[0]
    if types.is_time(kind):
        return _moment(scalar.value, kind.unit).partition("T")[2]
    if types.is_duration(kind):
        return decimal_value(decimal.Decimal(scalar.value).scaleb(-_DIGITS[kind.unit]))
    if _is_binary(kind):
        return _bytes(scalar.as_py(), text)
    return _plain(scalar.as_py())


def _moment(count: int, unit: str) -> str:
    """A time in ISO 8601, so many units after the beginning of 1970."""
    seconds, rest = divmod(count, 10 ** _DIGITS[unit])
    try:
        whole = (datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)).isoformat()
    except OverflowError:
        raise ValueError("it holds a time that lies beyond the years 1 to 9999") from None
    digits = f"{rest:0{_DIGITS[unit]}}" if rest else ""
    if digits:  # milliseconds as microseconds, so that all compare
        digits = "." + (digits.ljust(6, "0") if len(digits) <= 6 or digits[6:] != "000" else digits[:6])
    return whole + digits


def _bytes(value: bytes, text: bool) -> str:
    if text:
        return value.decode()
    try:
        found = value.decode()
    except UnicodeDecodeError:
        return value.hex()
    return found if "\0" not in found else value.hex()


def _plain(value: Any) -> Any:
    """A value as JSON has it: decimals as numbers or texts, no number as null."""
    match value:
        case decimal.Decimal():
            return decimal_value(value)
        case float():
            return value if math.isfinite(value) else None
        case uuid.UUID():
            return str(value)
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case dict():
            return {name: _plain(inner) for name, inner in value.items()}
    return value
