"""Where a text stands in the file that it came from: what a reader says of a document, and what a hit says of itself.

A reader gives a `Position` with a document; the collection keeps it beside the source and the file. A `Place` is what
they make together for one passage. Both are hints for people: a file may have been edited since.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

WITHIN = ("line", "message", "attachment", "chapter", "page", "slide", "sheet", "cell")
MOST = 2**31 - 1  # of lines, pages and messages: what every program takes for a number


_STORED_POSITION = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class Position(NamedTuple):
    """Where a document stands in its file; what does not apply is left out.

    Attributes:
        line: Of the file, counted from 1, for a record: all of its text stands there, whatever lines it has itself.
        lines: For a text that is a stretch of the file: pairs of a line of the text, counted from 0, and the line of
            the file, from which on they run side by side.
        page: Of a PDF, counted from 1.
        slide: Of a presentation, counted from 1.
        sheet: Of a workbook.
        cells: Of a notebook: pairs of a line of the text, counted from 0, and the cell, counted from 1, from there on.
        chapter: Of a book: the name of its file in the book.
        message: Of a mailbox, counted from 1.
        attachment: Of a message; a page, slide, sheet, cell or chapter is its own then.
        file: Within the source, where that is a folder that is read as a whole.
    """

    line: int | None = None
    lines: tuple[tuple[int, int], ...] = ()
    page: int | None = None
    slide: int | None = None
    sheet: str = ""
    cells: tuple[tuple[int, int], ...] = ()
    chapter: str = ""
    message: int | None = None
    attachment: str = ""
    file: str = ""

    def to_json(self) -> str:
        """As it is stored; empty where nothing is known.

        >>> Position(page=3).to_json()
        '{"page":3}'
        """
        if self[1:] == _NOWHERE[1:]:  # each record of a file comes through here
            return f'{{"line":{self.line}}}' if self.line else ""
        return _STORED_POSITION.encode({name: value for name, value in zip(self._fields, self, strict=True) if value})

    @classmethod
    def read(cls, text: str | None) -> Self:
        """What `to_json` gave; of anything else what can be, since lines and pages are handed to other programs.

        >>> Position.read('{"page": 3, "line": "+!sh"}') == Position(page=3)
        True
        """
        try:
            value = json.loads(text or "{}")
        except (ValueError, RecursionError):
            value = {}
        return cls.of(value) if isinstance(value, dict) else cls()

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Self:
        """As `read`, of the object itself."""
        known: dict[str, Any] = {}
        for name in ("line", "page", "slide", "message"):
            known[name] = value.get(name) if _counts(value.get(name)) else None
        for name in ("sheet", "chapter", "attachment", "file"):
            known[name] = found if isinstance(found := value.get(name), str) else ""
        for name in ("lines", "cells"):
            pairs = found if isinstance(found := value.get(name), list | tuple) else ()
            known[name] = tuple((first, other) for first, other in pairs) if all(map(_is_pair, pairs)) else ()
        return cls(**known)

    @property
    def runs(self) -> bool:
        """Whether a line of the text tells where in the file it stands."""
        return bool(self.lines or self.cells)

    def line_of(self, number: int) -> int | None:
        """The line of the file in which the line `number` (from 0) of the text stands.

        >>> Position(lines=((0, 1), (2, 80))).line_of(3)
        81
        """
        if not self.lines:
            return self.line
        first, line = _pair_of(self.lines, number)
        return line + number - first

    def place(self, path: str, number: int | None = 0) -> Place:
        """The place in the file `path` of the line `number` (from 0) of the text; None: nobody knows which line it is.

        >>> str(Position(cells=((0, 1), (4, 3))).place("/notes/a.ipynb", 6))
        '/notes/a.ipynb, cell 3'
        """
        line, cell = self.line, None
        if self.runs:
            line = None if number is None else self.line_of(number)
            cell = None if number is None or not self.cells else _pair_of(self.cells, number)[1]
        return Place(
            path,
            line=line,
            page=self.page,
            slide=self.slide,
            sheet=self.sheet,
            cell=cell,
            chapter=self.chapter,
            message=self.message,
            attachment=self.attachment,
        )


_NOWHERE = Position()


def _pair_of(pairs: tuple[tuple[int, int], ...], number: int) -> tuple[int, int]:
    """The last pair that does not begin behind the line `number` of the text."""
    return pairs[max(0, bisect_right(pairs, (number, MOST)) - 1)]


def _counts(value: object) -> bool:
    return type(value) is int and 1 <= value <= MOST


def _is_pair(value: object) -> bool:
    match value:
        case [int(number), line]:
            return _counts(number + 1) and _counts(line)
    return False


def stretches(pieces: Iterable[tuple[int, str]]) -> tuple[tuple[int, int], ...]:
    r"""The `Position.lines` of pieces of a file that stand one behind the other: the line where each begins, and it.

    >>> stretches([(1, "import x\n"), (80, "\ny = 1")])  # the second begins in the last line of the first
    ((0, 1), (1, 80))
    """
    found: dict[int, int] = {}
    number, begun = 0, False  # the line of the text, and whether something stands in it
    for line, text in pieces:
        found[number + begun] = line + begun
        number += text.count("\n")
        tail = text.rpartition("\n")[2]
        begun = bool(tail.strip()) or (begun and tail == text)
    return tuple(found.items())


def cut(lines: tuple[tuple[int, int], ...], count: int) -> tuple[tuple[int, int], ...]:
    """`Position.lines` of a text whose first `count` lines are taken away."""
    position = Position(lines=lines)
    first = position.line_of(count)
    later = tuple((number - count, line) for number, line in lines if number > count)
    return () if first is None else ((0, first), *later)


class Provenance(NamedTuple):
    """The file that gave a document, as an absolute path, and where in it the document stands.

    `offset` is where in the passage, in characters, the line begins that answers best; 0 where none does.
    """

    path: str
    position: Position = Position()
    offset: int = 0


def source_of(spec: str) -> Mapping[str, Any]:
    """A source as it was registered; nothing where it can't be read, which a search leaves to `check`."""
    try:
        found = json.loads(spec)
    except (ValueError, RecursionError):
        found = {}
    return found if isinstance(found, dict) else {}


