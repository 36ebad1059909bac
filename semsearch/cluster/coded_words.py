"""Words as a server's analyzer keeps them: each term of ours as one run of ASCII letters and digits."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from semsearch.search.analysis import analysed
from semsearch.search.languages import Languages
from semsearch.search.term_weights import TITLE

LONGEST_CODE = 200  # servers cut what is longer than 255
HOLE = "x"  # between parts that no phrase goes across; no code is the same


def coded(term: str) -> str:
    """The code of a term; two terms never share one."""
    if term.isascii() and term.isalnum() and len(term) < LONGEST_CODE:
        return "w" + term
    code = "x" + term.encode("utf-8", "replace").hex()
    return code if len(code) <= LONGEST_CODE else "z" + blake2b(term.encode("utf-8", "replace")).hexdigest()[:60]


def coded_text(title: str, texts: Iterable[str], languages: Languages) -> str:
    """The codes of a document: its title as often as it counts, then its passages side by side."""
    parts = [_coded(title, languages)] * TITLE if title else []
    return f" {HOLE} ".join([*parts, " ".join(_coded(text, languages) for text in texts)])


def _coded(text: str, languages: Languages) -> str:
    return " ".join(map(coded, analysed(text, languages).split()))
