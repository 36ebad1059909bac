"""`semsearch similar, calibrate`: more like this, and what scores mean."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import click

import semsearch
from semsearch.cli import formats, parameters
from semsearch.cli.parameters import ComputeOptions
from semsearch.cli.query import form_of, print_answer
from semsearch.cli.render import Answer, on_terminal, out, say, show_answer, show_facts
from semsearch.errors import UsageError
from semsearch.home import Home
from semsearch.resident import route
from semsearch.search.where_mapping import Where


@dataclass(frozen=True, slots=True)
class SimilarOptions:
    """What `semsearch similar` takes."""

    name: str
    ids: tuple[str, ...]
    unlike: tuple[str, ...]
    queries: tuple[str, ...]
    against: tuple[str, ...]
    k: int
    where: Where | None
    mmr_lambda: float | None
    as_json: bool
    form: str | None
    open_it: bool
    show: str | None
    compute: ComputeOptions
    home: str | None


@click.command(short_help="Find more documents like some.")
@click.argument("name", shell_complete=parameters.collections)
@click.argument("ids", nargs=-1, type=parameters.utf8, metavar="[ID]...")
@click.option("--unlike", multiple=True, type=parameters.utf8, metavar="ID", help="Keep away from this one.")
@click.option("--query", "queries", multiple=True, type=parameters.utf8, metavar="TEXT", help="A text as an example.")
@click.option("--against", multiple=True, type=parameters.utf8, metavar="TEXT", help="A text as a counterexample.")
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="How many documents to find.")
@parameters.where_option
@parameters.mmr_lambda
@parameters.as_json
@parameters.output
@parameters.open_it
@parameters.show
@parameters.compute
@parameters.home
@parameters.resident
@parameters.typed(SimilarOptions)
def similar(options: SimilarOptions) -> int:
    r"""Find documents of collection NAME like those with these ids, the given ones left out.

    Several examples are searched by their mean; counterexamples pull away from it. The exit code is 1 without a match,
    or if an id is not there.

    \b
    semsearch similar films 28837
    semsearch similar films 28837 30683 --unlike 25146 --where 'year >= 2000'
    semsearch similar films --query "a journey into space" --against "war among the stars"
    """
    compute, form = options.compute, form_of(options.as_json, options.form, options.open_it)
    if options.open_it:
        route.needs_terminal("--open")
    home = Home.of(options.home)
    with semsearch.open(options.name, home=home, device=compute.device, dtype=compute.dtype) as collection:
        show = parameters.fields_to_show(options.show, collection)
        started = time.perf_counter()
        hits = collection.similar(
            options.ids,
            options.k,
            unlike=options.unlike,
            queries=options.queries,
            against=options.against,
            where=options.where,
            mmr_lambda=options.mmr_lambda,
        )
        spent = 1000 * (time.perf_counter() - started)
        answer = Answer(", ".join([*options.ids, *options.queries]), hits, {"total": spent}, show=show)
        if form is None:
            show_answer(answer)
        else:
            if (line := formats.header(form)) is not None:
                out(line)
            print_answer(answer, None, form, on_terminal())
        if options.open_it and hits:
            from semsearch.cli.viewer import open_hit

            open_hit(collection, hits[0])
    return 0 if hits else 1


@click.command(short_help="Measure what a collection's scores mean.")
@click.argument("name", shell_complete=parameters.collections)
@click.argument("judgements", required=False, type=parameters.file, metavar="[FOLDER]")
@click.option("--split", default="train", show_default=True, help="Of the judgements: train, dev or test.")
@parameters.compute
@parameters.home
def calibrate(
    name: str, judgements: str | None, split: str, device: str | None, dtype: str | None, home: str | None
) -> int:
    r"""Measure how random pairs of query and passage score in collection NAME, so that each hit gets a percentile.

    It is done by itself whenever the collection has doubled. With a FOLDER of judged queries in the layout of BEIR
    (queries.jsonl, qrels/train.tsv) hits also get a probability of being relevant, for --min-score p0.5.

    \b
    semsearch calibrate notes
    semsearch calibrate scifact data/scifact
    """
    from semsearch.evaluation.judgements import qrels_file, read_qrels, read_queries

    graded = None
    if judgements is not None:
        texts = read_queries(Path(judgements))
        qrels = read_qrels(qrels_file(Path(judgements), split))
        graded = {texts[query]: grades for query, grades in qrels.items() if query in texts}
    with semsearch.open(name, home=Home.of(home), device=device, dtype=dtype) as collection:
        if collection.calibrate(graded) is None:
            raise UsageError(f"collection '{name}' has too few passages to measure ({collection.count_passages()}).")
        facts = collection.info()["calibration"]
    say("calibrated")
    show_facts(facts)
    return 0


COMMANDS = (similar, calibrate)
