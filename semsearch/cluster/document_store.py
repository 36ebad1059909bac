"""Documents in an index: written by compare-and-set in requests of bounded size, each item's answer read.

A document is one unit: whoever writes it has read it, and what another wrote meanwhile is read again before. Each
writing has a revision, so that one whose answer was lost is known again, and never done twice.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import numpy as np
import orjson

from semsearch.cluster import cluster_errors
from semsearch.cluster.cluster_connection import ClusterConnection, RequestSize
from semsearch.cluster.cluster_filters import IS_DOCUMENT, terms
from semsearch.cluster.dialects import ClusterAnswer, RequestTimeout
from semsearch.cluster.index_layout import (
    MOST_PASSAGES,
    identity_of,
    metadata_source,
    origin_source,
    revision,
    source_of,
    with_origin,
    word_codes,
    writing_alias,
)
from semsearch.engine import Origin, Written
from semsearch.errors import CollectionDamaged, CollectionLocked, DataError
from semsearch.records import Entry, Known, Record
from semsearch.search.languages import Languages
from semsearch.types import Document, Keys, Passage, Vectors

DOCUMENTS_READ = 1000  # of a request
REQUESTS_UNDER_WAY = 2  # that write
WRITE_ATTEMPTS = 50  # of a write that others overtake
TEXT_FIELDS = ("id", "title", "text", "metadata", "num", "keys", "starts", "ends", "hash")
_KNOWN_FIELDS = ("id", "num", "hash", "metadata", "rev", "origins", "starts", "ends")
_CHANGED_FIELDS = (*_KNOWN_FIELDS, "title", "text")


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as it was read, with its passages."""

    num: int
    document: Document
    hash: bytes
    keys: tuple[int, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    @classmethod
    def of(cls, source: Mapping[str, Any]) -> StoredDocument:
        """What a hit's `_source` says."""
        document = Document(source["id"], source["text"], source["title"], json.loads(source["metadata"]))
        places = (tuple(source["keys"]), tuple(source["starts"]), tuple(source["ends"]))
        return cls(source["num"], document, bytes.fromhex(source["hash"]), *places)

    @property
    def spans(self) -> list[tuple[int, int, int]]:
        """Key, start and end of each passage."""
        return list(zip(self.keys, self.starts, self.ends, strict=True))

    def passage(self, key: int) -> Passage:
        """The passage of a key of its own."""
        place = self.keys.index(key)
        return Passage.of(self.document, self.starts[place], self.ends[place])


@dataclass(frozen=True, slots=True)
class StoredVectors:
    """The passages of some documents with their vectors, those of one side by side."""

    keys: Keys  # (n,)
    docs: Keys  # (n,)
    vectors: Vectors  # (n, dim)

    @classmethod
    def of(cls, hits: Sequence[Any], dim: int) -> StoredVectors:
        """What hits say that were asked for `num`, `keys` and `p.v`."""
        keys: list[int] = []
        docs: list[int] = []
        rows: list[Any] = []
        for hit in hits:
            source = hit["_source"]
            own = [passage.get("v") for passage in source.get("p", ())]
            if len(own) != len(source["keys"]) or any(row is None or len(row) != dim for row in own):
                raise CollectionDamaged(
                    f"a document (number {source['num']}) has {len(source['keys'])} passages and other vectors: "
                    "'semsearch check' names such documents, 'semsearch repair' encodes them again."
                )
            keys += source["keys"]
            docs += [source["num"]] * len(own)
            rows += own
        vectors = np.array(rows, dtype=np.float32).reshape(len(rows), dim)
        return cls(np.array(keys, dtype=np.int64), np.array(docs, dtype=np.int64), vectors)


@dataclass(frozen=True, slots=True)
class _Old:
    """A document as it is before it is written."""

    source: Mapping[str, Any]
    stored: Mapping[str, Any]


class IndexReplaced(CollectionLocked):
    """The index takes no writes any more: another is being put in its place."""


class DocumentStore:
    """The documents of one index. Threads may share it."""

    def __init__(self, connection: ClusterConnection, index: str, languages: Languages) -> None:
        """`languages`: of the collection's words."""
        self.connection = connection
        self.index = index
        self._languages = languages
        self._alias = writing_alias(index)

    # Reading, of single documents, as they are now

    def stored(self, ids: Iterable[str], fields: Sequence[str] = _KNOWN_FIELDS) -> dict[str, _Old]:
        """Those of `ids` that are there."""
        wanted = list(dict.fromkeys(identity for identity in ids if isinstance(identity, str)))
        found: dict[str, _Old] = {}
        for at in range(0, len(wanted), DOCUMENTS_READ):
            some = wanted[at : at + DOCUMENTS_READ]
            options = {"_source_includes": ",".join(fields)}
            body = {"ids": [identity_of(identity) for identity in some]}
            answer = self.connection.ask("POST", f"{quote(self.index)}/_mget", body, options=options, wanted=("docs",))
            for one in answer.body["docs"]:
                if "error" in one:
                    raise cluster_errors.sentence(ClusterAnswer(503, one), self.connection.location)
                if one["found"]:
                    found[one["_source"]["id"]] = _Old(one["_source"], one)
        return found

    def known(self, ids: Iterable[str]) -> dict[str, Known]:
        """See `semsearch.engine.Engine.known`."""
        return {
            identity: Known(old.source["num"], bytes.fromhex(old.source["hash"]), old.source["metadata"])
            for identity, old in self.stored(ids).items()
        }

    def documents(self, ids: Iterable[str]) -> dict[str, Document]:
        """Those of `ids` that are there."""
        found = self.stored(ids, ("id", "title", "text", "metadata"))
        return {
            identity: Document(identity, old.source["text"], old.source["title"], json.loads(old.source["metadata"]))
            for identity, old in found.items()
        }

    # Writing

    def put(
        self,
        entries: Sequence[Entry],
        metadata_only: Sequence[Record],
        again: bool,
        origin: Callable[[str], Origin] | None,
        reserve: Callable[[str, int], int],
    ) -> Written:
        """See `semsearch.engine.Engine.put`; `reserve` gives numbers."""
        pending: dict[str, Entry | Record] = {record.document.id: record for record in metadata_only}
        pending |= {entry.record.document.id: entry for entry in entries}
        for entry in entries:
            if len(entry.spans) > MOST_PASSAGES:
                raise DataError(
                    f"document {entry.record.document.id!r:.100} has {len(entry.spans):,} passages, and a cluster "
                    f"takes {MOST_PASSAGES:,} of one: split it."
                )
        written, revisions = Written(0, 0, 0), {identity: revision() for identity in pending}
        done: dict[str, Written] = {}  # of what was sent, what it is once it is known to be there

        def actions(stored: Mapping[str, _Old]) -> Iterator[tuple[str, bytes]]:
            nonlocal written
            numbers = self._numbers(pending, stored, revisions, again, reserve)
            for identity in list(pending):
                one, old = pending[identity], stored.get(identity)
                if old is not None and old.source["rev"] == revisions[identity]:  # its answer was lost
                    written = _sum(written, done.get(identity, Written(0, 0, 0)))
                    del pending[identity]
                    continue
                made, outcome = self._made(one, old, again, origin, numbers.get(identity))
                if made is None:
                    del pending[identity]
                    continue
                made["rev"] = revisions[identity]
                done[identity] = outcome
                yield identity, _action(identity, old, made, whole="kind" in made)

        for attempt in range(WRITE_ATTEMPTS):
            for identity, status in self._sent(actions(self.stored(pending))):
                if status in (200, 201) and identity in pending:
                    written = _sum(written, done[identity])
                    del pending[identity]
            if not pending:
                return written
            time.sleep(min(0.005 * attempt, 0.1))
        raise CollectionLocked("other processes keep writing to the same documents: try again.")

    def _numbers(
        self,
        pending: Mapping[str, Entry | Record],
        stored: Mapping[str, _Old],
        revisions: Mapping[str, int],
        again: bool,
        reserve: Callable[[str, int], int],
    ) -> dict[str, tuple[int, int]]:
        """The document's number and the first of its keys, of each that is to be written whole."""
        whole = []
        for identity, one in pending.items():
            old = stored.get(identity)
            if isinstance(one, Entry) and (
                old is None
                or (old.source["rev"] != revisions[identity] and (again or old.source["hash"] != one.record.hash.hex()))
            ):
                whole.append((identity, one, old))
        if not whole:
            return {}
        key = reserve("keys", sum(max(len(one.spans), 1) for _, one, _ in whole))
        new = sum(old is None for _, _, old in whole)
        num = reserve("documents", new) if new else 0
        numbers = {}
        for identity, one, old in whole:
            numbers[identity] = (num if old is None else int(old.source["num"]), key)
            key += max(len(one.spans), 1)
            num += old is None
        return numbers

    def _made(
        self,
        one: Entry | Record,
        old: _Old | None,
        again: bool,
        origin: Callable[[str], Origin] | None,
        numbers: tuple[int, int] | None,
    ) -> tuple[dict[str, Any] | None, Written]:
        """What is to be written of a document, None if nothing, and what that amounts to."""
        nothing = Written(0, 0, 0)
        if isinstance(one, Entry) and numbers is not None:
            identity = one.record.document.id
            num, first = numbers
            origins = with_origin(
                () if old is None else old.source["origins"], None if origin is None else lambda: origin(identity)
            )
            made = source_of(one, num, range(first, first + len(one.spans)), origins, self._languages)
            return made, Written(int(old is None), int(old is not None), len(one.spans))
        record = one.record if isinstance(one, Entry) else one
        same = old is not None and old.source["hash"] == record.hash.hex()
        if old is None or not same or old.source["metadata"] == record.metadata:
            return None, nothing
        document = record.document
        return {**metadata_source(record), **self._codes(document.title, document.text, old.source)}, Written(0, 1, 0)

    def _codes(self, title: str, text: str, source: Mapping[str, Any]) -> dict[str, Any]:
        return word_codes(title, text, zip(source["starts"], source["ends"], strict=True), self._languages)

    def change(self, ids: Iterable[str], made: Callable[[Mapping[str, Any]], Mapping[str, Any] | None]) -> int:
        """Change a part of documents, each by itself; how many of `ids` were there.

        Args:
            ids: Of documents.
            made: From what is stored of one (without vectors) to what replaces it; None leaves it.
        """
        pending, found = dict.fromkeys(ids), set[str]()
        revisions = {identity: revision() for identity in pending}
        for attempt in range(WRITE_ATTEMPTS):
            stored = self.stored(pending, _CHANGED_FIELDS)
            found |= stored.keys()
            lines = []
            for identity in list(pending):
                old = stored.get(identity)
                new = None
                if old is not None and old.source["rev"] != revisions[identity]:
                    new = made(old.source)
                if old is None or new is None:
                    del pending[identity]
                    continue
                codes = self._codes(old.source["title"], old.source["text"], old.source)
                body = {**codes, **new, "rev": revisions[identity]}
                lines.append((identity, _action(identity, old, body, whole=False)))
            for identity, status in self._sent(lines):
                if status == 200:
                    pending.pop(identity, None)
            if not pending:
                return len(found)
            time.sleep(min(0.005 * attempt, 0.1))
        raise CollectionLocked("other processes keep writing to the same documents: try again.")

    def change_metadata(self, ids: Iterable[str], change: Callable[[Document], Record]) -> int:
        """Replace the metadata of documents."""

        def made(source: Mapping[str, Any]) -> Mapping[str, Any] | None:
            document = Document(source["id"], "", "", json.loads(source["metadata"]))
            record = change(document)
            return None if record.metadata == source["metadata"] else metadata_source(record)

        return self.change(ids, made)

    def note_origins(self, given: Mapping[str, Origin]) -> None:
        """Which file of which source gives documents, and no other file of that source."""

        def made(source: Mapping[str, Any]) -> Mapping[str, Any] | None:
            origins = with_origin(source["origins"], lambda: given[source["id"]])
            new = origin_source(origins)
            return None if new["origins"] == [list(one) for one in source["origins"]] else new

        self.change(given, made)

    def release(self, ids: Iterable[str], source: int) -> None:
        """Forget that a source gives documents."""
        self.change(ids, lambda old: origin_source([own for own in old["origins"] if own[0] != source]))

    def remove(self, ids: Iterable[str]) -> int:
        """Take documents away; how many were there."""
        pending, found = dict.fromkeys(ids), set[str]()
        for attempt in range(WRITE_ATTEMPTS):
            stored = self.stored(pending, ("id",))
            found |= stored.keys()
            pending = dict.fromkeys(stored)
            lines = []
            for identity, old in stored.items():
                action = {"delete": {"_id": identity_of(identity), **_held_to(old)}}
                lines.append((identity, orjson.dumps(action) + b"\n"))
            for identity, status in self._sent(lines):
                if status == 200:
                    pending.pop(identity, None)
            if not pending:
                return len(found)
            time.sleep(min(0.005 * attempt, 0.1))
        raise CollectionLocked("other processes keep writing to the same documents: try again.")

    def write(self, lines: Sequence[tuple[str, bytes]]) -> None:
        """Send actions as they are; those that may be done twice."""
        pending = dict(enumerate(lines))
        while pending:
            some = [(str(place), line) for place, (_, line) in pending.items()]
            for place, _ in self._sent(some):
                pending.pop(int(place), None)

    def _sent(self, lines: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, int]]:
        """Send actions, some at a time; the name and the status of each that was done or was overtaken.

        While requests are on their way the next one is made, if `lines` makes them. A server that is slow is sent less
        at once; what it did not answer for in time is left to be sent again, as is all behind it.
        """
        good = self.connection.good_size
        parts = _parted(lines, good)
        first, second = next(parts, None), next(parts, None)
        if first is None:
            return
        if second is None:  # no threads for one request
            yield from self._send(first) or ()
            return
        with ThreadPoolExecutor(REQUESTS_UNDER_WAY) as threads:
            under_way = deque([threads.submit(self._send, first), threads.submit(self._send, second)])
            while under_way:
                done = under_way.popleft().result()
                if done is None:
                    parts = iter(())
                    continue
                yield from done
                part = next(parts, None)
                if part is not None:
                    under_way.append(threads.submit(self._send, part))

    def _send(self, lines: Sequence[tuple[str, bytes]]) -> list[tuple[str, int]] | None:
        """One request; None if it was not answered in time, and less is to be sent at once."""
        size, begun = sum(len(line) for _, line in lines), time.monotonic()
        try:
            done = [self._checked(identity, answer) for identity, answer in self.connection.bulk(self._alias, lines)]
        except RequestTimeout:  # some of it may be written: who reads it again finds its revision
            if len(lines) == 1 or not self.connection.good_size.timed_out(size):
                raise
            return None
        self.connection.good_size.took(time.monotonic() - begun)
        return done

    def _checked(self, identity: str, answer: ClusterAnswer) -> tuple[str, int]:
        if answer.status not in (200, 201, 409):
            raise self._refused(identity, answer)
        return identity, answer.status

    def _refused(self, identity: str, answer: ClusterAnswer) -> Exception:
        said, kind = cluster_errors.reason(answer.body), cluster_errors.error_type(answer.body)
        if kind == cluster_errors.BLOCKED and "FORBIDDEN/8" in said:
            return IndexReplaced(
                "the collection is being encoded anew, and takes no writes in its last moments: run the same command "
                "again. Should that have been broken off, run the reencoding again, or 'semsearch repair'."
            )
        if answer.status == 400:
            return DataError(f"document {identity!r:.100} can't be kept in {self.connection.location}: {said}.")
        return cluster_errors.sentence(answer, self.connection.location)

    # Reading, of what searches see

    def of_keys(self, keys: Sequence[int], fields: Sequence[str]) -> Iterator[Any]:
        """The hits of documents that have any of some passages."""
        for at in range(0, len(keys), DOCUMENTS_READ):
            query = {"bool": {"filter": [IS_DOCUMENT, terms("keys", keys[at : at + DOCUMENTS_READ])]}}
            body = {"size": DOCUMENTS_READ, "query": query, "_source": self.connection.dialect.source(fields)}
            yield from self.connection.search(self.index, body)["hits"]["hits"]


