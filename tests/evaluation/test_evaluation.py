"""The measures against their definitions, the statistics against enumeration, TREC's files there and back."""

import builtins
import gzip
import itertools
import json
import math
import random
import shutil
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.command_line import corpus, run, tiny_model
from support.fakes import HashEncoder

import semsearch
from semsearch.errors import DataError, MissingDependency, UsageError
from semsearch.evaluation import known_items as by_itself
from semsearch.evaluation import metrics as evaluation
from semsearch.evaluation.judgements import read_qrels, read_queries, read_run, write_run
from semsearch.evaluation.known_items import known_items
from semsearch.evaluation.leave_one_out import leave_one_out
from semsearch.evaluation.metrics import MEASURES, asked, chance, interval, scored
from semsearch.types import Document


def by_definition(ranked, grades):
    """Each measure of one ranking, written out."""
    gains = [max(grades.get(document, 0), 0) for document in ranked]
    relevant = sum(grade > 0 for grade in grades.values())
    ideal = sorted((grade for grade in grades.values() if grade > 0), reverse=True)[:10]
    found = [place for place, gain in enumerate(gains, start=1) if gain > 0]
    return {
        "nDCG@10": sum(g / math.log2(p + 1) for p, g in enumerate(gains[:10], 1))
        / sum(g / math.log2(p + 1) for p, g in enumerate(ideal, 1)),
        "MRR@10": next((1 / place for place in found if place <= 10), 0.0),
        "MAP": sum(number / place for number, place in enumerate(found, start=1)) / relevant,
        "R@10": sum(place <= 10 for place in found) / relevant,
        "R@100": sum(place <= 100 for place in found) / relevant,
        "success@1": float(bool(found and found[0] == 1)),
    }


def test_the_measures_are_as_defined():
    rng = random.Random(0)
    qrels = {f"q{i}": {f"d{rng.randrange(150)}": rng.choice([-1, 0, 1, 2, 3]) for _ in range(30)} for i in range(20)}
    documents = [f"d{i}" for i in range(150)]
    ranked = {query: rng.sample(documents, 120) for query in qrels}
    found = scored({q: {d: 1 / (p + 1) for p, d in enumerate(order)} for q, order in ranked.items()}, qrels)
    assert list(found.values) == list(MEASURES)
    for place, query in enumerate(asked(qrels)):
        for measure, value in by_definition(ranked[query], qrels[query]).items():
            assert found.values[measure][place] == pytest.approx(value, abs=1e-6), (measure, query)


def test_judged_and_not_answered_counts_nothing_and_the_unjudged_is_left_out():
    qrels = {"a": {"x": 1}, "b": {"y": 2}, "none": {"x": 0}}
    found = scored({"a": {"x": 1.0}, "none": {"x": 1.0}, "stranger": {"x": 1.0}}, qrels)
    assert asked(qrels) == ["a", "b"]
    assert found.values["nDCG@10"].tolist() == [1.0, 0.0]
    assert (found.unanswered, found.mean("MRR@10")) == (1, 0.5)
    assert scored({}, qrels).mean("MAP") == 0
    with pytest.raises(UsageError, match="nothing to measure"):
        asked({"none": {"x": 0}})


def test_an_interval_holds_the_mean_and_narrows():
    values = np.random.default_rng(1).random(400)
    low, high = interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert interval(values) == (low, high)
    assert interval(values, seed=1) != (low, high)
    assert interval(np.ones(5)) == (1.0, 1.0)


def test_chance_is_the_share_of_all_signs():
    rng = np.random.default_rng(2)
    values, others = rng.random(10), rng.random(10) - 0.1
    differences = values - others
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product((-1, 1), repeat=10)]
    exact = np.mean(np.array(sums) >= abs(differences.sum()) - 1e-9)
    assert chance(values, others) == pytest.approx(exact, abs=0.015)
    assert chance(values, others) == chance(others, values)
    assert chance(values, values) == 1.0
    assert chance(np.ones(50), np.zeros(50)) == pytest.approx(1 / (evaluation.DRAWS + 1))


