"""The recall contract: the user names a recall, and an index is set to keep it, or it is said why it can't.

Of an engine it takes callables only: what it finds at a setting of its knob, what it would find exactly, and how keys
score. The knob is chosen on one half of the queries and certified, once, on the other half, so that the certificate is
not a winner's luck. Certified is the one-sided lower confidence bound of Clopper and Pearson ("The use of confidence or
fiducial limits illustrated in the case of the binomial", Biometrika 26, 1934) over queries: the k answers of one query
stand or fall together, so queries are the trials and a recall of 0.7 is 0.7 of a success.

Where no queries are given, a few words of passages serve, encoded as questions (`semsearch.search.passage_queries`).
Where nothing encodes them, there are synthetic ones of two kinds, and the recall is that of the kind which fares worse.
Stored vectors, each without itself, are as unlike one another as the collection is; but a graph links each of them to
its neighbours and finds those more surely than others. Points between four stored vectors are not in the graph, and
about as hard for it as real questions are (`benchmarks/synthetic_queries.py` compares them).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from semsearch.arguments import check_number
from semsearch.errors import UsageError
from semsearch.types import Keys, Neighbors, Vectors

Search: TypeAlias = Callable[[Vectors, int], Neighbors]  # queries (q, dim) and k
Found: TypeAlias = Callable[[Vectors, int, int | None], Neighbors]  # the same, and the value of the knob
ScoresOf: TypeAlias = Callable[[Vectors, NDArray[np.int64]], NDArray[np.float32]]  # queries (q, dim), keys (q, m)
Synthesis: TypeAlias = Callable[[int, np.random.Generator], tuple[Vectors, Keys]]  # see `synthetic_queries`

CONFIDENCE = 0.95
CHOOSING = 0.9995  # stricter, so that what is chosen on one half is seldom refused by the other
SAMPLE_QUERIES = 2000  # looked at, of each kind, or more for a high target: half to choose by, half to certify on
MAX_SAMPLE = 20_000
BETWEEN = (0.4, 0.2, 0.2, 0.2)  # shares of the stored vectors, drawn at random, that a point between them is made of
MIN_NORM = 1e-30
NOT_STORED = -1  # in place of the key of a query that is no stored vector
OF_A_PASSAGE = -2  # … and of one that was made of a passage's words
TIMED = 200  # queries asked one at a time for the latencies


@dataclass(frozen=True)
class Point:
    """One setting of the knob and what it gives."""

    value: int
    recall: float  # mean over the choosing half, or over the kind of its queries that fares worse
    p50: float  # milliseconds of a single query
    p99: float
    qps: float  # queries a second in a batch


@dataclass(frozen=True)
class Certificate:
    """What was promised, what was measured, and on what."""

    target: float
    k: int
    met: bool
    knob: str | None
    value: int | None  # of the knob: the cheapest that meets the target, else the best there is
    recall: float  # mean over the certifying half, or over the kind of its queries that fares worse
    certified: float  # 95 % lower bound of it; 1 of exact search, by proof
    queries: int  # that these two are of
    source: str  # "queries" that were given, or "synthetic" ones made of the collection's own passages or vectors
    curve: tuple[Point, ...]
    summary: str  # the outcome in a sentence


@dataclass(frozen=True)
class Sample:
    """Queries with their true neighbours."""

    queries: Vectors
    # of synthetic ones: the key of a stored vector, which doesn't count as found, or NOT_STORED or OF_A_PASSAGE
    own: Keys | None
    truth: Neighbors

    def part(self, rows: slice | NDArray[np.bool_]) -> Sample:
        """Some of the queries."""
        truth = Neighbors(self.truth.keys[rows], self.truth.scores[rows])
        return Sample(self.queries[rows], None if self.own is None else self.own[rows], truth)

    def weakest(self, recalls: NDArray[np.float64]) -> tuple[str, float, int]:
        """The kind of query that fares worse, its mean of `recalls` `(q,)`, and how many queries are of that kind."""
        kinds = {"queries": np.ones(len(recalls), dtype=bool)}
        if self.own is not None:
            kinds = {
                "stored vectors": self.own >= 0,
                "points between stored vectors": self.own == NOT_STORED,
                "questions of a few words of passages": self.own == OF_A_PASSAGE,
            }
        means = {kind: float(recalls[rows].mean()) for kind, rows in kinds.items() if rows.any()}
        kind = min(means, key=means.__getitem__)
        return kind, means[kind], int(kinds[kind].sum())


def certify(
    found: Found,
    truth: Search,
    scores_of: ScoresOf,
    queries: Vectors | Synthesis,
    *,
    target: float,
    k: int = 10,
    knob: str | None = None,
    ladder: Sequence[int] = (),
    proven: bool = False,
    seed: int = 0,
) -> Certificate:
    """Choose the least value of a knob that gives a recall of `target` among the first `k`, and certify it.

    Args:
        found: What is found for queries `(q, dim)`: the best k, with the knob at a value of the ladder; None where
            there is no knob.
        truth: What exact search finds for them.
        scores_of: The true score of each of the keys `(q, m)` for its query, float32 `(q, m)`; what it says of a place
            left empty, key -1, doesn't matter.
        queries: Real ones `(q, dim)`, or what makes synthetic ones.
        target: Recall promised, over 0 and at most 1.
        k: Neighbours counted.
        knob: The name of the knob; None where there is none.
        ladder: Its values worth trying, in rising order of recall.
        proven: Exact search: a recall of 1 needs no sample to prove it.
        seed: Of the sample and of its halves.

    Raises:
        UsageError: `target` is no recall, or there is no vector, or fewer than two queries, to measure on.
    """
    target = check_target(target)
    sample = draw_sample(truth, k, queries, seed, count=worth_looking_at(target))
    if not (sample.truth.keys >= 0).any() and (callable(queries) or len(queries)):
        raise UsageError("a recall can't be certified without any vector to be found.")
    if len(sample.queries) < 2:
        raise UsageError(f"a recall can't be certified on {len(sample.queries)} queries: give at least two.")
    half = len(sample.queries) // 2
    choosing, certifying = sample.part(slice(0, half)), sample.part(slice(half, None))

    def at(value: int | None) -> Search:
        return lambda queries, k: found(queries, k, value)

    curve: list[Point] = []
    value = None
    for value in ladder if knob is not None else ():
        point, count = _point(at(value), value, choosing, scores_of, k)
        curve.append(point)
        if lower_bound(point.recall * count, count, CHOOSING) >= target:
            break
    else:
        if curve:
            best = max(point.recall for point in curve)
            value = next(point.value for point in curve if point.recall == best)
    recalls = sample_recall(at(value), certifying, scores_of, k)
    kind, recall, count = certifying.weakest(recalls)
    bound = 1.0 if proven and recall == 1 else lower_bound(recall * count, count)
    met = bound >= target
    source = "synthetic" if callable(queries) else "queries"
    certificate = Certificate(target, k, met, knob, value, recall, bound, count, source, tuple(curve), summary="")
    return replace(certificate, summary=_sentence(certificate, kind))


def check_target(recall: object) -> float:
    """`recall` as a float, or a `UsageError` if none could be promised so."""
    target = check_number(recall, "the recall to keep")
    if not 0 < target <= 1:
        raise UsageError(f"the recall to keep must be over 0 and at most 1, not {target:g}.")
    return target


def draw_sample(
    truth: Search, k: int, queries: Vectors | Synthesis, seed: int = 0, *, count: int = SAMPLE_QUERIES
) -> Sample:
    """Up to `count` of the queries in random order, or as many synthetic ones of each kind, and their neighbours."""
    rng = np.random.default_rng(seed)
    if callable(queries):
        made, own = queries(count, rng)
        return Sample(made, own, without_own(truth(made, k + 1), own))
    chosen = np.ascontiguousarray(queries[rng.permutation(len(queries))[:count]])
    return Sample(chosen, None, truth(chosen, k))


def synthetic_queries(keys: Keys, vectors: Vectors, count: int, rng: np.random.Generator) -> tuple[Vectors, Keys]:
    """`count` stored vectors and as many points between four of them, by turns; and their own keys, or NOT_STORED."""
    rows = rng.permutation(len(keys))[:count]
    stored, own = np.ascontiguousarray(vectors[rows]), keys[rows]
    mean, part = np.zeros(stored.shape), np.zeros(stored.shape)
    for share in BETWEEN if len(keys) else ():
        part = vectors[rng.integers(len(keys), size=len(rows))].astype(np.float64)
        mean += share * part
    longer = np.linalg.norm(part, axis=1) / np.maximum(np.linalg.norm(mean, axis=1), MIN_NORM)
    between = (mean * longer[:, None]).astype(np.float32)  # as long as stored ones are
    queries = np.stack([stored, between], axis=1).reshape(-1, stored.shape[1])
    return queries, np.stack([own, np.full_like(own, NOT_STORED)], axis=1).reshape(-1)


def searched(search: Search, sample: Sample, k: int) -> Neighbors:
    """What `search` finds for the sample, in one batch."""
    if sample.own is None:
        return search(sample.queries, k)
    return without_own(search(sample.queries, k + 1), sample.own)


def without_own(found: Neighbors, own: Keys) -> Neighbors:
    """Neighbours without the query's own key; where there is none or it wasn't found, the last one goes."""
    drop = (found.keys == own[:, None]) & (own[:, None] >= 0)  # -1 is also the key of a place left empty
    drop[~drop.any(axis=1), -1] = True
    shape = (len(found.keys), found.keys.shape[1] - 1)
    return Neighbors(found.keys[~drop].reshape(shape), found.scores[~drop].reshape(shape))


def sample_recall(search: Search, sample: Sample, scores_of: ScoresOf, k: int) -> NDArray[np.float64]:
    """For each query of the sample the share of its true neighbours that `search` finds, float64 `(q,)`."""
    return tie_safe_recall(searched(search, sample, k), sample.truth, sample.queries, scores_of)


def tie_safe_recall(found: Neighbors, truth: Neighbors, queries: Vectors, scores_of: ScoresOf) -> NDArray[np.float64]:
    """For each query the share of its true neighbours that was found, float64 `(q,)`.

    A key that isn't among the true ones but has the true k-th score counts: which of equals is returned is chance.
    """
    wanted = np.count_nonzero(truth.keys >= 0, axis=1)
    hits = np.zeros(len(queries), dtype=np.int64)
    others = np.full(found.keys.shape, -1, dtype=np.int64)
    for i, (true, got) in enumerate(zip(truth.keys, found.keys, strict=True)):
        got = np.unique(got[got >= 0])
        hit = np.isin(got, true)
        hits[i] = np.count_nonzero(hit)
        others[i, : len(got) - hits[i]] = got[~hit]
    rest = np.flatnonzero((others >= 0).any(axis=1) & (wanted > 0))
    if len(rest):
        scores = scores_of(queries[rest], others[rest])
        tied = (scores >= truth.scores[rest, wanted[rest] - 1, None]) & (others[rest] >= 0)
        hits[rest] += np.count_nonzero(tied, axis=1)
    recalls: NDArray[np.float64] = np.where(wanted > 0, np.minimum(hits, wanted) / np.maximum(wanted, 1), 1.0)
    return recalls


def lower_bound(successes: float, trials: int, confidence: float = CONFIDENCE) -> float:
    """The one-sided lower bound of Clopper and Pearson: the p for which so many successes are just this improbable.

    It solves P(X ≥ successes | trials, p) = 1 - confidence by bisection; successes are rounded down to a whole number.
    """
    count = math.floor(successes + 1e-9)
    if count <= 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if binomial_tail(count, trials, middle) < 1 - confidence:
            low = middle
        else:
            high = middle
    return low


def binomial_tail(count: int, trials: int, p: float) -> float:
    """P(X ≥ count) of a binomial distribution, summed in logarithms."""
    if p <= 0 or p >= 1:
        return float(p >= 1 or count <= 0)
    x = np.arange(count, trials + 1)
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, trials + 1)))])
    logs = factorials[trials] - factorials[x] - factorials[trials - x] + x * math.log(p) + (trials - x) * math.log1p(-p)
    return float(np.exp(logs).sum())


def _trials(target: float) -> int:
    """How many queries prove `target` if nothing is missed."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(target)) if target < 1 else MAX_SAMPLE


