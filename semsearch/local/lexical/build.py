"""The life of a collection's index of words: built by whoever writes, when many rows are new; queries never build one.

Only rows that the present one does not cover are split; what it holds is taken over.
"""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import pairwise

from semsearch.errors import CollectionLocked, IndexDamaged
from semsearch.local.index.build import building_lock, clear_room, publish
from semsearch.local.index.generation import Manifest, versions, write_files
from semsearch.local.index.renewal import Renewed
from semsearch.local.lexical.postings import Postings
from semsearch.local.lexical.searcher import Lexical, opened, postings_of
from semsearch.local.store import platform
from semsearch.local.store.registry import LEXICAL, Registered
from semsearch.local.store.snapshot import Snapshot
from semsearch.local.store.store import Store


class LexicalIndexing(Renewed):
    """Builds and publishes the index of words of one collection."""

    what = "the words"

    def __init__(self, store: Store, searcher: Lexical) -> None:
        self._store = store
        self._searcher = searcher

    def damaged(self, snapshot: Snapshot) -> bool:
        """Whether there is one, and it can't be read."""
        return snapshot.lexical is not None and not self._searcher.sound(snapshot.lexical)

    def covered(self, snapshot: Snapshot) -> int:
        """How many rows it covers."""
        return 0 if snapshot.lexical is None else snapshot.lexical.rows

    def rebuild(self, *, wait: bool = True) -> Registered | None:
        """Cover all committed rows; readers and writers go on meanwhile. None for a collection without rows.

        Without `wait`, `CollectionLocked` at once where another process builds an index.
        """
        self._store.check_writable()
        with building_lock(self._store, wait):
            while True:
                with self._store.read() as view:
                    snapshot = view.snapshot
                    if not len(snapshot):
                        return None
                    known = self._known(snapshot)
                    parts = [] if known is None else [(0, known)]
                    first = 0 if known is None else len(known)
                    postings = Postings.merged([*parts, (first, postings_of(view, first))], len(snapshot))
                building = self._store.folder / "indexes" / f".{LEXICAL}-{os.getpid()}"
                clear_room(self._store, building)
                write_files(building, self._manifest(snapshot), postings.save)
                published = publish(self._store, building, snapshot, LEXICAL, {}, None)
                if published is not None:
                    break
                platform.remove(building)  # a compaction or other languages came between: its rows or words are others
            with suppress(CollectionLocked):  # it is published; old files can wait
                self._store.sweep()
            return published

    def _known(self, snapshot: Snapshot) -> Postings | None:
        """What the present index holds, if there is one that is sound."""
        if snapshot.lexical is None:
            return None
        with suppress(IndexDamaged):
            known = opened(self._store, snapshot.lexical)
            if all(one < other for one, other in pairwise(known.words())):  # else it is not of our making
                return known
        return None

    def _manifest(self, snapshot: Snapshot) -> Manifest:
        return Manifest(
            backend=LEXICAL,
            versions=versions(),
            options={},
            metric="bm25",
            dim=0,
            count=len(snapshot),
            highest_key=int(snapshot.keys[-1]),
            collection=self._store.settings["uuid"],
            model=self._store.model,
            files={},
        )
