"""Parameters that several commands share: their types, and the frozen dataclasses that commands take them as.

A command with many options takes them as one object of a dataclass, made by `typed`, so that mypy sees each. A field
that is such a dataclass itself holds a group of options that several commands have.
"""

from __future__ import annotations

import functools
import json
import math
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, get_type_hints

import click
from click.core import ParameterSource

from semsearch import plugins
from semsearch.cli import formats
from semsearch.errors import FilterError
from semsearch.hardware import MOST_THREADS, set_threads
from semsearch.home import Home
from semsearch.names import is_name, normal
from semsearch.resident import route
from semsearch.search.languages import STEMMED
from semsearch.search.request import MODES
from semsearch.search.where_mapping import Where

if TYPE_CHECKING:
    from semsearch.federation import Searchable
    from semsearch.search.request import SearchKeywords

Command = TypeVar("Command", bound=Callable[..., Any])
Typed = TypeVar("Typed")


def typed(kind: type[Typed]) -> Callable[[Callable[[Typed], int]], Callable[..., int]]:
    """Hand a command all that click has read as one object of the frozen dataclass `kind`."""

    def decorate(command: Callable[[Typed], int]) -> Callable[..., int]:
        @functools.wraps(command)
        def run(**read: object) -> int:
            options = _taken(kind, read)
            if read:
                raise TypeError(f"{kind.__name__} has no field for {', '.join(read)}")
            return command(options)

        return run

    return decorate


def _taken(kind: type[Typed], read: dict[str, object]) -> Typed:
    """An object of `kind`, its values taken out of `read`."""
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: _taken(hints[name], read) if is_dataclass(hints[name]) else read.pop(name) for name in names})


# --------------------------------------------------------------------------------------------------------------- types


def pair(text: str) -> tuple[str, str]:
    """`KEY=VALUE`, as a type of an option."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise click.BadParameter(f"'{text}' is not of the form KEY=VALUE.")
    return key.strip(), value


def given() -> list[str]:
    """The parameters of the command that runs which somebody typed, whatever their values."""
    context = click.get_current_context()
    return [name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]


def typed_pair(text: str) -> tuple[str, Any]:
    """As `pair`, the value read as JSON where it is JSON: `ef=200` gives a number, `quotes=false` a truth value."""
    key, value = pair(text)
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def model(name: str) -> str:
    """A model's name; one in a folder or file is known by its whole path, from wherever it is asked for later."""
    if not name.strip():  # which as a path is the folder one is in
        raise click.BadParameter("it is empty; give a folder or a name like 'all-MiniLM-L6-v2'.")
    path = Path(name).expanduser()
    return str(path.absolute()) if path.exists() else name


def where(given: str | Mapping[str, Any]) -> Mapping[str, Any]:
    """A filter as it is typed, or as JSON, or a table of `semsearch.toml`."""
    from semsearch.search.where_text import parse_where

    if not isinstance(given, str):
        return given  # checked when it is asked for
    try:
        return parse_where(given)
    except FilterError as error:
        raise click.BadParameter(str(error)) from error


class NamedPath(click.Path):
    """The path of a file or folder; an empty one would be the folder one is in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path."""
        if not os.fspath(value):
            self.fail("it is empty; give the path of a file or folder.", param, ctx)
        return super().convert(value, param, ctx)


file = NamedPath(readable=False)  # completed by the shell; whether it is there and can be read is told by who reads
path = NamedPath(path_type=Path)  # the same as a `Path`


def collections(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """The names of collections that begin so, for the shell's completion; of several words only the first is one."""
    if isinstance(parameter, click.Argument) and context.params.get(str(parameter.name)):
        return []
    names = Home.of(context.params.get("home")).names()
    before, comma, last = begun.rpartition(",")  # several may be asked together
    if comma and context.command.name not in ("query", "search"):
        return []
    return [f"{before}{comma}{name}" for name in names if is_name(name) and name.startswith(normal(last))]


def utf8(text: str) -> str:
    """Words for the encoder: the shell may hand over bytes that are not UTF-8, the tokenizer must not see them."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise click.BadParameter(f"{text!a} is not UTF-8 text.") from error
    return text


class Minimum(NamedTuple):
    """What a hit must reach."""

    measure: str  # "score", "percentile" or "probability"
    least: float


class NumberIn(click.FloatRange):
    """A number in a range; NaN, which click finds in every one, is in none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"'{value}' is no number.", param, ctx)
        return number


