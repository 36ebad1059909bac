"""What people hold: a collection that takes documents and gives answers."""

from __future__ import annotations

import json
import logging
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from semsearch.chunking import splitter_for
from semsearch.encoder.own import described_encoder
from semsearch.errors import (
    CollectionDamaged,
    CollectionLocked,
    DataError,
    SemsearchError,
    StorageError,
    UsageError,
)
from semsearch.home import MOST
from semsearch.ingest.pipeline import BATCH_DOCUMENTS, Changes, Encoding, Ingestion, Progress, add_given
from semsearch.ingest.scan import Reading
from semsearch.ingest.scan_with_vectors import GivenReading
from semsearch.ingest.source import Source, Told
from semsearch.ingest.sync import Foreseen, Synced, foresee, sync
from semsearch.local.index.build import Indexing, Wanted
from semsearch.local.lexical.build import LexicalIndexing
from semsearch.local.maintenance.backup import backup
from semsearch.local.maintenance.check import Problem, content, fulltext_fits, structure
from semsearch.local.maintenance.compaction import Compacted, compact
from semsearch.local.maintenance.reencoding import reencode
from semsearch.local.maintenance.repair import repair
from semsearch.local.store import origins
from semsearch.local.store.metadata import update
from semsearch.search.calibrate import calibrate, renew_calibration
from semsearch.search.calibration import Calibration
from semsearch.search.recall import Certificate, worth_looking_at
from semsearch.searchable import Searchable
from semsearch.types import Document, Encoder, Vectors
from semsearch.vectors import check_k, stored_form

log = logging.getLogger("semsearch")


