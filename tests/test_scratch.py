"""Large arrays lie in temporary files, which are gone with them, and are what they would be in memory."""

import os
import tempfile

import numpy as np
import pytest

import semsearch
from semsearch import scratch as scratch_module
from semsearch.errors import DataError, StorageError
from semsearch.scratch import Arriving, gathered, scratch

ROWS = np.random.default_rng(0).standard_normal((2_500, 7)).astype(np.float32)


@pytest.fixture(params=[0, 1 << 14, 1 << 28], ids=["file", "either", "memory"])
def room(request, monkeypatch, tmp_path):
    monkeypatch.setattr(scratch_module, "IN_MEMORY_BYTES", request.param)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield request.param
    assert not list(tmp_path.iterdir())


def test_rows_that_are_gathered(room):
    chosen = np.random.default_rng(1).integers(0, len(ROWS), 3_000)
    found = gathered(ROWS, chosen)
    assert found.tobytes() == ROWS[chosen].tobytes()
    assert isinstance(found, np.memmap) == (room < found.nbytes)
    assert gathered(ROWS, chosen[:0]).shape == (0, 7)


def test_rows_that_arrive_in_parts(room):
    with Arriving(7) as arriving:
        for start in range(0, len(ROWS), 300):
            arriving.add(ROWS[start : start + 300])
        found = arriving.whole()
    assert (found.shape, found.tobytes()) == (ROWS.shape, ROWS.tobytes())
    assert isinstance(found, np.memmap) == (room < found.nbytes)
    found[0] = 1  # as an array in memory
    assert Arriving(3).whole().shape == (0, 3)
    with Arriving(0) as wider:
        wider.add(ROWS)
        with pytest.raises(DataError, match="8 components arrive among some of 7"):
            wider.add(np.ones((1, 8), dtype=np.float32))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="has no full disk")  # noqa: PTH110
def test_a_full_disk_is_a_sentence(monkeypatch):
    monkeypatch.setattr(scratch_module, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(scratch_module, "_file", lambda: open("/dev/full", "r+b", buffering=0))  # noqa: PTH123, SIM115
    with Arriving(7) as made, pytest.raises(StorageError, match=r"can't be made: No space left on device\. Make room"):
        made.add(ROWS)
    monkeypatch.setattr(scratch_module, "_file", lambda: open("/nowhere/at/all", "r+b"))  # noqa: PTH123, SIM115
    with pytest.raises(StorageError, match=r"can't be made: No such file"):
        scratch((3, 3), np.float32)


def test_a_collection_of_which_rows_were_removed_is_not_copied_into_memory(monkeypatch, tmp_path):
    with semsearch.create("some", home=tmp_path, encoder=None, dim=7, metric="dot") as made:
        made.add([semsearch.Document(str(at), f"text {at}") for at in range(50)], vectors=ROWS[:50])
        made.remove(["3", "17"])
        monkeypatch.setattr(scratch_module, "IN_MEMORY_BYTES", 0)
        keys, vectors = made.arrays()
        assert isinstance(vectors, np.memmap)
        assert vectors.tobytes() == np.delete(ROWS[:50], [3, 17], axis=0).tobytes()
        assert len(keys) == 48
