"""`index --language` and `semsearch language`, what is said of what was found, and what stands out in answers."""

import json

import numpy as np
import pytest
from support.command_line import run, tiny_model

import semsearch
from semsearch.encoder import catalog

TEXTS = {
    "many": "Die Häuser der alten Stadt sind sehr schön, und die Kinder spielen oft am Rande des großen Waldes.",
    "one": "Gestern haben wir lange ein neues Buch über die Geschichte der Stadt gelesen, das uns sehr gefallen hat.",
    "none": "Morgen fahren wir mit dem ersten Zug nach Hamburg, um unsere Freunde am Hafen zu besuchen.",
}


@pytest.fixture
def corpus(tmp_path):
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"id": name, "text": text}) + "\n" for name, text in TEXTS.items()))
    return file


def found(query):
    ended = run("query", "texts", query, "--mode", "lexical", "--json")
    return {hit["id"]: hit["matches"]["text"] for hit in json.loads(ended.out)["hits"]}


@pytest.mark.slow
def test_the_language_of_a_corpus_is_found_said_and_changed(tmp_path, corpus):
    ended = run("index", corpus, "-m", tiny_model(tmp_path / "model"))
    assert ended.code == 0
    assert "its words are found as those of German; 'semsearch language texts …' changes that." in ended.err
    assert json.loads(run("info", "texts", "--json").out)["languages"] == ["de"]
    assert 'languages\t["de"]' in run("info", "texts").out
    assert found("Haus") == {"many": [[4, 10]]}, "what stands out is found by the same stems"
    ended = run("language", "texts", "en")
    assert (ended.code, ended.out) == (0, "English\n")
    assert found("Haus") == {}
    ended = run("index", corpus, "--language", "de")
    assert ended.code != 0
    assert "are stemmed by its languages (English), not by German" in ended.err
    assert "'semsearch language texts de'" in ended.err
    assert run("language", "texts", "auto").out == run("language", "texts").out == "German\n"
    assert found("Haus") == {"many": [[4, 10]]}


@pytest.mark.slow
def test_a_language_that_is_told_is_not_said(tmp_path, corpus):
    ended = run("index", corpus, "-m", tiny_model(tmp_path / "model"), "--language", "de,French")
    assert ended.code == 0
    assert "its words" not in ended.err
    assert json.loads(run("info", "texts", "--json").out)["languages"] == ["de", "fr"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "text", "how"),
    [("de", None, ("--language", "de")), ("ja", "古い町の家はとても美しく、子供たちはよく森のはずれで遊びます。", ())],
)
def test_a_model_of_english_alone_is_doubted_once(tmp_path, monkeypatch, corpus, caplog, code, text, how):
    """Whether the language has a stemmer or not, and is told or found."""
    card = catalog.card_of("all-MiniLM-L6-v2")
    monkeypatch.setattr(catalog, "card_of", lambda name: card)
    if text:
        corpus.write_text("".join(json.dumps({"id": str(n), "text": text}) + "\n" for n in range(10)))
    doubt = f"all-MiniLM-L6-v2 was trained on English, and these texts are in other languages too ({code})"
    assert run("index", corpus, "-m", tiny_model(tmp_path / "model"), *how).code == 0
    assert caplog.text.count(doubt) == 1  # pytest's own handlers take what commands say of log messages
    caplog.clear()
    corpus.write_text(corpus.read_text() + json.dumps({"id": "new", "text": text or TEXTS["one"] + "!"}) + "\n")
    again = run("index", corpus)
    assert again.code == 0
    assert doubt not in caplog.text


def test_a_model_is_doubted_for_short_texts_that_come_one_by_one(tmp_path, monkeypatch, caplog):
    card = catalog.card_of("all-MiniLM-L6-v2")
    monkeypatch.setattr(catalog, "card_of", lambda name: card)
    with semsearch.create("notes", home=tmp_path / "home", encoder=str(tiny_model(tmp_path / "model"))) as notes:
        for number in range(20):
            notes.add([semsearch.Document(str(number), f"古い町の家はとても美しく、子供たちは遊びます {number}")])
            told = caplog.text.count("these texts are in other languages too (ja)")
            assert told == (number >= 8), number  # 21 letters each, of which 200 tell; the last ones count twice


ITALIAN = "Le case della città vecchia sono molto belle, e i bambini giocano spesso al margine del bosco."


@pytest.fixture
def english(tmp_path, monkeypatch, corpus, caplog):
    """A collection of English texts, whose model is said to be of English alone."""
    card = catalog.card_of("all-MiniLM-L6-v2")
    monkeypatch.setattr(catalog, "card_of", lambda name: card)
    text = "The houses of the old town are very beautiful, and the children often play at the edge of the forest."
    corpus.write_text("".join(json.dumps({"id": str(n), "text": text}) + "\n" for n in range(10)))
    ended = run("index", corpus, "-m", tiny_model(tmp_path / "model"))
    assert ended.code == 0
    assert "was trained on English" not in caplog.text
    return corpus


@pytest.mark.slow
@pytest.mark.parametrize("way", ["again", "add", "sync", "python", "vectors"])
def test_a_model_of_english_alone_is_doubted_when_other_texts_are_added_later(english, tmp_path, caplog, way):
    other = tmp_path / "other.jsonl"
    lines = "".join(json.dumps({"id": f"new {n}", "text": ITALIAN}) + "\n" for n in range(10))
    source = english if way in ("again", "sync") else other
    source.write_text((english.read_text() if source == english else "") + lines)

    def add():
        caplog.clear()
        if way in ("again", "add", "sync"):
            command = {"again": ("index", source), "add": ("index", source, "--name", "texts", "--add")}
            assert run(*command.get(way, ("sync", "texts"))).code == 0
        else:
            with semsearch.open("texts") as texts:
                vectors = np.eye(10, texts.encoder.dim) if way == "vectors" else None
                texts.add([json.loads(line) for line in lines.splitlines()], vectors)
        return caplog.text

    assert add().count("these texts are in other languages too (it)") == 1
    source.write_text(source.read_text().replace("vecchia", "antica"))
    lines = lines.replace("vecchia", "antica")
    assert "other languages" not in add()


def test_no_language(corpus):
    ended = run("index", corpus, "-m", "none-such", "--language", "klingon")
    assert ended.code == 2
    assert "'klingon' is no language whose words can be stemmed; these are: ar (Arabic)" in ended.err
