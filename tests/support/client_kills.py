"""Clients of a PostgreSQL that are killed (SIGKILL) at every exchange with the server: `make kill-clients`.

    PYTHONPATH=tests python -m support.client_kills [SEED] [SAMPLE]

Each operation is done once in a child that lives, which counts its exchanges; then again on a collection like the first
for each of them, in a child that dies at that one: before it sends anything, or when it has sent and has heard nothing,
so that the server goes on without it. What is left is sound, each document is as before or as after, and the operation
done again ends as it does in the child that lives.
"""

import contextlib
import itertools
import os
import random
import signal
import sys
import traceback
from unittest import mock

import semsearch
from semsearch import models
from semsearch.errors import ModelMismatch
from semsearch.postgres import forward_steps, tables
from semsearch.postgres.watched_session import WatchedSession
from semsearch.testing.encoder import HashEncoder, SparseWords
from semsearch.types import Document

NOTES = [Document(f"n{number}", f"note {number} of the fox", metadata={"n": number}) for number in range(6)]
MORE = [Document("n0", "another text"), Document("new", "a zebra", metadata={"colour": "red"}), Document("n1", "a yak")]
EACH_ITS_OWN = ("uuid", "created", "calibration")  # settings that are others in each collection
NUMBERS = itertools.count()
OTHER = HashEncoder(dim=8, salt=1)


@contextlib.contextmanager
def tomorrow():
    """A semsearch with another schema."""
    step = {tables.POSTGRES_SCHEMA: lambda session: session.execute("ALTER TABLE questions ADD COLUMN asked int")}
    with (
        mock.patch.dict(forward_steps.FORWARD_STEPS, step),
        mock.patch.object(tables, "POSTGRES_SCHEMA", tables.POSTGRES_SCHEMA + 1),
    ):
        yield


OPERATIONS = {
    "add": lambda collection: collection.add(MORE),
    "remove": lambda collection: collection.remove(["n0", "n3", "nobody"]),
    "update_metadata": lambda collection: collection.update_metadata(["n0", "n1"], {"colour": "red", "n": 7}),
    "change_language": lambda collection: collection.change_language("fr"),
    "reindex": lambda collection: collection.reindex("hnsw", {"M": 4, "ef_construction": 8}),
    "exact": lambda collection: collection.reindex("exact"),
    "reencode": lambda collection: collection.reencode(OTHER),
    "add_sparse": lambda collection: collection.add_sparse("words"),
    "remove_sparse": lambda collection: collection.remove_sparse(),
    "calibrate": lambda collection: collection.calibrate(),
    "migrate": lambda collection: collection.migrate(),
    "compact": lambda collection: collection.compact(),
    "repair": lambda collection: collection.repair(),
}
PREPARED = {
    "exact": OPERATIONS["reindex"],
    "remove_sparse": OPERATIONS["add_sparse"],
    "add": OPERATIONS["reindex"],
    "repair": lambda collection: _spoilt(
        collection,
        "UPDATE state SET documents = 99, version = version + 1",
        "DELETE FROM passages WHERE key = (SELECT min(key) FROM passages)",
        "DELETE FROM fields",
    ),
    "migrate": lambda collection: _spoilt(collection, "UPDATE state SET schema = schema - 1"),
}


def _spoilt(collection, *statements):
    with collection.engine._writing() as session:
        for statement in statements:
            session.execute(statement)


@contextlib.contextmanager
def each_exchange(at):
    """Call `at(number)` at each exchange with the server; where it says "sent", die before the answer comes."""
    wait, numbers = WatchedSession.wait, itertools.count()

    def counted(session, gen, *given, **named):
        if at(next(numbers)) == "sent":
            with contextlib.suppress(StopIteration):
                wanted = next(gen)
                while wanted & 2:  # it has something to send
                    wanted = gen.send(2)
            os.kill(os.getpid(), signal.SIGKILL)
        return wait(session, gen, *given, **named)

    with mock.patch.object(WatchedSession, "wait", counted):
        yield numbers


