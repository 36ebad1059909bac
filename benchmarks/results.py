"""Runs the benchmarks one after another and writes what they measured: `results/*.jsonl`, plots, RESULTS.md.

    python benchmarks/results.py [--full] [--only ann exact …] [--render]

A short form of each, some minutes in all; `--full` is the form whose figures are worth quoting, an hour or more on an
idle machine. What `--only` names replaces its own results and leaves the others. Without SEMSEARCH_DATA the short form
runs on the shipped samples, and RESULTS.md says so. `--render` measures nothing, and writes RESULTS.md from what is
there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vector_sets import DEFAULT

from semsearch.bench.run import machine

HERE = Path(__file__).parent
FOLDER = HERE / "results"
PAGE = FOLDER / "RESULTS.md"
Record = dict[str, Any]
Row = Sequence[str]


@dataclass(frozen=True)
class Benchmark:
    """One command, and how its records become a table."""

    title: str
    tables: Sequence[Callable[[list[Record]], Iterator[Row]]]  # of each the header first
    short: str = ""  # arguments
    full: str = ""
    note: str = ""
    vectors: bool = False  # takes --vectors
    plot: Callable[[list[Record], Path], None] | None = field(default=None)


def encoding(records: list[Record]) -> Iterator[Row]:
    """Throughput and single queries of each way."""
    yield "texts", "way", "texts/s", "tokens/s", "x", "of peak", "cosine", "one query, p50", "of theirs"
    for r in records:
        if "texts_per_second" not in r:
            continue
        yield (
            f"{r['texts']} ({r['count']:,})",
            r["way"],
            f"{r['texts_per_second']:,.0f}",
            f"{r['tokens_per_second']:,.0f}",
            f"{r['times_sentence_transformers']:.2f}",
            _share(r.get("share_of_peak")),
            f"{r['lowest_cosine']:.5f}",
            f"{r['single_p50_ms']:.2f} ms",
            f"{r['single_share_of_sentence_transformers']:.2f}",
        )


def encoding_quality(records: list[Record]) -> Iterator[Row]:
    """What half the bits do to the answers."""
    found = {(r["set"], r["dtype"]): r["ndcg@10"] for r in records if "dtype" in r}
    if found:
        yield "nDCG@10, exact search", "float32", "bfloat16", "difference"
        for name in dict.fromkeys(name for name, _ in found):
            full, half = found[name, "float32"], found[name, "bfloat16"]
            yield name, f"{full:.4f}", f"{half:.4f}", f"{half - full:+.4f}"


def encoding_memory(records: list[Record]) -> Iterator[Row]:
    """The peak above the model."""
    yield "texts", "layers", "MB above the model", "the model, MB", "seconds"
    for r in records:
        layers = "all" if r["layers"] is None else str(r["layers"])
        yield f"{r['texts']:,}", layers, f"{r['peak_mb']:,.0f}", f"{r['model_mb']:,.0f}", f"{r['seconds']:,.0f}"


def cold_start(records: list[Record]) -> Iterator[Row]:
    """Seconds of a process."""
    yield "way", "seconds", "of sentence-transformers"
    for r in records:
        yield r["way"], f"{r['seconds']:.2f}", f"{r['share_of_sentence_transformers']:.2f}"


def exact(records: list[Record]) -> Iterator[Row]:
    """Milliseconds of each batch."""
    yield "batch", "peer", "ms", "times semsearch's best", "recall", "of memory bandwidth"
    for r in records[1:]:
        yield (
            str(r["batch"]),
            r["peer"],
            f"{r['ms']:,.2f}",
            f"{r['times_semsearch']:.2f}",
            f"{r['recall']:.4f}",
            _share(r.get("bandwidth")),
        )


def ann(records: list[Record]) -> Iterator[Row]:
    """Each index along its knob."""
    yield "index", "build s", "memory MB", "setting", "recall@10", "QPS, 1", "of bare", "QPS, batch", "of bare"
    for r in records[1:]:
        yield (
            r["index"],
            f"{r['build_s']:.1f}",
            f"{r['memory_mb']:,.0f}",
            "" if r["knob"] is None else f"{r['knob']}={r['value']}",
            f"{r['recall']:.4f}",
            f"{r['qps_1']:,.0f}",
            _ratio(r.get("ratio_1")),
            f"{r['qps_1024']:,.0f}",
            _ratio(r.get("ratio_1024")),
        )


def opening(records: list[Record]) -> Iterator[Row]:
    """Seconds to the first answer, and what a collection adds."""
    yield "what", "value"
    for r in records:
        for name, seconds in r["seconds"].items():
            yield f"{r['rows']:,} rows: {name}", f"{seconds:.2f} s"
        for name, value in r["costs"].items():
            yield f"100,000 rows: {name}", f"{value:.3f}"


def scale(records: list[Record]) -> Iterator[Row]:
    """Costs by size, and their exponents."""
    yield "passages", "index", "add s", "index s", "one query, ms", "exactly, ms", "disk MB", "memory MB"
    for r in records:
        for line in r["sizes"]:
            yield (
                f"{line['rows']:,}",
                line["backend"],
                f"{line['add_s']:.1f}",
                f"{line['index_s']:.1f}",
                f"{line['indexed_ms']:.2f}",
                f"{line['exact_ms']:.2f}",
                f"{line['bytes'] / 1e6:,.0f}",
                f"{line['memory_bytes'] / 1e6:,.0f}",
            )
        costs = ("add_s", "index_s", "indexed_ms", "exact_ms", "bytes", "memory_bytes")
        yield ("n to the power of", "", *(_exponent(r["fits"].get(cost)) for cost in costs))


def store(records: list[Record]) -> Iterator[Row]:
    """Seconds beside bare SQLite."""
    from statistics import median

    yield "what", "seconds (least to most)", "x bare"
    for r in records:
        bare = median(r["seconds"]["bare"])
        for name, times in r["seconds"].items():
            alone = name.startswith("re-check")
            yield (
                name,
                f"{median(times):.2f} ({min(times):.2f} to {max(times):.2f})",
                "" if alone else f"{median(times) / bare:.2f}",
            )


def lexical(records: list[Record]) -> Iterator[Row]:
    """Milliseconds of a search by words."""
    yield "way", "p50 ms", "p95 ms", "x bm25s", "built in s", "itself first"
    for r in records[1:]:
        yield (
            r["way"],
            f"{r['p50_ms']:.2f}",
            f"{r['p95_ms']:.2f}",
            f"{r['x']:.2f}",
            f"{r['build_s']:.2f}",
            f"{r['first']:.3f}",
        )


def reranking(records: list[Record]) -> Iterator[Row]:
    """Milliseconds to rerank."""
    from statistics import median

    yield "way", "ms", "x", "largest difference of a logit", "Kendall's tau"
    for r in records:
        yield (
            r["way"],
            f"{1000 * median(r['seconds']):,.0f}",
            f"{r['times_sentence_transformers']:.2f}",
            f"{r['differs']:.6f}",
            f"{r['tau']:.4f}",
        )


def quality(records: list[Record]) -> Iterator[Row]:
    """Retrieval by each way."""
    yield "data", "way", "queries", "nDCG@10", "95 % interval", "published", "R@100", "change", "p"
    for r in records:
        if r["part"] == "retrieval":
            low, high = r["interval"]
            change = f"{r['change']:+.4f} on {r['against']}" if "change" in r else ""
            published = "" if r["published"] is None else f"{r['published']:.3f}"
            figures = (f"{r['nDCG@10']:.4f}", f"{low:.3f} to {high:.3f}", published, f"{r['R@100']:.4f}")
            yield r["data"], r["way"], str(r["queries"]), *figures, change, _chance(r.get("p"))


def noisy(records: list[Record]) -> Iterator[Row]:
    """What worse queries do to each way."""
    lines = [r for r in records if r["part"] == "noisy"]
    if lines:
        modes = list(lines[0]["modes"])
        yield "queries", "data", *(f"{mode}, nDCG@10" for mode in modes), "p of dense and lexical losing alike"
        for r in lines:
            each = (f"{found['nDCG@10']:.4f} ({found['change']:+.4f})" for found in r["modes"].values())
            yield r["noise"], r["data"], *each, _chance(r.get("alike"))


def sts(records: list[Record]) -> Iterator[Row]:
    """Sentences' likeness."""
    lines = [r for r in records if r["part"] == "sts"]
    if lines:
        yield "STS benchmark, test pairs", "dtype", "Spearman x 100", "published"
        for r in lines:
            yield f"{r['pairs']:,}", r["dtype"], f"{r['spearman']:.2f}", str(r["published"])


