"""All pairs of vectors, exactly: by symmetric tiles, in bounded memory, the same whatever the tile and the thread.

What is asked for is a least score, a number of pairs, the nearest of each, or these together. A step is one block of
rows against all that come after it; after each step what was found is kept, and a run that is taken up again goes on
there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from semsearch.applications.found_pairs import BestPairs, Nearest
from semsearch.applications.neighbour_floors import neighbour_floors
from semsearch.applications.runs import Runs
from semsearch.applications.tile_bounds import component_cost, fastest_codes
from semsearch.applications.tiles import BLOCK_ROWS, GroupedRows, Tiles
from semsearch.applications.upper_bounds import PairSample, choose
from semsearch.arguments import kind_of
from semsearch.errors import UsageError
from semsearch.hardware import settle_threads, threads
from semsearch.types import Metric

AMPLE = 1.2, 3.0  # at least and at most so many times as many pairs are foreseen as are wanted: …
DOUBTS = 4  # … standard errors more, since what is foreseen too high takes a second pass
SAMPLED_ENOUGH = 16  # pairs of the sample that tell a score
CERTAIN = 1e-4  # relative to the scores of the sample, which are computed otherwise
WORTH_A_GPU = 20_000  # rows
Computed = TypeVar("Computed")
PairProgress = Callable[[float, float], None]  # pairs that are done, and all


class AllPairs:
    """Two sets of rows, or one with itself, and how they are compared.

    Args:
        left: Rows.
        right: The other set; None: `left` with itself, each pair once.
        metric: How they are compared; vectors of unit length under the cosine.
        device: "auto" takes a GPU for many rows; "cpu", "cuda", "cuda:1".
        name_row: How a row is called in an error; whether it is of the right.
        codes: As what tiles are multiplied: "none", "int8", "bf16"; "auto": whichever is fastest here.
    """

    def __init__(
        self,
        left: GroupedRows,
        right: GroupedRows | None,
        metric: Metric,
        device: str = "auto",
        name_row: Callable[[int, bool], str] = lambda row, right: f"row {row} of the vectors",
        codes: str = "auto",
    ) -> None:
        if right is not None and not (len(left) and len(right)):  # what has no rows may not know its components
            dim = max(left.vectors.shape[1], right.vectors.shape[1])
            left, right = (
                one if len(one) else GroupedRows.apart(np.empty((0, dim), np.float32)) for one in (left, right)
            )
        self.left, self.right = left, right
        self.metric = metric
        self._other = other = left if right is None else right  # which may be without rows
        self.count = len(left) * (len(left) - 1) // 2 if right is None else len(left) * len(other)
        self.sample = _alone(
            lambda: PairSample.draw(
                left.vectors, left.groups, other.vectors, other.groups, metric, self.count, same=right is None
            )
        )
        self._device = chosen_device(device, max(len(left), len(other)))
        self._name_row = name_row
        self._codes = _alone(lambda: fastest_codes(self._device)) if codes == "auto" else codes

    def best(
        self,
        runs: Runs,
        least: float = -np.inf,
        limit: int | None = None,
        progress: PairProgress | None = None,
        block_rows: int = BLOCK_ROWS,
    ) -> None:
        """The `limit` best pairs that score at least `least`, into `runs`; steps that it holds are not done again."""
        steps = len(self.left.blocks(block_rows))
        sure = least if limit is None else max(least, self._surely(limit))
        guess = sure if limit is None else max(sure, self._probably(limit))
        for passed, (low, high) in enumerate([(guess, np.inf), (sure, guess)]):
            if passed and (limit is None or guess == sure or len(runs) >= limit):
                break
            found = BestPairs(runs, low, limit)
            tiles = self._tiles(low)

            def step(rows: slice, columns: slice, found: BestPairs = found, tiles: Tiles = tiles) -> None:
                pairs = tiles.pairs(rows, columns, found.threshold)
                found.add(pairs[pairs["score"] < high] if high < np.inf else pairs)  # noqa: B023

            self._go(tiles, block_rows, runs.steps - passed * steps, step, found.finish_step, progress)

    def _surely(self, limit: int) -> float:
        """What `limit` pairs score at least, since so many of the sample do."""
        scores = self.sample.scores
        if len(scores) < limit:
            return -np.inf
        return float(scores[-limit]) - CERTAIN * max(1.0, abs(float(scores[-limit])))

    def _probably(self, limit: int) -> float:
        """What more than `limit` pairs score, as far as the sample tells: if it errs, there is a second pass."""
        least, most = (times * limit for times in AMPLE)
        sampled = most / max(self.count, 1) * len(self.sample.scores)
        if sampled < SAMPLED_ENOUGH:
            return -np.inf
        doubt = _alone(lambda: self.sample.doubt(self.sample.score_of_best(most), self.metric))
        return self.sample.score_of_best(min(max(least, (1 + DOUBTS * doubt) * limit), most))

    def nearest(
        self, k: int, least: float = -np.inf, progress: PairProgress | None = None, block_rows: int = BLOCK_ROWS
    ) -> tuple[Nearest, Nearest]:
        """The `k` nearest of each group of the left, and of each of the right; of one set with itself both the same."""
        floors = _alone(lambda: self._floors(k))
        tiles = self._tiles(np.maximum(least, self._of_sample(*floors, k)))
        left = Nearest(_groups(tiles.left), k, floors[0])
        right = left if tiles.same else Nearest(_groups(tiles.right), k, floors[1])

        def step(rows: slice, columns: slice) -> None:
            own, other = tiles.left.groups[rows], tiles.right.groups[columns]
            pairs = tiles.pairs(
                rows, columns, left.limits(own, columns.start, least), right.limits(other, rows.start, least)
            )
            first, second = pairs["first"], pairs["second"]
            one, two = tiles.left.groups[first], tiles.right.groups[second]
            if tiles.same:
                left.update(
                    np.concatenate([one, two]),
                    np.concatenate([pairs["score"], pairs["score"]]),
                    np.concatenate([first, second]),
                    np.concatenate([second, first]),
                )
            else:
                left.update(one, pairs["score"], first, second)
                right.update(two, pairs["score"], second, first)

        self._go(tiles, block_rows, 0, step, lambda: None, progress)
        left.finish()
        right.finish()
        return left, right

    def _floors(self, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What the `k`-th nearest of each group of the left, and of the right, scores at least; -inf if unknown.

        One row stands for each group: with its best pair two groups score at least as much.
        """
        same = self.right is None
        left = self.left.one_of_each()
        right = left if same else self._other.one_of_each()
        floors = neighbour_floors(left, right, self.metric, k, same=same)
        return floors, floors if same else neighbour_floors(right, left, self.metric, k, same=False)

    def _of_sample(
        self, left: NDArray[np.float64], right: NDArray[np.float64], k: int
    ) -> NDArray[np.float64] | np.floating[Any]:
        """What the pairs of the sample must score to be among the nearest of one of theirs, as far as is known."""
        usual = self.sample.score_of_best(k * len(self.left) / 2)
        if not np.isfinite(left).any():
            return np.float64(usual)
        own = left[self.left.groups[self.sample.rows]]
        other = right[self._other.groups[self.sample.columns]]
        lower: NDArray[np.float64] = np.minimum(own[:, None], other)
        return np.where(np.isfinite(lower), lower, usual)

    def _tiles(self, least: float | NDArray[np.float64] | np.floating[Any]) -> Tiles:
        def made() -> Tiles:
            component = component_cost(self._device, self._codes)
            projection = choose(self.sample, self.metric, least, self._codes, component)
            return Tiles(self.left, self.right, self.metric, projection, self._device, self._name_row, self._codes)

        return _alone(made)

    def _go(
        self,
        tiles: Tiles,
        block_rows: int,
        done: int,
        task: Callable[[slice, slice], None],
        finish: Callable[[], None],
        progress: PairProgress | None,
    ) -> None:
        """Each block of rows with every block of columns, on several threads; those before `done` are passed over."""
        columns = tiles.right.blocks(block_rows)
        rows = columns if tiles.same else tiles.left.blocks(block_rows)
        settle_threads()
        import torch

        before, workers = torch.get_num_threads(), threads()
        so_far = 0.0
        with ThreadPoolExecutor(workers, initializer=_compute_alone) as pool:
            try:
                for number, block in enumerate(rows):
                    own = columns[number:] if tiles.same else columns
                    if number >= done:
                        _all_of(pool, task, block, own)
                        finish()
                    so_far += _pairs_of(block, own, tiles.same)
                    if progress is not None:
                        progress(so_far, float(self.count))
            finally:
                torch.set_num_threads(before)  # a part of the setting is the whole process's


