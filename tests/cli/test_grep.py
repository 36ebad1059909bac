"""`semsearch grep`: lines by meaning, with numbers as every tool counts them, and encoded once."""

import errno
import json
import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from support.command_line import run, tiny_model
from support.fakes import HashEncoder

from semsearch.encoder.cache import VectorCache
from semsearch.encoder.load import load_encoder
from semsearch.errors import MissingDependency
from semsearch.search.background import QUESTIONS, UNRELATED_WORDS, background
from semsearch.types import Metric


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
    ended = run("grep", "whale", "docs", "docs/c.bin", "-m", model, "-k", 20, "--min-score", -1)
    lines = {("a", 1): "bread flour", ("a", 3): "whale storm", ("a", 4): "reef tide", ("a", 6): "wheel chain",
             ("b", 1): "oven dough", ("b", 2): "seed soil"}  # fmt: skip
    encoder = load_encoder(str(model))
    scores = encoder.encode_documents(list(lines.values())) @ encoder.encode_queries(["whale"])[0]
    order = [list(lines)[place] for place in np.argsort(-scores, kind="stable")]
    assert ended.lines == [f"docs/{name}.txt:{number}: {lines[name, number]}" for name, number in order]
    assert ended.code == 3
    assert "docs/c.bin: not text" in ended.err
    ended = run("grep", "whale", "docs", "-m", model, "--json", "--min-score", -1)
    assert (ended.code, ended.err) == (0, "files not read, because no reader here knows their kind: 1 .bin.\n")
    found = [json.loads(line) for line in ended.lines]
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
    assert run("grep", "oven", "docs", "-l", "-m", model, "--min-score", -1).lines == ["docs/b.txt", "docs/a.txt"]
    assert run("grep", "tide", "docs/a.txt", "-p", "-k", 1, "-m", model).lines == [
        "docs/a.txt:3: whale storm",
        "docs/a.txt:4: reef tide",
    ]
    ended = run("grep", "oven", "-k", 1, "-m", model, stdin=b"seed\noven\n")
    assert ended.lines == ["(standard input):2: oven"]
    ended = run("grep", "oven", "-m", model, stdin=b"\n\n")
    assert (ended.code, ended.err) == (1, "there is no text to look through.\n")
    ended = run("grep", "oven", "nowhere", "docs/b.txt", "-k", 1, "-m", model)
    assert (ended.code, ended.lines) == (3, ["docs/b.txt:1: oven dough"])
    assert "nowhere: No such file" in ended.err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes have names here")
def test_nobody_is_waited_for_at_a_pipe(files, model):
    os.mkfifo(files / "my pipe")
    ended = run("grep", "oven", "my pipe", "/dev/zero", "docs/b.txt", "-k", 1, "-m", model)
    assert (ended.code, ended.lines) == (3, ["docs/b.txt:1: oven dough"])
    assert ended.err.splitlines() == [
        "my pipe: a pipe may never be written to: give it as standard input, by - < 'my pipe'",
        "/dev/zero: a device, which is not read",
    ]


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="open files have no names here")
def test_what_a_shell_hands_in_is_read(files, model):
    out, into = os.pipe()
    with os.fdopen(out), os.fdopen(into, "wb") as writer:
        writer.write(b"seed\noven\n")
        writer.close()
        name = f"/dev/fd/{out}"  # of <(command)
        assert run("grep", "oven", name, "-k", 1, "-m", model).lines == [f"{name}:2: oven"]


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


class Plain:
    """An encoder whose scores are known: a text's vector is what follows it in the table, an unknown one is upright."""

    metric, dim, fingerprint = Metric.COSINE, 2, "plain"

    def __init__(self, degrees):
        self.degrees = degrees

    def encode_documents(self, texts):
        angles = np.radians([self.degrees.get(text, 90) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    encode_queries = encode_documents


QUERY = "of several words"


def test_a_word_is_held_against_words():
    lines = {"a": 0, "b": 40} | dict.fromkeys(UNRELATED_WORDS, 0)
    vectors = Plain(lines).encode_documents(["a", "b"])
    assert background(Plain(lines), vectors, "zzzz") == pytest.approx(1)
    assert background(Plain(lines), vectors, QUERY) == pytest.approx(np.cos(np.radians(50)))


def test_what_unrelated_questions_reach():
    lines = {"a": 0, "b": 40, "c": 60}
    vectors = Plain(lines).encode_documents(list(lines))
    # the questions stand at 90 degrees, 30 from the nearest line
    assert background(Plain(lines), vectors, QUERY) == pytest.approx(np.cos(np.radians(30)))
    # what a few questions find better does not count: the texts may be about them
    few = lines | dict.fromkeys(QUESTIONS[:7], 0)
    assert background(Plain(few), vectors, QUERY) == pytest.approx(np.cos(np.radians(30)))
    many = lines | dict.fromkeys(QUESTIONS[:9], 0)
    assert background(Plain(many), vectors, QUERY) > 0.999
    wide = Plain(lines)
    wide.metric = Metric.L2
    assert background(wide, vectors, QUERY) == pytest.approx(-(2 - 2 * np.cos(np.radians(30))), abs=1e-6)
    assert background(Plain(lines), np.concatenate([vectors[:1]] * 70_000 + [vectors[2:]]), QUERY) == pytest.approx(
        np.cos(np.radians(30))
    )


def test_a_miss_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("near\nfar\nmiddle\n")
    table = {"near": 20, "far": 60, "middle": 35, "asked": 15, "missed": 150}
    monkeypatch.setattr("semsearch.models.encoder", lambda *_, **__: Plain(table))
    ended = run("grep", "asked", "a.txt", "--no-cache")  # the questions are 30 degrees from what is at 60
    assert (ended.code, ended.lines, ended.err) == (0, ["a.txt:1: near", "a.txt:3: middle"], "")
    ended = run("grep", "missed", "a.txt", "--no-cache")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        "nothing is found: the best line scores 0.000, and unrelated questions reach 0.866 here. --min-score shows "
        "weaker ones.\n"
    )
    assert run("grep", "missed", "a.txt", "--no-cache", "-l", "--json").code == 1
    ended = run("grep", "missed", "a.txt", "--no-cache", "--min-score", -1)
    assert (ended.code, ended.lines) == (0, ["a.txt:2: far", "a.txt:3: middle", "a.txt:1: near"])


@pytest.fixture
def documents(tmp_path, monkeypatch):
    """A folder of documents whose bytes are not their text."""
    monkeypatch.chdir(tmp_path)
    inner = tmp_path / "docs" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "docs" / "page.html").write_text("<h1>Sea</h1>\n<p>whale storm</p><script>reef()</script>")
    (inner / "page.html").write_text("<p>wheel chain</p>")
    (inner / "mail.eml").write_bytes(b"Subject: oven\nContent-Type: text/plain\n\nbread flour\ndough loaf\n")
    (inner / "notes.md").write_text("# seed\n\nsoil\n")
    return tmp_path


