"""Words as a server's analyzer keeps them: each term of ours as one run of ASCII letters and digits."""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple

from semsearch.search.analysis import analysed
from semsearch.search.languages import Languages
from semsearch.search.term_weights import TITLE

LONGEST_CODE = 200  # servers cut what is longer than 255
HOLE = "x"  # between parts that no phrase goes across; no code is the same
SEAM = "\n"  # between passages; phrases go across, for an analyzer takes it for space


def coded(term: str) -> str:
    """The code of a term; two terms never share one."""
    if term.isascii() and term.isalnum() and len(term) < LONGEST_CODE:
        return "w" + term
    code = "x" + term.encode("utf-8", "replace").hex()
    return code if len(code) <= LONGEST_CODE else "z" + blake2b(term.encode("utf-8", "replace")).hexdigest()[:60]


def coded_text(title: str, texts: Iterable[str], languages: Languages) -> str:
    """The codes of a document: its title as often as it counts, then its passages side by side."""
    parts = [_coded(title, languages)] * TITLE if title else []
    return f" {HOLE} ".join([*parts, SEAM.join(_coded(text, languages) for text in texts)])


def packed_codes(codes: str) -> str:
    """The codes of a document as a field of bytes takes them."""
    return b64encode(zlib.compress(codes.encode())).decode()


def unpacked_codes(text: str) -> str:
    """What `packed_codes` made a text of, of which a server's columns leave out the signs that fill it up."""
    return zlib.decompress(b64decode(text + "=" * (-len(text) % 4))).decode()


class CodedPassages(NamedTuple):
    """The codes of a document: those of its title, once, and of each of its passages."""

    title: Sequence[str]
    passages: Sequence[Sequence[str]]

    @classmethod
    def of(cls, text: str) -> CodedPassages:
        """What `coded_text` made."""
        *titles, texts = text.split(f" {HOLE} ")
        return cls(titles[0].split() if titles else (), [own.split() for own in texts.split(SEAM)])


def _coded(text: str, languages: Languages) -> str:
    return " ".join(map(coded, analysed(text, languages).split()))
