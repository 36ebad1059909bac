"""From files and streams, packed with gzip or not, to numbered lines of UTF-8 of bounded length.

Public: readers of corpora stand on this, a third party's like the built-in ones. What can't be read is named with its
file, line and byte, given to the report, and the reading goes on behind it: a bad line costs that line, a damaged file
the rest of that file.
"""

from __future__ import annotations

import codecs
import io
import os
import shutil
import stat
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from semsearch.errors import DataError, UsageError
from semsearch.names import escaped
from semsearch.places import Position
from semsearch.reading.packed import GZIP_MAGIC, UNPACKED_AT_ONCE, Unpacked
from semsearch.types import Confidence, Report
from semsearch.walk import FolderListing, walk

MAX_TEXT_BYTES = 32 * 2**20  # of a line or a document: above every book, below what a machine has memory for
UTF_8 = "utf-8"
REPORT_EVERY = 256  # lines
READ_AT_ONCE = 1 << 16  # bytes that are read


class Line(NamedTuple):
    """A line of text with its ending, and its number, counted from 1."""

    number: int
    text: str


class CorpusFile(NamedTuple):
    """What to open of a corpus, the name that its documents' ids carry, its bytes and those of all before."""

    source: Path | IO[bytes]
    name: str
    size: int = 0
    before: int = 0
    total: int = 0


@dataclass
class Input:
    """An open source of bytes, unpacked; `name` is what messages call it."""

    name: str
    stream: IO[bytes]
    _raw: IO[bytes]
    _size: int
    _before: int = 0
    _total: int = 0
    _packed: Unpacked | None = None

    @property
    def whole(self) -> bool:
        """Whether what is packed was read to its own end, so that its last line is one."""
        return self._packed is None or self._packed.whole

    def fault(self, where: str = "") -> DataError | None:
        """At the end: why what is packed ends there, if it should not; `where` says behind what."""
        if self._packed is None or not self._packed.fault:
            return None
        return damaged(self, where, OSError(self._packed.fault))

    def progress(self, report: Report) -> None:
        """Tell the report how far the bytes are read."""
        if self._size:
            report.progress(self._before + min(self._raw.tell(), self._size), self._total or self._size)


class NullReport:
    """A report for a first reading: what is wrong is said in the second."""

    def bad(self, error: DataError, *, file: bool = False) -> None:
        """Nothing."""

    def lost(self, error: DataError, *, failed: bool = False) -> None:
        """Nothing."""

    def unread(self, path: Path) -> None:
        """Nothing."""

    def enters(self, name: str) -> None:
        """Nothing."""

    def register(self, identity: str, where: str, position: Position | None = None) -> str | None:
        """Nothing: every id is new."""

    def merged(self) -> None:
        """Nothing."""

    def progress(self, done: int, total: int) -> None:
        """Nothing."""


class StrictReport(NullReport):
    """A report for what is little and must be right: whatever is wrong ends the reading."""

    def bad(self, error: DataError, *, file: bool = False) -> None:
        """Raise it."""
        raise error

    def lost(self, error: DataError, *, failed: bool = False) -> None:
        """Raise it."""
        raise error


def has_suffix(path: Path, suffixes: tuple[str, ...]) -> bool:
    """Whether the file's name ends in one of `suffixes`, a `.gz` behind it taken off."""
    return path.name.lower().removesuffix(".gz").endswith(suffixes)


def by_name(path: Path, suffixes: tuple[str, ...]) -> Confidence:
    """What a reader of files with these suffixes says of a path: surely such a file, likely a folder of no others."""
    if path.is_dir():
        return Confidence.LIKELY if _holds_only(path, suffixes) else Confidence.NONE
    return Confidence.CERTAIN if has_suffix(path, suffixes) and path.is_file() else Confidence.NONE


def _holds_only(folder: Path, suffixes: tuple[str, ...]) -> bool:
    """Whether a folder has files, hidden ones apart, and all of them with these suffixes: another ends the look."""
    found = False
    for _, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if not name.startswith(".")]
        for name in names:
            if not name.startswith("."):
                if not has_suffix(Path(name), suffixes):
                    return False
                found = True
    return found


