"""The engine on this machine: one folder a collection, SQLite for the truth, mapped vectors, indexes as a cache."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semsearch.engine import SPARSE, Capabilities, Compacted, Encode, IndexSpec, Origin, Problem, Settings, Written
from semsearch.errors import CollectionDamaged, CollectionLocked, ModelMismatch, StorageError, is_scarcity
from semsearch.local.index.loader import IndexLoader
from semsearch.local.origins import LocalOrigins
from semsearch.local.store import questions, sparse_rows, terms
from semsearch.local.store.failpoints import failpoint
from semsearch.local.store.lock import WatchLock
from semsearch.local.store.metadata import update
from semsearch.local.store.settings import check_settings
from semsearch.local.store.snapshot import Snapshot
from semsearch.local.store.store import Store
from semsearch.local.view import LocalView, Retriever
from semsearch.types import Metric

# What only maintenance needs is imported by the methods that do it: most processes open a collection to search it.
if TYPE_CHECKING:
    from semsearch.local.index.build import Indexing
    from semsearch.local.lexical.build import LexicalIndexing
    from semsearch.local.sparse.build import SparseIndexing
    from semsearch.records import Entry, Known, Record
    from semsearch.search.languages import Languages
    from semsearch.search.recall import Certificate, Synthesis
    from semsearch.sparse_vectors import SparseVectors
    from semsearch.types import Keys, Metadata, Vectors

log = logging.getLogger("semsearch")

SETTINGS = ("encoder", "metric", "passages", "splitting", "index", "created")  # of every collection


class LocalEngine:
    """See `semsearch.engine.Engine`; it is `Indexed`, `Maintained`, `BackedUp` and `Watchable`, too."""

    capabilities = Capabilities("local", scored=True, sparse=True, facets=True, devices=True)

    def __init__(self, store: Store, device: str | None = None) -> None:
        """`device` runs exact search, where a collection has no index or its index is not asked."""
        self.store = store
        self.name = store.name
        self.location = str(store.folder)
        self.origins = LocalOrigins(store)
        self._device = device
        self._renewing = threading.Lock()
        self._renew(store.opened_with)

    def _renew(self, settings: Settings) -> None:
        """Take over what a change of model changes."""
        check_settings(settings, SETTINGS)
        self._metric = Metric(settings["metric"])
        self._loader = IndexLoader(self.store, self._metric)
        self._retriever = Retriever(self.store, self._metric, self._loader, self._device)
        self._encoder, self._sparse = settings["encoder"], settings.get(SPARSE)

    @property
    def _indexing(self) -> Indexing:
        from semsearch.local.index.build import Indexing

        return Indexing(self.store, self._metric, self._loader)

    @property
    def _lexical_indexing(self) -> LexicalIndexing:
        from semsearch.local.lexical.build import LexicalIndexing

        return LexicalIndexing(self.store, self._retriever.lexical)

    @property
    def _sparse_indexing(self) -> SparseIndexing:
        from semsearch.local.sparse.build import SparseIndexing

        return SparseIndexing(self.store, self._retriever.sparse)

    def keep_watch(self) -> AbstractContextManager[None]:
        """See `Watchable`."""
        return WatchLock(self.store.folder).hold()

    # Reading

    @property
    def settings(self) -> Settings:
        """See `Engine.settings`."""
        return self.store.settings

    @property
    def versions(self) -> Mapping[str, int]:
        """See `Engine.versions`."""
        return self.store.versions

    def check_open(self) -> None:
        """See `Engine.check_open`."""
        self.store.check_open()

    def view(self) -> AbstractContextManager[LocalView]:
        """See `Engine.view`."""
        return self._view()

    @contextmanager
    def _view(self) -> Iterator[LocalView]:
        with self.store.read() as view:
            settings = view.snapshot.settings
            if settings["encoder"] != self._encoder or settings.get(SPARSE) != self._sparse:
                with self._renewing:
                    self._renew(view.snapshot.settings)
            yield LocalView(view, self._retriever)

    def counts(self) -> tuple[int, int]:
        """See `Engine.counts`."""
        return self.store.counts()

    def bytes(self) -> int:
        """See `Engine.bytes`."""
        return self.store.bytes()

    def known(self, ids: Sequence[str]) -> dict[str, Known]:
        """See `Engine.known`."""
        return self.store.known(ids)

    # Writing

    def put(
        self,
        entries: Sequence[Entry],
        metadata_only: Sequence[Record] = (),
        *,
        model: str | None = None,
        again: bool = False,
        origin: Callable[[str], Origin] | None = None,
    ) -> Written:
        """See `Engine.put`."""
        return self.store.put(entries, metadata_only, model=model, again=again, origin=origin)

    def remove(self, ids: Sequence[str]) -> int:
        """See `Engine.remove`."""
        return self.store.remove(ids)

    def update_metadata(self, ids: Iterable[str], change: Callable[[Metadata], Metadata]) -> int:
        """See `Engine.update_metadata`."""
        return update(self.store, ids, change)

    def set(self, name: str, value: Any) -> None:
        """See `Engine.set`."""
        self.store.set(name, value)

    def set_languages(self, languages: Languages, *, found: bool = False) -> bool:
        """See `Engine.set_languages`."""
        return self.store.set_languages(languages, found=found)

    def begin_sparse(self, described: Settings) -> None:
        """See `semsearch.engine.SparseStore`."""
        with self.store.write(), self.store.database.write() as connection:
            self.store.advance(connection)
            failpoint("begin sparse")
            sparse_rows.begin(connection, described)

    def put_sparse(self, keys: Keys, vectors: SparseVectors, model: str) -> int:
        """See `semsearch.engine.SparseStore`."""
        with self.store.write():
            with self.store.read() as view:
                described, snapshot = view.snapshot.settings.get(SPARSE), view.snapshot
            if described is None or described["fingerprint"] != model:
                raise ModelMismatch(
                    f"collection '{self.name}' got another sparse model meanwhile, or has none any more; run the same "
                    "command again."
                )
            covered = self._retriever.sparse.covered(snapshot)
            last = int(snapshot.keys[covered - 1]) if covered else -1
            with self.store.database.write() as connection:
                self.store.advance(connection)
                return sparse_rows.write(connection, keys, vectors, last)

    def end_sparse(self) -> None:
        """See `semsearch.engine.SparseStore`."""
        with self.store.write(), self.store.database.write() as connection:
            self.store.advance(connection)
            failpoint("end sparse")
            sparse_rows.end(connection)

    def hold(self) -> AbstractContextManager[None]:
        """See `Engine.hold`."""
        return self.store.write()

    def close(self) -> None:
        """See `Engine.close`."""
        self._loader.close()
        self.store.close()

    # Index

    def rebuild(self, spec: IndexSpec, queries: Vectors | Synthesis | None) -> Certificate | None:
        """See `Indexed.rebuild`."""
        certificate = self._indexing.rebuild(spec, lambda: queries)
        self._lexical_indexing.renew()
        return certificate

    def tune(self, spec: IndexSpec, queries: Vectors | Synthesis | None) -> Certificate:
        """See `Indexed.tune`."""
        return self._indexing.tune(spec, queries)

    def kept_queries(self) -> list[str]:
        """See `Indexed.kept_queries`."""
        with self.store.database.read() as connection:
            return questions.read(connection)

    def keep_queries(self, queries: Sequence[str]) -> None:
        """See `Indexed.keep_queries`."""
        with self.store.write(), self.store.database.write() as connection:
            self.store.advance(connection)
            questions.replace(connection, queries)

    def load_index(self) -> None:
        """See `Indexed.load_index`."""
        with self.store.read() as view:
            snapshot = view.snapshot
        if snapshot.index is not None:
            self._loader.load(snapshot.index, snapshot)

    def index_info(self) -> dict[str, Any]:
        """See `Indexed.index_info`."""
        from semsearch.search.choose import choose

        with self.store.read() as view:
            snapshot = view.snapshot
        there, words = snapshot.index, snapshot.lexical
        spec = IndexSpec.of(snapshot.settings)
        why = "as asked for"
        if spec.backend == "auto":
            why = choose(len(snapshot), snapshot.dim, recall=spec.recall).reason
        return {
            "wanted": asdict(spec),
            "why": why,
            "backend": there.backend if there else "exact",
            "params": there.params if there else {},
            "state": self._loader.state(snapshot),
            "rows": there.rows if there else 0,
            "fresh": len(snapshot) - (there.rows if there else 0),
            "removed": snapshot.removed,
            "contract": there.contract if there else None,
            "words": {
                "state": self._retriever.lexical.state(snapshot),
                "rows": words.rows if words else 0,
                "fresh": len(snapshot) - (words.rows if words else 0),
            },
            **self._sparse_info(snapshot),
        }

    def _sparse_info(self, snapshot: Snapshot) -> dict[str, Any]:
        if SPARSE not in snapshot.settings:
            return {}
        with self.store.database.read() as connection:
            lacking = sparse_rows.lacking(connection)
        rows = self._retriever.sparse.covered(snapshot)
        state = self._retriever.sparse.state(snapshot)
        return {"sparse": {"state": state, "rows": rows, "fresh": len(snapshot) - rows, "lacking": lacking}}

    # Maintenance

    def maintain(self, queries: Callable[[], Vectors | Synthesis | None]) -> None:
        """See `Maintained.maintain`."""
        from semsearch.local.maintenance.compaction import compact

        with self.store.read() as view:
            snapshot = view.snapshot
        if self._indexing.needs_compaction(snapshot):
            with suppress(StorageError):  # too little room: it is only slower so
                compact(self.store)
                with self.store.read() as view:
                    snapshot = view.snapshot
        spec, certificate = IndexSpec.of(snapshot.settings), None
        try:
            if self._indexing.needs_rebuild(snapshot):
                with suppress(CollectionLocked):  # another process builds it already
                    certificate = self._indexing.rebuild(spec, queries, wait=False)
            elif spec.recall is not None and self._indexing.needs_recertification(snapshot):
                certificate = self._indexing.tune(spec, queries())
            if certificate is not None and not certificate.met:  # nobody asked for it now, so nobody looks at it
                log.warning("the index of collection '%s': %s", self.name, certificate.summary)
        except (StorageError, MemoryError) as error:  # what was written is committed, and found without it
            if not is_scarcity(error):
                raise  # a disk that is full stays so
            why = str(error)
            if isinstance(error, MemoryError):
                why = f"memory is short{f' ({why})' if why else ''}."
            log.warning(
                "the index of collection '%s' could not be built: %s What it lacks is searched exactly until the next "
                "write, or 'semsearch reindex %s', builds it.",
                self.name,
                why,
                self.name,
            )
        finally:  # vectors of which none can be built keep no words from being found
            self._lexical_indexing.renew()
            self._sparse_indexing.renew()

    def check(self, *, deep: bool = False) -> list[Problem]:
        """See `Maintained.check`."""
        from semsearch.local.maintenance.check import content, interrupted, structure

        with self.store.database.read() as connection:
            problems = list(interrupted(connection, self.store.folder))
        try:
            with self.store.read() as view:
                snapshot = view.snapshot
                problems.extend(structure(view, self.store.folder))
                if deep and "database" not in {problem.part for problem in problems}:
                    problems.extend(content(view, self.store.folder, Metric(snapshot.settings["metric"])))
        except CollectionDamaged:
            if not problems:
                raise
            return problems  # which must be repaired before more can be read
        if deep and snapshot.index is not None and not problems:
            problems.extend(self._indexing.probe(snapshot))
        if deep and self.store.database.writable:
            with self.store.write(), self.store.database.write() as connection:
                if not terms.fit(connection):
                    fix = f"semsearch repair {self.name}"
                    problems.append(Problem("full text", "it does not agree with the documents", fix))
        return problems

    def repair(self, encode: Encode | None, queries: Callable[[], Vectors | Synthesis | None]) -> list[str]:
        """See `Maintained.repair`."""
        from semsearch.local.maintenance.repair import mend_sparse, repair

        done = repair(self.store, encode)
        done += mend_sparse(self.store)
        broken = {problem.part for problem in self.check()}
        if "index" in broken:
            self._indexing.rebuild(IndexSpec.of(self.settings), queries)
            done.append("built the index anew")
        if "words" in broken:
            self._lexical_indexing.rebuild()
            done.append("built the index of words anew")
        if "sparse index" in broken:
            self._sparse_indexing.rebuild()
            done.append("built the index of sparse vectors anew")
        return done

    def compact(self) -> Compacted:
        """See `Maintained.compact`."""
        from semsearch.local.maintenance.compaction import compact

        return compact(self.store)

    def backup(self, file: Path) -> int:
        """See `BackedUp.backup`."""
        from semsearch.local.maintenance.backup import backup

        return backup(self.store, file)

    def reencode(
        self, target: Settings, dim: int, encode: Encode, progress: Callable[[int], None] | None = None
    ) -> int:
        """See `Maintained.reencode`."""
        from semsearch.local.maintenance.reencoding import reencode

        count = reencode(self.store, dict(target), dim, encode, progress)
        with self._renewing:
            self._renew(self.settings)
        return count
