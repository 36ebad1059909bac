"""`semsearch grep`: lines by meaning, with numbers as every tool counts them, and encoded once."""

import errno
import json
import os
import sqlite3

import numpy as np
import pytest
from support.command_line import run, tiny_model
from support.fakes import HashEncoder

from semsearch.encoder.cache import VectorCache
from semsearch.encoder.load import load_encoder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMSEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vectors.sqlite"


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("bread flour\r\n\nwhale storm\nreef tide\n\nwheel chain\n")
    (tmp_path / "docs" / "b.txt").write_text("oven dough\n\x0cseed soil")
    (tmp_path / "docs" / "c.bin").write_bytes(b"\0\0whale")
    return tmp_path


def test_lines_come_best_first_as_brute_force_has_them(files, model):
    ended = run("grep", "whale", "docs", "docs/c.bin", "-m", model, "-k", 20)
    lines = {("a", 1): "bread flour", ("a", 3): "whale storm", ("a", 4): "reef tide", ("a", 6): "wheel chain",
             ("b", 1): "oven dough", ("b", 2): "seed soil"}  # fmt: skip
    encoder = load_encoder(str(model))
    scores = encoder.encode_documents(list(lines.values())) @ encoder.encode_queries(["whale"])[0]
    order = [list(lines)[place] for place in np.argsort(-scores, kind="stable")]
    assert ended.lines == [f"docs/{name}.txt:{number}: {lines[name, number]}" for name, number in order]
    assert "docs/c.bin: not text" in ended.err
    found = [json.loads(line) for line in run("grep", "whale", "docs", "-m", model, "--json").lines]
    assert [hit["score"] for hit in found] == pytest.approx(sorted(scores.tolist(), reverse=True), abs=1e-6)
    floor = sorted(scores)[-3] - 1e-4
    assert len(run("grep", "whale", "docs", "-m", model, "--min-score", floor).lines) == 3
    assert run("grep", "whale", "docs", "-m", model, "--min-score", 1.1).code == 1


def test_context_names_and_paragraphs(files, model):
    assert run("grep", "whale", "docs/a.txt", "-n", "-m", model, "-k", 1, "-C", 1).lines == [
        "docs/a.txt-2- ",
        "docs/a.txt:3: whale storm",
        "docs/a.txt-4- reef tide",
    ]
    assert run("grep", "oven", "docs", "-l", "-m", model).lines == ["docs/b.txt", "docs/a.txt"]
    assert run("grep", "tide", "docs/a.txt", "-p", "-k", 1, "-m", model).lines == [
        "docs/a.txt:3: whale storm",
        "docs/a.txt:4: reef tide",
    ]
    ended = run("grep", "oven", "-k", 1, "-m", model, stdin=b"seed\noven\n")
    assert ended.lines == ["(standard input):2: oven"]
    assert run("grep", "oven", "-m", model, stdin=b"\n\n").code == 3
    ended = run("grep", "oven", "nowhere", "docs/b.txt", "-k", 1, "-m", model)
    assert (ended.code, ended.lines) == (3, ["docs/b.txt:1: oven dough"])
    assert "nowhere: No such file" in ended.err


def test_a_folder_that_may_not_be_listed_is_told(files, model, monkeypatch):
    (files / "docs" / "closed").mkdir()
    scanned = os.scandir

    def scan(path):
        if str(path).rstrip("/").endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return scanned(path)

    monkeypatch.setattr(os, "scandir", scan)
    ended = run("grep", "oven", "docs", "-k", 1, "-m", model)
    assert (ended.code, ended.lines) == (3, ["docs/b.txt:1: oven dough"])
    assert "docs/closed: Permission denied" in ended.err


def test_what_was_encoded_is_not_encoded_again(cache):
    texts = [f"word{n} text" for n in range(50)]
    first, second, other = HashEncoder(8), HashEncoder(8), HashEncoder(8, salt=1)
    with VectorCache(first, cache.parent) as made:
        vectors = made.vectors([*texts, texts[0]])
    assert first.calls == 50
    with VectorCache(second, cache.parent) as made:
        again = made.vectors(["new", *texts])
    assert second.calls == 1
    assert np.array_equal(again[1:], vectors[:50])
    assert np.array_equal(vectors[50], vectors[0])
    with VectorCache(other, cache.parent) as made:
        assert not np.array_equal(made.vectors(texts), vectors[:50])
    assert other.calls == 50
    assert b"word1" not in cache.read_bytes()


def test_a_cache_that_is_no_use_is_done_without(cache, monkeypatch):
    texts = ["a", "b"]
    truth = HashEncoder(8).encode_documents(texts)
    cache.parent.mkdir()
    cache.write_bytes(b"no database at all, but long enough to look at" * 100)
    for _ in range(2):
        with VectorCache(HashEncoder(8), cache.parent) as made:
            assert np.array_equal(made.vectors(texts), truth)
    database = sqlite3.connect(cache)
    database.execute("UPDATE vectors SET vector = x'00'")
    database.commit()
    database.close()
    with VectorCache(HashEncoder(8), cache.parent) as made:
        assert np.array_equal(made.vectors(texts), truth)
    with VectorCache(HashEncoder(8), cache) as made:  # a file where the folder should be
        assert np.array_equal(made.vectors(texts), truth)
    monkeypatch.setattr("semsearch.encoder.cache.MAX_CACHED", 10)
    with VectorCache(HashEncoder(8), cache.parent) as made:
        made.vectors([f"text {n}" for n in range(40)])
    database = sqlite3.connect(cache)
    assert database.execute("SELECT count(*) FROM vectors").fetchone() == (9,)
    database.close()


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_text_means_nothing(files, model, text):
    ended = run("grep", text, files / "a.txt", "-m", model)
    assert (ended.code, ended.out) == (2, "")
    assert "the text is empty" in ended.err
