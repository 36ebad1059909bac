"""`semsearch pairs` on the command line."""

import csv
import json

import pytest
from support.command_line import run

import semsearch
from semsearch.testing.encoder import HashEncoder


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "collections"
    for name, texts in {
        "texts": ["the cat sleeps here", "here the cat sleeps", "rain and\twind", "bread"],
        "more": ["the cat sleeps", "snow"],
    }.items():
        with semsearch.create(name, home=folder, encoder=HashEncoder(32)) as made:
            made.add([semsearch.Document(f"{name}-{at}", text) for at, text in enumerate(texts)])
    return folder


def test_lines_and_json(home):
    ended = run("pairs", "texts", "--limit", 1, "--home", home)
    assert ended.code == 0
    assert ended.lines == ["1.000000\ttexts-0\ttexts-1\tthe cat sleeps here\there the cat sleeps"]
    (line,) = run("pairs", "texts", "--limit", 1, "--json", "--home", home).lines
    assert json.loads(line)["second"] == "texts-1"
    assert len(run("pairs", "texts", "--limit", "all", "--home", home).lines) == 6


def test_no_pair_and_what_is_wrong(home):
    assert run("pairs", "texts", "--min-score", 2, "--home", home).code == 1
    for wrong, what in (
        (["--limit", "some"], "'some' is no whole number"),
        (["--min-score", "p0.5"], "by a score"),
        (["--out", "pairs.txt"], "must end in"),
        (["--out", "nowhere/pairs.tsv"], "no folder"),
        (["--between", "texts"], "with itself"),
        (["--device", "cuda:9"], "no CUDA device"),
    ):
        ended = run("pairs", "texts", *wrong, "--home", home)
        assert ended.code == 2, wrong
        assert what in ended.err, wrong


def test_between(home):
    ended = run("pairs", "texts", "--between", "more", "-k", 1, "--limit", 1, "--home", home)
    assert ended.lines[0].split("\t")[1:3] == ["texts-0", "more-0"]


@pytest.mark.parametrize("kind", ["jsonl", "tsv", "csv"])
def test_files(home, tmp_path, kind):
    file = tmp_path / f"pairs.{kind}"
    assert run("pairs", "texts", "--out", file, "--home", home).code == 0
    with file.open(encoding="utf-8", newline="") as lines:
        if kind == "jsonl":
            rows = [json.loads(line) for line in lines]
        else:
            rows = list(csv.DictReader(lines, dialect="excel-tab" if kind == "tsv" else "excel"))
    assert len(rows) == 6
    assert (rows[0]["first"], rows[0]["second"]) == ("texts-0", "texts-1")
    assert {row["second_text"] for row in rows} >= {"rain and\twind"}
    assert sorted(path.name for path in tmp_path.iterdir() if "pairs" in path.name) == [file.name]
    assert "is there already" in run("pairs", "texts", "--out", file, "--home", home).err


@pytest.fixture
def empty(home):
    for name in ("empty", "empty-too"):
        semsearch.create(name, home=home, encoder=HashEncoder(32)).close()
    return home


@pytest.mark.parametrize(
    ("asked", "compared"),
    [
        (["empty"], "0"),
        (["empty", "--json"], "0"),
        (["texts", "--min-score", 2], "4"),
        (["texts", "--between", "empty"], "4 with 0"),
        (["empty", "--between", "texts", "-k", 1], "0 with 4"),
        (["empty", "--between", "empty-too", "--min-score", "99.9%"], "0 with 0"),
        (["texts", "--between", "empty", "--approximate"], "4 with 0"),
    ],
)
def test_no_pair_is_said(empty, asked, compared):
    ended = run("pairs", *asked, "--home", empty)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.splitlines()[0] == f"0 pairs; documents compared: {compared}"


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        (["duplicates", "empty"], 1, "0 of 0 documents can go"),
        (["duplicates", "texts", "--against", "empty"], 1, "0 of 4 documents can go"),
        (["clusters", "empty"], 1, "0 clusters of 0 documents; 0 are in none"),
        (["clusters", "empty", "--label-as", "topic"], 1, "0 clusters of 0 documents; 0 are in none"),
        (["topics", "empty", "--over", "when"], 1, "0 topics of 0 documents; 0 are in none"),
        (["bitext", "texts", "empty"], 1, "0 pairs of 4 and 0 sentences"),
        (["bitext", "empty", "empty-too", "--xsim"], 2, "neither empty nor empty-too has a sentence"),
        (["map", "empty"], 1, "drew 0 documents in 0 topics: empty.html"),
        (["map", "empty", "--by", "when"], 2, "no document of 'empty' has a field 'when'"),
        (["classify", "empty", "lines.txt", "--field", "kind"], 2, "0 documents of 'empty' have a label in 'kind'"),
    ],
)
def test_an_empty_collection_is_said(empty, tmp_path, monkeypatch, asked, code, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lines.txt").write_text("bread")
    ended = run(*asked, "--home", empty)
    assert (ended.code, ended.out) == (code, "")
    assert said in ended.err


def test_one_document_has_no_usual_score(home):
    with semsearch.create("one", home=home, encoder=HashEncoder(32)) as made:
        made.add([semsearch.Document("a", "bread")])
    assert run("clusters", "one", "--home", home).last == "0 clusters of 0 documents; 1 are in none"
