"""`semsearch` on the command line: the table of commands, and the one place where errors become exit codes.

Exit codes: 0 fine · 1 no match · 2 usage · 3 bad data · 4 collection missing or damaged, or the disk refused ·
5 locked · 130 interrupted. Results go to stdout, everything else to stderr. Heavy libraries are imported inside the
commands that need them, so that help and completion answer at once.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import importlib
import io
import os
import re
import sys
import threading
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from semsearch import __version__, trusted
from semsearch.cli import defaults
from semsearch.cli.messages import said, say_uncaught
from semsearch.cli.render import confirmed, say
from semsearch.cli.termination import not_dropped, on_sigterm
from semsearch.errors import SemsearchError
from semsearch.resident import launch, route
from semsearch.search.request import SYNONYMS

USAGE = 2
STORAGE = 4
INTERRUPTED = 130
COMPLETE = "_SEMSEARCH_COMPLETE"  # the variable by which a shell asks for completion

# What the disk, not the program, is to blame for.
_REFUSALS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
}


class Unheard(Exception):
    """The reader of our output has seen enough, as in `semsearch query … | head -1`: end in silence."""


# Each command and the module that defines it, in the order in which a person meets them.
_COMMANDS = {
    **{
        "index": "index",
        "encode": "encode",
        "sync": "sync",
        "watch": "watch",
        "query": "query",
        "search": "query",
        "grep": "grep",
    },
    **dict.fromkeys(("similar", "calibrate"), "similar"),
    **dict.fromkeys(("get", "remove", "drop", "list", "describe", "info"), "manage"),
    **dict.fromkeys(("reindex", "tune", "check", "repair", "migrate", "compact", "backup", "restore"), "maintenance"),
    **dict.fromkeys(("reencode", "language"), "maintenance"),
    **{name: name for name in ("pairs", "duplicates", "clusters", "topics", "map", "classify", "bitext")},
    **dict.fromkeys(("sts", "similarity"), "sts"),
    **{
        "bench": "bench",
        "export": "exchange",
        "copy": "exchange",
        "import": "exchange",
        "models": "catalog",
        "trust": "trust",
        "mcp": "assistants",
        "resident": "resident",
    },
    **{"serve": "serve", "key": "serve"},
    **{"doctor": "doctor", "completion": "doctor", "eval": "evaluate"},
    **{"train": "train", "train-reranker": "train_reranker"},
}
_ATTRIBUTES = {
    **{"list": "list_collections", "import": "import_vectors", "train-reranker": "train_reranker", "eval": "evaluate"},
}


class Commands(click.Group):
    """The commands; of each the module is imported when it is asked for, since all together take as long as a query."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._imported: dict[str, click.Command] = {}
        super().__init__(*args, **options)

    @property
    def commands(self) -> MutableMapping[str, click.Command]:
        """All of them, imported."""
        added = {name: command for name, command in self._imported.items() if name not in _COMMANDS}
        ordered = {name: self._command(name) for name in _COMMANDS} | added
        self._imported.clear()
        self._imported.update(ordered)
        return self._imported

    @commands.setter
    def commands(self, commands: MutableMapping[str, click.Command]) -> None:
        self._imported.update(commands)

    def _command(self, name: str) -> click.Command:
        if name not in self._imported:
            module = importlib.import_module(f"semsearch.cli.{_COMMANDS[name]}")
            command: click.Command = getattr(module, _ATTRIBUTES.get(name, name))
            defaults.name_variables(name, command)
            command.help = _unescaped(command.help)
            self._imported[name] = command
        return self._imported[name]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        return self._command(cmd_name) if cmd_name in _COMMANDS else self._imported.get(cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, as they were added."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run one; click would end a broken pipe with the exit code that means "no match" here."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise Unheard from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="semsearch", message="%(prog)s %(version)s")
def cli() -> None:
    r"""Point it at a corpus and get semantic search you can trust.

    \b
    semsearch index corpus.jsonl            read, split, encode, store; run it again to resume or update
    semsearch query corpus "how do vaccines work"
    semsearch query                         ask interactively

    Exit codes: 0 fine, 1 no match, 2 usage, 3 bad data, 4 collection missing or damaged, 5 locked, 130 interrupted.
    """


def _unescaped(text: str | None) -> str:
    """Click's mark for lines to be left as they are; raw docstrings spell it."""
    return (text or "").replace("\\b\n", "\b\n")


cli.help = _unescaped(cli.help)


def main() -> NoReturn:
    """The program: run the command that was typed and end with its exit code."""
    say_uncaught()
    code = execute()
    if route.wanted and not route.there:
        launch.start()
    if "torch" in sys.modules and threading.active_count() == 1:
        # Taking torch apart takes as long as a quarter of its import, and the system does it at once.
        end(code)
    _flush()
    sys.exit(code)


