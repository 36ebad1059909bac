"""The interactive query: its commands, its editing, Ctrl-C and Ctrl-D, and a standard input that is no terminal."""

import os
import select
import signal
import stat
import sys

import pytest
from support.command_line import corpus, run, start, tiny_model

import semsearch
from semsearch.cli import repl, viewer
from semsearch.cli.repl import REPL_COMMANDS, Leave, Session
from semsearch.errors import UsageError


@pytest.fixture
def notes(tmp_path):
    """A collection of forty documents."""
    ended = run("index", corpus(tmp_path), "-m", tiny_model(tmp_path / "model"))
    assert ended.code == 0, ended.err
    return "notes"


@pytest.fixture
def session(notes):
    """A conversation with it."""
    with semsearch.open(notes) as collection:
        yield Session(collection, k=3, folder=collection.path.parent)


def test_text_is_a_question(session, capsys):
    session.respond("whale storm")
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert {row[3] for row in rows} == {"On the ocean"}


def test_k_changes_the_number_of_hits(session, capsys):
    session.respond(":k 7")
    session.respond("whale")
    assert len(capsys.readouterr().out.splitlines()) == 7
    for wrong in ("0", "-1", "two", "1.5", "²"):
        session.respond(f":k {wrong}")
        assert f"not '{wrong}'" in capsys.readouterr().err
    assert session.k == 7


def test_open_reads_the_whole_document(session, capsys):
    session.respond(":open 1")
    assert "no hit to open yet" in capsys.readouterr().err
    session.respond("whale storm")
    capsys.readouterr()
    session.respond(":open 2")
    document = session.answer.hits[1].document
    assert capsys.readouterr().out.splitlines() == [
        document.title,
        document.id,
        f"year: {document.metadata['year']}",
        "",
        document.text,
    ]
    session.respond(":open 4")
    assert "there is no hit 4: the last question had 3" in capsys.readouterr().err
    session.respond(":open x")
    assert "not 'x'" in capsys.readouterr().err


def test_a_long_document_goes_through_the_pager(session, monkeypatch):
    paged = []
    monkeypatch.setattr(viewer, "on_terminal", lambda: True)
    monkeypatch.setattr(viewer.click, "echo_via_pager", lambda lines: paged.extend(lines))
    monkeypatch.setattr(viewer.shutil, "get_terminal_size", lambda: os.terminal_size((80, 4)))
    session.respond("whale")
    session.respond(":open")
    assert session.answer.hits[0].document.text.split()[0] in "".join(paged)


def test_info_and_help(session, capsys):
    session.respond(":info")
    assert "documents\t40" in capsys.readouterr().out
    session.respond(":help")
    shown = capsys.readouterr().out
    for name, command in REPL_COMMANDS.items():
        assert name in shown
        assert command.help in shown
        assert command.help


def test_a_misspelt_command_is_not_a_question(session, capsys):
    session.respond(":opne 1")
    assert capsys.readouterr() == ("", "there is no command :opne. Did you mean :open? :help lists all.\n")
    assert session.answer is None


def test_adding_a_command_is_one_function(session, capsys, monkeypatch):
    monkeypatch.setattr(repl, "REPL_COMMANDS", dict(REPL_COMMANDS))

    @repl.command(":shout TEXT")
    def _shout(session, argument):
        """Say it loudly."""
        repl.say(argument.upper())

    session.respond(":shout hello there")
    assert capsys.readouterr().err == "HELLO THERE\n"
    session.respond(":help")
    assert ":shout TEXT" in capsys.readouterr().out


def test_an_error_does_not_end_it(session, capsys, monkeypatch):
    def failing(*_, **__):
        raise UsageError("something can't be.")

    with monkeypatch.context() as patch:
        patch.setattr(session.collection, "search_many", failing)
        session.respond("whale")
    assert capsys.readouterr() == ("", "something can't be.\n")
    session.respond("\udcff")
    assert "is not UTF-8 text" in capsys.readouterr().err
    session.respond("whale")
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_quit_leaves(session):
    with pytest.raises(Leave):
        session.respond(":quit")


def test_lines_are_read_where_standard_input_is_no_terminal(notes):
    ended = run("query", notes, "-k", 2, stdin=b"whale\n\n:k 1\ndough\n:nonsense\n:quit\npedal\n")
    assert ended.code == 0
    assert [line.split("\t")[:2] for line in ended.lines] == [["1", "1"], ["1", "2"], ["4", "1"]]
    assert ended.err.splitlines() == ["showing 1 hits", "there is no command :nonsense. :help lists all."]


