"""What is said of a query beside its answers: in Python, in JSON, and on the command line."""

import json

import pytest
from support import tiny
from support.command_line import run
from support.fakes import HashEncoder

import semsearch
from semsearch.search.query_syntax import parse
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


def test_what_the_model_does_not_read_is_not_counted(collection):
    window = collection.encoder.query_window
    words = [tiny.WORDS[i % 8] for i in range(window - 1)]
    excluding = " ".join(words) + " -" + " -".join(f"zz{i}" for i in range(20))
    assert all("tokens" not in note for note in collection.search(excluding, mode="hybrid").notes)
    assert "tokens" in collection.search(excluding).notes[-1]
    vector = collection.encoder.encode_queries(["a"])[0]
    assert collection.search(excluding, vector=vector, mode="hybrid").notes[-1].startswith("left out is")


@pytest.mark.parametrize("query", ['"very words"', 'a few and +"very words"', "apples -pears"])
def test_marks_that_a_mode_does_not_heed_are_told(collection, query):
    (told,) = collection.search(query).notes
    assert told.startswith("phrases and exclusions rule nothing out in the mode 'dense'")
    assert told not in collection.search(query, mode="hybrid").notes


@pytest.mark.parametrize(
    "query", ["how does grep -r work", 'he called it "art" and left. Why?', "state-of-the-art", "3 - 2"]
)
def test_marks_that_are_no_orders_are_not(collection, query):
    assert collection.search(query).notes == ()


@pytest.mark.parametrize(
    ("query", "excluded", "told"),
    [
        ("首都 －日本", ("日本",), ""),
        ("首都 −日本", ("日本",), ""),
        ("首都 -＂日本＂", ("日本",), ""),
        ('首都-"日本"', ("日本",), ""),
        ("cats -😀", ("😀",), ""),
        ("cats -👍🏽", ("👍🏽",), ""),
        ("首都－日本", (), '"－日本" leaves nothing out, as no blank stands before its minus: write one for that.'),
        ("東京-大阪", (), '"-大阪" leaves nothing out, as no blank stands before its minus: write one for that.'),
        ("cats -ai", (), '"-ai" leaves nothing out, as it may be an option of a command: write -"ai" for that.'),
        ("-ai", (), '"-ai" leaves nothing out, as it may be an option of a command: write -"ai" for that.'),
        ('cats -"ai"', ("ai",), ""),
        ("3 -2", (), ""),
        ("well-known", (), ""),
        ("a smile :-)", (), ""),
    ],
)
def test_what_looks_like_an_exclusion_is_one_or_is_told(collection, query, excluded, told):
    assert parse(query).excluded == excluded
    assert parse(query).unheeded == ((told,) if told else ())
    for mode in ("lexical", "hybrid"):
        assert (told in collection.search(query, mode=mode).notes) == bool(told)


@pytest.mark.parametrize("query", ['首都"日本"', '"日本"首都', "首都＂日本＂", '他说"日本"'])
def test_a_phrase_may_stand_beside_letters_without_blanks(query):
    assert parse(query).phrases == ("日本",)
    assert parse('five" pipe and "x"y').phrases == ()


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
        assert "calibrated without judgements (semsearch calibrate NAME FOLDER takes them)" in told


EMPTY = {
    '+"sofa warm"': 'nothing holds "sofa warm": there is no answer.',
    '"xyzzy quux"': 'nothing holds "xyzzy quux": there is no answer.',
    'sofa +"warm sofa" -cat': 'nothing holds "warm sofa" without "cat": there is no answer.',
    "sofa -cat -dog": 'nothing is found without "cat" or "dog": there is no answer.',
}


@pytest.mark.parametrize("mode", ["lexical", "hybrid"])
@pytest.mark.parametrize("query", EMPTY)
def test_what_leaves_no_answer_is_told(tmp_path, query, mode):
    with semsearch.create("few", encoder=HashEncoder(), home=tmp_path) as few:
        few.add([Document("1", "a cat on a warm sofa"), Document("2", "a dog beside the sofa")])
        found = few.search(query, mode=mode)
        if query.startswith('"') and mode == "hybrid":  # answered by meaning, without it
            assert found.notes[0].startswith('nothing holds "xyzzy quux": these are answers without it.')
            return
        assert (found, found.notes) == ([], (EMPTY[query],))
        (told,) = few.search('+"warm sofa"', mode=mode, where={"a": {"$exists": True}}).notes
        assert told == 'nothing holds "warm sofa" among what the filter lets through: there is no answer.'


def test_what_leaves_no_answer_is_told_on_the_command_line(collection):
    query, home = '+"xyzzy quux"', collection.path.parent
    told = 'nothing holds "xyzzy quux": there is no answer.'
    ended = run("query", "notes", query, "--mode", "lexical", "--json", "--home", home)
    assert json.loads(ended.out)["notes"] == [told]
    assert told in run("query", "notes", query, "--mode", "lexical", "--home", home).err
    assert told in run("query", "notes", "--mode", "lexical", "--home", home, stdin=f"{query}\n".encode()).err


def test_hits_are_a_list():
    hits = semsearch.Hits([], ["a sentence."])
    assert hits == []
    assert hits.notes == ("a sentence.",)
