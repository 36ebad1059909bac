"""The analysis of words: from a text to the terms that it is found by, the one way for documents and for queries.

*Words* are maximal runs of letters, digits and their marks, as Unicode's word boundaries have them (UAX 29), but for
two things. What those rules join over an apostrophe, a full stop or an underscore is parted, since each part is looked
for: "l'homme", "example.com". And where a script puts no blanks between words, each letter (an extended grapheme
cluster) is a term, and so is each two side by side: such overlapping bigrams find Chinese as well as a dictionary does,
and single letters beside them the words of one letter (Nie, Gao, Zhang and Zhou, "On the use of words and n-grams for
Chinese information retrieval", 2000; Foo and Li, 2004). Korean, whose particles are glued to its words, goes the same
way (Lee and Ahn, "Using n-grams for Korean text retrieval", SIGIR 1996). An emoji is a term.

*Folding* finds words across the ways of writing them: Unicode's compatibility forms (NFKC) without capitals (full case
folding), without soft hyphens and other characters that are not seen, without accents, and without the points of
scripts that are mostly written without their vowels. Marks that are letters of their own stay: the vowel signs of
India, the voicing of kana, й.

Of a word that is very long (a key, a picture in letters) the beginning is kept, and a digest of all of it: it is found
whole, as it was written or in other capitals, and no index grows with it.

*Stemming* is Snowball's, by the languages of the collection (`semsearch.search.languages`), which are given to every
function here that stems: a query is too short to tell its own. It comes behind the folding, so that a word without its
accents is found as it is with them.
"""

from __future__ import annotations

import os
import re  # quicker than `regex`, for the texts that it can part
import threading
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate, pairwise
from typing import NamedTuple

import regex
import Stemmer

from semsearch.search.languages import STEMMED, Languages, of_script

WORD_LENGTH = 128  # characters of a word; what a longer one is in all, a digest behind them tells
DIGEST = 8  # bytes of it
TEXTS_TOGETHER = 64  # texts that are parted as one: they and their words stay in cache
LETTERS_TOGETHER = 1 << 14  # of each: long ones gain nothing, and would be held several times over
REMEMBERED_WORDS = 1 << 18  # words the terms of which are remembered: some 40 MB


class Term(NamedTuple):
    """A term of a text, and the characters that it stands for."""

    text: str
    start: int
    end: int


_UNSEEN = r"[\p{M}\p{DI}]"  # goes with what stands before
# Letters of scripts without blanks between words (those of South East Asia are the class of line breaking that needs a
# dictionary), and of Korean.
_UNSPACED = (
    r"[[\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Hangul}\p{Line_Break=Complex_Context}ーｰﾞﾟ]"
    r"&&[\p{L}\p{N}]--\p{DI}]"
)
# Where a line ends between such letters, their words go on; Korean's end at blanks.
_LINE_END = r"(?<!\p{Hangul})[ \t]*+\r?\n[ \t]*+(?!\p{Hangul})"
_LETTER = rf"[[\p{{L}}\p{{N}}\p{{Co}}]--{_UNSPACED}--\p{{DI}}]"
_JOINING = "(?:(?<=[\u0591-\u05f2])[\"'\u05f3\u05f4](?=[\u05d0-\u05f2])|(?<=[lL])·(?=[lL]))"  # Hebrew acronyms, l·l
_EMOJI = (
    r"[[\p{Emoji_Presentation}[\p{Extended_Pictographic}&&[\u2600-\u27bf\U0001F000-\U0001FAFF]]]--\p{RI}]"
    r"[\ufe0f\p{Emoji_Modifier}]*+"
)
_PIECE = regex.compile(
    rf"(?P<word>{_LETTER}(?:{_UNSEEN}*+{_JOINING}?{_LETTER})*+\p{{M}}*+)"
    rf"|(?P<run>{_UNSPACED}(?:{_UNSEEN}*+(?:{_LINE_END})?{_UNSPACED})*+\p{{M}}*+)"
    rf"|(?P<emoji>\p{{RI}}{{2}}|{_EMOJI}(?:\u200d{_EMOJI})*+)",
    regex.V1,
)
_CLUSTER = regex.compile(r"\X")

