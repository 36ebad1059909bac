"""`semsearch watch`: collections kept in step with their sources as files change."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import click

import semsearch
from semsearch import wire
from semsearch.cli import parameters
from semsearch.cli.parameters import ComputeOptions
from semsearch.cli.render import out, say
from semsearch.cli.sync import SHOWN_ERRORS
from semsearch.controls import one_line
from semsearch.engine import Watchable
from semsearch.errors import (
    CollectionLocked,
    CollectionNotFound,
    DataError,
    SemsearchError,
    StorageError,
    UsageError,
)
from semsearch.home import Home
from semsearch.ingest.source import STDIN
from semsearch.ingest.watcher import WatchedSource, Watcher
from semsearch.names import normal

if TYPE_CHECKING:
    from semsearch.collection import Collection
    from semsearch.ingest.source import Source
    from semsearch.ingest.sync import Synced

LOOK_AGAIN = 600.0  # seconds after which all is looked through, whatever was told: a file system may tell nothing
FEW = 5  # documents that may vanish from any source: a file of a small folder is soon more than 20 % of it
TRY_AGAIN = 10.0  # seconds after which a sync that failed is tried again


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """What `semsearch watch` takes."""

    names: tuple[str, ...]
    debounce: float
    yes: bool
    as_json: bool
    compute: ComputeOptions
    home: str | None


@click.command(short_help="Keep collections in step with their files, as these change.")
@click.argument("names", nargs=-1, shell_complete=parameters.collections, metavar="[NAME]...")
@click.option(
    "--debounce",
    type=parameters.NumberIn(0.05, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="So long nothing must change before what did is taken in.",
)
@click.option(
    "--yes", is_flag=True, help="Take out even more than 20 % of what a source gave, and more than five documents."
)
@parameters.as_json
@parameters.compute
@parameters.home
@parameters.typed(WatchOptions)
def watch(options: WatchOptions) -> int:
    r"""Sync the collections NAMES (all that remember a source), then again whenever their files change, until Ctrl-C.

    Each sync is as 'semsearch sync' has it: what is new or changed is encoded, what vanished is taken out, but for more
    than 20 % of what a source gave and more than five documents, which are kept without --yes. One after the other is
    written. Where another process writes, or a sync fails, it is tried again; a collection that another one watches is
    left to that one. A folder that went away and came back is noticed within a second or two; what a file system does
    not tell (a network's, often) within ten minutes.

    \b
    semsearch watch
    semsearch watch papers notes --debounce 5
    """
    home = Home.of(options.home)
    for name in options.names:
        home.require(name)
    own = None if home.folder is None else home.folder.resolve()
    with ExitStack() as stack:
        watched = _Watched(home, options)
        stack.callback(watched.close)
        sources = watched.sources()
        for name in options.names:
            if name not in {source.collection for source in sources}:
                raise UsageError(f"'{name}' remembers no source that can be read again: index one first.")
        if not sources and watched.elsewhere is not None:
            raise watched.elsewhere
        if not sources:
            raise UsageError(f"no collection in {home.location} remembers a source that can be read again.")
        while sources:
            with Watcher(sources, options.debounce, own) as watcher:
                say(f"watching {len(sources):,} source{'s' * (len(sources) > 1)}; Ctrl-C ends it")
                watched.follow(watcher, {source.collection for source in sources})
            sources = watched.sources()
    raise CollectionNotFound("none of the watched collections is there any more.")


class _Watched:
    """The collections, opened when they are needed and held open: opening a model takes longer than most syncs."""

    def __init__(self, home: Home, options: WatchOptions) -> None:
        self._home = home
        self._options = options
        self._open: dict[str, Collection] = {}
        self._held: dict[str, ExitStack] = {}  # of those that are open: what keeps others from watching them
        self.elsewhere: CollectionLocked | None = None  # another process watches one of the collections
        self._said: dict[tuple[str, str], str] = {}  # of each collection, by kind: nothing is said twice in a row

    def sources(self) -> list[WatchedSource]:
        """What is to be watched, of the collections that are there now; one that can't be opened is told."""
        found = []
        self.elsewhere = None
        for name in self._home.names():
            if self._options.names and name not in map(normal, self._options.names):
                continue
            try:
                specs = self._collection(name).sources
            except SemsearchError as error:
                if isinstance(error, CollectionLocked):
                    if self._options.names:
                        raise
                    self.elsewhere = error
                self._tell_failure(name, error)
            else:
                found += [WatchedSource.of(name, spec) for spec in specs if spec.get("path", STDIN) != STDIN]
        return found

    def follow(self, watcher: Watcher, names: set[str]) -> None:
        """Sync `names` now, and each again when it changed, until all should be looked through again."""
        due, again, first = set(names), time.monotonic() + LOOK_AGAIN, True
        while time.monotonic() < again and not watcher.is_stale and self._home.names():
            failed = {name for name in sorted(due) if not self._sync(name, first)}
            try:
                due, first = failed | watcher.changed(TRY_AGAIN), False
            except OSError as error:
                raise StorageError(
                    f"the files can't be watched: {error}. The system may watch too few of them (on Linux: sysctl "
                    "fs.inotify.max_user_watches)."
                ) from error

    def _sync(self, name: str, first: bool) -> bool:
        """Whether a sync came to its end; the `first` is told of even where nothing changed."""
        if name not in self._home.names():
            return True  # dropped meanwhile
        failures: list[DataError] = []
        try:
            synced = self._collection(name).sync(on_error=failures.append, confirm=self._confirm, progress=False)
        except (SemsearchError, OSError) as error:
            self._tell_failure(name, error)
            return False
        for failure in failures[:SHOWN_ERRORS]:
            say(f"  {one_line(str(failure))}")
        if failures:
            say(f"{name}: {len(failures):,} could not be used.")
        self._said.pop((name, "failure"), None)
        notes = list(synced.notes)
        if synced.outside:
            notes.append(f"links to files out of their folder, not followed: {synced.outside:,}.")
        self._say(name, "notes", " ".join(notes))
        changes = synced.changes
        if first or changes.added or changes.changed or synced.removed or synced.kept:
            self._tell(name, synced)
        return True

    def _confirm(self, source: Source, lost: int, of: int) -> bool:
        allowed = self._options.yes or lost <= FEW
        if not allowed:
            self._say(
                source.path,
                "kept",
                f"{lost:,} of the {of:,} documents have vanished: they were kept. 'semsearch sync' removes them after "
                "a question, 'watch --yes' without.",
            )
        return allowed

    def _say(self, what: str, kind: str, sentence: str) -> None:
        if sentence and self._said.get((what, kind)) != sentence:
            say(one_line(f"{what}: {sentence}"))
        self._said[what, kind] = sentence

    def _tell(self, name: str, synced: Synced) -> None:
        changes = synced.changes
        if self._options.as_json:
            out(wire.dumps({"collection": name, **wire.synced(synced)}))
        else:
            now = datetime.now().strftime("%H:%M:%S")
            out(
                f"{now} {name}: added {changes.added:,}, changed {changes.changed:,}, removed {synced.removed:,}, "
                f"unchanged {changes.unchanged:,}{f', kept {synced.kept:,}' if synced.kept else ''}"
            )
        sys.stdout.flush()  # a program that listens waits for the line

    def _tell_failure(self, name: str, error: Exception) -> None:
        self._say(name, "failure", str(error))
        self._let_go(name)  # which may be another one by now

    def _collection(self, name: str) -> Collection:
        if name not in self._open:
            compute = self._options.compute
            with ExitStack() as holding:
                collection = semsearch.open(name, home=self._home, device=compute.device, dtype=compute.dtype)
                holding.callback(collection.close)
                if isinstance(collection.engine, Watchable):
                    holding.enter_context(collection.engine.keep_watch())
                self._held[name] = holding.pop_all()
            self._open[name] = collection
        return self._open[name]

    def _let_go(self, name: str) -> None:
        if self._open.pop(name, None) is not None:
            self._held.pop(name).close()

    def close(self) -> None:
        """Let go of all."""
        for name in list(self._open):
            self._let_go(name)
