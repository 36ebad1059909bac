"""All that differs between Linux, macOS and Windows: durable writes, renames, deletions, locks.

POSIX lets a mapped or open file be renamed over or unlinked; Windows refuses, so files of a generation always get new
names and a deletion that is refused is left for a later visit. Folders can't be fsynced on Windows, nor is it needed.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, TypeAlias

from semsearch.errors import StorageError
from semsearch.local.store.failpoints import failpoint
from semsearch.plain_files import NotPlain, entries, open_plain

Identity: TypeAlias = tuple[int, int]
"""Volume and number of a file: no other has both, as long as one has it open."""

RENAMED_WHILE_OPEN = os.name != "nt"  # whether a folder can be, while a file in it is open


def identity(path: Path | str) -> Identity | None:
    """What tells a file or folder from another of the same name; None if there is none."""
    try:
        state = os.stat(path)  # noqa: PTH116  (each search asks, and a `Path` costs as much as the answer)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return state.st_dev, state.st_ino


TOO_MANY_FILES = "Have fewer collections open, or raise the limit ('ulimit -n'); nothing is lost."


def storage_error(error: OSError, doing: str, path: Path) -> StorageError:
    """`error` as a sentence that names the path, the reason and a way on."""
    if isinstance(error, NotPlain):
        return StorageError(str(error))
    advice = {
        errno.ENOSPC: "Free some space there and run the same command again; what was committed is safe.",
        errno.EDQUOT: "The quota is used up: free some space and run the same command again.",
        errno.EROFS: "The file system is read-only: collections there can be searched, not written.",
        errno.EACCES: "Check who owns it, or choose another home.",
        errno.EPERM: "Check who owns it, or choose another home.",
        errno.ENOMEM: "Memory is short: end other programs, or have fewer collections open; nothing is lost.",
        errno.EMFILE: TOO_MANY_FILES,
        errno.ENFILE: TOO_MANY_FILES,
    }.get(error.errno or 0, "Nothing that was committed is lost.")
    return StorageError(f"{doing} {path} failed: {error.strerror or error}. {advice}")


def listed(folder: Path) -> list[Path]:
    """`plain_files.entries`, and a sentence where the folder can't be read for now."""
    try:
        return entries(folder)
    except NotPlain:
        raise
    except OSError as error:
        raise storage_error(error, "reading", folder) from error


def fsync_file(file: IO[bytes] | int) -> None:
    """Return when the file's bytes are on the disk."""
    failpoint("fsync")
    descriptor = file if isinstance(file, int) else file.fileno()
    if sys.platform == "darwin":  # fsync there stops at the drive's cache
        import fcntl

        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)


def fsync_path(path: Path) -> None:
    """As `fsync_file`, for a file that is closed."""
    with open_plain(path, "r+b" if os.name == "nt" else "rb") as file:
        fsync_file(file)


def fsync_folder(folder: Path) -> None:
    """Return when names created, renamed or removed in `folder` are on the disk."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fsync_file(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a new folder and those above it that are missing, durably: a file is lost with any folder above it."""
    if not folder.parent.exists():
        make_folder(folder.parent)
    failpoint("make folder")
    folder.mkdir(exist_ok=True)
    fsync_folder(folder.parent)


def rename(source: Path, target: Path) -> None:
    """Give a finished file or folder its final, so far unused name, durably."""
    try:
        failpoint("rename")
        source.rename(target)
        fsync_folder(target.parent)
    except OSError as error:
        raise storage_error(error, "writing", target) from error


def write_durably(path: Path, content: bytes) -> None:
    """Write a small file whole: under another name first, then renamed over."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open_plain(temporary, "wb") as file:
            failpoint("write small file")
            file.write(content)
            file.flush()
            fsync_file(file)
        failpoint("rename small file")
        os.replace(temporary, path)  # noqa: PTH105  (Path.replace is the same call)
        fsync_folder(path.parent)
    except OSError as error:
        raise storage_error(error, "writing", path) from error


def make_private(path: Path, content: bytes) -> None:
    """Make a small file that this user alone may read, whole or not at all; one that is there stays as it is."""
    own = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # of no collection, and so no step of its writes
        with suppress(FileExistsError):  # another process was faster
            os.link(own, path)
    finally:
        own.unlink()


def read_private(path: Path, most: int) -> bytes:
    """Up to `most` bytes of a file that is no link and this user's alone; ValueError if it isn't."""
    with open_plain(path) as file:
        found = os.fstat(file.fileno())
        if os.name == "posix" and (found.st_uid != os.geteuid() or found.st_mode & 0o077):
            raise ValueError(f"{path.name} can be read or written by others, remove it")
        return file.read(most)


def remove(path: Path) -> bool:
    """Delete a file or folder that nothing refers to any more; False if the system refuses for now."""
    failpoint("unlink")
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)  # somebody else may be at it
        else:
            path.unlink(missing_ok=True)
    except OSError:  # still mapped by a reader on Windows, or no permission: the next writer tries again
        return False
    return not os.path.lexists(path)


NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ncpfs", "9p", "ceph", "glusterfs", "lustre", "fuse.sshfs"}


def network_file_system(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> str | None:
    """The kind of network file system that `folder` lies on, None if on none as far as the system tells."""
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return None
    kinds = {fields[1].replace("\\040", " "): fields[2] for line in lines if len(fields := line.split()) > 2}
    place = folder.resolve()
    kind = next((kinds[above] for above in map(str, (place, *place.parents)) if above in kinds), "")
    return kind if kind in NETWORK else None


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below `folder`; those that go meanwhile don't count."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += (Path(place) / name).lstat().st_size
    return total
