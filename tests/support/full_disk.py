"""Applications on a disk that fills up beneath them: `PYTHONPATH=tests python -m support.full_disk [ROWS] [--only …]`.

A collection of short vectors, its working files and what comes out lie on one file system of their own, which is given
as much room as a command has used elsewhere, less some. Wherever it runs out the command must end with one sentence,
no file of its may be left but what it goes on from, and the collection must be whole: of documents that were to get a
label, each has it or has what it had before. Then there is room again, and the same command must give what it gave
where nothing was short, to the byte.

The file system is a tmpfs in a mount namespace, which needs no rights beyond those that Linux gives to everybody, where
it is not set to refuse.
"""

import argparse
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import semsearch
from semsearch import scratch
from semsearch.applications import planar_layout, runs
from semsearch.cli.main import STORAGE, execute

DIM = 16
NAME = "many"
ALIKE = 0.1  # share of the rows that are nearly what another one is
PLENTY = 16 << 30  # bytes that no command uses
SHARES = (0.0, 0.5, 0.95)  # of what a command uses, that are there
FULL = re.compile(r"semsearch: .*(No space left on device|the disk that holds .* is full|the disk took a part of it)")
WATCHED_S = 0.005
FEW = 100_000  # rows
TABLE, PAGE = "found.tsv", "found.html"


@dataclass(frozen=True)
class Command:
    """An application, the file that it writes, and what it leaves for the next run, if anything."""

    arguments: tuple[str, ...]
    file: str | None = None
    goes_on: str | None = None


def commands(rows):
    """By name; about so many pairs, and groups of some of the rows."""
    alike = f"{100 * (1 - 10 / rows):.10f}%"
    return {
        "pairs": Command(
            ("pairs", NAME, "--min-score", alike, "--limit", "all", "--out", TABLE), TABLE, f"{TABLE}.unfinished"
        ),
        "duplicates": Command(("duplicates", NAME, "--no-wording", "--out", TABLE), TABLE),
        "remove": Command(("duplicates", NAME, "--no-wording", "--apply", "--yes")),
        "clusters": Command(("clusters", NAME, "--min-size", "30", "--out", TABLE), TABLE),
        "label": Command(("clusters", NAME, "--method", "kmeans", "--count", "20", "--label-as", "topic")),
        "topics": Command(("topics", NAME, "--count", "20", "--out", PAGE), PAGE),
        "map": Command(("map", NAME, "--count", "20", "--out", PAGE), PAGE),
    }


def fill(home, rows):
    """A collection of so many documents in `home`, some of them alike."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((rows, DIM), dtype=np.float32)
    again = rng.random(rows) < ALIKE
    vectors[again] = vectors[rng.integers(0, rows, again.sum())] + 0.05 * rng.standard_normal((again.sum(), DIM))
    syllables = ["".join(pair) for pair in zip("bdfgklmnprst" * 5, "aeiou" * 12, strict=True)]
    words = rng.choice(syllables, (rows, 8))
    with semsearch.create(NAME, home=home, encoder=None, dim=DIM, passages=False) as made:
        texts = (" ".join("".join(row[at : at + 2]) for at in (0, 2, 4, 6)) for row in words)
        made.add((semsearch.Document(str(at), text) for at, text in enumerate(texts)), vectors=vectors)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def run(folder, command):
    """It, in this process, which computes in the folder."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = execute([*command.arguments, "--home", str(folder / "home")])
    return Ended(code, out.getvalue(), err.getvalue())


