"""The routes that other software speaks: OpenAI's embeddings, the reranking of Cohere and Jina.

Shapes and names are theirs, to the byte where their clients read them; their errors too. A model is one that the server
was started with. Texts of all clients and of all routes are encoded together.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field

from semsearch.server.failures import Refusal
from semsearch.server.operations import Call, HTTPAnswer, JSONShape, Table
from semsearch.server.served_models import (
    as_base64,
    checked_texts,
    count_pair_tokens,
    count_tokens,
    encoded_together,
    named_model,
    opened_encoder,
    plain_json,
    relevance,
    reranker_of,
    role_of,
    written,
)

routes = Table("models")

CREATED = 0  # of a model: nobody knows


# -------------------------------------------------------------------------------------------------------------- OpenAI


class EmbeddingsAsked(JSONShape):
    """As OpenAI has it, with the role of the texts, which decides the prompt of most retrieval models."""

    model: str
    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] | None = Field(None, description="Without one 'float'.")
    dimensions: int | None = Field(None, ge=1, description="The first so many components, made unit length again.")
    user: str | None = Field(None, description="Not read.")
    input_type: str | None = Field(None, description="'query' or 'document' (the default), or as others call them.")
    prompt_name: str | None = Field(None, description="The same.")


class OpenAIEmbedding(JSONShape):
    """A vector: numbers, or little-endian float32 in Base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class OpenAIUsage(JSONShape):
    """Tokens that were read."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(JSONShape):
    """The vectors, in the order of the texts."""

    object: Literal["list"]
    data: list[OpenAIEmbedding]
    model: str
    usage: OpenAIUsage


class OpenAIModel(JSONShape):
    """A model."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class OpenAIModels(JSONShape):
    """The models of the server."""

    object: Literal["list"]
    data: list[OpenAIModel]


def as_openai(refusal: Refusal) -> tuple[int, Any]:
    """An error as OpenAI tells it: the status and the JSON."""
    kind = "invalid_request_error" if refusal.status < 500 else "server_error"
    facts = {"message": refusal.message, "type": kind, "param": refusal.param, "code": refusal.code}
    return refusal.status, {"error": facts}


