"""Documents over HTTP: put in, as JSON or as a stream of lines, read, changed, taken out, gone through."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from semsearch import wire
from semsearch.collection import Collection
from semsearch.server.batching import HungUp
from semsearch.server.bodies import chunks
from semsearch.server.failures import Refusal
from semsearch.server.operations import NDJSON, Call, FilterSaid, HTTPAnswer, JSONShape, Streamed, Table
from semsearch.server.queued_model import check_encodes
from semsearch.server.upload import Upload
from semsearch.types import Document

routes = Table("documents")

PAGE = 100  # documents
LARGEST_PAGE = 1_000
CURSOR_IDS = 8  # ids that a cursor holds: the last of a page that is still there tells where to go on


class DocumentBody(JSONShape):
    """A document."""

    id: str
    text: str
    title: str = ""
    metadata: dict[str, Any] = Field(default_factory=dict)


class Documents(JSONShape):
    """Documents to put in, and their vectors where they were made elsewhere."""

    documents: list[DocumentBody]
    vectors: list[list[float]] | None = Field(None, description="One for each document, instead of encoding it.")


class DocumentsWritten(JSONShape):
    """What was written, in documents; passages were encoded."""

    schema_: int = Field(alias="schema")
    added: int
    changed: int
    unchanged: int
    skipped: int
    passages: int
    truncated: int
    vanished: int


class Chosen(JSONShape):
    """Documents, by their ids or by a filter on their metadata."""

    ids: list[str] | None = None
    where: FilterSaid | None = None


class MetadataChange(Chosen):
    """Fields to set, or all of them with `replace`."""

    metadata: dict[str, Any]
    replace: bool = False


class DocumentIds(JSONShape):
    """Documents by their ids."""

    ids: list[str]


class Count(JSONShape):
    """How many documents it was."""

    schema_: int = Field(alias="schema")
    documents: int


class FoundDocument(DocumentBody):
    """A document, as a whole answer."""

    schema_: int = Field(alias="schema")


class DocumentsAsked(JSONShape):
    """Documents in the order they were asked for; null for an id that is not there."""

    schema_: int = Field(alias="schema")
    documents: list[DocumentBody | None]


class Page(JSONShape):
    """Which documents to give."""

    limit: int = Field(PAGE, ge=1, le=LARGEST_PAGE)
    cursor: str | None = Field(None, description="What the page before gave as 'next'.")
    where: str | None = Field(None, description="A filter on metadata, as text.")


class DocumentPage(JSONShape):
    """Documents in the order they were first added."""

    schema_: int = Field(alias="schema")
    documents: list[DocumentBody]
    next: str | None = Field(description="The cursor of the next page; null behind the last.")


@routes.add(
    "POST",
    "/v1/collections/{collection}/documents",
    "Put documents in",
    role="write",
    pool="write",
    body=Documents,
    answer=DocumentsWritten,
    example={"documents": [{"id": "bread", "text": "Yeast makes the gas that lifts the loaf."}]},
)
def put_documents(call: Call[Documents]) -> dict[str, Any]:
    """New ids are added, known ones replaced; a text that is unchanged is not encoded again.

    All are checked before any is written. Many are better sent as a stream of lines.
    """
    documents = [
        wire.read_document(one.model_dump(), f"documents.{place}") for place, one in enumerate(call.body.documents)
    ]
    with call.service.collections.lease(call.collection) as collection:
        if call.body.vectors is None:
            check_encodes(collection)
        changes = collection.add(documents, call.body.vectors, maintain=False)
    call.service.maintain(call.collection)
    return wire.message(**wire.ingested(changes))


@routes.add(
    "POST",
    "/v1/collections/{collection}/documents/stream",
    "Put in documents of any number, line by line",
    role="write",
    takes=NDJSON,
    gives=NDJSON,
    example='{"id": "bread", "text": "Yeast makes the gas that lifts the loaf."}\n{"id": "ice", "text": "Ice swims"}\n',
)
async def stream_documents(call: Call[None]) -> Streamed:
    """A JSON object a line, as a document with perhaps a `vector`; lines of answers come while it goes on.

    Each answer says `through`: all lines up to that one are committed, or are named in `errors`. What is committed
    stays, so after an interruption send what is behind the last `through`. The last line has `done` or `error`.
    """
    options = call.service.options

    async def send(out: Any) -> None:
        upload = Upload(call.service, call.collection, out)
        lines = chunks(call.request, 1 << 62, options.idle_seconds)
        try:
            await upload.run(lines)
        finally:
            call.request.scope["semsearch.note"]["lines"] = upload.through
            if upload.wrote:
                call.service.maintain(call.collection)
        if upload.hung_up:
            raise HungUp

    return Streamed(send)


@routes.add(
    "GET", "/v1/collections/{collection}/documents", "Go through the documents", query=Page, answer=DocumentPage
)
def list_documents(call: Call[None]) -> dict[str, Any]:
    """In the order they were first added, a page at a time; those that are added meanwhile come at the end."""

    def page(opened: Sequence[Collection]) -> dict[str, Any]:
        (collection,) = opened
        query: Page = call.query
        ids = call.service.listing.ids(collection, query.where, anew=query.cursor is None)
        start = 0 if query.cursor is None else _behind(ids, query.cursor)
        own = list(ids[start : start + query.limit])
        more = start + len(own) < len(ids)
        if not more:
            call.service.listing.end(collection)
        found = [document for document in collection.get(own) if document is not None]
        return wire.message(
            documents=list(map(wire.document, found)),
            next=_cursor(own, start + len(own)) if more and own else None,
        )

    return call.service.collections.use([call.collection], page)


def _cursor(ids: Sequence[str], place: int) -> str:
    said = json.dumps([place, list(ids[-CURSOR_IDS:])], ensure_ascii=True)
    return base64.urlsafe_b64encode(said.encode()).decode().rstrip("=")


def _behind(ids: Sequence[str], cursor: str) -> int:
    """The place behind the page that gave a cursor, however much was taken out since."""
    try:
        place, known = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not isinstance(place, int) or place < 1 or not all(isinstance(one, str) for one in known):
            raise ValueError
    except (ValueError, TypeError, RecursionError):
        raise Refusal(400, "invalid_cursor", "that is no cursor that a page gave as 'next'.", "cursor") from None
    for last in reversed(known):
        if place <= len(ids) and ids[place - 1] == last:
            return place
        if last in ids[: place + len(known)]:  # documents before it are gone
            return list(ids[: place + len(known)]).index(last) + 1
    raise Refusal(
        409,
        "cursor_expired",
        "the documents that the page ended with are gone: begin again without a cursor.",
        "cursor",
    )


@routes.add(
    "POST",
    "/v1/collections/{collection}/documents/get",
    "Read documents by their ids",
    body=DocumentIds,
    answer=DocumentsAsked,
    example={"ids": ["bread"]},
)
def get_documents(call: Call[DocumentIds]) -> dict[str, Any]:
    """In the order asked; null for an id that is not there."""
    ids = _few(call, call.body.ids)
    found = call.service.collections.use([call.collection], lambda opened: opened[0].get(ids))
    return wire.message(documents=[None if one is None else wire.document(one) for one in found])


@routes.add("GET", "/v1/collections/{collection}/documents/{id:path}", "Read a document", answer=FoundDocument)
def get_document(call: Call[None]) -> dict[str, Any]:
    """The document of that id."""
    (found,) = call.service.collections.use([call.collection], lambda opened: opened[0].get([call.path["id"]]))
    return wire.message(**wire.document(_required(found)))


def _required(found: Document | None) -> Document:
    if found is None:
        raise Refusal(404, "document_not_found", "there is no document of that id.", "id")
    return found


@routes.add(
    "PATCH",
    "/v1/collections/{collection}/documents",
    "MetadataChange the metadata of documents",
    role="write",
    pool="write",
    body=MetadataChange,
    answer=Count,
    example={"ids": ["bread"], "metadata": {"year": 2005}},
)
def update_documents(call: Call[MetadataChange]) -> dict[str, Any]:
    """Of those of the ids, or of all that a filter allows; nothing is encoded. Other fields stay as they are."""
    with call.service.collections.lease(call.collection) as collection:
        changed = collection.update_metadata(_chosen(call, collection), call.body.metadata, replace=call.body.replace)
    return wire.message(documents=changed)


@routes.add(
    "POST",
    "/v1/collections/{collection}/documents/delete",
    "Take documents out",
    role="write",
    pool="write",
    body=Chosen,
    answer=Count,
    example={"where": "year < 1990"},
)
def delete_documents(call: Call[Chosen]) -> dict[str, Any]:
    """By their ids, or all that a filter allows; how many were there."""
    with call.service.collections.lease(call.collection) as collection:
        removed = collection.remove(_chosen(call, collection), maintain=False)
    call.service.maintain(call.collection)
    return wire.message(documents=removed)


@routes.add(
    "DELETE",
    "/v1/collections/{collection}/documents/{id:path}",
    "Take a document out",
    role="write",
    pool="write",
    answer=Count,
)
def delete_document(call: Call[None]) -> HTTPAnswer:
    """The document of that id."""
    with call.service.collections.lease(call.collection) as collection:
        removed = collection.remove([call.path["id"]], maintain=False)
    if not removed:
        _required(None)
    call.service.maintain(call.collection)
    return HTTPAnswer(wire.message(documents=removed))


def _few(call: Call[Any], ids: Sequence[str]) -> Sequence[str]:
    if len(ids) > call.service.options.max_queries:
        most = call.service.options.max_queries
        raise Refusal(400, "invalid_parameter", f"at most {most:,} ids are taken at once, not {len(ids):,}.", "ids")
    return ids


def _chosen(call: Call[Any], collection: Collection) -> Sequence[str]:
    """The ids that a body chooses."""
    body: Chosen = call.body
    if (body.ids is None) == (body.where is None):
        raise Refusal(400, "invalid_request", "say which documents: either their 'ids', or a filter as 'where'.", "ids")
    return _few(call, body.ids) if body.ids is not None else collection.ids(body.where)
