"""Results in the formats that other programs read: `-o json|jsonl|csv|tsv|ids|trec|vimgrep`."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from semsearch import wire
from semsearch.controls import one_line, printable

if TYPE_CHECKING:
    from semsearch.cli.render import Answer
    from semsearch.types import Hit

RESULT_COLUMNS = ("query", "rank", "score", "id", "title", "text", "start", "end", "metadata")
PLACE_COLUMNS = ("path", "line", "page", "sheet", "message", "slide", "cell", "chapter", "attachment")
COLLECTION = "collection"  # the last column
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # what OWASP warns of as a cell's beginning
_QUICKFIX = re.compile(r"(.+?):\d+:\d+:")  # as vim takes a line apart: the shortest name that can be
RUN = "semsearch"  # the last column of TREC's format names who answered


def lines(answer: Answer, number: int | None, kind: str, *, spreadsheet_safe: bool = False) -> Iterator[str]:
    """The lines of an answer.

    Args:
        answer: What was found.
        number: That of the query's line, where there are many.
        kind: The format.
        spreadsheet_safe: No cell is a formula for a program of spreadsheets that opens it.
    """
    return FORMATS[kind](answer, number, spreadsheet_safe)


def header(kind: str) -> str | None:
    """The line before all others, where the format has one."""
    delimiter = {"csv": ",", "tsv": "\t"}.get(kind)
    return None if delimiter is None else _row((*RESULT_COLUMNS, *PLACE_COLUMNS, COLLECTION), delimiter)


def _json(answer: Answer, number: int | None, safe: bool) -> Iterator[str]:
    yield wire.dumps(wire.answer(answer.query, answer.hits, answer.timings, answer.words))


def _json_lines(answer: Answer, number: int | None, safe: bool) -> Iterator[str]:
    for hit in answer.hits:
        yield wire.dumps({"query": answer.query, **wire.hit(hit, answer.words)})


def _csv(answer: Answer, number: int | None, safe: bool) -> Iterator[str]:
    return (_row(_fields(answer, hit, safe), ",") for hit in answer.hits)


def _tsv(answer: Answer, number: int | None, safe: bool) -> Iterator[str]:
    for hit in answer.hits:
        yield "\t".join(one_line(field) for field in _fields(answer, hit, safe))


def _ids(answer: Answer, number: int | None, safe: bool) -> Iterator[str]:
    return (one_line(hit.id) for hit in answer.hits)


def _trec(answer: Answer, number: int | None, safe: bool) -> Iterator[str]:
    """`query Q0 document rank score run`; white space in an id, which would end it, becomes '_'."""
    for hit in answer.hits:
        identity = re.sub(r"\s", "_", hit.id)
        yield f"{number or 1} Q0 {identity} {hit.rank} {hit.score:.6f} {RUN}"


def _vimgrep(answer: Answer, number: int | None, safe: bool) -> Iterator[str]:
    """Best first; what stands in no file, or in one whose name can't be written so, is left out."""
    for hit in answer.hits:
        if (place := hit.place) is not None and (line := quickfix(place.path, place.line, hit.text, place.parts)):
            yield line


def quickfix(path: str, line: int | None, text: str, parts: Sequence[str] = (), column: int = 1) -> str | None:
    """`path:line:column:text`, as vim's quickfix list reads it: '%f:%l:%c:%m'.

    Args:
        path: The file's.
        line: In it; the first where there is none.
        text: In as many lines as it has.
        parts: Of the file, where the text stands in one, a page, say; it begins the text, as vim has no place for it.
        column: In bytes, counted from 1.

    Returns:
        None where vim would read another name: one with an end of a line in it, say.
    """
    place = f"{path}:{line or 1}:{column}:"
    found = _QUICKFIX.match(place)
    if found is None or found[1] != path or printable(path) != path:
        return None
    return place + one_line(": ".join([", ".join(parts), text] if parts else [text]))


def left_out_of_vimgrep(answer: Answer) -> Iterator[str]:
    """What is said of hits that `-o vimgrep` can't print."""
    places = [hit.place for hit in answer.hits]
    if without := places.count(None):
        yield f"hits that came from no file, and are left out: {without:,}."
    paths = [place.path for place in places if place is not None and quickfix(place.path, place.line, "") is None]
    yield from map(unnameable, dict.fromkeys(paths))


def unnameable(path: str) -> str:
    """What is said of a file whose name `quickfix` does not write."""
    return f"left out, because vim's format can't carry the name of its file: {path!a}"


def _fields(answer: Answer, hit: Hit, safe: bool) -> list[str]:
    stands = wire.place(hit.place) if hit.place is not None else {}
    query, identity, title, text, *where = (
        f"'{field}" if safe and field.startswith(FORMULA) else field
        for field in (answer.query, hit.id, hit.title, hit.text, *(str(stands.get(name, "")) for name in PLACE_COLUMNS))
    )
    numbers = (str(hit.rank), f"{hit.score:.6f}")
    span = (str(hit.start), str(hit.end))
    metadata = wire.dumps(hit.metadata)
    return [
        query,
        *numbers,
        identity,
        title,
        text,
        *span,
        metadata,
        *where,
        hit.collection or "",
    ]


def _row(fields: object, delimiter: str) -> str:
    line = io.StringIO()
    ends = "\r\n"  # a cell is quoted only for the line ends that the writer itself makes
    csv.writer(line, delimiter=delimiter, lineterminator=ends).writerow(fields)  # type: ignore[arg-type]
    return line.getvalue().removesuffix(ends)


FORMATS: dict[str, Callable[[Answer, int | None, bool], Iterator[str]]] = {
    "json": _json,
    "jsonl": _json_lines,
    "csv": _csv,
    "tsv": _tsv,
    "ids": _ids,
    "trec": _trec,
    "vimgrep": _vimgrep,
}
