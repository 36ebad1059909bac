"""The most alike pairs of vectors, and of the documents of one collection or of two: paraphrase mining."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from semsearch.applications.all_pairs import AllPairs, PairProgress
from semsearch.applications.runs import Runs, SortedPairs, ordered
from semsearch.applications.tiles import GroupedRows
from semsearch.arguments import check_number, check_path, check_progress, check_truth, check_whole
from semsearch.arrow_input import rows_in
from semsearch.engine import Engine, EngineView, Indexed, fingerprint
from semsearch.errors import DimensionMismatch, ModelMismatch, UsageError
from semsearch.tabular import RowIds, Tabular
from semsearch.types import Keys, Metric, Passage
from semsearch.vectors import stored_form

if TYPE_CHECKING:
    from semsearch.applications.proposed_pairs import PairRecall, ProposedPairs

LIMIT = 1_000  # pairs, unless more are asked for
MOST_PAIRS_KEPT = 1_000_000_000  # pairs: 20 GB of the disk
HIGHER = "ask for a higher score"
LOOKED_UP = 512  # pairs whose passages are read together


@dataclass(frozen=True)
class Wanted:
    """Which pairs are asked for.

    Attributes:
        min_score: What a pair must score.
        min_percentile: The share of random pairs that must score less, from 0 to 1.
        k: A pair counts only if one is among the `k` nearest of the other.
        limit: How many at most; None: all, where `min_score` or `min_percentile` or `k` bounds them.
    """

    min_score: float | None = None
    min_percentile: float | None = None
    k: int | None = None
    limit: int | None = LIMIT

    def __post_init__(self) -> None:
        if self.min_score is not None:
            check_number(self.min_score, "min_score")
        if self.min_percentile is not None and not 0 <= check_number(self.min_percentile, "min_percentile") <= 1:
            raise UsageError(f"min_percentile must be between 0 and 1, not {self.min_percentile}.")
        if self.k is not None:
            check_whole(self.k, "k")
        if self.limit is not None:
            check_whole(self.limit, "limit")

    def least(self, compared: AllPairs) -> float:
        """What a pair must score, by whichever asks for more."""
        least = -np.inf if self.min_score is None else float(self.min_score)
        if self.min_percentile is not None:
            least = max(least, compared.sample.percentile(self.min_percentile))
        return least


class _RowPairs(NamedTuple):
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    scores: NDArray[np.float32]
    notes: tuple[str, ...] = ()
    ids: tuple[RowIds | None, RowIds | None] = (None, None)


class VectorPairs(_RowPairs, Tabular):
    """Pairs of rows, best first: `(m,)` each; of equal scores the smaller rows come first.

    Rows of a frame that has ids keep them in `to_pandas()` and its like.
    """

    __slots__ = ()

    def _columns(self) -> dict[str, Any]:
        first, second = (
            rows if ids is None else ids.of(rows) for rows, ids in zip((self.first, self.second), self.ids, strict=True)
        )
        return {"score": self.scores, "first": first, "second": second}


def pairs(
    vectors: ArrayLike,
    between: ArrayLike | None = None,
    *,
    min_score: float | None = None,
    min_percentile: float | None = None,
    k: int | None = None,
    limit: int | None = LIMIT,
    metric: Metric | str = Metric.COSINE,
    device: str = "auto",
    folder: str | os.PathLike[str] | None = None,
    progress: PairProgress | None = None,
) -> VectorPairs:
    """The most alike pairs of rows, exactly.

    A score is the float64 dot product of the float32 rows, rounded to float32, under the cosine of rows of unit length
    (L2: minus the squared distance). The answer depends neither on threads nor on the device.

    Args:
        vectors: `(n, dim)`, perhaps mapped; or a frame of pandas, polars or pyarrow with a vector a row.
        between: `(m, dim)`: pairs of one row of each instead; else each pair of two rows once.
        min_score: What a pair must score.
        min_percentile: The share of random pairs that must score less, from 0 to 1.
        k: Only pairs of which one row is among the `k` nearest of the other.
        limit: How many at most, the best; None for all that reach `min_score` or `min_percentile` or count by `k`.
        metric: "cosine", "dot" or "l2".
        device: "cpu", "cuda", "cuda:1"; "auto" takes a GPU for many rows.
        folder: Where what is found is kept until all is done: after an interruption the same call goes on there.
        progress: Called with the pairs that are done and those that there are.

    >>> import semsearch
    >>> found = semsearch.pairs([[1, 0], [0.8, 0.6], [0, 1]], limit=2)
    >>> found.first.tolist(), found.second.tolist(), found.scores.tolist()
    ([0, 1], [1, 2], [0.800000011920929, 0.6000000238418579])

    Raises:
        UsageError: What is asked for makes no sense.
        DataError: A row holds NaN or infinite numbers.
    """
    wanted = Wanted(min_score, min_percentile, k, limit)
    metric = Metric.of(metric)
    array, ids = rows_in(vectors)
    left, right, other_ids = GroupedRows.apart(stored_form(array, None, metric)), None, ids
    if between is not None:
        array, other_ids = rows_in(between)
        right = GroupedRows.apart(stored_form(array, None, metric))
    if right is not None and right.vectors.shape[1] != left.vectors.shape[1]:
        raise DimensionMismatch(
            f"vectors of {left.vectors.shape[1]} components don't compare with some of {right.vectors.shape[1]}."
        )
    found = FoundPairs(left, right, metric, wanted, device, folder=folder, progress=progress)
    with found.runs:
        whole = np.concatenate([*found.stream(), found.nothing])
        found.runs.discard()
    return VectorPairs(
        whole["first"].copy(), whole["second"].copy(), whole["score"].copy(), found.notes, (ids, other_ids)
    )


class FoundPairs:
    """All pairs that are asked for, computed; `runs` holds them until it is closed."""

    def __init__(
        self,
        left: GroupedRows,
        right: GroupedRows | None,
        metric: Metric,
        wanted: Wanted,
        device: str,
        *,
        folder: str | os.PathLike[str] | None = None,
        progress: PairProgress | None = None,
        name_row: Callable[[int, bool], str] = lambda row, right: f"row {row} of the vectors",
        most: int | None = None,
        advice: str = "ask for a higher score or give a limit",
    ) -> None:
        check_progress(progress)
        self._advice = advice  # to who asks for more than `most`
        compared = AllPairs(left, right, metric, device, name_row)
        self._limit = wanted.limit
        self.least = wanted.least(compared)
        self.sample = compared.sample
        self.nothing: SortedPairs = ordered(np.empty(0, dtype=[("score", "<f4"), ("first", "<i8"), ("second", "<i8")]))
        if wanted.k is not None and folder is not None:
            raise UsageError("what is found by k is not kept for later: leave the folder out, or k.")
        self._check_bounded(compared, wanted, MOST_PAIRS_KEPT if most is None else most)
        task = {} if folder is None else _task(left, right, metric, self.least, wanted.limit)
        self.runs = Runs(None if folder is None else Path(check_path(folder, "the folder")), task)
        try:
            if wanted.k is None:
                compared.best(self.runs, self.least, wanted.limit, progress)
            else:
                self._by_neighbours(compared, wanted.k, progress)
        except BaseException:
            self.runs.close()
            raise
        self._count = len(self.runs) if self._limit is None else min(len(self.runs), self._limit)

    def __len__(self) -> int:
        return self._count

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what was found."""
        if self._limit is not None and len(self) == self._limit and self.least > -np.inf:
            return (
                f"the best {self._limit:,} are given, as many as the limit allows; others may score {self.least:.4f} "
                "as well.",
            )
        return ()

    def stream(self) -> Iterator[SortedPairs]:
        """The pairs, best first, some thousand at a time."""
        return self.runs.stream(self._limit)

    def _check_bounded(self, compared: AllPairs, wanted: Wanted, most: int) -> None:
        if wanted.limit is not None or wanted.k is not None:
            return
        expected = compared.count * compared.sample.share_at_least(self.least)
        if expected > most:
            score = "any score" if self.least == -np.inf else f"a score of {self.least:.4f}"
            raise UsageError(
                f"about {expected:,.0f} pairs reach {score}, and at most {most:,} are taken: {self._advice}."
            )

    def _by_neighbours(self, compared: AllPairs, k: int, progress: PairProgress | None) -> None:
        left, right = compared.nearest(min(k, compared.count + 1), self.least, progress)
        own = left.pairs()
        if right is left:
            turned = own["first"] > own["second"]
            own["first"][turned], own["second"][turned] = own["second"][turned], own["first"][turned]
        else:
            own = np.concatenate([own, right.pairs(turned=True)])
        whole = ordered(own)
        new = np.ones(len(whole), dtype=bool)
        new[1:] = whole[1:] != whole[:-1]
        self.runs.add(whole[new])


