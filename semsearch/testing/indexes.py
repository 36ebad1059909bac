"""What every index backend must do, as tests that a third party's backend inherits.

::

    from semsearch.testing import IndexContract
    from my_package import MyIndex

    class TestMyIndex(IndexContract):
        index_class = MyIndex
        options = {"ef": 200}        # whatever gives it the recall of `recall_floor`

What a backend says of itself (`semsearch.vector_index`) is held against what it does. Truth is
`semsearch.vectors.brute_force`; the score of every neighbour is computed anew.
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
from semsearch.local.index.generation import GENERATION_MANIFEST, open_generation, write_generation
from semsearch.local.index.tags import TAG_PREFIX
from semsearch.search.recall import tie_safe_recall
from semsearch.search.truth import Truth
from semsearch.types import Keys, Metric, Neighbors, Vectors
from semsearch.vector_index import Filterable, Verifiable, faults
from semsearch.vectors import MAX_COMPONENT, brute_force, normalise, score_pairs

GENERATION_OWNER: dict[str, str] = {"backend": "under-test", "collection": "7d1c", "model": "none"}
HANG = 60.0  # seconds after which a forked child counts as hanging

every_metric = pytest.mark.parametrize("metric", list(Metric), ids=str)


def make_vectors(metric: Metric, count: int, dim: int, seed: int = 0) -> Vectors:
    """Vectors in loose clusters, as embeddings are; of unequal lengths unless COSINE."""
    centres = np.random.default_rng(dim).standard_normal((12, dim))  # the same for stored vectors and for queries
    rng = np.random.default_rng([seed, count, dim])
    vectors = centres[rng.integers(0, 12, count)] + rng.standard_normal((count, dim))
    if metric == Metric.COSINE:
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
    recall_floor: ClassVar[float] = 0.9
    rows: ClassVar[int] = 700
    dims: ClassVar[Iterable[int]] = (1, 2, 3, 17, 64, 384, 1536)

    @property
    def metric(self) -> Metric:
        """For a test that needs one: COSINE, if the backend has it."""
        metrics: frozenset[Metric] = self.index_class.metrics
        return min(metrics)

    @property
    def other_metric(self) -> Metric:
        """Another one, if the backend has several."""
        metrics: frozenset[Metric] = self.index_class.metrics
        return max(metrics)

    def params(self, **changes: object) -> Any:
        """The options under test."""
        return self.index_class.Params(**{**self.options, **changes})

    def build(self, keys: Keys, vectors: Vectors, metric: Metric | None = None) -> Any:
        """An index with the options under test."""
        return self.index_class.build(keys, vectors, metric or self.metric, self.params())

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
        if self.index_class.exact:
            assert found.keys.tolist() == truth.keys.tolist()
            assert found.scores.tobytes() == truth.scores.tobytes()
        scores_of = Truth(keys, vectors, metric).scores_of
        return float(tie_safe_recall(found, truth, queries, scores_of).mean()) if len(queries) else 1.0

    @pytest.fixture(autouse=True)
    def _only_metrics_that_it_compares_by(self, request: pytest.FixtureRequest) -> None:
        metric = getattr(request.node, "callspec", None) and request.node.callspec.params.get("metric")
        if metric is not None and metric not in self.index_class.metrics:
            pytest.skip(f"it says that it doesn't compare by {metric}")

    # ------------------------------------------------------------------ facts

    def test_it_says_of_itself_what_it_must(self) -> None:
        assert faults(self.index_class) == []

    def test_its_library_has_a_version(self) -> None:
        library = self.index_class.library
        library.load()
        assert library.installed
        assert library.versions, f"no package of '{library.module}' is known: name them in Library(packages=…)"
        assert library.advice.startswith("pip install ")

    def test_every_variant_can_be_built(self) -> None:
        keys, vectors = make_keys(self.rows), make_vectors(self.metric, self.rows, 24)
        for variant in self.index_class.variants:
            params = self.index_class.Params.parse(variant, "index 'under-test'")
            assert len(self.index_class.build(keys, vectors, self.metric, params)) == self.rows

    @every_metric
    def test_it_looks_through_what_others_wrote(self, tmp_path: Path, metric: Metric) -> None:
        if not issubclass(self.index_class, Verifiable):
            pytest.skip("it says that it can't, and is only loaded where it was built")
        keys, vectors = make_keys(self.rows), make_vectors(metric, self.rows, 9)
        self.build(keys, vectors, metric).save(tmp_path)
        self.index_class.verify(tmp_path, keys, vectors, metric, self.params())
        for path in tmp_path.iterdir():
            whole = path.read_bytes()
            for spoilt in (whole[:-8], whole + bytes(4), b"\xff" * len(whole), b""):
                path.write_bytes(spoilt)
                with pytest.raises(ValueError, match=r".+"):
                    self.index_class.verify(tmp_path, keys, vectors, metric, self.params())
            path.write_bytes(whole)

    def test_its_files_are_about_as_large_as_it_says(self, tmp_path: Path) -> None:
        rows = 4 * self.rows
        for dim in (32, 256):
            index = self.build(make_keys(rows), make_vectors(self.metric, rows, dim), self.metric)
            folder = tmp_path / str(dim)
            folder.mkdir()
            index.save(folder)
            written = sum(file.stat().st_size for file in folder.iterdir())
            told = rows * self.index_class.bytes_per_row(dim, self.params())
            assert told / 2 <= written <= 2 * told + 100_000, f"{written:,} bytes written, {told:,.0f} told"

    def test_what_it_is_compared_with_answers(self) -> None:
        keys, vectors = np.arange(self.rows), make_vectors(self.metric, self.rows, 24)
        baseline = self.index_class.baseline(vectors, self.metric, self.params(), 1)
        if baseline is None:
            pytest.skip("it says that there is nothing to compare it with")
        if self.index_class.knob is not None:
            baseline.turn(self.index_class.knob.ladder(self.rows)[-1])
        found = np.asarray(baseline.search(vectors[:20], 10)).astype(np.int64)
        assert found.shape == (20, 10)
        truth = brute_force(keys, vectors, vectors[:20], 10, self.metric).keys
        assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.tolist(), truth.tolist(), strict=True)]) >= 0.8

    # ------------------------------------------------------------------ answers

    @every_metric
    def test_finds_what_brute_force_finds(self, metric: Metric) -> None:
        for dim in self.dims:
            keys, vectors = make_keys(self.rows), make_vectors(metric, self.rows, dim)
            queries = make_vectors(metric, 40, dim, seed=1)
            recall = self.check(
                self.build(keys, vectors, metric).search(queries, 10), keys, vectors, queries, 10, metric
            )
            if metric == Metric.COSINE and dim == 1 and not self.index_class.exact:
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
        keys, vectors = make_keys(300), make_vectors(self.metric, 300, 16)
        found = self.build(keys, vectors).search(vectors[:4], 1000)
        assert self.check(found, keys, vectors, vectors[:4], 1000, self.metric) >= self.recall_floor

    def test_no_queries(self) -> None:
        index = self.build(make_keys(50), make_vectors(self.metric, 50, 8))
        assert index.search(np.empty((0, 8), dtype=np.float32), 5).keys.shape == (0, 5)

    def test_only_allowed_rows_when_filterable(self) -> None:
        keys, vectors = make_keys(self.rows), make_vectors(self.metric, self.rows, 24)
        index = self.build(keys, vectors)
        assert self.index_class.filterable == isinstance(index, Filterable)
        if not isinstance(index, Filterable):
            pytest.skip("it says that it can't search among some of its rows only")
        queries = make_vectors(self.metric, 10, 24, seed=4)
        for share in (0.0, 0.01, 0.3, 1.0):
            allowed = np.random.default_rng(5).random(self.rows) < share
            found = index.search_allowed(queries, 10, allowed)
            assert set(found.keys.ravel().tolist()) <= {-1, *keys[allowed].tolist()}
            self.check(found, keys[allowed], vectors[allowed], queries, 10, self.metric)

    # ------------------------------------------------------------------ input

    def test_other_layouts_and_types_of_numbers(self) -> None:
        keys, vectors = make_keys(200), make_vectors(self.metric, 200, 12)
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
        keys, vectors = make_keys(200), make_vectors(self.other_metric, 200, 12)
        queries = make_vectors(self.other_metric, 6, 12, seed=6)
        arguments: list[Any] = [keys, vectors, queries]
        before = [array.tobytes() for array in arguments]
        for array in arguments:
            array.setflags(write=False)
        self.build(keys, vectors, self.other_metric).search(queries, 5)
        assert [array.tobytes() for array in arguments] == before

    def test_wrong_dimension(self) -> None:
        index = self.build(make_keys(60), make_vectors(self.metric, 60, 8))
        for bad in (np.zeros((2, 7)), np.zeros((2, 9)), np.zeros(8), np.zeros((1, 2, 8))):
            with pytest.raises(DimensionMismatch):
                index.search(bad.astype(np.float32), 3)
        with pytest.raises(DataError):
            self.build(make_keys(59), make_vectors(self.metric, 60, 8))

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
index = kind.build(np.arange(60), vectors, Metric({self.other_metric.value!r}), kind.Params(**{dict(self.options)!r}))
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
        keys, vectors = make_keys(60), make_vectors(self.metric, 60, 8)
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
            self.check(found, keys[healthy], vectors[healthy], queries, 3, self.metric)

    @every_metric
    def test_numbers_as_large_as_may_be(self, metric: Metric) -> None:
        keys, vectors = make_keys(700), make_vectors(metric, 700, 8)
        if metric != Metric.COSINE:
            vectors *= np.float32(MAX_COMPONENT / np.abs(vectors).max() / 2)
            vectors[17] *= 2
        index = self.build(keys, vectors, metric)
        found = index.search(vectors[15:20], 10)
        self.check(found, keys, vectors, vectors[15:20], 10, metric)
        with pytest.raises(DataError, match="row 2"):
            index.search(vectors[15:20] * np.array([[1], [1], [1e25], [1], [1]], np.float32), 10)

    @pytest.mark.parametrize("k", [0, -1, 2.5, "5", True, None])
    def test_k_must_be_a_number_of_rows(self, k: Any) -> None:
        index = self.build(make_keys(20), make_vectors(self.metric, 20, 8))
        with pytest.raises(UsageError):
            index.search(make_vectors(self.metric, 1, 8), k)

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
        knob = self.index_class.knob
        if knob is None:
            pytest.skip("it says that nothing trades its speed for recall")
        keys, vectors = make_keys(self.rows), make_vectors(self.metric, self.rows, 32)
        queries = make_vectors(self.metric, 50, 32, seed=7)
        index = self.build(keys, vectors)
        ladder = knob.ladder(self.rows)
        for count in (1, 2, 9, 100, self.rows, 1_000_000):
            steps = list(knob.ladder(count))
            assert steps, f"no setting is worth trying for {count} rows"
            assert steps == sorted(set(steps))
        recalls = []
        for value in (ladder[0], ladder[-1]):
            index.tune(self.params(**{knob.option: value}))
            recalls.append(self.check(index.search(queries, 10), keys, vectors, queries, 10, self.metric))
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
        keys, vectors = make_keys(self.rows), make_vectors(self.metric, self.rows, 24)
        index = self.build(keys, vectors)
        folder = tmp_path / "generation"
        write_generation(folder, index, keys, vectors, self.metric, self.params(), **GENERATION_OWNER)

        def opened() -> Any:
            return open_generation(folder, self.index_class, keys, vectors, self.metric, **GENERATION_OWNER)[0]

        expected = index.search(vectors[:5], 5).keys.tolist()
        assert opened().search(vectors[:5], 5).keys.tolist() == expected
        for path in sorted(folder.iterdir()):
            if path.name.startswith(TAG_PREFIX):  # without a right one it counts as another's
                continue
            whole = path.read_bytes()
            flipped = bytearray(whole)
            flipped[len(whole) // 2] ^= 1
            for damaged in (b"", whole[: len(whole) // 2], whole[:-1], bytes(flipped), None):
                if path.name == GENERATION_MANIFEST and damaged == bytes(flipped):
                    continue  # one bit of a text: caught where it matters, in what is compared
                path.unlink() if damaged is None else path.write_bytes(damaged)
                with pytest.raises(IndexDamaged):
                    opened()
            path.write_bytes(whole)
        assert opened().search(vectors[:5], 5).keys.tolist() == expected

    # ------------------------------------------------------------------ processes and threads

    def test_searches_from_eight_threads(self) -> None:
        keys, vectors = make_keys(self.rows), make_vectors(self.metric, self.rows, 32)
        index = self.build(keys, vectors)
        batches = [make_vectors(self.metric, 1 + 7 * (i % 3), 32, seed=i) for i in range(48)]
        alone = [index.search(batch, 3 + i % 5).keys.tolist() for i, batch in enumerate(batches)]
        with ThreadPoolExecutor(8) as threads:
            tasks = [threads.submit(index.search, batch, 3 + i % 5) for i, batch in enumerate(batches)]
        assert [task.result().keys.tolist() for task in tasks] == alone

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
    def test_fork_after_use(self) -> None:
        keys, vectors = make_keys(self.rows), make_vectors(self.metric, self.rows, 32)
        index = self.build(keys, vectors)
        queries = make_vectors(self.metric, 64, 32, seed=9)
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
