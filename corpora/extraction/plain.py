"""Plain text: one part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from corpora.extraction.parts import FilePart, decoded
from semsearch.places import Position


def text(file: BinaryIO) -> Iterator[FilePart]:
    """All of it."""
    yield FilePart("", decoded(file.read()), position=Position(lines=((0, 1),)))
