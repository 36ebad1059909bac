"""How good rankings are, by judgements: the field's measures, their intervals, and whether a difference is chance.

The measures are those of trec_eval, computed by ir-measures: linear gain and all judgements in the ideal ranking of
nDCG; documents in the order of their scores. A query that is judged and not answered counts 0; a query without a
relevant document says nothing and is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, Unpack

import numpy as np
from numpy.typing import NDArray

from semsearch.errors import MissingDependency, UsageError

if TYPE_CHECKING:
    from semsearch.search.request import SearchKeywords
    from semsearch.types import Hit

Run = Mapping[str, Mapping[str, float]]  # query → document → score
Qrels = Mapping[str, Mapping[str, int]]  # query → document → grade
Number = TypeVar("Number", float, int)
Values = NDArray[np.float64]

MEASURES = ("nDCG@10", "MRR@10", "MAP", "R@10", "R@100", "success@1")
JUDGED_DEPTH = 100  # documents that are looked at for each query
LEVEL = 0.95  # of intervals
DRAWS = 10_000  # of queries for an interval, of signs for a test
QUERIES_AT_ONCE = 64  # asked together
SIGNS_AT_ONCE = 1 << 22  # draws times queries at a time


@dataclass(frozen=True, slots=True)
class Scored:
    """What a run is worth: each measure `(q,)` by query."""

    values: Mapping[str, Values]
    unanswered: int  # judged queries that the run does not have

    def mean(self, measure: str) -> float:
        """Over the queries."""
        return float(self.values[measure].mean())


def asked(qrels: Qrels) -> list[str]:
    """The queries that have a relevant document, sorted."""
    found = sorted(query for query, grades in qrels.items() if any(grade > 0 for grade in grades.values()))
    if not found:
        raise UsageError("no query has a document with a grade above 0: there is nothing to measure.")
    return found


def scored(run: Run, qrels: Qrels) -> Scored:
    """Every measure for each of the queries that `asked(qrels)` gives, in that order."""
    measures = load_measures()
    queries = asked(qrels)
    place = {query: number for number, query in enumerate(queries)}
    known = {query: _ranked(run[query]) for query in queries if run.get(query)}
    values = {name: np.zeros(len(queries)) for name in MEASURES}
    names = {measure: name for name, measure in measures.items()}
    if known:
        from ir_measures import iter_calc

        for found in iter_calc(list(names), {query: dict(qrels[query]) for query in known}, known):
            values[names[found.measure]][place[found.query_id]] = found.value
    return Scored(values, len(queries) - len(known))


def without_self(run: Mapping[str, Mapping[str, Number]]) -> dict[str, dict[str, Number]]:
    """A run, or judgements, without the documents whose id is the query's, which are no answer where it is one."""
    return {query: {doc: score for doc, score in found.items() if doc != query} for query, found in run.items()}


def _ranked(found: Mapping[str, float]) -> dict[str, float]:
    """Scores without ties, in trec_eval's order: in float32, of equals the greater id first.

    ir-measures takes MRR@10 from another program than the rest, which breaks ties in another way.
    """
    order = sorted(found, reverse=True)
    order.sort(key=lambda doc: float(np.float32(found[doc])), reverse=True)  # stable
    return {doc: float(len(order) - place) for place, doc in enumerate(order)}


def load_measures() -> dict[str, Any]:
    """The measures by name, as ir-measures has them.

    Raises:
        MissingDependency: It is not installed.
    """
    try:
        from ir_measures import AP, RR, R, Success, nDCG
    except ImportError as error:
        raise MissingDependency(
            "evaluation needs ir-measures, which is not installed: pip install 'semsearch[eval]'"
        ) from error
    found = {
        "nDCG@10": nDCG @ 10,
        "MRR@10": RR @ 10,
        "MAP": AP,
        "R@10": R @ 10,
        "R@100": R @ 100,
        "success@1": Success @ 1,
    }
    return {name: found[name] for name in MEASURES}


def interval(values: Values, seed: int = 0) -> tuple[float, float]:
    """Between which two figures the mean lies in 95 % of samples of queries: a percentile bootstrap.

    Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13.
    """
    generator = np.random.default_rng(seed)
    means = np.concatenate(
        [values[generator.integers(len(values), size=(count, len(values)))].mean(axis=1) for count in _portions(values)]
    )
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def chance(values: Values, others: Values, seed: int = 0) -> float:
    """How often chance alone makes a difference of means as large as that of two runs over the same queries.

    The two-sided paired randomisation test: under the null hypothesis each query's difference might as well have the
    other sign. Smucker, Allan and Carterette, "A Comparison of Statistical Significance Tests for Information Retrieval
    Evaluation" (2007).
    """
    differences = values - others
    if not differences.any():
        return 1.0
    generator = np.random.default_rng(seed)
    seen = abs(differences.sum()) - 1e-9  # sums of the same numbers in another order
    as_large = 0
    for count in _portions(values):
        signs = generator.integers(2, size=(count, len(values)), dtype=np.int8) * np.int8(2) - np.int8(1)
        as_large += int(np.count_nonzero(np.abs(signs @ differences) >= seen))
    return (as_large + 1) / (DRAWS + 1)


def _portions(values: Values) -> Iterator[int]:
    """How many draws are made together, until all are."""
    most = max(1, SIGNS_AT_ONCE // len(values))
    for done in range(0, DRAWS, most):
        yield min(most, DRAWS - done)


class Answerer(Protocol):
    """What is measured: a collection, whatever engine is behind it."""

    def search_many(self, queries: Sequence[str], k: int, **options: Unpack[SearchKeywords]) -> Sequence[Sequence[Hit]]:
        """The answers to each query, best first."""
        ...


def answers(
    collection: Answerer,
    queries: Mapping[str, str],
    how: SearchKeywords,
    progress: Callable[[int], None] | None = None,
    *,
    drop_self: bool = False,
) -> dict[str, dict[str, float]]:
    """The run of a collection: for each query its best 100 documents with their scores.

    Args:
        collection: Opened.
        queries: Texts by id.
        how: Options of the search: `mode`, `rerank`, `candidates`, `exact`.
        progress: Called with the number of queries answered so far.
        drop_self: Leave out the document whose id is the query's.
    """
    run: dict[str, dict[str, float]] = {}
    ids = list(queries)
    for start in range(0, len(ids), QUERIES_AT_ONCE):
        these = ids[start : start + QUERIES_AT_ONCE]
        found = collection.search_many([queries[one] for one in these], k=JUDGED_DEPTH + drop_self, **how)
        for one, hits in zip(these, found, strict=True):
            kept = [hit for hit in hits if not (drop_self and hit.id == one)]
            run[one] = {hit.id: hit.score for hit in kept[:JUDGED_DEPTH]}
        if progress is not None:
            progress(len(run))
    return run
