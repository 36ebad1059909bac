"""Models behind an HTTP interface like OpenAI's: Ollama, text-embeddings-inference, vLLM and the like.

The name is `openai-compatible:URL#model`, as in `openai-compatible:http://localhost:11434/v1#nomic-embed-text`. A key,
where one is needed, stands in the environment: in `SEMSEARCH_API_KEY`, or in the variable that the person tied to the
address (`semsearch trust ADDRESS --key-from VARIABLE`); it is no part of a name, which a collection keeps and everybody
may read, and of no message. An address that a collection names, and nobody here has said, gets neither it
nor a text (`semsearch.trusted`). The server is not trusted: see `semsearch.encoder.connection`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np

from semsearch import trusted
from semsearch.arguments import kind_of
from semsearch.encoder.connection import Connections, Overlong, Reply, Unanswered
from semsearch.errors import EncodingFailed, ModelError, StorageError, UsageError
from semsearch.types import Metric, Vectors
from semsearch.vectors import normalise

REMOTE_PREFIX = "openai-compatible:"
TEXTS_PER_REQUEST = 64
AT_ONCE = 4  # requests
TRIES = 6
WAIT = 0.5  # seconds before the second try, doubled each time
LONGEST = 60.0  # seconds waited, whatever the server asks for
TIMEOUT = 120.0  # seconds for a whole answer
MAX_DIM = 1 << 16  # components that a vector may have while nobody knows how many they are
NUMBER_BYTES = 64  # of a component, written with all its digits on an indented line of its own
REST_BYTES = 1 << 20  # of all else that an answer may hold
TELLING = 8  # characters of a key that no message repeats side by side
SAID = 200  # characters that a message repeats of what a server said


class RemoteEncoder:
    """An encoder whose vectors come from a server; they are made unit length and compared by cosine."""

    metric = Metric.COSINE

    def __init__(self, name: str, *, sleep: Callable[[float], None] = time.sleep, seconds: float = TIMEOUT) -> None:
        address, mark, model = name.removeprefix(REMOTE_PREFIX).partition("#")
        form = f"{REMOTE_PREFIX}URL#model, as in {REMOTE_PREFIX}http://localhost:11434/v1#bge"
        if "@" in address or "?" in address:  # not repeated: it may be a secret
            raise UsageError(
                "the address of a server may hold neither a name with a password ('@') nor a query ('?'): a collection "
                f"keeps it, and it is printed. A name is of the form {form}; a key goes into {trusted.API_KEY}, a name "
                f"with a password in Base64 as 'Basic …'."
            )
        if (
            not name.startswith(REMOTE_PREFIX)
            or not mark
            or not model
            or not address.startswith(("http://", "https://"))
        ):
            raise UsageError(f"'{name}' is not of the form {form}.")
        self.name = name
        self._url = address.rstrip("/") + "/embeddings"
        self._model = model
        self._sleep = sleep
        self._connections = Connections(self._url, seconds)
        self._asking = threading.Lock()

    @cached_property
    def _origin(self) -> str:
        return origin(self.name)

    @cached_property
    def dim(self) -> int:
        """Components of a vector: asked of the server once."""
        try:
            return len(self._request(["dimension"], None)[0])
        except _Refused as error:
            raise ModelError(f"{self._url} refused the text 'dimension': {error}") from error

    @property
    def fingerprint(self) -> str:
        """A digest of the model's name and dimension: what is behind the name, the server alone knows."""
        return hashlib.sha256(f"{REMOTE_PREFIX}{self._model}\0{self.dim}".encode()).hexdigest()

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors `(len(texts), dim)`.

        Raises:
            ModelError: The server can't be reached, refuses, or answers with something else than was asked for.
            EncodingFailed: It refuses a text, or its vector is not finite.
        """
        texts, dim = list(texts), self.dim
        batches = [texts[first : first + TEXTS_PER_REQUEST] for first in range(0, len(texts), TEXTS_PER_REQUEST)]
        if not batches:
            return np.empty((0, dim), dtype=np.float32)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return normalise(np.concatenate(list(pool.map(self._encoded, batches))))

    encode_queries = encode_documents

    def _encoded(self, texts: list[str]) -> Vectors:
        """The vectors of a batch; one that the server refuses is halved, down to the text that it refuses."""
        try:
            vectors = self._request(texts, self.dim)
        except _Refused as error:
            if len(texts) == 1:
                raise EncodingFailed(f"{self._url} refused the text {texts[0][:60]!r}: {error}") from error
        else:
            for text, vector in zip(texts, vectors, strict=True):
                if not np.isfinite(vector).all():
                    raise EncodingFailed(f"{self._url} gave NaN or infinite numbers for the text {text[:60]!r}.")
            return vectors
        half = len(texts) // 2
        return np.concatenate([self._encoded(texts[:half]), self._encoded(texts[half:])])

    def _request(self, texts: list[str], dim: int | None) -> Vectors:
        """Vectors `(len(texts), dim)`; None for `dim` takes them as long as they are."""
        import httpx

        with self._asking:  # of several requests at once the first asks the person
            trusted.require_address(self._origin)
        asked = {"model": self._model, "input": texts, "encoding_format": "float"}
        body = json.dumps(asked, ensure_ascii=False).encode("utf-8", "replace")
        variable = trusted.key_variable(self._origin)
        key = _key(variable)
        headers = {} if key is None else {"Authorization": key if key.startswith("Basic ") else f"Bearer {key}"}
        most = len(texts) * (dim or MAX_DIM) * NUMBER_BYTES + 2 * len(body) + REST_BYTES
        for tried in range(1, TRIES + 1):
            wait = WAIT * 2 ** (tried - 1) * (1 + random.random() / 4)  # so that many clients don't come back at once
            try:
                answer = self._connections.post(body, headers, most)
            except httpx.InvalidURL as error:
                raise UsageError(f"'{self._url}' is no address: {error}.") from error
            except Overlong as error:
                raise ModelError(
                    f"{self._url} answered with more than {error}, more than {len(texts)} embeddings can need. "
                    "Is the address right?"
                ) from error
            except Unanswered as error:
                problem = f"can't be reached ({_clean(str(error), key)})"
            else:
                if 200 <= answer.status < 300:
                    if answer.delimited or _is_json(answer.content):
                        return self._vectors(answer, len(texts), dim, key)
                    problem = f"answered {_no_json(answer, key)}, which may have been cut off"
                else:
                    code, said = answer.status, _message(answer, key)
                    if code in (400, 413, 422):
                        raise _Refused(f"{code} {said}")
                    if code not in (408, 425, 429) and code < 500:
                        raise ModelError(f"{self._url} answered {code}: {said}{_advice(code, self._model, variable)}")
                    problem = f"answered {code}: {said}"
                wait = max(wait, _seconds(answer.retry_after))
            if tried < TRIES:
                self._sleep(min(wait, LONGEST))
        raise ModelError(f"{self._url} {problem}, {TRIES} times. Is the server running, and the address right?")

    def _vectors(self, answer: Reply, count: int, dim: int | None, key: str | None) -> Vectors:
        """The vectors in an answer, in the order of their texts; what is none is a sentence."""
        try:
            told = json.loads(answer.content)
        except (ValueError, RecursionError):  # which would carry what the server said
            raise ModelError(f"{self._url} answered {_no_json(answer, key)}.") from None
        data = told.get("data") if isinstance(told, dict) else None
        if not isinstance(data, list) or len(data) != count or not all(isinstance(item, dict) for item in data):
            raise ModelError(
                f"{self._url} gave no list of {count} embeddings under 'data', but {_beginning(answer, key)!r}."
            )
        ordered: dict[int, Any] = {}
        for place, item in enumerate(data):
            index = item.get("index", place)
            if type(index) is not int or not 0 <= index < count or index in ordered:
                raise ModelError(
                    f"{self._url} gave embeddings that can't be matched with the texts: each needs an 'index' of its "
                    f"own, from 0 to {count - 1}."
                )
            ordered[index] = item.get("embedding")
        dim = dim or len(ordered[0] if isinstance(ordered[0], list) else ())
        for vector in ordered.values():
            if not isinstance(vector, list) or not vector or not {float, int}.issuperset(map(type, vector)):
                raise ModelError(
                    f"{self._url} gave {_described(vector)}, where an embedding is a list of numbers (the "
                    "encoding_format 'float')."
                )
            if len(vector) != dim:
                raise ModelError(f"{self._url} gave a vector of {len(vector):,} components, where {dim:,} were due.")
        try:
            with np.errstate(over="ignore"):  # beyond float32 is infinite, which is told with the text
                return np.array([ordered[place] for place in range(count)], dtype=np.float32)
        except OverflowError:
            raise ModelError(f"{self._url} gave a number of more digits than any component has.") from None


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


def trust_named(name: str) -> None:
    """Take a model's name from the person, in this process: if there is an address in it, texts may be sent there."""
    if name.startswith(REMOTE_PREFIX):
        with suppress(StorageError):  # then it is said in this process alone
            trusted.trust_address(origin(name))


