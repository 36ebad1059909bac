"""Excel's XLSX: a part for each sheet, a row is a line; then its comments, text boxes and charts."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any, BinaryIO

from corpora.extraction.office_xml import (
    attribute,
    charts,
    child,
    local,
    main_part,
    package,
    related,
    relation,
    root,
    title,
)
from corpora.extraction.parts import FilePart, Lost, ReadPart
from semsearch.places import Position


def xlsx(file: BinaryIO) -> Iterator[ReadPart]:
    """The sheets in their order, hidden ones too."""
    from python_calamine import CalamineWorkbook

    book = package(file)  # which also looks at what it would become
    file.seek(0)
    main, name = main_part(book), title(book)
    sheets = child(root(main), "sheets")
    parts = {} if sheets is None else {attribute(one, "name"): _part(main, one) for one in sheets}
    workbook = CalamineWorkbook.from_filelike(file)
    for sheet in workbook.sheet_names:
        place = f"sheet={sheet}"
        try:
            rows = workbook.get_sheet_by_name(sheet).iter_rows()
            lines = [line for row in rows if (line := " | ".join(map(_cell, row)).rstrip(" |"))]
            lines += _beside(parts.get(sheet))
        except (MemoryError, RecursionError):
            raise
        except Exception as error:  # a broken sheet costs itself
            yield Lost.of(place, error)
            continue
        if lines:
            heading = " › ".join(filter(None, [name, sheet]))
            yield FilePart(place, "\n".join(lines), heading, {"sheet": sheet}, Position(sheet=sheet))


def _part(main: Any, sheet: Any) -> Any:
    return next((relation(main, value) for key, value in sheet.attrib.items() if key.endswith("}id")), None)


def _beside(sheet: Any) -> list[str]:
    """The paragraphs of comments, drawings and charts."""
    if sheet is None:
        return []
    found = [
        element
        for kind, holder in (("comments", "comment"), ("drawing", "p"))
        for part in related(sheet, kind)
        for element in root(part).iter()
        if local(element) == holder
    ]
    texts = ("".join(inner.text or "" for inner in element.iter() if local(inner) == "t") for element in found)
    lines = [" ".join(text.split()) for text in texts if text.strip()]
    return lines + [text for drawing in related(sheet, "drawing") for text in charts(drawing)]


def _cell(value: Any) -> str:
    match value:
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case datetime.datetime():
            return value.isoformat(" ")
    return " ".join(str(value).split())
