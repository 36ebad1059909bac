"""Translated sentences: which of one side says what which of the other says, none twice.

The score of two sentences is the margin of Artetxe and Schwenk (2019): their cosine over the mean of what both have on
average with their k nearest of the other side. So a sentence that is near everything is near nothing, and one threshold
serves for all. Each sentence proposes the best of its k nearest; the pairs are taken by falling margin, one to one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import ArrayLike, NDArray

from semsearch.applications.all_pairs import AllPairs, PairProgress
from semsearch.applications.tiles import GroupedRows
from semsearch.arguments import check_number, check_progress, check_whole
from semsearch.arrow_input import rows_in
from semsearch.controls import CONTROLS
from semsearch.errors import DimensionMismatch, UsageError
from semsearch.tabular import RowIds, Tabular
from semsearch.types import Metric, Vectors
from semsearch.vectors import stored_form

MARGIN_NEIGHBOURS = 4
LEARNT_FROM = 30  # translations


class _Aligned(NamedTuple):
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    margins: NDArray[np.float64]
    ids: tuple[RowIds | None, RowIds | None] = (None, None)


class Bitext(_Aligned, Tabular):
    """Pairs of rows, one to one, by falling margin: `(m,)` each; the ids of frames are kept in `to_pandas()`."""

    __slots__ = ()

    def _columns(self) -> dict[str, Any]:
        first, second = (
            rows if ids is None else ids.of(rows) for rows, ids in zip((self.first, self.second), self.ids, strict=True)
        )
        return {"margin": self.margins, "first": first, "second": second}


class _Margins(NamedTuple):
    """The pairs that one side proposes: for each row its `(n, k)` nearest of the other and the margins with them."""

    others: NDArray[np.int64]
    margins: NDArray[np.float64]


def bitext(
    left: ArrayLike,
    right: ArrayLike,
    *,
    k: int = MARGIN_NEIGHBOURS,
    min_margin: float = 1.0,
    device: str = "auto",
    progress: PairProgress | None = None,
) -> Bitext:
    """Which rows of two languages say the same, one to one.

    Args:
        left: `(n, dim)`, of any length: cosines are compared; or a frame with a vector a row.
        right: `(m, dim)`.
        k: Neighbours that a margin is taken over.
        min_margin: What a pair must have; 1 is no more alike than to neighbours. `learn_margin` learns it.
        device: "cpu", "cuda"; "auto" takes a GPU for many rows.
        progress: Called with the pairs that are done and those that there are.

    >>> import semsearch
    >>> found = semsearch.bitext([[1, 0], [0, 1]], [[0.1, 1], [1, 0.2]], k=2)
    >>> found.first.tolist(), found.second.tolist()
    ([0, 1], [1, 0])

    Raises:
        UsageError: What is asked for makes no sense.
        DataError: A row holds NaN or infinite numbers.
    """
    check_number(min_margin, "min_margin")
    (left, ids), (right, other_ids) = rows_in(left), rows_in(right)
    found = _one_to_one(_margins(left, right, k, device, progress), min_margin)
    return Bitext(found.first, found.second, found.margins, (ids, other_ids))


def _one_to_one(sides: tuple[_Margins, _Margins], min_margin: float) -> Bitext:
    """The proposed pairs by falling margin, of each row only the first."""
    first, second, margins = _proposed(sides)
    order = np.lexsort((second, first, -margins))
    used = [set[int](), set[int]()]
    kept = []
    for at in order.tolist():
        one, other = int(first[at]), int(second[at])
        if margins[at] >= min_margin and one not in used[0] and other not in used[1]:
            used[0].add(one)
            used[1].add(other)
            kept.append(at)
    return Bitext(first[kept], second[kept], margins[kept])


class LearntMargin(NamedTuple):
    """The margin that parts translations from the rest best, and what it is worth where it was learnt."""

    min_margin: float
    precision: float  # share of the pairs with that margin that translate each other
    recall: float  # share of the translations that are found
    f1: float


def learn_margin(
    left: ArrayLike, right: ArrayLike, *, k: int = MARGIN_NEIGHBOURS, seed: int = 0, device: str = "auto"
) -> LearntMargin:
    """The margin with the best F1, learnt on rows of which row i of `left` translates row i of `right`.

    What is mined has sentences without a translation, and only these tell a margin that is too small. So of a third of
    the rows the left one is left out, of another third the right one. The threshold lies halfway between the last pair
    that is taken and the next, as LASER learns it on BUCC.

    Args:
        left: `(n, dim)`, or a frame with a vector a row.
        right: `(n, dim)`.
        k: Neighbours that a margin is taken over.
        seed: Which rows are left out.
        device: "cpu", "cuda"; "auto" takes a GPU for many rows.

    Raises:
        UsageError: They are not as many, or fewer than 30, or no pair is right.
        DataError: A row holds NaN or infinite numbers.
    """
    one, other = (_unit(rows_in(side)[0]) for side in (left, right))
    if len(one) != len(other):
        raise UsageError(f"line i must translate line i, and there are {len(one):,} and {len(other):,}.")
    if len(one) < LEARNT_FROM:
        raise UsageError(f"a margin is learnt on {LEARNT_FROM} translations at least, and there are {len(one)}.")
    check_whole(seed, "seed", 0)
    order = np.random.default_rng(seed).permutation(len(one))
    third = len(one) // 3
    lefts, rights = np.sort(order[third:]), np.sort(np.concatenate([order[:third], order[2 * third :]]))
    found = _one_to_one(_margins(one[lefts], other[rights], k, device, None), -np.inf)
    right_so_far = np.cumsum(lefts[found.first] == rights[found.second])
    if not right_so_far[-1]:
        raise UsageError(
            "no pair that was found is a translation: does line i translate line i, and the model know both?"
        )
    precision = right_so_far / np.arange(1, len(right_so_far) + 1)
    recall = right_so_far / len(np.intersect1d(lefts, rights))
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    f1[:-1][found.margins[:-1] == found.margins[1:]] = 0  # a threshold takes all that have the same margin
    best = int(f1.argmax())
    after = found.margins[min(best + 1, len(f1) - 1)]
    least = float((found.margins[best] + after) / 2)
    return LearntMargin(least, float(precision[best]), float(recall[best]), float(f1[best]))


def xsim(left: ArrayLike, right: ArrayLike, *, k: int = MARGIN_NEIGHBOURS, device: str = "auto") -> float:
    """The share of the rows of `left` `(n, dim)` for which row i of `right` `(n, dim)` is not the best by margin.

    LASER's measure of a model on aligned sentences: of n pairs that translate each other, how many are not found.
    """
    sides = _margins(rows_in(left)[0], rows_in(right)[0], k, device, None)
    if len(sides[0].others) != len(sides[1].others):
        raise UsageError(
            f"line i must translate line i, and there are {len(sides[0].others):,} and {len(sides[1].others):,}."
        )
    if not len(sides[0].others):
        return 0.0
    others, margins = sides[0]
    best = np.array([own[np.lexsort((own, -score))[0]] for own, score in zip(others, margins, strict=True)])
    return float((best != np.arange(len(best))).mean())


def _margins(
    left: ArrayLike, right: ArrayLike, k: int, device: str, progress: PairProgress | None
) -> tuple[_Margins, _Margins]:
    """What each side proposes."""
    check_whole(k, "k")
    check_progress(progress)
    one, other = (_unit(side) for side in (left, right))
    if one.shape[1] != other.shape[1]:
        raise DimensionMismatch(f"vectors of {one.shape[1]} and of {other.shape[1]} components don't compare.")
    if not len(one) or not len(other):
        none = _Margins(np.empty((0, 1), dtype=np.int64), np.empty((0, 1)))
        return (
            none._replace(others=np.empty((len(one), 0), dtype=np.int64), margins=np.empty((len(one), 0))),
            none._replace(others=np.empty((len(other), 0), dtype=np.int64), margins=np.empty((len(other), 0))),
        )
    k = min(k, len(one), len(other))
    nearest = AllPairs(GroupedRows.apart(one), GroupedRows.apart(other), Metric.COSINE, device).nearest(
        k, progress=progress
    )
    means = [side.scores.astype(np.float64).mean(axis=1) for side in nearest]
    sides = []
    for at, side in enumerate(nearest):
        base = (means[at][:, None] + means[1 - at][side.others]) / 2
        scores = side.scores.astype(np.float64)
        sides.append(_Margins(side.others, scores / np.maximum(base, 1e-9)))
    return sides[0], sides[1]


def _unit(side: ArrayLike) -> Vectors:
    return stored_form(side, None, Metric.COSINE)


def _proposed(sides: tuple[_Margins, _Margins]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """The best pair of each row of either side, each pair once."""
    found: dict[tuple[int, int], float] = {}
    for turned, (others, margins) in enumerate(sides):
        if not others.shape[1]:
            continue
        for row, (own, score) in enumerate(zip(others, margins, strict=True)):
            at = int(np.lexsort((own, -score))[0])
            pair = (int(own[at]), row) if turned else (row, int(own[at]))
            found[pair] = float(score[at])
    pairs = np.array(list(found), dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1], np.array(list(found.values()), dtype=np.float64)


def tmx(pairs: Iterable[tuple[str, str]], languages: Sequence[str]) -> Iterable[str]:
    """The lines of a translation memory (TMX 1.4) of pairs of texts, in these two languages."""
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    header = f'srclang={quoteattr(languages[0])} datatype="plaintext" segtype="sentence" adminlang="en" o-tmf="none"'
    yield f'<tmx version="1.4"><header creationtool="semsearch" creationtoolversion="1" {header}/><body>'
    for pair in pairs:
        sides = zip(languages, pair, strict=True)
        units = "".join(f"<tuv xml:lang={quoteattr(lang)}><seg>{_segment(text)}</seg></tuv>" for lang, text in sides)
        yield f"<tu>{units}</tu>"
    yield "</body></tmx>"


def _segment(text: str) -> str:
    """A text as XML may hold it: no control characters, which it has no way to write."""
    whole = text.encode("utf-8", "replace").decode()
    return escape(
        CONTROLS.sub("\N{REPLACEMENT CHARACTER}", whole).replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd")
    )
