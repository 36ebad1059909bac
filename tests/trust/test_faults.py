"""The inputs and faults that are known to break systems like this one: those of `docs/faults.md`, by their numbers.

What another file holds is named there; everything else is tested here.
"""

import errno
import hashlib
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest
from support.backends import BUILT_IN
from support.fakes import HashEncoder
from support.forking import server
from support.operations import OPERATIONS
from support.workload import (
    BACKENDS,
    DIM,
    NAME,
    QUERIES,
    at_each_failpoint,
    documents,
    make_base,
    open_it,
    oracle,
    sample,
    through_indexes,
    violations,
    with_these,
    wrong_answers,
)

import semsearch
from semsearch.errors import CollectionDamaged, CollectionError, DataError, EncodingFailed, SemsearchError, StorageError
from semsearch.local.store import platform
from semsearch.types import Document

pytestmark = pytest.mark.trust


@pytest.fixture(autouse=True)
def _as_large(monkeypatch):
    through_indexes(monkeypatch)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A closed collection for each backend; its folder and state."""
    homes = {backend: tmp_path_factory.mktemp(backend.replace("-", "")) for backend in BACKENDS}
    return {backend: (home, make_base(home, backend)) for backend, home in homes.items()}


@pytest.fixture
def copy(made, memory):
    """`copy(backend)`: a collection of its own to spoil, and its state."""

    def copied(backend="hnsw"):
        shutil.copytree(made[backend][0], memory / "home")
        return memory / "home", made[backend][1]

    return copied


def index_file(home):
    """The index's own file; exact search keeps none, so its manifest."""
    files = sorted((home / NAME).glob("indexes/*/*"))
    return next((file for file in files if not file.name.startswith(("manifest", "tag-"))), files[0])


# 1, 2, 3: indexes


SPOILT = {
    "missing": lambda content: None,
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "text": lambda content: b"this is no index\n" * 50,
    "longer": lambda content: content + bytes(1000),
    "bit": lambda content: content[:-9] + bytes([content[-9] ^ 4]) + content[-8:],
    "block": lambda content: content[:200] + os.urandom(len(content) // 10) + content[200 + len(content) // 10 :],
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("way", SPOILT)
def test_a_spoilt_index_is_told_of_done_without_and_built_anew(copy, backend, way, caplog):
    home, state = copy(backend)
    file = index_file(home)
    content = SPOILT[way](file.read_bytes())
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with open_it(home) as collection:
        assert wrong_answers(collection, state) == []
        assert collection.info()["index"]["state"] not in ("ready", "loading", "on disk")
        assert "Search is exact" in caplog.text or "build it anew" in caplog.text or "sha256 differs" in caplog.text
        more = documents(0, "more", 2)
        collection.add(more)  # a writer builds it anew
        assert wrong_answers(collection, with_these(state, more)) == []
        assert collection.info()["index"]["state"] == "ready"
        assert collection.info()["index"]["backend"] == backend
    with open_it(home) as collection:
        assert violations(collection, [with_these(state, more)]) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("collection", "another uuid"),
        ("model", "hash-8-77"),
        ("dim", 9),
        ("metric", "dot"),
        ("count", 10),
        ("highest_key", 10**6),
        ("backend", "annoy"),
        ("format", 99),
    ],
)
def test_an_index_of_something_else_is_refused(copy, name, value, caplog):
    """Even if the database had published it: every word of the manifest counts."""
    home, state = copy()
    path = index_file(home).with_name("manifest.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with closing(sqlite3.connect(home / NAME / "collection.sqlite")) as connection, connection:
        connection.execute("UPDATE indexes SET digest = ?", (hashlib.sha256(path.read_bytes()).hexdigest(),))
    with open_it(home) as collection:
        assert wrong_answers(collection, state) == []
        assert collection.info()["index"]["state"] not in ("ready", "loading", "on disk")
    assert name in caplog.text


# 5: the database


@pytest.mark.parametrize("way", ["cut", "page"])
def test_a_damaged_database_is_told_with_the_way_back_and_the_rest_is_left(copy, way):
    home, _ = copy()
    path = home / NAME / "collection.sqlite"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] if way == "cut" else os.urandom(4096) + content[4096:])
    others = {file: file.read_bytes() for file in (home / NAME).rglob("*.*") if "sqlite" not in file.name}
    with pytest.raises(CollectionDamaged, match="backup"), open_it(home) as collection:
        wrong_answers(collection, {})
    assert {file: file.read_bytes() for file in others} == others


