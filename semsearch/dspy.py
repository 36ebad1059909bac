"""semsearch as DSPy's retriever, wherever one of its own stands: `search = SemsearchRM("notes")`.

`search("a question").passages` are the texts, as of `dspy.retrievers.Embeddings`; each element has them as `text` and
`long_text`, as of `dspy.ColBERTv2`; and after `dspy.configure(rm=search)` that is what `dspy.Retrieve(k=3)` asks. DSPy
is not needed to import this: what it asks of a retriever is an object that is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from semsearch.adaptors.opened import CollectionSpec
from semsearch.collection import Collection
from semsearch.errors import UsageError
from semsearch.opening import HomeLike
from semsearch.types import Hit

TESTED = {"dspy": "3.4.1"}  # with this its tests passed


class RetrievedPassage(dict[str, Any]):
    """A passage as DSPy has it: its text as `text` and `long_text`, and by their names id, title, score, metadata."""

    def __init__(self, hit: Hit) -> None:
        """What DSPy gets of a hit."""
        known = {"pid": hit.id, "title": hit.title, "score": hit.score, "metadata": dict(hit.metadata)}
        super().__init__(text=hit.text, long_text=hit.text, **known)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class RetrievedPassages(list[RetrievedPassage]):
    """Passages, best first."""

    @property
    def passages(self) -> list[str]:
        """Their texts."""
        return [one.text for one in self]


class SemsearchRM:
    """Asks a collection, by its name in a home or an open one."""

    def __init__(self, collection: str | Collection, home: HomeLike = None, k: int = 3, **search: Any) -> None:
        """Open the collection.

        Args:
            collection: Its name, or an open one.
            home: Where it is; see `semsearch.home.Home.of`.
            k: Passages to give, where a call does not say.
            **search: Options of `semsearch.Collection.search`: mode, rerank, where, min_percentile, ….
        """
        self.collection = CollectionSpec(collection, home).opened() if isinstance(collection, str) else collection
        self.k, self._search = k, search

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Itself: optimisers copy programs with all that they hold, and the collection is no part to be copied."""
        return self

    def __call__(self, query: str | Sequence[str], k: int | None = None, **kwargs: Any) -> RetrievedPassages:
        """The passages that answer best; of several queries, those of each in turn.

        Raises:
            UsageError: There is no query.
        """
        queries = [query] if isinstance(query, str) else list(query)
        if not queries:
            raise UsageError("there is no query to answer.")
        answers = self.collection.search_many(queries, k or self.k, **{**self._search, **kwargs})
        return RetrievedPassages(RetrievedPassage(hit) for hits in answers for hit in hits)
