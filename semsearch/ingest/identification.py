"""Which languages the texts of a collection are in: found once, when the first of them are enough to tell.

English is told by its function words, which are more than a quarter of the words of its texts and, but for Irish and
Gaelic now and then, of no other language's. What they don't tell is classified by py3langid, text by text, and a
language counts that has a share of all letters of its script. Of the 73 languages of Tatoeba and Django, all that have
a stemmer are told by a hundred letters of sentences.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

import regex

from semsearch.engine import Engine
from semsearch.search.function_words import ENGLISH
from semsearch.search.languages import STEMMED, Languages, in_turn, to_be_found
from semsearch.types import Document, ImageDocument

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

TELLING_LETTERS = 200  # letters of a script tell which language they are of …
SETTLING_LETTERS = 1000  # … and so many of all, if none is of such a script, that nothing is to be told
LANGUAGE_SHARE = 0.15  # of the letters of a script, from which on a language is one of the collection's
ENGLISH_SHARE = 0.25  # of the words of a text that are function words, from which on it is English
TELLING_WORDS = 3  # different ones, in scripts that put blanks between them, tell what function words don't …
# … where they are so much more likely than in English, in nats a letter: of sentences with 20 to 30 letters in German,
# French and Spanish 96 to 98 of a hundred are, of the messages of Django in 27 languages all but 2 of 522; no English
# sentence, and no list of names, cities, fruits or elements.
TELLING_LIKELIHOOD = 0.8
UNTOLD = "und"  # the code of what is of no language that can be told
TOLD_LETTERS = 20  # letters of a text, of which its own language is told
LOOKED_TEXTS = 500  # that are looked at, from all over what is given, …
LOOKED_CHARACTERS = 1000  # … each as far as this

_DIVIDED_SCRIPTS = ("Latin", "Cyrillic", "Arabic", "Devanagari")  # that several languages with stemmers are written in
_SCRIPT_WORD = regex.compile(
    "|".join(rf"(?P<{script}>\p{{{script}}}[\p{{{script}}}\p{{M}}]*+)" for script in _DIVIDED_SCRIPTS)
)
_ANY_LETTER = regex.compile(r"\p{L}")
_ASCII_LETTERS = re.compile("[A-Za-z]+")


def find_languages(engine: Engine, documents: Sequence[Document]) -> None:
    """Commit the languages of what a collection holds and of what is about to be put in, if they are to be found."""
    if not to_be_found(engine.settings):
        return
    with engine.view() as view:
        known = list(islice(view.documents(), LOOKED_TEXTS))  # they were not enough, so they are little
    every = (*known, *documents[:: len(documents) // LOOKED_TEXTS + 1])
    found = languages_in(map(beginning_of, every))
    if found is not None:
        engine.set_languages(found, found=True)


def stored_languages(engine: Engine) -> Languages:
    """The languages of what a collection holds; none where there is too little to tell."""
    with engine.view() as view:
        step = engine.counts()[0] // LOOKED_TEXTS + 1
        return languages_in(map(beginning_of, islice(view.documents(), 0, None, step))) or ()


def foreign_among(texts: Iterable[str]) -> Iterator[str]:
    """The codes of the languages, with a stemmer or without, that texts are in, as `foreign_of` gives them."""
    return foreign_of(letters_by_language(texts))


def letters_by_language(texts: Iterable[str]) -> Counter[str]:
    """How many letters of texts are in a language, by its code; what is in none that can be told is English here."""
    letters: Counter[str] = Counter()
    for text in texts:
        size = len(_ANY_LETTER.findall(text))
        latin = _by_script(text).get("Latin", [])
        in_latin = 2 * sum(map(len, latin)) >= size
        if in_latin and (size < TOLD_LETTERS or _is_english([word.lower() for word in latin])):
            letters["en"] += size  # or what nobody can tell
        else:
            letters[_classified(text) or "en"] += size
    return letters


def foreign_of(letters: Counter[str]) -> Iterator[str]:
    """Those that have a share of the letters, English apart, the greatest first; none of too few letters."""
    total = letters.total()
    if total >= TELLING_LETTERS:
        yield from (code for code, size in letters.most_common() if code != "en" and size >= LANGUAGE_SHARE * total)


def language_of(text: str) -> str | None:
    """The code of the language that a text is in, of some hundred; None where its letters are too few to tell."""
    beginning = text[:LOOKED_CHARACTERS]
    if len(_ANY_LETTER.findall(beginning)) < TOLD_LETTERS:
        return None
    words = beginning.lower().split()
    return "en" if beginning.isascii() and _is_english(words) else _classified(beginning)


def with_language(document: Document, field: str) -> Document:
    """A document with its language in its metadata, unless that is there already or nobody can tell."""
    if field in document.metadata or isinstance(document, ImageDocument):
        return document
    code = language_of(f"{document.title} {document.text}")
    return document if code is None else replace(document, metadata={**document.metadata, field: code})


def languages_in(texts: Iterable[str]) -> Languages | None:
    """The languages with a stemmer that texts are in, none where each script's usual one serves; None: too little."""
    letters: defaultdict[str, Counter[str]] = defaultdict(Counter)  # by script and language
    doubtful: list[tuple[str, str, int]] = []  # script, words and letters of what function words don't tell
    total = 0
    for text in texts:
        total += sum(map(len, _ASCII_LETTERS.findall(text))) if text.isascii() else len(_ANY_LETTER.findall(text))
        for script, words in _by_script(text).items():
            joined = " ".join(words)
            size = len(joined) - len(words) + 1
            if script == "Latin" and _is_english(joined.lower().split(" ")):
                letters[script]["en"] += size
            else:
                doubtful.append((script, joined, size))
    sizes = Counter({script: own.total() for script, own in letters.items()})
    for script, _, size in doubtful:
        sizes[script] += size
    enough = {script for script, size in sizes.items() if size >= TELLING_LETTERS}
    if not enough:
        return () if total >= SETTLING_LETTERS else None
    for script in enough:
        own = [(joined, size) for other, joined, size in doubtful if other == script]
        if sum(size for _, size in own) >= LANGUAGE_SHARE * sizes[script]:  # else no language of them has its share
            for joined, size in own:
                letters[script][_classified(joined) or UNTOLD] += size
    if all(set(letters[script]) <= {UNTOLD} for script in enough):
        return () if total >= SETTLING_LETTERS else None
    return in_turn(
        code
        for script in enough
        for code, size in letters[script].items()
        if size >= LANGUAGE_SHARE * sizes[script] and code in STEMMED and script in STEMMED[code].scripts
    )


