"""Two long operations of two processes: one is held at a step while the other runs, and goes on or is killed."""

import os
import shutil
import signal
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from unittest import mock

from semsearch.errors import CollectionNotFound, SemsearchError
from semsearch.local.store import database, lock
from support.fakes import HashEncoder
from support.forking import server
from support.operations import OPERATIONS, Operation, newer_schema, opened, synced_states
from support.workload import DIM, at_each_failpoint, open_it, violations

PATIENCE = 60
LONG = {name: OPERATIONS[name] for name in ("reencode", "compact", "reindex hnsw", "backup", "sync", "migrate")}
LONG["reencode otherwise"] = Operation(opened(lambda collection, tell: collection.reencode(HashEncoder(DIM - 2, 2))))


@contextmanager
def impatient():
    """What another process holds is waited for only for a moment."""
    with (
        mock.patch.object(lock.WriterLock.__init__, "__defaults__", (0.05, "lock")),
        mock.patch.object(database, "BUSY_SECONDS", 0.05),
    ):
        yield


def run(home, name, stop_at, pipe):
    """In a child: do it, wait to be told at one of its failpoints, and say in the end how many it passed.

    To be refused is as good as to be done.
    """
    passed = 0

    def at(number, _):
        nonlocal passed
        passed = number + 1
        if number == stop_at:
            pipe.send(None)
            pipe.recv()

    with impatient(), at_each_failpoint(at), suppress(SemsearchError):
        LONG[name].do(home, lambda state: None)
    pipe.send(passed)


@contextmanager
def child(home, name, stop_at=None):
    """A process that does the operation, and the line to it."""
    here, there = server().Pipe()
    process = server().Process(target=run, args=(home, name, stop_at, there))
    process.start()
    there.close()
    try:
        yield process, here
        process.join(PATIENCE)
        assert process.exitcode in (0, -signal.SIGKILL), f"{name}: the process ended by itself"
    finally:
        process.kill()
        process.join()


def heard(line):
    assert line.poll(PATIENCE), "it hangs"
    return line.recv()


@cache
def steps(folder, room, name):
    """How many durable steps an operation takes on the collection in `folder`, alone."""
    shutil.copytree(folder, room)
    LONG[name].prepare(room)
    with child(room, name) as (_, line):
        count = heard(line)
    shutil.rmtree(room)
    return count


def left_by_two(base, home, first, second, stop_at, kill):
    """What is wrong after the operation `second` was done while `first` was held at a step.

    If it is to `kill`, the process of the first ends there, and what it did is done again after the second.
    """
    folder, state = base
    shutil.copytree(folder, home)
    for name in {first, second}:
        LONG[name].prepare(home)
    with child(home, first, stop_at) as (process, line):
        on_the_way = heard(line) is None
        with child(home, second) as (_, other):
            heard(other)
        if on_the_way and kill:
            os.kill(process.pid, signal.SIGKILL)
        elif on_the_way:
            line.send("go on")
            heard(line)
    if kill:
        with child(home, first) as (_, line):
            heard(line)
    possible = synced_states(state) if "sync" in (first, second) else [state]
    with newer_schema() if "migrate" in (first, second) else nullcontext():
        wrong = [*judged(home, possible), *judged(home / "elsewhere", possible, "another")]
    shutil.rmtree(home)
    how = "killed" if kill else "held"
    return [f"{first}, {how} at step {stop_at}, and {second}: {problem}" for problem in wrong]


def judged(home, possible, *name):
    """What is wrong with a collection, now and after its model was changed, if there is one."""
    try:
        with open_it(home, *name) as collection:
            wrong = violations(collection, possible)
            collection.compact()
            collection.reencode(HashEncoder(DIM + 2, 3))
            return [*wrong, *violations(collection, possible)]
    except CollectionNotFound:
        return [] if name else ["it is gone"]
    except SemsearchError as error:
        return [f"{type(error).__name__}: {error}"]
