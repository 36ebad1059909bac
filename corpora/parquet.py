"""Parquet: one document for each row, read a batch at a time."""

from __future__ import annotations

import base64
import datetime
import decimal
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from corpora.files import Entry, entries, has_suffix
from corpora.records import Columns, Registrar
from semsearch.errors import DataError, MissingDependency
from semsearch.parquet_metadata import MARK, PLACE, unpacker
from semsearch.types import Document, Report
from semsearch.walk import FolderListing

SUFFIXES = (".parquet",)
ROWS = 1024  # read together


class ParquetReader:
    """Columns that are not text, id or title become metadata; lists of floating-point numbers (vectors) don't.

    What `semsearch export --parquet` wrote is read as it was: `semsearch.parquet_metadata` tells how.
    """

    Options = Columns
    suffixes = SUFFIXES

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Files called .parquet; a folder of them only when told so."""
        return has_suffix(path, SUFFIXES) and not path.is_dir()

    @classmethod
    def read(cls, source: Path | BinaryIO | FolderListing, options: Columns, report: Report) -> Iterator[Document]:
        """The documents of a file, or of all such files of a folder."""
        with Registrar(options, report) as registrar:
            for entry in entries(source, SUFFIXES, report):
                try:
                    yield from _rows(entry, options, registrar, report)
                except DataError as error:
                    report.bad(error)


def _rows(entry: Entry, columns: Columns, registrar: Registrar, report: Report) -> Iterator[Document]:
    try:
        import pyarrow
        from pyarrow import parquet, types
    except ImportError as error:
        raise MissingDependency("Parquet needs pyarrow: pip install 'semsearch[documents]'.") from error
    place = entry.source if isinstance(entry.source, Path) else "standard input"
    source = entry.source if isinstance(entry.source, Path) else pyarrow.BufferReader(entry.source.read())
    try:
        with parquet.ParquetFile(source) as file:
            schema = file.schema_arrow
            columns.check(schema.names, str(place))
            wanted = [
                field.name
                for field in schema
                if (field.metadata or {}).get(MARK) != PLACE
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
            number, total = 0, file.metadata.num_rows
            for batch in file.iter_batches(ROWS, columns=wanted):
                for record in batch.to_pylist():
                    number += 1
                    where = f"{place}, row {number:,}"
                    try:
                        plain = {
                            name: own[name](value) if name in own else _plain(value) for name, value in record.items()
                        }
                    except ValueError as error:
                        report.bad(DataError(f"{where}: its metadata is no JSON: {error}."))
                        continue
                    yield from registrar.documents(plain, entry.name, where)
                report.progress(entry.before + entry.size * number // total, entry.total or entry.size)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{place} can't be read: {str(error)[:200]}.") from error


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