def _task(
    left: GroupedRows, right: GroupedRows | None, metric: Metric, least: float, limit: int | None
) -> dict[str, object]:
    """What is computed, so that only the same is taken up again."""
    digest = hashlib.blake2b(digest_size=16)
    for rows in (left, right):
        if rows is not None:
            digest.update(f"{rows.vectors.shape}".encode())
            digest.update(rows.groups.tobytes())
            for start in range(0, len(rows), 8192):
                digest.update(rows.vectors[start : start + 8192].tobytes())
    return {"vectors": digest.hexdigest(), "metric": str(metric), "least": str(least), "limit": limit}


# Documents


class DocumentPair(NamedTuple):
    """Two documents by the passages of them that are most alike."""

    score: float
    first: Passage
    second: Passage


class DocumentPairs(Tabular):
    """Pairs of documents, best first; their passages are read as they are gone through.

    Attributes:
        notes: Sentences on what was found.
        recall: How many there are of those that belong here, where an index proposed them; None: all.
    """

    def __init__(
        self,
        engines: tuple[Engine, Engine],
        versions: tuple[object, object],
        keys: tuple[Keys, Keys],
        found: FoundPairs | ProposedPairs,
    ) -> None:
        self._engines = engines
        self._versions = versions
        self._keys = keys
        self._found = found
        self.notes = found.notes
        self.recall: PairRecall | None = None if isinstance(found, FoundPairs) else found.recall

    def __len__(self) -> int:
        return len(self._found)

    def __enter__(self) -> DocumentPairs:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self, *, done: bool = True) -> None:
        """Let go of what was found, and of what was kept for a repetition if all is `done`."""
        if done:
            self._found.runs.discard()
        else:
            self._found.runs.close()

    def __iter__(self) -> Iterator[DocumentPair]:
        """The pairs; one of which a passage was changed, removed or damaged since is left out."""
        for run in self._found.stream():
            for start in range(0, len(run), LOOKED_UP):
                yield from self._read(run[start : start + LOOKED_UP])

    def _columns(self) -> dict[str, Any]:
        whole = list(self)
        sides = {"first": [pair.first for pair in whole], "second": [pair.second for pair in whole]}
        return {
            "score": [pair.score for pair in whole],
            **{name: [passage.id for passage in passages] for name, passages in sides.items()},
            **{f"{name}_text": [passage.text for passage in passages] for name, passages in sides.items()},
        }

    def _read(self, pairs: SortedPairs) -> Iterator[DocumentPair]:
        sides = []
        with ExitStack() as stack:
            views: dict[int, EngineView] = {}
            each = zip(self._engines, self._versions, self._keys, ("first", "second"), strict=True)
            for engine, version, keys, column in each:
                if id(engine) not in views:
                    views[id(engine)] = stack.enter_context(engine.view())
                sides.append(passages_at(views[id(engine)], keys[pairs[column]], version))
        for score, first, second in zip(pairs["score"].tolist(), *sides, strict=True):
            if first is not None and second is not None:
                yield DocumentPair(score, first, second)


