"""Who may ask, from where, and how much: hosts, origins, keys, bodies; and what no answer tells."""

import errno
import json
import re
import socket
import stat
from contextlib import suppress

import httpx
import pytest
from support.named_hash import until

from semsearch import errors
from semsearch.engine import Problem
from semsearch.errors import UsageError
from semsearch.server.configuration import ServerOptions
from semsearch.server.failures import KINDS_BY_CODE, STATUSES, refusal_of, without_paths
from semsearch.server.keys import Grant, Keyring, KeysFile, add_key
from semsearch.server.openapi import document
from semsearch.server.operations import JSON
from semsearch.server.serving import table

SEARCH = "/v1/collections/animals/search"
PATHS = ["/", "/livez", "/readyz", "/v1/collections", "/openapi.json", "/docs", "/metrics", "/nowhere"]


# ------------------------------------------------------------------------------------------ what no operation knows


@pytest.mark.parametrize(
    "operation",
    [one for one in table().operations if one.tag != "engine"],  # which only semsearch itself speaks
    ids=lambda one: f"{one.method} {one.path}",
)
def test_what_an_operation_does_not_know_is_an_error(server, operation):
    def asked(**how):
        answer = server.client.request(operation.method, _path(operation), **how)
        assert answer.status_code in (400, 415, 422), (answer.status_code, answer.text[:200])
        return answer

    body = {"headers": {"Content-Type": operation.takes}, "content": b"{}"} if operation.method == "POST" else {}
    assert "bogus" in asked(params={"bogus": "1"}, **body).text
    if operation.body is not None:
        assert "bogus" in asked(json={"bogus": 1}).text
    if operation.body is not None or operation.takes != JSON:
        for wrong in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None):
            headers = {} if wrong is None else {"Content-Type": wrong}
            assert asked(content=b"{}", headers=headers).status_code == 415
    else:
        assert "no body" in asked(json={"where": "legs = 4"}).text
    assert server.ask("/v1/collections/animals/count", {})["documents"] == 3


def test_no_shape_of_a_request_takes_names_that_it_does_not_know():
    told = document(table())
    shapes, left = (
        set(),
        [told["paths"][path][way].get("requestBody") for path in told["paths"] for way in told["paths"][path]],
    )
    while left:
        one = left.pop()
        if isinstance(one, list):
            left += one
        elif isinstance(one, dict):
            name = one.get("$ref", "").rpartition("/")[2]
            if name and name not in shapes:
                shapes.add(name)
                left.append(told["components"]["schemas"][name])
            left += [part for key, part in one.items() if key != "example"]
            assert "properties" not in one or one["additionalProperties"] is False, one
    assert len(shapes) > 30


def test_all_is_as_it_was_whatever_was_read(server):
    def state():
        return [server.ask("/v1/collections/animals/documents"), server.ask("/v1/collections"), server.ask("/v1/tasks")]

    before = state()
    for one in table().operations:
        if one.method == "GET":
            server.get(_path(one), params={"id": "cat"} if "/original" in one.path else {})
    assert state() == before


# ------------------------------------------------------------------------------------------------- hosts and origins


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "host",
    ["attacker.example", "attacker.example:80", "localhost.attacker.example", "", "127.0.0.1.example", "10.0.0.1"],
)
def test_a_name_that_was_made_to_point_here_is_refused_before_routing(server, path, host):
    answer = server.get(path, headers={"Host": host})
    assert (answer.status_code, answer.json()["error"]["code"]) == (421, "unknown_host")


@pytest.mark.parametrize("name", ["Host", "Origin"])
@pytest.mark.parametrize("ours_first", [True, False])
def test_of_two_hosts_or_origins_none_is_believed(server, name, ours_first):
    said = {"Host": ["localhost", "attacker.example"], "Origin": [server.url, "https://attacker.example"]}[name]
    twice = "".join(f"{name}: {value}\r\n" for value in (said if ours_first else said[::-1]))
    once = "" if name == "Host" else f"Host: {server.url.removeprefix('http://')}\r\n"
    with connected(server) as client:
        client.sendall(f"GET /v1/collections HTTP/1.1\r\n{once}{twice}\r\n".encode())
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "origin", ["https://attacker.example", "null", "http://localhost:1", "http://127.0.0.1", "https://127.0.0.1:1"]
)
def test_a_page_of_another_origin_is_refused_before_routing(server, path, origin):
    for method in ("GET", "POST", "OPTIONS"):
        answer = server.client.request(method, path, headers={"Origin": origin})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "foreign_origin")
        assert "access-control-allow-origin" not in answer.headers


