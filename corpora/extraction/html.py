"""HTML: what a reader sees, a part for each heading."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html.entities import html5
from typing import Any, BinaryIO, NamedTuple

from corpora.extraction.charsets import decoded_as
from corpora.extraction.parts import FilePart, Lost, ReadPart, Unreadable, sections

_NEVER_SHOWN = """
    audio canvas datalist head iframe noembed noframes noscript object rp script select style svg template title video
    annotation annotation-xml
"""
_BLOCKS = """
    address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption figure
    footer form h1 h2 h3 h4 h5 h6 header hgroup hr html legend li main menu nav ol p pre search section summary table
    tbody td textarea tfoot th thead tr ul
"""
UNSEEN, BLOCKS = frozenset(_NEVER_SHOWN.split()), frozenset(_BLOCKS.split())  # whatever else there is stands in a line
AROUND = frozenset({"nav", "footer", "aside", "button"})  # what pages have around their text
_OWN = frozenset({"main", "article"})  # in which a footer and what stands aside belong to the text
OF_BOOKS = frozenset({"nav", "button"})  # what chapters have around their text: their asides are notes
_NOTE = re.compile(r"\b(?:doc-)?(?:foot|end|rear)notes?\b")
_MAIN = """(//main | //*[@role="main"] | //article[not(ancestor::nav or ancestor::aside or ancestor::footer)])
    [not(ancestor::main or ancestor::article or ancestor::*[@role="main"])]"""
_KEPT = frozenset({"pre", "textarea"})  # whose white space is shown
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_HIDDEN_STYLE = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse))\b", re.IGNORECASE)
_BAR = " | "  # that parts the cells of a row; told by its identity from what a page says itself
_MOST_LINES = 65_535  # that the parser counts to
_BLANKS = re.compile(r"\s+")
_CHARSET = re.compile(rb"<meta[^>]*charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_ENTITY = re.compile(rb"&([A-Za-z][A-Za-z0-9]*);")
_OF_XML = frozenset({b"amp", b"lt", b"gt", b"quot", b"apos"})


class PlacedBlock(NamedTuple):
    """A heading of level 1 to 6 or (level 0) a paragraph, and the line of the file where it begins; 0: not known."""

    level: int
    text: str
    line: int


def html(file: BinaryIO) -> Iterator[ReadPart]:
    """The sections of a page: of its main parts, where it says which those are."""
    yield from page(file.read())


def page(raw: bytes) -> Iterator[ReadPart]:
    """The sections of a page's bytes."""
    root, lost = parsed(raw)
    title = " ".join((root.findtext(".//title") or "").split())
    yield from _sections(shown(root), title)
    yield from _sections(beside(root), title, "beside/")
    if lost is not None:
        yield lost


def chapter(raw: bytes, title: str) -> Iterator[ReadPart]:
    """The sections of a page of the book `title`, all of it: what stands aside or in a foot there are notes."""
    root, lost = parsed(raw)
    found = [*blocks(root, OF_BOOKS)] or [*blocks(root, frozenset())]
    title = title or " ".join((root.findtext(".//title") or "").split())
    yield from sections(((block.level, block.text) for block in found), title)
    if not found and next(root.iter("img", "image", "svg"), None) is not None:
        yield Lost("", "it holds no text: pictures must go through text recognition first.")
    if lost is not None:
        yield lost


def _sections(found: Sequence[PlacedBlock], title: str, prefix: str = "") -> Iterator[FilePart]:
    return sections(
        ((block.level, block.text) for block in found), title, prefix, lines=[block.line for block in found]
    )


def shown(root: Any) -> list[PlacedBlock]:
    """The headings and paragraphs of the main parts; where these hold none, of all but what pages have around them."""
    tries = (
        (_mains(root), AROUND, UNSEEN),
        ([root], AROUND, UNSEEN),
        ([root], frozenset[str](), UNSEEN - {"noscript"}),  # a page that is nothing but its navigation
    )
    for roots, around, unseen in tries:
        if found := [block for one in roots for block in blocks(one, around, unseen)]:
            return found
    return []


def _mains(root: Any) -> list[Any]:
    """The main parts, and articles beside them; none where the page does not say which those are."""
    found: list[Any] = root.xpath(_MAIN)
    return found if any(one.tag != "article" for one in found) else []


def beside(root: Any) -> list[PlacedBlock]:
    """What stands beside the main parts and is not what pages have around them."""
    mains = _mains(root)
    if not any(True for one in mains for _ in blocks(one)):
        return []  # then all of the page was shown
    return [*blocks(root, AROUND | {"header"}, UNSEEN, frozenset(mains))]


def parsed(raw: bytes) -> tuple[Any, Lost | None]:
    """The tree, however broken the page is, and what is not in it."""
    from lxml import etree

    if (root := _xhtml(raw)) is not None:
        return root, None
    encoding = "utf-8" if _is_utf8(raw) else None  # a page that does not say is UTF-8 more often than what lxml guesses
    if encoding is None and (said := _CHARSET.search(raw[:4096])) is not None:
        raw, encoding = decoded_as(raw, said[1].decode()).encode(), "utf-8"
    parser = etree.HTMLParser(
        encoding=encoding,
        no_network=True,
        remove_comments=True,
        remove_pis=True,
        huge_tree=True,  # pictures and scripts within the page are of any length; the child's memory is the limit
    )
    root = etree.fromstring(raw, parser)
    fatal = [error.message for error in parser.error_log if error.level_name == "FATAL"]
    if root is None:
        raise Unreadable(f"its parser gave up: {fatal[0]}." if fatal else "it is empty.")
    return root, Lost("", f"what stands behind is lost, since its parser gave up: {fatal[0]}.") if fatal else None


def _xhtml(raw: bytes) -> Any:
    """The tree of a page that is sound XML: there `<script/>` and `<p/>` are whole; None of every other."""
    from lxml import etree

    head = raw[:2000].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not (head.startswith(b"<?xml") or b"http://www.w3.org/1999/xhtml" in head) or b"<!ENTITY" in raw:
        return None
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True, huge_tree=True
    )
    try:
        root = etree.fromstring(_ENTITY.sub(_numbered, raw), parser)
    except (etree.XMLSyntaxError, ValueError):
        return None
    for element in root.iter(etree.Element):
        element.tag = etree.QName(element).localname.lower()
    return root if root.tag == "html" else None


