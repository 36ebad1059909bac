"""The file of a part: documents with passages and vectors, and what made them. It may be anybody's: nothing in it runs.

Layout: `PART_MAGIC`; blocks of two lengths (uint32, little-endian), JSON and float32 vectors; the header as JSON, its
length (uint32), and its digest (16 bytes). The header is last since it has the digest of the blocks. A document of
a block is `[place in the source, id, title, text, metadata, [[start, end], …]]`, and has a vector for each span.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BufferedRandom
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from semsearch.errors import DataError
from semsearch.parts.part_number import MOST_PARTS, PartNumber
from semsearch.plain_files import open_plain
from semsearch.records import Entry, Record
from semsearch.types import Document, Metric, Span
from semsearch.vectors import stored_form

PART_MAGIC = b"SEMPART\x01"
BLOCK_DOCUMENTS, BLOCK_CHARACTERS = 64, 1 << 18  # of a block: as many as there are parts are held at once
LONGEST_PART_HEADER = 1 << 20  # bytes
_LENGTHS = struct.Struct("<II")
_LENGTH = struct.Struct("<I")
_DIGEST_BYTES = 16
_HEX = re.compile(r"[0-9a-f]{32}")
SUM_MODULUS = 1 << 128


@dataclass(frozen=True, slots=True)
class PartHeader:
    """What a part says of itself.

    Attributes:
        part: Its number, from 0.
        parts: How many there are.
        encoder: What made the vectors: at least `name` and `fingerprint`.
        metric: How they are compared.
        dim: Components of a vector.
        passages: Whether documents were split.
        splitting: How.
        documents: In this part.
        vectors: Of these documents.
        sum: Of the digests of its documents, modulo 2**128, in hexadecimal digits; of those, too, that were skipped.
        source_documents: Of the whole source when this part was made …
        source_sum: … and the sum of their digests.
        skipped: Documents of this part that the model could not encode.
        truncated: Documents that were longer than the model reads.
        body: The digest of all blocks.
    """

    part: int
    parts: int
    encoder: Mapping[str, Any]
    metric: str
    dim: int
    passages: bool
    splitting: str
    documents: int
    vectors: int
    sum: str
    source_documents: int
    source_sum: str
    skipped: int
    truncated: int
    body: str

    @property
    def fingerprint(self) -> str:
        """Of the model."""
        return str(self.encoder["fingerprint"])

    @property
    def model(self) -> str:
        """What the model is called, for people."""
        return str(self.encoder.get("name") or self.encoder.get("class") or "an object")


class PlacedEntry(NamedTuple):
    """A document with its passages and vectors, and its place in the source."""

    place: int
    entry: Entry


def document_digest(record: Record) -> int:
    """Of all that a document is: the same on every machine; it decides the part that the document belongs to."""
    document = record.document
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for text in (document.id, document.title, document.text, record.metadata):
        content = text.encode()
        digest.update(len(content).to_bytes(8, "little") + content)
    return int.from_bytes(digest.digest(), "little")


class PartWriter:
    """Writes a part under another name, and gives it its own when it is whole and on the disk."""

    def __init__(self, path: Path) -> None:
        """`path`: the name in the end."""
        self._path = path
        self._temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        self._digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        self.documents = 0
        self.vectors = 0

    def __enter__(self) -> Self:
        self._file = self._temporary.open("xb")
        self._file.write(PART_MAGIC)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def write(self, entries: Sequence[PlacedEntry]) -> None:
        """Append documents, ascending by their places in the source."""
        block: list[PlacedEntry] = []
        characters = 0
        for own in entries:
            block.append(own)
            characters += len(own.entry.record.document.text)
            if len(block) >= BLOCK_DOCUMENTS or characters >= BLOCK_CHARACTERS:
                self._append(block)
                block, characters = [], 0
        if block:
            self._append(block)

    def _append(self, block: Sequence[PlacedEntry]) -> None:
        told = [
            [
                place,
                entry.record.document.id,
                entry.record.document.title,
                entry.record.document.text,
                json.loads(entry.record.metadata),
                [[span.start, span.end] for span in entry.spans],
            ]
            for place, entry in block
        ]
        content = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()
        vectors = np.concatenate([entry.vectors for _, entry in block]).astype("<f4")
        for piece in (_LENGTHS.pack(len(content), len(vectors)), content, vectors.tobytes()):
            self._digest.update(piece)
            self._file.write(piece)
        self.documents += len(block)
        self.vectors += len(vectors)

    @property
    def body(self) -> str:
        """The digest of what was written so far."""
        return self._digest.hexdigest()

    def finish(self, header: PartHeader) -> None:
        """Write the header, and let the part be there."""
        content = json.dumps(asdict(header), sort_keys=True).encode()
        self._file.write(content + _LENGTH.pack(len(content)) + _header_digest(content))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if not self._path.exists():  # else another process was faster, with the same
            os.replace(self._temporary, self._path)  # noqa: PTH105  (Path.replace is the same call)
            _sync_folder(self._path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _header_digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()


class PartFile:
    """A part that is there. What it says is checked before it is believed."""

    def __init__(self, path: Path) -> None:
        """Read the header of the file at `path`.

        Raises:
            DataError: It is no part, or was cut short or changed.
        """
        self.path = path
        try:
            with open_plain(path) as file:
                self.header = self._header(file)
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise self.unreadable(error) from error

    def unreadable(self, error: BaseException | str) -> DataError:
        """The error that names the file."""
        why = f"{type(error).__name__}: {error}" if isinstance(error, KeyError | TypeError) else str(error)
        return DataError(
            f"{self.path} is no part that 'semsearch encode' made, or was changed: {why[:300].rstrip('.')}."
        )

    def _header(self, file: BufferedRandom) -> PartHeader:
        size = file.seek(0, os.SEEK_END)
        tail = _LENGTH.size + _DIGEST_BYTES
        if size < len(PART_MAGIC) + tail:
            raise ValueError("it is too short")
        file.seek(0)
        if file.read(len(PART_MAGIC)) != PART_MAGIC:
            raise ValueError("it does not begin as one, or is of a newer semsearch")
        file.seek(size - tail)
        end = file.read(tail)
        (length,) = _LENGTH.unpack(end[: _LENGTH.size])
        self._end = size - tail - length  # of the blocks
        if length > LONGEST_PART_HEADER or self._end < len(PART_MAGIC):
            raise ValueError("its end is not that of a part")
        file.seek(self._end)
        content = file.read(length)
        if _header_digest(content) != end[_LENGTH.size :]:
            raise ValueError("its header is not what was written")
        return _checked(json.loads(content))

    @property
    def number(self) -> PartNumber:
        """Which part it says it is."""
        return PartNumber(self.header.part, self.header.parts)

    def read(self) -> Iterator[list[PlacedEntry]]:
        """Its documents, a block at a time; the file is closed meanwhile.

        Raises:
            DataError: Something in it is not as it should be; names it.
        """
        at, last = len(PART_MAGIC), -1
        while at < self._end:
            try:
                with open_plain(self.path) as file:
                    file.seek(at)
                    content, numbers, at = self._block(file, at)
                block = self._entries(content, numbers)
                for own in block:
                    if own.place <= last or own.place >= self.header.source_documents:
                        raise ValueError(f"its documents are not in order at {own.place}")
                    last = own.place
            except (OSError, ValueError, TypeError, KeyError, RecursionError, DataError) as error:
                raise self.unreadable(error) from error
            yield block

    def check_body(self) -> None:
        """Hold the bytes of all blocks against the header.

        Raises:
            DataError: They are not what was written.
        """
        digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        with open_plain(self.path) as file:
            file.seek(len(PART_MAGIC))
            left = self._end - len(PART_MAGIC)
            while left > 0 and (piece := file.read(min(left, 1 << 20))):
                digest.update(piece)
                left -= len(piece)
        if left or digest.hexdigest() != self.header.body:
            raise self.unreadable("its bytes are not what was written")

    def _block(self, file: BufferedRandom, at: int) -> tuple[bytes, bytes, int]:
        lengths = file.read(_LENGTHS.size)
        if len(lengths) < _LENGTHS.size:
            raise ValueError("a block is cut short")
        length, count = _LENGTHS.unpack(lengths)
        size = count * self.header.dim * 4
        end = at + _LENGTHS.size + length + size
        if end > self._end:
            raise ValueError("a block is longer than the file")
        return file.read(length), file.read(size), end

    def _entries(self, content: bytes, numbers: bytes) -> list[PlacedEntry]:
        dim, metric = self.header.dim, Metric(self.header.metric)
        vectors = np.frombuffer(numbers, "<f4").reshape(-1, dim).astype(np.float32)
        vectors = stored_form(vectors, dim, metric, "its vectors")
        if metric == Metric.COSINE and not vectors.any(axis=1).all():
            raise ValueError("a vector is zero, which has no direction")
        found: list[PlacedEntry] = []
        first = 0
        for row in _list(json.loads(content)):
            place, identity, title, text, metadata, spans = _list(row, 6)
            record = Record.of(Document(identity, text, title, metadata))
            own = [_span(span, len(record.document.text)) for span in _list(spans)]
            if not own or type(place) is not int:
                raise ValueError(f"document {identity!r:.80} has no passage, or no place")
            if first + len(own) > len(vectors):
                raise ValueError("it has fewer vectors than passages")
            found.append(PlacedEntry(place, Entry(record, own, vectors[first : first + len(own)])))
            first += len(own)
        if first != len(vectors):
            raise ValueError("it has more vectors than passages")
        return found


def _list(value: Any, length: int | None = None) -> list[Any]:
    if not isinstance(value, list) or (length is not None and len(value) != length):
        raise ValueError("a block is no list of documents")
    return value


def _span(value: Any, length: int) -> Span:
    start, end = _list(value, 2)
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= length:
        raise ValueError(f"a passage from {start!r:.20} to {end!r:.20} is not in its text")
    return Span(start, end)


def _checked(told: Any) -> PartHeader:
    """A header, each field of its own type and within bounds."""
    header = PartHeader(**told)
    counts = (header.documents, header.vectors, header.source_documents, header.skipped, header.truncated)
    whole = all(type(number) is int and 0 <= number < 1 << 62 for number in counts)
    numbered = type(header.part) is int and type(header.parts) is int
    if not whole or not numbered or not 0 <= header.part < header.parts <= MOST_PARTS:
        raise ValueError("its header counts wrongly")
    if type(header.dim) is not int or not 0 < header.dim < 1 << 20 or type(header.passages) is not bool:
        raise ValueError("its header tells no vectors")
    texts = (header.metric, header.splitting, header.sum, header.source_sum, header.body)
    if not all(isinstance(text, str) for text in texts) or not all(map(_HEX.fullmatch, texts[2:])):
        raise ValueError("its header has no digests")
    if not isinstance(header.encoder, dict) or not isinstance(header.encoder.get("fingerprint"), str):
        raise ValueError("its header tells no model")
    Metric(header.metric)
    return header


def hexadecimal(total: int) -> str:
    """A sum of digests as a header has it."""
    return f"{total % SUM_MODULUS:032x}"
