"""Word's DOCX: a part for each heading; a table's row is a line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from corpora.extraction.archive import opened
from corpora.extraction.parts import Block, FilePart, sections


def docx(file: BinaryIO) -> Iterator[FilePart]:
    """The sections."""
    import docx as library

    opened(file)  # before the library unpacks all of it
    file.seek(0)
    document = library.Document(file)

    def blocks() -> Iterator[Block]:
        for item in document.iter_inner_content():
            if hasattr(item, "rows"):
                rows = (" | ".join(cell.text.strip() for cell in row.cells) for row in item.rows)
                yield 0, "\n".join(row for row in rows if row.strip(" |"))
                continue
            style = (item.style.name or "") if item.style is not None else ""
            heading = re.fullmatch(r"Heading ([1-9])", style)
            yield (1 if style == "Title" else min(int(heading[1]), 6) if heading else 0), item.text.strip()

    yield from sections(blocks(), " ".join((document.core_properties.title or "").split()))