def beginning_of(document: Document) -> str:
    """What is looked at of a text."""
    return f"{document.title}\n{document.text[:LOOKED_CHARACTERS]}"


def _is_english(words: Sequence[str]) -> bool:
    return sum(map(ENGLISH.__contains__, words)) >= ENGLISH_SHARE * len(words)


def _by_script(text: str) -> Mapping[str, list[str]]:
    if text.isascii():  # nearly always, and many times as fast
        found = _ASCII_LETTERS.findall(text)
        return {"Latin": found} if found else {}
    words: defaultdict[str, list[str]] = defaultdict(list)
    for match in _SCRIPT_WORD.finditer(text):
        words[match.lastgroup or ""].append(match[0])
    return words


def _classified(text: str) -> str | None:
    """The code of a language; None where nothing speaks for one: in a list of names, of a word said again and again."""
    words = list(dict.fromkeys(text.split()))
    once = " ".join(words)
    likely = {str(code): float(score) for code, score in _identifier().rank(once)}
    code = max(likely, key=likely.__getitem__)
    if code != "en":
        ahead = likely[code] - likely["en"]
        if ahead < TELLING_LIKELIHOOD * len(_ANY_LETTER.findall(once)):
            return None
        if len(words) < TELLING_WORDS and _by_script(once):
            return None
    return {"nb": "no", "nn": "no"}.get(code, code)


@cache
def _identifier() -> LanguageIdentifier:
    """The classifier, which takes two seconds to load and 90 MB, so English is told without it."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE)
