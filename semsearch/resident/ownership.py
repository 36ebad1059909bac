"""Who holds a socket: one process at a time, by a lock that ends with it; what a dead one left is taken away."""

from __future__ import annotations

import fcntl
import os
import socket
from contextlib import suppress
from types import TracebackType
from typing import ClassVar, Self

from semsearch.resident import address

SOCKET_BACKLOG = 64


class HeldByAnother(Exception):
    """Another process holds it."""


class Ownership:
    """The lock of a name in the folder of the sockets, and the socket of that name.

    Raises:
        HeldByAnother: On entry, another process holds it.
    """

    _locks: ClassVar[list[int]] = []

    def __init__(self, folder: int, name: str) -> None:
        self._folder = folder
        self._name = name
        self._lock: int | None = None
        self._socket = 0  # its inode

    def __enter__(self) -> Self:
        self._lock = _locked(self._folder, self._name + address.LOCK)
        if self._lock is None:
            raise HeldByAnother
        self._locks.append(self._lock)
        self._sweep()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._lock is not None
        self.withdraw()
        _remove(self._folder, self._name + address.LOCK)
        self._locks.remove(self._lock)
        os.close(self._lock)

    @classmethod
    def leave_to_parent(cls) -> None:
        """In a forked child: a lock ends with the process that took it, and no child keeps it."""
        for lock in cls._locks:
            os.close(lock)
        cls._locks.clear()

    def listen(self) -> socket.socket:
        """The socket, for this user alone; whatever lies there is a dead one's."""
        name = self._name + address.SOCKET
        _remove(self._folder, name)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            listener.bind(address.at(self._folder, name))
        finally:
            os.umask(mask)
        self._socket = os.stat(name, dir_fd=self._folder, follow_symlinks=False).st_ino
        listener.listen(SOCKET_BACKLOG)
        return listener

    def stands(self) -> bool:
        """Whether the socket of that name is still the one that was bound here."""
        try:
            found = os.stat(self._name + address.SOCKET, dir_fd=self._folder, follow_symlinks=False)
        except OSError:
            return False
        return found.st_ino == self._socket

    def withdraw(self) -> None:
        """Take the socket away, so that nobody waits for an answer."""
        if self.stands():
            _remove(self._folder, self._name + address.SOCKET)

    def _sweep(self) -> None:
        """Take away what others left that died: theirs is the lock that nobody holds."""
        for entry in os.listdir(self._folder):  # noqa: PTH208
            name = entry.removesuffix(address.LOCK)
            if name in (entry, self._name):
                continue
            lock = _locked(self._folder, entry)
            if lock is None:
                continue
            for ending in (address.SOCKET, address.LOG, f"{address.LOG}.1", address.LOCK):
                _remove(self._folder, name + ending)
            os.close(lock)


def _locked(folder: int, name: str) -> int | None:
    """A descriptor of the file, locked; None where another process has it."""
    while True:
        lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return None
        with suppress(OSError):
            if os.stat(name, dir_fd=folder).st_ino == os.fstat(lock).st_ino:
                return lock
        os.close(lock)  # its holder took it away at its end


def _remove(folder: int, name: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
