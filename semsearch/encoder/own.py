"""One's own encoder: a plain function or a SentenceTransformer object with the members that a collection asks for."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import ArrayLike

from semsearch.arguments import check_whole, named_kind
from semsearch.errors import DataError, UsageError
from semsearch.hardware import ANYWHERE, Compute
from semsearch.types import Encoder, Metric, Vectors
from semsearch.vectors import normalise

if TYPE_CHECKING:
    from semsearch.encoder.text_encoder import TextEncoder

Function: TypeAlias = Callable[[Sequence[str]], ArrayLike]
MEMBERS = ("encode_documents", "encode_queries", "dim", "metric", "fingerprint")


class NamedEncoder(Encoder, Protocol):
    """An encoder that can be opened again by its name."""

    @property
    def name(self) -> str:
        """What opens it."""
        ...


def named_encoder(name: str, revision: str | None = None, compute: Compute = ANYWHERE) -> NamedEncoder:
    """The model of that name: a server's (`openai-compatible:URL#model`), or what `load_encoder` opens."""
    from semsearch.encoder.remote import REMOTE_PREFIX, RemoteEncoder

    if name.startswith(REMOTE_PREFIX):
        return RemoteEncoder(name)
    return light_encoder(name, revision, compute) or _whole(name, revision, compute)


def light_encoder(name: str, revision: str | None = None, compute: Compute = ANYWHERE) -> TextEncoder | None:
    """The model of that name as it answers its first questions, by numpy; None where torch is to open it at once."""
    if (
        "torch" in sys.modules
        or compute.device not in (None, "auto", "cpu")
        or compute.dtype not in (None, "auto", "float32")
        or name.startswith("images:")
    ):
        return None
    from semsearch.encoder.light import load_light

    return load_light(name, revision, lambda: _whole(name, revision, compute))


def _whole(name: str, revision: str | None, compute: Compute) -> TextEncoder:
    from semsearch.encoder.load import load_encoder

    return load_encoder(
        name, device=compute.device, dtype=compute.dtype, revision=revision, batch_tokens=compute.batch_tokens
    )


def encoder_from(
    model: Function | Any,
    *,
    name: str | None = None,
    queries: Function | None = None,
    metric: Metric | str = Metric.COSINE,
) -> Encoder:
    """An encoder made of a function from texts to vectors, or of a SentenceTransformer object.

    >>> encoder = semsearch.encoder_from(lambda texts: [[len(t), t.count("e")] for t in texts], name="letters")
    ... # doctest: +SKIP

    Args:
        model: A function from a list of texts to an array `(len(texts), dim)`; or a SentenceTransformer.
        name: Of a function: what it is known by. Change it whenever the function gives other vectors, for a collection
            takes equal names for equal vectors.
        queries: Another function for questions, where they are encoded in another way.
        metric: How a function's vectors are compared; for cosine they are made unit length.

    Raises:
        UsageError: It can't be made one; says what is missing.
    """
    if is_encoder(model):
        _check_members(model)
        return model
    if all(hasattr(model, member) for member in ("encode", "tokenize", "get_sentence_embedding_dimension")):
        windowed = _window(model) > 0
        return WindowedSentenceTransformerEncoder(model) if windowed else SentenceTransformerEncoder(model)
    if not callable(model):
        missing = ", ".join(member for member in MEMBERS if not hasattr(model, member))
        raise UsageError(f"an encoder has the members {', '.join(MEMBERS)}; {named_kind(type(model))} lacks {missing}.")
    if not name:
        raise UsageError("a function needs a name that it is known by: semsearch.encoder_from(function, name='…').")
    return FunctionEncoder(model, name, queries or model, Metric.of(metric))


def is_encoder(model: object) -> TypeGuard[Encoder]:
    """Whether an object has all that a collection asks of an encoder."""
    return all(hasattr(model, member) for member in MEMBERS)


def _check_members(model: Encoder) -> None:
    kind = type(model).__qualname__
    check_whole(model.dim, f"`dim` of {kind}")
    if model.metric not in list(Metric):
        raise UsageError(f"`metric` of {kind} is one of {', '.join(Metric)}, and not {model.metric!r:.60}.")
    if not isinstance(model.fingerprint, str) or not model.fingerprint:
        raise UsageError(f"`fingerprint` of {kind} is a text no other model has, and not {model.fingerprint!r:.60}.")


