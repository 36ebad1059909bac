"""What a collection may be called: letters of every script, so that a name says what is in it in its own language.

A name is in Unicode's normal form C: one that is typed and one that a file system gives back decomposed are the same.
"""

from __future__ import annotations

import os
import re
import unicodedata
from string import ascii_uppercase

from semsearch.arguments import kind_of
from semsearch.errors import UsageError

MAX_NAME_CHARACTERS = 100
MAX_NAME_BYTES = 200  # in UTF-8: with what is put around it while it is made or dropped, file systems take 255

_SIGNS = "._-"  # besides letters and digits
# Letters and combining marks that are not seen: two names that look the same would be two collections.
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")

_PLAIN = re.compile(r"(?!u--)[a-z0-9][a-z0-9_-]*")
_PRIVATE = 0xE000  # no name holds a character of private use


def normal(name: str) -> str:
    """`name` in the one form in which it is kept and compared."""
    return unicodedata.normalize("NFC", name)


def is_name(name: str) -> bool:
    """Whether `name`, in any form, can name a collection."""
    name = normal(name)
    return (
        0 < len(name) <= MAX_NAME_CHARACTERS
        and all(map(_allowed, name))
        and name[0] not in ".-"
        and not _is_mark(name[0])
        and len(name.encode()) <= MAX_NAME_BYTES
    )


def check_name(name: str, option: str = "") -> str:
    """`name` in normal form C, or a `UsageError` that says what a collection may be called; `option` chooses it."""
    if not isinstance(name, str):
        raise UsageError(f"the name of a collection must be text, not {kind_of(name)}.")
    if not is_name(name):
        near = name_from(name)
        hint = f" '{near}' would do." if near else ""
        if option:
            hint = f" Choose one with {option}{f', as in {option} {near}' if near else ''}."
        raise UsageError(
            f"'{printable(name)}' can't name a collection: use letters and digits of any script, '.', '_' and '-', at "
            f"most {MAX_NAME_CHARACTERS} characters and {MAX_NAME_BYTES} bytes, not starting with '.' or '-'.{hint}"
        )
    return normal(name)


def name_from(text: str) -> str:
    """The name that comes nearest to `text`, to propose it: what no name may hold becomes '-'; may be empty."""
    kept = "".join(character if _allowed(character) else " " for character in normal(text))
    name = "-".join(kept.split()).lstrip(".-")
    while name and _is_mark(name[0]):
        name = name[1:].lstrip(".-")
    end = min(len(name), MAX_NAME_CHARACTERS)
    while len(name[:end].encode()) > MAX_NAME_BYTES or (0 < end < len(name) and _is_mark(name[end])):
        end -= 1
    return name[:end].rstrip("-")


def to_ascii(name: str) -> str:
    """A name in `[a-z0-9_-]`, another one for each name, for engines that take nothing else; `from_ascii` undoes it.

    Most names are so already and stay as they are. The others are Punycode (RFC 3492) behind `u--`, where capitals and
    dots count as foreign letters.
    """
    if _PLAIN.fullmatch(name):
        return name
    foreign = "".join(chr(_PRIVATE + ord(c)) if c in ascii_uppercase or c == "." else c for c in name)
    return "u--" + foreign.encode("punycode").decode()


def from_ascii(text: str) -> str:
    """The name of which `to_ascii` made `text`."""
    if not text.startswith("u--"):
        return text
    foreign = text.removeprefix("u--").encode().decode("punycode")
    return "".join(chr(ord(c) - _PRIVATE) if _PRIVATE <= ord(c) < _PRIVATE + 0x80 else c for c in foreign)


def printable(text: str) -> str:
    """`text` for a sentence, what can't be seen written as escapes."""
    return "".join(c if c.isprintable() and not _INVISIBLE.match(c) else repr(c)[1:-1] for c in text[:200])


def is_utf8(path: str) -> bool:
    """Whether a path can be written as UTF-8, as everything is that a collection remembers."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def escaped(path: str) -> str:
    """A path as text that can be printed and stored: bytes that are not UTF-8 as escapes."""
    try:
        return os.fsencode(path).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a surrogate pair that stands for no byte
        return path.encode("utf-8", "backslashreplace").decode()


def check_path(path: str) -> str:
    """The path, or a `UsageError` that says why it names nothing, or SQLite can't hold or open it."""
    if not path:  # which would be the folder one is in
        raise UsageError("the path is empty: give that of a file or folder.")
    if not is_utf8(path):
        raise UsageError(f"the path '{escaped(path)}' is not UTF-8, which SQLite asks for: rename it.")
    return path


def _allowed(character: str) -> bool:
    if character in _SIGNS:
        return True
    return unicodedata.category(character)[0] in "LNM" and not _INVISIBLE.match(character)


def _is_mark(character: str) -> bool:
    """Whether it combines with the one before."""
    return unicodedata.category(character)[0] == "M"
