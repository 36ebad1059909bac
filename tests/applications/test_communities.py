"""Communities are those of sentence-transformers, centre first, each found once."""

import numpy as np
import pytest

import semsearch
from semsearch import scratch as scratch_module
from semsearch.applications import pairs as pairs_module
from semsearch.errors import DataError, UsageError


def clumped(count, clumps, spread, seed=0, dim=16):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((clumps, dim))
    return (centres[rng.integers(0, clumps, count)] + spread * rng.standard_normal((count, dim))).astype(np.float32)


@pytest.mark.parametrize(("threshold", "min_size"), [(0.9, 3), (0.75, 10), (0.5, 2), (0.97, 1)])
@pytest.mark.parametrize("in_memory", [0, 1 << 28])
def test_they_are_those_of_sentence_transformers(threshold, min_size, in_memory, monkeypatch):
    util = pytest.importorskip("sentence_transformers.util")
    import torch

    monkeypatch.setattr(scratch_module, "IN_MEMORY_BYTES", in_memory)
    vectors = clumped(300, 12, 0.35)
    ours = semsearch.communities(vectors, threshold, min_size)
    theirs = util.community_detection(torch.from_numpy(vectors), threshold, min_size)
    assert [members.tolist() for members in ours] == theirs
    assert len(ours) > 2


def test_hardly_any_and_equal_vectors(monkeypatch):
    assert semsearch.communities(np.empty((0, 3)), min_size=1) == []
    assert semsearch.communities(np.ones((1, 3))) == []
    assert [rows.tolist() for rows in semsearch.communities(np.ones((1, 3)), min_size=1)] == [[0]]
    equal = np.ones((40, 3))
    assert [rows.tolist() for rows in semsearch.communities(equal, 0.5)] == [list(range(40))]
    monkeypatch.setattr(pairs_module, "MOST_PAIRS_KEPT", 500)
    with pytest.raises(UsageError, match=r"about 780 pairs reach .*: ask for a higher score\.$"):
        semsearch.communities(equal, 0.5)
    assert semsearch.communities(equal, 0.5, min_size=41) == []  # which no community can have: nothing is compared


def test_what_is_no_vector_is_refused():
    with pytest.raises(DataError, match="NaN"):
        semsearch.communities([[1.0, np.nan]])
    with pytest.raises(UsageError, match="min_size"):
        semsearch.communities(np.eye(2), min_size=0)
