"""What the index misses: the same question answered exactly, beside the answer that was given."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import semsearch
from semsearch import wire
from semsearch.cli.render import Answer, out, say
from semsearch.controls import one_line
from semsearch.errors import UsageError
from semsearch.search.where_mapping import Where
from semsearch.types import Hit

if TYPE_CHECKING:
    from semsearch.federation import Searchable


@dataclass(frozen=True, slots=True)
class ExactComparison:
    """An answer held against the exact one."""

    recall: float  # the share of the exact hits that were found; a hit of the same score counts
    index_ms: float
    exact_ms: float
    missed: list[Hit]


def compare(collection: Searchable, answer: Answer, k: int, where: Where | None) -> ExactComparison:
    """Ask again exactly; both searches are timed alike, the encoding left out."""
    if isinstance(collection, semsearch.Federation):
        raise UsageError("what the index misses is told of one collection: ask just that (:use NAME).")
    vectors = collection.encoder.encode_queries([answer.query])
    started = time.perf_counter()
    given = collection.search(vector=vectors[0], k=k, where=where)
    between = time.perf_counter()
    exact = collection.search(vector=vectors[0], k=k, where=where, exact=True)
    ended = time.perf_counter()
    found = {hit.id for hit in given}
    missed = [hit for hit in exact if hit.id not in found and hit.score > exact[-1].score]
    hits = sum(hit.score >= exact[-1].score for hit in given) if exact else 0
    recall = min(hits, len(exact)) / len(exact) if exact else 1.0
    return ExactComparison(recall, 1000 * (between - started), 1000 * (ended - between), missed)


def show_comparison(comparison: ExactComparison, as_json: bool) -> None:
    """Both times, the recall and the missed hits."""
    if as_json:
        missed = [{"id": hit.id, "rank": hit.rank, "score": hit.score} for hit in comparison.missed]
        facts = {"recall": comparison.recall, "missed": missed}
        facts |= {"index_ms": comparison.index_ms, "exact_ms": comparison.exact_ms}
        out(wire.dumps(wire.message(compare=facts)))
        return
    say(
        f"with the index {comparison.index_ms:.1f} ms, exactly {comparison.exact_ms:.1f} ms, "
        f"recall {comparison.recall:.2f}"
    )
    for hit in comparison.missed:
        say(f"missed: {hit.rank}. {hit.score:.4f} {one_line(hit.id)} {one_line(hit.title)}")
