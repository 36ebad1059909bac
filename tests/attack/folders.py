"""Folders from a stranger: links, pipes, devices and folders where files belong, names that lead out, clones."""

import contextlib
import gzip
import hashlib
import json
import os
import shutil
import socket
import sqlite3

from attack.arena import TEXTS
from attack.commands import everyday, type_some

FAMILY = "hostile folders"
SHARE = 16
LEFT_BEHIND = (  # names that a collection had once, or will have, or that writes go through
    *(
        "collection.sqlite-wal",
        "collection.sqlite-shm",
        "collection.sqlite-journal",
        "vectors-2.f32",
        "vectors-2.f32.tmp",
    ),
    *(
        "indexes/exact-3",
        "indexes/exact-3.tmp",
        "indexes/hnsw-3.tmp",
        "indexes/hnsw-3",
        "lexical-1",
        "indexes/lexical-1",
    ),
    *("marker.tmp", "reencoded", "questions", "semsearch.toml", ".history"),
)


def link_inside(case, path):
    """A link to the file of the same name of somebody else's collection."""
    there = case.canary / path.relative_to(case.home)
    replace(path)
    path.symlink_to(there if there.exists() else case.canary / "secret.txt")


def link_to_secret(case, path):
    replace(path)
    path.symlink_to(case.canary / "secret.txt")


def link_to_folder(case, path):
    replace(path)
    path.symlink_to(case.canary, target_is_directory=True)


def link_up(case, path):
    replace(path)
    path.symlink_to("..", target_is_directory=True)


def link_to_itself(case, path):
    replace(path)
    path.symlink_to(path.name)


def link_to_nothing(case, path):
    replace(path)
    path.symlink_to(case.canary / "new-file")  # which a write would make


def link_to_device(case, path):
    replace(path)
    path.symlink_to(case.rng.choice(["/dev/zero", "/dev/full", "/dev/null", "/dev/tty", "/dev/stdin"]))


def pipe(case, path):
    replace(path)
    os.mkfifo(path)


def socket_there(case, path):
    replace(path)
    before = os.open(".", os.O_RDONLY)
    try:
        os.chdir(path.parent)  # a socket's path may not be long
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(before)
        os.close(before)


def folder_there(case, path):
    replace(path)
    path.mkdir()
    (path / "..hidden").write_text("x")


def file_there(case, path):
    replace(path)
    path.write_bytes(case.rng.randbytes(200))


def empty(case, path):
    replace(path)
    path.touch()


def sparse(case, path):
    """Huge, and nothing of it on the disk."""
    if path.is_dir():
        replace(path)
    with path.open("ab") as file:
        file.truncate(case.rng.choice([1 << 33, 1 << 40]))


def no_mode(case, path):
    if path.exists():
        path.chmod(case.rng.choice([0o000, 0o200, 0o444, 0o777, 0o4755]))


def gone(case, path):
    replace(path)


