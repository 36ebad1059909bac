"""Random kills over a long mixed workload with readers attached: `PYTHONPATH=tests python -m support.soak 5 [SEED]`.

A writer works until it is killed at a random moment, perhaps inside SQLite or an index library; what it acknowledged is
known outside. Readers in other processes search all the while and must see whole states only. After each kill all that
was acknowledged must be there, and nothing half; then the next writer goes on with what was left.
"""

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import semsearch
from semsearch.errors import SemsearchError
from semsearch.local import planner as plan
from support.fakes import HashEncoder
from support.forking import server
from support.workload import BACKENDS, DIM, NAME, changed, documents, open_it, relabelled, violations, with_these


def planned(seed, state):
    """Endless steps from `state`: (method, arguments), the state after it."""
    rng = random.Random(seed)
    for number in range(10**6):
        names = sorted(state)
        match rng.choice(("add", "add", "update", "relabel", "remove", "reindex", "compact", "repair", "reopen")):
            case "add":
                batch = documents(seed, f"s{seed}-{number}-", rng.randrange(1, 30))
                yield ("add", batch), (state := with_these(state, batch))
            case "update":
                batch = changed(number, state, rng.sample(names, min(8, len(names))))
                yield ("add", batch), (state := with_these(state, batch))
            case "relabel":
                batch = relabelled(state, rng.sample(names, min(8, len(names))))
                yield ("add", batch), (state := with_these(state, batch))
            case "remove":
                gone = rng.sample(names, min(rng.randrange(1, 25), max(len(names) - 100, 0)))
                yield ("remove", gone), (state := with_these(state, removed=gone))
            case "reindex":
                backend = rng.choice(sorted(BACKENDS))
                yield ("reindex", backend, BACKENDS[backend]), state
            case action:
                yield (action,), state


def write(home, seed, state, pipe):
    """The writer: it says what it begins and what it has done."""
    collection = open_it(home)
    for number, ((action, *arguments), _) in enumerate(planned(seed, state)):
        pipe.send(("begin", number))
        if action == "reopen":
            collection.close()
            collection = open_it(home)
        else:
            getattr(collection, action)(*arguments)
        pipe.send(("done", number))


def read(home, stop, pipe):
    """A reader: everything it finds in a search must fit together."""
    plan.GATHERED_ROWS = 8
    count = 0
    try:
        while not stop.is_set():
            with open_it(home) as collection:  # anew every twenty searches
                for _ in range(20):
                    hits = collection.search_many(["word1 word2", "word5"], 20)
                    for row in hits:
                        scores = [hit.score for hit in row]
                        assert scores == sorted(scores, reverse=True), scores
                        assert len({hit.document.id for hit in row}) == 20, len(row)
                        for hit in row:
                            assert f" {hit.document.id} " in hit.document.text, hit
                    count += 1
                    if stop.is_set():
                        break
    except (SemsearchError, AssertionError) as error:
        pipe.send((count, repr(error)))
    else:
        pipe.send((count, ""))


def states_after(seed, state, done, begun):
    """The states after `done` steps, and after `begun` of them."""
    states = [state]
    steps = planned(seed, state)
    for _ in range(begun):
        states.append(next(steps)[1])
    return states[done : begun + 1]


def kill_one(home, seed, state, rng):
    """Let a writer live for a moment; what is wrong with what it leaves, the state there, and the steps it did."""
    receiver, sender = server().Pipe(duplex=False)
    child = server().Process(target=write, args=(home, seed, state, sender))
    child.start()
    sender.close()
    receiver.poll(60)
    time.sleep(rng.choice((0.02, 0.2, 1, 4)) * rng.random())
    os.kill(child.pid, signal.SIGKILL)
    done = begun = 0
    try:
        while True:
            kind, number = receiver.recv()
            done, begun = (number + 1, begun) if kind == "done" else (done, number + 1)
    except EOFError:
        child.join()
    if child.exitcode != -signal.SIGKILL:
        return [f"the writer ended by itself ({child.exitcode})"], state, done
    with open_it(home) as collection:
        there = {entry.id: entry for entry in collection.documents()}
        wrong = violations(collection, states_after(seed, state, done, begun))
    return wrong, there, done


def soak(home, minutes, seed=0):
    """Kill writers for so many minutes; what was wrong, and how much was done."""
    plan.GATHERED_ROWS = 8
    rng = random.Random(seed)
    state = {entry.id: entry for entry in documents(0, "b", 300)}
    with semsearch.create(NAME, encoder=HashEncoder(DIM), home=home) as collection:
        collection.add(list(state.values()))
    wrong, kills, steps, searches = [], 0, 0, 0
    deadline = time.monotonic() + 60 * minutes
    while time.monotonic() < deadline and not wrong:
        stop = server().Event()
        readers = []
        for _ in range(2):
            receiver, sender = server().Pipe(duplex=False)
            reader = server().Process(target=read, args=(home, stop, sender))
            reader.start()
            sender.close()
            readers.append((reader, receiver))
        for _ in range(10):
            problems, state, done = kill_one(home, seed * 10**6 + kills, state, rng)
            wrong += [f"kill {kills}: {problem}" for problem in problems]
            kills, steps = kills + 1, steps + done
            if wrong or time.monotonic() > deadline:
                break
        stop.set()
        for reader, receiver in readers:
            count, error = receiver.recv()
            reader.join()
            searches += count
            wrong += [f"a reader, before kill {kills}: {error}"] if error else []
    return wrong, {"kills": kills, "steps": steps, "searches": searches, "documents": len(state)}


if __name__ == "__main__":
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=place, prefix="semsearch-soak-") as folder:
        wrong, counts = soak(Path(folder), float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
        print(f"{sys.argv[1]} minutes: {counts}; {len(wrong)} wrong", *wrong, sep="\n")  # noqa: T201
        sys.exit(bool(wrong))