def passages_at(view: EngineView, keys: Keys, version: object) -> list[Passage | None]:
    """The passages of keys that were there in the state `version`; None for each that is gone since."""
    once, place = np.unique(keys, return_inverse=True)
    asked = once
    if view.version != version:  # a view may only be asked for keys that it has
        asked = once[view.present(once)]
    found = dict(zip(asked.tolist(), view.passages_of(asked) if len(asked) else [], strict=True))
    whole = [found.get(key) for key in once.tolist()]
    return [whole[at] for at in place.tolist()]


def rows_of(view: EngineView) -> tuple[Keys, GroupedRows]:
    """The keys `(n,)` and vectors of all passages, those of one document as a group."""
    keys, vectors = view.arrays()
    docs = view.docs_of(keys) if len(keys) else np.empty(0, dtype=np.int64)
    begins = np.flatnonzero(np.diff(docs)) + 1
    if len(np.unique(docs)) != len(begins) + (len(docs) > 0):  # some engine keeps them apart
        order = np.argsort(docs, kind="stable")
        keys, vectors, docs = keys[order], vectors[order], docs[order]
        begins = np.flatnonzero(np.diff(docs)) + 1
    groups = np.zeros(len(docs), dtype=np.int64)
    groups[begins] = 1
    return keys, GroupedRows(vectors, np.cumsum(groups))


