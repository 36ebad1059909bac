"""The commands of the command line work on a cluster as on a folder."""

import json

import pytest

pytest.importorskip("orjson", reason="the extra 'opensearch' is not installed")

from support.command_line import corpus, run, tiny_model

import semsearch

pytestmark = pytest.mark.cluster


@pytest.fixture
def place(url, monkeypatch):
    """Where all commands look, without `--home`."""
    monkeypatch.setenv("SEMSEARCH_HOME", url)
    return url


@pytest.fixture
def notes(place, tmp_path):
    """An indexed collection `notes` of forty documents."""
    ended = run("index", corpus(tmp_path), "--name", "notes", "--encoder", tiny_model(tmp_path / "model"))
    assert ended.code == 0, ended.err
    return "notes"


def out(*arguments, code=0):
    ended = run(*arguments)
    assert ended.code == code, ended.err
    return ended.out


def test_from_indexing_to_dropping(notes, place, server, tmp_path):
    for mode in ("dense", "lexical", "hybrid"):
        query = ("query", notes, "yeast dough oven", "--mode", mode, "--json", "-k", "5")
        hits = json.loads(out(*query))["hits"]
        assert len(hits) == 5
        if mode != "dense":
            assert int(hits[0]["id"][1:]) % 5 == 0, "it is on bread"
        recent = json.loads(out(*query, "--where", "year > 2020"))["hits"]
        assert all(int(hit["id"][1:]) > 20 for hit in recent)
        assert json.loads(out(*query, "--context", "1", "--explain", "--exact"))["hits"][0]["id"] == hits[0]["id"]
    assert out("list").split()[0] == notes
    facts = json.loads(out("info", notes, "--json"))
    assert (facts["documents"], facts["engine"]) == (40, server.flavour)
    assert json.loads(out("get", notes, "d3", "--json"))["id"] == "d3"
    assert out("similar", notes, "d0")
    assert out("remove", notes, "d3", "d4").startswith("removed 2")
    lines = (tmp_path / "notes.jsonl").read_text().splitlines()
    (tmp_path / "notes.jsonl").write_text("\n".join([*lines[3:], lines[3].replace("d3", "new")]) + "\n")
    assert run("sync", notes).code == 0
    with semsearch.open(notes) as collection:
        assert len(collection) == 38
        assert "d0" not in collection
        assert "new" in collection
    assert out("drop", notes, "--yes") is not None
    assert semsearch.list_collections() == []


def test_care_and_moving_there_and_back(notes, place, tmp_path):
    assert run("check", notes, "--deep").code == 0
    ended = run("backup", notes, tmp_path / "file")
    assert ended.code == 2
    assert "PUT _snapshot/" in ended.err
    folder = tmp_path / "folder"
    assert "copied 40 documents" in out("copy", notes, "--to", folder)
    assert "copied 40 documents" in out("copy", notes, "--home", folder, "--to", place, "--as", "again")
    query = ("yeast dough oven", "--mode", "hybrid", "--json")
    asked = [("query", notes, "--home", place), ("query", notes, "--home", folder), ("query", "again", "--home", place)]
    found = [json.loads(out(*own, *query))["hits"] for own in asked]
    scores = [[(hit["id"], hit["scores"]["dense"]) for hit in hits] for hits in found]
    assert scores[0] == scores[1] == scores[2]
    assert run("sync", "again").code == 0, "it knows its sources"
    other = tiny_model(tmp_path / "other", seed=1)
    assert out("reencode", notes, "--encoder", other) == "encoded 40\n"
    assert run("check", notes, "--deep").code == 0
    assert out("compact", notes).startswith("removed")