def _all_of(
    pool: ThreadPoolExecutor, task: Callable[[slice, slice], None], rows: slice, columns: Sequence[slice]
) -> None:
    """One step; the first error ends it."""
    waiting = [pool.submit(task, rows, block) for block in columns]
    try:
        wait(waiting, return_when=FIRST_EXCEPTION)
    finally:
        for one in waiting:
            one.cancel()
    for one in waiting:
        if not one.cancelled():
            one.result()


def _alone(work: Callable[[], Computed]) -> Computed:
    """What work gives that is done on one thread."""
    settle_threads()
    import torch

    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(1, initializer=_compute_alone) as pool:
            return pool.submit(work).result()
    finally:
        torch.set_num_threads(before)


def _compute_alone() -> None:
    """A thread of ours computes by itself: threads that wait for each other at every tile take longer."""
    import torch

    torch.set_num_threads(1)


def _pairs_of(rows: slice, columns: Sequence[slice], same: bool) -> float:
    count = rows.stop - rows.start
    whole = count * float(columns[-1].stop - columns[0].start) if columns else 0.0
    return whole - count * (count + 1) / 2 if same else whole


def _groups(rows: GroupedRows) -> int:
    return int(rows.groups[-1]) + 1 if len(rows) else 0


def chosen_device(asked: str, rows: int) -> str:
    """Where tiles are multiplied.

    Raises:
        UsageError: It is no name of one, or a GPU is asked for and there is none.
    """
    if not isinstance(asked, str):
        raise UsageError(f"device must be auto, cpu, cuda or cuda:1, not {kind_of(asked)}.")
    if asked == "cpu" or (asked == "auto" and rows < WORTH_A_GPU):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda" if asked == "auto" else asked
    if asked != "auto":
        raise UsageError(f"device '{asked}' was asked for, but torch sees no CUDA device here: take auto or cpu.")
    return "cpu"
