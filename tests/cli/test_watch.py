"""`semsearch watch`: what concerns a source, and that collections follow their files."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import pytest
from support.command_line import run, start, tiny_model

import semsearch
from semsearch.cli import watch as command
from semsearch.errors import CollectionLocked, MissingDependency
from semsearch.ingest.watcher import WatchedSource, Watcher


class Disk:
    """Stands for watchfiles: a test says what changed, and hears what is looked at."""

    def __init__(self):
        self.told = queue.Queue()
        self.looked = []

    def watch(self, *folders, stop_event, recursive, yield_on_timeout, **how):
        assert yield_on_timeout
        self.looked.append((folders, recursive, how["step"], how["debounce"]))
        yield set()
        while not stop_event.is_set():
            try:
                change = self.told.get(timeout=0.01)
            except queue.Empty:
                yield set()
                continue
            if isinstance(change, Exception):
                raise change
            yield {(1, str(path)) for path in change}


@pytest.fixture
def disk(monkeypatch):
    made = Disk()
    monkeypatch.setitem(sys.modules, "watchfiles", types.SimpleNamespace(watch=made.watch))
    return made


@pytest.fixture
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


def test_what_concerns_a_source(tmp_path):
    folder = tmp_path / "papers"
    folder.mkdir()
    (tmp_path / "a.jsonl").touch()
    papers = WatchedSource.of("papers", {"path": str(folder), "format": "documents"})
    records = WatchedSource.of("records", {"path": str(tmp_path / "a.jsonl"), "vectors": str(tmp_path / "v" / "a.npy")})
    within = WatchedSource.of("within", {"path": str(tmp_path / "a.jsonl"), "vectors": str(tmp_path / "a.jsonl")})
    assert papers.places == [(folder, True)]
    assert records.places == [(tmp_path, False), (tmp_path / "v", False)]
    assert within.places == [(tmp_path, False)]
    for name, concerned in (
        ("papers", "papers"),
        ("papers/x.txt", "papers"),
        ("papers/deep/x.txt", "papers"),
        ("papers/.git/index", ""),
        ("papers/deep/.x.txt.swp", ""),
        ("papers2/x.txt", ""),
        ("a.jsonl", "records within"),
        ("b.jsonl", ""),
        ("v/a.npy", "records"),
    ):
        found = [source.collection for source in (papers, records, within) if source.concerns(tmp_path / name)]
        assert " ".join(found) == concerned


def test_what_a_watcher_tells(tmp_path, disk):
    folder, home = tmp_path / "papers", tmp_path / "papers" / "home"
    home.mkdir(parents=True)
    sources = [WatchedSource("papers", folder, True), WatchedSource("one", tmp_path / "one.txt", False)]
    with Watcher(sources, 0.5, home) as watcher:
        assert sorted(disk.looked) == [((str(tmp_path),), False, 500, 5000), ((str(folder),), True, 500, 5000)]
        disk.told.put([folder / "a.txt", tmp_path / "else.txt"])
        assert watcher.changed(10) == {"papers"}
        disk.told.put([tmp_path / "else.txt"])
        disk.told.put([home / "papers" / "vectors-1.f32"])  # what a sync itself writes
        disk.told.put([tmp_path / "one.txt"])
        assert watcher.changed(10) == {"one"}
        assert watcher.changed(0) == set()
        assert not watcher.is_stale
        (tmp_path / "one.txt").touch()  # a source that was not there
        assert watcher.is_stale
        disk.told.put(OSError(28, "inotify limit"))
        with pytest.raises(OSError, match="inotify limit"):
            watcher.changed(10)
    assert threading.active_count() == 1 or not [t for t in threading.enumerate() if "_look" in t.name]


def test_a_folder_that_is_another_one(tmp_path, disk):
    folder = tmp_path / "papers"
    folder.mkdir()
    with Watcher([WatchedSource("papers", folder, True)], 0.5) as watcher:
        folder.rename(tmp_path / "old")
        assert not watcher.is_stale
        folder.mkdir()
        assert watcher.is_stale


def test_one_that_comes_back_is_noticed_soon(tmp_path, disk, monkeypatch):
    monkeypatch.setattr("semsearch.ingest.watcher.LOOKED", 0.01)
    folder = tmp_path / "papers"
    with Watcher([WatchedSource("papers", folder, False)], 0.5) as watcher:
        folder.mkdir()
        started = time.monotonic()
        assert watcher.changed(60) == set()
        assert time.monotonic() - started < 30


def test_without_the_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(MissingDependency, match=r"pip install 'semsearch\[watch\]'"):
        Watcher([WatchedSource("papers", tmp_path, True)], 0.5)


class Followed:
    """`semsearch watch` over a disk that a test plays: each step is what is done before it looks for changes."""

    def __init__(self, monkeypatch, disk, steps):
        self.steps = iter(steps)
        changed = Watcher.changed

        def next_step(watcher, seconds):
            assert seconds == command.TRY_AGAIN
            step = next(self.steps, None)
            if step is None:
                raise KeyboardInterrupt
            paths = step()
            if paths is None:
                return set()
            disk.told.put(paths)
            return changed(watcher, 10)

        monkeypatch.setattr(Watcher, "changed", next_step)


@pytest.fixture
def papers(tmp_path, model):
    folder = tmp_path / "papers"
    folder.mkdir()
    for number in range(10):
        (folder / f"{number}.txt").write_text(f"reef tide {number}")
    assert run("index", folder, "-m", model).code == 0
    return folder


def follow(monkeypatch, disk, steps, *arguments):
    Followed(monkeypatch, disk, steps)
    ended = run("watch", *arguments)
    assert ended.code == 130
    return ended


def write(path, text):
    path.write_text(text)
    os.utime(path, (time.time() - 60, time.time() - 60))
    return [path]


def test_a_collection_follows_its_files(papers, disk, monkeypatch):
    (papers / "before.txt").write_text("whale")
    steps = [
        lambda: write(papers / "new.txt", "bread dough"),
        lambda: write(papers / "new.txt", "wheel chain"),
        lambda: (papers / "new.txt").unlink() or [papers / "new.txt"],
        lambda: [papers / "nothing.txt"],
    ]
    lines = [line.partition(" ")[2] for line in follow(monkeypatch, disk, steps).lines]
    assert lines == [
        "papers: added 1, changed 0, removed 0, unchanged 10",
        "papers: added 1, changed 0, removed 0, unchanged 11",
        "papers: added 0, changed 1, removed 0, unchanged 11",
        "papers: added 0, changed 0, removed 1, unchanged 11",
    ]
    with semsearch.open("papers") as collection:
        assert len(collection) == 11


def test_it_speaks_to_programs(papers, disk, monkeypatch):
    ended = follow(monkeypatch, disk, [lambda: write(papers / "new.txt", "bread")], "papers", "--json")
    assert [(told["collection"], told["added"], told["removed"]) for told in map(json.loads, ended.lines)] == [
        ("papers", 0, 0),
        ("papers", 1, 0),
    ]


def remove_half(papers):
    for number in range(6):
        (papers / f"{number}.txt").unlink()
    return [papers / "0.txt"]


def test_much_that_vanishes_is_kept(papers, disk, monkeypatch):
    ended = follow(monkeypatch, disk, [lambda: remove_half(papers), lambda: [papers / "0.txt"]])
    assert ended.err.count(f"{papers}: 6 of the 10 documents have vanished") == 1  # said once, kept twice
    assert [line.partition(" unchanged ")[2] for line in ended.lines] == ["10", "4, kept 6", "4, kept 6"]
    ended = follow(monkeypatch, disk, [], "--yes")
    assert ended.lines[-1].endswith("removed 6, unchanged 4")


def test_a_few_may_always_go(papers, disk, monkeypatch):
    def remove():
        for number in range(5):
            (papers / f"{number}.txt").unlink()
        return [papers / "0.txt"]

    ended = follow(monkeypatch, disk, [remove])
    assert ended.lines[-1].endswith("removed 5, unchanged 5")
    assert "vanished" not in ended.err


def test_where_another_process_writes_it_is_tried_again(papers, disk, monkeypatch):
    sync, failing = semsearch.Collection.sync, [True, True]

    def busy(self, **how):
        if failing:
            failing.pop()
            raise CollectionLocked("'papers' is locked: process 5 is writing.")
        return sync(self, **how)

    monkeypatch.setattr(semsearch.Collection, "sync", busy)
    ended = follow(monkeypatch, disk, [lambda: None, lambda: None])
    assert ended.err.count("is locked") == 1  # said once, tried three times
    assert [line.partition(" ")[2] for line in ended.lines] == []  # nothing changed by then
    assert not failing


@pytest.mark.slow
def test_of_two_that_watch_the_second_is_told(papers, disk, monkeypatch, model):
    """The first is another process, and its lock goes with it however it ends."""
    hold = (
        "import os, sys, semsearch\n"
        "with semsearch.open('papers') as papers, papers.engine.keep_watch():\n"
        "    print(os.getpid(), flush=True)\n"
        "    sys.stdin.read()\n"
    )
    other = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert int(other.stdout.readline()) == other.pid
        for names in ([], ["papers"]):
            ended = run("watch", *names)
            assert ended.code == 5, ended.err
            assert f"collection 'papers' is watched by process {other.pid} already" in ended.err
            assert ended.out == ""
        (papers / "new.txt").write_text("bread")
        assert run("sync", "papers").code == 0  # who writes once is in nobody's way
        write(papers.parent / "more.txt", "wheel")
        assert run("index", papers.parent / "more.txt", "-m", model).code == 0
        ended = follow(monkeypatch, disk, [])
        assert [line.partition(" ")[2].partition(":")[0] for line in ended.lines] == ["more"]
        assert "papers: collection 'papers' is watched by process" in ended.err
    finally:
        other.kill()
        other.communicate()
    assert [line.partition(" ")[2].partition(":")[0] for line in follow(monkeypatch, disk, []).lines] == [
        "more",
        "papers",
    ]


def test_a_file_that_can_not_be_read_ends_nothing(papers, disk, monkeypatch):
    ended = follow(
        monkeypatch,
        disk,
        [
            lambda: (papers / "bad.txt").write_bytes(b"\xff\xfe\x00bad") and [papers / "bad.txt"],
            lambda: write(papers / "good.txt", "bread"),
        ],
    )
    assert "bad.txt" in ended.err
    assert "papers: added 1, changed 0, removed 0" in ended.lines[-1]


def test_a_folder_that_comes_back(papers, disk, monkeypatch):
    away = papers.with_name("away")
    steps = [
        lambda: papers.rename(away) and [papers],
        lambda: (
            (papers.mkdir(), *write(papers / "new.txt", "bread"), *write(papers / "0.txt", "reef tide 0"))[:0] or None
        ),
        lambda: write(papers / "late.txt", "dough"),
    ]
    ended = follow(monkeypatch, disk, steps)
    assert f"{papers} is not there" in ended.err
    assert ended.err.count("watching 1 source") == 2  # anew, as the other folder tells nothing
    assert "added 1, changed 0, removed 0, unchanged 1, kept 9" in ended.lines[1]
    assert "added 1, changed 0" in ended.lines[2]


def test_what_can_not_be_watched(papers, disk, monkeypatch, tmp_path):
    assert run("watch", "nowhere").code == 4
    with semsearch.create("own", encoder=None, dim=2):
        pass
    ended = run("watch", "own")
    assert (ended.code, ended.err) == (
        2,
        "semsearch: 'own' remembers no source that can be read again: index one first.\n",
    )
    ended = run("watch", "--home", tmp_path / "empty")
    assert ended.code == 2
    assert "remembers a source" in ended.err
    ended = follow(monkeypatch, disk, [])
    assert "watching 1 source;" in ended.err

    def dropped():
        semsearch.drop("papers")
        semsearch.drop("own")

    Followed(monkeypatch, disk, [dropped])
    ended = run("watch")
    assert (ended.code, ended.err.splitlines()[-1]) == (
        4,
        "semsearch: none of the watched collections is there any more.",
    )


def test_the_system_refuses(papers, disk, monkeypatch):
    disk.told.put(OSError(28, "No space left on device"))
    ended = run("watch")
    assert ended.code == 4
    assert "fs.inotify.max_user_watches" in ended.err


@pytest.mark.slow
def test_files_in_truth(tmp_path, papers):
    """With the library, in a process of its own, which is told by the system and ended by a signal."""
    pytest.importorskip("watchfiles")
    process = start("watch", "papers", "--debounce", "0.05")
    try:
        assert b"papers: added 0" in process.stdout.readline()
        (papers / "new.txt").write_text("bread dough")
        assert b"papers: added 1, changed 0, removed 0" in process.stdout.readline()
        (papers / "deep").mkdir()
        (papers / "deep" / "er.txt").write_text("wheel")
        assert b"papers: added 1, changed 0, removed 0" in process.stdout.readline()
        replaced = papers.parent / "other"
        replaced.write_text("whale storm")
        replaced.replace(papers / "0.txt")
        assert b"papers: added 0, changed 1, removed 0" in process.stdout.readline()
        (papers / "1.txt").unlink()
        assert b"papers: added 0, changed 0, removed 1" in process.stdout.readline()
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in said
    assert Path(papers / "new.txt").exists()


def test_what_is_not_read_is_told(papers, disk, monkeypatch):
    (papers / "film.mkv").touch()
    steps = [lambda: write(papers / "new.txt", "bread"), lambda: write(papers / "newer.txt", "dough")]
    ended = follow(monkeypatch, disk, steps)
    assert ended.err.count("papers: files not read, because no reader here knows their kind: 1 .mkv.") == 1