@pytest.mark.slow
def test_documents_are_taken_apart(documents, model):
    pytest.importorskip("lxml")
    ended = run("grep", "whale", "docs", "-m", model, "--min-score", -1)
    assert (ended.code, ended.err) == (0, "")
    assert ended.lines[0] == "docs/page.html:sea:1: whale storm"
    assert sorted(ended.lines[1:]) == [
        "docs/inner/mail.eml:1: bread flour",
        "docs/inner/mail.eml:2: dough loaf",
        "docs/inner/notes.md:1: # seed",
        "docs/inner/notes.md:3: soil",
        "docs/inner/page.html:1: wheel chain",
    ]
    assert run("grep", "whale", "docs/page.html", "-m", model, "--min-score", -1).lines == [ended.lines[0]]
    (hit,) = run("grep", "whale", "docs/page.html", "-m", model, "--min-score", -1, "--json").lines
    hit = json.loads(hit)
    assert (hit["file"], hit["part"], hit["line"], hit["text"]) == ("docs/page.html", "sea", 1, "whale storm")
    assert run("grep", "whale", "docs", "-l", "-k", 1, "-m", model, "--min-score", -1).lines == ["docs/page.html"]
    twice = run("grep", "whale", "docs", "docs", "docs/page.html", "-m", model, "--min-score", -1, "-k", 20)
    assert (twice.code, len(twice.lines)) == (0, 13)


@pytest.mark.slow
def test_documents_that_can_not_be_read_are_named(documents, model):
    pytest.importorskip("pypdf")
    (documents / "docs" / "broken.pdf").write_bytes(b"%PDF-1.4\nwhale")
    ended = run("grep", "whale", "docs", "-k", 1, "-m", model, "--min-score", -1)
    assert (ended.code, len(ended.lines)) == (3, 1)
    assert "broken.pdf: it can't be read" in ended.err
    ended = run("grep", "whale", "docs/broken.pdf", "-m", model)
    assert (ended.code, ended.out) == (3, "")
    ended = run("grep", "whale", "nowhere.pdf", "-m", model)
    assert (ended.code, ended.err.splitlines()[0]) == (3, "nowhere.pdf: No such file or directory")


def test_documents_without_the_libraries_are_named(documents, model, monkeypatch):
    def missing(name):
        raise MissingDependency("documents are read with libraries: pip install 'semsearch[documents]'")

    monkeypatch.setattr("semsearch.plugins.corpus_reader", missing)
    ended = run("grep", "soil", "docs", "-k", 1, "-m", model, "--min-score", -1)
    assert (ended.code, ended.lines) == (3, ["docs/inner/notes.md:3: soil"])
    assert "pip install 'semsearch[documents]'" in ended.err


def test_lines_of_nothing_but_signs_answer_nothing(tmp_path, model, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.md").write_text("```\nwhale\n```\n\n|---|---|\n\n  }\n🦊\n7\n")
    ended = run("grep", "tide", "a.md", "-m", model, "--min-score", -1)
    assert sorted(ended.lines) == ["a.md:2: whale", "a.md:8: 🦊", "a.md:9: 7"]
    assert len(run("grep", "tide", "a.md", "-p", "-m", model, "--min-score", -1, "--json").lines) == 2
    assert run("grep", "whale", "a.md", "-C", 1, "-k", 1, "-m", model).lines == [
        "a.md-1- ```",
        "a.md:2: whale",
        "a.md-3- ```",
    ]


def test_texts_that_are_not_utf_8_are_read_and_told(tmp_path, model, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wide.txt").write_bytes("whale\ntide\n".encode("utf-16"))
    (tmp_path / "latin.txt").write_bytes("caf\xe9 whale\n".encode("latin-1"))
    for of in (("wide.txt", "latin.txt"), (".",)):
        ended = run("grep", "whale", *of, "-m", model, "--min-score", -1)
        assert ended.code == 0
        assert sorted(line.removeprefix("./") for line in ended.lines) == [
            "latin.txt:1: caf� whale",
            "wide.txt:1: whale",
            "wide.txt:2: tide",
        ]
        assert "latin.txt: byte 3 is no UTF-8; what is none is shown as �" in ended.err