def printable(path: object) -> str:
    """A path as text that can be printed: bytes of a file name that are not UTF-8 are escaped."""
    return escaped(str(path))


def corpus_files(
    source: Path | IO[bytes] | FolderListing, suffixes: tuple[str, ...], report: Report
) -> Iterator[CorpusFile]:
    """The file or stream itself, or the folder's files with these suffixes, sorted; others go to `report.unread`.

    Before each file of a folder the report is told its name. For what belongs to a folder see `semsearch.walk`.
    """
    if isinstance(source, Path) and source.is_dir():
        source = walk(source)
    if not isinstance(source, FolderListing):
        yield CorpusFile(source, source.name if isinstance(source, Path) else "-")
        return
    listing = source.ending(suffixes)
    for folder, reason in listing.unreadable:
        report.bad(DataError(f"the folder {printable(listing.root / folder)} can't be read: {reason}."), file=True)
    for name in listing.others:
        report.unread(listing.root / name)
    total = sum(file.size for file in listing.files)
    before = 0
    for entry in listing.files:
        report.enters(entry.name)
        yield CorpusFile(Path(entry.path), entry.name, entry.size, before, total)
        before += entry.size


def check_encoding(name: str) -> str:
    """The encoding as Python calls it, or a `UsageError` that says what one is."""
    try:
        found = codecs.lookup(name)
        "".encode(found.name)
    except (LookupError, ValueError):
        raise UsageError(f"there is no encoding {name!r:.40}; cp1252, shift_jis and utf-16 are some.") from None
    return found.name


