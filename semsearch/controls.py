r"""Characters that drive a screen instead of being seen on it: control characters, and those of the reading direction.

A document is a stranger's text, and so are its id, a file's name and what a server says. What goes to a screen passes
`printable` or `one_line`; in JSON such characters are written as `\uXXXX`, which is the same value.
"""

from __future__ import annotations

import re

_DRIVING = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and line feed, DEL, C1
    r"\u2028\u2029"  # end a line for some programs
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # the reading direction and the shape of letters
    r"\ufeff\ufff9-\ufffb"
)
CONTROLS = re.compile(f"[{_DRIVING}]")
_BUT_RETURNS = re.compile(f"(?!\r)[{_DRIVING}]")


def printable(text: str) -> str:
    """`text` without the characters that drive a terminal or reverse the reading direction."""
    return CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def printable_same_length(text: str) -> str:
    """As `printable`, every character in its place."""
    return CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", " \n"))


def printable_cells(text: str) -> str:
    """As `printable`, every end of a line as it was: for a file of cells, where a reader gets it back."""
    return _BUT_RETURNS.sub("\N{REPLACEMENT CHARACTER}", text)


def one_line(text: str) -> str:
    """`text` with every run of white space made one blank."""
    return " ".join(printable(text).split())


def escaped_in_json(text: str) -> str:
    """JSON that says the same, without such characters in its strings."""
    return CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
