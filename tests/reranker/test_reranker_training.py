"""`semsearch train-reranker`: data, mining, learning, resuming, and the folder that comes out."""

import json
import shutil
import warnings
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import tiny
from support.command_line import run
from support.fakes import HashEncoder
from support.judged import beir

import semsearch
from semsearch import load_reranker
from semsearch.encoder.tokenization import load_tokenizer
from semsearch.errors import DataError, UsageError
from semsearch.training.held_out import WEIGHTS, by_text, chosen_weight, evaluate, measured
from semsearch.training.judged import read_judged
from semsearch.training.mining import MinedCandidates, mine
from semsearch.training.run_folder import finish_deleting
from semsearch.training.train import Recipe, Trainer, TrainingSet

RECIPE = Recipe(steps=6, batch=2, negatives=3, depth=12, max_length=24, evaluations=2, rerank=8, checkpoint=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return beir(tmp_path_factory.mktemp("data") / "toy")


@pytest.fixture(scope="module")
def task(data):
    judged = read_judged(data, "train", 3, 0)
    return TrainingSet(judged, mine(judged, HashEncoder(), RECIPE.depth))


def trainer(base, task, out, recipe=RECIPE):
    return Trainer(base, load_tokenizer(base), [task], recipe, out, torch.device("cpu"), lambda line: None)


# ---- data -----------------------------------------------------------------------------------------------------------


def test_queries_are_held_out_and_only_the_split_is_read(data):
    judged = read_judged(data, "train", 3, 0)
    assert len(judged.training) + len(judged.held_out) == len(judged.queries) == 12
    assert not set(judged.training) & set(judged.held_out)
    assert len(judged.held_out) == 2  # a fifth at most
    assert [row for row in judged.relevant(0)] == list(range(0, 60, 6))
    with pytest.raises(DataError, match="no judgements to train on"):
        read_judged(data, "dev", 3, 0)


def test_judgements_of_documents_that_are_not_there_do_not_count(data, tmp_path):
    folder = beir(tmp_path / "other")
    (folder / "qrels" / "train.tsv").write_text("q0\tgone\t1\nq1\td3\t1\nq2\td4\t0\nq3\td5\t1\nq3\tgone\t1\n", "utf-8")
    judged = read_judged(folder, "train", 1, 0)
    assert [dict(grades) for grades in judged.grades] == [{3: 1}, {5: 1}]
    (folder / "qrels" / "train.tsv").write_text("q0\tgone\t1\nq1\td3\t1\n", "utf-8")
    with pytest.raises(DataError, match="has 1 queries"):
        read_judged(folder, "train", 1, 0)


@pytest.mark.slow
@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(0, 2**31))
@settings(max_examples=60)
def test_held_out_rankings_are_measured_as_trec_does(data, grades, seed):
    rng = np.random.default_rng(seed)
    judged = {row: grade for row, grade in enumerate(grades) if rng.random() < 0.8}
    judged.setdefault(0, 1)
    if not any(judged.values()):
        judged[0] = 1
    ranking = rng.permutation(len(grades)).tolist()
    discounts = 1 / np.log2(np.arange(2, 12))
    gains = [judged.get(row, 0) for row in ranking[:10]]
    ideal = sorted(judged.values(), reverse=True)[:10]
    ndcg = (gains @ discounts[: len(gains)]) / (ideal @ discounts[: len(ideal)])
    first = next((1 / place for place, gain in enumerate(gains, 1) if gain > 0), 0.0)
    one = replace(read_judged(data, "train", 3, 0), grades=(judged,))
    assert measured(one, {0: ranking}) == pytest.approx((ndcg, first), abs=1e-9)


# ---- mining ---------------------------------------------------------------------------------------------------------


def test_candidates_are_the_nearest_documents(data, tmp_path):
    judged, encoder = read_judged(data, "train", 3, 0), HashEncoder()
    found = mine(judged, encoder, 12, mode="dense", cache=tmp_path / "kept.npz")
    scores = encoder.encode_queries(judged.queries) @ encoder.encode_documents(judged.texts).T
    assert np.array_equal(found.rows, np.argsort(-scores, axis=1, kind="stable")[:, :12])
    assert np.allclose(found.similarities(2, [5, 7]), scores[2, [5, 7]], atol=1e-6)
    assert np.allclose(found.scores, -np.sort(-scores, axis=1)[:, :12], atol=1e-6)
    calls = encoder.calls
    again = mine(judged, encoder, 12, cache=tmp_path / "kept.npz")
    assert encoder.calls == calls
    assert np.array_equal(again.rows, found.rows)


