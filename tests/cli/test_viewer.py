"""From a hit to its source: which program is started with what, what is asked before, and what is printed of places."""

import csv
import io
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from support.command_line import corpus, run, tiny_model

import semsearch
from semsearch.cli import formats, grep, link, query, render, viewer
from semsearch.errors import UsageError
from semsearch.places import Place

LINES = "".join(f"{word}\n" for word in ("flour", "whale", "chain", "whale storm", "seed"))


@pytest.fixture
def notes(tmp_path):
    """A collection of the paragraphs of a file and the records of another."""
    model = tiny_model(tmp_path / "model")
    folder = tmp_path / "a folder; $(touch hurt) 'x'"
    folder.mkdir()
    (folder / "-notes.txt").write_text(LINES)
    ended = run("index", folder, "--name", "notes", "-m", model, "--read", "unit=line")
    assert ended.code == 0, ended.err
    return folder / "-notes.txt"


@pytest.fixture
def terminal(monkeypatch):
    """As if at a terminal; gives the commands that are run instead of running them, and what is asked."""
    seen = {"run": [], "asked": [], "read": [], "answer": True}

    class Keyboard:
        @staticmethod
        def isatty():
            return True

    def ran(command, **options):
        assert options == {"check": False}
        seen["run"].append(command)
        return subprocess.CompletedProcess(command, 0)

    def confirmed(question):
        seen["asked"].append(question)
        return seen["answer"]

    monkeypatch.setattr(viewer, "on_terminal", lambda: True)
    monkeypatch.setattr(viewer.sys, "stdin", Keyboard())
    monkeypatch.setattr(viewer.subprocess, "run", ran)
    monkeypatch.setattr(viewer, "_start", lambda command: seen["run"].append(command))
    monkeypatch.setattr(viewer, "confirmed", confirmed)
    monkeypatch.setattr(viewer, "read_hit", lambda hit: seen["read"].append(hit.id))
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "vi")
    return seen


def opened(terminal, text="whale storm"):
    with semsearch.open("notes") as collection:
        viewer.open_hit(collection, collection.search(text, 1)[0])
    return terminal["run"]


def test_the_editor_gets_the_path_as_one_argument_and_no_shell(notes, terminal):
    assert opened(terminal) == [["vi", "+4", str(notes)]]
    assert terminal["asked"] == []


@pytest.mark.parametrize(
    ("said", "arguments"),
    [
        ("emacsclient -nw", ["emacsclient", "-nw", "+4", "PATH"]),
        ("code --wait", ["code", "--wait", "--goto", "PATH:4"]),
        ("/opt/bin/hx", ["/opt/bin/hx", "PATH:4"]),
        ("'/opt/my editors/kate' -b", ["/opt/my editors/kate", "-b", "--line", "4", "PATH"]),
    ],
)
def test_editors_are_told_the_line_as_they_know_it(notes, terminal, monkeypatch, said, arguments):
    monkeypatch.setenv("VISUAL", said)  # which goes before EDITOR
    assert opened(terminal) == [[argument.replace("PATH", str(notes)) for argument in arguments]]


def test_an_editor_that_is_no_command_or_is_not_there(notes, terminal, monkeypatch):
    monkeypatch.setenv("EDITOR", "vi '")
    with pytest.raises(UsageError, match=r"EDITOR is .*which is no command"):
        opened(terminal)

    def missing(command, **_):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setenv("EDITOR", "nosuch")
    monkeypatch.setattr(viewer.subprocess, "run", missing)
    with pytest.raises(UsageError, match="'nosuch' can't be started: No such file"):
        opened(terminal)


@pytest.mark.parametrize(
    ("said", "there", "command"),
    [
        (None, True, ["less", "-L", "+4", "PATH"]),  # -L: no program of LESSOPEN, which would run in a shell
        ("/usr/bin/less -R", True, ["/usr/bin/less", "-R", "-L", "+4", "PATH"]),
        ("more", True, ["more", "+4", "PATH"]),
        ("bat", True, None),
        (None, False, None),
    ],
)
def test_without_an_editor_the_pager_shows_the_line(notes, terminal, monkeypatch, said, there, command):
    monkeypatch.setenv("EDITOR", " ")
    monkeypatch.setattr(viewer.shutil, "which", lambda name: name if there else None)
    monkeypatch.setenv("PAGER", said or "")
    path = [] if command is None else [[word.replace("PATH", str(notes)) for word in command]]
    assert opened(terminal) == path
    assert len(terminal["read"]) == (command is None)


