"""Making parts: a source is read, and of its documents those of one part are split, encoded and written."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from semsearch.chunking import splitter_for
from semsearch.encoder import DEFAULT_MODEL
from semsearch.errors import DataError, ModelMismatch, UsageError
from semsearch.hardware import Compute
from semsearch.ingest.ingestion import BATCH_CHARACTERS, BATCH_DOCUMENTS, BATCH_SECONDS, Encoding
from semsearch.ingest.source import CallbackReport, Source
from semsearch.models import described_encoder
from semsearch.names import check_path
from semsearch.parts.part_file import PartFile, PartHeader, PartWriter, PlacedEntry, document_digest, hexadecimal
from semsearch.parts.part_number import PartNumber, check_parts, parse_part, part_number, scheduled_part
from semsearch.records import Record
from semsearch.types import Encoder, Metric


class EncodedParts(NamedTuple):
    """What an `encode` did: parts that were made and that were there, and what of the source is in them."""

    made: int
    there: int
    documents: int
    passages: int
    skipped: int
    truncated: int

    def with_part(self, header: PartHeader, *, made: bool) -> EncodedParts:
        """And one more."""
        return EncodedParts(
            self.made + made,
            self.there + (not made),
            self.documents + header.documents,
            self.passages + header.vectors,
            self.skipped + header.skipped,
            self.truncated + header.truncated,
        )


NO_PARTS = EncodedParts(0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class PartsPlan:
    """All that decides the parts of a source but for their number; another process or machine is told it as JSON.

    Attributes:
        source: As it is read.
        folder: Where the parts are written.
        parts: How many there are.
        encoder: The model's name.
        revision: Of a model on the hub.
        passages: Split what is longer than the model reads.
        skip: Leave out what can't be read or encoded, instead of ending at it.
        device: As in `semsearch.create`; so are `dtype` and `batch_tokens`.
    """

    source: Source
    folder: str
    parts: int
    encoder: str
    revision: str | None = None
    passages: bool = True
    skip: bool = False
    device: str | None = None
    dtype: str | None = None
    batch_tokens: int | None = None

    def to_json(self) -> str:
        """For another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote."""
        told = json.loads(text)
        return cls(**{**told, "source": Source(**told["source"])})

    def opened(self) -> PartMaker:
        """Its model opened, once for all parts that this process makes."""
        compute = Compute(self.device, self.dtype, self.batch_tokens)
        return PartMaker(
            self.source, Path(self.folder), *described_encoder(self.encoder, self.revision, compute), self.passages
        )


class PartMaker:
    """Makes parts of one source with one model."""

    def __init__(
        self, source: Source, folder: Path, encoder: Encoder, described: Mapping[str, Any], passages: bool
    ) -> None:
        self._source = source
        self._folder = folder
        self._described = described
        self._passages = passages
        self._encoder = encoder

    def part_that_is_there(self, part: PartNumber) -> PartHeader | None:
        """The header of a part that was made before, if it was.

        Raises:
            ModelMismatch: Another model made it, or documents were split otherwise.
            DataError: What is there under its name is no part.
        """
        path = self._folder / part.file_name
        if not path.exists() and not path.is_symlink():
            return None
        header = PartFile(path).header
        splitting = splitter_for(self._encoder, self._passages).identity
        if (header.part, header.parts) != part:
            raise DataError(f"{path} says that it is part {header.part}/{header.parts}: it was renamed.")
        if header.fingerprint != self._encoder.fingerprint or header.splitting != splitting:
            raise ModelMismatch(
                f"{path} was made with the model {header.model} and splits by '{header.splitting}', and is not to be "
                f"mixed with what this one makes ('{splitting}'): write into another folder."
            )
        return header

    def make(
        self,
        part: PartNumber,
        on_error: Callable[[DataError], None] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[PartHeader, bool]:
        """The header of a part, and whether it was made by this call; one that is there is not made again.

        Args:
            part: Which.
            on_error: Called for what can't be read or encoded, which is then left out; without it the error is raised.
            progress: Called with the documents that were read, and the passages that were encoded.
        """
        header = self.part_that_is_there(part)
        if header is not None:
            return header, False
        self._folder.mkdir(parents=True, exist_ok=True)
        with PartWriter(self._folder / part.file_name) as writer:
            batches = _PartBatches(self, part, writer, on_error, progress)
            header = batches.run()
            writer.finish(header)
        return header, True

    def encoding(self, on_error: Callable[[DataError], None] | None) -> Encoding:
        """Splits and encodes."""
        return Encoding(self._encoder, self._passages, on_error)

    def read(self, on_error: Callable[[DataError], None] | None) -> Any:
        """All documents of the source, in its order."""
        return self._source.read(CallbackReport(on_error))

    def described(self) -> dict[str, Any]:
        """What a header says of the model."""
        return {
            "encoder": dict(self._described),
            "metric": str(Metric(self._encoder.metric)),
            "dim": self._encoder.dim,
            "passages": self._passages,
        }


class _PartBatches:
    """One run through the source: documents of the part gather until a batch is full, are encoded and written."""

    def __init__(
        self,
        maker: PartMaker,
        part: PartNumber,
        writer: PartWriter,
        on_error: Callable[[DataError], None] | None,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._maker = maker
        self._part = part
        self._writer = writer
        self._on_error = on_error
        self._progress = progress
        self._encoding = maker.encoding(None if on_error is None else self._skip)
        self._pending: list[tuple[int, Record]] = []
        self._characters = 0
        self._enough = BATCH_CHARACTERS[0]
        self._skipped = self._truncated = 0

    def run(self) -> PartHeader:
        """Go through the source; what the part says of itself."""
        own = whole = count = 0
        for place, document in enumerate(self._maker.read(self._on_error)):
            record = Record.of(document, checked=True)
            digest = document_digest(record)
            whole, count = whole + digest, place + 1
            if self._part.has(digest):
                own += digest
                self._pending.append((place, record))
                self._characters += len(record.document.text)
                if len(self._pending) >= BATCH_DOCUMENTS or self._characters >= self._enough:
                    self._write(count)
        self._write(count)
        return PartHeader(
            part=self._part.number,
            parts=self._part.parts,
            **self._maker.described(),
            splitting=self._encoding.splitter.identity,
            documents=self._writer.documents,
            vectors=self._writer.vectors,
            sum=hexadecimal(own),
            source_documents=count,
            source_sum=hexadecimal(whole),
            skipped=self._skipped,
            truncated=self._truncated,
            body=self._writer.body,
        )

    def _write(self, read: int) -> None:
        records = [record for _, record in self._pending]
        if records:
            began = time.perf_counter()
            entries = self._encoding.entries(records)
            speed = self._characters / max(time.perf_counter() - began, 1e-9)
            self._enough = int(min(max(speed * BATCH_SECONDS, BATCH_CHARACTERS[0]), BATCH_CHARACTERS[1]))
            places = {record.document.id: place for place, record in self._pending}
            self._writer.write([PlacedEntry(places[entry.record.document.id], entry) for entry in entries])
            unseen = self._encoding.splitter.unseen([entry.record.document for entry in entries])
            self._truncated += sum(tokens > 0 for tokens in unseen)
        self._pending, self._characters = [], 0
        if self._progress is not None:
            self._progress(read, self._writer.vectors)

    def _skip(self, error: DataError) -> None:
        self._skipped += 1
        assert self._on_error is not None
        self._on_error(error)


def encode(
    source: Source | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    part: str | Sequence[int] | None = None,
    parts: int | None = None,
    on: str | None = None,
    encoder: str | Encoder = DEFAULT_MODEL,
    revision: str | None = None,
    passages: bool = True,
    device: str | None = None,
    dtype: str | None = None,
    batch_tokens: int | None = None,
    timeout: float | None = None,
    on_error: Callable[[DataError], None] | None = None,
    progress: Callable[[EncodedParts], None] | None = None,
) -> EncodedParts:
    """Encode one part of a source, or all of them, into a folder that `Collection.add_parts` takes in.

    Each document belongs to one part, by a digest of its content, so that any number of machines can make parts of the
    same source without knowing of each other. A part is written under another name, and is there only when it is whole;
    one that is there is not made again.

    Args:
        source: A path whose format its name tells, or `Source.of(path, format, options, …)`.
        out: The folder, which all machines share or whose files are brought together later.
        part: `"3/64"` or `(3, 64)`: the fourth of 64. By default that of the SLURM array's task
            (`SLURM_ARRAY_TASK_ID`) or the indexed Kubernetes job (`JOB_COMPLETION_INDEX`) that runs this.
        parts: How many parts there are, where `part` does not say.
        on: Who makes all parts: `"local:4"`, so many processes on this machine; `"ray://auto"` or
            `"ray://host:10001"`, a Ray cluster (the extra `ray`).
        encoder: A model's name or path, or an object with the members of `Encoder`, which can't be told to others.
        revision: Of a model on the hub.
        passages: Split documents that are longer than the model's window.
        device: As in `semsearch.create`; so are `dtype` and `batch_tokens`.
        dtype: See `device`.
        batch_tokens: See `device`.
        timeout: Seconds that a part may take with `on` before it is tried again elsewhere; None for any time.
        on_error: Called for what can't be read or encoded, which is then left out; without it the error is raised.
        progress: Called when a part is there.

    Raises:
        UsageError: It is not said which part, or `encoder` is an object that others are to open.
        DataError: A record can't be used, or there is none.
        ModelMismatch: The folder has parts of another model.
    """
    chosen = source if isinstance(source, Source) else Source.of(check_path(os.fspath(source)))
    if chosen.vectors:
        raise UsageError("the vectors of this source were made elsewhere: nothing is left to encode.")
    if chosen.path == "-":
        raise UsageError("each part reads the source from its beginning, which standard input has once: give a file.")
    folder = Path(check_path(os.fspath(out))).expanduser().absolute()
    count = None if parts is None else check_parts(parts)
    if on is not None:
        if part is not None:
            raise UsageError("on says who makes all parts: leave out which part.")
        if not isinstance(encoder, str):
            raise UsageError("other processes open the model by its name: give a name, or make each part by itself.")
        plan = PartsPlan(
            chosen,
            str(folder),
            count or 1,
            encoder,
            revision,
            passages,
            on_error is not None,
            device,
            dtype,
            batch_tokens,
        )
        from semsearch.parts.drivers import make_on

        return make_on(plan, on, timeout, on_error, progress)
    wanted = _wanted(part, count)
    compute = Compute(device, dtype, batch_tokens)
    opened, described = described_encoder(encoder, revision, compute)
    maker, done = PartMaker(chosen, folder, opened, described, passages), NO_PARTS
    for number in wanted:
        header, made = maker.make(number, on_error)
        done = done.with_part(header, made=made)
        if progress is not None:
            progress(done)
    return done


def _wanted(part: str | Sequence[int] | None, count: int | None) -> list[PartNumber]:
    """The parts that this call is to make."""
    if part is not None:
        own = parse_part(part) if isinstance(part, str) else part_number(*map(int, part))
        if count not in (None, own.parts):
            raise UsageError(f"the part is one of {own.parts}, and there are said to be {count} parts.")
        return [own]
    scheduled = scheduled_part(os.environ, count)
    if scheduled is not None:
        return [scheduled]
    if count is None:
        raise UsageError(
            "say which part of how many (--part 3/64), or how many there are (--parts 64) and perhaps who makes them "
            "(--on local:4)."
        )
    return [PartNumber(number, count) for number in range(count)]