# --------------------------------------------------------------------------------------------------------- the prompt


@pytest.fixture
def typed(session, monkeypatch):
    """Runs the conversation with these keys pressed."""
    from prompt_toolkit.application import create_app_session
    from prompt_toolkit.input import create_pipe_input
    from prompt_toolkit.output import DummyOutput

    class Terminal:
        @staticmethod
        def isatty():
            return True

    def press(keys):
        monkeypatch.setattr(repl.sys, "stdin", Terminal())
        monkeypatch.setattr("prompt_toolkit.output.create_output", lambda **_: DummyOutput())
        with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
            pipe.send_text(keys)
            session.run()

    return press


ENTER, CTRL_C, CTRL_D, UP, LEFT, TAB = "\r", "\x03", "\x04", "\x1b[A", "\x1b[D", "\t"


def rows(text):
    return [line.split("\t") for line in text.splitlines()]


def test_more_of_the_same(session, capsys):
    session.respond("whale storm")
    session.respond(":more")
    assert [row[0] for row in rows(capsys.readouterr().out)] == ["1", "2", "3", "4", "5", "6"]
    session.respond(":open 5")
    assert session.answer.hits[4].document.id in capsys.readouterr().out
    for _ in range(20):
        session.respond(":more")
    assert "there are no more." in capsys.readouterr().err


def test_settings_of_a_conversation(session, capsys):
    for line, key, value in [
        (":mode hybrid", "mode", "hybrid"),
        (":mode l", "mode", "lexical"),
        (":mode dense", "mode", "dense"),
        (":rerank", "rerank", True),
        (":rerank my/model", "rerank", "my/model"),
        (":rerank off", "rerank", None),
        (":mmr-lambda 0.25", "mmr_lambda", 0.25),
        (":mmr-lambda off", "mmr_lambda", None),
        (":context 2", "context", 2),
        (":context 0", "context", 0),
        (":explain on", "explain", True),
        (":explain off", "explain", False),
        (":min 0.4", "min_score", 0.4),
        (":min 99%", "min_percentile", 0.99),
        (":exact on", "exact", True),
    ]:
        session.respond(line)
        assert session.search.arguments()[key] == value, line
    session.respond(":min off")
    assert session.search.arguments()["min_percentile"] is None
    said = capsys.readouterr().err
    assert "no mode" not in said
    session.respond(":min 150%")
    assert capsys.readouterr().err == "'150%' is no percentile: one lies between 0% and 100%.\n"
    for line in (":mode psychic", ":context x", ":min much", ":min nan", ":mmr-lambda 2", ":similar 1", ":more"):
        session.respond(line)
    assert len(capsys.readouterr().err.splitlines()) == 7


def test_a_hit_leads_to_the_like(session, capsys):
    session.respond("whale storm")
    first = session.answer.hits[0].document.id
    session.respond(":similar 1")
    assert {row[3] for row in rows(capsys.readouterr().out)} == {"On the ocean"}
    assert first not in {hit.document.id for hit in session.answer.hits}


def test_the_last_answer_is_explained(session, capsys):
    session.respond("whale storm")
    plain = rows(capsys.readouterr().out)
    session.respond(":explain")
    explained = rows(capsys.readouterr().out)
    assert [row[:6] for row in explained] == plain
    assert all(row[6].startswith("found by exact search") for row in explained)


def test_keys(typed, capsys, tmp_path):
    typed("whale stor" + LEFT * 4 + "m" + LEFT + ENTER + UP + CTRL_C + "dough" + ENTER + CTRL_D)
    out, err = capsys.readouterr()
    assert [line.split("\t")[3] for line in out.splitlines()] == ["On the ocean"] * 3 + ["On the bread"] * 3
    assert "notes: 40 documents. :help lists commands, Ctrl-D ends." in err
    history = tmp_path / "home" / ".history"
    assert [line[1:] for line in history.read_text().splitlines() if line[:1] == "+"] == ["whale mstor", "dough"]
    if sys.platform != "win32":
        assert stat.S_IMODE(history.stat().st_mode) == 0o600


def test_history_lasts_over_sessions(typed, session, capsys):
    typed("whale" + ENTER + CTRL_D)
    session.answer = None
    typed(UP + ENTER + CTRL_D)
    assert session.answer.query == "whale"


