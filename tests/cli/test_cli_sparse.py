"""`--sparse` from the command line, from a folder to an explained answer, and what is said where it can't be."""

import json

import pytest
from support import tiny
from support.command_line import run, start
from support.encoder_checkpoints import classic
from support.sparse_checkpoints import splade


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return classic(folder / "dense", pooling_mode_mean_tokens=True), splade(folder / "sparse")


def test_a_collection_with_a_sparse_model_is_made_estimated_asked_and_freed_of_it(tmp_path, models):
    dense, sparse = models
    notes = tmp_path / "notes.jsonl"
    lines = [json.dumps({"id": str(i), "text": text}) for i, text in enumerate(tiny.TEXTS)]
    notes.write_text("\n".join(lines) + "\n", "utf-8")
    told = run("index", notes, "--encoder", dense, "--sparse", sparse, "--dry-run", "--json")
    assert told.code == 0, told.err
    plain = json.loads(run("index", notes, "--encoder", dense, "--dry-run", "--json").out)
    estimated = json.loads(told.out)
    assert estimated["bytes"] > plain["bytes"]
    assert estimated["seconds"] > 0
    made = run("index", notes, "--encoder", dense, "--sparse", sparse)
    assert made.code == 0, made.err
    for mode in ("sparse", "hybrid"):
        asked = run("query", "notes", "why do vaccines work", "--mode", mode, "--explain", "--json")
        assert asked.code == 0, asked.err
        first = json.loads(asked.out)["hits"][0]
        assert first["scores"]["sparse"] > 0
        assert first["explanation"]["terms"]
    assert json.loads(run("info", "notes", "--json").out)["sparse"]["name"] == str(sparse)
    assert run("reencode", "notes", "--sparse", "none").code == 0
    assert run("query", "notes", "why", "--mode", "sparse").code not in (0, 1)


def test_none_is_no_sparse_model(tmp_path, models):
    dense, sparse = models
    notes = tmp_path / "notes.jsonl"
    notes.write_text(json.dumps({"id": "1", "text": tiny.TEXTS[0]}) + "\n", "utf-8")
    for extra in (("--dry-run",), (), ()):  # estimated, made, and again
        assert run("index", notes, "--encoder", dense, "--sparse", "none", *extra).code == 0
    assert "sparse" not in json.loads(run("info", "notes", "--json").out)
    assert run("index", notes, "--name", "both", "--encoder", dense, "--sparse", sparse).code == 0
    ended = run("index", notes, "--name", "both", "--sparse", "none")
    assert ended.code == 2
    assert "'semsearch reencode both --sparse none'" in ended.err


@pytest.mark.slow  # starts processes
@pytest.mark.parametrize("kind", ["--encoder", "--sparse", "--reranker"])
def test_a_server_of_a_model_that_is_not_there_ends_at_once(tmp_path, models, kind):
    of_another_kind = {"--encoder": models[1], "--sparse": tmp_path, "--reranker": models[1]}[kind]
    for wrong in (tmp_path / "nowhere", of_another_kind):
        process = start("serve", "--port", "0", kind, wrong, "--home", tmp_path / "served")
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
        assert (process.returncode, out) == (2, b""), err
        assert str(wrong) in err.decode()
        assert b"Traceback" not in err


def test_an_empty_name_is_no_model_and_no_folder(tmp_path, models, monkeypatch):
    """As a path it would be the folder that somebody is in, which may hold one."""
    notes = tmp_path / "notes.jsonl"
    notes.write_text(json.dumps({"id": "1", "text": tiny.TEXTS[0]}) + "\n", "utf-8")
    assert run("index", notes, "--encoder", models[0]).code == 0
    monkeypatch.chdir(models[1])
    for command in (
        ("index", notes, "--name", "other", "--encoder", ""),
        ("index", notes, "--name", "other", "--encoder", models[0], "--sparse", " "),
        ("reencode", "notes", "--sparse", ""),
        ("reencode", "notes", "--encoder", ""),
    ):
        ended = run(*command)
        assert (ended.code, ended.out) == (2, "")
        assert "it is empty; give a folder or a name" in ended.err
    assert [line.split("\t")[0] for line in run("list").lines] == ["notes"]
