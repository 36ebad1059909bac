"""`semsearch export, import`, and `index --vectors`: vectors out of and into collections."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from semsearch.cli import options
from semsearch.cli.render import out, say
from semsearch.errors import DataError, DimensionMismatch, UsageError
from semsearch.settings import check_name, collection_names, find_home

if TYPE_CHECKING:
    from collections.abc import Sequence

    from semsearch.source import Source
    from semsearch.types import Document

NONE = "none"


@click.command(short_help="Write passages and vectors as files that anything can read.")
@click.argument("name")
@click.argument("folder", metavar="DIR")
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
    from semsearch.exporting import export as write

    with semsearch.open(name, home=find_home(home)) as collection:
        count = write(collection.store, Path(folder), parquet=parquet)
    out(f"exported {count:,} passages to {folder}")
    return 0


@click.command("import", short_help="Take in texts and vectors from another tool's file.")
@click.argument("path")
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
    from semsearch.foreign_stores import is_store, read_store
    from semsearch.given_vectors import read_together

    place = Path(path)
    if is_store(place):
        documents, vectors = read_store(place, given["inside"])
        return store_given(check_name(given["name"] or given["inside"] or place.stem), documents, vectors, given)
    if not place.is_file():
        raise UsageError(f"there is no file '{path}'.")
    if place.suffix not in (".npz", ".pkl", ".pickle"):
        raise UsageError(f"'{path}' is neither .npz nor .pkl; 'semsearch index FILE --vectors V.npy' takes two files.")
    documents, vectors = read_together(place)
    return store_given(check_name(given["name"] or place.stem), documents, vectors, given)


def index_with_vectors(source: Source, name: str, given: dict[str, Any]) -> int:
    """`semsearch index PATH --vectors FILE`."""
    from semsearch.given_vectors import read_vectors
    from semsearch.source import Log

    log = Log()
    documents = list(source.read(log))
    if log.same:
        raise DataError(
            f"{log.same:,} records without an id are the same as one before, so that vectors and records can't be "
            "matched: give each record an id."
        )
    path = Path(given["vectors"])
    if path.is_file():
        vectors = read_vectors(path, given["vector_column"])
    elif source.path.endswith(".parquet"):
        vectors = read_vectors(Path(source.path), given["vectors"])
    else:
        raise UsageError(f"there is no file '{given['vectors']}'.")
    return store_given(name, documents, vectors, given)


def store_given(name: str, documents: Sequence[Document], vectors: Any, given: dict[str, Any]) -> int:
    """Check the vectors against the model, and put them in."""
    import semsearch

    if getattr(vectors, "ndim", 0) != 2 or len(vectors) != len(documents):
        shape = getattr(vectors, "shape", "none")
        raise DimensionMismatch(f"{len(documents):,} documents need as many vectors, of shape (n, dim); got {shape}.")
    home = find_home(given["home"])
    compute = {"device": given["device"], "dtype": given["dtype"]}
    if name in collection_names(home):
        collection = semsearch.open(name, home=home, **compute)
        if collection.store.settings["encoder"] is not None and not given["unchecked"]:
            with collection:
                _checked(documents, vectors, collection.encoder)
            collection = semsearch.open(name, home=home, **compute)
    elif given["encoder"] == NONE:
        collection = semsearch.create(name, home=home, encoder=None, dim=vectors.shape[1])
    else:
        from semsearch.encoder.load import DEFAULT_MODEL
        from semsearch.encoder.own import named_encoder

        encoder = named_encoder(given["encoder"] or DEFAULT_MODEL, **compute)
        if not given["unchecked"]:
            _checked(documents, vectors, encoder)
        collection = semsearch.create(name, home=home, encoder=given["encoder"] or DEFAULT_MODEL, **compute)
    with collection:
        changes = collection.add(documents, vectors)
    out(f"added {changes.added:,}, changed {changes.changed:,}, unchanged {changes.unchanged:,}, skipped 0")
    return 0


def _checked(documents: Sequence[Document], vectors: Any, encoder: Any) -> None:
    from semsearch.given_vectors import SAMPLE, check_given

    if vectors.shape[1] != encoder.dim:
        raise DimensionMismatch(f"the vectors have {vectors.shape[1]} components, the model's {encoder.dim}.")
    worst = check_given(documents, vectors, encoder)
    count = min(SAMPLE, len(documents))
    say(f"encoded {count} of the texts again: the least alike vectors have a cosine of {worst:.4f}.")


COMMANDS = (export, import_vectors)
