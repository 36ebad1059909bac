"""`semsearch bench`: what each index gives on the collection's own vectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

import semsearch
from semsearch import wire
from semsearch.cli import parameters
from semsearch.cli.parameters import ComputeOptions
from semsearch.cli.render import out, say, show_table
from semsearch.errors import MissingDependency, UsageError
from semsearch.home import Home


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What `semsearch bench` takes."""

    name: str
    backends: tuple[str, ...]
    k: int
    queries: str | None
    recall: float
    quick: bool
    apply_it: bool
    folder: str | None
    as_json: bool
    compute: ComputeOptions
    home: str | None


@click.command(short_help="Measure every index on the collection's own vectors.")
@click.argument("name", shell_complete=parameters.collections)
@click.option("--index", "backends", multiple=True, metavar="NAME", help="Only this one; may be repeated.")
@click.option(
    "--at", "k", type=click.IntRange(min=1), default=10, show_default=True, help="Neighbours that are counted."
)
@click.option(
    "--queries",
    type=parameters.file,
    metavar="FILE",
    help="Real questions to measure on, one a line or BEIR's queries.jsonl.",
)
@click.option(
    "--recall", type=parameters.NumberIn(0, 1, min_open=True), default=0.95, show_default=True, help="To recommend for."
)
@click.option("--quick", is_flag=True, help="Fewer builds, shorter measurements.")
@click.option("--apply", "apply_it", is_flag=True, help="Build the index that is recommended.")
@click.option(
    "--out",
    "folder",
    type=parameters.NamedPath(file_okay=False),
    metavar="FOLDER",
    help="Where the results and the report go.",
)
@parameters.as_json
@parameters.compute
@parameters.home
@parameters.typed(BenchOptions)
def bench(options: BenchOptions) -> int:
    r"""Measure what each installed index gives on the vectors of collection NAME: recall, latency, rate, size.

    Every build is measured in a process of its own, on one thread and on all, beside its library called by hand. With
    --out the measurements (results.jsonl), plots (PNG) and a page with all of them (report.html) are written. A star
    marks what nothing beats in recall and rate at once.

    \b
    semsearch bench corpus --quick
    semsearch bench corpus --queries questions.txt --recall 0.98 --out bench/ --apply
    """
    from semsearch.bench.report import REPORT_COLUMNS, cells, named, write_report
    from semsearch.bench.run import Plan, pareto, recommended
    from semsearch.bench.run import bench as measured

    name, recall, quick, compute = options.name, options.recall, options.quick, options.compute
    place = None if options.folder is None else Path(options.folder)
    if place is not None:
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"the folder {place} can't be made: {error.strerror or error}.") from error
    seconds, rounds = (0.2, 1) if quick else (0.5, 3)
    plan = Plan(k=options.k, backends=options.backends, quick=quick, seconds=seconds, rounds=rounds)
    home = Home.of(options.home)
    with semsearch.open(name, home=home, device=compute.device, dtype=compute.dtype) as collection:
        questions = parameters.questions_of(options.queries)
        asked = None if questions is None else collection.encoder.encode_queries(questions)
        keys, vectors = collection.arrays()
        run = measured(keys, vectors, collection.metric, plan, asked, say)
        facts, *lines = run
        if not lines:
            raise UsageError("nothing could be measured; what was said above tells why.")
        best = recommended(lines, recall)
        if options.as_json:
            for line in (facts, *lines):
                out(wire.dumps(line))
        else:
            front = set(pareto(lines))
            show_table(
                (*REPORT_COLUMNS, ""), [[*cells(line), "*" if i in front else ""] for i, line in enumerate(lines)]
            )
        if place is not None:
            text = "".join(wire.dumps(line) + "\n" for line in (facts, *lines))
            (place / "results.jsonl").write_text(text, encoding="utf-8")
            try:
                for path in write_report(place, facts, lines):
                    say(f"wrote {path}")
            except MissingDependency as error:
                say(str(error))
        if best is None:
            say(f"no index reaches a recall of {recall:g} here; exact search does.")
            return 0
        setting = {} if best["knob"] is None else {best["knob"]: best["value"]}
        said = " ".join(f"--option {key}={value}" for key, value in {**best["options"], **setting}.items())
        say(
            f"recommended for a recall of {recall:g}: {named(best)}, {best['p50_ms']:.2f} ms a query, recall "
            f"{best['recall']:.4f}: semsearch reindex {name} --index {best['backend']} {said}".rstrip()
        )
        if options.apply_it:
            collection.reindex(best["backend"], {**best["options"], **setting})
            say(f"built {named(best)} for '{name}'")
    return 0
