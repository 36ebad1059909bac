"""What people type into a search box: words, "exact phrases" and -exclusions. Any text is a query; none is an error."""

from __future__ import annotations

import re
from dataclasses import dataclass

_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "\0": " "})
_PART = re.compile(r'(?<!\S)(-?)"([^"]*)"(?!\w)|(?<!\S)-(?=\S*[^\W\d_])(?!-)(\S+)')


@dataclass(frozen=True, slots=True)
class Query:
    """A query taken apart.

    Attributes:
        text: What is asked for: the query without exclusions and without the quotes of phrases.
        required: Phrases that an answer must hold, words side by side.
        excluded: Words and phrases that it must not hold.
    """

    text: str
    required: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether it is nothing but words."""
        return not self.required and not self.excluded


def parse(query: str) -> Query:
    """Take a query apart.

    `"…"` is a phrase and `-word` or `-"…"` an exclusion where they begin a word; so a hyphen inside a word, a number
    below zero, a dash between spaces and a quotation mark that is never closed are what they are in any text.
    """
    required: list[str] = []
    excluded: list[str] = []

    def taken(match: re.Match[str]) -> str:
        minus, phrase, word = match.groups()
        if word is not None or minus:
            excluded.append(phrase if word is None else word)
            return " "
        required.append(phrase)
        return f" {phrase} "

    clean = query.encode("utf-8", "replace").decode().translate(_QUOTES)  # half a surrogate pair is no letter
    text = " ".join(_PART.sub(taken, clean).split())
    return Query(text, tuple(required), tuple(excluded))
