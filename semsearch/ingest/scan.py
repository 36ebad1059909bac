"""Reading a source into a collection: what need not be read again, what came, and what vanished.

A document has vanished if the file it came from is gone, or was read to its end without it. Nothing vanishes with what
could not be read: a folder that can't be listed, a file with a bad record, a source that gives nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice

from semsearch.engine import Engine, File, Origin, Settlement
from semsearch.ingest.ingestion import READ_DOCUMENTS, Ingestion, IngestResult, Progress, add_precomputed
from semsearch.ingest.label_fields import label_fields, with_labels
from semsearch.ingest.precomputed import Precomputed
from semsearch.ingest.source import ReadReport, Source
from semsearch.ingest.stamps import ONLY_FILE, SourceFiles
from semsearch.records import Record
from semsearch.types import Document, Encoder

REMOVED_AT_ONCE = 4096  # documents


@dataclass(frozen=True, slots=True)
class Preview:
    """What applying a scan would do; `of` documents came from the source before."""

    added: list[str]
    changed: list[str]
    unchanged: int
    removed: list[str]
    of: int


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying a scan did; of the documents that are no more in the source, some `removed`, or all `kept`."""

    changes: IngestResult
    removed: int = 0
    kept: int = 0


@dataclass(slots=True)
class Scan:
    """A source that is being read. `documents` can be gone through once, by `preview` or by `apply`."""

    source: Source
    report: ReadReport
    files: SourceFiles
    documents: Iterator[Document]
    empty: bool  # nothing is new
    precomputed: Precomputed | None = None  # vectors that came with the source


def scan(
    source: Source, report: ReadReport, known: Mapping[str, File] | None = None, *, unchecked: bool = False
) -> Scan:
    """Read a source up to its first document, or, where its vectors come along, to its end.

    Rows of vectors are counted over the whole source, so all of it is read again as soon as one of its files is not as
    it was.

    Args:
        source: What to read.
        report: Gets what can't be read.
        known: The files as they were read last, to pass over those that are the same; without it all are read.
        unchecked: Take vectors that came along without holding them against the collection's model.

    Raises:
        DataError: The source gives no document, or (unless the report skips them) the first bad record; records and
            vectors can't be matched.
    """
    files = SourceFiles(source, known)
    if source.vectors and (files.unread != files.there.keys() or files.known.keys() - files.there.keys() - {ONLY_FILE}):
        files.unread = set()
    incoming = _incoming(source, report, files)
    first = next(incoming, None)
    if first is None and not files.unread:
        raise source.nothing(report)
    scanned = Scan(source, report, files, incoming if first is None else chain([first], incoming), first is None)
    if source.vectors and first is not None:
        scanned.precomputed = Precomputed.read(list(scanned.documents), source, report, check=not unchecked)
        scanned.documents = iter(scanned.precomputed.documents)
    return scanned


def preview(scanned: Scan, engine: Engine) -> Preview:
    """What `apply` would do; nothing is encoded or written."""
    number, _ = _known(scanned, engine)
    added, changed, unchanged = _compared(scanned, engine)
    lost = _lost(scanned, engine, number)
    return Preview(added, changed, unchanged + _passed(scanned, engine, number), lost.ids, lost.of)


def apply(
    scanned: Scan,
    engine: Engine,
    encoder: Callable[[], Encoder],
    progress: Callable[[Progress], None] | None = None,
    remove: Callable[[int, int], bool] = lambda vanished, of: False,
) -> Applied:
    """Store what is new or changed, note where it is from, and take out what has vanished if `remove` says so.

    Crash-safe in this order: until the last step, the next scan comes to the same conclusions.

    Args:
        scanned: What `scan` gave.
        engine: The collection's.
        encoder: Loads the model; not called where nothing is new.
        progress: Called now and then.
        remove: Asked with the number of documents that vanished, and of how many.
    """
    number, scanned.files.known = _known(scanned, engine)
    changes = IngestResult()
    if not scanned.empty:
        number, scanned.files.known = engine.origins.register(scanned.source.to_json(), scanned.files.names)
        changes = _ingested(scanned, engine, encoder, progress, number)
    changes += IngestResult(unchanged=_passed(scanned, engine, number))
    if number is None:
        return Applied(changes)
    lost = _lost(scanned, engine, number)
    taken = remove(len(lost.ids), lost.of)
    removed = 0
    if taken:
        for first in range(0, len(lost.ids), REMOVED_AT_ONCE):
            removed += engine.remove(lost.ids[first : first + REMOVED_AT_ONCE])
    _settle(scanned, engine, number, lost, taken)
    return Applied(changes, removed, 0 if taken else len(lost.ids))


