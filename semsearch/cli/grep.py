"""`semsearch grep`: lines of files that mean what is asked for, without a collection."""

from __future__ import annotations

import os
import string
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import click

from semsearch import wire
from semsearch.cli import parameters
from semsearch.cli.formats import quickfix, unnameable
from semsearch.cli.grep_input import GrepFile, GrepInput
from semsearch.cli.parameters import ComputeOptions
from semsearch.cli.render import on_terminal, out, out_line, say
from semsearch.controls import one_line, printable
from semsearch.errors import DataError, UsageError
from semsearch.ingest.source import STDIN
from semsearch.places import Place
from semsearch.resident import route
from semsearch.validation import is_empty

if TYPE_CHECKING:
    from semsearch.search.matches import QueryWords
    from semsearch.types import Encoder


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
    "--min-score",
    type=parameters.score,
    metavar="S",
    help="Nothing less alike than this (a cosine, as a rule 0 to 1) [default: what unrelated questions reach].",
)
@click.option("-m", "--encoder", type=parameters.model, metavar="MODEL", help="Model [default: all-MiniLM-L6-v2].")
@click.option("--no-cache", is_flag=True, help="Neither use nor keep vectors of earlier times.")
@parameters.as_json
@click.option("-o", "--output", "form", type=click.Choice(["vimgrep"]), help="Print 'file:line:column:text', for vim.")
@parameters.open_it
@parameters.compute
@parameters.resident
@parameters.typed(GrepOptions)
def grep(options: GrepOptions) -> int:
    r"""Find the lines of FILES (folders with all in them; else standard input) that mean something like TEXT.

    They are printed best first, as 'file:line: text'. Of PDF, HTML, Office's and OpenDocument's files, EPUB, e-mail and
    notebooks the text is looked through, and the part is named, as in 'file.pdf:page 3:line: text'. A line counts as
    found if it answers better than these files answer most of a few dozen unrelated questions; --min-score says
    otherwise. What was encoded is kept by its content, so that the second time is quick. The exit code is 1 if nothing
    was found, and 3 if a file or folder could not be read; what is no text in a folder is counted in the end.

    \b
    semsearch grep "how to install" README.md docs/
    journalctl | semsearch grep "the disk is failing" --min-score 0.4
    """
    _check(options)
    if options.open_it:
        route.needs_terminal("--open")
    given = GrepInput()
    pieces = [piece for file in given.files(options.files or (STDIN,)) for piece in _pieces(file, options.paragraphs)]
    if not pieces:
        say("there is no text to look through.")
        return DataError.exit_code if given.failed else 1
    from semsearch import models
    from semsearch.encoder import DEFAULT_MODEL
    from semsearch.encoder.remote import trust_named
    from semsearch.hardware import Compute

    trust_named(options.encoder or DEFAULT_MODEL)
    compute = Compute(options.compute.device, options.compute.dtype)
    model = models.encoder(options.encoder or DEFAULT_MODEL, compute)
    ranked, floor = _ranked(options.text, pieces, model, cached=not options.no_cache)
    least = floor if options.min_score is None else options.min_score
    found = [hit for hit in ranked if hit.score >= least]
    if not found and options.min_score is None:
        say(
            f"nothing is found: the best line scores {ranked[0].score:.3f}, and unrelated questions reach {floor:.3f} "
            "here. --min-score shows weaker ones."
        )
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
            part = {"part": piece.file.part} if piece.file.part else {}
            place = {"file": piece.file.name, "path": piece.file.path, **part, "line": piece.first + 1}
            out(wire.dumps({**place, "score": hit.score, "text": piece.text}))
        elif options.form is not None:
            line = _vimgrep(hit.piece)
            out(line) if line is not None else say(unnameable(hit.piece.file.name))
        elif options.names_only:
            out(one_line(hit.piece.file.name))
        else:
            if options.context and position:
                out("--")
            _show(hit.piece, options.context, words)
    if options.open_it and found:
        _open(found[0].piece)
    return DataError.exit_code if given.failed else 0 if found else 1


