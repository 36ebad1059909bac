"""OpenDocument's ODS: a part for each sheet, a row is a line; then what its shapes say, and its charts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from corpora.extraction.odt import OpenDocument, blocks, cells
from corpora.extraction.office_xml import attribute, local
from corpora.extraction.parts import FilePart
from semsearch.places import Position


def ods(file: BinaryIO) -> Iterator[FilePart]:
    """The sheets in their order, hidden ones too; a row or cell that is said to come many times is there once."""
    document = OpenDocument.of(file)
    for sheet in (table for element in document.body for table in element if local(table) == "table"):
        rows = (cells(row) for row in sheet.iter() if local(row) == "table-row")
        lines = [line for row in rows if (line := row.rstrip(" |"))]
        lines += [text for inner in sheet if local(inner) == "shapes" for _, text in blocks([inner]) if text]
        name = attribute(sheet, "name") or ""
        if lines:
            heading = " › ".join(filter(None, [document.title, name]))
            yield FilePart(f"sheet={name}", "\n".join(lines), heading, {"sheet": name}, Position(sheet=name))
    yield from document.objects()
