"""The collections of a home, each opened when it is first asked for and kept open."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from semsearch.collection import Collection
from semsearch.errors import CollectionClosed, CollectionError, UsageError
from semsearch.federation import Federation
from semsearch.home import Home
from semsearch.opening import open as open_collection

Made = TypeVar("Made")


class Shelf:
    """Open collections by name, for any number of threads. One that was dropped and made anew is opened again.

    Args:
        home: Where they are.
        names: The only ones that are shown; all of the home without any, those that are made later too.
        device: As in `semsearch.open`.
    """

    def __init__(self, home: Home, names: Sequence[str] = (), device: str | None = None) -> None:
        self.home, self.device = home, device
        self._only = tuple(names)
        self._opened: dict[str, Collection] = {}
        self._lock = threading.Lock()
        for name in names:
            home.require(name)

    def names(self) -> list[str]:
        """Of the collections there are now."""
        there = self.home.names()
        return [name for name in there if name in self._only] if self._only else list(there)

    def with_one(self, name: str, what: Callable[[Collection], Made]) -> Made:
        """What `what` makes of the collection `name`."""
        try:
            return what(self._open(name))
        except (CollectionError, CollectionClosed):
            if not self._is_another(name):
                raise
            return what(self._open(name))

    def with_all(self, names: Sequence[str], what: Callable[[Collection | Federation], Made]) -> Made:
        """What `what` makes of several collections together, or of the only one of them."""
        if len(names) == 1:
            return self.with_one(names[0], what)
        for name in names:  # one that was made anew meanwhile is opened again before it is asked
            self.with_one(name, len)
        return what(Federation([self._open(name) for name in names]))

    def close(self) -> None:
        """Close all that was opened."""
        with self._lock:
            for collection in self._opened.values():
                collection.close()
            self._opened.clear()

    def _open(self, name: str) -> Collection:
        shown = self.names()
        if name not in shown:
            there = f"there are {', '.join(shown)}" if shown else "there is none yet"
            raise UsageError(f"there is no collection {name!r:.80}; {there}.")
        with self._lock:
            if name not in self._opened:
                self._opened[name] = open_collection(name, home=self.home, device=self.device)
            return self._opened[name]

    def _is_another(self, name: str) -> bool:
        """Let go of a collection that failed; whether one of that name is there to be opened."""
        with self._lock:
            if (old := self._opened.pop(name, None)) is not None:
                old.close()
        return name in self.names()
