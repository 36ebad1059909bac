"""The languages that the words of a collection are in: which stemmer each brings, and to the words of which script.

A collection's languages are fixed when there is enough text to find them in, or when they are told, and stored with it.
Words of a script that none of them is written in are stemmed as those of its usual language. Where several are written
in one script, its words go through the stemmer of each in turn. So nobody has to know which language a text is in, or a
question of two words, and inflected forms are found as often as if somebody did: in 1,000 sentences each of English,
German, French and Spanish together 81, 66, 66 and 66 of a hundred, and 81, 65, 66 and 67 by each one's own stemmer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from semsearch.arguments import as_list
from semsearch.errors import UsageError

Languages = tuple[str, ...]  # codes of ISO 639, in the order of `in_turn`

LANGUAGES = "languages"  # the setting that holds them: None where they are to be found, missing where nobody asked


LANGUAGE_FIELD = "language_field"  # the setting that names the field of metadata that each text's own is kept in


class Language(NamedTuple):
    """A language with a stemmer, which Snowball calls by its name."""

    name: str
    scripts: tuple[str, ...] = ("Latin",)


STEMMED: Mapping[str, Language] = {
    "ar": Language("Arabic", ("Arabic",)),
    "ca": Language("Catalan"),
    "cs": Language("Czech"),
    "da": Language("Danish"),
    "de": Language("German"),
    "el": Language("Greek", ("Greek",)),
    "en": Language("English"),
    "eo": Language("Esperanto"),
    "es": Language("Spanish"),
    "et": Language("Estonian"),
    "eu": Language("Basque"),
    "fa": Language("Persian", ("Arabic",)),
    "fi": Language("Finnish"),
    "fr": Language("French"),
    "ga": Language("Irish"),
    "hi": Language("Hindi", ("Devanagari",)),
    "hu": Language("Hungarian"),
    "hy": Language("Armenian", ("Armenian",)),
    "id": Language("Indonesian"),
    "it": Language("Italian"),
    "lt": Language("Lithuanian"),
    "ne": Language("Nepali", ("Devanagari",)),
    "nl": Language("Dutch"),
    "no": Language("Norwegian"),
    "pl": Language("Polish"),
    "pt": Language("Portuguese"),
    "ro": Language("Romanian"),
    "ru": Language("Russian", ("Cyrillic",)),
    "sr": Language("Serbian", ("Cyrillic", "Latin")),
    "sv": Language("Swedish"),
    "ta": Language("Tamil", ("Tamil",)),
    "tr": Language("Turkish"),
}

USUAL: Mapping[str, str] = {  # of each script that has one
    "Latin": "en",
    "Greek": "el",
    "Cyrillic": "ru",
    "Armenian": "hy",
    "Arabic": "ar",
    "Devanagari": "hi",
    "Tamil": "ta",
}

_ALIASES = {"nb": "no", "nn": "no"} | {language.name.lower(): code for code, language in STEMMED.items()}


def in_turn(languages: Iterable[str]) -> Languages:
    """In the order in which they stem: English first, whose endings are the fewest, then by their codes."""
    return tuple(sorted(set(languages), key=lambda code: (code != "en", code)))


def named(languages: str | Iterable[str]) -> Languages:
    """What somebody says: codes or English names of languages, in a list or with commas between.

    Raises:
        UsageError: There is no stemmer for one of them; says for which there is.
    """
    listed = languages.split(",") if isinstance(languages, str) else as_list(languages, "a language is a list of codes")
    found = []
    for one in listed:
        said = str(one).strip()
        code = said.lower().replace("_", "-").partition("-")[0]
        code = _ALIASES.get(code, code)
        if code not in STEMMED:
            there = ", ".join(f"{code} ({language.name})" for code, language in STEMMED.items())
            raise UsageError(f"'{said}' is no language whose words can be stemmed; these are: {there}.")
        found.append(code)
    if not found:
        raise UsageError("say at least one language: 'de', say, or 'de,en'.")
    return in_turn(found)


def languages_of(settings: Mapping[str, Any]) -> Languages:
    """Those of a collection; none where each script's usual one serves."""
    return tuple(settings.get(LANGUAGES) or ())


def to_be_found(settings: Mapping[str, Any]) -> bool:
    """Whether a collection takes the languages that are found in its first texts; an old one stays as it is."""
    return LANGUAGES in settings and settings[LANGUAGES] is None


def same_stems(languages: Languages, others: Languages) -> bool:
    """Whether all words have the same stems by both."""
    return all(of_script(languages, script) == of_script(others, script) for script in USUAL)


def of_script(languages: Languages, script: str) -> Languages:
    """Those whose stemmers the words of a script go through."""
    own = tuple(code for code in languages if script in STEMMED[code].scripts)
    return own or ((USUAL[script],) if script in USUAL else ())


def described(languages: Languages) -> str:
    """Their names, for people."""
    return ", ".join(STEMMED[code].name for code in languages)


def checked_field(name: str) -> str:
    """A name for a field of metadata.

    Raises:
        UsageError: It is empty, or no text.
    """
    if not isinstance(name, str) or not name.strip():
        raise UsageError(
            f"language_field is the name of a field of metadata, such as 'language', and not {name!r:.40}."
        )
    return name
