"""Translated sentences: which of one side says what which of the other says, none twice.

The score of two sentences is the margin of Artetxe and Schwenk (2019): their cosine over the mean of what both have on
average with their k nearest of the other side. So a sentence that is near everything is near nothing, and one threshold
serves for all. Each sentence proposes the best of its k nearest; the pairs are taken by falling margin, one to one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import ArrayLike, NDArray

from semsearch.applications.all_pairs import AllPairs, PairProgress
from semsearch.applications.tiles import GroupedRows
from semsearch.arguments import check_number, check_whole
from semsearch.controls import CONTROLS
from semsearch.errors import DimensionMismatch, UsageError
from semsearch.types import Metric, Vectors
from semsearch.vectors import stored_form

MARGIN_NEIGHBOURS = 4


class Bitext(NamedTuple):
    """Pairs of rows, one to one, by falling margin: `(m,)` each."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    margins: NDArray[np.float64]


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
        left: `(n, dim)`, of any length: cosines are compared.
        right: `(m, dim)`.
        k: Neighbours that a margin is taken over.
        min_margin: What a pair must have; 1 is no more alike than either is to its neighbours.
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
    sides = _margins(left, right, k, device, progress)
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


def xsim(left: ArrayLike, right: ArrayLike, *, k: int = MARGIN_NEIGHBOURS, device: str = "auto") -> float:
    """The share of the rows of `left` `(n, dim)` for which row i of `right` `(n, dim)` is not the best by margin.

    LASER's measure of a model on aligned sentences: of n pairs that translate each other, how many are not found.
    """
    sides = _margins(left, right, k, device, None)
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
    array = np.asarray(side)
    return stored_form(array, array.shape[1] if array.ndim == 2 else 0, Metric.COSINE)


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
