"""The OpenAPI 3.1 document, made of the table of operations, so that neither says what the other doesn't."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, get_args

from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

import semsearch
from semsearch.server.failures import STATUSES
from semsearch.server.operations import BYTES, JSON, NDJSON, Call, HTTPAnswer, JSONShape, Operation, Table

VERSION = "3.1.0"
ERRORS = (400, 401, 403, 404, 405, 408, 409, 413, 415, 421, 422, 423, 424, 429, 500, 501, 503, 507)
REFERENCE = "#/components/schemas/{model}"

routes = Table("documentation")


class ErrorFacts(JSONShape):
    """What went wrong: a stable code, a sentence, and the parameter at fault."""

    code: str
    message: str
    param: str | None
    notes: list[str] = Field(default_factory=list)


class ErrorAnswer(JSONShape):
    """The answer to a request that could not be done."""

    error: ErrorFacts


def document(table: Table) -> dict[str, Any]:
    """The document of a table."""
    operations = [one for one in table.operations if one.tag != "engine"]  # which only semsearch itself speaks
    models = {model for one in operations for model in _models(one)} | {ErrorAnswer}
    references, defined = models_json_schema(
        [(model, "validation") for model in sorted(models, key=lambda model: model.__name__)], ref_template=REFERENCE
    )
    schemas = {model: schema for (model, _), schema in references.items()}
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = re.sub(r"\{(\w+):path\}", r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _described(operation, schemas)
    tags = list(dict.fromkeys(operation.tag for operation in operations))
    return {
        "openapi": VERSION,
        "info": {
            "title": "semsearch",
            "version": semsearch.__version__,
            "description": "Collections that are searched by meaning. An error is "
            '`{"error": {"code", "message", "param"}}`; codes are stable: '
            + ", ".join(sorted({status.code for status in STATUSES.values()}))
            + ".",
        },
        "tags": [{"name": tag} for tag in tags],
        "paths": paths,
        "components": {
            "schemas": defined.get("$defs", {}),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _models(operation: Operation) -> list[type[BaseModel]]:
    return [*([operation.body] if operation.body else []), *_alternatives(operation.answer)]


def _alternatives(answer: Any) -> list[type[BaseModel]]:
    return [] if answer is None else list(get_args(answer)) or [answer]


def _described(operation: Operation, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": operation.description,
        "tags": [operation.tag],
        "parameters": [*_path_parameters(operation), *_query_parameters(operation)],
        "responses": {str(operation.status): _response(operation, schemas), **_refusals(operation, schemas)},
    }
    if operation.role is None:
        facts["security"] = [{}]
    else:
        facts["x-role"] = operation.role
    if operation.body is not None:
        content: dict[str, Any] = {"schema": schemas[operation.body]}
        if operation.example is not None:
            content["example"] = operation.example
        facts["requestBody"] = {"required": True, "content": {operation.takes: content}}
    elif operation.takes != JSON:
        content = {"schema": {"type": "string", **({} if operation.takes == NDJSON else {"format": "binary"})}}
        if operation.example is not None:
            content["example"] = operation.example
        facts["requestBody"] = {"required": True, "content": {operation.takes: content}}
    return facts


def _response(operation: Operation, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    models = _alternatives(operation.answer)
    if operation.gives == JSON:
        own = [schemas[model] for model in models] or [{}]
        schema = own[0] if len(own) == 1 else {"anyOf": own}
    else:
        schema = {"type": "string", **({"format": "binary"} if operation.gives == BYTES else {})}
    return {"description": "It was done.", "content": {operation.gives: {"schema": schema}}}


def _refusals(operation: Operation, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    schema = schemas[ErrorAnswer] if operation.refused is None else {}
    return {
        str(status): {"description": "It was not done.", "content": {JSON: {"schema": schema}}} for status in ERRORS
    }


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"\{(\w+)(?::path)?\}", operation.path)
    ]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    schema = operation.query.model_json_schema()
    required = schema.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": facts}
        for name, facts in schema.get("properties", {}).items()
    ]


@routes.add("GET", "/openapi.json", "This document")
def openapi_document(call: Call[None]) -> HTTPAnswer:
    """OpenAPI 3.1, made of what the server does."""
    return HTTPAnswer(_written(call.service.table))


@routes.add("GET", "/docs", "The documentation", gives="text/html; charset=utf-8")
def documentation_page(call: Call[None]) -> HTTPAnswer:
    """A page that needs no network: what can be asked, and how."""
    policy = "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    page, digest = _page(call.service.table)
    return HTTPAnswer(page, 200, "text/html; charset=utf-8", headers={"Content-Security-Policy": policy.format(digest)})


@cache
def _written(table: Table) -> bytes:
    return json.dumps(document(table), ensure_ascii=False).encode()


@cache
def _page(table: Table) -> tuple[bytes, str]:
    """The page, and the digest of its style."""
    import base64
    import hashlib

    told = document(table)
    style = files("semsearch.server").joinpath("docs.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>semsearch: what the server can be asked</title><style>{style}</style>",
        f"<main><h1>semsearch {html.escape(semsearch.__version__)}</h1>",
        f"<p>{_sentence(told['info']['description'])}</p><p>As OpenAPI: <a href=/openapi.json>/openapi.json</a></p>",
    ]
    for tag in (one["name"] for one in told["tags"]):
        parts.append(f"<h2>{html.escape(tag)}</h2>")
        for path, methods in told["paths"].items():
            for method, operation in methods.items():
                if tag in operation["tags"]:
                    parts.append(_operation(path, method, operation, told["components"]["schemas"]))
    return "".join([*parts, "</main></html>"]).encode(), digest


def _operation(path: str, method: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    parts = [
        f"<section id={html.escape(operation['operationId'])}>"
        f"<h3><code>{method.upper()} {html.escape(path)}</code></h3>"
        f"<p><b>{html.escape(operation['summary'])}.</b> {_sentence(operation['description'])}"
        f" <small>{html.escape(operation.get('x-role', 'no key'))}</small></p>"
    ]
    parameters = [one for one in operation["parameters"] if one["in"] == "query"]
    parts.append(_table([(one["name"], one["schema"], one["required"]) for one in parameters]))
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        name = content["schema"].get("$ref", "").rpartition("/")[2]
        parts.append(f"<p>Body: <code>{html.escape(media_type)}</code></p>")
        if name:
            schema = schemas[name]
            required = schema.get("required", ())
            rows = [(one, facts, one in required) for one, facts in schema.get("properties", {}).items()]
            parts.append(_table(rows))
        if "example" in content:
            said = content["example"]
            written = said if isinstance(said, str) else json.dumps(said, indent=2, ensure_ascii=False)
            parts.append(f"<pre>{html.escape(written)}</pre>")
    return "".join([*parts, "</section>"])


def _table(rows: list[tuple[str, Mapping[str, Any], bool]]) -> str:
    if not rows:
        return ""
    cells = "".join(
        f"<tr><td><code>{html.escape(name)}</code>{'*' if required else ''}</td><td>{html.escape(_type(facts))}</td>"
        f"<td>{html.escape(str(facts.get('description', '')))}</td></tr>"
        for name, facts, required in rows
    )
    return f"<table>{cells}</table>"


def _type(facts: Mapping[str, Any]) -> str:
    if "anyOf" in facts:
        return " or ".join(_type(one) for one in facts["anyOf"])
    if "enum" in facts:
        return " or ".join(map(repr, facts["enum"]))
    if "$ref" in facts:
        return str(facts["$ref"]).rpartition("/")[2]
    if facts.get("type") == "array":
        return f"list of {_type(facts.get('items', {}))}"
    return str(facts.get("const", facts.get("type", "anything")))


def _sentence(text: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text, quote=False))
