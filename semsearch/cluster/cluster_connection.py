"""Requests to one cluster: what is busy is asked again for a while, what is partial is never taken for the whole."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import orjson

from semsearch.cluster import cluster_errors
from semsearch.cluster.cluster_address import ClusterAddress
from semsearch.cluster.dialects import Clause, ClusterAnswer, ClusterDialect, RequestTimeout, dialect_of
from semsearch.errors import EngineUnreachable, StorageError

BUSY_PATIENCE = 15.0  # seconds, for what is busy or on its way
FIRST_BACK_OFF, LONGEST_BACK_OFF = 0.1, 2.0
PAGE_DOCUMENTS = 1000  # documents of a page
MOST_WRITE_BYTES, LEAST_WRITE_BYTES = 8 << 20, 64 << 10  # of a request that writes; one document may be more
GOOD_SECONDS = 5.0  # that such a request may take: what takes longer is followed by smaller ones
WHOLE = {"allow_partial_search_results": "false"}
WRITING = {"require_alias": "true", "timeout": "15s"}  # of what is written: else a lost shard is waited for a minute
_ITEMS = "took,errors,items.*.status,items.*.error.type,items.*.error.reason"
DONE = ("acknowledged",)  # what a change of indexes answers
FOUND = ("_shards", "hits")  # what searches answer
_NUMPY = orjson.OPT_SERIALIZE_NUMPY


class Elsewhere(NamedTuple):
    """A search of another index than those beside it."""

    other: str
    body: Clause


class RequestSize:
    """How many bytes of writes a server is sent at once: as many as it does soon. Threads may share it."""

    def __init__(self) -> None:
        self._most = MOST_WRITE_BYTES
        self.bytes = MOST_WRITE_BYTES

    def took(self, seconds: float) -> None:
        """A request was answered."""
        if seconds > GOOD_SECONDS:
            self.bytes = max(self.bytes // 2, LEAST_WRITE_BYTES)
        elif seconds < GOOD_SECONDS / 4:
            self.bytes = min(2 * self.bytes, self._most)

    def timed_out(self, size: int) -> bool:
        """A request of so many bytes was not answered in time; whether there is anything smaller."""
        if size <= LEAST_WRITE_BYTES:
            return False
        self._most = max(size // 2, LEAST_WRITE_BYTES)
        self.bytes = max(size // 4, LEAST_WRITE_BYTES)
        return True


class ClusterConnection:
    """The connections of a process to one cluster. Threads may share them; a forked child makes its own."""

    def __init__(self, address: ClusterAddress) -> None:
        self.address = address
        self.location = address.location
        self.good_size = RequestSize()
        self._made = (os.getpid(), dialect_of(address))

    @property
    def dialect(self) -> ClusterDialect:
        """How this cluster is spoken to."""
        pid, dialect = self._made
        if pid != os.getpid():
            dialect = dialect_of(self.address)
            self._made = (os.getpid(), dialect)
        return dialect

    def close(self) -> None:
        """Let go of all connections."""
        pid, dialect = self._made
        if pid == os.getpid():
            dialect.close()

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        options: Mapping[str, str] | None = None,
        accept: Sequence[int] = (),
        patience: float | None = None,
        wanted: Sequence[str] = (),
    ) -> ClusterAnswer:
        """What the server answers, once it is not too busy.

        Args:
            method: Of HTTP.
            path: Without a leading slash, its parts quoted.
            body: As JSON values; a list of them goes as lines.
            options: Of the URL.
            accept: Statuses that are answers, too: 404, say.
            patience: Seconds; None: `BUSY_PATIENCE`.
            wanted: What an answer has that is one: what stands between may answer anything.

        Raises:
            StorageError: Or a kind of it: a sentence of what the server refused.
        """
        sent = None
        if isinstance(body, bytes):
            sent = body
        elif body is not None:
            sent = _lines(body) if isinstance(body, list) else orjson.dumps(body, option=_NUMPY)
        target = f"/{path}?{urlencode(options)}" if options else f"/{path}"
        deadline, pause = time.monotonic() + (BUSY_PATIENCE if patience is None else patience), FIRST_BACK_OFF
        while True:
            try:
                answer = self.dialect.send(method, target, sent, isinstance(body, bytes | list))
            except EngineUnreachable as error:
                told = cluster_errors.unreachable(self.location, str(error))
                raise RequestTimeout(str(told)) if isinstance(error, RequestTimeout) else told from error
            good = 200 <= answer.status < 300
            if good or answer.status in accept:
                if isinstance(answer.body, dict) and (not good or all(map(answer.body.__contains__, wanted))):
                    return answer
                raise cluster_errors.garbage(answer.body, self.location)
            if not cluster_errors.is_busy(answer) or time.monotonic() > deadline:
                raise cluster_errors.sentence(answer, self.location)
            time.sleep(pause * random.uniform(0.5, 1))  # so that those who were refused together come apart
            pause = min(2 * pause, LONGEST_BACK_OFF)

    def search(self, index: str, body: Clause, *, options: Mapping[str, str] | None = None) -> Any:
        """The answer of all shards of an index."""
        deadline = time.monotonic() + BUSY_PATIENCE
        while True:
            said = self.ask(
                "POST", f"{quote(index)}/_search", body, options={**WHOLE, **(options or {})}, wanted=FOUND
            ).body
            if is_whole(said):
                return said
            self._wait(deadline)

    def searches(self, index: str, bodies: Sequence[Clause | Elsewhere], *, copies: str | None = None) -> list[Any]:
        """The answers to several searches at once, of an index and perhaps of others.

        With a name of `copies` words weigh as in all shards together, and all calls that name them ask the same ones.
        What only counts (`size` 0) weighs nothing: servers remember the answer as long as nothing changes.
        """
        if not bodies:
            return []
        counting: Clause = {"index": index, "allow_partial_search_results": False}
        if copies is not None:
            counting["preference"] = copies
        weighing = counting if copies is None else {**counting, "search_type": "dfs_query_then_fetch"}
        deadline = time.monotonic() + BUSY_PATIENCE
        while True:
            lines: list[Clause] = []
            for body in bodies:
                if isinstance(body, Elsewhere):
                    lines += [{**counting, "index": body.other}, body.body]
                else:
                    lines += [counting if body.get("size") == 0 else weighing, body]
            said = self.ask("POST", "_msearch", lines, wanted=("responses",)).body["responses"]
            if not isinstance(said, list) or len(said) != len(bodies) or not all(map(_is_answer, said)):
                raise cluster_errors.garbage(said, self.location)
            wrong = [ClusterAnswer(int(one.get("status", 500)), one) for one in said if "error" in one]
            for answer in wrong:
                if not cluster_errors.is_busy(answer) or time.monotonic() > deadline:
                    raise cluster_errors.sentence(answer, self.location)
            if not wrong and all(map(is_whole, said)):
                return list(said)
            self._wait(deadline)

    def pages(
        self,
        index: str,
        query: Clause,
        source: Any,
        *,
        by: str = "num",
        page: int = PAGE_DOCUMENTS,
        fields: Sequence[str] = (),
    ) -> Iterator[list[Any]]:
        """All hits of a query in the order of a field that no two share, some at a time.

        `fields` come as they are indexed.
        """
        after: list[Any] | None = None
        while True:
            body: Clause = {"size": page, "query": query, "_source": source, "sort": [{by: "asc"}]}
            if fields:
                body["docvalue_fields"] = list(fields)
            if after is not None:
                body["search_after"] = after
            hits = self.search(index, body)["hits"]["hits"]
            if hits:
                yield hits
                after = hits[-1]["sort"]
            if len(hits) < page:
                return

    def get(self, index: str, identity: str) -> Any:
        """A document with its `_seq_no`, as it is now; None where there is none."""
        path = f"{quote(index)}/_doc/{quote(identity, safe='')}"
        answer = self.ask("GET", path, accept=(404,), wanted=("_source", "_seq_no", "_primary_term"))
        return None if answer.status == 404 else answer.body

    def put(self, index: str, identity: str, source: Clause, stored: Any | None, *, refresh: bool = False) -> bool:
        """Write a document unless it has changed since it was `stored`, or is there though it was not.

        `refresh`: searches see it once it is written.
        """
        options = {**WRITING, **({"refresh": "true"} if refresh else {})}
        if stored is None:
            options["op_type"] = "create"
        else:
            options |= {"if_seq_no": str(stored["_seq_no"]), "if_primary_term": str(stored["_primary_term"])}
        path = f"{quote(index)}/_doc/{quote(identity, safe='')}"
        return self.ask("PUT", path, source, options=options, accept=(409,), wanted=("result",)).status != 409

    def delete(self, index: str, identity: str, stored: Any) -> bool:
        """Take a document away unless it has changed."""
        held = {"if_seq_no": str(stored["_seq_no"]), "if_primary_term": str(stored["_primary_term"])}
        options = {"timeout": WRITING["timeout"], **held}
        path = f"{quote(index)}/_doc/{quote(identity, safe='')}"
        return self.ask("DELETE", path, options=options, accept=(409, 404), wanted=("result",)).status == 200

    def bulk(
        self, alias: str, actions: Sequence[tuple[str, bytes]], *, refresh: bool = False
    ) -> Iterator[tuple[str, ClusterAnswer]]:
        """Send actions under names of theirs, in one request; each with what the server says of it.

        409 is what another has changed, made or removed. What the server was too busy for is sent again, alone.
        """
        options = {**WRITING, "filter_path": _ITEMS, **({"refresh": "true"} if refresh else {})}
        deadline, pause = time.monotonic() + BUSY_PATIENCE, FIRST_BACK_OFF
        while actions:
            body = b"".join(line for _, line in actions)
            items = self.ask("POST", f"{quote(alias)}/_bulk", body, options=options, wanted=("items",)).body["items"]
            if not isinstance(items, list) or len(items) != len(actions):
                raise cluster_errors.garbage(items, self.location)
            busy: list[tuple[str, bytes]] = []
            for (name, line), item in zip(actions, items, strict=True):
                answer = self._of_item(item)
                if cluster_errors.is_busy(answer) and time.monotonic() < deadline:
                    busy.append((name, line))
                else:
                    yield name, answer
            actions = busy
            if actions:
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_BACK_OFF)

    def _of_item(self, item: Any) -> ClusterAnswer:
        told = next(iter(item.values()), None) if isinstance(item, dict) else None
        if not isinstance(told, dict) or not isinstance(told.get("status"), int):
            raise cluster_errors.garbage(item, self.location)
        answer = ClusterAnswer(told["status"], {"error": told["error"]} if "error" in told else {})
        kind = cluster_errors.error_type(answer.body)
        if (answer.status == 404 and not kind) or kind == "document_missing_exception":  # another removed it
            return ClusterAnswer(409, answer.body)
        return answer

    def refresh(self, index: str) -> None:
        """Have searches see all that was written."""
        said = self.ask("POST", f"{quote(index)}/_refresh", wanted=("_shards",)).body
        if said["_shards"].get("failed"):
            raise StorageError(
                f"{self.location} could not make all that was written visible to searches: a shard has no copy that "
                "works now. What was acknowledged is there; try again once its health is not red."
            )

    def _wait(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise StorageError(
                f"{self.location} answers for a part of the collection only: a shard has no copy that works. Once its "
                "node is back all is there; if its health stays red then, have its administrator send: "
                "POST _cluster/reroute?retry_failed=true"
            )
        time.sleep(FIRST_BACK_OFF)


def columns(*fields: str) -> Clause:
    """What has hits come with these fields alone, out of columns: what is stored of a document is not unpacked."""
    return {"stored_fields": "_none_", "docvalue_fields": list(fields)}


def is_whole(said: Any) -> bool:
    """Whether all shards answered, and none ran out of time: a lost one answers nothing, and no failure is told."""
    shards = said["_shards"]
    if not isinstance(shards, dict):
        return False
    return shards.get("successful") == shards.get("total", -1) and not said.get("timed_out")


def _is_answer(said: Any) -> bool:
    return isinstance(said, dict) and ("error" in said or all(name in said for name in FOUND))


def _lines(values: Iterable[Any]) -> bytes:
    return b"".join(orjson.dumps(value, option=_NUMPY | orjson.OPT_APPEND_NEWLINE) for value in values)
