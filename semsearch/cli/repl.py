"""The interactive query: plain text is a question, a line that begins with a colon is a command.

A command is a function of the session and the rest of its line, registered by `@command`; its docstring is its help.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from semsearch.cli.compare import compare, show_comparison
from semsearch.cli.query import ask, lines_of_stdin
from semsearch.cli.render import (
    Answer,
    draw_document,
    dumps,
    on_terminal,
    say,
    screen,
    show_answer,
    show_facts,
    show_table,
)
from semsearch.cli.termination import Terminated, on_sigterm
from semsearch.errors import SemsearchError, UsageError
from semsearch.types import Span
from semsearch.where import parse_where

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

    from semsearch.collection import Collection


@dataclass(frozen=True, slots=True)
class Command:
    """What `:name` does; `usage` is how help writes it."""

    usage: str
    help: str
    run: Callable[[Session, str], None]


COMMANDS: dict[str, Command] = {}


def command(usage: str) -> Callable[[Callable[[Session, str], None]], Callable[[Session, str], None]]:
    """Register a function as `:name ARGUMENT`, `usage` being just that."""

    def register(run: Callable[[Session, str], None]) -> Callable[[Session, str], None]:
        COMMANDS[usage.split()[0]] = Command(usage, (run.__doc__ or "").partition("\n")[0].rstrip("."), run)
        return run

    return register


class Leave(Exception):
    """The person is done."""


class Session:
    """A conversation with one collection: the number of hits to show, and what was found last."""

    def __init__(
        self, collection: Collection, k: int = 10, where: Mapping[str, Any] | None = None, exact: bool = False
    ) -> None:
        self.collection = collection
        self.k = k
        self.where = where
        self.exact = exact
        self.answer: Answer | None = None

    def run(self) -> None:
        """Converse until Ctrl-D, `:quit` or the end of the input."""
        with contextlib.suppress(Leave):
            if sys.stdin.isatty():
                self._converse()
            else:
                for batch in lines_of_stdin():
                    for number, line in batch:
                        self.respond(line, number)
                        sys.stdout.flush()

    def _converse(self) -> None:
        prompt = _prompt(self.collection.home)
        say(f"{self.collection.name}: {len(self.collection):,} documents. :help lists commands, Ctrl-D ends.")

        def terminate() -> None:
            loop = prompt.app.loop
            if prompt.app.is_running and loop is not None:  # the prompt must give the terminal back as it was
                loop.call_soon_threadsafe(lambda: prompt.app.exit(exception=Terminated()))
            else:
                raise Terminated

        warm = threading.Thread(target=self._warm, name="open the model")
        warm.start()  # the model opens while the first question is being typed
        try:
            with on_sigterm(terminate):
                while True:
                    try:
                        self.respond(prompt.prompt(f"{self.collection.name}> ").strip())
                    except EOFError:
                        return
                    except Terminated:
                        raise
                    except KeyboardInterrupt:  # Ctrl-C leaves the search or the line, not the program
                        continue
        finally:
            warm.join()

    def _warm(self) -> None:
        with contextlib.suppress(Exception):  # the first question meets the same error, and reports it
            _ = self.collection.encoder
            self.collection.warm()

    def respond(self, line: str, number: int | None = None) -> None:
        """Answer a question or obey a command; an error is said and the conversation goes on."""
        try:
            if line.startswith(":"):
                self._obey(line)
            elif line:
                line.encode()  # a terminal may hand over bytes that are not UTF-8
                self.answer = ask(self.collection, [line], self.k, where=self.where, exact=self.exact)[0]
                show_answer(self.answer, number=number)
        except SemsearchError as error:
            say(str(error))
        except UnicodeEncodeError:
            say(f"{line!a} is not UTF-8 text.")

    def _obey(self, line: str) -> None:
        name, _, argument = line.partition(" ")
        if name not in COMMANDS:
            near = get_close_matches(name, COMMANDS, n=1)
            raise UsageError(
                f"there is no command {name}. {f'Did you mean {near[0]}? ' if near else ''}:help lists all."
            )
        COMMANDS[name].run(self, argument.strip())


def _prompt(home: Path) -> PromptSession[str]:
    """A prompt that edits, remembers and completes; it is drawn on the terminal even if results are piped away."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion
    from prompt_toolkit.document import Document as Line
    from prompt_toolkit.history import FileHistory, History, InMemoryHistory
    from prompt_toolkit.output import create_output

    class Colon(Completer):
        def get_completions(self, document: Line, complete_event: CompleteEvent) -> Iterator[Completion]:
            typed = document.text_before_cursor
            if typed.startswith(":") and " " not in typed:
                for name, known in COMMANDS.items():
                    if name.startswith(typed):
                        yield Completion(name, -len(typed), display=known.usage, display_meta=known.help)

    history: History = InMemoryHistory()
    path = home / ".history"
    with contextlib.suppress(OSError):  # where the history can't be written, it lasts as long as the session
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        history = FileHistory(path)
    return PromptSession(
        history=history,
        completer=Colon(),
        complete_while_typing=True,
        reserve_space_for_menu=len(COMMANDS) + 1,
        output=create_output(always_prefer_tty=True),
    )


