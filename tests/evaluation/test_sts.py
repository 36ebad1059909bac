"""Pairs of texts scored, and how that agrees with people: against scipy's own functions and figures by hand."""

import csv
import gzip
import json
import os
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from support.command_line import SUBJECTS, run, tiny_model

import semsearch
from semsearch.cli.main import cli
from semsearch.errors import DataError, DimensionMismatch, UsageError
from semsearch.evaluation.correlation import correlation, mean_correlation
from semsearch.evaluation.judged_pairs import PairFile
from semsearch.testing.encoder import HashEncoder

stats = pytest.importorskip("scipy.stats")
DATA = os.environ.get("SEMSEARCH_DATA")
WORDS = " ".join(SUBJECTS.values()).split()
LEFT, RIGHT = WORDS[:12], WORDS[3:15]
GOLD = [float(place % 5) for place in range(12)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("tiny"))


def test_correlations_are_those_of_scipy_with_ties():
    generator = np.random.default_rng(0)
    x, y = generator.integers(8, size=(2, 60)).astype(float)
    found = correlation(x, y)
    assert found.pairs == 60
    assert found.pearson == pytest.approx(stats.pearsonr(x, y).statistic)
    assert found.spearman == pytest.approx(stats.spearmanr(x, y).statistic)
    assert correlation(x, y) == found
    assert correlation(x, y, seed=1).pearson_interval != found.pearson_interval
    best = correlation(x, 2 * x + 1)
    assert (best.pearson, best.spearman) == pytest.approx((1, 1))
    assert best.pearson_interval == pytest.approx((1, 1))


def test_an_interval_is_about_what_fisher_foretells():
    """Of normal pairs artanh r is normal with the standard deviation 1/√(n - 3)."""
    generator = np.random.default_rng(2)
    x = generator.standard_normal(400)
    y = x + generator.standard_normal(400)
    found = correlation(x, y)
    middle, width = np.arctanh(found.pearson), 1.96 / np.sqrt(397)
    assert found.pearson_interval == pytest.approx((np.tanh(middle - width), np.tanh(middle + width)), abs=0.02)
    low, high = found.spearman_interval
    assert low < found.spearman < high


def test_the_mean_over_tasks_is_fishers():
    generator = np.random.default_rng(1)
    x = generator.standard_normal(50)
    tasks = [correlation(x, x + noise * generator.standard_normal(50)) for noise in (0.1, 1, 3)]
    mean = mean_correlation(tasks)
    assert mean.pairs == 150
    assert mean.pearson == pytest.approx(np.tanh(np.mean([np.arctanh(one.pearson) for one in tasks])))
    assert mean.spearman == pytest.approx(np.tanh(np.mean([np.arctanh(one.spearman) for one in tasks])))
    assert mean.pearson > np.mean([one.pearson for one in tasks])  # those near 1 count for more
    low, high = mean.pearson_interval
    assert low < mean.pearson < high
    assert high - low < max(one.pearson_interval[1] - one.pearson_interval[0] for one in tasks)
    assert mean_correlation({"one": tasks[0]}).pearson == pytest.approx(tasks[0].pearson)
    opposite = mean_correlation([replace(tasks[0], pearson=1.0), replace(tasks[0], pearson=-1.0)])
    assert opposite.facts()["pearson"] is None  # there is none
    with pytest.raises(UsageError, match="no task"):
        mean_correlation([])


@pytest.mark.parametrize(
    ("scores", "gold", "error", "says"),
    [
        ([1, 2, 3], [1, 2], UsageError, "3 scores and 2 judgements"),
        ([1, 2], [1, 2], UsageError, "takes 3 pairs"),
        ([1, 1, 1], [1, 2, 3], DataError, "the scores are all 1"),
        ([1, 2, 3], [0, 0, 0], DataError, "the judgements are all 0"),
        ([1, np.nan, 3], [1, 2, 3], DataError, "number 1 of the scores is NaN"),
        ([1, 2, 3], ["a", "b", "c"], DataError, "must be numbers"),
        ([[1, 2, 3]], [1, 2, 3], DataError, "the shape"),
    ],
)
def test_what_has_no_correlation_is_refused(scores, gold, error, says):
    with pytest.raises(error, match=says):
        correlation(scores, gold)


