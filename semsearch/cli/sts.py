"""`semsearch sts, similarity`: how alike pairs of texts are, and how well that agrees with people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from semsearch import wire
from semsearch.cli import pairs, parameters
from semsearch.cli.parameters import ComputeOptions
from semsearch.cli.render import out, say, show_table
from semsearch.controls import one_line
from semsearch.errors import UsageError
from semsearch.hardware import Compute

if TYPE_CHECKING:
    from semsearch.evaluation.correlation import Correlation
    from semsearch.evaluation.judged_pairs import PairFile
    from semsearch.types import Encoder

MEAN_TASK = "mean (Fisher z)"
QUOTES = ("yes", "no")
SIMILARITY_COLUMNS = ("score", "first", "second")


@dataclass(frozen=True, slots=True)
class StsOptions:
    """What `semsearch sts` takes."""

    files: tuple[Path, ...]
    encoder: str | None
    first: str | None
    second: str | None
    gold: str | None
    split: str | None
    quotes: str | None
    seed: int
    as_json: bool
    compute: ComputeOptions


@dataclass(frozen=True, slots=True)
class SimilarityOptions:
    """What `semsearch similarity` takes."""

    texts: tuple[str, ...]
    lines: tuple[Path, Path] | None
    pairs: Path | None
    encoder: str | None
    first: str | None
    second: str | None
    split: str | None
    quotes: str | None
    file: str | None
    as_json: bool
    compute: ComputeOptions


encoder_option = click.option(
    "-m", "--encoder", type=parameters.model, metavar="MODEL", help="The model that scores [default: all-MiniLM-L6-v2]."
)


def columns(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what tells how pairs stand in a file."""
    for option in (
        click.option(
            "--quotes", type=click.Choice(QUOTES), help="Whether quotation marks enclose cells [default: in CSV]."
        ),
        click.option("--split", metavar="NAME", help="Only the rows whose column 'split' says so: test."),
        click.option("--second", metavar="COLUMN", help="Of the other text [default: sentence2 and the like]."),
        click.option("--first", metavar="COLUMN", help="Of one text [default: sentence1 and the like]."),
    ):
        command = option(command)
    return command


@click.command(short_help="Measure how a model's scores of pairs agree with people's.")
@click.argument("files", nargs=-1, required=True, type=parameters.path, metavar="FILE...")
@encoder_option
@columns
@click.option("--score", "gold", metavar="COLUMN", help="Of people's score [default: score and the like].")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the intervals.")
@parameters.as_json
@parameters.compute
@parameters.typed(StsOptions)
def sts(options: StsOptions) -> int:
    r"""Measure how well a model's scores of pairs of texts agree with people's: Pearson's r and Spearman's rho.

    Each FILE is one task: CSV, TSV or JSON lines with two texts and a score, as the STS benchmark has them. Each
    figure comes with its 95 % interval (bootstrap over pairs), and several tasks with their mean by Fisher's z.

    \b
    semsearch sts stsbenchmark.tsv.gz --split test
    semsearch sts sts12.csv sts13.csv sts14.csv -m paraphrase-MiniLM-L3-v2 --json
    """
    from semsearch.evaluation.correlation import mean_correlation
    from semsearch.evaluation.judged_pairs import PairFile
    from semsearch.evaluation.sts import sts as measured

    names = _task_names(options.files)
    form = PairFile(options.first, options.second, options.gold, options.split, _quotes(options.quotes))
    tasks = [form.read(file) for file in options.files]
    encoder = _opened(options.encoder, options.compute)
    found = {
        name: measured(first, second, gold, encoder=encoder, seed=options.seed)
        for name, (first, second, gold) in zip(names, tasks, strict=True)
    }
    mean = mean_correlation(found) if len(found) > 1 else None
    if options.as_json:
        whole = {"tasks": {name: one.facts() for name, one in found.items()}}
        out(wire.dumps(wire.message(**whole, mean=None if mean is None else mean.facts())))
        return 0
    rows = [_row(name, one) for name, one in found.items()]
    show_table(
        ("task", "pairs", "Pearson", "95 % interval", "Spearman", "95 % interval"),
        rows if mean is None else [*rows, _row(MEAN_TASK, mean)],
    )
    return 0


