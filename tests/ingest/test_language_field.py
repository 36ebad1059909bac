"""The language of each text as metadata: told where it can be, kept where it is said, a field like any other."""

import json

import pytest
from support import tiny
from support.command_line import run
from support.encoder_checkpoints import classic

import semsearch
from semsearch.errors import UsageError
from semsearch.ingest.identification import language_of, with_language
from semsearch.types import Document

TEXTS = {
    "en": "The weather is lovely today and we are going to the beach with the children.",
    "de": "Das Wetter ist heute sehr schön, und wir gehen mit den Kindern an den Strand.",
    "fr": "Il fait très beau aujourd'hui et nous allons à la plage avec les enfants.",
    "ru": "Сегодня прекрасная погода, и мы идём с детьми на пляж.",
    "ja": "今日はとても良い天気なので、子供たちと一緒に海岸へ行きます。",
}


@pytest.mark.parametrize("code", TEXTS)
def test_the_language_of_a_text_is_told(code):
    assert language_of(TEXTS[code]) == code


def test_too_little_text_has_none_and_what_is_said_stays():
    for text in ("", "42", "ok", "!!!"):
        assert language_of(text) is None
    assert with_language(Document("1", "ok"), "lang").metadata == {}
    said = Document("1", TEXTS["de"], metadata={"lang": "gsw"})
    assert with_language(said, "lang") is said
    assert with_language(Document("1", TEXTS["de"], metadata={"year": 1}), "lang").metadata == {"year": 1, "lang": "de"}


def test_a_collection_keeps_it_and_a_second_look_changes_nothing(tmp_path):
    folder = classic(tmp_path / "model", pooling_mode_mean_tokens=True)
    file = tmp_path / "letters.jsonl"
    file.write_text("".join(json.dumps({"id": code, "text": text}) + "\n" for code, text in TEXTS.items()), "utf-8")
    made = run("index", file, "--encoder", folder, "--language-field", "lang")
    assert made.code == 0, made.err
    assert "unchanged 5" in run("index", file).out
    asked = json.loads(run("query", "letters", tiny.TEXTS[0], "--where", 'lang = "fr"', "--json").out)
    assert [hit["id"] for hit in asked["hits"]] == ["fr"]
    with pytest.raises(UsageError, match="name of a field"):
        semsearch.create("other", encoder=None, dim=2, language_field=" ")
