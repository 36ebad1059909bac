"""A collection folder from a stranger: nothing follows a link, opens a pipe, or goes by a name that leads out."""

import hashlib
import io
import json
import os
import shutil
import sqlite3
import struct
import tarfile

import numpy as np
import pytest
from support.command_line import run
from support.fakes import HashEncoder

import semsearch
from semsearch.errors import CollectionDamaged, DataError, IndexDamaged, SemsearchError, StorageError
from semsearch.local.index.generation import read_manifest, verify_files
from semsearch.local.store.database import Database
from semsearch.local.store.store import Store
from semsearch.plain_files import NotPlain, entries, is_file, is_folder, is_plain_name, open_plain, read_plain
from semsearch.types import Document
from semsearch.walk import walk

PRECIOUS = "precious"
FILES = ("collection.sqlite", "collection.sqlite-wal", "collection.sqlite-shm", "collection.sqlite-journal", "marker")
FILES += ("vectors-1.f32", "vectors-2.f32", "lock", "rebuild")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    home = tmp_path_factory.mktemp("made")
    with semsearch.create("notes", home=home, encoder=HashEncoder(), index="hnsw") as collection:
        collection.add([Document(f"d{number}", f"text {number} of many") for number in range(20)])
        collection.reindex("hnsw")
    return home


@pytest.fixture
def home(made, tmp_path):
    """Holds `notes`, with an index."""
    return shutil.copytree(made, tmp_path / "home")


@pytest.fixture
def outside(tmp_path):
    """A folder that nothing may touch, with a file that is dotted and one that is not; compare it with `PRECIOUS`."""
    folder = tmp_path / "outside"
    folder.mkdir()
    for name in (".profile", "thesis"):
        (folder / name).write_text(PRECIOUS)
    return folder


def untouched(folder):
    return {path.name: path.read_text() for path in folder.iterdir()} == {".profile": PRECIOUS, "thesis": PRECIOUS}


def put_in_place(kind, path, outside):
    """A link, to a file that is there or to none, or a pipe, where `path` was."""
    content = path.read_bytes() if path.exists() else None
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to itself elsewhere" and content is not None:
        target = outside.parent / "elsewhere"
        target.write_bytes(content)
        path.symlink_to(target)
    else:
        path.symlink_to(outside / ("thesis" if kind == "link" else "nothing"))


def everything(home):
    """All that a person may ask of a collection; what each raised."""
    raised = []
    for act in (
        lambda notes: notes.search("text", 3),
        lambda notes: notes.info(),
        lambda notes: notes.check(deep=True),
        lambda notes: notes.add([Document("new", "new words")]),
        lambda notes: notes.remove(["d1"]),
        lambda notes: notes.reindex("hnsw"),
        lambda notes: notes.compact(),
        lambda notes: notes.repair(),
        lambda notes: notes.backup(home.parent / "backup"),
    ):
        try:
            with semsearch.open("notes", home=home, encoder=HashEncoder()) as notes:
                act(notes)
        except SemsearchError as error:
            raised.append(error)
    return raised


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes have names here")
@pytest.mark.parametrize("kind", ["link", "link to nothing", "link to itself elsewhere", "pipe"])
@pytest.mark.parametrize("name", FILES)
def test_what_is_no_plain_file_is_refused_before_anything_is_done(home, outside, name, kind):
    put_in_place(kind, home / "notes" / name, outside)
    before = {path.name: path.lstat().st_mtime_ns for path in outside.parent.iterdir() if path.name == "elsewhere"}
    raised = everything(home)
    assert len(raised) == 9
    assert all(isinstance(error, NotPlain) and name in str(error) for error in raised)
    assert "is a pipe" in str(raised[0]) if kind == "pipe" else "is a link" in str(raised[0])
    assert untouched(outside)
    assert before == {path: (outside.parent / path).lstat().st_mtime_ns for path in before}
    if name != "marker":  # without one there is no collection
        ended = run("list", "--home", home)
        assert (ended.code, ended.lines) == (0, [])
        assert name in ended.err


