"""`semsearch train`: what is learnt, kept, gone on with, published and refused."""

import json
import re
import shutil
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support import synonyms
from support.command_line import run
from support.encoder_checkpoints import peer_vectors

import semsearch
from semsearch import load_encoder
from semsearch.errors import DataError, StorageError, UsageError
from semsearch.training import encoder_training, run_folder, written
from semsearch.training.encoder_trainer import EncoderTrainer
from semsearch.training.hard_negatives import Miner
from semsearch.training.reranker_training import train_reranker
from semsearch.training.sources import TrainingSources
from semsearch.training.train import Recipe, Trainer
from semsearch.training.trainable import TrainableEncoder, TrainableHead

RECIPE = {"epochs": 4, "batch": 16, "lr": 1e-2, "seed": 1}
SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A transformer."""
    return synonyms.base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A static model, which learns in no time."""
    return synonyms.table(tmp_path_factory.mktemp("table") / "static")


@pytest.fixture(scope="module")
def made(base, table, tmp_path_factory):
    """Collections that tests copy, one by each model: their home."""
    home = tmp_path_factory.mktemp("made")
    for name, encoder in (("toy", table), ("deep", base)):
        with semsearch.create(name, encoder=str(encoder), home=home, index="exact") as collection:
            collection.add(synonyms.documents())
    return home


def trained(home, judged, out, way="head", **options):
    recipe = {**RECIPE, **options.pop("recipe", {})}
    queries, qrels = judged
    return semsearch.train(
        options.pop("name", "toy"),
        home=home,
        queries=queries,
        qrels=qrels,
        out=out,
        way=way,
        recipe=recipe,
        device="cpu",
        **options,
    )


def weights(folder):
    from safetensors.torch import load_file

    return {str(path.relative_to(folder)): load_file(path) for path in sorted(folder.rglob("*.safetensors"))}


def test_what_is_better_is_published_and_brought_in_and_out_again(home, judged, tmp_path):
    lines = []
    found = trained(home, judged, tmp_path / "out", "full", recipe={"lr": 0.1}, say=lines.append)
    assert found.folder == tmp_path / "out", (found.verdict, found.scores)
    assert found.verdict.startswith("better on the test questions")
    dense = found.comparison.differences[0].figures()
    assert dense[1] > dense[0] + 0.2
    assert dense[2] < 0.05
    assert any("questions to learn from" in line for line in lines)
    assert any("passes of" in line and "s each here" in line for line in lines), "the time is told beforehand"
    assert not (found.folder / "training").exists()
    card = (found.folder / "README.md").read_text("utf-8")
    assert "| dense | nDCG@10 |" in card
    encoder = load_encoder(str(found.folder), device="cpu", dtype="float32")
    texts = list(synonyms.questions().values())
    assert np.abs(encoder.encode_documents(texts) - peer_vectors(found.folder, texts)).max() < 2e-6
    with semsearch.open("toy", home=home) as collection:
        before = [hit.id for hit in collection.search("cat dog", k=5)]
    assert run("reencode", "toy", "--encoder", found.folder, "--home", home).code == 0
    with semsearch.open("toy", home=home) as collection:
        assert collection.encoder.fingerprint == encoder.fingerprint
        assert [hit.id for hit in collection.search("cat dog", k=5)] != before
    assert run("reencode", "toy", "--undo", "--encoder", found.folder, "--home", home).code == 2
    assert run("reencode", "toy", "--undo", "--home", home).code == 0
    with semsearch.open("toy", home=home) as collection:
        assert [hit.id for hit in collection.search("cat dog", k=5)] == before