def end(code: int) -> NoReturn:
    """End this process once its threads have, and leave it to the system to take it apart."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    _flush()
    os._exit(code)


def _flush() -> None:
    """Write what is still to be written; what nobody takes is let go, or Python complains of it at the end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def execute(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. An error made for people is one sentence on stderr."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by who called us, as in `semsearch list >&-`
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115  (open to the end)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a document may hold what this terminal can't show
            stream.reconfigure(errors="backslashreplace")
    if os.environ.get(COMPLETE):
        return _complete()
    route.verbose = route.wanted = False
    with said(), on_sigterm():
        code = _run(arguments)
        if route.verbose:
            say(route.sentence())
        return code


def _complete() -> int:
    """Answer the shell, which asks while a person types: what is wrong with a file or folder is not for then."""
    try:
        found = defaults.defaults(cli, strange=False)
    except (SemsearchError, OSError):
        found = {}
    try:
        if os.environ[COMPLETE].startswith("bash"):  # which takes --home=FOLDER for three words
            words, joined = re.subn(r"(\s--[\w-]+)\s=\s(?=\S)", r"\1=", os.environ.get("COMP_WORDS", ""))
            if joined:
                place = int(os.environ.get("COMP_CWORD", "0")) - 2 * joined
                os.environ |= {"COMP_WORDS": words, "COMP_CWORD": str(place)}
        cli.main(prog_name="semsearch", complete_var=COMPLETE, default_map=found)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    except Exception:  # a traceback would stand in the middle of the line
        return 1


def _run(arguments: Sequence[str] | None) -> int:
    """The exit code of one command."""
    typed = sys.argv[1:] if arguments is None else list(arguments)
    try:
        trusted.ask = _ask if sys.stdin.isatty() and sys.stderr.isatty() else None
        with not_dropped():
            code = cli.main(
                arguments,
                prog_name="semsearch",
                standalone_mode=False,
                default_map=defaults.defaults(cli),
            )
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except SemsearchError as error:
        say(f"semsearch: {_as_typed(str(error), typed)}", *getattr(error, "__notes__", ()))
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        say(*error.format_message().splitlines())
        return USAGE
    except click.ClickException as error:
        say(f"semsearch: {_message(error, typed)}{_help_for(error)}")
        return USAGE
    except (KeyboardInterrupt, click.Abort) as error:
        say(str(error) or "interrupted")
        return INTERRUPTED
    except (Unheard, BrokenPipeError):
        _flush()
        return 0
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        say(f"semsearch: {error.strerror}{f': {error.filename}' if error.filename else ''}.")
        return STORAGE
    except MemoryError as error:
        why = f" ({error})" if str(error) else ""
        say(f"semsearch: there is not enough memory{why}: end other programs; what was committed is safe.")
        return STORAGE


def _ask(question: str) -> bool:
    """The answer of who sits at the terminal, unless it is busy with something else."""
    route.needs_terminal("a question to the person")
    return threading.current_thread() is threading.main_thread() and confirmed(question)


def _message(error: click.ClickException, typed: Sequence[str]) -> str:
    """What click says; of an option that other programs call otherwise, what it is called here."""
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        options = {str(param.name): max(param.opts, key=len) for param in error.ctx.command.params}
        other = SYNONYMS.get(error.option_name.lstrip("-").replace("-", "_"), "")
        if other in options:
            return f"No such option '{error.option_name}'. Did you mean '{options[other]}'?"
    said = re.sub(r"is not a valid integer(?: range)?\.", "is no whole number.", error.format_message())
    return re.sub(r"is not a valid float(?: range)?\.", "is no number.", said) + _excluding(error, typed)


def _as_typed(said: str, typed: Sequence[str]) -> str:
    """What is wrong, in words of the command line: as Python has it, a home and an option have other names."""

    def option(found: re.Match[str]) -> str:
        for flag in ("--read", "--option"):
            if any(word.removeprefix(f"{flag}=").startswith(f"{found[1]}=") for word in typed) and any(
                word.split("=", 1)[0] == flag for word in typed
            ):
                return f"{flag} {found[1]}"
        return found[0]

    said = said.replace("another home", "another home (--home)")
    return re.sub(r"the option '(\w+)'", option, said)


def _excluding(error: click.ClickException, typed: Sequence[str]) -> str:
    """How to leave a word out, where what was typed for an option may be an exclusion: -日本, -car."""
    if not isinstance(error, click.NoSuchOption) or error.ctx is None or error.option_name.startswith("--"):
        return ""
    examples = {
        "query": 'query NAME "question {}"',
        "search": 'search NAME "question {}"',
        "grep": 'grep "question {}"',
    }
    if (example := examples.get(error.ctx.command.name or "")) is None:
        return ""
    word = next((word for word in typed if word.startswith(error.option_name)), error.option_name)
    return (
        " To leave out what holds a word, put it and the rest of the query in quotes, or '--' before what is no option:"
        f" semsearch {example.format(word)}."
    )


def _help_for(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f" See '{context.command_path} --help'." if context is not None else ""
