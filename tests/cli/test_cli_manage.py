"""`semsearch get, remove, drop, list, info`."""

import json

import pytest
from support.command_line import corpus, run, tiny_model

import semsearch


@pytest.fixture
def notes(tmp_path):
    """A collection of forty documents."""
    ended = run("index", corpus(tmp_path), "-m", tiny_model(tmp_path / "model"))
    assert ended.code == 0, ended.err
    return "notes"


def test_get_prints_documents_in_the_order_asked(notes):
    ended = run("get", notes, "d7", "d3", "--json")
    assert ended.code == 0
    first, second = map(json.loads, ended.lines)
    assert (first["id"], second["id"]) == ("d7", "d3")
    assert list(first) == ["id", "title", "text", "metadata"]
    assert first["metadata"] == {"year": 2007}
    plain = run("get", notes, "d7").lines
    assert plain == ["On the ocean", "d7", "year: 2007", "", first["text"]]


def test_get_says_which_ids_are_not_there(notes):
    ended = run("get", notes, "d1", "x9", "--json")
    assert ended.code == 1
    assert [json.loads(line)["id"] for line in ended.lines] == ["d1"]
    assert ended.err == "'notes' has no document 'x9'.\n"


def test_get_never_breaks_a_long_line_for_a_program(tmp_path):
    text = "crust " * 200
    (tmp_path / "long.jsonl").write_text(json.dumps({"id": "a", "text": text}))
    run("index", tmp_path / "long.jsonl", "-m", tiny_model(tmp_path / "model"))
    assert run("get", "long", "a").lines[-1].rstrip() == text.rstrip()


def test_remove_takes_documents_out(notes):
    ended = run("remove", notes, "d1", "d2", "d2")
    assert (ended.code, ended.out) == (0, "removed 2, unknown 0\n")
    ended = run("remove", notes, "d2", "d3")
    assert (ended.code, ended.out) == (1, "removed 1, unknown 1\n")
    with semsearch.open(notes) as collection:
        assert len(collection) == 37
        assert collection.get(["d1", "d2", "d3"]) == [None] * 3


def test_drop_asks_for_yes_where_nobody_is_there_to_ask(notes):
    ended = run("drop", notes)
    assert ended.code == 2
    assert "Add --yes" in ended.err
    assert run("query", notes, "whale").code == 0
    assert run("drop", notes, "--yes").code == 0
    ended = run("query", notes, "whale")
    assert ended.code == 4
    assert "There are none yet" in ended.err


@pytest.mark.parametrize(("answer", "kept"), [(b"n\n", True), (b"\n", True), (b"y\n", False)])
def test_drop_asks_a_person(notes, monkeypatch, answer, kept):
    monkeypatch.setattr("semsearch.cli.manage.sys", type("Terminal", (), {"stdin": _Terminal}))
    ended = run("drop", notes, stdin=answer)
    assert ended.code == 0
    assert "Delete 'notes'" in ended.err
    assert ended.out == ""
    assert run("info", notes).code == (0 if kept else 4)


class _Terminal:
    @staticmethod
    def isatty():
        return True


def test_list_shows_every_collection(notes, tmp_path):
    run("index", corpus(tmp_path, "more.jsonl", 7), "-m", tmp_path / "model")
    ended = run("list")
    assert ended.code == 0
    rows = [line.split("\t") for line in ended.lines]
    assert [row[:3] for row in rows] == [["more", "7", "7"], ["notes", "40", "40"]]
    assert all(int(row[3]) > 0 and row[4].endswith("model") for row in rows)
    assert ended.err == f"collections in {tmp_path / 'home'}\n"
    assert [json.loads(line)["documents"] for line in run("list", "--json").lines] == [7, 40]


def test_list_of_nothing_says_where_it_looked(tmp_path):
    ended = run("list")
    assert (ended.code, ended.out) == (0, "")
    assert str(tmp_path / "home") in ended.err


def test_list_goes_on_after_a_damaged_collection(notes, tmp_path):
    run("index", corpus(tmp_path, "more.jsonl", 7), "-m", tmp_path / "model")
    (tmp_path / "home" / "more" / "collection.sqlite").write_bytes(b"no database" * 500)
    for path in (tmp_path / "home" / "more").glob("collection.sqlite-*"):
        path.unlink()
    ended = run("list")
    assert ended.code == 0
    assert [line.split("\t")[0] for line in ended.lines] == ["notes"]
    assert "'more' can't be opened" in ended.err
    ended = run("query", "more", "whale")
    assert ended.code == 4
    assert ended.err.startswith("semsearch: ")
    assert "Traceback" not in ended.err


