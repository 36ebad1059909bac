"""Homes, defaults and addresses that came from elsewhere: used when the person here has said so, and not before."""

import json
import os
import shutil
import stat
import sys
from pathlib import Path

import pytest
from support.command_line import corpus, run, tiny_model
from support.fakes import HashEncoder

import semsearch
from semsearch import trusted
from semsearch.errors import StorageError, Untrusted
from semsearch.home import Home
from semsearch.state import state_folder
from semsearch.types import Document


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder to be in, without a home that is named."""
    monkeypatch.delenv("SEMSEARCH_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def make(home):
    with semsearch.create("notes", home=home, encoder=HashEncoder()) as notes:
        notes.add([Document("a", "text")])


@pytest.fixture
def clone(project, tmp_path):
    """A project whose home somebody else made: as `git clone` and `tar` lay it down."""
    make(tmp_path / "theirs")
    shutil.copytree(tmp_path / "theirs", project / ".semsearch")
    return project / ".semsearch"


# Homes


@pytest.mark.slow
def test_a_home_that_came_from_elsewhere_ends_in_the_line_to_type(clone):
    for ask in (
        lambda: semsearch.open("notes", encoder=HashEncoder()),
        lambda: semsearch.create("other", encoder=HashEncoder()),
        semsearch.list_collections,
        lambda: semsearch.drop("notes"),
    ):
        with pytest.raises(Untrusted, match=f"type: semsearch trust {clone}"):
            ask()
    for words in (["list"], ["query", "notes", "text"], ["drop", "notes", "--yes"], ["info", "notes"]):
        ended = run(*words)
        assert (ended.code, ended.out) == (2, "")
        assert f"semsearch trust {clone}" in ended.err
    assert f"home\tnot trusted\t{clone} was not made by you here" in run("doctor").out
    assert sorted(path.name for path in clone.iterdir()) == ["notes"]


def test_one_that_is_named_is_not_asked_about(clone, monkeypatch):
    assert semsearch.list_collections(home=clone) == ["notes"]
    assert run("list", "--home", clone).code == 0
    monkeypatch.setenv("SEMSEARCH_HOME", str(clone))
    assert semsearch.list_collections() == ["notes"]
    monkeypatch.delenv("SEMSEARCH_HOME")
    with pytest.raises(Untrusted):  # naming it is no saying for later
        semsearch.list_collections()


def test_the_line_to_type_does_it_and_can_be_taken_back(clone, monkeypatch):
    assert run("trust", clone).code == 0
    assert semsearch.list_collections() == ["notes"]
    (clone.parent / "deep" / "down").mkdir(parents=True)
    monkeypatch.chdir(clone.parent / "deep" / "down")
    assert semsearch.list_collections() == ["notes"]
    assert run("trust", "--list").lines == [str(clone)]
    assert run("trust", "--remove", clone).code == 0
    assert run("trust", "--list").lines == []
    with pytest.raises(Untrusted):
        semsearch.list_collections()
    assert "was not trusted" in run("trust", "--remove", clone).err


def test_without_a_place_it_trusts_what_is_here(clone):
    (clone.parent / "semsearch.toml").write_text("k = 3\n")
    assert run("trust").err == f"trusted: {clone}\ntrusted: {clone.parent / 'semsearch.toml'}\n"
    assert semsearch.list_collections() == ["notes"]
    assert run("trust", clone.parent, "--remove").err.count("no longer trusted: ") == 2


def test_what_can_not_be_trusted_is_a_sentence(project, clone):
    assert "is no folder .semsearch, no file semsearch.toml and no address" in run("trust", clone / "notes").err
    shutil.rmtree(clone)
    assert "say what to trust" in run("trust").err
    assert "is no address" in run("trust", "http://").err


def test_a_home_that_semsearch_made_is_the_persons(project):
    make(".semsearch")
    assert semsearch.list_collections() == ["notes"]


def test_so_is_an_empty_folder_that_the_person_made(project):
    (project / ".semsearch").mkdir()
    assert semsearch.list_collections() == []
    make(None)
    assert (project / ".semsearch" / "notes").is_dir()
    assert semsearch.list_collections() == ["notes"]


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owners by number here")
def test_but_not_one_that_another_user_made(project, monkeypatch):
    (project / ".semsearch").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: (project / ".semsearch").stat().st_uid + 1)
    with pytest.raises(Untrusted):
        semsearch.list_collections()


def test_a_home_in_which_others_had_collections_is_not_the_persons_by_one_of_their_own(clone):
    with semsearch.create("mine", home=clone, encoder=HashEncoder()):
        pass
    with pytest.raises(Untrusted):
        semsearch.list_collections()


def test_a_restored_collection_makes_a_home_the_persons(project):
    make(project / "elsewhere")
    with semsearch.open("notes", home=project / "elsewhere", encoder=HashEncoder()) as notes:
        notes.backup(project / "backup")
    semsearch.restore(project / "backup", home=".semsearch")
    assert semsearch.list_collections() == ["notes"]


def test_another_folder_in_the_place_of_a_trusted_one_is_not_trusted(clone):
    trusted.trust_home(clone)
    moved = clone.rename(clone.with_name("moved"))
    shutil.copytree(moved, clone)  # all that is in it, and in its place
    with pytest.raises(Untrusted):
        semsearch.list_collections()
    shutil.rmtree(clone)
    moved.rename(clone)
    assert semsearch.list_collections() == ["notes"]
    for token in clone.glob(".trusted-*"):  # nor one that has its inode by chance
        token.unlink()
    with pytest.raises(Untrusted):
        semsearch.list_collections()


def test_a_home_that_can_not_be_written_can_be_trusted(clone, monkeypatch):
    def refuse(self, *arguments, **options):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "touch", refuse)
        trusted.trust_home(clone)
    assert semsearch.list_collections() == ["notes"]


def test_each_of_several_people_trusts_a_folder_that_they_share(clone, monkeypatch, tmp_path):
    for person in ("one", "two", "one"):
        monkeypatch.setenv("SEMSEARCH_STATE", str(tmp_path / person))
        trusted.trust_home(clone)
    for person in ("one", "two"):
        monkeypatch.setenv("SEMSEARCH_STATE", str(tmp_path / person))
        assert semsearch.list_collections() == ["notes"]
    assert len(list(clone.glob(".trusted-*"))) == 2


def test_a_link_is_refused_whoever_made_it(clone, tmp_path):
    trusted.trust_home(clone)
    moved = clone.rename(tmp_path / "moved")
    clone.symlink_to(moved)
    with pytest.raises(Untrusted, match="is a link"):
        Home.of()
    assert "is a link" in run("trust", clone).err


def test_where_nothing_can_be_remembered_it_is_said(clone, monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEMSEARCH_STATE", str(tmp_path / "file"))
    assert state_folder() is None
    with pytest.raises(StorageError, match="SEMSEARCH_STATE"):
        trusted.trust_home(clone)
    assert run("trust", clone).code == 4
    shutil.rmtree(clone)
    make(clone)
    assert "Until then name another home" in caplog.text


def test_the_line_to_type_runs_nothing_that_a_name_says(project, tmp_path, monkeypatch):
    odd = project / "$(touch hacked) it's"
    (odd / ".semsearch" / "notes").mkdir(parents=True)
    monkeypatch.chdir(odd)
    with pytest.raises(Untrusted) as raised:
        Home.of()
    if sys.platform != "win32":
        import shlex

        typed = str(raised.value).split("type: ")[1].splitlines()[0]
        assert shlex.split(typed) == ["semsearch", "trust", str(odd / ".semsearch")]


# What is remembered


def test_the_state_is_the_persons_alone_and_survives_rubbish(clone, monkeypatch, tmp_path):
    monkeypatch.setenv("SEMSEARCH_STATE", str(tmp_path / "state"))
    trusted.trust_home(clone)
    if sys.platform != "win32":
        assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    (record,) = (tmp_path / "state" / "trusted").iterdir()
    for rubbish in (b"", b"[]", b"\xff", b'{"place": 3}', b'{"place": "/elsewhere", "mark": "1 "}'):
        record.write_bytes(rubbish)
        assert not trusted.trusts_home(clone)
    trusted.trust_home(clone)
    assert trusted.trusts_home(clone)


# Defaults


@pytest.fixture
def notes(project, tmp_path, monkeypatch):
    monkeypatch.setenv("SEMSEARCH_HOME", str(tmp_path / "home"))
    model = tiny_model(tmp_path / "model")
    assert run("index", corpus(tmp_path), "-m", model).code == 0
    return model


UNGUARDED = {
    ("query", "notes", "oven", "-o", "csv"): "spreadsheet-safe = false",
    ("index", "."): "follow-links = true",
    ("index", ".", "--name", "notes"): "add = true",
    ("index", ".", "--name", "new"): "no-ignore = true",
}


def test_defaults_from_elsewhere_set_numbers_and_nothing_in_words(notes, tmp_path):
    file = Path("semsearch.toml")
    file.write_text("[query]\nk = 3\nmode = 'lexical'\n")
    assert len(run("query", "notes", "oven").lines) == 3
    line = f"semsearch trust {file.absolute()}"
    for text in ("rerank = '/their/model'", "device = 'cpu'", "where = 'year < 2004'"):
        option = text.split()[0]
        file.write_text(f"[query]\n{text}\n")
        ended = run("query", "notes", "oven")
        assert (ended.code, ended.out) == (2, "")
        assert line in ended.err
        assert option in ended.err
        assert line not in run("query", "notes", "oven", f"--{option}", "x").err  # what is typed goes over it
        assert run("info", "notes").code == 0
    for command, text in UNGUARDED.items():
        option = text.split()[0]
        file.write_text(f"[{command[0]}]\n{text}\n")
        ended = run(*command)
        assert (ended.code, ended.out) == (2, ""), text
        assert line in ended.err
        assert option.replace("-", "_") in ended.err
    file.write_text("[eval]\nrun-out = '/home/person/.profile'\nself = true\n")
    assert line in run("eval", "notes").err
    file.write_text(f"encoder = '{notes}'\n")
    assert line in run("index", corpus(tmp_path, "more.jsonl")).err
    assert run("trust", file).code == 0
    assert run("index", corpus(tmp_path, "more.jsonl")).code == 0
    file.write_text("encoder = 'someone/else'\n")  # a pull may change it
    assert line in run("index", corpus(tmp_path, "third.jsonl")).err


@pytest.mark.parametrize("text", ["k = inf", "k = 1e400", "k = [1, 2]", "k = 2024-01-01", "k = nan"])
def test_a_value_that_no_option_can_be_names_its_file(notes, text):
    Path("semsearch.toml").write_text(f"[query]\n{text}\n")
    ended = run("query", "notes", "oven")
    assert (ended.code, ended.out) == (2, "")
    assert "semsearch.toml: 'k' can't be" in ended.err


def test_nor_do_they_name_a_home(notes, monkeypatch, tmp_path):
    Path("semsearch.toml").write_text("home = '/their/home'\n")
    assert run("list").code == 0  # the environment goes over it
    monkeypatch.delenv("SEMSEARCH_HOME")
    ended = run("list")
    assert (ended.code, ended.out) == (2, "")
    assert "/their/home" in ended.err
    assert run("list", "--home", tmp_path / "home").code == 0


def test_defaults_in_a_home_of_ones_own_need_no_saying(notes, tmp_path):
    (tmp_path / "home" / "semsearch.toml").write_text("[query]\nwhere = 'year < 2004'\n")
    assert len(run("query", "notes", "oven").lines) == 4


def test_those_in_a_home_from_elsewhere_are_not_read(clone):
    (clone / "semsearch.toml").write_text("[query]\nk = 'no number'\n[list]\nhome = '/their/home'\n")
    assert run("list", "--home", clone).code == 0
    assert f"semsearch trust {clone}" in run("list").err


def test_where_defaults_come_from_tells_which_are_not_used(notes):
    Path("semsearch.toml").write_text("[query]\nrerank = '/their/model'\nk = 3\n")
    lines = {line.split("\t")[0]: line.split("\t")[1:] for line in run("info", "--config").lines}
    file = Path("semsearch.toml").absolute()
    assert lines["query --k"] == ["3", str(file)]
    assert lines["query --rerank"] == ["/their/model", f"{file} (not used until: semsearch trust {file})"]


def test_no_trust_is_needed_for_help_or_to_trust(clone):
    Path("semsearch.toml").write_text("home = '/their/home'\n")
    assert run("--help").code == 0
    assert run("query", "--help").code == 0
    assert run("trust").code == 0
    assert json.loads(run("info", "--config", "--home", clone, "--json").lines[0])


def test_a_pipe_for_defaults_keeps_nobody_waiting(notes):
    os.mkfifo("semsearch.toml")
    assert run("query", "notes", "oven").code == 0
