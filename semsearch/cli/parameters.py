"""Options that several commands share, and the types of their values."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import click

from semsearch import plugins
from semsearch.errors import DataError, FilterError
from semsearch.hardware import MOST_THREADS, set_threads
from semsearch.home import Home
from semsearch.names import normal
from semsearch.search.request import MODES

if TYPE_CHECKING:
    from semsearch.search.request import Options

Command = TypeVar("Command", bound=Callable[..., Any])
Told: TypeAlias = Callable[[DataError], None] | None  # whom to tell of bad data; nobody: it is raised


def pair(text: str) -> tuple[str, str]:
    """`KEY=VALUE`, as a type of an option."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise click.BadParameter(f"'{text}' is not of the form KEY=VALUE.")
    return key.strip(), value


def typed_pair(text: str) -> tuple[str, Any]:
    """As `pair`, the value read as JSON where it is JSON: `ef=200` gives a number, `quotes=false` a truth value."""
    key, value = pair(text)
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def model(name: str) -> str:
    """A model's name; one in a folder or file is known by its whole path, from wherever it is asked for later."""
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


file = click.Path(readable=False)  # completed by the shell; whether it is there and can be read is told by who reads


def collections(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """The names of collections that begin so, for the shell's completion; of several words only the first is one."""
    if isinstance(parameter, click.Argument) and context.params.get(str(parameter.name)):
        return []
    return [name for name in Home.of(context.params.get("home")).names() if name.startswith(normal(begun))]


def utf8(text: str) -> str:
    """Words for the encoder: the shell may hand over bytes that are not UTF-8, the tokenizer must not see them."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise click.BadParameter(f"{text!a} is not UTF-8 text.") from error
    return text


def home(command: Command) -> Command:
    """Add `--home`."""
    return click.option(
        "--home",
        metavar="FOLDER",
        help="Where the collections are [default: SEMSEARCH_HOME, else the nearest .semsearch here or above, else "
        "your data folder].",
    )(command)


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


def how(command: Command) -> Command:
    """Add the options of a search; `taken` collects what they say."""
    for option in reversed(_HOW):
        command = option(command)
    return command


def taken(given: dict[str, Any], words: tuple[str, ...] = ()) -> tuple[Options, tuple[str, ...]]:
    """Take the options of `how` out of `given`, as arguments of a search; and the words, now complete.

    `--rerank` may stand without its model before the text of the query, which is then taken for the model at first.
    """
    rerank = given.pop("rerank")
    if rerank is not None and any(map(str.isspace, rerank)) and not Path(rerank).exists():
        rerank, words = "", (*words, rerank)
    diverse = given.pop("diverse")
    found: Options = {
        "mode": given.pop("mode"),
        "where": given.pop("where"),
        "exact": given.pop("exact"),
        "candidates": given.pop("candidates"),
        "context": given.pop("context"),
        "explain": given.pop("explain"),
        "group_by": None if given.pop("by_passage") else "document",
        "rerank": None if rerank is None else (rerank or True),
        "diverse": DIVERSE if diverse else None,
    }
    if (least := given.pop("min_score")) is not None:
        found.update(least)
    return found, words


def minimum(text: str) -> Options:
    """`0.4` for a score, `99.9%` for a standing, `p0.5` for a probability."""
    number = text.strip().removeprefix("p").removesuffix("%")
    try:
        value = float(number)
    except ValueError:
        raise click.BadParameter(
            f"'{text}' is neither a score (0.4), nor a standing among random pairs (99.9%), nor a probability (p0.5)."
        ) from None
    if text.strip().endswith("%"):
        return {"min_standing": value / 100}
    return {"min_probability": value} if text.strip().startswith("p") else {"min_score": value}


DIVERSE = 0.5  # relevance and variety alike

_HOW = [
    click.option(
        "--mode",
        type=click.Choice(MODES),
        default="dense",
        show_default=True,
        help='By meaning, by words ("a phrase", -without), or both.',
    ),
    click.option("--where", type=where, metavar="FILTER", help="""As in 'year >= 1990 and genres contains "Drama"'."""),
    click.option(
        "--rerank",
        is_flag=False,
        flag_value="",
        default=None,
        metavar="[MODEL]",
        help="Let a cross-encoder order the best candidates.",
    ),
    click.option(
        "--candidates",
        type=click.IntRange(min=1),
        default=100,
        show_default=True,
        help="How many are reranked, or thinned by --diverse.",
    ),
    click.option("--diverse", is_flag=True, help="Let near-duplicates make room for others."),
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
