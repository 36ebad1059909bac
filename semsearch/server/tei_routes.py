"""The routes of text-embeddings-inference (TEI), in its shapes: https://github.com/huggingface/text-embeddings-inference.

There is one model for each: the first encoder that the server was started with, and the first reranker. Statuses and
errors are TEI's, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
from pydantic import Field

import semsearch
from semsearch.server.batching import BATCH_TOKENS
from semsearch.server.failures import Refusal
from semsearch.server.model_names import shown_name
from semsearch.server.operations import Call, HTTPAnswer, JSONShape, Table
from semsearch.server.served_models import (
    as_base64,
    checked_texts,
    encoded_together,
    finite,
    opened_encoder,
    plain_json,
    relevance,
    reranker_of,
    role_of,
    sparse_encoder_of,
    written,
)
from semsearch.server.token_texts import cut_texts, texts_of_ids
from semsearch.sparse_vectors import SparseEncoder, SparseVectors
from semsearch.types import Encoder, Metric
from semsearch.vectors import normalise

routes = Table("models")

TokenIds = list[int]
Direction = Literal["left", "right", "Left", "Right"]

_TEI_STATUSES = {400: 422, 500: 424, 507: 424}  # TEI's for what we call so: validation and the backend
_TEI_KINDS = {424: "Backend", 429: "Overloaded", 503: "Unhealthy"}


class Truncating(JSONShape):
    """What is done with texts that are longer than the model reads."""

    truncate: bool | None = Field(default=None, description="false: refuse a text that is longer than the model reads.")
    truncation_direction: Direction | None = Field(
        default=None, description="The end that is cut off; 'right' without it."
    )


class TEITexts(Truncating):
    """As text-embeddings-inference has it."""

    inputs: str | TokenIds | list[str | TokenIds] = Field(description="Texts, or token ids of the model.")
    prompt_name: str | None = Field(None, description="'query' or 'document' (the default).")
    normalize: bool | None = Field(None, description="Unit length, which is the default.")
    dimensions: int | None = Field(None, ge=1)
    encoding_format: Literal["float", "base64"] | None = None


class TEISparseTexts(Truncating):
    """As text-embeddings-inference has it."""

    inputs: str | TokenIds | list[str | TokenIds] = Field(description="Texts, or token ids of the model.")
    prompt_name: str | None = Field(None, description="'query' or 'document' (the default).")


class TEISentences(JSONShape):
    """A sentence, and those that it is compared with."""

    source_sentence: str
    sentences: list[str]


class TEISimilarityParameters(Truncating):
    """As text-embeddings-inference has it."""

    prompt_name: str | None = None


class TEISimilarity(JSONShape):
    """As text-embeddings-inference has it."""

    inputs: TEISentences
    parameters: TEISimilarityParameters | None = None


class TEIRerank(JSONShape):
    """As text-embeddings-inference has it; a long text is read window by window, and not cut."""

    query: str
    texts: list[str]
    truncate: bool | None = Field(None, description="Not read.")
    truncation_direction: Direction | None = Field(None, description="Not read.")
    raw_scores: bool = False
    return_text: bool = False


class TEIClassifying(JSONShape):
    """How classes are told, as Hugging Face's client says it."""

    top_k: int | None = Field(default=None, ge=1, description="Classes of each pair.")
    function_to_apply: Literal["sigmoid", "softmax", "none"] | None = None


class TEIPredict(JSONShape):
    """As text-embeddings-inference has it: a pair of texts, or a list of pairs."""

    inputs: str | list[str] | list[list[str]]
    truncate: bool | None = Field(None, description="Not read.")
    truncation_direction: Direction | None = Field(None, description="Not read.")
    raw_scores: bool = False
    parameters: TEIClassifying | None = None
    model: str | None = Field(None, description="Without one the first of the server's rerankers.")


def as_tei(refusal: Refusal) -> tuple[int, Any]:
    """An error as text-embeddings-inference tells it: the status and the JSON."""
    status = 400 if refusal.code == "empty" else _TEI_STATUSES.get(refusal.status, refusal.status)
    kind = "Empty" if refusal.code == "empty" else _TEI_KINDS.get(status, "Validation")
    return status, {"error": refusal.message, "error_type": kind}


# ----------------------------------------------------------------------------------------------------------- encoding


@routes.add("POST", "/embed", "Encode texts (TEI)", body=TEITexts, refused=as_tei, example={"inputs": ["a text"]})
async def tei_embed(call: Call[TEITexts]) -> HTTPAnswer:
    """A list of vectors, for a single text too. Token ids are taken where they are those of a text."""
    asked = call.body
    _, encoder = await opened_encoder(call.service, None)
    _check_scale(encoder, asked.normalize)
    role = role_of(asked.prompt_name, "prompt_name")
    texts = await call.service.run("read", partial(_as_texts, call, encoder, asked, role))
    vectors = await encoded_together(call, encoder, texts, role, asked.dimensions)
    if asked.normalize is not False and encoder.metric != Metric.COSINE:
        vectors = normalise(vectors)

    def told() -> HTTPAnswer:
        return plain_json(as_base64(vectors) if asked.encoding_format == "base64" else vectors.tolist())

    return await written(call.service, len(texts), told)


