"""Which languages the first texts of a collection are in: told by enough of them, and by no guess."""

import numpy as np
import pytest

import semsearch
from semsearch.ingest import identification
from semsearch.ingest.identification import TELLING_LETTERS, foreign_among, language_of, languages_in
from semsearch.types import Document

ENGLISH = "The houses of the old town are very beautiful, and the children often play at the edge of the forest."
GERMAN = "Die Häuser der alten Stadt sind sehr schön, und die Kinder spielen oft am Rande des großen Waldes."
FRENCH = "Les maisons de la vieille ville sont très belles, et les enfants jouent souvent au bord de la forêt."
RUSSIAN = "Дома старого города очень красивы, и дети часто играют на опушке большого леса за рекой."
UKRAINIAN = "Будинки старого міста дуже гарні, і діти часто граються на узліссі великого лісу за річкою."
PERSIAN = "خانه‌های شهر قدیمی بسیار زیبا هستند و بچه‌ها اغلب در کنار جنگل بزرگ پشت رودخانه بازی می‌کنند."
VIETNAMESE = "Những ngôi nhà của khu phố cổ rất đẹp, và trẻ em thường chơi ở bìa rừng lớn bên kia sông."
THAI = "บ้านของเมืองเก่าสวยงามมาก และเด็กๆ มักจะเล่นที่ชายป่าใหญ่อีกฝั่งของแม่น้ำ"
CHINESE = "老城的房子很漂亮，孩子们经常在森林边玩耍。"


@pytest.fixture
def by_function_words_alone(monkeypatch):
    def loaded():
        raise AssertionError("the classifier was loaded")

    monkeypatch.setattr(identification, "_identifier", loaded)


@pytest.mark.parametrize(
    ("texts", "languages"),
    [
        ([ENGLISH] * 3, ("en",)),
        ([ENGLISH] * 9 + [GERMAN], ("en",)),
        ([GERMAN], None),
        ([CHINESE], None),
        ([CHINESE] * 60, ()),
        ([], None),
        (["12 34 — !!"] * 900, None),
    ],
)
def test_english_and_too_little_are_told_at_once(by_function_words_alone, texts, languages):
    assert languages_in(texts) == languages


@pytest.mark.parametrize("texts", [[ENGLISH] * 3, ["“Quoted” — " + ENGLISH], ["torch", "numpy", "scipy"] * 90, []])
def test_english_and_names_are_nothing_foreign(by_function_words_alone, texts):
    assert list(foreign_among(texts)) == []


NATO = (
    "Alfa Bravo Charlie Delta Echo Foxtrot Golf Hotel India Juliett Kilo Lima Mike November Oscar Papa Quebec Romeo "
    "Sierra Tango Uniform Victor Whiskey X-ray Yankee Zulu"
)
ELEMENTS = "hydrogen helium lithium beryllium boron carbon nitrogen oxygen fluorine neon sodium magnesium aluminium"


@pytest.mark.slow  # loads the classifier
@pytest.mark.parametrize(
    "text", ["woord " * 33_000, "data " * 300, "banana mango " * 90, NATO, f"{NATO} " * 3, NATO.lower(), ELEMENTS]
)
def test_lists_of_names_and_few_words_are_no_language(text):
    assert list(foreign_among([text] * 3)) == []
    assert languages_in([text] * 3) in (None, ())
    assert languages_in([text[:300]] * 3 + [GERMAN] * 20) == ("de",)
    assert language_of(text) is None


@pytest.mark.slow  # loads the classifier
@pytest.mark.parametrize(
    ("texts", "languages"),
    [
        ([CHINESE] * 20, ["zh"]),
        ([CHINESE] * 20 + [VIETNAMESE] * 9 + [ENGLISH] * 9, ["vi", "zh"]),
        ([CHINESE] + [ENGLISH] * 9, []),
        ([CHINESE], []),  # too little
        ([THAI] * 9, ["th"]),
        ([GERMAN] * 9 + [ENGLISH], ["de"]),
        (["猫が寝る"] * 60, ["ja"]),
    ],
)
def test_foreign_languages_are_told_with_a_stemmer_and_without(texts, languages):
    assert list(foreign_among(texts)) == languages


@pytest.mark.slow  # loads the classifier
@pytest.mark.parametrize(
    ("texts", "languages"),
    [
        ([GERMAN] * 3, ("de",)),
        ([GERMAN, ENGLISH] * 3, ("en", "de")),
        ([GERMAN, FRENCH, ENGLISH] * 3, ("en", "de", "fr")),
        ([GERMAN] * 9 + [FRENCH], ("de",)),
        ([RUSSIAN, GERMAN] * 3, ("de", "ru")),
        ([UKRAINIAN] * 3, ()),
        ([PERSIAN] * 3, ("fa",)),
        ([PERSIAN + CHINESE + ENGLISH] * 3, ("en", "fa")),
    ],
)
def test_languages_of_texts(texts, languages):
    assert languages_in(texts) == languages


def add(collection, *texts):
    documents = [Document(f"{len(collection)}-{number}", text) for number, text in enumerate(texts)]
    collection.add(documents, vectors=np.full((len(texts), 2), 0.7, dtype=np.float32))


def ids(collection, query):
    return sorted(hit.id for hit in collection.search(query, 9, mode="lexical"))


@pytest.mark.slow
@pytest.mark.parametrize("home", ["folder", ":memory:"])
def test_what_was_put_in_before_there_was_enough_is_found_by_the_language_too(memory, home):
    home = memory if home == "folder" else home
    with semsearch.create("texts", encoder=None, dim=2, home=home) as collection:
        add(collection, GERMAN)
        assert collection.languages is None
        assert ids(collection, "Haus") == []
        add(collection, "Wir haben gestern lange ein neues Buch über die Geschichte der Stadt gelesen. " * 3)
        assert collection.languages == ("de",)
        assert ids(collection, "Haus") == ["0-0"]
        add(collection, ENGLISH, ENGLISH, ENGLISH)  # what was found stays
        assert collection.languages == ("de",)
        assert collection.change_language() == ("en", "de")
        assert ids(collection, "house") == ["2-0", "2-1", "2-2"]
        if home == memory:
            assert collection.check(deep=True) == []
    semsearch.drop("texts", home=home)


def test_texts_are_looked_at_from_all_over_what_is_put_in(memory, monkeypatch):
    seen = []
    monkeypatch.setattr(identification, "LOOKED_TEXTS", 10)
    monkeypatch.setattr(identification, "languages_in", lambda texts: seen.extend(texts))
    with semsearch.create("texts", encoder=None, dim=2, home=memory) as collection:
        add(collection, *map(str, range(100)))
    assert len(seen) <= 10 + 1
    assert "\n99" in seen or "\n90" in seen
    assert len(GERMAN) < TELLING_LETTERS
