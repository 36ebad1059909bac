"""What is counted of an index: read once a view, in a request of its own or beside others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from semsearch.cluster.cluster_connection import ClusterConnection
from semsearch.cluster.cluster_filters import IS_DOCUMENT
from semsearch.cluster.dialects import Clause
from semsearch.cluster.nearest_documents import IndexExtent
from semsearch.cluster.word_bounds import DocumentShapes, WordTotals

_SUMMED = ("passages", "words_of_passages", "words_of_whole", "rev")


class IndexTotals:
    """The counts of one index, as they were when they were first asked for."""

    def __init__(self, connection: ClusterConnection, index: str) -> None:
        self._connection = connection
        self._index = index
        self._said: Any = None

    def searches(self, bodies: Sequence[Clause], *, copies: str) -> list[Any]:
        """See `ClusterConnection.searches`; the counts come with the answers, in the same request."""
        if self._said is not None:
            return self._connection.searches(self._index, bodies, copies=copies)
        counted, *others = self._connection.searches(self._index, [_body(), *bodies], copies=copies)
        self._said = counted
        return others

    @property
    def _counted(self) -> Any:
        if self._said is None:
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
    def revisions(self) -> float:
        """What any change of a document changes."""
        return float(self._values["rev"])

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
    return {"size": 0, "track_total_hits": True, "query": IS_DOCUMENT, "aggs": sums}