@routes.add("POST", "/", "Encode texts (TEI)", body=TEITexts, refused=as_tei, example={"inputs": ["a text"]})
async def tei_root(call: Call[TEITexts]) -> HTTPAnswer:
    """What `/embed` does."""
    answer: HTTPAnswer = await tei_embed(call)
    return answer


@routes.add(
    "POST",
    "/embed_sparse",
    "Encode texts with a sparse model (TEI)",
    body=TEISparseTexts,
    refused=as_tei,
    example={"inputs": ["a text"]},
)
async def tei_embed_sparse(call: Call[TEISparseTexts]) -> HTTPAnswer:
    """For each text a list of `{"index", "value"}`, by ascending index, for a single text too."""
    asked = call.body
    service = call.service
    _, encoder = await service.run("read", partial(sparse_encoder_of, service, None))
    role = role_of(asked.prompt_name, "prompt_name")
    texts = await service.run("read", partial(_as_texts, call, encoder, asked, role))
    vectors: SparseVectors = await service.encoded(service.queues.of_sparse(encoder, role), texts, call.gone)

    def told() -> HTTPAnswer:
        return plain_json(
            [
                [{"index": at, "value": value} for at, value in zip(indices.tolist(), values.tolist(), strict=True)]
                for indices, values in vectors.rows()
            ]
        )

    return await written(service, len(texts), told)


@routes.add(
    "POST",
    "/similarity",
    "Compare a sentence with others (TEI)",
    body=TEISimilarity,
    refused=as_tei,
    example={"inputs": {"source_sentence": "a cat sleeps", "sentences": ["a dog runs", "a cat dozes"]}},
)
async def tei_similarity(call: Call[TEISimilarity]) -> HTTPAnswer:
    """The similarity to each, as the model compares: the cosine, for most."""
    asked = call.body
    parameters = asked.parameters or TEISimilarityParameters()
    _, encoder = await opened_encoder(call.service, None)
    role = role_of(parameters.prompt_name, "prompt_name")
    _check_some(asked.inputs.sentences, "inputs.sentences")
    given = _texts(call, [asked.inputs.source_sentence, *asked.inputs.sentences])
    texts = await call.service.run("read", partial(_cut, encoder, given, role, parameters))
    vectors = (await encoded_together(call, encoder, texts, role, None)).astype(np.float64)
    if encoder.metric == Metric.L2:
        return plain_json((-((vectors[1:] - vectors[0]) ** 2).sum(axis=1)).tolist())
    return plain_json((vectors[1:] @ vectors[0]).tolist())


def _listed(inputs: str | Sequence[Any]) -> Sequence[Any]:
    """What is asked for as a list: a text, or the ids of one, came by itself."""
    single = isinstance(inputs, str) or (bool(inputs) and all(type(one) is int for one in inputs))
    return [inputs] if single else inputs


def _as_texts(
    call: Call[Any], encoder: Encoder | SparseEncoder, asked: TEITexts | TEISparseTexts, role: str
) -> list[str]:
    texts = _texts(call, texts_of_ids(encoder, _listed(asked.inputs), "inputs"))
    return _cut(encoder, texts, role, asked)


def _texts(call: Call[Any], given: Sequence[str]) -> list[str]:
    """Texts that say something, or TEI's error for what doesn't."""
    _check_some(all(text.strip() for text in given) and given, "inputs")
    return checked_texts(call, given, "inputs")


def _check_some(given: object, param: str) -> None:
    """Refuse nothing, by TEI's error for that."""
    if not given:
        raise Refusal(400, "empty", f"'{param}' can't be empty.", param)


def _cut(encoder: Encoder | SparseEncoder, texts: list[str], role: str, asked: Truncating) -> list[str]:
    direction = (asked.truncation_direction or "right").lower()
    return cut_texts(encoder, texts, role, refuse=asked.truncate is False, left=direction == "left")


def _check_scale(encoder: Encoder, asked: bool | None) -> None:
    """Refuse to give vectors of a length that the opened model doesn't give."""
    own = tuple(getattr(encoder, "modules", ()))[-1:] == ("Normalize",)  # of unit length by the model's own account
    if asked is False and encoder.metric == Metric.COSINE and not own:
        raise Refusal(
            400,
            "invalid_parameter",
            "the vectors of this model are made unit length as they are encoded: leave 'normalize' out, or say true.",
            "normalize",
        )


# ----------------------------------------------------------------------------------------------------------- scoring


@routes.add(
    "POST",
    "/rerank",
    "Order texts by relevance (TEI)",
    body=TEIRerank,
    refused=as_tei,
    example={"query": "how do vaccines work", "texts": ["Bread is baked.", "Vaccines train the immune system."]},
)
def tei_rerank(call: Call[TEIRerank]) -> HTTPAnswer:
    """A bare list, the most relevant first; `raw_scores` are without the sigmoid."""
    asked = call.body
    _, model = reranker_of(call.service, None)
    _check_some(asked.texts, "texts")
    texts = checked_texts(call, asked.texts, "texts")
    (query,) = checked_texts(call, [asked.query], "query")
    scores = relevance(model, query, texts, raw=asked.raw_scores)
    return plain_json(
        [
            {"index": place, "score": float(scores[place]), **({"text": texts[place]} if asked.return_text else {})}
            for place in np.argsort(-scores, kind="stable").tolist()
        ]
    )


