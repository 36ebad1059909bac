"""Keeping a collection in step with the sources it remembers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semsearch.errors import DataError
from semsearch.ingest.pipeline import Changes, Progress
from semsearch.ingest.scan import Preview, Reading
from semsearch.ingest.scan_with_vectors import GivenReading
from semsearch.ingest.source import STDIN, CallbackReport, ReadReport, Source
from semsearch.local.store import origins
from semsearch.local.store.store import Store
from semsearch.types import Encoder


@dataclass(frozen=True, slots=True)
class Synced:
    """What a sync did, in documents; `kept` vanished from their source and were too many to take out unasked."""

    changes: Changes = field(default_factory=Changes)
    removed: int = 0
    kept: int = 0


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a sync of one source would do; `of` documents came from it before."""

    source: Source
    preview: Preview
    removed: list[str]
    of: int


def sync(
    store: Store,
    encoder: Callable[[], Encoder],
    *,
    on_error: Callable[[DataError], None] | None,
    progress: Callable[[Progress], None] | None,
    most: float,
    confirm: Callable[[Source, int, int], bool] | None,
    unchecked: bool,
) -> Synced:
    """See `Collection.sync`; `encoder` loads the model, which is not asked for where nothing is new."""
    total = Synced()
    for reading in _readings(store, on_error, unchecked):
        with _told(on_error):
            if reading.empty:
                changes = Changes(unchanged=reading.passed(store))
            else:
                changes = reading.into(store, encoder, progress)
            lost = reading.lost(store)
            few = len(lost.ids) <= most * lost.of
            remove = few or (confirm is not None and confirm(reading.source, len(lost.ids), lost.of))
            removed = reading.settle(store, lost, remove=remove)
            kept = total.kept + (0 if remove else len(lost.ids))
            total = Synced(total.changes + changes, total.removed + removed, kept)
    return total


def foresee(store: Store, on_error: Callable[[DataError], None] | None) -> Iterator[Foreseen]:
    """What `sync` would do, source by source; nothing is encoded or written."""
    for reading in _readings(store, on_error, unchecked=True):
        with _told(on_error):
            preview = reading.preview(store)
            lost = reading.lost(store)
            yield Foreseen(reading.source, preview, lost.ids, lost.of)


@contextmanager
def _told(on_error: Callable[[DataError], None] | None) -> Iterator[None]:
    """A source that turns out to be of no use is told, and leaves the others theirs."""
    try:
        yield
    except DataError as error:
        if on_error is None:
            raise
        on_error(error)


def _readings(store: Store, on_error: Callable[[DataError], None] | None, unchecked: bool) -> Iterator[Reading]:
    """A begun reading of each source that can be read."""
    with store.database.read() as connection:
        specs = origins.sources(connection)
    for spec in specs:
        report = CallbackReport(on_error)
        try:
            reading = _again(store, _source(spec), report, unchecked)
            reading.begin()
        except DataError as error:
            if on_error is None:
                raise
            if not report.skipped:  # else it was told already
                on_error(error)
            continue
        yield reading


def _again(store: Store, source: Source, report: ReadReport, unchecked: bool) -> Reading:
    """A reading of a remembered source that passes over the files that are as they were.

    Raises:
        DataError: It is not there, or can't be read again.
    """
    if source.path == STDIN:
        raise DataError("standard input can't be read again.")
    for path in filter(None, (source.path, source.beside)):
        if not Path(path).exists():
            raise DataError(f"{path} is not there.")
    with store.database.read() as connection:
        number = origins.source_number(connection, source.to_json())
        known = origins.files(connection, number) if number is not None else {}
    reading = (
        GivenReading(source, report, known, unchecked=unchecked) if source.vectors else Reading(source, report, known)
    )
    if not reading.repeatable:
        raise DataError(f"{source.path} is a pipe, which can't be read again.")
    return reading


def _source(spec: dict[str, Any]) -> Source:
    try:
        return Source(**spec)
    except TypeError:  # noted by `remember`, which takes what it is given
        raise DataError(f"{spec} is remembered, but names no path and format that can be read again.") from None
