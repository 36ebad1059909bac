"""The JSON Schema that is published for answers: everything that is printed keeps it, and nothing goes beyond it."""

import copy
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from support.command_line import corpus, run, tiny_model

import semsearch

SCHEMA = json.loads((Path(semsearch.__file__).parent / "answer.schema.json").read_text("utf-8"))


def strict(part):
    """The schema without leave for keys that it does not name: what we print ourselves is all written of."""
    if isinstance(part, dict):
        part = {name: strict(inner) for name, inner in part.items()}
        if "properties" in part:
            part.setdefault("additionalProperties", False)
    return [strict(inner) for inner in part] if isinstance(part, list) else part


def held(value, name="answer"):
    schema = strict(copy.deepcopy(SCHEMA)) | {"$ref": f"#/$defs/{name}"}
    Draft202012Validator(schema).validate(value)


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    """A home with a collection of records, and one of files of several kinds."""
    folder = tmp_path_factory.mktemp("answers")
    model, home = tiny_model(folder / "model"), ["--home", folder / "home"]
    assert run("index", corpus(folder), "-m", model, *home).code == 0
    (folder / "mixed").mkdir()
    (folder / "mixed" / "a.md").write_text("# Bread\n\nflour and yeast\n")
    (folder / "mixed" / "b.py").write_text("def oven():\n    return 'loaf'\n")
    assert run("index", folder / "mixed", "-m", model, *home).code == 0
    return home


def test_the_schema_is_one():
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$defs"]["answer"]["properties"]["schema"]["const"] == semsearch.wire.SCHEMA


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--mode", "hybrid", "--explain"],
        ["--mode", "lexical", "--explain"],
        ["--explain", "--context", "1"],
        ["--by-passage", "--exact", "--mmr-lambda", "0.5", "--show", "year"],
        ["--min-score", "p0.5"],
        ["--where", "year > 3000"],
    ],
)
def test_answers_keep_it(notes, options):
    ended = run("query", "notes", "whale storm", "-k", 3, "--json", *options, *notes)
    held(json.loads(ended.out))
    for line in run("query", "notes", "whale storm", "-k", 3, "-o", "jsonl", *options, *notes).lines:
        held(json.loads(line), "line")


def test_those_of_files_and_of_what_is_alike(notes):
    for command in (["query", "mixed", "loaf"], ["similar", "mixed", "--query", "loaf"]):
        answer = json.loads(run(*command, "--json", *notes).out)
        held(answer)
        lines = sorted(hit["place"]["line"] for hit in answer["hits"])
        assert lines == ([2, 3] if command[0] == "query" else [1, 3]), "the line that has the word, where one asks"
    hit = answer["hits"][0]
    assert "matches" not in hit, "what is like something has no words of a query"


def test_many_answers_and_errors(notes):
    for line in run("query", "notes", "-", "--json", *notes, stdin=b"whale\n\nzzz -whale\n").lines:
        held(json.loads(line))
    with pytest.raises(semsearch.UsageError) as raised:
        semsearch.open("nosuch collection/", home=notes[1])
    held(semsearch.wire.error(raised.value), "error")


def test_matches_are_where_they_say(notes):
    [hit] = json.loads(run("query", "notes", "a whale in the storms", "-k", 1, "--json", *notes).out)["hits"]
    words = {hit["text"][begin - hit["start"] : end - hit["start"]] for begin, end in hit["matches"]["text"]}
    assert words == {"whale", "storm"}
    [titled] = json.loads(run("query", "notes", "ocean", "-k", 1, "--json", *notes).out)["hits"]
    assert [titled["title"][slice(*span)] for span in titled["matches"]["title"]] == ["ocean"]


def test_what_breaks_it_is_seen(notes):
    answer = json.loads(run("query", "notes", "whale", "-k", 1, "--json", *notes).out)
    for broken in (
        {**answer, "more": 1},
        {**answer, "schema": 2},
        {**answer, "hits": [{**answer["hits"][0], "place": {"path": "/x", "line": 0}}]},
    ):
        with pytest.raises(Exception, match=r"more|2|0"):
            held(broken)
