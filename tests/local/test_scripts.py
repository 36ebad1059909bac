"""Search by words in every script: documents, queries, phrases, exclusions, with an index of words and without."""

from unittest import mock

import numpy as np
import pytest

import semsearch
from semsearch.local.index import renewal
from semsearch.local.lexical import searcher
from semsearch.types import Document

FOUND = {  # query, the texts that it finds, texts that it does not
    "Chinese": ("图书馆", ["我在图书馆看书。", "图书馆里没有人"], ["今天天气很好。", "看书"]),
    "a Chinese word of one letter": ("水", ["喝水很重要。"], ["喝茶。"]),
    "Japanese": ("日本語", ["彼女は日本語を話す。"], ["毎日", "英語を話す。"]),
    "Katakana of half width": ("ガラス", ["ｶﾞﾗｽの靴"], ["カメラ"]),
    "Korean beside its particles": ("학교", ["나는 학교에 갑니다.", "학교가 크다."], ["집에 갑니다."]),
    "Korean taken apart": ("한국", ["\u1112\u1161\u11ab\u1100\u116e\u11a8어"], ["중국"]),
    "Thai": ("ภาษาไทย", ["ฉันเรียนภาษาไทยทุกวัน"], ["หมากินข้าว"]),
    "Lao": ("ພາສາ", ["ຂ້ອຍຮຽນພາສາລາວ"], ["ນໍ້າ"]),
    "Khmer": ("ភាសា", ["ខ្ញុំរៀនភាសាខ្មែរ"], ["ទឹក"]),
    "Myanmar": ("မြန်မာ", ["ကျွန်တော်မြန်မာစကားပြောတယ်"], ["ရေ"]),
    "Arabic with vowel signs": ("محمد", ["مُحَمَّدٌ رَسُول"], ["مدح"]),
    "Arabic without them": ("كِتَاب", ["هذا كتاب جديد", "الكتاب"], ["قلم"]),
    "Hebrew with points": ("שלום", ["שָׁלוֹם עוֹלָם"], ["עולם"]),
    "Hebrew acronyms": ("צה״ל", ['צה"ל הודיע', "צהל"], ["צה"]),
    "Hindi": ("हिन्दी", ["मैं हिन्दी बोलता हूँ"], ["हम घर जाते हैं", "हद", "दी"]),
    "Hindi stems": ("किताब", ["उसने किताबें पढ़ीं"], ["कताब"]),
    "Bengali": ("বাংলা", ["আমি বাংলা বলি"], ["আমি বলি"]),
    "Tamil": ("தமிழ்", ["நான் தமிழ் பேசுகிறேன்"], ["நான் தமழ"]),
    "Greek accents": ("ΕΛΛΑΔΑ", ["Η Ελλάδα είναι όμορφη"], ["Ιταλία"]),
    "Greek final sigma": ("ΟΔΥΣΣΕΥΣ", ["ο Οδυσσεύς γύρισε"], ["η Πηνελόπη"]),
    "Turkish dotted and dotless i": ("istanbul ısı", ["İSTANBUL'da", "ISTANBUL", "ISI"], ["Ankara"]),
    "ß and ss": ("STRASSE", ["Die Straße ist lang"], ["Der Strand"]),
    "full width": ("sony", ["ＳＯＮＹの株"], ["任天堂"]),
    "ligatures": ("efficient", ["an eﬃcient way"], ["a way"]),
    "soft hyphens": ("semantic", ["se\u00adman\u00adtic search"], ["man"]),
    "zero-width spaces": ("semantic", ["sem\u200bantic search"], ["antic"]),
    "emoji": ("🍕", ["I love 🍕!", "🍕🍕"], ["I love 🍔!", "pizza"]),
    "emoji of another skin": ("👍🏽", ["fine 👍"], ["👎"]),
    "flags": ("🇩🇪", ["🇫🇷🇩🇪"], ["🇫🇷🇪🇸"]),
    "Latin glued to Chinese": ("iphone", ["新款iPhone手机"], ["手机"]),
    "Chinese glued to Latin": ("手机", ["新款iPhone手机"], ["iPhone 机"]),
    "Russian": ("книга", ["я читаю книгу", "КНИГИ"], ["кино"]),
    "ё and stress": ("елка замок", ["ёлка", "за́мок"], ["й"]),
    "Vietnamese": ("tiếng Việt", ["tôi nói tiếng Việt"], ["tôi"]),
    "accents taken apart": ("café", ["cafe\u0301 noir", "CAFE"], ["caf"]),
    "digits of India": ("2024", ["सन् २०२४ में"], ["२०२३"]),
    "a phrase of letters": ('+"日本"', ["日本語", "西日本の"], ["日の本", "本日"]),
    "a phrase of letters alone": ('"日本語"', ["彼は日本語が"], ["日本と英語"]),
    "a Thai phrase": ('+"ภาษาไทย"', ["เรียนภาษาไทย"], ["ไทยภาษา"]),
    "a Hindi phrase": ('+"हिन्दी भाषा"', ["यह हिन्दी भाषा है"], ["भाषा हिन्दी", "हिन्दी की भाषा"]),
    "an exclusion of two letters": ("首都 -日本", ["フランスの首都"], ["日本の首都"]),
    "an exclusion of one letter": ("首都 -日", ["フランスの首都"], ["日本の首都"]),
    "a Thai exclusion": ("ภาษา -ไทย", ["ภาษาลาว"], ["ภาษาไทย"]),
    "an exclusion by its stem": ("читаю -книга", ["читаю газету"], ["читаю книгу"]),
    "an Arabic exclusion": ("كتاب -قلم", ["كتاب"], ["كتاب قَلَم"]),
}


@pytest.fixture(params=["postings", "fresh", "full text"])
def way(request):
    """As an index of words answers, as rows newer than it, and as SQLite does where there is none."""
    with (
        mock.patch.object(renewal, "TAIL_ROWS", 0 if request.param == "postings" else 1000),
        mock.patch.object(searcher, "SPLIT_ROWS", 0 if request.param == "full text" else 1000),
    ):
        yield request.param


@pytest.mark.slow
@pytest.mark.parametrize("home", ["folder", ":memory:"])
def test_words_are_found_in_every_script(memory, way, home):
    home = memory if home == "folder" else home
    for name, (query, there, elsewhere) in FOUND.items():
        with semsearch.create("texts", encoder=None, dim=2, home=home) as collection:
            documents = [Document(text, text) for text in (*there, *elsewhere)]
            collection.add(documents, vectors=np.full((len(documents), 2), 0.7, dtype=np.float32))
            hits = collection.search(query, 9, mode="lexical")
            assert {hit.id for hit in hits} == {*there}, name
            if home == memory:
                assert {hit.found for hit in hits} == {("fulltext" if way == "full text" else "lexical",)}
                collection.remove([there[0]])
                assert there[0] not in {hit.id for hit in collection.search(query, 9, mode="lexical")}
                assert collection.check(deep=True) == [], name
        semsearch.drop("texts", home=home)
