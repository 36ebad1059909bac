"""What people hold: a collection that takes documents and gives answers."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

import numpy as np
from numpy.typing import ArrayLike

from semsearch.calibrating import calibrate, calibration_info, renew_calibration
from semsearch.care.backup import backup
from semsearch.care.check import Problem, content, fulltext_fits, structure
from semsearch.care.compaction import Compacted, compact
from semsearch.care.reencoding import reencode
from semsearch.care.repair import repair
from semsearch.encoder.own import encoder_from, named_encoder
from semsearch.errors import (
    CollectionDamaged,
    CollectionLocked,
    DataError,
    ModelMismatch,
    StorageError,
    UsageError,
)
from semsearch.indexing import Indexing, Wanted
from semsearch.ingestion import BATCH_DOCUMENTS, Changes, Encoding, Ingestion, Progress, add_given, stored_form
from semsearch.lexical_indexing import LexicalIndexing
from semsearch.passages import splitter_for
from semsearch.reading import Reading
from semsearch.search.calibration import Calibration
from semsearch.search.choose import choose
from semsearch.search.contract import Certificate
from semsearch.search.phrases import parse
from semsearch.search.ranking import Asked
from semsearch.search.request import Options, Request
from semsearch.searching import Searching, Timings
from semsearch.settings import MOST
from semsearch.source import Source
from semsearch.store import documents as rows
from semsearch.store import origins
from semsearch.store.metadata import count_where, ids_where, update
from semsearch.store.snapshot import Snapshot
from semsearch.store.store import Store
from semsearch.synchronisation import Foreseen, Synced, foresee, sync
from semsearch.types import Document, Encoder, Hit, Metric, Vectors
from semsearch.vectors import check_k
from semsearch.warming import Warming

log = logging.getLogger("semsearch")

COUNTERWEIGHT = 0.5  # of counterexamples beside examples


class Collection:
    """Documents, searched by meaning. Make one with `semsearch.create`, open one with `semsearch.open`.

    Any number of threads may search one object; writing takes turns, among processes too. Every search sees one
    consistent state, up to date with the last commit.
    """

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
        self._described = settings["encoder"]
        self._metric = Metric(settings["metric"])
        self._warming = Warming(self.store, self._metric)
        self._searching = Searching(self.store, self._metric, self._warming, lambda: self.encoder)
        self._indexing = Indexing(self.store, self._metric, self._warming)
        self._lexical_indexing = LexicalIndexing(self.store)

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
                f"collection '{self.name}' has no encoder: it takes vectors (vectors=…) and is searched by vector=…."
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

    def remember(self, source: Mapping[str, Any]) -> None:
        """Note a source, so that indexing it again is known to be a continuation."""
        if dict(source) not in self.sources:
            with self.store.write(), self.store.database.write() as connection:
                self.store.advance(connection)
                origins.add_source(connection, json.dumps(source, sort_keys=True, ensure_ascii=False))

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

    # Writing

    def add(
        self,
        documents: Iterable[Document],
        vectors: ArrayLike | None = None,
        *,
        on_error: Callable[[DataError], None] | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Changes:
        """Put documents in: new ids are added, known ids replaced; a text that is unchanged is not encoded again.

        Documents are taken as they come and committed in batches: what was committed stays, whatever happens later,
        and adding the same documents again goes on where it stopped. Of an id that comes twice, the last wins.

        Args:
            documents: Any number of them, from a list or a generator.
            vectors: `(len(documents), dim)`, one for each whole document, instead of encoding.
            on_error: Called for each document that can't be used, which is then left out; without it the error is
                raised.
            progress: Called now and then.

        Raises:
            DataError: A document or vector can't be used; says which and why.
            CollectionLocked: Another process kept writing.
        """
        if vectors is not None:
            changes = add_given(self.store, list(documents), self._checked(vectors), on_error)
        else:
            changes = Ingestion(self.store, self.encoder, on_error, progress).run(documents)
        self._maintain()
        return changes

    def take(self, reading: Reading, progress: Callable[[Progress], None] | None = None) -> Changes:
        """Put in what a reading of a source gives, as `add` does, and remember which of its files gave what."""
        changes = reading.into(self.store, self.encoder, progress)
        reading.settle(self.store, reading.lost(self.store), remove=False)
        self._maintain()
        return changes

    def sync(
        self,
        *,
        on_error: Callable[[DataError], None] | None = None,
        progress: Callable[[Progress], None] | None = None,
        most: float = MOST,
        confirm: Callable[[Source, int, int], bool] | None = None,
    ) -> Synced:
        """Read the remembered sources again: take in what is new or changed, take out what has vanished.

        Files whose size and time are the same are not read. A source that can't be read, or gives nothing, takes
        nothing away.

        Args:
            on_error: Called for each source, file or record that can't be used; without it the error is raised.
            progress: Called now and then.
            most: The share of a source's documents that may vanish.
            confirm: Asked whether more may: the source, how many vanished, of how many; without it they are `kept`.

        Raises:
            DataError: A source, file or record that can't be used.
        """
        synced = sync(
            self.store, lambda: self.encoder, on_error=on_error, progress=progress, most=most, confirm=confirm
        )
        self._maintain()
        return synced

    def foresee(self, *, on_error: Callable[[DataError], None] | None = None) -> Iterator[Foreseen]:
        """What `sync` would do, source by source; nothing is encoded or written."""
        return foresee(self.store, on_error)

    def _maintain(self) -> None:
        """Rewrite, build anew or certify anew, if too much has changed since the last time.

        What was written is committed by now, so damage found on the way is told and not raised.
        """
        try:
            self._renew_index()
            renew_calibration(self)
        except CollectionDamaged as error:
            log.warning("%s", error)

    def _renew_index(self) -> None:
        with self.store.read() as view:
            snapshot = view.snapshot
        if self._indexing.wasteful(snapshot):
            with suppress(StorageError):  # too little room: it is only slower so
                self.compact()
                return
        wanted = Wanted.of(self.store)
        if self._indexing.due(snapshot):
            with suppress(CollectionLocked):  # another process builds it already
                self._indexing.rebuild(wanted)
        elif wanted.recall is not None and self._indexing.doubtful(snapshot):
            self._indexing.tune(wanted.recall, wanted.at)
        self._lexical_indexing.renew()

    def reindex(
        self,
        index: str | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        recall: float | None = None,
        at: int = 10,
        queries: Sequence[str] | None = None,
    ) -> Certificate | None:
        """Build the index anew over all that is there, and swap it in; searching and writing go on meanwhile.

        Args:
            index: A backend's name or "auto", kept for later; by default what was chosen before.
            options: The backend's options, kept too.
            recall: What the index must find of the true `at` nearest, on average; its knob is set to it, the outcome
                is certified and kept, and certified again when much has changed.
            at: Neighbours that the recall is counted among.
            queries: Real questions to measure on; without them a sample of the stored vectors stands in.

        Returns:
            The certificate, where a recall was asked for and there is an index.

        Raises:
            UsageError: An unknown backend or option; says which there are.
            MissingDependency: The backend's library is not installed; has the line to type.
        """
        wanted = Wanted.of(self.store)
        if index is not None:
            wanted = Wanted(index, dict(options or {}), wanted.recall, wanted.at)
        elif options is not None:
            wanted = replace(wanted, options={**wanted.options, **options})
        if recall is not None:
            wanted = replace(wanted, recall=recall, at=check_k(at))
        certificate = self._indexing.rebuild(wanted, self._asked(queries))
        self._lexical_indexing.renew()
        self._want(wanted)
        return certificate

    def tune(self, recall: float, at: int = 10, *, queries: Sequence[str] | None = None) -> Certificate:
        """Set the index to a recall without building it anew; see `reindex`."""
        certificate = self._indexing.tune(recall, check_k(at), self._asked(queries))
        self._want(replace(Wanted.of(self.store), recall=recall, at=at))
        return certificate

    def _asked(self, queries: Sequence[str] | None) -> Vectors | None:
        return None if queries is None else self._encoded(queries, None)

    def _want(self, wanted: Wanted) -> None:
        if wanted != Wanted.of(self.store):
            self.store.set("index", asdict(wanted))

    def update_metadata(self, ids: Iterable[str], metadata: Mapping[str, Any], *, replace: bool = False) -> int:
        """Change the metadata of documents; nothing is encoded. How many of `ids` were there.

        Args:
            ids: The documents.
            metadata: Fields to set; the others stay as they are. A field of None is kept as null.
            replace: Let these be all fields instead.

        Raises:
            DataError: What metadata can't hold.
        """
        if isinstance(ids, str):
            raise UsageError(f"update_metadata takes a list of ids, not the text {ids!r:.60}: write [{ids!r:.60}].")
        return update(self.store, ids, lambda old: dict(metadata) if replace else {**old, **metadata})

    def count(self, where: Mapping[str, Any] | None = None) -> int:
        """Documents that a filter allows; all of them without one."""
        return len(self) if where is None else count_where(self.store, where)

    def ids(self, where: Mapping[str, Any]) -> Sequence[str]:
        """The ids of the documents that a filter allows, in the order they were first added."""
        return ids_where(self.store, where)

    def remove(self, ids: Iterable[str]) -> int:
        """Take documents out; how many of `ids` were there. `remove(collection.ids(where))` goes by a filter."""
        if isinstance(ids, str):
            raise UsageError(f"remove takes a list of ids, not the text {ids!r:.60}: write [{ids!r:.60}].")
        pending = iter(ids)
        count = 0
        while batch := list(islice(pending, BATCH_DOCUMENTS)):
            count += self.store.remove(batch)
        self._maintain()
        return count

    def warm(self) -> None:
        """Load the index now, if there is one, rather than behind the coming searches."""
        with self.store.read() as view:
            snapshot = view.snapshot
        if snapshot.index is not None:
            self._warming.load(snapshot.index, snapshot)

    def check(self, *, deep: bool = False) -> list[Problem]:
        """What is wrong with it, and what mends each thing; nothing is changed.

        Args:
            deep: Read everything: every vector's checksum, values and length, the full text, and what the index finds.
        """
        problems: list[Problem] = []
        with self.store.read() as view:
            problems.extend(structure(view, self.path))
            if deep:
                problems.extend(content(view, self.path, self._metric))
            snapshot = view.snapshot
        if deep and snapshot.index is not None and not problems:
            problems.extend(self._indexing.probe(snapshot))
        if deep and self.store.database.writable:
            with self.store.write(), self.store.database.write() as connection:
                if not fulltext_fits(connection):
                    mend = f"semsearch repair {self.name}"
                    problems.append(Problem("full text", "it does not agree with the documents", mend))
        return problems

    def repair(self) -> list[str]:
        """Mend what `check` finds, as far as it can be: what was done, in sentences; empty if all was well."""
        settings = self.store.settings
        encoding = None if settings["encoder"] is None else Encoding(self.encoder, bool(settings["passages"]))
        done = repair(self.store, encoding.entries if encoding is not None else None)
        broken = {problem.part for problem in self.check()}
        if "index" in broken:
            self.reindex()
            done.append("built the index anew")
        if "words" in broken:
            self._lexical_indexing.rebuild()
            done.append("built the index of words anew")
        self._maintain()
        return done

    def backup(self, file: str | os.PathLike[str]) -> int:
        """Write everything, as of one commit, into one file, while searching and writing go on; its size in bytes."""
        return backup(self.store, Path(file))

    def reencode(
        self, encoder: str | Encoder, *, revision: str | None = None, progress: Callable[[int], None] | None = None
    ) -> int:
        """Change the model: encode the stored text of every document anew; how many were encoded by this call.

        The present vectors serve until one commit switches over. After an interruption the same call resumes.

        Args:
            encoder: A model's name or path, or an object with the members of `Encoder`.
            revision: Of a model on the hub.
            progress: Called with the number of documents encoded so far.
        """
        loaded, described = described_encoder(encoder, revision, self._device, self._dtype, self._batch_tokens)
        passages = bool(self.store.settings["passages"])
        splitting = splitter_for(loaded, passages).identity
        target = {"encoder": described, "metric": str(loaded.metric), "splitting": splitting}
        encode = Encoding(loaded, passages).entries
        count = reencode(self.store, target, loaded.dim, encode, progress)
        self._encoder = loaded
        self._renew(self.store.settings)
        self._maintain()
        return count

    def compact(self) -> Compacted:
        """Give back what removed documents took, and erase them from every file; see `semsearch.care.compaction`."""
        compacted = compact(self.store)
        self._maintain()
        return compacted

    # Reading

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
            **options: `where`, `exact`, `group_by`, `mode`, `rerank`, `candidates`, `diverse`, `context`, `explain`,
                `min_score`, `min_standing`, `min_probability`: see `semsearch.search.request.Request`.
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
        _check_queries(queries, vector, request)
        while True:
            described = self._described
            started = time.perf_counter()
            encoded = self._encoded(_meant(queries, request), vector)
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

    def calibrate(self, judgements: Mapping[str, Mapping[str, int]] | None = None) -> Calibration | None:
        """Measure how random pairs of query and passage score, so that hits get a standing; kept in the collection.

        It is done by itself when a collection has doubled since the last time.

        Args:
            judgements: Grades by query text and document id (0: not relevant). With them hits also get a probability,
                from a logistic curve through the scores of the judged pairs.

        Returns:
            None if there are too few passages to measure.

        Raises:
            UsageError: The judgements name no document of this collection, or all are of one kind.
        """
        return calibrate(self, judgements)

    def _encoded(self, queries: Sequence[str] | None, vector: ArrayLike | None) -> Vectors:
        """The vectors of queries; none where a vector is given."""
        if vector is not None or queries is None:
            return _NO_VECTORS
        encoder = self.encoder
        return stored_form(encoder.encode_queries(queries), encoder.dim, encoder.metric, "the encoder's vectors")

    def _checked(self, vectors: ArrayLike, what: str = "vectors") -> Vectors:
        return stored_form(vectors, self._dim(), self._metric, what)

    def _dim(self) -> int:
        with self.store.read() as view:
            return view.snapshot.dim


_NO_VECTORS: Vectors = np.empty((0, 0), dtype=np.float32)


def _meant(queries: Sequence[str] | None, request: Request) -> Sequence[str] | None:
    """What is encoded of queries: all of it, or nothing, or what their phrases and exclusions leave."""
    if request.mode == "lexical":
        return None
    if request.mode == "dense" or queries is None:
        return queries
    return [parse(query).text or query for query in queries]


def _check_queries(queries: Sequence[str] | None, vector: ArrayLike | None, request: Request) -> None:
    """Queries must be texts that say something, and whatever reads their words must get them."""
    if queries is None:
        if vector is None:
            raise UsageError("give the text of a query, or its vector.")
        for what, wanted in {
            "rerank": request.reranks,
            "explain": request.explain,
            f"mode '{request.mode}'": request.mode != "dense",
        }.items():
            if wanted:
                raise UsageError(f"{what} reads the words of a query, and a vector has none: give its text too.")
        return
    if isinstance(queries, str):
        raise UsageError("search_many takes a list of queries; for a single one there is search.")
    for query in queries:
        if not isinstance(query, str) or not query.strip():
            raise UsageError(f"a query must be a text that is not empty, not {query!r:.60}.")


def described_encoder(
    encoder: str | Encoder,
    revision: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    batch_tokens: int | None = None,
) -> tuple[Encoder, dict[str, Any]]:
    """The encoder, loaded, and what a collection remembers of it."""
    if isinstance(encoder, str):
        loaded = named_encoder(encoder, device=device, dtype=dtype, revision=revision, batch_tokens=batch_tokens)
        return loaded, {"name": loaded.name, "revision": revision, "fingerprint": loaded.fingerprint}
    own = encoder_from(encoder)
    return own, {"name": None, "class": type(encoder).__qualname__, "fingerprint": own.fingerprint}
