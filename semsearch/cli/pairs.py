"""`semsearch pairs`: the documents that say the same."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import semsearch
from semsearch import wire
from semsearch.cli import parameters
from semsearch.cli.parameters import Minimum
from semsearch.cli.render import on_terminal, out, say, screen
from semsearch.controls import one_line, printable
from semsearch.errors import StorageError, UsageError
from semsearch.home import Home

if TYPE_CHECKING:
    from semsearch.applications.pairs import DocumentPair

EVERY = 5.0  # seconds between the lines that tell how far it is
TABLE_ENDINGS = (".jsonl", ".tsv", ".csv")  # of files that are written
PAIR_COLUMNS = ("score", "first", "second", "first_text", "second_text")


@dataclass(frozen=True, slots=True)
class PairsOptions:
    """What `semsearch pairs` takes."""

    name: str
    between: str | None
    min_score: Minimum | None
    k: int | None
    limit: str
    device: str
    approximate: bool
    file: str | None
    as_json: bool
    home: str | None


def least_of(minimum: Minimum | None) -> dict[str, float]:
    """`--min-score` as keyword arguments of what compares documents.

    Raises:
        UsageError: It is a probability, which only queries have.
    """
    if minimum is None:
        return {}
    if minimum.measure == "probability":
        raise UsageError("documents are compared by a score (0.8) or a percentile of random pairs (99.99%).")
    return {f"min_{minimum.measure}": minimum.least}


min_score = click.option(
    "--min-score",
    type=parameters.minimum,
    metavar="S",
    help="What two must score: 0.8, or 99.99% (of random pairs score less).",
)
device = click.option("--device", default="auto", show_default=True, metavar="D", help="cpu, cuda, cuda:1, or auto.")


@click.command(short_help="Find the documents that say the same.")
@click.argument("name", shell_complete=parameters.collections)
@click.option("--between", metavar="NAME2", help="Pairs of one document of NAME and one of this collection.")
@min_score
@click.option("-k", type=click.IntRange(min=1), help="Only where one is among the K nearest of the other.")
@click.option("--limit", default="1000", show_default=True, metavar="N", help="How many at most; or 'all'.")
@device
@click.option("--approximate", is_flag=True, help="Compare what the index proposes; what that misses is measured.")
@click.option("--out", "file", type=parameters.file, metavar="FILE", help="Write them to FILE.jsonl, .tsv or .csv.")
@parameters.as_json
@parameters.home
@parameters.typed(PairsOptions)
def pairs(options: PairsOptions) -> int:
    r"""Find the pairs of documents in collection NAME that are most alike, best first, each compared with each.

    Two documents score as the best of their passages do. With --out, an interrupted run goes on when the command is
    repeated. The exit code is 1 if there is no pair.

    \b
    semsearch pairs questions --min-score 99.99%
    semsearch pairs questions --min-score 0.9 --limit all --out alike.jsonl
    semsearch pairs train --between test            # what a test set shares with what was trained on
    """
    home, file = Home.of(options.home), None if options.file is None else checked_file(options.file)
    with ExitStack() as stack:
        collection = stack.enter_context(semsearch.open(options.name, home=home))
        between = None
        if options.between is not None:
            between = stack.enter_context(semsearch.open(options.between, home=home))
        found = collection.pairs(
            between,
            k=options.k,
            limit=limit_of(options.limit),
            device=options.device,
            folder=None if file is None or options.k or options.approximate else Path(f"{file}.unfinished"),
            approximate=options.approximate,
            progress=how_far("compared"),
            **least_of(options.min_score),
        )
        if file is None:
            for number, pair in enumerate(found, start=1):
                _show(number, pair, options.as_json)
        else:
            count = write_rows(file, PAIR_COLUMNS, (_row(pair) for pair in found))
            say(f"wrote {count:,} pairs to {file}")
        if not len(found):
            compared = " with ".join(f"{len(one):,}" for one in (collection, between) if one is not None)
            say(f"0 pairs; documents compared: {compared}")
        say(*found.notes)
        found.close()
        return 0 if len(found) else 1


def limit_of(text: str) -> int | None:
    """A number of at least 1, or None for "all"."""
    if text == "all":
        return None
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise click.BadParameter(f"'{text}' is no whole number of at least 1, and not 'all'.", param_hint="'--limit'")
    return int(text)


def _row(pair: DocumentPair) -> tuple[Any, ...]:
    return round(pair.score, 6), pair.first.id, pair.second.id, pair.first.text, pair.second.text


def _show(number: int, pair: DocumentPair, as_json: bool) -> None:
    if as_json:
        out(wire.dumps(dict(zip(PAIR_COLUMNS, _row(pair), strict=True))))
    elif on_terminal():
        from rich.text import Text

        console = screen()
        head = Text(f"{number:>3}  {pair.score:.4f}  ", style="dim")
        console.print(head + Text(f"{one_line(pair.first.id)} · {one_line(pair.second.id)}"))
        for passage in (pair.first, pair.second):
            console.print(Text(f"     {one_line(passage.text)}", overflow="ellipsis", no_wrap=True))
    else:
        score, *texts = _row(pair)
        out("\t".join([f"{score:.6f}", *(one_line(text) for text in texts)]))


# What commands that compare documents share


def how_far(what: str) -> Callable[[float, float], None]:
    """Tells now and then how far a long comparison is."""
    begun = last = time.monotonic()

    def tell(done: float, total: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= EVERY and 0 < done < total:
            last = now
            left = (now - begun) * (total - done) / done
            say(f"progress {what}={done / total:.1%} left_s={left:.0f}")

    return tell


def checked_file(name: str, endings: Sequence[str] = TABLE_ENDINGS) -> Path:
    """A file that can be written: of a known kind, and not there yet.

    Raises:
        UsageError: It is not.
    """
    path = Path(name).expanduser()
    if path.suffix not in endings:
        raise UsageError(f"'{name}' must end in {', '.join(endings[:-1])} or {endings[-1]}.")
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} is there already: delete it, or name another file.")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {path.absolute().parent} to write '{path.name}' in.")
    return path


def write_rows(path: Path, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> int:
    """Write rows as the file's ending says, all of them or no file; how many."""
    count, names = 0, list(columns)
    with whole_file(path) as file:
        writer: Any = None
        if path.suffix != ".jsonl":
            writer = csv.writer(file, "excel-tab" if path.suffix == ".tsv" else "excel", lineterminator="\n")
            writer.writerow(names)
        for row in rows:
            if writer is None:
                file.write(wire.dumps(dict(zip(names, row, strict=True))) + "\n")
            else:
                writer.writerow([printable(cell) if isinstance(cell, str) else cell for cell in row])
            count += 1
    return count


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, all of it or none.

    Raises:
        StorageError: The disk refused.
    """
    with _part_of(path) as part:
        part.write_bytes(content)


@contextmanager
def whole_file(path: Path) -> Iterator[io.TextIOWrapper]:
    """A text file to write to, which is there under its name only when all is written.

    Raises:
        StorageError: The disk refused.
    """
    with _part_of(path) as part, part.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        yield file


@contextmanager
def _part_of(path: Path) -> Iterator[Path]:
    """Where to write, which becomes `path` in the end."""
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        raise StorageError(f"{path} can't be written: {error.strerror or error}.") from error
    finally:
        if sys.exc_info()[0] is not None:
            with suppress(OSError):
                part.unlink()


COMMANDS = (pairs,)
