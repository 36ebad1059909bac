"""The field's vector sets as the benchmarks read them, from files written here by their definitions."""

import numpy as np
import pytest
from vector_sets import read_vecs, vector_set

from semsearch.types import Metric

RNG = np.random.default_rng(0)
STORED = RNG.standard_normal((30, 5)).astype(np.float32)
ASKED = RNG.standard_normal((4, 5)).astype(np.float32)
TRUTH = np.argsort(((ASKED[:, None] - STORED[None]) ** 2).sum(axis=2), axis=1)[:, :7].astype("<i4")


def write_vecs(path, rows):
    kind = {".fvecs": "<f4", ".ivecs": "<i4", ".bvecs": "u1"}[path.suffix]
    path.write_bytes(b"".join(np.int32(len(row)).tobytes() + row.astype(kind).tobytes() for row in rows))


@pytest.fixture
def texmex(tmp_path):
    write_vecs(tmp_path / "tiny_base.fvecs", STORED)
    write_vecs(tmp_path / "tiny_query.fvecs", ASKED)
    write_vecs(tmp_path / "tiny_groundtruth.ivecs", TRUTH)
    return tmp_path / "tiny_base.fvecs"


def test_a_set_of_fvecs_comes_with_its_queries_and_truth(texmex):
    found = vector_set(texmex)
    assert found.name == "tiny"
    assert found.metric is Metric.L2
    assert np.array_equal(found.stored, STORED)
    assert np.array_equal(found.asked, ASKED)
    assert np.array_equal(found.truth, TRUTH)


def test_the_truth_of_a_whole_set_is_not_told_of_a_part(texmex):
    part = vector_set(texmex, rows=20, asked=2)
    assert part.stored.shape == (20, 5)
    assert part.asked.shape == (2, 5)
    assert part.truth is None


def test_bytes_are_read_as_numbers(tmp_path):
    rows = RNG.integers(0, 256, (6, 3))
    write_vecs(tmp_path / "x.bvecs", rows)
    found = read_vecs(tmp_path / "x.bvecs")
    assert found.dtype == np.float32
    assert np.array_equal(found, rows)


@pytest.mark.parametrize("damage", ["short", "dimensions", "empty", "queries"])
def test_what_cannot_be_read_is_told_with_the_file(texmex, damage):
    content = texmex.read_bytes()
    if damage == "short":
        texmex.write_bytes(content[:-1])
    elif damage == "dimensions":
        texmex.write_bytes(content[:24] + np.int32(4).tobytes() + content[28:])
    elif damage == "empty":
        texmex.write_bytes(b"")
    else:
        texmex.with_name("tiny_query.fvecs").unlink()
    with pytest.raises(SystemExit, match="tiny_base"):
        vector_set(texmex)


@pytest.mark.parametrize(("distance", "metric"), [("angular", Metric.COSINE), ("euclidean", Metric.L2)])
def test_a_set_of_ann_benchmarks(tmp_path, distance, metric):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "tiny.hdf5", "w") as file:
        file.attrs["distance"] = distance
        file["train"], file["test"], file["neighbors"] = STORED, ASKED, TRUTH
    found = vector_set(tmp_path / "tiny.hdf5")
    assert found.metric is metric
    assert np.array_equal(found.truth, TRUTH)
    lengths = np.linalg.norm(found.stored, axis=1)
    assert np.allclose(lengths, 1, atol=1e-6) == (metric is Metric.COSINE)
    assert np.allclose(
        found.stored, STORED / (np.linalg.norm(STORED, axis=1)[:, None] if metric is Metric.COSINE else 1)
    )


def test_more_rows_than_there_are_lie_between_the_real_ones(tmp_path):
    units = STORED / np.linalg.norm(STORED, axis=1)[:, None]
    np.save(tmp_path / "own.npy", units)
    found = vector_set(tmp_path / "own.npy", rows=200)
    assert found.stored.shape == (200, 5)
    assert len(found.asked) == 3
    assert np.allclose(np.linalg.norm(found.stored, axis=1), 1, atol=1e-5)
    assert not (found.asked[:, None] == found.stored[None]).all(axis=2).any()