class Disk:
    """A file system of its own, mounted on a folder, with as much room as is asked for."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "tmp").mkdir()

    @property
    def used(self):
        """Bytes that are taken."""
        state = os.statvfs(self.folder)
        return (state.f_blocks - state.f_bfree) * state.f_frsize

    def leave(self, room):
        """Let so many bytes be free, or a page less."""
        mount("-o", f"remount,size={self.used + room}", self.folder)

    @contextmanager
    def watched(self, used):
        """Note in `used` how many bytes more were taken at most, as far as a look now and then tells."""
        begun, over = self.used, threading.Event()

        def watch():
            while not over.wait(WATCHED_S):
                used.append(self.used - begun)

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            yield
        finally:
            used.append(self.used - begun)
            over.set()
            watching.join()

    def left(self):
        """What a command left, by name."""
        here = {path.name for path in self.folder.iterdir()} - {"home", "tmp"}
        return here | {f"tmp/{path.name}" for path in (self.folder / "tmp").iterdir()}


def mount(*arguments):
    """`mount` them."""
    subprocess.run(["mount", *map(str, arguments)], check=True)


@contextmanager
def disk(template):
    """One with a copy of a folder of collections as `home`."""
    folder = Path(tempfile.mkdtemp(prefix="semsearch-full-"))
    mount("-t", "tmpfs", "-o", f"size={PLENTY}", "tmpfs", folder)
    before = Path.cwd(), os.environ.get("TMPDIR")
    try:
        made = Disk(folder)
        shutil.copytree(template, folder / "home")
        os.chdir(folder)
        os.environ["TMPDIR"], tempfile.tempdir = str(folder / "tmp"), None
        yield made
    finally:
        os.chdir(before[0])
        os.environ.pop("TMPDIR")
        if before[1] is not None:
            os.environ["TMPDIR"] = before[1]
        tempfile.tempdir = None
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


def state(folder):
    """What is wrong with the collection, and of each document its metadata and a digest of text and vector."""
    with semsearch.open(NAME, home=folder / "home") as opened:
        wrong = [str(problem) for problem in opened.check(deep=True)]
        with opened.engine.view() as view:
            keys, vectors = view.arrays()
            there = {document.id: document for document in view.documents()}
            rows = {one: keys_of for one, keys_of in view.keys_of(list(there)).items()}
            place = {int(key): at for at, key in enumerate(keys)}
            digests = {
                one: (
                    dict(document.metadata),
                    hashlib.blake2b(
                        document.text.encode() + b"".join(vectors[place[int(key)]].tobytes() for key in rows[one]),
                        digest_size=8,
                    ).digest(),
                )
                for one, document in there.items()
            }
    return wrong, digests


def faults(name, command, template, before, shares):
    """What is wrong with a command, and how often it ran out of room."""
    used, wrong, ended_early = [], [], 0
    with disk(template) as there:
        with there.watched(used):
            plain = run(there.folder, command)
        if plain.code != 0 or "Traceback" in plain.err:
            return [f"{name}: with room it ends with {plain.code}: {plain.err}"], 0
        expected = (there.folder / command.file).read_bytes() if command.file else b""
        _, after = state(there.folder)
    with disk(template) as there:
        for share in shares:
            there.leave(int(share * max(used)))
            ended = run(there.folder, command)
            there.leave(PLENTY)
            at = f"{name} with {share:.0%} of its room"
            if ended.code == 0:  # it goes on from what is there, or less was needed than it took
                break
            ended_early += 1
            *before_it, said = [line for line in ended.err.splitlines() if not line.startswith("progress ")]
            if (
                ended.code != STORAGE
                or not FULL.match(said)
                or before_it != [*plain.err.splitlines()][: len(before_it)]
            ):
                wrong.append(f"{at}: ends with {ended.code} and says {ended.err!r:.2000}")
            more = there.left() - {command.goes_on}
            if more:
                wrong.append(f"{at}: leaves {sorted(more)}")
            problems, found = state(there.folder)
            wrong += [f"{at}: {problem}" for problem in problems]
            wrong += half(at, before, found, after)
        else:
            ended = run(there.folder, command)
        problems, found = state(there.folder)
        wrong += [f"{name}, again with room: {problem}" for problem in problems]
        same = found == after and (not command.file or (there.folder / command.file).read_bytes() == expected)
        if ended.code != 0 or not same:
            wrong.append(
                f"{name}, again with room: {ended.code}, {'the same' if same else 'another answer'}: {ended.err}"
            )
        if there.left() - {command.file}:
            wrong.append(f"{name}: leaves {sorted(there.left())} in the end")
    return wrong, ended_early


def half(at, before, found, after):
    """What is neither as it was nor as it was to become, in words."""
    lost = [one for one in before if one not in found and one in after]
    odd = [one for one, facts in found.items() if facts not in (before[one], after.get(one))]
    return [
        f"{at}: {what} {len(some):,} documents, {some[:3]}" for what, some in (("lost", lost), ("changed", odd)) if some
    ]


def inside(options):
    """All of it, where file systems can be mounted; how many faults were found."""
    if options.rows < FEW:  # what is many for them goes to the disk, too, and no time to what doesn't
        runs.IN_MEMORY, scratch.IN_MEMORY_BYTES, planar_layout.FEW_ROWS = options.rows, 1 << 12, FEW
    with tempfile.TemporaryDirectory(prefix="semsearch-template-") as folder:
        fill(Path(folder), options.rows)
        (Path(folder) / "home").symlink_to(folder)
        problems, before = state(Path(folder))
        (Path(folder) / "home").unlink()
        assert not problems
        wrong = []
        for name, command in commands(options.rows).items():
            if name in (options.only or commands(options.rows)):
                found, ended_early = faults(name, command, Path(folder), before, options.shares)
                sys.stdout.write(f"{name}: out of room {ended_early} times, {len(found)} faults\n")
                sys.stdout.flush()
                wrong += found
    for one in wrong:
        sys.stdout.write(f"{one}\n")
    return len(wrong)


def namespaced(command):
    """A command in a mount namespace of its own."""
    return ["unshare", "--map-root-user", "--mount", *command]


def possible():
    """Whether this machine lets a process mount a file system of its own."""
    with suppress(OSError, subprocess.SubprocessError):
        tried = namespaced(["mount", "-t", "tmpfs", "tmpfs", "/mnt"])
        return subprocess.run(tried, check=False, capture_output=True, timeout=60).returncode == 0
    return False


def main():
    """Do it in a namespace of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--only", nargs="+", choices=list(commands(1)))
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES, help="of the room that a command uses")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        sys.exit(1 if inside(options) else 0)
    if not possible():
        sys.exit("this machine lets nobody mount a file system: run it as root, or allow user namespaces.")
    sys.exit(
        subprocess.run(
            namespaced([sys.executable, "-m", "support.full_disk", *sys.argv[1:], "--inside"]), check=False
        ).returncode
    )


if __name__ == "__main__":
    main()
