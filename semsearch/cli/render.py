"""What people and programs see: hits, documents and tables; in colour on a terminal, else one tab-separated line each.

Nothing else in the command line prints or asks. What is said, printed and drawn here is a stranger's text: characters
that could drive the terminal (`semsearch.controls`) are never passed on to one, and break no line meant for a program.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from semsearch import wire
from semsearch.cli import link, shown
from semsearch.cli.explain import highlight, sentence
from semsearch.controls import one_line, printable, printable_cells, printable_same_length
from semsearch.types import IMAGE_FORMAT, Document, Hit, Span

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from semsearch.places import Place
    from semsearch.search.matches import QueryWords

WIDTH = 100  # columns: wider lines are hard to read
WEAK = 0.99  # a percentile below which a hit is shown as a weak one
MARKED = "bold yellow"  # words of the query
PASSAGE_LINES = 3  # of a hit on a terminal; the whole is one `:open` or `semsearch get` away


@dataclass(frozen=True, slots=True)
class Answer:
    """A query, what was found for it, and where the time went (milliseconds by stage)."""

    query: str
    hits: Sequence[Hit]
    timings: Mapping[str, float]
    words: QueryWords | None = None  # which stand out in hits
    show: tuple[str, ...] = ()  # fields of metadata


def say(*messages: str) -> None:
    """Tell the person, on stderr, a line each. Nobody listening there any more is no reason to stop working."""
    with contextlib.suppress(OSError, ValueError):
        for message in messages:
            print(" ".join(printable(message).splitlines()), file=sys.stderr, flush=True)  # noqa: T201


def out(line: str, *, cells: bool = False) -> None:
    """One line of the result, on stdout; of `cells`, a program gets every end of a line that is in one."""
    print(printable_cells(line) if cells and not on_terminal() else printable(line))  # noqa: T201


def out_line(place: str, file: str, text: str, *, bold: bool, marks: Sequence[Span]) -> None:
    """A line of a file, behind its place, which is a link to the file on terminals that make some.

    Args:
        place: Its file and number, with the signs between.
        file: The whole path; empty where there is none.
        text: What stands there, in one line.
        bold: It stands out among others.
        marks: So do these stretches of it.
    """
    named, shown, end = printable(place), printable_same_length(text), 0
    parts = [link.linked(named, file) if file and link.links() else named, " "]
    for mark in marks:
        parts += [shown[end : mark.start], click.style(shown[slice(*mark)], fg="yellow", bold=True)]
        end = mark.end
    rest = shown[end:]
    parts.append(rest)
    print(click.style("".join(parts), bold=True) if bold and not marks else "".join(parts))  # noqa: T201


def confirmed(question: str) -> bool:
    """Ask the person, on stderr."""
    return click.confirm(one_line(question), err=True)


def on_terminal() -> bool:
    """Whether results are read by a person."""
    return sys.stdout.isatty()


def screen(*, stderr: bool = False, wide: bool = False) -> Console:
    """A terminal to draw on, not wider than reads well unless a table needs it."""
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not wide:
        console.width = min(console.width, WIDTH)
    return console


# ---------------------------------------------------------------------------------------------------------------- hits


def _shown(hit: Hit) -> str:
    """The passage, with its neighbours where they were asked for."""
    return hit.text if hit.context is None else hit.context.text


def show_answer(answer: Answer, *, number: int | None = None) -> None:
    """Print hits: drawn on a terminal, else `rank, score, id, title, passage, place` (and explanation) with tabs.

    `number` is the query's place among many; its line then begins with it, so that answers can be told apart.
    """
    for note in getattr(answer.hits, "notes", ()):
        say(one_line(note))
    if not answer.hits:
        say(f"no match for '{one_line(answer.query)}'")
        return
    if on_terminal():
        console = screen()
        if number is not None:
            console.print(f"\n{one_line(answer.query)}", style="bold yellow")
        draw_hits(console, answer)
        _draw_pictures(answer)
        return
    first = [] if number is None else [str(number)]
    for hit in answer.hits:
        whose = [] if hit.collection is None else [hit.collection]
        fields = [str(hit.rank), f"{hit.score:.6f}", *whose, hit.id, hit.title, _shown(hit), link.named(hit.place)]
        known = dict(shown.values(hit, answer.show))
        fields += [known.get(name, "") for name in answer.show]
        if hit.explanation is not None:
            fields.append(sentence(hit))
        out("\t".join([*first, *map(one_line, fields)]))


def _draw_pictures(answer: Answer) -> None:
    """The hits that are pictures, small, where the terminal can."""
    if not any(IMAGE_FORMAT in hit.metadata for hit in answer.hits):
        return
    from semsearch.cli import thumbnails

    how = thumbnails.protocol()
    for hit, drawing in thumbnails.drawn(list(answer.hits), how) if how is not None else ():
        sys.stdout.write(f"{hit.rank}  {one_line(hit.id)}\n{drawing}\n")


def draw_hits(console: Console, answer: Answer) -> None:
    """Each hit with its rank and score, title and id, and its passage below, cut to a few lines unless explained."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(justify="right", style="dim", no_wrap=True)
    grid.add_column(style="cyan", no_wrap=True)
    grid.add_column(overflow="fold")
    width = max(20, console.width - 12)
    for hit in answer.hits:
        title = Text(printable_same_length(hit.title), "bold")
        _mark(title, hit, answer.words, "title", 0)
        title = _one_line(title)
        whose = "" if hit.collection is None else f"{one_line(hit.collection)}  "
        head = Text.assemble((whose, "magenta"), title, ("  " if title else ""), (one_line(hit.id), "dim"))
        passage = hit.passage if hit.context is None else hit.context
        body = Text(printable_same_length(passage.text))
        _mark(body, hit, answer.words, "text", passage.start)
        before = "… " if passage.start else ""
        after = " …" if passage.end < passage.size else ""
        lines = list(Text.assemble(before, _one_line(body), after).wrap(console, width))
        heads = _with_place(head, hit.place, width)
        if told := shown.values(hit, answer.show):
            listed = ", ".join(f"{name}: {value}" for name, value in told)
            heads += Text(one_line(listed), "italic").wrap(console, width)
        if len(lines) > PASSAGE_LINES and hit.explanation is None and hit.context is None:
            lines = lines[:PASSAGE_LINES]
            _end_early(lines[-1], width)
        if hit.explanation is not None:
            lines.append(Text(one_line(sentence(hit)), "dim"))
        weak = hit.percentile is not None and hit.percentile < WEAK
        grid.add_row(
            f"{hit.rank:>3}", Text(f"{hit.score:.3f}", "dim" if weak else ""), Text("\n").join([*heads, *lines])
        )
    console.print(grid)
    if total := answer.timings.get("total"):
        console.print(f"     {total:,.0f} ms", style="dim")


