"""HTML: what a reader sees, a part for each heading."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from corpora.extraction.parts import Block, FilePart, Unreadable, sections

_APART = "script style template noscript svg nav footer aside form button select iframe head"
_WITHIN = """
    a abbr b bdi bdo cite code data del dfn em i ins kbd label mark q s samp small span strong sub sup time tt u var
    font big wbr img
"""
UNSEEN, INLINE = frozenset(_APART.split()), frozenset(_WITHIN.split())
_HEADINGS = {f"h{level}": level for level in range(1, 7)}


def html(file: BinaryIO) -> Iterator[FilePart]:
    """The sections of a page: of its main part, where it says which that is."""
    yield from page(file.read())


def page(raw: bytes, title: str = "", prefix: str = "") -> Iterator[FilePart]:
    """The sections of a page's bytes; `title` of a book that it is a chapter of."""
    root = parsed(raw)
    own = " ".join((root.findtext(".//title") or "").split())
    main = root.xpath('//main | //*[@role="main"]')
    yield from sections(blocks(main[0] if main else root), title or own, prefix)


def parsed(raw: bytes) -> Any:
    """The tree; however broken the page is, there is one unless it is empty."""
    from lxml import etree

    encoding = "utf-8" if _is_utf8(raw) else None  # a page that does not say is UTF-8 more often than what lxml guesses
    root = etree.fromstring(raw, etree.HTMLParser(encoding=encoding, no_network=True, remove_comments=True))
    if root is None:
        raise Unreadable("it is empty.")
    return root


def blocks(root: Any) -> Iterator[Block]:
    """Headings and paragraphs, in their order."""
    from lxml import etree

    buffer: list[str] = []
    level = kept = 0  # of the heading that is open; `pre` elements that are
    walk = etree.iterwalk(root, events=("start", "end"))
    for event, element in walk:
        tag = element.tag if isinstance(element.tag, str) else ""
        if event == "start":
            if tag in UNSEEN or not tag:
                walk.skip_subtree()
                continue
            if tag not in INLINE and tag != "br" and not level:
                yield from _flushed(buffer, 0)
            if tag in _HEADINGS:
                level = _HEADINGS[tag]
            kept += tag == "pre"
            if tag == "br":
                buffer.append("\n")
            buffer.append(_spaced(element.text, kept))
        else:
            if tag in _HEADINGS and level:
                yield from _flushed(buffer, level)
                level = 0
            elif tag not in INLINE and tag != "br" and tag not in UNSEEN and not level:
                yield from _flushed(buffer, 0)
            kept -= tag == "pre"
            if element is not root:
                buffer.append(_spaced(element.tail, kept))
    yield from _flushed(buffer, level)


def _spaced(text: str | None, kept: int) -> str:
    """White space as it is shown: collapsed, but not in `pre`."""
    if not text or kept:
        return text or ""
    return f"{' ' if text[0].isspace() else ''}{' '.join(text.split())}{' ' if text[-1].isspace() else ''}"


def _flushed(buffer: list[str], level: int) -> Iterator[Block]:
    text = "".join(buffer).strip()
    buffer.clear()
    if text:
        yield level, text.removesuffix("¶").rstrip() if level else text


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
