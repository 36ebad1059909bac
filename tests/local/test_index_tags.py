"""What was built here is known by a key that lies elsewhere, and several users of one folder leave each other alone."""

import errno
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support.forgery import disown, forge, publish

import semsearch
from semsearch.local.index import tags
from semsearch.plugins import index_backend
from semsearch.types import Document

DIM, COUNT = 8, 300


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """The state of one user; `state("other")` is another's."""

    def of(user):
        monkeypatch.setenv("SEMSEARCH_STATE", str(tmp_path / user))
        return tmp_path / user

    tags._keys.clear()
    tags._told.clear()
    of("me")
    yield of
    tags._keys.clear()
    tags._told.clear()


@pytest.fixture
def looked(monkeypatch):
    """How often a graph was looked through."""
    kind, calls = index_backend("hnsw"), []
    verify = kind.verify
    monkeypatch.setattr(kind, "verify", classmethod(lambda cls, *args: calls.append(args) or verify(*args)))
    return calls


def vectors(count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, DIM), dtype=np.float32)


def add(collection, count, prefix, seed=0):
    collection.add([Document(f"{prefix}{n}", f"text {n}") for n in range(count)], vectors=vectors(count, seed))


def made(index="hnsw"):
    with semsearch.create("c", encoder=None, dim=DIM, index=index) as collection:
        add(collection, COUNT, "d")
        return folder_of(collection)


def folder_of(collection):
    (folder,) = (collection.engine.store.folder / "indexes").glob("hnsw-*")
    return folder


def loaded():
    with semsearch.open("c") as collection:
        collection.load_index()
        return collection.info()["index"]["state"]


def test_the_key_is_this_users_alone(tmp_path, state):
    made()
    path = tmp_path / "me" / tags.KEY_FILE
    assert len(path.read_bytes()) == tags.KEY_BYTES
    assert [entry.name for entry in path.parent.iterdir()] == [tags.KEY_FILE]
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_of_many_that_make_it_at_once_all_get_the_same(tmp_path):
    (tmp_path / "me").mkdir()
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: tags._made(tmp_path / "me" / tags.KEY_FILE), range(32)))
    assert len(keys) == 1


@pytest.mark.slow
def test_what_was_built_here_is_not_looked_through(looked):
    made()
    assert loaded() == "ready"
    assert not looked


def test_two_users_of_one_folder_leave_each_others_index_alone(state, looked):
    folder = made()
    state("other")
    assert loaded() == "ready"
    assert len(looked) == 1
    with semsearch.open("c") as collection:
        add(collection, 3, "more")
        assert folder_of(collection) == folder
        collection.reindex("hnsw")
        theirs = folder_of(collection)
    state("me")
    with semsearch.open("c") as collection:
        collection.load_index()
        add(collection, 3, "again")
        assert folder_of(collection) == theirs
        assert collection.info()["index"]["state"] == "ready"
    assert len(looked) == 2


def test_a_tag_of_another_key_or_of_another_index_is_none(state, looked):
    folder = made()
    (tag,) = folder.glob("tag-*")
    forged = tag.read_text()
    for content in ("", forged[:-1], forged + "0", "0" * len(forged), "\0" * 4096):
        tag.write_text(content)
        assert loaded() == "ready"
    assert len(looked) == 5
    tag.write_text(forged)
    (folder / "graph.hnsw").write_bytes(b"\0" * 4096)
    forge(folder)
    tag.write_text(forged)  # the tag of what the files were
    publish(folder.parent.parent)
    assert loaded().startswith("damaged: ")
    assert len(looked) == 6


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
@pytest.mark.parametrize("way", ["readable", "short", "link", "folder", "no folder"])
def test_a_key_that_is_no_secret_is_not_used_and_said_once(tmp_path, state, way, looked, caplog):
    path = state("shared") / tags.KEY_FILE
    path.parent.mkdir()
    if way == "readable":
        path.write_bytes(bytes(tags.KEY_BYTES))
        path.chmod(0o644)
    elif way == "short":
        path.touch(0o600)
    elif way == "link":
        (tmp_path / "theirs").write_bytes(bytes(tags.KEY_BYTES))
        (tmp_path / "theirs").chmod(0o600)
        path.symlink_to(tmp_path / "theirs")
    elif way == "folder":
        path.mkdir()
    else:
        path.parent.rmdir()
        path.parent.touch()
    folder = made()
    assert not list(folder.glob("tag-*"))
    assert loaded() == loaded() == "ready"
    assert len(looked) == 2
    assert caplog.text.count("no key can be kept in") == 1


def test_a_backend_that_cannot_look_is_not_given_what_others_built(state, monkeypatch, caplog):
    """Whoever can't tell searches exactly; what nobody says to have built is built anew, once."""
    folder = made()
    monkeypatch.delattr(index_backend("hnsw"), "verify")
    assert loaded() == "ready"
    state("other")
    with semsearch.open("c") as collection:
        collection.load_index()
        assert collection.info()["index"]["state"].startswith("not loaded: ")
        assert "can't tell whether its files are safe to read" in caplog.text
        assert len(collection.search(vector=vectors(1)[0])) == 10
        add(collection, 2, "more")
        assert folder_of(collection) == folder
    disown(folder)
    with semsearch.open("c") as collection:
        collection.load_index()
        add(collection, 2, "again")
        assert folder_of(collection) != folder
    assert loaded() == "ready"


def test_what_failed_for_a_moment_is_tried_again(state, monkeypatch, caplog):
    with monkeypatch.context() as scarce:
        scarce.setattr(tags, "_made", lambda path: (_ for _ in ()).throw(OSError(errno.EMFILE, "Too many open files")))
        assert not tags.keeps_key()
        assert not tags.keeps_key()
    assert caplog.text.count("no key can be kept") == 1
    assert tags.keeps_key()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_for_the_key_keeps_nobody_waiting(state, caplog):
    folder = state("me")
    folder.mkdir()
    os.mkfifo(folder / tags.KEY_FILE)
    assert not tags.keeps_key()
    assert "no plain file" in caplog.text