def provenance(source: Mapping[str, Any], file: str, position: str, metadata: Mapping[str, Any]) -> Provenance | None:
    """Where a document of `source` is from; None where that is no file.

    Args:
        source: What `source_of` gave.
        file: The name that its file has in the source; empty where the source has but one.
        position: As it is stored; empty of what an older version read, whose pages and the like its `metadata` tell.
        metadata: The document's.
    """
    path = source.get("path")
    if not isinstance(path, str) or not os.path.isabs(path):  # noqa: PTH117  (standard input is none)
        return None
    stands = Position.read(position)
    if not position and source.get("format") == "documents":
        stands = Position.of({name: metadata.get(name) for name in ("page", "slide", "sheet", "attachment")})
    inside = file or stands.file
    return Provenance(os.path.join(path, inside) if inside else path, stands)  # noqa: PTH118  (for every hit)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a passage stands: its file, as an absolute path, and where in it, as far as known (see `Position`)."""

    path: str
    line: int | None = None
    page: int | None = None
    slide: int | None = None
    sheet: str = ""
    cell: int | None = None
    chapter: str = ""
    message: int | None = None
    attachment: str = ""

    @property
    def within(self) -> dict[str, int | str]:
        """What is known of where in the file it is, by name, the outer before the inner.

        >>> Place("/notes/b.eml", page=3, attachment="c.pdf").within
        {'attachment': 'c.pdf', 'page': 3}
        """
        return {name: value for name in WITHIN if (value := getattr(self, name))}

    def __str__(self) -> str:
        """For people; `file:line` as editors and terminals know it.

        >>> str(Place("/notes/a.md", 12)), str(Place("/notes/b.pdf", page=3))
        ('/notes/a.md:12', '/notes/b.pdf, page 3')
        """
        return self.named(self.path)

    def named(self, path: str) -> str:
        """As `str`, the file under another name."""
        name = path if self.line is None else f"{path}:{self.line}"
        return ", ".join([name, *self.parts])

    @property
    def parts(self) -> list[str]:
        """What is known beside the line, in words: "page 3"."""
        return [f"{name} {value}" for name, value in self.within.items() if name != "line"]
