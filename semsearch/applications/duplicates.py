"""Documents that say what another one says: the same text, nearly the same words, the same meaning.

A document is a duplicate only of one that is kept and that it matches itself: no chains. Of each document that goes it
is told which one stays, why, and how alike the two are. By meaning two documents are duplicates if every passage of
each has one in the other that scores enough; a shared paragraph makes none.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from semsearch.applications.all_pairs import PairProgress
from semsearch.applications.document_vectors import READ_IDS, gathered, passages_with_documents
from semsearch.applications.pairs import FoundPairs, Wanted, check_comparable
from semsearch.applications.runs import SortedPairs
from semsearch.applications.tiles import GroupedRows
from semsearch.applications.wording import LEAST_JACCARD, Wordings, folded
from semsearch.arguments import check_number
from semsearch.dates import moment
from semsearch.engine import Engine, EngineView
from semsearch.errors import UsageError
from semsearch.tabular import Tabular
from semsearch.types import Document, Metric

SAME_MEANING = 0.95
MOST_PAIRS = 50_000_000  # of passages that score enough: 1 GB
SAME_TEXT, WORDING, MEANING = "text", "wording", "meaning"
REASONS = (SAME_TEXT, WORDING, MEANING)


class Duplicate(NamedTuple):
    """A document that can go: `of` stays, and is the same by `reason`.

    `score` is 1 for the same text, the Jaccard index of the shingles for wording, the score of the least alike passage
    for meaning.
    """

    id: str
    of: str
    reason: str
    score: float


class Duplicates(list[Duplicate], Tabular):
    """The documents that can go, in the order they were first added.

    Attributes:
        documents: How many were looked at.
        borderline: Pairs of documents by meaning around the threshold: id, id, score, best first.
        notes: Sentences on what was found.
    """

    def __init__(
        self,
        found: Iterable[Duplicate],
        documents: int,
        borderline: Sequence[tuple[str, str, float]],
        contents: dict[str, bytes],
        notes: tuple[str, ...] = (),
    ) -> None:
        super().__init__(found)
        self.documents = documents
        self.borderline = borderline
        self.notes = notes
        self._contents = contents

    def _columns(self) -> dict[str, Any]:
        return {name: [getattr(each, name) for each in self] for name in Duplicate._fields}

    def unchanged(self, view: EngineView) -> list[str]:
        """The ids of those that are, as is what they are duplicates of, what they were when they were compared."""
        same: set[str] = set()
        ids = list(self._contents)
        for start in range(0, len(ids), READ_IDS):
            there = view.get(ids[start : start + READ_IDS])
            same |= {one for one, document in there.items() if content(document) == self._contents[one]}
        others = self._contents.keys()
        return [each.id for each in self if each.id in same and (each.of not in others or each.of in same)]


@dataclass(frozen=True)
class Alike:
    """What makes two documents the same, and which one stays.

    Attributes:
        min_score: What each passage of both must score by meaning; None: only text and wording count.
        wording: Whether nearly the same words count.
        keep: Which of two stays: "first", "longest", "newest" (added last), or the one with the larger value in a
            field of metadata.
        borderline: How many pairs around `min_score` to name.
    """

    min_score: float | None = SAME_MEANING
    wording: bool = True
    keep: str = "first"
    borderline: int = 0

    def __post_init__(self) -> None:
        if self.min_score is not None:
            check_number(self.min_score, "min_score")
        if not isinstance(self.keep, str) or not self.keep:
            raise UsageError("keep must be first, longest, newest, or the name of a field of metadata.")

    @property
    def slack(self) -> float:
        """How far under the threshold pairs are looked for."""
        return 0.05 if self.borderline else 0.0


def content(document: Document) -> bytes:
    """A digest of title and text."""
    whole = f"{len(document.title)} {document.title}{document.text}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(whole, digest_size=16).digest()


class _Texts:
    """What is remembered of the documents of one state."""

    def __init__(self, view: EngineView, keep: str) -> None:
        self.ids: list[str] = []
        self.contents: list[bytes] = []
        self.same: list[bytes] = []  # equal for texts that differ in white space alone
        ranks: list[Any] = []
        for number, document in enumerate(view.documents()):
            self.ids.append(document.id)
            self.contents.append(content(document))
            squeezed = Document("", " ".join(document.text.split()), " ".join(document.title.split()))
            self.same.append(content(squeezed))
            ranks.append(_rank(document, number, keep))
        if keep not in ("first", "longest", "newest") and not any(rank[0] for rank in ranks) and ranks:
            raise UsageError(f"keep '{keep}': no document has a field of that name with a number, a date or a text.")
        self.order = sorted(range(len(ranks)), key=lambda number: (ranks[number], -number), reverse=True)
        self.place = np.empty(len(ranks), dtype=np.int64)  # of each document, in the order of preference
        self.place[self.order] = np.arange(len(ranks))

    def representatives(self) -> NDArray[np.int64]:
        """For each document the one with the same text that is kept rather than the others: `(documents,)`."""
        best: dict[bytes, int] = {}
        for number in self.order:
            best.setdefault(self.same[number], number)
        return np.array([best[same] for same in self.same], dtype=np.int64)


def _rank(document: Document, number: int, keep: str) -> tuple[Any, ...]:
    """The larger, the rather is a document kept."""
    if keep == "first":
        return (-number,)
    if keep == "longest":
        return (len(document.text),)
    if keep == "newest":
        return (number,)
    value = document.metadata.get(keep)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return (0, 0, 0.0, "")
    if isinstance(value, str):
        at = moment(value)
        return (1, 0, 0.0, value) if at is None else (1, 1, float(at), "")
    return (1, 2, float(value), "")


class _Edge(NamedTuple):
    """That two documents match, by numbers."""

    one: int
    other: int
    reason: int  # its place in `REASONS`
    score: float


def duplicates(
    engine: Engine, against: Engine | None, alike: Alike, device: str = "auto", progress: PairProgress | None = None
) -> Duplicates:
    """See `Collection.duplicates`."""
    if against is not None:
        check_comparable(engine, against)
    with ExitStack() as stack:
        view = stack.enter_context(engine.view())
        texts = _Texts(view, alike.keep)
        other, kept = None, texts
        if against is not None:
            other = stack.enter_context(against.view())
            kept = _Texts(other, "first")
        apart = texts.representatives() if other is None else np.arange(len(texts.ids))
        edges = list(_by_text(texts, kept)) if other is not None else []
        open_ones = _open(apart, edges)
        if alike.wording:
            edges += _by_wording(view, other, texts, kept, open_ones)
        near: list[_Edge] = []
        if alike.min_score is not None:
            near = list(_by_meaning(view, other, texts, kept, open_ones, alike, device, progress))
            edges += [edge for edge in near if edge.score >= alike.min_score]
        found = _decided(texts, kept, apart, edges, within=other is None)
    border = _borderline(near, texts, kept, alike)
    digests = dict(zip(texts.ids, texts.contents, strict=True))
    named = {one for each in found for one in (each.id, each.of)} if other is None else {each.id for each in found}
    return Duplicates(found, len(texts.ids), border, {one: digests[one] for one in named})


def _open(apart: NDArray[np.int64], edges: Sequence[_Edge]) -> NDArray[np.bool_]:
    """The documents whose text none before has: `(documents,)`."""
    still: NDArray[np.bool_] = apart == np.arange(len(apart))
    still[[edge.one for edge in edges]] = False
    return still


def _by_text(texts: _Texts, kept: _Texts) -> Iterator[_Edge]:
    first: dict[bytes, int] = {}
    for number, same in enumerate(kept.same):
        first.setdefault(same, number)
    for number, same in enumerate(texts.same):
        if same in first:
            yield _Edge(number, first[same], 0, 1.0)


def _by_wording(
    view: EngineView, other: EngineView | None, texts: _Texts, kept: _Texts, open_ones: NDArray[np.bool_]
) -> Iterator[_Edge]:
    wordings, candidates = Wordings(LEAST_JACCARD), []
    if other is not None:
        for number, document in enumerate(other.documents()):
            wordings.add(number, folded(document.title, document.text))
    for number, document in enumerate(view.documents()):
        if open_ones[number]:
            text = folded(document.title, document.text)
            near = wordings.add(number, text) if other is None else wordings.like(text)
            candidates += [(number, one) for one in near]

    def read(numbers: Iterable[int], second: bool) -> dict[int, str]:
        whose, where = (kept, other) if second and other is not None else (texts, view)
        by_id = {whose.ids[number]: number for number in numbers}
        there = where.get(list(by_id))
        return {by_id[one]: folded(document.title, document.text) for one, document in there.items()}

    for one, near_one, share in wordings.decided(candidates, read):
        yield _Edge(one, near_one, 1, share)


def _by_meaning(
    view: EngineView,
    other: EngineView | None,
    texts: _Texts,
    kept: _Texts,
    open_ones: NDArray[np.bool_],
    alike: Alike,
    device: str,
    progress: PairProgress | None,
) -> Iterator[_Edge]:
    assert alike.min_score is not None
    left, docs = _passages(view, texts, open_ones)
    right, other_docs = (None, docs) if other is None else _passages(other, kept, None)
    wanted = Wanted(min_score=alike.min_score - alike.slack, limit=None)
    metric = Metric(view.settings["metric"])
    found = FoundPairs(left, right, metric, wanted, device, progress=progress, most=MOST_PAIRS)
    with found.runs:
        pairs = np.concatenate([*found.stream(), found.nothing])
    counts = np.bincount(docs, minlength=len(texts.ids))
    other_counts = counts if other is None else np.bincount(other_docs, minlength=len(kept.ids))
    first, second = docs[pairs["first"]], other_docs[pairs["second"]]
    if other is None:
        keep = first != second
        pairs, first, second = pairs[keep], first[keep], second[keep]
        turned = first > second
        pairs["first"][turned], pairs["second"][turned] = pairs["second"][turned], pairs["first"][turned]
        first[turned], second[turned] = second[turned], first[turned]
    for one, another, score in _covering(pairs, first, second, counts, other_counts):
        yield _Edge(one, another, 2, score)


def _passages(
    view: EngineView, texts: _Texts, chosen: NDArray[np.bool_] | None
) -> tuple[GroupedRows, NDArray[np.int64]]:
    """The vectors of the passages of the chosen documents, each a group, and the number of the document of each."""
    vectors, docs = passages_with_documents(view, texts.ids)
    wanted = docs >= 0 if chosen is None else (docs >= 0) & chosen[docs]
    if wanted.all():
        return GroupedRows.apart(vectors), docs
    return GroupedRows.apart(gathered(vectors, np.flatnonzero(wanted))), docs[wanted]


def _covering(
    pairs: SortedPairs,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    counts: NDArray[np.int64],
    other_counts: NDArray[np.int64],
) -> Iterator[tuple[int, int, float]]:
    """Pairs of documents of which every passage has one in the other, with the score of the least alike passage."""
    order = np.lexsort((-pairs["score"], second, first))
    pairs, first, second = pairs[order], first[order], second[order]
    new = np.ones(len(pairs), dtype=bool)
    new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    begins = np.flatnonzero(new).tolist()
    for begin, end in pairwise([*begins, len(pairs)]):
        part, one, other = pairs[begin:end], int(first[begin]), int(second[begin])
        least = np.inf
        for column, count in (("first", counts[one]), ("second", other_counts[other])):
            passages, at = np.unique(part[column], return_index=True)  # the best of each comes first
            least = min(least, float(part["score"][at].min())) if len(passages) == count else -np.inf
        if least > -np.inf:
            yield one, other, least


def _decided(
    texts: _Texts, kept: _Texts, apart: NDArray[np.int64], edges: Sequence[_Edge], *, within: bool
) -> list[Duplicate]:
    """Which documents go, gone through in the order of preference, so that what stays is known of each before it."""
    matches: dict[int, list[_Edge]] = defaultdict(list)
    for edge in edges:
        matches[edge.one].append(edge)
        if within:
            matches[edge.other].append(_Edge(edge.other, edge.one, edge.reason, edge.score))
    gone: dict[int, _Edge] = {}
    for number in texts.order:
        same = int(apart[number])
        if same != number and same not in gone:
            gone[number] = _Edge(number, same, 0, 1.0)
            continue
        stays = [
            edge
            for edge in matches[same]
            if not within or (texts.place[edge.other] < texts.place[same] and edge.other not in gone)
        ]
        if stays:
            best = min(stays, key=lambda edge: (edge.reason, -edge.score, edge.other))
            gone[number] = best._replace(one=number)
    return [
        Duplicate(texts.ids[number], kept.ids[gone[number].other], REASONS[gone[number].reason], gone[number].score)
        for number in sorted(gone)
    ]


def _borderline(near: Sequence[_Edge], texts: _Texts, kept: _Texts, alike: Alike) -> list[tuple[str, str, float]]:
    if alike.min_score is None or not alike.borderline:
        return []
    least = alike.min_score
    some = heapq.nsmallest(alike.borderline, near, key=lambda edge: (abs(edge.score - least), edge.one, edge.other))
    some.sort(key=lambda edge: (-edge.score, edge.one, edge.other))
    return [(texts.ids[edge.one], kept.ids[edge.other], edge.score) for edge in some]