def draw_ann(records: list[Record], folder: Path) -> None:
    """Recall against queries a second, one at a time."""
    axes = _axes("recall@10", "queries a second, one at a time")
    for name in dict.fromkeys(r["index"] for r in records[1:]):
        points = [r for r in records[1:] if r["index"] == name]
        axes.plot([r["recall"] for r in points], [r["qps_1"] for r in points], marker="o", label=name)
    axes.set_yscale("log")
    axes.legend()
    axes.figure.savefig(folder / "ann.png", dpi=110)


def draw_scale(records: list[Record], folder: Path) -> None:
    """Costs against size, both logarithmic."""
    axes = _axes("passages", "")
    sizes = [line for r in records for line in r["sizes"]]
    for cost, label in {
        "add_s": "seconds to add",
        "index_s": "seconds to index",
        "indexed_ms": "ms a query",
        "exact_ms": "ms a query, exactly",
    }.items():
        axes.plot([line["rows"] for line in sizes], [line[cost] for line in sizes], marker="o", label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.legend()
    axes.figure.savefig(folder / "scale.png", dpi=110)


def draw_encoding(records: list[Record], folder: Path) -> None:
    """Tokens a second of each way."""
    axes = _axes("tokens a second", "")
    lines = [r for r in records if "tokens_per_second" in r]
    axes.barh([f"{r['way']}, {r['texts']}" for r in lines], [r["tokens_per_second"] for r in lines])
    axes.invert_yaxis()
    axes.figure.savefig(folder / "encoding.png", dpi=110)


BENCHMARKS: dict[str, Benchmark] = {
    "encoding": Benchmark(
        "Texts to vectors",
        [encoding, encoding_quality],
        "--short 300 --passages 60 --rounds 1",
        "--quality scifact nfcorpus",
        "`x`: times sentence-transformers as it comes. `of peak`: share of the fastest matrix product measured here.",
        plot=draw_encoding,
    ),
    "encoding_memory": Benchmark(
        "Memory to encode a large corpus to disk", [encoding_memory], "--texts 20000 --layers 1", "--layers 1"
    ),
    "cold_start": Benchmark("From a fresh process to an answer", [cold_start], "--rounds 2"),
    "exact": Benchmark("Exact search", [exact], "--rows 20000 --rounds 2", "--rows 100000", vectors=True),
    "ann": Benchmark(
        "Indexes beside their bare libraries, and outsiders",
        [ann],
        "--rows 10000 --seconds 0.1 --rounds 1",
        "--rows 135000",
        "QPS one query at a time and in batches of 1,024; `of bare`: share of the library called by hand in the same "
        "run. usearch and scalable-vs are nothing to semsearch: what they do better, they do better.",
        vectors=True,
        plot=draw_ann,
    ),
    "opening": Benchmark("Opening, and what a collection adds to its index", [opening], "--rows 100000"),
    "scale": Benchmark(
        "From 10,000 to 1,000,000", [scale], "--sizes 2000 4472 10000", "", vectors=True, plot=draw_scale
    ),
    "store": Benchmark("What safety costs", [store], "--rows 10000 --rounds 1"),
    "lexical": Benchmark("Search by words", [lexical], "--queries 200 --rounds 1"),
    "quality": Benchmark(
        "Quality",
        [quality, noisy, sts],
        "--parts retrieval noisy sts --sets nfcorpus --queries 50 --cache build/quality",
        "--cache build/quality",
        "Default settings, documents split into passages. `change` is against dense. The worse queries are made by the "
        "rules of `noise.py`; no person wrote them. [RERANKER.md](../RERANKER.md) has what a reranker does. A model of "
        "several languages is not to be had offline: `quality.py --parts bitext --multilingual MODEL` measures one.",
    ),
    "reranking": Benchmark("Reranking 100 passages", [reranking], "--passages 40 --rounds 1"),
}


def run(name: str, benchmark: Benchmark, full: bool) -> bool:
    """Measure; whether it went through. Its earlier results stay where it did not."""
    arguments = (benchmark.full if full else benchmark.short).split()
    arguments += ["--vectors", str(DEFAULT)] if benchmark.vectors else []
    new = FOLDER / f"{name}.new"
    new.unlink(missing_ok=True)
    shown = " ".join(["python", f"benchmarks/{name}.py", *arguments])
    print(f"\n$ {shown}", flush=True)
    done = subprocess.run([sys.executable, str(HERE / f"{name}.py"), *arguments, "--out", str(new)], check=False)
    if done.returncode or not new.exists():
        print(f"{name} did not go through (exit code {done.returncode}); its earlier results stay.", file=sys.stderr)
        new.unlink(missing_ok=True)
        return False
    facts = {
        "command": shown,
        "data": "the public data sets" if os.environ.get("SEMSEARCH_DATA") else "the shipped samples",
        "when": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
    }
    (FOLDER / f"{name}.jsonl").write_text(json.dumps(facts) + "\n" + new.read_text())
    new.unlink()
    return True


def render() -> None:
    """Write RESULTS.md and the plots from the results that are there."""
    lines = [
        "# Results",
        "",
        "Written by `make bench` (`benchmarks/results.py`) from the JSON lines beside it. Take ratios, not absolutes; "
        "each table says what it was measured on, and by which command. Where semsearch loses, the table shows it.",
        "",
    ]
    for name, benchmark in BENCHMARKS.items():
        lines += [f"## {benchmark.title}", ""]
        file = FOLDER / f"{name}.jsonl"
        if not file.exists():
            lines += [f"Not measured yet: `python benchmarks/results.py --only {name}`.", ""]
            continue
        facts, *records = (json.loads(line) for line in file.read_text().splitlines())
        lines += [f"`{facts['command']}` on {facts['data']}, {facts['when']}. {_machine(facts['machine'])}", ""]
        if benchmark.note:
            lines += [benchmark.note, ""]
        for table in benchmark.tables:
            rows = list(table(records))
            lines += [*_markdown(rows), ""] if rows else []
        if benchmark.plot is not None:
            benchmark.plot(records, FOLDER)
            lines += [f"![{benchmark.title}]({name}.png)", ""]
    PAGE.write_text("\n".join(lines).rstrip() + "\n")
    print(f"\nwrote {PAGE.relative_to(HERE.parent)}")


def _machine(facts: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return f"{facts['processor']}, {facts['cores']} cores; Python {facts['python']}, {versions}."


def _markdown(rows: Iterable[Row]) -> Iterator[str]:
    header, *rest = rows
    yield _line(header)
    yield _line(["---"] * len(header))
    yield from map(_line, rest)


def _line(cells: Row) -> str:
    return f"| {' | '.join(cells)} |"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _chance(p: float | None) -> str:
    return "" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def _exponent(fit: Mapping[str, float] | None) -> str:
    return "" if fit is None else f"{fit['exponent']:.2f} ± {fit['half_width']:.2f}"


def _axes(x: str, y: str) -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")[1]
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    return axes


def main() -> None:
    """Measure what is wanted, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", nargs="+", choices=list(BENCHMARKS), default=list(BENCHMARKS))
    parser.add_argument("--render", action="store_true", help="measure nothing, write the page")
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    if not options.render and not os.environ.get("SEMSEARCH_DATA"):
        print("SEMSEARCH_DATA names no folder of data sets: everything runs on the shipped samples, which are few.")
    failed = [] if options.render else [n for n in options.only if not run(n, BENCHMARKS[n], options.full)]
    render()
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}")


if __name__ == "__main__":
    main()
