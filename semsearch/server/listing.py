"""The documents that somebody goes through page by page: their ids are read once, and not for each page anew."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple
from weakref import ref

from semsearch.collection import Collection
from semsearch.search.where_mapping import parse as parse_filter


class _ListedIds(NamedTuple):
    """The ids of one state of a collection under a filter."""

    collection: ref[Collection]  # which may be closed meanwhile
    version: object
    where: str | None
    ids: Sequence[str]


class Listing:
    """The ids of the collection that was gone through last, as long as nothing is written to it. Threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: _ListedIds | None = None

    def ids(self, collection: Collection, where: str | None, *, anew: bool) -> Sequence[str]:
        """What `Collection.ids` gives; `anew` where somebody begins, since a filter may go by the time it is now."""
        with collection.engine.view() as view:
            with self._lock:
                last = self._last
            if not anew and last is not None and last.collection() is collection and last[1:3] == (view.version, where):
                return last.ids
            found = view.ids(None if where is None else parse_filter(where, view.fields()))
            with self._lock:
                self._last = _ListedIds(ref(collection), view.version, where, found)
            return found

    def end(self, collection: Collection) -> None:
        """Nobody goes on with a collection: let go of its ids."""
        with self._lock:
            if self._last is not None and self._last.collection() is collection:
                self._last = None
