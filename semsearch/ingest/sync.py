"""Keeping a collection in step with the sources it remembers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semsearch.engine import Engine
from semsearch.errors import DataError
from semsearch.ingest.ingestion import IngestResult, Progress
from semsearch.ingest.scan import Preview, Scan, apply, preview, scan
from semsearch.ingest.source import STDIN, CallbackReport, ReadReport, Source
from semsearch.types import Encoder


@dataclass(frozen=True, slots=True)
class Synced:
    """What a sync did, in documents; `kept` vanished from their source and were too many to take out unasked.

    `outside` counts links to files out of their folder, which were not followed; `notes` say what else was not read.
    """

    changes: IngestResult = field(default_factory=IngestResult)
    removed: int = 0
    kept: int = 0
    outside: int = 0
    notes: tuple[str, ...] = ()


def sync(
    engine: Engine,
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
    for scanned in _scans(engine, on_error, unchecked):
        source = scanned.source

        def remove(vanished: int, of: int, source: Source = source) -> bool:
            return vanished <= most * of or (confirm is not None and confirm(source, vanished, of))

        with _reporting(on_error):
            done = apply(scanned, engine, encoder, progress, remove)
            total = Synced(
                total.changes + done.changes,
                total.removed + done.removed,
                total.kept + done.kept,
                total.outside + (len(scanned.files.listing.outside) if scanned.files.listing else 0),
                (*total.notes, *scanned.report.notes()),
            )
    return total


def plan(engine: Engine, on_error: Callable[[DataError], None] | None) -> Iterator[tuple[Source, Preview]]:
    """What `sync` would do, source by source; nothing is encoded or written."""
    for scanned in _scans(engine, on_error, unchecked=True):
        with _reporting(on_error):
            yield scanned.source, preview(scanned, engine)


@contextmanager
def _reporting(on_error: Callable[[DataError], None] | None) -> Iterator[None]:
    """A source that turns out to be of no use is told, and leaves the others theirs."""
    try:
        yield
    except DataError as error:
        if on_error is None:
            raise
        on_error(error)


def _scans(engine: Engine, on_error: Callable[[DataError], None] | None, unchecked: bool) -> Iterator[Scan]:
    """A scan of each source that can be read."""
    for spec in engine.origins.sources():
        report = CallbackReport(on_error)
        try:
            scanned = _again(engine, _source(spec), report, unchecked)
        except DataError as error:
            if on_error is None:
                raise
            if not report.skipped:  # else it was told already
                on_error(error)
            continue
        yield scanned


def _again(engine: Engine, source: Source, report: ReadReport, unchecked: bool) -> Scan:
    """A scan of a remembered source that passes over the files that are as they were.

    Raises:
        DataError: It is not there, or can't be read again.
    """
    if source.path == STDIN:
        raise DataError("standard input can't be read again.")
    for path in filter(None, (source.path, source.beside)):
        if not Path(path).exists():
            raise DataError(f"{path} is not there.")
        if not Path(path).is_file() and not Path(path).is_dir():
            raise DataError(f"{path} is a pipe, which can't be read again.")
    known = engine.origins.find(source.to_json())
    return scan(source, report, known[1] if known is not None else {}, unchecked=unchecked)


def _source(spec: dict[str, Any]) -> Source:
    try:
        return Source(**spec)
    except TypeError:  # of a version that remembered other things
        raise DataError(f"{spec} is remembered, but names no path and format that can be read again.") from None
