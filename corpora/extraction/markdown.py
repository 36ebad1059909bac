"""Markdown: a part for each heading, titled with the headings above it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import BinaryIO

from corpora.extraction.parts import Block, FilePart, decoded, sections

# YAML from the first line on, which begins with comments or a key: what else stands between two rules is text
_FRONT_MATTER = re.compile(
    r"---\n((?:[ \t]*(?:#[^\n]*)?\n)*[\w.-]+:[ \t\n].*?)\n(?:---|\.\.\.)[ \t]*(?:\n|$)", re.DOTALL
)
_TITLE = re.compile(r"^title:[ \t]*[\"']?(.+?)[\"']?[ \t]*$", re.MULTILINE)


def markdown(file: BinaryIO) -> Iterator[FilePart]:
    """The sections; the title in a front matter is the file's, and what else it says is text before the first."""
    text = re.sub(r"\r\n?", "\n", decoded(file.read()))
    title, first = "", 1
    above: list[tuple[int, Block]] = []
    if front := _FRONT_MATTER.match(text):
        named = _TITLE.search(front[1])
        title = named[1] if named else ""
        rest = front[1] if named is None else front[1][: named.start()] + front[1][named.end() :]
        above = [(_first_line(front[1], named), (0, rest.strip("\n")))]
        first += front[0].count("\n")
        text = text[front.end() :]
    found = [*above, *((first + line, block) for line, block in _placed(text))]
    yield from sections((block for _, block in found), title, lines=[line for line, _ in found])


def _first_line(front: str, title: re.Match[str] | None) -> int:
    """The line, from 1, where a front matter says something besides the title; its rule is line 1."""
    spans = [(0, len(front))] if title is None else [(0, title.start()), (title.end(), len(front))]
    starts = [place for start, end in spans for place in range(start, end) if not front[place].isspace()]
    return 2 + front[: starts[0] if starts else 0].count("\n")


def blocks(text: str) -> Iterator[Block]:
    """As `_placed`, without the lines."""
    return (block for _, block in _placed(text))


def _placed(text: str) -> Iterator[tuple[int, Block]]:
    """The lines, counted from 0, where blocks begin, and these.

    Headings are as CommonMark has them, and the lines between them as they are.

    A heading within a list or a quotation belongs to its text. One of several lines over a line of dashes was as likely
    meant for a paragraph over a rule: where nothing stands below it, it is its own text too.
    """
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark")
    parser.core.ruler.disable("inline")  # what stands within a line does not move headings
    tokens = parser.parse(text)
    lines = text.split("\n")
    headings = [
        (int(opening.tag[1]), opening.map, inline.content)
        for opening, inline in pairwise(tokens)
        if opening.type == "heading_open" and opening.level == 0 and opening.map is not None
    ]
    starts = [begin for _, (begin, _), _ in headings] + [len(lines)]
    yield _stripped(lines, 0, starts[0])
    for (level, (begin, end), heading), until in zip(headings, starts[1:], strict=True):
        below = _stripped(lines, end, until)
        if "\n" in heading and not below[1][1]:
            below = _stripped(lines, begin, end)
        yield begin, (level, heading)
        yield below


def _stripped(lines: list[str], begin: int, end: int) -> tuple[int, Block]:
    """The paragraph of some lines without the empty ones around it."""
    while begin < end and not lines[begin]:
        begin += 1
    return begin, (0, "\n".join(lines[begin:end]).strip("\n"))
