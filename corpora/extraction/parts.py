"""What files are taken apart into, and sections from headings and paragraphs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from semsearch.errors import DataError
from semsearch.places import Position, stretches
from semsearch.reading.files import decode
from semsearch.validation import is_empty

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Block: TypeAlias = tuple[int, str]  # a heading of level 1 to 6, or (level 0) a paragraph


class Unreadable(Exception):
    """A file that holds no text to be found; the message says why."""


def reason(error: Exception) -> str:
    """Why a file, or a part of it, can't be read: a sentence for whatever a library throws."""
    if "Excessive depth in document" in str(error) or "xmlParseElement" in str(error):
        return "its XML is nested more than 256 elements deep."
    match error:
        case Unreadable():
            return str(error)
        case ImportError():
            library = f" ({error.name})" if error.name else ""
            return f"a library to read it is missing{library}: pip install 'semsearch[documents]'."
        case OSError():
            return f"it can't be read: {error.strerror or error}."
        case RecursionError():
            return "it is nested too deeply."
    return f"it can't be read ({type(error).__name__}: {str(error)[:200]})."


@dataclass(frozen=True, slots=True)
class FilePart:
    """A stretch of a file that makes a document of its own."""

    name: str  # tells it from the file's other parts; empty for the file itself, or what comes before its first part
    text: str
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    position: Position = field(default_factory=Position)
    pixels: NDArray[np.uint8] | None = field(default=None, compare=False, repr=False)  # (height, width, 3) of a picture


@dataclass(frozen=True, slots=True)
class Lost:
    """A part of a file that can't be read; the file's others can."""

    name: str  # as of a `FilePart`
    reason: str
    failed: bool = False  # its library failed, and may succeed another time; else it holds no text for anybody

    @classmethod
    def of(cls, name: str, error: Exception) -> Self:
        """A part that can't be read for this error."""
        return cls(name, reason(error), failed=not isinstance(error, Unreadable))


ReadPart: TypeAlias = FilePart | Lost


def sections(
    blocks: Iterable[Block], title: str = "", prefix: str = "", lines: Iterable[int] | None = None
) -> Iterator[FilePart]:
    """A part for each heading that has text of its own, titled with the headings above it.

    A heading that has neither text nor headings below it is a part of its own: nothing else would hold it.

    Args:
        blocks: Headings and paragraphs, in their order.
        title: The file's, put before the headings.
        prefix: Of the parts' names.
        lines: Where in the file each block begins, of a file of text.
    """
    path: list[tuple[int, str]] = []
    held: list[str] = []
    begins: list[int] = []  # the lines of what is held
    own_line = 0  # of the heading at hand
    bare: list[FilePart] = []  # headings without text, until there is some
    found = False

    def part(below: int = 0) -> Iterator[FilePart]:
        """What ends where a heading of the level `below` begins."""
        nonlocal found
        text = "\n\n".join(held)
        headings = [heading for _, heading in path]
        name = prefix + "/".join(slug(heading) for heading in headings)
        above = [title] if title and title not in headings[:1] else []
        if not is_empty(text):
            found = True
            yield from bare
            bare.clear()
            yield FilePart(
                name, text, " › ".join([*above, *headings]), position=_position(zip(begins, held, strict=False))
            )
        elif path and below <= path[-1][0]:
            *higher, own = headings
            bare.append(FilePart(name, own, " › ".join([*above, *higher]), position=Position(own_line or None)))

    heads: list[str] = []
    head_lines: list[int] = []
    for (level, text), line in zip(blocks, repeat(0) if lines is None else lines, strict=False):
        if is_empty(text):
            continue
        if not level:
            held.append(text)
            begins.append(line)
            continue
        yield from part(level)
        held.clear()
        begins.clear()
        own_line = line
        while path and path[-1][0] >= level:
            path.pop()
        path.append((level, " ".join(text.split())))
        heads.append(path[-1][1])
        head_lines.append(line)
    yield from part()
    if found:
        yield from bare
    elif heads:  # nothing but headings: they are what there is to be found
        where = tuple(enumerate(head_lines)) if all(head_lines) else ()
        yield FilePart(prefix, "\n".join(heads), title, position=Position(lines=where))


def _position(pieces: Iterable[tuple[int, str]]) -> Position:
    """Of paragraphs with an empty line between them; the line 0 is not known."""
    known = list(pieces)
    if not all(line for line, _ in known):
        return Position()
    return Position(lines=stretches((line, f"{text}\n\n") for line, text in known))


def slug(heading: str) -> str:
    """A heading as part of an id."""
    return re.sub(r"[^\w.]+", "-", heading.lower()).strip("-")[:80] or "-"


def decoded(raw: bytes) -> str:
    """Bytes as text: UTF-8, or UTF-16 where its mark stands in front; the reader has made other encodings UTF-8."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", "replace")
    if b"\0" in raw[:4096]:
        raise Unreadable("it holds bytes that no text has.")
    try:
        return decode(raw)
    except DataError as error:
        raise Unreadable(str(error)) from None