@pytest.mark.slow
def test_chance_is_fair():
    """Of runs that differ by nothing but noise, 5 % look different."""
    rng = np.random.default_rng(3)
    found = [chance(rng.random(30), rng.random(30), seed) for seed in range(200)]
    assert 0.01 <= np.mean(np.array(found) < 0.05) <= 0.1


names = st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=8)
runs = st.dictionaries(
    names, st.dictionaries(names, st.floats(-1e6, 1e6), min_size=1, max_size=5), min_size=1, max_size=4
)


@pytest.mark.slow
@given(found=runs)
def test_a_run_there_and_back(tmp_path_factory, found):
    path = tmp_path_factory.mktemp("run") / "x.trec"
    write_run(path, found, "x")
    assert read_run(path) == found
    for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
        assert len(line.split(" ")) == 6


def test_runs_may_be_packed(tmp_path):
    with gzip.open(tmp_path / "x.trec.gz", "wt") as file:
        file.write("q1 Q0 d1 1 2.5 x\n\nq1\tQ0\td2\t2\t1e-3\tx\n")
    assert read_run(tmp_path / "x.trec.gz") == {"q1": {"d1": 2.5, "d2": 0.001}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("q Q0 d 1 2.5 x\nq Q0 d 2 1.5 x\n", "line 2: document 'd' is there twice"),
        ("q Q0 d 1 high x\n", "line 1: expected query, Q0"),
        ("q Q0 d 1 nan x\n", "line 1"),
        ("q d 1\n", "line 1"),
        ("\n", "holds no run"),
    ],
)
def test_what_is_no_run(tmp_path, content, said):
    (tmp_path / "x").write_text(content)
    with pytest.raises(DataError, match=said):
        read_run(tmp_path / "x")


def test_ids_that_a_run_cannot_hold(tmp_path):
    with pytest.raises(UsageError, match="white space"):
        write_run(tmp_path / "x", {"q": {"a b": 1.0}}, "x")
    assert not (tmp_path / "x").exists()


def test_topics(tmp_path):
    (tmp_path / "topics.tsv").write_text("1\twhat is it\n2\twhy\n")
    assert read_queries(tmp_path / "topics.tsv") == {"1": "what is it", "2": "why"}
    for content, said in (("1 what\n", "line 1"), ("1\ta\n1\tb\n", "line 2: the query '1' is there twice"), ("", "no")):
        (tmp_path / "topics.tsv").write_text(content)
        with pytest.raises(DataError, match=said):
            read_queries(tmp_path / "topics.tsv")


def test_without_the_library(monkeypatch):
    importing = builtins.__import__

    def without(name, *rest):
        if name.startswith("ir_measures"):
            raise ImportError(name)
        return importing(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependency, match=r"pip install 'semsearch\[eval\]'"):
        scored({}, {"a": {"x": 1}})


# The command


@pytest.fixture
def judged(tmp_path):
    """A collection of forty documents, and a folder with judged queries: on each subject, all of its documents."""
    path = corpus(tmp_path)
    assert run("index", path, "-m", tiny_model(tmp_path / "model")).code == 0
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    queries = {"q0": "bread", "q1": "bicycle", "q2": "ocean whale", "q3": "zzz", "unjudged": "guitar"}
    (folder / "queries.jsonl").write_text(
        "".join(json.dumps({"_id": key, "text": text}) + "\n" for key, text in queries.items())
    )
    lines = [f"q{i}\td{number}\t1" for i in range(4) for number in range(i, 40, 5)]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join([*lines, "q9\td1\t0"]) + "\n")
    return folder


