"""What an indexing run will cost, before it is begun: all is read and split, a sample encoded."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from semsearch.ingestion import READ_DOCUMENTS
from semsearch.passages import splitter_for
from semsearch.store import documents as rows
from semsearch.store.documents import Record
from semsearch.store.store import Store
from semsearch.types import Document, Encoder

SAMPLE = 200  # passages that are encoded
# Bytes on the disk beside the vectors, as measured on collections of 5,000 to 50,000 documents of 40 to 1,500
# characters: what a text takes with its words' index, and rows, keys and checksums.
PER_CHARACTER = 1.8
PER_METADATA = 4.5  # a character of it as JSON: it is also kept by value, for filters
PER_DOCUMENT = 230
PER_PASSAGE = 75


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


def estimate(documents: Iterator[Document], encoder: Encoder, *, passages: bool, store: Store | None) -> Estimate:
    """Read and split all of `documents`, and encode a random sample of their passages.

    Args:
        documents: Those of the source; what `store` has already, unchanged, costs nothing.
        encoder: The model to come.
        passages: Whether long documents are split.
        store: The collection, where there is one.
    """
    splitter = splitter_for(encoder, passages)
    chosen = random.Random(0)
    sample: list[str] = []
    fresh = unchanged = count = characters = metadata = 0
    while chunk := list(islice(documents, READ_DOCUMENTS)):
        records = _new([rows.record(document) for document in chunk], store)
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
                    sample[place : place + 1] = [splitter.embedding_text(document, span)]
    seconds = _seconds(encoder, sample) * count / len(sample) if sample else 0.0
    vectors = count * encoder.dim * 4
    beside = characters * PER_CHARACTER + metadata * PER_METADATA + fresh * PER_DOCUMENT + count * PER_PASSAGE
    return Estimate(fresh, unchanged, count, seconds, round(vectors + beside))


def _new(records: list[Record], store: Store | None) -> list[Record]:
    known = store.known([record.document.id for record in records]) if store is not None else {}
    return [record for record in records if (old := known.get(record.document.id)) is None or old.hash != record.hash]


def _seconds(encoder: Encoder, texts: list[str]) -> float:
    encoder.encode_documents(texts[:8])  # the first call also allocates
    began = time.perf_counter()
    encoder.encode_documents(texts)
    return time.perf_counter() - began
