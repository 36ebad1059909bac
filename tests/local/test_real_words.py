"""A sentence is found by three of its words, and by other forms of them, in languages that there are sentences of."""

import gettext
import random
import re
from collections import defaultdict
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import regex

import semsearch
from semsearch.types import Document

TATOEBA = ["cmn", "deu", "eng", "fra", "jpn", "rus", "spa"]
DJANGO = [  # its translations
    *("ar", "bg", "bn", "el", "fa", "he", "hi", "hy", "ja", "ka"),
    *("km", "ko", "ne", "ta", "th", "tr", "uk", "ur", "vi", "zh_Hans"),
]
RECALL = 0.95
INFLECTED = {  # the share that is found by other forms of the words; where all words had English stems: …
    "deu": ("de", 0.68),  # 0.34
    "eng": ("en", 0.79),
    "fra": ("fr", 0.67),  # 0.52
    "rus": ("ru", 0.70),
    "spa": ("es", 0.65),  # 0.35
}

_WORD = regex.compile(
    r"(?P<run>(?:[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Khmer}ー]\p{M}*)+)|[\p{L}\p{N}][\p{L}\p{N}\p{M}]*"
)
_PIECE = regex.compile(r"[\p{Thai}\p{Khmer}]\X{0,3}|\X{1,2}")  # as long as a word may be, where no blank tells


def sentences_of(data, language):
    """Those of Tatoeba."""
    file = min((data / "tatoeba").glob(f"tatoeba.*.{language}"))
    return [sentence for sentence in file.read_text().split("\n") if sentence]


def all_words(sentence):
    """Its words, parted at letters, as no tokenizer of ours is."""
    found = {}
    for match in _WORD.finditer(sentence):
        found |= dict.fromkeys(_PIECE.findall(match[0]) if match["run"] else [match[0]])
    return list(found)


def words_of(sentence):
    """The three longest of its words."""
    return sorted(all_words(sentence), key=len, reverse=True)[:3]


def any_words_of(sentence):
    """Three of its words, drawn by chance."""
    words = all_words(sentence)
    return random.Random(sentence).sample(words, 3) if len(words) >= 3 else words


def first(known, asked, home, language=None):
    """The share of questions, by the numbers of sentences, for which theirs comes first; and the languages found."""
    with semsearch.create("sentences", encoder=None, dim=2, home=home, language=language) as collection:
        documents = [Document(str(number), sentence) for number, sentence in enumerate(known)]
        random.Random(0).shuffle(documents)  # languages are found in those that are put in first
        collection.add(documents, vectors=np.full((len(known), 2), 0.7, dtype=np.float32))
        answers = collection.search_many(list(asked.values()), 1, mode="lexical")
        languages = collection.languages
    semsearch.drop("sentences", home=home)
    right = [hits[0].id == str(number) for number, hits in zip(asked, answers, strict=True) if hits]
    return sum(right) / len(asked), languages


def recall(sentences, most, home, words_of=words_of):
    """The share of sentences that come first for words that no other holds all of."""
    known = [sentence.lower() for sentence in dict.fromkeys(sentences) if len(words_of(sentence)) == 3][:most]
    asked = {}
    for number, sentence in enumerate(known):
        words = words_of(sentence)
        if sum(all(word in other for word in words) for other in known) == 1:
            asked[number] = " ".join(words)
    assert len(asked) > 0.6 * len(known)
    return first(known, asked, home)[0]


@pytest.mark.real
@pytest.mark.parametrize("language", TATOEBA)
def test_sentences_of_tatoeba(data, memory, language):
    assert recall(sentences_of(data, language), 1000, memory) >= RECALL


@pytest.mark.real
@pytest.mark.parametrize("language", ["deu", "eng", "fra", "rus", "spa"])
def test_sentences_by_any_of_their_words(data, memory, language):
    assert recall(sentences_of(data, language), 1000, memory, any_words_of) >= RECALL


def inflected(sentences, language):
    """Of each sentence its three longest words, two of them in another form that other sentences have.

    Which forms are of one word says a dictionary (simplemma), and no stemmer.
    """
    simplemma = pytest.importorskip("simplemma")
    lemma = cache(partial(simplemma.lemmatize, lang=language))
    forms = defaultdict(set)
    for sentence in sentences:
        for word in all_words(sentence):
            forms[lemma(word).lower()].add(word)
    draw = random.Random(0)
    asked = {}
    for number, sentence in enumerate(sentences):
        others = {
            word: sorted(forms[lemma(word).lower()] - {word}) if len(word) > 3 else [] for word in words_of(sentence)
        }
        if sum(map(bool, others.values())) >= 2:
            asked[number] = " ".join(draw.choice(other) if other else word for word, other in others.items())
    return asked


@pytest.mark.real
@pytest.mark.parametrize("language", INFLECTED)
def test_sentences_by_other_forms_of_their_words(data, memory, language):
    short, least = INFLECTED[language]
    known = [sentence.lower() for sentence in dict.fromkeys(sentences_of(data, language))]
    asked = inflected(known, short)
    found, languages = first(known, asked, memory)
    assert languages == (short,)
    assert found == pytest.approx(least, abs=0.02)


@pytest.mark.real
def test_other_forms_are_found_in_several_languages_at_once(data, memory):
    """About as many as where each has a collection of its own, for the stemmer of each stems in turn."""
    known, asked = [], {}
    for language, (short, _) in INFLECTED.items():
        own = [sentence.lower() for sentence in dict.fromkeys(sentences_of(data, language))]
        asked[language] = {len(known) + number: query for number, query in inflected(own, short).items()}
        known += own
    for language, queries in asked.items():
        found, languages = first(known, queries, memory)
        assert languages == ("en", "de", "es", "fr", "ru")
        assert found > INFLECTED[language][1] - 0.05


@pytest.mark.real
@pytest.mark.parametrize("language", DJANGO)
def test_messages_of_django(memory, language):
    django = pytest.importorskip("django")
    messages = []
    for file in sorted(Path(django.__file__).parent.rglob(f"locale/{language}/LC_MESSAGES/django.mo")):
        with file.open("rb") as content:
            messages += [text for key, text in gettext.GNUTranslations(content)._catalog.items() if key and text]
    plain = [re.sub(r"%\(\w+\)\w|%\w|\{\w*\}|<[^>]*>|&\w+;|\s+", " ", text).strip() for text in messages]
    assert recall([text for text in plain if not text.isascii()], 200, memory) >= RECALL
