"""`semsearch query`: one question, many from standard input, or a conversation."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

import click

import semsearch
from semsearch.cli import formats, parameters
from semsearch.cli.compare import compare, show_comparison
from semsearch.cli.parameters import ComputeOptions, SearchOptions
from semsearch.cli.render import Answer, on_terminal, out, say, show_answer
from semsearch.errors import CollectionNotFound, DataError, UsageError
from semsearch.home import Home
from semsearch.names import is_name, normal
from semsearch.resident import route
from semsearch.search.request import MAX_QUERY
from semsearch.validation import is_empty

if TYPE_CHECKING:
    from semsearch.federation import Searchable
    from semsearch.search.languages import Languages
    from semsearch.types import Hit

QUERY_BATCH = 256  # queries encoded and searched together


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """What `semsearch query` takes."""

    words: tuple[str, ...]
    everything: bool
    k: int
    search: SearchOptions
    image: str | None
    compare_exact: bool
    as_json: bool
    form: str | None
    open_it: bool
    show: str | None
    spreadsheet_safe: bool
    compute: ComputeOptions
    home: str | None

    def with_words_complete(self) -> Self:
        """`--rerank` may stand without its model before the text of the query, which click takes for the model."""
        rerank = self.search.rerank
        if rerank is None or not any(map(str.isspace, rerank)) or Path(rerank).exists():
            return self
        return replace(self, words=(*self.words, rerank), search=replace(self.search, rerank=""))


def _only_collection(home: Home) -> str:
    """The one collection there is; none or several are an error that says what there is."""
    known = home.names()
    if not known:
        raise CollectionNotFound(
            f"there is no collection in {home.location} yet. Make one with 'semsearch index PATH', or look elsewhere "
            "with --home."
        )
    if len(known) > 1:
        raise UsageError(
            f"there are {len(known)} collections in {home.location}: {', '.join(known)}. "
            "Say which one to ask: semsearch query NAME 'TEXT'."
        )
    return known[0]


def resolve(words: Sequence[str], home: Home) -> tuple[str, str | None]:
    """The collection and the text (None: ask interactively) that `semsearch query WORDS` means."""
    if len(words) > 2:
        raise UsageError(
            f'put the query in quotes, {len(words)} words were given: semsearch query NAME "{" ".join(words[1:])}".'
        )
    if len(words) == 2:
        home.require(words[0])
        return words[0], words[1]
    if not words:
        return _only_collection(home), None
    word = words[0]
    known = home.names()
    if normal(word) in known:
        return normal(word), None
    if len(known) != 1 and word != "-" and not any(map(str.isspace, word)):
        home.require(word)  # one word may be a misspelt name: the error says so and lists the collections
    return _only_collection(home), word


def asked(words: Sequence[str], home: Home, everything: bool) -> tuple[list[str] | None, str | None]:
    """The collections (None: all of them) and the text (None: ask interactively) that `semsearch query` is to ask."""
    if everything:
        if len(words) > 1:
            raise UsageError(
                f"--all asks all collections, so that the query stands alone: semsearch query --all {words[-1]!r}."
            )
        return None, words[0] if words else None
    if words and "," in words[0]:
        parts = [part.strip() for part in words[0].split(",")]
        if len(words) == 2 or (len(words) == 1 and all(is_name(part) and part in home for part in parts)):
            if "" in parts:
                raise UsageError(f"a name is missing beside a comma: {words[0]!r}.")
            for part in parts:
                home.require(part)
            return [normal(part) for part in parts], words[1] if len(words) == 2 else None
    name, text = resolve(words, home)
    return [name], text


def _check_one(names: Sequence[str] | None, compare_exact: bool, form: str | None) -> None:
    if names is not None and len(names) == 1:
        return
    if compare_exact:
        raise UsageError("--compare-exact looks at the index of one collection: name just that.")
    if form == "ids":
        raise UsageError("ids alone don't tell which of several collections they are of: take --json, or name one.")


def open_asked(names: Sequence[str] | None, home: Home, compute: ComputeOptions) -> Searchable:
    """The collection of these names, or several of them together; None stands for all."""
    if names is not None and len(names) == 1:
        return semsearch.open(names[0], home=home, device=compute.device, dtype=compute.dtype)
    return semsearch.Federation.open(names, home=home, device=compute.device, dtype=compute.dtype)


def open_found(found: Searchable, hit: Hit) -> None:
    """Open the file that a hit of `found` stands in."""
    from semsearch.cli.viewer import open_hit

    open_hit(found.collection_of(hit) if isinstance(found, semsearch.Federation) else found, hit)


def ask(
    collection: Searchable, texts: Sequence[str], k: int, search: SearchOptions, show: Sequence[str] = ()
) -> list[Answer]:
    """The answers to `texts`, searched together; timings are a query's share of the time."""
    from semsearch.search.matches import QueryWords  # which takes a while to import

    if search.mode not in ("lexical", "sparse"):  # opened at first use, which is no part of a query's time
        open_models(collection)
    measured: dict[str, float] = {}
    started = time.perf_counter()
    found = collection.search_many(texts, k, timings=measured, **search.arguments())
    measured["total"] = 1000 * (time.perf_counter() - started)
    timings = {stage: spent / len(texts) for stage, spent in measured.items()}
    languages = _languages(collection)
    return [
        Answer(text, hits, timings, QueryWords(text, *languages), tuple(show))
        for text, hits in zip(texts, found, strict=True)
    ]