def test_a_browser_that_says_where_it_comes_from_is_believed(server):
    assert server.get("/v1/collections", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert server.get("/v1/collections", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert server.get("/docs", headers=followed).status_code == 200
    assert server.post(SEARCH, headers=followed, json={"query": "x"}).status_code == 403


def test_ones_own_page_may_ask(server):
    answer = server.post(SEARCH, json={"query": "the cat"}, headers={"Origin": server.url})
    assert answer.status_code == 200
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_an_origin_that_is_allowed_is_allowed_exactly(serve, fill):
    origin = "https://mine.example"
    with serve(origins=frozenset({origin}), hosts=frozenset({"search.mine.example"})) as server:
        fill(server)
        preflight = server.client.options(SEARCH, headers={"Origin": origin, "Access-Control-Request-Method": "POST"})
        assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (204, origin)
        assert "Authorization" in preflight.headers["access-control-allow-headers"]
        answer = server.post(SEARCH, json={"query": "the cat"}, headers={"Origin": origin})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)
        for other in ("https://mine.example.org", "http://mine.example", "https://mine.example:8443"):
            assert server.post(SEARCH, json={"query": "x"}, headers={"Origin": other}).status_code == 403
        assert server.get("/livez", headers={"Host": "search.mine.example"}).status_code == 200


def test_addresses_are_names_only_where_other_machines_come():
    assert not ServerOptions().is_host("192.168.1.2:7700")
    everywhere = ServerOptions(host="0.0.0.0")
    assert all(map(everywhere.is_host, ("192.168.1.2:7700", "[fe80::1]:7700", "localhost")))
    assert not everywhere.is_host("attacker.example")
    assert ServerOptions().is_host("[::1]:7700")
    assert not ServerOptions(host="0.0.0.0").is_local
    assert ServerOptions(host="0.0.0.0", uds="x").is_local


def test_nothing_is_changed_by_get():
    changing = {"POST", "PUT", "PATCH", "DELETE"}
    for operation in table().operations:
        if operation.role in ("write", "admin") and operation.tag != "engine":
            assert operation.method in changing, operation.path


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_what_a_form_can_send_is_no_body(server, kind):
    before = server.ask("/v1/collections/animals/count", {})
    for path in (
        "/v1/collections",
        SEARCH,
        "/v1/collections/animals/documents",
        "/v1/collections/animals/documents/stream",
    ):
        answer = server.post(path, content=b'{"name": "x"}', headers={"content-type": kind})
        assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")
    assert server.ask("/v1/collections/animals/count", {}) == before


# ---------------------------------------------------------------------------------------------------------------- keys


@pytest.fixture
def keys(tmp_path):
    """A file of keys, and the keys by name."""
    file = tmp_path / "keys.jsonl"
    made = {
        "reader": add_key(file, "reader", "read"),
        "writer": add_key(file, "writer", "write", ["animals"]),
        "admin": add_key(file, "admin", "admin"),
        "other": add_key(file, "other", "admin", ["other"]),
    }
    return file, made


@pytest.fixture
def locked(serve, keys, fill):
    """A server with keys, and the headers of each."""
    file, made = keys
    with serve(keyring=Keyring.read(file)) as server:
        headers = {name: {"Authorization": f"Bearer {key}"} for name, key in made.items()}
        server.client.headers.update(headers["admin"])
        fill(server)
        del server.client.headers["Authorization"]
        yield server, headers


def test_a_key_is_kept_as_a_digest_alone(keys):
    file, made = keys
    text = file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(text.splitlines()) == 4
    assert not any(key in text or key.removeprefix("sk-semsearch-") in text for key in made.values())
    with pytest.raises(UsageError, match="there is a key 'reader'"):
        add_key(file, "reader", "read")
    with pytest.raises(UsageError, match="role"):
        add_key(file, "another", "king")
    with pytest.raises(UsageError, match="can't name"):
        add_key(file, "another", "read", ["../x"])


def test_without_a_key_only_life_is_told_and_the_page_that_asks_for_one(locked):
    server, _ = locked
    for path in ("/livez", "/readyz", "/", "/page/page.js"):
        assert server.get(path).status_code == 200
    for path in ("/v1/collections", "/docs", "/openapi.json", "/metrics", "/nowhere"):
        answer = server.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert server.post(SEARCH, json={"query": "x"}).status_code == 401
    assert server.get(f"/v1/collections?key={locked[1]['reader']['Authorization'][7:]}").status_code == 401


def _path(operation):
    values = {"collection": "animals", "id": "cat", "file": "page.js", "model": "hash"}
    return re.sub(r"\{(\w+)(?::path)?\}", lambda found: values.get(found[1], "x"), operation.path)


def test_no_operation_that_needs_a_role_is_open_without_a_key(locked):
    """The page is read at `/`, where texts are encoded, too: not for whoever has no key."""
    server, headers = locked
    for one in table().operations:
        path = _path(one)
        for key in ({}, {"Authorization": "Bearer wrong"}):
            status = server.client.request(one.method, path, json={}, headers=key).status_code
            assert (status == 401) == (one.role is not None), (one.method, path, status)
    assert server.post("/", json={"inputs": "x"}, headers=headers["reader"]).status_code == 200


def test_a_wrong_key_is_told_in_the_words_of_those_whose_route_it_is(locked):
    server, _ = locked
    told = server.post("/v1/embeddings", json={"model": "hash", "input": "x"}).json()["error"]
    assert (set(told), told["type"]) == ({"message", "type", "param", "code"}, "invalid_request_error")
    assert set(server.post("/embed", json={"inputs": "x"}).json()) == {"error", "error_type"}


def test_each_role_may_do_its_own(locked):
    server, headers = locked
    document = {"documents": [{"id": "x", "text": "y"}]}
    asked = {
        "search": ("POST", SEARCH, {"query": "x"}),
        "write": ("POST", "/v1/collections/animals/documents", document),
        "reindex": ("POST", "/v1/collections/animals/reindex", {"index": "exact"}),
        "create": ("POST", "/v1/collections", {"name": "new"}),
    }
    allowed = {
        name: {
            what
            for what, (method, path, body) in asked.items()
            if server.client.request(method, path, json=body, headers=headers[name]).status_code < 300
        }
        for name in headers
    }
    assert allowed == {
        "reader": {"search"},
        "writer": {"search", "write"},
        "admin": set(asked),
        "other": set(),
    }


def test_a_key_of_one_collection_sees_no_other(locked):
    server, headers = locked
    server.ask("/v1/collections", {"name": "other"}, 201, headers=headers["other"])
    assert [one["name"] for one in server.ask("/v1/collections", headers=headers["other"])["collections"]] == ["other"]
    assert [one["name"] for one in server.ask("/v1/collections", headers=headers["writer"])["collections"]] == [
        "animals"
    ]
    error = server.refused(SEARCH, {"query": "x"}, 403, headers=headers["other"])
    assert error["code"] == "not_allowed"
    nowhere = server.refused("/v1/collections/nowhere", status=403, headers=headers["other"])
    assert nowhere["message"] == error["message"], "nor whether there is one"
    found = server.ask("/v1/search", {"query": "the cat"}, headers=headers["other"])
    assert found["hits"] == []
    refused = server.refused("/v1/search", {"query": "x", "collections": ["animals"]}, 403, headers=headers["other"])
    assert refused["code"] == "not_allowed"
    task = server.ask("/v1/collections/animals/compact", {}, 202, headers=headers["admin"])
    assert server.ask("/v1/tasks", headers=headers["other"])["tasks"] == []
    assert server.refused(f"/v1/tasks/{task['id']}", status=404, headers=headers["other"])["code"] == "task_not_found"
    server.service.tasks._futures.get(task["id"]) and server.service.tasks._futures[task["id"]].result(30)


def test_a_thousand_wrong_keys_and_it_still_answers(locked):
    server, headers = locked
    assert [server.service.keyring.grant(f"sk-{number}") for number in range(1000)] == [None] * 1000
    for number in range(20):
        assert server.get("/v1/collections", headers={"Authorization": f"Bearer sk-{number}"}).status_code == 401
    assert server.ask("/v1/collections", headers=headers["reader"])["collections"]
    for odd in ("Basic x", "Bearer", "bearer é", "x" * 10_000):
        assert server.get("/v1/collections", headers={"Authorization": odd.encode("latin-1")}).status_code in (400, 401)
    assert (
        server.get("/v1/collections", headers={"X-API-Key": headers["reader"]["Authorization"][7:]}).status_code == 200
    )


def test_no_key_is_in_the_log_or_in_an_answer(locked, keys):
    server, headers = locked
    server.ask("/v1/collections", headers=headers["reader"])
    wrong = "sk-semsearch-nobodys-secret"
    told = server.get("/v1/collections", headers={"Authorization": f"Bearer {wrong}"}).text
    noted = json.dumps(server.noted)
    assert not any(key in noted for key in keys[1].values())
    assert wrong not in noted + told
    assert "reader" in {note.get("key") for note in server.noted}


def test_every_digest_is_compared_in_constant_time(keys, monkeypatch):
    file, made = keys
    compared = []
    monkeypatch.setattr("semsearch.server.keys.hmac.compare_digest", lambda a, b: compared.append(a) or a == b)
    keyring = Keyring.read(file)
    assert keyring.grant(made["reader"]) == Grant("reader", "read")
    assert keyring.grant("unknown") is None
    assert len(compared) == 8, "all of them, whichever it is"


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"name": "x"}',
        '{"name": "x", "digest": "sha256:00", "role": "read"}',
        '{"name": "x", "digest": "sha256:' + "0" * 64 + '", "role": "king"}',
        '{"name": "x", "digest": "sha256:' + "0" * 64 + '", "role": "read", "collections": "animals"}',
        '{"name": "x", "digest": "sha256:' + "0" * 64 + '", "role": "read", "colections": ["animals"]}',
    ],
)
def test_a_file_that_is_none_of_keys_is_refused(tmp_path, text):
    file = tmp_path / "keys.jsonl"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(UsageError, match=r"keys\.jsonl, line 1 is no key"):
        Keyring.read(file)


