"""`semsearch grep`: lines of files that mean what is asked for, without a collection."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from semsearch import wire
from semsearch.cli import parameters
from semsearch.cli.parameters import ComputeOptions
from semsearch.cli.render import on_terminal, out, out_line, say
from semsearch.controls import one_line, printable
from semsearch.errors import DataError, UsageError
from semsearch.ingest.source import STDIN
from semsearch.places import Place
from semsearch.validation import is_empty

if TYPE_CHECKING:
    from semsearch.search.matches import QueryWords
    from semsearch.types import Encoder


class GrepFile(NamedTuple):
    """A file's lines."""

    name: str  # as it is printed
    lines: list[str]
    path: str | None = None  # absolute; None of standard input


class Piece(NamedTuple):
    """What is encoded: a line or a paragraph."""

    file: GrepFile
    first: int  # its first line, counted from 0
    text: str


class GrepMatch(NamedTuple):
    """A piece that answers, and how well."""

    piece: Piece
    score: float


@dataclass(frozen=True, slots=True)
class GrepOptions:
    """What `semsearch grep` takes."""

    text: str
    files: tuple[str, ...]
    k: int
    context: int
    line_number: bool  # they are always shown
    names_only: bool
    paragraphs: bool
    min_score: float | None
    encoder: str | None
    no_cache: bool
    as_json: bool
    form: str | None
    open_it: bool
    compute: ComputeOptions


@click.command(short_help="Find lines that mean something like it, in any files.")
@click.argument("text", type=parameters.utf8)
@click.argument("files", nargs=-1, type=parameters.file, metavar="[FILE]...")
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="Lines (with -l: files) to give.")
@click.option("-C", "--context", type=click.IntRange(min=0), default=0, metavar="N", help="Show N lines around each.")
@click.option("-n", "--line-number", is_flag=True, help="As it is anyway: line numbers are always shown.")
@click.option("-l", "--files-with-matches", "names_only", is_flag=True, help="Print names of files only, best first.")
@click.option("-p", "--paragraphs", is_flag=True, help="Compare paragraphs, up to an empty line, instead of lines.")
@click.option(
    "--min-score", type=parameters.score, metavar="S", help="Nothing less alike than this (a cosine, as a rule 0 to 1)."
)
@click.option("-m", "--encoder", type=parameters.model, metavar="MODEL", help="Model [default: all-MiniLM-L6-v2].")
@click.option("--no-cache", is_flag=True, help="Neither use nor keep vectors of earlier times.")
@parameters.as_json
@click.option("-o", "--output", "form", type=click.Choice(["vimgrep"]), help="Print 'file:line:column:text', for vim.")
@parameters.open_it
@parameters.compute
@parameters.typed(GrepOptions)
def grep(options: GrepOptions) -> int:
    r"""Find the lines of FILES (folders with all in them; else standard input) that mean something like TEXT.

    They are printed best first, as 'file:line: text'. What was encoded is kept by its content, so that the second time
    is quick. The exit code is 1 if nothing was found, and 3 if a file or folder could not be read.

    \b
    semsearch grep "how to install" README.md docs/
    journalctl | semsearch grep "the disk is failing" --min-score 0.4
    """
    _check(options)
    unread: list[str] = []
    pieces = [
        piece for file in _files(options.files or (STDIN,), unread) for piece in _pieces(file, options.paragraphs)
    ]
    if not pieces:
        raise DataError("there is no text to look through.")
    from semsearch import models
    from semsearch.encoder.load import DEFAULT_MODEL
    from semsearch.encoder.remote import trust_named
    from semsearch.hardware import Compute

    trust_named(options.encoder or DEFAULT_MODEL)
    compute = Compute(options.compute.device, options.compute.dtype)
    model = models.encoder(options.encoder or DEFAULT_MODEL, compute)
    found = _ranked(options.text, pieces, model, cached=not options.no_cache)
    if options.min_score is not None:
        found = [hit for hit in found if hit.score >= options.min_score]
    if options.names_only:
        best: dict[str, GrepMatch] = {}
        for hit in found:
            best.setdefault(hit.piece.file.name, hit)
        found = list(best.values())
    found = found[: options.k]
    words = _words(options.text) if _coloured() else None
    for position, hit in enumerate(found):
        if options.as_json:
            piece = hit.piece
            where = {"file": piece.file.name, "path": piece.file.path, "line": piece.first + 1}
            out(wire.dumps({**where, "score": hit.score, "text": piece.text}))
        elif options.form is not None:
            out(_vimgrep(hit.piece))
        elif options.names_only:
            out(one_line(hit.piece.file.name))
        else:
            if options.context and position:
                out("--")
            _show(hit.piece, options.context, words)
    if options.open_it and found:
        _open(found[0].piece)
    return DataError.exit_code if unread else 0 if found else 1


