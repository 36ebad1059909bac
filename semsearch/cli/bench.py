"""`semsearch bench`: what each index gives on the collection's own vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from semsearch.cli import parameters as options
from semsearch.cli.maintenance import questions_of
from semsearch.cli.render import dumps, out, say, show_table
from semsearch.errors import MissingDependency, UsageError
from semsearch.home import Home


@click.command(short_help="Measure every index on the collection's own vectors.")
@click.argument("name", shell_complete=options.collections)
@click.option("--index", "backends", multiple=True, metavar="NAME", help="Only this one; may be repeated.")
@click.option("--at", type=click.IntRange(min=1), default=10, show_default=True, help="Neighbours that are counted.")
@click.option("--queries", metavar="FILE", help="Real questions to measure on, one a line or BEIR's queries.jsonl.")
@click.option(
    "--recall", type=click.FloatRange(0, 1, min_open=True), default=0.95, show_default=True, help="To recommend for."
)
@click.option("--quick", is_flag=True, help="Fewer builds, shorter measurements.")
@click.option("--apply", "apply_it", is_flag=True, help="Build the index that is recommended.")
@click.option(
    "--out", "folder", type=click.Path(file_okay=False), metavar="FOLDER", help="Where the results and the report go."
)
@options.as_json
@options.compute
@options.home
def bench(
    name: str,
    backends: tuple[str, ...],
    at: int,
    queries: str | None,
    recall: float,
    quick: bool,
    apply_it: bool,
    folder: str | None,
    as_json: bool,
    home: str | None,
    **compute: Any,
) -> int:
    r"""Measure what each installed index gives on the vectors of collection NAME: recall, latency, rate, size.

    Every build is measured in a process of its own, on one thread and on all, beside its library called by hand. With
    --out the measurements (results.jsonl), plots (PNG) and a page with all of them (report.html) are written. A star
    marks what nothing beats in recall and rate at once.

    \b
    semsearch bench corpus --quick
    semsearch bench corpus --queries questions.txt --recall 0.98 --out bench/ --apply
    """
    import semsearch
    from semsearch.bench.report import COLUMNS, cells, named, write_report
    from semsearch.bench.run import Plan, pareto, recommended
    from semsearch.bench.run import bench as measured

    place = None if folder is None else Path(folder)
    if place is not None:
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"the folder {place} can't be made: {error.strerror or error}.") from error
    plan = Plan(at=at, backends=backends, quick=quick, seconds=0.2 if quick else 0.5, rounds=1 if quick else 3)
    with semsearch.open(name, home=Home.of(home), **compute) as collection:
        questions = questions_of(queries)
        asked = None if questions is None else collection.encoder.encode_queries(questions)
        with collection.engine.view() as view:
            keys, vectors = view.arrays()
        run = measured(keys, vectors, collection.metric, plan, asked, say)
        facts, *lines = run
        if not lines:
            raise UsageError("nothing could be measured; what was said above tells why.")
        best = recommended(lines, recall)
        if as_json:
            for line in (facts, *lines):
                out(dumps(line))
        else:
            front = set(pareto(lines))
            show_table((*COLUMNS, ""), [[*cells(line), "*" if i in front else ""] for i, line in enumerate(lines)])
        if place is not None:
            text = "".join(json.dumps(line) + "\n" for line in (facts, *lines))
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
        if apply_it:
            collection.reindex(best["backend"], {**best["options"], **setting})
            say(f"built {named(best)} for '{name}'")
    return 0