def test_a_file_that_others_may_write_is_refused(keys, tmp_path):
    file, _ = keys
    file.chmod(0o622)
    with pytest.raises(UsageError, match="chmod 600"):
        Keyring.read(file)
    link = tmp_path / "link"
    link.symlink_to(file)
    with pytest.raises(UsageError, match="can't be read"):
        Keyring.read(link)
    with pytest.raises(UsageError, match="semsearch key"):
        Keyring.read(tmp_path / "nowhere")


@pytest.fixture
def watched(keys):
    """The keys of a file as it is now, with clocks that stand until they are moved."""
    file, made = keys
    clock = {"now": 0.0, "settled": 0.0}
    return KeysFile(file, lambda: clock["now"], lambda: clock["settled"]), file, made, clock


def test_keys_are_read_again_when_their_file_is_another(watched):
    ring, file, made, _ = watched
    new = add_key(file, "new", "read")
    assert ring.grant(new) == Grant("new", "read")
    lines = [line for line in file.read_text().splitlines(keepends=True) if '"reader"' not in line]
    beside = file.with_name("beside")
    beside.write_text("".join(lines))
    beside.chmod(0o600)
    beside.replace(file)
    assert ring.grant(made["reader"]) is None, "it is gone at once"
    assert ring.grant(new) == Grant("new", "read")


