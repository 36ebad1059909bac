"""From the hits of an answer to the files that their documents came from, when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from semsearch.places import Provenance, provenance, source_of
from semsearch.types import Hit

_Known: TypeAlias = Mapping[str, tuple[str, str, str]]  # source, file and position, by the document's id


class Locator:
    """Tells a hit where its document is from; looks all of an answer up together, at the first question.

    A search is not held up by it: most answers are never asked.
    """

    __slots__ = ("_ids", "_known", "_look")

    def __init__(self, look: Callable[[Sequence[str]], _Known], ids: Sequence[str]) -> None:
        """`look` is `semsearch.engine.Origins.of`."""
        self._look = look
        self._ids = ids
        self._known: _Known | None = None

    def __call__(self, hit: Hit) -> Provenance | None:
        """The file of the hit's document; None where it came from none.

        Raises:
            CollectionClosed: It was never asked while the collection was open.
        """
        found = self._all().get(hit.id)
        if found is None:
            return None
        spec, file, position = found
        return provenance(source_of(spec), file, position, hit.metadata)

    def _all(self) -> _Known:
        if self._known is None:
            self._known = self._look(list(dict.fromkeys(self._ids)))
        return self._known

    def __reduce__(self) -> tuple[Callable[[_Known], Locator], tuple[_Known]]:
        """A copy knows what there is to know: the collection stays in this process."""
        return _of_known, (dict(self._all()),)


def _of_known(known: _Known) -> Locator:
    locator = Locator(lambda _: known, ())
    locator._all()
    return locator
