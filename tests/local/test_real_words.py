"""A sentence is found by three of its words, in every language that there are sentences of."""

import gettext
import re
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

_WORD = regex.compile(
    r"(?P<run>(?:[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Khmer}ー]\p{M}*)+)|[\p{L}\p{N}][\p{L}\p{N}\p{M}]*"
)
_PIECE = regex.compile(r"[\p{Thai}\p{Khmer}]\X{0,3}|\X{1,2}")  # as long as a word may be, where no blank tells


def words_of(sentence):
    """The three longest of its words; parted at letters, as no tokenizer of ours is."""
    found = {}
    for match in _WORD.finditer(sentence):
        found |= dict.fromkeys(_PIECE.findall(match[0]) if match["run"] else [match[0]])
    return sorted(found, key=len, reverse=True)[:3]


def recall(sentences, most, home):
    """The share of sentences that come first for words that no other holds all of."""
    known = [sentence.lower() for sentence in dict.fromkeys(sentences) if len(words_of(sentence)) == 3][:most]
    asked = {}
    for number, sentence in enumerate(known):
        words = words_of(sentence)
        if sum(all(word in other for word in words) for other in known) == 1:
            asked[number] = " ".join(words)
    assert len(asked) > 0.6 * len(known)
    with semsearch.create("sentences", encoder=None, dim=2, home=home) as collection:
        documents = [Document(str(number), sentence) for number, sentence in enumerate(known)]
        collection.add(documents, vectors=np.full((len(known), 2), 0.7, dtype=np.float32))
        answers = collection.search_many(list(asked.values()), 1, mode="lexical")
    right = [hits[0].id == str(number) for number, hits in zip(asked, answers, strict=True) if hits]
    return sum(right) / len(asked)


@pytest.mark.real
@pytest.mark.parametrize("language", TATOEBA)
def test_sentences_of_tatoeba(data, memory, language):
    file = min((data / "tatoeba").glob(f"tatoeba.*.{language}"))
    assert recall(filter(None, file.read_text().split("\n")), 1000, memory) >= RECALL


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