def test_a_file_that_is_being_written_is_not_read_half(watched):
    ring, file, made, clock = watched
    lines = file.read_text().splitlines(keepends=True)
    clock["now"] = file.stat().st_mtime
    with file.open("w") as written:
        written.write(lines[0])  # whole lines, and yet not all
        written.flush()
        clock["now"] = file.stat().st_mtime
        assert ring.grant(made["admin"]) == Grant("admin", "admin")
        written.write("".join(lines[1:2]))
    clock["now"] = file.stat().st_mtime
    assert ring.grant(made["admin"]) == Grant("admin", "admin"), "nobody knows that it is the end"
    clock["settled"] += 1
    assert ring.grant(made["admin"]) is None
    assert ring.grant(made["reader"]) == Grant("reader", "read")
    file.write_text("".join(lines))
    clock["now"] = file.stat().st_mtime + 3600
    assert ring.grant(made["admin"]) == Grant("admin", "admin"), "it was written long before"


@pytest.mark.parametrize("fault", ["cut", "gone", "mode", "link", "huge"])
def test_a_file_that_is_broken_leaves_the_keys_as_they_were(watched, caplog, fault):
    ring, file, made, clock = watched
    whole = file.read_text()
    if fault == "cut":
        file.write_text(whole[:-20])
    elif fault == "gone":
        file.unlink()
    elif fault == "mode":
        file.chmod(0o622)
    elif fault == "link":
        file.rename(file.with_name("elsewhere"))
        file.symlink_to(file.with_name("elsewhere"))
    else:
        file.write_text("x" * (2 << 20))
    clock["now"] = 1e12
    for _ in range(3):
        assert ring.grant(made["reader"]) == Grant("reader", "read")
    assert [record.message for record in caplog.records if "stay as they were" in record.message] == [
        caplog.records[0].message
    ], "said once"
    file.unlink(missing_ok=True)
    again = add_key(file, "again", "admin")
    assert ring.grant(again) == Grant("again", "admin")
    assert ring.grant(made["reader"]) is None
    assert not any(key in caplog.text for key in made.values())


