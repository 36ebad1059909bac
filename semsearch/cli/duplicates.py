"""`semsearch duplicates`: documents that say what another one says."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

import semsearch
from semsearch import wire
from semsearch.cli import pairs, parameters
from semsearch.cli.render import confirmed, out, say, show_table
from semsearch.controls import one_line
from semsearch.errors import UsageError
from semsearch.home import Home
from semsearch.ingest import MAX_VANISHED

if TYPE_CHECKING:
    from semsearch.applications.duplicates import Duplicates
    from semsearch.collection import Collection

DUPLICATE_COLUMNS = ("id", "of", "reason", "score")
BORDERLINE_COLUMNS = ("score", "one", "other", "one_text", "other_text")
QUOTED_CHARACTERS = 70  # of a text


@dataclass(frozen=True, slots=True)
class DuplicatesOptions:
    """What `semsearch duplicates` takes."""

    name: str
    against: str | None
    min_score: float
    meaning: bool
    wording: bool
    keep: str
    borderline: int
    device: str
    file: str | None
    remove: bool
    yes: bool
    as_json: bool
    home: str | None


@click.command(short_help="Find documents that say what another one says.")
@click.argument("name", shell_complete=parameters.collections)
@click.option("--against", metavar="NAME2", help="Those that say what a document of this collection says.")
@click.option("--min-score", type=parameters.score, default=0.95, show_default=True, metavar="S", help="By meaning.")
@click.option("--meaning/--no-meaning", default=True, help="Whether the same meaning counts.")
@click.option("--wording/--no-wording", default=True, help="Whether nearly the same words count.")
@click.option(
    "--keep", default="first", show_default=True, metavar="WHICH", help="first, longest, newest, or a metadata field."
)
@click.option(
    "--borderline",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Show N pairs near --min-score, from 0.05 below it on.",
)
@pairs.device
@click.option("--out", "file", type=parameters.file, metavar="FILE", help="List them in FILE.jsonl, .tsv or .csv.")
@click.option("--apply", "remove", is_flag=True, help="Remove them.")
@click.option("--yes", is_flag=True, help="With --apply: remove even more than 20 % of all without asking.")
@parameters.as_json
@parameters.home
@parameters.typed(DuplicatesOptions)
def duplicates(options: DuplicatesOptions) -> int:
    r"""Find the documents of collection NAME that say what another one says, and say which one stays, and why.

    The same text counts, nearly the same words (the Jaccard index of runs of five characters is at least 0.8), and the
    same meaning: each passage of both scores at least --min-score with one of the other. A document goes only for one
    that stays and that it matches itself. Nothing is removed without --apply; a file that changes later gives its
    documents again, so run it behind 'sync'. The exit code is 1 if there is none.

    \b
    semsearch duplicates questions --borderline 20
    semsearch duplicates questions --min-score 0.9 --keep longest --apply
    semsearch duplicates train --against test --out leaked.tsv
    """
    home, file = Home.of(options.home), None if options.file is None else pairs.checked_file(options.file)
    with ExitStack() as stack:
        collection = stack.enter_context(semsearch.open(options.name, home=home))
        against = None
        if options.against is not None:
            against = stack.enter_context(semsearch.open(options.against, home=home))
        found = collection.duplicates(
            against,
            min_score=options.min_score if options.meaning else None,
            wording=options.wording,
            keep=options.keep,
            borderline=options.borderline,
            device=options.device,
            progress=pairs.how_far("compared"),
        )
        if file is not None:
            pairs.write_rows(file, DUPLICATE_COLUMNS, (each._replace(score=round(each.score, 6)) for each in found))
        if options.borderline:
            _show_borderline(collection, against or collection, found, options)
        elif file is None and options.as_json:
            for each in found:
                out(wire.dumps(each._asdict()))
        elif file is None:
            rows = [(one_line(each.id), one_line(each.of), each.reason, f"{each.score:.4f}") for each in found]
            show_table(("goes", "stays", "by", "score"), rows)
        _say_counts(found)
        if options.remove and found:
            _remove(collection, found, options.yes)
        return 0 if found else 1


def _show_borderline(collection: Collection, other: Collection, found: Duplicates, options: DuplicatesOptions) -> None:
    """The pairs around the threshold with their texts, to choose it by."""
    say(f"pairs around a score of {options.min_score}:")
    near = found.borderline
    sides = collection.get([one for one, _, _ in near]), other.get([theirs for _, theirs, _ in near])
    texts = ([document.text if document else "" for document in documents] for documents in sides)
    rows = [(score, one, theirs, here, there) for (one, theirs, score), here, there in zip(near, *texts, strict=True)]
    if options.as_json:
        for score, *rest in rows:
            out(wire.dumps(dict(zip(BORDERLINE_COLUMNS, (round(score, 6), *rest), strict=True))))
        return
    show_table(
        ("score", "one", "other", "says", "says"),
        [
            (f"{score:.4f}", one, theirs, one_line(here)[:QUOTED_CHARACTERS], one_line(there)[:QUOTED_CHARACTERS])
            for score, one, theirs, here, there in rows
        ],
    )


def _say_counts(found: Duplicates) -> None:
    counts = {reason: sum(each.reason == reason for each in found) for reason in ("text", "wording", "meaning")}
    told = ", ".join(f"{count:,} by {reason}" for reason, count in counts.items() if count)
    say(f"{len(found):,} of {found.documents:,} documents can go{f': {told}' if told else ''}", *found.notes)


def _remove(collection: Collection, found: Duplicates, yes: bool) -> None:
    if len(found) > MAX_VANISHED * found.documents and not yes:
        what = f"{len(found):,} of the {found.documents:,} documents of '{collection.name}'"
        if not sys.stdin.isatty():
            raise UsageError(f"that would remove {what}, and nobody is here to ask. Add --yes.")
        if not confirmed(f"Remove {what}?"):
            say("nothing was removed.")
            return
    removed = collection.remove_duplicates(found)
    changed = len(found) - removed
    say(f"removed {removed:,}{f'; {changed:,} were changed or removed by others meanwhile' if changed else ''}")


COMMANDS = (duplicates,)
