"""Parquet: one document for each row, read a batch at a time."""

from __future__ import annotations

import base64
import datetime
import decimal
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from semsearch.errors import DataError, MissingDependency
from semsearch.parquet_metadata import MARK, PLACE_COLUMN, unpacker
from semsearch.reading.documents import Columns, Registrar, read_files
from semsearch.reading.files import CorpusFile, by_name
from semsearch.types import Confidence, Document, Report
from semsearch.walk import FolderListing

BATCH_ROWS = 1024  # read together


class ParquetReader:
    """Columns that are not text, id or title become metadata; lists of floating-point numbers (vectors) don't.

    What `semsearch export --parquet` wrote is read as it was: `semsearch.parquet_metadata` tells how.
    """

    Options = Columns
    suffixes = (".parquet",)
    forgiving = False

    @classmethod
    def recognises(cls, path: Path) -> Confidence:
        """Files called .parquet; a folder of them only when told so."""
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
    source = file.source if isinstance(file.source, Path) else pyarrow.BufferReader(file.source.read())
    try:
        with parquet.ParquetFile(source) as table:
            schema = table.schema_arrow
            columns.check(schema.names, str(place))
            wanted = [
                field.name
                for field in schema
                if (field.metadata or {}).get(MARK) != PLACE_COLUMN
                and not (
                    (
                        types.is_list(field.type)
                        or types.is_fixed_size_list(field.type)
                        or types.is_large_list(field.type)
                    )
                    and types.is_floating(field.type.value_type)
                )
            ]
            own = {field.name: read for field in schema if (read := unpacker(field)) is not None}
            number, total = 0, table.metadata.num_rows
            for batch in table.iter_batches(BATCH_ROWS, columns=wanted):
                for record in _records(batch):
                    number += 1
                    where = f"{place}, row {number:,}"
                    if record is None:
                        report.bad(DataError(f"{where}: a text that is not UTF-8; write the file anew."))
                        continue
                    try:
                        plain = {
                            name: own[name](value) if name in own else _plain(value) for name, value in record.items()
                        }
                    except ValueError as error:
                        report.bad(DataError(f"{where}: its metadata is no JSON: {error}."))
                        continue
                    yield from registrar.documents(plain, file.name, where)
                report.progress(file.before + file.size * number // total, file.total or file.size)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{place} can't be read: {str(error)[:200]}.") from error


def _records(batch: Any) -> Iterator[dict[str, Any] | None]:
    """The rows of a batch; None for one with a text that is none, which pyarrow only notices here."""
    try:
        records = batch.to_pylist()
    except UnicodeDecodeError:
        records = [_record(batch.slice(row, 1)) for row in range(batch.num_rows)]
    yield from records


def _record(row: Any) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = row.to_pylist()[0]
    except UnicodeDecodeError:
        return None
    return found


def _plain(value: Any) -> Any:
    """A value as JSON has it: times as ISO 8601, decimals as numbers, bytes as base64, no number as null."""
    match value:
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case datetime.timedelta():
            return value.total_seconds()
        case decimal.Decimal():
            return float(value)
        case bytes():
            return base64.b64encode(value).decode()
        case float():
            return value if math.isfinite(value) else None
        case list():
            return [_plain(inner) for inner in value]
        case dict():
            return {name: _plain(inner) for name, inner in value.items()}
    return value