def test_a_server_that_runs_takes_a_new_key(serve, keys):
    file, _ = keys
    with serve(keyring=KeysFile(file)) as server:
        new = add_key(file, "late", "read")
        assert server.get("/v1/collections", headers={"X-API-Key": new}).status_code == 200


# -------------------------------------------------------------------------------------------------------------- bounds


def connected(server):
    return socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=30)


def test_a_body_that_is_too_long_is_refused_before_it_is_read(serve, fill):
    with serve(max_body=2000) as server:
        fill(server)
        answer = server.post(SEARCH, json={"query": "x" * 3000})
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
        assert "2,000 bytes" in answer.json()["error"]["message"]
        with connected(server) as client:
            client.sendall(
                f"POST {SEARCH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                "Content-Length: 99999999999\r\n\r\n".encode()
            )
            assert client.recv(65536).startswith(b"HTTP/1.1 413")

        def endless():
            while True:
                yield b"[" * 1000

        try:
            answer = server.post(SEARCH, content=endless(), headers={"content-type": "application/json"})
        except httpx.TransportError:
            pass  # the connection was closed while the client still spoke
        else:
            assert answer.status_code == 413
        assert server.get("/livez").status_code == 200


def test_a_connection_that_asks_nothing_is_closed(serve, monkeypatch):
    monkeypatch.setattr("semsearch.server.http_protocol.UNASKED_SECONDS", 0.05)
    with serve() as server, connected(server) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: local")
        assert client.recv(100) == b""


ENDLESS = {
    "a head": b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ",
    "an address": b"GET /",
    "the head of a second request": b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nX-Long: ",
    "a trailer": b"POST /v1/collections/animals/count HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Long: ",
}


@pytest.mark.parametrize("what", ENDLESS)
def test_a_head_without_an_end_is_cut_off(server, what):
    with connected(server) as client:
        client.sendall(ENDLESS[what])
        sent, said = 0, b""
        with suppress(OSError):
            while sent < (8 << 20):
                sent += client.send(b"x" * 8192)
        with suppress(OSError):
            while content := client.recv(65536):
                said += content
        assert sent < (8 << 20), "what lies in the buffers of the system, and no more"
        if what == "a head":
            assert said.startswith(b"HTTP/1.1 431") or not said  # which a reset may have swallowed
    assert server.get("/livez").status_code == 200


def test_a_second_request_that_stands_still_is_cut_off(server, monkeypatch):
    monkeypatch.setattr("semsearch.server.http_protocol.UNASKED_SECONDS", 0.05)
    with connected(server) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while b"ok" not in client.recv(65536):
            pass
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: loc")
        assert client.recv(65536) == b""