@routes.add(
    "POST",
    "/v1/embeddings",
    "Encode texts (OpenAI)",
    body=EmbeddingsAsked,
    answer=Embeddings,
    refused=as_openai,
    example={"model": "all-MiniLM-L6-v2", "input": "how do vaccines work"},
)
async def create_embeddings(call: Call[EmbeddingsAsked]) -> HTTPAnswer:
    """The vectors of texts. Any number of them is taken: they are parted and shared out inside."""
    asked = call.body
    name, encoder = await opened_encoder(call.service, asked.model)
    texts = checked_texts(call, [asked.input] if isinstance(asked.input, str) else asked.input, "input")
    vectors = await encoded_together(
        call, encoder, texts, role_of(asked.input_type or asked.prompt_name, "input_type"), asked.dimensions
    )

    def told() -> HTTPAnswer:
        tokens = count_tokens(encoder, texts)
        data = [
            {"object": "embedding", "index": place, "embedding": own}
            for place, own in enumerate(as_base64(vectors) if asked.encoding_format == "base64" else vectors.tolist())
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return plain_json(
            {"object": "list", "data": data, "model": call.service.shown_model(name, call.grant), "usage": usage}
        )

    return await written(call.service, len(texts), told)


@routes.add("GET", "/v1/models", "The models of the server (OpenAI)", answer=OpenAIModels, refused=as_openai)
def list_models(call: Call[None]) -> dict[str, Any]:
    """Encoders, sparse ones and rerankers that the server was started with."""
    return {"object": "list", "data": [_openai_model(call, name) for name in _names(call)]}


@routes.add("GET", "/v1/models/{model:path}", "A model (OpenAI)", answer=OpenAIModel, refused=as_openai)
def get_model(call: Call[None]) -> dict[str, Any]:
    """The model of that name."""
    return _openai_model(call, named_model(call.path["model"], _names(call)))


def _names(call: Call[None]) -> tuple[str, ...]:
    options = call.service.options
    return (*options.encoders, *options.sparse, *options.rerankers)


def _openai_model(call: Call[None], name: str) -> dict[str, Any]:
    return {
        "id": call.service.shown_model(name, call.grant),
        "object": "model",
        "created": CREATED,
        "owned_by": "semsearch",
    }


# ----------------------------------------------------------------------------------------------------------- reranking


class RerankAsked(JSONShape):
    """As Cohere and Jina have it."""

    model: str | None = Field(None, description="Without one the first of the server's rerankers.")
    query: str
    documents: list[str | dict[str, Any]] = Field(description="Texts, or objects with a 'text'.")
    top_n: int | None = Field(None, ge=1)
    return_documents: bool | None = None
    max_tokens_per_doc: int | None = Field(None, ge=1, description="Not read: a long text is read window by window.")
    max_chunks_per_doc: int | None = Field(None, ge=1, description="Not read.")
    rank_fields: list[Literal["text"]] | None = Field(None, description="Of objects the 'text' is read.")
    priority: int | None = Field(None, description="Not read.")


class RankedDocument(JSONShape):
    """A text."""

    text: str


class RankedResult(JSONShape):
    """One of the documents by its place, and how relevant it is, from 0 to 1."""

    index: int
    relevance_score: float
    document: RankedDocument | None = None


class RerankAnswer(JSONShape, extra="allow"):
    """The documents, the most relevant first."""

    id: str
    model: str
    results: list[RankedResult]


RERANK_EXAMPLE = {
    "query": "how do vaccines work",
    "documents": ["Bread is baked in an oven.", "Vaccines train the immune system."],
    "top_n": 1,
}


@routes.add(
    "POST",
    "/v2/rerank",
    "Order texts by relevance (Cohere)",
    body=RerankAsked,
    answer=RerankAnswer,
    example=RERANK_EXAMPLE,
)
def rerank_as_cohere(call: Call[RerankAsked]) -> HTTPAnswer:
    """`relevance_score` is the sigmoid of what the cross-encoder says."""
    return _reranked(call, "2")


@routes.add(
    "POST",
    "/v1/rerank",
    "Order texts by relevance (Jina, Cohere 1)",
    body=RerankAsked,
    answer=RerankAnswer,
    example=RERANK_EXAMPLE,
)
def rerank_as_jina(call: Call[RerankAsked]) -> HTTPAnswer:
    """With `return_documents` each comes with its text."""
    return _reranked(call, "1")


def _reranked(call: Call[RerankAsked], version: str) -> HTTPAnswer:
    asked = call.body
    name, model = reranker_of(call.service, asked.model)
    texts = checked_texts(call, [_text_of(one, place) for place, one in enumerate(asked.documents)], "documents")
    (query,) = checked_texts(call, [asked.query], "query")
    scores = relevance(model, query, texts, raw=False)
    order = np.argsort(-scores, kind="stable")[: asked.top_n]
    results: list[dict[str, Any]] = []
    for place in order.tolist():
        result = {"index": place, "relevance_score": float(scores[place])}
        results.append(result | ({"document": {"text": texts[place]}} if asked.return_documents else {}))
    tokens = count_pair_tokens(model, query, texts)
    told = {
        "id": secrets.token_hex(16),
        "model": call.service.shown_model(name, call.grant),
        "results": results,
        "usage": {"total_tokens": tokens, "prompt_tokens": tokens},
        "meta": {"api_version": {"version": version}, "billed_units": {"search_units": 1}},
    }
    return plain_json(told)


def _text_of(document: str | Mapping[str, Any], place: int) -> str:
    text = document if isinstance(document, str) else document.get("text")
    if not isinstance(text, str):
        raise Refusal(400, "invalid_parameter", f"documents.{place}: it must be a text, or have a 'text'.", "documents")
    return text
