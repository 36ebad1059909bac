"""A long mixed workload over one collection, with a model of what must be there after each step.

Steps are made from a seed, so that a child process that is killed and the parent that judges what is left agree on what
each step does. `run` reports each step before it begins and after it returned, to outside the process.
"""

import random
from dataclasses import dataclass

import numpy as np
from fakes import HashEncoder

import semsearch
from semsearch.store import failpoints
from semsearch.types import Document, Metric
from semsearch.vectors import brute_force

DIM = 8
WORDS = [f"word{i}" for i in range(60)]


@dataclass(frozen=True)
class Step:
    """One call of the collection."""

    action: str  # add, remove, reindex, compact
    documents: tuple = ()
    ids: tuple = ()
    backend: str = ""


def document(rng, identity):
    text = " ".join(rng.choices(WORDS, k=4)) + f" {identity} {rng.randrange(10**6)}"
    return Document(identity, text, title=rng.choice(["", "a title"]), metadata={"n": rng.randrange(10)})


def steps(seed, count=24, actions=("add", "add", "add", "update", "metadata", "remove")):
    """`count` steps; the first adds more documents than any candidate pool holds."""
    rng = random.Random(seed)
    present = {}
    planned = []
    for number in range(count):
        action = rng.choice(actions) if number else "add"
        if action in ("update", "metadata", "remove") and not present:
            action = "add"
        if action == "add":
            batch = [document(rng, f"d{number}-{i}") for i in range(150 if number == 0 else rng.randrange(1, 12))]
        elif action == "update":
            batch = [document(rng, identity) for identity in rng.sample(sorted(present), min(5, len(present)))]
        elif action == "metadata":
            chosen = rng.sample(sorted(present), min(5, len(present)))
            batch = [
                Document(old.id, old.text, old.title, {"n": rng.randrange(10, 20)})
                for old in (present[identity] for identity in chosen)
            ]
        elif action == "remove":
            gone = tuple(rng.sample(sorted(present), min(4, len(present))))
            for identity in gone:
                del present[identity]
            planned.append(Step("remove", ids=gone))
            continue
        else:
            planned.append(Step(*action.split(":")[:1], backend=action.partition(":")[2]))
            continue
        present.update((entry.id, entry) for entry in batch)
        planned.append(Step("add", documents=tuple(batch)))
    return planned


def model(planned):
    """The documents that must be there after `planned`, by id."""
    present = {}
    for step in planned:
        for identity in step.ids:
            present.pop(identity, None)
        present.update((entry.id, entry) for entry in step.documents)
    return present


def take(collection, step):
    """Do one step."""
    match step.action:
        case "add":
            collection.add(step.documents)
        case "remove":
            collection.remove(step.ids)
        case "reindex":
            collection.reindex(step.backend)
        case "compact":
            collection.compact()


def run(home, planned, die_at, report):
    """Do the steps in this process, which is killed at its failpoint number `die_at`; `report` lives outside it."""
    import os
    import signal

    count = 0

    def at(name):
        nonlocal count
        if count == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1

    failpoints.arm(at)
    with semsearch.create("crash", encoder=HashEncoder(DIM), home=home) as collection:
        report.send(("created", count))
        for number, step in enumerate(planned):
            report.send(("begin", number))
            take(collection, step)
            report.send(("done", number))
    report.send(("finished", count))


def violations(collection, possible):
    """What is wrong with `collection`, which must be in one of the `possible` states (documents by id)."""
    there = {entry.id: entry for entry in collection.documents()}
    fitting = [state for state in possible if state == there]
    if not fitting:
        return [f"{len(there)} documents, which is none of the {len(possible)} states that may be there"]
    return wrong_answers(collection, there)


def wrong_answers(collection, there):
    """Counts, texts and exact scores against the documents that are there."""
    wrong = []
    if (len(collection), collection.passages) != (len(there), len(there)):
        wrong.append(f"counts {len(collection)} and {collection.passages} for {len(there)} documents")
    encoder = HashEncoder(DIM)
    listed = list(there.values())
    vectors = encoder.encode_documents([f"{d.title} {d.text}" if d.title else d.text for d in listed])
    queries = encoder.encode_queries(["word1 word2", "word3", "word40 a title"])
    truth = brute_force(np.arange(len(listed)), vectors, queries, max(len(listed), 1), Metric.COSINE)
    collection.warm()
    few = collection.search_many(vector=queries, k=5)  # through the index, where there is one
    everything = collection.search_many(vector=queries, k=max(len(listed), 1))
    for number, (some, hits) in enumerate(zip(few, everything, strict=True)):
        if len(hits) != len(listed) or len(some) != min(5, len(listed)):
            wrong.append(f"query {number} found {len(some)} and {len(hits)} of {len(listed)}")
        scores = {
            listed[key].id: s for key, s in zip(truth.keys[number], truth.scores[number], strict=True) if key >= 0
        }
        for hit in [*some, *hits]:
            if hit.document != there.get(hit.document.id):
                wrong.append(f"query {number}: document {hit.document.id} is not what was put in")
            elif hit.score != scores[hit.document.id]:
                wrong.append(f"query {number}: {hit.document.id} scored {hit.score}, not {scores[hit.document.id]}")
    return wrong
