"""A late-interaction model as a second stage: its order, its explanation, the vectors it keeps, and by every way in."""

import json
import os
import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support import late_checkpoints as late
from support import tiny
from support.command_line import run
from support.serving import served

import semsearch
from semsearch import load_multi_vector_encoder, load_reranker
from semsearch.errors import ModelError, UsageError
from semsearch.reranker.load import TOKEN_BITS, TOKEN_VECTORS
from semsearch.reranker.max_sim import MaxSim

QUERY = "why do vaccines work"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return late.pylate(tmp_path_factory.mktemp("late") / "model")


@pytest.fixture(scope="module")
def encoder(folder):
    return load_multi_vector_encoder(str(folder), device="cpu", dtype="float32")


@pytest.fixture
def reranker(encoder):
    return MaxSim(encoder)


@pytest.fixture
def notes(tmp_path, base, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with semsearch.create("notes", encoder=str(base)) as made:
        made.add([semsearch.Document(str(i), text, "A river" if i % 2 else "") for i, text in enumerate(tiny.TEXTS)])
    return tmp_path


def test_a_name_with_its_kind_opens_it_and_so_does_the_folder_alone(folder, reranker):
    expected = reranker.score(QUERY, tiny.TEXTS)
    for name in (f"maxsim:{folder}", str(folder)):
        opened = load_reranker(name, device="cpu", dtype="float32")
        assert isinstance(opened, MaxSim)
        assert opened.score(QUERY, tiny.TEXTS) == pytest.approx(expected, abs=1e-6)
    assert opened.description()["kind"] == "maxsim"
    assert opened.score(QUERY, []).shape == (0,)
    with pytest.raises(UsageError, match="one query"):
        opened.score(QUERY, [3])


def test_a_model_of_another_kind_is_refused_by_its_name(base):
    with pytest.raises(ModelError, match="holds no late-interaction"):
        load_reranker(f"maxsim:{base}")


def test_the_pairs_of_tokens_add_up_to_the_score(encoder, reranker):
    text = tiny.TEXTS[1]
    pairs = reranker.token_pairs(QUERY, text)
    assert sum(pair.similarity for pair in pairs) == pytest.approx(float(reranker.score(QUERY, [text])[0]), abs=1e-4)
    assert len(pairs) == len(encoder.encode_queries([QUERY])[0])
    assert all(pair.similarity <= 1 + 1e-5 for pair in pairs)
    words = {QUERY[slice(*pair.query)] for pair in pairs}
    assert {"why", "do", "vaccines", "work", ""} == words
    assert {text[slice(*pair.text)] for pair in pairs} <= {"why", "do", "vaccines", "work", ""}


def test_pooled_tokens_stand_nowhere(tmp_path):
    folder = late.version_6(tmp_path / "model", pooling={"pool_factor": 2.0, "normalize_embeddings": True})
    pairs = MaxSim(load_multi_vector_encoder(str(folder), device="cpu")).token_pairs(QUERY, tiny.TEXTS[5])
    assert {pair.text for pair in pairs} == {(0, 0)}
    assert any(pair.query != (0, 0) for pair in pairs)


def test_a_search_in_python_is_ordered_and_explained_by_it(notes, folder, encoder, reranker, monkeypatch):
    monkeypatch.setattr("semsearch.encoder.load.bf16_is_fast", lambda device: False)  # whatever this processor has
    with semsearch.open("notes") as opened:
        hits = opened.search(QUERY, k=6, rerank=f"maxsim:{folder}", explain=True)
        plain = {hit.id: hit for hit in opened.search(QUERY, k=6)}
    composed = [f"A river {text}" if i % 2 else text for i, text in enumerate(tiny.TEXTS)]
    expected = reranker.score(QUERY, composed)
    assert [hit.id for hit in hits] == [str(i) for i in np.argsort(-expected, kind="stable")]
    assert [hit.score for hit in hits] == pytest.approx(sorted(expected.tolist(), reverse=True), abs=1e-4)
    assert plain.keys() == {hit.id for hit in hits}
    for hit in hits:
        assert sum(part.weight for _, part in hit.explanation.pairs) == pytest.approx(hit.score, abs=1e-4)
        words = [hit.text[part.start : part.end] for _, part in hit.explanation.pairs if part.field == "text"]
        assert set(words) <= set(re.findall(r"\w+|[^\w\s]", hit.text)), "each a word or a sign, whole"
        titles = [hit.title[part.start : part.end] for _, part in hit.explanation.pairs if part.field == "title"]
        assert set(titles) <= {"A", "river"}


def test_the_command_line_takes_it_and_tells_the_pairs(notes, folder):
    asked = ("query", "notes", QUERY, "--rerank", f"maxsim:{folder}", "--candidates", "1000", "--explain")
    ended = run(*asked, "--json")
    assert ended.code == 0, ended.err
    first = json.loads(ended.out)["hits"][0]
    pairs = first["explanation"]["pairs"]
    assert sum(pair["weight"] for pair in pairs) == pytest.approx(first["scores"]["rerank"], abs=1e-4)
    assert "vaccines" in {pair["query"] for pair in pairs}
    shown = run(*asked)
    assert " ~ " in shown.out


def test_the_server_takes_it_by_the_same_name(notes, folder):
    name = f"maxsim:{folder}"
    with served(os.environ["SEMSEARCH_HOME"], rerankers=(name,)) as running:
        answered = running.ask("/v1/collections/notes/search", {"query": QUERY, "rerank": name, "explain": True})
        assert answered["hits"][0]["explanation"]["pairs"]
        direct = running.ask("/v1/rerank", {"query": QUERY, "documents": tiny.TEXTS, "model": name})
    expected = load_reranker(name).score(QUERY, tiny.TEXTS)
    assert direct["results"][0]["index"] == int(np.argmax(expected))


def test_vectors_are_kept_where_a_person_says_and_found_again(folder, encoder, tmp_path, monkeypatch):
    where = tmp_path / "kept"
    monkeypatch.setenv(TOKEN_VECTORS, str(where))
    keeping = load_reranker(f"maxsim:{folder}", device="cpu", dtype="float32")
    exact = MaxSim(encoder).score(QUERY, tiny.TEXTS)
    first = keeping.score(QUERY, tiny.TEXTS)
    assert first == pytest.approx(exact, abs=0.02)
    again = MaxSim(encoder, where)
    monkeypatch.setattr(encoder, "encode_documents", None)  # nothing is encoded again
    assert again.score(QUERY, tiny.TEXTS).tolist() == first.tolist()


def test_what_is_kept_and_damaged_is_made_anew(encoder, tmp_path):
    reranker = MaxSim(encoder, tmp_path / "kept")
    expected = reranker.score(QUERY, tiny.TEXTS).tolist()
    with sqlite3.connect(reranker.store.path) as database:
        database.execute("UPDATE token_vectors SET content = zeroblob(32)")
    assert reranker.score(QUERY, tiny.TEXTS).tolist() == expected
    reranker.store.path.write_bytes(b"no database at all" * 100)
    assert reranker.score(QUERY, tiny.TEXTS).tolist() == expected
    assert MaxSim(encoder, tmp_path / "kept").score(QUERY, tiny.TEXTS).tolist() == expected


def test_a_place_that_cannot_be_written_is_no_error(encoder, tmp_path):
    (tmp_path / "file").write_text("no folder", "utf-8")
    exact = MaxSim(encoder).score(QUERY, tiny.TEXTS)
    assert MaxSim(encoder, tmp_path / "file").score(QUERY, tiny.TEXTS) == pytest.approx(exact, abs=0.02)


@pytest.fixture
def learning(monkeypatch):
    """Centroids are learnt from a few tokens, and each vector may have one of its own."""
    monkeypatch.setattr("semsearch.reranker.token_store.CODED_FROM", 60)
    monkeypatch.setattr("semsearch.reranker.residual_codes.CENTROID_SHARE", 2)


def numbers(reranker):
    """Which codes the rows have: 0 is float16."""
    with sqlite3.connect(reranker.store.path) as database:
        return [number for (number,) in database.execute("SELECT codes FROM token_vectors ORDER BY codes")]


def test_in_two_bits_vectors_wait_until_there_are_enough_to_learn_from(encoder, tmp_path, learning, monkeypatch):
    reranker = MaxSim(encoder, tmp_path / "kept", bits=2)
    exact = MaxSim(encoder).score(QUERY, tiny.TEXTS)
    assert reranker.score(QUERY, tiny.TEXTS[:1]) == pytest.approx(exact[:1], abs=0.02)
    assert numbers(reranker) == [0]
    rounded = reranker.score(QUERY, tiny.TEXTS * 2)
    assert len(set(numbers(reranker))) == 1
    assert numbers(reranker)[0] != 0
    assert rounded[: len(exact)] == pytest.approx(exact, abs=0.05)
    other = MaxSim(encoder, tmp_path / "kept", bits=2)  # another process, say
    more = other.score(QUERY, ["a text that is new", *tiny.TEXTS])
    assert more[2:].tolist() == rounded[1 : len(exact)].tolist()  # the first was float16 when it was read
    assert len(set(numbers(reranker))) == 1
    wide = MaxSim(encoder, tmp_path / "kept")
    assert wide.score(QUERY, tiny.TEXTS) == pytest.approx(exact, abs=0.02)  # a file of its own
    monkeypatch.setattr(encoder, "encode_documents", None)  # nothing is encoded again
    assert other.score(QUERY, tiny.TEXTS).tolist() == more[1:].tolist()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE residual_codes SET content = zeroblob(900)",
        "UPDATE residual_codes SET content = 'text'",
        "DELETE FROM residual_codes",
        "UPDATE token_vectors SET content = 3",
        "UPDATE token_vectors SET codes = 'x'",
        "UPDATE token_vectors SET content = substr(content, 2)",
        "DROP TABLE token_vectors",
        "DROP TABLE residual_codes",
    ],
)
def test_codes_that_are_damaged_are_learnt_anew(encoder, tmp_path, learning, damage):
    expected = MaxSim(encoder, tmp_path / "other", bits=2).score(QUERY, tiny.TEXTS).tolist()
    MaxSim(encoder, tmp_path / "kept", bits=2).score(QUERY, tiny.TEXTS)
    reranker = MaxSim(encoder, tmp_path / "kept", bits=2)
    with sqlite3.connect(reranker.store.path) as database:
        database.execute(damage)
    assert reranker.score(QUERY, tiny.TEXTS).tolist() == expected
    again = MaxSim(encoder, tmp_path / "kept", bits=2)
    assert again.score(QUERY, tiny.TEXTS).tolist() == expected
    assert 0 not in numbers(again)


