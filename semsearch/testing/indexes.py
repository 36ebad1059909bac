"""What every index backend must do, as tests that a third party's backend inherits.

::

    from semsearch.testing import IndexContract
    from my_package import MyIndex

    class TestMyIndex(IndexContract):
        index_class = MyIndex
        options = {"ef": 200}        # whatever gives it the recall of `recall_floor`

Needs pytest. Truth is `semsearch.vectors.brute_force`; the score of every neighbour is computed anew.
"""
# ruff: noqa: D102  (a test's name says what it holds)

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from semsearch.errors import DataError, DimensionMismatch, IndexDamaged, UsageError
from semsearch.local.index.generation import MANIFEST, open_generation, write_generation
from semsearch.search.recall import tie_safe_recall
from semsearch.types import Filterable, Keys, Metric, Neighbors, Vectors
from semsearch.vectors import brute_force, normalise, score_pairs

OWNER: dict[str, str] = {"backend": "under-test", "collection": "7d1c", "model": "none"}
HANG = 60.0  # seconds after which a forked child counts as hanging

every_metric = pytest.mark.parametrize("metric", list(Metric), ids=str)


def make_vectors(metric: Metric, count: int, dim: int, seed: int = 0) -> Vectors:
    """Vectors in loose clusters, as embeddings are; of unequal lengths unless COSINE."""
    centres = np.random.default_rng(dim).standard_normal((12, dim))  # the same for stored vectors and for queries
    rng = np.random.default_rng([seed, count, dim])
    vectors = centres[rng.integers(0, 12, count)] + rng.standard_normal((count, dim))
    if metric is Metric.COSINE:
        return normalise(vectors.astype(np.float32))
    return np.ascontiguousarray(vectors * rng.uniform(0.8, 1.25, (count, 1)), dtype=np.float32)


