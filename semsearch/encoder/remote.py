"""Models behind an HTTP interface like OpenAI's: Ollama, text-embeddings-inference, vLLM and the like.

The name is `openai-compatible:URL#model`, as in `openai-compatible:http://localhost:11434/v1#nomic-embed-text`. A key,
where one is needed, stands in the environment: `SEMSEARCH_API_KEY`. An address that a collection names, and nobody here
has said, gets neither it nor a text; see `semsearch.trusted`.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from semsearch import trusted
from semsearch.errors import EncodingFailed, ModelError, StorageError, UsageError
from semsearch.types import Metric, Vectors
from semsearch.vectors import normalise

if TYPE_CHECKING:
    import httpx

REMOTE_PREFIX = "openai-compatible:"
KEY = "SEMSEARCH_API_KEY"
TEXTS_PER_REQUEST = 64
AT_ONCE = 4  # requests
TRIES = 6
WAIT = 0.5  # seconds before the second try, doubled each time
LONGEST = 60.0  # seconds waited, whatever the server asks for
TIMEOUT = 120.0  # seconds for an answer


class RemoteEncoder:
    """An encoder whose vectors come from a server; they are made unit length and compared by cosine."""

    metric = Metric.COSINE

    def __init__(self, name: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        address, mark, model = name.removeprefix(REMOTE_PREFIX).partition("#")
        if (
            not name.startswith(REMOTE_PREFIX)
            or not mark
            or not model
            or not address.startswith(("http://", "https://"))
        ):
            raise UsageError(
                f"'{name}' is not of the form {REMOTE_PREFIX}URL#model, as in {REMOTE_PREFIX}http://localhost:11434/v1#bge."
            )
        self.name = name
        self._url = address.rstrip("/") + "/embeddings"
        self._model = model
        self._sleep = sleep
        self._lock = threading.Lock()
        self._opened: tuple[int, httpx.Client] | None = None  # by this process

    @cached_property
    def _origin(self) -> str:
        return origin(self.name)

    @cached_property
    def dim(self) -> int:
        """Components of a vector: asked of the server once."""
        return len(self._request(["dimension"])[0])

    @property
    def fingerprint(self) -> str:
        """A digest of the model's name and dimension: what is behind the name, the server alone knows."""
        return hashlib.sha256(f"{REMOTE_PREFIX}{self._model}\0{self.dim}".encode()).hexdigest()

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors `(len(texts), dim)`.

        Raises:
            ModelError: The server can't be reached, or refuses.
            EncodingFailed: It refuses a text.
        """
        texts = list(texts)
        batches = [texts[first : first + TEXTS_PER_REQUEST] for first in range(0, len(texts), TEXTS_PER_REQUEST)]
        if not batches:
            return np.empty((0, self.dim), dtype=np.float32)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = [vector for batch in pool.map(self._encoded, batches) for vector in batch]
        return normalise(self._checked(answers))

    encode_queries = encode_documents

    def _checked(self, answers: list[list[float]]) -> Vectors:
        try:
            vectors = np.array(answers, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise ModelError(f"{self._url} gave vectors of different lengths, or none: {error}.") from error
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise ModelError(
                f"{self._url} gave vectors of shape {vectors.shape}, where ({len(answers)}, {self.dim}) was due."
            )
        return vectors

    def _encoded(self, texts: list[str]) -> list[list[float]]:
        """The vectors of a batch; one that the server refuses is halved, down to the text that it refuses."""
        try:
            return self._request(texts)
        except _Refused as error:
            if len(texts) == 1:
                raise EncodingFailed(f"{self._url} refused the text {texts[0][:60]!r}: {error}") from error
        half = len(texts) // 2
        return self._encoded(texts[:half]) + self._encoded(texts[half:])

    def _request(self, texts: list[str]) -> list[list[float]]:
        import httpx

        with self._lock:  # of several requests at once the first asks the person
            trusted.require_address(self._origin)
        body = {"model": self._model, "input": texts, "encoding_format": "float"}
        for tried in range(1, TRIES + 1):
            wait = WAIT * 2 ** (tried - 1) * (1 + random.random() / 4)  # so that many clients don't come back at once
            try:
                answer = self._client().post(self._url, json=body, headers=_headers())
            except httpx.HTTPError as error:  # time-outs, a connection that is refused or breaks off
                problem = f"can't be reached ({error or type(error).__name__})"
            else:
                if answer.is_success:
                    return self._vectors(self._read(answer), len(texts))
                code, said = answer.status_code, _message(answer)
                if code in (400, 413, 422):
                    raise _Refused(f"{code} {said}")
                if code not in (408, 425, 429) and code < 500:
                    raise ModelError(f"{self._url} answered {code}: {said}{_advice(code, self._model)}")
                problem = f"answered {code}: {said}"
                wait = max(wait, _seconds(answer.headers.get("Retry-After")))
            if tried < TRIES:
                self._sleep(min(wait, LONGEST))
        raise ModelError(f"{self._url} {problem}, {TRIES} times. Is the server running, and the address right?")

    def _client(self) -> httpx.Client:
        """Keeps its connections for the next batches; follows no redirection, for the key is for this address alone."""
        import httpx

        with self._lock:
            if self._opened is None or self._opened[0] != os.getpid():  # a forked child speaks on lines of its own
                limits = httpx.Limits(max_connections=None, max_keepalive_connections=AT_ONCE)
                client = httpx.Client(timeout=TIMEOUT, limits=limits, follow_redirects=False)
                self._opened = os.getpid(), client
                weakref.finalize(self, client.close)
            return self._opened[1]

    def _read(self, answer: httpx.Response) -> Any:
        try:
            return answer.json()
        except ValueError as error:
            raise ModelError(f"{self._url} answered something that is not JSON: {answer.content[:80]!r}.") from error

    def _vectors(self, answer: Any, count: int) -> list[list[float]]:
        data = answer.get("data") if isinstance(answer, Mapping) else None
        if not isinstance(data, list) or len(data) != count or not all(isinstance(item, Mapping) for item in data):
            raise ModelError(f"{self._url} gave no list of {count} embeddings under 'data', but {str(answer)[:80]!r}.")
        ordered = {item.get("index", place): item.get("embedding") for place, item in enumerate(data)}
        if sorted(ordered) != list(range(count)) or not all(isinstance(vector, list) for vector in ordered.values()):
            raise ModelError(f"{self._url} gave embeddings that can't be matched with the texts.")
        return [ordered[place] for place in range(count)]


def origin(name: str) -> str:
    """Scheme, host and port of an address, or of the one that a model's name holds: who is spoken to there.

    Raises:
        UsageError: It is no address.
    """
    import httpx

    address = name.removeprefix(REMOTE_PREFIX).partition("#")[0]
    try:
        url = httpx.URL(address)  # as it is read where the request goes out
    except httpx.InvalidURL as error:
        raise UsageError(f"'{address}' is no address: {error}.") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise UsageError(f"'{address}' is no address that begins with http:// or https://.")
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{url.scheme}://{host}:{url.port}" if url.port else f"{url.scheme}://{host}"


def say(name: str) -> None:
    """Take a model's name from the person, in this process: if there is an address in it, texts may be sent there."""
    if name.startswith(REMOTE_PREFIX):
        with suppress(StorageError):  # then it is said in this process alone
            trusted.trust_address(origin(name))


class _Refused(ModelError):
    """The server will not have this input, however often it is asked."""


def _headers() -> dict[str, str]:
    key = os.environ.get(KEY)
    return {"Authorization": f"Bearer {key}"} if key else {}


def _message(answer: httpx.Response) -> str:
    """What the server says is wrong."""
    raw = answer.content[:2000].decode(errors="replace")
    try:
        said = json.loads(raw)
        inner = said.get("error", said) if isinstance(said, Mapping) else said
        raw = str(inner.get("message", inner)) if isinstance(inner, Mapping) else str(inner)
    except ValueError:
        pass
    return " ".join(raw.split())[:200] or answer.reason_phrase


def _advice(code: int, model: str) -> str:
    if code in (401, 403):
        return f". A key goes into {KEY}."
    return f". Does it serve the model '{model}', under this address?" if code == 404 else ""


def _seconds(header: str | None) -> float:
    try:
        return max(0.0, float(header or 0))
    except ValueError:
        return 0.0
