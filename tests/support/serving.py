"""A server in a thread of this process, at a port that is free."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import httpx

from semsearch.home import Home
from semsearch.server import serving
from semsearch.server.configuration import ServerOptions
from semsearch.server.service import Service


class Served:
    """A server that runs: its address, what it holds, what it noted, and somebody who asks it."""

    def __init__(self, service: Service, url: str) -> None:
        self.service = service
        self.url = url
        self.noted: list[dict] = []
        self.client = httpx.Client(base_url=url, timeout=120)  # the first request may import torch
        for method in ("get", "post", "patch", "delete", "put"):
            setattr(self, method, getattr(self.client, method))

    def ask(self, path: str, body: dict | None = None, status: int = 200, method: str | None = None, **how) -> dict:
        """The JSON of an answer, whose status must be that."""
        answer = self.client.request(method or ("GET" if body is None else "POST"), path, json=body, **how)
        assert answer.status_code == status, (answer.status_code, answer.text)
        return answer.json()

    def refused(self, path: str, body: dict | None = None, status: int = 400, **how) -> dict:
        """The error of an answer, whose status must be that."""
        error = self.ask(path, body, status, **how)["error"]
        assert error["message"].endswith((".", "?", "…")), error
        return error

    def finished(self, task: dict) -> dict:
        """A task when it is at its end."""
        future = self.service.tasks._futures.get(task["id"])
        if future is not None:
            future.result(60)
        return self.ask(f"/v1/tasks/{task['id']}")


@contextmanager
def served(home: Home | str, keyring=None, uds: str | None = None, **options) -> Iterator[Served]:
    """A server of the collections in `home`; `options` as `ServerOptions` has them."""
    noted: list[dict] = []
    chosen = replace(ServerOptions(uds=uds), **options)
    service = Service(Home.of(home), chosen, keyring, noted.append)
    with serving.listen("127.0.0.1", 0, uds) as socket:
        listening = threading.Event()
        server = serving.server(service, listening.set)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([socket])), daemon=True)
        thread.start()
        assert listening.wait(30)
        url = f"http://127.0.0.1:{socket.getsockname()[1]}" if uds is None else "http://localhost"
        running = Served(service, url)
        running.noted = noted
        try:
            yield running
        finally:
            running.client.close()
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive()