def test_without_programs_or_a_terminal_the_stored_text_is_shown(notes, terminal, monkeypatch):
    monkeypatch.setenv("EDITOR", " ")
    monkeypatch.setattr(viewer.shutil, "which", lambda name: None)
    assert opened(terminal) == []
    monkeypatch.setenv("EDITOR", "vi")
    monkeypatch.setattr(viewer, "on_terminal", lambda: False)
    assert opened(terminal) == []
    assert len(terminal["read"]) == 2


def test_a_file_that_is_gone_or_none_by_now_is_said(notes, terminal, capsys):
    notes.unlink()
    assert opened(terminal) == []
    assert "is not there any more" in capsys.readouterr().err
    os.mkfifo(notes)
    assert opened(terminal) == []
    assert len(terminal["read"]) == 2


@pytest.mark.parametrize("answer", [True, False])
def test_it_is_asked_before_a_file_outside_of_the_sources_is_opened(notes, terminal, tmp_path, answer):
    (tmp_path / "secret").write_text(LINES)
    notes.unlink()
    notes.symlink_to(tmp_path / "secret")
    terminal["answer"] = answer
    assert opened(terminal) == ([["vi", "+4", str(tmp_path / "secret")]] if answer else [])
    assert terminal["asked"] == [f"{tmp_path}/secret lies outside the sources of 'notes'. Open it all the same?"]


def test_a_name_that_leads_out_of_its_source_is_asked_about(notes, terminal, tmp_path):
    (tmp_path / "secret").write_text(LINES)
    with semsearch.open("notes") as collection:
        store = collection.engine.store
        with store.write(), store.database.write() as connection:
            connection.exec_driver_sql("UPDATE files SET name = '../secret' WHERE name != ''")
    terminal["answer"] = False
    assert opened(terminal) == []
    assert len(terminal["asked"]) == 1


def test_the_line_is_where_the_text_is_now(notes, terminal, capsys):
    notes.write_text("\n\n" + LINES)
    assert opened(terminal) == [["vi", "+6", str(notes)]]
    notes.write_text("something else\n")
    terminal["run"].clear()
    assert opened(terminal) == [["vi", "+2", str(notes)]]
    assert "the passage is not in it" in capsys.readouterr().err


def test_the_line_of_a_record_is_as_it_was_read(tmp_path, terminal):
    run("index", corpus(tmp_path), "-m", tiny_model(tmp_path / "model"))
    with semsearch.open("notes") as collection:
        hit = collection.search("whale", 1)[0]
        viewer.open_hit(collection, hit)
    assert terminal["run"] == [["vi", f"+{1 + int(hit.id[1:])}", str(tmp_path / "notes.jsonl")]]


PAGE = Place("/papers/a b.pdf", page=3)


@pytest.mark.parametrize(
    ("environment", "there", "command"),
    [
        ({"DISPLAY": ":0"}, ["okular"], ["/bin/okular", "--page", "3", PAGE.path]),
        ({"WAYLAND_DISPLAY": "w"}, ["mupdf", "evince"], ["/bin/evince", "--page-index=3", PAGE.path]),
        ({"DISPLAY": ":0", "PDFVIEWER": "zathura --fork"}, [], ["zathura", "--fork", "-P", "3", PAGE.path]),
        ({"PDFVIEWER": "mine"}, ["okular"], ["mine", PAGE.path]),
        ({}, ["okular"], None),  # no screen
        ({"DISPLAY": ":0"}, [], None),
    ],
)
def test_pages_are_opened_by_a_viewer(monkeypatch, environment, there, command):
    monkeypatch.setattr(viewer.sys, "platform", "linux")
    monkeypatch.setattr(viewer.shutil, "which", lambda name: f"/bin/{name}" if name in there else None)
    assert viewer.viewer(environment, PAGE.path, 3) == command


def test_a_page_without_a_viewer_is_read_here(terminal, monkeypatch, capsys):
    monkeypatch.setattr(viewer, "viewer", lambda *_: None)
    assert not viewer.open_file(PAGE, PAGE.path)
    assert "no viewer of PDFs was found (name one in PDFVIEWER); /papers/a b.pdf, page 3:" in capsys.readouterr().err


def test_a_viewer_that_is_not_told_the_page_is_named(monkeypatch, capsys):
    monkeypatch.setattr(viewer, "_start", lambda command: None)
    for name, said in (("mine", "'mine' can't be told the page from here; it is page 3."), ("zathura", "")):
        monkeypatch.setenv("PDFVIEWER", name)
        assert viewer.open_file(PAGE, PAGE.path)
        assert capsys.readouterr().err.strip() == said


