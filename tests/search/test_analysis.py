"""The analysis of words: what each script's texts are found by, with places in the text as it was."""

import os
import re
import signal
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from semsearch.search import analysis
from semsearch.search.analysis import Term, analyse, analysed, analysed_many, asked, holds
from semsearch.search.languages import STEMMED

TERMS = {
    "The foxes' den, state-of-the-art C++": "the fox den state of the art c",
    "don't l’homme example.com foo_bar 3.14": "don t l homm exampl com foo bar 3 14",
    "日本語": "日 日本 本 本語 語",
    "水": "水",
    "的首\n都": "的 的首 首 首都 都",
    "首 \r\n  都": "首 首都 都",
    "首\n\n都 首": "首 都 首",
    "ภาษา\nไทย": analysed("ภาษาไทย"),
    "학교\n에서": "학 학교 교 에 에서 서",
    "iPhone手机2024年": "iphon 手 手机 机 2024 年",
    "日\u200b本": "日 日本 本",
    "ｶﾞﾗｽ": "ガ ガラ ラ ラス ス",
    "か\u3099くせい": "が がく く くせ せ せい い",
    "スーパー": "ス スー ー ーパ パ パー ー",
    "학교에서": "학 학교 교 교에 에 에서 서",
    unicodedata.normalize("NFD", "학교"): "학 학교 교",
    "ที่นี่": "ที่ ที่นี่ นี่",
    "น้ำ": "น้ํา",
    "မြန်မာ": "မြ မြန် န် န်မ မ မာ ာ",
    "हिन्दी": "हिन्द",
    "किताबें किताब की": "किताब किताब क",
    "مُحَمَّدٌ محـمد": "محمد محمد",
    "الكتاب کتاب كتاب": "كتاب كتاب كتاب",
    "أحمد احمد إلى الى": "احمد احمد ال ال",
    "שָׁלוֹם שלום": "שלום שלום",
    'צה״ל צה"ל צהל': "צהל צהל צהל",
    "Ὀδυσσεύς ΟΔΥΣΣΕΥΣ οδυσσευς": "οδυσσε οδυσσε οδυσσε",
    "ΐ ΰ": "ι υ",
    "İstanbul ıstanbul ISTANBUL istanbul": "istanbul istanbul istanbul istanbul",
    "Straße STRASSE strasse": "strass strass strass",
    "ＡＢＣ１２３": "abc123",
    "ﬁnd eﬃcient": "find effici",
    "œuvre Øre": "oeuvr ore",
    "cafe\u0301 café naïve Åse": "cafe cafe naiv ase",
    "seman\u00adtic zero\u200bwidth \ufeffbom w\u2060j": "semant zerowidth bom wj",
    "ёлка елка йод": "елк елк йод",
    "за́мок їжак": "замок їжак",
    "१२३ ١٢٣ 123": "123 123 123",
    "col·lecció": "colleccio",
    "👍🏽 👍": "👍 👍",
    "❤️❤": "❤ ❤",
    "hi👨\u200d👩\u200d👧😀": "hi 👨\u200d👩\u200d👧 😀",
    "🇩🇪🇫🇷": "🇩🇪 🇫🇷",
    "Foo™ © 1️⃣": "foo 1",
    "½": "1 2",
    "": "",
    "… — !!": "",
    "\u0301\u093f": "",
}


@pytest.mark.parametrize("text", TERMS)
def test_terms_of_a_text(text):
    assert analysed(text).split() == TERMS[text].split()


def test_terms_have_places_in_the_text_as_it_was():
    text = "Straße ｶﾞ日本 seman\u00adtic"
    assert list(analyse(text)) == [
        Term("strass", 0, 6),
        Term("ガ", 7, 9),
        Term("ガ日", 7, 10),
        Term("日", 9, 10),
        Term("日本", 9, 11),
        Term("本", 10, 11),
        Term("semant", 12, 21),
    ]


def test_a_query_asks_for_letters_only_where_they_are_alone():
    assert asked("日本語 水 Tokyo駅前") == ["日本", "本語", "水", "tokyo", "駅前"]


def test_terms_stand_side_by_side():
    assert holds(analysed("今日本語を"), analysed("日本"))
    assert not holds(analysed("日曜の本"), analysed("日本"))
    assert not holds(analysed("cats", stemmed=False), analysed("cat", stemmed=False))