@pytest.mark.slow
def test_json_has_the_documented_shape(judged):
    ended = run("eval", "notes", judged, "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert list(found) == ["schema", "queries", "runs"]
    assert found["queries"] == 4
    assert list(found["runs"]) == ["dense", "lexical", "hybrid"]
    for name, figures in found["runs"].items():
        assert list(figures)[:6] == list(MEASURES)
        for measure in MEASURES:
            low, high = figures["intervals"][measure]
            assert low <= figures[measure] <= high
        assert ("p" in figures) == (name != "dense")
        assert figures["left_out"] == 1
    # three queries name their subject, and eight documents of each are all that words find; nothing matches zzz
    assert found["runs"]["lexical"]["R@10"] == pytest.approx(3 / 4)
    assert found["runs"]["lexical"]["nDCG@10"] == pytest.approx(3 / 4)
    assert found["runs"]["lexical"]["unanswered"] == 1


def test_runs_written_score_the_same_alone(judged, tmp_path):
    ended = run("eval", "notes", judged, "--json", "--run-out", tmp_path / "runs")
    first = json.loads(ended.out)["runs"]
    files = sorted((tmp_path / "runs").iterdir())
    assert [file.name for file in files] == ["dense.trec", "hybrid.trec", "lexical.trec"]
    wanted = [part for file in files for part in ("--run", file)]
    for arguments in ([judged, *wanted], ["--qrels", judged / "qrels" / "test.tsv", *wanted]):
        ended = run("eval", *arguments, "--json", "--baseline", "dense")
        assert ended.code == 0, ended.err
        assert {run: figures["nDCG@10"] for run, figures in json.loads(ended.out)["runs"].items()} == {
            run: figures["nDCG@10"] for run, figures in first.items()
        }


def test_a_table_and_one_run_in_one_file(judged, tmp_path):
    ended = run("eval", "notes", judged, "--mode", "dense", "--run-out", tmp_path / "one.trec", "--exact")
    assert ended.code == 0, ended.err
    assert [line.split("\t")[:2] for line in ended.lines] == [[measure, "dense"] for measure in MEASURES]
    assert "4 queries, 1 without a relevant document left out" in ended.err
    assert set(read_run(tmp_path / "one.trec")) == {"q0", "q1", "q2", "q3"}


def test_queries_and_judgements_as_trec_has_them(judged, tmp_path):
    (tmp_path / "topics.tsv").write_text("q0\tbread\nq1\tbicycle\n")
    (tmp_path / "judged.qrels").write_text("q0 0 d0 2\nq1 0 d1 1\nq5 0 d1 1\n")
    ended = run(
        "eval", "notes", "--queries", tmp_path / "topics.tsv", "--qrels", tmp_path / "judged.qrels", "--mode", "lexical"
    )
    assert ended.code == 0, ended.err
    assert "3 queries" in ended.err
    assert "lexical has no answer to 1 of them" in ended.err


def test_a_reranker_is_measured_beside(judged, monkeypatch):
    class Backwards:
        def score(self, query, texts):
            return -np.arange(len(texts))[::-1].astype(np.float32)

    monkeypatch.setattr("semsearch.reranker.load.load_reranker", lambda *_, **__: Backwards())
    ended = run("eval", "notes", judged, "--mode", "lexical", "--rerank", "any", "--json")
    assert ended.code == 0, ended.err
    assert list(json.loads(ended.out)["runs"]) == ["lexical", "lexical+rerank"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["notes"], "judgements are needed"),
        (["--self"], "give its NAME"),
        (["notes", "{judged}", "--split", "dev"], "there are: test"),
        (["notes", "--self", "--drop-self"], "--drop-self leaves that one out"),
        (["notes", "{judged}", "--run", "one.trec", "--run", "two/one.run"], "two runs are called 'one'"),
        (["notes", "{judged}", "--run", "one.trec"], "one.trec can't be read"),
        (["notes", "--qrels", "{judged}/qrels/test.tsv"], "--queries FILE"),
        (["notes", "{judged}", "--baseline", "best"], "there is no run 'best'"),
        (["--qrels", "{judged}/qrels/test.tsv"], "nothing to measure"),
        (["notes", "{judged}/elsewhere"], "there is no folder"),
        (
            ["--qrels", "{judged}/qrels/test.tsv", "--run", "one.trec", "--run", "two/other.run"],
            "one.trec can't be read",
        ),
    ],
)
def test_what_is_missing_is_said_before_a_search(judged, monkeypatch, arguments, said):
    def never(*_, **__):
        raise AssertionError("searched")

    for where in ("metrics.answers", "known_items.encoded"):
        monkeypatch.setattr(f"semsearch.evaluation.{where}", never)
    ended = run("eval", *[argument.format(judged=judged) for argument in arguments])
    assert ended.code in (2, 3)
    assert said in ended.err


