"""The collections of a home that are open, shared by all threads: opened once, closed when long unused or dropped.

Who uses one holds a lease, so that nothing is closed under it. One that was dropped, or dropped and made anew, by
another process is noticed by its engine: it is let go of and opened again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from semsearch.bound_encoder import BoundEncoder
from semsearch.collection import Collection
from semsearch.engine import Engine
from semsearch.errors import CollectionClosed, CollectionNotFound, SemsearchError
from semsearch.hardware import ANYWHERE, Compute
from semsearch.home import Home
from semsearch.names import check_name

LeasedResult = TypeVar("LeasedResult")

MOST_OPEN = 64  # collections; more than that only while more are in use at once


class _Held:
    """An open collection, and how many use it."""

    def __init__(self, collection: Collection, used: int) -> None:
        self.collection = collection
        self.users = 0
        self.used = used  # when, by the count of leases
        self.doomed = False


class OpenCollections:
    """The open collections of a home. Threads share it.

    Args:
        home: Where they are.
        compute: Where their models run.
        model: Binds a model to an engine; by default as `semsearch.open` does.
        most: How many stay open.
    """

    def __init__(
        self,
        home: Home,
        compute: Compute = ANYWHERE,
        model: Callable[[Engine], BoundEncoder] | None = None,
        most: int = MOST_OPEN,
    ) -> None:
        self.home = home
        self._compute = compute
        self._model = model or (lambda engine: BoundEncoder(engine, None, compute))
        self._most = most
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}
        self._opening: dict[str, threading.Lock] = {}
        self._leases = self._opened = 0
        self._closed = False

    def __len__(self) -> int:
        with self._lock:
            return len(self._held)

    def open_now(self) -> list[Collection]:
        """Those that are open, whoever uses them."""
        with self._lock:
            return [held.collection for held in self._held.values()]

    def asked_and_opened(self) -> tuple[int, int]:
        """How often a collection was wanted so far, and how often one had to be opened for it."""
        with self._lock:
            return self._leases, self._opened

    @contextmanager
    def lease(self, name: str) -> Iterator[Collection]:
        """The collection of that name, open until this is left.

        Raises:
            CollectionNotFound: There is none.
        """
        held = self._taken(check_name(name))
        try:
            yield held.collection
        except (CollectionNotFound, CollectionClosed):
            self._doom(held)
            raise
        finally:
            self._give_back(held)

    @contextmanager
    def leases(self, names: Sequence[str]) -> Iterator[list[Collection]]:
        """Several at once."""
        with ExitStack() as stack:
            yield [stack.enter_context(self.lease(name)) for name in names]

    def that_open(self, names: Sequence[str]) -> tuple[list[str], dict[str, SemsearchError]]:
        """Those that can be opened, and why the others can't: one that is damaged hides no other."""
        sound: list[str] = []
        errors: dict[str, SemsearchError] = {}
        for name in names:
            try:
                with self.lease(name):
                    sound.append(name)
            except SemsearchError as error:
                errors[name] = error
        return sound, errors

    def use(self, names: Sequence[str], work: Callable[[list[Collection]], LeasedResult]) -> LeasedResult:
        """What `work` makes of collections; once more where one was dropped and made anew since it was opened.

        `work` changes nothing, or what it does may be done again: the engine says that nothing was written.
        """
        try:
            with self.leases(names) as collections:
                return work(collections)
        except (CollectionNotFound, CollectionClosed):
            there = self.home.names()
            if not all(check_name(name) in there for name in names):
                raise
        with self.leases(names) as collections:
            return work(collections)

    def adopt(self, collection: Collection) -> None:
        """Take over a collection that was just made."""
        with self._lock:
            self._held[collection.name] = _Held(collection, self._leases)
        self._close_unused()

    def drop(self, name: str) -> None:
        """Delete a collection; who uses it now is told so by its engine."""
        name = check_name(name)
        self.forget(name)
        self.home.drop(name)
        self.forget(name)  # who opened it meanwhile

    def forget(self, name: str) -> None:
        """Let go of a collection, as soon as nobody uses it."""
        with self._lock:
            held = self._held.get(name)
        if held is not None:
            self._doom(held)

    def close(self) -> None:
        """Let go of all of them, used or not."""
        with self._lock:
            self._closed = True
            held, self._held = list(self._held.values()), {}
        for one in held:
            one.collection.close()

    # One at a time

    def _taken(self, name: str) -> _Held:
        while True:
            with self._lock:
                if self._closed:
                    raise CollectionClosed("it is the end: nothing is opened any more.")
                held = self._held.get(name)
                if held is not None:
                    self._leases += 1
                    held.users, held.used = held.users + 1, self._leases
                    return held
                opening = self._opening.setdefault(name, threading.Lock())
            with opening:  # one of those who want it opens it, others wait
                with self._lock:
                    there = name in self._held
                if not there:
                    self._open(name)

    def _open(self, name: str) -> None:
        try:
            engine = self.home.open(name, device=self._compute.on_one_device.device)
        except CollectionNotFound:
            with self._lock:
                self._opening.pop(name, None)
            raise
        held = _Held(Collection(engine, self._model(engine)), self._leases)
        with self._lock:
            self._held[name] = held
            self._opened += 1
        self._close_unused(name)

    def _close_unused(self, but: str = "") -> None:
        with self._lock:
            idle = sorted((held.used, name) for name, held in self._held.items() if not held.users and name != but)
            doomed = [self._held.pop(name) for _, name in idle[: max(len(self._held) - self._most, 0)]]
        for held in doomed:
            held.collection.close()

    def _doom(self, held: _Held) -> None:
        """Nobody gets it any more; it is closed with the last who uses it."""
        with self._lock:
            name = held.collection.name
            if self._held.get(name) is held:
                del self._held[name]
            held.doomed = True
            close = not held.users
        if close:
            held.collection.close()

    def _give_back(self, held: _Held) -> None:
        with self._lock:
            held.users -= 1
            close = held.doomed and not held.users
        if close:
            held.collection.close()
