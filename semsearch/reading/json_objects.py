"""From a file to the JSON objects in it: one a line, those of one array, or one after another."""

from __future__ import annotations

import codecs
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from semsearch.arguments import kind_of
from semsearch.errors import DataError
from semsearch.reading.files import (
    MAX_TEXT_BYTES,
    READ_AT_ONCE,
    REPORT_EVERY,
    UTF_8,
    Input,
    damaged,
    has_suffix,
    not_utf8,
    read_lines,
)
from semsearch.types import Report

_BLANK = " \t\r\n"
_BLANKS_AHEAD = re.compile(r"[ \t\r\n]*")


def read_objects(data: Input, report: Report) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """The objects with their places in words and the lines where they begin.

    They stand one a line, in one array, or, in a .json file, one after another. Lines of white space are passed over.
    """
    decoder = _Decoder()
    if has_suffix(Path(data.name), (".json",)) or _begins(data, b"["):
        yield from _elements(data, decoder, report)
        return
    for number, line in read_lines(data, report):
        if line.isspace():
            continue
        where = f"{data.name}, line {number:,}"
        try:
            value, _ = decoder.value(line, len(line) - len(line.lstrip(_BLANK)), where)
            yield where, number, value
        except DataError as error:
            report.bad(error)


def _begins(data: Input, mark: bytes) -> bool:
    try:
        return bool(cast("Any", data.stream).peek(READ_AT_ONCE).removeprefix(codecs.BOM_UTF8).lstrip().startswith(mark))
    except (OSError, EOFError, zlib.error):  # told when it is read
        return False


def _elements(data: Input, decoder: _Decoder, report: Report) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """The objects of a file that is one array, or objects one after another; behind what is no JSON nothing is read."""
    text = _Ahead(data)
    try:
        array = text.next() == "["
        number = 0
        text.place += array
        while (character := text.next()) and character != "]":
            number += 1
            where, line = f"{data.name}, record {number:,}", text.line()
            value = text.value(decoder, where)
            if isinstance(value, DataError):
                report.bad(value)
            else:
                yield where, line, value
            if array and text.next() == ",":
                text.place += 1
            elif array and text.next() != "]":
                raise DataError(f"{where}: not JSON: no comma and no bracket stands behind it.")
            if number % REPORT_EVERY == 0:
                data.progress(report)
        if array:
            if not character:
                raise DataError(f"{data.name}: the array has no end; it was read up to the record {number:,}.")
            text.place += 1
        if text.next():
            raise DataError(f"{data.name}: more stands behind the record {number:,}, and is not read.")
        if (fault := data.fault(f"after record {number:,}")) is not None:
            raise fault
    except DataError as error:
        report.bad(error, file=True)
    data.progress(report)


class _Ahead:
    """A text that is read as far as it is looked at."""

    def __init__(self, data: Input) -> None:
        self._data = data
        self._decoder = codecs.getincrementaldecoder(UTF_8)()
        self._offset = 0
        self._text = ""
        self._whole = False  # all of it is read
        self._line = 1
        self._counted = 0  # the place up to which its lines are
        self.place = 0

    def line(self) -> int:
        """The line of the file that the place is in, counted from 1."""
        self._line += self._text.count("\n", self._counted, self.place)
        self._counted = self.place
        return self._line

    def next(self) -> str:
        """The next character that is no white space, which stays; empty at the end."""
        while True:
            rest = len(self._text) - self.place
            found = _BLANKS_AHEAD.match(self._text, self.place)
            self.place = found.end() if found else self.place
            if self.place < len(self._text):
                return self._text[self.place]
            if self._whole:
                return ""
            self._read(max(rest, READ_AT_ONCE))

    def value(self, decoder: _Decoder, where: str) -> dict[str, Any] | DataError:
        """The object that stands here, or what is wrong with it.

        Raises:
            DataError: It is no JSON at all, so that it has no end.
        """
        while True:
            rest = len(self._text) - self.place
            try:
                value, end = decoder.value(self._text, self.place, where, ends=False)
            except _Fault as fault:
                self.place = fault.end
                return DataError(str(fault))
            except DataError:
                if self._whole:
                    raise
                if rest > MAX_TEXT_BYTES:
                    raise DataError(f"{where}: longer than {MAX_TEXT_BYTES:,} characters.") from None
            else:
                self.place = end
                return value
            self._read(max(rest, READ_AT_ONCE))  # as much again, so that no text is looked at often

    def _read(self, count: int) -> None:
        self.line()
        try:
            raw = self._data.stream.read(count)
            self._whole = not raw
            if self._whole and not self._data.whole and (fault := self._data.fault()) is not None:
                raise fault
            if self._offset == 0:
                raw = raw.removeprefix(codecs.BOM_UTF8)
            self._text = self._text[self.place :] + self._decoder.decode(raw, final=not raw)
        except (OSError, EOFError, zlib.error) as error:
            raise damaged(self._data, "", error) from error
        except UnicodeDecodeError as error:
            raise DataError(f"{self._data.name}: {not_utf8(raw, error, self._offset)}") from None
        self._offset += len(raw)
        self.place = self._counted = 0


class _Fault(DataError):
    """Wrong with a value whose end is known."""

    end: int = 0


class _Decoder:
    """Reads JSON objects, in which no key comes twice and each number is one."""

    def __init__(self) -> None:
        self._wrong: list[str] = []
        self._decoder = json.JSONDecoder(parse_constant=self._no_number, object_pairs_hook=self._object)

    def value(self, text: str, place: int, where: str, *, ends: bool = True) -> tuple[dict[str, Any], int]:
        """The object at a place and where it ends; `ends`: nothing but white space may stand behind it.

        Raises:
            DataError: What is wrong with it; a `_Fault` where its end is known.
        """
        self._wrong.clear()
        try:
            value, end = self._decoder.raw_decode(text, place)
            if ends and text[end:].strip(_BLANK):
                behind = len(text) - len(text[end:].lstrip(_BLANK))
                raise json.JSONDecodeError("Extra data", text, behind)
        except json.JSONDecodeError as error:
            raise DataError(f"{where}: not JSON: {error.msg} at column {error.colno:,}.") from None
        except RecursionError:
            raise DataError(f"{where}: nested too deeply to be read.") from None
        except ValueError:
            raise DataError(f"{where}: a number has more digits than are read; write it as a text.") from None
        if self._wrong:
            fault = _Fault(f"{where}: {self._wrong[0]}")
        elif not isinstance(value, dict):
            fault = _Fault(f"{where}: must be a JSON object, but is {kind_of(value)}.")
        else:
            return value, end
        fault.end = end
        raise fault

    def _no_number(self, literal: str) -> None:
        self._wrong.append(f"{literal} is no JSON number.")

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        record = dict(pairs)
        if len(record) < len(pairs):
            twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
            self._wrong.append(f"the key {twice!r:.60} comes twice; one of its values would be lost.")
        return record
