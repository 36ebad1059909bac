"""The writer's lock: one writer a collection, across threads and processes, waiting for a bounded time."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from semsearch.errors import CollectionLocked, ReadOnly
from semsearch.file_locks import try_lock, unlock
from semsearch.local.store import platform
from semsearch.plain_files import NotPlain, open_plain

TIMEOUT_SECONDS = 10.0
UNWRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS}

_held: dict[IO[bytes], int] = {}  # lock files that are open, each by which thread
_changing = threading.Lock()  # taken while `_held` changes: no child is forked between a file and its mention


def _let_go() -> None:
    """In a forked child: a lock lasts until the last copy of its file is closed, and this is not the child's."""
    for file in _held:
        file.close()
    _held.clear()
    _changing.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_changing.acquire, after_in_parent=_changing.release, after_in_child=_let_go)


def _held_by_this_thread(file: IO[bytes]) -> bool:
    own = [other for other, thread in list(_held.items()) if thread == threading.get_ident() and other is not file]
    return any(os.path.samestat(os.fstat(other.fileno()), os.fstat(file.fileno())) for other in own)


class WriterLock:
    """An exclusive file lock that ends with the process, plus a lock among this process's threads."""

    def __init__(self, folder: Path, timeout: float = TIMEOUT_SECONDS, name: str = "lock") -> None:
        self._path = folder / name
        self._name = folder.name
        self._timeout = timeout
        self._threads = threading.RLock()
        self._depth = 0

    @contextmanager
    def hold(self, *, again: bool = False) -> Iterator[None]:
        """Hold the lock; waits up to the timeout, then says who has it. The same thread may hold it again.

        With `again` also where it holds it through another object: for who drops what it has open itself.
        """
        deadline = time.monotonic() + self._timeout
        if not self._threads.acquire(timeout=self._timeout):
            raise CollectionLocked(self._sentence(os.getpid()))
        try:
            if self._depth:  # this thread has it already
                yield
                return
            self._depth += 1
            try:
                with self._file_lock(deadline, again):
                    yield
            finally:
                self._depth -= 1
        finally:
            self._threads.release()

    @contextmanager
    def _file_lock(self, deadline: float, again: bool) -> Iterator[None]:
        file = self._opened()
        locked = False
        try:
            if not (again and _held_by_this_thread(file)):
                self._wait(file, deadline)
                locked = True
            try:
                file.seek(0)
                file.truncate()
                file.write(str(os.getpid()).encode())
                file.flush()
            except OSError:  # a full disk must not keep anyone from removing documents: the pid is a courtesy
                pass
            yield
        finally:
            with _changing:
                _held.pop(file, None)
            if not file.closed:  # as it is in a child that was forked meanwhile
                if locked:
                    unlock(file)
                file.close()

    def _opened(self) -> IO[bytes]:
        try:
            with _changing:
                file = open_plain(self._path, "a+b")
                _held[file] = threading.get_ident()
                return file
        except NotPlain:
            raise
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise platform.storage_error(error, "opening", self._path) from error
            raise ReadOnly(
                f"collection '{self._name}' can't be written ({error.strerror}: {self._path}); check permissions, or "
                "copy it to a writable place."
            ) from error

    def _wait(self, file: IO[bytes], deadline: float) -> None:
        pause = 0.001
        while not try_lock(file):
            if time.monotonic() >= deadline:
                file.seek(0)
                holder = file.read(20).decode(errors="replace").strip()
                raise CollectionLocked(self._sentence(holder or "unknown"))
            time.sleep(pause)
            pause = min(2 * pause, 0.05)

    def _sentence(self, holder: int | str) -> str:
        return (
            f"collection '{self._name}' is being written by process {holder}, and was not free within "
            f"{self._timeout:g} s. Wait for it to finish, then run the same command again."
        )


class WatchLock(WriterLock):
    """Held by the one process that keeps a collection in step with its files; others write all the same."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, timeout=0.0, name="watch")

    def _sentence(self, holder: int | str) -> str:
        return (
            f"collection '{self._name}' is watched by process {holder} already, and one is enough: end that one first, "
            "or leave this collection to it."
        )
