"""Metadata as terms of one keyword field: equality, lists, ranges of numbers, texts and dates, all exact, in one field.

A term is the field's name, NUL, `e` for an element of a list or else `f`, the letter of the type, and the value in a
form whose order as bytes is the values' own. So documents of any shape need no mapping, and no type is ever guessed.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from semsearch.errors import FilterError
from semsearch.search.fields import Kind, fields_of

KIND_LETTERS: Mapping[Kind, str] = {
    "number": "n",
    "text": "t",
    "bool": "b",
    "null": "0",
    "list": "l",
    "object": "o",
    "date": "d",
}
LETTER_KINDS: Mapping[str, Kind] = {letter: kind for kind, letter in KIND_LETTERS.items()}
LONGEST_TEXT = 700  # bytes of a value that a term holds; what is longer ends in its digest
LONGEST_FIELD_NAME = 200  # bytes; servers make ranges of terms of up to 1,000 bytes together
CUT = "\0#"  # between the beginning of a long text and its digest
_SIGN = 1 << 63


def field_tokens(metadata: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The terms of a document's fields, and those that tell which fields it has, each once."""
    values: set[str] = set()
    kinds: set[str] = set()
    for name, element, kind, value in fields_of(metadata):
        begins = prefix(name, element, kind)
        kinds.add(begins)
        values.add(begins + encoded(kind, value))
    return sorted(values), sorted(kinds)


def prefix(name: str, element: bool, kind: Kind) -> str:
    """What all terms of a field of one type begin with; the whole of what tells that a document has it."""
    return f"{_cut(name, LONGEST_FIELD_NAME)}\0{'e' if element else 'f'}{KIND_LETTERS[kind]}"


def encoded(kind: Kind, value: Any) -> str:
    """A value as terms hold it."""
    if kind in ("number", "date"):
        return _number(value)
    if kind == "bool":
        return "1" if value else "0"
    return _cut(value, LONGEST_TEXT) if kind == "text" else ""


def bound(kind: Kind, value: Any) -> str:
    """A value that others are compared with.

    Raises:
        FilterError: It is a text that is longer than what terms hold of one: which comes first can't be told.
    """
    if kind == "text" and len(value.encode()) > LONGEST_TEXT:
        raise FilterError(f"a cluster orders texts by their first {LONGEST_TEXT:,} bytes: compare with a shorter one.")
    return encoded(kind, value)


def decoded(kind: Kind, text: str) -> str | float | bool | None:
    """The value that a term holds; None of a text that it holds in part alone."""
    if kind == "bool":
        return text == "1"
    if kind in ("number", "date"):
        return _read_number(text)
    return None if CUT in text else text


def taken_apart(token: str) -> tuple[str, bool, Kind, str]:
    """The name, whether it is of an element, the type and the encoded value of a term."""
    at = token.index("\0")
    if token[at + 1 : at + 2] == "#":  # of a long name
        at = token.index("\0", at + 1)
    return token[:at], token[at + 1] == "e", LETTER_KINDS[token[at + 2]], token[at + 3 :]


def _cut(text: str, most: int) -> str:
    data = text.encode()
    if len(data) <= most:
        return text
    return data[:most].decode(errors="ignore") + CUT + blake2b(data, digest_size=16).hexdigest()


def _number(value: float) -> str:
    """A number in the order of numbers: the nearest float64, then by how much a whole number is above or below it."""
    if isinstance(value, int):
        try:
            near = float(value)
        except OverflowError:
            near = math.inf if value > 0 else -math.inf
        rest = value - int(near) if math.isfinite(near) else value
    else:
        near, rest = float(value), 0
    bits = struct.unpack(">Q", struct.pack(">d", near + 0.0))[0]  # + 0.0: there is one zero
    ordered = bits ^ _SIGN if not bits & _SIGN else ~bits & (1 << 64) - 1
    if not rest:
        return f"{ordered:016x}p"
    digits = f"{abs(rest):x}"
    if rest > 0:
        return f"{ordered:016x}p{len(digits):05x}{digits}"
    turned = "".join(f"{15 - int(digit, 16):x}" for digit in digits)
    return f"{ordered:016x}n{0xFFFFF - len(digits):05x}{turned}"


def _read_number(text: str) -> float:
    ordered, sign, digits = int(text[:16], 16), text[16], text[22:]
    bits = ordered ^ _SIGN if ordered & _SIGN else ~ordered & (1 << 64) - 1
    near: float = struct.unpack(">d", struct.pack(">Q", bits))[0]
    if not digits:
        return int(near) if math.isfinite(near) and near == int(near) and abs(near) < 2**53 else near
    if sign == "n":
        digits = "".join(f"{15 - int(digit, 16):x}" for digit in digits)
    rest = int(digits, 16) if sign == "p" else -int(digits, 16)
    return rest if math.isinf(near) else int(near) + rest
