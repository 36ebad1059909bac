"""`semsearch eval --leave-one-out`: a way of searching chosen on all collections but one, measured on that one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semsearch import wire
from semsearch.cli.render import out, say, show_table
from semsearch.errors import UsageError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from semsearch.collection import Collection
    from semsearch.evaluation.leave_one_out import LeftOut
    from semsearch.evaluation.metrics import Values
    from semsearch.search.request import SearchKeywords

JudgedQueries = tuple[Mapping[str, str], Mapping[str, Mapping[str, int]]]  # the queries' texts and their judgements

MEASURE = "nDCG@10"
COLUMNS = ("left out", "chosen on the others", MEASURE, "95 % interval", "dense", "lexical", "hybrid", "best here")


def choices() -> Iterator[tuple[str, SearchKeywords]]:
    """The ways of searching that are chosen from: each mode, and meaning and words in fixed shares."""
    yield "hybrid", {"mode": "hybrid"}
    yield "dense", {"mode": "dense"}
    yield "lexical", {"mode": "lexical"}
    for tenth in range(1, 10):
        yield f"weight {tenth / 10}", {"mode": "hybrid", "dense_weight": tenth / 10}


def show_left_out(
    folders: Sequence[Path],
    split: str,
    opened: Callable[[str], AbstractContextManager[Collection]],
    *,
    exact: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Ask the collections that are called as their folders are, and print the table."""
    from semsearch.evaluation import metrics
    from semsearch.evaluation.leave_one_out import leave_one_out

    judged: dict[str, JudgedQueries] = {}
    for folder in folders:  # all of them before a collection is asked, which takes longer
        name = folder.resolve().name
        if name in judged:
            raise UsageError(f"two folders are called '{name}', as the collection that each asks.")
        judged[name] = _judged(folder, split)
    if len(judged) < 2:
        raise UsageError("to leave one collection out takes two at least.")
    figures: dict[str, Mapping[str, Values]] = {}
    for name, (queries, qrels) in judged.items():
        started = time.perf_counter()
        with opened(name) as collection:
            figures[name] = {
                choice: metrics.scored(metrics.answers(collection, queries, {**how, "exact": exact}), qrels).values[
                    MEASURE
                ]
                for choice, how in choices()
            }
        say(f"{name}: {len(queries):,} queries in {time.perf_counter() - started:.1f} s")
    found = leave_one_out(figures)
    if as_json:
        out(wire.dumps(wire.message(left_out=_as_json(found, figures, seed))))
        return
    show_table(COLUMNS, list(_rows(found, figures, seed)))
    say("each figure of the third column is of what was best, in the mean, on all other collections")


def _judged(folder: Path, split: str) -> JudgedQueries:
    """The queries of a folder that have a relevant document, and their judgements."""
    from semsearch.evaluation.judgements import qrels_file, read_qrels, read_queries
    from semsearch.evaluation.metrics import asked

    qrels, texts = read_qrels(qrels_file(folder, split)), read_queries(folder)
    queries = {query: texts[query] for query in asked(qrels) if query in texts}
    if not queries:
        raise UsageError(f"{folder}: none of the judged queries is among the queries: do their ids belong together?")
    return queries, qrels


def _as_json(found: Sequence[LeftOut], figures: Mapping[str, Mapping[str, Values]], seed: int) -> dict[str, Any]:
    from semsearch.evaluation.metrics import interval

    return {
        one.name: {
            "chosen": one.chosen,
            MEASURE: float(one.values.mean()),
            "interval": list(interval(one.values, seed)),
            "best": one.best,
            "choices": {choice: float(values.mean()) for choice, values in figures[one.name].items()},
        }
        for one in found
    }


def _rows(
    found: Sequence[LeftOut], figures: Mapping[str, Mapping[str, Values]], seed: int
) -> Iterator[tuple[str, ...]]:
    """A row for each collection, and one of the means."""
    from semsearch.evaluation.metrics import interval

    def mean(numbers: Sequence[float]) -> str:
        return f"{sum(numbers) / len(numbers):.4f}"

    for one in found:
        low, high = interval(one.values, seed)
        own = figures[one.name]
        beside = (f"{own[choice].mean():.4f}" for choice in ("dense", "lexical", "hybrid"))
        best = f"{one.best} {own[one.best].mean():.4f}"
        yield one.name, one.chosen, f"{one.values.mean():.4f}", f"{low:.4f} – {high:.4f}", *beside, best
    beside = (
        mean([float(own[choice].mean()) for own in figures.values()]) for choice in ("dense", "lexical", "hybrid")
    )
    best = mean([float(figures[one.name][one.best].mean()) for one in found])
    yield "mean", "", mean([float(one.values.mean()) for one in found]), "", *beside, best