@pytest.mark.parametrize(
    ("way", "name"),
    [
        ("head", "toy"),
        ("full", "toy"),
        pytest.param("lora", "deep", marks=SLOW),
        pytest.param("full", "deep", marks=SLOW),
    ],
)
def test_a_killed_run_goes_on_as_if_it_had_not_been(way, name, home, judged, tmp_path, monkeypatch):
    options = {"way": way, "name": name, "force": True, "recipe": {"epochs": 3, "checkpoint": 1, "patience": 9}}
    whole = trained(home, judged, tmp_path / "whole", **options)
    step = EncoderTrainer._step
    steps = []

    def killed(self, batch, number, count):
        steps.append(number)
        if len(steps) in (3, 6):
            raise KeyboardInterrupt
        return step(self, batch, number, count)

    monkeypatch.setattr(EncoderTrainer, "_step", killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            trained(home, judged, tmp_path / "part", **options)
    with pytest.raises(UsageError, match="begun otherwise"):
        trained(home, judged, tmp_path / "part", **{**options, "recipe": {"epochs": 3, "lr": 1e-5}})
    part = trained(home, judged, tmp_path / "part", **options)
    assert part.scores == whole.scores
    assert (part.best, part.share) == (whole.best, whole.share)
    entries = [json.loads(line) for line in (tmp_path / "part" / "training.jsonl").read_text("utf-8").splitlines()]
    assert {entry["share"] for entry in entries if "share" in entry} >= (
        {0.25, 0.5, 0.75, 1} if way == "head" else {0.5, 1}
    )
    assert max(np.diff(whole.scores)) > 0
    ours, theirs = weights(tmp_path / "part"), weights(tmp_path / "whole")
    assert ours.keys() == theirs.keys()
    for file, tensors in ours.items():
        assert all(torch.equal(tensor, theirs[file][name]) for name, tensor in tensors.items())


def test_who_is_killed_while_the_model_is_put_out_puts_it_out_again(home, judged, tmp_path, monkeypatch):
    options = {"way": "full", "recipe": {"epochs": 1}, "force": True}
    whole = trained(home, judged, tmp_path / "whole", **options)
    placed = sorted(str(path.relative_to(whole.folder)) for path in whole.folder.rglob("*"))
    writing = written.written
    places = []

    @contextmanager
    def killed(target):
        places.append(target.name)
        if places.count(target.name) == 1 and target.name in ("modules.json", "training.jsonl"):
            raise KeyboardInterrupt
        with writing(target) as part:
            yield part

    monkeypatch.setattr(run_folder, "written", killed)
    for last in ("modules.json", "training.jsonl"):
        with pytest.raises(KeyboardInterrupt):
            trained(home, judged, tmp_path / "part", **options)
        assert places[-1] == last
    part = trained(home, judged, tmp_path / "part", **options)
    assert (part.folder, part.verdict) == (tmp_path / "part", whole.verdict)
    assert sorted(str(path.relative_to(part.folder)) for path in part.folder.rglob("*")) == placed
    ours, theirs = weights(part.folder), weights(whole.folder)
    assert all(torch.equal(one, theirs[file][name]) for file, own in ours.items() for name, one in own.items())
    with pytest.raises(UsageError, match="not empty"):
        trained(home, judged, tmp_path / "part", **options)


@contextmanager
def killed_at(name, step):
    """Whoever calls `step` of a path's, or of `shutil`, on a folder of that name is killed."""
    owner = run_folder.Path if step == "rename" else run_folder.shutil
    done = getattr(owner, step)

    def killed(path, *rest, **how):
        if Path(path).name == name:
            raise KeyboardInterrupt
        return done(path, *rest, **how)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012  (who calls says what)
        patch.setattr(owner, step, killed)
        yield


@pytest.mark.parametrize("step", ["rename", "rmtree"])
def test_who_is_killed_when_the_model_is_out_finds_it_done_by_the_same_command(step, home, judged, tmp_path):
    options = {"way": "full", "recipe": {"epochs": 1}, "force": True}
    whole = trained(home, judged, tmp_path / "whole", **options)
    with killed_at({"rename": "training", "rmtree": "training.done"}[step], step):
        trained(home, judged, tmp_path / "part", **options)
    if step == "rename":
        part = trained(home, judged, tmp_path / "part", **options)
        assert (part.folder, part.verdict) == (tmp_path / "part", whole.verdict)
    else:
        with pytest.raises(UsageError, match=r"the model is in .*part already, and what was left of its run is gone"):
            trained(home, judged, tmp_path / "part", **options)
    names = {folder: sorted(path.name for path in (tmp_path / folder).iterdir()) for folder in ("part", "whole")}
    assert names["part"] == names["whole"]


@pytest.mark.parametrize("linked", [False, True])
def test_a_folder_of_somebody_elses_that_is_called_as_a_runs_is_not_deleted(linked, home, judged, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "thesis.txt").write_text("mine")
    out = tmp_path / "out"
    out.mkdir()
    if linked:
        (out / "training.done").symlink_to(own)
    else:
        own.rename(out / "training.done")
    with pytest.raises(UsageError, match="is there already and not empty"):
        trained(home, judged, out)
    assert (out / "training.done" / "thesis.txt").read_text() == "mine"


def test_the_time_is_told_of_all_that_will_be_done(home, judged, tmp_path, monkeypatch):
    """Five heads where all questions choose in turn, each asked at each share of each pass."""
    took, now = 0.05, [0.0]
    gradient, examples = TrainableHead.backward, Miner.examples

    def slowly(self, *arguments):
        now[0] += took
        return gradient(self, *arguments)

    def mined(self, *arguments):
        now[0] += took
        return examples(self, *arguments)

    def clock():
        now[0] += 1e-6  # that all else takes
        return now[0]

    monkeypatch.setattr(time, "perf_counter", clock)
    monkeypatch.setattr(TrainableHead, "backward", slowly)
    monkeypatch.setattr(Miner, "examples", mined)
    lines = []
    trained(home, judged, tmp_path / "out", recipe={"epochs": 3, "batch": 8}, say=lines.append)
    told = [line for line in lines if line.endswith("to train.")]
    assert len(told) == 1, "once, before the first of five"
    assert told[0].startswith("5 times at most 3 passes of")
    steps = int(re.search(r"passes of (\d+) steps", told[0])[1])
    assert int(re.search(r"some (\d+) s to train", told[0])[1]) >= int(5 * 3 * (steps + 1) * took)
    assert lines.index(told[0]) < min(place for place, line in enumerate(lines) if line.startswith("pass "))
    assert any(re.match(r"comparing on the test questions takes some \d+ s in the end", line) for line in lines)
    what = next(line for line in lines if "learns from them (--way head)" in line)
    assert str(tmp_path / "out") in what


def test_few_questions_choose_all_in_turn(home, judged, tmp_path):
    lines = []
    found = trained(home, judged, tmp_path / "out", say=lines.append)
    assert any("few questions: each of 4 parts" in line for line in lines)
    assert any(line.startswith("all parts together: dev nDCG@10") for line in lines)
    assert len(found.scores) == RECIPE["epochs"] + 1
    assert found.best, found.verdict
    trained_on = [line for line in lines if "loss" in line][-1]
    assert trained_on.startswith(f"pass {found.best} of"), "in the end all questions are learnt from"


def test_it_is_the_same_by_its_seed(home, judged, tmp_path):
    one, same, other = (
        trained(home, judged, tmp_path / name, recipe={"seed": seed}) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert one.scores == same.scores != other.scores


def test_a_loss_that_is_no_number_ends_it_with_the_last_good_state(home, judged, tmp_path, monkeypatch):
    gradient = EncoderTrainer._gradient
    calls = []

    def spoilt(self, batch, seed):
        calls.append(seed)
        return float("nan") if len(calls) == 8 else gradient(self, batch, seed)

    monkeypatch.setattr(EncoderTrainer, "_gradient", spoilt)
    lines = []
    found = trained(home, judged, tmp_path / "out", force=True, say=lines.append)
    assert any("no number at step" in line and "--lr" in line for line in lines)
    assert len(found.scores) >= 2
    if found.folder is not None:
        assert all(bool(torch.isfinite(one).all()) for own in weights(found.folder).values() for one in own.values())


def test_a_full_disk_is_told_and_the_same_call_goes_on(home, judged, tmp_path, monkeypatch):
    save = torch.save
    calls = []

    def full(state, path):
        calls.append(path)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        save(state, path)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(StorageError, match=r"No space left.*make room"):
        trained(home, judged, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.part"))
    lines = []
    assert trained(home, judged, tmp_path / "out", say=lines.append).scores
    assert any(line.startswith("going on from pass") for line in lines)


def test_what_is_written_is_there_whole_or_not_at_all(tmp_path):
    with written.written(tmp_path / "a") as part:
        part.write_text("one")
    with pytest.raises(StorageError, match="no room"):
        _interrupted(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def _interrupted(target):
    with written.written(target) as part:
        part.write_text("two")
        raise OSError("no room")


def test_two_do_not_train_in_one_folder(home, judged, tmp_path):
    (tmp_path / "out" / "training").mkdir(parents=True)
    with (
        run_folder.alone(tmp_path / "out" / "training"),
        pytest.raises(semsearch.CollectionLocked, match="another process trains"),
    ):
        trained(home, judged, tmp_path / "out")


def test_questions_out_of_the_documents_alone(table, tmp_path):
    rng = np.random.default_rng(0)
    documents = []
    for number, document in enumerate(synonyms.documents()):
        one, other = synonyms.questions()[f"q{number}"].split()
        body = " . ".join(" ".join(rng.permutation([*document.text.split(), "on"])) for _ in range(3))
        documents.append(semsearch.Document(f"d{number}", body, title=f"{one} of {other}"))
    with semsearch.create("toy", encoder=str(table), home=tmp_path / "home", index="exact") as collection:
        collection.add(documents)
        lines = []
        found = semsearch.train(
            collection, by_itself=True, out=tmp_path / "out", way="head", recipe=RECIPE, say=lines.append, device="cpu"
        )
    assert any("titles ask for the documents" in line for line in lines)
    assert found.scores


def test_judgements_clicks_and_documents_together(home, judged, tmp_path):
    log = tmp_path / "clicks.jsonl"
    entries = [
        {"query": f"{text} please", "shown": ["d0", f"d{number}"], "clicked": [f"d{number}"]}
        for number, text in enumerate(synonyms.questions().values())
    ]
    log.write_text("\n".join(map(json.dumps, entries)), "utf-8")
    found = trained(home, judged, tmp_path / "out", clicks=log, recipe={"epochs": 1})
    assert len(found.scores) == 2


def test_a_static_model_says_what_it_loses(home, judged, tmp_path):
    lines = []
    found = trained(
        home, judged, tmp_path / "out", "static", name="deep", recipe={"epochs": 2, "lr": 1e-2}, say=lines.append
    )
    assert found.folder is not None, found.verdict
    assert found.beside is not None
    assert any("follows its teacher to a mean cosine" in line for line in lines)
    assert "Beside its teacher" in (found.folder / "README.md").read_text("utf-8")
    encoder = load_encoder(str(found.folder), device="cpu", dtype="float32")
    assert encoder.modules == ("StaticEmbedding", "Normalize")
    texts = [*synonyms.questions().values(), "why do vaccines work"]
    assert np.abs(encoder.encode_documents(texts) - peer_vectors(found.folder, texts)).max() < 2e-6


def test_prompts_that_a_name_stood_for_are_written_down(base, tmp_path):
    named = shutil.copytree(base, tmp_path / "e5-small")
    student = TrainableEncoder(str(named), ["the cat"], ["a dog"], device="cpu")
    student.save(tmp_path / "mine")
    ours = load_encoder(str(tmp_path / "mine"), device="cpu", dtype="float32")
    assert (ours.prompts.query, ours.prompts.document) == ("query: ", "passage: ")
    assert np.abs(ours.encode_queries(["the cat"]) - peer_vectors(tmp_path / "mine", ["the cat"], "query")).max() < 2e-6


def test_a_bare_transformer_gets_the_layout_of_sentence_transformers(base, tmp_path):
    bare = shutil.copytree(base, tmp_path / "bare")
    for path in ("1_Pooling", "2_Normalize"):
        shutil.rmtree(bare / path)
    (bare / "modules.json").unlink()
    (bare / "sentence_bert_config.json").unlink()
    TrainableEncoder(str(bare), [], [], device="cpu").save(tmp_path / "mine")
    texts = list(synonyms.questions().values())[:4]
    ours = load_encoder(str(tmp_path / "mine"), device="cpu", dtype="float32").encode_documents(texts)
    assert np.abs(ours - peer_vectors(tmp_path / "mine", texts)).max() < 2e-6


# ---- what is no better, and what is no use --------------------------------------------------------------------------


def shuffled(seed):
    order = np.random.default_rng(seed).permutation(synonyms.COUNT)
    return lambda number: order[number]


BAD = {
    **{f"shuffled labels {seed}": shuffled(seed) for seed in range(8)},
    **{f"always document {number}": (lambda _, number=number: number) for number in (0, 7, 31)},
    **{f"mostly document {number}": (lambda one, number=number: number if one % 3 else one) for number in (5, 40)},
    **{f"one of {count} documents": (lambda one, count=count: one % count) for count in (2, 3, 5, 8)},
    "the next document": lambda number: (number + 33) % synonyms.COUNT,
}
COPIES = ("questions equal to documents", "questions nearly equal to documents")


@pytest.mark.parametrize("way", ["full", "head"])
@pytest.mark.parametrize("name", [*BAD, *COPIES])
def test_bad_labels_are_never_published_as_better(name, way, home, tmp_path):
    """Twenty inputs that nothing can be learnt from, and models on the way to what was learnt from them."""
    queries, qrels = synonyms.files(tmp_path / "judged", BAD.get(name))
    if name in COPIES:
        more = "" if name == COPIES[0] else " ."
        lines = [f"q{number}\t{document.text}{more}\n" for number, document in enumerate(synonyms.documents())]
        queries.write_text("".join(lines), "utf-8")
    try:
        found = trained(home, (queries, qrels), tmp_path / "out", way, recipe={"lr": 0.1 if way == "full" else 1e-2})
    except DataError as error:
        told = str(error)
    else:
        assert found.folder is None, found.verdict
        told = found.verdict
    reasons = (
        "one-sided",
        "word for word",
        "too few",
        "no questions are left",
        "published",
        "fewer than two questions",
    )
    assert any(reason in told for reason in reasons), told
    assert not (tmp_path / "out" / "modules.json").exists()


def test_there_are_twenty_bad_inputs():
    assert len(BAD) + len(COPIES) == 20


def test_force_publishes_what_is_not_better_and_says_so(home, tmp_path):
    judged = synonyms.files(tmp_path / "judged", shuffled(3))
    options = {"recipe": {"epochs": 2, "patience": 5}}
    found = trained(home, judged, tmp_path / "out", **options)
    if found.best == 0:
        assert "no pass was better" in found.verdict
    assert found.folder is None
    forced = trained(home, judged, tmp_path / "out", force=True, **options)
    assert forced.folder is not None
    assert forced.verdict.startswith("published by force")
    assert "Published by force" in (forced.folder / "README.md").read_text("utf-8")


# ---- the command ----------------------------------------------------------------------------------------------------


def test_the_command(home, judged, tmp_path):
    queries, qrels = judged
    options = ["--queries", queries, "--qrels", qrels, "--way", "head", "--epochs", 1, "--home", home]
    ended = run("train", "toy", *options, "--out", tmp_path / "out", "--lr", "1e-7")
    assert ended.code in (0, 1), ended.err
    assert "dev nDCG@10" in ended.err
    assert "to measure on, of judgements." in ended.err
    again = run("train", "toy", *options[:-4], "--epochs", 1, "--home", home, "--out", tmp_path / "judged")
    assert (again.code, "not empty" in again.err) == (2, True)


REFUSED = {
    "nothing to learn from": ([], 2, "nothing to learn from"),
    "half of the judgements": (["--queries", "{queries}"], 2, "need both"),
    "a test set of nothing": (["--self", "--test", "{qrels}"], 2, "--queries holds"),
    "a way for a reranker": (["--self", "--reranker", "--way", "head"], 2, "--way is for encoders"),
    "a kind of encoder": (["--self", "--kind", "adapter"], 2, "--kind is for rerankers"),
    "a share of no teacher": (["--self", "--teacher-share", "0.5"], 2, "give --teacher too"),
    "dims that are none": (["--self", "--dims", "a"], 2, "whole numbers"),
    "no titles": (["--self"], 3, "nothing to take questions from"),
    "a file that is not there": (["--clicks", "gone.jsonl"], 3, "gone.jsonl"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_the_command_refuses(name, home, judged, tmp_path):
    options, code, said = REFUSED[name]
    filled = [one.format(queries=judged[0], qrels=judged[1]) for one in options]
    ended = run("train", "toy", *filled, "--out", tmp_path / "out", "--home", home)
    assert (ended.code, said in ended.err) == (code, True), ended.err
    assert not (tmp_path / "out").exists()


def test_too_few_judgements_say_how_many_would_do(home, judged, tmp_path):
    queries, qrels = judged
    qrels.write_text("".join(qrels.read_text("utf-8").splitlines(keepends=True)[:20]), "utf-8")
    with pytest.raises(DataError, match=r"19 questions .* too few .* at least 40"):
        trained(home, (queries, qrels), tmp_path / "out")


@SLOW
def test_a_reranker_by_the_same_command(home, judged, tmp_path):
    queries, qrels = judged
    options = ["--queries", queries, "--qrels", qrels, "--reranker", "--home", home]
    refused = run("train", "toy", *options, "--out", tmp_path / "out")
    assert (refused.code, "a reranker takes a transformer" in refused.err) == (2, True)
    ended = run("train", "deep", *options, "--out", tmp_path / "out")
    assert ended.code in (0, 1), ended.err
    if ended.code == 0:
        assert semsearch.load_reranker(str(tmp_path / "out")).weight > 0
        assert "test questions, asked once" in (tmp_path / "out" / "README.md").read_text("utf-8")
    else:
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["training"]
    forced = run("train", "deep", *options, "--out", tmp_path / ("out" if ended.code else "forced"), "--force")
    assert forced.code == 0, forced.err
    assert ("held out nDCG@10" in forced.err) == (not ended.code), "what was not published is not trained anew"
    assert semsearch.load_reranker(str(tmp_path / ("out" if ended.code else "forced"))) is not None


def test_a_killed_reranker_goes_on_as_if_it_had_not_been(home, judged, tmp_path, monkeypatch):
    recipe = Recipe(steps=6, batch=4, negatives=2, depth=12, rerank=12, evaluations=2, checkpoint=2, max_length=32)

    def made(name):
        with semsearch.open("deep", home=home) as collection:
            options = {"kind": "cross-encoder", "force": True, "recipe": recipe}
            return train_reranker(collection, TrainingSources(*judged), tmp_path / name, **options)

    whole, train = made("whole"), Trainer._train
    steps = []

    def killed(self, step):
        steps.append(step)
        if len(steps) == 4:
            raise KeyboardInterrupt
        return train(self, step)

    monkeypatch.setattr(Trainer, "_train", killed)
    with pytest.raises(KeyboardInterrupt):
        made("part")
    part = made("part")
    assert steps == [0, 1, 2, 3, 2, 3, 4, 5], "from the last checkpoint"
    assert (part.verdict, part.weight) == (whole.verdict, whole.weight)
    ours, theirs = weights(tmp_path / "part"), weights(tmp_path / "whole")
    assert ours.keys() == theirs.keys()
    for file, tensors in ours.items():
        assert all(torch.equal(tensor, theirs[file][name]) for name, tensor in tensors.items())


def test_an_empty_collection_is_told(base, tmp_path):
    with (
        semsearch.create("none", encoder=str(base), home=tmp_path / "home") as collection,
        pytest.raises(DataError, match="is empty"),
    ):
        semsearch.train(collection, by_itself=True, out=tmp_path / "out")


def test_a_teacher_is_followed(home, judged, base, tmp_path):
    found = trained(home, judged, tmp_path / "out", teacher=str(base), recipe={"epochs": 1})
    assert len(found.scores) == 2
    with pytest.raises(UsageError, match="there are kl and margin"):
        trained(home, judged, tmp_path / "other", recipe={"teacher_loss": "none"})


def test_bad_recipes():
    good = encoder_training.EncoderRecipe()
    for wrong in ({"batch": 1}, {"epochs": 0}, {"lr": float("nan")}, {"dims": (0,)}, {"teacher": 2.0}):
        with pytest.raises(UsageError):
            replace(good, **wrong)
