"""Locks on open files, which end with the process that holds them."""

from __future__ import annotations

import errno
import os
from typing import IO


def try_lock(file: IO[bytes]) -> bool:
    """Take an exclusive lock on an open file if nobody has it; it ends with the process or `unlock`."""
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(0x7FFFFFFF)  # beyond any content, which stays readable
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            return False
        raise
    return True


def unlock(file: IO[bytes]) -> None:
    """Give back what `try_lock` took."""
    if os.name == "nt":
        import msvcrt

        file.seek(0x7FFFFFFF)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_UN)
