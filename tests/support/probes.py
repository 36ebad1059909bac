"""Probes of what makes a store trustworthy: each gives a list of what is wrong, empty for a sound store.

They are run on the store as it is, and on each mutant (`mutants.py`), where they must find something.
"""

import shutil
from contextlib import contextmanager, suppress
from unittest import mock

import numpy as np
import pytest

import semsearch
from semsearch import plugins
from semsearch.errors import CollectionLocked
from semsearch.local import view as local_view
from semsearch.local.store import failpoints, lock
from semsearch.local.store.schema import PIECE
from semsearch.types import Neighbors
from semsearch.vectors import score_pairs
from support.crashes import left_behind
from support.fakes import HashEncoder
from support.power_cuts import power_cuts
from support.workload import (
    BACKENDS,
    DIM,
    NAME,
    QUERIES,
    changed,
    documents,
    embedded,
    make_base,
    open_it,
    oracle,
    violations,
    with_these,
    wrong_answers,
)

PROBES = {}


def probe(name):
    def register(function):
        PROBES[name] = function
        return function

    return register


def power(operation):
    """The power goes right after each commit of an operation, and at its end."""

    def run(base, memory, mutant):
        with pytest.MonkeyPatch.context() as patch, mutant():
            return power_cuts(base, memory, operation, patch, lambda point: point == "committed")[0]

    return run


PROBES["power"] = power("update")
PROBES["power of a new collection"] = power("create")
PROBES["power of a compaction"] = power("compact")


def crash(operation, point):
    """Killed at the first failpoint of that name; None: it runs to its end."""

    def run(base, memory, mutant):
        name = getattr(mutant, "mutant", None)
        die_at = None
        if point is not None:
            _, points = left_behind(base, memory / "whole", operation, None, name)
            die_at = points.index(point)
        return left_behind(base, memory / "killed", operation, die_at, name)[0]

    return run


PROBES["crash in an update"] = crash("update", "write segment")
PROBES["crash in a removal"] = crash("remove", None)
PROBES["crash in a compaction"] = crash("compact", "optimize full text")


def copied(base, memory):
    shutil.copytree(base[0], memory / "home")
    return memory / "home"


@probe("pragmas")
def pragmas(base, memory, mutant):
    """Every connection waits for the disk at each commit."""
    with mutant(), open_it(copied(base, memory)) as collection, collection.engine.store.database.write() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("synchronous", "journal_mode", "foreign_keys")
        }
    expected = {"synchronous": 2, "journal_mode": "wal", "foreign_keys": 1}
    return [] if found == expected else [str(found)]


@probe("orphan tail")
def orphan_tail(base, memory, mutant):
    """Bytes behind the committed rows are not there for readers, and are cut off by writers."""
    home = copied(base, memory)
    path = next((home / NAME).glob("vectors-*.f32"))
    with path.open("ab") as file:
        file.write(np.full((3, DIM), 0.5, "<f4").tobytes() + b"torn")
    state, more = base[1], documents(9, "after", 3)
    with mutant(), open_it(home) as collection:
        wrong = violations(collection, [state])
        collection.add(more)
        return wrong + violations(collection, [with_these(state, more)])


def impatient():
    """Writers wait for a moment only."""
    return mock.patch.object(lock.WriterLock.__init__, "__defaults__", (0.05, "lock"))


@contextmanager
def armed(at):
    failpoints.arm(at)
    try:
        yield
    finally:
        failpoints.arm(None)


@probe("two writers")
def two_writers(base, memory, mutant):
    """What comes while another writes waits for a bounded time and is refused; nothing is written over."""
    home, state = copied(base, memory), base[1]
    mine, other = documents(9, "mine", 3), documents(9, "other", 2)
    refused = []

    def at(name):
        if name == "write vectors":
            failpoints.arm(None)
            with open_it(home) as second:
                try:
                    second.add(other)
                except CollectionLocked as error:
                    refused.append(str(error))

    with mutant(), impatient(), open_it(home) as collection:
        with armed(at):
            collection.add(mine)
        states = [with_these(state, mine)] if refused else [with_these(state, [*other, *mine])]
        return violations(collection, states)


@probe("sweep beside a compaction")
def sweep_beside_a_compaction(base, memory, mutant):
    """Files that are about to be committed are not taken for rubbish by another process."""
    home, state = copied(base, memory), base[1]

    def at(name):
        if name == "optimize full text":
            with open_it(home) as second, suppress(CollectionLocked):
                second.engine.store.sweep()

    with mutant(), impatient(), open_it(home) as collection, armed(at):
        collection.compact()
    with open_it(home) as collection:
        return violations(collection, [state])


