"""Jupyter notebooks: a part for each heading; code and what it printed stand as they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from corpora.extraction.markdown import blocks
from corpora.extraction.parts import Block, FilePart, Unreadable, decoded, sections


def notebook(file: BinaryIO) -> Iterator[FilePart]:
    """The sections of all cells."""
    held = json.loads(decoded(file.read()))
    if not isinstance(held, dict):
        raise Unreadable("it is no notebook: it holds no JSON object.")
    sheets = held.get("worksheets") or [held]  # of the third format
    cells = [cell for sheet in sheets for cell in sheet.get("cells", [])]
    yield from sections(block for cell in cells for block in _cell(cell))


def _cell(cell: dict[str, Any]) -> Iterator[Block]:
    source = _text(cell.get("source", cell.get("input")))
    match cell.get("cell_type"):
        case "markdown":
            yield from blocks(source)
        case "heading":
            yield int(cell.get("level", 1)), source
        case _:
            yield 0, source
    for output in cell.get("outputs", []):
        data = output.get("data", output)
        yield 0, _text(output.get("text") or (data.get("text/plain") if isinstance(data, dict) else None))


def _text(value: Any) -> str:
    """A text, which notebooks keep whole or as a list of lines."""
    return value if isinstance(value, str) else "".join(map(str, value or ()))
