"""One writer and many readers, in threads and processes: each search sees one state, and nobody waits for ever."""

import faulthandler
import itertools
import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest
from support.fakes import HashEncoder
from support.forking import server
from support.workload import (
    BACKENDS,
    DIM,
    FULL,
    NAME,
    documents,
    make_base,
    open_it,
    through_indexes,
    violations,
    wrong_answers,
)

import semsearch
from semsearch.errors import CollectionLocked, CollectionNotFound, SemsearchError
from semsearch.local import planner as plan
from semsearch.local.index import build as indexing
from semsearch.local.store import lock
from semsearch.types import Document

pytestmark = pytest.mark.trust

forks = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
PATIENCE = 60
BASE = 158  # documents in the base collection


@pytest.fixture(autouse=True)
def _as_large(monkeypatch):
    through_indexes(monkeypatch)


def pair(version):
    """Two documents that are only ever written together."""
    return [Document(f"pair-{side}", f"pairword version{version}", metadata={"n": version}) for side in "ab"]


def torn(collection, version_before=0):
    """What is wrong with one search that finds everything; the version of the pair in it."""
    hits = collection.search("word1 word2", 1000)
    versions = [hit.document.metadata["n"] for hit in hits if hit.document.id.startswith("pair-")]
    texts = {hit.document.text for hit in hits if hit.document.id.startswith("pair-")}
    if len(versions) != 2 or len(hits) != BASE + 2 or texts != {f"pairword version{versions[0]}"}:
        return [f"two states in one search: {len(hits)} hits, {texts}"], version_before
    if versions[0] < version_before:
        return [f"version {versions[0]} after {version_before}"], version_before
    return [], versions[0]


def read(home, stop, started, report):
    """In a reader's process: search until told to stop; report what was wrong and how many searches there were."""
    plan.GATHERED_ROWS = 8
    wrong, count, version = [], 0, 0
    with open_it(home) as collection:
        while not wrong and not stop.is_set():
            wrong, version = torn(collection, version)
            count += 1
            started.release()
    report.put((wrong, count))


@forks
def test_processes_read_while_one_writes(memory):
    make_base(memory)
    context = server()
    stop, report, started = context.Event(), context.Queue(), context.Semaphore(0)
    with open_it(memory) as writer:
        writer.add(pair(0))
        readers = [context.Process(target=read, args=(memory, stop, started, report)) for _ in range(3)]
        for reader in readers:
            reader.start()
        for _ in readers:
            assert started.acquire(timeout=PATIENCE)
        for version in range(1, 200 if FULL else 20):
            writer.add(pair(version))
            if version % 7 == 0:
                writer.reindex("hnsw", BACKENDS["hnsw"])
            if version % 11 == 0:
                writer.compact()
        stop.set()
    told = [report.get(timeout=PATIENCE) for _ in readers]
    for reader in readers:
        reader.join(PATIENCE)
        assert reader.exitcode == 0
    assert [wrong for wrong, _ in told] == [[]] * 3
    assert all(count for _, count in told)


def test_threads_read_while_indexes_are_swapped_and_rows_compacted(memory, note, caplog):
    """A swap or a compaction under eight readers, again and again."""
    rounds = 1000 if FULL else 16
    note(f"swaps and compactions under 8 readers: {rounds} times; 'make crash' does 1,000")
    state = make_base(memory)
    wrong, stop, version = [], threading.Event(), 0

    def look(collection):
        seen = 0
        while not stop.is_set() and not wrong:
            found, seen = torn(collection, seen)
            wrong.extend(found)

    with open_it(memory) as writer, open_it(memory) as other:
        writer.add(pair(0))
        threads = [
            threading.Thread(target=look, args=(collection,))
            for collection in itertools.islice(itertools.cycle([writer, other]), 8)
        ]
        for thread in threads:
            thread.start()
        backends = itertools.cycle(["hnsw", "annoy", "hnsw", "faiss-ivf"])
        for number in range(rounds):
            if number % 3 == 0:
                version += 1
                writer.add(pair(version))
            if number % 2:
                writer.compact()
            else:
                backend = next(backends)
                writer.reindex(backend, BACKENDS[backend])
            if wrong:
                break
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        state = state | {entry.id: entry for entry in pair(version)}
        assert wrong == []
        assert wrong_answers(other, state) == []
    assert "damaged" not in caplog.text  # an index that was replaced is not called broken


