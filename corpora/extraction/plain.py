"""Plain text: one part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from corpora.extraction.parts import Part, decoded


def text(file: BinaryIO) -> Iterator[Part]:
    """All of it."""
    yield Part("", decoded(file.read()))