class FunctionEncoder:
    """A function's vectors. Its fingerprint is its name: equal names, equal vectors."""

    def __init__(self, documents: Function, name: str, queries: Function, metric: Metric) -> None:
        self.name = name
        self.metric = metric
        self.fingerprint = f"function:{name}"
        self.dim = self._called(documents, ["dimension"], None).shape[1]
        self._documents = documents
        self._queries = queries

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors `(len(texts), dim)` of texts to be found."""
        return self._called(self._documents, texts, self.dim)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors `(len(texts), dim)` of questions."""
        return self._called(self._queries, texts, self.dim)

    def _called(self, function: Function, texts: Sequence[str], dim: int | None) -> Vectors:
        texts = list(texts)
        if not texts:
            return np.empty((0, dim or 0), dtype=np.float32)
        vectors = np.array(function(texts), dtype=np.float32)
        if vectors.ndim != 2 or len(vectors) != len(texts) or (dim is not None and vectors.shape[1] != dim):
            raise DataError(
                f"the function '{self.name}' must give an array of shape ({len(texts)}, {dim or 'dim'}) for "
                f"{len(texts)} texts, but gave {vectors.shape}."
            )
        return normalise(vectors) if self.metric == Metric.COSINE else vectors


class SentenceTransformerEncoder:
    """A SentenceTransformer object as it is, with whatever was done to it. Its fingerprint is that of its weights."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.dim = int(model.get_sentence_embedding_dimension())
        similarity = str(getattr(model, "similarity_fn_name", None) or "cosine")
        self.metric = {"cosine": Metric.COSINE, "dot": Metric.DOT, "euclidean": Metric.L2}.get(
            similarity, Metric.COSINE
        )
        self.fingerprint = _digest(model)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors `(len(texts), dim)` of texts to be found."""
        return self._encoded(getattr(self._model, "encode_document", self._model.encode), texts)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors `(len(texts), dim)` of questions."""
        return self._encoded(getattr(self._model, "encode_query", self._model.encode), texts)

    def _encoded(self, encode: Any, texts: Sequence[str]) -> Vectors:
        texts = list(texts)
        if not texts:
            return np.empty((0, self.dim), dtype=np.float32)
        vectors = np.asarray(encode(texts, convert_to_numpy=True, show_progress_bar=False), dtype=np.float32)
        return normalise(vectors) if self.metric == Metric.COSINE else vectors


class WindowedSentenceTransformerEncoder(SentenceTransformerEncoder):
    """One that tells its window and how it counts, so that longer documents are split to fit."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        from tokenizers import Tokenizer

        self.window = _window(model)
        self.tokenizer = Tokenizer.from_str(model.tokenizer.backend_tokenizer.to_str())
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()


def _window(model: Any) -> int:
    """Tokens of a text that the model sees, special tokens and document prompt taken off; 0 where nobody knows."""
    tokenizer: Any = getattr(model, "tokenizer", None)
    longest = getattr(model, "max_seq_length", None)
    if longest is None or getattr(tokenizer, "backend_tokenizer", None) is None:
        return 0
    prompts = getattr(model, "prompts", None) or {}
    prompt = prompts.get("document") or prompts.get(getattr(model, "default_prompt_name", None)) or ""
    taken = len(tokenizer(prompt, add_special_tokens=True)["input_ids"])
    return max(int(longest) - taken, 0)


def _digest(model: Any) -> str:
    """Of all that decides a vector and can be seen from outside: weights, modules, prompts, window, vocabulary."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(dtype=_bytes()).numpy().tobytes())
    modules = [(name, type(module).__name__) for name, module in model.named_children()]
    prompts = sorted((getattr(model, "prompts", None) or {}).items())
    facts = (modules, prompts, getattr(model, "default_prompt_name", None), getattr(model, "max_seq_length", None))
    digest.update(repr(facts).encode())
    backend = getattr(getattr(model, "tokenizer", None), "backend_tokenizer", None)
    if backend is not None:
        digest.update(repr(sorted(backend.get_vocab().items())).encode())
    return digest.hexdigest()


def _bytes() -> Any:
    import torch

    return torch.uint8