def opened(home, name="notes"):
    """The collection, with the model that it has by now."""
    try:
        return semsearch.open(name, home=home, encoder=HashEncoder())
    except ModelMismatch:
        return semsearch.open(name, home=home, encoder=OTHER)


def made(home, operation):
    """A collection as `operation` wants it."""
    with semsearch.create("notes", home=home, encoder=HashEncoder()) as collection:
        collection.add(NOTES)
        PREPARED.get(operation, lambda collection: None)(collection)


def in_a_child(home, operation, die_at=None, how="before"):
    """Do it in a child, which dies at an exchange; the number of exchanges where it lives."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:

            def at(number):
                if number == die_at and how == "before":
                    os.kill(os.getpid(), signal.SIGKILL)
                return how if number == die_at else ""

            with opened(home) as collection, each_exchange(at) as numbers:
                OPERATIONS[operation](collection)
                os.write(writer, str(next(numbers)).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as told:
        said = told.read()
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert ended == (0 if die_at is None else -signal.SIGKILL), f"{operation} at {die_at}: ended with {ended}"
    return int(said) if said else 0


def contents(home):
    """What is there, as somebody sees it; the number of a version is not among it."""
    with opened(home) as collection, collection.engine.view() as view:
        settings = {name: value for name, value in view.settings.items() if name not in EACH_ITS_OWN}
        stored = {
            passage.id: (passage.text, tuple(vector.tolist()))
            for passages, vectors in view.stored()
            for passage, vector in zip(passages, vectors, strict=True)
        }
        documents = {document.id: (document.text, str(document.metadata)) for document in view.documents()}
        return documents, stored, settings


def killed(home, operation, die_at, how, before, after):
    """What is wrong with what is left, in sentences."""
    made(home, operation)
    in_a_child(home, operation, die_at, how)
    wrong = []
    documents, _, _ = contents(home)
    wrong += [
        f"document {one} is neither as before nor as after"
        for one in {*documents, *before[0], *after[0]}
        if documents.get(one) not in (before[0].get(one), after[0].get(one))
    ]
    with opened(home) as collection:
        if operation != "repair":
            wrong += [
                problem.what
                for problem in collection.check(deep=True)
                if problem.part not in ("index", "sparse vectors")
            ]
        OPERATIONS[operation](collection)
    wrong += [
        f"done again it ends otherwise: {now}, {wanted}"
        for now, wanted in zip(contents(home), after, strict=True)
        if now != wanted
    ]
    with opened(home) as collection:
        if collection.check():  # half of a graph, which the next one that builds takes away
            collection.repair()
        wrong += [f"not mended: {problem.what}" for problem in collection.check(deep=True)]
    return [f"{operation}, killed at {die_at} ({how}): {one}" for one in wrong]


def rounds(homes, operation, chosen):
    """Kill `operation` at those of its exchanges that `chosen` takes; what was wrong, and how many kills."""
    with tomorrow(), mock.patch.object(models, "_sparse_encoders", lambda name, revision, compute: SparseWords(name)):
        home = homes()
        made(home, operation)
        before = contents(home)
        count = in_a_child(home, operation)
        after = contents(home)
        points = chosen([(number, how) for number in range(count) for how in ("before", "sent")])
        return [one for point in points for one in killed(homes(), operation, *point, before, after)], len(points)


def main(seed=0, sample=0):
    """All of them, or a seeded sample of so many of each."""
    from support.postgres import postgres

    generator, kills, wrong = random.Random(seed), 0, []
    with postgres() as server:
        for operation in OPERATIONS:
            found, count = rounds(
                lambda: server.url(schema=f"k{next(NUMBERS)}"),
                operation,
                lambda points: generator.sample(points, min(sample, len(points))) if sample else points,
            )
            kills, wrong = kills + count, wrong + found
            print(f"{operation}: {count} kills, {len(found)} wrong", flush=True)  # noqa: T201
    assert wrong == [], "\n".join(wrong)
    print(f"{kills} clients killed, nothing half")  # noqa: T201


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
