"""The benchmark of quality, with a tiny model: figures against `semsearch eval`, scipy, and counts made by hand."""

import csv
import gzip
import importlib
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from support.command_line import SUBJECTS, run, tiny_model

import semsearch

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "corpora" / "samples"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def quality(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("quality")


@pytest.fixture
def measured(quality, model, monkeypatch, capsys, tmp_path):
    """`measured("--parts", "sts")`: what is printed, and the records."""
    monkeypatch.delenv("SEMSEARCH_DATA", raising=False)
    file = tmp_path / "out.jsonl"

    def measured(*arguments):
        file.unlink(missing_ok=True)
        called = ["quality.py", "--encoder", model, "--out", file, *arguments]
        monkeypatch.setattr(sys, "argv", [str(argument) for argument in called])
        quality.main()
        records = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        assert all(record["benchmark"] == "quality" and record["versions"] for record in records)
        return capsys.readouterr().out, records

    return measured


@pytest.mark.slow
def test_figures_are_those_of_eval_and_the_clean_queries_are_the_same(measured, tmp_path):
    home = tmp_path / "kept"
    said, records = measured("--parts", "retrieval", "noisy", "--cache", home)
    assert said.count("samples that are shipped") == 2
    (collection,) = (folder.name for folder in home.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    ended = run("eval", collection, SAMPLES, "--home", home, "--json")
    runs = json.loads(ended.out)["runs"]
    beside = json.loads(run("eval", collection, SAMPLES, "--home", home, "--json", "--baseline", "lexical").out)["runs"]
    ways = {record["way"]: record for record in records if record["part"] == "retrieval"}
    assert list(ways) == list(runs) == ["dense", "lexical", "hybrid"]
    better = max("dense", "lexical", key=lambda half: ways[half]["nDCG@10"])
    assert [record.get("against") for record in ways.values()] == [None, "dense", better]
    for way, record in ways.items():
        assert record["queries"] == 46
        assert record["nDCG@10"] == pytest.approx(runs[way]["nDCG@10"])
        assert record["R@100"] == pytest.approx(runs[way]["R@100"])
        against = {"dense": runs, "lexical": beside}.get(record.get("against"))
        assert record.get("p") == (against and pytest.approx(against[way]["p"]["nDCG@10"]))
        assert f"| {record['nDCG@10']:.4f} |" in said
    noisy = [record for record in records if record["part"] == "noisy"]
    assert [record["noise"] for record in noisy] == ["misspelt 20 %", "misspelt 50 %", "abbreviated", "paraphrased"]
    for record in noisy:
        assert 0 < record["changed"] <= record["queries"] == 46
        for mode, figures in record["modes"].items():
            assert figures["clean"] == pytest.approx(ways[mode]["nDCG@10"])
            assert figures["change"] == pytest.approx(figures["nDCG@10"] - figures["clean"])
    lexical = [record["modes"]["lexical"] for record in noisy]
    assert lexical[1]["nDCG@10"] < lexical[0]["nDCG@10"] < lexical[0]["clean"]  # more slips, fewer words that are found
    assert lexical[1]["p"] < 0.05


@pytest.mark.slow
def test_a_draw_is_the_same_each_time_and_another_with_another_seed(measured):
    first, again, other = (
        measured("--parts", "retrieval", "--queries", "10", "--seed", seed)[1] for seed in ("0", "0", "1")
    )
    assert [record["queries"] for record in first] == [10, 10, 10]
    assert first == again
    assert [record["MAP"] for record in first] != [record["MAP"] for record in other]


@pytest.mark.slow
def test_what_was_chosen_elsewhere_is_measured_where_it_was_not(measured, tmp_path):
    words = {name: one.split() for name, one in SUBJECTS.items()}
    for number, name in enumerate(("one", "two")):
        folder = tmp_path / name
        (folder / "qrels").mkdir(parents=True)
        texts = {f"d{i}": " ".join([*own[number : number + 4], "flour"]) for i, own in enumerate(words.values())}
        lines = [json.dumps({"_id": key, "title": "", "text": text}) for key, text in texts.items()]
        (folder / "corpus.jsonl").write_text("\n".join(lines))
        queries = {f"q{i}": f"{own[number]} flour" for i, own in enumerate(words.values())}
        lines = [json.dumps({"_id": key, "text": text}) for key, text in queries.items()]
        (folder / "queries.jsonl").write_text("\n".join(lines))
        lines = [f"q{i}\td{i}\t1" for i in range(len(words))]
        (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(lines))
    said, records = measured(
        "--parts", "choice", "--data", tmp_path, "--sets", "one", "two", "--cache", tmp_path / "home"
    )
    assert [record["data"] for record in records] == ["one", "two"]
    for record, other in zip(records, records[::-1], strict=True):
        assert record["queries"] == len(words)
        for name in ("weight", "factor"):
            elsewhere = other[name]["all"]
            assert elsewhere[record[name]["chosen"]] == max(elsewhere.values())
            assert record[name]["nDCG@10"] == record[name]["all"][record[name]["chosen"]]
        assert record["change"] == pytest.approx(record["factor"]["nDCG@10"] - record["weight"]["nDCG@10"])
        assert f"| {record['data']} | {len(words)} |" in said
    said, records = measured("--parts", "choice")
    assert "takes two at least" in said
    assert records == []


@pytest.mark.slow
def test_likeness_of_sentences_is_ranked_as_scipy_ranks_it(measured, model, tmp_path):
    stats = pytest.importorskip("scipy.stats")
    generator = np.random.default_rng(0)
    words = " ".join(SUBJECTS.values()).split()
    pairs = [(left, right) for left in words[::3] for right in words[::4]]
    judged = generator.integers(6, size=len(pairs)).astype(float)
    with gzip.open(tmp_path / "stsbenchmark.tsv.gz", "wt", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None)
        rows.writerow(["split", "score", "sentence1", "sentence2"])
        for score, pair in zip(judged, pairs, strict=True):
            rows.writerows([["test", score, *pair], ["train", 0.0, *pair]])
    _, records = measured("--parts", "sts", "--data", tmp_path)
    encoder = semsearch.load_encoder(str(model), dtype="float32")
    left, right = (encoder.encode_documents([pair[side] for pair in pairs]) for side in (0, 1))
    cosines = (left * right).sum(axis=1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)
    assert records[0]["dtype"] == "float32"
    assert records[0]["pairs"] == len(pairs)  # those of the test split
    assert records[0]["spearman"] == pytest.approx(100 * stats.spearmanr(cosines, judged).statistic, abs=0.1)


def test_translations_that_are_found_are_counted_each_way(measured, model, tmp_path):
    folder = tmp_path / "tatoeba"
    folder.mkdir()
    alike = [f"{first} {second}" for first, second in itertools.pairwise(SUBJECTS["garden"].split())]
    english, foreign = list(alike), [alike[1], alike[0], *alike[2:]]  # the same but for two that are exchanged
    # directions between two words: what stands nearest to the second foreign sentence is the first English one, and to
    # every English sentence its own
    for language, shares in ((foreign, (0, 4)), (english, (1, 9))):
        language += [" ".join(["flour"] * (10 - share) + ["wheel"] * share) for share in shares]
    (folder / "tatoeba.xxx-eng.xxx").write_text("\n".join(foreign) + "\n")
    (folder / "tatoeba.xxx-eng.eng").write_text("\n".join(english) + "\n")
    said, records = measured("--parts", "bitext", "--data", tmp_path, "--multilingual", model)
    (record,) = records
    assert (record["language"], record["pairs"]) == ("xxx", 9)
    assert (record["to_english"], record["from_english"]) == (6 / 9, 7 / 9)
    assert "| xxx | 9 | 0.667 | 0.778 | 0.722 |" in said


def test_what_is_lacking_is_said(measured, tmp_path):
    said, records = measured("--parts", "sts", "bitext")
    assert said.count("are not shipped") + said.count("is not shipped") == 2
    (tmp_path / "tatoeba").mkdir()
    said, more = measured("--parts", "bitext", "--data", tmp_path)
    assert "--multilingual MODEL" in said
    said, most = measured("--parts", "bitext", "--data", tmp_path, "--multilingual", tmp_path / "nothing")
    assert "Not measured: " in said
    assert records == more == most == []
