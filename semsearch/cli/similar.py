"""`semsearch similar, calibrate`: more like this, and what scores mean."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from semsearch.cli import parameters as options
from semsearch.cli.render import Answer, answer_json, dumps, out, say, show_answer, show_facts
from semsearch.errors import UsageError
from semsearch.home import Home

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command(short_help="Find more documents like some.")
@click.argument("name", shell_complete=options.collections)
@click.argument("ids", nargs=-1, type=options.utf8, metavar="[ID]...")
@click.option("--unlike", multiple=True, type=options.utf8, metavar="ID", help="Keep away from this one.")
@click.option("--query", "queries", multiple=True, type=options.utf8, metavar="TEXT", help="A text as an example.")
@click.option("--against", multiple=True, type=options.utf8, metavar="TEXT", help="A text as a counterexample.")
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="How many documents to find.")
@click.option(
    "--where", type=options.where, metavar="FILTER", help="""As in 'year >= 1990 and genres contains "Drama"'."""
)
@click.option("--diverse", is_flag=True, help="Let near-duplicates make room for others.")
@options.as_json
@options.compute
@options.home
def similar(
    name: str,
    ids: tuple[str, ...],
    unlike: tuple[str, ...],
    queries: tuple[str, ...],
    against: tuple[str, ...],
    k: int,
    where: dict[str, Any] | None,
    diverse: bool,
    as_json: bool,
    home: str | None,
    **compute: Any,
) -> int:
    r"""Find documents of collection NAME like those with these ids, the given ones left out.

    Several examples are searched by their mean; counterexamples pull away from it. The exit code is 1 without a match.

    \b
    semsearch similar films 28837
    semsearch similar films 28837 30683 --unlike 25146 --where 'year >= 2000'
    semsearch similar films --query "a journey into space" --against "war among the stars"
    """
    import semsearch

    with semsearch.open(name, home=Home.of(home), **compute) as collection:
        started = time.perf_counter()
        hits = collection.similar(
            ids,
            k,
            unlike=unlike,
            queries=queries,
            against=against,
            where=where,
            diverse=options.DIVERSE if diverse else None,
        )
        spent = 1000 * (time.perf_counter() - started)
    answer = Answer(_named(ids, queries), hits, {"total": spent})
    if as_json:
        out(dumps(answer_json(answer)))
    else:
        show_answer(answer)
    return 0 if hits else 1


def _named(ids: Sequence[str], queries: Sequence[str]) -> str:
    return ", ".join([*ids, *queries])


@click.command(short_help="Measure what a collection's scores mean.")
@click.argument("name", shell_complete=options.collections)
@click.argument("judgements", required=False, type=options.file, metavar="[FOLDER]")
@click.option("--split", default="train", show_default=True, help="Of the judgements: train, dev or test.")
@options.compute
@options.home
def calibrate(name: str, judgements: str | None, split: str, home: str | None, **compute: Any) -> int:
    r"""Measure how random pairs of query and passage score in collection NAME, so that each hit gets a standing.

    It is done by itself whenever the collection has doubled. With a FOLDER of judged queries in the layout of BEIR
    (queries.jsonl, qrels/train.tsv) hits also get a probability of being relevant, for --min-score p0.5.

    \b
    semsearch calibrate notes
    semsearch calibrate scifact data/scifact
    """
    import semsearch
    from semsearch.evaluation.judgements import qrels_file, read_qrels, read_queries
    from semsearch.search.calibration import calibration_info

    graded = None
    if judgements is not None:
        texts = read_queries(Path(judgements))
        qrels = read_qrels(qrels_file(Path(judgements), split))
        graded = {texts[query]: grades for query, grades in qrels.items() if query in texts}
    with semsearch.open(name, home=Home.of(home), **compute) as collection:
        if collection.calibrate(graded) is None:
            raise UsageError(f"collection '{name}' has too few passages to measure ({collection.count_passages()}).")
        facts = calibration_info(collection.settings)
    say("calibrated")
    show_facts(facts or {})
    return 0


COMMANDS = (similar, calibrate)
