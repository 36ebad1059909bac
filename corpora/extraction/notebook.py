"""Jupyter notebooks: a part for each heading; code and what it printed stand as they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from corpora.extraction.markdown import blocks
from corpora.extraction.parts import Block, Lost, ReadPart, Unreadable, decoded, sections
from semsearch.places import Position


def notebook(file: BinaryIO) -> Iterator[ReadPart]:
    """The sections of all cells."""
    held = json.loads(decoded(file.read()))
    if not isinstance(held, dict):
        raise Unreadable("it is no notebook: it holds no JSON object.")
    sheets = held.get("worksheets") or [held]  # of the third format
    found: list[Block] = []
    cells: list[int] = []  # of each block
    lost: list[Lost] = []
    for number, cell in enumerate((cell for sheet in sheets for cell in sheet.get("cells", [])), 1):
        try:
            for block in _cell(cell):
                found.append(block)
                cells.append(number)
        except (AttributeError, TypeError, ValueError):  # a cell that is odd costs itself
            lost.append(Lost(f"cell={number}", "it is not laid out as a notebook's cells are.", failed=True))
    for part in sections(found, lines=cells):
        first = part.position.line  # of a heading with nothing below it
        yield replace(part, position=Position(cells=part.position.lines or (((0, first),) if first else ())))
    yield from lost


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
        shown = data.get("text/markdown") or data.get("text/plain")  # which may be no more than the name of an object
        yield 0, _text(output.get("text") or shown or output.get("evalue"))


def _text(value: Any) -> str:
    """A text, which notebooks keep whole or as a list of lines."""
    return value if isinstance(value, str) else "".join(map(str, value or ()))
