"""The recall contract: the user names a recall, and an index is set to keep it, or it is said why it can't.

Ground truth is exact search. The knob is chosen on one half of the queries and certified, once, on the other half, so
that the certificate is not a winner's luck. Certified is the one-sided lower confidence bound of Clopper and Pearson
("The use of confidence or fiducial limits illustrated in the case of the binomial", Biometrika 26, 1934) over queries:
the k answers of one query stand or fall together, so queries are the trials and a recall of 0.7 is 0.7 of a success.

Where no queries are given, two kinds stand in, and the recall is that of the kind which fares worse. Stored vectors,
each without itself, are as unlike one another as the collection is; but a graph links each of them to its neighbours
and finds those more surely than a stranger's. Points between four stored vectors are strangers, and about as hard for
a graph as real questions are (`benchmarks/standins.py` compares them).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semsearch import plugins
from semsearch.errors import UsageError
from semsearch.types import Keys, Metric, Neighbors, VectorIndex, Vectors
from semsearch.vectors import score_pairs

CONFIDENCE = 0.95
CHOOSING = 0.9995  # stricter, so that what is chosen on one half is seldom refused by the other
QUERIES = 2000  # looked at, of each kind, or more for a high target: half to choose by, half to certify on
MOST = 20_000
BETWEEN = (0.4, 0.2, 0.2, 0.2)  # shares of the stored vectors, drawn at random, that a point between them is made of
TINY = 1e-30
STRANGER = -1  # in place of the key of a query that isn't stored
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
    at: int  # k
    met: bool
    knob: str | None
    value: int | None  # of the knob: the cheapest that meets the target, else the best there is
    recall: float  # mean over the certifying half, or over the kind of its queries that fares worse
    certified: float  # 95 % lower bound of it
    queries: int  # that these two are of
    source: str  # "queries" that were given, or "stand-ins" made of the collection's own vectors
    curve: tuple[Point, ...]
    says: str  # the outcome in a sentence

    def to_json(self) -> str:
        """The certificate as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Certificate:
        """The certificate that `to_json` wrote."""
        values: Mapping[str, Any] = json.loads(text)
        return cls(**{**values, "curve": tuple(Point(**point) for point in values["curve"])})


@dataclass(frozen=True)
class Sample:
    """Queries with their true neighbours."""

    queries: Vectors
    own: Keys | None  # of stand-ins: the key of a stored vector, which doesn't count as found, or STRANGER
    truth: Neighbors

    def part(self, rows: slice | NDArray[np.bool_]) -> Sample:
        """Some of the queries."""
        truth = Neighbors(self.truth.keys[rows], self.truth.scores[rows])
        return Sample(self.queries[rows], None if self.own is None else self.own[rows], truth)

    def weakest(self, recalls: NDArray[np.float64]) -> tuple[str, float, int]:
        """The kind of query that fares worse, its mean of `recalls` `(q,)`, and how many queries are of that kind."""
        kinds = {"queries": np.ones(len(recalls), dtype=bool)}
        if self.own is not None:
            between = self.own == STRANGER
            kinds = {"stored vectors": ~between, "points between stored vectors": between}
        means = {kind: float(recalls[rows].mean()) for kind, rows in kinds.items() if rows.any()}
        kind = min(means, key=means.__getitem__)
        return kind, means[kind], int(kinds[kind].sum())


