"""How a vocabulary reads texts: which words it has nothing for, and which it reads as if they were others.

Models for one language often take accents, vowel signs and characters of no known kind off before they look words up.
Texts that differ in nothing else then have one and the same vector, whatever they say.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TypeAlias

from tokenizers import Encoding, Tokenizer

from semsearch.compatible_forms import compatible

# They show how characters are to be joined or drawn, and say nothing themselves.
SILENT = {*"\u00ad\u200b\u200c\u200d\u2060\ufeff", *map(chr, range(0xFE00, 0xFE10))}
Token: TypeAlias = tuple[int, str]  # its id, and what the text says in its place


@dataclass(frozen=True)
class Reading:
    """How a vocabulary reads one text.

    Attributes:
        unknown: The words that it has nothing for, in their order, in lower case: all have one vector.
        altered: The tokens that leave out marks of what the text says, somewhere in it, in their order.
        text: The text.
        encoding: Its tokens; None where nothing is ever left out.
    """

    unknown: tuple[str, ...]
    altered: tuple[Token, ...] = ()
    text: str = ""
    encoding: Encoding | None = None

    @cached_property
    def tokens(self) -> tuple[Token, ...]:
        """All tokens."""
        return (
            ()
            if self.encoding is None
            else tuple(zip(self.encoding.ids, written(self.text, self.encoding), strict=True))
        )

    def mistaken(self, other: Reading) -> set[str]:
        """The words that differ in both texts at tokens of the same ids, so that the vocabulary takes them for one.

        A token that only one of the texts has tells them apart, so it counts for nothing here.
        """
        found: set[str] = set()
        if self.altered != other.altered:
            for token in {token for token, _ in (*self.altered, *other.altered)}:
                one, two = self._places.get(token, {}), other._places.get(token, {})
                there, here = [*one.values()], [*two.values()]
                differ = there != here if len(there) == len(here) else set(there) != set(here)
                if one and two and differ:
                    forms = set(there) ^ set(here) or set(there)
                    found |= self._words(one, forms) | other._words(two, forms)
        return found

    @cached_property
    def _places(self) -> dict[int, dict[int, str]]:
        """What the text says in each place of each token."""
        places: dict[int, dict[int, str]] = {}
        for at, (token, form) in enumerate(self.tokens):
            places.setdefault(token, {})[at] = form
        return places

    def _words(self, places: Mapping[int, str], forms: set[str]) -> set[str]:
        """For each of some forms a word that has it, folded."""
        assert self.encoding is not None
        words = self.encoding.word_ids  # made anew each time it is asked for
        found = set()
        for at in {form: at for at, form in places.items() if form in forms}.values():
            begin = end = at
            while begin and words[begin - 1] == words[at]:
                begin -= 1
            while end < len(words) and words[end] == words[at]:
                end += 1
            found.add("".join(form for _, form in self.tokens[begin:end]))
        return found


def readings(tokenizer: Tokenizer, encodings: Iterable[tuple[str, Encoding]]) -> list[Reading]:
    """Of texts and what a tokenizer made of them, without special tokens."""
    named = getattr(tokenizer.model, "unk_token", None)  # of Unigram models it is not told
    unknown = tokenizer.token_to_id(named if named is not None else "<unk>")
    return [_reading(text, encoding, unknown) for text, encoding in encodings]


def _reading(text: str, encoding: Encoding, unknown: int | None) -> Reading:
    if text.isascii():
        if unknown not in encoding.ids:
            return Reading((), (), text, encoding)
        forms = [_form(text[start:end]) for start, end in encoding.offsets]
    else:
        forms = written(text, encoding)
    missing = [forms[at] for at, one in enumerate(encoding.ids) if one == unknown]
    begins = encoding.offsets[0][0] if encoding.offsets else len(text)
    if before := _form(_marks(text[:begins])):
        missing.insert(0, before)
    altered = {
        one
        for one, piece, form in zip(encoding.ids, encoding.tokens, forms, strict=True)
        if one != unknown and not form.isascii() and _leaves_out(piece, form)
    }
    tokens = ((one, form) for one, form in zip(encoding.ids, forms, strict=True) if one in altered)
    return Reading(tuple(missing), tuple(tokens), text, encoding)


def written(text: str, encoding: Encoding) -> list[str]:
    """What a text says in the place of each token, folded, with the marks behind it up to the next one."""
    places = [*encoding.offsets, (len(text), len(text))]
    return [_form(text[start:end] + _marks(text[end:upto])) for (start, end), (upto, _) in pairwise(places)]


def _leaves_out(piece: str, form: str) -> bool:
    bare = _form(piece.removeprefix("##").lstrip("▁"))
    return bare != form and _plain(bare) == _plain(form)


def _form(text: str) -> str:
    return "".join(one for one in compatible(text).casefold() if one not in SILENT and not one.isspace())


def _plain(form: str) -> str:
    return "".join(one for one in unicodedata.normalize("NFKD", form) if not _is_mark(one))


def _marks(text: str) -> str:
    return "".join(filter(_is_mark, text))


def _is_mark(one: str) -> bool:
    """Whether a character is an accent or vowel sign, a control character, or of no known kind."""
    return unicodedata.category(one)[0] in "MC"
