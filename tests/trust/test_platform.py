"""What differs between systems, refused as those systems refuse it; it all lives in one module."""

import errno
import os
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.workload import BACKENDS, NAME, documents, make_base, open_it, through_indexes, violations, with_these

import semsearch.local.store.store as store_module
from semsearch import file_locks
from semsearch.errors import CollectionDamaged, CollectionLocked, ReadOnly, StorageError
from semsearch.local.store import lock, platform
from semsearch.local.store.database import Database

SOURCE = Path(platform.__file__).parents[1]


@pytest.fixture(autouse=True)
def _as_large(monkeypatch):
    through_indexes(monkeypatch)


def test_one_module_knows_how_files_differ():
    telling = re.compile(r"os\.name|\bfcntl\b|msvcrt|os\.fsync|O_DIRECTORY|mkfifo")
    places = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if telling.search(path.read_text(encoding="utf-8"))
    }
    assert places == {"store/platform.py"}


@pytest.fixture
def windows(monkeypatch):
    """A system that refuses to delete, rename or replace what somebody has open, here: vectors and index files."""
    refused = []
    unlink, rename, rmtree = Path.unlink, Path.rename, shutil.rmtree

    def in_use(path):
        return path.suffix == ".f32" or "indexes" in path.parts

    def refusing_unlink(self, missing_ok=False):
        if in_use(self):
            refused.append(self.name)
            raise PermissionError(errno.EACCES, "in use by another process", str(self))
        unlink(self, missing_ok=missing_ok)

    def refusing_rename(self, target):
        if Path(target).exists():
            raise FileExistsError(errno.EEXIST, "there already", str(target))
        return rename(self, target)

    def refusing_rmtree(path, *arguments, **options):
        if any(in_use(child) for child in Path(path).rglob("*")) and not Path(path).name.startswith("."):
            refused.append(Path(path).name)
            raise PermissionError(errno.EACCES, "in use by another process", str(path))
        rmtree(path, *arguments, **options)

    monkeypatch.setattr(Path, "unlink", refusing_unlink)
    monkeypatch.setattr(Path, "rename", refusing_rename)
    monkeypatch.setattr(shutil, "rmtree", refusing_rmtree)
    yield refused
    monkeypatch.undo()


@pytest.mark.slow
def test_what_is_mapped_stays_until_it_can_go(tmp_path, windows, monkeypatch):
    state = make_base(tmp_path)
    with open_it(tmp_path) as collection:
        collection.load_index()
        for _ in range(2):  # no name is ever used twice, so nothing that stays is in the way
            collection.reindex("hnsw", BACKENDS["hnsw"])
            compacted = collection.compact()
            assert not compacted.erased
            more = documents(1, "more", 3)
            collection.add(more)
            state = with_these(state, more)
            assert violations(collection, [state]) == []
        assert "vectors-1.f32" in windows
        assert len(list(collection.path.glob("vectors-*.f32"))) > 1
        monkeypatch.undo()
        through_indexes(monkeypatch)
        assert collection.compact().erased  # the readers are gone: all that was left behind goes
        assert len(list(collection.path.glob("vectors-*.f32"))) == 1
        assert len(list(collection.path.glob("indexes/*"))) <= 1
        assert violations(collection, [state]) == []


def test_folders_are_not_fsynced_where_that_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "os", SimpleNamespace(name="nt"))
    platform.fsync_folder(tmp_path)  # touches nothing: the stand-in has nothing but a name


def test_macos_flushes_the_drive_too(tmp_path, monkeypatch):
    import fcntl

    asked = []
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", lambda descriptor, command: asked.append(command))
    with (tmp_path / "file").open("wb") as file:
        platform.fsync_file(file)
    assert asked == [51]


class Region:
    """Locks as msvcrt gives them: on a byte of the file, refused with EACCES while somebody holds it."""

    LK_NBLCK, LK_UNLCK = 2, 0

    def __init__(self):
        self.holder = None
        self.places = set()

    def locking(self, descriptor, mode, count):
        self.places.add((os.lseek(descriptor, 0, os.SEEK_CUR), count))
        if mode == self.LK_UNLCK:
            assert self.holder == descriptor
            self.holder = None
        elif self.holder is not None:
            raise OSError(errno.EACCES, "Permission denied")
        else:
            self.holder = descriptor