def certify(
    index: VectorIndex,
    params: Any,
    keys: Keys,
    vectors: Vectors,
    metric: Metric,
    *,
    target: float,
    at: int = 10,
    queries: Vectors | None = None,
    seed: int = 0,
) -> Certificate:
    """Set the knob of `index` to the least value that gives a recall of `target` among the first `at`, and certify it.

    Args:
        index: Built from `keys` and `vectors`; left tuned to the value that is returned.
        params: The options it was built with.
        keys: `(n,)`.
        vectors: `(n, dim)`, perhaps mapped.
        metric: Of the index.
        target: Recall promised, over 0 and at most 1.
        at: Neighbours counted.
        queries: Real queries `(q, dim)`; without them stored vectors, and points between them, stand in.
        seed: Of the sample and of its halves.

    Raises:
        UsageError: `target` is no recall, or there is no vector, or fewer than two queries, to measure on.
    """
    if not 0 < target <= 1:
        raise UsageError(f"the recall to keep must be over 0 and at most 1, not {target}.")
    if not len(keys):
        raise UsageError("a recall can't be certified without any vector to be found.")
    sample = true_neighbors(keys, vectors, metric, at, queries, seed, count=worth_looking_at(target))
    if len(sample.queries) < 2:
        raise UsageError(f"a recall can't be certified on {len(sample.queries)} queries: give at least two.")
    half = len(sample.queries) // 2
    choosing, certifying = sample.part(slice(0, half)), sample.part(slice(half, None))
    knob: str | None = getattr(index, "KNOB", None)
    curve: list[Point] = []
    value = None
    if knob is not None:
        ladder = type(index).ladder(len(keys))  # type: ignore[attr-defined]
        for value in ladder:
            index.tune(replace(params, **{knob: value}))
            point, count = _point(index, value, choosing, keys, vectors, metric, at)
            curve.append(point)
            if lower_bound(point.recall * count, count, CHOOSING) >= target:
                break
        else:
            best = max(point.recall for point in curve)
            value = next(point.value for point in curve if point.recall == best)
        index.tune(replace(params, **{knob: value}))
    found = searched(index, certifying, at)
    recalls = tie_safe_recall(found, certifying.truth, keys, vectors, certifying.queries, metric)
    kind, recall, count = certifying.weakest(recalls)
    bound = lower_bound(recall * count, count)
    met = bound >= target or (recall == 1 and getattr(index, "EXACT", False))  # proven, not sampled
    source = "stand-ins" if queries is None else "queries"
    certificate = Certificate(target, at, met, knob, value, recall, bound, count, source, tuple(curve), says="")
    return replace(certificate, says=_sentence(certificate, kind))


def true_neighbors(
    keys: Keys,
    vectors: Vectors,
    metric: Metric,
    at: int,
    queries: Vectors | None = None,
    seed: int = 0,
    *,
    count: int = QUERIES,
) -> Sample:
    """Up to `count` of the queries in random order, or as many stand-ins of each kind, and their exact neighbours."""
    rng = np.random.default_rng(seed)
    own = None
    if queries is None:
        queries, own = _stand_ins(keys, vectors, count, rng)
    else:
        queries = np.ascontiguousarray(queries[rng.permutation(len(queries))[:count]])
    backend = plugins.index_backend("exact")
    exact = backend.build(keys, vectors, metric, backend.Params(codes="none"))
    truth = exact.search(queries, at + (own is not None))
    return Sample(queries, own, truth if own is None else without_own(truth, own))


def _stand_ins(keys: Keys, vectors: Vectors, count: int, rng: np.random.Generator) -> tuple[Vectors, Keys]:
    """Stored vectors and points between four of them, by turns; and their own keys, or STRANGER."""
    rows = rng.permutation(len(keys))[:count]
    stored, own = np.ascontiguousarray(vectors[rows]), keys[rows]
    mean = np.zeros(stored.shape)
    for share in BETWEEN:
        part = vectors[rng.integers(len(keys), size=len(rows))].astype(np.float64)
        mean += share * part
    longer = np.linalg.norm(part, axis=1) / np.maximum(np.linalg.norm(mean, axis=1), TINY)
    between = (mean * longer[:, None]).astype(np.float32)  # as long as stored ones are
    queries = np.stack([stored, between], axis=1).reshape(-1, stored.shape[1])
    return queries, np.stack([own, np.full_like(own, STRANGER)], axis=1).reshape(-1)