@routes.add(
    "POST",
    "/predict",
    "Classify pairs of texts (TEI)",
    body=TEIPredict,
    refused=as_tei,
    example={"inputs": [["how do vaccines work", "Vaccines train the immune system."]]},
)
def tei_predict(call: Call[TEIPredict]) -> HTTPAnswer:
    """The labels of a pair with their scores, the most likely first: sigmoid of a single score, softmax of several.

    A pair is answered with a list of labels, a list of pairs with a list of such lists.
    """
    asked = call.body
    name, model = reranker_of(call.service, asked.model)
    _check_some(asked.inputs, "inputs")
    pairs, single = _pairs(asked.inputs)
    checked_texts(call, [text for pair in pairs for text in pair], "inputs")
    predict = getattr(model, "predict", None)
    if predict is None:
        raise Refusal(
            400, "invalid_request", f"{shown_name(name)} orders texts and classifies none: ask /rerank.", "model"
        )
    from torch.nn import Identity

    raw = finite(predict(pairs, activation=Identity()), shown_name(name)).reshape(len(pairs), -1)
    how = asked.parameters or TEIClassifying()
    chosen = how.function_to_apply or ("sigmoid" if raw.shape[1] == 1 else "softmax")
    scores = _activated(raw, "none" if asked.raw_scores else chosen)
    labels = _labels(model, raw.shape[1])
    told = [
        [{"score": float(own[at]), "label": labels[at]} for at in np.argsort(-own, kind="stable").tolist()]
        for own in scores
    ]
    told = [own[: how.top_k] for own in told]
    return plain_json(told[0] if single else told)


def _pairs(inputs: str | Sequence[str] | Sequence[Sequence[str]]) -> tuple[list[tuple[str, str]], bool]:
    """The pairs that are asked for, and whether it is one that came by itself."""
    single = isinstance(inputs, str) or all(isinstance(one, str) for one in inputs)
    given: Any = [inputs] if single else inputs
    if any(isinstance(pair, str) or len(pair) != 2 for pair in given):
        raise Refusal(
            400,
            "invalid_parameter",
            "'inputs' must be a pair of texts, or a list of pairs: the models of this server read two texts together.",
            "inputs",
        )
    return [(first, second) for first, second in given], single


def _activated(raw: Any, function: str) -> Any:
    if function == "none":
        return raw
    if function == "sigmoid":
        return 1 / (1 + np.exp(-raw))
    powers = np.exp(raw - raw.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _labels(model: Any, count: int) -> list[str]:
    """The names of a model's classes, as its config.json has them."""
    named: Mapping[str, Any] = {}
    folder = getattr(model, "folder", None)
    if folder is not None:
        from semsearch.encoder.checkpoint import read_json

        named = read_json(folder / "config.json").get("id2label") or {}
    return [str(named.get(str(place), f"LABEL_{place}")) for place in range(count)]


# ----------------------------------------------------------------------------------------------------------- the rest


@routes.add("GET", "/info", "The model of the server (TEI)", refused=as_tei)
def tei_info(call: Call[None]) -> dict[str, Any]:
    """As text-embeddings-inference tells it; the length that a model reads is known once it was opened."""
    service, options = call.service, call.service.options
    kinds = (options.encoders, options.sparse, options.rerankers)
    name = next((names[0] for names in kinds if names), None)
    shown = None if name is None else service.shown_model(name, call.grant)
    opened: Any = service.opened(name) if name else None
    if options.rerankers and not (options.encoders or options.sparse):
        labels = _labels(opened, getattr(opened, "num_labels", 1))
        classes = {
            "id2label": {str(place): label for place, label in enumerate(labels)},
            "label2id": {label: place for place, label in enumerate(labels)},
        }
        kind: dict[str, Any] = {"reranker" if len(labels) == 1 else "classifier": classes}
    else:
        kind = {"embedding": {"pooling": "model" if options.encoders else "splade"}}
    return {
        "model_id": shown,
        "served_model_name": shown,
        "model_sha": None,
        "model_dtype": options.compute.dtype or "float32",
        "model_type": kind,
        "max_concurrent_requests": options.max_waiting,
        "max_input_length": getattr(opened, "window", None),
        "max_batch_tokens": BATCH_TOKENS,
        "max_batch_requests": None,
        "max_client_batch_size": options.max_queries,
        "auto_truncate": True,
        "tokenization_workers": 1,
        "version": semsearch.__version__,
        "sha": None,
    }


@routes.add("GET", "/health", "Whether the process answers (TEI)", role=None, gives="text/plain")
async def tei_health(call: Call[None]) -> HTTPAnswer:
    """It needs no key."""
    return HTTPAnswer(b"", 200, "text/plain")
