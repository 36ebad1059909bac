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

    def side(what, whose, file, folder, options):  # in this process
        answer = module.SIDES[f"{what}-{whose}"](np.load(file), options)
        return {"wall_s": 1.0, "cpu_s": 2.0 if whose == "theirs" else 1.0, "memory_mb": 1.0}, answer

    monkeypatch.setattr(module, "side", side)
    return module


@pytest.fixture
def vectors(tmp_path):
    rng = np.random.default_rng(0)
    made = rng.standard_normal((20, 16))[rng.integers(20, size=600)] + 0.3 * rng.standard_normal((600, 16))
    unit = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
    np.save(tmp_path / "vectors.npy", unit)
    return tmp_path / "vectors.npy"


def test_both_sides_give_the_same_and_the_page_shows_it(applications, vectors, tmp_path, monkeypatch):
    asked = ["--vectors", vectors, "--parts", 0.5, 1, "--pairs", 200, "--out", tmp_path / "out"]
    asked += ["--what", "pairs", "communities", "search"]
    monkeypatch.setattr(sys, "argv", ["applications.py", *map(str, asked)])
    applications.main()
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
    assert [len(table) for table in tables] == [7, 2, 0]
    assert tables[0][1][-1] == "200, 0 differ"


def test_what_one_side_lacks_is_counted(applications, vectors):
    options = argparse.Namespace(pairs=200, threshold=0.75)
    rows = np.load(vectors)
    ours, theirs = (applications.SIDES[f"pairs-{whose}"](rows, options) for whose in ("ours", "theirs"))
    ours["second"][:3] = (ours["first"][:3] + 17) % 600  # three other pairs
    assert applications.differing_pairs(ours, theirs, rows)["differ"] == 6
    ours, theirs = (applications.SIDES[f"communities-{whose}"](rows, options) for whose in ("ours", "theirs"))
    theirs["rows"] = theirs["rows"][::-1]
    assert applications.differing_communities(ours, theirs, rows)["differ"] > 0
