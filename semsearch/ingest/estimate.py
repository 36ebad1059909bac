"""What an indexing run will cost, before it is begun: all is read and split, a sample encoded."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from semsearch import plugins
from semsearch.chunking import splitter_for
from semsearch.engine import Engine
from semsearch.ingest.ingestion import READ_DOCUMENTS
from semsearch.records import Record
from semsearch.search.choose import UNINDEXED_ROWS, choose
from semsearch.types import Document, Encoder

if TYPE_CHECKING:
    from semsearch.encoder.sparse_encoder import SparseTextEncoder

SAMPLE = 200  # passages that are encoded
# Bytes on the disk beside the vectors, as measured on collections of 500 to 12,000 documents of 60 to 1,600 characters
# (all were told within an eighth): what a text takes with its full text, and rows, keys and checksums.
EMPTY = 147_000  # tables without a row
PER_CHARACTER = 1.9
PER_METADATA = 6.0  # a character of it as JSON: it is also kept by value, for filters
PER_DOCUMENT = 100
PER_PASSAGE = 75
# The index of words, which is built from so many rows on.
WORDS_ROWS = 1000
WORDS_PER_CHARACTER = 0.95
WORDS_PER_PASSAGE = 45
# Sparse vectors: a component as it is stored (its number and its weight) and in the index (a byte and a place).
SPARSE_PER_COMPONENT = 8 + 5
SPARSE_PER_PASSAGE = 40


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is to come."""

    documents: int  # new or changed
    unchanged: int
    passages: int
    seconds: float  # of encoding
    bytes: int

    @property
    def speed(self) -> float:
        """Passages a second."""
        return self.passages / self.seconds if self.seconds else 0.0


def estimate(
    documents: Iterator[Document],
    encoder: Encoder,
    *,
    passages: bool,
    engine: Engine | None,
    index: str = "auto",
    options: Mapping[str, Any] | None = None,
    sparse: SparseTextEncoder | None = None,
) -> Estimate:
    """Read and split all of `documents`, and encode a random sample of their passages.

    Args:
        documents: Those of the source; what `engine` has already, unchanged, costs nothing.
        encoder: The model to come.
        passages: Whether long documents are split.
        engine: The collection's, where there is one.
        index: The backend that was asked for.
        options: Its options.
        sparse: The sparse model to come, too.
    """
    splitter = splitter_for(encoder, passages)
    chosen = random.Random(0)
    sample: list[str] = []
    fresh = unchanged = count = characters = metadata = 0
    while chunk := list(islice(documents, READ_DOCUMENTS)):
        records = _new([Record.of(document) for document in chunk], engine)
        unchanged += len(chunk) - len(records)
        fresh += len(records)
        new = [record.document for record in records]
        metadata += sum(len(record.metadata) for record in records)
        for document, spans in zip(new, splitter.split_many(new), strict=True):
            characters += len(document.title) + len(document.text)
            for span in spans:
                count += 1
                place = len(sample) if len(sample) < SAMPLE else chosen.randrange(count)
                if place < SAMPLE:  # every passage is as likely to be in the sample
                    sample[place : place + 1] = [splitter.text_to_embed(document, span)]
    seconds = _seconds(encoder, sample) * count / len(sample) if sample else 0.0
    sparse_bytes = 0.0
    if sparse is not None and sample:
        began = time.perf_counter()
        active = float(sparse.encode_documents(sample).counts.mean())
        seconds += (time.perf_counter() - began) * count / len(sample)
        sparse_bytes = count * (active * SPARSE_PER_COMPONENT + SPARSE_PER_PASSAGE)
    before = engine.counts()[1] if engine is not None else 0
    taken = count * encoder.dim * 4 + _index(before, count, encoder.dim, index, options or {})
    taken += sparse_bytes
    taken += characters * PER_CHARACTER + metadata * PER_METADATA + fresh * PER_DOCUMENT + count * PER_PASSAGE
    if before + count > WORDS_ROWS:
        taken += characters * WORDS_PER_CHARACTER + count * WORDS_PER_PASSAGE
    return Estimate(fresh, unchanged, count, seconds, round(taken + (EMPTY if engine is None else 0)))


def _index(before: int, count: int, dim: int, wanted: str, options: Mapping[str, Any]) -> float:
    """Bytes of the index of vectors for `count` more rows."""
    scanned = before + count < UNINDEXED_ROWS and wanted == "exact"  # as they are, without codes
    backend: str | None = None if scanned else wanted
    if wanted == "auto":
        choice = choose(before + count, dim)
        backend, options = choice.backend, choice.options
    if backend is None:
        return 0.0
    kind = plugins.index_backend(backend)
    return count * kind.bytes_per_row(dim, kind.Params.parse(options, f"index '{backend}'"))


def _new(records: list[Record], engine: Engine | None) -> list[Record]:
    known = engine.known([record.document.id for record in records]) if engine is not None else {}
    return [record for record in records if (old := known.get(record.document.id)) is None or old.hash != record.hash]


def _seconds(encoder: Encoder, texts: list[str]) -> float:
    encoder.encode_documents(texts[:8])  # the first call also allocates
    began = time.perf_counter()
    encoder.encode_documents(texts)
    return time.perf_counter() - began
