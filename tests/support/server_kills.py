"""A server that is killed in the midst of uploads, round after round: `python -m support.server_kills 100 [SEED]`.

Several clients stream documents, new and changed, at once; what the server acknowledged is known here. At a random
moment it is killed, started again on what it left, and held against that: every acknowledged record is there as it was
sent, none is half there, and what was not acknowledged is there whole or not at all. Then it takes the rest.
"""

import asyncio
import json
import random
import select
import socket
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

import semsearch
from semsearch import models
from semsearch.home import Home
from semsearch.server import serving
from semsearch.server.configuration import ServerOptions
from semsearch.server.keys import KeysFile
from semsearch.server.service import Service
from semsearch.testing.encoder import HashEncoder
from support import forking
from support.named_hash import NAME, NamedHash

CLIENTS = 3
RECORDS = 4_000  # of a client in a round; more than come through before the kill
LONGEST_LIFE = 2.0  # seconds of uploads after the first acknowledgement
ENOUGH = 5_000  # documents; beyond that most records change what is there


@dataclass
class Sent:
    """What one client sent in a round, and how much of it was acknowledged."""

    records: list[dict]
    through: int = 0  # lines, by the last answer
    errors: list[str] = field(default_factory=list)
    sent: int = 0


def server(home, keys=None, **options):
    """The process of a server with a model without weights, and its port; see `ServerOptions`."""
    context = forking.server()
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(str(home), keys, options, theirs), daemon=True)
    process.start()
    theirs.close()
    return process, ours.recv()


def _serve(home, keys, options, pipe):
    models.encoder = lambda name, compute=None, **how: NamedHash(name)
    service = Service(Home.of(home), ServerOptions(encoders=(NAME,), **options), keys and KeysFile(Path(keys)))
    with serving.listen("127.0.0.1", 0) as listening:  # as `serving.run`, which imports torch first
        running = serving.server(service, lambda: pipe.send(listening.getsockname()[1]))
        asyncio.run(running.serve([listening]))


def upload(port, sent, stop):
    """Stream records until the server is gone; note what it acknowledges."""
    answered = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            client.sendall(
                b"POST /v1/collections/notes/documents/stream HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            for record in sent.records:
                line = json.dumps(record).encode() + b"\n"
                client.sendall(b"%x\r\n%s\r\n" % (len(line), line))
                sent.sent += 1
                if select.select([client], [], [], 0)[0]:
                    answered = _read(client, answered, sent)
            client.sendall(b"0\r\n\r\n")
            while not stop.is_set():
                answered = _read(client, answered, sent)
    except OSError:
        pass  # it was killed


def _read(client, answered, sent):
    content = client.recv(1 << 16)
    if not content:
        raise OSError("closed")
    answered += content
    *whole, rest = answered.split(b"\n")
    for line in whole:
        if line.startswith(b'{"through"'):
            told = json.loads(line)
            sent.through = max(sent.through, told["through"])
            sent.errors += told.get("errors", [])
    return rest


def planned(rng, number, there):
    """The records of a client in a round: new ones, and changed texts and metadata of those that are there."""
    records = []
    names = sorted(there)
    taken = set()
    share = 0.2 if len(there) * CLIENTS < ENOUGH else 0.9
    for place in range(RECORDS):
        if names and rng.random() < share:
            identity = rng.choice(names)
            if identity in taken:
                continue
            taken.add(identity)
        else:
            identity = f"{number}-{place}"
        words = " ".join(rng.choices(("cat", "dog", "bird", "tree", "park", "song"), k=rng.randrange(1, 60)))
        records.append({"id": identity, "text": f"{words} {number} {place}", "metadata": {"round": number}})
    return records


def violations(home, before, clients):
    """What is not as it must be after a kill, and the texts that are there now by id."""
    wrong = []
    with semsearch.open("notes", home=home, encoder=HashEncoder()) as notes:
        wrong += [f"check: {problem}" for problem in notes.check(deep=True)]
        now = {document.id: document for document in notes}
        if len(notes) != len(now):
            wrong.append(f"{len(notes)} documents are counted, and {len(now)} are there")
        may = {identity: [text] for identity, text in before.items()}  # what each document may be
        must = dict(before)
        for client in clients:
            wrong += [f"an error was answered: {error}" for error in client.errors]
            for place, record in enumerate(client.records):
                if place < client.through:
                    may[record["id"]] = [record["text"]]
                    must[record["id"]] = record["text"]
                elif place <= client.sent:
                    may.setdefault(record["id"], []).append(record["text"])
        for identity in must:
            if identity not in now:
                wrong.append(f"{identity} was acknowledged and is gone")
        for identity, document in now.items():
            if document.text not in may.get(identity, ()):
                wrong.append(f"{identity} has a text that it may not have: {document.text[:60]!r}")
        for identity in list(now)[:50]:
            (hit,) = notes.search(now[identity].text, k=1, exact=True)
            if hit.score < 0.999:
                wrong.append(f"{identity} is not found by its own text")
    return wrong, {identity: document.text for identity, document in now.items()}


def kill_rounds(home, rounds, seed=0, tell=lambda number, clients, there: None):
    """What is not as it must be after any of so many kills; and how many records were acknowledged in all."""
    rng = random.Random(seed)
    there, wrong, acknowledged = {}, [], 0
    for number in range(rounds):
        process, port = server(home)
        try:
            if not number:
                url = f"http://127.0.0.1:{port}/v1/collections"
                assert httpx.post(url, json={"name": "notes"}, timeout=60).status_code == 201
            own = [planned(random.Random(rng.random()), f"{number}-{c}", _share(there, c)) for c in range(CLIENTS)]
            clients = [Sent(records) for records in own]
            stop = threading.Event()
            threads = [threading.Thread(target=upload, args=(port, client, stop)) for client in clients]
            for thread in threads:
                thread.start()
            wait = rng.random() * LONGEST_LIFE
            until = time.monotonic() + 60
            while not any(client.through for client in clients) and time.monotonic() < until:
                time.sleep(0.005)  # the moment of the kill counts from the first acknowledgement
            time.sleep(wait)
        finally:
            process.kill()
            process.join(60)
        stop.set()
        for thread in threads:
            thread.join(60)
        found, there = violations(home, there, clients)
        wrong += [f"round {number}: {one}" for one in found]
        acknowledged += sum(client.through for client in clients)
        tell(number, clients, there)
    return wrong, acknowledged


def _share(there, client):
    """The documents that one client changes: no two change the same, so that it is known which came last."""
    return [identity for place, identity in enumerate(sorted(there)) if place % CLIENTS == client]


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0

    def tell(number, clients, there):
        through = ", ".join(f"{client.through} of {client.sent}" for client in clients)
        print(f"round {number + 1}: acknowledged {through}; {len(there)} are there", flush=True)  # noqa: T201

    shm = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="semsearch-kills-", dir=shm) as folder:
        wrong, acknowledged = kill_rounds(Path(folder) / "home", rounds, seed, tell)
    print(f"{rounds} kills, {acknowledged:,} records acknowledged, {len(wrong)} violations", *wrong[:50], sep="\n")  # noqa: T201
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
