"""What a passage can be worth at most by our formula, known what its document is worth by the server's.

Both are BM25. By the server's, of a document `D` that has word `w` `f` times in its indexed words,

    s(D) = g · Σ b_w · idf'_w · f / (f + K'),   K' = K1 · (1 - B + B · |D|' / mean')

where `|D|'` counts title words twice, is rounded down by the server, and `idf'` and `mean'` count what was removed and
not merged away yet. The server tells `g`, `mean'`, how many documents it counts and how many of them hold a word
(`ServerStatistics`, from an explanation), so a word is boosted by `b_w = idf_w · weight_w / idf'_w`: what was removed
drops out. By ours (`semsearch.local.lexical.bm25`), of a passage `p` of it that has the word `t` <= `f` times,

    S(p) = (K1 + 1) · Σ idf_w · weight_w · (d · f / (f + K_D) + (1 - d) · t / (t + K_p))

with `K_D` and `K_p` from the words of the document and of the passage among those that are there now. A term grows in
`t`, so S/s <= (K1 + 1)/g · max over f of (d · (f + K')/(f + K_D) + (1 - d) · (f + K')/(f + K_p)). Each ratio falls in
`f` towards 1, or rises towards it: it is at most the one of f = 1, or 1. As a function of the length alone, with its
ratios to those of the whole and of the shortest passage fixed, it is monotone, so the ends of a range of lengths bound
it. The ratios are indexed (`of_shortest`, `of_whole`); the server counts the documents of each range of the first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from semsearch.cluster.dialects import Clause
from semsearch.search.term_weights import DOCUMENT_SHARE, K1, B

SHAPE_EDGES = (
    *(2 ** (step / 8) for step in range(25)),
    *(2 ** (3 + step / 2) for step in range(1, 24)),
)  # of `of_shortest`
EXCESS_LEVELS = (1.1, 1.3)  # bounds up to which documents are asked for together
ROUNDED = 1.0001  # sums of the server are of float32, and what it counts may change between two requests
_WEIGHT = re.compile(r"weight\(words:(\S+) in ")


class WordTotals(NamedTuple):
    """What scores need to know of a collection."""

    documents: int
    passages: int
    words_of_passages: int
    words_of_whole: int

    @property
    def mean_passage(self) -> float:
        """Words of a passage."""
        return self.words_of_passages / max(self.passages, 1) or 1.0

    @property
    def mean_whole(self) -> float:
        """Words of a document."""
        return self.words_of_whole / max(self.documents, 1) or 1.0


class DocumentShapes(NamedTuple):
    """Documents whose indexed words are so many times those of their shortest passage, from `low` to below `high`.

    Attributes:
        low: And `high`: the range.
        fewest: And `most`: their indexed words.
        of_shortest: The greatest ratio to the words of the shortest passage.
        of_whole: The greatest ratio to the words of the document.
    """

    low: float
    high: float
    fewest: float
    most: float
    of_shortest: float
    of_whole: float

    @classmethod
    def aggregation(cls) -> Clause:
        """What counts them."""
        ranges: list[Clause] = [{"from": low, "to": high} for low, high in pairwise(SHAPE_EDGES)]
        ends = [{"to": SHAPE_EDGES[0]}, *ranges, {"from": SHAPE_EDGES[-1]}]
        own = {
            "fewest": {"min": {"field": "words_indexed"}},
            "most": {"max": {"field": "words_indexed"}},
            "of_shortest": {"max": {"field": "of_shortest"}},
            "of_whole": {"max": {"field": "of_whole"}},
        }
        return {"range": {"field": "of_shortest", "ranges": ends}, "aggs": own}

    @classmethod
    def read(cls, aggregated: Any) -> tuple[DocumentShapes, ...]:
        """Those ranges that have documents."""
        return tuple(
            cls(
                float(one.get("from", -math.inf)),
                float(one.get("to", math.inf)),
                *(float(one[name]["value"]) for name in ("fewest", "most", "of_shortest", "of_whole")),
            )
            for one in aggregated["buckets"]
            if one["doc_count"]
        )

    def excess(self, totals: WordTotals, mean: float) -> float:
        """How much more than by the server's formula a passage may be worth; `mean`: the server's mean length."""
        own = self._ratio(self.of_shortest, totals.mean_passage, mean)
        if totals.passages == totals.documents:
            return own
        return DOCUMENT_SHARE * self._ratio(self.of_whole, totals.mean_whole, mean) + (1 - DOCUMENT_SHARE) * own

    def _ratio(self, times: float, ours: float, theirs: float) -> float:
        ends = ((1 + norm(length, theirs)) / (1 + norm(length / times, ours)) for length in (self.fewest, self.most))
        return max(1.0, *ends)


class ShapeLevel(NamedTuple):
    """Documents that are asked for together: what lets them through, and the greatest of their excesses."""

    clause: Clause | None  # None: all there are
    excess: float

    @classmethod
    def of(cls, shapes: Sequence[DocumentShapes], totals: WordTotals, mean: float) -> list[ShapeLevel]:
        """All shapes, parted by how much their scores may be off."""
        parts: list[list[tuple[DocumentShapes, float]]] = [[] for _ in (*EXCESS_LEVELS, math.inf)]
        for shape in shapes:
            excess = shape.excess(totals, mean)
            parts[sum(excess > level for level in EXCESS_LEVELS)].append((shape, excess))
        parts = [part for part in parts if part]
        return [
            cls(None if len(parts) == 1 else _clause([shape for shape, _ in part]), max(excess for _, excess in part))
            for part in parts
        ]


def _clause(shapes: Sequence[DocumentShapes]) -> Clause:
    ends: list[list[float]] = []
    for shape in shapes:
        if ends and ends[-1][1] == shape.low:
            ends[-1][1] = shape.high
        else:
            ends.append([shape.low, shape.high])
    ranges = []
    for low, high in ends:
        limits = {"gte": low} if low > -math.inf else {}
        ranges.append({"range": {"of_shortest": limits | ({"lt": high} if high < math.inf else {})}})
    return {"bool": {"should": ranges, "minimum_should_match": 1}}


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    """What the server's BM25 counts, all shards together and what was removed with it.

    Attributes:
        documents: How many that have a word.
        mean: Their mean length.
        factor: Of all scores: some servers multiply by K1 + 1.
        holding: How many hold a word, by its code.
    """

    documents: int
    mean: float
    factor: float
    holding: dict[str, int]

    @classmethod
    def of(cls, hits: Sequence[Any]) -> ServerStatistics | None:
        """What the explanations of hits, by words without a boost, say; None if they say nothing of the kind."""
        told: dict[str, dict[str, float]] = {}
        for hit in hits:
            told |= dict(_weights(hit.get("_explanation", {})))
        needed = {"N", "n", "avgdl"}
        if not told or not all(needed <= own.keys() for own in told.values()):
            return None
        some = next(iter(told.values()))
        holding = {code: int(own["n"]) for code, own in told.items()}
        return cls(int(some["N"]), some["avgdl"], some.get("boost", 1.0), holding)

    def idf(self, code: str, live: int, worded: int) -> float:
        """The server's of a word that `live` of `worded` documents hold; at least so much where it does not tell."""
        removed = max(self.documents - worded, 0)
        return idf(self.holding.get(code, min(live + removed, self.documents)), self.documents)


def _weights(explanation: Any) -> Iterator[tuple[str, dict[str, float]]]:
    """Of each word that an explanation names, the numbers that it is made of, by what they are called."""
    word = _WEIGHT.match(explanation.get("description", ""))
    if word is not None:
        yield word[1], dict(_numbers(explanation))
        return
    for part in explanation.get("details", ()):
        yield from _weights(part)


def _numbers(explanation: Any) -> Iterator[tuple[str, float]]:
    details = explanation.get("details", ())
    if not details:
        yield explanation["description"].partition(",")[0], float(explanation["value"])
    for part in details:
        yield from _numbers(part)


def norm(length: float, mean: float) -> float:
    """What holds a text of so many words back."""
    return K1 * (1 - B + B * length / mean)


def idf(holding: int, count: int) -> float:
    """What a word is worth that `holding` of `count` documents hold."""
    return math.log1p((count - holding + 0.5) / (holding + 0.5))
