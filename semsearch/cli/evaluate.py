"""`semsearch eval`: how good the answers are, by judgements."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

import semsearch
from semsearch import wire
from semsearch.cli import parameters
from semsearch.cli.parameters import ComputeOptions, SearchOptions
from semsearch.cli.render import out, say, show_table
from semsearch.errors import UsageError
from semsearch.home import Home
from semsearch.search.request import MODES

if TYPE_CHECKING:
    from semsearch.collection import Collection
    from semsearch.evaluation.metrics import Scored

SIGNIFICANT = 0.05


DEFAULT_MODES = tuple(mode for mode in MODES if mode != "sparse")  # that every collection has


@dataclass
class JudgedRuns:
    """What is measured: queries and judgements, and where they come from."""

    queries: dict[str, str]
    qrels: Mapping[str, Mapping[str, int]]
    runs: dict[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EvalOptions:
    """What `semsearch eval` takes."""

    name: str | None
    folder: Path | None
    more: tuple[Path, ...]
    leave_one_out: bool
    split: str
    queries: Path | None
    qrels: Path | None
    by_itself: bool
    modes: tuple[str, ...]
    rerank: str | None  # the model; empty for the default one
    rerank_weight: float | None
    candidates: int
    exact: bool
    files: tuple[Path, ...]
    drop_self: bool
    run_out: Path | None
    baseline: str | None
    seed: int
    as_json: bool
    compute: ComputeOptions
    home: str | None

    def with_folder(self) -> Self:
        """A lone folder beside runs is the one of the judgements, not a collection."""
        if self.name is not None and self.folder is None and self.files and Path(self.name).is_dir():
            return replace(self, name=None, folder=Path(self.name))
        return self

    def folders(self) -> list[Path]:
        """All that was named, of --leave-one-out."""
        return [Path(one) for one in (self.name, self.folder, *self.more) if one is not None]

    def ways(self) -> Iterator[tuple[str, SearchOptions]]:
        """The runs to make: each mode, and each reranked."""
        for mode in self.modes or DEFAULT_MODES:
            plain = SearchOptions(mode=mode, exact=self.exact)
            yield mode, plain
            if self.rerank is not None:
                weighed = replace(plain, rerank=self.rerank, rerank_weight=self.rerank_weight)
                yield f"{mode}+rerank", replace(weighed, candidates=self.candidates)


@click.command(name="eval", short_help="Measure answers by judgements.")
@click.argument("name", required=False, shell_complete=parameters.collections)
@click.argument("folder", required=False, type=parameters.path)
@click.argument("more", nargs=-1, type=parameters.path, metavar="[FOLDER]...")
@click.option("--split", default="test", show_default=True, help="Of the judgements in FOLDER: test, dev or train.")
@click.option(
    "--queries", type=parameters.path, metavar="FILE", help="BEIR's queries.jsonl, or lines of id, tab, text."
)
@click.option("--qrels", type=parameters.path, metavar="FILE", help="Judgements as BEIR or TREC have them.")
@click.option("--self", "by_itself", is_flag=True, help="No judgements: titles or sentences ask for their documents.")
@click.option(
    "--leave-one-out",
    is_flag=True,
    help="All that is named are FOLDERs: choose a way to search on all collections but one, and measure it there.",
)
@click.option("--mode", "modes", multiple=True, type=click.Choice(MODES), help="Only this way of searching, or these.")
@click.option(
    "--rerank", is_flag=False, flag_value="", default=None, metavar="[MODEL]", help="Measure each also reranked."
)
@parameters.rerank_weight
@click.option("--candidates", type=click.IntRange(min=1), default=100, show_default=True, help="That are reranked.")
@click.option("--exact", is_flag=True, help="Do without the index.")
@click.option(
    "--run", "files", multiple=True, type=parameters.path, metavar="FILE", help="A TREC run to measure too, or alone."
)
@click.option("--drop-self", is_flag=True, help="Leave out the document whose id is the question's.")
@click.option("--run-out", type=parameters.path, metavar="PATH", help="Write the runs: a file, or a folder.")
@click.option("--baseline", metavar="RUN", help="What the others are compared with [default: the first].")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draws.")
@parameters.as_json
@parameters.compute
@parameters.home
@parameters.typed(EvalOptions)
def evaluate(options: EvalOptions) -> int:
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
    semsearch eval --leave-one-out data/cranfield data/cacm data/cisi
    """
    from semsearch.evaluation import metrics
    from semsearch.evaluation.judgements import read_run

    if options.leave_one_out:
        _leave_one_out(options)
        return 0
    if options.more:
        raise UsageError("eval takes one FOLDER: several are for --leave-one-out.")
    options = options.with_folder()
    _check(options)
    metrics.load_measures()
    given = {_named(file): read_run(file) for file in options.files}
    with ExitStack() as stack:
        collection = _opened(stack, options)
        if options.by_itself:
            collection, comparison = _by_itself(stack, collection, options.seed)
        else:
            comparison = _judged(collection, options)
            if options.drop_self:  # nothing can find the judged document that is the question's own
                comparison.qrels = metrics.without_self(comparison.qrels)
        queries = metrics.asked(comparison.qrels)
        _ask(collection, comparison, queries, options)
    comparison.runs |= given
    if options.drop_self:
        comparison.runs = {run: metrics.without_self(found) for run, found in comparison.runs.items()}
    if options.run_out is not None:
        _write(comparison, options.run_out, list(given))
    scored = {run: metrics.scored(found, comparison.qrels) for run, found in comparison.runs.items()}
    baseline = options.baseline or next(iter(scored))
    left_out = len({*comparison.queries, *comparison.qrels} - set(queries))
    if options.as_json:
        out(wire.dumps(wire.message(queries=len(queries), runs=_as_json(scored, baseline, left_out, options.seed))))
        return 0
    _show(scored, baseline, options.seed)
    missing = f", {left_out:,} without a relevant document left out" if left_out else ""
    say(f"{len(queries):,} queries{missing}; * differs from {baseline} with p < {SIGNIFICANT}")
    for run, one in scored.items():
        if one.unanswered:
            say(f"{run} has no answer to {one.unanswered:,} of them, which count 0")
    return 0