def test_by_itself_titles_ask(judged):
    ended = run("eval", "notes", "--self", "--json")
    assert ended.code == 0, ended.err
    assert "known-item search" in ended.err
    found = json.loads(ended.out)
    assert found["queries"] == 40
    assert found["runs"]["dense"]["R@100"] == 1
    with semsearch.open("notes") as collection:
        assert len(collection) == 40  # untouched


def test_titles_are_taken_out():
    with semsearch.create("titled", encoder=HashEncoder(8)) as collection:
        collection.add(
            [Document(f"d{i}", f"A title {i // 2} and text {i}", title=f"A title {i // 2}") for i in range(30)]
        )
        items = known_items(collection)
    assert items.queries == {f"d{i}": f"A title {i // 2}" for i in range(30)}
    assert items.qrels["d4"] == {"d4": 1, "d5": 1}  # both are called so
    assert [(one.id, one.title, one.text) for one in items.documents[:2]] == [
        ("d0", "", " and text 0"),
        ("d1", "", " and text 1"),
    ]


def test_sentences_are_taken_out(tmp_path):
    texts = [f"The first thing {i} said. A second thing {i} here. And a third thing {i}." for i in range(30)]
    with semsearch.create("untitled", encoder=HashEncoder(8)) as collection:
        collection.add([Document(f"d{i}", text) for i, text in enumerate(texts)])
        items = known_items(collection, seed=1)
        assert known_items(collection, seed=1) == items
        assert known_items(collection, seed=2) != items
        for document in items.documents:
            sentence = items.queries[document.id]
            original = texts[int(document.id[1:])]
            assert sentence in original
            assert sentence not in document.text
            assert len(document.text) + len(sentence) <= len(original)
        with by_itself.encoded(collection, items, tmp_path / "elsewhere") as sample:
            assert len(sample) == 30
            assert sample.encoder is collection.encoder


def test_nothing_to_ask_by_itself():
    with semsearch.create("short", encoder=HashEncoder(8)) as collection:
        collection.add([Document(f"d{i}", f"word {i}") for i in range(30)])
        with pytest.raises(UsageError, match="0 of 30"):
            known_items(collection)


# On real data

PUBLISHED = {
    "BM25": 0.5058,
    "SPLADE_P_P_ENSEMBLE_DISTIL": 0.7308,
    "D_BERT_KD_TASB": 0.7210,
    "OPEN_AI_ADA2": 0.7035,
}