def score(text: str) -> float:
    """The least score that serves, wherever scores lie."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise click.BadParameter(f"'{text}' is no number.")
    return value


def minimum(text: str) -> Minimum:
    """`0.4` for a score, `99.9%` for a percentile, `p0.5` for a probability."""
    number = text.strip().removeprefix("p").removesuffix("%")
    if text.strip().startswith("p") and text.strip().endswith("%"):
        number = ""  # which of the two?
    try:
        value = float(number)
        if math.isnan(value):
            raise ValueError
    except ValueError:
        raise click.BadParameter(
            f"'{text}' is neither a score (0.4), nor a percentile among random pairs (99.9%), nor a probability (p0.5)."
        ) from None
    if text.strip().endswith("%"):
        if not 0 <= value <= 100:
            raise click.BadParameter(f"'{text}' is no percentile: one lies between 0% and 100%.")
        return Minimum("percentile", value / 100)
    if text.strip().startswith("p"):
        if not 0 <= value <= 1:
            raise click.BadParameter(f"'{text}' is no probability: one lies between p0 and p1.")
        return Minimum("probability", value)
    return Minimum("score", value)


# ------------------------------------------------------------------------------------------------------ shared options


class _BackendOption(click.Option):
    """Names the backends that are installed, third parties' too, when somebody reads the help."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        told = super().get_help_record(ctx)
        listed = ", ".join(["auto", *plugins.names("semsearch.indexes")])
        return None if told is None else (told[0], f"{listed} {told[1]}")


def index_backend(default: str) -> Callable[[Command], Command]:
    """`--index`."""
    return click.option(
        "--index",
        "backend",
        cls=_BackendOption,
        metavar="INDEX",
        help=f"[default: {default}]",
        shell_complete=lambda context, parameter, begun: [
            name for name in ("auto", *plugins.names("semsearch.indexes")) if name.startswith(begun)
        ],
    )


