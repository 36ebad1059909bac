"""Documents that say what another one says: the same text, nearly the same words, the same meaning.

A document is a duplicate only of one that is kept and that it matches itself: no chains. Of each document that goes it
is told which one stays, why, and how alike the two are. By meaning two documents are duplicates if every passage of
each has one in the other that scores enough; a shared paragraph makes none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from semsearch.applications.all_pairs import PairProgress
from semsearch.applications.document_vectors import READ_IDS, passages_with_documents
from semsearch.applications.pairs import HIGHER, FoundPairs, Wanted, check_comparable
from semsearch.applications.tiles import GroupedRows
from semsearch.applications.wording import LEAST_JACCARD, Wordings, folded
from semsearch.arguments import check_number, check_truth, check_whole
from semsearch.dates import moment
from semsearch.engine import Engine, EngineView
from semsearch.errors import SemsearchError, UsageError
from semsearch.scratch import gathered
from semsearch.search.fields import listed_fields
from semsearch.tabular import Tabular
from semsearch.types import Document, Metric

if TYPE_CHECKING:
    from semsearch.encoder.readings import Reading

SAME_MEANING = 0.95
MOST_PAIRS = 20_000_000  # of passages that score enough: 2 GB with what is made of them
SAME_TEXT, WORDING, MEANING = "text", "wording", "meaning"
REASONS = (SAME_TEXT, WORDING, MEANING)
EDGE_FIELDS = np.dtype([("one", "<i4"), ("other", "<i4"), ("reason", "i1"), ("score", "<f4")])
NAMED_WORDS = 3  # of those that the model reads alike
READ_PAIRS = 256  # of documents, read together
Reads: TypeAlias = Callable[[Sequence[str]], "list[Reading] | None"]  # how the model reads texts, if anything tells
Edges: TypeAlias = NDArray[np.void]  # of `EDGE_FIELDS`: that two documents match, by numbers, and by which of `REASONS`


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
        check_truth(self.wording, "wording")
        check_whole(self.borderline, "borderline", 0)
        if self.borderline and self.min_score is None:
            raise UsageError("borderline pairs are near min_score: there are none where meaning does not count.")
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
            known = listed_fields(keep, view.fields().names())
            raise UsageError(
                f"keep '{keep}': no document has a field of that name with a number, a date or a text; {known}"
            )
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


def _edges(found: Iterable[tuple[int, int, int, float]]) -> Edges:
    return np.array(list(found), dtype=EDGE_FIELDS)


def duplicates(
    engine: Engine,
    against: Engine | None,
    alike: Alike,
    device: str = "auto",
    progress: PairProgress | None = None,
    read: Reads | None = None,
) -> Duplicates:
    """See `Collection.duplicates`; `read` tells how the model reads texts."""
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
        edges = _edges(_by_text(texts, kept)) if other is not None else _edges([])
        open_ones = _open(apart, edges)
        if alike.wording:
            edges = np.concatenate([edges, _edges(_by_wording(view, other, texts, kept, open_ones))])
        near, notes = _edges([]), list[str]()
        if alike.min_score is not None:
            near = _by_meaning(view, other, texts, kept, open_ones, alike, device, progress)
            if read is not None and len(near):
                near, notes = _read_by_the_model(near, view, other, texts, kept, alike.min_score, read)
            edges = np.concatenate([edges, near[near["score"] >= alike.min_score]])
        found = _decided(texts, kept, apart, edges, within=other is None)
    border = _borderline(near, texts, kept, alike)
    digests = dict(zip(texts.ids, texts.contents, strict=True))
    named = {one for each in found for one in (each.id, each.of)} if other is None else {each.id for each in found}
    return Duplicates(found, len(texts.ids), border, {one: digests[one] for one in named}, tuple(notes))


def _open(apart: NDArray[np.int64], edges: Edges) -> NDArray[np.bool_]:
    """The documents whose text none before has: `(documents,)`."""
    still: NDArray[np.bool_] = apart == np.arange(len(apart))
    still[edges["one"]] = False
    return still


def _by_text(texts: _Texts, kept: _Texts) -> Iterator[tuple[int, int, int, float]]:
    first: dict[bytes, int] = {}
    for number, same in enumerate(kept.same):
        first.setdefault(same, number)
    for number, same in enumerate(texts.same):
        if same in first:
            yield number, first[same], 0, 1.0


def _by_wording(
    view: EngineView, other: EngineView | None, texts: _Texts, kept: _Texts, open_ones: NDArray[np.bool_]
) -> Iterator[tuple[int, int, int, float]]:
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
        yield one, near_one, 1, share


def _by_meaning(
    view: EngineView,
    other: EngineView | None,
    texts: _Texts,
    kept: _Texts,
    open_ones: NDArray[np.bool_],
    alike: Alike,
    device: str,
    progress: PairProgress | None,
) -> Edges:
    assert alike.min_score is not None
    left, docs = _passages(view, texts, open_ones)
    right, other_docs = (None, docs) if other is None else _passages(other, kept, None)
    wanted = Wanted(min_score=alike.min_score - alike.slack, limit=None)
    metric = Metric(view.settings["metric"])
    counts = np.bincount(docs, minlength=len(texts.ids))
    other_counts = counts if other is None else np.bincount(other_docs, minlength=len(kept.ids))
    whole = counts.max(initial=0) <= 1 and other_counts.max(initial=0) <= 1  # documents that are one passage each
    parts: list[Edges] = [_edges([])]
    rows: list[NDArray[np.int32]] = [np.empty((0, 2), dtype=np.int32)]  # of the passages, where these must cover
    found = FoundPairs(left, right, metric, wanted, device, progress=progress, most=MOST_PAIRS, advice=HIGHER)
    with found.runs:
        for pairs in found.stream():
            part = np.empty(len(pairs), dtype=EDGE_FIELDS)
            part["one"], part["other"] = docs[pairs["first"]], other_docs[pairs["second"]]
            part["reason"], part["score"] = 2, pairs["score"]
            own = part["one"] != part["other"] if other is None else np.ones(len(part), dtype=bool)
            parts.append(part[own])
            if not whole:
                rows.append(np.stack([pairs["first"], pairs["second"]], axis=1, dtype=np.int32)[own])
    edges = np.concatenate(parts)
    return edges if whole else _covering(edges, np.concatenate(rows), counts, other_counts, same=other is None)


def _read_by_the_model(
    near: Edges,
    view: EngineView,
    other: EngineView | None,
    texts: _Texts,
    kept: _Texts,
    min_score: float,
    read: Reads,
) -> tuple[Edges, list[str]]:
    """The edges whose documents don't differ in what the model reads alike, and what to say of the others.

    It makes one vector of all words that it does not know, and often one of words that differ in their accents, so that
    by it texts are alike that say quite different things.
    """
    sides = [(view, texts.ids, near["one"]), (other or view, kept.ids, near["other"])]
    seen: dict[tuple[Any, ...], int] = {(): 0}
    unknown, altered = ([np.zeros(len(ids), dtype=np.int64) for _, ids, _ in sides] for _ in range(2))
    apart = np.zeros(len(near), dtype=bool)
    mistaken: set[str] = set()
    try:
        for side, (where, ids, numbers) in enumerate(sides):  # which of `seen` each document has
            there = np.unique(numbers)
            for start in range(0, len(there), READ_IDS):
                part = there[start : start + READ_IDS]
                found = _readings(where, ids, part, read)
                if found is None:
                    return near, []
                unknown[side][part] = [seen.setdefault(each.unknown, len(seen)) for each in found]
                altered[side][part] = [seen.setdefault(each.altered, len(seen)) for each in found]
        apart = unknown[0][near["one"]] != unknown[1][near["other"]]
        doubtful = np.flatnonzero(~apart & (altered[0][near["one"]] != altered[1][near["other"]]))
        for start in range(0, len(doubtful), READ_PAIRS):
            part = doubtful[start : start + READ_PAIRS]
            pairs = zip(
                *(_readings(where, ids, numbers[part], read) or () for where, ids, numbers in sides), strict=True
            )
            for at, (one, two) in zip(part.tolist(), pairs, strict=True):
                words = one.mistaken(two)
                apart[at] = bool(words)
                mistaken |= words
    except SemsearchError as error:
        return near, [f"whether the model knows the words of what is alike in meaning can't be told: {error}"]
    dropped = int(np.count_nonzero(apart & (near["score"] >= min_score)))
    if not dropped:
        return near[~apart], []
    sets = list(seen)
    differing = zip(unknown[0][near["one"][apart]].tolist(), unknown[1][near["other"][apart]].tolist(), strict=True)
    named = mistaken.union(*({*sets[one], *sets[two]} for one, two in set(differing) if one != two))
    some = ", ".join(f"'{word:.20}'" for word in sorted(named, key=lambda word: (len(word), word))[:NAMED_WORDS])
    return near[~apart], [
        f"not counted: {dropped:,} "
        f"{'pair that scores enough and differs' if dropped == 1 else 'pairs that score enough and differ'} in words "
        f"that the model reads alike, as it does not know them or leaves out their accents ({some}). A model that "
        "knows them tells them apart."
    ]


def _readings(view: EngineView, ids: Sequence[str], numbers: NDArray[np.integer], read: Reads) -> list[Reading] | None:
    """How the model reads the documents of these numbers."""
    names = [ids[number] for number in numbers.tolist()]
    found = view.get(list(dict.fromkeys(names)))
    return read([f"{found[one].title}\n{found[one].text}" if one in found else "" for one in names])


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
    edges: Edges, rows: NDArray[np.int32], counts: NDArray[np.int64], other_counts: NDArray[np.int64], *, same: bool
) -> Edges:
    """Of edges between passages, whose `rows` `(edges, 2)` are told, those of documents of which each covers the other.

    Every passage of one has an edge to one of the other; the score is that of the least alike passage.
    """
    if same:
        turned = edges["one"] > edges["other"]
        rows[turned] = rows[turned][:, ::-1]
        edges["one"][turned], edges["other"][turned] = edges["other"][turned], edges["one"][turned]
    order = np.lexsort((edges["other"], edges["one"]))
    edges, rows = edges[order], rows[order]
    new = np.ones(len(edges), dtype=bool)
    new[1:] = (edges["one"][1:] != edges["one"][:-1]) | (edges["other"][1:] != edges["other"][:-1])
    group = np.cumsum(new) - 1
    made = edges[new]
    made["score"] = np.inf
    covered = np.ones(len(made), dtype=bool)
    for side, needed in enumerate((counts[made["one"]], other_counts[made["other"]])):
        order = np.lexsort((-edges["score"], rows[:, side], group))
        passage, of, scores = rows[order, side], group[order], edges["score"][order]
        best = np.ones(len(edges), dtype=bool)
        best[1:] = (passage[1:] != passage[:-1]) | (of[1:] != of[:-1])
        of, scores = of[best], scores[best]
        covered &= np.bincount(of, minlength=len(made)) == needed
        if len(made):
            least = np.minimum.reduceat(scores, np.searchsorted(of, np.arange(len(made))))
            made["score"] = np.minimum(made["score"], least)
    return made[covered]


def _decided(texts: _Texts, kept: _Texts, apart: NDArray[np.int64], edges: Edges, *, within: bool) -> list[Duplicate]:
    """Which documents go, gone through in the order of preference, so that what stays is known of each before it."""
    one, other = edges["one"], edges["other"]
    if within:  # of two the one that rather goes, then the one that rather stays
        turned = texts.place[one] < texts.place[other]
        one, other = np.where(turned, other, one), np.where(turned, one, other)
    order = np.lexsort((other, -edges["score"], edges["reason"], one))
    others, reasons, scores = other[order], edges["reason"][order], edges["score"][order]
    begins = np.searchsorted(one[order], np.arange(len(texts.ids) + 1))
    gone = np.zeros(len(texts.ids), dtype=bool)
    found: dict[int, Duplicate] = {}
    for number in texts.order:
        same = int(apart[number])
        if same != number and not gone[same]:
            gone[number] = True
            found[number] = Duplicate(texts.ids[number], texts.ids[same], SAME_TEXT, 1.0)
            continue
        matches = slice(begins[same], begins[same + 1])
        stays = ~gone[others[matches]] if within else np.ones(matches.stop - matches.start, dtype=bool)
        if stays.any():
            at = matches.start + int(stays.argmax())  # the best of those
            gone[number] = True
            of, reason, score = kept.ids[int(others[at])], REASONS[int(reasons[at])], float(scores[at])
            found[number] = Duplicate(texts.ids[number], of, reason, score)
    return [found[number] for number in sorted(found)]


def _borderline(near: Edges, texts: _Texts, kept: _Texts, alike: Alike) -> list[tuple[str, str, float]]:
    if alike.min_score is None or not alike.borderline:
        return []
    far = np.abs(near["score"].astype(np.float64) - alike.min_score)
    some = near[np.lexsort((near["other"], near["one"], far))[: alike.borderline]]
    some = some[np.lexsort((some["other"], some["one"], -some["score"]))]
    return [(texts.ids[one], kept.ids[other], score) for one, other, _, score in some.tolist()]
