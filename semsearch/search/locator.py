"""From the hits of an answer to the files that their documents came from, when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from semsearch.places import Provenance, provenance, source_of
from semsearch.search.languages import Languages
from semsearch.types import Hit

if TYPE_CHECKING:
    from semsearch.search.matches import QueryWords

_Known: TypeAlias = Mapping[str, tuple[str, str, str]]  # source, file and position, by the document's id


class Locator:
    """Tells a hit where its document is from; looks all of an answer up together, at the first question.

    A search is not held up by it: most answers are never asked.
    """

    __slots__ = ("_ids", "_known", "_languages", "_look", "_query", "_words")

    def __init__(
        self,
        look: Callable[[Sequence[str]], _Known],
        ids: Sequence[str],
        query: str = "",
        languages: Languages = (),
    ) -> None:
        """`look` is `semsearch.engine.Origins.of`; the words of `query` tell lines of a passage apart."""
        self._look = look
        self._ids = ids
        self._query = query
        self._languages = languages
        self._words: QueryWords | None = None
        self._known: _Known | None = None

    def __call__(self, hit: Hit) -> Provenance | None:
        """The file of the hit's document, and the line of its passage that answers best; None where it came from none.

        Raises:
            CollectionClosed: It was never asked while the collection was open.
        """
        found = self._all().get(hit.id)
        if found is None:
            return None
        spec, file, position = found
        stands = provenance(source_of(spec), file, position, hit.metadata)
        if stands is None or not (self._query and stands.position.runs and "\n" in hit.text):
            return stands
        return stands._replace(offset=self._best_line(hit.text))

    def _best_line(self, text: str) -> int:
        if self._words is None:
            from semsearch.search.matches import QueryWords  # which takes a while to import

            self._words = QueryWords(self._query, self._languages)
        return self._words.best_line(text)

    def _all(self) -> _Known:
        if self._known is None:
            self._known = self._look(list(dict.fromkeys(self._ids)))
        return self._known

    def __reduce__(self) -> tuple[Callable[[_Known, str, Languages], Locator], tuple[_Known, str, Languages]]:
        """A copy knows what there is to know: the collection stays in this process."""
        return _of_known, (dict(self._all()), self._query, self._languages)


def _of_known(known: _Known, query: str = "", languages: Languages = ()) -> Locator:
    locator = Locator(lambda _: known, (), query, languages)
    locator._all()
    return locator