def _numbered(entity: re.Match[bytes]) -> bytes:
    """HTML's name of a character as its number, which XML knows too."""
    characters = None if entity[1] in _OF_XML else html5.get(f"{entity[1].decode()};")
    return entity[0] if characters is None else "".join(f"&#{ord(one)};" for one in characters).encode()


def blocks(
    root: Any,
    around: frozenset[str] = AROUND,
    unseen: frozenset[str] = UNSEEN,
    without: frozenset[Any] = frozenset(),
) -> Iterator[PlacedBlock]:
    """Headings and paragraphs, in their order.

    Args:
        root: The element that they are in.
        around: Elements to pass over, unless they belong to an article (or, a button, to a heading).
        unseen: Elements that no reader sees.
        without: Elements of the tree that were read before.
    """
    from lxml import etree

    buffer: list[str] = []
    level = kept = own = 0  # of the heading that is open; elements that keep white space; main parts and articles
    cells = frozenset[Any]()  # of the row at hand, where they stand in one line
    walk = etree.iterwalk(root, events=("start", "end"))
    passed: Any = None
    line = begun = 0  # of the last element, and where what is held begins
    for event, element in walk:
        tag = element.tag
        block = tag in BLOCKS
        if event == "start":
            line = _line_of(element)
            note = tag == "aside" and _is_note(element)  # which a click shows
            apart = tag in around and not (note or (level if tag == "button" else own and tag != "nav"))
            if tag in unseen or apart or (not note and _hidden(element)) or element in without:
                passed = element
                walk.skip_subtree()
                continue
            if block and not level and not _in_row(element, cells, buffer):
                yield from _flushed(buffer, 0, begun)
            cells = _line_of_cells(element) if tag == "tr" else cells
            level = _HEADINGS.get(tag, level)
            kept += tag in _KEPT
            own += tag in _OWN
            if tag == "br":
                buffer.append("\n")
            begun = begun if buffer else _first_line(line, element.text)
            _put(buffer, element.text, kept)
            continue
        if element is passed:
            passed = None
            if block and not level and not _in_row(element, cells, buffer, ends=True):
                yield from _flushed(buffer, 0, begun)
        else:
            if tag in _HEADINGS and level:
                yield from _flushed(buffer, level, begun)
                level = 0
            elif block and not level and not _in_row(element, cells, buffer, ends=True):
                yield from _flushed(buffer, 0, begun)
            kept -= tag in _KEPT
            own -= tag in _OWN
        if element is not root:
            begun = _begun(begun, buffer, element, line)
            _put(buffer, element.tail, kept)
    yield from _flushed(buffer, level, begun)


