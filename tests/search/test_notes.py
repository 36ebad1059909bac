"""What is said of a query beside its answers: in Python, in JSON, and on the command line."""

import json

import pytest
from support import tiny
from support.command_line import run
from support.fakes import HashEncoder

import semsearch
from semsearch.types import Document


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    model = tiny.bert(tmp_path_factory.mktemp("models") / "bert")
    with semsearch.create("notes", encoder=str(model), home=tmp_path_factory.mktemp("home")) as made:
        made.add([Document(str(i), " ".join(tiny.WORDS[i : i + 5])) for i in range(20)])
        yield made


def test_a_query_that_the_model_reads_in_part_is_told(collection):
    window = collection.encoder.query_window
    word = tiny.WORDS[3]
    count = len(collection.encoder.tokenizer.encode(word, add_special_tokens=False).ids)
    fits = " ".join([word] * (window // count))
    before = collection.encoder.truncated
    assert collection.search(fits).notes == ()
    assert collection.encoder.truncated == before
    cut = " ".join([word] * (window // count + 1))
    (told,) = collection.search(cut).notes
    assert collection.encoder.truncated > before, "it was cut indeed"
    assert f"has {count * (window // count + 1):,} tokens, of which the model reads the first {window:,}" in told
    assert [hits.notes for hits in collection.search_many([fits, cut])] == [(), (told,)]
    assert collection.search(cut, mode="lexical").notes == (), "words are read to the end"
    ended = run("query", "notes", cut, "--json", "--home", collection.path.parent)
    assert json.loads(ended.out)["notes"] == [told]
    assert told in run("query", "notes", cut, "--home", collection.path.parent).err


def test_prompts_count(tmp_path):
    model = tiny.bert(tmp_path / "bert")
    config = {"prompts": {"query": " ".join(tiny.WORDS[:4]) + " ", "document": ""}}
    (model / "config_sentence_transformers.json").write_text(json.dumps(config))
    encoder = semsearch.load_encoder(str(model))
    prompt = len(encoder.tokenizer.encode(config["prompts"]["query"], add_special_tokens=False).ids)
    assert prompt > 0
    assert encoder.query_window == encoder.window - prompt


def test_a_single_character_is_answered_and_told(collection):
    found = collection.search("a", k=3)
    assert len(found) == 3
    assert found.notes == ("the query is a single character, which says little: write a few words.",)


def test_a_minimum_of_what_is_not_measured_is_told(tmp_path):
    with semsearch.create("few", encoder=HashEncoder(), home=tmp_path) as few:
        few.add([Document(str(i), f"text number {i}") for i in range(3)])
        (told,) = few.search("text", min_percentile=0.5).notes
        assert "the collection is not calibrated" in told
        few.add([Document(f"more {i}", f"another text {i}") for i in range(60)])
        assert few.search("text", min_percentile=0.5).notes == ()
        (told,) = few.search("text", min_probability=0.5).notes
        assert "calibrated without judgements" in told


def test_hits_are_a_list():
    hits = semsearch.Hits([], ["a sentence."])
    assert hits == []
    assert hits.notes == ("a sentence.",)
