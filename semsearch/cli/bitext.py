"""`semsearch bitext`: sentences of two files or collections that translate each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

import semsearch
from semsearch.cli import pairs, parameters
from semsearch.cli.parameters import ComputeOptions
from semsearch.cli.render import out, say
from semsearch.cli.sts import lines_of
from semsearch.controls import one_line
from semsearch.errors import CollectionNotFound, UsageError
from semsearch.home import Home
from semsearch.types import Vectors

ENDINGS = (".tsv", ".csv", ".jsonl", ".tmx")
BITEXT_COLUMNS = ("margin", "first", "second")


@dataclass(frozen=True, slots=True)
class BitextOptions:
    """What `semsearch bitext` takes."""

    first: str
    second: str
    encoder: str | None
    k: int
    min_margin: float | None
    learn: tuple[str, str] | None
    xsim: bool
    languages: str
    file: str | None
    moses: str | None
    compute: ComputeOptions
    home: str | None


@click.command(short_help="Find the sentences that translate each other.")
@click.argument("first", type=parameters.file, metavar="A")
@click.argument("second", type=parameters.file, metavar="B")
@click.option("-m", "--encoder", type=parameters.model, metavar="MODEL", help="Of files: a multilingual model.")
@click.option("-k", type=click.IntRange(min=1), default=4, show_default=True, help="Neighbours of a margin.")
@click.option("--min-margin", type=parameters.score, metavar="M", help="Of a pair [default: 1].")
@click.option(
    "--learn", nargs=2, type=parameters.file, metavar="A2 B2", help="Learn it on files where line i translates line i."
)
@click.option("--xsim", is_flag=True, help="Line i of A translates line i of B: say how many are not found.")
@click.option("--languages", default="und,und", metavar="L1,L2", help="Of A and B, for TMX: de,en.")
@click.option("--out", "file", type=parameters.file, metavar="FILE", help="FILE.tsv, .csv, .jsonl or .tmx.")
@click.option("--moses", type=parameters.file, metavar="PREFIX", help="Two files with aligned lines, PREFIX.1 and .2.")
@parameters.compute
@parameters.home
@parameters.typed(BitextOptions)
def bitext(options: BitextOptions) -> int:
    r"""Find which sentences of A translate which of B, one to one, surest first.

    A and B are files with a sentence a line, encoded with a multilingual MODEL, or collections of one. Two sentences
    count by the margin of their cosine over what both have with their nearest neighbours; 1 is no margin at all. The
    exit code is 1 if there is no pair.

    \b
    semsearch bitext news.de news.en -m intfloat/multilingual-e5-small --out pairs.tmx
    semsearch bitext news.de news.en -m intfloat/multilingual-e5-small --learn dev.de dev.en
    semsearch bitext test.de test.en -m intfloat/multilingual-e5-small --xsim
    """
    from semsearch.applications import bitext as mining

    languages = options.languages.split(",")
    if len(languages) != 2 or not all(languages):
        raise UsageError(f"two languages are wanted, as in de,en, and not '{options.languages}'.")
    if options.learn is not None and (options.xsim or options.min_margin is not None):
        raise UsageError("--learn finds what --min-margin is to be: leave out --min-margin and --xsim.")
    if options.xsim and (options.file or options.moses or options.min_margin is not None):
        raise UsageError("--xsim measures, and finds no pairs to write: leave out --out, --moses and --min-margin.")
    files = _targets(options)
    (texts, vectors), (other_texts, other_vectors) = _sides(options)
    if options.xsim:
        if not len(texts) and not len(other_texts):
            raise UsageError(
                f"neither {options.first} nor {options.second} has a sentence: there is nothing to compare."
            )
        error = mining.xsim(vectors, other_vectors, k=options.k)
        out(f"{error:.4f}")
        say(f"of {len(texts):,} sentences {error:.2%} have another one as their best (xSIM)")
        return 0
    found = mining.bitext(
        vectors, other_vectors, k=options.k, min_margin=_min_margin(options), progress=pairs.how_far("compared")
    )
    rows = [
        (round(margin, 6), texts[one], other_texts[other])
        for one, other, margin in zip(found.first.tolist(), found.second.tolist(), found.margins.tolist(), strict=True)
    ]
    if files:
        _write(files, rows, languages)
    else:
        for margin, one, other in rows:
            out(f"{margin:.4f}\t{one_line(one)}\t{one_line(other)}")
    say(f"{len(rows):,} pairs of {len(texts):,} and {len(other_texts):,} sentences")
    return 0 if rows else 1


def _min_margin(options: BitextOptions) -> float:
    """What a pair must have, as it is given or learnt."""
    if options.learn is None:
        return 1.0 if options.min_margin is None else options.min_margin
    from semsearch.applications.bitext import learn_margin

    (_, vectors), (_, other_vectors) = _aligned(options, [Path(name).expanduser() for name in options.learn])
    learnt = learn_margin(vectors, other_vectors, k=options.k)
    say(
        f"learnt --min-margin {learnt.min_margin:.4f}: there {learnt.precision:.1%} of the pairs are right, and "
        f"{learnt.recall:.1%} of the translations are found (F1 {learnt.f1:.4f})"
    )
    return learnt.min_margin


def _targets(options: BitextOptions) -> list[Path]:
    """The files that are to be written, none of which is there yet."""
    files = [] if options.file is None else [Path(options.file).expanduser()]
    if files and files[0].suffix not in ENDINGS:
        raise UsageError(f"'{options.file}' must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}.")
    if options.moses is not None:
        files += [Path(f"{options.moses}.{number}").expanduser() for number in (1, 2)]
    for file in files:
        if file.exists() or file.is_symlink():
            raise UsageError(f"{file} is there already: delete it, or name another file.")
        if not file.absolute().parent.is_dir():
            raise UsageError(f"there is no folder {file.absolute().parent} to write '{file.name}' in.")
    return files


def _sides(options: BitextOptions) -> list[tuple[Sequence[str], Vectors]]:
    """The texts and vectors of A and B."""
    places = [Path(name).expanduser() for name in (options.first, options.second)]
    if all(place.is_file() for place in places):
        return _aligned(options, places) if options.xsim else _mined(options, places)
    try:
        return _of_collections(options)
    except (CollectionNotFound, UsageError) as error:
        for place, other in (places, places[::-1]):
            if place.is_file():
                raise UsageError(
                    f"{place} is a file, and {other} is none: name two files, or two collections."
                ) from error
        raise


def _of_collections(options: BitextOptions) -> list[tuple[Sequence[str], Vectors]]:
    """The texts and vectors of documents."""
    from semsearch.applications.document_vectors import document_vectors
    from semsearch.applications.pairs import check_comparable

    home = Home.of(options.home)
    with semsearch.open(options.first, home=home) as one, semsearch.open(options.second, home=home) as other:
        check_comparable(one.engine, other.engine)
        sides: list[tuple[Sequence[str], Vectors]] = []
        for collection in (one, other):
            with collection.engine.view() as view:
                ids, vectors = document_vectors(view)
                found = view.get(ids)
                sides.append(([found[identity].text for identity in ids], vectors))
        return sides


def _mined(options: BitextOptions, places: Sequence[Path]) -> list[tuple[Sequence[str], Vectors]]:
    """The sentences and vectors of files, of equal sentences one."""
    from semsearch.ingest.source import Source

    return _encoded(options, [[document.text for document in Source.of(str(place), "text").read()] for place in places])


def _aligned(options: BitextOptions, places: Sequence[Path]) -> list[tuple[Sequence[str], Vectors]]:
    """As they are, of files where line i translates line i, but what is empty on one side.

    Raises:
        UsageError: They have not as many lines, or no sentence.
    """
    one, other = (lines_of(place) for place in places)
    if len(one) != len(other):
        raise UsageError(f"line i must translate line i, and there are {len(one):,} and {len(other):,}.")
    kept = [row for row, pair in enumerate(zip(one, other, strict=True)) if all(text.strip() for text in pair)]
    if not kept:
        raise UsageError(
            f"no line of {places[0]} and {places[1]} has a sentence on both sides: there is nothing to compare."
        )
    if len(kept) < len(one):
        say(f"left out {len(one) - len(kept):,} lines, which are empty in a file")
    return _encoded(options, [[lines[row] for row in kept] for lines in (one, other)])


def _encoded(options: BitextOptions, sides: Sequence[Sequence[str]]) -> list[tuple[Sequence[str], Vectors]]:
    if options.encoder is None:
        raise UsageError("say with --encoder which multilingual model is to encode the sentences.")
    from semsearch import models
    from semsearch.encoder.remote import trust_named
    from semsearch.hardware import Compute

    trust_named(options.encoder)
    encoder = models.encoder(options.encoder, Compute(options.compute.device, options.compute.dtype))
    return [(some, encoder.encode_documents(some)) for some in sides]


def _write(files: Sequence[Path], rows: Sequence[tuple[float, str, str]], languages: Sequence[str]) -> None:
    from semsearch.applications.bitext import tmx

    if files[0].suffix in pairs.TABLE_ENDINGS:
        pairs.write_rows(files[0], BITEXT_COLUMNS, rows)
    elif files[0].suffix == ".tmx":
        _write_lines(files[0], tmx(((one, other) for _, one, other in rows), languages))
    if len(files) > 1:
        for column, file in enumerate(files[-2:], start=1):
            _write_lines(file, (one_line(row[column]) for row in rows))  # type: ignore[arg-type]


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with pairs.whole_file(path) as file:
        file.writelines(_ended(lines))


def _ended(lines: Iterable[str]) -> Iterator[str]:
    return (f"{line}\n" for line in lines)


COMMANDS = (bitext,)
