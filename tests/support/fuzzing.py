"""Mutated files of a collection: what happens must be an error, or right answers. `make fuzz`.

Each mutation changes one file: index files, manifests, vectors, the database, its log, the marker. Batches run in child
processes, because a library that is given bad bytes may end its process, and that is a failure like a wrong hit.
"""

import contextlib
import logging
import random
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path

from semsearch.errors import SemsearchError
from semsearch.local import planner as plan
from support.forking import server
from support.workload import BACKENDS, QUERIES, documents, make_base, open_it, oracle, with_these

BATCH = 25
LIMIT = 120  # seconds for a batch


def mutated(rng, content):
    """`content` changed as disks, crashes and people change files, and a name for it."""
    size = len(content)
    place = rng.randrange(size) if size else 0
    match rng.choice(("bit", "byte", "block", "zeros", "cut", "tail", "swap", "repeat", "empty", "text", "number")):
        case "bit" if size:
            changed = bytearray(content)
            changed[place] ^= 1 << rng.randrange(8)
            return f"bit at {place}", bytes(changed)
        case "byte" if size:
            changed = bytearray(content)
            changed[place] = rng.randrange(256)
            return f"byte at {place}", bytes(changed)
        case "block":
            length = rng.randrange(1, 600)
            return f"{length} random bytes at {place}", content[:place] + rng.randbytes(length) + content[
                place + length :
            ]
        case "zeros":
            length = rng.randrange(1, 4096)
            return f"{length} zeros at {place}", content[:place] + bytes(length) + content[place + length :]
        case "cut":
            return f"cut at {place}", content[:place]
        case "tail":
            return "more bytes", content + rng.randbytes(rng.randrange(1, 3000))
        case "swap":
            other = rng.randrange(size) if size else 0
            a, b = content[place : place + 64], content[other : other + 64]
            return f"64 bytes of {other} at {place}", content[:place] + b + content[place + len(a) :]
        case "repeat":
            return f"repeated from {place}", content[:place] + content[max(place - 4096, 0) :]
        case "empty":
            return "emptied", b""
        case "text":
            return "text instead", b"this is no such file\n" * 40
    number = rng.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1))
    return f"the number {number} at {place}", content[:place] + number.to_bytes(8, "little") + content[place + 8 :]


def make_subjects(root):
    """A collection for each backend, one of them with commits in its log; their states."""
    states = {}
    for backend in BACKENDS:
        states[backend] = make_base(root / backend, backend)
    with open_it(root / "hnsw") as collection:
        more = documents(0, "logged", 3)
        collection.add(more)
        shutil.copytree(root / "hnsw", root / "logged", ignore=shutil.ignore_patterns("*-shm"))
    states["logged"] = with_these(states["hnsw"], more)
    states["hnsw"] = states["logged"]
    return states


def files(folder):
    """What may be mutated, each with its share."""
    found = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    shares = {"collection.sqlite": 4, "collection.sqlite-wal": 4, "marker": 0.2, "lock": 0, "rebuild": 0}
    return found, [shares.get(path.name, 2) for path in found]


def one(root, home, seed, states):
    """Mutate one file and use what is left; what was done, how it ended, and what was wrong."""
    rng = random.Random(seed)
    subject = rng.choice(sorted(states))
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(root / subject, home)
    path = home / rng.choices(*files(home))[0]
    name, content = mutated(rng, path.read_bytes())
    if content == path.read_bytes():
        name = "nothing"
    path.write_bytes(content)
    what = f"seed {seed}: {subject}, {path.relative_to(home)}: {name}"
    try:
        with open_it(home) as collection:
            wrong = wrong_hits(collection, states[subject])
            if not wrong and rng.random() < 0.2:
                with contextlib.suppress(SemsearchError):
                    collection.check(deep=True)
                    collection.repair()
                    wrong = wrong_hits(collection, states[subject])
        return what, "answered", wrong
    except SemsearchError as error:
        return what, type(error).__name__, []


def wrong_hits(collection, state):
    """Hits whose document or score is not that of the document with that id."""
    collection.load_index()
    truth = [dict(scores) for scores in oracle(collection.encoder, state, len(state))]
    wrong = []
    for options in ({}, {"exact": True}, {"where": {"n": {"$lt": 6}}}):
        for scores, hits in zip(truth, collection.search_many(QUERIES, 5, **options), strict=True):
            if len({hit.document.id for hit in hits}) != len(hits):
                wrong.append(f"a document twice ({options})")
            wrong += [
                f"{hit.document!r} with the score {hit.score} ({options})"
                for hit in hits
                if hit.document != state.get(hit.document.id) or hit.score != scores[hit.document.id]
            ]
    return wrong


def work(root, seeds, states, pipe):
    """In a child: the mutations of a batch, one after the other."""
    plan.GATHERED_ROWS = 8
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("error")
    home = Path(tempfile.mkdtemp(dir=root.parent))
    for seed in seeds:
        pipe.send(("begin", seed))
        try:
            pipe.send(("done", one(root, home, seed, states)))
        except BaseException as error:
            import traceback

            pipe.send(("done", (f"seed {seed}", "traceback", ["".join(traceback.format_exception(error)[-4:])])))
    shutil.rmtree(home, ignore_errors=True)


def run(root, states, seeds):
    """Do the batch in a child; what was wrong, and how the others ended."""
    receiver, sender = server().Pipe(duplex=False)
    child = server().Process(target=work, args=(root, seeds, states, sender))
    child.start()
    sender.close()
    wrong, ends, begun, deadline = [], [], None, time.monotonic() + LIMIT
    try:
        while receiver.poll(max(deadline - time.monotonic(), 0)):
            kind, value = receiver.recv()
            if kind == "begin":
                begun = value
                continue
            what, end, problems = value
            ends.append(end)
            begun = None
            wrong += [f"{what}: {problem}" for problem in problems]
        child.kill()
        wrong.append(f"seed {begun} hangs")
    except EOFError:
        child.join()
        if child.exitcode or begun is not None:
            wrong.append(f"seed {begun} ended the process ({child.exitcode})")
            left = [seed for seed in seeds if begun is not None and seed > begun]
            more_wrong, more_ends = run(root, states, left) if left else ([], [])
            return wrong + more_wrong, ends + more_ends
    child.join()
    return wrong, ends


def fuzz(folder, count, first=0):
    """`count` mutations; what was wrong, and how often each end was reached."""
    root = folder / "subjects"
    states = make_subjects(root)
    wrong, ends = [], {}
    for start in range(first, first + count, BATCH):
        problems, ended = run(root, states, list(range(start, min(start + BATCH, first + count))))
        wrong += problems
        for end in ended:
            ends[end] = ends.get(end, 0) + 1
        for problem in problems:
            print(problem, file=sys.stderr, flush=True)  # noqa: T201
    return wrong, ends


if __name__ == "__main__":
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=place, prefix="semsearch-fuzz-") as folder:
        begun = time.monotonic()
        count = int(sys.argv[1])
        wrong, ends = fuzz(Path(folder), count, int(sys.argv[2]) if len(sys.argv) > 2 else 0)
        print(f"{count} mutated files in {time.monotonic() - begun:.0f} s: {ends}; {len(wrong)} wrong")  # noqa: T201
        sys.exit(bool(wrong))