def test_without_a_terminal_the_reason_is_said(notes, capsys):
    ended = run("query", "notes", "whale storm", "--open")
    assert ended.code == 0
    assert "a file is opened from a terminal alone; this is what is stored of it." in ended.err
    assert "whale storm" in ended.out


@pytest.mark.skipif(sys.platform == "win32", reason="a script is no program there")
def test_programs_are_really_started(notes, tmp_path, monkeypatch):
    """No shell reads the name of the folder, in which one would find a command."""
    script = tmp_path / "editor"
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "{tmp_path}/seen"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDITOR", str(script))
    viewer.open_file(Place(str(notes), 4), str(notes))
    assert (tmp_path / "seen").read_text() == f"+4\n{notes}\n"
    assert not (tmp_path / "hurt").exists()
    viewer._start([str(script), str(notes)])
    viewer._started.pop().wait(timeout=60)
    assert (tmp_path / "seen").read_text() == f"{notes}\n"


def test_open_of_a_query(notes, monkeypatch):
    opened = []
    monkeypatch.setattr(viewer, "open_hit", lambda collection, hit: opened.append(str(hit.place)))
    assert run("query", "notes", "whale storm", "--open").code == 0
    assert run("similar", "notes", "--query", "whale storm", "--open").code == 0
    assert opened == [f"{notes}:4"] * 2
    assert run("query", "notes", "zzz", "--where", "year = 3", "--open").code != 0
    for wrong in (["-o", "json"], ["--json"]):
        ended = run("query", "notes", "whale", "--open", *wrong)
        assert (ended.code, "--open is for people" in ended.err) == (2, True)
    assert run("query", "notes", "-", "--open", stdin=b"whale\n").code == 2
    assert run("query", "notes", "--open").code == 2


def test_open_of_grep(notes, terminal, monkeypatch):
    piece = grep.Piece(grep.GrepFile("-notes.txt", LINES.split("\n"), str(notes)), 3, "whale storm")
    monkeypatch.setattr(grep, "on_terminal", lambda: True)
    grep._open(piece)
    assert terminal["run"] == [["vi", "+4", str(notes)]]
    with pytest.raises(UsageError, match="standard input can't be opened"):
        grep._open(piece._replace(file=grep.GrepFile("(standard input)", [])))
    monkeypatch.setattr(grep, "on_terminal", lambda: False)
    with pytest.raises(UsageError, match="--open needs a terminal"):
        grep._open(piece)