def complete_language(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """The languages whose code begins like this."""
    return [code for code in STEMMED if code.startswith(begun)]


def home(command: Command) -> Command:
    """Add `--home`."""
    return click.option(
        "--home",
        metavar="FOLDER",
        help="Where the collections are [default: SEMSEARCH_HOME, else the nearest .semsearch here or above, else "
        "your data folder].",
    )(command)


def threads(command: Command) -> Command:
    """Add `--threads`, which goes for the whole process."""
    return click.option(
        "--threads",
        type=click.IntRange(1, MOST_THREADS),
        metavar="N",
        expose_value=False,
        callback=lambda context, parameter, count: None if count is None else set_threads(count),
        help="To compute on [default: SEMSEARCH_THREADS, else as many as there are processors for it].",
    )(command)


@dataclass(frozen=True, slots=True)
class ComputeOptions:
    """Where a model computes, and in which numbers; None chooses."""

    device: str | None = None
    dtype: str | None = None


def compute(command: Command) -> Command:
    """Add `--device`, `--dtype` and `--threads`."""
    command = threads(command)
    command = click.option("--dtype", metavar="TYPE", help="Numbers the model computes with: auto, float32, bfloat16…")(
        command
    )
    return click.option(
        "--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps; several by commas [default: auto]."
    )(command)


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
open_it = click.option(
    "--open", "open_it", is_flag=True, help="Open the best: in EDITOR or PAGER at its line, in PDFVIEWER at its page."
)
show = click.option(
    "--show",
    metavar="FIELDS",
    help="Fields of metadata to show with each hit, as in 'year,genres'; remembered on terminals, until 'none'.",
)


def resident(command: Command) -> Command:
    """Add `--resident` and `--verbose`, which go for the whole process."""

    def leave(context: click.Context, parameter: click.Parameter, said: bool) -> None:
        route.wanted = said

    def tell(context: click.Context, parameter: click.Parameter, said: bool) -> None:
        route.verbose = said

    command = click.option(
        "-v",
        "--verbose",
        is_flag=True,
        expose_value=False,
        callback=tell,
        help="Say whether a resident process answered.",
    )(command)
    return click.option(
        "--resident/--no-resident",
        expose_value=False,
        callback=leave,
        help="Leave a process behind that answers at once, until it is idle for ten minutes; or ask none.",
    )(command)


def fields_to_show(asked: str | None, collection: Searchable) -> tuple[str, ...]:
    """The fields that `--show` names; without it those of the last time, for a person."""
    from semsearch.cli import shown

    if asked is not None:
        return shown.chosen(asked, collection)
    return shown.remembered(collection) if sys.stdout.isatty() else ()


output = click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(list(formats.FORMATS)),
    help="Print results as other programs read them.",
)
where_option = click.option(
    "--where", type=where, metavar="FILTER", help="""As in 'year >= 1990 and genres contains "Drama"'."""
)
mmr_lambda = click.option(
    "--mmr-lambda",
    type=NumberIn(0, 1),
    metavar="L",
    help="Let near-duplicates make room (maximal marginal relevance): with 1 none, with 0 all of them.",
)
rerank_weight = click.option(
    "--rerank-weight",
    type=NumberIn(0, 1),
    metavar="W",
    help="The share of the reranker, the rest being the first stage's [default: what it was trained to count, else 1].",
)


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How to search."""

    mode: str = "dense"
    dense_weight: float | None = None
    where: Where | None = None
    rerank: str | None = None  # the model; empty for the default one
    rerank_weight: float | None = None
    candidates: int = 100
    mmr_lambda: float | None = None
    by_passage: bool = False
    context: int = 0
    explain: bool = False
    min_score: Minimum | None = None
    exact: bool = False

    def arguments(self) -> SearchKeywords:
        """The keyword arguments of `Collection.search`."""
        least = {} if self.min_score is None else {self.min_score.measure: self.min_score.least}
        return {
            "mode": self.mode,
            "dense_weight": self.dense_weight,
            "where": self.where,
            "exact": self.exact,
            "candidates": self.candidates,
            "context": self.context,
            "explain": self.explain,
            "group_by": None if self.by_passage else "document",
            "rerank": None if self.rerank is None else (self.rerank or True),
            "rerank_weight": self.rerank_weight,
            "mmr_lambda": self.mmr_lambda,
            "min_score": least.get("score"),
            "min_percentile": least.get("percentile"),
            "min_probability": least.get("probability"),
        }


def search(command: Command) -> Command:
    """Add the options of a search, `SearchOptions`."""
    for option in reversed(_SEARCH):
        command = option(command)
    return command


_SEARCH = [
    click.option(
        "--mode",
        type=click.Choice(MODES),
        default="dense",
        show_default=True,
        help='By meaning, by words ("a phrase", -without), by a sparse model, or by all that there are.',
    ),
    click.option(
        "--dense-weight",
        type=NumberIn(0, 1),
        metavar="W",
        help="The share of meaning in --mode hybrid [default: as far as the best by meaning and by words stand out].",
    ),
    where_option,
    click.option(
        "--rerank",
        is_flag=False,
        flag_value="",
        default=None,
        metavar="[MODEL]",
        help="Let a cross-encoder order the best candidates.",
    ),
    rerank_weight,
    click.option(
        "--candidates",
        type=click.IntRange(min=1),
        default=100,
        show_default=True,
        help="How many are reranked, or thinned by --mmr-lambda.",
    ),
    mmr_lambda,
    click.option("--by-passage", is_flag=True, help="Find passages, several of a document perhaps."),
    click.option(
        "--context", type=click.IntRange(min=0), default=0, metavar="N", help="Show N passages before and after."
    ),
    click.option("--explain", is_flag=True, help="Say how each was found, and which words carried it."),
    click.option(
        "--min-score",
        type=minimum,
        metavar="S",
        help="Leave out what scores less: 0.4, or 99.9% (of random pairs), or p0.5 (probability).",
    ),
    click.option("--exact", is_flag=True, help="Do without the index."),
]


def recall(command: Command) -> Command:
    """Add `--queries` and `--at`."""
    command = click.option(
        "--at", "k", type=click.IntRange(min=1), default=10, show_default=True, help="Neighbours it is counted in."
    )(command)
    return click.option(
        "--queries", type=file, metavar="FILE", help="Real questions to measure on, one a line or BEIR's queries.jsonl."
    )(command)


def questions_of(file: str | None) -> list[str] | None:
    """The queries in a file: one a line, or BEIR's queries.jsonl."""
    if file is None:
        return None
    from semsearch.ingest.source import Source

    objects = file.endswith((".jsonl", ".jsonl.gz"))
    source = Source.of(file, *((None, {"text": ["text"]}) if objects else ("text", None)))
    return [document.text for document in source.read()]