def test_commands_are_completed(typed, session):
    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document

    completer = repl._prompt(None).completer

    def offered(text):
        return [each.text for each in completer.get_completions(Document(text), CompleteEvent())]

    assert offered(":") == list(REPL_COMMANDS)
    assert offered(":o") == [":open"]
    assert offered("o") == []
    assert offered(":open ") == []


def test_history_that_can_not_be_written_is_done_without(typed, session, tmp_path):
    (tmp_path / "home" / ".history").mkdir()
    typed("whale" + ENTER + UP + ENTER + CTRL_D)
    assert session.answer.query == "whale"


@pytest.mark.parametrize("place", ["link", "pipe"])
def test_history_is_written_through_no_link_and_waits_for_no_pipe(typed, session, tmp_path, place):
    (tmp_path / "precious").write_text("precious")
    history = tmp_path / "home" / ".history"
    history.symlink_to(tmp_path / "precious") if place == "link" else os.mkfifo(history)
    typed("whale" + ENTER + CTRL_D)
    assert session.answer.query == "whale"
    assert (tmp_path / "precious").read_text() == "precious"


def test_ctrl_c_leaves_a_search_and_not_the_program(typed, session, monkeypatch, capsys):
    found = session.collection.search_many
    pressed = []

    def slow(*arguments, **options):
        if not pressed:
            pressed.append(True)
            raise KeyboardInterrupt
        return found(*arguments, **options)

    monkeypatch.setattr(session.collection, "search_many", slow)
    typed("whale" + ENTER + "dough" + ENTER + ":quit" + ENTER)
    assert {line.split("\t")[3] for line in capsys.readouterr().out.splitlines()} == {"On the bread"}


def test_termination_ends_the_program(typed, session, monkeypatch):
    from semsearch.cli.termination import Terminated

    def terminated(*_, **__):
        raise Terminated

    monkeypatch.setattr(session.collection, "search_many", terminated)
    with pytest.raises(Terminated):
        typed("whale" + ENTER + "dough" + ENTER)


class Screen:
    """A terminal with `semsearch ARGUMENTS` on it: keys in, what is shown out."""

    def __init__(self, *arguments):
        import pty

        self._end, inner = pty.openpty()
        self.process = start(*arguments, stdin=inner, stdout=inner, stderr=inner, start_new_session=True)
        os.close(inner)
        self.shown = ""

    def press(self, keys):
        os.write(self._end, keys.encode())

    def wait_for(self, text):
        """What is shown up to and with `text`; fails when the program ends before."""
        while text not in self.shown:
            assert select.select([self._end], [], [], 60)[0], f"{text!r} never came; shown was {self.shown!r}"
            part = os.read(self._end, 1 << 16)
            if b"\x1b[6n" in part:  # the prompt asks where the cursor is
                self.press("\x1b[1;1R")
            self.shown += part.decode(errors="replace")
        before, _, self.shown = self.shown.partition(text)
        return before + text

    def end(self):
        """The exit code, with all that is still shown."""
        try:
            while part := os.read(self._end, 1 << 16):
                self.shown += part.decode(errors="replace")
        except OSError:  # Linux says so that the other end is closed
            pass
        os.close(self._end)
        return self.process.wait(timeout=60)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals there")
def test_on_a_terminal(notes, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("PAGER", "cat")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "echo opened")
    screen = Screen("query", notes, "-k", "2")
    screen.wait_for("notes>")
    screen.press("whale storm\r")
    shown = screen.wait_for(" ms")
    assert "On the ocean" in shown
    assert "\x1b[1m" in shown
    screen.wait_for("notes>")
    screen.press("half a quest" + CTRL_C)
    screen.wait_for("notes>")
    screen.press(":read 1\r")
    screen.wait_for("year: ")
    screen.wait_for("notes>")
    screen.press(":open 1\r")
    screen.wait_for("opened +")
    screen.wait_for("notes.jsonl")
    screen.wait_for("notes>")
    screen.press(CTRL_D)
    assert screen.end() == 0
    assert "Traceback" not in screen.shown


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals there")
def test_sigterm_at_the_prompt_gives_the_terminal_back(notes, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen("query", notes)
    screen.wait_for("notes>")
    screen.press("whale\r")
    screen.wait_for(" ms")
    screen.wait_for("notes>")
    screen.process.send_signal(signal.SIGTERM)
    assert screen.end() == 130
    assert "\x1b[?2004l" in screen.shown  # what the prompt switched on at the terminal is off again
    assert "Traceback" not in screen.shown
