"""Collections over HTTP: made, listed, described, dropped."""

from __future__ import annotations

from typing import Any

from pydantic import Field

import semsearch
from semsearch import wire
from semsearch.collection import Collection
from semsearch.engine import SPARSE
from semsearch.errors import SemsearchError
from semsearch.names import check_name
from semsearch.server.failures import Refusal
from semsearch.server.model_names import WITHOUT_SPARSE, described_shortly
from semsearch.server.operations import Call, HTTPAnswer, JSONShape, Table
from semsearch.types import Metric

routes = Table("collections")


class CollectionSummary(JSONShape):
    """A collection in the list."""

    name: str
    description: str
    documents: int | None
    sparse: bool = Field(description="Whether it can be searched in the mode 'sparse'.")
    error: str | None = None


class CollectionList(JSONShape):
    """The collections of the home that the key is for."""

    schema_: int = Field(alias="schema")
    collections: list[CollectionSummary]


class NewCollection(JSONShape):
    """How a collection is made; see `semsearch.create`."""

    name: str = Field(description="Letters and digits of any script, '.', '_', '-'.")
    encoder: str | None = Field(None, description="One of the server's models; without it the first of them.")
    sparse: str | None = Field(
        None, description="One of the server's sparse models, beside the other; 'none': without."
    )
    dim: int | None = Field(
        None, ge=1, le=1 << 16, description="Components of given vectors: a collection without a model."
    )
    metric: str | None = Field(None, description="cosine, dot or l2; a model knows its own.")
    passages: bool = Field(True, description="Split documents that are longer than the model's window.")
    index: str = Field("auto", description="The backend of the index.")
    options: dict[str, Any] = Field(default_factory=dict, description="Of the backend.")
    recall: float | None = Field(None, gt=0, le=1, description="What the index must find of the true k nearest.")
    k: int = Field(10, ge=1, le=10_000, description="Neighbours that the recall is counted among.")
    language: str | list[str] | None = Field(None, description="Of its words; null finds out by its first texts.")
    description: str | None = Field(None, description="What it holds, for those who choose among collections.")


class Described(JSONShape):
    """What a collection holds, in a few words."""

    description: str


class Done(JSONShape):
    """That it was done."""

    schema_: int = Field(alias="schema")
    collection: str


@routes.add("GET", "/v1/collections", "The collections that there are", answer=CollectionList)
def list_collections(call: Call[None]) -> dict[str, Any]:
    """By name, with their descriptions and the number of their documents; one that can't be opened says why."""
    names = [name for name in call.service.home.names() if call.grant.covers(name)]
    return wire.message(collections=[_summary(call, name) for name in names])


def _summary(call: Call[None], name: str) -> dict[str, Any]:
    def told(collections: list[Collection]) -> dict[str, Any]:
        (collection,) = collections
        return {
            "name": name,
            "description": collection.description,
            "documents": len(collection),
            "sparse": collection.engine.capabilities.sparse and SPARSE in collection.settings,
        }

    try:
        return call.service.collections.use([name], told)
    except SemsearchError as error:
        message = call.service.refusal(error).message
        return {"name": name, "description": "", "documents": None, "sparse": False, "error": message}


@routes.add(
    "POST",
    "/v1/collections",
    "Make a collection",
    role="admin",
    pool="write",
    body=NewCollection,
    status=201,
    example={"name": "notes"},
)
def create_collection(call: Call[NewCollection]) -> HTTPAnswer:
    """A new, empty collection: with a model of the server's, or with `dim` and without one."""
    body, service = call.body, call.service
    name = check_name(body.name)
    if not call.grant.covers(name):
        raise Refusal(403, "not_allowed", "the key is not for that collection.", "name")
    if body.metric is not None and body.metric not in list(Metric):
        raise Refusal(400, "invalid_parameter", f"a metric is one of {', '.join(Metric)}.", "metric")
    model: str | None = None
    if body.dim is None or body.encoder is not None:
        model = body.encoder or next(iter(service.options.encoders), None)
        if model is None:
            message = (
                "this server was started without a model (--encoder): give 'dim' for a collection of given vectors."
            )
            raise Refusal(400, "invalid_request", message, "encoder")
    encoder = None if model is None else service.encoder(model)
    sparse = None if body.sparse in (None, WITHOUT_SPARSE) else service.sparse_name(body.sparse)
    if sparse is not None:
        service.sparse_encoder(sparse)
    made = semsearch.create(
        name,
        home=service.home,
        encoder=None if model is None else service.encoder_name(model),
        sparse=sparse,
        dim=body.dim,
        metric=body.metric,
        passages=body.passages,
        index=body.index,
        options=body.options,
        recall=body.recall,
        k=body.k,
        language=body.language,
        device=service.options.compute.device,
        dtype=service.options.compute.dtype,
        batch_tokens=service.options.compute.batch_tokens,
    )
    collection = Collection(made.engine, service.model(made.engine, encoder))
    service.collections.adopt(collection)
    if body.description:
        collection.describe(body.description)
    return HTTPAnswer(_info(call, collection), 201)


@routes.add("GET", "/v1/collections/{collection}", "What there is to know of a collection")
def collection_info(call: Call[None]) -> dict[str, Any]:
    """Documents, passages, model, metric, index, sources and more, as `semsearch info --json` tells."""
    return call.service.collections.use([call.collection], lambda opened: _info(call, opened[0]))


def _info(call: Call[Any], collection: Collection) -> dict[str, Any]:
    facts = collection.info()
    if not call.service.shows_paths(call.grant):
        facts["path"] = None
        for model in ("encoder", SPARSE):
            if facts.get(model):
                facts[model] = described_shortly(facts[model])
        facts["sources"] = [
            {**source, "path": call.service.shown_path(str(source.get("path", "")), call.grant)}
            for source in facts["sources"]
        ]
    return wire.info(facts)


@routes.add(
    "PATCH",
    "/v1/collections/{collection}",
    "Say what a collection holds",
    role="admin",
    pool="write",
    body=Described,
    answer=Done,
    example={"description": "Minutes of the board, 2019 to 2024"},
)
def describe_collection(call: Call[Described]) -> dict[str, Any]:
    """For people and programs that choose among collections; an empty text takes it back."""
    with call.service.collections.lease(call.collection) as collection:
        collection.describe(call.body.description)
        return wire.message(collection=collection.name)


@routes.add("DELETE", "/v1/collections/{collection}", "Drop a collection", role="admin", pool="write", answer=Done)
def drop_collection(call: Call[None]) -> dict[str, Any]:
    """With all its documents; it is gone at once."""
    name = check_name(call.collection)
    call.service.drop(name)
    return wire.message(collection=name)
