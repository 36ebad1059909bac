"""The routes that other software speaks: OpenAI's embeddings, the reranking of Cohere and Jina, those of TEI.

Shapes and names are theirs, to the byte where their clients read them; their errors too. A model is one that the server
was started with. Texts of all clients and of all routes are encoded together.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import semsearch
from semsearch.arguments import kind_of
from semsearch.server.failures import Refusal
from semsearch.server.operations import Call, HTTPAnswer, JSONShape, Table
from semsearch.server.service import Service
from semsearch.types import Encoder, Metric, Reranker, Vectors
from semsearch.vectors import normalise

routes = Table("models")

CREATED = 0  # of a model: nobody knows
QUERY_NAMES = frozenset({"query", "search_query", "retrieval.query", "s2p_query"})
DOCUMENT_NAMES = frozenset({"document", "passage", "search_document", "retrieval.passage", "text"})


# -------------------------------------------------------------------------------------------------------------- OpenAI


class EmbeddingsAsked(JSONShape):
    """As OpenAI has it, with the role of the texts, which decides the prompt of most retrieval models."""

    model: str
    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] = "float"
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


def as_openai(refusal: Refusal) -> dict[str, Any]:
    """An error as OpenAI tells it."""
    kind = "invalid_request_error" if refusal.status < 500 else "server_error"
    facts = {"message": refusal.message, "type": kind, "param": refusal.param, "code": refusal.code}
    return {"error": facts}


@routes.add(
    "POST",
    "/v1/embeddings",
    "Encode texts (OpenAI)",
    body=EmbeddingsAsked,
    answer=Embeddings,
    refused=as_openai,
    example={"model": "all-MiniLM-L6-v2", "input": "how do vaccines work"},
)
def create_embeddings(call: Call[EmbeddingsAsked]) -> HTTPAnswer:
    """The vectors of texts. Any number of them is taken: they are parted and shared out inside."""
    asked = call.body
    name, encoder = _encoder(call.service, asked.model)
    texts = _texts(call, [asked.input] if isinstance(asked.input, str) else asked.input, "input")
    vectors = _encoded(
        call, encoder, texts, _role(asked.input_type or asked.prompt_name, "input_type"), asked.dimensions
    )
    tokens = _tokens(encoder, texts)
    data = [
        {"object": "embedding", "index": place, "embedding": own}
        for place, own in enumerate(_base64(vectors) if asked.encoding_format == "base64" else vectors.tolist())
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _json({"object": "list", "data": data, "model": name, "usage": usage})


@routes.add("GET", "/v1/models", "The models of the server (OpenAI)", answer=OpenAIModels, refused=as_openai)
def list_models(call: Call[None]) -> dict[str, Any]:
    """Encoders and rerankers that the server was started with."""
    options = call.service.options
    return {"object": "list", "data": [_openai_model(name) for name in (*options.encoders, *options.rerankers)]}


@routes.add("GET", "/v1/models/{model:path}", "A model (OpenAI)", answer=OpenAIModel, refused=as_openai)
def get_model(call: Call[None]) -> dict[str, Any]:
    """The model of that name."""
    options = call.service.options
    return _openai_model(_named(call.path["model"], (*options.encoders, *options.rerankers)))


def _openai_model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "semsearch"}


def _base64(vectors: Vectors) -> list[str]:
    return [base64.b64encode(vector.tobytes()).decode() for vector in np.ascontiguousarray(vectors, dtype="<f4")]


# ----------------------------------------------------------------------------------------------------------- reranking


class RerankAsked(JSONShape):
    """As Cohere and Jina have it."""

    model: str | None = Field(None, description="Without one the first of the server's rerankers.")
    query: str
    documents: list[str | dict[str, Any]] = Field(description="Texts, or objects with a 'text'.")
    top_n: int | None = Field(None, ge=1)
    return_documents: bool = False
    max_tokens_per_doc: int | None = Field(None, ge=1, description="Not read: a long text is read window by window.")
    max_chunks_per_doc: int | None = Field(None, ge=1, description="Not read.")
    rank_fields: list[str] | None = Field(None, description="Not read.")
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


@routes.add("POST", "/v2/rerank", "Order texts by relevance (Cohere)", body=RerankAsked, answer=RerankAnswer)
def rerank_as_cohere(call: Call[RerankAsked]) -> HTTPAnswer:
    """`relevance_score` is the sigmoid of what the cross-encoder says."""
    return _reranked(call, "2")


@routes.add("POST", "/v1/rerank", "Order texts by relevance (Jina, Cohere 1)", body=RerankAsked, answer=RerankAnswer)
def rerank_as_jina(call: Call[RerankAsked]) -> HTTPAnswer:
    """With `return_documents` each comes with its text."""
    return _reranked(call, "1")


def _reranked(call: Call[RerankAsked], version: str) -> HTTPAnswer:
    asked = call.body
    name, model = _reranker(call.service, asked.model)
    texts = _texts(call, [_text_of(one, place) for place, one in enumerate(asked.documents)], "documents")
    (query,) = _texts(call, [asked.query], "query")
    scores = _relevance(model, query, texts, raw=False)
    order = np.argsort(-scores, kind="stable")[: asked.top_n]
    results: list[dict[str, Any]] = []
    for place in order.tolist():
        result = {"index": place, "relevance_score": float(scores[place])}
        results.append(result | ({"document": {"text": texts[place]}} if asked.return_documents else {}))
    tokens = sum(len(text) for text in (query, *texts)) // 4
    told = {
        "id": secrets.token_hex(16),
        "model": name,
        "results": results,
        "usage": {"total_tokens": tokens, "prompt_tokens": tokens},
        "meta": {"api_version": {"version": version}, "billed_units": {"search_units": 1}},
    }
    return _json(told)


def _text_of(document: str | Mapping[str, Any], place: int) -> str:
    text = document if isinstance(document, str) else document.get("text")
    if not isinstance(text, str):
        raise Refusal(400, "invalid_parameter", f"documents.{place}: it must be a text, or have a 'text'.", "documents")
    return text


# ----------------------------------------------------------------------------------------------------------------- TEI


class TEITexts(JSONShape):
    """As text-embeddings-inference has it."""

    inputs: str | list[str] | list[int] | list[list[int]]
    truncate: bool | None = Field(None, description="Not read: a text is read as far as the model does.")
    truncation_direction: str | None = Field(None, description="Not read.")
    prompt_name: str | None = None
    normalize: bool | None = Field(True, description="Not read: vectors are as the model makes them.")
    dimensions: int | None = Field(None, ge=1)


class TEISentences(JSONShape):
    """A sentence, and those that it is compared with."""

    source_sentence: str
    sentences: list[str]


class TEISimilarityParameters(JSONShape):
    """As text-embeddings-inference has it."""

    truncate: bool | None = None
    truncation_direction: str | None = None
    prompt_name: str | None = None


class TEISimilarity(JSONShape):
    """As text-embeddings-inference has it."""

    inputs: TEISentences
    parameters: TEISimilarityParameters | None = None


class TEIRerank(JSONShape):
    """As text-embeddings-inference has it."""

    query: str
    texts: list[str]
    truncate: bool | None = None
    truncation_direction: str | None = None
    raw_scores: bool = False
    return_text: bool = False


def as_tei(refusal: Refusal) -> dict[str, Any]:
    """An error as text-embeddings-inference tells it."""
    kinds = {429: "Overloaded", 503: "Unhealthy", 500: "Backend", 507: "Backend"}
    return {"error": refusal.message, "error_type": kinds.get(refusal.status, "Validation")}


@routes.add("POST", "/embed", "Encode texts (TEI)", body=TEITexts, refused=as_tei, example={"inputs": ["a text"]})
def tei_embed(call: Call[TEITexts]) -> HTTPAnswer:
    """A list of vectors, for a single text too."""
    asked = call.body
    _, encoder = _encoder(call.service, None)
    texts = _texts(call, [asked.inputs] if isinstance(asked.inputs, str) else asked.inputs, "inputs")
    return _json(_encoded(call, encoder, texts, _role(asked.prompt_name, "prompt_name"), asked.dimensions).tolist())


@routes.add("POST", "/", "Encode texts (TEI)", body=TEITexts, refused=as_tei)
def tei_root(call: Call[TEITexts]) -> HTTPAnswer:
    """What `/embed` does."""
    answer: HTTPAnswer = tei_embed(call)
    return answer


@routes.add("POST", "/similarity", "Compare a sentence with others (TEI)", body=TEISimilarity, refused=as_tei)
def tei_similarity(call: Call[TEISimilarity]) -> HTTPAnswer:
    """The similarity to each, as the model compares: the cosine, for most."""
    asked = call.body
    _, encoder = _encoder(call.service, None)
    role = _role(asked.parameters.prompt_name if asked.parameters else None, "prompt_name")
    texts = _texts(call, [asked.inputs.source_sentence, *asked.inputs.sentences], "inputs")
    vectors = _encoded(call, encoder, texts, role, None).astype(np.float64)
    if encoder.metric == Metric.L2:
        return _json((-((vectors[1:] - vectors[0]) ** 2).sum(axis=1)).tolist())
    return _json((vectors[1:] @ vectors[0]).tolist())


@routes.add("POST", "/rerank", "Order texts by relevance (TEI)", body=TEIRerank, refused=as_tei)
def tei_rerank(call: Call[TEIRerank]) -> HTTPAnswer:
    """A bare list, the most relevant first; `raw_scores` are without the sigmoid."""
    asked = call.body
    _, model = _reranker(call.service, None)
    texts = _texts(call, asked.texts, "texts")
    (query,) = _texts(call, [asked.query], "query")
    scores = _relevance(model, query, texts, raw=asked.raw_scores)
    return _json(
        [
            {"index": place, "score": float(scores[place]), **({"text": texts[place]} if asked.return_text else {})}
            for place in np.argsort(-scores, kind="stable").tolist()
        ]
    )


@routes.add("GET", "/info", "The model of the server (TEI)", refused=as_tei)
def tei_info(call: Call[None]) -> dict[str, Any]:
    """As text-embeddings-inference tells it."""
    options = call.service.options
    name = next(iter(options.encoders), None)
    return {
        "model_id": name,
        "served_model_name": name,
        "model_sha": None,
        "model_dtype": options.compute.dtype or "float32",
        "model_type": {"embedding": {"pooling": "model"}} if name else {"reranker": {}},
        "max_concurrent_requests": options.max_waiting,
        "max_client_batch_size": options.max_queries,
        "auto_truncate": True,
        "version": semsearch.__version__,
    }


@routes.add("GET", "/health", "Whether the process answers (TEI)", role=None, gives="text/plain")
async def tei_health(call: Call[None]) -> HTTPAnswer:
    """It needs no key."""
    return HTTPAnswer(b"", 200, "text/plain")


# -------------------------------------------------------------------------------------------------------------- shared


def _named(asked: str, there: Sequence[str]) -> str:
    """The served model that a request means: by its whole name, or by the last part of it."""
    for name in there:
        if asked == name:
            return name
    bare = [name for name in there if name.rpartition("/")[2].lower() == asked.rpartition("/")[2].lower()]
    if len(bare) == 1 and ("/" not in asked or "/" not in bare[0]):
        return bare[0]
    known = f"It has {', '.join(there)}." if there else "It was started without any."
    raise Refusal(404, "model_not_found", f"this server has no model '{asked:.80}'. {known}", "model")


def _encoder(service: Service, asked: str | None) -> tuple[str, Encoder]:
    names = service.options.encoders
    name = _named(asked, names) if asked is not None else next(iter(names), None)
    if name is None:
        raise Refusal(404, "model_not_found", "this server was started without an encoder: --encoder MODEL.", "model")
    return name, service.encoder(name)


def _reranker(service: Service, asked: str | None) -> tuple[str, Reranker]:
    names = service.options.rerankers
    name = _named(asked, names) if asked is not None else next(iter(names), None)
    if name is None:
        raise Refusal(404, "model_not_found", "this server was started without a reranker: --reranker MODEL.", "model")
    return name, service.reranker(name)


def _texts(call: Call[Any], given: Sequence[Any], param: str) -> list[str]:
    """Texts that say something.

    Raises:
        Refusal: Token ids, whose vocabulary nobody knows; an empty text; more than the server takes.
    """
    if any(not isinstance(one, str) for one in given):
        raise Refusal(
            400,
            "token_ids",
            f"'{param}' holds {kind_of(next(one for one in given if not isinstance(one, str)))}: token ids are of some "
            "model's vocabulary, and nothing says of which. Send texts (LangChain: check_embedding_ctx_length=False).",
            param,
        )
    most = call.service.options.max_queries
    if not given or len(given) > most:
        raise Refusal(400, "invalid_parameter", f"'{param}' takes from 1 to {most:,} texts, not {len(given):,}.", param)
    for place, text in enumerate(given):
        if not text.strip():
            raise Refusal(400, "invalid_parameter", f"'{param}', the text at place {place}, is empty.", param)
    return list(given)


def _role(said: str | None, param: str) -> str:
    if said is None or said.lower() in DOCUMENT_NAMES:
        return "document"
    if said.lower() in QUERY_NAMES:
        return "query"
    raise Refusal(400, "invalid_parameter", f"'{param}' is 'query' or 'document', not '{said:.40}'.", param)


def _encoded(call: Call[Any], encoder: Encoder, texts: Sequence[str], role: str, dimensions: int | None) -> Vectors:
    if dimensions is not None and dimensions > encoder.dim:
        raise Refusal(
            400,
            "invalid_parameter",
            f"the model's vectors have {encoder.dim} components: no {dimensions}.",
            "dimensions",
        )
    vectors = call.service.queues.of(encoder, role).vectors(texts, call.gone)
    if dimensions is None or dimensions == encoder.dim:
        return vectors
    cut = np.ascontiguousarray(vectors[:, :dimensions])
    return normalise(cut) if encoder.metric == Metric.COSINE else cut


def _tokens(encoder: Encoder, texts: Sequence[str]) -> int:
    """Tokens of texts; where the model does not tell, the letters by four."""
    tokenizer = getattr(encoder, "tokenizer", None)
    if tokenizer is None:
        return sum(1 + len(text) // 4 for text in texts)
    return sum(len(one.ids) for one in tokenizer.encode_batch_fast(list(texts)))


def _relevance(model: Reranker, query: str, texts: Sequence[str], *, raw: bool) -> NDArray[np.float64]:
    """How relevant each text is: what the model says before its last function, or the sigmoid of it."""
    predict = getattr(model, "predict", None)
    if predict is None:
        return np.asarray(model.score(query, texts), dtype=np.float64)
    from torch.nn import Identity

    said = np.asarray(predict([(query, text) for text in texts], activation=Identity()), dtype=np.float64)
    if said.ndim != 1:
        raise Refusal(400, "invalid_request", "the model gives several scores for a pair: it is no reranker.", "model")
    return said if raw else 1 / (1 + np.exp(-said))


def _json(value: Any) -> HTTPAnswer:
    """An answer of numbers and texts, which JSON knows as they are."""
    return HTTPAnswer(json.dumps(value, ensure_ascii=True, allow_nan=False).encode())
