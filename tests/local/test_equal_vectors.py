"""Thousands of vectors that are one and the same: every index finds what exact search finds, equals by their keys."""

import tracemalloc

import numpy as np
import pytest

import semsearch
from semsearch.errors import DataError, IndexDamaged
from semsearch.local import planner
from semsearch.local.index.equals import EQUALS_FILE, MANY_EQUAL, Equals
from semsearch.types import Document, Neighbors
from semsearch.vectors import ChosenRows, group_equal

BACKENDS = {"hnsw": "hnswlib", "faiss-ivf": "faiss", "annoy": "annoy"}
ROWS, DIM = 800, 16


def vectors_with(groups):
    """Random vectors, with groups of so many equals each, anywhere among them; the first equal ones come first."""
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(ROWS, DIM)).astype(np.float32)
    rows = generator.permutation(ROWS)
    for size in groups:
        vectors[rows[:size]] = vectors[rows[0]]
        rows = rows[size:]
    return vectors


def made(home, vectors, backend, **how):
    collection = semsearch.create("many", encoder=None, dim=DIM, home=home)
    collection.add(
        [Document(str(n), "text", metadata={"n": n, "odd": n % 2 == 1}) for n in range(len(vectors))], vectors
    )
    return collection, collection.reindex(backend, **how)


def ids(answers):
    return [[hit.id for hit in hits] for hits in answers]


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("groups", [[200], [20] * 20])
def test_every_index_finds_what_exact_search_finds(tmp_path, monkeypatch, caplog, backend, groups):
    pytest.importorskip(BACKENDS[backend])
    monkeypatch.setattr(planner, "GATHERED_ROWS", 0)  # else so few rows are never asked of the index
    vectors = vectors_with(groups)
    generator = np.random.default_rng(1)
    near = vectors[generator.integers(ROWS, size=60)] + 0.1 * generator.normal(size=(60, DIM)).astype(np.float32)
    collection, certificate = made(tmp_path, vectors, backend, recall=0.95)
    with collection:
        assert certificate.met
        collection.load_index()
        assert collection.info()["index"]["state"] == "ready"
        assert "one and the same" not in caplog.text

        def check(k=10, **how):
            found = collection.search_many(vectors=near, k=k, **how)
            right = ids(collection.search_many(vectors=near, k=k, exact=True, **how))
            assert {way for hits in found for hit in hits for way in hit.found} == {"index"}
            shares = [len({*mine} & {*theirs}) / k for mine, theirs in zip(ids(found), right, strict=True)]
            assert np.mean(shares) >= 0.95
            whole = [mine for mine, theirs in zip(ids(found), right, strict=True) if {*mine} == {*theirs}]
            assert all(mine in right for mine in whole), "equals come in the order of their keys"

        check()
        check(where="odd = true")
        collection.remove([str(n) for n in range(0, ROWS, 5)])
        check()
        check(250)
    with semsearch.open("many", home=tmp_path) as collection:
        collection.load_index()
        check()
        assert collection.tune(0.9).met
        check()
        assert not list(collection.engine.check(deep=True))


def test_lists_hold_no_copy_of_the_distinct_vectors(tmp_path):
    pytest.importorskip("faiss")
    vectors = np.random.default_rng(2).normal(size=(3_000, 512)).astype(np.float32)
    vectors[::100] = vectors[0]
    with semsearch.create("many", encoder=None, dim=512, home=tmp_path) as collection:
        collection.add([Document(str(n), "text") for n in range(3_000)], vectors)
        collection.reindex("faiss-ivf", {"storage": "sq8", "nprobe": 70})
        built = ids(collection.search_many(vectors=vectors[:50], k=40))
    with semsearch.open("many", home=tmp_path) as collection:
        tracemalloc.start()  # numpy's memory, not FAISS's own
        collection.load_index()
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert collection.info()["index"]["state"] == "ready"
        assert held < vectors.nbytes / 4
        assert ids(collection.search_many(vectors=vectors[:50], k=40)) == built
        assert {*built[0][:30]} == {str(n) for n in range(0, 3_000, 100)}


