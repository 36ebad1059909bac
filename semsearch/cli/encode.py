"""`semsearch encode`: parts of a source, for `semsearch index --from` to load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from semsearch import wire
from semsearch.cli import parameters, source_options
from semsearch.cli.parameters import ComputeOptions
from semsearch.cli.render import out, say
from semsearch.cli.source_options import ReadOptions
from semsearch.errors import UsageError

if TYPE_CHECKING:
    from semsearch.parts.part_encoding import EncodedParts

NAMED_ERRORS = 10  # the rest is counted


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """What `semsearch encode` takes."""

    source: str
    folder: str
    part: str | None
    parts: int | None
    on: str | None
    timeout: float | None
    encoder: str | None
    revision: str | None
    on_error: str | None
    passages: str | None
    batch_tokens: int | None
    as_json: bool
    reader: ReadOptions
    compute: ComputeOptions


@click.command(short_help="Encode one part of a corpus, or all: on many machines.")
@click.argument("source", type=parameters.file)
@click.option("--out", "folder", type=parameters.file, metavar="FOLDER", required=True, help="Where the parts go.")
@click.option(
    "--part",
    metavar="N/COUNT",
    help="Which, counted from 0 [default: SLURM_ARRAY_TASK_ID or JOB_COMPLETION_INDEX, of --parts].",
)
@click.option(
    "--parts", type=click.IntRange(min=1), metavar="COUNT", help="How many there are [SLURM: the array's tasks]."
)
@click.option("--on", metavar="WHERE", help="Make all parts: local:N (N processes here), ray://auto, ray://HOST:PORT.")
@click.option(
    "--timeout",
    type=parameters.NumberIn(0, min_open=True),
    metavar="SECONDS",
    help="With --on: how long a part may take before it is tried again.",
)
@click.option(
    "-m",
    "--encoder",
    type=parameters.model,
    metavar="MODEL",
    help="Folder, .zip or name [default: all-MiniLM-L6-v2].",
)
@click.option("--revision", metavar="REVISION", help="Branch, tag or commit of a model on the hub.")
@source_options.reading
@click.option("--on-error", type=click.Choice(["stop", "skip"]), help="At bad data [stop; skip in documents' folders].")
@click.option("--passages", type=click.Choice(["on", "off"]), help="Split what is longer than the model reads [on].")
@click.option("--batch-tokens", type=click.IntRange(min=1), metavar="N", help="Tokens encoded at a time.")
@parameters.as_json
@parameters.compute
@parameters.typed(EncodeOptions)
def encode(options: EncodeOptions) -> int:
    r"""Read the corpus SOURCE, and encode those of its documents that belong to one part, into FOLDER.

    Any number of machines can do so at once: which part a document belongs to is told by its content. A part is there
    only when it is whole, and one that is there is not made again, so after an interruption the same command makes what
    is missing. 'semsearch index NAME --from FOLDER' loads all parts into a collection, of whatever engine.

    \b
    semsearch encode corpus.jsonl --out parts/ --part 3/64
    semsearch encode corpus.jsonl --out parts/ --parts 64 --on local:4
    sbatch --array=0-63 --wrap "semsearch encode corpus.jsonl --out parts/"
    """
    import semsearch

    source = options.reader.source(options.source)
    skip = options.on_error == "skip" or (options.on_error is None and source.forgiving)
    errors: list[str] = []

    def tell(done: EncodedParts) -> None:
        if options.parts is not None and options.part is None:
            say(f"{done.made + done.there:,} of {options.parts:,} parts are there ({done.made:,} made now)")

    if options.encoder == "none":
        raise UsageError("--encoder none has nothing to encode with: name a model.")
    done = semsearch.encode(
        source,
        options.folder,
        part=options.part,
        parts=options.parts,
        on=options.on,
        **({} if options.encoder is None else {"encoder": options.encoder}),
        revision=options.revision,
        passages=options.passages != "off",
        device=options.compute.device,
        dtype=options.compute.dtype,
        batch_tokens=options.batch_tokens,
        timeout=options.timeout,
        on_error=(lambda error: errors.append(str(error))) if skip else None,
        progress=tell,
    )
    if options.as_json:
        out(wire.dumps(wire.message(**done._asdict(), folder=options.folder, errors=errors)))
        return 0
    for sentence in errors[:NAMED_ERRORS]:
        say(f"  {sentence}")
    if len(errors) > NAMED_ERRORS:
        say(f"  and {len(errors) - NAMED_ERRORS:,} more that could not be read or encoded.")
    if done.truncated:
        say(f"{done.truncated:,} texts were longer than the model reads, and were cut.")
    out(
        f"parts made {done.made:,}, there before {done.there:,}; in them documents {done.documents:,}, passages "
        f"{done.passages:,}, skipped {done.skipped:,}"
    )
    return 0


COMMANDS = (encode,)
