"""Where two answers to one question differ, each difference weighed in float64: a tie, what a peer can't see, a fault.

A score is the cosine of two rows as float64 computes it. What one side alone has is a tie if its score lies within
`TIE` of the score that decided, since sides round in float32. Paraphrase mining looks at the `LOOKED_AT` nearest of
each row only: a pair that it lacks is `unseen` if to each of the two rows that many others are as near, and of what it
has in place of these no more is granted than there are of these. Whatever is left `differ`s.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from semsearch.types import Vectors

TIE = 1e-6
LOOKED_AT = 100  # of each row, by paraphrase mining
ROWS = 4096  # at a time

Pairs = NDArray[np.int64]  # (n, 2), the smaller row first


def differing_pairs(ours: Any, theirs: Any, vectors: Vectors) -> dict[str, Any]:
    """How two sets of pairs differ; `theirs["lasts"]` tells what the last neighbour of each row scores, if it has any.

    Without, it is the last of all our pairs that decided.
    """
    mine, yours = (_by_pair(side) for side in (ours, theirs))
    only = [
        np.array(sorted(one.keys() - other.keys()), dtype=np.int64).reshape(-1, 2) for one, other in _both(mine, yours)
    ]
    scores = [cosines(vectors, pairs) for pairs in only]
    last = min(mine.values(), default=0.0)
    facts: dict[str, Any] = {
        "found": len(mine),
        "last": last,
        "farthest": max((abs(mine[pair] - yours[pair]) for pair in mine.keys() & yours.keys()), default=0.0),
    }
    if "lasts" in theirs:
        away = [
            np.abs(own[:, None] - theirs["lasts"][pairs]).min(axis=1) for own, pairs in zip(scores, only, strict=True)
        ]
        tied = sum(int((each <= TIE).sum()) for each in away)
        return {**facts, "tied": tied, "differ": sum(map(len, only)) - tied}
    ties, yours_tied = (np.abs(own - last) <= TIE for own in scores)
    unseen = ~ties & (scores[0] > last)
    unseen[unseen] = beyond(vectors, only[0][unseen], scores[0][unseen])
    fillers = (scores[1] < last) & ~yours_tied
    room = int(unseen.sum() + ties.sum() - yours_tied.sum())  # what theirs has in place of these
    explained = int(ties.sum() + yours_tied.sum() + unseen.sum()) + min(int(fillers.sum()), max(room, 0))
    return {
        **facts,
        "tied": int(ties.sum() + yours_tied.sum()),
        "unseen": int(unseen.sum()),
        "differ": sum(map(len, only)) - explained,
    }


def _by_pair(side: Any) -> dict[tuple[int, int], float]:
    columns = (side[name].tolist() for name in ("first", "second", "scores"))
    return {(min(one, other), max(one, other)): score for one, other, score in zip(*columns, strict=True)}


def _both(one: Any, other: Any) -> list[tuple[Any, Any]]:
    return [(one, other), (other, one)]


def cosines(vectors: Vectors, pairs: Pairs) -> NDArray[np.float64]:
    """Of each pair `(n,)`."""
    made = np.empty(len(pairs))
    for start in range(0, len(pairs), ROWS):
        one, other = (unit(vectors[pairs[start : start + ROWS, side]]) for side in range(2))
        made[start : start + ROWS] = np.einsum("nd,nd->n", one, other)
    return made


def beyond(vectors: Vectors, pairs: Pairs, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each row of a pair has `LOOKED_AT` others that are nearer to it than the other one, or as near `(n,)`."""
    nearer = np.full((len(pairs), 2), -1)  # the other one is as near as itself
    asked = unit(vectors[pairs.ravel()]).T  # (dim, 2n)
    for start in range(0, len(vectors), ROWS):
        found = unit(vectors[start : start + ROWS]) @ asked
        itself = np.flatnonzero((pairs.ravel() >= start) & (pairs.ravel() < start + ROWS))
        found[pairs.ravel()[itself] - start, itself] = -np.inf
        nearer += (found > np.repeat(scores, 2) - TIE).sum(axis=0).reshape(-1, 2)
    whole: NDArray[np.bool_] = (nearer >= LOOKED_AT).all(axis=1)
    return whole


def unit(rows: Vectors) -> NDArray[np.float64]:
    """Of length 1."""
    wide = rows.astype(np.float64)
    made: NDArray[np.float64] = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    return made


def differing_communities(ours: Any, theirs: Any, vectors: Vectors) -> dict[str, Any]:
    """Communities that one side alone has."""
    sets = [
        {frozenset(part.tolist()) for part in np.split(a["rows"], np.cumsum(a["sizes"])[:-1])} for a in (ours, theirs)
    ]
    return {"found": len(sets[0]), "theirs_found": len(sets[1]), "differ": len(sets[0] ^ sets[1])}
