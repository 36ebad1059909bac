"""The life of a collection's index: built beside readers, published by one commit, verified and loaded behind searches.

SQLite says which index there is; its files are a cache. Until it is loaded, and whenever anything is wrong with it, the
collection is searched exactly. Queries never build; whoever writes does, when too much has changed.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from semsearch import plugins
from semsearch.errors import CollectionLocked, IndexDamaged, SemsearchError
from semsearch.search.generation import MANIFEST, open_generation, write_generation
from semsearch.search.plan import Warm
from semsearch.store import platform, registry
from semsearch.store.failpoints import failpoint
from semsearch.store.lock import WriterLock
from semsearch.store.registry import Registered
from semsearch.store.snapshot import Snapshot
from semsearch.store.store import Store
from semsearch.types import Metric, VectorIndex

log = logging.getLogger("semsearch")

TAIL_ROWS = 20_000  # rows newer than the index that are searched exactly before it is built anew …
TAIL_SHARE = 0.1  # … or this share of all rows, if that is more
REMOVED_SHARE = 0.3  # of rows, above which dead rows cost more than rewriting everything
SCAN_RATE = 8e9  # bytes a second that exact search reads, for estimates
LOAD_RATE = 0.4e9  # bytes a second that an index is hashed and loaded at


class Indexing:
    """Builds, publishes, verifies and loads the index of one collection."""

    def __init__(self, store: Store, metric: Metric) -> None:
        self._store = store
        self._metric = metric
        self._loaded: tuple[Registered, Warm] | None = None
        self._broken: dict[int, str] = {}
        self._loading: threading.Thread | None = None
        self._lock = threading.Lock()
        self._searched = 0

    # Searching

    def warm(self, snapshot: Snapshot, queries: int) -> Warm | None:
        """The loaded index for a search of `queries` queries in `snapshot`, or None: search exactly.

        The first search of a process is exact: a one-shot query would wait longer for the index than for the scan. From
        the second on the index is loaded in the background, and at once where many queries are asked together.
        """
        registered = snapshot.index
        if registered is None or registered.number in self._broken:
            return None
        first = self._searched == 0
        self._searched += queries
        loaded = self._loaded
        if loaded is None or loaded[0] != registered:
            if self._costs_less(snapshot, registered, queries):
                self.load(registered, snapshot)
            elif not first:
                self._load_behind(registered, snapshot)
            loaded = self._loaded
        if loaded is None or loaded[0].generation != snapshot.generation:
            return None
        return loaded[1]

    def state(self, snapshot: Snapshot) -> str:
        """For people: "none", "on disk", "warming", "ready", or what is wrong."""
        registered = snapshot.index
        if registered is None:
            return "none"
        if registered.number in self._broken:
            return self._broken[registered.number]
        if self._loaded is not None and self._loaded[0] == registered:
            return "ready"
        return "warming" if self._loading is not None and self._loading.is_alive() else "on disk"

    def load(self, registered: Registered, snapshot: Snapshot) -> None:
        """Verify and load a published index, or take note that it is broken."""
        with self._lock:
            if self._loaded is not None and self._loaded[0] == registered:
                return
            try:
                index = self._reused(registered) or self._opened(registered, snapshot)
                index.tune(self._params(registered))
                self._loaded = (registered, Warm(registered.number, index, registered.rows))
            except SemsearchError as error:
                self._broken[registered.number] = str(error)
                log.warning("%s", error)

    def _reused(self, registered: Registered) -> VectorIndex | None:
        """The loaded index, if only its search-time options changed."""
        if self._loaded is not None and self._loaded[0].number == registered.number:
            return self._loaded[1].index
        return None

    def _opened(self, registered: Registered, snapshot: Snapshot) -> VectorIndex:
        folder = self._store.folder / "indexes" / registered.folder
        if _digest(folder / MANIFEST) != registered.digest:
            raise IndexDamaged(
                f"the index {folder} is not the one that was published (its manifest is missing or differs). Search is "
                f"exact until 'semsearch reindex {self._store.name}' has built a new one."
            )
        index, _ = open_generation(
            folder,
            plugins.index_backend(registered.backend),
            snapshot.keys[: registered.rows],
            snapshot.vectors[: registered.rows],
            self._metric,
            backend=registered.backend,
            collection=self._store.settings["uuid"],
            model=self._model(),
        )
        return index

    def _load_behind(self, registered: Registered, snapshot: Snapshot) -> None:
        if self._loading is None or not self._loading.is_alive():
            self._loading = threading.Thread(
                target=self.load, args=(registered, snapshot), name="semsearch-index", daemon=True
            )
            self._loading.start()

    def _costs_less(self, snapshot: Snapshot, registered: Registered, queries: int) -> bool:
        """Whether loading the index now is estimated to cost less than scanning for all queries."""
        scan = snapshot.vectors.nbytes / SCAN_RATE * (queries / 16 if queries >= 16 else 0)
        return scan > self._bytes(registered) / LOAD_RATE

    def _bytes(self, registered: Registered) -> int:
        folder = self._store.folder / "indexes" / registered.folder
        return platform.folder_bytes(folder)

    # Building

    def due(self, snapshot: Snapshot) -> bool:
        """Whether so much changed that the writing process should build the index anew."""
        wanted = self._store.settings["index"]["backend"]
        index = snapshot.index
        if index is None:
            return len(snapshot) > 0 and (wanted != "auto" or len(snapshot) >= TAIL_ROWS)
        tail = len(snapshot) - index.rows
        return index.number in self._broken or tail > max(TAIL_ROWS, TAIL_SHARE * index.rows)

    def rebuild(self, backend: str, options: Mapping[str, Any]) -> Registered | None:
        """Build an index over all committed rows and publish it in place of the present one.

        Readers and writers go on meanwhile; rows that come after the snapshot are searched exactly.
        """
        kind = plugins.index_backend(backend)
        params = kind.Params.parse(options, f"index '{backend}'")
        with WriterLock(self._store.folder, name="rebuild").hold():
            while True:
                with self._store.read() as view:
                    snapshot = view.snapshot
                if not len(snapshot):
                    return None
                index = kind.build(snapshot.keys, snapshot.vectors, self._metric, params)
                building = self._store.folder / "indexes" / f".{backend}-{os.getpid()}"
                self._write(building, index, snapshot, backend, params)
                published = self._publish(building, snapshot, backend, params.as_dict(), None)
                if published is not None:
                    break
                platform.remove(building)  # a compaction came between: its rows are others
            with self._lock:
                self._loaded = (published, Warm(published.number, index, published.rows))
            with suppress(CollectionLocked):  # the index is published; old files can wait
                self._store.sweep()
            return published

    def _write(self, building: Path, index: VectorIndex, snapshot: Snapshot, backend: str, params: Any) -> None:
        for left in building.parent.glob(".*"):  # of a process that died: building takes turns
            platform.remove(left)
        write_generation(
            building,
            index,
            snapshot.keys,
            snapshot.vectors,
            self._metric,
            params,
            backend=backend,
            collection=self._store.settings["uuid"],
            model=self._model(),
        )

    def _publish(
        self,
        building: Path,
        snapshot: Snapshot,
        backend: str,
        params: dict[str, Any],
        contract: dict[str, Any] | None,
    ) -> Registered | None:
        """Name and register a finished index; None if the vectors it was built from are no longer the collection's."""
        with self._store.write():
            with self._store.database.read() as connection:
                generation = connection.exec_driver_sql("SELECT generation FROM state").scalar_one()
                number = registry.next_number(connection)
            if generation != snapshot.generation:
                return None
            digest = _digest(building / MANIFEST)
            registered = Registered(number, backend, params, generation, len(snapshot), digest, contract)
            target = building.with_name(registered.folder)
            if target.exists():  # from a crash between this rename and the commit
                platform.remove(target)
            platform.rename(building, target)
            with self._store.database.write() as connection:
                self._store.advance(connection)
                failpoint("register index")
                registry.publish(connection, registered)
            return registered

    def retire(self) -> None:
        """Go back to exact search and delete the index."""
        with self._store.write(), self._store.database.write() as connection:
            self._store.advance(connection)
            registry.retire(connection)
        with self._lock:
            self._loaded = None
        self._store.sweep()

    def _model(self) -> str:
        encoder = self._store.settings["encoder"]
        return encoder["fingerprint"] if encoder else "none"

    def _params(self, registered: Registered) -> Any:
        return plugins.index_backend(registered.backend).Params(**registered.params)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