def test_similarity_of_texts_and_of_vectors(model):
    encoder = semsearch.load_encoder(str(model))
    a, b = (encoder.encode_documents(side).astype(float) for side in (LEFT, RIGHT))
    cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    for given in (str(model), encoder):
        assert semsearch.similarity(LEFT, RIGHT, encoder=given) == pytest.approx(cosines, abs=1e-5)
    assert semsearch.similarity(a, b) == pytest.approx(cosines, abs=1e-5)
    assert semsearch.similarity(a, b, metric="l2") == pytest.approx(-((a - b) ** 2).sum(axis=1), abs=1e-3)
    one = semsearch.similarity(LEFT[0], iter(RIGHT), encoder=encoder)
    assert one == pytest.approx(semsearch.similarity([LEFT[0]] * 12, RIGHT, encoder=encoder))
    assert semsearch.similarity([], [], encoder=encoder).shape == (0,)
    assert semsearch.similarity(np.empty((0, 3)), np.ones((1, 3))).shape == (0,)


@pytest.mark.parametrize("compute", [None, "cpu", 3])
def test_what_is_no_compute_is_refused(compute):
    for applied in (semsearch.similarity, partial(semsearch.sts, gold=[1.0, 2.0])):
        with pytest.raises(UsageError, match=r"compute must be a Compute, as in Compute\(device='cpu'\), not"):
            applied(np.eye(2), np.eye(2), compute=compute)


@pytest.mark.parametrize("seed", [None, -1, "x", 1.5, object()])
def test_what_is_no_seed_of_intervals_is_refused(seed):
    with pytest.raises(UsageError, match="seed must be"):
        semsearch.sts(np.eye(3), np.eye(3), [1.0, 2.0, 3.0], seed=seed)


def test_what_is_no_encoder_is_refused():
    with pytest.raises(UsageError, match="an object lacks encode_documents, encode_queries"):
        semsearch.similarity(["a"], ["b"], encoder=object())


def test_similarity_refuses_what_does_not_pair():
    with pytest.raises(UsageError, match="2 and 3"):
        semsearch.similarity(np.eye(2), np.eye(3))
    with pytest.raises(UsageError, match="one side has texts"):
        semsearch.similarity(["a"], np.eye(2))
    for odd in (3, None):
        with pytest.raises(UsageError, match="text 1 is no text but"):
            semsearch.similarity(["a", "b"], ["a", odd])
    with pytest.raises(DimensionMismatch, match="2 and of 3"):
        semsearch.similarity(np.eye(2), np.eye(3)[:2])
    with pytest.raises(DataError, match="NaN"):
        semsearch.similarity(np.eye(2) * np.nan, np.eye(2))


def test_sts_in_python_and_from_frames(model):
    scores = semsearch.similarity(LEFT, RIGHT, encoder=str(model))
    found = semsearch.sts(LEFT, RIGHT, GOLD, encoder=str(model))
    assert found.spearman == pytest.approx(stats.spearmanr(scores, GOLD).statistic)
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    for library in (pd, pl):
        frame = library.DataFrame({"a": LEFT, "b": RIGHT, "score": GOLD})
        assert semsearch.sts(frame["a"], frame["b"], frame["score"], encoder=str(model)) == found


def written(path, rows, *, names=("sentence1", "sentence2", "score")):
    if ".jsonl" in path.name:
        text = "".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
        return path
    with path.open("w", newline="") as file:
        plain = {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None} if path.suffix == ".tsv" else {}
        csv.writer(file, **plain).writerows([names, *rows])
    return path


