"""Sorted runs: one stream of them, what is kept over an interruption, and what is refused."""

import json
from contextlib import suppress
from subprocess import TimeoutExpired

import numpy as np
import pytest
from support.command_line import run, start

import semsearch
from semsearch.applications import runs as runs_module
from semsearch.applications.all_pairs import AllPairs
from semsearch.applications.runs import PAIR, Runs, ordered, records
from semsearch.applications.tiles import GroupedRows
from semsearch.errors import CollectionLocked, StorageError, UsageError
from semsearch.types import Metric

TASK = {"what": "a test"}


def pairs(count, seed):
    rng = np.random.default_rng(seed)
    scores = rng.choice(np.linspace(0, 1, 7, dtype=np.float32), count)  # many are equal
    return ordered(records(scores, rng.integers(0, 50, count), rng.integers(50, 100, count)))


@pytest.mark.parametrize("in_memory", [0, 10**6])
def test_runs_become_one_stream(in_memory, monkeypatch):
    monkeypatch.setattr(runs_module, "IN_MEMORY", in_memory)
    monkeypatch.setattr(runs_module, "MERGED_AT_ONCE", 256)
    parts = [pairs(count, seed) for seed, count in enumerate((1000, 3, 700, 1))]
    with Runs() as runs:
        for part in parts:
            runs.add(part)
        assert np.array_equal(np.concatenate(list(runs.stream())), ordered(np.concatenate(parts)))
        assert len(np.concatenate(list(runs.stream(10)))) == 10


def test_an_interrupted_computation_goes_on(tmp_path, monkeypatch):
    vectors = np.random.default_rng(0).standard_normal((120, 8)).astype(np.float32)
    compared, whole = AllPairs(GroupedRows.apart(vectors), None, Metric.DOT), Runs()
    compared.best(whole, limit=50, block_rows=20)
    expected = np.concatenate(list(whole.stream(50)))

    done = Runs.finish
    monkeypatch.setattr(Runs, "finish", lambda self: done(self) if self.steps < 3 else pytest.fail("killed"))
    kept = Runs(tmp_path / "kept", TASK)
    with pytest.raises(pytest.fail.Exception):
        compared.best(kept, limit=50, block_rows=20)
    monkeypatch.setattr(Runs, "finish", done)
    kept.close()
    again = Runs(tmp_path / "kept", TASK)
    assert again.steps == 3
    compared.best(again, limit=50, block_rows=20)
    assert np.concatenate(list(again.stream(50))).tobytes() == expected.tobytes()
    again.discard()
    assert not (tmp_path / "kept").exists()


def test_another_task_and_another_folder_are_refused(tmp_path):
    Runs(tmp_path / "kept", TASK).close()
    with pytest.raises(UsageError, match="of other vectors or options"):
        Runs(tmp_path / "kept", {"what": "another"})
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "letter.txt").write_text("dear all")
    with pytest.raises(UsageError, match="holds something else"):
        Runs(tmp_path / "own", TASK)
    (tmp_path / "kept" / runs_module.MANIFEST).write_text("{")
    with pytest.raises(UsageError, match="can't be read"):
        Runs(tmp_path / "kept", TASK)


def test_a_run_that_is_damaged_is_refused(tmp_path):
    runs = Runs(tmp_path / "kept", TASK)
    runs.add(pairs(10, 0))
    runs.finish()
    runs.close()
    (tmp_path / "kept" / "run-0.npy").write_bytes(b"no array")
    with pytest.raises(UsageError, match="damaged"):
        Runs(tmp_path / "kept", TASK)


def test_a_full_disk_is_a_sentence_and_loses_nothing(tmp_path, monkeypatch):
    runs = Runs(tmp_path / "kept", TASK)
    runs.add(pairs(10, 0))
    runs.finish()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(StorageError, match=r"No space left on device.*goes on from there"):
        runs.add(pairs(10, 1))
    monkeypatch.undo()
    runs.close()
    again = Runs(tmp_path / "kept", TASK)
    assert again.steps == 1
    assert len(again) == 10
    assert np.concatenate(list(again.stream())).dtype == PAIR
    again.close()


def test_two_at_once_are_told(tmp_path):
    first = Runs(tmp_path / "kept", TASK)
    with pytest.raises(CollectionLocked, match="another process"):
        Runs(tmp_path / "kept", TASK)
    first.close()
    Runs(tmp_path / "kept", TASK).discard()
    assert not (tmp_path / "kept").exists()


@pytest.mark.trust
def test_a_killed_command_goes_on_and_gives_the_same_bytes(tmp_path):
    """`semsearch pairs --out`, killed after its first steps, and once without a break."""
    vectors = np.random.default_rng(0).standard_normal((15_000, 32)).astype(np.float32)
    home = tmp_path / "collections"
    with semsearch.create("many", home=home, encoder=None, dim=32, passages=False) as made:
        made.add((semsearch.Document(str(at), f"text {at}") for at in range(len(vectors))), vectors=vectors)
    asked = ["pairs", "many", "--limit", "20000", "--home", home]
    manifest = tmp_path / "killed.tsv.unfinished" / runs_module.MANIFEST
    with start(*asked, "--out", tmp_path / "killed.tsv") as process:
        while not (manifest.exists() and json.loads(manifest.read_text())["steps"]):
            with suppress(TimeoutExpired):
                process.wait(0.01)
        process.kill()
    assert not (tmp_path / "killed.tsv").exists()
    for name in ("killed", "whole"):
        assert run(*asked, "--out", tmp_path / f"{name}.tsv").code == 0
    assert (tmp_path / "killed.tsv").read_bytes() == (tmp_path / "whole.tsv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["collections", "killed.tsv", "whole.tsv"]