def _check(options: GrepOptions) -> None:
    if sum((options.as_json, options.form is not None, options.open_it)) > 1:
        raise UsageError("of --json, -o and --open one at most can be: leave the others out.")
    if not options.text.strip():
        raise UsageError("the text is empty. Write what the lines should mean.")


def _ranked(text: str, pieces: Sequence[Piece], model: Encoder, *, cached: bool) -> list[GrepMatch]:
    """All pieces, best first; of equals the one that comes first."""
    import numpy as np

    from semsearch.encoder.cache import VectorCache, cache_folder
    from semsearch.vectors import brute_force, stored_form

    with VectorCache(model, cache_folder() if cached else None) as cache:
        vectors = cache.vectors([piece.text for piece in pieces])
    vectors = stored_form(vectors, model.dim, model.metric)
    query = stored_form(model.encode_queries([text]), model.dim, model.metric)
    ((keys, scores),) = brute_force(np.arange(len(pieces)), vectors, query, len(pieces), model.metric)
    return [GrepMatch(pieces[key], score) for key, score in zip(keys.tolist(), scores.tolist(), strict=True)]


def _files(names: Sequence[str], unread: list[str]) -> Iterator[GrepFile]:
    """The lines of each file that holds text; folders are walked through. `unread` gets what could not be read."""
    from semsearch.walk import walk

    for name in names:
        if name == STDIN:
            yield GrepFile("(standard input)", _lines(sys.stdin.buffer.read()))
            continue
        path = Path(name)
        listed = [""]
        if path.is_dir():
            listing = walk(path)
            listed = [file.name for file in listing.files]
            for folder, why in listing.unreadable:
                say(f"{one_line(str(path / folder))}: {why}")
                unread.append(folder)
            if listing.outside:
                count = len(listing.outside)
                say(f"{name}: links to files out of the folder, not followed: {count:,} (give them by their own names)")
        for inner in listed:
            place = path / inner if inner else path
            try:
                raw = place.read_bytes()
            except OSError as error:
                say(f"{one_line(str(place))}: {error.strerror}")
                unread.append(str(place))
                continue
            if b"\0" not in raw[:8192]:
                yield GrepFile(str(place), _lines(raw), str(place.absolute()))
            elif not inner:
                say(f"{one_line(name)}: not text")


def _lines(raw: bytes) -> list[str]:
    """Lines as every editor counts them."""
    return [line.removesuffix("\r") for line in raw.decode("utf-8-sig", "replace").split("\n")]


def _pieces(file: GrepFile, paragraphs: bool) -> Iterator[Piece]:
    if not paragraphs:
        for number, line in enumerate(file.lines):
            if not is_empty(line):
                yield Piece(file, number, line.strip())
        return
    held: list[str] = []
    for number, line in enumerate([*file.lines, ""]):
        if not is_empty(line):
            held.append(line.strip())
        elif held:
            yield Piece(file, number - len(held), "\n".join(held))
            held = []


def _show(piece: Piece, context: int, words: QueryWords | None) -> None:
    """Like grep: ':' behind the name and number of what was found, '-' behind those of the lines around."""
    file, first = piece.file, piece.first
    last = first + piece.text.count("\n")
    name = one_line(file.name)
    for number in range(max(0, first - context), min(len(file.lines), last + context + 1)):
        mark = ":" if first <= number <= last else "-"
        text = printable(file.lines[number].strip())
        marks = words.within(text) if words is not None and mark == ":" else []
        bold = mark == ":" and context > 0 and words is not None
        out_line(f"{name}{mark}{number + 1}{mark}", file.path or "", text, bold=bold, marks=marks)


def _words(text: str) -> QueryWords:
    from semsearch.search.matches import QueryWords  # which takes a while to import

    return QueryWords(text)


def _vimgrep(piece: Piece) -> str:
    """`file:line:column:text`; the column, in bytes, is that of what stands first in the line."""
    line = piece.file.lines[piece.first]
    column = len(line[: len(line) - len(line.lstrip())].encode()) + 1
    return f"{one_line(piece.file.name)}:{piece.first + 1}:{column}:{one_line(piece.text)}"


def _open(piece: Piece) -> None:
    """The file in the editor, at the line; it was named by the person, so nothing is asked."""
    from semsearch.cli.viewer import open_file

    path = piece.file.path
    if path is None:
        raise UsageError("standard input can't be opened: give the file by its name.")
    if not on_terminal() or not sys.stdin.isatty() or not open_file(Place(path, piece.first + 1), path):
        raise UsageError("--open needs a terminal, and an editor in VISUAL or EDITOR, or 'less'.")


def _coloured() -> bool:
    return on_terminal() and not os.environ.get("NO_COLOR")