@pytest.mark.parametrize("name", ["p.csv", "p.tsv", "p.jsonl", "p.jsonl.gz"])
def test_pairs_are_read_from_every_kind_of_file(tmp_path, name):
    rows = [('said "so", once', 'x "y', 1.5), ("ÿ", "ж", 2.0), ("a", "b", 0.0)]
    path = written(tmp_path / name, rows)
    assert PairFile().read(path) == tuple(map(list, zip(*rows, strict=True)))
    assert PairFile(gold="nosuch").read(path, judged=False)[2] == []
    named = written(
        tmp_path / f"o{name}", [(*row, place) for place, row in enumerate(rows)], names=("A", "B", "C", "split")
    )
    found = PairFile("B", "A", "C", split="1").read(named) if name.endswith("sv") else None
    assert found is None or found == (["ж"], ["ÿ"], [2.0])


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.csv", "x,y\n1,2\n", "line 2: there is no column of these: sentence1"),
        ("a.csv", "sentence1,sentence2,score\na,b\n", "line 2: the row has 2 fields, where the header has 3"),
        ("a.csv", "sentence1,sentence2,score\na,b,high\n", "line 2: 'score' must hold a number, and holds 'high'"),
        ("a.csv", "sentence1,sentence2,score\na,b,nan\n", "must hold a number"),
        ("a.csv", "sentence1,sentence2,score\na, ,1\n", "'sentence2' must hold a text"),
        ("a.csv", 'sentence1,sentence2,score\n"a,b,1\n', "say --quotes no"),
        ("a.csv", "", "holds no pairs"),
        ("a.jsonl", '{"first": 3, "second": "x", "score": 1}\n', "line 1: 'first' must hold a text"),
        ("a.jsonl", "{]\n", "line 1"),
        ("a.tsv", "sentence1\tsentence2\tscore\nÿ\t\ud800", "UTF-8"),
    ],
)
def test_what_is_no_pair_is_named_by_its_line(tmp_path, name, text, says):
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(DataError, match=says):
        PairFile().read(tmp_path / name)


def test_a_split_that_is_not_there_names_those_that_are(tmp_path):
    path = written(tmp_path / "p.csv", [("a", "b", 1, "dev")], names=("sentence1", "sentence2", "score", "split"))
    with pytest.raises(DataError, match="the split 'test'; there are: dev"):
        PairFile(split="test").read(path)
    with pytest.raises(UsageError, match="must end in"):
        PairFile().read(tmp_path / "p.xlsx")
    with pytest.raises(DataError, match="can't be read"):
        PairFile().read(tmp_path / "nothing.csv")


def test_sts_on_the_command_line(tmp_path, model):
    one = written(tmp_path / "one.csv", list(zip(LEFT, RIGHT, GOLD, strict=True)))
    other = written(tmp_path / "other.jsonl", list(zip(RIGHT, LEFT[::-1], GOLD, strict=True)))
    ended = run("sts", one, "-m", model, "--json")
    assert ended.code == 0
    found = json.loads(ended.out)
    expected = semsearch.sts(LEFT, RIGHT, GOLD, encoder=str(model)).facts()
    assert found["tasks"] == {"one": expected}
    assert found["mean"] is None
    ended = run("sts", one, other, "-m", model, "--json")
    mean = json.loads(ended.out)["mean"]
    each = [task["spearman"] for task in json.loads(ended.out)["tasks"].values()]
    assert mean["spearman"] == pytest.approx(np.tanh(np.arctanh(each).mean()))
    assert [line.split("\t")[0] for line in run("sts", one, other, "-m", model).lines] == [
        "one",
        "other",
        "mean (Fisher z)",
    ]
    assert json.loads(run("sts", one, "-m", model, "--json", "--quotes", "no").out)["tasks"]["one"] == expected
    assert "two tasks are called 'one'" in run("sts", one, one, "-m", model).err
    assert run("sts", tmp_path / "nothing.csv", "-m", model).code == 3
    assert run("sts").code == 2


def test_similarity_on_the_command_line(tmp_path, model):
    asked = ["similarity", "-m", model]
    ended = run(*asked, "oven", "dough", "chain")
    assert ended.code == 0
    scores = semsearch.similarity(["oven", "oven", "dough"], ["dough", "chain", "chain"], encoder=str(model))
    assert [line.split("\t")[1:] for line in ended.lines] == [["oven", "dough"], ["oven", "chain"], ["dough", "chain"]]
    assert [float(line.split("\t")[0]) for line in ended.lines] == pytest.approx(scores, abs=1e-4)
    (tmp_path / "a").write_text("oven\n\nwave\n")
    (tmp_path / "b").write_text("dough\ntide\nwheel")
    ended = run(*asked, "--lines", tmp_path / "a", tmp_path / "b", "--json")
    assert [json.loads(line)["second"] for line in ended.lines] == ["dough", "tide", "wheel"]
    path = written(tmp_path / "p.csv", list(zip(LEFT, RIGHT, GOLD, strict=True)))
    assert run(*asked, "--pairs", path, "--out", tmp_path / "o.tsv").code == 0
    lines = (tmp_path / "o.tsv").read_text().splitlines()
    assert lines[0] == "score\tfirst\tsecond"
    assert [line.split("\t")[1] for line in lines[1:]] == LEFT
    (tmp_path / "short").write_text("oven\n")
    for wrong, says in (
        ([], "what is to be compared"),
        (["oven"], "with nothing"),
        (["oven", "x", "--pairs", path], "what is to be compared"),
        (["--lines", tmp_path / "a", tmp_path / "short"], "3 and 1"),
        (["--pairs", path, "--out", tmp_path / "o.tsv"], "is there already"),
    ):
        ended = run(*asked, *wrong)
        assert ended.code == 2
        assert says in ended.err


