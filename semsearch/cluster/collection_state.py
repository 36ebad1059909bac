"""What is kept of a collection beside its documents: its settings, which index is its, and the numbers that were given.

It is one document, changed by compare-and-set alone. A change is what it was made of or nothing; one that another
overtook is made again of what that left.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from semsearch.cluster.cluster_connection import ClusterConnection, Elsewhere
from semsearch.cluster.index_layout import index_name
from semsearch.errors import CollectionLocked, CollectionNotFound, SemsearchError

CHANGE_ATTEMPTS = 200  # of a compare-and-set that others overtake
LEASE = 60.0  # seconds after which what a lost process held is free
WAITED = 10.0  # seconds for who holds the others out


@dataclass(frozen=True, slots=True)
class StateOfCollection:
    """The document as it was read."""

    source: Mapping[str, Any]
    stored: Mapping[str, Any]  # with `_seq_no`

    @property
    def settings(self) -> dict[str, Any]:
        """All of them."""
        settings: dict[str, Any] = json.loads(self.source["settings"])
        return settings

    @property
    def index(self) -> str:
        """That holds the documents."""
        return str(self.source["index"])

    @property
    def dim(self) -> int:
        """Components of a vector; 0 while nobody knows."""
        return int(self.source["dim"] or 0)


class CollectionState:
    """The state of one collection. Threads may share it."""

    def __init__(self, connection: ClusterConnection, name: str, uuid_: str | None = None) -> None:
        """`uuid_`: of the collection that was opened; another one of its name is another one."""
        self._connection = connection
        self._home = connection.address.prefix
        self._name = name
        self._id = state_id(name)
        self.uuid = uuid_
        self._own = threading.local()

    def read(self) -> StateOfCollection:
        """The state as it is now."""
        stored = self._connection.get(self._home, self._id)
        if stored is None or (self.uuid is not None and stored["_source"]["collection"] != self.uuid):
            raise CollectionNotFound(
                f"collection '{self._name}' was dropped from {self._connection.location}, or made anew, just now."
            )
        return StateOfCollection(stored["_source"], stored)

    def search(self) -> Elsewhere:
        """What reads the version beside other searches: every change of it is visible to searches once it is made."""
        body = {"size": 1, "query": {"ids": {"values": [self._id]}}, "_source": ["collection", "version"]}
        return Elsewhere(self._home, body)

    def is_version(self, found: Mapping[str, Any], state: StateOfCollection) -> bool:
        """Whether what `search` found is a state."""
        return bool(found == {"collection": self.uuid, "version": state.source["version"]})

    def change(self, made: Callable[[StateOfCollection], Mapping[str, Any] | None]) -> StateOfCollection:
        """Put in place what `made` makes of the state; None leaves it. What was put, or left."""
        for attempt in range(CHANGE_ATTEMPTS):
            state = self.read()
            new = made(state)
            if new is None:
                return state
            if new.get("version") == state.source["version"]:
                new = {**new, "version": state.source["version"] + 1}
            if self._connection.put(self._home, self._id, dict(new), state.stored, refresh=True):
                return StateOfCollection(new, state.stored)
            time.sleep(min(0.002 * attempt, 0.1))
        raise self._overtaken()

    def reserve(self, counter: str, number: int) -> int:
        """The first of so many numbers that were never given."""
        identity = f"n:{self.uuid}:{counter}"
        for attempt in range(CHANGE_ATTEMPTS):
            stored = self._connection.get(self._home, identity)
            first = 1 if stored is None else int(stored["_source"]["next"])
            source = {"kind": "counter", "collection": self.uuid, "next": first + number}
            if self._connection.put(self._home, identity, source, stored):
                return first
            time.sleep(min(0.002 * attempt, 0.1))
        raise self._overtaken()

    def for_writing(self) -> StateOfCollection:
        """The state, once nobody else holds writers out."""
        deadline = time.monotonic() + WAITED
        while True:
            state = self.read()
            held = state.source.get("held")
            if not held or held["by"] == getattr(self._own, "token", None) or held["until"] < time.time():
                return state
            if time.monotonic() > deadline:
                raise CollectionLocked(
                    f"another process keeps writers out of collection '{self._name}', for {LEASE:.0f} seconds at most "
                    "should it be gone: try again."
                )
            time.sleep(0.05)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Keep other writers out meanwhile; who is lost holds nobody out for longer than `LEASE`."""
        if getattr(self._own, "token", None) is not None:
            yield
            return
        said = f"another process keeps writers out of collection '{self._name}': try again."
        with self._leased("held", WAITED, said) as token:
            self._own.token = token
            try:
                yield
            finally:
                self._own.token = None

    def building(self, patience: float = 0) -> AbstractContextManager[str]:
        """Be the only one who makes another index of the collection."""
        said = f"another process encodes collection '{self._name}' anew, or builds its index: try again."
        return self._leased("builder", patience, said)

    @contextmanager
    def _leased(self, field: str, patience: float, said: str) -> Iterator[str]:
        token, done = uuid.uuid4().hex, threading.Event()
        deadline = time.monotonic() + patience
        while not self._taken(field, token):
            if time.monotonic() >= deadline:
                raise CollectionLocked(said)
            time.sleep(0.05)
        renewing = threading.Thread(target=self._renew, args=(field, token, done), daemon=True)
        renewing.start()
        try:
            yield token
        finally:
            done.set()
            renewing.join()
            with suppress(CollectionNotFound):  # dropped by who held it
                self.change(lambda state: {**state.source, field: None} if _holds(state, field, token) else None)

    def _taken(self, field: str, token: str) -> bool:
        def held(state: StateOfCollection) -> Mapping[str, Any] | None:
            now = state.source.get(field)
            if now and now["until"] > time.time() and now["by"] != token:
                return None
            return {**state.source, field: {"by": token, "until": time.time() + LEASE}}

        return _holds(self.change(held), field, token)

    def _renew(self, field: str, token: str, done: threading.Event) -> None:
        while not done.wait(LEASE / 4):
            with suppress(SemsearchError):  # the next one may do
                self._taken(field, token)

    def _overtaken(self) -> CollectionLocked:
        return CollectionLocked(f"other processes keep writing to collection '{self._name}': try again.")


def _holds(state: StateOfCollection, field: str, token: str) -> bool:
    held = state.source.get(field)
    return held is not None and held["by"] == token


def state_id(name: str) -> str:
    """The `_id` of a collection's state."""
    return f"c:{index_name(name)}"
