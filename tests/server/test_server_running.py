"""A server as a process of its own: it says where it listens, drains when told to end, and leaves nothing half."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading

import httpx
import pytest
from support.named_hash import until
from support.tiny import bert

import semsearch
from semsearch.errors import UsageError
from semsearch.server import serving

pytestmark = pytest.mark.slow


@pytest.fixture
def started(tmp_path):
    """`started(*options)`: the process of a server, and the line that it says."""
    processes = []

    def start(*options):
        process = subprocess.Popen(
            [sys.executable, "-m", "semsearch", "serve", "--home", tmp_path / "home", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        line = process.stdout.readline()
        assert " at " in line, process.stderr.read()
        return process, line.strip().partition(" at ")[2]

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)


@pytest.fixture
def model(tmp_path):
    return bert(tmp_path / "model")


def test_it_drains_when_it_is_told_to_end(started, model):
    process, url = started("--port", "0", "--encoder", model)
    with httpx.Client(base_url=url, timeout=60) as client:
        assert client.post("/v1/collections", json={"name": "notes"}).status_code == 201
        rest, sent = threading.Event(), threading.Event()

        def records():
            yield b'{"id": "one", "text": "the cat"}\n'
            sent.set()
            assert rest.wait(60)
            yield b'{"id": "two", "text": "the dog"}\n'

        answers = []

        def upload():
            answers.append(
                httpx.post(
                    f"{url}/v1/collections/notes/documents/stream",
                    content=records(),
                    headers={"content-type": "application/x-ndjson"},
                    timeout=60,
                )
            )

        thread = threading.Thread(target=upload)
        thread.start()
        assert sent.wait(60)
        process.send_signal(signal.SIGTERM)
        rest.set()
        thread.join(60)
    assert json.loads(answers[0].text.splitlines()[-1])["added"] == 2, "what was under way came to its end"
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert {line["route"] for line in lines} >= {"/v1/collections", "/v1/collections/{collection}/documents/stream"}


def test_a_socket_is_for_its_owner_alone_and_one_that_was_left_is_taken_over(started, model, tmp_path):
    path = tmp_path / "s"
    process, where = started("--uds", path, "--encoder", model)
    assert where == f"unix:{path}"
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    with pytest.raises(UsageError, match="listens at"):
        serving.listen("", 0, str(path))
    with semsearch.create("notes", home=f"unix:{path}", encoder=str(model)) as notes:
        notes.add([semsearch.Document("cat", "the cat sat")])
    asked = subprocess.run(
        [sys.executable, "-m", "semsearch", "query", "--home", f"unix:{path}", "notes", "the cat", "--json"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout)["hits"][0]["id"] == "cat"
    process.kill()
    process.wait(30)
    assert path.exists()
    with serving.listen("", 0, str(path)):
        pass
    path.unlink()
    path.write_text("not a socket")
    with pytest.raises(UsageError, match="no socket"):
        serving.listen("", 0, str(path))
    assert path.read_text() == "not a socket"


def test_what_was_acknowledged_is_there_after_a_kill(started, model, tmp_path):
    url, seen = None, 0
    for number in range(2):
        process, url = started("--port", "0", "--encoder", model, "--quiet")
        if not number:
            httpx.post(f"{url}/v1/collections", json={"name": "notes"}, timeout=60)
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            client.sendall(
                b"POST /v1/collections/notes/documents/stream HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            for record in range(1500):
                line = json.dumps({"id": f"{number}-{record}", "text": f"the cat {record}"}).encode() + b"\n"
                client.sendall(b"%x\r\n%s\r\n" % (len(line), line))
            answered = b""
            while b'"through"' not in answered:
                answered += client.recv(65536)
            process.kill()
            process.wait(30)
        told = [json.loads(line) for line in answered.decode().split("\n") if line.startswith('{"through"')]
        seen = max(one["through"] for one in told)
        with semsearch.open("notes", home=tmp_path / "home") as notes:
            assert [one for one in notes.get([f"{number}-{record}" for record in range(seen)]) if one is None] == []
            assert notes.check(deep=True) == []


def test_other_machines_come_only_with_keys(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "semsearch", "serve", "--host", "0.0.0.0", "--home", tmp_path / "home"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 2
    assert "needs keys" in ended.stderr
    made = subprocess.run(
        [sys.executable, "-m", "semsearch", "key", tmp_path / "keys.jsonl", "me", "--role", "write"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert made.returncode == 0
    assert made.stdout.strip() not in (tmp_path / "keys.jsonl").read_text()
    assert (tmp_path / "keys.jsonl").stat().st_mode & 0o077 == 0


def test_no_answer_waits_for_the_acknowledgement_of_its_head(server, monkeypatch):
    """The head and the body of an answer are sent one after the other: by Nagle's rule the second would wait 40 ms."""
    delays = []
    close = asyncio.selector_events._SelectorTransport.close

    def noticed(transport):
        own = transport.get_extra_info("socket")
        if own.family == socket.AF_INET and own.getsockname()[1] == int(server.url.rpartition(":")[2]):
            delays.append(own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        close(transport)

    monkeypatch.setattr(asyncio.selector_events._SelectorTransport, "close", noticed)
    server.get("/livez", headers={"Connection": "close"})
    until(lambda: delays)  # the server closes when the answer is here
    assert all(delays)


@pytest.mark.parametrize("path", ["/v1/collections/{collection}", "/v1/tasks/{task}", "/page/{file}"])
def test_a_path_is_never_taken_for_its_pattern(server, path):
    assert server.get(path).status_code in (400, 404)
