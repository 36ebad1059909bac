"""`semsearch train --reranker`: by the same split and the same guard as an encoder."""

import json
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from support import synonyms

import semsearch
from semsearch.errors import StorageError, UsageError
from semsearch.training import reranker_training, run_folder, written
from semsearch.training.judged import Judged
from semsearch.training.mining import MinedCandidates
from semsearch.training.reranker_training import train_reranker
from semsearch.training.sources import TrainingSources
from semsearch.training.train import Recipe, Trainer, TrainingSet

RECIPE = Recipe(steps=6, batch=4, negatives=2, depth=12, rerank=12, evaluations=2, checkpoint=2, max_length=32)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A home with a collection that tests copy."""
    home = tmp_path_factory.mktemp("made")
    base = synonyms.base(tmp_path_factory.mktemp("base") / "tiny")
    with semsearch.create("deep", encoder=str(base), home=home, index="exact") as collection:
        collection.add(synonyms.documents())
    return home


def reranked(home, sources, out, **options):
    options = {"kind": "cross-encoder", "force": True, "recipe": RECIPE, **options}
    with semsearch.open("deep", home=home) as collection:
        return train_reranker(collection, sources, out, **options)


def placed(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def learnt_from(home, sources, out, monkeypatch):
    """What a reranker is given to learn from and to choose by, and what it is measured on."""
    seen = []
    mine, split = reranker_training.mine, reranker_training.compared

    def mined(judged, *arguments, **options):
        seen.append(judged)
        return mine(judged, *arguments, **options)

    def compared(before, after, questions):
        seen.append(questions)
        return split(before, after, questions)

    monkeypatch.setattr(reranker_training, "mine", mined)
    monkeypatch.setattr(reranker_training, "compared", compared)
    reranked(home, sources, out, kind="adapter")
    return seen


def test_what_was_clicked_teaches_no_held_out_question(home, judged, tmp_path, monkeypatch):
    log = tmp_path / "clicks.jsonl"
    entries = [
        {"query": text, "shown": [f"d{number}"], "clicked": [f"d{number}"]}
        for number, text in enumerate(synonyms.questions().values())
    ]
    log.write_text("\n".join(map(json.dumps, entries)), "utf-8")
    given, test = learnt_from(home, TrainingSources(*judged, clicks=log), tmp_path / "out", monkeypatch)
    learnt = {given.queries[one] for one in given.training}
    held = {given.queries[one] for one in given.held_out} | set(test.texts.values())
    assert learnt
    assert not learnt & held
    answers = {row for one in given.training for row in given.relevant(one)}
    assert not answers & {row for one in given.held_out for row in given.relevant(one)}


def test_an_answer_that_is_withheld_fills_no_group(tmp_path):
    """Neither found nor drawn at random, where too little is found."""
    ids = ("answer", "withheld", "copy", "other")
    judged = Judged("toy", ids, ids, ("?",), ({0: 1},), (0,), (), {0: frozenset({1, 2})})
    rows, none = np.array([[1, 0, 2]]), np.zeros((4, 1), dtype=np.float32)
    mined = MinedCandidates(rows, np.ones((1, 3), dtype=np.float32), none[:1], none).without(judged.withheld)
    assert mined.rows.tolist() == [[0, -1, -1]]
    for seed in range(5):
        ((query, (first, *others)),) = TrainingSet(judged, mined).groups(
            np.random.default_rng(seed), replace(RECIPE, batch=1, negatives=6)
        )
        assert (query, first, set(others)) == (0, 0, {3})


def test_an_answer_that_is_withheld_is_no_negative(home, judged, tmp_path, monkeypatch):
    """Questions that share their answers with held-out ones: such a document answers them nevertheless."""
    queries, qrels = judged
    lines = [f"q{number}\td{number - number % 11 + (number + 1) % 11}\t1\n" for number in range(synonyms.COUNT)]
    qrels.write_text(qrels.read_text("utf-8") + "".join(lines), "utf-8")
    groups = []
    taken = reranker_training.TrainingSet.groups

    def kept(self, *arguments):
        found = taken(self, *arguments)
        groups.extend((self.judged.queries[query], [self.judged.ids[row] for row in rows]) for query, rows in found)
        return found

    monkeypatch.setattr(reranker_training.TrainingSet, "groups", kept)
    reranked(home, TrainingSources(queries, qrels), tmp_path / "out", recipe=replace(RECIPE, steps=60, depth=60))
    number = {text: int(one[1:]) for one, text in synonyms.questions().items()}
    assert groups
    for text, documents in groups:
        own = number[text]
        right = {f"d{own}", f"d{own - own % 11 + (own + 1) % 11}"}
        assert documents[0] in right
        assert not right & set(documents[1:])


def test_who_is_killed_while_a_reranker_is_put_out_puts_it_out_again(home, judged, tmp_path, monkeypatch):
    sources = TrainingSources(*judged)
    whole = reranked(home, sources, tmp_path / "whole")
    writing, places, steps, step = written.written, [], [], Trainer._train

    @contextmanager
    def killed(target):
        places.append(target.name)
        if places.count(target.name) == 1 and target.name in ("config.json", "tokenizer.json"):
            raise KeyboardInterrupt
        with writing(target) as part:
            yield part

    def counted(self, number):
        steps.append(number)
        return step(self, number)

    monkeypatch.setattr(run_folder, "written", killed)
    monkeypatch.setattr(Trainer, "_train", counted)
    for last in ("config.json", "tokenizer.json"):
        with pytest.raises(KeyboardInterrupt):
            reranked(home, sources, tmp_path / "part")
        assert places[-1] == last
    part = reranked(home, sources, tmp_path / "part")
    assert len(steps) == RECIPE.steps, "it was trained once"
    assert (part.folder, part.verdict, part.weight) == (tmp_path / "part", whole.verdict, whole.weight)
    ours, theirs = placed(tmp_path / "part"), placed(tmp_path / "whole")
    assert ours.keys() == theirs.keys()
    assert all(ours[name] == theirs[name] for name in ours if name.endswith(".safetensors"))
    with pytest.raises(UsageError, match="not empty"):
        reranked(home, sources, tmp_path / "part")


def test_a_run_goes_on_with_the_same_options_alone(home, judged, tmp_path, monkeypatch):
    def killed(self, number):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_train", killed)
    with pytest.raises(KeyboardInterrupt):
        reranked(home, TrainingSources(*judged), tmp_path / "out")
    with pytest.raises(UsageError, match=r"begun otherwise \(kind\)"):
        reranked(home, TrainingSources(*judged), tmp_path / "out", kind="adapter")
    queries, qrels = judged
    qrels.write_text(qrels.read_text("utf-8").replace("q3\td3\t", "q3\td4\t"), "utf-8")
    with pytest.raises(UsageError, match=r"begun otherwise \(questions\)"):
        reranked(home, TrainingSources(queries, qrels), tmp_path / "out")


def test_two_do_not_train_a_reranker_in_one_folder(home, judged, tmp_path):
    (tmp_path / "out" / "training").mkdir(parents=True)
    with (
        run_folder.alone(tmp_path / "out" / "training"),
        pytest.raises(semsearch.CollectionLocked, match="another process trains"),
    ):
        reranked(home, TrainingSources(*judged), tmp_path / "out")


def test_a_loss_that_is_no_number_keeps_the_last_good_state_of_a_reranker(home, judged, tmp_path, monkeypatch):
    gradient, calls = Trainer._gradient, []

    def spoilt(self, step):
        calls.append(step)
        return float("nan") if step == 4 else gradient(self, step)

    monkeypatch.setattr(Trainer, "_gradient", spoilt)
    lines = []
    found = reranked(home, TrainingSources(*judged), tmp_path / "out", say=lines.append)
    assert any("no number at step 5" in line and "lower rate" in line for line in lines), lines
    assert calls[-1] == 4
    model = semsearch.load_reranker(str(found.folder), device="cpu")
    assert model.score("cat dog", ["runs sleeps", "the city"]).shape == (2,)


def test_a_full_disk_is_told_and_the_reranker_goes_on(home, judged, tmp_path, monkeypatch):
    save, calls = torch.save, []

    def full(state, path):
        calls.append(path)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        save(state, path)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(StorageError, match=r"No space left.*make room"):
        reranked(home, TrainingSources(*judged), tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.part"))
    lines = []
    reranked(home, TrainingSources(*judged), tmp_path / "out", say=lines.append)
    assert "going on from step 2." in lines


def test_the_documents_themselves_teach_no_reranker(home, judged, tmp_path):
    with pytest.raises(UsageError, match="leave --self or --reranker out"):
        reranked(home, TrainingSources(*judged, by_itself=True), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_none_is_told_before_anything_is_read(home, judged, tmp_path):
    (tmp_path / "out").write_text("mine", "utf-8")
    with pytest.raises(UsageError, match="is no folder"):
        reranked(home, TrainingSources(*judged), tmp_path / "out")


def test_the_time_of_a_reranker_is_told_beforehand(home, judged, tmp_path):
    lines = []
    reranked(home, TrainingSources(*judged), tmp_path / "out", say=lines.append)
    told = next(place for place, line in enumerate(lines) if line.startswith("6 steps, "))
    assert "s each here" in lines[told]
    assert told < next(place for place, line in enumerate(lines) if line.startswith("step 2 of"))
