"""JSON lines: one object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from corpora.files import Input, entries, has_suffix, open_input, read_lines
from corpora.records import Columns, Registrar
from semsearch.errors import DataError
from semsearch.types import Document, Report
from semsearch.validation import kind_of
from semsearch.walk import FolderListing

SUFFIXES = (".jsonl", ".ndjson", ".jsonlines")


class JSONLinesReader:
    """One document for each object. Fields that are not text, id or title become metadata with their JSON types."""

    Options = Columns
    suffixes = SUFFIXES

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Files called .jsonl, .ndjson or .jsonlines, also with .gz behind; a folder of them only when told so."""
        return has_suffix(path, SUFFIXES) and not path.is_dir()

    @classmethod
    def read(cls, source: Path | BinaryIO | FolderListing, options: Columns, report: Report) -> Iterator[Document]:
        """The documents of a file, a stream, or all such files of a folder."""
        with Registrar(options, report) as registrar:
            for entry in entries(source, SUFFIXES, report):
                try:
                    with open_input(entry) as data:
                        for where, record in records(data, report):
                            yield from registrar.documents(record, entry.name, where)
                except DataError as error:
                    report.bad(error)


def records(data: Input, report: Report) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line's object with its place in words; lines of white space are passed over."""
    for number, line in read_lines(data, report):
        if line.isspace():
            continue
        where = f"{data.name}, line {number:,}"
        try:
            yield where, parse(line, where)
        except DataError as error:
            report.bad(error)


def parse(line: str, where: str) -> dict[str, Any]:
    """The object that a line holds, or a `DataError` that says what is wrong with it."""
    try:
        record = _DECODER.decode(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not JSON: {error.msg} at column {error.colno:,}.") from None
    except RecursionError:
        raise DataError(f"{where}: nested too deeply to be read.") from None
    except ValueError as error:  # NaN, or a number of more digits than Python converts
        raise DataError(f"{where}: {error}") from None
    if not isinstance(record, dict):
        hint = " A file that is one JSON array must be written as one object a line." if line[0] == "[" else ""
        raise DataError(f"{where}: must be a JSON object, but is {kind_of(record)}.{hint}")
    return record


def _no_number(literal: str) -> NoReturn:
    raise ValueError(f"{literal} is no JSON number.")


_DECODER = json.JSONDecoder(parse_constant=_no_number)  # json.loads would make one for every line