# 6: vectors


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("index", ["whole", "broken"])
def test_vectors_that_are_no_numbers_are_left_out_and_all_else_goes_on(copy, backend, index, caplog):
    """Also where the index reads them, or would have to be built from them: what is added is added."""
    home, state = copy(backend)
    path = next((home / NAME).glob("vectors-*.f32"))
    rows = np.fromfile(path, dtype="<f4").reshape(-1, DIM)
    rows[[5, 100]] = np.nan
    rows.tofile(path)
    if index == "broken":
        index_file(home).write_bytes(b"broken")
    with open_it(home) as collection:
        collection.load_index()
        for k in (5, 1000):
            assert len(collection.search("word1", k)) == min(k, len(state) - 2)
        more = documents(0, "more", 2)
        assert collection.add(more).added == 2
        assert "semsearch repair" in caplog.text
        collection.repair()
        assert violations(collection, [with_these(state, more)]) == []


# 10: disk full


WRITES = ("write", "fsync", "rename", "make folder", "save index")


@pytest.mark.parametrize(
    "name", ["add", "update", "reindex hnsw", "reindex annoy", "compact", "reencode", "create", "backup"]
)
def test_a_disk_that_is_full_at_any_write(made, memory, name):
    """The operation fails with a sentence, leaves a state that it went through, and succeeds when there is room."""
    folder, state = made["hnsw"]
    operation = OPERATIONS[name]
    points = []
    shutil.copytree(folder, memory / "whole")
    with at_each_failpoint(lambda number, point: points.append(point)):
        operation.do(memory / "whole", lambda told: None)
    full = [number for number, point in enumerate(points) if point.startswith(WRITES)]
    full = [
        number
        for number in full
        if points[number] not in ("write documents", "write pieces", "write segment", "write reencoded")
    ]
    assert full
    for die_at in sample(full, 3):
        home = memory / f"full-{die_at}"
        shutil.copytree(folder, home)
        told = [0]

        def at(number, point, die_at=die_at):
            if number == die_at:
                raise OSError(errno.ENOSPC, "No space left on device")

        with pytest.raises(StorageError, match=r"No space left on device.*Free some space"), at_each_failpoint(at):
            operation.do(home, told.append)
        assert operation.judged(home, state, told[-1]) == [], f"{name}, full at {points[die_at]}"
        left = [path for path in home.rglob("*") if ".tmp" in path.name or ".partial" in path.name]
        assert left == []
        shutil.rmtree(home)


