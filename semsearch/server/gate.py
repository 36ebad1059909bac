"""What every request passes before it is routed: an id, the host and the origin, the key; and what is noted behind it.

A server on this machine can be reached by every web page that a person opens. A page of another origin is known by its
`Origin`, or by what browsers say of themselves (`Sec-Fetch-Site`); one whose name was made to point here (DNS
rebinding) by its `Host`, which is that of no server we are.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from semsearch.server.failures import Refusal, refusal_of
from semsearch.server.json_bytes import json_bytes
from semsearch.server.keys import NOBODY, OWNER, Grant
from semsearch.server.service import Service

OPEN = frozenset({"/livez", "/readyz", "/health"})  # answered without a key: they tell nothing but that
MOST_HEADER_ID = 64
LISTENING_SECONDS = 1.0  # that the rest of a body is listened to which nobody wants …
DRAINED_CHUNKS = 256  # … and so many pieces of it, of 64 KiB at most
SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
CORS_METHODS = "GET, POST, PUT, PATCH, DELETE"
CORS_HEADERS = "Authorization, Content-Type, X-API-Key, X-Request-Id, Mcp-Protocol-Version, Mcp-Method, Mcp-Name"


class Gate:
    """The outermost application."""

    def __init__(
        self, app: ASGIApp, service: Service, told: Mapping[tuple[str, str], Callable[[Refusal], tuple[int, Any]]]
    ) -> None:
        """`told`: by method and path, how the routes of others tell an error."""
        self._app = app
        self._service = service
        self._told = told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        service, began = self._service, time.perf_counter()
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        request, origin = _request_id(headers.get("x-request-id")), headers.get("origin")
        note: dict[str, Any] = {"request": request, "method": scope["method"]}
        scope["app"] = self  # so that a route raises what it refuses
        scope["semsearch.id"], scope["semsearch.note"] = request, note
        exchange = _Exchange(receive, send, headers, request, origin if origin in service.options.origins else None)
        service.instruments.begun()
        try:
            await self._let_in(scope, headers, exchange)
        except Exception as error:
            refusal = self._refusal(error, request, scope["method"])
            note["code"] = refusal.code
            service.instruments.refused(refusal.code)
            if not exchange.status:
                await exchange.hear_out()
                status, body = self._as_told(refusal, scope)
                await send_refusal(exchange.tell, refusal, body, status)
        finally:
            seconds = time.perf_counter() - began
            route = note.pop("route", "other")
            service.instruments.answered(route, scope["method"], exchange.status, seconds)
            service.log({**note, "route": route, "status": exchange.status, "ms": round(1000 * seconds, 3)})

    async def _let_in(self, scope: Scope, headers: Mapping[str, str], exchange: _Exchange) -> None:
        self._check(scope, headers)
        if scope["method"] == "OPTIONS" and exchange.origin and "access-control-request-method" in headers:
            allowed = {
                "access-control-allow-methods": CORS_METHODS,
                "access-control-allow-headers": CORS_HEADERS,
                "access-control-max-age": "600",
            }
            await _send(exchange.tell, 204, b"", allowed)
            return
        scope["semsearch.grant"] = self._grant(scope, headers)
        await self._app(scope, exchange.hear, exchange.tell)

    def _refusal(self, error: Exception, request: str, method: str) -> Refusal:
        """What is told of an error; what nobody expected is noted."""
        if isinstance(error, HTTPException):
            return _unrouted(error, method)
        if not isinstance(error, Refusal):
            self._service.log_fault(request, error)
        return refusal_of(error, request, self._service.private)

    def _as_told(self, refusal: Refusal, scope: Scope) -> tuple[int, Any]:
        """The status and the JSON of a refusal: of a key, in the words of those whose route it is."""
        told = self._told.get((scope["method"], scope["path"])) if refusal.status == 401 else None
        return (refusal.status, refusal.body()) if told is None else told(refusal)

    def _check(self, scope: Scope, headers: Mapping[str, str]) -> None:
        """Refuse who comes by another name than ours, or from another origin."""
        options = self._service.options
        if any(sum(own == name for own, _ in scope["headers"]) > 1 for name in (b"host", b"origin")):
            raise Refusal(400, "invalid_request", "a request has one Host, and one Origin at most.")
        host = headers.get("host", "")
        if not options.is_host(host):
            raise Refusal(
                421,
                "unknown_host",
                "this server does not answer to that Host. Ask it by the address it was started with, or start it with "
                "--allow-host NAME.",
            )
        origin = headers.get("origin")
        if origin is not None and origin not in options.origins and not _same_origin(origin, host):
            raise Refusal(
                403,
                "foreign_origin",
                "a page of another origin may not ask this server; --allow-origin ORIGIN lets one.",
            )
        site = headers.get("sec-fetch-site", "none")
        navigates = headers.get("sec-fetch-mode") == "navigate" and scope["method"] == "GET"
        if origin is None and site in ("cross-site", "same-site") and not navigates:
            raise Refusal(403, "foreign_origin", "a page of another origin may not ask this server.")

    def _grant(self, scope: Scope, headers: Mapping[str, str]) -> Grant:
        """What the key of a request is for; nobody's is for what is open to all, which is read and asks no model."""
        keyring = self._service.keyring
        if keyring is None:
            return OWNER
        scheme, _, said = headers.get("authorization", "").partition(" ")
        key = said.strip() if scheme.lower() == "bearer" else headers.get("x-api-key") or headers.get("api-key") or ""
        grant = keyring.grant(key) if key else None
        opened = scope["method"] in ("GET", "HEAD") and scope["path"] in OPEN | self._service.open_paths
        if grant is None and not opened:
            why = "that key is not known to this server." if key else "give a key: 'Authorization: Bearer KEY'."
            raise Refusal(401, "unauthorized", why, None, {"WWW-Authenticate": "Bearer"})
        return grant or NOBODY