def _check(options: GrepOptions) -> None:
    if sum((options.as_json, options.form is not None, options.open_it)) > 1:
        raise UsageError("of --json, -o and --open one at most can be: leave the others out.")
    if not options.text.strip():
        raise UsageError("the text is empty. Write what the lines should mean.")


def _ranked(text: str, pieces: Sequence[Piece], model: Encoder, *, cached: bool) -> tuple[list[GrepMatch], float]:
    """All pieces, best first, of equals the one that comes first; and the score that unrelated questions reach."""
    import numpy as np

    from semsearch.encoder.cache import VectorCache, cache_folder
    from semsearch.search.background import background
    from semsearch.vectors import brute_force, stored_form

    with VectorCache(model, cache_folder() if cached else None) as cache:
        vectors = cache.vectors([piece.text for piece in pieces])
    vectors = stored_form(vectors, model.dim, model.metric)
    query = stored_form(model.encode_queries([text]), model.dim, model.metric)
    ((keys, scores),) = brute_force(np.arange(len(pieces)), vectors, query, len(pieces), model.metric)
    ranked = [GrepMatch(pieces[key], score) for key, score in zip(keys.tolist(), scores.tolist(), strict=True)]
    return ranked, background(model, vectors, text)


def _pieces(file: GrepFile, paragraphs: bool) -> Iterator[Piece]:
    if not paragraphs:
        for number, line in enumerate(file.lines):
            if _says_something(line):
                yield Piece(file, number, line.strip())
        return
    held: list[str] = []
    for number, line in enumerate([*file.lines, ""]):
        if not is_empty(line):
            held.append(line.strip())
        elif held:
            if any(map(_says_something, held)):
                yield Piece(file, number - len(held), "\n".join(held))
            held = []


def _says_something(line: str) -> bool:
    """Whether a line is more than rules, brackets and the like, whose vectors are near to many questions."""
    return not is_empty(line) and line.strip(f"{string.punctuation} \t\r\f\v") != ""


def _show(piece: Piece, context: int, words: QueryWords | None) -> None:
    """Like grep: ':' behind the name and number of what was found, '-' behind those of the lines around."""
    file, first = piece.file, piece.first
    last = first + piece.text.count("\n")
    name = one_line(f"{file.name}:{file.part}" if file.part else file.name)
    for number in range(max(0, first - context), min(len(file.lines), last + context + 1)):
        mark = ":" if first <= number <= last else "-"
        text = printable(file.lines[number].strip())
        marks = words.within(text) if words is not None and mark == ":" else []
        bold = mark == ":" and context > 0 and words is not None
        out_line(f"{name}{mark}{number + 1}{mark}", file.path or "", text, bold=bold, marks=marks)


def _words(text: str) -> QueryWords:
    from semsearch.search.matches import QueryWords  # which takes a while to import

    return QueryWords(text)


def _vimgrep(piece: Piece) -> str | None:
    """As `quickfix` has it; the column, in bytes, is that of what stands first in the line.

    Lines of a part of a document are none of the file: there it is the first, and the part stands before the text.
    """
    if piece.file.part:
        return quickfix(piece.file.name, None, piece.text, [piece.file.part])
    line = piece.file.lines[piece.first]
    column = len(line[: len(line) - len(line.lstrip())].encode()) + 1
    return quickfix(piece.file.name, piece.first + 1, piece.text, column=column)


def _open(piece: Piece) -> None:
    """The file in the editor, at the line; it was named by the person, so nothing is asked."""
    from semsearch.cli.viewer import open_file

    path, part = piece.file.path, piece.file.part
    if path is None:
        raise UsageError("standard input can't be opened: give the file by its name.")
    page = part.removeprefix("page ")
    place = Place(path, page=int(page) if page.isdecimal() else None) if part else Place(path, piece.first + 1)
    if not on_terminal() or not sys.stdin.isatty() or not open_file(place, path):
        raise UsageError("--open needs a terminal, and an editor in VISUAL or EDITOR, or 'less'.")


def _coloured() -> bool:
    return on_terminal() and not os.environ.get("NO_COLOR")
