"""Files and folders that are just that: what came from elsewhere may hold links, pipes and devices in their place.

Through a link we would read, overwrite or delete what lies outside; a pipe keeps a reader waiting for ever, and a
device has no end. Each is told by its own status before it is opened, and opening follows no link.
"""

from __future__ import annotations

import os
import re
import stat
from io import BufferedRandom
from pathlib import Path
from typing import cast

from semsearch.errors import CollectionDamaged

# where the system has no such flag, the look before is all there is; without a wait a pipe can't stop us meanwhile
_UNFOLLOWED = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_REPARSE_LINKS = {0xA000000C, 0xA0000003}  # symbolic links and junctions on Windows; others are files of OneDrive, say
_ENDS = re.compile(r"/dev/null|/dev/stdin|/dev/fd/\d+|/proc/(self|\d+)/fd/\d+")
_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
    stat.S_IFREG: "a file",
}


class NotPlain(CollectionDamaged, OSError):
    """Something else lies where a plain file or folder should; it was neither opened nor followed."""


def is_file(path: Path) -> bool:
    """Whether there is a plain file.

    Raises:
        NotPlain: There is something else.
    """
    return _is(path, stat.S_IFREG, "file")


def is_folder(path: Path) -> bool:
    """Whether there is a folder that is no link.

    Raises:
        NotPlain: There is something else.
    """
    return _is(path, stat.S_IFDIR, "folder")


def special(path: Path) -> str:
    """What a path leads to that has no end, or may never begin: "a pipe", "a device", "a socket"; empty for all else.

    What a shell hands in, `<(command)` say, is a number of an open file and none of these: its other end is there. Nor
    is /dev/null, which people put beside a file.
    """
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except OSError:  # told by who opens it
        return ""
    if kind in (stat.S_IFREG, stat.S_IFDIR) or _ENDS.fullmatch(str(path)):
        return ""
    return _KINDS.get(kind, "no file")


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, sorted, each a plain file or folder itself; nothing in one that isn't there.

    Raises:
        NotPlain: The folder or something in it is a link, a pipe, a socket or a device.
    """
    if not is_folder(folder):
        return []
    found = sorted(folder.iterdir())
    for path in found:
        kind = _kind(path)
        if kind not in (None, stat.S_IFREG, stat.S_IFDIR):
            raise _refusal(path, kind or 0, "file")
    return found


def open_plain(path: Path, mode: str = "rb") -> BufferedRandom:
    """`path.open(mode)`, a binary one, of a plain file alone.

    Raises:
        NotPlain: Something else is there.
    """
    is_file(path)
    return cast(BufferedRandom, open(path, mode, opener=_open_unfollowed))  # which Path.open does not take


def read_plain(path: Path, limit: int = 1 << 24) -> bytes:
    """What is in a small plain file: no more than `limit` bytes of it."""
    with open_plain(path) as file:
        return file.read(min(limit, os.fstat(file.fileno()).st_size))  # for so much memory is taken beforehand


def is_plain_name(name: object) -> bool:
    """Whether a name that somebody else wrote down names something in its folder, on every system."""
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\:\0")


def _refusal(path: Path, kind: int, wanted: str) -> NotPlain:
    found = _KINDS.get(kind, "no file")
    error = NotPlain(
        f"{path} is {found}, where semsearch keeps a plain {wanted} and follows nothing that leads elsewhere: put the "
        f"{wanted} itself there, or take it away. Nothing was changed."
    )
    error.strerror = f"it is {found}, and no plain {wanted}"  # for those who tell any OSError
    return error


def _open_unfollowed(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | _UNFOLLOWED, 0o666)
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind != stat.S_IFREG:
        os.close(descriptor)
        raise _refusal(Path(path), kind, "file")
    return descriptor


def _is(path: Path, wanted: int, called: str) -> bool:
    kind = _kind(path)
    if kind not in (None, wanted):
        raise _refusal(path, kind or 0, called)
    return kind is not None


def _kind(path: Path) -> int | None:
    """The kind of what is there, a link for itself; None if there is nothing."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    if getattr(status, "st_reparse_tag", 0) in _REPARSE_LINKS:
        return stat.S_IFLNK
    return stat.S_IFMT(status.st_mode)
