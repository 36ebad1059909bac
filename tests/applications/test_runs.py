"""Sorted runs: one stream of them, what is kept over an interruption, and what is refused."""

import numpy as np
import pytest

from semsearch.applications import runs as runs_module
from semsearch.applications.all_pairs import AllPairs
from semsearch.applications.runs import PAIR, Runs, ordered, records
from semsearch.applications.tiles import Rows
from semsearch.errors import StorageError, UsageError
from semsearch.types import Metric

TASK = {"what": "a test"}


def pairs(count, seed):
    rng = np.random.default_rng(seed)
    scores = rng.choice(np.linspace(0, 1, 7, dtype=np.float32), count)  # many are equal
    return ordered(records(scores, rng.integers(0, 50, count), rng.integers(50, 100, count)))


@pytest.mark.parametrize("in_memory", [0, 10**6])
def test_runs_become_one_stream(in_memory, monkeypatch):
    monkeypatch.setattr(runs_module, "IN_MEMORY", in_memory)
    monkeypatch.setattr(runs_module, "LOOKED_AT", 256)
    parts = [pairs(count, seed) for seed, count in enumerate((1000, 3, 700, 1))]
    with Runs() as runs:
        for part in parts:
            runs.add(part)
        assert np.array_equal(np.concatenate(list(runs.stream())), ordered(np.concatenate(parts)))
        assert len(np.concatenate(list(runs.stream(10)))) == 10


def test_an_interrupted_computation_goes_on(tmp_path, monkeypatch):
    vectors = np.random.default_rng(0).standard_normal((120, 8)).astype(np.float32)
    compared, whole = AllPairs(Rows.apart(vectors), None, Metric.DOT), Runs()
    compared.best(whole, limit=50, block_rows=20)
    expected = np.concatenate(list(whole.stream(50)))

    done = Runs.finish
    monkeypatch.setattr(Runs, "finish", lambda self: done(self) if self.steps < 3 else pytest.fail("killed"))
    with pytest.raises(pytest.fail.Exception):
        compared.best(Runs(tmp_path / "kept", TASK), limit=50, block_rows=20)
    monkeypatch.setattr(Runs, "finish", done)
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
    again = Runs(tmp_path / "kept", TASK)
    assert again.steps == 1
    assert len(again) == 10
    assert np.concatenate(list(again.stream())).dtype == PAIR