def test_no_deletion_follows_a_link_for_indexes(home, outside):
    shutil.rmtree(home / "notes" / "indexes")
    (home / "notes" / "indexes").symlink_to(outside)
    raised = everything(home)
    assert len(raised) == 9
    assert all(isinstance(error, NotPlain) and "indexes is a link" in str(error) for error in raised)
    assert untouched(outside)


def test_nor_one_that_comes_while_the_collection_is_open(home, outside):
    with semsearch.open("notes", home=home, encoder=HashEncoder()) as notes:
        shutil.rmtree(home / "notes" / "indexes")
        (home / "notes" / "indexes").symlink_to(outside)
        with pytest.raises(SemsearchError, match="indexes is a link"):
            notes.reindex("hnsw")
        with pytest.raises(SemsearchError, match="indexes is a link"):
            notes.compact()
    assert untouched(outside)


@pytest.mark.parametrize("name", ["vectors-1.f32", "lock"])
def test_no_write_follows_a_link_that_comes_while_the_collection_is_open(home, outside, name):
    with semsearch.open("notes", home=home, encoder=HashEncoder()) as notes:
        put_in_place("link", home / "notes" / name, outside)
        with pytest.raises(SemsearchError, match=f"{name} is a link"):
            notes.add([Document("new", "new words")])
    assert untouched(outside)


def test_an_index_that_is_a_link_is_refused(home, outside):
    (folder,) = (path for path in (home / "notes" / "indexes").iterdir() if path.name.startswith("hnsw"))
    shutil.move(folder, outside.parent / "real")
    folder.symlink_to(outside.parent / "real")
    raised = everything(home)
    assert len(raised) == 9
    assert all(isinstance(error, NotPlain) for error in raised)


@pytest.mark.parametrize("kind", ["link to itself elsewhere", "pipe"])
@pytest.mark.parametrize("name", ["manifest.json", "graph.hnsw"])
def test_files_of_an_index_are_plain_or_it_is_damaged(home, outside, name, kind):
    (folder,) = (path for path in (home / "notes" / "indexes").iterdir() if path.name.startswith("hnsw"))
    put_in_place(kind, folder / name, outside)
    with semsearch.open("notes", home=home, encoder=HashEncoder()) as notes:
        assert notes.info()["index"]["state"].startswith("damaged: ")
        assert [problem.part for problem in notes.check()] == ["index"]
        assert [hit.id for hit in notes.search("text 7 of many", 1)] == ["d7"]  # exactly, in spite of it
        notes.repair()
        assert notes.check() == []


def test_an_index_is_all_that_its_manifest_lists_and_by_plain_names(home):
    (folder,) = (path for path in (home / "notes" / "indexes").iterdir() if path.name.startswith("hnsw"))
    verify_files(folder, read_manifest(folder))
    (folder / "more.bin").write_bytes(b"")
    with pytest.raises(IndexDamaged, match=r"more\.bin"):
        verify_files(folder, read_manifest(folder))
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in ("../../marker", "/etc/passwd", "..", "C:\\x"):
        (folder / "manifest.json").write_text(json.dumps({**manifest, "files": {name: "0" * 64}}))
        with pytest.raises(IndexDamaged, match="no name of a file"):
            read_manifest(folder)


def test_an_index_whose_backend_leads_elsewhere_is_damage(home):
    connection = sqlite3.connect(home / "notes" / "collection.sqlite")
    connection.execute("UPDATE indexes SET backend = '../../outside' WHERE backend = 'hnsw'")
    connection.execute("UPDATE state SET version = version + 1")
    connection.commit()
    connection.close()
    with (
        semsearch.open("notes", home=home, encoder=HashEncoder()) as notes,
        pytest.raises(CollectionDamaged, match="outside"),
    ):
        notes.search("text")


def test_a_collection_that_is_a_link_is_refused_and_dropping_it_takes_the_link(home, outside):
    (home / "linked").symlink_to(home / "notes")
    with pytest.raises(NotPlain, match="linked is a link"):
        semsearch.open("linked", home=home, encoder=HashEncoder())
    semsearch.drop("linked", home=home)
    assert not (home / "linked").is_symlink()
    (home / "notes" / "indexes" / "away").symlink_to(outside)
    semsearch.drop("notes", home=home)
    assert semsearch.list_collections(home=home) == []
    assert untouched(outside)