# ------------------------------------------------------------------------------------------------------- the commands


def _whole(argument: str, what: str) -> int:
    if not argument.isascii() or not argument.isdigit() or int(argument) < 1:
        raise UsageError(f"{what} must be a whole number from 1 up, not '{argument}'.")
    return int(argument)


def _page(lines: Iterable[str], count: int) -> None:
    """Through the pager if it does not fit on the screen."""
    if on_terminal() and count > shutil.get_terminal_size().lines - 2:
        click.echo_via_pager(lines)
    else:
        for line in lines:
            click.echo(line, nl=False)


@command(":k N")
def _k(session: Session, argument: str) -> None:
    """Show N hits for each question from now on."""
    if argument:
        session.k = _whole(argument, "the number of hits")
    say(f"showing {session.k} hits")


@command(":open N")
def _open(session: Session, argument: str) -> None:
    """Read the whole document of hit N."""
    hits = session.answer.hits if session.answer else []
    if not hits:
        raise UsageError("there is no hit to open yet: ask something first.")
    number = _whole(argument or "1", "the hit to open")
    if number > len(hits):
        raise UsageError(f"there is no hit {number}: the last question had {len(hits)}.")
    hit = hits[number - 1]
    console = screen()
    with console.capture() as captured:
        draw_document(console, hit.document, Span(hit.start, hit.end))
    lines = captured.get().splitlines(keepends=True)
    _page(lines, len(lines))


@command(":where FILTER")
def _where(session: Session, argument: str) -> None:
    """Search among some documents only; :where off searches all again."""
    session.where = None if argument in ("", "off") else parse_where(argument)
    say("searching all documents" if session.where is None else f"searching where {dumps(session.where)}")


@command(":exact on|off")
def _exact(session: Session, argument: str) -> None:
    """Do without the index, or use it again."""
    if argument not in ("", "on", "off"):
        raise UsageError(f"say ':exact on' or ':exact off', not '{argument}'.")
    session.exact = argument != "off"
    say("searching exactly" if session.exact else "searching with the index")


@command(":compare")
def _compare(session: Session, argument: str) -> None:
    """Answer the last question exactly too, and say what the index missed."""
    if session.answer is None:
        raise UsageError("there is no question to compare yet: ask something first.")
    show_comparison(compare(session.collection, session.answer, session.k, session.where), False)


@command(":info")
def _info(session: Session, argument: str) -> None:
    """Show what the collection is made of."""
    show_facts(session.collection.info())


@command(":help")
def _help(session: Session, argument: str) -> None:
    """List the commands."""
    rows = [("any other text", "find documents nearest in meaning"), *((c.usage, c.help) for c in COMMANDS.values())]
    show_table(("", ""), [*rows, ("Ctrl-C", "leave a search"), ("Ctrl-D", "end")])


@command(":quit")
def _quit(session: Session, argument: str) -> None:
    """End."""
    raise Leave
