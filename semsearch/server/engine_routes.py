"""The protocol of an engine over HTTP: what `semsearch.remote` asks, for whom a server is a home like any other.

Each request has a view of its own, so that a view elsewhere is one state of each document and holds nothing here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import chain
from typing import Any

from pydantic import ConfigDict
from starlette.types import Send

from semsearch import engine_wire as ew
from semsearch.collection import Collection
from semsearch.engine import SPARSE, EngineView
from semsearch.names import check_name
from semsearch.server.engine_methods import ENGINE_METHODS, EngineMethod
from semsearch.server.failures import Refusal
from semsearch.server.model_names import shown_name
from semsearch.server.operations import JSON, NDJSON, Call, HTTPAnswer, JSONShape, Streamed, Table
from semsearch.server.sparse_methods import SPARSE_METHODS

routes = Table("engine")

LINES_AHEAD = 4  # batches of lines that are made before they are sent
VECTORS_A_LINE = 1_024

ASKED: Mapping[str, EngineMethod] = {**ENGINE_METHODS, **SPARSE_METHODS}


class EngineAsked(JSONShape):
    """What is asked of an engine, by name."""

    model_config = ConfigDict(extra="allow", strict=True)


# ------------------------------------------------------------------------------------------------------------- a home


@routes.add("GET", "/v1/engine", "The names of the collections")
def engine_names(call: Call[None]) -> HTTPAnswer:
    """Those that the key is for."""
    return _json([name for name in call.service.home.names() if call.grant.covers(name)])


@routes.add("POST", "/v1/engine/{collection}", "Make a collection", role="admin", pool="write", body=EngineAsked)
def engine_create(call: Call[Any]) -> HTTPAnswer:
    """As `Home.create` does, from settings that were made elsewhere; a model is one of the server's."""
    facts = call.body.model_extra
    settings, dim = facts.get("settings"), facts.get("dim")
    if not isinstance(settings, dict) or not (dim is None or (type(dim) is int and 0 < dim <= 1 << 16)):
        raise Refusal(400, "invalid_request", "a collection is made of 'settings' and perhaps 'dim'.")
    if SPARSE in settings:
        raise Refusal(400, "invalid_request", "a collection gets its sparse model after it was made (begin_sparse).")
    described = settings.get("encoder")
    name = described.get("name") if isinstance(described, dict) else None
    if name is not None and name not in call.service.options.encoders:
        served = call.service.encoder_name(name)  # which says that it is not served
        if shown_name(served) == name:  # which opens nothing
            assert described is not None
            settings = {**settings, "encoder": {**described, "name": served}}
    engine = call.service.home.create(check_name(call.collection), settings, dim)
    call.service.collections.adopt(Collection(engine, call.service.model(engine)))
    return _json(None)


@routes.add("DELETE", "/v1/engine/{collection}", "Drop a collection", role="admin", pool="write")
def engine_drop(call: Call[None]) -> HTTPAnswer:
    """As `Home.drop` does."""
    call.service.drop(check_name(call.collection))
    return _json(None)


@routes.add("POST", "/v1/engine/{collection}/{what}", "Ask an engine", body=EngineAsked)
async def engine_asked(call: Call[Any]) -> HTTPAnswer:
    """One method of `Engine`, `EngineView` or `Origins`."""
    asked = ASKED.get(call.path["what"])
    if asked is None:
        raise Refusal(404, "not_found", f"an engine has no '{call.path['what']:.40}'.")
    if not call.grant.has(asked.role):
        raise Refusal(403, "not_allowed", f"that needs a key of the role '{asked.role}'.")
    return await call.service.run("read" if asked.role == "read" else "write", lambda: _asked(call, asked))


def _asked(call: Call[Any], asked: EngineMethod) -> HTTPAnswer:
    facts = call.body.model_extra or {}
    try:
        if asked.role == "read":
            return _json(
                call.service.collections.use([call.collection], lambda opened: asked.answer(call, opened[0], facts))
            )
        with call.service.collections.lease(call.collection) as collection:
            return _json(asked.answer(call, collection, facts))
    except (KeyError, AttributeError) as error:
        raise Refusal(400, "missing_parameter", f"something is missing of what '{call.path['what']}' takes.") from error


@routes.add("GET", "/v1/engine/{collection}/lines/{what}", "Read all of a collection", gives=NDJSON)
async def engine_lines(call: Call[None]) -> Streamed:
    """`documents`, `stored` or `vectors`: lines of JSON, of one state."""
    what = call.path["what"]
    if what not in READ_WHOLE:
        raise Refusal(404, "not_found", f"there are {', '.join(map(repr, READ_WHOLE))}.")
    return Streamed(partial(_send_lines, call, what))


async def _send_lines(call: Call[None], what: str, send: Send) -> None:
    """Lines as they are made in a thread, no faster than they are read."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes | None] = asyncio.Queue(LINES_AHEAD)
    ended = False

    def make() -> None:
        with call.service.collections.lease(call.collection) as collection, collection.engine.view() as view:
            for line in chain(READ_WHOLE[what](view), [None]):
                if ended:
                    return
                asyncio.run_coroutine_threadsafe(lines.put(line), loop).result()

    making: asyncio.Future[Any] = loop.run_in_executor(call.service.pools["read"], make)
    first: asyncio.Future[Any] = asyncio.ensure_future(lines.get())
    await asyncio.wait({first, making}, return_when=asyncio.FIRST_COMPLETED)
    if making.done() and not first.done():
        first.cancel()
        making.result()  # which raises what went wrong before the first line
    line = await first
    headers = [(b"content-type", NDJSON.encode()), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    try:
        while line is not None:
            await send({"type": "http.response.body", "body": line, "more_body": True})
            getting: asyncio.Future[Any] = asyncio.ensure_future(lines.get())
            await asyncio.wait({getting, making}, return_when=asyncio.FIRST_COMPLETED)
            if not getting.done() and lines.empty():
                getting.cancel()
                making.result()
            line = await getting
        await send({"type": "http.response.body", "body": b"true\n", "more_body": False})  # that it is whole
    finally:
        ended = True
        while not lines.empty():
            lines.get_nowait()


def _documents(view: EngineView) -> Iterator[bytes]:
    for document in view.documents():
        yield _line(ew.document_json(document))


def _stored(view: EngineView) -> Iterator[bytes]:
    for passages, vectors in view.stored():
        yield _line([list(map(ew.passage_json, passages)), ew.pack(vectors), int(vectors.shape[1])])


def _vectors(view: EngineView) -> Iterator[bytes]:
    keys, vectors = view.arrays()
    for start in range(0, len(keys), VECTORS_A_LINE):
        part = slice(start, start + VECTORS_A_LINE)
        yield _line([ew.pack(keys[part]), ew.pack(vectors[part]), int(vectors.shape[1])])


READ_WHOLE: Mapping[str, Callable[[EngineView], Iterator[bytes]]] = {
    "documents": _documents,
    "stored": _stored,
    "vectors": _vectors,
}


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _json(value: Any) -> HTTPAnswer:
    return HTTPAnswer(json.dumps(value, ensure_ascii=False, allow_nan=False).encode(), 200, JSON)