def _line_of_cells(row: Any) -> frozenset[Any]:
    """The cells of a row that each hold a line or one paragraph; none where a table only lays out a page."""
    cells = frozenset(cell for cell in row if cell.tag in ("td", "th"))
    paragraphs = set()
    for cell in cells:
        for inner in cell.iterdescendants():
            if inner.tag in BLOCKS or inner.tag == "br":
                if inner.tag not in ("p", "div") or inner.getparent() is not cell or cell in paragraphs:
                    return frozenset()
                paragraphs.add(cell)
    return cells


def _in_row(element: Any, cells: frozenset[Any], buffer: list[str], *, ends: bool = False) -> bool:
    """Whether an element is a cell of the row at hand, or the paragraph of one, which end no line.

    In the `buffer` a bar is put where a cell begins, if one before it held something, and a blank around a paragraph.
    """
    if element not in cells and element.getparent() not in cells:
        return False
    if element not in cells:
        _put(buffer, " ", 0)
    elif not ends and (text := "".join(buffer).strip()) and buffer[-1] is not _BAR:
        buffer[:] = [text, _BAR]
    return True


def _line_of(element: Any) -> int:
    """The line of the file where an element begins; 0 where the parser counts no further."""
    line = element.sourceline
    return 0 if line is None or line >= _MOST_LINES else int(line)


def _begun(begun: int, buffer: list[str], element: Any, line: int) -> int:
    """The line where what is held begins, before the text behind an element is added to it.

    0 where a line of the text would not be one of the file: behind a break that ends none there.
    """
    first = _first_line(line, element.tail)
    if not buffer or element.tag != "br":
        return begun if buffer else first
    return begun if begun + "".join(buffer).lstrip().count("\n") == first else 0


def _first_line(line: int, text: str | None) -> int:
    """The line of the first letter of a text that begins in `line`."""
    text = text or ""
    return line and line + text[: len(text) - len(text.lstrip())].count("\n")


def _is_note(element: Any) -> bool:
    """Whether an element says that it is a footnote, as EPUB 3 and ARIA have it."""
    kinds = (value for key, value in element.attrib.items() if key in ("role", "epub:type") or key.endswith("}type"))
    return any(_NOTE.search(kind) for kind in kinds)


def _hidden(element: Any) -> bool:
    """Whether the page itself says that an element is not shown; what its style sheets say is not looked at."""
    hidden = element.get("hidden")
    return (
        (hidden is not None and hidden.lower() != "until-found")
        or (element.tag == "dialog" and element.get("open") is None)
        or _HIDDEN_STYLE.search(element.get("style", "")) is not None
    )


def _put(buffer: list[str], text: str | None, kept: int) -> None:
    """Add text with its white space as it is shown: collapsed, but not in `pre`; where a word may break is none."""
    if not text:
        return
    text = text.replace("\xad", "").replace("\u200b", "")
    if not kept:
        text = _BLANKS.sub(" ", text)
        if buffer and buffer[-1][-1:].isspace():
            text = text.removeprefix(" ")
    if text:
        buffer.append(text)


def _flushed(buffer: list[str], level: int, line: int) -> Iterator[PlacedBlock]:
    if buffer and buffer[-1] is _BAR:
        buffer.pop()
    text = "".join(buffer).strip()
    buffer.clear()
    if text:
        yield PlacedBlock(level, text.removesuffix("¶").rstrip() if level else text, line)


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