class _Exchange:
    """What goes to and fro for one request, with what each answer of ours says."""

    def __init__(
        self, receive: Receive, send: Send, headers: Mapping[str, str], request: str, origin: str | None
    ) -> None:
        """`origin`: the page that may read the answer, if one may."""
        self.status = 0  # of the answer, once it was begun
        self.origin = origin
        self._receive = receive
        self._send = send
        self._whole = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
        self._added = [(b"x-request-id", request.encode()), *SAFE_HEADERS]
        if origin is not None:
            self._added += [(b"access-control-allow-origin", origin.encode()), (b"vary", b"Origin")]

    async def hear(self) -> Message:
        """The next of the request."""
        message = await self._receive()
        self._whole = self._whole or not message.get("more_body", False)
        return message

    async def tell(self, message: Message) -> None:
        """The next of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            close = [] if self._whole or self.status < 400 else [(b"connection", b"close")]  # nobody reads the rest
            message = {**message, "headers": [*message.get("headers", ()), *self._added, *close]}
        await self._send(message)

    async def hear_out(self) -> None:
        """Pass over what is left of a body, as far as that is little: who still speaks hears no answer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LISTENING_SECONDS):
                for _ in range(DRAINED_CHUNKS):
                    if self._whole:
                        return
                    await self.hear()


def _unrouted(error: HTTPException, method: str) -> Refusal:
    allow = dict(error.headers or {})
    return Refusal(error.status_code, "method_not_allowed", f"that is not asked by {method}.", None, allow)


_PREFIX, _NUMBERS = secrets.token_hex(5), count()  # of this process, and of its requests


def _request_id(said: str | None) -> str:
    """That of the client, where it is one that a log can hold; else a new one."""
    if said and len(said) <= MOST_HEADER_ID and said.isascii() and all(one.isalnum() or one in "-_." for one in said):
        return said
    return f"{_PREFIX}{next(_NUMBERS):06x}"  # no call of the system, which would wait for other threads


def _same_origin(origin: str, host: str) -> bool:
    parts = urlsplit(origin)
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


async def send_refusal(send: Send, refusal: Refusal, body: Any = None, status: int | None = None) -> None:
    """Answer with an error, in its own words and under its own status unless others are given."""
    content = json_bytes(refusal.body() if body is None else body)
    headers = {"content-type": "application/json", **refusal.headers}
    await _send(send, refusal.status if status is None else status, content, headers)


async def _send(send: Send, status: int, content: bytes, headers: Mapping[str, str]) -> None:
    named = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    named.append((b"content-length", str(len(content)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": named})
    await send({"type": "http.response.body", "body": content})


def log_line(facts: Mapping[str, Any]) -> str:
    """One line of the log."""
    return json.dumps({"time": round(time.time(), 3), **facts}, ensure_ascii=True)