def replace(path):
    """Take away what is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


WAYS = (
    *(link_inside, link_to_secret, link_to_folder, link_up, link_to_itself, link_to_nothing, link_to_device),
    *(pipe, socket_there, folder_there, file_there, empty, sparse, no_mode, gone),
)


def tampered(case):
    """Something in the folder of a collection, or the folder itself, is something else."""
    folder = case.home / TEXTS
    there = [path for path in sorted(folder.rglob("*")) if path.name != "lock"]
    coming = [folder / name for name in LEFT_BEHIND]
    path = case.rng.choice([*there, *there, *there, *coming, folder, folder / "lock", folder / "rebuild"])
    way = case.rng.choice(WAYS)
    if path.name in ("semsearch.toml", ".history"):
        path = case.home / path.name
    way(case, path)
    case.note(f"{way.__name__} at {path.relative_to(case.place)}")
    type_some(case, 3)


def names_that_lead_out(case):
    """A manifest, its digests right, whose files and folders have names that lead out."""
    name = case.rng.choice(
        ["../../../canary/secret.txt", str(case.canary / "secret.txt"), "..", ".", "", "a\0b", "x/../../y"]
    )
    folder = case.home / TEXTS
    found = list(folder.glob("indexes/*/manifest.json"))
    if found:
        manifest = json.loads(found[0].read_text())
        target = case.canary / "secret.txt"
        manifest["files"][name] = hashlib.sha256(target.read_bytes()).hexdigest()
        manifest["sizes"][name] = target.stat().st_size
        found[0].write_text(json.dumps(manifest, indent=1, sort_keys=True))
    with contextlib.closing(sqlite3.connect(folder / "collection.sqlite")) as database, database:
        if found:
            database.execute("UPDATE indexes SET digest = ?", [hashlib.sha256(found[0].read_bytes()).hexdigest()])
        if case.rng.random() < 0.5:
            database.execute(
                "UPDATE indexes SET backend = ?", [case.rng.choice(["../../../canary", "/", "..", "hnsw/../..", "os"])]
            )
    case.note(f"a manifest with a file {name!r}")
    type_some(case, 3)


def names_of_collections(case):
    """A name, or the place of a backup, that leads out of the home."""
    name = case.rng.choice(
        [
            "../canary/docs",
            "..",
            ".",
            "/",
            str(case.canary / TEXTS),
            "docs/../../canary/docs",
            "-x",
            "a\nb",
            "\u202edocs",
            "é" * 300,
            "CON",
        ]
    )
    case.note(f"a collection called {name!r}")
    for words in case.rng.sample(everyday(case, name), 3):
        at = words.index(name) if name in words else None
        words = [*words[:1], *words[1:at], *words[at + 1 :], "--", name] if at and words[at - 1] != "--name" else words
        case.run(*words, as_json="--json" in words)


def a_clone(case):
    """A folder of somebody else's, with collections and defaults in it, that a person stands in."""
    clone = case.work / "clone"
    shutil.copytree(case.home, clone / ".semsearch")
    kind = case.rng.choice(
        ["linked home", "defaults", "linked defaults", "huge defaults", "odd defaults", "linked collection"]
    )
    defaults = clone / "semsearch.toml"
    match kind:
        case "linked home":
            shutil.rmtree(clone / ".semsearch")
            (clone / ".semsearch").symlink_to(case.canary, target_is_directory=True)
        case "defaults":
            defaults.write_text(f'home = "{case.canary}"\n[query]\nk = 3\n[index]\nencoder = "{case.canary}"\n')
        case "linked defaults":
            defaults.symlink_to(case.canary / "secret.txt")
        case "huge defaults":
            with defaults.open("wb") as file:
                file.truncate(1 << 34)
        case "odd defaults":
            defaults.write_bytes(
                case.rng.choice(
                    [
                        b"\xff\xfe",
                        b"k = [" * 5000,
                        b'[query]\nk = "\x1b[31m"',
                        b"k = 1e999\n[query]\nk = -1",
                        b"[query.k]\nx=1",
                    ]
                )
            )
        case "linked collection":
            shutil.rmtree(clone / ".semsearch" / TEXTS)
            (clone / ".semsearch" / TEXTS).symlink_to(case.canary / TEXTS, target_is_directory=True)
    case.note(f"a clone with {kind}")
    environment = {"SEMSEARCH_HOME": ""}
    named = ["--home", clone / ".semsearch"] if kind == "linked collection" and case.rng.random() < 0.5 else []
    for words in case.rng.sample(everyday(case), 3):
        if words[0] not in ("drop", "sync"):
            case.run(*words, *named, as_json="--json" in words, cwd=clone, environment=environment)


def a_corpus(case):
    """A corpus to be read, with what is no file in it."""
    corpus = case.work / "corpus"
    corpus.mkdir()
    for number in range(3):
        (corpus / f"good{number}.txt").write_text(f"good{number} word{number} word2")
    (corpus / "inner").mkdir()
    (corpus / "inner" / "more.txt").write_text("more word1")
    odd = corpus / case.rng.choice(
        ["odd.txt", "odd.md", "odd.html", "odd.jsonl", "inner/odd.txt", ".odd.txt", "odd.pdf", "odd.csv"]
    )
    way = case.rng.choice(
        [
            link_to_folder,
            link_up,
            link_to_itself,
            link_to_nothing,
            link_to_device,
            pipe,
            socket_there,
            folder_there,
            empty,
            no_mode,
            names_of_files,
            ignore_file,
            bomb,
        ]
    )
    way(case, odd)
    case.note(f"{way.__name__} at {odd.name} in a corpus")
    case.run("index", corpus, "--name", "new", "-m", case.arena.model, "--on-error", "skip")
    case.run("sync", "new")
    if way in (link_to_folder, link_up) and (there := case.look("new", own=False)):
        case.problems += [f"{name} came from behind a link" for name, (text, _) in there.items() if "secret" in text]


def names_of_files(case, path):
    for name in ("a\nb.txt", "\x1b[31mred.txt", "\u202etxt.exe.txt", "x" * 200 + ".txt", "-rf.txt", "#.txt"):
        (path.parent / name).write_text("words word1")
    with contextlib.suppress(OSError):
        (path.parent / os.fsdecode(b"\xff\xfe.txt")).write_text("words word1")


def ignore_file(case, path):
    (path.parent / ".gitignore").write_bytes(
        case.rng.choice([b"[" * 10000, b"**/" * 2000, b"\xff\xfe\n", b"!" * 100, b"(a+)+$\n[z-a]\n"])
    )


def bomb(case, path):
    (path.parent / "bomb.txt.gz").write_bytes(gzip.compress(bytes(1 << 27)))


KINDS = (tampered, tampered, tampered, tampered, tampered, names_that_lead_out, names_of_collections, a_clone, a_corpus)


def attack(case):
    """One of the kinds, and afterwards the other collection is whole."""
    KINDS[case.number % len(KINDS)](case)
    case.whole("vectors", "v")
