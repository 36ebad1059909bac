"""Texts to the ids of whole words, for models that know words and not tokens (GloVe, komninos, Levy; bags of words)."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from semsearch.encoder.checkpoint import read_json
from semsearch.encoder.readings import Reading
from semsearch.errors import MissingDependency, ModelError


class WhitespaceTokenizer:
    """Words between white space, looked up as written, then without punctuation at their ends, then in lower case."""

    def __init__(self, vocab: Sequence[str], stop_words: Sequence[str] = (), lower: bool = False) -> None:
        self.ids = {word: index for index, word in enumerate(vocab)}
        self.stop_words = frozenset(stop_words)
        self.lower = lower
        self.limit: int | None = None  # words of a text that are looked at, those left out not counted
        self.truncated = 0  # texts so far that had more

    def __call__(self, texts: Sequence[str], prompt: str = "") -> tuple[list[list[int]], int]:
        """Word ids of each text; no prompt is told apart."""
        return [self._lookup(self.split(prompt + text)) for text in texts], 0

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """Of each text the words that the vocabulary has nothing for, which are left out."""
        return [
            Reading(
                tuple(
                    forms[-1]
                    for forms in map(self.forms, self.split(text))
                    if forms[-1] and self.ids.keys().isdisjoint(forms) and self.stop_words.isdisjoint(forms)
                )
            )
            for text in texts
        ]

    def split(self, text: str) -> list[str]:
        """The words of a text."""
        return (text.lower() if self.lower else text).split()

    def forms(self, word: str) -> tuple[str, ...]:
        """What a word is looked up as, in turn."""
        bare = word.strip(string.punctuation)
        return word, bare, bare.lower()

    def _lookup(self, words: Sequence[str]) -> list[int]:
        found = []
        for word in words:
            for form in self.forms(word):
                if form in self.stop_words:
                    break
                if form in self.ids:
                    found.append(self.ids[form])
                    break
        if self.limit is not None and len(found) > self.limit:
            self.truncated += 1
            return found[: self.limit]
        return found


class PhraseTokenizer(WhitespaceTokenizer):
    """Words as the Penn Treebank splits them, those that make a phrase of the vocabulary ("New_York") joined."""

    def __init__(
        self,
        vocab: Sequence[str],
        stop_words: Sequence[str] = (),
        lower: bool = False,
        separator: str | None = "_",
        longest: int = 5,
    ) -> None:
        super().__init__(vocab, stop_words, lower)
        try:
            from nltk.tokenize import NLTKWordTokenizer
        except ImportError as error:
            raise MissingDependency(
                "this model splits words with nltk, which is not installed: pip install 'semsearch[words]'"
            ) from error
        self._split = NLTKWordTokenizer().tokenize
        self.separator = separator
        phrases = [word for word in vocab if separator and separator in word and 2 * separator not in word]
        self.phrases = {word for word in phrases if word.count(str(separator)) < longest}
        self.lengths = sorted({word.count(str(separator)) + 1 for word in self.phrases}, reverse=True)

    def split(self, text: str) -> list[str]:
        """The words of a text, phrases as one word; the longest phrases first."""
        words: list[str] = list(self._split(text))
        for length in self.lengths:
            at = 0
            while at <= len(words) - length:
                phrase = str(self.separator).join(words[at : at + length])
                found = next((form for form in (phrase, phrase.lower()) if form in self.phrases), None)
                if found is not None:
                    words[at : at + length] = [found]
                at += 1
        return words

    def forms(self, word: str) -> tuple[str, ...]:
        """What a word is looked up as, in turn."""
        return word, word.lower(), word.lower().strip(string.punctuation)


def load_word_tokenizer(folder: Path, tokenizer_class: str) -> WhitespaceTokenizer:
    """The word tokenizer that a word model's configuration names."""
    name = tokenizer_class.rpartition(".")[2]
    if name == "WhitespaceTokenizer":
        config = read_json(folder / "whitespacetokenizer_config.json")
        need(config, "vocab", folder)
        return WhitespaceTokenizer(config["vocab"], config.get("stop_words", ()), config.get("do_lower_case", False))
    if name == "PhraseTokenizer":
        config = read_json(folder / "phrasetokenizer_config.json")
        need(config, "vocab", folder)
        return PhraseTokenizer(
            config["vocab"],
            config.get("stop_words", ()),
            separator=config.get("ngram_separator", "_"),
            longest=config.get("max_ngram_length", 5),
        )
    raise ModelError(
        f"{folder} names the tokenizer '{tokenizer_class}', which is not known; known are "
        "WhitespaceTokenizer, PhraseTokenizer and TransformersTokenizerWrapper."
    )


def vocabulary(config: Mapping[str, Any]) -> list[str]:
    """The words of a bag of words, each once."""
    return list(dict.fromkeys(config["vocab"]))


def need(config: Mapping[str, Any], key: str, folder: Path) -> None:
    """Raise ModelError where a configuration lacks a setting."""
    if key not in config:
        raise ModelError(f"the configuration in {folder} lacks '{key}': fetch the model anew.")
