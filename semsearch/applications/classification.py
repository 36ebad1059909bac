"""Labels by the vote of the nearest neighbours, with a confidence that is calibrated, and "don't know".

Of the k nearest labelled rows each votes with the weight exp((s − s₁)/τ), where s₁ is the best score; the shares of the
labels among all have α votes too, so that no label is impossible. The shares of the votes, raised to the power β, are
the probabilities (temperature scaling; Guo et al. 2017). k, τ, α and then β are those under which the labelled rows,
each left out in turn, are foretold best by the log loss. What has no neighbour as near as 99 of 100 labelled rows have
is not known, whatever the vote.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, NamedTuple, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from semsearch.applications.all_pairs import AllPairs
from semsearch.applications.document_vectors import passages_with_documents
from semsearch.applications.tiles import GroupedRows
from semsearch.arguments import as_list, check_number, kind_of
from semsearch.arrow_input import rows_in
from semsearch.engine import Engine
from semsearch.errors import UsageError
from semsearch.scratch import gathered
from semsearch.search.fields import composed, listed_fields
from semsearch.tabular import RowIds, Tabular
from semsearch.types import Metric, Scores, Vectors
from semsearch.validation import check_text
from semsearch.vectors import stored_form

Label: TypeAlias = str | int

VOTERS = (1, 2, 3, 5, 8, 12, 20, 32, 50, 80)
SHARPNESS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of τ, times the spread of the neighbours' scores
PRIORS = (0.02, 0.1, 0.5)
POWERS = np.geomspace(0.25, 8.0, 41)
LEFT_OUT = 2_000  # labelled rows that are foretold
STRANGE = 0.01  # share of the labelled rows whose nearest is farther
ROWS_VOTED = 4096  # at a time
BINS = 10  # of the calibration error


def is_label(value: object) -> TypeGuard[Label]:
    """Whether a value of metadata is a label: a text or a whole number."""
    return isinstance(value, str | int) and not isinstance(value, bool)


def printed(label: Label) -> str:
    """What tells labels apart: how they print, so that the "1" of a JSON file is the 1 of a CSV file."""
    if isinstance(label, str):
        return composed(label)
    return str(label) if label % 1 else str(int(label))  # 1.0 is 1, and infinity's remainder is NaN


def label_forms(labels: Iterable[Label]) -> dict[str, Label]:
    """How each label is given, by how it prints: as most of `labels` have it, and of equally many the first."""
    counts: dict[str, Counter[Label]] = {}
    for label in labels:
        counts.setdefault(printed(label), Counter())[label] += 1
    return {text: forms.most_common(1)[0][0] for text, forms in counts.items()}


def left_out(what: str, field: str, values: Iterable[object]) -> list[str]:
    """A sentence on those of which the field holds something that is no label; null is nothing."""
    kinds = Counter(
        "a decimal number" if isinstance(value, float) else kind_of(value)
        for value in values
        if value is not None and not is_label(value)
    )
    if not kinds:
        return []
    told = ", ".join(f"{count:,} with {kind}" for kind, count in kinds.most_common())
    return [f"{what}, as their '{field}' is neither a text nor a whole number: {told}."]


class Classified(NamedTuple):
    """What a row is: `label` is None for "don't know", and `best` is the likeliest label all the same."""

    label: Label | None
    confidence: float  # that `best` is right
    best: Label
    nearest: int  # the row, or document, of the nearest neighbour
    score: float  # of it


class Classifications(list[Classified], Tabular):
    """What each row is, in their order.

    Attributes:
        ids: Of the rows, where a frame had some.
        labelled: What `nearest` counts: the ids of the labelled documents or rows.
        notes: Sentences on what was left out.
    """

    def __init__(
        self,
        found: Iterable[Classified],
        ids: RowIds | None = None,
        labelled: Sequence[Any] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        super().__init__(found)
        self.ids = ids
        self.labelled = labelled
        self.notes = tuple(notes)

    def _index(self) -> RowIds | None:
        return self.ids if self.ids is not None and self.ids.indexed else None

    def _columns(self) -> dict[str, Any]:
        named: dict[str, Any] = {}
        if self._index() is None:
            named = {"row": np.arange(len(self))} if self.ids is None else {"id": list(self.ids.values)}
        nearest = [one.nearest if self.labelled is None else self.labelled[one.nearest] for one in self]
        return {
            **named,
            "label": [one.label for one in self],
            "confidence": [one.confidence for one in self],
            "best": [one.best for one in self],
            "nearest": nearest,
            "score": [one.score for one in self],
        }


@dataclass(frozen=True)
class Vote:
    """How neighbours vote, and how well that foretold the labelled rows.

    Attributes:
        k: Neighbours.
        sharpness: τ, in units of scores.
        prior: α.
        power: β.
        strange: The score under which a nearest neighbour says nothing.
        accuracy: Of the labelled rows, each left out in turn.
        calibration_error: How far confidence and accuracy are apart, on average over ten bins (ECE).
    """

    k: int
    sharpness: float
    prior: float
    power: float
    strange: float
    accuracy: float
    calibration_error: float

    @classmethod
    def fitted(
        cls, scores: Scores, labels: NDArray[np.int64], truth: NDArray[np.int64], shares: NDArray[np.float64]
    ) -> Vote:
        """The one under which neighbours with `scores` and `labels` `(n, k)` foretell `truth` `(n,)` best."""
        gaps = scores[:, :1] - scores
        spread = float(gaps.mean()) if gaps.size and gaps.mean() > 0 else 1.0
        best: tuple[float, int, float, float] | None = None
        for k in [k for k in VOTERS if k <= labels.shape[1]]:
            for sharpness in SHARPNESS:
                for prior in PRIORS:
                    right = _share_of(scores[:, :k], labels[:, :k], truth, spread * sharpness, prior, shares)
                    loss = float(-np.log(np.maximum(right, 1e-12)).mean())
                    if best is None or loss < best[0] - 1e-12:
                        best = (loss, k, spread * sharpness, prior)
        assert best is not None
        _, k, sharpness, prior = best
        strange = float(np.quantile(scores[:, 0], STRANGE))
        vote = cls(k, sharpness, prior, 1.0, strange, 0.0, 0.0)
        logs = np.log(vote.shares(scores, labels, shares))
        losses = [_loss(logs * power, truth) for power in POWERS]
        vote = replace(vote, power=float(POWERS[int(np.argmin(losses))]))
        guess, confidence = vote.foretell(scores, labels, shares)
        right = guess == truth
        return replace(vote, accuracy=float(right.mean()), calibration_error=calibration_error(confidence, right))

    def shares(self, scores: Scores, labels: NDArray[np.int64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """The share of the votes that each label has with each row, by neighbours `(n, ≥ k)`: `(n, labels)`."""
        votes = np.tile(shares * self.prior, (len(scores), 1))
        weights = _weights(scores[:, : self.k], self.sharpness)
        np.add.at(votes, (np.arange(len(scores))[:, None], labels[:, : self.k]), weights)
        whole: NDArray[np.float64] = votes / votes.sum(axis=1, keepdims=True)
        return whole

    def foretell(
        self, scores: Scores, labels: NDArray[np.int64], shares: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The likeliest label of each row, of equal ones the first, and its probability, by neighbours `(n, ≥ k)`."""
        guess, confidence = np.empty(len(scores), dtype=np.int64), np.empty(len(scores))
        for start in range(0, len(scores), ROWS_VOTED):
            part = slice(start, start + ROWS_VOTED)
            powers = self.shares(scores[part], labels[part], shares) ** self.power
            guess[part] = powers.argmax(axis=1)
            confidence[part] = powers.max(axis=1) / powers.sum(axis=1)
        return guess, confidence


