"""The writer's lock: one writer a collection, across threads and processes, waiting for a bounded time."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from semsearch.errors import CollectionLocked, ReadOnly
from semsearch.local.store import platform
from semsearch.plain_files import NotPlain, is_file, open_plain

TIMEOUT_SECONDS = 10.0


class WriterLock:
    """An exclusive file lock that ends with the process, plus a lock among this process's threads."""

    def __init__(self, folder: Path, timeout: float = TIMEOUT_SECONDS, name: str = "lock") -> None:
        self._path = folder / name
        self._name = folder.name
        self._timeout = timeout
        self._threads = threading.RLock()
        self._depth = 0

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lock; waits up to the timeout, then says who has it. The same thread may hold it again."""
        deadline = time.monotonic() + self._timeout
        if not self._threads.acquire(timeout=self._timeout):
            raise CollectionLocked(self._sentence(os.getpid()))
        try:
            if self._depth:  # this thread has it already
                yield
                return
            self._depth += 1
            try:
                with self._file_lock(deadline):
                    yield
            finally:
                self._depth -= 1
        finally:
            self._threads.release()

    @contextmanager
    def _file_lock(self, deadline: float) -> Iterator[None]:
        try:
            file = open_plain(self._path, "r+b" if is_file(self._path) else "w+b")
        except NotPlain:
            raise
        except OSError as error:
            raise ReadOnly(
                f"collection '{self._name}' can't be written ({error.strerror}: {self._path}); check permissions, or "
                "copy it to a writable place."
            ) from error
        with file:
            pause = 0.001
            while not platform.try_lock(file):
                if time.monotonic() > deadline:
                    file.seek(0)
                    holder = file.read(20).decode(errors="replace").strip()
                    raise CollectionLocked(self._sentence(holder or "unknown"))
                time.sleep(pause)
                pause = min(2 * pause, 0.05)
            try:
                try:
                    file.seek(0)
                    file.truncate()
                    file.write(str(os.getpid()).encode())
                    file.flush()
                except OSError:  # a full disk must not keep anyone from removing documents: the pid is a courtesy
                    pass
                yield
            finally:
                platform.unlock(file)

    def _sentence(self, holder: int | str) -> str:
        return (
            f"collection '{self._name}' is being written by process {holder}, and was not free within "
            f"{self._timeout:g} s. Wait for it to finish, then run the same command again."
        )
