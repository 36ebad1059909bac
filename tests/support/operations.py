"""Everything that writes to a collection, as operations with the states that they go through.

The crash tests kill a process in the midst of them, the power cut tests take away what was not yet on the disk.
"""

import json
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import semsearch
from semsearch import models
from semsearch.errors import CollectionNotFound, DataError, SemsearchError
from semsearch.ingest import ingestion, sparse_filling
from semsearch.local.store import migrations, schema
from semsearch.opening import drop
from support.fakes import HashEncoder, SparseWords
from support.workload import (
    BACKENDS,
    DIM,
    NAME,
    QUERIES,
    changed,
    documents,
    embedded,
    open_it,
    relabelled,
    violations,
    with_these,
)


def unchanged(base):
    return [base]


def nothing_to_prepare(home):
    pass


def judge_subject(home, possible):
    """What is wrong with the collection in `home`, now and after it was written to once more."""
    with open_it(home) as collection:
        wrong = violations(collection, possible)
        if wrong:
            return wrong
        there = {entry.id: entry for entry in collection.documents()}
        more = documents(9, "after", 3)
        collection.add([*more, *changed(9, there, ["b1"])])
        collection.remove(["b7"])
        return violations(collection, [with_these(there, [*more, *changed(9, there, ["b1"])], ["b7"])])


@dataclass(frozen=True)
class Operation:
    """Something that is done to the base collection in `home`.

    `do(home, tell)` calls `tell(n)` once the state `n` of `states(base)` is acknowledged; the first one is the base.
    """

    do: Callable[[Path, Callable[[int], None]], object]
    states: Callable[[dict], list[Any]] = unchanged
    prepare: Callable[[Path], object] = nothing_to_prepare
    judge: Callable[[Path, list[Any]], list[str]] = judge_subject

    def judged(self, home, base, acknowledged):
        """What is wrong in `home`, where the acknowledged state must be, or the one that was under way."""
        try:
            return self.judge(home, self.states(base)[acknowledged : acknowledged + 2])
        except SemsearchError as error:
            return [f"{type(error).__name__}: {error}"]


def opened(step):
    """`step(collection, tell)` on the opened collection."""

    def do(home, tell):
        with open_it(home) as collection:
            step(collection, tell)

    return do


def added(make):
    """Adding what `make(base)` gives, in one batch."""

    def step(collection, tell):
        collection.add(make({entry.id: entry for entry in collection.documents()}))
        tell(1)

    return Operation(opened(step), lambda base: [base, with_these(base, make(base))])


NEW = documents(2, "new", 10)