class _Recoded(io.RawIOBase):
    """Bytes of another encoding as UTF-8, read as they are needed; what is no text of it becomes what is no UTF-8."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            raw = self._stream.read(READ_AT_ONCE)
            try:
                text = self._decoder.decode(raw, final=not raw)
            except UnicodeDecodeError as error:  # where it can't be passed over, nothing behind it is sure
                raise OSError(f"it is not {error.encoding}") from error
            self._ready = text.encode("utf-8", "surrogateescape")
            if not raw:
                break
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count


@contextmanager
def open_input(file: CorpusFile, encoding: str = UTF_8) -> Iterator[Input]:
    """The bytes of a file or stream, unpacked; text of another encoding as UTF-8.

    A stream that is handed in stays open. Gzip is known by its first two bytes, whatever the name.
    """
    source = file.source
    with ExitStack() as stack:
        if isinstance(source, Path):
            name = printable(source)
            try:
                raw: IO[bytes] = stack.enter_context(source.open("rb"))
            except OSError as error:
                raise DataError(f"{name} can't be read: {error.strerror}.") from error
        else:
            name, raw = "standard input", source
        peekable = _peekable(raw, stack)
        try:
            packed = peekable.peek(2)[:2] == GZIP_MAGIC
        except OSError as error:
            raise DataError(f"{name} can't be read: {error.strerror}.") from error
        stream: IO[bytes] = peekable
        unpacked = Unpacked(peekable) if packed else None
        if unpacked is not None:
            stream = stack.enter_context(io.BufferedReader(unpacked, UNPACKED_AT_ONCE))
        if encoding != UTF_8 and not _marked(stream):
            stream = stack.enter_context(io.BufferedReader(_Recoded(stream, encoding), READ_AT_ONCE))
        yield Input(name, stream, peekable, _regular_size(raw), file.before, file.total, unpacked)


def _marked(stream: Any) -> bool:
    """Whether a stream says itself that it is UTF-8."""
    try:
        return bool(stream.peek(3)[:3] == codecs.BOM_UTF8)
    except (OSError, EOFError, zlib.error):  # told when it is read
        return False


def _peekable(raw: IO[bytes], stack: ExitStack) -> io.BufferedReader:
    if isinstance(raw, io.BufferedReader):
        return raw
    buffered: io.BufferedReader = io.BufferedReader(cast("io.RawIOBase", raw))
    stack.callback(buffered.detach)  # the stream is its owner's to close
    return buffered


def _regular_size(raw: IO[bytes]) -> int:
    """Bytes of a regular file; 0 for a pipe, whose size and place nobody knows."""
    try:
        status = os.fstat(raw.fileno())
    except (OSError, ValueError):
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


@contextmanager
def rereadable(file: CorpusFile) -> Iterator[CorpusFile]:
    """`file` if it is a regular file, else with a copy of it in a temporary file; see `rewind`."""
    source = file.source
    if isinstance(source, Path) and source.is_file():
        yield file
        return
    with ExitStack() as stack:
        pipe: IO[bytes] = stack.enter_context(source.open("rb")) if isinstance(source, Path) else source
        spool = stack.enter_context(tempfile.TemporaryFile())
        shutil.copyfileobj(pipe, spool, 2**20)
        yield file._replace(source=spool)


def rewind(file: CorpusFile) -> None:
    """Back to the first byte of what `rereadable` gave, before each reading."""
    if not isinstance(file.source, Path):
        file.source.seek(0)


def read_lines(data: Input, report: Report) -> Iterator[Line]:
    """The lines, endings included; too long ones and those that are not UTF-8 go to `report.bad` and are left out."""
    offset = 0
    number = 0
    while True:
        try:
            raw = data.stream.readline(MAX_TEXT_BYTES + 1)
            length = len(raw)
            if too_long := length > MAX_TEXT_BYTES:
                while raw and not raw.endswith(b"\n"):
                    raw = data.stream.readline(MAX_TEXT_BYTES)
                    length += len(raw)
        except (OSError, EOFError, zlib.error) as error:
            report.bad(damaged(data, f"after line {number:,}", error), file=True)
            return
        if not length or not (data.whole or raw.endswith(b"\n")):  # of a file that is cut short, half a line is none
            if (fault := data.fault(f"after line {number:,}")) is not None:
                report.bad(fault, file=True)
            data.progress(report)
            return
        number += 1
        if too_long:
            report.bad(
                DataError(
                    f"{data.name}, line {number:,}: {length:,} bytes long, where {MAX_TEXT_BYTES:,} are the most."
                )
            )
        else:
            try:
                yield Line(number, decode(raw, offset))
            except DataError as error:
                report.bad(DataError(f"{data.name}, line {number:,}: {error}"))
        offset += length
        if number % REPORT_EVERY == 0:
            data.progress(report)


def read_text(data: Input) -> str:
    """All of it as one text, or a `DataError`: half a text is none. What stands behind a packed one is its `fault`."""
    try:
        raw = data.stream.read(MAX_TEXT_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise damaged(data, "", error) from error
    if not data.whole and (fault := data.fault()) is not None:
        raise fault
    if len(raw) > MAX_TEXT_BYTES:
        raise DataError(
            f"{data.name} is longer than {MAX_TEXT_BYTES:,} bytes, too much for one document; read it by lines, say."
        )
    try:
        return decode(raw)
    except DataError as error:
        raise DataError(f"{data.name}: {error}") from None


def decode(raw: bytes, offset: int = 0) -> str:
    """Bytes of UTF-8 at an offset of a file as text.

    Raises:
        DataError: They are something else; it says what to do.
    """
    if offset == 0:
        if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise DataError(f"this looks like UTF-16; {_convert('utf-16')}")
        raw = raw.removeprefix(codecs.BOM_UTF8)
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise DataError(not_utf8(raw, error, offset)) from None


def not_utf8(raw: bytes, error: UnicodeDecodeError, offset: int) -> str:
    """What to say of bytes that are no text, of which the first is at `offset` of the file."""
    where = f"byte 0x{raw[error.start]:02x} at offset {offset + error.start:,} of the file"
    return f"{where} is not UTF-8; {_convert('cp1252')}"


def _convert(encoding: str) -> str:
    """What to do about text of another encoding, perhaps this one."""
    return (
        f"convert the file to UTF-8 (iconv -f {encoding} -t utf-8), or let index, encode or classify read it as it is "
        f"(--read encoding={encoding})."
    )


def damaged(data: Input, where: str, error: Exception) -> DataError:
    """The error of a file that ends, or breaks, behind `where`."""
    reason = "the gzip data ends too early" if isinstance(error, EOFError) else str(error)
    return DataError(f"{data.name}{where and ', ' + where}: the rest can't be read: {reason}.")
