"""Text of a PDF page that is written from right to left, put into the order in which it is read.

PDFium turns round the letters of each word. What it leaves is told by where the glyphs stand: the order of words in
lines of both directions, ligatures, and strokes that only fill a line.
"""

from __future__ import annotations

import ctypes
import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

_ARABIC_LETTER = "[\u0620-\u064a\u066e-\u06d3]"
_ARABIC = re.compile(_ARABIC_LETTER + "{2,}")
_STROKE = re.compile(f"(?<={_ARABIC_LETTER})[^\\w\\s](?={_ARABIC_LETTER})")
RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")  # a letter of such a script
_LINE = re.compile(r"[^\r\n]+")
_NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*%?")
_OTHER = re.compile(r"[^\W\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc_]|\d")  # what is read from left to right
_LAST = frozenset(".?!؟۔:")
_FLAT = 0.5  # of its width, the height of a stroke that fills a line


class _Piece(NamedTuple):
    """Letters of one direction, a number, or (both without a direction) a sign between them."""

    left: float
    start: int
    end: int
    direction: str  # "L", "R" or ""


class Glyphs:
    """Where the characters of a page stand."""

    def __init__(self, held: Any) -> None:
        """`held` is PDFium's page of text, of which each character is one of the text's."""
        self._held = held
        self._x, self._y = ctypes.c_double(), ctypes.c_double()

    def origin(self, number: int) -> tuple[float, float]:
        """Of a character, in points, from the page's left and from its foot."""
        from pypdfium2 import raw

        raw.FPDFText_GetCharOrigin(self._held, number, self._x, self._y)
        return self._x.value, self._y.value

    def box(self, number: int) -> tuple[float, float, float, float]:
        """What a character covers: left, bottom, right and top."""
        left, bottom, right, top = self._held.get_charbox(number)
        return left, bottom, right, top


def as_read(text: str, glyphs: Glyphs) -> str:
    """The text of a page, each line of it in the order of reading."""
    letters = list(text)
    for word in _ARABIC.finditer(text):
        _turn_ligatures(letters, word.start(), word.end(), glyphs)
    for stroke in _STROKE.finditer(text):
        if _fills_the_line(stroke.start(), glyphs):
            letters[stroke.start()] = ""
    balance = _balance(text)
    for line in _LINE.finditer(text):
        first, end = line.span()
        if RIGHT_TO_LEFT.search(text, first, end) and _OTHER.search(text, first, end):
            pieces = sorted(_pieces(text, first, end, glyphs))
            ordered = [one for piece in _in_order(pieces, text, balance) for one in letters[piece.start : piece.end]]
            letters[first:end] = _brackets_turned(ordered)
    return "".join(letters)


def _turn_ligatures(letters: list[str], first: int, end: int, glyphs: Glyphs) -> None:
    """Put the letters of ligatures (lam and alef) in an Arabic word into their order.

    All letters are turned round, from how they stand on the page to how they are read; those of one glyph, which has
    one place, were in the order of reading already.
    """
    places = [glyphs.origin(number) for number in range(first, end)]
    start = first
    for number in range(first + 1, end + 1):
        if number == end or places[number - first] != places[start - first]:
            letters[start:number] = reversed(letters[start:number])
            start = number


def _fills_the_line(number: int, glyphs: Glyphs) -> bool:
    """Whether a sign between two letters is a stroke that joins them (kashida), whatever the file says that it means.

    It is flat, lies where the letters stand, and touches both; no hyphen or colon does.
    """
    left, bottom, right, top = glyphs.box(number)
    before, behind = glyphs.box(number - 1), glyphs.box(number + 1)
    width, near = right - left, (right - left) / 10
    return (
        0 < top - bottom < _FLAT * width
        and abs(bottom - glyphs.origin(number)[1]) < near
        and abs(before[0] - right) < near
        and abs(behind[2] - left) < near
    )