@dataclass(frozen=True, slots=True)
class _Lost:
    """What a source gave once and gives no more."""

    ids: list[str] = field(default_factory=list)  # documents that no other source has
    shared: list[str] = field(default_factory=list)  # documents that another source still gives
    files: set[str] = field(default_factory=set)  # files that lack them
    of: int = 0  # documents that the source gave before


def _incoming(source: Source, report: ReadReport, files: SourceFiles) -> Iterator[Document]:
    if files.there and not files.read:
        return
    yield from source.documents(report, files.wanted)


def _known(scanned: Scan, engine: Engine) -> tuple[int | None, dict[str, File]]:
    """The number of the source and its files, as the collection knows them."""
    found = engine.origins.find(scanned.source.to_json())
    return (None, scanned.files.known) if found is None else found


def _ingested(
    scanned: Scan,
    engine: Engine,
    encoder: Callable[[], Encoder],
    progress: Callable[[Progress], None] | None,
    number: int,
) -> IngestResult:
    """Store the documents of a scan."""
    known = scanned.files.known

    def origin(identity: str) -> Origin:
        ids = scanned.report.ids
        return Origin(number, known[ids.file(identity) or ONLY_FILE].number, ids.position(identity))

    given = scanned.precomputed
    if given is None:
        return Ingestion(engine, encoder(), scanned.report.bad, progress, origin).run(scanned.documents)
    given.fit(engine)
    if given.check and engine.settings["encoder"] is not None:
        added, changed, _ = _compared(scanned, engine)
        given.hold_against([*added, *changed], encoder)
    changes = add_precomputed(engine, given.documents, given.vectors, scanned.report.bad, origin)
    if progress is not None:
        progress(Progress(len(given.documents), changes.passages, changes.unchanged))
    return changes


def _compared(scanned: Scan, engine: Engine) -> tuple[list[str], list[str], int]:
    """The ids that are new, those that changed, and how many are as they were."""
    added: list[str] = []
    changed: list[str] = []
    unchanged = 0
    given = scanned.precomputed
    if given is not None:
        given.fit(engine)
    while chunk := list(islice(scanned.documents, READ_DOCUMENTS)):
        records = {one.id: Record.of(one, checked=True) if given is None else given.record(one) for one in chunk}
        known = engine.known(list(records))
        for identity, record in with_labels(label_fields(engine.settings), records, known).items():
            if identity not in known:
                added.append(identity)
            elif (known[identity].hash, known[identity].metadata) != (record.hash, record.metadata):
                changed.append(identity)
            else:
                unchanged += 1
    return added, changed, unchanged


def _passed(scanned: Scan, engine: Engine, number: int | None) -> int:
    """Documents of the files that were not read again."""
    files = scanned.files
    if number is None or not files.unread:
        return 0
    return engine.origins.count(number, files.numbers(files.unread))


def _lost(scanned: Scan, engine: Engine, number: int | None) -> _Lost:
    """What has vanished; after all documents were read."""
    if number is None:
        return _Lost()
    files, lost = scanned.files, _Lost(of=engine.origins.count(number))
    names = {file.number: name for name, file in files.known.items()}
    suspects = files.numbers(files.gone | (files.read - scanned.report.doubtful))
    for identity, file, shared in engine.origins.given(number, suspects):
        if scanned.report.ids.file(identity) is None:
            (lost.shared if shared else lost.ids).append(identity)
            lost.files.add(names[file])
    return lost


def _settle(scanned: Scan, engine: Engine, number: int, lost: _Lost, removed: bool) -> None:
    """Note which file each document is from, and how the files were."""
    files = scanned.files
    settled = files.read - scanned.report.doubtful - (set() if removed else lost.files)
    engine.origins.settle(
        number,
        Settlement(
            given=(
                {identity: Origin(number, files.known[name].number, at) for identity, (name, at) in ids.items()}
                for ids in scanned.report.ids.batches()
            ),
            unread=set(files.numbers(files.unread)),
            stamps=files.stamps(settled),
            released=lost.shared if removed else (),
            gone=files.numbers(files.gone) if removed else (),
        ),
    )
