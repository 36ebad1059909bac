"""Pairs in sorted runs, in memory while they are few and in a folder beyond, and one stream of them, best first.

The order is total: falling score, then the first and the second row. So what comes out depends on no tile, no thread
and no interruption.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from semsearch.errors import CollectionLocked, StorageError, UsageError
from semsearch.file_locks import try_lock

PAIR = np.dtype([("score", "<f4"), ("first", "<i8"), ("second", "<i8")])
SortedPairs: TypeAlias = NDArray[np.void]  # of `PAIR`, sorted
IN_MEMORY = 1 << 22  # pairs, 20 bytes each
MERGED_AT_ONCE = 1 << 20  # pairs of all runs together, while they are merged
MANIFEST, LOCK = "unfinished.json", "lock"


def ordered(pairs: SortedPairs) -> SortedPairs:
    """Best first."""
    return pairs[np.lexsort((pairs["second"], pairs["first"], -pairs["score"]))]


def records(scores: NDArray[np.float32], first: NDArray[np.int64], second: NDArray[np.int64]) -> SortedPairs:
    """Three columns as one array."""
    pairs = np.empty(len(scores), dtype=PAIR)
    pairs["score"], pairs["first"], pairs["second"] = scores, first, second
    return pairs


class Runs:
    """Sorted runs of pairs, made step by step; a folder that is named keeps them for the next process.

    Args:
        folder: Where an interrupted computation is to be taken up again; None: nowhere, and what is too much for
            memory goes to a temporary folder.
        task: What is computed; a folder with another task is refused.

    Raises:
        UsageError: The folder holds something else.
        StorageError: It can't be written.
        CollectionLocked: Another process is computing into it.
    """

    def __init__(self, folder: Path | None = None, task: Mapping[str, Any] | None = None) -> None:
        self._kept = folder
        self._task = dict(task or {})
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._runs: list[SortedPairs] = []
        self._in_memory = 0
        self._files = 0
        self.steps = 0  # that are finished
        self._lock: IO[bytes] | None = None
        if folder is not None:
            try:
                self._take_up(folder)
            except BaseException:
                self._release()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the runs; those in a named folder stay there."""
        self._runs = []
        self._release()
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def discard(self) -> None:
        """All is done: delete what was kept for the next process."""
        self._runs = []
        if self._kept is not None and self._lock is not None:
            for path in (*self._kept.glob("run-*.npy"), self._kept / MANIFEST, self._kept / LOCK):
                with suppress(OSError):  # where files that are open can't be deleted, the last one stays
                    path.unlink()
            with suppress(OSError):  # somebody put something of their own there
                self._kept.rmdir()
        self.close()

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    @property
    def scores(self) -> Iterator[NDArray[np.float32]]:
        """The scores of each run."""
        return (run["score"] for run in self._runs)

    def add(self, pairs: SortedPairs) -> None:
        """Take in one run, of which no other order is needed than `ordered` gives."""
        if not len(pairs):
            return
        if self._kept is None and self._in_memory + len(pairs) <= IN_MEMORY:
            self._runs.append(pairs)
            self._in_memory += len(pairs)
            return
        self._runs.append(self._written(pairs))

    def finish(self) -> None:
        """One more step is done; what was added up to here needs not be computed again."""
        self.steps += 1
        if self._kept is not None:
            self._note()

    def stream(self, limit: int | None = None) -> Iterator[SortedPairs]:
        """All pairs of all runs, best first, some thousand at a time, at most `limit`."""
        left = len(self) if limit is None else limit
        for part in _merged(self._runs):
            if left <= 0:
                return
            yield part[:left]
            left -= len(part)

    # In a folder

    def _take_up(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            manifest = folder / MANIFEST
            if not manifest.exists() and any(path.name != LOCK for path in folder.iterdir()):
                raise UsageError(f"{folder} holds something else: name a folder that is empty, or not there yet.")
            self._lock = (folder / LOCK).open("ab")
            if not try_lock(self._lock):
                raise CollectionLocked(f"another process is computing into {folder}: wait for it, or name another one.")
            if not manifest.exists():
                self._note()
                return
            kept = json.loads(manifest.read_text("utf-8"))
        except ValueError as error:
            raise UsageError(f"{manifest} can't be read ({error}): delete {folder} and begin again.") from error
        except OSError as error:
            raise StorageError(f"{folder} can't be used: {error.strerror}.") from error
        if kept.get("task") != self._task:
            raise UsageError(
                f"{folder} holds what another computation left, of other vectors or options: delete it, or repeat "
                "the command as it was."
            )
        self.steps, files = int(kept["steps"]), int(kept["files"])
        for path in folder.glob("run-*.npy"):  # of a step that was not finished
            if not path.stem[4:].isdigit() or int(path.stem[4:]) >= files:
                path.unlink()
        for number in range(files):
            try:
                run = np.load(folder / f"run-{number}.npy", mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError, EOFError):
                run = np.empty(0)
            if run.dtype != PAIR or run.ndim != 1:
                raise UsageError(f"{folder} is damaged: delete it and begin again.")
            self._runs.append(run)
        self._files = files

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _note(self) -> None:
        assert self._kept is not None
        whole = {"task": self._task, "steps": self.steps, "files": self._files}
        _write(self._kept / MANIFEST, json.dumps(whole).encode())

    def _written(self, pairs: SortedPairs) -> SortedPairs:
        if self._kept is None and self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="semsearch-pairs-")
        folder = self._kept or Path(self._temporary.name if self._temporary else "")
        path = folder / f"run-{self._files}.npy"
        try:
            with path.open("wb") as file:
                np.save(file, pairs)
                file.flush()
                if self._kept is not None:
                    os.fsync(file.fileno())
        except OSError as error:
            with suppress(OSError):
                path.unlink()
            why = error.strerror or f"the disk took a part of it ({error})"
            raise StorageError(
                f"{path} can't be written: {why}. Ask for fewer pairs (a higher score, a limit), "
                f"or make room{' and repeat the command: it goes on from there' if self._kept else ''}."
            ) from error
        self._files += 1
        run: SortedPairs = np.load(path, mmap_mode="r", allow_pickle=False)
        return run