class _Refused(ModelError):
    """The server will not have this input, however often it is asked."""


def _key(variable: str) -> str | None:
    """What the server knows its users by."""
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError(f"{variable} holds characters that no key has: set it anew.")
    return key or None


def _clean(text: str, key: str | None, most: int = SAID) -> str:
    """What a server said, for a message: on one line, not long, and without the key, which it may repeat."""
    if key is not None:
        text = _without(text, key)
    return " ".join(text.split())[:most]


def _without(text: str, secret: str) -> str:
    """`text` without the secret, nor any long piece of it: who repeats it may leave out its last character."""
    secret = secret.removeprefix("Basic ")
    size = min(TELLING, len(secret))
    pieces = {secret[at : at + size] for at in range(len(secret) - size + 1)}
    shown, end = [], 0  # where the last piece ended
    for at in range(len(text)):
        if text[at : at + size] in pieces:
            if at >= end:
                shown.append("…")
            end = at + size
        elif at >= end:
            shown.append(text[at])
    return "".join(shown)


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return False
    return True


def _no_json(answer: Reply, key: str | None) -> str:
    """What stands in the place of JSON."""
    return f"something that is not JSON: {_beginning(answer, key)!r}" if answer.content.strip() else "nothing"


def _beginning(answer: Reply, key: str | None) -> str:
    return _clean(answer.content[: 4 * SAID].decode(errors="replace"), key, 80)


def _message(answer: Reply, key: str | None) -> str:
    """What the server says is wrong."""
    raw = answer.content.decode(errors="replace")
    try:
        said = json.loads(raw)
        inner = said.get("error", said) if isinstance(said, Mapping) else said
        raw = str(inner.get("message", inner)) if isinstance(inner, Mapping) else str(inner)
    except (ValueError, RecursionError):
        pass
    return _clean(raw, key) or _clean(answer.reason, key)


def _described(vector: object) -> str:
    """What stands in the place of an embedding; a text is not repeated, it may hold what nobody should see."""
    if isinstance(vector, str):
        return "a text"
    if not isinstance(vector, list):
        return kind_of(vector)
    odd = next((number for number in vector if type(number) not in (float, int)), None)
    return f"a list that holds {'a text' if isinstance(odd, str) else kind_of(odd)}" if vector else "an empty list"


def _advice(code: int, model: str, variable: str) -> str:
    if code in (401, 403):
        return f". A key goes into {variable}."
    return f". Does it serve the model '{model}', under this address?" if code == 404 else ""


def _seconds(header: str | None) -> float:
    """What `Retry-After` asks for, as far as it is a number."""
    try:
        seconds = float(header or 0)
    except ValueError:
        return 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0
