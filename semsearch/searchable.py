"""What every holder of a collection can do: see what it is, read what it holds, and search it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

import numpy as np
from numpy.typing import ArrayLike

from semsearch.encoder.own import described_encoder, encoder_from
from semsearch.errors import (
    ModelMismatch,
    UsageError,
)
from semsearch.local.index.build import Wanted
from semsearch.local.index.choose import choose
from semsearch.local.index.loader import Warming
from semsearch.local.store import document_rows as rows
from semsearch.local.store import origins
from semsearch.local.store.metadata import count_where, ids_where
from semsearch.local.store.settings import check_settings
from semsearch.local.store.snapshot import Snapshot
from semsearch.local.store.store import Store
from semsearch.search.calibrate import calibration_info
from semsearch.search.pipeline import Searching, Timings
from semsearch.search.ranking import Asked
from semsearch.search.request import Options, Request
from semsearch.types import Document, Encoder, Hit, Metric, Vectors
from semsearch.vectors import stored_form

SETTINGS = ("encoder", "metric", "passages", "splitting", "index", "created")  # of every collection
COUNTERWEIGHT = 0.5  # of counterexamples beside examples


class Searchable:
    """The reading half of a `Collection`."""

    def __init__(
        self,
        store: Store,
        encoder: Encoder | None,
        *,
        device: str | None = None,
        dtype: str | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        self.store = store
        self.name = store.name
        self.path = store.folder
        self._encoder = encoder
        self._device = device
        self._dtype = dtype
        self._batch_tokens = batch_tokens
        self._renew(store.settings)
        self._encoder_lock = threading.Lock()
        self._pid = os.getpid()

    def _renew(self, settings: Mapping[str, Any]) -> None:
        """Take over what a change of model changes."""
        check_settings(settings, SETTINGS)
        self._described = settings["encoder"]
        self._metric = Metric(settings["metric"])
        self._warming = Warming(self.store, self._metric)
        self._searching = Searching(
            self.store, self._metric, self._warming, lambda: self.encoder, self._device, self._dtype
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<semsearch collection '{self.name}' in {self.path.parent}>"

    def close(self) -> None:
        """Let go of the files."""
        self._warming.close()
        self.store.close()

    # What it is

    def __len__(self) -> int:
        """Documents."""
        return self.store.counts()[0]

    @property
    def home(self) -> Path:
        """The folder of collections that it lies in."""
        return self.path.parent

    @property
    def passages(self) -> int:
        """Passages: the spans of documents that were encoded."""
        return self.store.counts()[1]

    @property
    def metric(self) -> Metric:
        """How its vectors are compared."""
        return self._metric

    @property
    def encoder(self) -> Encoder:
        """The model, loaded when it is first needed."""
        if self._pid != os.getpid():  # a forked child: the thread that may hold the lock is not here
            self._pid, self._encoder_lock = os.getpid(), threading.Lock()
        with self._encoder_lock:
            if self._encoder is None:
                self._encoder = self._load_encoder()
            return self._encoder

    def _load_encoder(self) -> Encoder:
        described = self._described
        if described is None:
            raise UsageError(
                f"collection '{self.name}' has no encoder: it takes and is searched by vectors alone (in Python: "
                f"add(documents, vectors), search(vector=…)), or 'semsearch similar {self.name} ID'."
            )
        if described["name"] is None:
            raise ModelMismatch(
                f"collection '{self.name}' was made with an encoder object of class {described['class']}: open it with "
                f"semsearch.open('{self.name}', encoder=…) and that object (fingerprint {described['fingerprint']})."
            )
        encoder, _ = described_encoder(
            described["name"], described["revision"], self._device, self._dtype, self._batch_tokens
        )
        self._check_fingerprint(encoder)
        return encoder

    def take_encoder(self, encoder: Encoder) -> None:
        """Use an object as its encoder, if it is the one that the collection was made with."""
        own = encoder_from(encoder)
        self._check_fingerprint(own)
        self._encoder = own

    def _check_fingerprint(self, encoder: Encoder) -> None:
        described = self.store.settings["encoder"]
        if described is None:
            raise UsageError(f"collection '{self.name}' was made without an encoder and is searched by vectors alone.")
        if encoder.fingerprint != described["fingerprint"]:
            made = described["name"] or described["class"]
            raise ModelMismatch(
                f"collection '{self.name}' was made with the model {made} (fingerprint "
                f"{described['fingerprint'][:16]}), and this one has the fingerprint {encoder.fingerprint[:16]}: their "
                "vectors don't compare. Use the model that it was made with, or index the documents anew under another "
                "name."
            )

    @property
    def sources(self) -> list[dict[str, Any]]:
        """Where its documents came from, as they were remembered."""
        with self.store.database.read() as connection:
            return origins.sources(connection)

    def info(self) -> dict[str, Any]:
        """What there is to know of the collection, as JSON values."""
        count, passages = self.store.counts()
        settings = self.store.settings
        with self.store.read() as view:
            state = view.snapshot
        return {
            "name": self.name,
            "path": str(self.path),
            "documents": count,
            "passages": passages,
            "encoder": settings["encoder"],
            "dim": state.dim,
            "metric": str(self._metric),
            "splitting": settings["splitting"],
            "index": self._index_info(state),
            "sources": self.sources,
            "bytes": self.store.bytes(),
            "calibration": calibration_info(settings),
            "created": settings["created"],
        }

    def _index_info(self, snapshot: Snapshot) -> dict[str, Any]:
        there = snapshot.index
        wanted = Wanted.of(self.store)
        chosen = wanted.backend == "auto"
        return {
            "wanted": asdict(wanted),
            "why": choose(len(snapshot), snapshot.dim, recall=wanted.recall).reason if chosen else "as asked for",
            "backend": there.backend if there else "exact",
            "params": there.params if there else {},
            "state": self._warming.state(snapshot),
            "rows": there.rows if there else 0,
            "fresh": len(snapshot) - (there.rows if there else 0),
            "removed": snapshot.removed,
            "contract": there.contract if there else None,
        }

    # What it holds

    def count(self, where: Mapping[str, Any] | None = None) -> int:
        """Documents that a filter allows; all of them without one."""
        return len(self) if where is None else count_where(self.store, where)

    def ids(self, where: Mapping[str, Any]) -> Sequence[str]:
        """The ids of the documents that a filter allows, in the order they were first added."""
        return ids_where(self.store, where)

    def get(self, ids: Sequence[str]) -> list[Document | None]:
        """The documents of `ids`, in that order; None for an id that is not there."""
        if isinstance(ids, str):
            raise UsageError(f"get takes a list of ids, not the text {ids!r:.60}: write [{ids!r:.60}].")
        with self.store.read() as view:
            found = rows.get(view.connection, list(ids))
        return [found.get(identity) for identity in ids]

    def documents(self) -> Iterator[Document]:
        """All documents, in the order they were first added."""
        with self.store.read() as view:
            yield from rows.everything(view.connection)

    # Searching

    def search(
        self,
        query: str | None = None,
        k: int = 10,
        *,
        vector: ArrayLike | None = None,
        timings: Timings | None = None,
        **options: Unpack[Options],
    ) -> list[Hit]:
        """The `k` documents that answer best.

        Args:
            query: A question or a text, in plain words.
            k: Documents to give; fewer come only if there are fewer, or if a minimum is asked for.
            vector: `(dim,)`, instead of encoding the query's text.
            timings: Gets the milliseconds of each stage.
            **options: `where`, `exact`, `group_by`, `mode`, `rerank`, `candidates`, `mmr_lambda`, `context`, `explain`,
                `min_score`, `min_percentile`, `min_probability`: see `semsearch.search.request.Request`.
        """
        if vector is not None:
            vector = np.asarray(vector)[None]
        queries = None if query is None else [query]
        return self.search_many(queries, k, vector=vector, timings=timings, **options)[0]

    def search_many(
        self,
        queries: Sequence[str] | None = None,
        k: int = 10,
        *,
        vector: ArrayLike | None = None,
        timings: Timings | None = None,
        **options: Unpack[Options],
    ) -> list[list[Hit]]:
        """The answers to each of `queries` (or of the vectors `(q, dim)`), in their order; otherwise as `search`."""
        request = Request.of(k, options)
        request.check_queries(queries, given=vector is not None)
        while True:
            described = self._described
            started = time.perf_counter()
            encoded = self._encoded(request.encoded(queries), vector)
            if timings is not None:
                timings["encode"] = 1000 * (time.perf_counter() - started)
            with self.store.read() as view:
                snapshot = view.snapshot
                if snapshot.settings["encoder"] == described:
                    if vector is not None and request.mode != "lexical":
                        encoded = stored_form(vector, snapshot.dim, self._metric, "the query's vector")
                        if queries is not None and len(queries) != len(encoded):
                            raise UsageError(f"there are {len(queries)} queries, but {len(encoded)} vectors for them.")
                    return self._searching.answer(view, Asked(queries or (), encoded), request, timings)
                self._encoder = None  # encoded anew with another model meanwhile
                self._renew(snapshot.settings)

    def similar(
        self,
        ids: Sequence[str] = (),
        k: int = 10,
        *,
        unlike: Sequence[str] = (),
        queries: Sequence[str] = (),
        against: Sequence[str] = (),
        **options: Unpack[Options],
    ) -> list[Hit]:
        """The `k` documents most like some, and unlike others; the given ones are left out.

        The search is by one vector, the mean of the examples less half the mean of the counterexamples (Rocchio 1971).

        Args:
            ids: Documents of the collection to find the like of.
            k: Documents to give.
            unlike: Documents to keep away from.
            queries: Questions or texts that count as examples too.
            against: Texts that count as counterexamples.
            **options: As in `search`, without what reads the words of a query.

        Raises:
            UsageError: An id that is not there, or no example.
        """
        request = Request.of(k, options)
        examples = self._vectors_of(ids, queries)
        counterexamples = self._vectors_of(unlike, against)
        if not len(examples):
            raise UsageError("there is no example to find the like of: give ids or queries.")
        vector = examples.mean(axis=0)
        if len(counterexamples):
            vector = vector - COUNTERWEIGHT * counterexamples.mean(axis=0)
        given = {*ids, *unlike}
        extra = len(given) if request.group_by else self._count_passages(given)
        hits = self.search(None, k + extra, vector=vector, **options)
        kept = [hit for hit in hits if hit.document.id not in given][:k]
        for rank, hit in enumerate(kept, start=1):
            hit.rank = rank
        return kept

    def _vectors_of(self, ids: Sequence[str], texts: Sequence[str]) -> Vectors:
        """A vector for each document, the mean of its passages', and for each text."""
        if isinstance(ids, str) or isinstance(texts, str):
            raise UsageError("ids and texts come in lists; a single one goes in a list of its own.")
        parts = [self._encoded(texts, None)] if texts else []
        if ids:
            with self.store.read() as view:
                keys = rows.keys_of(view.connection, ids)
                for identity in ids:
                    if not keys.get(identity):
                        raise UsageError(f"there is no document {identity!r} in collection '{self.name}'.")
                    own = view.snapshot.rows_of(np.asarray(keys[identity], dtype=np.int64))
                    mean = view.snapshot.vectors[own].mean(axis=0, keepdims=True)
                    parts.append(stored_form(mean, view.snapshot.dim, self._metric))
        return np.concatenate(parts) if parts else _NO_VECTORS

    def _count_passages(self, ids: Iterable[str]) -> int:
        with self.store.read() as view:
            return sum(map(len, rows.keys_of(view.connection, list(ids)).values()))

    def warm(self) -> None:
        """Load the index now, if there is one, rather than behind the coming searches."""
        with self.store.read() as view:
            snapshot = view.snapshot
        if snapshot.index is not None:
            self._warming.load(snapshot.index, snapshot)

    def _encoded(self, queries: Sequence[str] | None, vector: ArrayLike | None) -> Vectors:
        """The vectors of queries; none where a vector is given."""
        if vector is not None or queries is None:
            return _NO_VECTORS
        encoder = self.encoder
        return stored_form(encoder.encode_queries(queries), encoder.dim, encoder.metric, "the encoder's vectors")

    def _dim(self) -> int:
        with self.store.read() as view:
            return view.snapshot.dim


_NO_VECTORS: Vectors = np.empty((0, 0), dtype=np.float32)
