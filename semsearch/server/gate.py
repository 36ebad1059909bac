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
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from semsearch import wire
from semsearch.server.failures import Refusal, refusal_of
from semsearch.server.keys import OWNER, Grant
from semsearch.server.service import Service

OPEN = frozenset({"/livez", "/readyz", "/health"})  # answered without a key: they tell nothing but that
MOST_HEADER_ID = 64
PATIENCE = 1.0  # that the rest of a body is listened to which nobody wants …
DRAINED_CHUNKS = 256  # … and so many pieces of it, of 64 KiB at most
SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
CORS_METHODS = "GET, POST, PUT, PATCH, DELETE"
CORS_HEADERS = "Authorization, Content-Type, X-API-Key, X-Request-Id"


class Gate:
    """The outermost application."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        service, began = self._service, time.perf_counter()
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        request = _request_id(headers.get("x-request-id"))
        note: dict[str, Any] = {"request": request, "method": scope["method"]}
        scope["app"] = self  # so that a route raises what it refuses
        scope["semsearch.id"], scope["semsearch.note"] = request, note
        origin = headers.get("origin")
        allowed = origin if origin in service.options.origins else None
        status = 0
        whole = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers

        async def heard() -> Message:
            nonlocal whole
            message = await receive()
            whole = whole or not message.get("more_body", False)
            return message

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                added = [(b"x-request-id", request.encode()), *SAFE_HEADERS]
                if allowed is not None:
                    added += [(b"access-control-allow-origin", allowed.encode()), (b"vary", b"Origin")]
                if not whole and status >= 400:  # nobody reads the rest, which may have no end
                    added.append((b"connection", b"close"))
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        service.instruments.begun()
        try:
            self._check(scope, headers)
            if scope["method"] == "OPTIONS" and allowed is not None and "access-control-request-method" in headers:
                await _send(
                    noted,
                    204,
                    b"",
                    {
                        "access-control-allow-methods": CORS_METHODS,
                        "access-control-allow-headers": CORS_HEADERS,
                        "access-control-max-age": "600",
                    },
                )
            else:
                scope["semsearch.grant"] = self._grant(scope["path"], headers)
                await self._app(scope, heard, noted)
        except Exception as error:
            if isinstance(error, HTTPException):
                error = _unrouted(error, scope["method"])
            if not isinstance(error, Refusal):
                service.log_fault(request, error)
            refusal = refusal_of(error, request, service.private)
            note["code"] = refusal.code
            service.instruments.refused(refusal.code)
            if not status:
                with suppress(TimeoutError):  # who still speaks hears an answer when it is done speaking
                    async with asyncio.timeout(PATIENCE):
                        for _ in range(DRAINED_CHUNKS):
                            if whole:
                                break
                            await heard()
                await send_refusal(noted, refusal)
        finally:
            seconds = time.perf_counter() - began
            route = note.pop("route", "other")
            service.instruments.answered(route, scope["method"], status, seconds)
            service.log({**note, "route": route, "status": status, "ms": round(1000 * seconds, 3)})

    def _check(self, scope: Scope, headers: Mapping[str, str]) -> None:
        """Refuse who comes by another name than ours, or from another origin."""
        options = self._service.options
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

    def _grant(self, path: str, headers: Mapping[str, str]) -> Grant:
        """What the key of a request is for."""
        keyring = self._service.keyring
        if keyring is None:
            return OWNER
        scheme, _, said = headers.get("authorization", "").partition(" ")
        key = said.strip() if scheme.lower() == "bearer" else headers.get("x-api-key") or headers.get("api-key") or ""
        grant = keyring.grant(key) if key else None
        if grant is None and path not in OPEN and path not in self._service.open_paths:
            why = "that key is not known to this server." if key else "give a key: 'Authorization: Bearer KEY'."
            raise Refusal(401, "unauthorized", why, None, {"WWW-Authenticate": "Bearer"})
        return grant or Grant("nobody", "read", frozenset())


def _unrouted(error: HTTPException, method: str) -> Refusal:
    allow = dict(error.headers or {})
    return Refusal(error.status_code, "method_not_allowed", f"that is not asked by {method}.", None, allow)


def _request_id(said: str | None) -> str:
    """That of the client, where it is one that a log can hold; else a new one."""
    if said and len(said) <= MOST_HEADER_ID and said.isascii() and all(one.isalnum() or one in "-_." for one in said):
        return said
    return secrets.token_hex(8)


def _same_origin(origin: str, host: str) -> bool:
    parts = urlsplit(origin)
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


async def send_refusal(send: Send, refusal: Refusal, body: Any = None) -> None:
    """Answer with an error."""
    content = wire.dumps(refusal.body() if body is None else body).encode()
    await _send(send, refusal.status, content, {"content-type": "application/json", **refusal.headers})


async def _send(send: Send, status: int, content: bytes, headers: Mapping[str, str]) -> None:
    named = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    named.append((b"content-length", str(len(content)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": named})
    await send({"type": "http.response.body", "body": content})


def log_line(facts: Mapping[str, Any]) -> str:
    """One line of the log."""
    return json.dumps({"time": round(time.time(), 3), **facts}, ensure_ascii=True)
