"""`semsearch eval`: how good the answers are, by judgements."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from semsearch.cli import parameters as options
from semsearch.cli.render import dumps, out, say, show_table
from semsearch.errors import UsageError
from semsearch.home import Home
from semsearch.search.request import MODES

if TYPE_CHECKING:
    from semsearch.collection import Collection
    from semsearch.evaluation.metrics import Scored
    from semsearch.search.request import Options

SIGNIFICANT = 0.05
path = click.Path(path_type=Path)


@dataclass
class Comparison:
    """What is measured: queries and judgements, and where they come from."""

    queries: dict[str, str]
    qrels: Mapping[str, Mapping[str, int]]
    runs: dict[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)


@click.command(name="eval", short_help="Measure answers by judgements.")
@click.argument("name", required=False, shell_complete=options.collections)
@click.argument("folder", required=False, type=path)
@click.option("--split", default="test", show_default=True, help="Of the judgements in FOLDER: test, dev or train.")
@click.option("--queries", type=path, metavar="FILE", help="BEIR's queries.jsonl, or lines of id, tab, text.")
@click.option("--qrels", type=path, metavar="FILE", help="Judgements as BEIR or TREC have them.")
@click.option("--self", "by_itself", is_flag=True, help="No judgements: titles or sentences ask for their documents.")
@click.option("--mode", "modes", multiple=True, type=click.Choice(MODES), help="Only this way of searching, or these.")
@click.option(
    "--rerank", is_flag=False, flag_value="", default=None, metavar="[MODEL]", help="Measure each also reranked."
)
@click.option("--candidates", type=click.IntRange(min=1), default=100, show_default=True, help="That are reranked.")
@click.option("--exact", is_flag=True, help="Do without the index.")
@click.option("--run", "files", multiple=True, type=path, metavar="FILE", help="A TREC run to measure too, or alone.")
@click.option("--run-out", type=path, metavar="PATH", help="Write the runs: a file, or a folder.")
@click.option("--baseline", metavar="RUN", help="What the others are compared with [default: the first].")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draws.")
@options.as_json
@options.compute
@options.home
def evaluate(name: str | None, folder: Path | None, **given: Any) -> int:
    r"""Measure how good the answers of collection NAME are: nDCG@10, MRR@10, MAP, recall@10 and @100, success@1.

    FOLDER holds queries.jsonl and qrels/test.tsv, as BEIR has them. Each figure comes with its 95 % interval
    (bootstrap over queries) and, beside the baseline, how likely chance alone makes such a difference (paired
    randomisation test, not corrected for the number of comparisons); * marks p < 0.05.

    \b
    semsearch eval scifact data/scifact
    semsearch eval scifact data/scifact --rerank --run-out runs/
    semsearch eval notes --queries questions.tsv --qrels judged.qrels --mode dense --mode hybrid
    semsearch eval --qrels judged.qrels --run one.trec --run other.trec
    semsearch eval notes --self
    """
    from semsearch.evaluation import metrics

    if name is not None and folder is None and given["files"] and Path(name).is_dir():
        folder, name = Path(name), None
    with ExitStack() as stack:
        collection = _opened(stack, name, given)
        if given["by_itself"]:
            collection, comparison = _by_itself(stack, collection, given["seed"])
        else:
            comparison = _judged(collection, folder, given)
        queries = metrics.asked(comparison.qrels)
        _ask(collection, comparison, queries, given)
    for file in given["files"]:
        _add_file(comparison, file)
    if not comparison.runs:
        raise UsageError("there is nothing to measure: give a collection's NAME, or a TREC run with --run FILE.")
    if given["run_out"] is not None:
        _write(comparison, given["run_out"], [_named(file) for file in given["files"]])
    scored = {run: metrics.scored(found, comparison.qrels) for run, found in comparison.runs.items()}
    baseline = given["baseline"] or next(iter(scored))
    if baseline not in scored:
        raise UsageError(f"there is no run '{baseline}' to compare with; there are {', '.join(scored)}.")
    left_out = len({*comparison.queries, *comparison.qrels} - set(queries))
    if given["as_json"]:
        out(dumps({"queries": len(queries), "runs": _as_json(scored, baseline, left_out, given["seed"])}))
        return 0
    _show(scored, baseline, given["seed"])
    missing = f", {left_out:,} without a relevant document left out" if left_out else ""
    say(f"{len(queries):,} queries{missing}; * differs from {baseline} with p < {SIGNIFICANT}")
    for run, one in scored.items():
        if one.unanswered:
            say(f"{run} has no answer to {one.unanswered:,} of them, which count 0")
    return 0


def _opened(stack: ExitStack, name: str | None, given: Mapping[str, Any]) -> Collection | None:
    if name is None:
        if given["by_itself"]:
            raise UsageError("--self asks a collection: give its NAME.")
        return None
    import semsearch

    compute = {key: given[key] for key in ("device", "dtype")}
    return stack.enter_context(semsearch.open(name, home=Home.of(given["home"]), **compute))


def _by_itself(stack: ExitStack, collection: Collection | None, seed: int) -> tuple[Collection, Comparison]:
    from semsearch.evaluation.known_items import encoded, known_items

    assert collection is not None
    items = known_items(collection, seed)
    say(items.says)
    home = stack.enter_context(tempfile.TemporaryDirectory(prefix="semsearch-"))
    made = stack.enter_context(encoded(collection, items, Path(home)))
    return made, Comparison(items.queries, items.qrels)


def _judged(collection: Collection | None, folder: Path | None, given: Mapping[str, Any]) -> Comparison:
    from semsearch.evaluation.judgements import qrels_file, read_qrels, read_queries

    qrels = given["qrels"]
    if qrels is None:
        if folder is None:
            raise UsageError(
                "judgements are needed: a FOLDER as BEIR has it, or --qrels FILE with --queries FILE; or --self."
            )
        qrels = qrels_file(folder, given["split"])
    judged = read_qrels(qrels)
    queries = given["queries"] or folder
    if collection is None:
        return Comparison({}, judged)
    if queries is None:
        raise UsageError("the texts of the queries are needed to ask the collection: --queries FILE.")
    texts = read_queries(queries)
    if given["queries"] is None:  # BEIR keeps the queries of all splits in one file
        texts = {query: text for query, text in texts.items() if query in judged}
    return Comparison(texts, judged)


def _ask(collection: Collection | None, comparison: Comparison, queries: list[str], given: Mapping[str, Any]) -> None:
    """Add the runs of the collection to the comparison."""
    from semsearch.evaluation import metrics

    if collection is None:
        return
    texts = {query: comparison.queries[query] for query in queries if query in comparison.queries}
    if not texts:
        raise UsageError("none of the judged queries is among the queries: do their ids belong together?")
    for run, how in _ways(given):
        started = time.perf_counter()
        comparison.runs[run] = metrics.answers(collection, texts, how)
        say(f"{run}: {len(texts):,} queries in {time.perf_counter() - started:.1f} s")


def _ways(given: Mapping[str, Any]) -> Iterator[tuple[str, Options]]:
    """The runs to make: each mode, and each reranked."""
    for mode in given["modes"] or MODES:
        yield mode, {"mode": mode, "exact": given["exact"]}
        if (rerank := given["rerank"]) is not None:
            how: Options = {"rerank": rerank or True, "candidates": given["candidates"]}
            yield f"{mode}+rerank", {"mode": mode, "exact": given["exact"], **how}


def _add_file(comparison: Comparison, file: Path) -> None:
    from semsearch.evaluation.judgements import read_run

    name = _named(file)
    if name in comparison.runs:
        raise UsageError(f"two runs are called '{name}': give one of the files another name.")
    comparison.runs[name] = read_run(file)


def _named(file: Path) -> str:
    """The name of the run in a file."""
    return file.name.removesuffix(".gz").rpartition(".")[0] or file.name


def _write(comparison: Comparison, place: Path, files: list[str]) -> None:
    from semsearch.evaluation.judgements import write_run

    made = {name: run for name, run in comparison.runs.items() if name not in files}
    if len(made) == 1 and not place.is_dir():
        ((name, run),) = made.items()
        write_run(place, run, name)
        return
    for name, run in made.items():
        write_run(place / f"{name}.trec", run, name)


def _as_json(scored: Mapping[str, Scored], baseline: str, left_out: int, seed: int) -> dict[str, Any]:
    from semsearch.evaluation.metrics import MEASURES, chance, interval

    found: dict[str, Any] = {}
    for run, one in scored.items():
        found[run] = {measure: one.mean(measure) for measure in MEASURES}
        found[run]["intervals"] = {measure: list(interval(one.values[measure], seed)) for measure in MEASURES}
        if run != baseline:
            against = scored[baseline].values
            found[run]["p"] = {measure: chance(one.values[measure], against[measure], seed) for measure in MEASURES}
            found[run]["baseline"] = baseline
        found[run] |= {"unanswered": one.unanswered, "left_out": left_out}
    return found


def _show(scored: Mapping[str, Scored], baseline: str, seed: int) -> None:
    """A row for each measure and run."""
    from semsearch.evaluation.metrics import MEASURES, chance, interval

    rows: list[list[Any]] = []
    for measure in MEASURES:
        for run, one in scored.items():
            values, others = one.values[measure], scored[baseline].values[measure]
            low, high = interval(values, seed)
            row = [measure, run, f"{values.mean():.4f}", f"{low:.4f} – {high:.4f}", "", "", ""]
            if run != baseline:
                p = chance(values, others, seed)
                difference = f"{values.mean() - others.mean():+.4f}"
                row[4:] = [difference, f"{p:.4f}", "*" if p < SIGNIFICANT else ""]
            rows.append(row)
    show_table(("measure", "run", "mean", "95 % interval", f"- {baseline}", "p", ""), rows)
