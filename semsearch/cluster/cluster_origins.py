"""The origins of documents in a cluster: sources and files beside the collections, what they gave in each document."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import Any

import orjson

from semsearch.cluster import cluster_errors
from semsearch.cluster.cluster_connection import ClusterConnection
from semsearch.cluster.cluster_filters import IS_DOCUMENT, terms
from semsearch.cluster.collection_state import CollectionState
from semsearch.cluster.dialects import Clause
from semsearch.cluster.document_store import DocumentStore
from semsearch.engine import NEVER, File, Origin, Settlement, Stamp
from semsearch.errors import CollectionLocked

WRITTEN = 2000  # of a request
REGISTERING_ATTEMPTS = 20


class ClusterOrigins:
    """See `semsearch.engine.Origins`."""

    def __init__(
        self,
        connection: ClusterConnection,
        state: CollectionState,
        searchable: Callable[[], DocumentStore],
        writing: Callable[[], DocumentStore],
    ) -> None:
        """`searchable` has searches see what was written."""
        self._connection = connection
        self._home = connection.address.prefix
        self._state = state
        self._searchable = searchable
        self._writing = writing

    def sources(self) -> list[dict[str, Any]]:
        """See `Origins.sources`."""
        self._state.read()
        return [json.loads(hit["_source"]["spec"]) for hit in self._listed("source")]

    def find(self, spec: str) -> tuple[int, dict[str, File]] | None:
        """See `Origins.find`."""
        self._state.read()
        stored = self._connection.get(self._home, self._source_id(spec))
        if stored is None:
            return None
        number = int(stored["_source"]["number"])
        return number, {hit["_source"]["name"]: _file(hit["_source"]) for hit in self._listed("file", number)}

    def register(self, spec: str, names: Sequence[str]) -> tuple[int, dict[str, File]]:
        """See `Origins.register`."""
        self._state.for_writing()
        identity = self._source_id(spec)
        if self._connection.get(self._home, identity) is None:
            number = self._state.reserve("sources", 1)
            source = self._kept("source", number, spec=spec)
            self._connection.put(self._home, identity, source, None)  # else another one did
            self._connection.refresh(self._home)
        for _ in range(REGISTERING_ATTEMPTS):
            found = self.find(spec)
            assert found is not None
            number, known = found
            new = [name for name in dict.fromkeys(names) if name not in known]
            if not new:
                return found
            first = self._state.reserve("files", len(new))
            actions = []
            for place, name in enumerate(new):
                file = self._kept("file", first + place, source=number, name=name, **_stamped(NEVER))
                actions.append(_action("create", self._file_id(number, name), file))
            self._written(actions)
        raise CollectionLocked("other processes keep registering the files of that source: try again.")

    def given(self, source: int, files: Sequence[int]) -> Iterator[tuple[str, int, bool]]:
        """See `Origins.given`."""
        store, wanted = self._searchable(), set(files)
        query: Clause = {"bool": {"filter": [IS_DOCUMENT, terms("given", [f"f{file}" for file in files])]}}
        for hits in self._connection.pages(store.index, query, ["id", "origins"]):
            for hit in hits:
                own = hit["_source"]["origins"]
                for number, file, _ in own:
                    if number == source and file in wanted:
                        yield hit["_source"]["id"], file, len(own) > 1

    def count(self, source: int, files: Sequence[int] | None = None) -> int:
        """See `Origins.count`."""
        store = self._searchable()
        wanted = terms("given", [f"s{source}"] if files is None else [f"f{file}" for file in files])
        body = {"size": 0, "track_total_hits": True, "query": {"bool": {"filter": [IS_DOCUMENT, wanted]}}}
        return int(self._connection.search(store.index, body)["hits"]["total"]["value"])

    def of(self, ids: Sequence[str]) -> dict[str, tuple[str, str, str]]:
        """See `Origins.of`."""
        stored = self._searchable().stored(ids)
        given = {identity: min(old.source["origins"]) for identity, old in stored.items() if old.source["origins"]}
        if not given:
            return {}
        specs = {hit["_source"]["number"]: hit["_source"]["spec"] for hit in self._listed("source")}
        names = self._names(sorted({file for _, file, _ in given.values()}))
        return {
            identity: (specs[source], names[file], position)
            for identity, (source, file, position) in given.items()
            if source in specs and file in names
        }

    def settle(self, source: int, settlement: Settlement) -> None:
        """See `Origins.settle`."""
        store, stamps = self._writing(), dict(settlement.stamps)
        self._state.for_writing()
        moved: set[int] = set()
        for now in settlement.given:
            before = {
                identity: Origin(*own)
                for identity, old in store.stored(now).items()
                for own in old.source["origins"]
                if own[0] == source
            }
            changed = {identity: origin for identity, origin in now.items() if before.get(identity) != origin}
            store.note_origins(changed)
            moved.update(
                before[identity].file
                for identity, origin in changed.items()
                if identity in before and before[identity].file != origin.file
            )
        for file in moved & settlement.unread:  # it may have them still: look next time
            stamps[file] = NEVER
        store.release(settlement.released, source)
        listed = {hit["_source"]["number"]: hit for hit in self._listed("file", source)}
        actions = [
            _action("update", listed[number]["_id"], {"doc": _stamped(stamp)})
            for number, stamp in stamps.items()
            if number in listed and number not in settlement.gone
        ]
        actions += [_action("delete", listed[number]["_id"]) for number in settlement.gone if number in listed]
        self._written(actions)

    def forget(self) -> None:
        """Take away all that is kept beside a collection that is dropped."""
        query = {"term": {"collection": self._state.uuid}}
        self._connection.refresh(self._home)
        while hits := self._connection.search(self._home, {"size": WRITTEN, "query": query})["hits"]["hits"]:
            self._written([_action("delete", hit["_id"]) for hit in hits])

    def _names(self, files: Sequence[int]) -> dict[int, str]:
        query: Clause = {"bool": {"filter": [*self._own("file"), terms("number", files)]}}
        pages = self._connection.pages(self._home, query, ["number", "name"], by="number")
        return {hit["_source"]["number"]: hit["_source"]["name"] for hits in pages for hit in hits}

    def _listed(self, kind: str, source: int | None = None) -> list[Any]:
        own = self._own(kind) if source is None else [*self._own(kind), {"term": {"source": source}}]
        pages = self._connection.pages(self._home, {"bool": {"filter": own}}, True, by="number")
        return [hit for hits in pages for hit in hits]

    def _own(self, kind: str) -> list[Clause]:
        return [{"term": {"kind": kind}}, {"term": {"collection": self._state.uuid}}]

    def _kept(self, kind: str, number: int, **more: Any) -> Clause:
        return {"kind": kind, "collection": self._state.uuid, "number": number, **more}

    def _source_id(self, spec: str) -> str:
        return f"s:{self._state.uuid}:{_digest(spec)}"

    def _file_id(self, source: int, name: str) -> str:
        return f"f:{self._state.uuid}:{source}:{_digest(name)}"

    def _written(self, actions: Sequence[tuple[str, bytes]]) -> None:
        """Write what may be there already; each item by itself, and the same again does nothing more."""
        for at in range(0, len(actions), WRITTEN):
            for _, answer in self._connection.bulk(self._home, actions[at : at + WRITTEN], refresh=True):
                if answer.status not in (200, 201, 409):
                    raise cluster_errors.sentence(answer, self._connection.location)


def _action(what: str, identity: str, body: Clause | None = None) -> tuple[str, bytes]:
    lines = [{what: {"_id": identity}}, *([] if body is None else [body])]
    return identity, b"".join(orjson.dumps(line) + b"\n" for line in lines)


def _file(source: Any) -> File:
    return File(source["number"], Stamp(source["size"], source["mtime"], bytes.fromhex(source["hash"])))


def _stamped(stamp: Stamp) -> Clause:
    return {"size": stamp.size, "mtime": stamp.mtime, "hash": stamp.hash.hex()}


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
