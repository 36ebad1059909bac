"""Which texts go through the model together, and how they lie in the rectangles that attention needs.

The work of a batch is planned on the host, in numpy, from the lengths alone. Short texts share rows of 64 slots, filled
by best fit in decreasing order (Johnson et al., 1974), each seeing only itself: attention over many very short rows is
several times slower than over fewer rows of 64. Longer texts get a row each, beside others of nearly their length;
those that fit into a row of 64 go with the short ones where all of them make one batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SHORT = 32  # texts of at most so many tokens share rows
ROW = 64  # slots of a shared row
STEP = 32  # rows are a multiple of this long: others cost attention up to a third more, and round differently
MIDDLE, LARGE = 384, 1_024  # tokens of a batch from which on fewer are to spare: what is spared is computed
DENSE = 0.97  # from this share of filled slots on, the holes cost less than moving tokens in and out of the rows

Integers = NDArray[np.int64]


@dataclass(slots=True)
class Rows:
    """A rectangle of `count` rows of `length` slots, and where the `T` tokens of a batch lie in it."""

    count: int
    length: int
    positions: Tensor  # (T,) int64: each token's place in its own text, from 0
    slots: Tensor | None  # (T,) int64: each token's slot, of count · length; None where token i lies in slot i
    owners: Tensor | None  # (count, length) int64: the text in each slot, -1 in a hole; None where a row is one text
    shared: bool  # a row may hold several texts

    @property
    def dense(self) -> bool:
        """Whether so few slots are holes that the whole model may run on the rectangle."""
        return self.slots is None or len(self.positions) >= DENSE * self.count * self.length

    def to(self, device: torch.device) -> Rows:
        """The same on a device; the copies are not waited for."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin(self) -> Rows:
        """The same in memory that a GPU copies from by itself."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Rows:
        slots = None if self.slots is None else change(self.slots)
        owners = None if self.owners is None else change(self.owners)
        return Rows(self.count, self.length, change(self.positions), slots, owners, self.shared)


@dataclass(slots=True)
class Batch:
    """Texts that go through the model together, in the order in which their tokens are joined."""

    texts: Integers  # (n,) which texts
    row: Integers  # (n,) in which row each lies
    column: Integers  # (n,) from which slot on
    count: int  # rows, of which the last may be empty
    length: int  # slots of a row
    shared: bool

    @property
    def cost(self) -> int:
        """Slots of the rectangle: what it takes in memory and time."""
        return self.count * self.length

    def rows(self, lengths: Integers) -> Rows:
        """The rectangle, for texts of `lengths` (n,) tokens."""
        total = int(lengths.sum())
        starts = np.cumsum(lengths) - lengths
        every = np.arange(total)
        positions = every - np.repeat(starts, lengths)
        count = self.count
        slots = positions + np.repeat(self.row * self.length + self.column, lengths)
        if total == count * self.length and not self.shared:
            return Rows(count, self.length, torch.from_numpy(positions), None, None, False)
        owners = np.full(count * self.length, -1)
        owners[slots] = np.repeat(np.arange(len(lengths)), lengths)
        in_place = total == count * self.length and bool((slots == every).all())
        return Rows(
            count,
            self.length,
            torch.from_numpy(positions),
            None if in_place else torch.from_numpy(slots),
            torch.from_numpy(owners.reshape(count, self.length)),
            self.shared,
        )


def plan(lengths: Integers, budget: int, *, share: bool = True) -> list[Batch]:
    """Batches of at most `budget` slots (a longer text goes alone), the largest texts first.

    Args:
        lengths: Tokens of each text, (n,).
        budget: Slots of a batch.
        share: Whether short texts may share rows; a model that knows no rows gets one text in each.
    """
    short = lengths <= SHORT if share else np.zeros(len(lengths), bool)
    if short.any() and not short.all():
        fitting = lengths <= ROW
        if int(lengths[fitting].sum()) <= budget:  # one batch for all of them: a second one has all the steps again
            short = fitting
    batches = _alone(lengths, np.flatnonzero(~short), budget, STEP if share else 1)
    if short.any():
        batches += _shared(lengths, np.flatnonzero(short), budget)
    return batches


def _alone(lengths: Integers, texts: Integers, budget: int, step: int) -> list[Batch]:
    """A row for each text, texts of nearly the same length together."""
    order = texts[np.argsort(-lengths[texts], kind="stable")]
    ends = np.concatenate([[0], np.cumsum(lengths[order])])
    batches = []
    start = 0
    while start < len(order):
        longest = int(lengths[order[start]])
        width = _stepped(longest, step)
        stop = min(len(order), start + max(1, budget // width))
        if step > 1 and stop < len(order):  # up to three rows fewer, where that leaves fewer tokens to spare
            choice = range(max(start + 1, stop - 3), stop + 1)
            totals = {end: int(ends[end] - ends[start]) for end in choice}
            stop = min(choice, key=lambda end: (spared(totals[end]) / totals[end], -end))
        chosen = order[start:stop]
        rows, column = np.arange(len(chosen)), np.zeros(len(chosen), np.int64)
        count = _rounded(len(chosen), budget // width) if step > 1 else len(chosen)
        batches.append(Batch(chosen, rows, column, count, width, False))
        start = stop
    return batches


def _shared(lengths: Integers, texts: Integers, budget: int) -> list[Batch]:
    """Rows of several short texts: each text, longest first, goes where it leaves the least room."""
    order = texts[np.argsort(-lengths[texts], kind="stable")]
    row = np.empty(len(order), np.int64)
    column = np.empty(len(order), np.int64)
    with_room: list[list[int]] = [[] for _ in range(ROW + 1)]  # rows by the room left in them
    rooms = 0  # bit r is set where with_room[r] holds a row
    count = 0
    for i, length in enumerate(lengths[order].tolist()):
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1  # the least that is enough
            chosen = with_room[room].pop()
            if not with_room[room]:
                rooms &= ~(1 << room)
        else:
            room, chosen = ROW, count
            count += 1
        row[i], column[i] = chosen, ROW - room
        with_room[room - length].append(chosen)
        rooms |= 1 << (room - length)
    by_row = np.argsort(row, kind="stable")  # columns rise within a row, as the rows were filled
    order, row, column = order[by_row], row[by_row], column[by_row]
    height = max(1, budget // ROW)
    edges = np.searchsorted(row, np.arange(0, count + height, height))
    ends = column + lengths[order]
    return [
        Batch(
            order[start:stop],
            row[start:stop] - row[start],
            column[start:stop],
            _rounded(int(row[stop - 1] - row[start]) + 1, height),
            _stepped(ends[start:stop].max()),
            True,
        )
        for start, stop in pairwise(edges.tolist())
        if stop > start
    ]


def spared(tokens: int) -> int:
    """Tokens with some to spare: oneDNN makes and keeps kernels, 2.6 MB in all, for each number of rows that it meets.

    Large batches are common and get a sixteenth at most; those of the questions of many clients a fifth, which are
    448, 512, 640, 768, 896 and 1,024; small ones, which end a window, 8, 16, 24, 32, 48, 64, 96 … 384.
    """
    power = 1 << max(3, (tokens - 1).bit_length())  # the next power of two
    step = max(8, power >> (5 if tokens > LARGE else 3 if tokens > MIDDLE else 2))
    return max(8, -(-tokens // step) * step)


def _rounded(rows: int, most: int) -> int:
    """Rows with some to spare, 1, 2, 3, 4, 6, 8, 12 …: oneDNN makes and keeps a kernel for each size that it meets."""
    power = 1 << (rows - 1).bit_length()
    return max(rows, min(most, power * 3 // 4 if rows <= power * 3 // 4 else power))


def _stepped(length: int, step: int = STEP) -> int:
    return max(step, -(-int(length) // step) * step)