def test_no_file_of_defaults_opens_anything(notes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("semsearch.toml").write_text("[query]\nopen = true\n")
    ended = run("query", "notes", "whale")
    assert (ended.code, "'query' has no option 'open' to be set here" in ended.err) == (2, True)


# ------------------------------------------------------------------------------------------------------------- printed


def test_places_are_printed(notes):
    ended = run("query", "notes", "whale storm", "-k", 1)
    assert ended.lines[0].split("\t")[3:] == ["", "whale storm", f"{notes}:4"]
    ended = run("query", "notes", "whale storm", "-k", 1, "-o", "csv")
    [row] = csv.DictReader(io.StringIO(ended.out))
    assert [row[name] for name in ("path", "line", "page", "sheet", "message")] == [str(notes), "4", "", "", ""]


@pytest.mark.parametrize("command", [["query", "notes", "whale storm"], ["similar", "notes", "--query", "whale storm"]])
def test_vimgrep(notes, command):
    assert run(*command, "-k", 1, "-o", "vimgrep").lines == [f"{notes}:4:1:whale storm"]


def test_what_came_from_no_file_is_left_out_of_vimgrep_and_said(notes):
    with semsearch.open("notes") as collection:
        collection.add([semsearch.Document("mine", "whale storm")])
    ended = run("query", "notes", "whale storm", "-k", 2, "-o", "vimgrep")
    assert ended.lines == [f"{notes}:4:1:whale storm"]
    assert ended.err.splitlines() == ["hits that came from no file, and are left out: 1."]


@pytest.mark.parametrize(
    ("path", "parts", "line"),
    [
        ("/a  b:c.txt", [], "/a  b:c.txt:4:1:one two"),  # blanks are the name's
        ("/a.pdf", ["attachment x", "page 3"], "/a.pdf:4:1:attachment x, page 3: one two"),
        ("/a\nb.txt", [], None),
        ("/a\rb.txt", [], None),
        ("/a\x1bb.txt", [], None),
        ("/a:1:2:b.txt", [], None),  # vim would open /a
        ("/a:1", [], None),
    ],
)
def test_what_vim_reads(path, parts, line):
    assert formats.quickfix(path, 4, "one\n two", parts) == line


@pytest.mark.skipif(sys.platform == "win32", reason="no name there has an end of a line")
def test_a_name_that_vim_can_not_read_is_left_out_and_said(notes, tmp_path, monkeypatch):
    odd = notes.rename(notes.with_name("odd\nname.txt"))
    model = ["-m", tmp_path / "model"]
    assert run("index", odd, "--name", "odd", "--format", "text", *model).code == 0
    ended = run("query", "odd", "whale", "-o", "vimgrep")
    said = f"left out, because vim's format can't carry the name of its file: {str(odd)!a}"
    assert (ended.code, ended.out, ended.err.splitlines()) == (0, "", [said])
    monkeypatch.chdir(odd.parent)
    ended = run("grep", "whale", odd.name, "-o", "vimgrep", *model, "--no-cache", "-k", 1, "--min-score", -1)
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.splitlines() == [f"{said.partition(':')[0]}: {odd.name!a}"]


@pytest.mark.skipif(shutil.which("vim") is None, reason="vim is not installed")
def test_vim_reads_them_in_truth(tmp_path):
    names = ["/a  b:c.txt", "/a:1:2:b.txt", "/a:1", "/ü/x.pdf"]
    places = [f"{name}:7:3:text: 8" for name in names]
    (tmp_path / "list").write_text("\n".join(places), "utf-8")
    told = 'map(getqflist(), {_, e -> bufname(e.bufnr) . "|" . e.lnum . "|" . e.col . "|" . e.text})'
    command = ["vim", "-es", "-u", "NONE", "--cmd", "set encoding=utf-8", "-c", "cgetfile list"]
    write = ["-c", f"call writefile({told}, 'read')", "-c", "qa!"]
    subprocess.run([*command, *write], cwd=tmp_path, check=True, timeout=60)
    read = (tmp_path / "read").read_text("utf-8").splitlines()
    rightly = [line == f"{name}|7|3|text: 8" for line, name in zip(read, names, strict=True)]
    assert rightly == [True, False, False, True]
    assert rightly == [formats.quickfix(name, 7, "text: 8", column=3) is not None for name in names]


def test_vimgrep_of_grep(notes, tmp_path, monkeypatch):
    monkeypatch.chdir(notes.parent)
    notes.rename("notes.txt")
    Path("notes.txt").write_text("one\n\täh whale storm\n")
    model = ["-m", tmp_path / "model", "--no-cache", "-k", 1, "--min-score", -1]
    assert run("grep", "whale storm", "notes.txt", "-o", "vimgrep", *model).lines == ["notes.txt:2:2:äh whale storm"]
    told = json.loads(run("grep", "whale", "notes.txt", "--json", *model).out)
    assert (told["path"], told["line"]) == (str(Path("notes.txt").absolute()), 2)
    assert run("grep", "whale", "notes.txt", "--json", "-o", "vimgrep", *model).code == 2


def test_links_stand_where_a_terminal_makes_them(monkeypatch):
    class Screen(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdout", Screen())
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("FORCE_HYPERLINK", raising=False)
    assert link.links()
    for name, value in {"TERM": "linux", "FORCE_HYPERLINK": "0"}.items():
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert not link.links()
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert not link.links()


def test_a_link_holds_nothing_that_drives_a_terminal(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "here")
    assert link.url("/a b/\x1b]8;;x\x1b\\ü#?%.md") == "file://here/a%20b/%1B%5D8%3B%3Bx%1B%5C%C3%BC%23%3F%25.md"


def test_a_path_is_shown_from_here(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    assert [link.short(f"{tmp_path}/{name}") for name in ("in/a.md", "inner/b.md", "c.md")] == [
        "a.md",
        f"{tmp_path}/inner/b.md",
        f"{tmp_path}/c.md",
    ]


def test_hits_are_drawn_with_their_places(notes, monkeypatch):
    from rich.console import Console

    monkeypatch.setattr(link, "links", lambda: True)
    monkeypatch.setattr("socket.gethostname", lambda: "here")
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, color_system="standard")
    with semsearch.open("notes") as collection:
        render.draw_hits(console, query.ask(collection, ["whale storm"], 1, query.SearchOptions())[0])
    assert f"file://here{link.quote(str(notes))}\x1b\\" in screen.getvalue()
    plain = io.StringIO()
    with semsearch.open("notes") as collection:
        answer = query.ask(collection, ["whale storm"], 1, query.SearchOptions())[0]
        render.draw_hits(Console(file=plain, width=300), answer)
    assert plain.getvalue().splitlines()[0].endswith(f"{notes}:4")
