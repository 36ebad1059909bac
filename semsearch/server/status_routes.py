"""How a server is: whether it lives, whether it is ready, what it measures, what it can be asked."""

from __future__ import annotations

import time
from typing import Any

from pydantic import Field

import semsearch
from semsearch import wire
from semsearch.server.failures import Refusal
from semsearch.server.operations import Call, HTTPAnswer, JSONShape, Table

routes = Table("server")


class Alive(JSONShape):
    """That the server answers."""

    status: str


class About(JSONShape):
    """What a server is, and what it was started with."""

    schema_: int = Field(alias="schema")
    version: str
    uptime_seconds: float
    encoders: list[str]
    sparse: list[str]
    rerankers: list[str]
    folders: list[str]
    files: bool = Field(description="Whether files may be put in.")
    max_upload: int = Field(description="Bytes of one.")
    role: str


@routes.add("GET", "/livez", "Whether the process answers", role=None, answer=Alive)
async def livez(call: Call[None]) -> dict[str, Any]:
    """It needs no key, wakes nothing and waits for nothing."""
    return {"status": "ok"}


@routes.add("GET", "/readyz", "Whether the server takes requests", role=None, answer=Alive)
async def readyz(call: Call[None]) -> dict[str, Any]:
    """503 while it ends. It needs no key, and neither wakes nor waits for a model."""
    if call.service.draining:
        raise Refusal(503, "ending", "the server is ending.", None, {"Retry-After": "5"})
    return {"status": "ok"}


@routes.add("GET", "/metrics", "Measurements, as Prometheus reads them", gives="text/plain")
def metrics(call: Call[None]) -> HTTPAnswer:
    """Requests, latencies by stage, batches, queues, tasks, collections."""
    return HTTPAnswer(call.service.instruments.written(), 200, call.service.instruments.content_type)


@routes.add("GET", "/v1/server", "What the server is and has", answer=About)
def about_server(call: Call[None]) -> dict[str, Any]:
    """Its version, the models that it was started with, the folders that may be indexed, and what the key may do."""
    options = call.service.options

    def shown(names: tuple[str, ...]) -> list[str]:
        return [call.service.shown_model(name, call.grant) for name in names]

    return wire.message(
        version=semsearch.__version__,
        uptime_seconds=round(time.time() - call.service.started, 1),
        encoders=shown(options.encoders),
        sparse=shown(options.sparse),
        rerankers=shown(options.rerankers),
        folders=sorted(options.folders),
        files=options.files is not None,
        max_upload=options.max_upload,
        role=call.grant.role,
    )
