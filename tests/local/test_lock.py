"""Who waits for whom, and how long."""

import os

import pytest
from support.fakes import HashEncoder

import semsearch
from semsearch.errors import CollectionLocked, StorageError
from semsearch.local.index import build as indexing
from semsearch.local.index import renewal as words
from semsearch.local.store import lock
from semsearch.types import Document

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
warns = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture
def collection(tmp_path):
    with semsearch.create("films", encoder=HashEncoder(8), home=tmp_path) as made:
        made.add([Document(f"f{number}", f"film {number}") for number in range(20)])
        yield made


def waited(seconds):
    raise AssertionError(f"waited {seconds} s")


def test_a_write_does_not_wait_for_who_builds_an_index(collection, monkeypatch):
    for module in (indexing, words):
        for name in ("VECTOR_TAIL_ROWS", "VECTOR_TAIL_SHARE", "TAIL_ROWS", "TAIL_SHARE"):
            monkeypatch.setattr(module, name, 0, raising=False)  # both indexes are due with every row
    collection.reindex("exact")
    monkeypatch.setattr(lock.time, "sleep", waited)
    with lock.WriterLock(collection.path, name="rebuild").hold():  # as another process would
        assert collection.add([Document("later", "later film")]).added == 1
        assert collection.remove(["f1"]) == 1
        monkeypatch.setattr(lock.time, "sleep", lambda seconds: None)
        monkeypatch.setattr(lock.WriterLock.__init__, "__defaults__", (0.01, "lock"))
        with pytest.raises(CollectionLocked):  # who asks for an index waits for it
            collection.reindex("exact")
    assert collection.add([Document("last", "last film")]).added == 1
    assert collection.info()["index"]["fresh"] == 0


@forks
@warns
def test_a_child_that_was_forked_meanwhile_does_not_keep_the_lock(tmp_path):
    """The parent is gone, and its child lives on."""
    (told, tell), (ended, end) = os.pipe(), os.pipe()
    parent = os.fork()
    if not parent:
        held = lock.WriterLock(tmp_path).hold()
        held.__enter__()
        if os.fork():
            os._exit(0)
        os.write(tell, b"1")
        os.close(end)
        os.read(ended, 1)
        os._exit(0)
    os.waitpid(parent, 0)
    os.read(told, 1)
    try:
        with lock.WriterLock(tmp_path, 0.05).hold():
            pass
    finally:
        for line in (told, tell, ended, end):
            os.close(line)


@forks
@warns
def test_a_child_does_not_give_back_its_parents_lock(tmp_path):
    with lock.WriterLock(tmp_path).hold():
        child = os.fork()
        if not child:
            try:
                with lock.WriterLock(tmp_path, 0.05).hold():
                    os._exit(1)
            except CollectionLocked as error:
                os._exit(0 if f"process {os.getppid()}," in str(error) else 2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        with pytest.raises(CollectionLocked), lock.WriterLock(tmp_path, 0.05).hold():
            pass


@forks
@warns
def test_a_child_that_leaves_the_block_does_not_give_back_its_parents_lock(tmp_path):
    held = lock.WriterLock(tmp_path).hold()
    held.__enter__()
    child = os.fork()
    if not child:
        held.__exit__(None, None, None)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with pytest.raises(CollectionLocked), lock.WriterLock(tmp_path, 0.05).hold():
        pass
    held.__exit__(None, None, None)
    with lock.WriterLock(tmp_path, 0.05).hold():
        pass


def test_what_is_no_lack_of_permission_is_not_told_as_one(tmp_path):
    with (
        pytest.raises(StorageError, match=r"opening .*missing.lock failed: No such file"),
        lock.WriterLock(tmp_path / "missing").hold(),
    ):
        pass