def make_keys(count: int, seed: int = 0) -> Keys:
    """Keys that are neither dense nor sorted, some beyond 32 bits."""
    rng = np.random.default_rng([seed, count])
    return np.concatenate([rng.permutation(count // 2) * 7, 2**40 + rng.permutation(count - count // 2)]).astype(
        np.int64
    )


class IndexContract:
    """Inherit, name the class, and run pytest."""

    index_class: ClassVar[Any]
    options: ClassVar[Mapping[str, object]] = {}
    exact: ClassVar[bool] = False  # keys and scores are brute force's, bit for bit
    recall_floor: ClassVar[float] = 0.9
    rows: ClassVar[int] = 700
    dims: ClassVar[Iterable[int]] = (1, 2, 3, 17, 64, 384, 1536)

    def params(self, **changes: object) -> Any:
        """The options under test."""
        return self.index_class.Params(**{**self.options, **changes})

    def build(self, keys: Keys, vectors: Vectors, metric: Metric = Metric.COSINE) -> Any:
        """An index with the options under test."""
        return self.index_class.build(keys, vectors, metric, self.params())

    def check(self, found: Neighbors, keys: Keys, vectors: Vectors, queries: Vectors, k: int, metric: Metric) -> float:
        """Everything that holds whatever the recall; returns the recall, safe against ties."""
        assert found.keys.shape == found.scores.shape == (len(queries), k)
        assert found.keys.dtype == np.int64
        assert found.scores.dtype == np.float32
        row_of = {int(key): row for row, key in enumerate(keys)}
        for query, found_keys, found_scores in zip(queries, found.keys, found.scores, strict=True):
            count = int((found_keys >= 0).sum())
            assert (found_keys[count:] == -1).all(), "padding comes last, with key -1"
            assert (found_scores[count:] == -np.inf).all(), "padding has score -inf"
            assert len(set(found_keys[:count].tolist())) == count, "a key comes once"
            true = score_pairs(query, vectors[[row_of[int(key)] for key in found_keys[:count]]], metric)
            scale = float(np.linalg.norm(query) + np.linalg.norm(vectors, axis=1).max(initial=0)) ** 2
            np.testing.assert_allclose(found_scores[:count], true, rtol=0, atol=2e-6 * scale)
            assert (np.diff(found_scores[:count]) <= 0).all(), "best first"
        truth = brute_force(keys, vectors, queries, k, metric)
        if self.exact:
            assert found.keys.tolist() == truth.keys.tolist()
            assert found.scores.tobytes() == truth.scores.tobytes()
        return float(tie_safe_recall(found, truth, keys, vectors, queries, metric).mean()) if len(queries) else 1.0

    # ------------------------------------------------------------------ answers

    @every_metric
    def test_finds_what_brute_force_finds(self, metric: Metric) -> None:
        for dim in self.dims:
            keys, vectors = make_keys(self.rows), make_vectors(metric, self.rows, dim)
            queries = make_vectors(metric, 40, dim, seed=1)
            recall = self.check(
                self.build(keys, vectors, metric).search(queries, 10), keys, vectors, queries, 10, metric
            )
            if metric is Metric.COSINE and dim == 1 and not self.exact:
                continue  # two directions, 350 times each: valid answers are asked for, graphs can't hang together
            assert recall >= self.recall_floor, f"recall {recall:.3f} in {dim} dimensions"

    @every_metric
    def test_one_query_answers_as_in_a_batch(self, metric: Metric) -> None:
        keys, vectors = make_keys(self.rows), make_vectors(metric, self.rows, 24)
        index = self.build(keys, vectors, metric)
        queries = make_vectors(metric, 20, 24, seed=2)
        together = index.search(queries, 5)
        for i in range(len(queries)):
            alone = index.search(queries[i : i + 1], 5)
            assert alone.keys[0].tolist() == together.keys[i].tolist()

    @every_metric
    def test_ties_and_duplicates(self, metric: Metric) -> None:
        vectors = make_vectors(metric, 200, 16)
        vectors[40:100] = vectors[39]  # 61 rows are one vector
        keys = make_keys(200)
        index = self.build(keys, vectors, metric)
        for k in (1, 10, 61, 80):
            found = index.search(vectors[[39, 5]], k)
            recall = self.check(found, keys, vectors, vectors[[39, 5]], k, metric)
            assert recall >= self.recall_floor

    @every_metric
    @pytest.mark.parametrize("count", [0, 1, 2, 15])
    def test_k_beyond_a_handful_of_rows(self, metric: Metric, count: int) -> None:
        keys, vectors = make_keys(count), make_vectors(metric, count, 8)
        index = self.build(keys, vectors, metric)
        assert len(index) == count
        for k in (1, 3, 40):
            queries = make_vectors(metric, 3, 8, seed=3)
            recall = self.check(index.search(queries, k), keys, vectors, queries, k, metric)
            assert recall >= self.recall_floor

    def test_k_beyond_all_rows(self) -> None:
        keys, vectors = make_keys(300), make_vectors(Metric.COSINE, 300, 16)
        found = self.build(keys, vectors).search(vectors[:4], 1000)
        assert self.check(found, keys, vectors, vectors[:4], 1000, Metric.COSINE) >= self.recall_floor

    def test_no_queries(self) -> None:
        index = self.build(make_keys(50), make_vectors(Metric.COSINE, 50, 8))
        assert index.search(np.empty((0, 8), dtype=np.float32), 5).keys.shape == (0, 5)

    def test_only_allowed_rows_when_filterable(self) -> None:
        keys, vectors = make_keys(self.rows), make_vectors(Metric.COSINE, self.rows, 24)
        index = self.build(keys, vectors)
        if not isinstance(index, Filterable):
            return
        queries = make_vectors(Metric.COSINE, 10, 24, seed=4)
        for share in (0.0, 0.01, 0.3, 1.0):
            allowed = np.random.default_rng(5).random(self.rows) < share
            found = index.search_allowed(queries, 10, allowed)
            assert set(found.keys.ravel().tolist()) <= {-1, *keys[allowed].tolist()}
            self.check(found, keys[allowed], vectors[allowed], queries, 10, Metric.COSINE)

    # ------------------------------------------------------------------ input

    def test_other_layouts_and_types_of_numbers(self) -> None:
        keys, vectors = make_keys(200), make_vectors(Metric.COSINE, 200, 12)
        queries = vectors[:6]
        expected = self.build(keys, vectors).search(queries, 5).keys.tolist()
        wide = np.zeros((200, 24), dtype=np.float32)
        wide[:, ::2] = vectors
        others: list[Any] = [vectors.astype(np.float64), np.asfortranarray(vectors), wide[:, ::2]]
        for same in others:
            index = self.build(keys.astype(np.int64), same)
            assert index.search(queries, 5).keys.tolist() == expected
            assert index.search(same[:6], 5).keys.tolist() == expected

    def test_arguments_stay_as_they_were_and_may_be_read_only(self) -> None:
        keys, vectors = make_keys(200), make_vectors(Metric.DOT, 200, 12)
        queries = make_vectors(Metric.DOT, 6, 12, seed=6)
        arguments: list[Any] = [keys, vectors, queries]
        before = [array.tobytes() for array in arguments]
        for array in arguments:
            array.setflags(write=False)
        self.build(keys, vectors, Metric.DOT).search(queries, 5)
        assert [array.tobytes() for array in arguments] == before

    def test_wrong_dimension(self) -> None:
        index = self.build(make_keys(60), make_vectors(Metric.COSINE, 60, 8))
        for bad in (np.zeros((2, 7)), np.zeros((2, 9)), np.zeros(8), np.zeros((1, 2, 8))):
            with pytest.raises(DimensionMismatch):
                index.search(bad.astype(np.float32), 3)
        with pytest.raises(DataError):
            self.build(make_keys(59), make_vectors(Metric.COSINE, 60, 8))

    def test_wrong_dimension_without_asserts(self) -> None:
        """`python -O` removes assert statements, on which some libraries rely."""
        kind = self.index_class
        script = f"""
import sys
import numpy as np
from importlib import import_module
from semsearch.errors import DimensionMismatch
from semsearch.types import Metric
sys.path[:] = {sys.path!r}
kind = getattr(import_module({kind.__module__!r}), {kind.__qualname__!r})
vectors = np.random.default_rng(0).standard_normal((60, 8), dtype=np.float32)
index = kind.build(np.arange(60), vectors, Metric.L2, kind.Params(**{dict(self.options)!r}))
for dim in (7, 9):
    try:
        index.search(np.zeros((2, dim), dtype=np.float32), 3)
    except DimensionMismatch:
        continue
    sys.exit("not refused")
"""
        done = subprocess.run([sys.executable, "-O", "-c", script], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_numbers_that_are_none(self, bad: float) -> None:
        keys, vectors = make_keys(60), make_vectors(Metric.COSINE, 60, 8)
        index = self.build(keys, vectors)
        queries = vectors[:2].copy()
        queries[1, 3] = bad
        with pytest.raises(DataError, match="row 1"):
            index.search(queries, 3)
        spoilt = vectors.copy()
        spoilt[17, 2] = bad
        queries, healthy = np.abs(vectors[:2]), np.arange(60) != 17
        try:
            found = self.build(keys, spoilt).search(queries, 3)
        except DataError as refused:  # at the build, or by the search that meets the row
            found, named = None, "17" in str(refused)
        if found is None:
            assert named, "the error names the row"
        else:  # never met: nothing of it shows
            self.check(found, keys[healthy], vectors[healthy], queries, 3, Metric.COSINE)

    @pytest.mark.parametrize("k", [0, -1, 2.5, "5", True, None])
    def test_k_must_be_a_number_of_rows(self, k: Any) -> None:
        index = self.build(make_keys(20), make_vectors(Metric.COSINE, 20, 8))
        with pytest.raises(UsageError):
            index.search(make_vectors(Metric.COSINE, 1, 8), k)

    # ------------------------------------------------------------------ options

    def test_options_are_parsed_and_checked(self) -> None:
        kind = self.index_class.Params
        with pytest.raises(UsageError, match="no option 'no-such-thing'"):
            kind.parse({"no-such-thing": "1"}, "index 'under-test'")
        defaults = kind().as_dict()
        assert kind.parse({name: str(value) for name, value in defaults.items()}, "index") == kind()
        for name, value in defaults.items():
            with pytest.raises(UsageError, match=name):
                kind.parse({name: object()}, "index")
            if not isinstance(value, str | bool):
                with pytest.raises(UsageError, match=name):
                    kind.parse({name: "-1"}, "index")

    def test_the_knob_turns_without_a_rebuild(self) -> None:
        knob = getattr(self.index_class, "KNOB", None)
        if knob is None:
            return
        assert knob in self.index_class.Params.tunable()
        keys, vectors = make_keys(self.rows), make_vectors(Metric.COSINE, self.rows, 32)
        queries = make_vectors(Metric.COSINE, 50, 32, seed=7)
        index = self.build(keys, vectors)
        ladder = self.index_class.ladder(self.rows)
        for count in (1, 2, 9, 100, self.rows, 1_000_000):
            steps = list(self.index_class.ladder(count))
            assert steps, f"no setting is worth trying for {count} rows"
            assert steps == sorted(set(steps))
        recalls = []
        for value in (ladder[0], ladder[-1]):
            index.tune(self.params(**{knob: value}))
            recalls.append(self.check(index.search(queries, 10), keys, vectors, queries, 10, Metric.COSINE))
        assert recalls[0] <= recalls[1] + 0.01
        assert recalls[1] >= self.recall_floor

    # ------------------------------------------------------------------ files

    @every_metric
    def test_answers_alike_after_save_and_load(self, metric: Metric, tmp_path: Path) -> None:
        for count in (self.rows, 1, 0):
            keys, vectors = make_keys(count), make_vectors(metric, count, 24)
            queries = make_vectors(metric, 20, 24, seed=8)
            index = self.build(keys, vectors, metric)
            folder = tmp_path / str(count)
            folder.mkdir()
            index.save(folder)
            loaded = self.index_class.load(folder, keys, vectors, metric, self.params())
            assert len(loaded) == len(index) == count
            before, after = index.search(queries, 10), loaded.search(queries, 10)
            assert before.keys.tolist() == after.keys.tolist()
            assert before.scores.tobytes() == after.scores.tobytes()

    def test_damaged_files_never_reach_the_library(self, tmp_path: Path) -> None:
        keys, vectors = make_keys(self.rows), make_vectors(Metric.COSINE, self.rows, 24)
        index = self.build(keys, vectors)
        folder = tmp_path / "generation"
        write_generation(folder, index, keys, vectors, Metric.COSINE, self.params(), **OWNER)

        def opened() -> Any:
            return open_generation(folder, self.index_class, keys, vectors, Metric.COSINE, **OWNER)[0]

        expected = index.search(vectors[:5], 5).keys.tolist()
        assert opened().search(vectors[:5], 5).keys.tolist() == expected
        for path in sorted(folder.iterdir()):
            whole = path.read_bytes()
            flipped = bytearray(whole)
            flipped[len(whole) // 2] ^= 1
            for damaged in (b"", whole[: len(whole) // 2], whole[:-1], bytes(flipped), None):
                if path.name == MANIFEST and damaged == bytes(flipped):
                    continue  # one bit of a text: caught where it matters, in what is compared
                path.unlink() if damaged is None else path.write_bytes(damaged)
                with pytest.raises(IndexDamaged):
                    opened()
            path.write_bytes(whole)
        assert opened().search(vectors[:5], 5).keys.tolist() == expected

    # ------------------------------------------------------------------ processes and threads

    def test_searches_from_eight_threads(self) -> None:
        keys, vectors = make_keys(self.rows), make_vectors(Metric.COSINE, self.rows, 32)
        index = self.build(keys, vectors)
        batches = [make_vectors(Metric.COSINE, 1 + 7 * (i % 3), 32, seed=i) for i in range(48)]
        alone = [index.search(batch, 3 + i % 5).keys.tolist() for i, batch in enumerate(batches)]
        with ThreadPoolExecutor(8) as threads:
            tasks = [threads.submit(index.search, batch, 3 + i % 5) for i, batch in enumerate(batches)]
        assert [task.result().keys.tolist() for task in tasks] == alone

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
    def test_fork_after_use(self) -> None:
        keys, vectors = make_keys(self.rows), make_vectors(Metric.COSINE, self.rows, 32)
        index = self.build(keys, vectors)
        queries = make_vectors(Metric.COSINE, 64, 32, seed=9)
        expected = index.search(queries, 5).keys.tolist()
        child = os.fork()
        if child == 0:
            try:
                same = index.search(queries, 5).keys.tolist() == expected
                same &= index.search(queries[:1], 5).keys.tolist() == expected[:1]
                same &= len(self.build(keys, vectors).search(queries, 5)) == len(queries)  # one that is built there
                os._exit(0 if same else 3)
            finally:
                os._exit(4)
        deadline = time.monotonic() + HANG
        while time.monotonic() < deadline:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                assert os.waitstatus_to_exitcode(status) == 0
                break
            time.sleep(0.01)
        else:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail(f"a forked child hung for {HANG:.0f} s")
        assert index.search(queries, 5).keys.tolist() == expected