class Collection(Searchable):
    """Documents, searched by meaning. Make one with `semsearch.create`, open one with `semsearch.open`.

    Any number of threads may search one object; writing takes turns, among processes too. Every search sees one
    consistent state, up to date with the last commit.
    """

    def _renew(self, settings: Mapping[str, Any]) -> None:
        super()._renew(settings)
        self._indexing = Indexing(self.store, self._metric, self._warming)
        self._lexical_indexing = LexicalIndexing(self.store)

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

    def add_from(
        self,
        source: Source | str | os.PathLike[str],
        *,
        on_error: Callable[[DataError], None] | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Changes:
        """Put in the documents of a file or folder, and remember it for `sync`.

        Args:
            source: A path whose format its name tells, or `Source.of(path, format, options, …)`.
            on_error: Called for each file or record that can't be used, which is then left out; without it the error
                is raised.
            progress: Called now and then.

        Raises:
            UsageError: There is no such file, or its format can't be told.
            DataError: A record can't be used, or there is none.
        """
        chosen = source if isinstance(source, Source) else Source.of(os.fspath(source))
        reading = GivenReading(chosen, Told(on_error)) if chosen.vectors else Reading(chosen, Told(on_error))
        reading.begin()
        return self.take(reading, progress)

    def take(self, reading: Reading, progress: Callable[[Progress], None] | None = None) -> Changes:
        """Put in what a reading of a source gives, as `add` does, and remember which of its files gave what."""
        changes = reading.into(self.store, lambda: self.encoder, progress)
        lost = reading.lost(self.store)
        reading.vanished = len(lost.ids)
        reading.settle(self.store, lost, remove=False)
        self._maintain()
        return changes

    def sync(
        self,
        *,
        on_error: Callable[[DataError], None] | None = None,
        progress: Callable[[Progress], None] | None = None,
        most: float = MOST,
        confirm: Callable[[Source, int, int], bool] | None = None,
        unchecked: bool = False,
    ) -> Synced:
        """Read the remembered sources again: take in what is new or changed, take out what has vanished.

        Files whose size and time are the same are not read. A source that can't be read, or gives nothing, takes
        nothing away.

        Args:
            on_error: Called for each source, file or record that can't be used; without it the error is raised.
            progress: Called now and then.
            most: The share of a source's documents that may vanish.
            confirm: Asked whether more may: the source, how many vanished, of how many; without it they are `kept`.
            unchecked: Of sources with vectors made elsewhere: take those that the model does not give the texts, too.

        Raises:
            DataError: A source, file or record that can't be used.
            ModelMismatch: New vectors that came with a source are not the model's.
        """
        synced = sync(
            self.store,
            lambda: self.encoder,
            on_error=on_error,
            progress=progress,
            most=most,
            confirm=confirm,
            unchecked=unchecked,
        )
        self._maintain()
        return synced

    def foresee(self, *, on_error: Callable[[DataError], None] | None = None) -> Iterator[Foreseen]:
        """What `sync` would do, source by source; nothing is encoded or written."""
        return foresee(self.store, on_error)

    def remember(self, source: Mapping[str, Any]) -> None:
        """Note a source, so that indexing it again is known to be a continuation."""
        if dict(source) not in self.sources:
            with self.store.write(), self.store.database.write() as connection:
                self.store.advance(connection)
                origins.add_source(connection, json.dumps(source, sort_keys=True, ensure_ascii=False))

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

    # Index

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
            queries: Real questions to measure on, kept for the next time; an empty list forgets them. Where there are
                none, stored vectors and points between them stand in.

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
        certificate = self._indexing.rebuild(wanted, self._asked(wanted, queries))
        self._lexical_indexing.renew()
        self._want(wanted, queries)
        return certificate

    def tune(self, recall: float, at: int = 10, *, queries: Sequence[str] | None = None) -> Certificate:
        """Set the index to a recall without building it anew; see `reindex`."""
        wanted = replace(Wanted.of(self.store), recall=recall, at=check_k(at))
        certificate = self._indexing.tune(wanted, self._asked(wanted, queries))
        self._want(wanted, queries)
        return certificate

    def _asked(self, wanted: Wanted, queries: Sequence[str] | None = None) -> Vectors | None:
        """What the index is to be measured on: the queries, else those that were given before; None for stand-ins."""
        if queries:
            return self._encoded(queries, None)
        kept = self.store.settings.get("questions") if queries is None else None
        if not kept or wanted.recall is None:
            return None
        try:
            return self._encoded(json.loads(kept), None)
        except SemsearchError as error:  # the index is worth more than the best way to measure it
            log.warning("the questions that its recall was measured on can't be encoded, vectors stand in: %s", error)
            return None

    def _want(self, wanted: Wanted, queries: Sequence[str] | None) -> None:
        if wanted != Wanted.of(self.store):
            self.store.set("index", asdict(wanted))
        if queries is not None:
            most = worth_looking_at(wanted.recall or 0.5)
            some = list(queries) if len(queries) <= most else random.Random(0).sample(queries, most)
            # one text, empty for none: settings are parsed whenever a collection is opened or has changed
            self.store.set("questions", json.dumps(some) if some else "")

    def calibrate(self, judgements: Mapping[str, Mapping[str, int]] | None = None) -> Calibration | None:
        """Measure how random pairs of query and passage score, so that hits get a percentile; kept in the collection.

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

    def _maintain(self) -> None:
        """Rewrite, build anew or certify anew, if too much has changed since the last time.

        What was written is committed by now, so damage found on the way is told and not raised.
        """
        try:
            self._renew_index()
            if self._encoder is not None or self._described is None:  # who only removes opens no model for this
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
        wanted, certificate = Wanted.of(self.store), None
        if self._indexing.due(snapshot):
            with suppress(CollectionLocked):  # another process builds it already
                certificate = self._indexing.rebuild(wanted, self._asked(wanted))
        elif wanted.recall is not None and self._indexing.doubtful(snapshot):
            certificate = self._indexing.tune(wanted, self._asked(wanted))
        if certificate is not None and not certificate.met:  # nobody asked for it now, so nobody looks at it
            log.warning("the index of collection '%s': %s", self.store.name, certificate.says)
        self._lexical_indexing.renew()

    # Care

    def check(self, *, deep: bool = False) -> list[Problem]:
        """What is wrong with it, and what mends each thing; nothing is changed.

        Args:
            deep: Read everything: every vector's checksum, values and length, the full text, and what the index finds.
        """
        problems: list[Problem] = []
        with self.store.read() as view:
            problems.extend(structure(view, self.path))
            if deep and "database" not in {problem.part for problem in problems}:
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

    def compact(self) -> Compacted:
        """Give back what removed documents took, and erase them from every file."""
        compacted = compact(self.store)
        self._maintain()
        return compacted

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

    def _checked(self, vectors: ArrayLike, what: str = "vectors") -> Vectors:
        return stored_form(vectors, self._dim(), self._metric, what)