def test_info_in_json_and_lines(notes, tmp_path):
    facts = json.loads(run("info", notes, "--json").out)
    assert (facts["name"], facts["documents"], facts["passages"]) == ("notes", 40, 40)
    assert facts["sources"][0]["path"] == str(tmp_path / "notes.jsonl")
    assert facts["bytes"] > 0
    lines = dict(line.split("\t") for line in run("info", notes).lines)
    assert lines["documents"] == "40"
    assert lines["encoder.name"] == facts["encoder"]["name"]
    assert lines["sources.1.path"] == facts["sources"][0]["path"]


@pytest.mark.parametrize(
    "command", [("get", "no", "x"), ("remove", "no", "x"), ("drop", "no", "--yes"), ("info", "no")]
)
def test_an_unknown_collection_is_said_with_what_there_is(notes, command, tmp_path):
    ended = run(*command)
    assert (ended.code, ended.out) == (4, "")
    assert f"no collection 'no' in {tmp_path / 'home'}. There is: notes." in ended.err
    assert len(ended.err.splitlines()) == 1


def test_describe_a_folder(notes, tmp_path):
    assert run("describe", notes, "not reviewed", "--folder", str(tmp_path / "a" / ".." / "drafts")).code == 0
    assert run("describe", notes).out.splitlines()[1] == f"{tmp_path / 'drafts'}: not reviewed"
    assert json.loads(run("describe", notes, "--json").out)["folders"] == {str(tmp_path / "drafts"): "not reviewed"}
    assert run("describe", notes, "--folder", str(tmp_path)).code == 2
    assert run("describe", notes, "", "--folder", str(tmp_path / "drafts")).code == 0
    assert json.loads(run("describe", notes, "--json").out)["folders"] == {}


def test_describe(notes, tmp_path, monkeypatch):
    ended = run("describe", notes)
    assert (ended.code, ended.out) == (0, "nothing was said of 'notes': semsearch describe notes \"…\"\n")
    ended = run("describe", notes, "forty short\nnotes on a few subjects")
    assert (ended.code, ended.out, ended.err) == (0, "", "'notes' is described\n")
    assert run("describe", notes).out == "forty short notes on a few subjects\n"
    facts = json.loads(run("describe", notes, "--json").out)
    source = str(tmp_path / "notes.jsonl")
    told = {"name": "notes", "description": "forty short notes on a few subjects", "documents": 40, "sources": [source]}
    told["folders"] = {}
    assert facts == {"schema": 1, **told}
    assert json.loads(run("info", notes, "--json").out)["description"] == told["description"]
    assert run("list").out.rstrip("\n").split("\t")[-1] == told["description"]
    with semsearch.open(notes) as collection:
        assert collection.description == told["description"]
        assert told["description"] in collection._repr_html_()

    home = tmp_path / "home"
    ended = run("describe")
    assert ended.err == f"home: {home} (named by SEMSEARCH_HOME)\n"
    assert ended.out == f"notes\t40\t{told['description']}\t{source}\n"
    said = json.loads(run("describe", "--json", "--home", home).out)
    assert said == {"schema": 1, "home": str(home), "chosen_by": "chosen with --home", "collections": [told]}
    (tmp_path / "project" / ".semsearch").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.delenv("SEMSEARCH_HOME")
    assert run("describe").err.startswith(f"home: {tmp_path / 'project' / '.semsearch'} (the nearest .semsearch)\n")

    monkeypatch.setenv("SEMSEARCH_HOME", str(home))
    assert run("describe", notes, "").err == "nothing is said of 'notes' any more\n"
    assert len(run("list").out.split("\t")) == 5


def test_a_description_that_can_not_be(notes):
    assert run("describe", notes, "x" * 1001).err == (
        "semsearch: the description has 1,001 characters; at most 1,000 are kept.\n"
    )
    assert run("describe", "nowhere", "x").code == 4
    with semsearch.open(notes) as collection, pytest.raises(semsearch.DataError, match="the description must be text"):
        collection.describe(5)
    assert run("describe", notes, "red \x1b[31m").code == 0
    assert "\x1b" not in run("describe", notes).out + run("list").out + run("describe").out
