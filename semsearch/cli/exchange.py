"""`semsearch export, import`, and `index --vectors`: vectors out of and into collections."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from semsearch.cli import parameters as options
from semsearch.cli.remembered import NONE, check_settings, check_source, left
from semsearch.cli.render import out, say
from semsearch.errors import DataError, DimensionMismatch, UsageError
from semsearch.home import Home
from semsearch.names import check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from semsearch.collection import Collection
    from semsearch.ingest.pipeline import Changes
    from semsearch.ingest.source import Source
    from semsearch.types import Document


@click.command(short_help="Write passages and vectors as files that anything can read.")
@click.argument("name", shell_complete=options.collections)
@click.argument("folder", type=options.file, metavar="DIR")
@click.option("--parquet", is_flag=True, help="One Parquet file instead of vectors.npy and passages.jsonl.")
@options.home
def export(name: str, folder: str, parquet: bool, home: str | None) -> int:
    r"""Write the passages of collection NAME and their vectors into the new folder DIR.

    vectors.npy has a row for each line of passages.jsonl; 'semsearch index DIR/passages.jsonl --vectors
    DIR/vectors.npy' takes them in again.

    \b
    semsearch export corpus corpus-vectors/
    """
    import semsearch

    with semsearch.open(name, home=Home.of(home)) as collection:
        count = collection.export(folder, parquet=parquet)
    out(f"exported {count:,} passages to {folder}")
    return 0


@click.command("import", short_help="Take in texts and vectors from another tool's file.")
@click.argument("path", type=options.file)
@click.option("--name", metavar="NAME", help="Of the collection [default: the stem of the file's name].")
@click.option("-m", "--encoder", type=options.model, metavar="MODEL", help="That made them, or 'none'.", required=True)
@click.option("--from", "inside", metavar="NAME", help="The collection or table of a store that holds several.")
@click.option("--unchecked", is_flag=True, help="Don't encode 100 of the texts again to see that they fit the model.")
@options.compute
@options.home
def import_vectors(path: str, **given: Any) -> int:
    r"""Take in the texts and vectors in PATH.

    An .npz, a pickle as sentence-transformers' examples write it, or the folder of a Chroma or LanceDB store (where its
    package is installed).

    In a file they are arrays or lists called 'texts' (or 'sentences') and 'vectors' (or 'embeddings'), and 'ids' where
    there are some. Of a pickle only data is read, nothing in it runs.

    \b
    semsearch import embeddings.pkl --encoder all-MiniLM-L6-v2
    semsearch import chroma/ --from articles --encoder all-MiniLM-L6-v2
    """
    from semsearch.exchange.chroma_lancedb import is_store, read_store
    from semsearch.ingest.precomputed import read_together

    place = Path(path)
    if is_store(place):
        documents, vectors = read_store(place, given["inside"])
        return _import(check_name(given["name"] or given["inside"] or place.stem), documents, vectors, given)
    if not place.is_file():
        wrong = "is no store of Chroma or LanceDB" if place.is_dir() else "is not there"
        raise UsageError(f"'{path}' {wrong}.")
    if place.suffix not in (".npz", ".pkl", ".pickle"):
        raise UsageError(f"'{path}' is neither .npz nor .pkl; 'semsearch index FILE --vectors V.npy' takes two files.")
    documents, vectors = read_together(place)
    return _import(check_name(given["name"] or place.stem), documents, vectors, given)


def index_with_vectors(source: Source, name: str, given: dict[str, Any]) -> int:
    """`semsearch index PATH --vectors FILE`."""
    from semsearch.ingest.scan import scan
    from semsearch.ingest.source import ReadReport

    if given["dry_run"]:
        raise UsageError("--dry-run tells what encoding will cost, and with --vectors nothing is encoded.")
    source = source.with_vectors(given["vectors"], given["vector_column"])
    scanned = scan(source, ReadReport(), unchecked=given["unchecked"])
    precomputed = scanned.precomputed
    assert precomputed is not None

    def put(collection: Collection, made: bool) -> Changes:
        if made:
            precomputed.check = False  # they were checked before
        else:
            check_source(collection, source, given["add"])
        return collection.add_from(scanned)

    changes = _put(name, precomputed.documents, precomputed.vectors, given, put)
    if changes.vanished:
        say(f"{changes.vanished:,} documents are no more in the source: 'semsearch sync {name}' takes them out.")
    return 0


def _import(name: str, documents: Sequence[Document], vectors: Any, given: dict[str, Any]) -> int:
    """Check the vectors against the model, and put them in."""
    if getattr(vectors, "ndim", 0) != 2 or len(vectors) != len(documents):
        shape = getattr(vectors, "shape", "none")
        raise DimensionMismatch(f"{len(documents):,} documents need as many vectors, of shape (n, dim); got {shape}.")

    def put(collection: Collection, made: bool) -> Changes:
        if not made and collection.settings["encoder"] is not None and not given["unchecked"]:
            _checked(documents, vectors, collection.encoder)
        return collection.add(documents, vectors)

    _put(name, documents, vectors, given, put)
    return 0


def _put(
    name: str,
    documents: Sequence[Document],
    vectors: Any,
    given: dict[str, Any],
    put: Callable[[Collection, bool], Changes],
) -> Changes:
    """Open the collection, or make it, and `put` them in."""
    import semsearch

    home = Home.of(given["home"])
    made = name not in home.names()
    if made:
        collection = _new(name, home, documents, vectors, given)
    else:
        collection = semsearch.open(name, home=home, device=given["device"], dtype=given["dtype"])
    try:
        with collection:
            if not made:
                check_settings(collection, given)
            changes = put(collection, made)
    except DataError as error:
        error.add_note(left(name, home, made))
        raise
    out(
        f"added {changes.added:,}, changed {changes.changed:,}, unchanged {changes.unchanged:,}, "
        f"skipped {changes.skipped:,}"
    )
    return changes


def _new(name: str, home: Home, documents: Sequence[Document], vectors: Any, given: dict[str, Any]) -> Collection:
    """A new collection, once the vectors are known to be its model's."""
    import semsearch
    from semsearch import models
    from semsearch.encoder.load import DEFAULT_MODEL
    from semsearch.hardware import Compute

    index: dict[str, Any] = {"index": given.get("backend") or "auto", "options": dict(given.get("settings", ()))}
    index |= {"recall": given.get("recall"), "at": given.get("at", 10)}
    if given["encoder"] == NONE:
        return semsearch.create(name, home=home, encoder=None, dim=vectors.shape[1], **index)
    model: dict[str, Any] = {"device": given["device"], "dtype": given["dtype"], "revision": given.get("revision")}
    compute = Compute(given["device"], given["dtype"])
    encoder = models.encoder(given["encoder"] or DEFAULT_MODEL, compute, revision=given.get("revision"))
    if not given["unchecked"]:
        _checked(documents, vectors, encoder)
    return semsearch.create(
        name,
        home=home,
        encoder=given["encoder"] or DEFAULT_MODEL,
        passages=given.get("passages") != "off",
        **model,
        **index,
    )


def _checked(documents: Sequence[Document], vectors: Any, encoder: Any) -> None:
    from semsearch.ingest.precomputed import TEXTS_CHECKED, check_given

    if vectors.shape[1] != encoder.dim:
        raise DimensionMismatch(f"the vectors have {vectors.shape[1]} components, the model's {encoder.dim}.")
    worst = check_given(documents, vectors, encoder)
    count = min(TEXTS_CHECKED, len(documents))
    say(f"encoded {count} of the texts again: the least alike vectors have a cosine of {worst:.4f}.")


COMMANDS = (export, import_vectors)
