"""The one boundary: errors made for people become a sentence and an exit code, bugs keep their traceback."""

import errno
import re
import signal
import subprocess
import sys
import threading
from importlib.metadata import version
from pathlib import Path

import click
import pytest
from support.command_line import run, start

from semsearch import errors
from semsearch.cli import defaults
from semsearch.cli import main as boundary
from semsearch.cli.main import cli
from semsearch.cli.termination import Terminated

MAIN = "from semsearch.cli.main import main; main()"


@pytest.fixture
def failing():
    """Adds a command that raises what the test says."""

    def add(error):
        @cli.command("fail")
        def fail():
            raise error

    yield add
    cli.commands.pop("fail", None)


def tree(kind=errors.SemsearchError):
    """All kinds of errors made for people."""
    return [kind, *(deeper for child in kind.__subclasses__() for deeper in tree(child))]


@pytest.mark.parametrize("kind", sorted(set(tree()), key=lambda kind: kind.__name__))
def test_every_error_made_for_people_is_a_sentence_with_its_code(failing, kind):
    failing(kind("the moon is 3 km away, not 384,400. Look again."))
    ended = run("fail")
    assert (ended.code, ended.out) == (kind.exit_code, "")
    assert ended.err == "semsearch: the moon is 3 km away, not 384,400. Look again.\n"
    assert kind.exit_code in (1, 2, 3, 4, 5)


def test_the_tree_in_the_docstring_tells_the_codes():
    told = {name: int(code) for name, code in re.findall(r"(\w+) +([1-5])\b", errors.__doc__)}
    for kind in tree():
        if kind is not errors.SemsearchError and kind.__module__ == errors.__name__:
            assert told[kind.__name__] == kind.exit_code


def test_notes_on_an_error_are_said_too(failing):
    error = errors.DataError("line 7 is broken.")
    error.add_note("6 documents are committed.")
    failing(error)
    assert run("fail").err == "semsearch: line 7 is broken.\n6 documents are committed.\n"


@pytest.mark.parametrize("number", sorted(boundary._REFUSALS))
def test_what_the_disk_refuses_is_a_sentence(failing, number):
    failing(OSError(number, "It is refused", "some/file"))
    assert run("fail").err == "semsearch: It is refused: some/file.\n"
    assert run("fail").code == 4


def test_a_lack_of_memory_is_a_sentence(failing):
    failing(MemoryError("Unable to allocate 3 GiB"))
    ended = run("fail")
    assert ended.err.startswith("semsearch: there is not enough memory (Unable to allocate 3 GiB): end other programs")
    assert ended.code == 4


@pytest.mark.parametrize("bug", [ValueError("a bug"), KeyError("x"), OSError(errno.EBADF, "a bug")])
def test_bugs_keep_their_traceback(failing, bug):
    failing(bug)
    with pytest.raises(type(bug)):
        run("fail")


class Drops:
    """Raises when nobody has it any more, where Python drops what is raised."""

    def __init__(self, kind):
        self.kind = kind

    def __del__(self):
        raise self.kind


@pytest.mark.parametrize("kind", [KeyboardInterrupt, Terminated])
@pytest.mark.parametrize("waits", [True, False])
def test_an_interrupt_that_python_drops_comes_again(kind, waits):
    """Within a `__del__`, or at the end of a generator that nobody reads on: the command went on to its end."""
    came = []

    @cli.command("drop-one")
    def drop_one():
        Drops(kind)
        try:
            if waits:
                threading.Event().wait(60)
        except BaseException as error:
            came.append(type(error))
            raise

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored
    try:
        ended = run("drop-one")
    finally:
        signal.signal(signal.SIGINT, before)
        cli.commands.pop("drop-one", None)
    assert (ended.code, ended.err.split()) == (130, ["interrupted"])
    assert came == ([kind] if waits else [])