def _pieces(text: str, start: int, end: int, glyphs: Glyphs) -> Iterator[_Piece]:
    """A line's words, its numbers, and each sign between them."""
    place = start
    while place < end:
        direction, behind = _direction(text[place]), place + 1
        if number := _NUMBER.match(text, place, end):
            behind = number.end()
        while direction and behind < end and (_direction(text[behind]) == direction or _clings(text[behind])):
            behind += 1
        left = min(glyphs.origin(place)[0], glyphs.origin(behind - 1)[0])
        yield _Piece(left, place, behind, direction)
        place = behind


def _direction(letter: str) -> str:
    kind = unicodedata.bidirectional(letter)
    return "R" if kind in ("R", "AL") else "L" if kind == "L" else ""


def _clings(letter: str) -> bool:
    """Whether a character belongs to the letter before it: a mark, or what is within a name (H2O, C++)."""
    return unicodedata.combining(letter) > 0 or letter.isdigit() or letter in "+#"


def _balance(text: str) -> int:
    """How many more letters are read from right to left than from left to right."""
    return sum({"R": 1, "L": -1}.get(_direction(letter), 0) for letter in text)


def _in_order(pieces: Sequence[_Piece], text: str, balance: int) -> Iterator[_Piece]:
    """The pieces of a line, which come as they stand from the left, as they are read.

    A line is read towards where its last sign is, or as both its ends are, or else as most of the page is.
    """
    ends = [piece.direction for piece in pieces if piece.direction]
    if not ends:  # nothing but numbers and signs
        yield from sorted(pieces, key=lambda piece: piece.start)
        return
    shown = [text[piece.start] for piece in pieces if not text[piece.start].isspace()]
    if ends[0] == ends[-1]:
        leftwards = ends[0] == "R"
    elif (shown[0] in _LAST) != (shown[-1] in _LAST):
        leftwards = shown[0] in _LAST
    else:
        leftwards = balance > 0
    against = "L" if leftwards else "R"
    pieces = _claimed(pieces, text, against)
    run: list[_Piece] = []  # what is read against the line: from its first word on, up to the last one
    waiting: list[_Piece] = []  # what stands behind it, and belongs to it if a word of it follows
    for piece in reversed(pieces) if leftwards else pieces:
        if piece.direction == against:
            run += [*waiting, piece]
            waiting.clear()
        elif run and not piece.direction:
            waiting.append(piece)
        else:
            yield from (*reversed(run), *waiting, piece)
            run.clear()
            waiting.clear()
    yield from (*reversed(run), *waiting)


def _claimed(pieces: Sequence[_Piece], text: str, against: str) -> list[_Piece]:
    """The pieces of a line, where numbers and brackets that belong to words read against the line say so.

    A number does that stands behind a word ("Windows 10"), and so do brackets behind one with nothing but such words
    in them (rule N0 of Unicode's bidirectional algorithm).
    """
    found = list(pieces)
    before = ""  # the direction of what stands to the left, signs and brackets aside
    for place, piece in enumerate(found):
        letter = text[piece.start]
        if letter.isdigit() and before == against == "L":
            found[place] = piece._replace(direction=against)
        elif not letter.isspace():
            before = piece.direction
    for brackets in ("()", "[]", "{}"):
        places = [place for place, piece in enumerate(found) if text[piece.start] in brackets]
        for first, last in zip(places[::2], places[1::2], strict=False):
            inside = {piece.direction for piece in found[first:last]} - {""}
            around = reversed(found[:first]) if against == "L" else iter(found[last:])
            behind = next((piece.direction for piece in around if piece.direction), "")
            if inside == {against} and behind == against:
                for place in (first, last):
                    found[place] = found[place]._replace(direction=against)
    return found


def _brackets_turned(letters: list[str]) -> list[str]:
    """A line whose brackets open before they close: which is which is lost where they are drawn mirrored."""
    for opening, closing in ("()", "[]", "{}"):
        places = [number for number, letter in enumerate(letters) if letter in (opening, closing)]
        depths = [*accumulate(1 if letters[number] == opening else -1 for number in places)]
        if depths and len(depths) % 2 == 0 and (min(depths) < 0 or depths[-1]):
            for count, number in enumerate(places):
                letters[number] = closing if count % 2 else opening
    return letters
