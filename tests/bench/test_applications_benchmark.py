"""The benchmark of applications on few vectors: both sides give the same, and what differs would be seen."""

import argparse
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import results

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture
def applications(monkeypatch):
    pytest.importorskip("sentence_transformers")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    module = importlib.import_module("applications")

    def run(command, **_):  # in this process
        at = {name: command[command.index(f"--{name}") + 1] for name in ("side", "vectors", "answer", "pairs")}
        np.savez(at["answer"], **answered(module, at["side"], np.load(at["vectors"]), pairs=int(at["pairs"])))
        took = {"wall_s": 1.0, "cpu_s": 2.0 if at["side"].endswith("theirs") else 1.0, "memory_mb": 1.0}
        return argparse.Namespace(stdout=json.dumps(took))

    monkeypatch.setattr(module.subprocess, "run", run)
    return module


def answered(module, side, vectors, pairs=200):
    """What a side finds, as arrays."""
    done = module.SIDES[side]
    return done.arrays(done.work(vectors, argparse.Namespace(pairs=pairs, threshold=0.75)))


@pytest.fixture
def vectors(tmp_path):
    rng = np.random.default_rng(0)
    made = rng.standard_normal((20, 16))[rng.integers(20, size=600)] + 0.3 * rng.standard_normal((600, 16))
    unit = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
    np.save(tmp_path / "vectors.npy", unit)
    return tmp_path / "vectors.npy"


def test_both_sides_give_the_same_and_the_page_shows_it(applications, vectors, tmp_path, monkeypatch):
    asked = ["--vectors", vectors, "--parts", 0.5, 1, "--pairs", 200, "--out", tmp_path / "out"]
    asked += ["--cache", tmp_path / "kept", "--what", "pairs", "communities", "search"]
    monkeypatch.setattr(sys, "argv", ["applications.py", *map(str, asked)])
    applications.main()
    before = (tmp_path / "out").read_text()
    (tmp_path / "out").unlink()
    monkeypatch.setattr(applications.subprocess, "run", None)  # what is kept is not done again
    applications.main()
    assert (tmp_path / "out").read_text() == before
    _, *records = (json.loads(line) for line in (tmp_path / "out").read_text().splitlines())
    compared = [record for record in records if "ours" in record]
    assert [(record["part"], record["rows"]) for record in compared] == [
        (what, rows) for what in ("pairs", "communities", "search") for rows in (300, 600)
    ]
    for record in compared:
        assert record["differ"] == 0
        assert record["found"] > 0
        assert record["times"] == {"wall": 1.0, "cpu": 2.0}
    tables = [list(table(records)) for table in results.BENCHMARKS["applications"].tables]
    assert [len(table) for table in tables] == [7, 3, 0, 0, 0, 0]
    assert tables[0][1][-1] == "200, 0 differ"
    assert tables[1][1:] == [("semsearch", "0.00", "0.00", "0.00"), ("its peer", "0.00", "0.00", "0.00")]


def test_what_one_side_lacks_is_counted(applications, vectors):
    rows = np.load(vectors)
    ours, theirs = (answered(applications, f"pairs-{whose}", rows) for whose in ("ours", "theirs"))
    ours["second"][:3] = (ours["first"][:3] + 17) % 600  # three other pairs
    assert applications.differing_pairs(ours, theirs, rows)["differ"] == 6
    ours, theirs = (answered(applications, f"search-{whose}", rows) for whose in ("ours", "theirs"))
    kept = {name: np.delete(column, [5, 9]) for name, column in ours.items()}
    assert applications.differing_pairs(ours, theirs, rows)["differ"] == 0
    assert applications.differing_pairs(kept, theirs, rows)["differ"] == 2
    ours, theirs = (answered(applications, f"communities-{whose}", rows) for whose in ("ours", "theirs"))
    theirs["rows"] = theirs["rows"][::-1]
    assert applications.differing_communities(ours, theirs, rows)["differ"] > 0


def test_a_tie_is_no_difference_and_what_is_not_looked_at_is_proven(applications):
    """300 rows so close together that most best pairs have a hundred nearer rows on both sides."""
    rng = np.random.default_rng(1)
    made = np.concatenate([1 + 0.05 * rng.standard_normal((300, 16)), rng.standard_normal((300, 16))])
    rows = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
    ours, theirs = (answered(applications, f"pairs-{whose}", rows, 30_000) for whose in ("ours", "theirs"))
    found = applications.differing_pairs(ours, theirs, rows)
    assert found["differ"] == 0
    assert found["unseen"] > 1000
    last = int(ours["scores"].argmin())
    without = {name: np.delete(column, last) for name, column in ours.items()}
    tied = applications.differing_pairs(ours, without, rows)
    assert (tied["tied"], tied["unseen"], tied["differ"]) == (1, 0, 0)
    without = {name: np.delete(column, 17) for name, column in ours.items()}  # which everybody looks at
    assert applications.differing_pairs(ours, without, rows)["differ"] == 1
    assert applications.differing_pairs(without, ours, rows)["differ"] == 1
    # what theirs has in place of pairs that it must have seen is not granted either
    swapped = {name: column.copy() for name, column in ours.items()}
    swapped["first"][17], swapped["second"][17], swapped["scores"][17] = 301, 599, 0.1
    assert applications.differing_pairs(ours, swapped, rows)["differ"] == 2


def test_banking_topics_and_judged_pairs_become_tables():
    lines = [
        {"part": "topics", "way": "semsearch", "rows": 200, "cpu_s": 2.4, "wall_s": 3.0, "topics": 7, "none": 50}
        | {"npmi": -0.0691, "different": 0.75},
        {"part": "judged pairs", "way": "ours", "rows": 8000, "cpu_s": 2.4, "wall_s": 3.0}
        | {"average_precision": 0.77771, "best_f1": 0.75432},
        {"part": "translations", "language": "deu", "rows": 1000, "xsim_to_english": 0.016, "xsim_from_english": 0.02}
        | {"recall": 0.981, "precision": 0.99, "cpu_s": 0.31},
    ]
    shown = [list(table(lines)) for table in results.BENCHMARKS["applications"].tables if list(table(lines))]
    assert [table[1] for table in shown] == [
        ("semsearch", "2 (3)", "7", "25%", "-0.069", "75%"),
        ("ours", "8,000", "0.7777", "0.7543", "2 (3)"),
        ("deu", "1,000", "1.60%", "2.00%", "98.1%", "99.0%", "0.3"),
    ]
