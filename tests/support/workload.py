"""What the tests of trust share: a collection larger than any pool of candidates, operations on it, and a judge.

Everything is made from seeds, so that a process that is killed and the one that judges what it left agree on what each
operation does. A state is a dictionary of documents by id; the judge compares a collection with the states that may be
there, and its answers, through the index and without, with brute force.
"""

import os
import random
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

import semsearch
from semsearch import plugins
from semsearch.local import planner as plan
from semsearch.local.lexical.searcher import Lexical
from semsearch.local.store import failpoints
from semsearch.local.store.schema import PIECE
from semsearch.local.store.store import Store
from semsearch.search.query_syntax import parse
from semsearch.types import Document, Metric
from semsearch.vectors import brute_force
from support.backends import BUILT_IN
from support.fakes import HashEncoder

FULL = bool(os.environ.get("SEMSEARCH_FULL"))  # every point and every round, instead of a seeded sample of them
DIM = 8
NAME = "subject"
WORDS = [f"word{i}" for i in range(60)]
GAP = "\r\n" * (PIECE // 2)  # in a long document: no words, so that it costs an encoder nothing
TURNING = ("b2", "b9", "tail5")  # long when they are changed for the first time, short after the second
QUERIES = ("word1 word2", "word3", "word40 a title")
FITTING = {"threads": 1, "deterministic": True, "trees": 10, "storage": "flat"}  # where a backend has the option


def leaving_nothing_out(kind):
    """Options under which a small index finds everything, so that brute force is its oracle."""
    options = {name: value for name, value in FITTING.items() if name in kind.Params.__dataclass_fields__}
    return options if kind.knob is None else options | {kind.knob.option: kind.knob.ladder(1_000_000)[-1]}


BACKENDS = {name: leaving_nothing_out(plugins.index_backend(name)) for name in BUILT_IN}


def sample(points, count, seed=0):
    """All of `points` in a full run, else a seeded sample."""
    points = list(points)
    return points if FULL or len(points) <= count else sorted(random.Random(seed).sample(points, count))


def through_indexes(monkeypatch):
    """Make collections of a few hundred rows be searched as large ones are: through the index, with masks."""
    monkeypatch.setattr(plan, "GATHERED_ROWS", 8)


def document(rng, identity, gap=" "):
    text = " ".join(rng.choices(WORDS, k=4)) + f"{gap}{identity} {rng.randrange(10**6)}"
    return Document(identity, text, title=rng.choice(["", "a title"]), metadata={"n": rng.randrange(10)})


def documents(seed, prefix, count):
    rng = random.Random(f"{seed} {prefix}")
    return [document(rng, f"{prefix}{i}") for i in range(count)]


def changed(seed, state, ids):
    """Other texts for `ids`, some of them long that were short, or short that were long."""
    rng = random.Random(f"{seed} changed")
    return [
        document(rng, identity, GAP if identity in TURNING and GAP not in state[identity].text else " ")
        for identity in ids
    ]


def relabelled(state, ids):
    """The same texts with other metadata."""
    return [replace(state[identity], metadata={"n": 10 + number % 5}) for number, identity in enumerate(ids)]


def with_these(state, added=(), removed=()):
    """The state after adding documents and removing ids."""
    return {key: entry for key, entry in state.items() if key not in removed} | {entry.id: entry for entry in added}


def make_base(home, backend="hnsw", count=150):
    """A closed collection in `home` with an index, rows newer than it, and removed rows; its state.

    Larger than any pool of candidates, and written to after the index was built. One document is long, and one was.
    """
    state = {entry.id: entry for entry in documents(0, "b", count)}
    with semsearch.create(NAME, encoder=HashEncoder(DIM), home=home) as collection:
        collection.add(list(state.values()))
        collection.reindex(backend, BACKENDS[backend])
        for step in (changed(1, state, [f"b{i}" for i in range(0, 40, 2)]), documents(0, "tail", 20)):
            collection.add(step)
            state = with_these(state, step)
        gone = ["b0", *[f"b{i}" for i in range(41, 60, 2)], "tail3"]
        collection.remove(gone)
    return with_these(state, removed=gone)


def open_it(home, name=NAME):
    """The collection, with the encoder that it was made with last."""
    store = Store(home / name)
    try:
        fingerprint = store.settings["encoder"]["fingerprint"]
    finally:
        store.close()
    _, dim, salt = fingerprint.split("-")
    return semsearch.open(name, home=home, encoder=HashEncoder(int(dim), int(salt)))


def violations(collection, possible):
    """What is wrong with `collection`, which must be in one of the `possible` states."""
    there = {entry.id: entry for entry in collection.documents()}
    if there not in possible:
        return [f"{len(there)} documents, which is none of the {len(possible)} states that may be there"]
    problems = [f"check says: {problem.part}: {problem.what}" for problem in collection.check(deep=True)]
    return [*problems, *wrong_answers(collection, there)]


def embedded(entry):
    return f"{entry.title} {entry.text}" if entry.title else entry.text


def oracle(encoder, there, k):
    """For each of `QUERIES` the best `k` of `there` as (id, score), by brute force."""
    listed = list(there.values())
    vectors = encoder.encode_documents([embedded(entry) for entry in listed])
    found = brute_force(np.arange(len(listed)), vectors, encoder.encode_queries(QUERIES), max(k, 1), Metric.COSINE)
    return [
        [(listed[key].id, score) for key, score in zip(*row, strict=True)]
        for row in ((keys.tolist(), scores.tolist()) for keys, scores in found)
    ]


def wrong_words(collection, there):
    """Which documents hold words."""
    wrong = []
    with collection.engine.store.read() as view:
        ids = dict(view.connection.exec_driver_sql("SELECT key, id FROM passages JOIN documents USING (doc)").all())
        for words in ("word3", "word40 title"):
            keys, _, _ = Lexical(collection.engine.store).search(view, parse(words), len(there) + 1)
            holding = {key for key, entry in there.items() if {*embedded(entry).split()} & {*words.split()}}
            if sorted(ids.get(key, f"no document ({key})") for key in keys.tolist()) != sorted(holding):
                wrong.append(f"{words}: {len(keys)} documents instead of {len(holding)}")
    return wrong


def wrong_answers(collection, there, tuned=False):
    """Counts, texts, ids and scores, through the index and without, filtered and not, against brute force; words.

    An index that was `tuned` to a recall may miss some of a few; what it gives must be right all the same.
    """
    wrong = []
    if (len(collection), collection.count_passages()) != (len(there), len(there)):
        wrong.append(f"counts {len(collection)} and {collection.count_passages()} for {len(there)} documents")
    wrong += wrong_words(collection, there)
    encoder = collection.encoder
    low = {identity: entry for identity, entry in there.items() if entry.metadata["n"] < 6}
    collection.load_index()
    for what, subset, k, options in (
        ("a few", there, 5, {}),
        ("exactly", there, 5, {"exact": True}),
        ("everything", there, max(len(there), 1), {}),
        ("filtered", low, 5, {"where": {"n": {"$lt": 6}}}),
        ("all that the filter allows", low, max(len(there), 1), {"where": {"n": {"$lt": 6}}}),
    ):
        if not subset and "where" in options:
            continue
        answers = collection.search_many(QUERIES, k, **options)
        approximate = tuned and what in ("a few", "filtered")
        truths = oracle(encoder, subset, len(subset) if approximate else k)
        for query, (hits, truth) in enumerate(zip(answers, truths, strict=True)):
            found = [(hit.document.id, hit.score) for hit in hits]
            if approximate:
                truth = [pair for pair in truth if pair in set(found)][:k]
                wrong += [f"{what}, query {query}: {len(hits)} hits"] if len(hits) != min(k, len(subset)) else []
            if found != truth:
                wrong.append(f"{what}, query {query}: {len(hits)} hits are not the {len(truth)} of brute force")
            for hit in hits:
                if hit.document != there.get(hit.document.id):
                    wrong.append(f"{what}, query {query}: document {hit.document.id} is not what was put in")
    return wrong


@contextmanager
def at_each_failpoint(action):
    """Call `action(number, name)` at each failpoint."""
    count = 0

    def at(name):
        nonlocal count
        count += 1
        action(count - 1, name)

    failpoints.arm(at)
    try:
        yield
    finally:
        failpoints.arm(None)