def write(home, prefix, report):
    with open_it(home) as collection:
        for entry in documents(0, prefix, 12):
            collection.add([entry])
    report.put(prefix)


@forks
def test_writers_in_two_processes_both_succeed(memory):
    state = make_base(memory)
    context = server()
    report = context.Queue()
    writers = [context.Process(target=write, args=(memory, prefix, report)) for prefix in ("left", "right")]
    for writer in writers:
        writer.start()
    assert {report.get(timeout=PATIENCE) for _ in writers} == {"left", "right"}
    for writer in writers:
        writer.join(PATIENCE)
    state |= {entry.id: entry for prefix in ("left", "right") for entry in documents(0, prefix, 12)}
    with open_it(memory) as collection:
        assert violations(collection, [state]) == []


def hold(home, ready, done):
    with open_it(home) as collection, collection.engine.store.write():
        ready.set()
        done.wait(PATIENCE)


@forks
def test_a_second_writer_is_told_who_writes_within_its_time(memory, monkeypatch):
    make_base(memory)
    monkeypatch.setattr(lock.WriterLock.__init__, "__defaults__", (0.3, "lock"))
    context = server()
    ready, done = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(memory, ready, done))
    holder.start()
    assert ready.wait(PATIENCE)
    with open_it(memory) as collection:
        begun = time.monotonic()
        with pytest.raises(CollectionLocked, match=f"process {holder.pid}.*again"):
            collection.add(documents(0, "late", 1))
        assert time.monotonic() - begun < 10
        assert len(collection.search("word1", 3)) == 3  # readers don't wait
        done.set()
        holder.join(PATIENCE)
        assert collection.add(documents(0, "late", 1)).added == 1


def test_what_is_added_is_added_while_another_process_builds_an_index(memory, monkeypatch):
    state = make_base(memory)
    monkeypatch.setattr(lock.WriterLock.__init__, "__defaults__", (0.3, "lock"))
    monkeypatch.setattr(indexing, "VECTOR_TAIL_ROWS", 0)
    monkeypatch.setattr(indexing, "VECTOR_TAIL_SHARE", 0)  # an index is due with every row
    more = documents(0, "more", 3)
    with open_it(memory) as collection:
        with lock.WriterLock(collection.path, name="rebuild").hold():
            assert collection.add(more).added == 3
        assert violations(collection, [state | {entry.id: entry for entry in more}]) == []


def test_threads_of_one_process_take_turns(memory):
    state = make_base(memory)
    with open_it(memory) as collection:
        errors = []

        def add(prefix):
            try:
                for entry in documents(0, prefix, 6):
                    collection.add([entry])
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=add, args=(f"t{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert errors == []
        state |= {entry.id: entry for number in range(4) for entry in documents(0, f"t{number}", 6)}
        assert violations(collection, [state]) == []


def in_a_fork(work):
    """Whether `work()` ends well in a forked child, in bounded time."""
    child = os.fork()
    if child == 0:
        faulthandler.dump_traceback_later(PATIENCE / 2)  # says where it hangs
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def exercise_threads(collection):
    """Let torch and FAISS start the threads that a fork does not copy."""
    import faiss
    import torch

    torch.set_num_threads(2)
    torch.rand(1000, 1000) @ torch.rand(1000, 1000)
    vectors = np.random.default_rng(0).standard_normal((5000, 16)).astype(np.float32)
    faiss.omp_set_num_threads(2)
    faiss.Kmeans(16, 20).train(vectors)
    collection.search("word1")


@forks
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_fork_after_use_searches_and_writes(memory, backend):
    """As a server does that loads first and forks then."""
    state = make_base(memory, backend)
    with open_it(memory) as collection:
        exercise_threads(collection)
        assert wrong_answers(collection, state) == []
        more = documents(0, "child", 2)

        def work():
            before = wrong_answers(collection, state)
            collection.add(more)
            collection.reindex(backend, {name: value for name, value in BACKENDS[backend].items() if name != "threads"})
            return before + wrong_answers(collection, state | {entry.id: entry for entry in more}) == []

        assert in_a_fork(work)
        assert violations(collection, [state | {entry.id: entry for entry in more}]) == []


@forks
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_other_threads_hold_every_lock(memory):
    state = make_base(memory)
    with open_it(memory) as collection:
        exercise_threads(collection)
        locks = [collection.engine._loader._lock, collection._model._lock, collection.engine.store._lock._threads]
        held, release = threading.Event(), threading.Event()

        def holder():
            for each in locks:
                each.acquire()
            held.set()
            release.wait(PATIENCE)
            for each in locks:
                each.release()

        thread = threading.Thread(target=holder)
        thread.start()
        assert held.wait(PATIENCE)
        try:
            assert in_a_fork(lambda: not wrong_answers(collection, state) and collection.remove(["b1"]) == 1)
        finally:
            release.set()
            thread.join(PATIENCE)


def test_two_homes_at_once(tmp_path):
    homes = [tmp_path / name for name in ("a", "b")]
    errors = []

    def fill(home):
        try:
            with semsearch.create(NAME, encoder=HashEncoder(DIM), home=home) as collection:
                collection.add(documents(0, "x", 5))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=fill, args=(home,)) for home in homes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert errors == []