def _loss(logs: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """The mean log loss of unnormalised log probabilities `(n, labels)`."""
    most = logs.max(axis=1, keepdims=True)
    whole = most[:, 0] + np.log(np.exp(logs - most).sum(axis=1))
    return float((whole - logs[np.arange(len(truth)), truth]).mean())


def _weights(scores: Scores, sharpness: float) -> NDArray[np.float64]:
    weights: NDArray[np.float64] = np.exp((scores - scores[:, :1]).astype(np.float64) / sharpness)
    return weights


def _share_of(
    scores: Scores,
    labels: NDArray[np.int64],
    truth: NDArray[np.int64],
    sharpness: float,
    prior: float,
    shares: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The probability that is given to the true label of each row."""
    weights = _weights(scores, sharpness)
    right = (weights * (labels == truth[:, None])).sum(axis=1) + prior * shares[truth]
    share: NDArray[np.float64] = right / (weights.sum(axis=1) + prior)
    return share


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """The expected calibration error: |mean confidence − accuracy| over ten bins of equal width, weighted by size."""
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    gaps = np.abs(np.bincount(bins, confidence, BINS) - np.bincount(bins, right.astype(float), BINS))
    return float(gaps[counts > 0].sum() / max(len(confidence), 1))


class NeighbourClassifier:
    """Labelled vectors that foretell the labels of others.

    Args:
        rows: Of which each group has a label.
        labels: One for each group, in the order of the groups; those that print the same are one.
        metric: How they are compared.
        device: Where.

    Raises:
        UsageError: There are fewer than two labelled groups.
    """

    def __init__(self, rows: GroupedRows, labels: Sequence[Label], metric: Metric, device: str = "auto") -> None:
        if len(labels) < 2:
            raise UsageError(f"it takes at least two labelled documents to learn from, and there are {len(labels)}.")
        self._rows, self._metric, self._device = rows, metric, device
        self.names = sorted(label_forms(labels).values(), key=lambda label: (isinstance(label, str), label))
        number = {printed(name): at for at, name in enumerate(self.names)}
        self._labels = np.array([number[printed(label)] for label in labels], dtype=np.int64)
        self._shares = np.bincount(self._labels) / len(self._labels)
        self.vote = self._fitted()

    def _fitted(self) -> Vote:
        groups = int(self._rows.groups[-1]) + 1
        chosen = np.sort(np.random.default_rng(0).choice(groups, min(groups, LEFT_OUT), replace=False))
        rows = np.flatnonzero(np.isin(self._rows.groups, chosen))
        own = np.searchsorted(chosen, self._rows.groups[rows])
        most = min(max(VOTERS), groups - 1)
        scores, found = self._nearest(GroupedRows(gathered(self._rows.vectors, rows), own), most + 1)
        other = found != chosen[:, None]
        other &= np.cumsum(other, axis=1) <= most  # where a group is not its own nearest, one is left over
        scores, found = scores[other].reshape(-1, most), found[other].reshape(-1, most)
        return Vote.fitted(scores, self._labels[found], self._labels[chosen], self._shares)

    def _nearest(self, asked: GroupedRows, k: int) -> tuple[Scores, NDArray[np.int64]]:
        """Scores and groups `(asked groups, k)` of the nearest."""
        k = min(k, int(self._rows.groups[-1]) + 1)
        found, _ = AllPairs(asked, self._rows, self._metric, self._device).nearest(k)
        return found.scores, self._rows.groups[found.others]

    def classify(self, vectors: Vectors, min_confidence: float = 0.0) -> list[Classified]:
        """What each of `vectors` `(n, dim)` is; "don't know" where the confidence is less, or all are far away."""
        if not len(vectors):
            return []
        scores, groups = self._nearest(GroupedRows.apart(vectors), self.vote.k)
        guess, confidence = self.vote.foretell(scores, self._labels[groups], self._shares)
        made = []
        for row, (at, sure) in enumerate(zip(guess.tolist(), confidence.tolist(), strict=True)):
            score = float(scores[row, 0])
            known = sure >= min_confidence and score >= self.vote.strange
            best = self.names[at]
            made.append(Classified(best if known else None, sure, best, int(groups[row, 0]), score))
        return made


def classify(
    vectors: ArrayLike,
    labelled: ArrayLike,
    labels: Iterable[Label],
    *,
    min_confidence: float = 0.0,
    metric: Metric | str = Metric.COSINE,
    device: str = "auto",
) -> Classifications:
    """What each of `vectors` `(n, dim)` is, by the vote of its nearest among `labelled` `(m, dim)` with `labels`.

    Either may be a frame of pandas, polars or pyarrow with a vector a row, and the labels one of its columns. Labels
    that print the same, 1 and "1", are one, in the form that most have.

    Raises:
        UsageError: There are fewer than two labels, or not one for each row: None and NaN are none.
        DataError: A row holds NaN or infinite numbers, or a label a character that is none.
    """
    check_confidence(min_confidence)
    metric = Metric.of(metric)
    (known, known_ids), (asked, ids) = (rows_in(given) for given in (labelled, vectors))
    named = [
        label.item() if isinstance(label, np.generic) else label
        for label in as_list(labels, "classify takes a list of labels")
    ]
    for row, label in enumerate(named):
        if not isinstance(label, str | Real) or label != label:  # NaN is unlike itself
            raise UsageError(
                f"row {row} of the labels holds {label!r:.60}, and a label is a text or a number: leave the rows that "
                "have none out of both."
            )
        if isinstance(label, str):
            check_text(label, f"row {row} of the labels")
    rows = stored_form(known, None, metric)
    if len(named) != len(rows):
        raise UsageError(f"there are {len(named):,} labels for {len(rows):,} rows.")
    classifier = NeighbourClassifier(GroupedRows.apart(rows), named, metric, device)
    found = classifier.classify(stored_form(asked, rows.shape[1], metric), min_confidence)
    return Classifications(found, ids, None if known_ids is None else known_ids.values)


def document_classifier(
    engine: Engine, field: str, device: str = "auto"
) -> tuple[NeighbourClassifier, list[str], list[str]]:
    """By the documents with a label in a field of metadata, their ids, and sentences on those that were left out.

    Raises:
        UsageError: Fewer than two have one.
    """
    with engine.view() as view:
        found: dict[str, Any] = {}
        others: list[object] = []
        for document in view.documents():
            value = document.metadata.get(field)
            if is_label(value):
                found[document.id] = value
            elif value is not None:
                others.append(value)
        ids, notes = list(found), left_out("documents left out", field, others)
        if len(ids) < 2:
            known = listed_fields(field, view.fields().names())
            few = f"{len(ids)} documents of '{engine.name}' have a label in '{field}', and it takes two at least"
            raise UsageError(" ".join([f"{few}; {known}", *notes]))
        vectors, docs = passages_with_documents(view, ids)
        metric = Metric(view.settings["metric"])
        order = np.argsort(docs, kind="stable")
        order = order[docs[order] >= 0]
        there, groups = np.unique(docs[order], return_inverse=True)
        whole = len(order) == len(vectors) and np.array_equal(order, np.arange(len(order)))
        rows = GroupedRows(vectors if whole else gathered(vectors, order), groups.astype(np.int64))
    ids = [ids[number] for number in there.tolist()]
    return NeighbourClassifier(rows, [found[one] for one in ids], metric, device), ids, notes


def check_confidence(value: float) -> None:
    """Refuse what is no probability."""
    if not 0 <= check_number(value, "min_confidence") <= 1:
        raise UsageError(f"min_confidence must be between 0 and 1, not {value}.")