# Most texts hold letters of scripts with blanks between words, common signs and nothing else: `re` parts them alike in
# a tenth of the time.
_COMMON = (
    r"\0-\xac\xae-\u034e\u0350-\u061b\u061d-\u0dff\u1e00-\u1fff\u2010-\u2029\u202f-\u205f\u2070-\u22ff"
    r"\u2500-\u25fc\ufffd"
)
_OF_COMMON = re.compile(f"[{_COMMON}]*")
_UNCOMMON = re.compile(f"[^{_COMMON}]")
_PART_ENDS = " \t\r\n"
_PART_END = re.compile(f"[{_PART_ENDS}]")


def _common_word() -> re.Pattern[str]:
    common = "".join(filter(_OF_COMMON.fullmatch, map(chr, range(0x2300))))
    letters = "".join(regex.findall(_LETTER, common, regex.V1))
    marks = "".join(regex.findall(r"\p{M}", common))
    return re.compile(f"[{letters}](?:{_JOINING}?[{letters}]|[{marks}])*")


_ASCII_WORD = re.compile("[a-z0-9]+")
_ASCII_WORDS = bytes(ord(chr(code).lower()) if chr(code).isalnum() and code < 128 else 32 for code in range(256))
_BETWEEN = " \0 "  # no text of a document holds a NUL
_ASCII_WORDS_APART = b"\0" + _ASCII_WORDS[1:]
_COMMON_WORD = _common_word()