def made(home, number):
    """The collection anew, each time with another count of documents; each says which time it was."""
    with semsearch.create(NAME, encoder=HashEncoder(DIM), home=home) as collection:
        texts = [Document(f"{number}-{i}", f"time{number} word{i}", metadata={"n": number}) for i in range(20 + number)]
        collection.add(texts)


def replace_when_told(home, times, go, replaced, report):
    wrong = []
    for number in range(1, times):
        go.acquire()
        try:
            semsearch.drop(NAME, home=home)
            made(home, number)
        except SemsearchError as error:
            wrong.append(f"{type(error).__name__}: {error}")
        replaced.release()
    report.put(wrong)


def mixed(collection):
    """What is wrong with one answer, which must be of one collection wholly."""
    hits = collection.search("word3", 1000)
    if not hits:  # it was only just made
        return []
    times = {hit.document.metadata["n"] for hit in hits}
    (number,) = times if len(times) == 1 else (None,)
    if number is None or len(hits) != 20 + number:
        return [f"{len(hits)} hits of the times {times}"]
    encoder = HashEncoder(DIM)
    (query,) = encoder.encode_queries(["word3"])
    for hit in hits:
        (own,) = encoder.encode_documents([hit.document.text])
        if abs(float(query @ own) - hit.score) > 1e-5:
            return [f"{hit.document.id} has the score of another"]
    return []


@forks
def test_it_is_dropped_and_made_anew_under_threads_that_read(tmp_path):
    """Each answer is of one of the collections wholly, or it is the error that says so."""
    made(tmp_path, 0)
    times, context = 40 if FULL else 6, server()
    report, go, replaced = context.Queue(), context.Semaphore(0), context.Semaphore(0)
    replacing = context.Process(target=replace_when_told, args=(tmp_path, times, go, replaced, report))
    replacing.start()
    wrong = []

    def look(collection, enough):
        try:
            more = 5
            while not wrong and more:
                more -= enough.is_set()
                wrong.extend(mixed(collection))
            wrong.append("what was replaced answers on")
        except CollectionNotFound:
            pass
        except Exception as error:
            wrong.append(f"{type(error).__name__}: {error}")

    for _ in range(1, times):
        enough = threading.Event()
        with open_it_here(tmp_path) as collection:
            wrong += mixed(collection)
            threads = [threading.Thread(target=look, args=(collection, enough)) for _ in range(12)]
            go.release()
            for thread in threads[:3]:  # they read while it is replaced; the others have no connection until it is
                thread.start()
            assert replaced.acquire(timeout=PATIENCE)
            enough.set()
            for thread in threads[3:]:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE)
    assert report.get(timeout=PATIENCE) + wrong == []
    replacing.join(PATIENCE)
    with open_it_here(tmp_path) as collection:
        assert mixed(collection) == []
        assert collection.check(deep=True) == []


def open_it_here(home):
    return semsearch.open(NAME, encoder=HashEncoder(DIM), home=home)
