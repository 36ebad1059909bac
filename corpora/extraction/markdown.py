"""Markdown: a part for each heading, titled with the headings above it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from corpora.extraction.parts import Block, Part, decoded, sections

_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))??(?:[ \t]+#+)?[ \t]*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


def markdown(file: BinaryIO) -> Iterator[Part]:
    """The sections; a front matter is passed over, its title kept."""
    text = decoded(file.read())
    title = ""
    if front := re.match(r"---\r?\n(.*?)\r?\n(?:---|\.\.\.)\r?\n", text, re.DOTALL):
        named = re.search(r"^title:[ \t]*[\"']?(.+?)[\"']?[ \t]*\r?$", front[1], re.MULTILINE)
        title = named[1] if named else ""
        text = text[front.end() :]
    yield from sections(blocks(text), title)


def blocks(text: str) -> Iterator[Block]:
    """Headings (CommonMark's two kinds) and what stands between them; code blocks hold no headings."""
    held: list[str] = []
    fence = ""
    for line in text.splitlines():
        if fence:
            held.append(line)
            if line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
            continue
        if opened := _FENCE.match(line):
            fence = opened[1]
        elif heading := _HEADING.match(line):
            yield 0, "\n".join(held).strip("\n")
            held.clear()
            yield len(heading[1]), heading[2] or ""
            continue
        elif (
            (under := _UNDERLINE.match(line)) and held and held[-1].strip() and (len(held) == 1 or not held[-2].strip())
        ):
            above = held.pop()
            yield 0, "\n".join(held).strip("\n")
            held.clear()
            yield (1 if under[1][0] == "=" else 2), above.strip()
            continue
        held.append(line)
    yield 0, "\n".join(held).strip("\n")
