"""`semsearch models`: the catalogue as people and programs get it."""

import json

from support.command_line import corpus, run, tiny_model

from semsearch.encoder.catalog import models


def test_lines_and_json_hold_the_whole_catalogue():
    names = [card.name for card in models()]
    assert [line.split("\t")[0] for line in run("models").lines] == names
    facts = [json.loads(line) for line in run("models", "--json").lines]
    assert [each["name"] for each in facts] == names
    first = facts[0]
    assert (first["name"], first["dim"], first["supported"]) == ("sentence-transformers/all-MiniLM-L6-v2", 384, True)
    assert {"measure": "STS benchmark, Spearman", "value": 82.03, "source": "MTEB"} in first["quality"]


def test_models_of_a_task():
    rows = [line.split("\t") for line in run("models", "duplicate questions").lines]
    assert rows
    assert all("duplicate questions" in row[1] for row in rows)
    ended = run("models", "astrology")
    assert (ended.code, ended.out) == (2, "")
    assert "'astrology' is no task of the catalogue; they are: search," in ended.err


def test_a_model_for_another_task_is_advised_against_and_not_refused(tmp_path, monkeypatch):
    from semsearch.encoder import load

    opened, tiny = load.load_encoder, str(tiny_model(tmp_path / "model"))
    monkeypatch.setattr(load, "load_encoder", lambda name, **options: opened(tiny, **options))
    ended = run("index", corpus(tmp_path), "-m", "LaBSE")
    assert (ended.code, ended.out) == (0, "added 40, changed 0, unchanged 0, skipped 0\n")
    assert "sentence-transformers/LaBSE was trained to compare texts of one kind (bitext)" in ended.err
    assert run("index", tmp_path / "notes.jsonl", "--name", "other", "-m", "all-MiniLM-L6-v2").err.startswith(
        "made the collection 'other' in "
    )
