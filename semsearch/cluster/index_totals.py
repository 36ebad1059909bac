"""What is counted of an index: read once a view, in a request of its own or beside others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from semsearch.cluster.cluster_connection import ClusterConnection, Elsewhere
from semsearch.cluster.cluster_filters import IS_DOCUMENT
from semsearch.cluster.dialects import Clause
from semsearch.cluster.word_bounds import DocumentShapes, WordTotals

SHORT_WORDS = 500  # of a document: some 3 kB, as its vector takes as numbers
_SUMMED = ("passages", "words_of_passages", "words_of_whole", "rev")


@dataclass(frozen=True, slots=True)
class IndexExtent:
    """What is to be known of an index to search it.

    Attributes:
        documents: And `passages`: how many there are.
        longest: No stored vector is longer.
        first: The smallest first key of a document, and `last` the greatest.
    """

    documents: int
    passages: int
    longest: float
    first: int
    last: int


class IndexTotals:
    """The counts of one index, as they were when they were first asked for."""

    def __init__(self, connection: ClusterConnection, index: str, beside: Elsewhere | None = None) -> None:
        """`beside`: what is to be asked along with the counts, once."""
        self._connection = connection
        self._index = index
        self._beside = [] if beside is None else [beside]
        self.beside: Any = None  # what it was answered
        self._said: Any = None

    def searches(self, bodies: Sequence[Clause | Elsewhere], *, copies: str | None = None) -> list[Any]:
        """See `ClusterConnection.searches`; the counts come with the answers, in the same request."""
        if self._said is not None:
            return self._connection.searches(self._index, bodies, copies=copies)
        wanted: list[Clause | Elsewhere] = [_body(), *self._beside, *bodies]
        counted, *others = self._connection.searches(self._index, wanted, copies=copies)
        self._said = counted
        if self._beside:
            self.beside, *others = others
        return others

    @property
    def _counted(self) -> Any:
        if self._said is None and self._beside:
            self.searches(())
        elif self._said is None:
            self._said = self._connection.search(self._index, _body())
        return self._said

    @cached_property
    def _values(self) -> dict[str, float]:
        own = self._counted["aggregations"]
        return {name: own[name]["value"] or 0 for name in (*_SUMMED, "longest", "first", "last")}

    @cached_property
    def shapes(self) -> tuple[DocumentShapes, ...]:
        """How uneven documents are."""
        return DocumentShapes.read(self._counted["aggregations"]["shapes"])

    @property
    def read(self) -> bool:
        """Whether they were asked for."""
        return self._said is not None

    @property
    def short_texts(self) -> bool:
        """Whether documents are, in the mean, no more than the vectors that they are read with."""
        return self.words.mean_whole < SHORT_WORDS

    @property
    def worded(self) -> int:
        """How many documents have a word."""
        return int(self._counted["aggregations"]["worded"]["doc_count"])

    @property
    def revisions(self) -> float:
        """What any change of a document changes."""
        return float(self._values["rev"])

    @property
    def state(self) -> object:
        """What any change of the index changes."""
        return (self._index, self.words, self.revisions)

    @cached_property
    def words(self) -> WordTotals:
        """What scores by words need to know."""
        documents = int(self._counted["hits"]["total"]["value"])
        counts = (int(self._values[name]) for name in ("passages", "words_of_passages", "words_of_whole"))
        return WordTotals(documents, *counts)

    @cached_property
    def extent(self) -> IndexExtent:
        """What searches by vectors need to know."""
        first, last = int(self._values["first"]), int(self._values["last"])
        return IndexExtent(self.words.documents, self.words.passages, float(self._values["longest"]), first, last)


def _body() -> Clause:
    sums: dict[str, Any] = {name: {"sum": {"field": name}} for name in _SUMMED}
    sums |= {"longest": {"max": {"field": "longest"}}, "last": {"max": {"field": "first"}}}
    sums |= {"first": {"min": {"field": "first"}}, "shapes": DocumentShapes.aggregation()}
    sums["worded"] = {"filter": {"range": {"words_indexed": {"gt": 0}}}}
    return {"size": 0, "track_total_hits": True, "query": IS_DOCUMENT, "aggs": sums}
