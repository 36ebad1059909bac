"""Requests to a server: one pool of connections, a key that goes nowhere else, and errors as they were raised there."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlsplit

import httpx

from semsearch import errors
from semsearch.errors import CollectionLocked, SemsearchError, StorageError, UsageError
from semsearch.home import SOCKET

SERVER_KEY = "SEMSEARCH_SERVER_KEY"
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 600.0  # a batch of documents takes as long as it is encoded
SAID_LETTERS = 300
_CODES: Mapping[str, type[SemsearchError]] = {
    "document_not_found": errors.DocumentNotFound,
    "invalid_filter": errors.FilterError,
    "invalid_data": errors.DataError,
    "encoding_failed": errors.EncodingFailed,
    "dimension_mismatch": errors.DimensionMismatch,
    "model_unavailable": errors.ModelError,
    "collection_not_found": errors.CollectionNotFound,
    "collection_exists": errors.CollectionExists,
    "collection_damaged": errors.CollectionDamaged,
    "document_changed": errors.DocumentChanged,
    "model_mismatch": errors.ModelMismatch,
    "read_only": errors.ReadOnly,
    "collection_error": errors.CollectionError,
    "index_damaged": errors.IndexDamaged,
    "storage_failed": errors.StorageError,
    "collection_locked": errors.CollectionLocked,
}


class ServerConnection:
    """A server by its address. Threads share it."""

    def __init__(self, place: str) -> None:
        """`place`: `http://host:port`, `https://…`, or `unix:PATH` of a socket."""
        uds = place.removeprefix(SOCKET).removeprefix("//") if place.startswith(SOCKET) else None
        parts = urlsplit(place)
        if uds is None and (parts.username or parts.password or parts.query or parts.fragment or not parts.hostname):
            raise UsageError(  # not repeated: it may hold a secret
                "the address of a server is of the form http://host:port, without a name, a password or a query; a key "
                f"goes into {SERVER_KEY}."
            )
        path = None if uds is None else str(Path(uds).expanduser().absolute())
        self.location = place.rstrip("/") if path is None else f"{SOCKET}{path}"
        key = os.environ.get(SERVER_KEY)
        self._client = httpx.Client(
            base_url="http://localhost" if path is not None else self.location,
            transport=None if path is None else httpx.HTTPTransport(uds=path),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            follow_redirects=False,
            trust_env=False,  # no proxy is told the key
        )
        weakref.finalize(self, self._client.close)  # a home is never closed

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON of an answer.

        Raises:
            SemsearchError: What the server says of the request; or that it can't be reached.
        """
        content = None if body is None else json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        headers = {} if content is None else {"Content-Type": "application/json"}
        try:
            answer = self._client.request(method, path, content=content, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreached(error) from error
        if answer.status_code >= 300:
            raise self._refused(answer.status_code, answer.content)
        return self._read(answer.content)

    @contextmanager
    def lines(self, path: str) -> Iterator[Iterator[Any]]:
        """The JSON of each line of an answer, which must come to its end."""
        try:
            with self._client.stream("GET", path) as answer:
                if answer.status_code >= 300:
                    raise self._refused(answer.status_code, answer.read())
                yield self._lines(answer)
        except httpx.HTTPError as error:
            raise self._unreached(error) from error

    def read_into(self, path: str, file: IO[bytes]) -> None:
        """Write the bytes of an answer into a file; all of them, or it is an error."""
        try:
            with self._client.stream("GET", path) as answer:
                if answer.status_code >= 300:
                    raise self._refused(answer.status_code, answer.read())
                for chunk in answer.iter_bytes():
                    file.write(chunk)
        except httpx.HTTPError as error:
            raise self._unreached(error) from error

    def _lines(self, answer: httpx.Response) -> Iterator[Any]:
        rest = b""
        for chunk in answer.iter_bytes():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                value = self._read(line)
                if value is True:
                    return
                yield value
        raise StorageError(f"the answer of the server at {self.location} was cut short: ask again.")

    def _read(self, content: bytes) -> Any:
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise StorageError(
                f"{self.location} answers with something that is no JSON: is it a server of semsearch?"
            ) from error

    def _unreached(self, error: Exception) -> SemsearchError:
        return StorageError(
            f"the server at {self.location} can't be reached ({type(error).__name__}: {str(error)[:SAID_LETTERS]}): "
            "start it with 'semsearch serve', or name another home."
        )

    def _refused(self, status: int, content: bytes) -> SemsearchError:
        try:
            said = json.loads(content)["error"]
            code, message = str(said["code"]), str(said["message"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return StorageError(f"the server at {self.location} answered {status}: is it a server of semsearch?")
        if code == "unauthorized":
            return UsageError(f"{self.location}: {message} A key goes into {SERVER_KEY}.")
        if status in (429, 503) and code not in _CODES:
            return CollectionLocked(f"{self.location}: {message}")
        if status >= 500 and code not in _CODES:
            return StorageError(f"{self.location}: {message}")
        return self.raised({"code": code, "message": message})

    def raised(self, said: Mapping[str, Any]) -> SemsearchError:
        """An error as it was raised at the server."""
        return _CODES.get(str(said["code"]), UsageError)(str(said["message"]))


def path_of(name: str, *rest: str) -> str:
    """The path of what is asked of a collection."""
    return "/".join(["/v1/engine", *(quote(part, safe="") for part in (name, *rest))])
