"""Another index for a collection's documents, made beside the present one, which serves until one commit switches.

What was copied is told by its revision: documents that writers change meanwhile are copied again. In the last moments
the present index takes no writes. An interruption at any step leaves the collection as it was, and the same call goes
on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson

from semsearch import versions
from semsearch.cluster.cluster_connection import DONE, ClusterConnection
from semsearch.cluster.cluster_filters import IS_DOCUMENT, terms
from semsearch.cluster.coded_words import packed_codes, unpacked_codes
from semsearch.cluster.collection_state import CollectionState, StateOfCollection
from semsearch.cluster.document_store import TEXT_FIELDS, DocumentStore
from semsearch.cluster.index_creation import create_index
from semsearch.cluster.index_layout import (
    CLUSTER_SCHEMA,
    COUNTED,
    document_index,
    index_name,
    new_index,
    vector_mapping,
    writing_alias,
)
from semsearch.errors import StorageError
from semsearch.search.languages import languages_of
from semsearch.types import Metric

COMPARED_AT_ONCE = 5000  # documents at a time
RETIRED = 60.0  # seconds for which an index that was replaced is still there
KEPT = (*TEXT_FIELDS, "origins", "given", "rev", "kind", "first", "passages", "longest")
WITH_VECTORS = (*KEPT, "p.v", "kv", "kinds", "words", "codes", *COUNTED)
TransformSources = Callable[[Sequence[Mapping[str, Any]]], Sequence[Mapping[str, Any]]]


class IndexChange(NamedTuple):
    """What the other index is to be.

    Attributes:
        settings: That replace those of the collection.
        dim: Components of its vectors; 0 while nobody knows.
        metric: By which they are compared.
        graph: The options of its graph; None: it has none.
        fields: What of a document is read.
        transform: Makes documents of it of some that were read; those that it leaves out are not there any more.
        batch: Documents that it is given at once.
        patience: Seconds for who makes another index just now.
        wanted: Whether it is still to be made, once nobody else makes one.
    """

    settings: Mapping[str, Any]
    dim: int
    metric: Metric
    graph: Mapping[str, Any] | None
    fields: Sequence[str]
    transform: TransformSources
    batch: int
    patience: float = 0
    wanted: Callable[[StateOfCollection], bool] | None = None


class SecondIndex:
    """The way of one collection to another index."""

    def __init__(self, connection: ClusterConnection, state: CollectionState, name: str) -> None:
        self._connection = connection
        self._state = state
        self._name = name

    def change(self, change: IndexChange, progress: Callable[[int], None] | None = None) -> int:
        """Make it, and switch; how many documents this call copied."""
        with self._state.building(change.patience):
            if change.wanted is not None and not change.wanted(self._state.read()):
                return 0
            before = self._state.read()
            target = self._begun(before, change)
            languages = languages_of({**before.settings, **change.settings})
            old, new = (DocumentStore(self._connection, index, languages) for index in (before.index, target))
            count = 0
            try:
                while True:
                    copied = self._caught_up(old, new, change, partial(_tell, progress, count))
                    count += copied
                    if not copied:
                        break
                self.block(old.index, True)
                count += self._caught_up(old, new, change, None)
                self._switch(old.index, target, change)
            except BaseException:
                self._unblocked(old.index)
                raise
            return count

    def _begun(self, before: StateOfCollection, change: IndexChange) -> str:
        """The index that is filled: that of an earlier call that wanted the same, or a new one."""
        wanted = orjson.dumps(
            {"settings": dict(change.settings), "dim": change.dim, "options": change.graph},
            option=orjson.OPT_SORT_KEYS,
        ).decode()
        there = before.source.get("second")
        if there and there["wanted"] == wanted and self._is_there(there["index"]):
            return str(there["index"])
        if there:
            self._drop(there["index"])
        target, _ = made_index(self._connection, self._name, str(before.source["collection"]))
        if change.dim:
            map_vectors(self._connection, target, change.dim, change.metric, change.graph)
        self._state.change(lambda state: {**state.source, "second": {"index": target, "wanted": wanted}})
        return target

    def _caught_up(
        self, old: DocumentStore, new: DocumentStore, change: IndexChange, progress: Callable[[int], None] | None
    ) -> int:
        """Copy what is not in the new index as it is in the old one, and take out what is no more; how many."""
        for store in (old, new):
            self._connection.refresh(store.index)
        done, batch, gone = 0, list[int](), list[int]()
        for num, here, there in _compared(self._revisions(old), self._revisions(new)):
            if here is None:
                gone.append(num)
            elif here != there:
                batch.append(num)
            if len(batch) >= change.batch:
                done += self._copied(old, new, change, batch)
                batch = []
                if progress is not None:
                    progress(done)
        if batch:
            done += self._copied(old, new, change, batch)
            if progress is not None:
                progress(done)
        for at in range(0, len(gone), COMPARED_AT_ONCE):
            hits = self._hits(new, gone[at : at + COMPARED_AT_ONCE], ("num",))
            new.write([(hit["_id"], orjson.dumps({"delete": {"_id": hit["_id"]}}) + b"\n") for hit in hits])
        return done + len(gone)

    def _copied(self, old: DocumentStore, new: DocumentStore, change: IndexChange, nums: Sequence[int]) -> int:
        hits = self._hits(old, nums, change.fields)
        identities = {hit["_source"]["num"]: hit["_id"] for hit in hits}
        made = change.transform([hit["_source"] for hit in hits])
        options = orjson.OPT_SERIALIZE_NUMPY
        new.write(
            [
                (
                    source["id"],
                    orjson.dumps({"index": {"_id": identities[source["num"]]}})
                    + b"\n"
                    + orjson.dumps(source, option=options)
                    + b"\n",
                )
                for source in made
            ]
        )
        return len(made)

    def _hits(self, store: DocumentStore, nums: Sequence[int], fields: Sequence[str]) -> list[Any]:
        query = {"bool": {"filter": [IS_DOCUMENT, terms("num", nums)]}}
        source = self._connection.dialect.source(fields)
        columns = ("codes",) if "codes" in fields else ()
        pages = self._connection.pages(store.index, query, source, page=200, fields=columns)
        found = [hit for hits in pages for hit in hits]
        for hit in found:
            for own in hit.get("fields", {}).get("codes", ()):  # none of an older semsearch's
                words = unpacked_codes(own)
                hit["_source"] |= {"words": words, "codes": packed_codes(words)}
        return found

    def _revisions(self, store: DocumentStore) -> Iterator[tuple[int, int]]:
        for hits in self._connection.pages(store.index, IS_DOCUMENT, False, page=COMPARED_AT_ONCE, fields=("rev",)):
            for hit in hits:
                yield int(hit["sort"][0]), int(hit["fields"]["rev"][0])

    def _switch(self, old: str, target: str, change: IndexChange) -> None:
        def switched(state: StateOfCollection) -> Mapping[str, Any] | None:
            if state.index == target:  # an answer that was lost
                return None
            settings = {**state.settings, **change.settings}
            kept = {**state.source, "index": target, "dim": change.dim or None, "second": None}
            kept |= {"mapped": bool(change.dim), "retired": [*retired(state), {"index": old, "at": time.time()}]}
            return {**kept, "settings": orjson.dumps(settings).decode(), **_versions()}

        self._state.change(switched)
        point_alias(self._connection, self._name, target, old)

    def block(self, index: str, blocked: bool) -> None:
        """Have an index take no writes, or take them again."""
        if not blocked:
            body = {"index": {"blocks": {"write": None}}}
            self._connection.ask("PUT", f"{quote(index)}/_settings", body, accept=(404,), wanted=DONE)
            return
        # a setting would hold for what comes, and not wait for what is under way
        said = self._connection.ask("PUT", f"{quote(index)}/_block/write", wanted=(*DONE, "shards_acknowledged")).body
        if not (said["acknowledged"] and said["shards_acknowledged"]):
            raise StorageError(
                f"{self._connection.location} can't hold writers out of {index} now, for a shard does not answer: "
                "run the same command again once its health is not red."
            )

    def _unblocked(self, index: str) -> None:
        """So that writers go on, should it be possible; else `check` tells and `repair` does it."""
        try:
            self.block(index, False)
        except Exception:
            return

    def _is_there(self, index: str) -> bool:
        return self._connection.ask("GET", f"{quote(index)}/_settings", accept=(404,)).status == 200

    def _drop(self, index: str) -> None:
        self._connection.ask("DELETE", quote(index), accept=(404,), wanted=DONE)


def retired(state: StateOfCollection) -> list[dict[str, Any]]:
    """The indexes that were replaced, and that who began to read them may still read."""
    return list(state.source.get("retired") or ())


def drop_retired(connection: ClusterConnection, state: CollectionState, *, at_once: bool = False) -> None:
    """Take away indexes that were replaced, once nobody can be reading them."""
    limit = time.time() - (0 if at_once else RETIRED)
    gone = [own["index"] for own in retired(state.read()) if own["at"] <= limit]
    if gone:
        for index in gone:
            connection.ask("DELETE", quote(index), accept=(404,), wanted=DONE)
        state.change(lambda now: {**now.source, "retired": [one for one in retired(now) if one["index"] not in gone]})


def _versions() -> dict[str, int]:
    return {"schema": CLUSTER_SCHEMA, "analysis": versions.ANALYSIS, "encoding": versions.ENCODING}


def _tell(progress: Callable[[int], None] | None, before: int, done: int) -> None:
    if progress is not None:
        progress(before + done)


def _compared(
    here: Iterator[tuple[int, int]], there: Iterator[tuple[int, int]]
) -> Iterator[tuple[int, int | None, int | None]]:
    """Number and revision in each of two lists that are in the order of numbers; None where it is not."""
    one, other = next(here, None), next(there, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            assert one is not None
            yield one[0], one[1], None
            one = next(here, None)
        elif one is None or other[0] < one[0]:
            yield other[0], None, other[1]
            other = next(there, None)
        else:
            yield one[0], one[1], other[1]
            one, other = next(here, None), next(there, None)


def made_index(connection: ClusterConnection, name: str, uuid: str) -> tuple[str, str]:
    """A new index for a collection's documents, and the alias that it is written through."""
    address = connection.address
    index, alias = new_index(address.prefix, name)
    meta = {"name": name, "collection": uuid, "made": int(time.time())}
    body = document_index(connection.dialect, alias, meta, address.shards, address.replicas)
    create_index(connection, index, body)
    assert alias == writing_alias(index)
    return index, alias


def map_vectors(
    connection: ClusterConnection, index: str, dim: int, metric: Metric, graph: Mapping[str, Any] | None
) -> None:
    """Have an index take vectors of so many components."""
    body = vector_mapping(connection.dialect, dim, metric, graph)
    connection.ask("PUT", f"{quote(index)}/_mapping", body, wanted=DONE)


def point_alias(connection: ClusterConnection, name: str, index: str, old: str | None = None) -> None:
    """Have the alias that people look at name an index, in one step."""
    alias = f"{connection.address.prefix}-{index_name(name)}"
    actions: list[Any] = [{"add": {"index": index, "alias": alias}}]
    if old is not None:
        actions.append({"remove": {"index": old, "alias": alias, "must_exist": False}})
    connection.ask("POST", "_aliases", {"actions": actions}, wanted=DONE)