def _row(name: str, found: Correlation) -> tuple[Any, ...]:
    each = ((found.pearson, found.pearson_interval), (found.spearman, found.spearman_interval))
    cells = [cell for value, (low, high) in each for cell in (f"{value:.4f}", f"{low:.4f} – {high:.4f}")]
    return (name, found.pairs, *cells)


def _task_names(files: Sequence[Path]) -> list[str]:
    """What each file is called: its name without what it ends in."""
    names = [file.name.removesuffix(".gz").rpartition(".")[0] or file.name for file in files]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two tasks are called '{name}': give one of the files another name.")
    return names


@click.command(short_help="Score how alike texts are.")
@click.argument("texts", nargs=-1, type=parameters.utf8, metavar="[TEXT]...")
@click.option("--lines", nargs=2, type=parameters.path, metavar="A B", help="Two files: line i of A with line i of B.")
@click.option("--pairs", type=parameters.path, metavar="FILE", help="A pair a row: CSV, TSV or JSON lines.")
@encoder_option
@columns
@click.option("--out", "file", type=parameters.file, metavar="FILE", help="Write them to FILE.jsonl, .tsv or .csv.")
@parameters.as_json
@parameters.compute
@parameters.typed(SimilarityOptions)
def similarity(options: SimilarityOptions) -> int:
    r"""Score how alike texts are: each TEXT with each, the lines of two files, or the pairs of a table.

    The score is the model's own: the cosine for most. The order of lines and rows is kept.

    \b
    semsearch similarity "water boils" "the kettle is hot" "a red bicycle"
    semsearch similarity --lines test.de test.en -m intfloat/multilingual-e5-small
    semsearch similarity --pairs stsbenchmark.tsv.gz --split test --out scored.tsv
    """
    from semsearch.applications import similarity as application
    from semsearch.evaluation.judged_pairs import PairFile

    if (len(options.texts) > 0) + (options.lines is not None) + (options.pairs is not None) != 1:
        raise UsageError("say what is to be compared: two texts or more, --lines A B, or --pairs FILE.")
    file = None if options.file is None else pairs.checked_file(options.file)
    if options.texts:
        if len(options.texts) < 2:
            raise UsageError("one text is compared with nothing: give another one.")
        both = list(combinations(options.texts, 2))
        first, second = [one for one, _ in both], [other for _, other in both]
    elif options.lines is not None:
        first, second = (lines_of(place) for place in options.lines)
        if len(first) != len(second):
            raise UsageError(f"line i is compared with line i, and there are {len(first):,} and {len(second):,}.")
    else:
        assert options.pairs is not None
        form: PairFile = PairFile(options.first, options.second, None, options.split, _quotes(options.quotes))
        first, second, _ = form.read(options.pairs, judged=False)
    scores = application.similarity(first, second, encoder=_opened(options.encoder, options.compute))
    rows = [(round(score, 6), one, other) for score, one, other in zip(scores.tolist(), first, second, strict=True)]
    if file is not None:
        pairs.write_rows(file, SIMILARITY_COLUMNS, rows)
        say(f"wrote {len(rows):,} pairs to {file}")
        return 0
    for score, one, other in rows:
        if options.as_json:
            out(wire.dumps(dict(zip(SIMILARITY_COLUMNS, (score, one, other), strict=True))))
        else:
            out(f"{score:.4f}\t{one_line(one)}\t{one_line(other)}")
    return 0


def _quotes(said: str | None) -> bool | None:
    return None if said is None else said == "yes"


def _opened(encoder: str | None, compute: ComputeOptions) -> Encoder:
    from semsearch.applications.similarity import opened_encoder

    return opened_encoder(encoder, Compute(compute.device, compute.dtype))


def lines_of(place: Path) -> list[str]:
    """The lines of a file, empty ones too, since they are counted.

    Raises:
        DataError: One is no text.
    """
    from semsearch.reading.files import CorpusFile, StrictReport, open_input, read_lines
    from semsearch.validation import check_text

    with open_input(CorpusFile(place, "")) as data:
        lines = list(read_lines(data, StrictReport()))
        for number, text in lines:
            check_text(text, f"{data.name}, line {number:,}: the text")
    return [line.text.rstrip("\r\n") for line in lines]


COMMANDS = (sts, similarity)