def test_candidates_are_what_a_collection_answers(data):
    judged, encoder = read_judged(data, "train", 3, 0), HashEncoder()
    with semsearch.create("toy", encoder=encoder) as collection:
        documents = zip(judged.ids, judged.texts, strict=True)
        collection.add([semsearch.Document(identity, text) for identity, text in documents])
        for mode in ("dense", "lexical", "hybrid"):
            asked, made = (mine(judged, encoder, 12, mode=mode, collection=one) for one in (collection, None))
            assert np.array_equal(asked.rows, made.rows)
            assert np.allclose(asked.scores, made.scores)
    with semsearch.create("other", encoder=encoder) as collection:
        collection.add([semsearch.Document("x", "the cat")])
        with pytest.raises(DataError, match="finds no document of toy"):
            mine(judged, encoder, 12, collection=collection)


def test_groups_begin_with_the_relevant_passage_and_hold_no_other(task):
    recipe = replace(RECIPE, batch=8, negatives=4)
    seen = set()
    for seed in range(20):
        for query, rows in task.groups(np.random.default_rng(seed), recipe):
            assert query in task.judged.training
            assert task.judged.grades[query][rows[0]] > 0
            assert len(rows) == 5
            assert all(task.judged.grades[query].get(row, 0) == 0 for row in rows[1:])
            seen.update(row for row in rows[1:] if row in task.judged.grades[query])
    assert seen  # judged negatives are among them


# ---- what the reranker counts ---------------------------------------------------------------------------------------


def gains(*figures):
    return [*figures, *[0.0] * (len(WEIGHTS) - len(figures))]


def test_the_weight_is_the_best_that_harms_no_data_set():
    assert chosen_weight({"one": gains(0.5, 0.6, 0.8, 0.7)}) == 0.2
    assert chosen_weight({"one": gains(0.5, 0.6, 0.9), "other": gains(0.5, 0.5, 0.49)}) == 0.1
    assert chosen_weight({"one": gains(0.5, 0.49), "other": gains(0.5, 0.9)}) == 0.0
    assert chosen_weight({"one": gains(0.5, 0.5, 0.6, 0.6)}) == 0.2, "of equals the smallest"
    assert chosen_weight({"one": gains(0.5)}) == 0.0


class Knowing:
    """A reranker that has read the judgements, or has them upside down."""

    def __init__(self, judged, sign):
        self.relevant = {(judged.queries[q], judged.texts[row]) for q in judged.held_out for row in judged.relevant(q)}
        self.sign = sign

    def score(self, query, texts):
        return [self.sign * ((query, text) in self.relevant) for text in texts]


def test_held_out_queries_say_what_a_reranker_is_worth(task):
    good = evaluate(by_text(Knowing(task.judged, 1)), [(task.judged, task.candidates)], 3, 12)
    assert good.blended["toy"][0] > good.before["toy"][0]
    assert good.blended["toy"][0] >= good.after["toy"][0]
    assert good.weight > 0
    assert good.score == good.blended["toy"][0]
    bad = evaluate(by_text(Knowing(task.judged, -1)), [(task.judged, task.candidates)], 3, 12)
    assert (bad.weight, bad.blended) == (0.0, bad.before)
    assert bad.after["toy"][0] < bad.before["toy"][0]


# ---- training -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_it_had_not_been(base, task, tmp_path, monkeypatch):
    whole = trainer(base, task, tmp_path / "whole")
    whole.run()
    part = trainer(base, task, tmp_path / "part")
    train = Trainer._train

    def killed(self, step):
        if step == 5:
            raise KeyboardInterrupt
        return train(self, step)

    monkeypatch.setattr(Trainer, "_train", killed)
    with pytest.raises(KeyboardInterrupt):
        part.run()
    monkeypatch.undo()
    again = trainer(base, task, tmp_path / "part")
    again.run()
    losses = [[entry["loss"] for entry in one.log if "loss" in entry] for one in (whole, again)]
    assert len(losses[0]) == 6
    assert losses[0] == losses[1]
    assert whole.evaluations == again.evaluations
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name
    with pytest.raises(UsageError, match="begun otherwise"):
        trainer(base, task, tmp_path / "part", replace(RECIPE, lr=1e-5)).run()


@contextmanager
def killed_at(owner, step):
    def killed(*_, **__):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012  (who calls says what)
        patch.setattr(owner, step, killed)
        yield


@pytest.mark.slow
def test_who_is_killed_when_the_model_is_in_its_place_has_the_run_or_the_model(base, task, tmp_path, monkeypatch):
    out = tmp_path / "out"
    first = trainer(base, task, out)
    first.run()
    with killed_at(Path, "rename"):
        first.finish("a card")
    again = trainer(base, task, out)
    steps = []
    monkeypatch.setattr(again, "_train", steps.append)
    again.run()
    assert steps == [], "it was trained once"
    with killed_at(shutil, "rmtree"):
        again.finish("a card")
    assert not (out / "training").exists(), "no part of a run, which would be trained anew"
    with pytest.raises(UsageError, match="nothing is to do"):
        finish_deleting(out)
    assert {"README.md", "config.json", "model.safetensors", "training.jsonl"} <= {path.name for path in out.iterdir()}
    assert not any(path.is_dir() for path in out.iterdir())