def worth_looking_at(target: float) -> int:
    """Queries, both halves together: three times what proves the target if nothing is missed, for something will be."""
    needed = 2 * _trials(target)
    return SAMPLE_QUERIES if needed > MAX_SAMPLE else min(max(SAMPLE_QUERIES, 3 * needed), MAX_SAMPLE)


def _point(search: Search, value: int, sample: Sample, scores_of: ScoresOf, k: int) -> tuple[Point, int]:
    """What a setting gives, and of how many queries its recall is."""
    searched(search, sample.part(slice(0, 8)), k)  # warm
    start = time.perf_counter()
    found = searched(search, sample, k)
    batch = time.perf_counter() - start
    recalls = tie_safe_recall(found, sample.truth, sample.queries, scores_of)
    _, recall, count = sample.weakest(recalls)
    times = []
    for query in sample.queries[:TIMED]:
        start = time.perf_counter()
        search(query[None], k)
        times.append(1e3 * (time.perf_counter() - start))
    p50, p99 = np.percentile(times, [50, 99])
    return Point(value, recall, float(p50), float(p99), len(sample.queries) / batch), count


def _sentence(outcome: Certificate, kind: str) -> str:
    target, count = outcome.target, outcome.queries
    setting = f"{outcome.knob}={outcome.value}: " if outcome.knob else ""
    measured = (
        f"{setting}recall@{outcome.k} {outcome.recall:.4f} on {count} {kind}, at least {outcome.certified:.4f} with "
        "95 % confidence"
    )
    if outcome.met:
        return f"{measured}; {target:g} was asked for."
    reach = lower_bound(count, count)
    missed = count - outcome.recall * count
    if reach < target <= 1 - lower_bound(missed, count):  # it may be kept, but so few can't tell
        needed = 2 * _trials(target)
        enough = f"give at least {needed} queries, or" if needed <= MAX_SAMPLE else "no sample proves so much:"
        return f"{measured}: too few queries to certify {target:g} ({reach:.4f} at best); {enough} take exact search."
    return (
        f"{measured}, which misses {target:g}. Exact search (--index exact) has recall 1; so has --exact for a query."
    )
