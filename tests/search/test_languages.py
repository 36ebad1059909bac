"""What somebody calls languages, and whose stemmer serves which script."""

import pytest

from semsearch.errors import UsageError
from semsearch.search import languages
from semsearch.search.languages import described, named, of_script, same_stems


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("de", ("de",)),
        ("de,en", ("en", "de")),
        (" German , french", ("fr", "de")),
        (["ru", "DE-at", "de"], ("de", "ru")),
        ("nb", ("no",)),
        ("pt_BR", ("pt",)),
    ],
)
def test_languages_are_named_in_any_way(said, meant):
    assert named(said) == tuple(sorted(meant, key=lambda code: (code != "en", code)))


@pytest.mark.parametrize("said", ["", "klingon", "de,,fr", [], ["de", 7], "auto"])
def test_what_is_no_language_is_told_what_there_is(said):
    with pytest.raises(UsageError, match=r"de \(German\)|'de,en'"):
        named(said)


def test_a_script_that_no_language_is_written_in_has_its_usual_one():
    assert of_script(("de", "fa"), "Latin") == ("de",)
    assert of_script(("de", "fa"), "Arabic") == ("fa",)
    assert of_script(("de", "fa"), "Cyrillic") == ("ru",)
    assert of_script(("sr",), "Latin") == of_script(("sr",), "Cyrillic") == ("sr",)
    assert of_script((), "Thai") == ()


def test_languages_that_stem_alike():
    assert same_stems((), ("en", "ru"))
    assert not same_stems((), ("de",))
    assert not same_stems(("en",), ("en", "de"))


def test_every_script_has_a_usual_language_that_is_written_in_it():
    assert all(script in languages.STEMMED[code].scripts for script, code in languages.USUAL.items())
    assert {script for language in languages.STEMMED.values() for script in language.scripts} == {*languages.USUAL}
    assert described(("en", "de")) == "English, German"
