"""The page of results is written from records alone, and tells what was not measured."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import results
import scale

pytestmark = pytest.mark.slow

FACTS = {
    "command": "python benchmarks/cold_start.py",
    "data": "the public data sets",
    "when": "2026-01-02",
    "machine": {"processor": "a processor", "cores": 2, "python": "3.11", "versions": {"torch": "2.13"}},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "HERE", tmp_path / "benchmarks")
    monkeypatch.setattr(results, "FOLDER", tmp_path / "benchmarks" / "results")
    monkeypatch.setattr(results, "PAGE", tmp_path / "benchmarks" / "results" / "RESULTS.md")
    results.FOLDER.mkdir(parents=True)
    return results.FOLDER


def written(folder, name, *records):
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (FACTS, *records)))


def test_a_table_says_what_it_was_measured_on_and_by_which_command(folder):
    records = [
        {"way": "theirs", "seconds": 5.0, "share_of_sentence_transformers": 1.0, "cpu": 5.0, "wall": 9.0},
        {"way": "ours", "seconds": 1.25, "share_of_sentence_transformers": 0.25, "cpu": 1.25, "wall": 2.0},
    ]
    written(folder, "cold_start", *records)
    results.render()
    page = results.PAGE.read_text()
    assert "`python benchmarks/cold_start.py` on the public data sets, 2026-01-02. a processor, 2 cores" in page
    assert "| ours | 0.250 | 1.250 | 2.000 |" in page


def test_what_was_not_measured_is_told_with_the_command(folder):
    results.render()
    page = results.PAGE.read_text()
    for name, benchmark in results.BENCHMARKS.items():
        form = "--full " if benchmark.short is None else ""
        assert f"## {benchmark.title}\n\nNot measured yet: `python benchmarks/results.py {form}--only {name}`." in page


def test_a_curve_is_drawn_for_each_index(folder):
    pytest.importorskip("matplotlib")
    line = {"index": "hnsw", "build_s": 1.0, "mb": 3.0, "memory_mb": 2.0, "knob": "ef", "qps_1": 10.0, "qps_1024": 20.0}
    written(folder, "ann", {"rows": 10}, {**line, "value": 10, "recall": 0.9}, {**line, "value": 20, "recall": 0.99})
    results.render()
    page = results.PAGE.read_text()
    assert "| hnsw | 1.0 | 3 | 2 | ef=20 | 0.9900 | 10 |  | 20 |  |" in page
    assert (folder / "ann.png").stat().st_size > 1000


def test_a_benchmark_that_fails_leaves_its_earlier_results(folder, monkeypatch, capsys):
    written(folder, "store", {"seconds": {"bare": [1.0], "add": [2.0]}})
    before = (folder / "store.jsonl").read_bytes()
    assert not results.run("store", results.BENCHMARKS["store"], full=False)  # there is no store.py in this folder
    assert (folder / "store.jsonl").read_bytes() == before
    assert "its earlier results stay" in capsys.readouterr().err


def test_every_benchmark_is_a_file():
    for name, benchmark in results.BENCHMARKS.items():
        assert (results.HERE / f"{benchmark.script or name}.py").is_file()


def test_what_has_no_short_form_is_measured_in_full_only(folder, monkeypatch):
    ran = []
    monkeypatch.setattr(results, "run", lambda name, benchmark, full: ran.append(name) or True)
    monkeypatch.setattr("sys.argv", ["results.py"])
    results.main()
    assert "ann" in ran
    assert "ann_million" not in ran
    monkeypatch.setattr("sys.argv", ["results.py", "--full"])
    ran.clear()
    results.main()
    assert ran == [name for name, benchmark in results.BENCHMARKS.items() if not benchmark.schemes]
    monkeypatch.setenv("SEMSEARCH_BENCH_SERVERS", "postgresql://h/d opensearch://h:9200")
    ran.clear()
    results.main()
    assert ran == list(results.BENCHMARKS)


def test_a_benchmark_of_servers_is_run_for_each_that_it_knows(folder, monkeypatch):
    monkeypatch.setenv("SEMSEARCH_BENCH_SERVERS", "postgresql://h/d opensearch://h:9200 elasticsearch://g:9200")
    asked = []

    def ran(command, check):
        asked.append(command[-1])
        new = Path(command[command.index("--out") + 1])
        new.write_text((new.read_text() if new.exists() else "") + "{}\n")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(results.subprocess, "run", ran)
    assert results.run("clusters", results.BENCHMARKS["clusters"], True)
    assert asked == ["opensearch://h:9200", "elasticsearch://g:9200"]
    assert len((folder / "clusters.jsonl").read_text().splitlines()) == 3


def test_a_cluster_is_told_with_what_the_bare_requests_take(folder):
    own = {"flavour": "opensearch", "nodes": 1, "shards": 3, "replicas": 0, "rows": 1000}
    own |= {"bytes": 3_000_000, "raw": 2_000_000}
    ms = {"words, bare": {"p50": 2.0, "recall": None}, "words": {"p50": 3.0, "recall": None}}
    alone = {"seconds": {"load": 4.0}, "ms": {"dense": {"p50": 5.0, "recall": 0.5}}}
    written(
        folder,
        "clusters",
        {**own, "seconds": {"load": 4.0, "load, bare": 5.0, "merge": 6.0}, "ms": ms},
        {**own, **alone},
    )
    results.render()
    page = results.PAGE.read_text()
    assert "| opensearch | 1 | 3 | 0 | 1,000 | load | 4.0 s | 5.0 s | 0.80 |  |" in page
    assert "| opensearch | 1 | 3 | 0 | 1,000 | merge | 6.0 s |  |  |  |" in page
    assert "| opensearch | 1 | 3 | 0 | 1,000 | disk | 3.0 MB | 2.0 MB | 1.50 |  |" in page
    assert "| opensearch | 1 | 3 | 0 | 1,000 | words | 3.00 ms | 2.00 ms | 1.50 |  |" in page
    assert "| opensearch | 1 | 3 | 0 | 1,000 | dense | 5.00 ms |  |  | 0.5000 |" in page


def test_growth_is_told_by_its_exponents(folder):
    ways = ("dense", "dense, exact", "words")

    def of(rows, load, milliseconds):
        ms = {way: {"p50": milliseconds, "recall": 0.99} for way in ways}
        own = {"flavour": "opensearch", "rows": rows, "seconds": {"load": load, "merge": 1.0}}
        return {**own, "bytes": 4 * rows, "raw": 2 * rows, "ms": ms}

    written(folder, "cluster_growth", of(1_000_000, 3.0, 2.0), of(100_000_000, 30.0, 2.0))
    results.render()
    page = results.PAGE.read_text()
    times = " | ".join(["2.0 ms"] * len(ways))
    assert f"| opensearch | 1,000,000 | 3 s | 1 s | 4 MB (2.00) | {times} | 0.9900 |" in page
    flat = " | ".join(["0.00"] * len(ways))
    assert f"| opensearch | exponent | 0.50 | 0.00 | 1.00 | {flat} |  |" in page.replace("-0.00", "0.00")


def test_asked_alone_it_says_what_to_add(folder, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["results.py", "--only", "ann_million"])
    with pytest.raises(SystemExit):
        results.main()
    assert "ann_million has no short form: add --full." in capsys.readouterr().err


def test_the_exponent_of_a_power_law_and_its_interval():
    sizes = [1e4, 3e4, 1e5, 3e5, 1e6]
    slope, half = scale.exponent(sizes, [3e-6 * size**1.5 for size in sizes])
    assert slope == pytest.approx(1.5)
    assert half == pytest.approx(0, abs=1e-6)
    draw = np.random.default_rng(0)
    inside = 0
    for _ in range(400):
        noisy = [size**0.7 * np.exp(draw.normal(0, 0.2)) for size in sizes]
        slope, half = scale.exponent(sizes, noisy)
        inside += abs(slope - 0.7) <= half
    assert 0.92 <= inside / 400 <= 0.98  # a 95 % interval


def test_a_server_is_held_against_one_client_and_against_the_other(folder):
    own = {"index": "exact", "documents": 10, "requests_per_second": 1000.0, "p50_ms": 1.0, "p99_ms": 2.0, "load": 2.0}
    beside = "search_many, batches as the server's"
    rows = [(beside, 1, 4.0), ("server, search", 1, 6.0), (beside, 8, 1.0), ("server, search", 8, 1.5)]
    records = [{**own, "what": what, "clients": number, "cpu_ms_per_request": ms} for what, number, ms in rows]
    written(folder, "serving", *records[:-1], {**records[-1], "batch": 4.04})
    results.render()
    page = results.PAGE.read_text()
    assert "| exact | server, search | 8 | 4.0 | 1,000 | 1.00 ms | 2.00 ms | 1.50 ms | 0.25 | 1.50 | 2 |" in page
    assert f"| exact | {beside} | 8 |  | 1,000 | 1.00 ms | 2.00 ms | 1.00 ms | 0.25 |  | 2 |" in page