def _languages(collection: Searchable) -> set[Languages]:
    """Those that the words of questions are read in."""
    several = collection.collections if isinstance(collection, semsearch.Federation) else [collection]
    return {one.languages or () for one in several}


def open_models(collection: Searchable) -> None:
    """Open what encodes questions."""
    if isinstance(collection, semsearch.Federation):
        collection.open_models()
    else:
        _ = collection.encoder


def lines_of_stdin() -> Iterator[list[tuple[int, str]]]:
    """Lines of standard input that hold anything, with their numbers, in batches.

    A batch is what has arrived, so that a program can ask and wait for the answer, and a file is still answered many
    lines at a time.
    """
    stream = cast(BufferedReader, sys.stdin.buffer)
    rest, number = b"", 0
    while True:
        chunk = stream.read1(1 << 16)
        *lines, rest = (rest + chunk).split(b"\n")
        if not chunk and rest:
            lines, rest = [rest], b""
        batch: list[tuple[int, str]] = []
        if len(rest) > 4 * MAX_QUERY:
            lines.append(rest)  # which is said to be too long below, and not gathered without end
        for line in lines:
            number += 1
            if len(line) > 4 * MAX_QUERY:  # bytes
                yield batch
                raise DataError(f"standard input, line {number}: longer than {MAX_QUERY:,} characters, as no query is.")
            try:
                text = line.decode().strip()
            except UnicodeDecodeError as error:
                yield batch
                raise DataError(
                    f"standard input, line {number}: byte {error.object[error.start]:#04x} at {error.start} is not "
                    "UTF-8. Convert the input to UTF-8."
                ) from error
            if text:
                batch.append((number, text))
        for start in range(0, len(batch), QUERY_BATCH):
            yield batch[start : start + QUERY_BATCH]
        if not chunk:
            return


def print_answer(answer: Answer, number: int | None, form: str, safe: bool = False) -> None:
    """An answer for programs."""
    for line in formats.lines(answer, number, form, spreadsheet_safe=safe):
        out(line, cells=form == "csv")
    if form == "vimgrep":
        say(*formats.left_out_of_vimgrep(answer))


def _show(answers: Sequence[Answer], numbers: Sequence[int | None], form: str | None, safe: bool) -> None:
    for answer, number in zip(answers, numbers, strict=True):
        if form is not None:
            print_answer(answer, number, form, safe)
        else:
            show_answer(answer, number=number)
    sys.stdout.flush()


def form_of(as_json: bool, form: str | None, open_it: bool) -> str | None:
    """The format that results are asked for in; None for that of people."""
    if as_json and form not in (None, "json"):
        raise UsageError(f"--json and -o {form} can't both be: leave one out.")
    if open_it and (as_json or form is not None):
        raise UsageError("--open is for people, --json and -o are for programs: leave one out.")
    return "json" if as_json else form


def _ask_by_image(collection: Searchable, options: QueryOptions, text: str | None, show: Sequence[str]) -> Answer:
    """The answer to a picture, and a text where there is one."""
    from semsearch.search.matches import QueryWords

    if text == "-" or options.compare_exact:
        raise UsageError("--image goes with one TEXT or none, and not with --compare-exact.")
    measured: dict[str, float] = {}
    started = time.perf_counter()
    hits = collection.search(text, options.k, image=options.image, timings=measured, **options.search.arguments())
    measured["total"] = 1000 * (time.perf_counter() - started)
    words = QueryWords(text or "", *_languages(collection))
    return Answer(text or str(options.image), hits, measured, words, tuple(show))


def _answer_lines(collection: Searchable, options: QueryOptions, form: str | None, show: Sequence[str]) -> int:
    """Answer the lines of standard input as they come; the exit code."""
    k, search = options.k, options.search
    found = False
    for batch in lines_of_stdin():
        if batch:
            answers = ask(collection, [line for _, line in batch], k, search, show)
            _show(answers, [number for number, _ in batch], form, options.spreadsheet_safe)
            if options.compare_exact:
                for answer in answers:
                    show_comparison(compare(collection, answer, k, search.where), form == "json")
            found = found or any(answer.hits for answer in answers)
    return 0 if found else 1


