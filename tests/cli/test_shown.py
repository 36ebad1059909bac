"""What stands out in hits, and the metadata that is shown with them."""

import io
import json
import sys

import pytest
from rich.console import Console
from support.command_line import corpus, run, tiny_model
from support.fakes import HashEncoder

import semsearch
from semsearch.cli import grep, query, render, shown
from semsearch.cli.parameters import fields_to_show
from semsearch.cli.repl import Session
from semsearch.errors import UsageError
from semsearch.types import Document, Explanation, Hit, Part, Passage


@pytest.fixture
def notes(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMSEARCH_STATE", str(tmp_path / "state"))
    run("index", corpus(tmp_path), "-m", tiny_model(tmp_path / "model"))
    with semsearch.open("notes") as collection:
        collection.update_metadata(collection.ids(), {"genres": ["Drama", "Crime"], "place": {"country": "FR"}})
        yield collection


def drawn(answer, colours="standard"):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, color_system=colours, legacy_windows=False)
    render.draw_hits(console, answer)
    return screen.getvalue()


YELLOW = "\x1b[1;33m"


def test_words_of_the_query_stand_out_unasked(notes):
    text = drawn(query.ask(notes, ["a whale and storms on the ocean"], 1, query.SearchOptions())[0])
    for word in ("whale", "storm", "ocean"):
        assert f"{YELLOW}{word}" in text
    assert f"{YELLOW}On" not in text, "which says nothing"


def test_what_carried_a_hit_goes_before_its_words(notes):
    answer = query.ask(notes, ["whale"], 1, query.SearchOptions())[0]
    assert f"{YELLOW}whale" in drawn(answer)
    begin = answer.hits[0].text.index("ocean")
    answer.hits[0].explanation = Explanation("found", 0.5, 0.0, [Part("text", begin, begin + 5, 0.5)])
    text = drawn(answer)
    assert f"{YELLOW}ocean" in text
    assert f"{YELLOW}whale" not in text
    answer.hits[0].explanation = Explanation("found", why="its score can't be split.")
    assert f"{YELLOW}whale" in drawn(answer)


def test_metadata_is_shown_and_remembered(notes, monkeypatch):
    names = shown.chosen("year, genres,place.country", notes)
    assert names == ("year", "genres", "place.country")
    text = drawn(query.ask(notes, ["whale"], 1, query.SearchOptions(), names)[0], None)
    year = notes.search("whale", 1)[0].metadata["year"]
    assert f"year: {year}, genres: Drama, Crime, place.country: FR" in text
    assert fields_to_show(None, notes) == (), "not to programs, whose columns must not change by themselves"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert fields_to_show(None, notes) == names
    assert shown.chosen("none", notes) == ()
    assert fields_to_show(None, notes) == ()


def test_it_is_remembered_for_each_collection_and_written_to_none(notes):
    before = notes.engine.settings
    shown.chosen("year", notes)
    assert notes.engine.settings == before
    with semsearch.create("others", encoder=HashEncoder(4)) as others:
        assert shown.remembered(others) == ()
        with pytest.raises(UsageError, match="'others' has no field 'year'; no document has any metadata"):
            shown.chosen("year", others)


def test_a_field_that_is_not_there_is_told_with_those_that_are(notes):
    with pytest.raises(UsageError, match=r"no field 'yaer'; there are: genres, place, place.country, year.*'year'\?"):
        shown.chosen("yaer", notes)
    ended = run("query", "notes", "whale", "--show", "yaer")
    assert (ended.code, ended.out) == (2, "")


@pytest.mark.parametrize("content", ["", "[1]", '{"place": 1}', '{"place": "PATH", "fields": [1, "year"]}'])
def test_a_memory_that_is_none_is_none(notes, content):
    shown.chosen("year", notes)
    shown._file(notes).write_text(content.replace("PATH", notes.location))
    assert shown.remembered(notes) == (("year",) if "PATH" in content else ())


def test_where_nothing_can_be_remembered_it_holds_once(notes, monkeypatch, capsys):
    monkeypatch.setenv("SEMSEARCH_STATE", "/proc/nowhere")
    assert shown.chosen("year", notes) == ("year",)
    assert "the fields to show hold for this time only" in capsys.readouterr().err


def test_programs_get_a_column_for_each_that_is_asked_for(notes):
    [line] = run("query", "notes", "whale", "-k", 1, "--show", "genres,year").lines
    row = line.split("\t")
    assert row[6:] == ["Drama, Crime", str(notes.get([row[2]])[0].metadata["year"])]
    assert len(run("query", "notes", "whale", "-k", 1).lines[0].split("\t")) == 6
    [line] = run("similar", "notes", "--query", "whale", "-k", 1, "--show", "year").lines
    assert line.split("\t")[6] == row[7]


def test_in_the_interactive_query(notes, capsys):
    session = Session(notes, k=1)
    for line in (":show genres", "whale", ":show", ":show nosuch", ":show none"):
        session.respond(line)
    out, err = capsys.readouterr()
    assert out.splitlines()[0].split("\t")[6] == "Drama, Crime"
    assert err.splitlines() == [
        "showing genres",
        "showing genres",
        "'notes' has no field 'nosuch'; there are: genres, place, place.country, year.",
        "showing no metadata",
    ]


def test_values_by_their_names():
    metadata = {"a": {"b": 1, "c.d": {"e": None, "f": [True, "x"]}}, "a.b": 2, "n": None, "l": [], "t": ""}
    document = Document("1", "text", metadata=metadata)
    hit = Hit(Passage.of(document, 0, 4), 1.0, {}, 1, 1)
    names = ["a.b", "a.c.d.f", "a.c.d.e", "n", "z", "a.z", "l", "t", "a"]
    assert shown.values(hit, names)[:2] == [("a.b", "2"), ("a.c.d.f", "true, x")]
    assert json.loads(shown.values(hit, names)[2][1]) == metadata["a"]


def test_words_stand_out_in_grep(notes, tmp_path, monkeypatch):
    (tmp_path / "x.txt").write_text("the whale in a storm\n\tbread\n")
    monkeypatch.setattr(grep, "_coloured", lambda: True)
    [line] = run("grep", "whales", tmp_path / "x.txt", "-m", tmp_path / "model", "--no-cache", "--min-score", -1).lines[
        :1
    ]
    assert line == f"{tmp_path}/x.txt:1: the \x1b[33m\x1b[1mwhale\x1b[0m in a storm"
