"""The life of a collection's index of sparse vectors: built by whoever writes, when many rows are new."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np

from semsearch.engine import SPARSE
from semsearch.errors import CollectionLocked
from semsearch.local.index.build import building_lock, clear_room
from semsearch.local.index.generation import Manifest, published_digest, versions, write_files
from semsearch.local.index.renewal import Renewed
from semsearch.local.sparse.sparse_search import PublishedSparse, SparseSearch
from semsearch.local.store import platform, sparse_rows
from semsearch.local.store.failpoints import failpoint
from semsearch.local.store.settings import SPARSE_INDEX, put_setting, read_settings
from semsearch.local.store.snapshot import Snapshot
from semsearch.local.store.store import Store
from semsearch.types import Keys


class SparseIndexing(Renewed):
    """Builds and publishes the index of sparse vectors of one collection."""

    what = "the sparse vectors"

    def __init__(self, store: Store, searcher: SparseSearch) -> None:
        self._store = store
        self._searcher = searcher

    def damaged(self, snapshot: Snapshot) -> bool:
        """Whether there is one, and it can't be read."""
        published = PublishedSparse.of(snapshot)
        return published is not None and not self._searcher.sound(published)

    def covered(self, snapshot: Snapshot) -> int | None:
        """How many rows it covers; None where the collection has no sparse model."""
        return self._searcher.covered(snapshot) if SPARSE in snapshot.settings else None

    def rebuild(self, *, wait: bool = True) -> None:
        """Cover all committed rows; readers and writers go on meanwhile.

        Without `wait`, `CollectionLocked` at once where another process builds an index.
        """
        self._store.check_writable()
        with building_lock(self._store, wait):
            while True:
                with self._store.read() as view:
                    snapshot = view.snapshot
                    if not len(snapshot) or SPARSE not in snapshot.settings:
                        return
                    keys, impacts = self._searcher.gathered(view, 0)
                building = self._store.folder / "indexes" / f".{SPARSE}-{os.getpid()}"
                clear_room(self._store, building)
                write_files(building, self._manifest(snapshot), impacts.save)
                if self._published(building, snapshot, keys):
                    break
                platform.remove(building)  # vectors came into what it covers, or it was compacted: they are others now
            with suppress(CollectionLocked):  # it is published; old files can wait
                self._store.sweep()

    def _published(self, building: Path, snapshot: Snapshot, keys: Keys) -> bool:
        """Name and register a finished index; False if what it was built from is no longer the collection's."""
        store, folder = self._store, self._store.folder / "indexes"
        with store.write():
            with store.database.read() as connection:
                settings = read_settings(connection)
                row = "SELECT generation, version FROM state"
                generation, version = connection.exec_driver_sql(row).one()
                if generation != snapshot.generation or settings.get(SPARSE) != snapshot.settings[SPARSE]:
                    return False
                there = sparse_rows.keys_until(connection, int(snapshot.keys[-1]))
            if len(np.setdiff1d(there, keys, assume_unique=True)):  # whatever was filled or mended meanwhile
                return False
            registered = PublishedSparse(version + 1, generation, len(snapshot), published_digest(building))
            target = folder / registered.folder
            store.check_location()
            if target.exists():  # from a crash between this rename and the commit
                platform.remove(target)
            platform.rename(building, target)
            with store.database.write() as connection:
                store.advance(connection)
                failpoint("register sparse index")
                put_setting(connection, SPARSE_INDEX, asdict(registered))
            return True

    def _manifest(self, snapshot: Snapshot) -> Manifest:
        described = snapshot.settings[SPARSE]
        return Manifest(
            backend=SPARSE,
            versions=versions(),
            options={},
            metric="dot",
            dim=int(described["dim"]),
            count=len(snapshot),
            highest_key=int(snapshot.keys[-1]),
            collection=self._store.settings["uuid"],
            model=str(described["fingerprint"]),
            files={},
        )