def test_idle_connections_hold_up_nobody(server):
    idle = [connected(server) for _ in range(300)]
    try:
        assert server.ask(SEARCH, {"query": "the cat"})["hits"]
    finally:
        for client in idle:
            client.close()


@pytest.mark.parametrize(
    "content",
    [
        b"\x00\xff\x16\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/x HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"GET /" + b"a" * 100_000,
    ],
    ids=["tls", "version", "length", "path"],
)
def test_what_is_no_request_ends_nothing(server, content):
    with connected(server) as client:
        client.sendall(content)
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass
    assert server.get("/livez").status_code == 200


# --------------------------------------------------------------------------------------------------- what is not told


def test_no_path_and_no_trace_is_in_an_error(server, tmp_path, monkeypatch):
    assert (
        without_paths(f"the file {tmp_path}/served/x.sqlite is damaged", [str(tmp_path)])
        == "the file served/x.sqlite is damaged"
    )
    assert without_paths("see /etc/passwd and /home/me/secret.txt.") == "see passwd and secret.txt."
    assert (
        without_paths("read http://localhost:7700/v1/x, n/a or and/or, 1/2/3")
        == "read http://localhost:7700/v1/x, n/a or and/or, 1/2/3"
    )

    def broken(*args, **how):
        raise RuntimeError(f"secret in {tmp_path}")

    monkeypatch.setattr(server.service.collections, "use", broken)
    answer = server.post("/v1/collections/animals/count", json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] in answer.json()["error"]["message"]


def test_whoever_does_not_look_after_the_machine_is_shown_no_path_of_it(serve, keys, tmp_path, fill, monkeypatch):
    own, words, order = (str(tmp_path / "my models" / name) for name in ("own", "words", "order"))
    monkeypatch.setattr("semsearch.models.reranker", lambda name, compute=None, **how: object())
    file, made = keys
    with serve(keyring=Keyring.read(file), encoders=(own,), sparse=(words,), rerankers=(order,)) as server:
        server.client.headers["Authorization"] = f"Bearer {made['admin']}"
        fill(server)
        server.ask("/v1/collections", {"name": "named", "encoder": "own"}, 201)  # as those know it who see no path
        assert server.ask("/v1/collections/named")["encoder"]["name"] == own
        with server.service.collections.lease("animals") as animals:
            animals.describe("of papers", folder=str(tmp_path / "papers"))
            animals.engine.set("copied_from", f"{tmp_path}/elsewhere/animals")
            animals.engine.set("former_encoder", animals.settings["encoder"])
            monkeypatch.setattr(type(animals), "check", lambda *_, **__: [Problem("text", f"{own} is gone", "mend it")])
            monkeypatch.setattr(type(animals), "repair", lambda *_: [f"{own} was made anew"])
        for what in ("check", "repair"):
            assert server.finished(server.ask(f"/v1/collections/animals/{what}", {}, 202))["state"] == "done"
        server.client.headers["Authorization"] = f"Bearer {made['reader']}"
        engine = "/v1/engine/animals"
        answers = [
            server.get(path)
            for path in ("/info", "/v1/models", "/v1/models/own", "/v1/models/none", "/v1/server", "/v1/tasks")
        ] + [server.get("/v1/collections"), server.get("/v1/collections/animals")]
        for path, asked in {
            f"{engine}/about": {},
            f"{engine}/state": {},
            f"{engine}/model": {},
            f"{engine}/sources": {},
            "/v1/embeddings": {"model": "own", "input": "a cat"},
            "/v2/rerank": {"model": "another", "query": "a cat", "documents": ["a cat"]},
            SEARCH: {"query": "a cat", "rerank": "another"},
        }.items():
            answers.append(server.post(path, json=asked))
        shown = [(str(answer.url), answer.text) for answer in answers if str(tmp_path) in answer.text]
        assert not shown
        assert sum(answer.status_code == 200 for answer in answers) == len(answers) - 3
        assert "own" in answers[1].text