def with_a_journal_of_several(database, victim):
    """A copy of `database` as a crash left it, with a journal that names `victim`; as SQLite writes one."""
    with_journal = database.with_name("crashed.sqlite")
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("CREATE TABLE filler (text)")
    connection.executemany("INSERT INTO filler VALUES (?)", [("a" * 500,)] * 200)
    connection.execute("PRAGMA cache_size = 5")  # so that pages and journal are written before the commit
    connection.execute("BEGIN")
    connection.execute("UPDATE filler SET text = text || 'b'")
    for suffix in ("", "-journal"):
        shutil.copy(f"{database}{suffix}", f"{with_journal}{suffix}")
    connection.close()
    name = os.fsencode(victim)
    with with_journal.with_name("crashed.sqlite-journal").open("ab") as journal:
        journal.write(bytes(4) + name + struct.pack(">II", len(name), sum(name)) + bytes.fromhex("d9d505f920a163d7"))
    return with_journal


@pytest.mark.slow
def test_a_journal_that_names_another_file_deletes_none(tmp_path, outside):
    crashed = with_a_journal_of_several(tmp_path / "made.sqlite", outside / "thesis")
    with pytest.raises(CollectionDamaged, match="SQLite would delete"), Database(crashed).read():
        pass
    assert untouched(outside)
    sqlite3.connect(crashed).execute("SELECT count(*) FROM filler").fetchone()
    assert not (outside / "thesis").exists()  # so it would have been


def test_a_marker_without_end_is_not_read_to_its_end(home):
    with (home / "notes" / "marker").open("r+b") as marker:
        marker.truncate(1 << 40)  # a hole, which takes no room
    with pytest.raises(CollectionDamaged, match="another collection"):
        Store(home / "notes")


def backup_with(path, change):
    """The backup at `path`, each member put through `change(info, content)`."""
    with tarfile.open(path) as archive:
        members = [(info, archive.extractfile(info).read()) for info in archive]
    with tarfile.open(path, "w") as archive:
        for info, content in members:
            info, content = change(info, content)
            archive.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("name", ["lock", "..", "indexes", "collection.sqlite-journal", "vectors-x.f32", "../outside"])
def test_a_backup_makes_no_other_files_than_a_collections(home, name):
    with semsearch.open("notes", home=home, encoder=HashEncoder()) as notes:
        notes.backup(home.parent / "backup")

    def renamed(info, content):
        if info.name == "semsearch-backup.json":
            manifest = json.loads(content)
            manifest["files"][name] = hashlib.sha256(b"").hexdigest()
            content = json.dumps(manifest).encode()
            info.size = len(content)
        return info, content

    backup_with(home.parent / "backup", renamed)
    with pytest.raises(DataError, match="no semsearch backup"):
        semsearch.restore(home.parent / "backup", "again", home=home)
    assert semsearch.list_collections(home=home) == ["notes"]
    assert [path.name for path in home.iterdir()] == ["notes"]


def test_a_member_that_a_backup_does_not_list_is_refused(home):
    with semsearch.open("notes", home=home, encoder=HashEncoder()) as notes:
        notes.backup(home.parent / "backup")
    for name in ("../../outside", "wal"):
        with tarfile.open(home.parent / "more", "w") as archive:
            with tarfile.open(home.parent / "backup") as given:
                for info in given:
                    archive.addfile(info, given.extractfile(info))
            archive.addfile(tarfile.TarInfo(name))
        with pytest.raises(DataError, match=rf"holds '{name}', which its manifest does not list"):
            semsearch.restore(home.parent / "more", "again", home=home)
    assert [path.name for path in home.iterdir()] == ["notes"]


def test_a_link_in_a_backup_is_refused(home, outside):
    with semsearch.open("notes", home=home, encoder=HashEncoder()) as notes:
        notes.backup(home.parent / "backup")

    def linked(info, content):
        if info.name == "marker":
            info.type, info.linkname, info.size, content = tarfile.SYMTYPE, "collection.sqlite", 0, b""
        return info, content

    backup_with(home.parent / "backup", linked)
    with pytest.raises(DataError, match=r"marker .* is no plain file"):
        semsearch.restore(home.parent / "backup", "again", home=home)
    os.mkfifo(home.parent / "pipe")
    with pytest.raises(DataError, match="is no file"):
        semsearch.restore(home.parent / "pipe", "again", home=home)


