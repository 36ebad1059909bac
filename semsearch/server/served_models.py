"""What the routes that others speak share: a served model by its name, texts that were checked, vectors and scores."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json

from semsearch.arguments import kind_of
from semsearch.errors import EncodingFailed
from semsearch.server.failures import Refusal
from semsearch.server.model_names import known_sentence, shown_name
from semsearch.server.operations import Call, HTTPAnswer
from semsearch.server.service import Service
from semsearch.sparse_vectors import SparseEncoder
from semsearch.types import Encoder, Metric, Reranker, Vectors
from semsearch.vectors import normalise

QUERY_NAMES = frozenset({"query", "search_query", "retrieval.query", "s2p_query"})
FEW_VECTORS = 16
DOCUMENT_NAMES = frozenset({"document", "passage", "search_document", "retrieval.passage", "text"})


def named_model(asked: str, there: Sequence[str]) -> str:
    """The served model that a request means: by its whole name, or by the last part of it."""
    for name in there:
        if asked == name:
            return name
    bare = [name for name in there if name.rpartition("/")[2].lower() == asked.rpartition("/")[2].lower()]
    if len(bare) == 1 and ("/" not in asked or "/" not in bare[0]):
        return bare[0]
    known = known_sentence(there, "It was started without any.")
    raise Refusal(404, "model_not_found", f"this server has no model '{shown_name(asked):.80}'. {known}", "model")


def encoder_of(service: Service, asked: str | None) -> tuple[str, Encoder]:
    """The encoder that a request means, by default the server's first, and its name."""
    names = service.options.encoders
    name = named_model(asked, names) if asked is not None else next(iter(names), None)
    if name is None:
        raise Refusal(404, "model_not_found", "this server was started without an encoder: --encoder MODEL.", "model")
    return name, service.encoder(name)


def sparse_encoder_of(service: Service, asked: str | None) -> tuple[str, SparseEncoder]:
    """The sparse encoder that a request means, by default the server's first, and its name."""
    names = service.options.sparse
    name = named_model(asked, names) if asked is not None else next(iter(names), None)
    if name is None:
        message = "this server was started without a sparse model: --sparse MODEL."
        raise Refusal(404, "model_not_found", message, "model")
    return name, service.sparse_encoder(name)


def reranker_of(service: Service, asked: str | None) -> tuple[str, Reranker]:
    """The reranker that a request means, by default the server's first, and its name."""
    names = service.options.rerankers
    name = named_model(asked, names) if asked is not None else next(iter(names), None)
    if name is None:
        raise Refusal(404, "model_not_found", "this server was started without a reranker: --reranker MODEL.", "model")
    return name, service.reranker(name)


def checked_texts(call: Call[Any], given: Sequence[Any], param: str) -> list[str]:
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


def role_of(said: str | None, param: str) -> str:
    """What texts are, "query" or "document", by whichever of its names a client says it."""
    if said is None or said.lower() in DOCUMENT_NAMES:
        return "document"
    if said.lower() in QUERY_NAMES:
        return "query"
    raise Refusal(400, "invalid_parameter", f"'{param}' is 'query' or 'document', not '{said:.40}'.", param)


async def opened_encoder(service: Service, asked: str | None) -> tuple[str, Encoder]:
    """What `encoder_of` gives; a model that is not open yet is opened in a thread."""
    if all(map(service.is_open, service.options.encoders)):
        return encoder_of(service, asked)
    return await service.run("read", lambda: encoder_of(service, asked))


async def encoded_together(
    call: Call[Any], encoder: Encoder, texts: Sequence[str], role: str, dimensions: int | None
) -> Vectors:
    """Vectors `(n, dim)` of texts, encoded with those of other clients; the first `dimensions` components of them."""
    if dimensions is not None and dimensions > encoder.dim:
        raise Refusal(
            400,
            "invalid_parameter",
            f"the model's vectors have {encoder.dim} components: no {dimensions}.",
            "dimensions",
        )
    vectors: Vectors = await call.service.encoded(call.service.queues.of(encoder, role), texts, call.gone)
    if dimensions is None or dimensions == encoder.dim:
        return vectors
    cut = np.ascontiguousarray(vectors[:, :dimensions])
    return normalise(cut) if encoder.metric == Metric.COSINE else cut


async def written(service: Service, many: int, make: Callable[[], HTTPAnswer]) -> HTTPAnswer:
    """An answer of so many vectors: a few are written at once, many in a thread, for they take a while."""
    return make() if many <= FEW_VECTORS else await service.run("read", make)


def as_base64(vectors: Vectors) -> list[str]:
    """Each vector as little-endian float32 in Base64."""
    return [base64.b64encode(vector.tobytes()).decode() for vector in np.ascontiguousarray(vectors, dtype="<f4")]


def count_tokens(encoder: Encoder, texts: Sequence[str]) -> int:
    """Tokens that a model reads of texts, special ones included; where it does not tell, the letters by four."""
    tokenizer: Any = getattr(encoder, "tokenizer", None)
    if tokenizer is None:
        return _by_letters(texts)
    window: int | None = getattr(encoder, "window", None)
    counts = (len(one.ids) for one in tokenizer.encode_batch_fast(list(texts)))
    if window is None:
        return sum(counts)
    return sum(min(count, window + tokenizer.num_special_tokens_to_add(False)) for count in counts)


def count_pair_tokens(reranker: Reranker, query: str, texts: Sequence[str]) -> int:
    """Tokens of a question and of texts, which a reranker reads to their ends; else as `count_tokens`."""
    tokenizer: Any = getattr(reranker, "tokenizer", None)
    if tokenizer is None:
        return _by_letters([query, *texts])
    return sum(len(one.ids) for one in tokenizer.encode_batch_fast([query, *texts], add_special_tokens=False))


def _by_letters(texts: Sequence[str]) -> int:
    return sum(1 + len(text) // 4 for text in texts)


def relevance(model: Reranker, query: str, texts: Sequence[str], *, raw: bool) -> NDArray[np.float64]:
    """How relevant each text is: what the model says before its last function, or the sigmoid of it."""
    name = str(getattr(model, "name", type(model).__name__))
    predict = getattr(model, "predict", None)
    if predict is None:
        return finite(model.score(query, texts), name)
    from torch.nn import Identity

    said = finite(predict([(query, text) for text in texts], activation=Identity()), name)
    if said.ndim != 1:
        raise Refusal(400, "invalid_request", "the model gives several scores for a pair: it is no reranker.", "model")
    return said if raw else 1 / (1 + np.exp(-said))


def plain_json(value: Any) -> HTTPAnswer:
    """An answer of finite numbers and texts, which JSON knows as they are; nine times as fast as Python's own."""
    return HTTPAnswer(to_json(value))


def finite(scores: Any, name: str) -> NDArray[np.float64]:
    """Scores of a model.

    Raises:
        EncodingFailed: Some are no numbers, or infinite.
    """
    made = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(made).all():
        raise EncodingFailed(f"the model {name} gave scores that are no finite numbers.")
    return made
