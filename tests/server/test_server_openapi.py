"""The OpenAPI document says what the server does, and the server does what it says."""

import json
import re
from concurrent.futures import wait

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings

from semsearch import wire
from semsearch.server.json_bytes import json_bytes
from semsearch.server.openapi import document
from semsearch.server.operations import BYTES
from semsearch.server.serving import table

DOCUMENT = document(table())


def test_every_operation_is_in_it_but_the_engines():
    told = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    done = {
        (one.method, re.sub(r"\{(\w+):path\}", r"{\1}", one.path)) for one in table().operations if one.tag != "engine"
    }
    assert told == done
    assert len(told) > 40
    names = [one.name for one in table().operations]
    assert len(set(names)) == len(names)
    assert all(one.summary and one.description for one in table().operations)


def test_every_body_has_an_example_of_its_schema():
    schemas = DOCUMENT["components"]
    for path, methods in DOCUMENT["paths"].items():
        for operation in methods.values():
            for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
                assert ("example" in content) == (media_type != BYTES), path
                if "example" in content:
                    jsonschema.validate(content["example"], {**content["schema"], "components": schemas})


def test_the_example_of_a_stream_is_one(server):
    path = "/v1/collections/{collection}/documents/stream"
    content = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/x-ndjson"]
    answer = server.post(
        path.format(collection="animals"),
        content=content["example"].encode(),
        headers={"content-type": "application/x-ndjson"},
    )
    assert json.loads(answer.text.splitlines()[-1])["added"] == 2


def test_it_is_openapi(server):
    assert server.ask("/openapi.json") == json.loads(json.dumps(DOCUMENT))
    validator = pytest.importorskip("schemathesis")
    schema = validator.openapi.from_dict(DOCUMENT)
    assert len(list(schema.get_all_operations())) > 40


def test_the_page_needs_no_network_and_runs_nothing(server):
    answer = server.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script" not in answer.text.replace("description", "").lower().partition("<main>")[0]
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", answer.text)
    for path in DOCUMENT["paths"]:
        assert path in answer.text


@pytest.mark.slow
def test_whatever_is_asked_is_answered_as_it_says(serve, fill, tmp_path):
    """With a fixed seed: no answer of 500, none that the document does not have."""
    schemathesis = pytest.importorskip("schemathesis")
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    @schemathesis.serializer("application/x-ndjson")
    def lines(context, value):
        return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value

    checks = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
    with serve(folders={"papers": tmp_path}) as server:
        fill(server)
        schema = schemathesis.openapi.from_dict(server.ask("/openapi.json"))
        schema.config.update(base_url=server.url)
        for result in schema.get_all_operations():
            operation = result.ok()

            @seed(0)
            @settings(max_examples=8, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy())
            def asked(case):
                if case.path_parameters and "collection" in case.path_parameters and case.method != "DELETE":
                    case.path_parameters["collection"] = "animals"
                case.validate_response(case.call(), checks=checks)
                wait(server.service.tasks._futures.values())  # what they import may draw numbers, as strategies do

            asked()
        assert server.ask("/v1/collections/animals/count", {})["documents"] >= 0


@pytest.mark.parametrize(
    "value",
    [
        {"n": np.float32(0.5), "all": np.array([1.0, np.inf]), "none": float("nan"), "pair": (1, 2)},
        {"text": 'é \u2028 \u202e \x7f \x00 \n "quoted" \\', "big": 1 << 90, "small": 1e-300, 3: [True, None]},
        {"half": "a\ud800b"},
        [0.1, -0.0, 1e22, "\U0001f600"],
    ],
    ids=["numbers", "characters", "surrogate", "plain"],
)
def test_answers_are_written_as_elsewhere(value):
    """Faster, and the same: no character that drives a screen, nothing that JSON does not know."""
    written, expected = json_bytes(value), wire.dumps(value)
    assert json.loads(written) == json.loads(expected)
    assert {one for one in written.decode() if not one.isprintable()} == set()
