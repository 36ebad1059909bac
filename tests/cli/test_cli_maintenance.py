"""Care over time from the command line, and what filters and comparisons print."""

import json

import numpy as np
import pytest
from support.command_line import run
from support.fakes import HashEncoder

import semsearch
from semsearch.cli.maintenance import show_certificate
from semsearch.types import Document


@pytest.fixture
def given():
    """A collection of given vectors, large enough for an index to be asked."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((6000, 16)).astype(np.float32)
    with semsearch.create("given", encoder=None, dim=16) as collection:
        collection.add([Document(str(i), f"text {i}", metadata={"n": i}) for i in range(6000)], vectors=vectors)
    return "given"


@pytest.mark.slow
def test_reindex_shows_the_curve_and_tune_changes_it(given):
    ended = run("reindex", given, "--index", "hnsw", "--recall", "0.9")
    assert ended.code == 0
    assert ended.lines[-1] == "index hnsw, rows 6,000"
    assert "recall@10" in ended.err
    ended = run("tune", given, "--recall", "0.99")
    assert ended.code == 0
    assert "certified 0.99" in ended.out
    facts = json.loads(run("info", given, "--json").out)
    assert facts["index"]["contract"]["target"] == 0.99
    assert facts["index"]["wanted"]["recall"] == 0.99


@pytest.mark.slow
def test_a_recall_that_is_not_certified_ends_with_1(given):
    hopeless = ("--index", "hnsw", "--option", "M=2", "--option", "ef_construction=8", "--recall", "1")
    ended = run("reindex", given, *hopeless)
    assert ended.code == 1
    assert "xact search" in ended.err
    assert "No questions were given" in ended.err
    assert run("tune", given, "--recall", "1").code == 1
    assert run("check", given, "--deep").code == 0, "nothing is broken, and no tuning would fix it"


def test_it_is_said_what_a_recall_was_measured_on(capsys):
    with semsearch.create("texts", encoder=HashEncoder(16)) as texts:
        texts.add(Document(str(i), f"word{i} word{i % 7}") for i in range(200))
        texts.reindex("hnsw", recall=0.5, queries=[f"word{i} word{i + 1}" for i in range(60)])
        certificate = texts.tune(0.5)
    show_certificate(certificate, None)
    assert "on 30 queries" in (said := " ".join(capsys.readouterr().err.split()))
    assert "questions that were given before" in said
    show_certificate(certificate, "questions.txt")
    assert "given" not in capsys.readouterr().err


def test_exact_search_is_measured_on_the_questions_that_are_given():
    with semsearch.create("texts", encoder=HashEncoder(16)) as texts:
        texts.add(Document(str(i), f"word{i} word{i % 7}") for i in range(200))
        asked = [f"word{i} word{i + 1}" for i in range(60)]
        certificate = texts.reindex("exact", recall=0.9, queries=asked)
        assert (certificate.source, certificate.queries, certificate.certified) == ("queries", 30, 1)
        assert texts.reindex("exact", recall=0.9).source == "queries"  # those of before


def test_reindex_refuses_what_it_does_not_know(given):
    ended = run("reindex", given, "--index", "btree")
    assert ended.code == 2
    assert "annoy, exact, faiss-ivf, hnsw" in ended.err
    ended = run("reindex", given, "--index", "hnsw", "--option", "eff=5")
    assert ended.code == 2
    assert "ef" in ended.err
    assert run("tune", given, "--recall", "2").code == 2


@pytest.mark.slow
def test_check_repair_and_compact(given):
    assert run("check", given, "--deep").code == 0
    with semsearch.open(given) as collection:
        path = collection.path / "vectors-1.f32"
    content = bytearray(path.read_bytes())
    content[70] ^= 1
    path.write_bytes(content)
    ended = run("check", given, "--deep", "--json")
    assert ended.code == 4
    assert json.loads(ended.out)["part"] == "vectors"
    assert "add them again" in run("repair", given).out
    run("remove", given, "1")
    ended = run("compact", given)
    assert ended.code == 0
    assert ended.out.startswith("removed 1 dead rows")


def test_backup_and_restore(given, tmp_path):
    file = tmp_path / "given.backup"
    assert run("backup", given, str(file)).code == 0
    assert run("restore", str(file)).code == 4
    assert run("restore", str(file), "--name", "again").code == 0
    assert json.loads(run("info", "again", "--json").out)["documents"] == 6000
    file.write_bytes(b"nothing")
    ended = run("restore", str(file), "--name", "third")
    assert ended.code == 3
    assert "no semsearch backup" in ended.err