def test_locks_of_windows(tmp_path, monkeypatch):
    region = Region()
    monkeypatch.setitem(sys.modules, "msvcrt", region)
    monkeypatch.setattr(file_locks, "os", SimpleNamespace(name="nt"))
    first, second = lock.WriterLock(tmp_path, 0.05), lock.WriterLock(tmp_path, 0.05)
    with first.hold(), pytest.raises(CollectionLocked, match=f"process {os.getpid()}"), second.hold():
        pass
    with second.hold():
        pass
    ((place, count),) = region.places
    assert place > 1 << 30  # behind the pid, so that others can read it
    assert count == 1


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (errno.ENOSPC, "Free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "can be searched, not written"),
        (errno.EACCES, "another home"),
        (errno.EIO, "Nothing that was committed is lost"),
    ],
)
def test_errors_say_where_why_and_what_to_do(tmp_path, code, says):
    error = platform.storage_error(OSError(code, os.strerror(code)), "writing", tmp_path / "file")
    assert isinstance(error, StorageError)
    assert says in str(error)
    assert str(tmp_path / "file") in str(error)
    assert os.strerror(code) in str(error)


@pytest.fixture
def read_only(monkeypatch):
    """Media that can't be written; the tests may run as root, whom no permission stops."""
    access = os.access
    monkeypatch.setattr(
        store_module.os, "access", lambda path, mode: not mode & os.W_OK and access(path, mode), raising=True
    )


@pytest.fixture
def modes(monkeypatch):
    """How databases are opened."""
    seen = []
    opened = Database.__init__

    def spy(self, path, *, mode="rw", **how):
        seen.append(mode)
        opened(self, path, mode=mode, **how)

    monkeypatch.setattr(Database, "__init__", spy)
    return seen


def test_read_only_media_without_a_log_open_as_immutable(tmp_path, request):
    state = make_base(tmp_path)
    (tmp_path / NAME / "collection.sqlite-wal").write_bytes(b"")  # an empty log holds nothing
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    request.getfixturevalue("read_only")
    modes = request.getfixturevalue("modes")
    with open_it(tmp_path) as collection:
        assert set(modes) == {"immutable"}
        assert violations(collection, [state]) == []
        for write in (
            lambda: collection.add(documents(0, "x", 1)),
            lambda: collection.remove(["b1"]),
            lambda: collection.compact(),
            lambda: collection.reindex("hnsw"),
        ):
            with pytest.raises(ReadOnly, match="copy it to a writable place"):
                write()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


def with_a_log(home):
    """A copy of a collection whose last commits are in the log only."""
    state = make_base(home / "live")
    with open_it(home / "live") as collection:
        more = documents(0, "logged", 3)
        collection.add(more)
        shutil.copytree(home / "live", home / "copy")
    assert (home / "copy" / NAME / "collection.sqlite-wal").stat().st_size > 0
    return home / "copy", with_these(state, more)


def test_read_only_media_with_a_log_need_its_shared_memory(tmp_path, request):
    home, state = with_a_log(tmp_path)
    request.getfixturevalue("read_only")
    modes = request.getfixturevalue("modes")
    with open_it(home) as collection:
        assert set(modes) == {"ro"}
        assert violations(collection, [state]) == []
        with pytest.raises(ReadOnly):
            collection.remove(["b1"])


def test_read_only_media_with_a_log_alone_are_refused(tmp_path, request):
    home, _ = with_a_log(tmp_path)
    (home / NAME / "collection.sqlite-shm").unlink()
    request.getfixturevalue("read_only")
    with pytest.raises(CollectionDamaged, match="copy the whole collection to a writable place"):
        open_it(home)


def test_a_writable_copy_of_it_has_everything(tmp_path):
    home, state = with_a_log(tmp_path)
    (home / NAME / "collection.sqlite-shm").unlink()
    with open_it(home) as collection:
        assert violations(collection, [state]) == []


@pytest.mark.slow
def test_a_reader_without_permission_sees_what_others_write(tmp_path, monkeypatch):
    """Opened as immutable because it may not write; but somebody else may."""
    state = make_base(tmp_path)
    access = os.access

    def forbidden(path, mode):
        return not mode & os.W_OK and access(path, mode)

    monkeypatch.setattr(store_module.os, "access", forbidden)
    with open_it(tmp_path) as reader:
        assert violations(reader, [state]) == []
        monkeypatch.setattr(store_module.os, "access", access)
        with open_it(tmp_path) as writer:
            for number in range(3):
                more = documents(number, f"more{number}-", 3)
                writer.add(more)
                state = with_these(state, more)
                monkeypatch.setattr(store_module.os, "access", forbidden)
                assert violations(reader, [state]) == []
                monkeypatch.setattr(store_module.os, "access", access)
            writer.compact()
        monkeypatch.setattr(store_module.os, "access", forbidden)
        assert violations(reader, [state]) == []
