"""What people type into a search box: words, "phrases", +"required" ones and -exclusions. Any text is a query.

A quotation mark in prose is no order, nor is a dash before the option of a command. What is quoted makes the passages
that hold it score higher; it is required only where nobody can have meant anything else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from operator import and_

FEW_WORDS, FEW_LETTERS = 5, 40  # beside phrases: with more, or with the marks of a sentence, a query is prose
GLUED_AMONG = 1000  # characters of a query, in which a minus without a blank before it is looked for
OPTION = 2  # letters of ASCII up to which "-x" is the option of a command

_MARKS = str.maketrans({**dict.fromkeys("“”„«»＂", '"'), **dict.fromkeys("－−﹣", "-"), "＋": "+", "\0": " "})
# Letters of scripts without blanks between words, beside which a quotation mark may stand as beside a blank, and emoji.
_GLUED_LETTERS = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f"
    r"\U00020000-\U0003ffff"
)
_PICTURES = r"\u2600-\u27bf\U0001f1e6-\U0001f1ff\U0001f300-\U0001faff"
_PART = re.compile(
    rf'(?:(?<!\S)|(?<=[{_GLUED_LETTERS}]))([+-]?)"([^"]*)"(?![^\W{_GLUED_LETTERS}])'
    rf"|(?<!\S)-(?=\S*(?:[^\W\d_]|[{_PICTURES}]))(?!-)(\S+)"
)
_GLUED = re.compile(rf"(?<=[{_GLUED_LETTERS}])-[{_GLUED_LETTERS}]+|(?<=[{_GLUED_LETTERS}])[－−﹣]\w+")
_PROSE = re.compile(r"[.,;:!?](?:\s|$)|[。、，；：！？।؟؛]")


@dataclass(frozen=True, slots=True)
class Query:
    """A query taken apart.

    Attributes:
        text: What is asked for: the query without exclusions and without the quotes of phrases.
        phrases: What stands in quotes, words side by side; the more a passage holds of it, the higher it scores.
        required: Phrases without which there is no answer.
        excluded: Words and phrases that no answer holds.
        firm: Whether `required` holds even where nothing is found so.
        unheeded: In sentences, what looks like an exclusion and is none.
    """

    text: str
    phrases: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    firm: bool = False
    unheeded: tuple[str, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether it rules nothing out."""
        return not self.required and not self.excluded

    @property
    def loosened(self) -> Query:
        """The same where its phrases rule nothing out; itself where they have to."""
        return self if self.firm or not self.required else replace(self, required=())

    def ruled_out(self, *, found: bool, lost: bool, filtered: bool) -> Iterator[str]:
        """In sentences, what is required and what is left out.

        Args:
            found: Whether there are answers.
            lost: Whether nothing held what was required, and it was asked for without.
            filtered: Whether only what a filter lets through was looked at.
        """
        required, excluded = (
            joint.join(f'"{phrase}"' for phrase in phrases)
            for joint, phrases in ((" and ", self.required), (" or ", self.excluded))
        )
        among = " among what the filter lets through" if filtered else ""
        if not found:
            held = f"holds {required}" if required else "is found"
            yield f"nothing {held}{f' without {excluded}' if excluded else ''}{among}: there is no answer."
            return
        if required and lost:
            yield f'nothing holds {required}{among}: these are answers without it. Write +"…" to have none instead.'
        elif required:
            yield f"every answer holds {required}."
        if excluded:
            yield f"left out is what holds {excluded}."


def parse(query: str) -> Query:
    """Take a query apart.

    `"…"` is a phrase where it begins a word; `+"…"` is required. Without a plus phrases are required, unless nothing
    holds them, in a query of nothing but them and a few words. `-"…"` is an exclusion, and so is `-word` where no
    other word follows and it can't be an option of a command, of one or two letters of ASCII: "jaguar -car" and
    "首都 -日本" exclude, "tar -xzf archive" does not. A hyphen inside a word, a number below zero, a dash between
    spaces and a quotation mark that is never closed are what they are in any text; quotes around nothing that is a word
    are none.
    """
    clean = query.encode("utf-8", "replace").decode().translate(_MARKS)  # half a surrogate pair is no letter
    parts = list(_PART.finditer(clean))
    outside = _PART.sub(" ", clean).split()
    phrases: list[str] = []
    firm: list[str] = []
    excluded: list[str] = []
    kept: list[str] = []
    unheeded = [
        f'"{glued[0]:.40}" leaves nothing out, as no blank stands before its minus: write one for that.'
        for glued in _GLUED.finditer(query[:GLUED_AMONG])
    ][:1]
    marked = _PROSE.search(" ".join(outside)) is not None
    # whether nothing but phrases and exclusions follows each part
    last = [not clean[a.end() : b.start()].strip() for a, b in pairwise(parts)]
    last += [not clean[parts[-1].end() :].strip()] if parts else []
    last = list(accumulate(reversed(last), and_))[::-1]
    end = 0
    for part, ends in zip(parts, last, strict=True):
        sign, phrase, word = part[1] or "", part[2], part[3]
        kept.append(clean[end : part.start()])
        end = part.end()
        if word is not None:
            if ends and not marked and (len(word) > OPTION or not word.isascii()):
                excluded.append(word)
            else:
                kept.append(part[0])
                if ends and not marked and len(word) > 1:
                    unheeded.append(
                        f'"-{word}" leaves nothing out, as it may be an option of a command: write -"{word}" for that.'
                    )
        elif sign == "-":
            excluded += _worded(phrase)
        else:
            (firm if sign else phrases).extend(_worded(phrase))
            kept.append(phrase)
    kept.append(clean[end:])
    text = " ".join(" ".join(kept).split())
    prose = marked or len(outside) > FEW_WORDS or sum(map(len, outside)) > FEW_LETTERS
    required = tuple(firm) if firm or prose else tuple(phrases)
    return Query(text, (*firm, *phrases), required, tuple(excluded), firm=bool(firm), unheeded=tuple(unheeded))


def _worded(phrase: str) -> list[str]:
    """The phrase, if there is a word in it."""
    from semsearch.search.analysis import words  # takes a while to import, and few queries have a phrase

    return [phrase] if next(words(phrase), None) is not None else []
