"""A PostgreSQL whose disk fills up while somebody writes: a sentence, nothing half done, and with room it goes on.

    python -m support.full_database data log

`data`: the disk that holds the tables is full; `log`: that of the write-ahead log, which ends the server. The disk is a
file system in memory, in a mount namespace of its own.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path

import semsearch
from semsearch.errors import EngineUnreachable, StorageError
from semsearch.testing.encoder import HashEncoder
from semsearch.types import Document
from support.postgres import OPTIONS, USER, Server, _binaries

ROOM = {"data": 64, "log": 48}  # MB that the disk has
MORE = 600  # MB once somebody made room
OF_A_TEXT = 200_000  # bytes that don't compress
OF_A_CALL = 8  # documents
CALLS = 100  # that all of the disk's room is long gone after
LOG = {"wal_keep_size": "1GB"}  # so that it only grows
OTHERS = {
    "a graph": lambda notes: notes.reindex("hnsw"),
    "metadata": lambda notes: notes.update_metadata(notes.ids(), {"seen": "now " * 2000}),
    "a removal": lambda notes: notes.remove(["nobody"]),
    "another model": lambda notes: notes.reencode(HashEncoder(dim=24)),
    "a description": lambda notes: notes.describe("some notes"),
}


def namespaced(command):
    """A command in a mount namespace of its own."""
    own = [] if os.geteuid() == 0 else ["--map-current-user", "--keep-caps"]
    return ["unshare", *own, "--mount", *command]


def possible():
    """Whether this machine lets this user mount a file system of its own."""
    with suppress(OSError, subprocess.SubprocessError):
        tried = namespaced(["mount", "-t", "tmpfs", "tmpfs", "/mnt"])
        return subprocess.run(tried, check=False, capture_output=True, timeout=60).returncode == 0
    return False


def mount(place, megabytes, *, again=False):
    """Have a file system of so many megabytes in a folder, or as many more as that is."""
    options = f"size={megabytes}m,mode=0755" + (",remount" if again else "")
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)


def texts(call):
    """Documents of one call, which no compression makes small."""
    drawn = random.Random(call)
    return [
        Document(f"{call}-{number}", f"word{call}x{number} {drawn.randbytes(OF_A_TEXT // 2).hex()}")
        for number in range(OF_A_CALL)
    ]


def initialised(folder, full):
    """A server of which the tables or the log lie on the small disk."""
    small, large = folder / "small", folder / "large"
    for place in (small, large):
        place.mkdir()
    programs = _binaries(folder)
    mount(small, ROOM[full])
    server = Server(small if full == "data" else large, OPTIONS | LOG, programs)
    server.initialise()
    log = (large if full == "data" else small) / "log"
    shutil.move(server.data / "pg_wal", log)
    (server.data / "pg_wal").symlink_to(log)
    if os.geteuid() == 0:
        for path in (log, *log.rglob("*")):
            shutil.chown(path, USER, "nogroup")
    server.start()
    with server.connect() as connection:
        connection.execute("CREATE DATABASE semsearch")
    return server, small


def wrong(full, folder):
    """What is not as it should be, one sentence each."""
    server, small = initialised(folder, full)
    faults = []
    try:
        with semsearch.create("notes", home=server.url(), encoder=HashEncoder(), passages=False) as notes:
            acknowledged, failed = [], None
            for call in range(CALLS):
                try:
                    notes.add(texts(call))
                except semsearch.SemsearchError as error:
                    failed = call
                    faults += untold("a write", error, full)
                    sys.stdout.write(f"{full}: full after {call} calls: {error}\n")
                    break
                acknowledged += [document.id for document in texts(call)]
            if failed is None:
                return [*faults, "the disk was never full"]
            # a server that can put none of its pages away may read none, either
            faults += tried("a search", full, lambda: states(notes, acknowledged, failed, "while it is full"))
            for what, act in OTHERS.items():
                if server.answers():  # that is gone is waited for, each time
                    faults += tried(what, full, partial(act, notes))
            mount(small, MORE, again=True)
            while not server.answers():
                if server._process.poll() is not None:
                    server.start()
            problems = notes.check(deep=True)  # the half of a graph, which nobody could take away
            faults += [f"once there is room: {problem}" for problem in problems if problem.part != "index"]
            notes.repair()
            faults += states(notes, acknowledged, failed, "once there is room")
            notes.add(texts(failed))
            acknowledged += [document.id for document in texts(failed)]
            faults += states(notes, acknowledged, failed, "after the same call again")
    finally:
        with suppress(ProcessLookupError):
            server.stop()
    return faults


def untold(what, error, full):
    """A fault, if this is not what a full disk ends with; that of the log may end the server."""
    room = isinstance(error, StorageError) and "has no room for this" in str(error)
    ended = isinstance(error, EngineUnreachable) and "What was acknowledged is there" in str(error)
    fine = room or (full == "log" and ended)
    return [] if fine else [f"{what} on a full disk ended with {type(error).__name__}: {error}"]


def tried(what, full, act):
    """The faults that `act` finds, and that of its end."""
    try:
        found = act()
    except semsearch.SemsearchError as error:
        return untold(what, error, full)
    return found if isinstance(found, list) else []


def states(notes, acknowledged, failed, when):
    """Faults of what is there: each acknowledged document whole, of the others each whole or not at all."""
    faults = []
    there, tried = set(notes.ids()), {document.id: document for document in texts(failed)}
    if lost := set(acknowledged) - there:
        faults.append(f"{when}: lost {sorted(lost)}")
    if strange := there - set(acknowledged) - tried.keys():
        faults.append(f"{when}: nobody wrote {sorted(strange)}")
    faults += [f"{when}: {problem}" for problem in notes.check(deep=True)]
    for one in [*acknowledged[:2], *acknowledged[-2:]]:
        call, number = one.split("-")
        (hit,) = notes.search(f"word{call}x{number}", mode="lexical", k=1)
        if hit.id != one:
            faults.append(f"{when}: asked for {one}, found {hit.id}")
    return faults


def main():
    """Fill the disks that are named; the exit code is the number of faults."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("full", nargs="*", choices=[*ROOM, []], default=list(ROOM))
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.inside:
        command = [sys.executable, "-m", "support.full_database", *options.full, "--inside"]
        raise SystemExit(subprocess.run(namespaced(command), check=False).returncode)
    faults = []
    for full in options.full:
        place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        with tempfile.TemporaryDirectory(prefix="semsearch-full-", dir=place) as folder:
            Path(folder).chmod(0o755)
            try:
                found = wrong(full, Path(folder))
            finally:
                subprocess.run(["umount", "-l", Path(folder) / "small"], check=False)
        sys.stdout.write("".join(f"{full}: {fault}\n" for fault in found) + f"{full}: {len(found)} faults\n")
        faults += found
    raise SystemExit(min(len(faults), 100))


if __name__ == "__main__":
    main()