def test_a_pipe_for_a_gitignore_keeps_nobody_waiting(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    os.mkfifo(tmp_path / ".gitignore")
    assert [file.name for file in walk(tmp_path).files] == ["a.txt"]


def test_a_folder_that_can_not_be_listed_is_a_sentence(home, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("semsearch.plain_files.Path.iterdir", refuse)
    with pytest.raises(StorageError, match=r"reading .*notes failed: Permission denied\. Check who owns it"):
        Store(home / "notes")


# The primitives


def test_plain_files_and_folders_are_told_from_all_else(tmp_path):
    (tmp_path / "file").write_bytes(b"0123456789")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    assert is_file(tmp_path / "file")
    assert not is_file(tmp_path / "none")
    assert is_folder(tmp_path / "folder")
    assert not is_folder(tmp_path / "none")
    assert read_plain(tmp_path / "file", 4) == b"0123"
    assert entries(tmp_path / "none") == []
    for name, said in {"link": "a link", "pipe": "a pipe", "folder": "a folder"}.items():
        with pytest.raises(NotPlain, match=f"{name} is {said}, where"):
            is_file(tmp_path / name)
        with pytest.raises(NotPlain):
            open_plain(tmp_path / name, "wb")
    with pytest.raises(NotPlain, match="file is a file"):
        is_folder(tmp_path / "file")
    with pytest.raises(NotPlain, match="link"):
        entries(tmp_path)
    with pytest.raises(NotPlain, match="a device"):
        open_plain(type(tmp_path)("/dev/zero"))
    assert (tmp_path / "file").read_bytes() == b"0123456789"


@pytest.mark.parametrize("flag", ["rb", "r+b", "wb", "ab", "xb"])
def test_a_link_that_comes_after_the_look_is_not_followed(tmp_path, monkeypatch, flag):
    (tmp_path / "file").write_text(PRECIOUS)
    (tmp_path / "link").symlink_to(tmp_path / "file")
    monkeypatch.setattr("semsearch.plain_files.is_file", lambda path: True)
    with pytest.raises(OSError, match="link"):
        open_plain(tmp_path / "link", flag)
    os.mkfifo(tmp_path / "pipe")
    if flag == "rb":  # nor does a pipe make it wait
        with pytest.raises(NotPlain, match="a pipe"):
            open_plain(tmp_path / "pipe", flag)
    assert (tmp_path / "file").read_text() == PRECIOUS


def test_names_are_plain_on_every_system():
    assert all(map(is_plain_name, ["hnsw", "graph.hnsw", "ä b", ".x"]))
    for name in ("", ".", "..", "a/b", "a\\b", "C:x", "file:stream", "a\0", None, 3):
        assert not is_plain_name(name)


def test_the_size_of_a_folder_follows_no_link(home, outside):
    with semsearch.open("notes", home=home, encoder=HashEncoder()) as notes:
        before = notes.engine.bytes()
        np.save(outside / "large.npy", np.zeros(1 << 20))
        (home / "notes" / "aside").symlink_to(outside / "large.npy")
        assert notes.engine.bytes() < before + 1000


@pytest.mark.parametrize("part", ["", "-wal", "-shm", "-journal"])
def test_a_database_leads_to_no_other_file_wherever_it_is_opened(tmp_path, part):
    """The look over a whole folder at opening is not all that stands between a link and SQLite."""
    folder = tmp_path / "home" / "films"
    with semsearch.create("films", encoder=HashEncoder(8), home=folder.parent) as made:
        made.add([Document("a", "a film")])
    secret = tmp_path / "secret"
    secret.write_bytes(b"")
    (folder / f"collection.sqlite{part}").unlink(missing_ok=True)
    (folder / f"collection.sqlite{part}").symlink_to(secret)
    with pytest.raises(NotPlain), Database(folder / "collection.sqlite").read():
        pass
    assert secret.read_bytes() == b""