def test_chosen_rows_are_an_array_where_one_is_asked_for():
    vectors = np.arange(40, dtype=np.float32).reshape(10, 4)
    chosen = ChosenRows(vectors, np.array([1, 4, 7]))
    assert np.array_equal(np.asarray(chosen), vectors[[1, 4, 7]])
    assert np.array_equal(chosen[1:], vectors[[4, 7]])
    assert (chosen.shape, len(chosen)) == ((3, 4), 3)
    chosen.check()
    vectors[7, 2] = np.nan
    with pytest.raises(DataError, match="NaN"):
        chosen.check()


@pytest.mark.parametrize("count", [MANY_EQUAL, MANY_EQUAL + 1])
def test_few_equals_are_left_to_the_index(tmp_path, count):
    pytest.importorskip("hnswlib")
    collection, _ = made(tmp_path, vectors_with([count])[:400], "hnsw")
    with collection:
        there = bool(list(collection.path.glob(f"indexes/hnsw-*/{EQUALS_FILE}")))
    vectors = vectors_with([count])[:400]
    assert there == (np.bincount(group_equal(vectors)).max() > MANY_EQUAL)


def test_equal_vectors_are_counted_once():
    vectors = np.random.default_rng(0).normal(size=(40_000, 3)).astype(np.float32)
    assert np.array_equal(group_equal(vectors), np.arange(40_000))
    vectors[5::1000] = vectors[7]
    groups = group_equal(vectors)
    assert np.bincount(groups).max() == 41
    assert groups[5] == groups[7] == groups[1005] == 5
    assert groups[6] == 6
    assert groups[8] == 7
    assert len(group_equal(vectors[:0])) == 0


def test_sums_that_meet_are_no_equals():
    """Whoever writes vectors may know how they are summed: what differs in a bit is another vector."""
    odd = np.random.default_rng(0).integers(0, 1 << 63, 2, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    bits = np.random.default_rng(1).integers(0x3F000000, 0x3F800000, (1 << 17, 2), dtype=np.uint32)
    target = (bits[0].astype(np.uint64) * odd).sum()
    inverse = pow(int(odd[1]), -1, 1 << 64)
    forged = [
        (one, other)
        for one in range(0x3F000000, 0x3F000000 + 3)
        if (other := (int(target) - one * int(odd[0])) * inverse % (1 << 64)) < 1 << 32
    ]
    vectors = np.array([bits[0], bits[0], *forged], dtype=np.uint32).view(np.float32)
    assert group_equal(vectors).tolist() == [0, 0, *range(1, len(forged) + 1)]


def test_ties_go_to_the_smaller_key_whatever_stood_for_them():
    keys = np.array([10, 20, 30, 40, 50, 60])
    equals = Equals(keys, np.array([0, 1, 0, 1, 1, 2]))
    assert equals.rows.tolist() == [0, 1, 5]
    tied = Neighbors(np.array([[10, 20, 60], [60, -1, -1]]), np.float32([[0.5, 0.5, 0.1], [0.9, -np.inf, -np.inf]]))
    best = equals.expanded(tied, 4)
    assert best.keys.tolist() == [[10, 20, 30, 40], [60, -1, -1, -1]]
    allowed = np.array([False, True, True, False, True, True])
    assert equals.first(np.array([[10, 20, 60, -1]]), allowed).tolist() == [[30, 20, 60, -1]]
    assert equals.first(np.array([[10, 60]]), np.zeros(6, dtype=bool)).tolist() == [[-1, -1]]
    assert equals.expanded(tied, 6, allowed).keys.tolist() == [[20, 30, 50, 60], [60, -1, -1, -1]]
    assert equals.allowed(np.array([False, True, False, False, False, False])).tolist() == [False, True, False]


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 8, np.array([0, 0, 2], "<i8").tobytes(), np.array([1, 0, 0], "<i8").tobytes(),
                np.array([-1, 0, 1], "<i8").tobytes(), b"\0" * 32]
)  # fmt: skip
def test_a_file_of_other_rows_is_refused(tmp_path, content):
    (tmp_path / EQUALS_FILE).write_bytes(content)
    with pytest.raises(IndexDamaged, match=r"is not of 3 vectors|names vectors that are not there"):
        Equals.load(tmp_path, np.arange(3))