def searched(index: VectorIndex, sample: Sample, at: int) -> Neighbors:
    """What `index` finds for the sample, in one batch."""
    if sample.own is None:
        return index.search(sample.queries, at)
    return without_own(index.search(sample.queries, at + 1), sample.own)


def without_own(found: Neighbors, own: Keys) -> Neighbors:
    """Neighbours without the query's own key; where there is none or it wasn't found, the last one goes."""
    drop = (found.keys == own[:, None]) & (own[:, None] != STRANGER)  # which is also the key of a place left empty
    drop[~drop.any(axis=1), -1] = True
    shape = (len(found.keys), found.keys.shape[1] - 1)
    return Neighbors(found.keys[~drop].reshape(shape), found.scores[~drop].reshape(shape))


def tie_safe_recall(
    found: Neighbors, truth: Neighbors, keys: Keys, vectors: Vectors, queries: Vectors, metric: Metric
) -> NDArray[np.float64]:
    """For each query the share of its true neighbours that was found, float64 `(q,)`.

    A key that isn't among the true ones but has the true k-th score counts: which of equals is returned is chance.
    """
    order = np.argsort(keys)
    recalls = np.ones(len(queries))
    for i, (wanted, got) in enumerate(zip(truth.keys, found.keys, strict=True)):
        wanted = wanted[wanted >= 0]
        if not len(wanted):
            continue
        got = np.unique(got[got >= 0])
        hits = np.isin(got, wanted)
        others = got[~hits]
        rows = order[np.searchsorted(keys, others, sorter=order)]
        tied = int((score_pairs(queries[i], vectors[rows], metric) >= truth.scores[i, len(wanted) - 1]).sum())
        recalls[i] = min(int(hits.sum()) + tied, len(wanted)) / len(wanted)
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
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(target)) if target < 1 else MOST


def worth_looking_at(target: float) -> int:
    """Queries, both halves together: three times what proves the target if nothing is missed, for something will be."""
    needed = 2 * _trials(target)
    return QUERIES if needed > MOST else min(max(QUERIES, 3 * needed), MOST)


def _point(
    index: VectorIndex, value: int, sample: Sample, keys: Keys, vectors: Vectors, metric: Metric, at: int
) -> tuple[Point, int]:
    """What the present setting gives, and of how many queries its recall is."""
    searched(index, sample.part(slice(0, 8)), at)  # warm
    start = time.perf_counter()
    found = searched(index, sample, at)
    batch = time.perf_counter() - start
    recalls = tie_safe_recall(found, sample.truth, keys, vectors, sample.queries, metric)
    _, recall, count = sample.weakest(recalls)
    times = []
    for query in sample.queries[:TIMED]:
        start = time.perf_counter()
        index.search(query[None], at)
        times.append(1e3 * (time.perf_counter() - start))
    p50, p99 = np.percentile(times, [50, 99])
    return Point(value, recall, float(p50), float(p99), len(sample.queries) / batch), count


def _sentence(outcome: Certificate, kind: str) -> str:
    target, count = outcome.target, outcome.queries
    setting = f"{outcome.knob}={outcome.value}: " if outcome.knob else ""
    measured = (
        f"{setting}recall@{outcome.at} {outcome.recall:.4f} on {count} {kind}, at least {outcome.certified:.4f} with "
        "95 % confidence"
    )
    if outcome.met:
        return f"{measured}; {target:g} was asked for."
    reach = lower_bound(count, count)
    missed = count - outcome.recall * count
    if reach < target <= 1 - lower_bound(missed, count):  # it may be kept, but so few can't tell
        needed = 2 * _trials(target)
        enough = f"give at least {needed} queries, or" if needed <= MOST else "no sample proves so much:"
        return f"{measured}: too few queries to certify {target:g} ({reach:.4f} at best); {enough} take exact search."
    return (
        f"{measured}, which misses {target:g}. Exact search (--index exact) has recall 1; so has --exact for a query."
    )
