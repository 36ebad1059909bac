"""`semsearch index`: a corpus into a collection; the same command again resumes or updates it."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import click

from semsearch.cli import exchange
from semsearch.cli import parameters as options
from semsearch.cli.progress import Meter, duration
from semsearch.cli.remembered import NONE, check_settings, check_source, left
from semsearch.cli.render import out, say, size
from semsearch.errors import (
    CollectionExists,
    CollectionLocked,
    DataError,
    StorageError,
    UsageError,
)
from semsearch.home import Home
from semsearch.names import check_name

if TYPE_CHECKING:
    from semsearch.collection import Collection
    from semsearch.ingest.pipeline import Changes
    from semsearch.ingest.scan import Scan
    from semsearch.ingest.source import ReadReport, Source


@click.command(short_help="Read, split, encode and store a corpus; again: resume or update.")
@click.argument("path", type=options.file)
@click.option(
    "--name",
    metavar="NAME",
    shell_complete=options.collections,
    help="Of the collection [default: the stem of the file's or folder's name].",
)
@click.option("--add", is_flag=True, help="Take this source into a collection that was made from another one.")
@click.option(
    "-m",
    "--encoder",
    type=options.model,
    metavar="MODEL",
    help="Folder, .zip or name [default: all-MiniLM-L6-v2].",
)
@click.option("--revision", metavar="REVISION", help="Branch, tag or commit of a model on the hub.")
@click.option("--format", "format_", metavar="FORMAT", help="text, documents, jsonl, csv, … [default: by the path].")
@click.option(
    "--text", multiple=True, metavar="FIELD", help="Column that holds the text; several make a document each."
)
@click.option("--title", metavar="FIELD", help="Column that holds the title [default: title].")
@click.option("--id", "id_", metavar="FIELD", help="Column that holds the id [default: _id or id].")
@click.option("--type", "types", multiple=True, type=options.pair, metavar="FIELD=TYPE", help="As in year=int.")
@click.option("--read", multiple=True, type=options.pair, metavar="KEY=VALUE", help="Option of the reader.")
@click.option("--include", multiple=True, metavar="PATTERN", help="Of a folder: only files like this ('*.md').")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Of a folder: no files or folders like this.")
@click.option("--no-ignore", is_flag=True, help="Read what git would ignore, too.")
@click.option("--dry-run", is_flag=True, help="Read, split, encode a sample; tell passages, time and disk to come.")
@click.option("--on-error", type=click.Choice(["stop", "skip"]), help="At bad data [stop; skip in documents' folders].")
@click.option(
    "--vectors",
    type=options.file,
    metavar="FILE",
    help="Made elsewhere: .npy or .npz, a row a record; or a Parquet column.",
)
@click.option("--vector-column", metavar="COLUMN", help="Of --vectors in a Parquet file [default: vector].")
@click.option("--unchecked", is_flag=True, help="With --vectors: don't encode 100 texts again to see that they fit.")
@click.option("--passages", type=click.Choice(["on", "off"]), help="Split what is longer than the model reads [on].")
@options.index_backend("auto")
@click.option("--option", "settings", multiple=True, type=options.typed_pair, metavar="KEY=VALUE", help="Of the index.")
@click.option("--recall", type=click.FloatRange(0, 1, min_open=True), metavar="R", help="What the index must find.")
@click.option("--at", type=click.IntRange(min=1), default=10, show_default=True, help="Neighbours it is counted in.")
@click.option("--batch-tokens", type=click.IntRange(min=1), metavar="N", help="Tokens encoded at a time.")
@options.compute
@options.home
def index(path: str, **given: Any) -> int:
    r"""Read, split, encode and store the corpus at PATH, a file or a folder ('-': standard input).

    Text, JSON lines, CSV, TSV, Parquet, BEIR folders, documents (PDF, HTML, DOCX, EPUB, e-mail, Markdown, source code),
    and gzip versions of all; the kind is told from the path. What is committed stays: after an interruption the same
    command goes on where it stopped, and run again later it takes in what is new or changed ('semsearch sync' also
    takes out what vanished). It ends with a line like 'added 12, changed 3, unchanged 1,985, skipped 0'.

    \b
    semsearch index corpus.jsonl
    semsearch index films.csv --text plot --title name --type year=int
    zcat notes.txt.gz | semsearch index - --name notes --format text
    """
    from semsearch.ingest.scan import scan
    from semsearch.ingest.source import ReadReport, Source

    source = Source.of(
        path,
        given["format_"],
        _reader_options(given),
        include=given["include"],
        exclude=given["exclude"],
        ignore=not given["no_ignore"],
    )
    name = check_name(given["name"] or source.name)
    if given["vectors"]:
        return exchange.index_with_vectors(source, name, given)
    if given["encoder"] == NONE:
        raise UsageError("--encoder none makes a collection that is searched by vectors alone: give them by --vectors.")
    report = ReadReport(skip=given["on_error"] == "skip" or (given["on_error"] is None and source.forgiving))
    scanned = scan(source, report)  # an empty or unreadable corpus is told before a model is opened or anything is made

    if given["dry_run"]:
        return _estimate(scanned, name, Home.of(given["home"]), given)

    def fraction() -> float | None:
        return report.done / report.total if report.total else None

    home = Home.of(given["home"])
    made = False
    try:
        with Meter(name, fraction) as meter, ExitStack() as held:
            collection, made = _collection(name, home, source, given)
            held.enter_context(collection)
            changes = collection.add_from(scanned, progress=meter)
    except KeyboardInterrupt:
        raise click.Abort(f"interrupted: {left(name, home, made)}") from None
    except (DataError, StorageError, CollectionLocked) as error:
        error.add_note(left(name, home, made))
        raise
    _report(report, changes)
    if changes.vanished:
        say(f"{changes.vanished:,} documents are no more in the source: 'semsearch sync {name}' takes them out.")
    return 0


def _reader_options(given: dict[str, Any]) -> dict[str, Any]:
    chosen: dict[str, Any] = dict(given["read"])
    named = {"text": given["text"], "title": given["title"], "id": given["id_"], "types": dict(given["types"])}
    return chosen | {key: value for key, value in named.items() if value}


def _estimate(scanned: Scan, name: str, home: Home, given: dict[str, Any]) -> int:
    """Tell what the run would cost."""
    from semsearch import models
    from semsearch.encoder.load import DEFAULT_MODEL
    from semsearch.hardware import Compute
    from semsearch.ingest.estimate import estimate

    with ExitStack() as held:
        if name in home.names():
            collection = held.enter_context(_existing(name, home, scanned.source, given))
            encoder, engine = collection.encoder, collection.engine
            passages = bool(engine.settings["passages"])
            wanted, settings = engine.settings["index"]["backend"], engine.settings["index"]["options"]
        else:
            compute = Compute(given["device"], given["dtype"], given["batch_tokens"])
            encoder = models.encoder(given["encoder"] or DEFAULT_MODEL, compute, revision=given["revision"])
            engine = None
            passages = given["passages"] != "off"
            wanted, settings = given["backend"] or "auto", dict(given["settings"])
        told = estimate(scanned.documents, encoder, passages=passages, engine=engine, index=wanted, options=settings)
    for sentence in scanned.report.sentences():
        say(sentence)
    out(
        f"{told.documents:,} documents to encode ({told.unchanged:,} unchanged), {told.passages:,} passages: about "
        f"{duration(told.seconds)} at {told.speed:,.0f} passages a second, and {size(told.bytes)} on the disk"
    )
    return 0


def _collection(name: str, home: Home, source: Source, given: dict[str, Any]) -> tuple[Collection, bool]:
    """The collection, and whether it was made now."""
    if name not in home.names():
        with suppress(CollectionExists):  # another process may make it while this one opens the model
            return _new(name, home, given), True
    return _existing(name, home, source, given), False


def _new(name: str, home: Home, given: dict[str, Any]) -> Collection:
    import semsearch
    from semsearch.encoder.catalog import advice
    from semsearch.encoder.load import DEFAULT_MODEL

    if doubt := advice(given["encoder"] or DEFAULT_MODEL):
        say(doubt)
    return semsearch.create(
        name,
        home=home,
        encoder=given["encoder"] or DEFAULT_MODEL,
        revision=given["revision"],
        passages=given["passages"] != "off",
        index=given["backend"] or "auto",
        recall=given["recall"],
        at=given["at"],
        options=dict(given["settings"]),
        device=given["device"],
        dtype=given["dtype"],
        batch_tokens=given["batch_tokens"],
    )


def _existing(name: str, home: Home, source: Source, given: dict[str, Any]) -> Collection:
    """The collection as it was made; what is asked for now must not contradict it."""
    import semsearch

    compute = {key: given[key] for key in ("device", "dtype", "batch_tokens")}
    collection = semsearch.open(name, home=home, **compute)
    try:
        check_source(collection, source, given["add"])
        check_settings(collection, given)
    except BaseException:
        collection.close()
        raise
    return collection


def _report(report: ReadReport, changes: Changes) -> None:
    for sentence in report.sentences():
        say(sentence)
    if report.same:
        say(f"{report.same:,} records without an id were the same as one before, and are in the collection once.")
    if changes.truncated:
        say(f"{changes.truncated:,} texts were longer than the model reads, and were cut.")
    out(
        f"added {changes.added:,}, changed {changes.changed:,}, unchanged {changes.unchanged:,}, "
        f"skipped {report.skipped:,}"
    )