def _parted(lines: Iterable[tuple[str, bytes]], good: RequestSize) -> Iterator[list[tuple[str, bytes]]]:
    """Lines as requests take them, of as many bytes as is good when they are made."""
    part: list[tuple[str, bytes]] = []
    size = 0
    for line in lines:
        if part and size + len(line[1]) > good.bytes:
            yield part
            part, size = [], 0
        part.append(line)
        size += len(line[1])
    if part:
        yield part


def _action(identity: str, old: _Old | None, source: Mapping[str, Any], *, whole: bool) -> bytes:
    held: dict[str, Any] = {"_id": identity_of(identity)}
    if old is not None:
        held |= _held_to(old)
    what = "update" if not whole else "create" if old is None else "index"
    body = source if whole else {"doc": source}
    options = orjson.OPT_SERIALIZE_NUMPY
    return orjson.dumps({what: held}) + b"\n" + orjson.dumps(body, option=options) + b"\n"


def _held_to(old: _Old) -> dict[str, int]:
    return {"if_seq_no": old.stored["_seq_no"], "if_primary_term": old.stored["_primary_term"]}


def _sum(one: Written, other: Written) -> Written:
    return Written(*(a + b for a, b in zip(one, other, strict=True)))


def relabelled(document: Document, change: Callable[[Any], Any]) -> Record:
    """A document with the metadata that `change` makes, checked."""
    return Record.of(replace(document, text=document.text or "-", metadata=change(document.metadata)))
