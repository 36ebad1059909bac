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