@pytest.mark.real
def test_published_runs_get_their_published_figures(data):
    folder = data / "msmarco-dl19"
    files = [part for name in PUBLISHED for part in ("--run", folder / "runs" / f"{name}.trec")]
    ended = run("eval", folder, *files, "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["queries"] == 43
    assert {name: round(figures["nDCG@10"], 4) for name, figures in found["runs"].items()} == PUBLISHED
    assert read_qrels(folder / "qrels" / "test.tsv").keys() == read_run(files[1]).keys()


def test_measures_that_are_not_installed_are_told_before_a_search(judged, monkeypatch):
    def never(*_, **__):
        raise AssertionError("searched")

    monkeypatch.setattr("semsearch.evaluation.metrics.answers", never)
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    ended = run("eval", "notes", judged)
    assert ended.code == 2
    assert "ir-measures, which is not installed" in ended.err


# nDCG@10 of each way of searching; of test questions nothing was chosen (Cranfield's are development questions)
REACHED = {
    "scifact": {"dense": 0.682, "lexical": 0.689, "hybrid": 0.734},
    "nfcorpus": {"dense": 0.333, "lexical": 0.330, "hybrid": 0.365},
    "cranfield": {"dense": 0.513, "lexical": 0.5265, "hybrid": 0.573},
}


@pytest.mark.real
@pytest.mark.parametrize("corpus", ["nfcorpus", "cranfield", pytest.param("scifact", marks=pytest.mark.long)])
def test_words_and_meaning_together_find_more(encoded, data, corpus):
    home, collection = encoded(corpus)
    ended = run("eval", collection, data / corpus, "--home", home, "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)["runs"]
    assert {mode: found[mode]["nDCG@10"] for mode in REACHED[corpus]} == pytest.approx(REACHED[corpus], abs=0.002)
    assert found["hybrid"]["p"]["nDCG@10"] < 0.01


# Ties, and questions that are documents


def test_every_measure_breaks_ties_alike():
    """Of equal scores the greater id comes first, as trec_eval has it: nDCG, MRR and success see the same order."""
    qrels = {"q": {"b": 1}}
    for tied, first in (({"q": {"a": 1.0, "b": 1.0}}, True), ({"q": {"b": 1.0, "c": 1.0}}, False)):
        found = scored(tied, qrels)
        assert found.mean("success@1") == first
        assert found.mean("MRR@10") == (1.0 if first else 0.5)
        assert found.mean("nDCG@10") == pytest.approx(1.0 if first else 1 / np.log2(3))
    close = {"q": {"b": 0.5, "c": 0.5 + 1e-12}}  # one and the same number to trec_eval
    assert scored(close, qrels).mean("MRR@10") == 0.5
    assert scored({"q": {"b": 0.5 + 1e-12, "c": 0.5}}, qrels).mean("MRR@10") == 0.5


def test_a_question_that_is_a_document_does_not_answer_itself(tmp_path):
    texts = ["the cat sleeps", "a cat sleeps here", "dogs run far", "birds sing"]
    with semsearch.create("asked", encoder=HashEncoder(), home=tmp_path / "home") as made:
        made.add([Document(str(i), text) for i, text in enumerate(texts)])
    (tmp_path / "q.tsv").write_text("0\tthe cat sleeps\n2\tdogs run far\n")
    (tmp_path / "judged.qrels").write_text("0 0 1 1\n2 0 3 1\n")
    how = ("eval", "asked", "--queries", tmp_path / "q.tsv", "--qrels", tmp_path / "judged.qrels")
    how += ("--mode", "lexical", "--home", tmp_path / "home", "--json")
    with_self, without = (json.loads(run(*how, *more).out)["runs"]["lexical"] for more in ((), ("--drop-self",)))
    assert with_self["MRR@10"] == pytest.approx((1 / 2 + 0) / 2)
    assert without["MRR@10"] == pytest.approx((1 + 0) / 2)
    (tmp_path / "other.trec").write_text("0 Q0 0 1 2.0 x\n0 Q0 1 2 1.0 x\n2 Q0 3 1 1.0 x\n")
    with_file = ("eval", "--qrels", tmp_path / "judged.qrels", "--run", tmp_path / "other.trec", "--json")
    with_self, without = (json.loads(run(*with_file, *more).out)["runs"]["other"] for more in ((), ("--drop-self",)))
    assert with_self["MRR@10"] == pytest.approx((1 / 2 + 1) / 2)
    assert without["MRR@10"] == pytest.approx((1 + 1) / 2)
    (tmp_path / "judged.qrels").write_text("0 0 0 1\n0 0 1 1\n2 0 2 1\n")
    told = json.loads(run(*how, "--drop-self").out)
    assert told["queries"] == 1, "what is judged of itself alone has no answer"
    assert told["runs"]["lexical"]["R@100"] == 1.0
    assert told["runs"]["lexical"]["left_out"] == 1
    assert evaluation.without_self({"a": {"a": 2.0, "b": 1.0}}) == {"a": {"b": 1.0}}


def test_a_question_that_is_a_document_is_answered_as_deep_as_others(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "JUDGED_DEPTH", 2)
    with semsearch.create("asked", encoder=HashEncoder(), home=tmp_path) as made:
        made.add([Document(str(i), f"the cat {'sleeps ' * (4 - i)}") for i in range(4)])
        asked = {"0": "the cat sleeps sleeps sleeps sleeps", "other": "the cat sleeps sleeps sleeps sleeps"}
        found = evaluation.answers(made, asked, {"mode": "dense"}, drop_self=True)
        assert "0" not in found["0"]
        assert {query: len(docs) for query, docs in found.items()} == {"0": 2, "other": 2}


# What is chosen on some collections, and what it is worth on another


def test_a_choice_is_made_on_all_other_collections():
    figures = {
        "a": {"x": np.array([0.9, 0.9]), "y": np.array([0.6, 0.4])},
        "b": {"x": np.array([0.2]), "y": np.array([0.4])},
        "c": {"x": np.array([0.3, 0.3, 0.3]), "y": np.array([0.4, 0.4, 0.4])},
    }
    found = leave_one_out(figures)
    # without a: 0.2 + 0.3 for x, 0.4 + 0.4 for y; without b: 0.9 + 0.3, 0.5 + 0.4; without c: 0.9 + 0.2, 0.5 + 0.4
    assert [(one.name, one.chosen, one.best) for one in found] == [("a", "y", "x"), ("b", "x", "y"), ("c", "x", "y")]
    assert [one.values.mean() for one in found] == pytest.approx([0.5, 0.2, 0.3])
    equal = leave_one_out({name: {"x": np.ones(1), "y": np.ones(1)} for name in "ab"})
    assert [one.chosen for one in equal] == ["x", "x"]
    with pytest.raises(UsageError, match="takes two at least"):
        leave_one_out({"a": figures["a"]})


@pytest.fixture
def two_judged(judged):
    """A second collection and its folder beside those of `judged`, by the names of the folders."""
    other = judged.parent / "other"
    shutil.copytree(judged, other)
    for name in ("beir", "other"):
        assert run("index", judged.parent / "notes.jsonl", "--name", name, "-m", judged.parent / "model").code == 0
    return judged, other


@pytest.mark.slow
def test_a_table_of_collections_that_had_no_part_in_a_choice(two_judged):
    ended = run("eval", "--leave-one-out", *two_judged, "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)["left_out"]
    assert list(found) == ["beir", "other"]
    for name, folder in zip(found, two_judged, strict=True):
        (alone,) = json.loads(run("eval", name, folder, "--mode", "hybrid", "--json").out)["runs"].values()
        figures = found[name]
        assert set(figures["choices"]) == {
            "dense", "lexical", "hybrid", *(f"weight 0.{tenth}" for tenth in range(1, 10))
        }  # fmt: skip
        assert figures["choices"]["hybrid"] == pytest.approx(alone["nDCG@10"])
        assert figures["nDCG@10"] == figures["choices"][figures["chosen"]]
        assert figures["choices"][figures["best"]] == max(figures["choices"].values())
        low, high = figures["interval"]
        assert low <= figures["nDCG@10"] <= high
    rows = [line.split("\t") for line in run("eval", "--leave-one-out", *two_judged).lines]
    assert [row[0] for row in rows] == ["beir", "other", "mean"]
    assert rows[0][1:3] == [found["beir"]["chosen"], f"{found['beir']['nDCG@10']:.4f}"]
    mean = (found["beir"]["nDCG@10"] + found["other"]["nDCG@10"]) / 2
    assert rows[2][1:3] == ["", f"{mean:.4f}"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--leave-one-out", "{judged}"], "takes two at least"),
        (["--leave-one-out", "{judged}", "{judged}"], "two folders are called 'beir'"),
        (["--leave-one-out", "{judged}", "elsewhere"], "there is no folder elsewhere"),
        (["--leave-one-out", "{judged}", "{judged}/qrels"], "there are: none"),
        (["notes", "{judged}", "{judged}"], "takes one FOLDER: several are for --leave-one-out"),
        (["--leave-one-out", "{judged}", "x", "--self"], "--leave-one-out asks collections and judgements"),
        (["--leave-one-out", "{judged}", "x", "--drop-self", "--run-out", "r"], "leave out --drop-self and --run-out"),
    ],
)
def test_what_can_not_be_left_out_is_said(judged, arguments, said):
    ended = run("eval", *[argument.format(judged=judged) for argument in arguments])
    assert ended.code in (2, 3, 4)
    assert said in ended.err
