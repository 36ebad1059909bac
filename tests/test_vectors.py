"""What is done with many rows at a time is what is done with one: true scores, and checksums."""

import dataclasses
import importlib
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import semsearch
from semsearch.local.store import checksum, segments
from semsearch.local.store.segments import checksums
from semsearch.local.store.snapshot import Snapshot
from semsearch.types import Metric, Neighbors
from semsearch.vectors import SCORED_PAIRS, score_each, score_pairs, stored_form


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("count", [0, 1, SCORED_PAIRS - 1, SCORED_PAIRS, 2 * SCORED_PAIRS + 3])
def test_a_score_is_that_of_its_pair_alone(metric, count):
    rng = np.random.default_rng(count)
    vectors, queries = (rng.standard_normal((rows, 40), dtype=np.float32) for rows in (90, 7))
    rows, query = rng.integers(0, 90, count), rng.integers(0, 7, count)
    kept = vectors.copy(), queries.copy()
    found = score_each(queries, query, vectors, rows, metric)
    alone = [score_pairs(queries[q], vectors[r : r + 1], metric)[0] for q, r in zip(query, rows, strict=True)]
    assert found.dtype == np.float32
    assert found.tolist() == [float(score) for score in alone]
    assert (kept[0] == vectors).all()
    assert (kept[1] == queries).all()


@pytest.mark.parametrize("count", [0, 1, segments.CHECKSUM_ROWS, 2 * segments.CHECKSUM_ROWS + 3])
def test_a_checksum_is_that_of_the_bytes_of_its_row_and_its_place(count):
    rng = np.random.default_rng(count)
    wide = rng.standard_normal((count, 24), dtype=np.float32)
    vectors = wide[:, ::2]  # not contiguous
    places = np.zeros(count, dtype=segments.PLACE_DTYPE)
    for name in segments.PLACE_DTYPE.names:
        places[name] = rng.integers(0, 1 << 30, count)
    wanted = [zlib.crc32(row.tobytes() + place.tobytes()) for row, place in zip(vectors, places, strict=True)]
    assert checksums(vectors, places).tolist() == wanted
    rows = rng.permutation(count)[: count // 2 + 1]
    assert checksums(np.ascontiguousarray(vectors), places[rows], rows).tolist() == [wanted[row] for row in rows]


@given(st.integers(1, 1000), st.integers(1, 60), st.sets(st.integers(0, 60)), st.lists(st.integers(-1, 1100)))
def test_the_rows_of_keys_are_found_with_and_without_gaps(first, count, gaps, asked):
    keys = np.array([first + at for at in range(count) if at == 0 or at not in gaps])
    nothing = dict.fromkeys(field.name for field in dataclasses.fields(Snapshot) if field.init)
    snapshot = Snapshot(**{**nothing, "keys": keys})
    wanted = np.array(asked, dtype=np.int64)
    assert snapshot.rows_of(wanted).tolist() == np.searchsorted(keys, wanted).tolist()
    assert snapshot.rows_of(keys).tolist() == list(range(len(keys)))


@given(st.binary(max_size=5000))
def test_the_fast_checksum_is_that_of_zlib(data):
    assert checksum.crc32(data) == zlib.crc32(data)


def test_without_the_fast_checksum_zlib_serves(monkeypatch):
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "isal.isal_zlib", None)
        assert importlib.reload(checksum).crc32 is zlib.crc32
    importlib.reload(checksum)


def test_neighbours_come_without_their_padding():
    found = Neighbors(np.array([[4, 2, -1], [-1, -1, -1], [1, 5, 9]]), np.zeros((3, 3), dtype=np.float32))
    assert [(keys.tolist(), len(scores)) for keys, scores in found] == [([4, 2], 2), ([], 0), ([1, 5, 9], 3)]


@pytest.mark.parametrize("length", [1e-40, 1e-60, 1e-300])
def test_a_vector_too_short_for_float32_keeps_its_direction(length, tmp_path):
    """By the cosine: added, searched by, and beside others. By distance it is zero, which it nearly is."""
    rows = np.random.default_rng(0).standard_normal((5, 4))
    assert np.allclose(stored_form(rows * length, 4, Metric.COSINE), stored_form(rows, 4, Metric.COSINE), atol=1e-6)
    assert not stored_form(rows * 1e-60, 4, Metric.L2).any()
    assert not stored_form(rows * 0, 4, Metric.COSINE).any()
    with semsearch.create("short", home=tmp_path, encoder=None, dim=4) as short:
        short.add([semsearch.Document(one, "text") for one in "abcde"], vectors=rows * length)
        for given in (rows[3] * length, (rows[3] * length).tolist()):
            hit = short.search(vector=given, k=1)[0]
            assert (hit.id, hit.score) == ("d", pytest.approx(1))
