"""Which index a search may use: verified and loaded behind the searches, exact until then.

Anything that is wrong with an index is said once, and the collection is searched exactly until a writer builds anew.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semsearch import plugins
from semsearch.errors import (
    CollectionClosed,
    CollectionNotFound,
    IndexDamaged,
    IndexForeign,
    SemsearchError,
    StorageError,
    UsageError,
)
from semsearch.local.store import platform

if TYPE_CHECKING:
    from semsearch.local.index.equals import Equals
    from semsearch.local.planner import LoadedIndex
    from semsearch.local.store.registry import Registered
    from semsearch.local.store.snapshot import Snapshot
    from semsearch.local.store.store import Store
    from semsearch.types import Metric
    from semsearch.vector_index import VectorIndex

log = logging.getLogger("semsearch")

EXACT_SCAN_RATE = 8e9  # bytes a second that exact search reads, for estimates
LOAD_RATE = 0.4e9  # bytes a second that an index is hashed and loaded at


class IndexLoader:
    """The loaded index of one collection."""

    def __init__(self, store: Store, metric: Metric) -> None:
        self._store = store
        self._metric = metric
        self._loaded: tuple[Registered, LoadedIndex] | None = None
        self._broken: dict[int, str] = {}
        self._foreign: set[int] = set()  # of the broken: those that may be whole, and are for others to load
        self._loading: threading.Thread | None = None
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._searched = 0

    def loaded_for(self, snapshot: Snapshot, queries: int) -> LoadedIndex | None:
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
        """For people: "none", "on disk", "loading", "ready", or what is wrong."""
        registered = snapshot.index
        if registered is None:
            return "none"
        if registered.number in self._broken:
            what = "not loaded" if registered.number in self._foreign else "damaged"
            return f"{what}: {self._broken[registered.number]}"
        if self._loaded is not None and self._loaded[0] == registered:
            return "ready"
        if self._loading is not None and self._loading.is_alive():
            return "loading"
        seen = self._seen(registered)
        return "on disk" if seen is None else f"damaged: {seen}"

    def load(self, registered: Registered, snapshot: Snapshot) -> None:
        """Verify and load a published index, or take note that it is broken."""
        if self._pid != os.getpid():  # a forked child: the thread that may hold the lock is not here
            self._pid, self._lock = os.getpid(), threading.Lock()
        with self._lock:
            if self._loaded is not None and self._loaded[0] == registered:
                return
            try:
                loaded = self._reused(registered) or self._opened(registered, snapshot)
                loaded.index.tune(params_of(registered))
                self._loaded = (registered, loaded)
            except (CollectionClosed, CollectionNotFound):
                raise
            except StorageError as error:  # of memory or files there are too few: next time there may be more
                log.warning("%s This search is exact.", error)
            except SemsearchError as error:
                with self._store.read() as view:
                    if view.snapshot.index != registered:  # it was replaced meanwhile, and its files are gone
                        return
                self._broken[registered.number] = str(error)
                if isinstance(error, IndexForeign):
                    self._foreign.add(registered.number)
                log.warning("%s", error)

    def _reused(self, registered: Registered) -> LoadedIndex | None:
        """The loaded index, if only its search-time options changed."""
        if self._loaded is not None and self._loaded[0].number == registered.number:
            return self._loaded[1]
        return None

    def _opened(self, registered: Registered, snapshot: Snapshot) -> LoadedIndex:
        from semsearch.local.index.generation import open_generation
        from semsearch.local.planner import LoadedIndex

        folder = self._published(registered)
        index, _, equals = open_generation(
            folder,
            plugins.index_backend(registered.backend),
            snapshot.keys[: registered.rows],
            snapshot.vectors[: registered.rows],
            self._metric,
            backend=registered.backend,
            collection=self._store.settings["uuid"],
            model=self._store.model,
        )
        self._store.check_location()  # its files were found by their paths
        return LoadedIndex(registered.number, index, registered.rows, equals)

    def _published(self, registered: Registered) -> Path:
        """The folder of a published index, whose manifest is the one that was published."""
        from semsearch.local.index.generation import published_digest

        folder = self._store.folder / "indexes" / registered.folder
        if published_digest(folder) != registered.digest:
            raise IndexDamaged(
                f"the index {folder} is not the one that was published (its manifest is missing or differs). Search is "
                f"exact until 'semsearch reindex {self._store.name}' has built a new one."
            )
        return folder

    def _seen(self, registered: Registered) -> str | None:
        """What is wrong with a published index as far as it is seen without reading its files: cheap at every write."""
        from semsearch.local.index.generation import look_at_files, read_manifest

        try:
            folder = self._published(registered)
            look_at_files(folder, read_manifest(folder))
        except IndexDamaged as error:
            with self._store.read() as view:
                if view.snapshot.index != registered:  # it was replaced meanwhile, and its files are gone
                    return None
            return str(error)
        except StorageError:  # too few files or too little memory to look
            return None
        return None

    def _load_behind(self, registered: Registered, snapshot: Snapshot) -> None:
        if self._loading is None or not self._loading.is_alive():
            self._loading = threading.Thread(
                target=self._load_unless_closed, args=(registered, snapshot), name="semsearch-index", daemon=True
            )
            self._loading.start()

    def _load_unless_closed(self, registered: Registered, snapshot: Snapshot) -> None:
        with suppress(CollectionClosed, CollectionNotFound):  # whoever searches next is told
            self.load(registered, snapshot)

    def _costs_less(self, snapshot: Snapshot, registered: Registered, queries: int) -> bool:
        """Whether loading the index now is estimated to cost less than scanning for all queries."""
        scan = snapshot.vectors.nbytes / EXACT_SCAN_RATE * (queries / 16 if queries >= 16 else 0)
        return scan > self._bytes(registered) / LOAD_RATE

    def _bytes(self, registered: Registered) -> int:
        folder = self._store.folder / "indexes" / registered.folder
        return platform.folder_bytes(folder)

    def adopt(self, registered: Registered, index: VectorIndex, equals: Equals | None) -> None:
        """Take an index that was just built, without reading it back."""
        from semsearch.local.planner import LoadedIndex

        with self._lock:
            self._loaded = (registered, LoadedIndex(registered.number, index, registered.rows, equals))

    def loaded(self, snapshot: Snapshot) -> LoadedIndex:
        """The index of `snapshot`, loaded now; raises what is wrong with it."""
        registered = snapshot.index
        if registered is None:
            raise UsageError(
                f"collection '{self._store.name}' has no index to tune: its searches are exact. 'semsearch reindex "
                f"{self._store.name} --index hnsw' builds one."
            )
        self.load(registered, snapshot)
        if registered.number in self._broken:
            raise IndexDamaged(self._broken[registered.number])
        if self._loaded is None:
            raise StorageError(f"the index of collection '{self._store.name}' can't be loaded now: try again later.")
        return self._loaded[1]

    def close(self) -> None:
        """Wait for an index that is being loaded: it reads files that are about to be let go."""
        if self._loading is not None and self._loading is not threading.current_thread():
            self._loading.join()  # in a forked child the thread counts as ended
        self._loaded = None

    def broken(self, registered: Registered) -> bool:
        """Whether the published index was found damaged, or is seen to be; a writer may never have loaded it.

        One that another user built stays theirs, or each would build anew what the other one built; one that nobody
        says to have built, as older versions left it, is built anew once.
        """
        from semsearch.local.index.tags import keeps_key, tagged

        if registered.number in self._foreign:
            return keeps_key() and not tagged(self._store.folder / "indexes" / registered.folder)
        if registered.number in self._broken:
            return True
        seen = self._seen(registered)
        if seen is not None:
            log.warning("%s", seen)
        return seen is not None


def params_of(registered: Registered) -> Any:
    """The options of a published index, as its backend's dataclass."""
    return plugins.index_backend(registered.backend).Params(**registered.params)
