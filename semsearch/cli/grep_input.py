"""What `semsearch grep` looks through: lines of files of text, and of the parts of documents."""

from __future__ import annotations

import codecs
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from semsearch.cli.render import say
from semsearch.controls import one_line
from semsearch.errors import DataError, MissingDependency
from semsearch.ingest.source import STDIN
from semsearch.plain_files import special

if TYPE_CHECKING:
    from semsearch.walk import FolderListing

# Kinds of documents whose bytes are not the lines that a reader sees; Markdown and source code are read as they are.
APART = (
    *(".pdf", ".docx", ".pptx", ".xlsx", ".odt", ".odp", ".ods", ".rtf", ".epub"),
    *(".eml", ".mbox", ".html", ".htm", ".xhtml", ".ipynb"),
)


class GrepFile(NamedTuple):
    """The lines of a file, or of a part of one: a page, a sheet, a section."""

    name: str  # as it is printed
    lines: list[str]
    path: str | None = None  # absolute; None of standard input
    part: str = ""


class GrepInput:
    """Reads files; `failed` says whether one that was asked for could not be read."""

    def __init__(self) -> None:
        from semsearch.ingest.source import ReadReport

        self.failed = False
        self._report = ReadReport(skip=True, keep=sys.maxsize)

    def files(self, names: Sequence[str]) -> Iterator[GrepFile]:
        """The lines of each file that holds text; folders are walked through."""
        from semsearch.walk import walk

        for name in names:
            path = Path(name)
            if name == STDIN:
                yield from self._text("(standard input)", None, sys.stdin.buffer.read(), asked=True)
            elif path.is_dir():
                yield from self._folder(name, path, walk(path))
            elif (kind := special(path)) == "a pipe":
                self._fail(
                    f"{name}: a pipe may never be written to: give it as standard input, by - < {shlex.quote(name)}"
                )
            elif kind:
                self._fail(f"{name}: {kind}, which is not read")
            elif _is_apart(name):
                yield from self._documents(path, name)
            else:
                yield from self._lines(path, asked=True)
        for note in self._report.notes():
            say(note)

    def _folder(self, name: str, path: Path, listing: FolderListing) -> Iterator[GrepFile]:
        apart = [file for file in listing.files if _is_apart(file.name)]
        for file in listing.files:
            if not _is_apart(file.name):
                yield from self._lines(path / file.name, asked=False)
        if apart:
            yield from self._documents(replace(listing, files=apart, others=(), outside=()), name)
        for other in listing.others:
            self._report.unread(path / other)
        for folder, why in listing.unreadable:
            self._fail(f"{path / folder}: {why}")
        if listing.outside:
            count = len(listing.outside)
            say(f"{name}: links to files out of the folder, not followed: {count:,} (give them by their own names)")

    def _lines(self, path: Path, *, asked: bool) -> Iterator[GrepFile]:
        try:
            raw = path.read_bytes()
        except OSError as error:
            self._fail(f"{path}: {error.strerror}")
            return
        yield from self._text(str(path), path, raw, asked=asked)

    def _text(self, name: str, place: Path | None, raw: bytes, *, asked: bool) -> Iterator[GrepFile]:
        """Lines as every editor counts them."""
        wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        if wide or b"\0" not in raw[:8192]:
            try:
                text = raw.decode("utf-16" if wide else "utf-8-sig")
            except UnicodeDecodeError as error:
                text = raw.decode(error.encoding, "replace")
                say(
                    one_line(
                        f"{name}: byte {error.start:,} is no {error.encoding.upper()}; what is none is shown as \ufffd"
                    )
                )
            lines = text.split("\n")
            path = None if place is None else str(place.absolute())
            yield GrepFile(name, [line.removesuffix("\r") for line in lines], path)
        elif asked:
            self._fail(f"{name}: not text")
        else:
            self._report.unread(Path(name))

    def _documents(self, source: Path | FolderListing, name: str) -> Iterator[GrepFile]:
        """The parts of files that are taken apart, which goes on behind one that can't be read."""
        from semsearch import plugins

        report, told = self._report, len(self._report.errors)
        report.begins()
        try:
            reader = plugins.corpus_reader("documents")
            if isinstance(source, Path) and not source.exists():
                raise DataError(f"{name}: No such file or directory")
            for document in reader.read(source, reader.Options(), report):
                file = str(document.metadata.get("file", ""))
                part = document.id.removeprefix(file).lstrip("#").replace("=", " ", 1)
                place = name if isinstance(source, Path) else str(Path(name) / file)
                yield GrepFile(place, document.text.split("\n"), str(Path(place).absolute()), part)
            report.ends()
        except (MissingDependency, DataError) as error:
            self._fail(str(error))
        for lost in report.errors[told:]:
            say(one_line(str(lost)))
        self.failed = self.failed or bool(report.doubtful)

    def _fail(self, sentence: str) -> None:
        say(one_line(sentence))
        self.failed = True


def _is_apart(name: str) -> bool:
    return name.lower().removesuffix(".gz").endswith(APART)
