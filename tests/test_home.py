"""Where collections live: folders, URLs, memory, and what an unknown scheme is told."""

import importlib.metadata
import re

import numpy as np
import pytest
from support.command_line import run
from support.fakes import HashEncoder

import semsearch
from semsearch import plugins
from semsearch.errors import CollectionNotFound, MissingDependency, UsageError
from semsearch.home import Home
from semsearch.local.home import LocalHome
from semsearch.types import Document


def test_a_path_and_its_url_are_one_home(tmp_path):
    folder = tmp_path / "my collections"
    with semsearch.create("notes", home=folder, encoder=HashEncoder()) as collection:
        collection.add([Document("a", "text")])
    for place in (str(folder), folder.as_uri(), LocalHome(str(folder))):
        assert semsearch.list_collections(home=place) == ["notes"]
        with semsearch.open("notes", home=place, encoder=HashEncoder()) as collection:
            assert collection.location == str(folder / "notes")


def test_the_environment_may_name_a_url(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMSEARCH_HOME", (tmp_path / "here").as_uri())
    assert Home.of().location == str(tmp_path / "here")
    assert Home.of(tmp_path).location == str(tmp_path)


def test_a_folder_of_another_machine_is_refused():
    with pytest.raises(UsageError, match="machine 'server'"):
        Home.of("file://server/share")


def test_an_unknown_scheme_is_told_what_is_installed():
    known = "elasticsearch, elasticsearch+https, file, http, https, memory, opensearch, opensearch+https, postgres"
    with pytest.raises(UsageError, match=re.escape(f"no engine is installed for 'gopher://': there are {known}")):
        Home.of("gopher://somewhere/collections")
    with pytest.raises(UsageError, match="gopher"):
        semsearch.open("notes", home="gopher://somewhere")


def test_an_engine_whose_library_is_missing_names_its_extra(monkeypatch):
    broken = importlib.metadata.EntryPoint("gopher", "no_such_module_here:GopherHome [gopher]", "semsearch.engines")
    monkeypatch.setattr(plugins, "_registered", lambda group: {"gopher": broken})
    with pytest.raises(MissingDependency, match=r"no_such_module_here: pip install 'semsearch\[gopher\]'"):
        Home.of("gopher://somewhere")


def test_collections_in_memory_live_as_long_as_the_process():
    with semsearch.create("fleeting", home=":memory:", encoder=HashEncoder()) as collection:
        collection.add([Document("a", "the cat sleeps")])
    with semsearch.open("fleeting", home=":memory:", encoder=HashEncoder()) as collection:
        assert collection.search("cat")[0].id == "a"
        with pytest.raises(UsageError, match="no index"):
            collection.reindex("hnsw")
        with pytest.raises(UsageError, match="own tools"):
            collection.compact()
        with pytest.raises(UsageError, match="is no folder"):
            _ = collection.path
    semsearch.drop("fleeting", home=":memory:")
    with pytest.raises(CollectionNotFound):
        semsearch.open("fleeting", home=":memory:")


def test_a_backup_is_restored_by_name(tmp_path):
    with semsearch.create("notes", home=tmp_path, encoder=HashEncoder()) as collection:
        collection.add([Document("a", "text")])
        collection.backup(tmp_path / "notes.backup")
    assert semsearch.restore(tmp_path / "notes.backup", "again", home=tmp_path) == "again"
    with semsearch.open("again", home=tmp_path, encoder=HashEncoder()) as collection:
        assert collection.ids() == ["a"]
    with pytest.raises(UsageError, match="own tools"):
        semsearch.restore(tmp_path / "notes.backup", home=":memory:")


def test_an_empty_home_is_none(tmp_path, monkeypatch):
    """What is written empty is a mistake; a variable of the environment that is empty is as good as none."""
    monkeypatch.setenv("SEMSEARCH_HOME", str(tmp_path / "there"))
    (tmp_path / "note.txt").write_text("a note")
    with pytest.raises(UsageError, match="home must be a path, and is empty"):
        Home.of("")
    with pytest.raises(UsageError, match="home must be a path, and is empty"):
        semsearch.list_collections(home="")
    for command in (("list",), ("query", "notes", "cat"), ("doctor",), ("index", tmp_path), ("serve",), ("watch",)):
        ended = run(*command, "--home", "")
        assert (ended.code, "home must be a path, and is empty" in ended.err) == (2, True), (command, ended)
    monkeypatch.setenv("SEMSEARCH_HOME", "")
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".semsearch").mkdir()
    assert Home.of().location == str(tmp_path / ".semsearch")


def test_no_command_leaves_a_collection_in_memory(tmp_path):
    """It would end with the command that tells of it."""
    (tmp_path / "notes.jsonl").write_text('{"text": "a note"}')
    np.savez(tmp_path / "notes.npz", texts=np.array(["a note"]), vectors=np.eye(1, 4, dtype=np.float32))
    with semsearch.create("kept", home=tmp_path / "home", encoder=None, dim=4) as kept:
        kept.add([Document("a", "a note")], vectors=np.eye(1, 4))
    for command in (
        ("copy", "kept", "--to", ":memory:", "--home", tmp_path / "home"),
        ("copy", "kept", "--to", "memory://", "--home", tmp_path / "home"),
        ("index", tmp_path / "notes.jsonl", "--home", ":memory:"),
        ("import", tmp_path / "notes.npz", "--encoder", "none", "--home", ":memory:"),
    ):
        ended = run(*command)
        assert (ended.code, "ends with this command: name a folder, or a URL" in ended.err) == (2, True), ended
        assert ended.out == ""
    assert not {"kept", "notes"} & set(semsearch.list_collections(home=":memory:"))
