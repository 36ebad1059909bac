"""The benchmark of a collection's own indexes: its figures against figures computed here, its choices by definition."""

import json
import re
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.backends import BUILT_IN
from support.command_line import run

import semsearch
from semsearch import Document
from semsearch.bench.measure import MeasureTask, measured
from semsearch.bench.run import Plan, bench, builds, pareto, recommended
from semsearch.errors import MissingDependency, UsageError
from semsearch.search.recall import NOT_STORED, draw_sample
from semsearch.search.truth import Truth
from semsearch.types import Metric
from semsearch.vectors import brute_force, normalise


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A folder as a measuring process finds it: 500 vectors and 40 queries with their true neighbours."""
    folder = tmp_path_factory.mktemp("stored")
    generator = np.random.default_rng(0)
    vectors = normalise(generator.standard_normal((500, 16)).astype(np.float32))
    queries = normalise(generator.standard_normal((40, 16)).astype(np.float32))
    keys = np.arange(500) * 3 + 1
    truth = brute_force(keys, vectors, queries, 10, Metric.COSINE)
    arrays = {"keys": keys, "vectors": vectors, "queries": queries}
    for name, array in {**arrays, "truth_keys": truth.keys, "truth_scores": truth.scores}.items():
        np.save(folder / f"{name}.npy", array)
    return folder


@pytest.mark.parametrize("backend", BUILT_IN)
def test_a_build_is_measured_along_its_knob(stored, backend):
    task = MeasureTask(str(stored), backend, {}, "cosine", 10, threads=1, seconds=0.001, rounds=1, bare=True)
    lines = list(measured(task))
    recalls = [line["recall"] for line in lines]
    assert recalls[-1] >= 0.999  # the ladder reaches everything in so small an index
    assert all(0 <= recall <= 1 for recall in recalls)
    for line in lines:
        assert line["build_s"] > 0
        assert line["disk_bytes"] >= 0
        assert 0 < line["p50_ms"] <= line["p95_ms"] <= line["p99_ms"]
        assert line["p50_ms"] == pytest.approx(np.median(line["latencies_ms"]), abs=1e-3)
        assert line["qps_ratio"] == pytest.approx(line["qps"] / line["bare_qps"])
        assert line["single_ratio"] == pytest.approx(line["bare_p50_ms"] / line["p50_ms"])
    assert (lines[0]["knob"] is None) == (backend == "exact")


def test_the_recall_on_synthetic_queries_is_that_of_the_worse_kind(tmp_path):
    vectors = normalise(np.random.default_rng(0).standard_normal((300, 16)).astype(np.float32))
    truth = Truth(np.arange(300), vectors, Metric.COSINE)
    sample = draw_sample(truth.neighbors, 10, truth.synthetic, count=50)
    scores = sample.truth.scores + 2 * (sample.own == NOT_STORED)[:, None]  # so that nothing found counts for them …
    keys = np.where((sample.own == NOT_STORED)[:, None], 1000, sample.truth.keys)  # … and none is right
    arrays = {"keys": np.arange(300), "vectors": vectors, "queries": sample.queries, "own": sample.own}
    for name, array in {**arrays, "truth_keys": keys, "truth_scores": scores}.items():
        np.save(tmp_path / f"{name}.npy", array)
    task = MeasureTask(str(tmp_path), "exact", {}, "cosine", 10, threads=1, seconds=0.001, rounds=1, bare=False)
    assert [line["recall"] for line in measured(task)] == [0]


def test_every_installed_backend_is_tried():
    told = []
    assert {name for name, _ in builds(Plan(), Metric.COSINE, told.append)} == set(BUILT_IN)
    assert len(builds(Plan(quick=True), Metric.COSINE, told.append)) < len(builds(Plan(), Metric.COSINE, told.append))
    assert told == []


def test_a_missing_library_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "hnswlib", None)  # as if it were not installed
    told = []
    assert "hnsw" not in {name for name, _ in builds(Plan(), Metric.COSINE, told.append)}
    assert len(told) == 1
    assert told[0].startswith("hnsw is left out: the library 'hnswlib' is needed")
    with pytest.raises(MissingDependency, match=r"semsearch\[hnsw\]"):
        builds(Plan(backends=("hnsw",)), Metric.COSINE, told.append)


LINES = st.lists(
    st.fixed_dictionaries(
        {
            "threads": st.sampled_from([1, 2]),
            "recall": st.sampled_from([0.8, 0.9, 0.95, 1.0]),
            "qps": st.integers(1, 9),
            "p50_ms": st.integers(1, 9),
        }
    ),
    min_size=1,
    max_size=12,
)


@pytest.mark.slow
@given(LINES)
def test_nothing_on_the_front_is_beaten_and_all_else_is(lines):
    front = pareto(lines)
    assert front
    for place, line in enumerate(lines):
        better = [
            other
            for other in lines
            if other["threads"] == line["threads"]
            and other["recall"] >= line["recall"]
            and other["qps"] >= line["qps"]
            and (other["recall"] > line["recall"] or other["qps"] > line["qps"])
        ]
        assert (place in front) == (not better)


@pytest.mark.slow
@given(LINES, st.sampled_from([0.85, 0.95, 1.0]))
def test_the_fastest_that_reaches_the_recall_is_recommended(lines, recall):
    most = max(line["threads"] for line in lines)
    enough = [line["p50_ms"] for line in lines if line["threads"] == most and line["recall"] >= recall]
    best = recommended(lines, recall)
    assert (best is None) == (not enough)
    if best is not None:
        assert best["recall"] >= recall
        assert best["p50_ms"] == min(enough)


def test_too_few_passages_are_said(tmp_path):
    with semsearch.create("tiny", encoder=None, dim=8, home=tmp_path) as made:
        made.add([Document(f"d{i}", f"text {i}") for i in range(10)], np.eye(10, 8, dtype=np.float32) + 0.1)
    ended = run("bench", "tiny", "--home", tmp_path, "--quick", "--index", "hnsw")
    assert ended.code == 2
    assert "10 passages" in ended.err


@pytest.mark.slow
def test_from_the_command_line(tmp_path):
    home = tmp_path / "home"
    generator = np.random.default_rng(1)
    vectors = generator.standard_normal((300, 8)).astype(np.float32)
    with semsearch.create("few", encoder=None, dim=8, home=home) as made:
        made.add([Document(f"d{i}", f"text {i}") for i in range(300)], vectors)
        made.remove(["d7"])
    folder = tmp_path / "out"
    ended = run("bench", "few", "--home", home, "--quick", "--index", "hnsw", "--out", folder, "--apply", "--json")
    assert ended.code == 0, ended.err
    facts, *lines = [json.loads(line) for line in ended.out.splitlines()]
    assert (facts["rows"], facts["dim"], facts["source"]) == (299, 8, "synthetic")
    assert [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()] == [facts, *lines]
    page = (folder / "report.html").read_text()
    assert page.count("<svg") == 4
    assert page.count("<tr") == len(lines) + 1
    assert not re.search(r"(src|href)=[\"']?https?:", page)  # opens without a network
    assert {path.name for path in folder.glob("*.png")} == {"recall.png", "latency.png", "build.png", "memory.png"}
    assert "recommended for a recall of 0.95: hnsw" in ended.err
    with semsearch.open("few", home=home) as made:
        assert made.info()["index"]["backend"] == "hnsw"


def test_nothing_to_measure(tmp_path):
    with (
        semsearch.create("none", encoder=None, dim=8, home=tmp_path) as made,
        pytest.raises(UsageError, match="too little to measure on"),
    ):
        list(bench(*made.arrays(), Metric.COSINE, Plan(), None, print))
