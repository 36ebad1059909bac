"""Over time: `semsearch reindex, tune, check, repair, migrate, compact, backup, restore, reencode, language`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import semsearch
from semsearch import wire
from semsearch.cli import parameters
from semsearch.cli.render import out, say, show_table, size
from semsearch.cli.target import NONE
from semsearch.controls import one_line
from semsearch.errors import UsageError
from semsearch.home import Home
from semsearch.search.languages import described

if TYPE_CHECKING:
    from semsearch.collection import Collection
    from semsearch.search.recall import Certificate


def show_certificate(certificate: Certificate, given: str | None) -> None:
    """The curve that was measured, and the outcome in a sentence."""
    if certificate.knob is not None:
        rows = [
            (point.value, f"{point.recall:.4f}", f"{point.p50:.2f}", f"{point.p99:.2f}", f"{point.qps:,.0f}")
            for point in certificate.curve
        ]
        show_table((certificate.knob, f"recall@{certificate.k}", "p50 ms", "p99 ms", "queries/s"), rows)
    say(certificate.summary)
    if certificate.source != "queries":
        say("No questions were given: these were made of the collection itself. --queries FILE takes real ones.")
    elif given is None:
        say("Measured on the questions that were given before; --queries FILE takes others.")


@dataclass(frozen=True, slots=True)
class ReindexOptions:
    """What `semsearch reindex` takes."""

    name: str
    backend: str | None
    index_options: tuple[tuple[str, Any], ...]
    recall: float | None
    k: int
    queries: str | None
    home: str | None


@click.command(short_help="Build the index anew, to a recall if asked.")
@click.argument("name", shell_complete=parameters.collections)
@parameters.index_backend("as before")
@click.option(
    "--option", "index_options", multiple=True, type=parameters.typed_pair, metavar="KEY=VALUE", help="Of the index."
)
@click.option("--recall", type=parameters.NumberIn(0, 1, min_open=True), metavar="R", help="What the index must find.")
@parameters.recall
@parameters.threads
@parameters.home
@parameters.typed(ReindexOptions)
def reindex(options: ReindexOptions) -> int:
    r"""Build the index of collection NAME anew over all that is there, beside readers and writers.

    With --recall its setting is chosen and certified: half of the queries choose, the other half prove.

    \b
    semsearch reindex corpus --index hnsw --recall 0.95 --at 10
    """
    with semsearch.open(options.name, home=Home.of(options.home)) as collection:
        certificate = collection.reindex(
            options.backend,
            dict(options.index_options) or None,
            recall=options.recall,
            k=options.k,
            queries=parameters.questions_of(options.queries),
        )
        facts = collection.info()["index"]
    if certificate is not None:
        show_certificate(certificate, options.queries)
    if facts["wanted"]["backend"] == "auto":
        say(facts["why"])
    out(f"index {facts['backend']}, rows {facts['rows']:,}")
    return 0 if certificate is None or certificate.met else 1


@click.command(short_help="Show or change the language whose stemmer finds the words.")
@click.argument("name", shell_complete=parameters.collections)
@click.argument("language", required=False, shell_complete=parameters.complete_language)
@parameters.home
def language(name: str, language: str | None, home: str | None) -> int:
    r"""Show the languages whose stemmers find the words of collection NAME; with LANGUAGE, find all words anew by it.

    No vector changes. Several languages stand with commas between; 'auto' finds out by the texts that are there.

    \b
    semsearch language corpus
    semsearch language corpus de,en
    """
    with semsearch.open(name, home=Home.of(home)) as collection:
        if language is not None:
            collection.change_language(None if language == "auto" else language)
        found = collection.languages
    if found is None:
        out("none yet: too little text to tell")
    else:
        out(described(found) or "none: each script's usual one")
    return 0


@click.command(short_help="Set the index to a recall, without building it anew.")
@click.argument("name", shell_complete=parameters.collections)
@click.option("--recall", type=parameters.NumberIn(0, 1, min_open=True), required=True, metavar="R", help="To be kept.")
@parameters.recall
@parameters.threads
@parameters.home
def tune(name: str, recall: float, k: int, queries: str | None, home: str | None) -> int:
    r"""Choose the setting of collection NAME's index that keeps a recall, certify it, and use it from now on.

    \b
    semsearch tune corpus --recall 0.98 --queries questions.txt
    """
    with semsearch.open(name, home=Home.of(home)) as collection:
        certificate = collection.tune(recall, k, queries=parameters.questions_of(queries))
    show_certificate(certificate, queries)
    setting = f"{certificate.knob} {certificate.value}, " if certificate.knob else ""
    out(f"{setting}recall {certificate.recall:.4f}, certified {certificate.certified:.4f}")
    return 0 if certificate.met else 1


@click.command(short_help="Look a collection over.")
@click.argument("name", shell_complete=parameters.collections)
@click.option("--deep", is_flag=True, help="Read everything: every checksum, vector and word.")
@parameters.as_json
@parameters.home
def check(name: str, deep: bool, as_json: bool, home: str | None) -> int:
    r"""Say what is wrong with collection NAME and what fixes it. Nothing is changed. The exit code is 4 if anything is.

    \b
    semsearch check corpus --deep
    """
    with semsearch.open(name, home=Home.of(home)) as collection:
        problems = collection.check(deep=deep)
    for problem in problems:
        if as_json:
            out(wire.dumps(wire.problem(problem)))
        else:
            out(one_line(f"{problem.part}: {problem.what}. To fix it: {problem.fix}"))
    if not problems:
        say(f"'{name}' is sound." if deep else f"'{name}' is sound, as far as a quick look tells (--deep reads all).")
    return 4 if problems else 0


@click.command(short_help="Mend what check finds.")
@click.argument("name", shell_complete=parameters.collections)
@parameters.compute
@parameters.home
def repair(name: str, device: str | None, dtype: str | None, home: str | None) -> int:
    r"""Mend collection NAME from what is whole: vectors from the stored text, words and indexes from the documents.

    \b
    semsearch repair corpus
    """
    with semsearch.open(name, home=Home.of(home), device=device, dtype=dtype) as collection:
        done = collection.repair()
    for sentence in done:
        out(one_line(sentence))
    if not done:
        say(f"'{name}' needed nothing.")
    return 0


@click.command(short_help="Bring a collection in a database forward to this version.")
@click.argument("name", shell_complete=parameters.collections)
@parameters.home
def migrate(name: str, home: str | None) -> int:
    r"""Bring collection NAME forward to what this version of semsearch makes; older versions refuse it from then on.

    Folders are brought forward when they are opened. In a database it is a step of its own, once all who use the
    collection have a version that knows it.

    \b
    semsearch migrate corpus --home postgresql://user@host/database
    """
    with semsearch.open(name, home=Home.of(home)) as collection:
        done = collection.migrate()
    for sentence in done:
        out(one_line(sentence))
    if not done:
        say(f"'{name}' needed nothing.")
    return 0


@click.command(short_help="Give removed documents' bytes back, and erase them.")
@click.argument("name", shell_complete=parameters.collections)
@parameters.home
def compact(name: str, home: str | None) -> int:
    r"""Rewrite collection NAME without what was removed, and erase it from every file. Readers go on meanwhile.

    \b
    semsearch compact corpus
    """
    with semsearch.open(name, home=Home.of(home)) as collection:
        done = collection.compact()
    out(f"removed {done.rows:,} dead rows, {size(done.bytes_before)} before, {size(done.bytes_after)} after")
    if not done.erased:
        say("not yet erased: a reader still holds the old state. Run it again when that reader has ended.")
    return 0


@click.command(short_help="Copy a collection into one file, while it is used.")
@click.argument("name", shell_complete=parameters.collections)
@click.argument("file", type=parameters.NamedPath(dir_okay=False))
@parameters.home
def backup(name: str, file: str, home: str | None) -> int:
    r"""Write collection NAME, as it stands at one moment, to FILE (a tar archive). Writing to it goes on meanwhile.

    \b
    semsearch backup corpus corpus.backup
    """
    with semsearch.open(name, home=Home.of(home)) as collection:
        written = collection.backup(Path(file))
    say(f"wrote {file}, {size(written)}")
    return 0


@click.command(short_help="Make a collection from a backup.")
@click.argument("file", type=parameters.NamedPath(dir_okay=False))
@click.option("--name", metavar="NAME", help="Another name than it had.")
@parameters.home
def restore(file: str, name: str | None, home: str | None) -> int:
    r"""Make a collection from FILE, a backup. Its digests are checked first; an index is built when it is next written.

    \b
    semsearch restore corpus.backup --name corpus-again
    """
    place = Home.of(home)
    made = semsearch.restore(file, name, home=place)
    say(f"restored '{made}' in {place.location}")
    return 0


@click.command(short_help="Change the model, from the stored text.")
@click.argument("name", shell_complete=parameters.collections)
@click.option("-m", "--encoder", type=parameters.model, metavar="MODEL", help="Folder, .zip, hub or bare name.")
@click.option(
    "--sparse", type=parameters.model, metavar="MODEL", help="A sparse model, beside the other; none: without one."
)
@click.option("--revision", metavar="REVISION", help="Branch, tag or commit of a model on the hub.")
@click.option("--undo", is_flag=True, help="Change back to the model of before the last change.")
@parameters.compute
@parameters.home
def reencode(
    name: str,
    encoder: str | None,
    sparse: str | None,
    revision: str | None,
    undo: bool,
    device: str | None,
    dtype: str | None,
    home: str | None,
) -> int:
    r"""Encode all documents of collection NAME anew with another model. The present one serves until all is done.

    After an interruption the same command resumes. With --sparse the vectors that are there stay as they are, and each
    passage gets those of a sparse model as well.

    \b
    semsearch reencode corpus --encoder BAAI/bge-small-en-v1.5
    semsearch reencode corpus --undo
    semsearch reencode corpus --sparse prithivida/Splade_PP_en_v2
    """
    if (encoder is not None) + (sparse is not None) + undo != 1:
        raise UsageError(
            "say which model to take: --encoder MODEL, --undo for the one before, or --sparse MODEL beside it."
        )
    with semsearch.open(name, home=Home.of(home), device=device, dtype=dtype) as collection:
        if sparse is not None:
            return _sparse(collection, sparse, revision)
        total = len(collection)

        def tell(done: int) -> None:
            say(f"{done:,} of at most {total:,} documents encoded")

        try:
            if encoder is None:
                count = collection.undo_reencode(progress=tell)
            else:
                count = collection.reencode(encoder, revision=revision, progress=tell)
        except KeyboardInterrupt:
            raise click.Abort(
                f"interrupted: '{name}' is as it was; the same command goes on from what is encoded."
            ) from None
    out(f"encoded {count:,}")
    return 0


def _sparse(collection: Collection, model: str, revision: str | None) -> int:
    """Give a collection a sparse model, another one or none."""
    if model == NONE:
        collection.remove_sparse()
        out("took out the sparse vectors")
        return 0
    total = collection.count_passages()
    try:
        count = collection.add_sparse(
            model, revision=revision, progress=lambda done: say(f"{done:,} of at most {total:,} passages encoded")
        )
    except KeyboardInterrupt:
        raise click.Abort("interrupted: the same command goes on from what is encoded.") from None
    out(f"encoded {count:,}")
    return 0


COMMANDS = (reindex, tune, check, repair, migrate, compact, backup, restore, reencode, language)