# Marks that are taken off: those that belong to no script of their own, and the points of scripts that are mostly
# written without them. Three letters of Cyrillic are none without their mark, nor is a voiced kana.
_MARK = regex.compile(
    r"([иИуУ]\u0306|[іІ]\u0308|[гГкК]\u0301)"
    r"|[[\p{Script=Inherited}\p{Arabic}\p{Hebrew}\p{Syriac}]&&\p{M}--[\u3099\u309a]]|\p{DI}|[\"'״׳·ـ]",
    regex.V1,
)
_TERM = regex.compile(r"[\p{L}\p{N}\p{M}\p{Co}]+")
_JOINED = regex.compile(r"[\p{M}\p{DI}\u1100-\u11ff\ua960-\ua97f\ud7b0-\ud7ffﾞﾟำຳ]")  # may be one cluster with others
_TONE = regex.compile(r"[\ufe0f\p{Emoji_Modifier}]")
_DISREGARDED = regex.compile(r"\p{DI}")
# Letters that are one in how they are looked for, which no decomposition of Unicode tells: as in the folding filters of
# Lucene for ASCII, Arabic and Persian.
_SAME = str.maketrans({"ı": "i", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ł": "l", "ى": "ي", "ی": "ي", "ک": "ك"})

_SCRIPTS = (  # the first and the last letter of each that has stemmers
    ("\0", "\u024f", "Latin"),
    ("\u0370", "\u03ff", "Greek"),
    ("\u0400", "\u052f", "Cyrillic"),
    ("\u0530", "\u058f", "Armenian"),
    ("\u0600", "\u06ff", "Arabic"),
    ("\u0900", "\u097f", "Devanagari"),
    ("\u0b80", "\u0bff", "Tamil"),
)


def analysed(text: str, languages: Languages = (), *, stemmed: bool = True) -> str:
    """The terms of a text in their order, with blanks between them: what it is found by."""
    known = _stems(languages) if stemmed else _FORMS
    if text.isascii():
        return " ".join(map(known.__getitem__, text.encode().translate(_ASCII_WORDS).decode().split()))
    if _OF_COMMON.fullmatch(text):
        return " ".join(filter(None, map(known.__getitem__, _COMMON_WORD.findall(text))))
    found: list[str] = []
    for part, common in _parts(text):
        if common:
            found += filter(None, map(known.__getitem__, _COMMON_WORD.findall(part)))
            continue
        for piece in _PIECE.finditer(part):
            if piece.lastgroup == "run":
                letters = [letter.text for letter in _letters(piece[0], 0)]
                for one, other in pairwise(letters):
                    found += (one, one + other)
                found += letters[-1:]
            elif term := (known if piece.lastgroup == "word" else _EMOJIS)[piece[0]]:
                found.append(term)
    return " ".join(found)


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """A text in parts that end at blanks, and which of them hold nothing but what is common.

    Between two others there are more than blanks: letters side by side may go on behind the end of a line.
    """
    done, found = 0, _UNCOMMON.search(text)
    while found is not None:
        begin = max(done, *(text.rfind(blank, done, found.start()) + 1 for blank in _PART_ENDS))
        end = found.end()
        while True:
            blank = _PART_END.search(text, end)
            end = len(text) if blank is None else blank.start()
            found = _UNCOMMON.search(text, end)
            if found is None or text[end : found.start()].strip(_PART_ENDS):
                break
            end = found.end()
        yield text[done:begin], True
        yield text[begin:end], False
        done = end
    yield text[done:], True


def analysed_many(texts: Sequence[str], languages: Languages = ()) -> list[str]:
    """As `analysed`, of each text: in two thirds of the time for short ones, which are parted and joined together."""
    known = _stems(languages)
    found: list[str] = []
    for first in range(0, len(texts), TEXTS_TOGETHER):
        some = texts[first : first + TEXTS_TOGETHER]
        plain = [text if text.isascii() and len(text) <= LETTERS_TOGETHER and "\0" not in text else "" for text in some]
        together = _BETWEEN.join(plain)
        terms = map(known.__getitem__, together.encode().translate(_ASCII_WORDS_APART).decode().split())
        own = list(map(str.strip, " ".join(terms).split("\0")))
        if plain != some:
            own = [
                terms if text == alone else analysed(alone, languages)
                for terms, text, alone in zip(own, plain, some, strict=True)
            ]
        found += own
    return found


def analyse(text: str, languages: Languages = (), *, stemmed: bool = True) -> Iterator[Term]:
    """The terms of a text in their order, and where each stands in it."""
    known = _stems(languages) if stemmed else _FORMS
    for piece in _PIECE.finditer(text):
        if piece.lastgroup == "run":
            letters = _letters(piece[0], piece.start())
            for one, other in pairwise(letters):
                yield one
                yield Term(one.text + other.text, one.start, other.end)
            yield from letters[-1:]
        else:
            for term in (known if piece.lastgroup == "word" else _EMOJIS)[piece[0]].split():
                yield Term(term, *piece.span())


def places_of(terms: AbstractSet[str], text: str, languages: Languages = ()) -> Iterator[tuple[int, int]]:
    """Where words of a text stand that have one of `terms`, in their order; some may overlap."""
    known = _stems(languages)
    if text.isascii():
        pieces = _ASCII_WORD.finditer(text.lower())
    elif _OF_COMMON.fullmatch(text):
        pieces = _COMMON_WORD.finditer(text)
    else:
        yield from (found[1:] for found in analyse(text, languages) if found.text in terms)
        return
    for piece in pieces:
        if not terms.isdisjoint(known[piece[0]].split()):
            yield piece.span()


def asked(text: str, languages: Languages = ()) -> list[str]:
    """The terms that a query looks for: of letters side by side the bigrams alone, since each letter is in too much."""
    if text.isascii() or _OF_COMMON.fullmatch(text):
        return analysed(text, languages).split()
    found: list[str] = []
    for piece in _PIECE.finditer(text):
        if piece.lastgroup == "run":
            letters = [letter.text for letter in _letters(piece[0], 0)]
            found += [one + other for one, other in pairwise(letters)] or letters
        else:
            found += analysed(piece[0], languages).split()
    return found


def words(text: str) -> Iterator[tuple[int, int, bool]]:
    """Where each word of a text begins and ends, and whether it is one, and no run of letters without blanks."""
    return ((*piece.span(), piece.lastgroup != "run") for piece in _PIECE.finditer(text))


def holds(text: str, phrase: str) -> bool:
    """Whether a text holds the terms of a phrase side by side; both as `analysed` gives them."""
    return f" {phrase} " in f" {text} "


def places_of_phrase(
    text: str, phrase: str, languages: Languages = (), *, stemmed: bool = True
) -> Iterator[tuple[int, int]]:
    """Where in a text the terms of a phrase stand side by side; the phrase as `analysed` gives it."""
    wanted, terms = phrase.split(), list(analyse(text, languages, stemmed=stemmed))
    found = [term for term, _, _ in terms]
    for first, term in enumerate(found[: len(found) - len(wanted) + 1] if wanted else ()):
        if term == wanted[0] and found[first : first + len(wanted)] == wanted:
            yield terms[first].start, terms[first + len(wanted) - 1].end


def _letters(run: str, start: int) -> list[Term]:
    """The letters of a run, grapheme clusters; the run begins at `start`."""
    clusters = _CLUSTER.findall(run) if _JOINED.search(run) else run
    ends = accumulate(map(len, clusters), initial=start)
    spans = pairwise(ends)
    return [Term(form, *span) for cluster, span in zip(clusters, spans, strict=True) if (form := _LETTERS[cluster])]


def folded(word: str) -> str:
    """A word across the ways of writing it; several with blanks between, where one sign stands for them."""
    if word.isascii():
        return word.lower()
    apart = unicodedata.normalize("NFKD", word)
    bare = _MARK.sub(lambda mark: mark[1] or "", apart).casefold().translate(_SAME)
    if not bare.isascii():
        bare = "".join(str(unicodedata.decimal(letter, letter)) for letter in bare)
    return " ".join(_TERM.findall(unicodedata.normalize("NFC", bare)))


class _Forms(dict[str, str]):
    """What words become; those that were met are remembered, up to a number."""

    def __init__(self, form: Callable[[str], str]) -> None:
        self._form = form

    def __missing__(self, word: str) -> str:
        if len(word) > WORD_LENGTH:
            whole = folded(word)
            form = self._form(whole[:WORD_LENGTH])
            digest = blake2b(whole.encode("utf-8", "replace"), digest_size=DIGEST).hexdigest()
            return form and form + digest if len(whole) > WORD_LENGTH else self._form(whole)
        form = self._form(word)
        if len(self) >= REMEMBERED_WORDS:
            self.clear()
        self[word] = form
        return form


class _Snowball:
    """The stems of folded words."""

    def __init__(self, languages: Languages) -> None:
        self._stemmers = [
            (first, last, [Stemmer.Stemmer(STEMMED[code].name.lower(), 0) for code in of_script(languages, script)])
            for first, last, script in _SCRIPTS
        ]

    def stemmed(self, word: str) -> str:
        with _turn:
            return " ".join(map(self._stem, folded(word).split()))

    def _stem(self, word: str) -> str:
        for first, last, stemmers in self._stemmers:
            if first <= word[0] <= last:
                for stemmer in stemmers:
                    word = str(stemmer.stemWord(word)) or word
                break
        return word


_turn = threading.Lock()  # each stemmer is at one word at a time


def _renew_turn() -> None:
    global _turn
    _turn = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_turn)  # the thread that may hold the lock is not there


def _letter(cluster: str) -> str:
    return "".join(_TERM.findall(_DISREGARDED.sub("", unicodedata.normalize("NFKC", cluster))))


@lru_cache(maxsize=8)
def _stems(languages: Languages) -> _Forms:
    return _Forms(_Snowball(languages).stemmed)


_FORMS = _Forms(folded)
_LETTERS = _Forms(_letter)
_EMOJIS = _Forms(lambda emoji: _TONE.sub("", emoji))
