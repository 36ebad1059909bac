"""The life of a collection's index: built beside readers, set to a recall that was asked for, published by one commit.

SQLite says which index there is; its files are a cache. Queries never build one; whoever writes does, when too much
has changed.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from semsearch import plugins
from semsearch.engine import IndexSpec, Problem
from semsearch.errors import CollectionDamaged, CollectionLocked, DataError, IndexDamaged
from semsearch.local.index.equals import Equals, with_equals
from semsearch.local.index.generation import published_digest, write_generation
from semsearch.local.index.loader import IndexLoader, params_of
from semsearch.local.store import platform, registry
from semsearch.local.store.failpoints import failpoint
from semsearch.local.store.lock import WriterLock
from semsearch.local.store.registry import Registered
from semsearch.local.store.snapshot import Snapshot
from semsearch.local.store.store import Store
from semsearch.search.choose import UNINDEXED_ROWS, choose
from semsearch.search.languages import languages_of
from semsearch.search.recall import NOT_STORED, Certificate, Search, Synthesis, certify, draw_sample, sample_recall
from semsearch.search.truth import Truth
from semsearch.types import Keys, Metric, Neighbors, Vectors
from semsearch.vector_index import VectorIndex

log = logging.getLogger("semsearch")

VECTOR_TAIL_ROWS = 20_000  # rows newer than the index that are searched exactly before it is built anew …
VECTOR_TAIL_SHARE = 0.1  # … or this share of its rows, if that is more
WIDEST = 64  # of an option that widens what a knob can reach
CHECK_QUERIES = 100  # stored vectors whose neighbours a deep check looks for
PROBE_RECALL = 0.5  # without a contract, less than this is no index
CHANGED_SHARE = 0.1  # of rows, above which a contract is certified again
REMOVED_SHARE = 0.3  # of rows, above which dead rows cost more than rewriting everything


class Indexing:
    """Builds, tunes and publishes the index of one collection."""

    def __init__(self, store: Store, metric: Metric, loader: IndexLoader) -> None:
        self._store = store
        self._metric = metric
        self._loader = loader

    def needs_rebuild(self, snapshot: Snapshot) -> bool:
        """Whether so much changed that the writing process should build the index anew."""
        index = snapshot.index
        if index is None:
            wanted = IndexSpec.of(self._store.settings)
            return len(snapshot) > 0 and (wanted.backend != "auto" or len(snapshot) >= UNINDEXED_ROWS)
        tail = len(snapshot) - index.rows
        return self._loader.broken(index) or tail > max(VECTOR_TAIL_ROWS, VECTOR_TAIL_SHARE * index.rows)

    def needs_compaction(self, snapshot: Snapshot) -> bool:
        """Whether so many rows are dead that rewriting the collection pays."""
        return snapshot.removed > REMOVED_SHARE * len(snapshot) and len(snapshot) >= VECTOR_TAIL_ROWS

    def needs_recertification(self, snapshot: Snapshot) -> bool:
        """Whether so much changed since the contract was certified that it should be certified again."""
        index = snapshot.index
        if index is None or index.contract is None:
            return False
        if index.contract.get("source") == "vectors":  # of an older version, which asked a graph for its own nodes only
            return True
        changed = len(snapshot) - index.contract["rows"] + abs(snapshot.removed - index.contract["removed"])
        return bool(changed > CHANGED_SHARE * index.contract["rows"])

    def rebuild(
        self, wanted: IndexSpec, queries: Callable[[], Vectors | Synthesis | None], *, wait: bool = True
    ) -> Certificate | None:
        """Build an index over all committed rows and publish it in place of the present one.

        Readers and writers go on meanwhile; rows that come after the snapshot are searched exactly. The certificate
        says what recall was reached, where one was asked for. Without `wait`, `CollectionLocked` at once where another
        process builds one. `queries` to measure it on are asked for only then.
        """
        self._store.check_writable()
        with building_lock(self._store, wait):
            while True:
                with self._store.read() as view:
                    snapshot = view.snapshot
                backend, options = self._chosen(wanted, snapshot)
                if backend is None or not len(snapshot):
                    self.retire()
                    return None
                kind = plugins.index_backend(backend)
                plugins.check_metric(backend, self._metric)
                params = kind.Params.parse(options, f"index '{backend}'")
                # exact search keeps equals apart by itself
                equals = None if kind.exact else Equals.of(snapshot.keys, snapshot.vectors)
                keys, vectors = snapshot.keys, snapshot.vectors
                if equals is not None:
                    keys, vectors = keys[equals.rows], equals.distinct(vectors)
                with self._sound_vectors():
                    index = kind.build(keys, vectors, self._metric, params)
                certificate = None
                if wanted.recall is not None:
                    certificate, params = self._certify(index, equals, params, snapshot, wanted, queries())
                building = self._store.folder / "indexes" / f".{backend}-{os.getpid()}"
                with self._sound_vectors():
                    self._write(building, index, equals, keys, vectors, backend, params)
                contract = None if certificate is None else _contract(certificate, snapshot)
                published = publish(self._store, building, snapshot, backend, params.as_dict(), contract)
                if published is not None:
                    break
                platform.remove(building)  # a compaction came between: its rows are others
            self._loader.adopt(published, index, equals)
            with suppress(CollectionLocked):  # the index is published; old files can wait
                self._store.sweep()
            return certificate

    @contextmanager
    def _sound_vectors(self) -> Iterator[None]:
        try:
            yield
        except DataError as error:  # damaged, or stored by an older version, which took numbers of any size
            raise CollectionDamaged(
                f"no index can be built of the stored vectors of collection '{self._store.name}' ({error}) "
                f"'semsearch check {self._store.name} --deep' says what mends it; until then search is exact."
            ) from error

    def tune(self, wanted: IndexSpec, queries: Vectors | Synthesis | None = None) -> Certificate:
        """Set the present index to the recall that is wanted, without building it anew, and publish the setting."""
        with self._store.read() as view:
            snapshot = view.snapshot
        loaded = self._loader.loaded(snapshot)
        registered = snapshot.index
        assert registered is not None
        params = params_of(registered)
        certificate, params = self._certify(loaded.index, loaded.equals, params, snapshot, wanted, queries)
        contract = _contract(certificate, snapshot)
        with self._store.write(), self._store.database.write() as connection:
            self._store.advance(connection)
            registry.tune(connection, registered.number, params.as_dict(), contract)
        self._loader.adopt(replace(registered, params=params.as_dict(), contract=contract), loaded.index, loaded.equals)
        return certificate

    def probe(self, snapshot: Snapshot) -> Iterator[Problem]:
        """Whether the index still finds what it should of the neighbours of some stored vectors."""
        assert snapshot.index is not None
        name, rows = self._store.name, snapshot.index.rows
        if rows < 2:
            return
        contract = snapshot.index.contract
        wanted, k = PROBE_RECALL, 10
        if contract is not None:  # one that can't be met was told when it was asked for
            wanted, k = contract["target"] if contract["met"] else contract["certified"], contract["k"]
        truth = Truth(snapshot.keys[:rows], snapshot.vectors[:rows], self._metric)
        drawn = draw_sample(truth.neighbors, k, truth.synthetic, count=CHECK_QUERIES)
        assert drawn.own is not None
        sample = drawn.part(drawn.own != NOT_STORED)  # what an index finds if it finds anything
        try:
            loaded = self._loader.loaded(snapshot)
        except IndexDamaged as error:  # whole, and nothing that its library could read
            yield Problem("index", str(error), f"semsearch reindex {name}")
            return
        search = with_equals(loaded.index.search, loaded.equals, truth.scores_of)
        recalls = sample_recall(search, sample, truth.scores_of, k)
        slack = 3 * float(recalls.std()) / len(recalls) ** 0.5  # a probe of so few queries is off by chance
        if recalls.mean() + slack < wanted:
            yield Problem(
                "index",
                f"it finds {recalls.mean():.3f} of the true {k} nearest, where {wanted:g} is wanted",
                f"semsearch reindex {name}" if contract is None else f"semsearch tune {name} --recall {wanted:g}",
            )

    def _certify(
        self,
        index: VectorIndex,
        equals: Equals | None,
        params: Any,
        snapshot: Snapshot,
        wanted: IndexSpec,
        queries: Vectors | Synthesis | None,
    ) -> tuple[Certificate, Any]:
        """Set the index to the recall that is wanted; the certificate, and the options with what was chosen.

        Where no value of its knob reaches the recall, a backend may name another option, `wider`, that lifts the reach.
        """
        rows, knob = len(index) if equals is None else len(equals), index.knob
        truth = Truth(snapshot.keys[:rows], snapshot.vectors[:rows], self._metric)
        assert wanted.recall is not None
        while True:
            setting = _Setting(index, with_equals(index.search, equals, truth.scores_of), params)
            certificate = certify(
                setting.search,
                truth.neighbors,
                truth.scores_of,
                # to make questions takes a model, and exact search no proof
                truth.synthetic if queries is None or (index.exact and callable(queries)) else queries,
                target=wanted.recall,
                k=wanted.k,
                knob=None if knob is None else knob.option,
                ladder=() if knob is None else knob.ladder(len(index)),
                proven=index.exact,
            )
            setting.turn(certificate.value)
            wider = None if knob is None else knob.wider
            if certificate.met or wider is None or getattr(params, wider) >= WIDEST:
                return certificate, setting.params
            params = replace(params, **{wider: 4 * getattr(params, wider)})

    def _chosen(self, wanted: IndexSpec, snapshot: Snapshot) -> tuple[str | None, Mapping[str, Any]]:
        """The backend and options to build; None for searching exactly without an index."""
        if wanted.backend != "auto":
            return wanted.backend, wanted.options
        choice = choose(len(snapshot), snapshot.dim, recall=wanted.recall)
        log.info("%s", choice.reason)
        return choice.backend, choice.options

    def _write(
        self,
        building: Path,
        index: VectorIndex,
        equals: Equals | None,
        keys: Keys,
        vectors: Vectors,
        backend: str,
        params: Any,
    ) -> None:
        clear_room(self._store, building)
        write_generation(
            building,
            index,
            keys,
            vectors,
            self._metric,
            params,
            equals,
            backend=backend,
            collection=self._store.settings["uuid"],
            model=self._store.model,
        )

    def retire(self) -> None:
        """Go back to exact search and delete the index."""
        with self._store.read() as view:
            if view.snapshot.index is None:
                return
        with self._store.write(), self._store.database.write() as connection:
            self._store.advance(connection)
            registry.retire(connection, words=False)
        self._store.sweep()


def building_lock(store: Store, wait: bool) -> AbstractContextManager[None]:
    """Building takes turns: one index at a time, of vectors or of words."""
    patience = {} if wait else {"timeout": 0.0}
    return WriterLock(store.folder, name="rebuild", **patience).hold()


def clear_room(store: Store, building: Path) -> None:
    """Take away what a process left that died while it was building: building takes turns."""
    for left in platform.listed(building.parent):
        if left.name.startswith("."):
            store.check_location()
            platform.remove(left)


def publish(
    store: Store,
    building: Path,
    snapshot: Snapshot,
    backend: str,
    params: dict[str, Any],
    contract: dict[str, Any] | None,
) -> Registered | None:
    """Name and register a finished index; None if what it was built from is no longer the collection's."""
    with store.write():
        with store.database.read() as connection:
            generation = connection.exec_driver_sql("SELECT generation FROM state").scalar_one()
            number = registry.next_number(connection)
        if generation != snapshot.generation:
            return None
        if backend == registry.LEXICAL and languages_of(store.settings) != snapshot.languages:
            return None
        digest = published_digest(building)
        registered = Registered(number, backend, params, generation, len(snapshot), digest, contract)
        target = building.with_name(registered.folder)
        store.check_location()
        if target.exists():  # from a crash between this rename and the commit
            platform.remove(target)
        platform.rename(building, target)
        with store.database.write() as connection:
            store.advance(connection)
            failpoint("register index")
            registry.publish(connection, registered)
        return registered


class _Setting:
    """An index with its knob, which is turned only where the value is another."""

    def __init__(self, index: VectorIndex, search: Search, params: Any) -> None:
        self._index = index
        self._search = search
        self.params = params
        index.tune(params)

    def turn(self, value: int | None) -> None:
        """Set the knob; None leaves it as it is."""
        knob = self._index.knob
        if knob is not None and value is not None and getattr(self.params, knob.option) != value:
            self.params = replace(self.params, **{knob.option: value})
            self._index.tune(self.params)

    def search(self, queries: Vectors, k: int, value: int | None) -> Neighbors:
        """The k best at a value of the knob."""
        self.turn(value)
        return self._search(queries, k)


def _contract(certificate: Certificate, snapshot: Snapshot) -> dict[str, Any]:
    """What is kept of a certificate, with the state it was measured in: as JSON gives it back, by which it is known."""
    kept = {**asdict(certificate), "rows": len(snapshot), "removed": snapshot.removed}
    return dict(json.loads(json.dumps(kept)))