def _mark(text: Text, hit: Hit, words: QueryWords | None, field: str, start: int) -> None:
    """Let words stand out: those that carried the hit, where that is known, else those that are the query's."""
    if hit.explanation is not None and hit.explanation.parts is not None:
        highlight(text, hit, field, start)
    elif words is not None:
        for span in words.within(text.plain):
            text.stylize(MARKED, *span)


def _with_place(head: Text, place: Place | None, width: int) -> list[Text]:
    """The line above a passage, and where the passage stands: there too, or below where that is too long."""
    from rich.style import Style
    from rich.text import Text

    if place is None:
        return [head]
    at = link.url(place.path) if link.links() else None
    named = Text(one_line(place.named(link.short(place.path))), Style(dim=True, link=at))
    return [Text.assemble(head, "  ", named)] if head.cell_len + named.cell_len + 2 <= width else [head, named]


def _one_line(text: Text) -> Text:
    """`text` with every run of white space made one blank, marks kept."""
    from rich.text import Text

    if not text.spans:
        return Text(one_line(text.plain), text.style)
    parts = [text[match.start() : match.end()] for match in re.finditer(r"\S+", text.plain)]
    return Text(" ").join(parts)


def _end_early(line: Text, width: int) -> None:
    """Put an ellipsis at the end, for which a word may have to go."""
    line.rstrip()
    if line.cell_len > width - 2:
        blank = line.plain.rfind(" ")
        if blank > 0:
            line.right_crop(len(line) - blank)
        line.truncate(width - 2)
    line.append(" …")


# ----------------------------------------------------------------------------------------------------------- documents


def draw_document(console: Console, document: Document, found: Span | None = None) -> None:
    """The whole document; the passage that was found stands out."""
    from rich.text import Text

    head = [Text(one_line(document.title), "bold")] if document.title else []
    head.append(Text(one_line(document.id), "dim"))
    head.extend(Text(f"{one_line(key)}: {one_line(_plain(value))}", "dim") for key, value in document.metadata.items())
    if found is None:
        body = Text(printable(document.text).lstrip("\n"))
    else:
        before, passage, after = document.text[: found.start], document.text[slice(*found)], document.text[found.end :]
        style = "bold" if before.strip() or after.strip() else ""
        body = Text.assemble(printable(before).lstrip("\n"), (printable(passage), style), printable(after))
    for part in (*head, Text(), body):
        console.print(part, soft_wrap=not console.is_terminal)  # a program gets the lines as they are


# -------------------------------------------------------------------------------------------------------------- tables


def show_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Rows under a heading on a terminal, else bare rows with tabs between. Numbers stand to the right."""
    rows = [list(row) for row in rows]
    if not on_terminal():
        for row in rows:
            out("\t".join(one_line(str(value)) for value in row))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim", show_header=any(columns))
    for position, column in enumerate(columns):
        known = [row[position] for row in rows if row[position] != ""]
        numbers = bool(known) and all(isinstance(value, int | float) for value in known)
        table.add_column(one_line(column), justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(f"{value:,}" if isinstance(value, int) else one_line(str(value))) for value in row))
    screen(wide=True).print(table)


def show_facts(facts: Mapping[str, Any]) -> None:
    """A nested mapping as `path.to.key` and value, a line each; empty values are left out on a terminal."""
    flat = list(_flatten(facts))
    if not on_terminal():
        for path, value in flat:
            out(f"{one_line('.'.join(path))}\t{one_line(_plain(value))}")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for path, value in flat:
        if value is not None and value != "" and value != [] and value != {}:
            table.add_row(Text(one_line(" ".join(path))), Text(one_line(_human(path[-1], value))))
    screen().print(table)


def _flatten(facts: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in facts.items():
        path = (*above, str(key))
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, path)
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            for number, item in enumerate(value, start=1):
                yield from _flatten(item, (*path, str(number)))
        else:
            yield path, value


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else wire.dumps(value)


def _human(key: str, value: Any) -> str:
    if key == "bytes" and isinstance(value, int):
        return size(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else _plain(value)


def size(count: int) -> str:
    """Bytes in the largest unit that keeps a digit before the point.

    >>> size(1_234_567)
    '1.2 MB'
    """
    amount = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
