"""Rows whose vectors are one and the same: an index holds one of each, and what it finds stands for its equals.

A thousand equal nodes of a graph link to one another alone, and as many equal codes fill a list of candidates: what
lies near them is missed, and of the equals themselves the index gives any. So where there are many, a backend is given
each distinct vector once, whatever backend it is, and the search puts the others behind the one that was found.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Self, cast

import numpy as np
from numpy.typing import NDArray

from semsearch.errors import IndexDamaged
from semsearch.plain_files import open_plain
from semsearch.types import Keys, Neighbors, Vectors
from semsearch.vectors import ChosenRows, group_equal, merge

EQUALS_FILE = "equals.i64"  # for each row, which of the distinct vectors it has
MANY_EQUAL = 8  # vectors that are one and the same, above which the index is built of distinct ones


class Equals:
    """Which rows of an index share their vectors.

    Attributes:
        rows: The first row of each distinct vector, `(d,)`, rising: those that the index is built of.
    """

    def __init__(self, keys: Keys, groups: NDArray[np.int64]) -> None:
        """Of the rows of `keys` `(n,)`, rising, which have the distinct vectors `groups` `(n,)`, 0 to d - 1."""
        self._keys = keys
        self._groups = groups
        _, first = np.unique(groups, return_index=True)
        self.rows: NDArray[np.intp] = first

    @classmethod
    def of(cls, keys: Keys, vectors: Vectors) -> Self | None:
        """Of `vectors` `(n, dim)` under `keys` `(n,)`; None where so few are equal that any index copes."""
        groups = group_equal(vectors)
        if not len(groups) or np.bincount(groups).max() <= MANY_EQUAL:
            return None
        return cls(keys, groups)

    @classmethod
    def load(cls, folder: Path, keys: Keys) -> Self:
        """What `save` wrote for the rows of `keys`; what it says is held against the vectors by every search."""
        path = folder / EQUALS_FILE
        with open_plain(path) as file:
            content = file.read(8 * len(keys) + 1)
        if len(content) != 8 * len(keys):
            raise IndexDamaged(f"the index file {path} is not of {len(keys):,} vectors: build it anew.")
        groups = np.frombuffer(content, dtype="<i8").astype(np.int64)
        once, first = np.unique(groups, return_index=True)
        if not (np.array_equal(once, np.arange(len(once))) and (np.diff(first) > 0).all()):
            raise IndexDamaged(f"the index file {path} names vectors that are not there: build it anew.")
        return cls(keys, groups)

    def save(self, folder: Path) -> None:
        """Write what `load` reads."""
        (folder / EQUALS_FILE).write_bytes(self._groups.astype("<i8").tobytes())

    def distinct(self, vectors: Vectors) -> Vectors:
        """The distinct ones of all `vectors` `(n, dim)`, for a backend, which may ask numpy for an array of them."""
        return cast("Vectors", ChosenRows(vectors, self.rows))

    def allowed(self, allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which distinct vectors `(d,)` a row has that is `allowed` `(n,)`."""
        some = np.zeros(len(self.rows), dtype=np.bool_)
        some[self._groups[allowed]] = True
        return some

    def first(self, keys: Keys, allowed: NDArray[np.bool_] | None) -> Keys:
        """For keys that the index found, the first allowed ones of the same vectors; -1 where there is none."""
        if allowed is None:
            return keys
        known = keys >= 0
        once, inverse = np.unique(self._group_of(keys[known]), return_inverse=True)
        members = [self._members(group, allowed, 1) for group in once.tolist()]
        firsts = np.array([self._keys[rows[0]] if len(rows) else -1 for rows in members], dtype=np.int64)
        found = np.full_like(keys, -1)
        found[known] = firsts[inverse]
        return found

    def expanded(self, found: Neighbors, k: int, allowed: NDArray[np.bool_] | None = None) -> Neighbors:
        """The `k` best, of which `found` holds one for each vector, best first and under its true score."""
        known = found.keys >= 0
        once, inverse = np.unique(self._group_of(found.keys[known]), return_inverse=True)
        members = [self._members(group, allowed, k) for group in once.tolist()]
        sizes = np.array([len(rows) for rows in members], dtype=np.int64)
        counts = np.zeros(found.keys.shape, dtype=np.int64)
        counts[known] = sizes[inverse]
        # what is worse than the k-th comes after k others; what ties with it may have a smaller key
        last = np.maximum(((np.cumsum(counts, axis=1) - counts) < k).sum(axis=1) - 1, 0)
        counts[found.scores < np.take_along_axis(found.scores, last[:, None], axis=1)] = 0
        widths = counts.sum(axis=1)
        shape = (len(found.keys), int(widths.max(initial=0)))
        keys, scores = np.full(shape, -1, dtype=np.int64), np.full(shape, -np.inf, dtype=np.float32)
        there = np.arange(shape[1]) < widths[:, None]
        scores[there] = np.repeat(found.scores[known], counts[known])
        taken = [members[place] for place, count in zip(inverse.tolist(), counts[known].tolist(), strict=True) if count]
        if taken:
            keys[there] = self._keys[np.concatenate(taken)]
        return merge([Neighbors(keys, scores)], k)

    def __len__(self) -> int:
        return len(self._groups)

    def _group_of(self, keys: Keys) -> NDArray[np.int64]:
        rows = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return self._groups[rows]

    def _members(self, group: int, allowed: NDArray[np.bool_] | None, most: int) -> NDArray[np.intp]:
        """The first allowed rows of a vector, rising."""
        order, starts = self._by_group
        rows = order[starts[group] : starts[group + 1]]
        return rows[:most] if allowed is None else rows[allowed[rows]][:most]

    @cached_property
    def _by_group(self) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """The rows group by group, and where each group begins."""
        counts = np.bincount(self._groups, minlength=len(self.rows))
        return np.argsort(self._groups, kind="stable"), np.concatenate([[0], np.cumsum(counts)])


def with_equals(
    search: Callable[[Vectors, int], Neighbors],
    equals: Equals | None,
    scores_of: Callable[[Vectors, NDArray[np.int64]], NDArray[np.float32]],
) -> Callable[[Vectors, int], Neighbors]:
    """What an index of distinct vectors finds with the equals of it, under the true scores of `scores_of`."""
    if equals is None:
        return search

    def found(queries: Vectors, k: int) -> Neighbors:
        keys = search(queries, k).keys
        return equals.expanded(merge([Neighbors(keys, scores_of(queries, keys))], k), k)

    return found
