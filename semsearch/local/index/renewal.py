"""Caches that whoever writes builds anew when they are damaged or many rows are newer: of words, of sparse vectors."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import Any

from semsearch.errors import CollectionLocked, StorageError, is_scarcity
from semsearch.local.store.snapshot import Snapshot
from semsearch.local.store.store import Store

log = logging.getLogger("semsearch")

TAIL_ROWS = 1_000  # rows newer than a cache that each process reads for itself before it is built anew …
TAIL_SHARE = 0.02  # … or this share of its rows, if that is more


class Renewed(ABC):
    """A cache of one collection."""

    what: str  # it holds, in a sentence
    _store: Store

    @abstractmethod
    def damaged(self, snapshot: Snapshot) -> bool:
        """Whether there is one, and it can't be read."""

    @abstractmethod
    def covered(self, snapshot: Snapshot) -> int | None:
        """How many rows it covers; None where the collection has no such cache."""

    @abstractmethod
    def rebuild(self, *, wait: bool = True) -> Any:
        """Cover all committed rows; without `wait`, `CollectionLocked` where another process builds one."""

    def due(self, snapshot: Snapshot) -> bool:
        """Whether it is damaged, or so much is new, that the writing process should build it anew."""
        covered = self.covered(snapshot)
        if covered is None:
            return False
        return self.damaged(snapshot) or len(snapshot) - covered > max(TAIL_ROWS, TAIL_SHARE * covered)

    def renew(self) -> None:
        """Build it anew if that is due, unless another process builds already."""
        with self._store.read() as view:
            due = self.due(view.snapshot)
        if not due:
            return
        try:
            self.rebuild(wait=False)
        except CollectionLocked:
            pass
        except (StorageError, MemoryError) as error:  # what was written is committed, and found without it
            if not is_scarcity(error):
                raise
            log.warning("%s of collection '%s' could not be indexed: %s", self.what, self._store.name, error)