def limited(home, size, pipe):
    """In a child: add under a limit to the size of files, until it is reached; then without it."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    acknowledged = []
    with open_it(home) as collection:
        try:
            for number in range(200):
                collection.add(documents(number, f"l{number}-", 5))
                acknowledged.append(number)
        except SemsearchError as error:
            pipe.send((acknowledged, type(error).__name__, str(error)))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        collection.add(documents(500, "room", 3))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the size of files as Linux does")
@pytest.mark.parametrize("room", [40_000, 70_000, 150_000, 300_000])
def test_no_room_in_the_vectors_the_log_or_the_database(copy, room):
    home, state = copy()
    receiver, sender = server().Pipe(duplex=False)
    child = server().Process(target=limited, args=(home, room, sender))
    child.start()
    sender.close()
    acknowledged, kind, said = receiver.recv()
    child.join()
    assert child.exitcode == 0
    assert kind == "StorageError", said
    assert str(home / NAME) in said
    for number in acknowledged:
        state = with_these(state, documents(number, f"l{number}-", 5))
    with open_it(home) as collection:
        assert violations(collection, [with_these(state, documents(500, "room", 3))]) == []


# 12, 13, 30: encoders


class Spoiling(HashEncoder):
    """Gives `numbers` for texts with the word poison, or raises them."""

    def __init__(self, numbers):
        super().__init__(DIM)
        self.numbers = numbers

    def encode_documents(self, texts):
        vectors = super().encode_documents(texts)
        poisoned = ["poison" in text for text in texts]
        if any(poisoned) and isinstance(self.numbers, BaseException):
            raise self.numbers
        if any(poisoned):
            vectors[poisoned] = self.numbers
        return vectors


@pytest.mark.parametrize("numbers", [np.nan, np.inf, -np.inf, 0.0])
def test_numbers_that_are_no_vector_are_refused_and_their_document_named(numbers):
    batch = [Document("good", "fine"), Document("bad", "poison"), Document("better", "well")]
    with semsearch.create("spoilt", encoder=Spoiling(numbers)) as collection:
        with pytest.raises(EncodingFailed, match="'bad'"):
            collection.add(batch)
        assert len(collection) == 0
        skipped = []
        changes = collection.add(batch, on_error=skipped.append)
        assert (changes.added, changes.skipped) == (2, 1)
        assert "'bad'" in str(skipped[0])
        assert collection.check(deep=True) == []


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("CUDA error: an illegal memory access"), KeyboardInterrupt()]
)
def test_an_encoder_that_fails_leaves_what_was_committed(monkeypatch, error):
    from semsearch.ingest import ingestion

    monkeypatch.setattr(ingestion, "READ_DOCUMENTS", 2)
    monkeypatch.setattr(ingestion, "BATCH_DOCUMENTS", 2)
    batch = [*documents(0, "x", 4), Document("bad", "poison"), *documents(0, "y", 3)]
    with semsearch.create("spoilt", encoder=Spoiling(error)) as collection:
        with pytest.raises(type(error)):
            collection.add(batch)
        assert [entry.id for entry in collection.documents()] == ["x0", "x1", "x2", "x3"]
        collection._model._encoder.numbers = 1.0
        changes = collection.add(batch)
        assert (changes.added, changes.unchanged) == (4, 4)


# 14: dimensions


def test_wrong_dimensions_without_asserts(tmp_path):
    """The same under python -O, where a library's asserts are gone and it would read past its arrays."""
    script = """
import numpy as np, semsearch
from semsearch.errors import DimensionMismatch
assert False, "asserts are on"
rows = np.random.default_rng(0).standard_normal((200, 8))
for backend in {backends}:
    with semsearch.create(backend, encoder=None, dim=8) as collection:
        collection.add([semsearch.Document(str(i), "text") for i in range(200)], vectors=rows)
        collection.reindex(backend)
        engine = collection.engine
        for wrong in (7, 9, 0, 16):
            for call in (
                lambda: collection.search(vector=np.ones(wrong)),
                lambda: collection.search_many(vectors=np.ones((3, wrong))),
                lambda: collection.search_many(vectors=np.ones(8)),
                lambda: collection.add([semsearch.Document("x", "text")], vectors=np.ones((1, wrong))),
                lambda: engine._loader.loaded(engine.store._snapshot).index.search(np.ones((1, wrong), "f4"), 3),
            ):
                try:
                    call()
                except DimensionMismatch:
                    print("refused")
""".replace("{backends}", repr(BUILT_IN))
    environment = {**os.environ, "SEMSEARCH_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-O", "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["refused"] * (20 * len(BUILT_IN))


# 15, 20: k and filters


@pytest.mark.parametrize("backend", BACKENDS)
def test_as_many_as_are_asked_for_and_there(copy, backend):
    home, state = copy(backend)
    rare = next(iter(state))
    few = {rare: state[rare].__class__(rare, state[rare].text, state[rare].title, {"n": 77})}
    with open_it(home) as collection:
        collection.add(list(few.values()))
        state = state | few
        collection.load_index()
        assert len(collection.search("word1", 10**9)) == len(state)
        assert len(collection.search("word1", len(state) + 1, group_by=None)) == len(state)
        assert collection.search("word1", where={"n": {"$gt": 1000}}) == []
        for where, subset in (
            ({"n": 77}, few),
            ({"n": {"$in": [3]}}, {key: entry for key, entry in state.items() if entry.metadata["n"] == 3}),
        ):
            found = collection.search_many(QUERIES, 10, where=where)
            truth = oracle(collection.encoder, subset, 10)
            assert [[(hit.document.id, hit.score) for hit in hits] for hits in found] == truth


# 17, 18, 21: ids and texts


IDS = [
    "-1",
    str(2**63),
    "'; DROP TABLE documents; --",
    "a\tb\nc",
    " padded ",
    "x" * 4096,
    "🦊🌍",
    "שלום",
    "%",
    "_",
    "\u00e9",
    "e\u0301",
]


def test_ids_are_kept_to_the_letter():
    with semsearch.create("ids", encoder=HashEncoder(DIM)) as collection:
        batch = [Document(identity, f"text number {number}") for number, identity in enumerate(IDS)]
        assert collection.add(batch).added == len(IDS)
        assert collection.get(IDS) == batch
        assert {hit.document.id for hit in collection.search("text", 100)} == set(IDS)
        assert collection.remove([" padded", "x" * 4095, "a", "%%", "e\u0301x"]) == 0
        for identity in IDS:
            assert collection.remove([identity]) == 1
        assert len(collection) == 0


@pytest.mark.parametrize("stranger", ["cat\0tail", "\0", "", "\ud800"])
def test_ids_that_can_not_be_are_nobodys(stranger):
    """Nor does half of one mean another document."""
    with semsearch.create("ids", encoder=HashEncoder(DIM)) as collection:
        collection.add([Document("cat", "a cat")])
        assert collection.get([stranger]) == [None]
        assert collection.remove([stranger]) == 0
        with pytest.raises(DataError):
            collection.add([Document(stranger, "text")])
        assert len(collection) == 1


def test_an_id_twice_with_given_vectors():
    with semsearch.create("twice", encoder=None, dim=2) as collection:
        collection.add([Document("a", "first"), Document("a", "second")], vectors=[[1, 0], [0, 1]])
        assert len(collection) == collection.count_passages() == 1
        assert collection.search(vector=[0, 1])[0].score == 1


@pytest.mark.parametrize(
    "text",
    [
        "the of and",
        "word " * 400_000,
        "x" * 3_000_000,
        "\u202eright to left",
        "e\u0301" * 50,
        "\ufeff mark",
        "🦊" * 1000,
    ],
)
def test_texts_come_back_as_they_were(text):
    with semsearch.create("texts", encoder=HashEncoder(DIM)) as collection:
        collection.add([Document("a", text), Document("b", "another")])
        assert collection.get(["a"])[0].text == text
        assert {hit.document.id for hit in collection.search("word the", 5)} == {"a", "b"}
        assert collection.check(deep=True) == []


# 28: versions, network file systems


def test_a_collection_of_a_newer_version_is_refused_before_anything_is_written(copy):
    home, _ = copy()
    path = home / NAME / "collection.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = {file: file.read_bytes() for file in (home / NAME).rglob("*") if file.is_file()}
    with pytest.raises(CollectionError, match=r"newer semsearch.*upgrade"):
        open_it(home)
    assert {file: file.read_bytes() for file in before} == before


def test_network_file_systems_are_told_of(copy, tmp_path, monkeypatch, caplog):
    home, state = copy()
    mounts = tmp_path / "mounts"
    mounts.write_text(f"rootfs / ext4 rw 0 0\nserver:/x {str(home).replace(' ', chr(92) + '040')} nfs4 rw 0 0\n")
    assert platform.network_file_system(home / NAME, mounts) == "nfs4"
    assert platform.network_file_system(tmp_path, mounts) is None
    assert platform.network_file_system(home, tmp_path / "none") is None
    monkeypatch.setattr(platform.network_file_system, "__defaults__", (mounts,))
    with open_it(home) as collection:
        assert "network file system (nfs4)" in caplog.text
        assert wrong_answers(collection, state) == []