@mock.patch.multiple(ingestion, READ_DOCUMENTS=4, BATCH_DOCUMENTS=4)
def add_in_batches(collection, tell):
    collection.add(NEW, progress=lambda progress: tell(progress.passages // 4))
    tell(3)


def remove(collection, tell):
    collection.remove(["b2", "b9", "tail5"])
    tell(1)


def reindexed(backend):
    return Operation(opened(lambda collection, tell: collection.reindex(backend, BACKENDS[backend])))


def index_words(collection, tell):
    """The first index of words, and one that takes over what the first one holds."""
    words = collection.engine._lexical_indexing
    words.rebuild()
    collection.add(documents(6, "w", 3))
    tell(1)
    words.rebuild()


MIXTURE = [
    lambda base: ("add", documents(3, "m", 7)),
    lambda base: ("reindex", "annoy", BACKENDS["annoy"]),
    lambda base: ("remove", ["m1", "m2", "b9"]),
    lambda base: ("add", changed(3, base, ["b3", "b5"])),
    lambda base: ("compact",),
    lambda base: ("add", relabelled(base, ["b4", "b11"])),
    lambda base: ("reindex", "faiss-ivf", BACKENDS["faiss-ivf"]),
    lambda base: ("add", documents(4, "m", 9)),
]


def mix(collection, tell):
    """A long mixture, so that each step begins with what others left."""
    for number, step in enumerate(MIXTURE):
        action, *arguments = step({entry.id: entry for entry in collection.documents()})
        getattr(collection, action)(*arguments)
        tell(number + 1)


def mixed_states(base):
    states = [base]
    for step in MIXTURE:
        action, *arguments = step(states[-1])
        put = arguments[0] if action == "add" else ()
        states.append(with_these(states[-1], put, arguments[0] if action == "remove" else ()))
    return states


def damage(home):
    """Spoil two vectors and the index."""
    folder = home / NAME
    path = next(folder.glob("vectors-*.f32"))
    rows = np.fromfile(path, dtype="<f4").reshape(-1, DIM)
    rows[[5, 100]] = np.nan
    rows.tofile(path)
    index = next(folder.glob("indexes/*/graph.hnsw"))
    index.write_bytes(b"nothing" + index.read_bytes()[7:])


def repair(collection, tell):
    collection.repair()
    tell(1)


def judge_repaired(home, possible):
    """Before it was acknowledged, repairing again must be all that it takes."""
    with open_it(home) as collection:
        collection.repair()
    return judge_subject(home, possible)


@contextmanager
def newer_schema():
    """The semsearch of tomorrow."""
    step = {
        schema.SCHEMA_VERSION: lambda connection: connection.exec_driver_sql(
            "CREATE TABLE novelties (text TEXT) STRICT"
        )
    }
    with (
        mock.patch.object(schema, "SCHEMA_VERSION", schema.SCHEMA_VERSION + 1),
        mock.patch.dict(migrations.MIGRATIONS, step),
    ):
        yield


def migrate(home, tell):
    with newer_schema():
        open_it(home).close()


def judge_migrated(home, possible):
    with newer_schema():
        return judge_subject(home, possible)


def create(home, tell):
    with semsearch.create("another", encoder=HashEncoder(DIM), home=home / "far" / "away") as collection:
        tell(1)
        collection.add(documents(5, "c", 3))
        tell(2)


def created_states(base):
    return [None, {}, {entry.id: entry for entry in documents(5, "c", 3)}]


def judge_created(home, possible):
    try:
        with open_it_at(home / "far" / "away", "another") as collection:
            return violations(collection, possible)
    except CollectionNotFound:
        return [] if None in possible else ["it was acknowledged, and is gone"]


def open_it_at(home, name):
    return semsearch.open(name, home=home, encoder=HashEncoder(DIM))


def take_away(home, tell):
    drop(NAME, home=home)
    tell(1)


def judge_dropped(home, possible):
    try:
        open_it_at(home, NAME).close()
    except CollectionNotFound:
        return [] if None in possible else ["it is gone"]
    return judge_subject(home, [state for state in possible if state is not None])


def back_up_and_restore(home, tell):
    with open_it(home) as collection:
        collection.backup(home / "kept.backup")
    tell(1)
    semsearch.restore(home / "kept.backup", "another", home=home / "elsewhere")
    tell(2)


def judge_restored(home, possible):
    """`possible` are pairs: the state in the backup, and in what was restored from it; None where there is none."""
    file = home / "kept.backup"
    if not file.exists():
        return [] if (None, None) in possible else ["the backup is gone"]
    try:
        semsearch.restore(file, "another", home=home / "judged")
    except DataError as error:
        return [f"the backup is broken: {error}"]
    with open_it_at(home / "judged", "another") as collection:
        wrong = violations(collection, [kept for kept, _ in possible])
    try:
        with open_it_at(home / "elsewhere", "another") as collection:
            wrong += violations(collection, [restored for _, restored in possible])
    except CollectionNotFound:
        if all(restored is not None for _, restored in possible):
            wrong.append("what was restored is gone")
    return wrong


SOURCE = documents(7, "s", 8)
LATER = [*SOURCE[2:], *documents(8, "s1", 2)]  # two are gone, two are new


def write_source(home, listed):
    """A file of documents beside the collections; the stores are what the tests kill, so it is put there whole."""
    text = "".join(
        json.dumps({"id": d.id, "title": d.title, "text": d.text, "metadata": d.metadata}) + "\n" for d in listed
    )
    (home / "new").write_text(text)
    (home / "new").replace(home / "source.jsonl")


def sync(collection, tell):
    """A source taken in and, when it has changed, followed."""
    collection.add_from(collection.path.parent / "source.jsonl")
    tell(1)
    write_source(collection.path.parent, LATER)
    collection.sync(most=1, progress=lambda progress: tell(2) if progress.passages else None)
    tell(3)


def synced_states(base):
    taken = with_these(base, SOURCE)
    added = with_these(taken, LATER)
    return [base, taken, added, with_these(added, removed=[entry.id for entry in SOURCE[:2]])]


def judge_synced(home, possible):
    """Whatever state it was left in, the next sync brings it in step with the file."""
    with open_it(home) as collection:
        wrong = violations(collection, possible)
        write_source(home, LATER)
        collection.add_from(home / "source.jsonl")
        collection.sync(most=1)
        there = {entry.id: entry for entry in collection.documents() if entry.id.startswith("s")}
        if there != {entry.id: entry for entry in LATER}:
            wrong.append(f"after another sync {sorted(there)} are not what the source holds")
        return [*wrong, *[f"check says: {problem.what}" for problem in collection.check(deep=True)]]


def sparse_words():
    """Any name is that of a sparse model without weights."""
    return mock.patch.object(models, "_sparse_encoders", lambda name, revision, compute: SparseWords(name))


def keep_sparse(home, tell):
    """Sparse vectors for what is there, for what comes, and an index of them; then a compaction."""
    with (
        sparse_words(),
        mock.patch.object(sparse_filling, "FILLED_PASSAGES", 64),
        open_it(home) as collection,
    ):
        collection.add_sparse("words")
        collection.engine._sparse_indexing.rebuild()
        collection.add(documents(6, "w", 3))
        tell(1)
        collection.remove(["b2", "b9", "tail5"])
        tell(2)
        collection.engine._sparse_indexing.rebuild()
        collection.compact()
        collection.add_sparse("others")


def sparse_states(base):
    added = with_these(base, documents(6, "w", 3))
    return [base, added, with_these(added, removed=["b2", "b9", "tail5"])]


def judge_sparse(home, possible):
    """What waits for its vector is known to, and gets it by the same call; then answers are those of brute force."""
    with sparse_words(), open_it(home) as collection:
        waits = "have no sparse vector yet"
        wrong = [problem for problem in violations(collection, possible) if waits not in problem]
        collection.add_sparse("words")
        there = {entry.id: entry for entry in collection.documents()}
        wrong += violations(collection, [there])
        encoder = SparseWords("words")
        vectors = encoder.encode_documents([embedded(entry) for entry in there.values()])
        for query in QUERIES:
            scores = encoder.encode_queries([query]).dot(vectors)[0]
            truth = {(identity, float(score)) for identity, score in zip(there, scores, strict=True) if score > 0}
            found = {(hit.id, hit.score) for hit in collection.search(query, len(there) + 1, mode="sparse")}
            if found != truth:
                wrong.append(f"{query}: {len(found)} sparse hits are not the {len(truth)} of brute force")
    return wrong or judge_sparsely(home, possible)


def judge_sparsely(home, possible):
    with sparse_words():
        return judge_subject(home, possible)


OPERATIONS = {
    "add": Operation(opened(add_in_batches), lambda base: [with_these(base, NEW[:count]) for count in (0, 4, 8, 10)]),
    "update": added(lambda base: changed(2, base, ["b2", "b9", "tail5"])),
    "metadata": added(lambda base: relabelled(base, ["b2", "b9"])),
    "remove": Operation(opened(remove), lambda base: [base, with_these(base, removed=["b2", "b9", "tail5"])]),
    **{f"reindex {backend}": reindexed(backend) for backend in BACKENDS},
    "tune": Operation(opened(lambda collection, tell: collection.tune(0.5))),
    "calibrate": Operation(opened(lambda collection, tell: collection.calibrate())),
    "index words": Operation(opened(index_words), lambda base: [base, with_these(base, documents(6, "w", 3))]),
    "language": Operation(opened(lambda collection, tell: collection.change_language("de,fr"))),
    "compact": Operation(opened(lambda collection, tell: collection.compact())),
    "reencode": Operation(opened(lambda collection, tell: collection.reencode(HashEncoder(DIM + 4, 1)))),
    "repair": Operation(opened(repair), lambda base: [base, base], damage, judge_repaired),
    "migrate": Operation(migrate, judge=judge_migrated),
    "sync": Operation(opened(sync), synced_states, lambda home: write_source(home, SOURCE), judge_synced),
    "sparse": Operation(keep_sparse, sparse_states, judge=judge_sparse),
    "mixture": Operation(opened(mix), mixed_states),
    "create": Operation(create, created_states, judge=judge_created),
    "drop": Operation(take_away, lambda base: [base, None], judge=judge_dropped),
    "backup": Operation(
        back_up_and_restore, lambda base: [(None, None), (base, None), (base, base)], judge=judge_restored
    ),
}