def _check(options: EvalOptions) -> None:
    """Refuse what can't be before a search that takes long."""
    if options.rerank_weight is not None and options.rerank is None:
        raise UsageError("--rerank-weight weighs a reranker against the first stage: give --rerank too.")
    if options.by_itself and options.name is None:
        raise UsageError("--self asks a collection: give its NAME.")
    if options.by_itself and options.drop_self:
        raise UsageError(
            "--self asks for the document that a question was taken out of, and --drop-self leaves that one out: give "
            "one of them."
        )
    runs = [run for run, _ in options.ways()] if options.name is not None else []
    for name in map(_named, options.files):
        if name in runs:
            raise UsageError(f"two runs are called '{name}': give one of the files another name.")
        runs.append(name)
    if not runs:
        raise UsageError("there is nothing to measure: give a collection's NAME, or a TREC run with --run FILE.")
    if options.baseline and options.baseline not in runs:
        raise UsageError(f"there is no run '{options.baseline}' to compare with; there are {', '.join(runs)}.")


def _leave_one_out(options: EvalOptions) -> None:
    from semsearch.cli.left_out import show_left_out

    others = {
        "--self": options.by_itself,
        "--run": options.files,
        "--qrels": options.qrels,
        "--queries": options.queries,
        "--mode": options.modes,
        "--rerank": options.rerank is not None,
        "--rerank-weight": options.rerank_weight is not None,
        "--drop-self": options.drop_self,
        "--run-out": options.run_out,
        "--baseline": options.baseline,
    }
    if given := [option for option, value in others.items() if value]:
        raise UsageError(
            "--leave-one-out asks collections and judgements by the names of FOLDERs alone, and tries all ways of "
            f"searching: leave out {' and '.join(given)}."
        )
    home, compute = Home.of(options.home), options.compute
    show_left_out(
        options.folders(),
        options.split,
        lambda name: semsearch.open(name, home=home, device=compute.device, dtype=compute.dtype),
        exact=options.exact,
        seed=options.seed,
        as_json=options.as_json,
    )


def _opened(stack: ExitStack, options: EvalOptions) -> Collection | None:
    if options.name is None:
        return None
    home, compute = Home.of(options.home), options.compute
    opened = semsearch.open(options.name, home=home, device=compute.device, dtype=compute.dtype)
    return stack.enter_context(opened)


def _by_itself(stack: ExitStack, collection: Collection | None, seed: int) -> tuple[Collection, JudgedRuns]:
    from semsearch.evaluation.known_items import encoded, known_items

    assert collection is not None
    items = known_items(collection, seed)
    say(items.says)
    home = stack.enter_context(tempfile.TemporaryDirectory(prefix="semsearch-"))
    made = stack.enter_context(encoded(collection, items, Path(home)))
    return made, JudgedRuns(items.queries, items.qrels)


def _judged(collection: Collection | None, options: EvalOptions) -> JudgedRuns:
    from semsearch.evaluation.judgements import qrels_file, read_qrels, read_queries

    qrels, folder = options.qrels, options.folder
    if qrels is None:
        if folder is None:
            raise UsageError(
                "judgements are needed: a FOLDER as BEIR has it, or --qrels FILE with --queries FILE; or --self."
            )
        qrels = qrels_file(folder, options.split)
    judged = read_qrels(qrels)
    queries = options.queries or folder
    if collection is None:
        return JudgedRuns({}, judged)
    if queries is None:
        raise UsageError("the texts of the queries are needed to ask the collection: --queries FILE.")
    texts = read_queries(queries)
    if options.queries is None:  # BEIR keeps the queries of all splits in one file
        texts = {query: text for query, text in texts.items() if query in judged}
    return JudgedRuns(texts, judged)


def _ask(collection: Collection | None, comparison: JudgedRuns, queries: list[str], options: EvalOptions) -> None:
    """Add the runs of the collection to the comparison."""
    from semsearch.evaluation import metrics

    if collection is None:
        return
    texts = {query: comparison.queries[query] for query in queries if query in comparison.queries}
    if not texts:
        raise UsageError("none of the judged queries is among the queries: do their ids belong together?")
    for run, search in options.ways():
        started = time.perf_counter()
        comparison.runs[run] = metrics.answers(collection, texts, search.arguments(), drop_self=options.drop_self)
        say(f"{run}: {len(texts):,} queries in {time.perf_counter() - started:.1f} s")


def _named(file: Path) -> str:
    """The name of the run in a file."""
    return file.name.removesuffix(".gz").rpartition(".")[0] or file.name


def _write(comparison: JudgedRuns, place: Path, files: list[str]) -> None:
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
