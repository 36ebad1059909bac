"""What a document may hold: texts that are texts, and metadata that JSON and SQLite give back as it was."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from semsearch.arguments import kind_of, named_kind
from semsearch.errors import DataError
from semsearch.metadata_values import json_value
from semsearch.types import Document

# What nobody sees, white space apart: controls, soft hyphens, joiners, marks of direction, fillers, variation selectors
_INVISIBLES = (
    r"\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    r"\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_SEEN = re.compile(rf"[^\s{_INVISIBLES}]")
MAX_ID = 4096  # characters; an id is a name, not a text
MAX_METADATA_DEPTH = 20  # levels of metadata


def check_document(document: Document, where: str = "") -> None:
    """Refuse a document that could not be stored and found again; the `DataError` begins with `where` it came from."""
    if _is_simple(document):
        return
    identity = document.id
    place = f"{where}: " if where else f"document {identity!r:.60}: "
    for name, value in (("id", identity), ("title", document.title), ("text", document.text)):
        check_text(value, f"{place}the {name}")
    if not identity or identity.isspace():
        raise DataError(f"{place}the id is empty.")
    if len(identity) > MAX_ID:
        raise DataError(f"{place}the id {identity[:40]!r}… has {len(identity):,} characters; at most {MAX_ID:,} serve.")
    if is_empty(document.text):
        hint = "." if not document.text or document.text.isspace() else ": nothing in it can be seen."
        raise DataError(f"{place}the text is empty{hint}")
    if document.metadata:
        if not isinstance(document.metadata, Mapping):
            kind = kind_of(document.metadata)
            raise DataError(f"{place}the metadata must be a mapping of names to values, but is {kind}.")
        _check_value(document.metadata, f"{place}the metadata", 0)


def is_empty(text: str) -> bool:
    """Whether nothing of a text can be seen: no model can say what it means, and its vector is near to anything."""
    # Most begin with something that is seen, and looking for it is dear beside all else that is asked of a text.
    return not "!" <= text[:1] <= "~" and _SEEN.search(text) is None


def _is_simple(document: Document) -> bool:
    """Whether nothing can be wrong, as with nearly every document of a corpus: ASCII texts, plain and flat metadata.

    Preparing the sentences of the full check takes longer than all that it looks at.
    """
    identity, title, text = document.id, document.title, document.text
    if not (type(identity) is type(title) is type(text) is str and identity.isascii() and title.isascii()):
        return False
    if not text.isascii() or "\0" in text or "\0" in title or "\0" in identity:
        return False
    if metadata := document.metadata:
        if type(metadata) is not dict:
            return False
        for name, value in metadata.items():
            if type(name) is not str or not name.isascii() or "\0" in name:
                return False
            # a list within a list is for the full check
            if not (all(map(_is_simple_value, value)) if type(value) is list else _is_simple_value(value)):
                return False
    return 0 < len(identity) <= MAX_ID and not identity.isspace() and not is_empty(text)


def _is_simple_value(value: object) -> bool:
    if type(value) is str:
        return value.isascii() and "\0" not in value
    if type(value) is int:
        return -(2**63) <= value < 2**63
    return value is None or type(value) is bool


def check_text(value: object, what: str) -> None:
    """Refuse what is no text, and text that cannot be written as UTF-8 or that C libraries would cut at a NUL."""
    if type(value) is str and value.isascii() and "\0" not in value:
        return  # nearly always: this runs for every text of a corpus
    if not isinstance(value, str):
        raise DataError(f"{what} must be text, but is {kind_of(value)}.")
    if "\0" in value:
        raise DataError(f"{what} holds a NUL character (at {value.index(chr(0)):,}), which no text has.")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{what} holds half a surrogate pair (at {error.start:,}), which is no character; write it anew "
                "with the right encoding."
            ) from None


def _check_value(value: Any, what: str, depth: int) -> None:
    if depth > MAX_METADATA_DEPTH:
        raise DataError(f"{what} is nested deeper than {MAX_METADATA_DEPTH} levels.")
    kind = type(value)
    if kind is str:
        check_text(value, what)
    elif value is None or kind is bool:
        pass
    elif isinstance(value, int | float):
        _check_number(value, what)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            check_text(name, f"{what}: a key")
            _check_value(inner, what if depth else f"{what}, '{name[:40]}',", depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_value(inner, what, depth + 1)
    elif isinstance(value, str):
        check_text(value, what)
    else:
        try:
            plain = json_value(value)
        except ValueError as error:
            raise DataError(f"{what} holds {error}.") from None
        except TypeError:
            raise DataError(
                f"{what} holds {named_kind(kind)}; texts, numbers, dates, booleans, lists and maps serve."
            ) from None
        _check_value(plain, what, depth)


def _check_number(value: float, what: str) -> None:
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise DataError(f"{what} holds a whole number beyond 64 bits; give it as text.")
    elif not math.isfinite(value):
        raise DataError(f"{what} holds {value}, which is no JSON number.")
