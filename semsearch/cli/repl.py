"""The interactive query: plain text is a question, a line that begins with a colon is a command.

A command is a function of the session and the rest of its line, registered by `@command`; its docstring is its help.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import click

import semsearch
from semsearch import wire
from semsearch.cli import shown
from semsearch.cli.compare import compare, show_comparison
from semsearch.cli.completion import Completing, Offer, choices, filters, hits, listed, nothing
from semsearch.cli.parameters import SearchOptions, minimum
from semsearch.cli.query import ask, lines_of_stdin, open_models
from semsearch.cli.render import (
    Answer,
    say,
    show_answer,
    show_facts,
    show_table,
)
from semsearch.cli.termination import Terminated, on_sigterm
from semsearch.cli.viewer import open_hit, read_hit
from semsearch.errors import SemsearchError, UsageError
from semsearch.plain_files import is_file
from semsearch.search.request import MODES
from semsearch.search.where_text import parse_where
from semsearch.types import Hit

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

    from semsearch.collection import Collection
    from semsearch.federation import Searchable
    from semsearch.home import Home


@dataclass(frozen=True, slots=True)
class ReplCommand:
    """What `:name` does; `usage` is how help writes it."""

    usage: str
    help: str
    run: Callable[[Session, str], None]
    complete: Completing


REPL_COMMANDS: dict[str, ReplCommand] = {}


def command(
    usage: str, complete: Completing = nothing
) -> Callable[[Callable[[Session, str], None]], Callable[[Session, str], None]]:
    """Register a function as `:name ARGUMENT`, `usage` being just that; `complete` offers arguments."""

    def register(run: Callable[[Session, str], None]) -> Callable[[Session, str], None]:
        told = (run.__doc__ or "").partition("\n")[0].rstrip(".")
        REPL_COMMANDS[usage.split()[0]] = ReplCommand(usage, told, run, complete)
        return run

    return register


LEAVING = (":q", ":exit", "exit", "quit")  # beside `:quit`


class Leave(Exception):
    """The person is done."""


class Session:
    """A conversation with one collection: the number of hits to show, and what was found last."""

    def __init__(
        self,
        collection: Searchable,
        k: int = 10,
        search: SearchOptions | None = None,
        folder: Path | None = None,
        show: Sequence[str] = (),
        home: Home | None = None,
        opener: Callable[[Sequence[str] | None], Searchable] | None = None,
    ) -> None:
        """A conversation with `collection`.

        Args:
            collection: What is asked first.
            k: Hits to show.
            search: How to search.
            folder: Keeps what was typed.
            show: Fields of metadata.
            home: Where other collections are.
            opener: Opens them.
        """
        self.home = home
        self._opener = opener
        self._opened = contextlib.ExitStack()
        self.show = tuple(show)
        self._folder = folder
        self.collection = collection
        self.k = k
        self.search = search or SearchOptions()
        self.answer: Answer | None = None

    def run(self) -> None:
        """Converse until Ctrl-D, `:quit` or the end of the input."""
        with self._opened, contextlib.suppress(Leave):
            if sys.stdin.isatty():
                self._converse()
            else:
                for batch in lines_of_stdin():
                    for number, line in batch:
                        self.respond(line, number)
                        sys.stdout.flush()

    def _converse(self) -> None:
        prompt = _prompt(self._folder, self)
        say(f"{self.collection.name}: {len(self.collection):,} documents. :help lists commands, Ctrl-D ends.")

        def terminate() -> None:
            loop = prompt.app.loop
            if prompt.app.is_running and loop is not None:  # the prompt must give the terminal back as it was
                loop.call_soon_threadsafe(lambda: prompt.app.exit(exception=Terminated()))
            else:
                raise Terminated

        opening = threading.Thread(target=self._open_model, name="open the model")
        opening.start()  # the model opens while the first question is being typed
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
            opening.join()

    def _open_model(self) -> None:
        with contextlib.suppress(Exception):  # the first question meets the same error, and reports it
            open_models(self.collection)
            self.collection.load_index()

    def use(self, names: Sequence[str] | None) -> None:
        """Ask these collections from now on; None stands for all."""
        if self._opener is None:
            raise UsageError("there are no other collections here.")
        opened = self._opener(names)
        self._opened.close()  # what was used before; the first is the caller's
        self._opened.enter_context(opened)
        self.collection, self.answer = opened, None

    def owner(self, hit: Hit) -> Collection:
        """The collection that gave a hit."""
        found = self.collection
        return found.collection_of(hit) if isinstance(found, semsearch.Federation) else found

    def respond(self, line: str, number: int | None = None) -> None:
        """Answer a question or obey a command; an error is said and the conversation goes on."""
        try:
            if line in LEAVING:
                raise Leave
            if line.startswith(":"):
                self._obey(line)
            elif line:
                line.encode()  # a terminal may hand over bytes that are not UTF-8
                self.ask(line, number)
        except SemsearchError as error:
            say(str(error))
        except UnicodeEncodeError:
            say(f"{line!a} is not UTF-8 text.")

    def ask(self, text: str, number: int | None = None) -> None:
        """Search as the session is set, and show what is found."""
        self.answer = ask(self.collection, [text], self.k, self.search, self.show)[0]
        show_answer(self.answer, number=number)

    def _obey(self, line: str) -> None:
        name, _, argument = line.partition(" ")
        if name not in REPL_COMMANDS:
            near = get_close_matches(name, REPL_COMMANDS, n=1)
            raise UsageError(
                f"there is no command {name}. {f'Did you mean {near[0]}? ' if near else ''}:help lists all."
            )
        REPL_COMMANDS[name].run(self, argument.strip())


def offered(session: Session, name: str, argument: str) -> list[Offer]:
    """What can stand behind a command, where `argument` is typed."""
    known = REPL_COMMANDS.get(name)
    return [] if known is None else list(known.complete(session, argument))


def _prompt(folder: Path | None, session: Session | None = None) -> PromptSession[str]:
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
                for name, known in REPL_COMMANDS.items():
                    if name.startswith(typed):
                        yield Completion(name, -len(typed), display=known.usage, display_meta=known.help)
            elif typed.startswith(":") and session is not None:
                name, _, argument = typed.partition(" ")
                with contextlib.suppress(SemsearchError):  # typing goes on whatever the collection says
                    for offer in offered(session, name, argument.lstrip()):
                        yield Completion(offer.text, -offer.replaced, display_meta=offer.told)

    history: History = InMemoryHistory()
    if folder is not None:
        path = folder / ".history"
        with contextlib.suppress(OSError):  # where the history can't be written, it lasts as long as the session
            is_file(path)  # else whoever made the folder has words typed here written elsewhere
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
            history = FileHistory(path)
    return PromptSession(
        history=history,
        completer=Colon(),
        complete_while_typing=True,
        reserve_space_for_menu=len(REPL_COMMANDS) + 1,
        output=create_output(always_prefer_tty=True),
    )


# ------------------------------------------------------------------------------------------------------- the commands


def _whole(argument: str, what: str) -> int:
    if not argument.isascii() or not argument.isdigit() or int(argument) < 1:
        raise UsageError(f"{what} must be a whole number from 1 up, not '{argument}'.")
    return int(argument)


def _switched(argument: str, name: str) -> bool:
    if argument not in ("", "on", "off"):
        raise UsageError(f"say '{name} on' or '{name} off', not '{argument}'.")
    return argument != "off"


def _last(session: Session) -> Answer:
    if session.answer is None:
        raise UsageError("there is no question yet: ask something first.")
    return session.answer


def _hit(session: Session, argument: str) -> Hit:
    hits = session.answer.hits if session.answer else []
    if not hits:
        raise UsageError("there is no hit to open yet: ask something first.")
    number = _whole(argument or "1", "the number of a hit")
    for hit in hits:
        if hit.rank == number:
            return hit
    raise UsageError(f"there is no hit {number}: the last question had {len(hits)}.")


@command(":k N")
def _k(session: Session, argument: str) -> None:
    """Show N hits for each question from now on."""
    if argument:
        session.k = _whole(argument, "the number of hits")
    say(f"showing {session.k} hits")


@command(":open N", hits)
def _open(session: Session, argument: str) -> None:
    """Open the file of hit N: in EDITOR at the line, in PDFVIEWER at the page; else as ':read'."""
    hit = _hit(session, argument)
    open_hit(session.owner(hit), hit)


@command(":read N", hits)
def _read(session: Session, argument: str) -> None:
    """Read the whole document of hit N, as it is stored."""
    read_hit(_hit(session, argument))


@command(":more")
def _more(session: Session, argument: str) -> None:
    """Show as many hits again for the last question."""
    last = _last(session)
    first = len(last.hits)
    answer = ask(session.collection, [last.query], first + session.k, session.search, session.show)[0]
    if len(answer.hits) <= first:
        raise UsageError("there are no more.")
    session.answer = answer
    show_answer(replace(answer, hits=answer.hits[first:]))


@command(":mode dense|lexical|sparse|hybrid", choices(*MODES))
def _mode(session: Session, argument: str) -> None:
    """Search by meaning, by words, by a sparse model, or by all."""
    if argument:
        near = [mode for mode in MODES if mode.startswith(argument)]
        if len(near) != 1:
            raise UsageError(f"there is no mode '{argument}': say {', '.join(MODES)}.")
        session.search = replace(session.search, mode=near[0])
    say(f"searching in the mode {session.search.mode}")


@command(":rerank on|off|MODEL", choices("on", "off"))
def _rerank(session: Session, argument: str) -> None:
    """Let a cross-encoder order the best hits."""
    model = None if argument == "off" else "" if argument == "on" else argument
    session.search = replace(session.search, rerank=model)
    say("not reranking" if argument == "off" else "reranking; the model opens with the next question")


@command(":explain on|off", choices("on", "off"))
def _explain(session: Session, argument: str) -> None:
    """Explain the last answer; 'on' explains every one."""
    if argument in ("on", "off"):
        session.search = replace(session.search, explain=argument == "on")
        say("explaining every answer" if argument == "on" else "not explaining")
        return
    last = _last(session)
    explained = replace(session.search, explain=True)
    session.answer = ask(session.collection, [last.query], len(last.hits) or session.k, explained, session.show)[0]
    show_answer(session.answer)


@command(":mmr-lambda L", choices("off"))
def _mmr_lambda(session: Session, argument: str) -> None:
    """Let near-duplicates make room: with 1 none, with 0 all of them; 'off' lets them stay."""
    if argument in ("", "off"):
        session.search = replace(session.search, mmr_lambda=None)
        say("near-duplicates stay")
        return
    try:
        share = float(argument)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise UsageError(f"say a number from 0 to 1, or 'off', not '{argument}'.")
    session.search = replace(session.search, mmr_lambda=share)
    say("near-duplicates make room")


@command(":context N")
def _context(session: Session, argument: str) -> None:
    """Show N passages before and after each hit; 0 shows the hit alone."""
    count = 0 if argument == "0" else _whole(argument or "1", "the number of neighbours")
    session.search = replace(session.search, context=count)
    say(f"showing {count} passages around each hit")


@command(":show FIELDS", listed(lambda session: session.collection.fields(), "none"))
def _show(session: Session, argument: str) -> None:
    """Show fields of metadata with each hit, from now on: year,genres; 'none' shows none."""
    if argument:
        session.show = shown.chosen(argument, session.collection)
    say(f"showing {', '.join(session.show) or 'no metadata'}")


@command(":min SCORE", choices("off"))
def _minimum(session: Session, argument: str) -> None:
    """Leave out what scores less: 0.4, 99.9%, p0.5; 'off' shows all."""
    if argument in ("", "off"):
        session.search = replace(session.search, min_score=None)
        say("showing all")
        return
    try:
        session.search = replace(session.search, min_score=minimum(argument))
    except click.BadParameter as error:
        raise UsageError(error.message) from error
    say(f"showing what reaches {argument}")


@command(":similar N", hits)
def _similar(session: Session, argument: str) -> None:
    """Find more documents like hit N."""
    hit = _hit(session, argument)
    started = time.perf_counter()
    hits = session.owner(hit).similar([hit.id], session.k, where=session.search.where)
    for found in hits:
        found.collection = hit.collection
    spent = {"total": 1000 * (time.perf_counter() - started)}
    session.answer = Answer(hit.text, hits, spent, show=session.show)
    show_answer(session.answer)


@command(":where FILTER", filters)
def _where(session: Session, argument: str) -> None:
    """Search among some documents only; :where off searches all again."""
    where = None if argument in ("", "off") else parse_where(argument)
    session.collection.count(where)  # what can't be asked for is told here, and not by every question
    session.search = replace(session.search, where=where)
    say("searching all documents" if where is None else f"searching where {wire.dumps(where)}")


@command(":exact on|off", choices("on", "off"))
def _exact(session: Session, argument: str) -> None:
    """Do without the index, or use it again."""
    session.search = replace(session.search, exact=_switched(argument, ":exact"))
    say("searching exactly" if session.search.exact else "searching with the index")


@command(":compare")
def _compare(session: Session, argument: str) -> None:
    """Answer the last question exactly too, and say what the index missed."""
    show_comparison(compare(session.collection, _last(session), session.k, session.search.where), False)


@command(":use NAME,NAME|all", listed(lambda session: list(session.home.names()) if session.home else [], "all"))
def _use(session: Session, argument: str) -> None:
    """Ask another collection, several, or all; without a name, tell which there are."""
    known = list(session.home.names()) if session.home is not None else []
    if not argument:
        say(f"asking {session.collection.name}; there are: {', '.join(known)}")
        return
    names = None if argument == "all" and "all" not in known else [part.strip() for part in argument.split(",")]
    for name in names or ():
        if session.home is not None:
            session.home.require(name)
    session.use(names)
    say(f"asking {session.collection.name}: {len(session.collection):,} documents")


@command(":info")
def _info(session: Session, argument: str) -> None:
    """Show what the collection is made of."""
    show_facts(session.collection.info())


@command(":help")
def _help(session: Session, argument: str) -> None:
    """List the commands."""
    rows = [
        ("any other text", "find documents nearest in meaning"),
        *((c.usage, c.help) for c in REPL_COMMANDS.values()),
    ]
    show_table(("", ""), [*rows, ("Ctrl-C", "leave a search"), ("Ctrl-D, :q, exit, quit", "end")])


@command(":quit")
def _quit(session: Session, argument: str) -> None:
    """End."""
    raise Leave