def _write(path: Path, content: bytes) -> None:
    """Replace a file at once."""
    new = path.with_suffix(".new")
    try:
        with new.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise StorageError(f"{path} can't be written: {error.strerror}.") from error


def _merged(runs: Iterable[SortedPairs]) -> Iterator[SortedPairs]:
    """Sorted runs as one: of each a block is looked at, and all that is not behind the earliest end of a block goes."""
    left = [run for run in runs if len(run)]
    at = [0] * len(left)
    while left:
        block = max(MERGED_AT_ONCE // len(left), 256)
        blocks = [np.array(run[start : start + block]) for run, start in zip(left, at, strict=True)]
        ends = [block[-1] for block in blocks]
        end = min(ends, key=lambda pair: (-pair["score"], pair["first"], pair["second"]))
        counts = [int(np.count_nonzero(_not_behind(block, end))) for block in blocks]
        yield ordered(np.concatenate([block[:count] for block, count in zip(blocks, counts, strict=True)]))
        at = [start + count for start, count in zip(at, counts, strict=True)]
        more = [start < len(run) for run, start in zip(left, at, strict=True)]
        left, at = (
            [run for run, there in zip(left, more, strict=True) if there],
            [start for start, there in zip(at, more, strict=True) if there],
        )


def _not_behind(pairs: SortedPairs, end: np.void) -> NDArray[np.bool_]:
    same = pairs["score"] == end["score"]
    first = pairs["first"]
    before: NDArray[np.bool_] = (pairs["score"] > end["score"]) | (
        same & ((first < end["first"]) | ((first == end["first"]) & (pairs["second"] <= end["second"])))
    )
    return before