def _told_by_image(
    collection: Searchable, options: QueryOptions, text: str | None, form: str | None, show: Sequence[str]
) -> int:
    """Show what is like a picture; the exit code."""
    found = _ask_by_image(collection, options, text, show)
    _tell_header(form)
    _show([found], [None], form, options.spreadsheet_safe)
    if options.open_it and found.hits:
        open_found(collection, found.hits[0])
    return 0 if found.hits else 1


def _tell_header(form: str | None) -> None:
    if form is not None and (line := formats.header(form)) is not None:
        out(line)


def _check_terminal(text: str | None, open_it: bool) -> None:
    """What a person does at the terminal is for the process that was started there."""
    if text is None or open_it:
        route.needs_terminal("--open" if open_it else "an interactive query")


def _form(options: QueryOptions, text: str | None) -> str | None:
    as_json, form = options.as_json, options.form
    if options.open_it and (text is None or text == "-"):
        raise UsageError("--open needs a query: give its text. In the interactive query, ':open 1' does it.")
    found = form_of(as_json, form, options.open_it)
    if text is None and (as_json or form is not None):
        said = "--json" if as_json else f"-o {form}"
        raise UsageError(f"{said} needs a query. Give its text, or '-' to read queries from standard input.")
    return found


@click.command(short_help="Ask a collection; without TEXT, interactively.")
@click.argument("words", nargs=-1, type=parameters.utf8, metavar="[NAME] [TEXT]", shell_complete=parameters.collections)
@click.option("--all", "everything", is_flag=True, help="Ask all collections.")
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="How many documents to find.")
@parameters.search
@click.option(
    "--image",
    type=parameters.file,
    metavar="FILE",
    help="Find what is like this picture, and like TEXT where it is given.",
)
@click.option("--compare-exact", is_flag=True, help="Ask the index and exactly, and say what the index missed.")
@parameters.as_json
@parameters.output
@parameters.open_it
@parameters.show
@click.option(
    "--spreadsheet-safe/--no-spreadsheet-safe",
    default=lambda: on_terminal(),
    help="Of csv and tsv: a ' before texts that a spreadsheet takes for formulas [default: on a terminal].",
)
@parameters.compute
@parameters.home
@parameters.resident
@parameters.typed(QueryOptions)
def query(options: QueryOptions) -> int:
    r"""Find the documents of collection NAME that are nearest in meaning to TEXT.

    With one collection NAME may be left out. Without TEXT the query is interactive (:help there lists its commands);
    the TEXT '-' reads queries from standard input, one a line, and every line of the answer begins with the number
    of the query's line. Several collections (NAME,NAME) are asked together.

    \b
    semsearch query corpus "how do vaccines work" -k 5
    semsearch query corpus "error E1102" --mode hybrid --explain
    semsearch query corpus "how do vaccines work" --rerank --min-score 99.9%
    semsearch query films,papers "a journey into space"
    semsearch query corpus - --json < questions.txt
    semsearch query photos --image dog.jpg "on the beach"
    semsearch query films "a heist goes wrong" --where 'year >= 1990 and genres contains "Drama"'
    semsearch query
    """
    options = options.with_words_complete()
    k, search = options.k, options.search
    place = Home.of(options.home)
    names, text = asked(options.words, place, options.everything)
    _check_terminal(text or options.image, options.open_it)
    if text is not None and is_empty(text):
        raise UsageError("the query is empty. Write what to look for, or leave it out to ask interactively.")
    form = _form(options, text or options.image)
    _check_one(names, options.compare_exact, form)
    compute = options.compute
    with open_asked(names, place, compute) as collection:
        show = parameters.fields_to_show(options.show, collection)
        if options.image is not None:
            return _told_by_image(collection, options, text, form, show)
        if text is None:
            from semsearch.cli.repl import Session

            opener = functools.partial(open_asked, home=place, compute=compute)
            Session(collection, k, search, place.folder, show=show, home=place, opener=opener).run()
            return 0
        if options.compare_exact:
            collection.load_index()
        _tell_header(form)
        if text != "-":
            answers = ask(collection, [text], k, search, show)
            _show(answers, [None], form, options.spreadsheet_safe)
            if options.compare_exact:
                show_comparison(compare(collection, answers[0], k, search.where), form == "json")
            if options.open_it and answers[0].hits:
                open_found(collection, answers[0].hits[0])
            return 0 if answers[0].hits else 1
        return _answer_lines(collection, options, form, show)


search = click.Command(
    "search",
    params=query.params,
    callback=query.callback,
    help=query.help,
    short_help="The same as query.",
)
