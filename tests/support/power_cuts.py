"""A disk that loses, at a power cut, what was not fsynced.

SQLite's files are taken as they stood when its last COMMIT returned. Of every other file and folder only what was last
fsynced is certain: for the rest each kind of loss is tried.
"""

import os
import shutil
import stat
from pathlib import Path

import numpy as np

from semsearch.local.store import failpoints, platform
from support.operations import OPERATIONS
from support.workload import at_each_failpoint, sample

LOSSES = ("kept", "zeros", "rubbish", "torn", "lost")


class Disk:
    """A folder, and of everything in it what a power cut can't take. Files are known by inode, as a disk knows them."""

    def __init__(self, root):
        self.root = root
        self._contents = {}  # inode: bytes as last fsynced
        self._names = {}  # inode of a folder: {name: inode} as last fsynced
        self._databases = {}  # inode of a folder: {name: bytes} of SQLite's files at its last commit
        self._held = {}  # inode: descriptor, so that no inode is used twice
        for path in (root, *root.rglob("*")):
            if not _is_sqlites(path.name):
                descriptor = os.open(path, os.O_RDONLY)
                self.fsync(descriptor)
                os.close(descriptor)
        self.commit()

    def close(self):
        for descriptor in self._held.values():
            os.close(descriptor)

    def fsync(self, file):
        """Stands in for `platform.fsync_file`."""
        failpoints.failpoint("fsync")
        descriptor = file if isinstance(file, int) else file.fileno()
        inode = self._hold(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if _is_sqlites(path.name):  # a database that is written as a file, by restoring
            self._keep_database(path)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            self._names[inode] = self._listed(descriptor)
        else:
            self._contents[inode] = self._read(inode)

    def commit(self):
        """SQLite's last commit, or checkpoint, has returned."""
        self._databases = {}
        for path in self.root.rglob("*"):
            if path.is_file() and _is_sqlites(path.name) and not path.name.endswith("-shm"):
                self._keep_database(path)

    def _keep_database(self, path):
        folder = os.open(path.parent, os.O_RDONLY)
        self._databases.setdefault(self._hold(folder), {})[path.name] = path.read_bytes()
        os.close(folder)

    def cut(self, target, loss, names_lost):
        """Write what a power cut leaves to the folder `target`."""
        rng = np.random.default_rng(7)
        root = os.open(self.root, os.O_RDONLY)
        self._write_folder(target, self._hold(root), loss, names_lost, rng)
        os.close(root)

    def _write_folder(self, target, inode, loss, names_lost, rng):
        target.mkdir(parents=True)
        databases = self._databases.get(inode, {})
        for name, content in databases.items():
            (target / name).write_bytes(content)
        now = self._listed(self._held[inode])
        names = self._names.get(inode, {}) if names_lost else now
        for name, child in names.items():
            if stat.S_ISDIR(os.fstat(self._held[child]).st_mode):
                self._write_folder(target / name, child, loss, names_lost, rng)
            else:
                (target / name).write_bytes(self._left(child, loss, rng))

    def _left(self, inode, loss, rng):
        """The bytes of a file after the power went."""
        safe, now = self._contents.get(inode, b""), self._read(inode)
        if safe == now or loss == "kept":
            return now
        same = 0
        for mine, other in zip(safe, now, strict=False):
            if mine != other:
                break
            same += 1
        unsafe = len(now) - same
        match loss:
            case "zeros":
                return now[:same] + bytes(unsafe)
            case "rubbish":
                return now[:same] + rng.bytes(unsafe)
            case "torn":
                return now[: same + unsafe // 2]
        return safe

    def _hold(self, descriptor):
        inode = os.fstat(descriptor).st_ino
        if inode not in self._held:
            self._held[inode] = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY)
        return inode

    def _listed(self, descriptor):
        listed = {}
        for name in os.listdir(descriptor):  # noqa: PTH208  (a descriptor has no path)
            if not _is_sqlites(name):
                child = os.open(name, os.O_RDONLY, dir_fd=descriptor)
                listed[name] = self._hold(child)
                os.close(child)
        return listed

    def _read(self, inode):
        descriptor = self._held[inode]
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _is_sqlites(name):
    return ".sqlite" in name


def power_cuts(base, memory, name, monkeypatch, wanted=lambda point: True, count=None):
    """What is wrong after the power went at each failpoint of an operation; and how many cases were tried.

    `wanted` chooses failpoints by their name, and then at most `count` of them are taken.
    """
    folder, state = base
    operation = OPERATIONS[name]
    home = memory / "home"

    def fresh():
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(folder, home)
        operation.prepare(home)
        return Disk(home)

    def do(disk, at):
        with monkeypatch.context() as patch:
            patch.setattr(platform, "fsync_file", disk.fsync)
            with at_each_failpoint(at):
                operation.do(home, tell)

    acknowledged = 0

    def tell(number):
        nonlocal acknowledged
        acknowledged = number

    points = []
    disk = fresh()
    do(disk, lambda number, point: points.append(point))
    disk.close()
    chosen = [number for number, point in enumerate(points) if wanted(point)]
    chosen = chosen if count is None else sample(chosen, count)
    wrong, cases = [], []  # (point, acknowledged, folder)

    def cutting(number, point):
        if point in ("committed", "checkpoint"):
            disk.commit()
        if number in chosen:
            take(f"{number} ({point})")

    def take(point):
        seen = set()
        for loss in LOSSES:
            for names_lost in (False, True):
                target = memory / f"cut-{len(cases)}"
                disk.cut(target, loss, names_lost)
                content = fingerprint(target)
                if content in seen:
                    shutil.rmtree(target)
                else:
                    seen.add(content)
                    cases.append((f"{point}, {loss}{', names lost' if names_lost else ''}", acknowledged, target))

    acknowledged = 0
    disk = fresh()
    do(disk, cutting)
    disk.commit()
    take("the end")
    disk.close()
    for what, told, target in cases:
        wrong += [f"{name}, power cut at {what}: {problem}" for problem in operation.judged(target, state, told)]
        shutil.rmtree(target)
    return wrong, len(cases)


def fingerprint(folder):
    return hash(
        tuple(
            (str(path.relative_to(folder)), path.read_bytes() if path.is_file() else None)
            for path in sorted(folder.rglob("*"))
        )
    )
