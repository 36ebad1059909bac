"""Taking documents in: what is new or changed is split, encoded and committed batch by batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise
from typing import TypeAlias

import numpy as np

from semsearch.chunking import splitter_for, whole
from semsearch.engine import Engine, Origin
from semsearch.errors import DataError, DimensionMismatch, EncodingFailed, ModelMismatch
from semsearch.ingest.encoding_ahead import EncodingAhead
from semsearch.ingest.identification import find_languages, with_language
from semsearch.ingest.label_fields import label_fields, note_values, with_labels
from semsearch.ingest.model_doubt import ModelDoubt
from semsearch.ingest.objects import ObjectReader
from semsearch.ingest.pictures import is_picture, pixels_of, reader_of_pictures, weight_of
from semsearch.records import Entry, Known, Record
from semsearch.search.garbage import uncollected
from semsearch.search.languages import LANGUAGE_FIELD
from semsearch.types import Document, Encoder, Metric, Span, Vectors
from semsearch.vectors import stored_form

READ_DOCUMENTS = 128  # looked up at a time
BATCH_DOCUMENTS = 4096  # encoded and committed at a time: an interruption can cost two such batches
BATCH_SECONDS = 5.0  # that encoding a batch should take, on whatever machine
BATCH_CHARACTERS = (100_000, 4_000_000)  # in a batch: at the beginning, and at most


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What an `add` did, in documents; `truncated` did not fit the model's window, `passages` were encoded.

    `vanished` came from the source before and are no more in it; `Collection.sync` takes them out.
    """

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    skipped: int = 0
    passages: int = 0
    truncated: int = 0
    vanished: int = 0

    def __add__(self, other: IngestResult) -> IngestResult:
        return IngestResult(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an `add` has come: documents read, passages encoded, documents that needed nothing."""

    documents: int
    passages: int
    unchanged: int


EncodingWork: TypeAlias = Callable[[int | None, Callable[[int], None] | None], list[Entry]]  # see `Encoding.entries`


class Encoding:
    """Records to entries: split into passages, encoded, checked."""

    def __init__(self, encoder: Encoder, passages: bool, on_failure: Callable[[DataError], None] | None = None) -> None:
        """`on_failure` is called for a document that the encoder can't take; without it the error is raised."""
        self.encoder = encoder
        self.splitter = splitter_for(encoder, passages)
        self._on_failure = on_failure

    def entries(
        self, records: Sequence[Record], characters: int | None = None, tell: Callable[[int], None] | None = None
    ) -> list[Entry]:
        """The records with their passages and vectors.

        Args:
            records: To encode.
            characters: That are encoded before `tell` is called, so that a document of many passages shows movement.
            tell: Called with the number of passages encoded so far.
        """
        return self.planned(records)(characters, tell)

    def planned(self, records: Sequence[Record]) -> EncodingWork:
        """What `entries` does, the records being split by now."""
        documents = [record.document for record in records]
        if any(map(is_picture, documents)):
            return partial(self._with_pictures, records)
        spans = self.splitter.split_many(documents)
        texts = [
            self.splitter.text_to_embed(document, span)
            for document, own in zip(documents, spans, strict=True)
            for span in own
        ]

        def work(characters: int | None, tell: Callable[[int], None] | None) -> list[Entry]:
            return self._made(records, spans, lambda: self._encoded(texts, characters, tell))

        return work

    def _with_pictures(
        self, records: Sequence[Record], characters: int | None, tell: Callable[[int], None] | None
    ) -> list[Entry]:
        """Texts and pictures, each by what encodes it, in their order."""
        reads = reader_of_pictures(self.encoder)
        pictures = [record for record in records if is_picture(record.document)]
        pixels = [pixels_of(record.document) for record in pictures]
        whole = [[Span(0, len(record.document.text))] for record in pictures]
        made = self._made(pictures, whole, lambda: reads.encode_images(pixels))
        made += self.entries([record for record in records if not is_picture(record.document)], characters, tell)
        by_id = {entry.record.document.id: entry for entry in made}
        return [by_id[record.document.id] for record in records if record.document.id in by_id]

    def _made(
        self, records: Sequence[Record], spans: Sequence[Sequence[Span]], encode: Callable[[], Vectors]
    ) -> list[Entry]:
        """The records with vectors for their passages; where one can't be encoded, all are tried one by one."""
        count = sum(map(len, spans))
        try:
            encoded = encode()
            vectors = stored_form(encoded, self.encoder.dim, self.encoder.metric, "the encoder's vectors")
            if len(vectors) != count:
                raise EncodingFailed(f"the encoder gave {len(vectors)} vectors for {count} texts.")
            if self.encoder.metric == Metric.COSINE and not vectors.any(axis=1).all():
                raise EncodingFailed("the encoder gave a zero vector, which has no direction.")
        except DimensionMismatch:
            raise  # of all documents alike
        except DataError as error:
            if len(records) > 1:  # one by one, to find the culprit
                return [entry for record in records for entry in self.entries([record])]
            failure = EncodingFailed(f"document {records[0].document.id!r}: {error}")
            if self._on_failure is None:
                raise failure from error
            self._on_failure(failure)
            return []
        entries, first = [], 0
        for record, own in zip(records, spans, strict=True):
            entries.append(Entry(record, own, vectors[first : first + len(own)]))
            first += len(own)
        return entries

    def _encoded(self, texts: list[str], characters: int | None, tell: Callable[[int], None] | None) -> Vectors:
        """The encoder's vectors, of so many characters at a time where there is somebody to tell."""
        if characters is None or tell is None:
            return self.encoder.encode_documents(texts)
        pieces: list[Vectors] = []
        ends = np.cumsum([len(text) for text in texts]) // (2 * characters)  # most batches are one piece
        parts = [0, *(np.flatnonzero(np.diff(ends)) + 1).tolist(), len(texts)]
        for start, end in pairwise(parts):
            pieces.append(self.encoder.encode_documents(texts[start:end]))
            if end < len(texts):
                tell(end)
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


@dataclass(frozen=True, slots=True)
class ReadBatch:
    """Documents that are committed together: those to encode, and those of which only the metadata changed."""

    records: dict[str, Record]
    same_text: dict[str, Record]
    characters: int

    def has(self, ids: Iterable[str]) -> bool:
        """Whether one of `ids` is in it."""
        return any(identity in self.records or identity in self.same_text for identity in ids)


@dataclass(frozen=True, slots=True)
class EncodedBatch:
    """What became of a batch: its entries, and the failures of documents that are none of them."""

    entries: list[Entry]
    failures: list[DataError]
    seconds: float


class Ingestion:
    """One run of `Collection.add`: documents gather until a batch is full, are encoded and committed.

    While a batch is encoded, the one before is committed and the next one is read: batches are committed in the order
    in which they were read, and no id is looked up that is in a batch on its way.
    """

    def __init__(
        self,
        engine: Engine,
        encoder: Encoder,
        on_error: Callable[[DataError], None] | None,
        progress: Callable[[Progress], None] | None,
        origin: Callable[[str], Origin] | None = None,
        reader: ObjectReader | None = None,
    ) -> None:
        self._origin = origin
        self._reader = reader or ObjectReader()
        self._engine = engine
        settings = engine.settings
        self._language_field: str | None = settings.get(LANGUAGE_FIELD)
        self._failures: list[DataError] = []
        self._encoding = Encoding(
            encoder, bool(settings["passages"]), None if on_error is None else self._failures.append
        )
        check_splitting(engine, self._encoding.splitter.identity)
        self._on_error = on_error
        self._progress = progress
        self._pending: dict[str, Record] = {}
        self._same_text: dict[str, Record] = {}
        self._characters = 0
        self._enough = BATCH_CHARACTERS[0]
        self._read = 0
        self._changes = IngestResult()
        self._doubt = ModelDoubt(engine, settings)
        self._ahead: EncodingAhead[EncodedBatch] = EncodingAhead()
        self._under_way: ReadBatch | None = None  # what is encoded ahead

    def run(self, documents: Iterable[object]) -> IngestResult:
        """Take them all, or what documents are made of, committing on the way."""
        pending = iter(documents)
        with self._ahead:
            try:
                while chunk := list(islice(pending, READ_DOCUMENTS)):
                    self._take(chunk)
                    if len(self._pending) >= BATCH_DOCUMENTS or self._characters >= self._enough:
                        self._hand_over()
            except Exception:
                self._settle()  # what was read before stays, whatever came next
                raise
            if self._under_way is not None:
                self._hand_over()
                self._settle()
            else:
                batch = self._gathered()
                self._commit(batch, self._work(batch)(self._tell))
        self._doubt.tell()
        return self._changes

    def _take(self, chunk: Sequence[object]) -> None:
        """Sort documents into those to encode, those with new metadata, and those that need nothing."""
        records: dict[str, Record] = {}
        for given in chunk:
            try:
                document = self._reader.document(given)
                if self._language_field is not None:
                    document = with_language(document, self._language_field)
                records[document.id] = Record.of(document, checked=self._origin is not None)
            except DataError as error:
                self._skip(error)
        if self._under_way is not None and self._under_way.has(records):
            self._settle()
        known = self._engine.known(list(records))
        fields = label_fields(self._engine.settings)
        note_values(self._engine, fields, records, known)
        records = with_labels(fields, records, known)
        unchanged = 0
        for identity, record in records.items():
            if not _same_content(record, known):
                self._pending[identity] = record
                self._same_text.pop(identity, None)
                self._characters += weight_of(record.document)
            else:
                self._pending.pop(identity, None)  # back to what is stored
                if known[identity].metadata != record.metadata:
                    self._same_text[identity] = record
                else:
                    self._same_text.pop(identity, None)
                    unchanged += 1
        self._changes += IngestResult(unchanged=unchanged)
        self._read += len(chunk)
        self._tell()

    def _gathered(self) -> ReadBatch:
        """What was read since the last batch."""
        batch = ReadBatch(self._pending, self._same_text, self._characters)
        self._pending, self._same_text, self._characters = {}, {}, 0
        return batch

    def _hand_over(self) -> None:
        """Begin to encode what was read, and commit meanwhile what was encoded."""
        batch = self._gathered()
        work = self._work(batch)
        before, self._under_way = self._under_way, None
        encoded = None if before is None else self._ahead.take(self._tell)
        self._ahead.begin(work)
        self._under_way = batch
        if before is not None and encoded is not None:
            self._commit(before, encoded)

    def _settle(self) -> None:
        """Commit what is on its way, if anything."""
        batch, self._under_way = self._under_way, None
        if batch is not None:
            self._commit(batch, self._ahead.take(self._tell))

    def _work(self, batch: ReadBatch) -> Callable[[Callable[[int], None]], EncodedBatch]:
        """What gives a batch its vectors, in whatever thread; it is split by now."""
        planned = self._encoding.planned(list(batch.records.values())) if batch.records else None
        characters = self._enough

        def encoded(tell: Callable[[int], None]) -> EncodedBatch:
            began = time.perf_counter()
            entries = [] if planned is None else planned(characters, tell)
            failures = self._failures.copy()
            self._failures.clear()
            return EncodedBatch(entries, failures, time.perf_counter() - began)

        return encoded

    def _commit(self, batch: ReadBatch, encoded: EncodedBatch) -> None:
        behind, self._under_way = self._under_way, None  # which must not be committed if this can't be
        for failure in encoded.failures:
            self._skip(failure)
        if batch.records:
            speed = batch.characters / encoded.seconds
            self._enough = int(min(max(speed * BATCH_SECONDS, BATCH_CHARACTERS[0]), BATCH_CHARACTERS[1]))
        entries, documents = encoded.entries, [record.document for record in batch.records.values()]
        if entries or batch.same_text:
            find_languages(self._engine, documents)
            self._doubt.see(documents)
            written = self._engine.put(
                entries,
                list(batch.same_text.values()),
                model=self._encoding.encoder.fingerprint,
                origin=self._origin,
            )
            unchanged = len(entries) + len(batch.same_text) - written.added - written.changed
            unseen = self._encoding.splitter.unseen([document for document in documents if not is_picture(document)])
            truncated = sum(tokens > 0 for tokens in unseen)
            self._changes += IngestResult(written.added, written.changed, unchanged, 0, written.passages, truncated)
        self._under_way = behind
        self._tell()

    def _skip(self, error: DataError) -> None:
        if self._on_error is None:
            raise error
        self._on_error(error)
        self._changes += IngestResult(skipped=1)

    def _tell(self, encoded: int = 0) -> None:
        """How far it is; `encoded` passages wait for their commit."""
        if self._progress is not None:
            self._progress(Progress(self._read, self._changes.passages + encoded, self._changes.unchanged))


def check_splitting(engine: Engine, identity: str) -> None:
    """Refuse to mix passages that were split in different ways."""
    made = engine.settings["splitting"]
    if identity != made:
        raise ModelMismatch(
            f"collection '{engine.name}' splits documents by '{made}', this semsearch by '{identity}': mixed passages "
            "would not compare. Use the semsearch that made it, or encode it anew with 'semsearch reencode'."
        )


def _same_content(record: Record, known: Mapping[str, Known]) -> bool:
    old = known.get(record.document.id)
    return old is not None and old.hash == record.hash


def add_precomputed(
    engine: Engine,
    documents: Sequence[object],
    vectors: Vectors,
    on_error: Callable[[DataError], None] | None,
    origin: Callable[[str], Origin] | None = None,
    reader: ObjectReader | None = None,
) -> IngestResult:
    """Commit documents under vectors `(len(documents), dim)` that were made elsewhere, one for each whole document."""
    if len(vectors) != len(documents):
        raise DimensionMismatch(f"{len(documents)} documents came with {len(vectors)} vectors.")
    settings = engine.settings
    cosine = Metric(settings["metric"]) == Metric.COSINE
    zero = set(np.flatnonzero(~np.any(vectors, axis=1)).tolist()) if cosine else set()
    with uncollected():
        made = list(map((reader or ObjectReader()).tried, documents))
        last = {
            document.id: place
            for place, document in enumerate(made)
            if isinstance(document, Document) and isinstance(document.id, str)
        }
    changes = IngestResult()
    doubt = ModelDoubt(engine, settings)
    rows = vectors[:, None]
    for start in range(0, len(documents), BATCH_DOCUMENTS):
        entries: list[Entry] = []
        some = slice(start, start + BATCH_DOCUMENTS)
        with uncollected():
            for place, (document, vector) in enumerate(zip(made[some], rows[some], strict=True), start):
                try:
                    if isinstance(document, DataError):
                        raise document
                    if place in zero:
                        raise DataError(f"document {document.id!r}: its vector is zero, which has no direction.")
                    record = Record.of(document, vector, checked=origin is not None)
                except DataError as error:
                    if on_error is None:
                        raise
                    on_error(error)
                    changes += IngestResult(skipped=1)
                    continue
                if last[document.id] == place:  # of an id that comes twice, the last wins
                    entries.append(Entry(record, whole(document.text), vector))
        put = [entry.record.document for entry in entries]
        if fields := label_fields(engine.settings):
            records = {document.id: entry.record for document, entry in zip(put, entries, strict=True)}
            known = engine.known(list(records))
            note_values(engine, fields, records, known)
            records = with_labels(fields, records, known)
            entries = [entry._replace(record=records[entry.record.document.id]) for entry in entries]
        find_languages(engine, put)
        written = engine.put(entries, origin=origin)
        unchanged = len(entries) - written.added - written.changed
        changes += IngestResult(written.added, written.changed, unchanged, 0, written.passages)
        if written.added or written.changed:
            doubt.see(put)
    doubt.tell()
    return changes