@probe("keys")
def keys(base, memory, mutant):
    """A key is never given twice, nor to another vector."""
    wrong = []
    with mutant(), open_it(copied(base, memory)) as collection:
        used = all_keys(collection)
        greatest = max(used)
        newest = next(identity for identity, key in keys_by_id(collection).items() if key == greatest)
        collection.remove([newest])
        collection.add(documents(9, "after", 1))
        collection.add(changed(9, None, ["b1"]))
        before = used
        for identity in ("after0", "b1"):
            key = keys_by_id(collection)[identity]
            if key in before:
                wrong.append(f"{identity} got the key {key}, which was used before")
        collection.add(changed(10, None, ["after0"]))
        if keys_by_id(collection)["after0"] <= greatest:
            wrong.append("an update kept its key")
    return wrong


def keys_by_id(collection):
    with collection.engine.store.read() as view:
        rows = view.connection.exec_driver_sql("SELECT id, key FROM passages JOIN documents USING (doc)").all()
    return dict(tuple(row) for row in rows)


def all_keys(collection):
    with collection.engine.store.read() as view:
        return set(view.snapshot.keys.tolist())


@probe("answers")
def answers(base, memory, mutant):
    """A collection with an index, newer rows and removed ones is searched without a wrong answer or a warning."""
    warnings = []
    with mutant(), mock.patch.object(local_view.log, "warning", lambda *said: warnings.append(said[0])):
        state = make_base(memory)
        with open_it(memory) as collection:
            return violations(collection, [state]) + warnings


@probe("a reader")
def a_reader(base, memory, mutant):
    """A reader that was there before sees each commit: new rows, removed ones, other metadata."""
    home, state = copied(base, memory), base[1]
    wrong = []
    with mutant(), open_it(home) as reader, open_it(home) as writer:
        wrong += wrong_answers(reader, state)
        for number in range(3):
            more = documents(number, "later", 4)
            more += [semsearch.Document("b1", state["b1"].text, state["b1"].title, {"n": 1 + 6 * (number % 2)})]
            writer.add(more)
            writer.remove([f"b{20 + 2 * number}"])
            state = with_these(state, more, [f"b{20 + 2 * number}"])
            wrong += wrong_answers(reader, state)
    return wrong


class Liar:
    """An index that makes up scores and keys, and repeats itself."""

    def __init__(self, index):
        self._index = index

    def search(self, queries, k):
        found = self._index.search(queries, k)
        made_up = found.keys.copy()
        made_up[:, -1] = 10**12
        made_up[:, -2] = made_up[:, 0]
        return Neighbors(made_up, found.scores[:, ::-1] + 1)

    def __len__(self):
        return len(self._index)


@probe("a lying index")
def a_lying_index(base, memory, mutant):
    """Whatever an index says: ids are there, each once, and scores are those of the stored vectors."""
    wrong = []
    with mutant(), open_it(copied(base, memory)) as collection:
        collection.load_index()
        registered, loaded = collection.engine._loader._loaded
        collection.engine._loader._loaded = (registered, type(loaded)(loaded.number, Liar(loaded.index), loaded.rows))
        encoder = collection.encoder
        for group_by in ("document", None):
            try:
                found = collection.search_many(QUERIES, 5, group_by=group_by)
            except KeyError as error:
                return [f"a key that the index made up was believed: {error}"]
            for query, hits in zip(encoder.encode_queries(QUERIES), found, strict=True):
                if len({hit.key for hit in hits}) != 5:
                    wrong.append(f"{len({hit.key for hit in hits})} of 5 hits")
                for hit in hits:
                    vector = encoder.encode_documents([embedded(hit.document)])
                    if hit.score != score_pairs(query, vector, encoder.metric)[0]:
                        wrong.append(f"{hit.document.id} has the score {hit.score}")
    return wrong