@pytest.mark.slow
def test_it_learns_what_the_judgements_say(base, task, tmp_path):
    recipe = replace(RECIPE, steps=60, batch=8, lr=5e-3, teacher=0, rerank=12, evaluations=1, checkpoint=60)
    learning = trainer(base, task, tmp_path, recipe)
    learning.run()
    first, last = learning.evaluations
    assert last.after["toy"][0] > first.after["toy"][0] + 0.1
    assert last.after["toy"][0] > last.before["toy"][0] + 0.1


@pytest.mark.slow
def test_the_teacher_alone_is_followed(base, task, tmp_path):
    """An encoder that shuns what the judgements call relevant, with the whole loss: its order is learnt, not theirs."""
    judged = task.judged
    shuns = np.array([["vaccines" not in text] for text in judged.texts], np.float32)
    rows = np.argsort(-shuns[:, 0], kind="stable")[None].repeat(len(judged.queries), 0)
    task = TrainingSet(
        judged,
        MinedCandidates(rows, -rows.argsort().astype(np.float32), np.ones((len(judged.queries), 1), np.float32), shuns),
    )
    recipe = replace(RECIPE, steps=60, batch=8, lr=5e-3, teacher=1, evaluations=1, checkpoint=60)
    learning = trainer(base, task, tmp_path, recipe)
    losses = [entry["loss"] for entry in learning.run() if "loss" in entry]
    assert np.mean(losses[-8:]) < 0.8 * np.mean(losses[:4])


def test_pairs_are_scored_in_their_order(base, task, tmp_path):
    one = trainer(base, task, tmp_path)
    one.model.eval()
    one.short = False
    pairs = [(text, other) for text in tiny.TEXTS for other in tiny.TEXTS]
    with torch.no_grad():
        together = one._logits(one.windows.pieces(pairs)[0])
        alone = torch.cat([one._logits(one.windows.pieces([pair])[0]) for pair in pairs])
    assert torch.allclose(together, alone, atol=1e-6)
    assert together.std() > 1e-4


def test_bad_recipes():
    with pytest.raises(UsageError, match="teacher is 2"):
        Recipe(teacher=2)
    with pytest.raises(UsageError, match="steps is 0"):
        Recipe(steps=0)


# ---- the command ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_ends_in_a_folder_that_all_open(base, data, tmp_path):
    out = tmp_path / "out"
    options = ["--model", base, "--steps", 4, "--batch", 2, "--max-length", 30, "--held-out", 2, "--depth", 10]
    ended = run("train-reranker", data, "--out", out, *options)
    assert ended.code == 0, ended.err
    assert "toy held out: nDCG@10" in ended.err
    weight = json.loads((out / "config.json").read_text("utf-8"))["semsearch"]["rerank_weight"]
    assert load_reranker(str(out)).weight == weight
    assert ("so it counts nothing beside it" if weight == 0 else f"counts {weight:.0%}, which it will") in ended.err
    assert not (out / "training").exists()
    card = (out / "README.md").read_text("utf-8")
    assert "| toy | train | 60 | 10 | 2 | 100% |" in card
    assert "base_model:" in card
    assert f"weight\nis **{weight:g}**" in card
    log = [json.loads(line) for line in (out / "training.jsonl").read_text("utf-8").splitlines()]
    assert [entry["step"] for entry in log if "step" in entry] == [1, 2, 3, 4]
    from sentence_transformers import CrossEncoder

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = CrossEncoder(str(out), device="cpu", local_files_only=True)
    ours = load_reranker(str(out), dtype="float32", device="cpu")
    pairs = [("why do vaccines work", text) for text in ("the cat", "vaccines work", "water boils")]
    assert np.allclose(ours.predict(pairs), theirs.predict(pairs), atol=1e-6)
    assert ours.window == 27
    again = run("train-reranker", data, "--out", out, *options)
    assert (again.code, "not empty: give another folder" in again.err) == (2, True)
    assert run("train-reranker", data, "--out", out, "--resume", *options).code == 2


def test_what_the_command_refuses(base, data, tmp_path):
    both = run("train-reranker", data, "--out", tmp_path / "o", "--steps", 3, "--epochs", 1)
    assert (both.code, "give one of them" in both.err) == (2, True)
    count = run("train-reranker", data, "--out", tmp_path / "o", "--collection", "a", "--collection", "b")
    assert (count.code, "one for each" in count.err) == (2, True)
    twice = run("train-reranker", data, data, "--out", tmp_path / "o")
    assert (twice.code, "the same name" in twice.err) == (2, True)
    split = run("train-reranker", data, "--out", tmp_path / "o", "--split", "dev")
    assert (split.code, "no judgements" in split.err) == (3, True)
    assert not (tmp_path / "o").exists()