def document_pairs(
    engine: Engine,
    between: Engine | None,
    wanted: Wanted,
    device: str = "auto",
    folder: str | os.PathLike[str] | None = None,
    progress: PairProgress | None = None,
    *,
    approximate: bool = False,
) -> DocumentPairs:
    """See `Collection.pairs`."""
    from semsearch.applications.proposed_pairs import ProposedPairs, Side

    check_truth(approximate, "approximate")
    if approximate and folder is not None:
        raise UsageError("what an index proposes is not kept for later: leave the folder out, or 'approximate'.")
    if between is not None:
        check_comparable(engine, between)
    for one in (engine, between):
        if approximate and isinstance(one, Indexed):
            one.load_index()
    with ExitStack() as stack:
        view = stack.enter_context(engine.view())
        metric = Metric(view.settings["metric"])
        keys, left = rows_of(view)
        other_keys, right, version = keys, None, view.version
        if between is not None:
            other = stack.enter_context(between.view())
            other_keys, right = rows_of(other)
            version = other.version

        def named(row: int, right: bool) -> str:
            whose = between if right and between is not None else engine
            return f"the stored vector of key {(other_keys if right else keys)[row]} in collection '{whose.name}'"

        found: FoundPairs | ProposedPairs
        if approximate:
            sides = Side(view, keys, left), None if right is None else Side(other, other_keys, right)
            found = ProposedPairs(*sides, metric, wanted, progress)
        else:
            found = FoundPairs(left, right, metric, wanted, device, folder=folder, progress=progress, name_row=named)
    return DocumentPairs((engine, between or engine), (view.version, version), (keys, other_keys), found)


def check_comparable(engine: Engine, other: Engine) -> None:
    """Refuse two collections whose vectors were not made alike.

    Raises:
        UsageError: They are one.
        ModelMismatch: Their models, metrics or dimensions differ.
    """
    if engine is other or (engine.name, engine.location) == (other.name, other.location):
        raise UsageError(f"'{engine.name}' is compared with itself: leave the second collection out.")
    with engine.view() as one, other.view() as two:
        dims = (one.dim, two.dim)
        mine, theirs = one.settings, two.settings
    alike = fingerprint(mine) == fingerprint(theirs) and mine["metric"] == theirs["metric"]
    if not alike or (0 not in dims and dims[0] != dims[1]):
        raise ModelMismatch(
            f"'{engine.name}' and '{other.name}' were made with different models: their vectors don't compare."
        )