@pytest.mark.parametrize("holding", ["first", "second"])
def test_a_text_that_is_none_is_named_by_its_line(tmp_path, model, holding):
    (tmp_path / "good").write_text("oven\ndough\n")
    (tmp_path / "bad").write_text("oven\ndo\0ugh\n")
    sides = [tmp_path / ("bad" if side == holding else "good") for side in ("first", "second")]
    pair = [{"sentence1": "oven", "sentence2": "oven", "score": 1}, {"sentence1": "x", "sentence2": "x", "score": 2}]
    pair[1]["sentence1" if holding == "first" else "sentence2"] = "do\0ugh"
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pair)))
    for asked in (
        ("similarity", "-m", model, "--lines", *sides),
        ("bitext", *sides, "-m", model, "--xsim"),
        ("bitext", tmp_path / "good", tmp_path / "good", "-m", model, "--learn", *sides),
        ("bitext", *sides, "-m", model),
        ("similarity", "-m", model, "--pairs", tmp_path / "pairs.jsonl"),
        ("sts", "-m", model, tmp_path / "pairs.jsonl"),
    ):
        ended = run(*asked)
        assert (ended.code, ended.out) == (3, ""), asked
        assert re.search(r"(bad|pairs.jsonl), line 2: .* holds a NUL character \(at 2\), which no text has", ended.err)
    texts = [["oven", "dough"], ["oven", "dough"]]
    texts[holding == "second"][1] = "do\0ugh"
    with pytest.raises(DataError, match=r"text 1 holds a NUL character \(at 2\)"):
        semsearch.similarity(*texts, encoder=str(model))


def test_advice_on_an_encoding_can_be_followed(tmp_path, model):
    """Whoever reads no other encoding names those that do."""
    for name, content in (("cp1252", "gr\xfcn\n".encode("cp1252")), ("utf-16", "grün\n".encode("utf-16"))):
        lines, table = tmp_path / f"{name}.txt", tmp_path / f"{name}.csv"
        lines.write_bytes(content)
        table.write_bytes("sentence1,sentence2,score\ngrün,grün,1\n".encode(name))
        for asked in (
            ("similarity", "-m", model, "--lines", lines, lines),
            ("similarity", "-m", model, "--pairs", table),
            ("sts", "-m", model, table),
            ("bitext", lines, lines, "-m", model),
            ("bitext", lines, lines, "-m", model, "--xsim"),
        ):
            ended = run(*asked)
            assert ended.code == 3
            assert f"convert the file to UTF-8 (iconv -f {name} -t utf-8), or let" in ended.err
            (able,) = re.findall(r"or let (.*) read it as it is \(--read encoding=", ended.err)
            for command in re.split(", | or ", able):
                assert any("--read" in parameter.opts for parameter in cli.commands[command].params), command


def test_an_encoder_that_gives_no_vectors_is_refused():
    class Odd(HashEncoder):
        def __init__(self, vectors):
            super().__init__(4)
            self.vectors = vectors

        def encode_documents(self, texts):
            return self.vectors

    for vectors, says in (
        (None, "the encoder's vectors must be an array of numbers"),
        ("x", "the encoder's vectors must be an array of numbers"),
        (np.ones((2, 3)), r"the encoder's vectors must have the shape \(n, 4\)"),
        (np.ones((3, 4)), "the encoder gave 3 vectors for 2 texts"),
        (np.full((2, 4), np.nan), "row 0 of the encoder's vectors holds NaN"),
    ):
        with pytest.raises(DataError, match=says):
            semsearch.similarity(["a"], ["b"], encoder=Odd(vectors))


@pytest.mark.real
@pytest.mark.skipif(DATA is None, reason="SEMSEARCH_DATA names no folder of data sets")
def test_the_default_model_has_the_figure_that_was_published_for_it():
    first, second, gold = PairFile(split="test").read(Path(str(DATA)) / "stsbenchmark.tsv.gz")
    assert 100 * semsearch.sts(first, second, gold).spearman == pytest.approx(82.03, abs=0.1)
