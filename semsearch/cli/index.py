"""`semsearch index`: a corpus into a collection; the same command again resumes or updates it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from semsearch import wire
from semsearch.cli import parameters, source_options
from semsearch.cli.progress import Meter, duration
from semsearch.cli.render import out, say, size
from semsearch.cli.source_options import ReadOptions
from semsearch.cli.target import (
    NONE,
    CreateOptions,
    check_source,
    check_vectors,
    summary,
    target,
    tell_languages,
    tell_made,
)
from semsearch.errors import DataError, UsageError
from semsearch.home import Home
from semsearch.names import check_name

if TYPE_CHECKING:
    from semsearch.collection import Collection
    from semsearch.ingest.ingestion import IngestResult, Progress
    from semsearch.ingest.scan import Scan
    from semsearch.ingest.source import ReadReport, Source

SHOWN_RECORDS = 10  # bad records that are printed; the rest is counted, and all are in the JSON


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """What `semsearch index` takes."""

    path: str | None
    name: str | None
    parts: str | None
    add: bool
    dry_run: bool
    on_error: str | None  # "stop" or "skip"
    vectors: str | None
    vector_column: str | None
    unchecked: bool
    as_json: bool
    home: str | None
    reader: ReadOptions
    create: CreateOptions


@click.command(short_help="Read, split, encode and store a corpus; again: resume or update.")
@click.argument("path", type=parameters.file, required=False)
@click.option(
    "--name",
    metavar="NAME",
    shell_complete=parameters.collections,
    help="Of the collection [default: the file's or folder's name, without its ending].",
)
@click.option(
    "--from",
    "parts",
    type=parameters.file,
    metavar="FOLDER",
    help="Instead of PATH: load the parts that 'semsearch encode' made; nothing is encoded.",
)
@click.option("--add", is_flag=True, help="Take this source into a collection that was made from another one.")
@click.option(
    "-m",
    "--encoder",
    type=parameters.model,
    metavar="MODEL",
    help="Folder, .zip or name [default: all-MiniLM-L6-v2].",
)
@click.option("--revision", metavar="REVISION", help="Branch, tag or commit of a model on the hub.")
@source_options.reading
@click.option("--dry-run", is_flag=True, help="Read, split, encode a sample; tell passages, time and disk to come.")
@click.option("--on-error", type=click.Choice(["stop", "skip"]), help="At bad data [stop; skip in documents' folders].")
@click.option(
    "--vectors",
    type=parameters.file,
    metavar="FILE",
    help="Made elsewhere: .npy or .npz, a row a record; or a Parquet column.",
)
@click.option("--vector-column", metavar="COLUMN", help="Of --vectors in a Parquet file [default: vector].")
@click.option("--unchecked", is_flag=True, help="With --vectors: don't encode 100 texts again to see that they fit.")
@click.option(
    "--language",
    metavar="LANGUAGE",
    shell_complete=parameters.complete_language,
    help="Whose stemmer finds its words: de, or de,en [default: found in the texts].",
)
@click.option(
    "--language-field",
    metavar="NAME",
    help="Tell the language of each text, and keep it as this field of its metadata.",
)
@click.option(
    "--sparse",
    type=parameters.model,
    metavar="MODEL",
    help="Keep the vectors of this sparse model, too (mode 'sparse'; 'hybrid' takes them in), or 'none'.",
)
@click.option("--passages", type=click.Choice(["on", "off"]), help="Split what is longer than the model reads [on].")
@parameters.index_backend("auto")
@click.option(
    "--option", "index_options", multiple=True, type=parameters.typed_pair, metavar="KEY=VALUE", help="Of the index."
)
@click.option("--recall", type=parameters.NumberIn(0, 1, min_open=True), metavar="R", help="What the index must find.")
@click.option(
    "--at", "k", type=click.IntRange(min=1), default=10, show_default=True, help="Neighbours it is counted in."
)
@click.option("--batch-tokens", type=click.IntRange(min=1), metavar="N", help="Tokens encoded at a time.")
@parameters.as_json
@parameters.compute
@parameters.home
@parameters.typed(IndexOptions)
def index(options: IndexOptions) -> int:
    r"""Read, split, encode and store the corpus at PATH, a file or a folder ('-': standard input).

    Text, JSON, CSV, TSV, Parquet, BEIR folders, documents (PDF, HTML, DOCX, PPTX, XLSX, ODT, ODP, ODS, RTF, EPUB,
    e-mail, Markdown, notebooks, source code), and gzip versions of all; the kind is told from the path. What is
    committed stays: after an interruption the same command goes on where it stopped, and run again later it takes in
    what is new or changed ('semsearch sync' also takes out what vanished). What could not be read is named, and counted
    in a last line like 'added 12, changed 3, unchanged 1,985, skipped 0'.

    \b
    semsearch index corpus.jsonl
    semsearch index films.csv --text plot --title name --type year=int
    zcat notes.txt.gz | semsearch index - --name notes --format text
    semsearch index corpus --from parts/    (into the collection 'corpus', what 'semsearch encode' made)
    """
    if options.parts is not None:
        return _from_parts(options.parts, options)
    if options.path is None:
        raise UsageError("give the file or folder of the corpus ('-' for standard input).")
    return _from_source(options.reader.source(options.path), options)


def _from_source(source: Source, options: IndexOptions) -> int:
    """Read, split, encode and store."""
    name = check_name(source.name if options.name is None else options.name, "--name")
    if options.vectors:
        return _with_vectors(source, name, options)
    if options.create.encoder == NONE:
        raise UsageError("--encoder none makes a collection that is searched by vectors alone: give them by --vectors.")
    from semsearch.ingest.scan import scan
    from semsearch.ingest.source import ReadReport

    report = ReadReport(
        skip=options.on_error == "skip" or (options.on_error is None and source.forgiving),
        keep=sys.maxsize if options.as_json else SHOWN_RECORDS,
    )
    try:
        scanned = scan(source, report)  # what holds no document is told before a model is opened or anything is made
    except DataError:
        _tell_unread(report, options)
        raise
    home = Home.of(options.home)
    if options.dry_run:
        return _estimate(scanned, name, home, options)
    if name not in home.names() and (doubt := _advice(options.create)):
        say(doubt)

    def fraction() -> float | None:
        return report.done / report.total if report.total else None

    with Meter(name, fraction) as meter, target(name, home, options.create) as (collection, made):
        if not made:
            check_source(collection, source, options.add)
            _add_sparse(collection, options.create.sparse_model)
        changes = collection.add_from(scanned, progress=meter)
        languages = collection.languages if made and not options.create.language else None
    if options.as_json:
        out(wire.dumps(wire.message(**{**wire.ingested(changes), **wire.unread(report), "collection": name})))
        return 0
    for sentence in report.sentences():
        say(sentence)
    if report.same:
        say(f"{report.same:,} records without an id were the same as one before, and are in the collection once.")
    if changes.truncated:
        say(f"{changes.truncated:,} texts were longer than the model reads, and were cut.")
    tell_made(name, home, made)
    tell_languages(name, languages)
    out(summary(changes, skipped=report.left_out))
    _tell_vanished(changes, name)
    return 0


def _from_parts(folder: str, options: IndexOptions) -> int:
    """Load what was encoded elsewhere, part by part."""
    from semsearch.parts.part_folder import PartFolder
    from semsearch.parts.part_loading import check_model

    if options.vectors or options.dry_run or options.on_error or options.add or not options.reader.usual:
        raise UsageError(
            "the parts of --from were read and encoded already: leave out what says how to read a source, --add, "
            "--vectors, --on-error and --dry-run."
        )
    if options.path is not None and options.name is not None:
        raise UsageError("with --from the collection's name stands in front, or behind --name, and not in both places.")
    if (given := options.name or options.path) is None:
        raise UsageError("name the collection: semsearch index NAME --from FOLDER.")
    name, home, parts = check_name(given, "NAME"), Home.of(options.home), PartFolder(folder)

    def check() -> None:
        if options.create.encoder == NONE:
            raise UsageError("parts hold the vectors of a model: leave out --encoder none.")
        model = options.create.open_model()
        check_model(parts, model.fingerprint, str(options.create.model))

    read = 0

    def note(step: Progress) -> None:
        nonlocal read
        read = step.documents
        meter(step)

    create = options.create
    if create.passages is None and not parts.header.passages:
        create = replace(create, passages="off")
    with (
        Meter(name, lambda: read / parts.documents if parts.documents else None) as meter,
        target(name, home, create, before=check) as (collection, made),
    ):
        if not made:
            _add_sparse(collection, options.create.sparse_model)
        changes = collection.add_parts(parts, progress=note)
        languages = collection.languages if made and not options.create.language else None
    if options.as_json:
        out(wire.dumps(wire.message(**{**wire.ingested(changes), "collection": name})))
        return 0
    if changes.truncated:
        say(f"{changes.truncated:,} texts were longer than the model reads, and were cut.")
    tell_made(name, home, made)
    tell_languages(name, languages)
    out(summary(changes))
    return 0


def _tell_unread(report: ReadReport, options: IndexOptions) -> None:
    """List all that could not be read of a source without a document; its error names the first."""
    if not report.skip or report.left_out < 2:
        return
    if options.as_json:
        from semsearch.ingest.ingestion import IngestResult

        out(wire.dumps(wire.message(**{**wire.ingested(IngestResult()), **wire.unread(report)})))
    for sentence in () if options.as_json else report.sentences():
        say(sentence)


def _add_sparse(collection: Collection, model: str | None) -> None:
    """Give a collection that is there already the sparse model that was asked for."""
    if model is not None:
        collection.add_sparse(model, progress=False)


def _with_vectors(source: Source, name: str, options: IndexOptions) -> int:
    """Take the vectors in that came with the source, instead of encoding it."""
    from semsearch.ingest.scan import scan
    from semsearch.ingest.source import ReadReport

    if options.dry_run:
        raise UsageError("--dry-run tells what encoding will cost, and with --vectors nothing is encoded.")
    assert options.vectors is not None
    source = source.with_vectors(options.vectors, options.vector_column)
    scanned = scan(source, ReadReport(), unchecked=options.unchecked)
    precomputed = scanned.precomputed
    assert precomputed is not None

    def check() -> None:
        if options.create.model is not None and not options.unchecked:
            check_vectors(precomputed.documents, precomputed.vectors, options.create.open_model())

    dim, home = precomputed.vectors.shape[1], Home.of(options.home)
    with target(name, home, options.create, dim=dim, before=check) as (collection, made):
        if made:
            precomputed.check = False  # they were checked before
        else:
            check_source(collection, source, options.add)
            _add_sparse(collection, options.create.sparse_model)
        changes = collection.add_from(scanned)
        languages = collection.languages if made and not options.create.language else None
    if options.as_json:
        facts = {**wire.ingested(changes), **wire.unread(scanned.report), "collection": name}
        out(wire.dumps(wire.message(**facts)))
        return 0
    tell_made(name, home, made)
    tell_languages(name, languages)
    out(summary(changes))
    _tell_vanished(changes, name)
    return 0


def _estimate(scanned: Scan, name: str, home: Home, options: IndexOptions) -> int:
    """Tell what the run would cost."""
    from semsearch.ingest.estimate import estimate

    create = options.create
    if name in home.names():
        with create.open(name, home) as collection:
            check_source(collection, scanned.source, options.add)
            told = collection.estimate(scanned.documents)
    else:
        told = estimate(
            scanned.documents,
            create.open_model(),
            passages=create.passages != "off",
            engine=None,
            index=create.backend or "auto",
            options=dict(create.index_options),
            sparse=create.open_sparse(),
        )
    if options.as_json:
        estimated = {key: getattr(told, key) for key in ("documents", "unchanged", "passages", "seconds", "bytes")}
        out(wire.dumps(wire.message(**estimated, **wire.unread(scanned.report))))
        return 0
    for sentence in scanned.report.sentences():
        say(sentence)
    out(
        f"{told.documents:,} documents to encode ({told.unchanged:,} unchanged), {told.passages:,} passages: about "
        f"{duration(told.seconds)} at {told.speed:,.0f} passages a second, and {size(told.bytes)} on the disk"
    )
    return 0


def _advice(create: CreateOptions) -> str | None:
    from semsearch.encoder.catalog import advice

    return None if create.model is None else advice(create.model)


def _tell_vanished(changes: IngestResult, name: str) -> None:
    if changes.vanished:
        say(f"{changes.vanished:,} documents are no more in the source: 'semsearch sync {name}' takes them out.")