@probe("damaged vectors")
def damaged_vectors(base, memory, mutant):
    """A row whose bytes changed is left out; all others are served."""
    home, state = copied(base, memory), base[1]
    wrong = []
    with open_it(home) as collection:
        found = collection.search_many(QUERIES, 3)
        spoilt = {hits[0].document.id for hits in found}
        with collection.engine.store.read() as view:
            places = view.snapshot.rows_of(np.array([hits[0].key for hits in found]))
    path = next((home / NAME).glob("vectors-*.f32"))
    rows = np.fromfile(path, "<f4").reshape(-1, DIM)
    rows[places, 0] *= np.float32(1.0001)  # hardly to be seen in a score
    rows.tofile(path)
    sound = {identity: entry for identity, entry in state.items() if identity not in spoilt}
    with mutant(), open_it(home) as collection:
        for options in ({}, {"exact": True}, {"where": {"n": {"$gte": 0}}}):
            hits = collection.search_many(QUERIES, 5, **options)
            if [[(hit.document.id, hit.score) for hit in row] for row in hits] != oracle(HashEncoder(DIM), sound, 5):
                wrong.append(f"a damaged vector was served, or a sound one was not ({options})")
    return wrong


@probe("damaged text")
def damaged_text(base, memory, mutant):
    """A document that is not what was put in is left out, a long one too; all others are served."""
    home, state = copied(base, memory), base[1]
    with open_it(home) as collection:
        spoilt = {hits[0].document.id for hits in collection.search_many(QUERIES, 1)}
        with collection.engine.store.database.write() as connection:
            for identity in spoilt:
                connection.exec_driver_sql("UPDATE documents SET text = text || 'x' WHERE id = ?", (identity,))
            connection.exec_driver_sql("UPDATE pieces SET text = 'x' || substr(text, 2) WHERE number = 0")
    long = {identity for identity, entry in state.items() if len(entry.text) > PIECE}
    assert long
    spoilt |= long
    sound = {identity: entry for identity, entry in state.items() if identity not in spoilt}
    with mutant(), open_it(home) as collection:
        found = [[(hit.id, hit.score) for hit in hits] for hits in collection.search_many(QUERIES, 1000, exact=True)]
    return [] if found == oracle(HashEncoder(DIM), sound, 1000) else ["a document that was changed was served"]


@probe("damaged index")
def damaged_index(base, memory, mutant):
    """The library never sees bytes that were changed; the search is exact, and the answers right."""
    home, state = copied(base, memory), base[1]
    file = next((home / NAME).glob("indexes/*/graph.hnsw"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    return refused(home, state, mutant)


@probe("another index")
def another_index(base, memory, mutant):
    """An index that is whole, but not the one that was published, is not taken for it."""
    home, state = copied(base, memory), base[1]
    with open_it(home) as collection:
        collection.reindex("hnsw", BACKENDS["hnsw"])
        old = next((home / NAME).glob("indexes/*"))
        shutil.copytree(old, memory / "old")
        collection.reindex("hnsw", {**BACKENDS["hnsw"], "M": 5})
        new = next((home / NAME).glob("indexes/*"))
    shutil.rmtree(new)
    shutil.copytree(memory / "old", new)
    return refused(home, state, mutant)


def refused(home, state, mutant):
    kind = plugins.index_backend("hnsw")
    seen = []
    load = kind.load

    def spy(*arguments):
        seen.append(arguments)
        return load(*arguments)

    with mutant(), mock.patch.object(kind, "load", staticmethod(spy)), open_it(home) as collection:
        wrong = wrong_answers(collection, state)
        described = collection.info()["index"]["state"]
        if described == "ready":
            wrong.append("the index counts as ready")
    return wrong + ["the library was given the file"] * len(seen)


@probe("erasing")
def erasing(base, memory, mutant):
    """After a compaction nothing of a removed document is in any file."""
    home = memory
    secret = semsearch.Document("gone-id", "the unmistakable xyzzyplugh word", metadata={"m": "grue"})
    with mutant(), semsearch.create("erased", encoder=HashEncoder(DIM), home=home, index="hnsw") as collection:
        collection.add(documents(1, "kept", 40))
        collection.add([secret])
        collection.reindex("hnsw")
        vector = HashEncoder(DIM).encode_documents([secret.text])
        if not traces(collection.path, vector):
            return ["the probe looks for the wrong thing"]
        collection.remove(["gone-id"])
        if not collection.compact().erased:
            return ["it says that it did not erase"]
        return traces(collection.path, vector)


def traces(folder, vector):
    """Where a secret's words, id, metadata or vector are to be found."""
    looked_for = [b"xyzzyplugh", b"gone-id", b"grue", vector.astype("<f4").tobytes()]
    return [
        f"{what[:12]!r} is in {path.name}"
        for path in folder.rglob("*")
        if path.is_file()
        for what in looked_for
        if what in path.read_bytes()
    ]