def test_a_key_that_writes_keeps_what_it_has_seen_and_no_other_setting(locked):
    server, headers = locked
    path = "/v1/engine/animals/set"
    for name, value in (("joined", True), ("doubted_languages", ["de", "it"])):
        server.ask(path, {"name": name, "value": value}, headers=headers["writer"])
        server.refused(path, {"name": name, "value": value}, 403, headers=headers["reader"])
    for name, value in (("joined", "x"), ("doubted_languages", "de"), ("doubted_languages", ["../de"]), ("uuid", "x")):
        server.refused(path, {"name": name, "value": value}, headers=headers["writer"])
    for name in ("description", "graph", "anything"):
        server.refused(path, {"name": name, "value": "x"}, 403, headers=headers["writer"])
        server.ask(path, {"name": name, "value": "x"}, headers=headers["admin"])


def test_every_error_of_ours_has_a_code_of_its_own():
    kinds = {
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.SemsearchError)
    }
    told = {kind: refusal_of(kind("a sentence."), "id").code for kind in kinds - {errors.SemsearchError}}
    assert told[errors.IndexForeign] == told[errors.IndexDamaged]
    assert set(KINDS_BY_CODE) == {status.code for status in STATUSES.values()}
    assert len(set(told.values())) == len(told) - 1


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.CollectionNotFound("x."), 404, "collection_not_found"),
        (errors.DocumentNotFound("x."), 404, "document_not_found"),
        (errors.CollectionExists("x."), 409, "collection_exists"),
        (errors.DocumentChanged("x."), 409, "document_changed"),
        (errors.ModelMismatch("x."), 409, "model_mismatch"),
        (errors.DataError("x."), 422, "invalid_data"),
        (errors.EncodingFailed("x."), 422, "encoding_failed"),
        (errors.CollectionLocked("x."), 423, "collection_locked"),
        (errors.ModelError("x."), 503, "model_unavailable"),
        (errors.EngineUnreachable("x."), 503, "engine_unreachable"),
        (MemoryError(), 503, "out_of_memory"),
        (TimeoutError(), 503, "timed_out"),
        (errors.StorageError("x."), 507, "storage_failed"),
        (OSError(errno.ENOSPC, "no room"), 507, "storage_failed"),
        (OSError(errno.EIO, "broken"), 500, "internal_error"),
    ],
    ids=repr,
)
def test_what_goes_wrong_has_its_status_and_says_whether_to_come_again(server, monkeypatch, error, status, code):
    def broken(*_):
        raise error

    monkeypatch.setattr("semsearch.collection.Collection.count", broken)
    answer = server.post("/v1/collections/animals/count", json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert ("retry-after" in answer.headers) == (status in (423, 503))


def test_a_request_is_noted_in_one_line_by_its_id(server):
    answer = server.post(SEARCH, json={"query": "the cat"}, headers={"X-Request-Id": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    until(lambda: any(note["request"] == "mine-1" for note in server.noted))
    (note,) = [note for note in server.noted if note["request"] == "mine-1"]
    assert note["route"] == "/v1/collections/{collection}/search"
    assert (note["status"], note["method"], note["collection"]) == (200, "POST", "animals")
    assert note["ms"] > 0
    odd = server.get("/livez", headers={"X-Request-Id": "a b\tc"}).headers["x-request-id"]
    assert odd.isalnum()


def test_what_is_measured(server):
    server.ask(SEARCH, {"query": "the cat"})
    server.refused("/nowhere", status=404)
    until(lambda: 'code="not_found"' in server.get("/metrics").text)
    told = server.get("/metrics").text
    assert (
        'semsearch_requests_total{method="POST",route="/v1/collections/{collection}/search",status="200"} 1.0' in told
    )
    for name in (
        "stage_seconds_bucket",
        "encode_batch_texts_count",
        "search_batch_queries_count",
        "request_seconds_bucket",
        "encode_batch_requests_count",
        "requests_waiting 1.0",  # this one
        "tokens_waiting 0.0",
        "tasks_queued 0.0",
        "collections_open 1.0",
        "collection_cache_lookups_total ",
        "collection_cache_misses_total 0.0",  # it was made here
        "indexes_warming 0.0",
    ):
        assert f"semsearch_{name}" in told, name