def test_anything_else_that_python_drops_is_told_as_before(monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", lambda dropped: told.append(dropped.exc_type))

    @cli.command("drop-one")
    def drop_one():
        Drops(ValueError)

    try:
        assert run("drop-one").code == 0
    finally:
        cli.commands.pop("drop-one", None)
    assert told == [ValueError]


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), Terminated(), click.Abort()])
def test_interruption(failing, interrupt):
    failing(interrupt)
    ended = run("fail")
    assert (ended.code, ended.out, ended.err.strip()) == (130, "", "interrupted")


def test_sigterms_old_handler_comes_back():
    before = signal.getsignal(signal.SIGTERM)
    run("list")
    assert signal.getsignal(signal.SIGTERM) is before


def test_usage_errors_are_one_line():
    ended = run("qurey")
    assert ended.code == 2
    assert "'qurey'" in ended.err
    assert len(ended.err.splitlines()) == 1
    assert run("query", "--nonsense").err.endswith("See 'semsearch query --help'.\n")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["query", "--limit", "5"], "No such option '--limit'. Did you mean '-k'? See 'semsearch query --help'."),
        (["search", "--top-k", "5"], "No such option '--top-k'. Did you mean '-k'? See 'semsearch search --help'."),
        (["similar", "x", "--filter", "a"], "No such option '--filter'. Did you mean '--where'?"),
        (["query", "--diverse"], "No such option '--diverse'. Did you mean '--mmr-lambda'?"),
        (
            ["query", "words", "-日本"],
            "No such option '-日'. To leave out what holds a word, put it and the rest of the query in quotes, "
            "or '--' before what is no option: semsearch query NAME \"question -日本\". See 'semsearch query --help'.",
        ),
        (["grep", "-car", "x"], "To leave out what holds a word"),
        (["query", "--rerannk"], "No such option '--rerannk'. (Did you mean one of: '--rerank', '--rerank-weight'?)"),
        (["drop", "x", "--limit", "5"], "No such option '--limit'. See 'semsearch drop --help'."),
    ],
)
def test_an_option_that_others_call_otherwise(typed, said):
    ended = run(*typed)
    assert ended.code == 2
    assert said in ended.err


def test_help_is_for_people_and_version_for_programs():
    assert run("--version").lines == [f"semsearch {version('semsearch')}"]
    ended = run("--help")
    assert ended.code == 0
    assert [name for name in cli.commands if re.search(rf"^  {name} ", ended.out, re.MULTILINE)] == list(cli.commands)
    bare = run()
    assert (bare.code, bare.out) == (2, "")
    assert bare.err.startswith("Usage: semsearch")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_results_that_can_not_be_written():
    with Path("/dev/full").open("wb") as full:
        process = start("--version", stdout=full)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 4
    assert said == b"semsearch: No space left on device.\n"


@pytest.mark.slow
def test_text_that_the_stream_can_not_encode_is_escaped(monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    monkeypatch.setenv("PYTHONUTF8", "0")
    script = (
        "import click, sys; from semsearch.cli.main import cli, main\n"
        "cli.command('fail')(lambda: click.echo('caf\\u00e9 \\u6c34 \\udcff'))\n"
        "sys.argv[1:] = ['fail']; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout == b"caf\xe9 \\u6c34 \\udcff\n"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="descriptors are closed otherwise there")
@pytest.mark.parametrize(("closed", "arguments"), [(0, ["list"]), (1, ["list"]), (2, ["list"]), (0, ["query"])])
def test_streams_that_are_closed(closed, arguments):
    command = [sys.executable, "-c", MAIN, *arguments]
    script = f"import os; os.close({closed}); os.execv({sys.executable!r}, {command!r})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert done.returncode == (0 if arguments == ["list"] else 4)
    assert b"Traceback" not in done.stderr


@pytest.mark.slow
def test_what_a_command_needs_later_is_not_imported_at_the_start():
    later = ["semsearch.encoder.remote", "semsearch.encoder.connection", "subprocess", "shlex", "sqlalchemy", "torch"]
    script = f"import sys, semsearch.cli.main; print([name for name in {later} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_home_is_looked_for_once_for_defaults(monkeypatch):
    asked = []
    monkeypatch.setattr(defaults, "_in_home", lambda: asked.append(1))
    assert isinstance(defaults.defaults(cli), dict)
    assert len(asked) == 1
