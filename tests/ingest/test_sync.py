"""`sync`: a collection comes to hold what its sources hold; nothing is lost to a source that could not be read."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.command_line import run, tiny_model
from support.fakes import HashEncoder

import semsearch
from semsearch import validation
from semsearch.errors import DataError, UsageError
from semsearch.ingest.scan import scan
from semsearch.ingest.source import ReadReport, Source
from semsearch.local.store import failpoints
from semsearch.types import Document
from semsearch.walk import walk

LONG_AGO = 1_600_000_000 * 10**9


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


def write(folder: Path, name: str, text: str, mtime: int | None = None) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if mtime is not None:
        os.utime(path, ns=(mtime, mtime))
    return path


def lines(path: Path, **texts: str) -> Path:
    path.write_text("".join(json.dumps({"id": key, "text": text}) + "\n" for key, text in texts.items()))
    return path


def made(source: Source, name: str = "notes"):
    """A collection of what the source holds."""
    collection = semsearch.create(name, encoder=HashEncoder(8))
    take(collection, source)
    return collection


def take(collection, source: Source):
    return collection.add_from(scan(source, ReadReport()))


def held(collection) -> dict[str, str]:
    return {document.id: document.text for document in collection.documents()}


def counts(synced) -> tuple[int, int, int, int, int]:
    changes = synced.changes
    return changes.added, changes.changed, changes.unchanged, synced.removed, synced.kept


def test_a_folder_is_followed_and_only_what_changed_is_encoded(tmp_path):
    folder = tmp_path / "notes"
    for number in range(10):
        write(folder, f"{number}.txt", f"text {number}", LONG_AGO)
    with made(Source.of(folder)) as collection:
        encoded = collection.encoder.calls
        write(folder, "1.txt", "other words")
        write(folder, "new/n.txt", "a new one")
        (folder / "2.txt").unlink()
        assert counts(collection.sync()) == (1, 1, 8, 1, 0)
        assert collection.encoder.calls == encoded + 2
        assert held(collection) == {document.id: document.text for document in Source.of(folder).read()}
        assert counts(collection.sync()) == (0, 0, 10, 0, 0)
        assert collection.check(deep=True) == []


def test_lines_that_vanish_from_a_file_are_removed_by_sync_and_not_by_index(tmp_path):
    path = lines(tmp_path / "a.jsonl", **{f"d{number}": f"text {number}" for number in range(10)})
    source = Source.of(path)
    with made(source) as collection:
        lines(path, **{f"d{number}": f"text {number}" for number in range(1, 11)})
        assert take(collection, source).added == 1
        assert len(collection) == 11
        assert counts(collection.sync()) == (0, 0, 10, 1, 0)
        assert held(collection) == {f"d{number}": f"text {number}" for number in range(1, 11)}


def test_size_and_time_tell_what_is_the_same_and_content_where_they_doubt(tmp_path):
    folder = tmp_path / "notes"
    for name in "abc":
        write(folder, f"{name}.txt", f"old {name}", LONG_AGO)
    fresh = write(folder, "fresh.txt", "old f")
    with made(Source.of(folder)) as collection:
        write(folder, "a.txt", "new a", LONG_AGO)  # nobody can see that
        write(folder, "b.txt", "new b", LONG_AGO + 1)
        write(folder, "c.txt", "old c", LONG_AGO + 1)
        before = fresh.stat()
        write(folder, "fresh.txt", "new f", before.st_mtime_ns)  # written twice within one tick of the clock
        assert counts(collection.sync()) == (0, 2, 2, 0, 0)
        assert held(collection) == {"a.txt": "old a", "b.txt": "new b", "c.txt": "old c", "fresh.txt": "new f"}
        with collection.engine.store.read() as view:
            times = dict(view.connection.exec_driver_sql("SELECT name, mtime FROM files").all())
        assert times["c.txt"] == LONG_AGO + 1  # not hashed again next time


def test_a_folder_is_added_by_its_path(tmp_path):
    write(tmp_path / "notes", "a.txt", "one")
    write(tmp_path / "notes", "bad.txt", "\0")
    with semsearch.create("notes", encoder=HashEncoder(8)) as collection:
        with pytest.raises(DataError, match="NUL"):
            collection.add_from(tmp_path / "notes")
        told = []
        assert collection.add_from(tmp_path / "notes", on_error=told.append).added == 1
        assert len(told) == 1
        write(tmp_path / "notes", "bad.txt", "repaired")
        assert counts(collection.sync()) == (1, 0, 1, 0, 0)


def test_what_is_remembered_and_is_no_source_is_said(tmp_path):
    with semsearch.create("notes", encoder=HashEncoder(8)) as collection:
        collection.engine.origins.register(json.dumps({"kind": "text", "path": "somewhere"}), [])
        collection.add_from(lines(tmp_path / "a.jsonl", a="one"))
        told = []
        assert counts(collection.sync(on_error=told.append)) == (0, 0, 1, 0, 0)
        assert "names no path and format" in str(told[0])


def test_a_document_of_two_sources_goes_with_the_last(tmp_path):
    one = lines(tmp_path / "one.jsonl", shared="both", mine="one", **{f"o{n}": str(n) for n in range(9)})
    two = lines(tmp_path / "two.jsonl", shared="both", **{f"t{n}": str(n) for n in range(9)})
    with made(Source.of(one)) as collection:
        take(collection, Source.of(two))
        lines(one, **{f"o{n}": str(n) for n in range(9)})
        assert counts(collection.sync())[3] == 1
        assert "shared" in held(collection)
        lines(two, **{f"t{n}": str(n) for n in range(9)})
        assert counts(collection.sync())[3] == 1
        assert sorted(held(collection)) == [f"o{n}" for n in range(9)] + [f"t{n}" for n in range(9)]


def test_a_record_that_moves_to_another_file_stays(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    lines(folder / "a.jsonl", x="one", y="two")
    lines(folder / "b.jsonl", z="three")
    with made(Source.of(folder, "jsonl")) as collection:
        lines(folder / "a.jsonl", y="two")
        lines(folder / "b.jsonl", z="three", x="one")
        assert counts(collection.sync()) == (0, 0, 3, 0, 0)
        (folder / "a.jsonl").unlink()
        assert counts(collection.sync(most=0.5)) == (0, 0, 2, 1, 0)
        assert sorted(held(collection)) == ["x", "z"]


def test_what_was_put_in_by_hand_stays(tmp_path):
    path = lines(tmp_path / "a.jsonl", a="one", b="two")
    with made(Source.of(path)) as collection:
        collection.add([semsearch.Document("own", "by hand")])
        lines(path, b="two")
        assert counts(collection.sync(most=1))[3] == 1
        assert sorted(held(collection)) == ["b", "own"]


def emptied(folder):
    for path in folder.iterdir():
        path.unlink()


def gone(folder):
    folder.rename(folder.with_name("elsewhere"))


def locked(folder):
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    folder.chmod(0)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
@pytest.mark.parametrize("harm", [emptied, gone, locked])
def test_a_source_that_gives_nothing_takes_nothing_away(tmp_path, harm):
    folder = tmp_path / "notes"
    for number in range(3):
        write(folder, f"{number}.txt", f"text {number}", LONG_AGO)
    with made(Source.of(folder)) as collection:
        harm(folder)
        try:
            told = []
            assert counts(collection.sync(on_error=told.append, most=1)) == (0, 0, 0, 0, 0)
            assert len(collection) == 3
            assert str(folder) in str(told[0])
            with pytest.raises(DataError):
                collection.sync(most=1)
            assert list(collection.plan_sync(on_error=told.append)) == []
        finally:
            if folder.exists():
                folder.chmod(0o700)


def test_a_folder_inside_that_cannot_be_listed_keeps_its_documents(tmp_path, monkeypatch):
    folder = tmp_path / "notes"
    for name in ("a.txt", "in/b.txt", "in/c.txt", "d.txt"):
        write(folder, name, f"text of {name}", LONG_AGO)
    with made(Source.of(folder)) as collection:
        scan = os.scandir

        def refuse(path):
            if str(path).rstrip("/").endswith("in"):
                raise PermissionError(13, "Permission denied", str(path))
            return scan(path)

        (folder / "a.txt").unlink()
        monkeypatch.setattr("semsearch.walk.os.scandir", refuse)
        told = []
        assert counts(collection.sync(on_error=told.append, most=1))[3] == 1
        assert sorted(held(collection)) == ["d.txt", "in/b.txt", "in/c.txt"]


def test_a_file_with_a_bad_record_loses_nothing_and_is_looked_at_again(tmp_path):
    path = lines(tmp_path / "a.jsonl", a="one", b="two", c="three")
    with made(Source.of(path)) as collection:
        path.write_text('{"id": "a", "text": "one"}\n{"id": "b", "te\n')
        told = []
        assert counts(collection.sync(on_error=told.append, most=1)) == (0, 0, 1, 0, 0)
        assert len(told) == 1
        assert len(collection) == 3
        lines(path, a="one")
        assert counts(collection.sync(most=1)) == (0, 0, 1, 2, 0)


@pytest.mark.slow
def test_a_run_that_breaks_off_anywhere_is_made_good_by_the_next(tmp_path):
    class Stop(Exception):
        pass

    point = 0
    while True:
        folder = tmp_path / f"notes-{point}"
        for number in range(12):
            write(folder, f"{number}.txt", f"text {number}", LONG_AGO)
        with made(Source.of(folder), f"notes-{point}") as collection:
            (folder / "1.txt").unlink()
            write(folder, "2.txt", "other")
            write(folder, "new.txt", "new")
            passed = 0

            def at(name, point=point):
                nonlocal passed
                passed += 1
                if passed > point:
                    raise Stop

            failpoints.arm(at)
            try:
                collection.sync()
                finished = True
            except Stop:
                finished = False
            finally:
                failpoints.arm(None)
            (folder / "new.txt").unlink()  # what the broken run put in must still be known to be from here
            collection.sync(most=1)
            assert held(collection) == {document.id: document.text for document in Source.of(folder).read()}
            assert collection.check(deep=True) == []
        if finished:
            break
        point += 1
    assert point > 8


def test_the_commands_say_what_they_do_and_ask_before_they_remove_much(tmp_path, model):
    folder = tmp_path / "notes"
    for number in range(10):
        write(folder, f"{number}.txt", "whale storm tide" + " reef" * number, LONG_AGO)
    assert run("index", folder, "-m", model).out.startswith("added 10,")
    for name in ("0.txt", "1.txt", "2.txt"):
        (folder / name).unlink()
    write(folder, "3.txt", "loaf")
    write(folder, "new.txt", "oven")
    seen = run("sync", "notes", "--dry-run")
    assert seen.lines == [
        "add\tnew.txt",
        "change\t3.txt",
        "remove\t0.txt",
        "remove\t1.txt",
        "remove\t2.txt",
    ]
    assert "removing 3 of the 10 documents" in seen.err
    assert seen.last == "would add 1, change 1, remove 3; unchanged 6"
    ended = run("sync", "notes")
    assert (ended.code, ended.out) == (2, "added 1, changed 1, removed 0, unchanged 6, kept 3\n")
    assert "3 of the 11 documents" in ended.err
    assert "--yes" in ended.err
    ended = run("sync", "--yes")
    assert (ended.code, ended.out) == (0, "added 0, changed 0, removed 3, unchanged 8\n")
    assert run("sync").out == "added 0, changed 0, removed 0, unchanged 8\n"
    (folder / "9.txt").unlink()
    assert "1 documents are no more in the source: 'semsearch sync notes' takes them out" in run("index", folder).err
    assert run("sync").out == "added 0, changed 0, removed 1, unchanged 7\n"
    gone(folder)
    ended = run("sync", "--yes")
    assert (ended.code, ended.out) == (3, "added 0, changed 0, removed 0, unchanged 0\n")
    assert f"{folder} is not there" in ended.err
    assert run("sync", "--on-error", "stop").code == 3


def test_the_options_of_the_reader_are_remembered(tmp_path, model):
    path = tmp_path / "films.csv"
    path.write_text("key;plot\nf1;whale storm\nf2;oven loaf\n")
    assert run("index", path, "-m", model, "--text", "plot", "--id", "key", "--read", "delimiter=;").code == 0
    path.write_text("key;plot\nf1;whale storm\nf2;oven loaf\nf3;wheel chain\n")
    assert run("sync", "films").out == "added 1, changed 0, removed 0, unchanged 2\n"


def test_standard_input_is_passed_over(model):
    run("index", "-", "--format", "text", "--name", "piped", "-m", model, stdin=b"whale\noven\n")
    ended = run("sync", "piped")
    assert (ended.code, ended.out) == (3, "added 0, changed 0, removed 0, unchanged 0\n")
    assert "standard input can't be read again" in ended.err


def names(root, **choice):
    return [file.name for file in walk(root, **choice).files]


def test_hidden_files_and_what_gitignore_names_are_left_out(tmp_path):
    for name in ("a.txt", "b.log", "keep.log", "build/c.txt", "sub/d.log", "sub/e.txt", "sub/own/f.txt", ".git/g.txt"):
        write(tmp_path, name, "x")
    write(tmp_path, ".gitignore", "*.log\n!keep.log\n/build/\n!\n")
    write(tmp_path, "sub/.gitignore", "!d.log\n/own\n")
    assert names(tmp_path) == ["a.txt", "keep.log", "sub/d.log", "sub/e.txt"]
    assert names(tmp_path, ignore=False) == [
        "a.txt", "b.log", "build/c.txt", "keep.log", "sub/d.log", "sub/e.txt", "sub/own/f.txt",
    ]  # fmt: skip
    assert names(tmp_path, include=["*.txt"]) == ["a.txt", "sub/e.txt"]
    assert names(tmp_path, exclude=["sub/", "a.*"]) == ["keep.log"]
    with pytest.raises(UsageError, match="a pattern of --include or --exclude can't be read"):
        walk(tmp_path, exclude=["!"])


def git(folder, *words):
    command = ["git", "-c", "user.name=n", "-c", "user.email=e@x", "-c", "core.excludesFile=", *words]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # as in a hook
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, env=clean).stdout


@pytest.mark.skipif(shutil.which("git") is None, reason="git is the oracle")
def test_every_folder_of_a_work_tree_gives_what_git_has_of_it(tmp_path):
    tree = tmp_path / "tree"
    for folder in ("", "a/", "a/b/", "a/b/c/", "docs/", "docs/deep/", "own/", "own/sub/"):
        for name in ("x.txt", "x.log", "keep.log", "draft.txt", "secret.txt", "y.md"):
            write(tree, folder + name, "x")
    git(tree, "init", "-q")
    git(tree / "own", "init", "-q")
    write(tree, ".gitignore", "*.log\n/a/b/draft.txt\ndocs/**/y.md\n!docs/deep/y.md\n")
    write(tree, "a/.gitignore", "!keep.log\n/b/c/x.txt\n")
    write(tree, "a/b/.gitignore", "y.md\n")
    write(tree, ".git/info/exclude", "# mine\nsecret.txt\n!a/b/x.log\n")
    write(tree, "own/.gitignore", "y.md\n")
    write(tree, "own/.git/info/exclude", "draft.txt\n")
    git(tree, "commit", "-q", "--allow-empty", "-m", "x")
    git(tree, "worktree", "add", "-q", "../other")
    for name in ("x.txt", "secret.txt", "in/secret.txt"):
        write(tmp_path / "other", name, "x")
    folders = [tree, *(path for path in tree.rglob("*") if path.is_dir() and ".git" not in path.parts)]
    assert len(folders) == 8
    for folder in [*folders, tmp_path / "other", tmp_path / "other" / "in"]:
        told = git(folder, "ls-files", "--others", "--exclude-standard").splitlines()
        inner = [f"own/{name}" for name in names(tree / "own")] if folder == tree else []  # git stops at its door
        expected = sorted([*(name for name in told if ".git" not in name and name != "own/"), *inner])
        assert names(folder) == expected, folder
    assert "a/b/draft.txt" in names(tree, ignore=False)


def test_a_folder_that_git_ignores_is_read_where_it_is_asked_for(tmp_path):
    for name in ("notes/a.txt", "notes/b.log", "notes/in/c.txt", "notes/in/d.tmp"):
        write(tmp_path, name, "x")
    (tmp_path / ".git").mkdir()
    write(tmp_path, ".gitignore", "*\n")
    write(tmp_path, "notes/.gitignore", "*.tmp\n")
    assert names(tmp_path) == []
    assert names(tmp_path / "notes") == ["a.txt", "b.log", "in/c.txt"]
    assert names(tmp_path / "notes" / "in") == ["c.txt"]
    (tmp_path / "notes" / ".git").mkdir()  # a work tree of its own: what is above is nobody's business
    write(tmp_path, ".gitignore", "*.log\n")
    assert names(tmp_path / "notes") == ["a.txt", "b.log", "in/c.txt"]


def test_what_a_gitignore_above_comes_to_name_goes_out_of_the_collection(tmp_path):
    (tmp_path / ".git").mkdir()
    for number in range(10):
        write(tmp_path, f"notes/{number}.txt", f"text {number}", LONG_AGO)
    with made(Source.of(tmp_path / "notes")) as collection:
        write(tmp_path, ".gitignore", "/notes/3.txt\n")
        assert counts(collection.sync()) == (0, 0, 9, 1, 0)
        assert "3.txt" not in held(collection)


@pytest.mark.skipif(sys.platform == "win32", reason="links of POSIX")
def test_links_to_folders_are_no_way(tmp_path):
    write(tmp_path, "a/real.txt", "x")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "link.txt").symlink_to(tmp_path / "a" / "real.txt")
    (tmp_path / "itself").symlink_to("itself")
    listing = walk(tmp_path)
    assert [file.name for file in listing.files] == ["a/real.txt", "link.txt"]
    assert list(listing.others) == ["a/loop", "itself"]


@pytest.mark.skipif(sys.platform == "win32", reason="links of POSIX")
def test_a_link_that_leads_nowhere_one_may_look_stops_nothing(tmp_path, monkeypatch):
    write(tmp_path, "real.txt", "x")
    (tmp_path / "hidden").symlink_to("/nowhere/to/look")
    (tmp_path / "itself").symlink_to("itself")
    look = Path.stat

    def refuse(path, *, follow_symlinks=True):
        if path.name == "hidden" and follow_symlinks:
            raise PermissionError(13, "Permission denied", str(path))
        return look(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", refuse)
    report = ReadReport()
    assert [document.id for document in Source.of(tmp_path, "text").read(report)] == ["real.txt"]
    assert report.kinds == {"broken links": 2}


def test_patterns_are_of_the_source_and_remembered(tmp_path, model):
    folder = tmp_path / "notes"
    for name in ("a.txt", "b.txt", "drafts/c.txt", "d.md"):
        write(folder, name, f"whale {name}", LONG_AGO)
    assert run("index", folder, "-m", model, "--include", "*.txt", "--exclude", "drafts/").out.startswith("added 2,")
    write(folder, "drafts/e.txt", "tide")
    write(folder, "f.txt", "tide")
    assert run("sync", "notes").out == "added 1, changed 0, removed 0, unchanged 2\n"
    source = Source.of(folder, include=["*.txt"], exclude=["drafts/"], ignore=False)
    assert Source(**json.loads(source.to_json())) == source
    ended = run("index", tmp_path / "notes" / "a.txt", "--include", "*.txt")
    assert ended.code == 2
    assert "choose among the files of a folder" in ended.err


def test_each_document_is_checked_once_whichever_way_it_comes(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMSEARCH_HOME", str(tmp_path / "home"))
    checked = []
    simple = validation._is_simple
    monkeypatch.setattr(validation, "_is_simple", lambda document: checked.append(document.id) or simple(document))
    ids = [f"d{number}" for number in range(20)]
    lines = [json.dumps({"id": identity, "text": f"Text {identity}."}) + "\n" for identity in ids]
    path = write(tmp_path, "x.jsonl", "".join(lines))
    with semsearch.create("notes", encoder=HashEncoder(8)) as collection:
        assert collection.add_from(path).added == 20
        assert checked == ids
        checked.clear()
        collection.add([Document("a", "A text."), Document("b", "Another.")])
        assert checked == ["a", "b"]
        with pytest.raises(DataError, match="the text is empty"):
            collection.add([Document("c", " ")])
