"""The parts of a source, together in a folder: whether they are all there and belong together, and what is in them."""

from __future__ import annotations

import hashlib
import heapq
import os
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from semsearch.errors import DataError
from semsearch.parts.part_file import PartFile, PartHeader, PlacedEntry, document_digest, hexadecimal
from semsearch.plain_files import entries, is_folder

_NAME = re.compile(r"part-(\d{5})-of-(\d{5})\.semsearch")
_UNFINISHED = re.compile(r"\.part-\d{5}-of-\d{5}\.semsearch\.[0-9a-f]{16}\.tmp")
NAMED_PARTS = 8  # in a sentence
_SHARED = ("encoder", "metric", "dim", "passages", "splitting", "source_documents", "source_sum")


class PartFolder:
    """All parts of one source, made with one model.

    Attributes:
        header: What all of them say alike; of the first part.
        documents: In all of them.
        skipped: Documents of the source that the model could not encode.
        truncated: Documents that were longer than the model reads.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Read the headers.

        Raises:
            DataError: A part is missing, is of another source or model, or something else lies there; names it.
        """
        self._folder = Path(folder).expanduser().resolve()
        self._parts = self._found()
        self.header = self._parts[0].header
        self._check_together()
        headers = [part.header for part in self._parts]
        self.documents, self.skipped, self.truncated = (
            sum(getattr(header, name) for header in headers) for name in ("documents", "skipped", "truncated")
        )

    def _found(self) -> list[PartFile]:
        if not is_folder(self._folder):
            raise DataError(f"there is no folder {self._folder}.")
        parts: list[PartFile] = []
        for path in entries(self._folder):
            if _UNFINISHED.fullmatch(path.name):  # of one that was interrupted, or is being made
                continue
            if not _NAME.fullmatch(path.name):
                raise DataError(f"{path} is no part of a source: take it away, or name the folder of the parts alone.")
            part = PartFile(path)
            if part.number.file_name != path.name:
                raise DataError(f"{path} says that it is part {part.header.part}/{part.header.parts}: it was renamed.")
            parts.append(part)
        if not parts:
            raise DataError(
                f"{self._folder} holds no parts: 'semsearch encode SOURCE --out {self._folder}' makes them."
            )
        return parts

    def _check_together(self) -> None:
        first = self._parts[0]
        for other in self._parts[1:]:
            if other.header.parts != first.header.parts:
                raise DataError(
                    f"{self._folder} mixes a part of {first.header.parts} ({first.path.name}) with one of "
                    f"{other.header.parts} ({other.path.name})."
                )
            for name in _SHARED:
                if _shared(other.header, name) != _shared(first.header, name):
                    raise DataError(_different(first, other, name))
        there = {part.header.part for part in self._parts}
        if missing := [number for number in range(first.header.parts) if number not in there]:
            named = ", ".join(f"{number}/{first.header.parts}" for number in missing[:NAMED_PARTS])
            more = f" and {len(missing) - NAMED_PARTS:,} more" if len(missing) > NAMED_PARTS else ""
            raise DataError(f"{self._folder} lacks part {named}{more}: make it with 'semsearch encode … --part'.")
        headers = [part.header for part in self._parts]
        total = hexadecimal(sum(int(header.sum, 16) for header in headers))
        count = sum(header.documents + header.skipped for header in headers)
        if total != first.header.source_sum or count != first.header.source_documents:
            raise DataError(
                f"the parts in {self._folder} hold {count:,} documents, which are not the "
                f"{first.header.source_documents:,} of their source."
            )

    def check(self) -> None:
        """Read all of it, before anything of it is stored.

        Raises:
            DataError: A part is not what was written, or holds what is not its own.
        """
        met: list[np.ndarray[tuple[int], np.dtype[np.bytes_]]] = []
        for part in self._parts:
            part.check_body()
            documents = vectors = total = 0
            digests: list[bytes] = []
            for block in part.read():
                for _, entry in block:
                    digest = document_digest(entry.record)
                    if not part.number.has(digest):
                        raise part.unreadable(f"document {entry.record.document.id!r:.80} belongs to another part")
                    total += digest
                    documents, vectors = documents + 1, vectors + len(entry.spans)
                    digests.append(_id_digest(entry.record.document.id))
            header = part.header
            if (documents, vectors) != (header.documents, header.vectors):
                raise part.unreadable(f"it holds {documents:,} documents and {vectors:,} vectors, not what it says")
            if not header.skipped and hexadecimal(total) != header.sum:
                raise part.unreadable("its documents are not what it says")
            met.append(np.array(digests, dtype="S16"))
        together = np.concatenate(met)
        if len(np.unique(together)) != len(together):
            raise DataError(f"the parts in {self._folder} have an id twice, which those of one source do not.")

    def entries(self) -> Iterator[PlacedEntry]:
        """All documents, in the order in which they stand in the source.

        Raises:
            DataError: Two are said to stand in one place.
        """
        last = -1
        for own in heapq.merge(*(chain.from_iterable(part.read()) for part in self._parts), key=_place):
            if own.place == last:
                raise DataError(
                    f"the parts in {self._folder} have two documents in the place {last:,} of their source."
                )
            last = own.place
            yield own


def _place(own: PlacedEntry) -> int:
    return own.place


def _id_digest(identity: str) -> bytes:
    return hashlib.blake2b(identity.encode(), digest_size=16).digest()


def _shared(header: PartHeader, name: str) -> object:
    return header.fingerprint if name == "encoder" else getattr(header, name)


def _different(first: PartFile, other: PartFile, name: str) -> str:
    where = f"{first.path} and {other.path.name}"
    if name == "encoder":
        return (
            f"{where} are of different models, {first.header.model} and {other.header.model}: make them anew with one."
        )
    if name.startswith("source"):
        return (
            f"{where} are of different sources, or the source was changed between them: make all parts anew in another "
            "folder."
        )
    return f"{where} differ in their {name}, {getattr(first.header, name)} and {getattr(other.header, name)}."
