"""`semsearch sync`: the remembered sources read again, what vanished from them taken out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import click

import semsearch
from semsearch.cli import parameters
from semsearch.cli.progress import Meter
from semsearch.cli.render import confirmed, out, say
from semsearch.controls import one_line
from semsearch.errors import DataError, UsageError
from semsearch.home import Home
from semsearch.ingest import MAX_VANISHED

if TYPE_CHECKING:
    from semsearch.collection import Collection
    from semsearch.ingest.source import Source

SHOWN_ERRORS = 10  # errors that are printed; the rest is counted
OnError: TypeAlias = Callable[[DataError], None] | None  # told of bad data; without it, it is raised


@click.command(short_help="Read the sources again: take in what is new, take out what vanished.")
@click.argument("name", required=False, shell_complete=parameters.collections)
@click.option("--dry-run", is_flag=True, help="List what would happen; change nothing.")
@click.option("--yes", is_flag=True, help="Remove even more than 20 % of what a source gave, without asking.")
@click.option("--unchecked", is_flag=True, help="Of 'index --vectors': take vectors that are not the model's, too.")
@click.option("--on-error", type=click.Choice(["skip", "stop"]), default="skip", show_default=True, help="At bad data.")
@parameters.compute
@parameters.home
def sync(
    name: str | None,
    dry_run: bool,
    yes: bool,
    unchecked: bool,
    on_error: str,
    device: str | None,
    dtype: str | None,
    home: str | None,
) -> int:
    r"""Read the sources that collection NAME remembers again, with the options they were read with.

    What is new or changed is encoded, what has vanished is removed. Files whose size and time are as they were are not
    read; where only the time differs, the content decides. A source that can't be read, or gives nothing, removes
    nothing. More than 20 % of what a source gave is removed only after a question, or with --yes. Of a source that came
    with vectors the new ones are held against the model again.

    \b
    semsearch sync notes
    semsearch sync notes --dry-run
    """
    where = Home.of(home)
    if name is None:
        known = where.names()
        if len(known) != 1:
            raise UsageError(f"say which collection: {', '.join(known) or f'there is none in {where.location}'}.")
        name = known[0]
    with semsearch.open(name, home=where, device=device, dtype=dtype) as collection:
        if not collection.sources:
            raise UsageError(
                f"'{name}' remembers no source that can be read again: its documents came from parts (index --from), "
                "from another tool (import) or from a program. Bring them up to date that way, or index a source."
            )
        failures: list[DataError] = []
        told = failures.append if on_error == "skip" else None
        code = _plan(collection, told, yes) if dry_run else _sync(collection, told, yes, unchecked)
    for error in failures[:SHOWN_ERRORS]:
        say(f"  {error}")
    if failures:
        say(f"{len(failures):,} could not be used{', the first above' if len(failures) > SHOWN_ERRORS else ''}.")
    return code or (DataError.exit_code if failures else 0)


def _sync(collection: Collection, told: OnError, yes: bool, unchecked: bool) -> int:
    def confirm(source: Source, lost: int, of: int) -> bool:
        what = f"{lost:,} of the {of:,} documents from {source.path} have vanished"
        if yes:
            return True
        if not sys.stdin.isatty():
            say(f"{what}: they were kept. Add --yes to remove them.")
            return False
        return confirmed(f"{what}. Remove them from '{collection.name}'?")

    with Meter(collection.name, lambda: None) as meter:
        synced = collection.sync(on_error=told, progress=meter, confirm=confirm, unchecked=unchecked)
    changes = synced.changes
    for sentence in synced.notes:
        say(sentence)
    if synced.outside:
        say(f"links to files out of their folder, not followed: {synced.outside:,}.")
    kept = f", kept {synced.kept:,}" if synced.kept else ""
    out(
        f"added {changes.added:,}, changed {changes.changed:,}, removed {synced.removed:,}, "
        f"unchanged {changes.unchanged:,}{kept}"
    )
    return UsageError.exit_code if synced.kept else 0


def _plan(collection: Collection, told: OnError, yes: bool) -> int:
    added = changed = removed = unchanged = 0
    for source, seen in collection.plan_sync(on_error=told):
        for word, ids in (("add", seen.added), ("change", seen.changed), ("remove", seen.removed)):
            for identity in ids:
                out(f"{word}\t{one_line(identity)}")
        if len(seen.removed) > MAX_VANISHED * seen.of and not yes:
            say(f"removing {len(seen.removed):,} of the {seen.of:,} documents of {source.path} will need --yes.")
        added, changed = added + len(seen.added), changed + len(seen.changed)
        removed, unchanged = removed + len(seen.removed), unchanged + seen.unchanged
    say(f"would add {added:,}, change {changed:,}, remove {removed:,}; unchanged {unchanged:,}")
    return 0
