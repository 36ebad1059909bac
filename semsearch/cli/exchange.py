"""`semsearch export, copy, import`: vectors out of collections, and into them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

import semsearch
from semsearch.cli import parameters
from semsearch.cli.parameters import ComputeOptions
from semsearch.cli.render import out, say
from semsearch.cli.target import CreateOptions, check_lasting, check_vectors, summary, target, tell_made
from semsearch.errors import DimensionMismatch, UsageError
from semsearch.home import Home
from semsearch.names import check_name

TOOL_NAMES = ("chroma", "lancedb", "qdrant", "faiss", "txtai")


@click.command(short_help="Write passages and vectors as files that anything can read.")
@click.argument("name", shell_complete=parameters.collections)
@click.argument("folder", type=parameters.file, metavar="PLACE")
@click.option("--parquet", is_flag=True, help="Parquet instead of vectors.npy and passages.jsonl.")
@parameters.home
def export(name: str, folder: str, parquet: bool, home: str | None) -> int:
    r"""Write the passages of collection NAME and their vectors into PLACE, a new folder, or a new file ….parquet.

    vectors.npy has a row for each line of passages.jsonl; 'semsearch index PLACE/passages.jsonl --vectors
    PLACE/vectors.npy' takes them in again.

    \b
    semsearch export corpus corpus-vectors/
    semsearch export corpus --parquet corpus.parquet
    """
    with semsearch.open(name, home=Home.of(home)) as collection:
        count = collection.export(folder, parquet=parquet)
    out(f"exported {count:,} passages to {folder}")
    return 0


@click.command(short_help="Copy a collection into another home, another engine's too.")
@click.argument("name", shell_complete=parameters.collections)
@click.option("--to", required=True, metavar="HOME", help="A folder, or a URL: postgresql://…, http://…")
@click.option("--as", "new_name", metavar="NAME", help="What it is called there [default: as here].")
@parameters.home
def copy(name: str, to: str, new_name: str | None, home: str | None) -> int:
    r"""Copy collection NAME into another home, whatever keeps either: documents, vectors, settings and sources.

    Nothing is encoded. After an interruption the same command goes on; in the end both are held against each other.

    \b
    semsearch copy corpus --to postgresql://user@host/database
    semsearch copy corpus --home postgresql://user@host/database --to ~/search
    """
    if not to.strip():
        raise UsageError("--to needs the home that the copy goes to: a folder, or a URL.")
    place = Home.of(to)
    check_lasting(place)
    count = semsearch.copy(
        name, place, home=home, new_name=new_name, progress=lambda done: say(f"{done:,} documents are there")
    )
    out(f"copied {count:,} documents to '{new_name or name}' in {place.location}, and compared them")
    return 0


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What `semsearch import` takes."""

    path: str
    name: str | None
    encoder: str
    tool: str | None
    inside: str | None
    unchecked: bool
    compute: ComputeOptions
    home: str | None


@click.command("import", short_help="Take in texts and vectors from another tool's file.")
@click.argument("path", type=parameters.file)
@click.option("--name", metavar="NAME", help="Of the collection [default: the file's name, without its ending].")
@click.option(
    "-m", "--encoder", type=parameters.model, metavar="MODEL", help="That made them, or 'none'.", required=True
)
@click.option("--from", "tool", type=click.Choice(TOOL_NAMES), help="Whose folder it is [default: what it looks like].")
@click.option("--inside", metavar="NAME", help="The collection, table or index of a store that holds several.")
@click.option("--unchecked", is_flag=True, help="Don't encode 100 of the texts again to see that they fit the model.")
@parameters.compute
@parameters.home
@parameters.typed(ImportOptions)
def import_vectors(options: ImportOptions) -> int:
    r"""Take in the texts and vectors in PATH.

    An .npz, a pickle as sentence-transformers' examples write it, or what another tool keeps on the disk: the folder
    of a Chroma or LanceDB store (where its package is installed), of Qdrant's client or of txtai, or a flat index of
    FAISS's with its texts beside it. What was taken from a store is held against it in the end.

    In a file they are arrays or lists called 'texts' (or 'sentences') and 'vectors' (or 'embeddings'), and 'ids' where
    there are some. Of a pickle only data is read, nothing in it runs.

    \b
    semsearch import embeddings.pkl --encoder all-MiniLM-L6-v2
    semsearch import --from chroma chroma/ --inside articles --encoder all-MiniLM-L6-v2
    semsearch import --from faiss folder/ --encoder all-MiniLM-L6-v2
    """
    from semsearch.ingest.precomputed import read_together
    from semsearch.ingest.stores.other_stores import read_from, tool_of, verify_taken

    place = Path(options.path)
    tool = options.tool or tool_of(place)
    if tool is not None:
        documents, vectors = read_from(tool, place, options.inside)
        name = (options.inside or place.stem) if options.name is None else options.name
    elif not place.is_file():
        wrong = "is no file" if place.exists() else "is not there"
        store = f"is no store of {', '.join(TOOL_NAMES)}"
        raise UsageError(f"'{options.path}' {store if place.is_dir() else wrong}.")
    elif place.suffix not in (".npz", ".pkl", ".pickle"):
        raise UsageError(
            f"'{options.path}' is neither .npz nor .pkl; 'semsearch index FILE --vectors V.npy' takes two files."
        )
    else:
        documents, vectors = read_together(place)
        name = place.stem if options.name is None else options.name
    name = check_name(name)
    if getattr(vectors, "ndim", 0) != 2 or len(vectors) != len(documents):
        shape = getattr(vectors, "shape", "none")
        raise DimensionMismatch(f"{len(documents):,} documents need as many vectors, of shape (n, dim); got {shape}.")
    create = CreateOptions(encoder=options.encoder, compute=options.compute)

    def check() -> None:
        if create.model is not None and not options.unchecked:
            check_vectors(documents, vectors, create.open_model())

    home = Home.of(options.home)
    with target(name, home, create, dim=vectors.shape[1], before=check) as (collection, made):
        if not made and collection.settings["encoder"] is not None and not options.unchecked:
            check_vectors(documents, vectors, collection.encoder)
        changes = collection.add(documents, vectors)
        sampled = verify_taken(collection.engine, documents, vectors, alone=made) if tool is not None else 0
    tell_made(name, home, made)
    out(summary(changes))
    if sampled:
        say(f"all {len(documents):,} records are there, and {sampled} of them were found again as in the store")
    return 0


COMMANDS = (export, copy, import_vectors)
