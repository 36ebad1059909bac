"""What a collection's answers stand on beside its documents: index, recall, calibration, sparse vectors, model."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, TypeVar

from semsearch import plugins
from semsearch.arguments import check_mapping
from semsearch.bound_encoder import BoundEncoder
from semsearch.bound_sparse import BoundSparseEncoder, described_sparse
from semsearch.chunking import splitter_for
from semsearch.engine import (
    SPARSE,
    EncodesSparse,
    Engine,
    Indexed,
    IndexSpec,
    Maintained,
    Refreshing,
    SparseStore,
    SparseView,
)
from semsearch.errors import CollectionDamaged, ModelError, SemsearchError, UsageError
from semsearch.ingest.ingestion import Encoding
from semsearch.ingest.sparse_filling import fill
from semsearch.search.calibration import Calibration, JudgedScores, calibrate, needs_calibration
from semsearch.search.passage_queries import passage_queries
from semsearch.search.recall import Certificate, Synthesis, check_target, worth_looking_at
from semsearch.types import Encoder, Vectors
from semsearch.vectors import check_k

log = logging.getLogger("semsearch")

Outcome = TypeVar("Outcome")

FORMER_ENCODER = "former_encoder"  # the setting that holds the model of before a change, until the next one


class Upkeep:
    """Builds, measures and changes it, for one collection; what each method does, `Collection` says."""

    def __init__(self, engine: Engine, model: BoundEncoder, sparse_model: BoundSparseEncoder) -> None:
        self._engine = engine
        self._model = model
        self._sparse_model = sparse_model

    def _lies_in(self, rest: str) -> UsageError:
        return UsageError(
            f"collection '{self._engine.name}' lies in the engine '{self._engine.capabilities.engine}', {rest}"
        )

    # What an engine has only where it says so

    @property
    def indexed(self) -> Indexed:
        """The engine, if it has indexes."""
        if not isinstance(self._engine, Indexed):
            raise self._lies_in("whose searches are exact: there is no index to build or to tune.")
        return self._engine

    @property
    def maintained(self) -> Maintained:
        """The engine, if it is looked after here."""
        if not isinstance(self._engine, Maintained):
            raise self._lies_in("which is looked after with its own tools.")
        return self._engine

    @property
    def sparse_store(self) -> SparseStore:
        """The engine, if it keeps sparse vectors."""
        if not isinstance(self._engine, SparseStore):
            raise self._lies_in("which keeps no sparse vectors.")
        return self._engine

    # Behind each write

    def written(self, outcome: Outcome, maintain: bool = True) -> Outcome:
        """`outcome`, when all that a write has to end with is done."""
        self.fill_sparse(None)
        if isinstance(self._engine, Refreshing):
            self._engine.refresh()
        if maintain:
            self.maintain()
        return outcome

    def maintain(self) -> None:
        """See `Collection.maintain`."""
        try:
            if isinstance(self._engine, Maintained):
                self._engine.maintain(self._kept_questions)
            # who only removes opens no model for this
            if self._model.at_hand and needs_calibration(self._engine):
                self.calibrate(None)
        except CollectionDamaged as error:
            log.warning("%s", error)

    def calibrate(self, judged: JudgedScores | None) -> Calibration | None:
        """See `Collection.calibrate`; `judged`: hits with their grades, as `judged_hits` gives them."""
        encode = None if self._model.described is None else self._model.queries
        return calibrate(self._engine, encode, judged)

    def fill_sparse(self, progress: Callable[[int], None] | None) -> int:
        """See `Collection.fill_sparse`."""
        engine = self._engine
        if not isinstance(engine, SparseStore):
            return 0
        with engine.view() as view:
            if view.settings.get(SPARSE) is None or (isinstance(view, SparseView) and not view.lacking_sparse):
                return 0
            settings = view.settings
        if isinstance(engine, EncodesSparse):
            return engine.fill_sparse(progress)
        return fill(engine, self._sparse_model.get(settings), progress)

    def repair(self) -> list[str]:
        """See `Collection.repair`."""
        encode = None
        if self._model.described is not None:
            encode = Encoding(self._model.get(), bool(self._engine.settings["passages"])).entries
        return self.written(self.maintained.repair(encode, self._kept_questions))

    # Index

    def reindex(
        self,
        index: str | None,
        options: Mapping[str, Any] | None,
        recall: float | None,
        k: int,
        queries: Sequence[str] | None,
    ) -> Certificate | None:
        """See `Collection.reindex`."""
        spec = IndexSpec.of(self._engine.settings)
        if index is not None:
            spec = replace(spec, backend=index, options={})
            plugins.check_index(index, {})
        if options is not None:
            check_mapping(options, "options")
            spec = replace(spec, options={**spec.options, **options})
            plugins.check_index(spec.backend, spec.options)
        if recall is not None:
            spec = replace(spec, recall=check_target(recall), k=check_k(k))
        certificate = self.indexed.rebuild(spec, self._measured_on(spec, queries))
        self._keep(spec, queries)
        return certificate

    def tune(self, recall: float, k: int, queries: Sequence[str] | None) -> Certificate:
        """See `Collection.tune`."""
        spec = replace(IndexSpec.of(self._engine.settings), recall=check_target(recall), k=check_k(k))
        certificate = self.indexed.tune(spec, self._measured_on(spec, queries))
        self._keep(spec, queries)
        return certificate

    def _kept_questions(self) -> Vectors | Synthesis | None:
        return self._measured_on(IndexSpec.of(self._engine.settings))

    def _measured_on(self, spec: IndexSpec, queries: Sequence[str] | None = None) -> Vectors | Synthesis | None:
        """What the index is to be measured on: the queries, else those given before, else some made of passages."""
        if queries:
            return self._model.queries(queries)
        if spec.recall is None or self._model.described is None:
            return None
        kept = self.indexed.kept_queries() if queries is None else []
        if not kept:
            return passage_queries(self._engine.view, self._model.queries)
        try:
            return self._model.queries(kept)
        except SemsearchError as error:  # the index is worth more than the best way to measure it
            log.warning("the questions that its recall was measured on can't be encoded, vectors stand in: %s", error)
            return None

    def _keep(self, spec: IndexSpec, queries: Sequence[str] | None) -> None:
        if spec != IndexSpec.of(self._engine.settings):
            self._engine.set("index", asdict(spec))
        if queries is not None:
            most = worth_looking_at(spec.recall or 0.5)
            some = list(queries) if len(queries) <= most else random.Random(0).sample(queries, most)
            self.indexed.keep_queries(some)

    # Model

    def reencoding(self, encoder: str | Encoder, revision: str | None) -> Callable[[Callable[[int], None] | None], int]:
        """What does `Collection.reencode`, and tells how many documents are encoded; the model is open by now."""
        engine, settings = self.maintained, self._engine.settings
        loaded, described = self._model.described_as(encoder, revision)
        passages = bool(settings["passages"])
        splitting = splitter_for(loaded, passages).identity
        target = {"encoder": described, "metric": str(loaded.metric), "splitting": splitting}
        present = settings["encoder"]
        if present and present["fingerprint"] != described["fingerprint"]:
            target[FORMER_ENCODER] = present

        def work(tell: Callable[[int], None] | None) -> int:
            count = engine.reencode(target, loaded.dim, Encoding(loaded, passages).entries, tell)
            self._model.renew(self._engine.settings, loaded)
            return count

        return work

    def former_encoder(self) -> tuple[str, str | None]:
        """The model of before the last change, by name and revision; see `Collection.undo_reencode`."""
        own, name = self._engine.settings.get(FORMER_ENCODER), self._engine.name
        if own is None:
            if self._engine.settings["encoder"] is None:
                raise UsageError(f"collection '{name}' has no model, and had none: there is nothing to undo.")
            raise UsageError(
                f"the model of collection '{name}' is its first: there is none to change back to. Vectors that "
                "documents came with, before a model encoded them, are not kept."
            )
        if own["name"] is None:
            raise UsageError(f"the model of before was an object of class {own['class']}: give it to reencode.")
        _, described = self._model.described_as(own["name"], own["revision"])
        if described["fingerprint"] != own["fingerprint"]:
            raise ModelError(
                f"the model '{own['name']}' is another than it was when '{name}' was encoded with it: its files have "
                "changed. Name one to change to."
            )
        return own["name"], own["revision"]

    def begin_sparse(self, encoder: str, revision: str | None) -> None:
        """Make a sparse model the collection's; see `Collection.add_sparse`."""
        store = self.sparse_store
        self._engine.check_open()
        _, described = described_sparse(encoder, revision, self._model.compute)
        if self._engine.settings.get(SPARSE) != described:
            store.begin_sparse(described)