@pytest.mark.slow
def test_a_word_without_end_is_known_by_its_beginning():
    assert re.fullmatch("a{128}[0-9a-f]{16}", analysed("a" * 1_000_000))
    assert re.fullmatch("e{128}[0-9a-f]{16}", analysed("é" * 1_000_000))


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece",
    [
        "a\u0301",
        "\u0301",
        "a" + 1000 * "\u200b",
        "א" + 1000 * "\u0301" + "'",
        "👨\u200d",
        "日\u200b",
        "ที่",
        "l·",
        "ﷺ",
        "é",
    ],
)
def test_a_text_without_end_takes_as_long_as_it_is(piece):
    """A way that grew with the square of these would take minutes."""
    text = piece * (30_000 // len(piece))
    for whole in (text, text + "日", text + 30_000 * "\u0301"):
        assert len(analysed(whole)) < 20 * len(whole)
        assert len(asked(whole)) <= len(whole)


def test_what_is_remembered_has_an_end(monkeypatch):
    monkeypatch.setattr(analysis, "REMEMBERED_WORDS", 10)
    forms = analysis._Forms(str.lower)
    assert [forms[f"A{number}"] for number in range(25)] == [f"a{number}" for number in range(25)]
    assert len(forms) <= 10


texts = st.text(
    st.characters(exclude_categories=["Cs", "Cn"])
    | st.sampled_from("aZé\u0301\u00ad\u200b日本かガｶﾞ\u3099한ᄒ\u1161ไที่น้ำक्षिَאָ\"״'’·lLß1½ 🇩🇪👍🏽\u200d️.-_")
)


LINE_END_AT_SEAM = re.compile(r"\n[ \t]*\0|\0[ \t]*\r?\n")


@pytest.mark.slow
@settings(max_examples=300)
@given(texts)
def test_places_point_into_the_text(text):
    terms = list(analyse(text))
    assert all(0 <= term.start < term.end <= len(text) for term in terms)
    assert [term.start for term in terms] == sorted(term.start for term in terms)
    assert all(term.text and not any(letter.isspace() for letter in term.text) for term in terms)
    assert [term.text for term in terms] == analysed(text).split()
    for term in terms:
        assert term.text in analysed(text[term.start : term.end]).split()


@settings(max_examples=200)
@given(
    st.lists(
        st.sampled_from(
            ["日本", "の", "ab本", "cat's", "l·l", "é", "👍🏽", "  ", "\t", "\r\n", "\n", "\r", "x\u200d", "한"]
        )
    )
)
def test_common_parts_are_told_apart_at_blanks(pieces):
    text = "".join(pieces)
    parts = list(analysis._parts(text))
    assert "".join(part for part, _ in parts) == text
    assert all(analysis._OF_COMMON.fullmatch(part) for part, common in parts if common)
    assert analysed(text).split() == [term.text for term in analyse(text)]


@pytest.mark.slow
@settings(max_examples=300)
@given(texts, texts)
@example("一\n", "一")
@example("一", "\n一")
def test_beside_a_blank_each_is_as_it_is_alone(one, other):
    if LINE_END_AT_SEAM.search(f"{one}\0{other}"):  # there words of scripts without blanks go on
        one, other = one.rstrip(" \t\r\n"), other.lstrip(" \t\r\n")
    assert analysed(f"{one} {other}").split() == analysed(one).split() + analysed(other).split()


@settings(max_examples=100)
@given(st.lists(st.text(st.characters(max_codepoint=0x7F)), max_size=4), st.lists(texts, max_size=2))
def test_many_together_are_as_each_alone(ascii_texts, others):
    plain = [text.replace("\0", " ") for text in ascii_texts] * 40
    for given_texts in (plain, plain + others, ascii_texts, others):
        assert analysed_many(given_texts, ("en",)) == [analysed(text, ("en",)) for text in given_texts]


def test_a_text_that_is_too_long_to_be_parted_with_others_is_parted_alone(monkeypatch):
    monkeypatch.setattr(analysis, "LETTERS_TOGETHER", 10)
    for given_texts in (["the foxes and the hounds"], ["", "the foxes and the hounds"], ["foxes", "", "cat"], [""], []):
        assert analysed_many(given_texts) == [analysed(text) for text in given_texts]
    alone = []
    monkeypatch.setattr(analysis, "analysed", lambda text, languages: alone.append(text) or analysed(text, languages))
    analysed_many(["foxes", "the foxes and the hounds", "cat", "café"])
    assert alone == ["the foxes and the hounds", "café"]


@pytest.mark.parametrize("letter", ["a", "é", "ж"])
def test_words_longer_than_are_kept_are_told_apart(letter):
    long = letter * 200
    assert analysed(long + "b") != analysed(long + "c")
    assert analysed(long.upper() + "B") == analysed(long + "b") == " ".join(asked(long + "b"))
    assert [term.text for term in analyse(f"{long}b 日")] == [*analysed(f"{long}b").split(), "日"]
    assert len(analysed(long).split()) == 1
    assert analysed(unicodedata.normalize("NFD", long)) == analysed(long)


@settings(max_examples=200)
@given(texts)
def test_what_is_asked_for_is_in_the_text(text):
    assert {*asked(text)} <= {*analysed(text).split()}
    assert bool(asked(text)) == bool(analysed(text))


@pytest.mark.slow
@settings(max_examples=200)
@given(st.lists(texts, min_size=3), st.randoms(use_true_random=False))
def test_any_three_words_of_a_text_are_in_it(words, random):
    text, query = " ".join(words), " ".join(random.sample(words, 3))
    assert {*asked(query)} <= {*analysed(text).split()}


@settings(max_examples=200)
@given(st.text(st.characters(max_codepoint=0x2FF, exclude_categories=["Cs"]) | st.sampled_from("שלום\"'ёй≥हि")))
def test_the_short_way_is_the_long_way(text):
    assert analysed(text).split() == [term.text for term in analyse(text)]


STEMS = {
    "ar": ("المعلمون المعلم", "معلم معلم"),
    "ca": ("cançons cançó", "cancon canc"),
    "cs": ("městech město", "mest mest"),
    "da": ("husene huset", "hus hus"),
    "de": ("Häuser Haus Straßen", "haus haus strass"),
    "el": ("ανθρωποι ανθρωπου", "ανθρωπ ανθρωπ"),
    "en": ("running relational ponies", "run relat poni"),
    "eo": ("hundoj hundo", "hund hund"),
    "es": ("canciones canción", "cancion cancion"),
    "et": ("raamatud raamatu", "raama raama"),
    "eu": ("etxean etxea", "etxean etxea"),
    "fa": ("کتاب‌ها کتابها", "کتاب کتاب"),
    "fi": ("taloissa talossa", "talo talo"),
    "fr": ("chevaux étudiantes étudiante", "cheval etudi etudi"),
    "ga": ("leabhair leabhar", "leabhair leabhar"),
    "hi": ("लड़कियों लड़के", "लड़क लड़क"),
    "hu": ("házakban házban", "haz haz"),
    "hy": ("սեղանները սեղանից", "սեղ սեղ"),
    "id": ("membaca bacaan", "baca baca"),
    "it": ("libri libro", "libr libr"),
    "lt": ("knygos knygą", "knyg knyg"),
    "ne": ("किताबहरू किताब", "किताब किताब"),
    "nl": ("huizen boeken boek", "huis boek boek"),
    "no": ("husene huset", "hus hus"),
    "pl": ("książkach książki", "ksiazk ksiazk"),
    "pt": ("canções canção", "canco canca"),
    "ro": ("cărțile cărți", "cart cart"),
    "ru": ("книгами книга", "книг книг"),
    "sr": ("књигама knjiga", "knjig knjig"),
    "sv": ("husen huset", "hus hus"),
    "ta": ("புத்தகங்கள் புத்தகம்", "புத்தகம் புத்தகம்"),
    "tr": ("kitaplar kitaplarımız", "kitap kitap"),
}


@pytest.mark.parametrize("language", STEMMED)
def test_stems_are_what_collections_were_made_with(language):
    """With others, `semsearch.versions.ANALYSIS` is another too."""
    words, stems = STEMS[language]
    assert analysed(words, (language,)).split() == [unicodedata.normalize("NFC", stem) for stem in stems.split()]


def test_languages_of_one_script_stem_in_turn_and_leave_other_scripts_alone():
    words = "running Häuser Haus книгами"
    assert analysed(words, ("de",)).split() == ["running", "haus", "haus", "книг"]
    assert analysed(words, ("en", "de")).split() == ["run", "haus", "haus", "книг"]
    assert analysed(words, ("ru",)) == analysed(words, ("en",)) == analysed(words)


@pytest.mark.parametrize("language", ["tr", "en"])
def test_turkish_i_is_one_whatever_it_is_written_as(language):
    assert len({*analysed("ISPARTA Isparta ısparta isparta İSPARTA", (language,)).split()}) == 1


def test_places_are_found_by_the_stems_of_a_language():
    assert list(analysis.places_of({"haus"}, "Die Häuser", ("de",))) == [(4, 10)]
    assert list(analysis.places_of({"haus"}, "Die Häuser")) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_that_was_forked_while_another_thread_stems_can_stem():
    def forked():
        if child := os.fork():
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        signal.alarm(20)  # ends it, should it wait for ever
        os._exit(analysed("unheardofly") != "unheardofli")

    with analysis._turn:
        assert forked() == 0