def test_a_file_of_another_version_is_read_as_none(encoder, tmp_path):
    reranker = MaxSim(encoder, tmp_path / "kept")
    expected = MaxSim(encoder, tmp_path / "other").score(QUERY, tiny.TEXTS).tolist()
    reranker.store.path.parent.mkdir()
    with sqlite3.connect(reranker.store.path) as database:
        database.execute("CREATE TABLE tokens (key BLOB PRIMARY KEY, vectors BLOB, digest BLOB) WITHOUT ROWID")
    for _ in range(2):
        assert reranker.score(QUERY, tiny.TEXTS).tolist() == expected
    assert len(numbers(reranker)) == len(set(tiny.TEXTS))


def test_two_that_write_at_once_keep_one_set_of_codes(encoder, tmp_path, learning):
    rerankers = [MaxSim(encoder, tmp_path / "kept", bits=2) for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        scores = list(threads.map(lambda one: one.score(QUERY, tiny.TEXTS).tolist(), rerankers))
    assert [one.score(QUERY, tiny.TEXTS).tolist() for one in rerankers] == [
        MaxSim(encoder, tmp_path / "kept", bits=2).score(QUERY, tiny.TEXTS).tolist()
    ] * 2
    assert all(np.isfinite(some).all() for some in scores)
    with sqlite3.connect(rerankers[0].store.path) as database:
        assert database.execute("SELECT COUNT(*) FROM residual_codes").fetchone() == (1,)


def test_how_many_bits_is_said_by_the_environment(folder, encoder, tmp_path, monkeypatch):
    monkeypatch.setenv(TOKEN_VECTORS, str(tmp_path))
    monkeypatch.setenv(TOKEN_BITS, "2")
    assert load_reranker(f"maxsim:{folder}").store.bits == 2
    monkeypatch.setenv(TOKEN_BITS, "3")
    with pytest.raises(UsageError, match="SEMSEARCH_TOKEN_BITS is '3'; vectors of tokens are kept in 16 or 2 bits"):
        load_reranker(f"maxsim:{folder}")
    with pytest.raises(UsageError, match="16 or 2 bits a component, not 4"):
        MaxSim(encoder, tmp_path, bits=4)
