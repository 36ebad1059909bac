"""Runs the benchmarks one after another and writes what they measured: `results/*.jsonl`, plots, RESULTS.md.

    python benchmarks/results.py [--full] [--only ann exact …] [--render]

A short form of each, some minutes in all; `--full` is the form whose figures are worth quoting, an hour or more on an
idle machine. What `--only` names replaces its own results and leaves the others. Without SEMSEARCH_DATA the short form
runs on the shipped samples, and RESULTS.md says so. `--render` measures nothing, and writes RESULTS.md from what is
there. What needs a server is run for those addresses in SEMSEARCH_BENCH_SERVERS that it knows, and else left out.
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

import tables
from tables import Record, Row
from vector_sets import DEFAULT

from semsearch.bench.run import machine

HERE = Path(__file__).parent
FOLDER = HERE / "results"
PAGE = FOLDER / "RESULTS.md"


@dataclass(frozen=True)
class Benchmark:
    """One command, and how its records become a table."""

    title: str
    tables: Sequence[Callable[[list[Record]], Iterator[Row]]]  # of each the header first
    short: str | None = ""  # arguments; None: it has no short form
    full: str = ""
    note: str = ""
    vectors: bool = False  # takes --vectors
    plot: Callable[[list[Record], Path], None] | None = field(default=None)
    script: str = ""  # if it isn't called as the benchmark is
    schemes: tuple[str, ...] = ()  # of servers, by those addresses in SEMSEARCH_BENCH_SERVERS it is run for
    together: bool = False  # whether it is run once for all of them


LOST = """\
Each set with what is best, in the mean, on all others: a fixed `weight` of meaning, both lists stretched from worst
to best, or a `factor` of words in the rule that is built in (`semsearch/search/fusion.py`). `change` is of the factor
on the weight. Of SciFact and NFCorpus these are train and dev questions, 600 at most, of the others all there are.
Either way every candidate counts with its scores of both kinds, which is worth more than what is chosen: half and
half without it has 0.581 in the mean. No set's change from the fixed weight is more than chance.

What was tried on the same six sets before, as the mean of nDCG@10, and in parentheses with what was chosen on the
other five. Half and half as it was: 0.581 (0.581). The same with z-scores: 0.582 (0.578); with the cosines of what
only words found: 0.585 (0.579). A logistic weight of one feature of the question, fitted on all six and left out of
none: its number of content words 0.581, the share of them that the best hit by words holds 0.581, what the two
lists share 0.582, how far the best by words stands above its tenth 0.584, the best cosine 0.585, how far the best
cosine stands above its hundredth 0.589. Cosines as they are, and scores by words as a share of all that the words
could earn 0.586 (0.580), by the number of words 0.587 (0.579), as a share of the best, less the hundredth, 0.591
(0.589), of the best alone 0.590 (0.590). The last with the scores by words of all candidates, 1,000 deep, is the
rule: 0.594 (0.594); between 0.35 and 0.6 the factor is worth 0.589 to 0.594. 300 deep gives as much, 100 deep 0.004
less."""

SCALE_NOTE = """\
`make scale` goes to ten million, step by step, on a machine that is free for some hours. What is extrapolated was not
measured. Memory is without mapped files; of the first table's run, of 2026-11-21, `building` is all that its process
took, and there was no other column. The second table is of another run, on two shared cores of an Intel Xeon with AMX
at load 25 to 40, one thread, so that of time only the processor's is told (the cache was everybody's, too); its index
is `faiss-ivf` at every size. A hundred thousand and more were not reached there: nothing is extrapolated from it."""

BENCHMARKS: dict[str, Benchmark] = {
    "encoding": Benchmark(
        "Texts to vectors",
        [tables.encoding, tables.encoding_quality],
        "--short 300 --passages 60 --rounds 1",
        "--quality scifact nfcorpus",
        "`x`: times sentence-transformers as it comes. `of peak`: share of the fastest matrix product measured here.",
        plot=tables.draw_encoding,
    ),
    "encoding_memory": Benchmark(
        "Memory to encode a large corpus to disk", [tables.encoding_memory], "--texts 20000 --layers 1"
    ),
    "cold_start": Benchmark(
        "From a fresh process to an answer",
        [tables.cold_start],
        "--rounds 2",
        "--rounds 20 --threads 1 --clock cpu",
        "Medians of processes in turn. The share is of the processor's time, for others may use the machine.",
    ),
    "exact": Benchmark("Exact search", [tables.exact], "--rows 20000 --rounds 2", "--rows 100000", vectors=True),
    "ann": Benchmark(
        "Indexes beside their bare libraries, and outsiders",
        [tables.ann],
        "--rows 10000 --seconds 0.1 --rounds 1",
        "--rows 135000",
        "QPS one query at a time and in batches of 1,024; `of bare`: share of the library called by hand in the same "
        "run. usearch and scalable-vs are nothing to semsearch: what they do better, they do better.",
        vectors=True,
        plot=tables.draw_ann,
    ),
    "ann_million": Benchmark(
        "The same at a million: the questions, and points between two of them with some noise",
        [tables.ann],
        None,
        "--rows 1000000 --index hnsw annoy faiss-ivf exact --outsiders --enough 0.975",
        script="ann",
    ),
    "synthetic_queries": Benchmark(
        "What a certificate is worth",
        [tables.synthetic_queries],
        "--rows 10000 --index hnsw --recall 0.95",
        "",
        "The setting is chosen on what the column names; the recall is that of 1,000 questions without part in it. "
        "Quora's questions about anything, asked of DL19's passages about 43 topics, lie further off than synthetic "
        "queries.",
    ),
    "opening": Benchmark("Opening, and what a collection adds to its index", [tables.opening], "--rows 100000"),
    "scale": Benchmark(
        "From 10,000 to 10,000,000",
        [tables.scale, tables.scale_exponents],
        "--sizes 2000 4472 10000 --steps add words index serve exact --anew",
        "--sizes 10000 31623 100000 316228 1000000",
        SCALE_NOTE,
        vectors=True,
        plot=tables.draw_scale,
    ),
    "indexing": Benchmark(
        "A corpus into a collection, beside its encoder alone",
        [tables.indexing],
        "--rows 1000 --rounds 1",
        "",
        "Shares are the encoder's time for the same texts by that of the whole run.",
    ),
    "store": Benchmark("What safety costs", [tables.store], "--rows 10000 --rounds 1"),
    "lexical": Benchmark("Search by words", [tables.lexical], "--queries 200 --rounds 1"),
    "hybrid": Benchmark(
        "Many questions at once, by meaning and by words",
        [tables.hybrid],
        "--rows 2000 --batches 1 64 --rounds 1",
        note="A loop of single searches beside `search_many`; vectors of the questions are given to both.",
        vectors=True,
    ),
    "quality": Benchmark(
        "Quality",
        [tables.quality, tables.noisy, tables.sts],
        "--parts retrieval noisy sts --sets nfcorpus --queries 50 --cache build/quality",
        "--parts retrieval noisy sts --peers bm25s sentence-transformers --cache build/quality",
        "Default settings, documents split into passages. `change` of hybrid is against the better of its two halves. "
        "bm25s stems and leaves out stop words, and its `change` is on lexical; sentence-transformers reads of a "
        "document what fits the window of the same model (`published` is that figure), and its `change` is on dense. "
        "The worse queries are made by the rules of `noise.py`; no person wrote them. "
        "[RERANKER.md](../RERANKER.md) has what a reranker does. A model of several languages is not to be had "
        "offline: `quality.py --parts bitext --multilingual MODEL` measures one.",
    ),
    "fusion": Benchmark(
        "How meaning and words are weighed",
        [tables.choice],
        "--parts choice --sets cranfield cisi --queries 50 --cache build/quality",
        "--parts choice --cache build/quality",
        LOST,
        script="quality",
    ),
    "applications": Benchmark(
        "Applications",
        [
            tables.applications,
            tables.application_exponents,
            tables.banking,
            tables.topics,
            tables.judged_pairs,
            tables.translations,
        ],
        "--parts 0.1 0.2 --pairs 10000 --texts 5000 --judged 2000 --topics 30 --what pairs communities search "
        "duplicates banking topics",
        "--cache build/applications",
        "Each side in a process of its own, in turn. What one side alone has is weighed in float64: a tie lies within "
        "1e-6 of the score that decides, what paraphrase mining does not look at has a hundred nearer rows on both "
        "sides, and the rest differs. Memory is what the work takes beyond what was loaded before it. `duplicates` are "
        "the documents that can go by meaning, at a score of 0.9. banking77: vectors of all-MiniLM-L6-v2, labels of "
        "its test split by its train split; topics of its train split, NPMI of the ten words of each.",
        vectors=True,
    ),
    "sparse_encoding": Benchmark(
        "Texts to sparse vectors",
        [tables.sparse_encoding],
        None,
        "encode --clock cpu",
        "splade-tiny beside `SparseEncoder.encode_document`, which computes in float32.",
        script="sparse",
    ),
    "sparse_search": Benchmark(
        "Sparse search",
        [tables.sparse_search],
        None,
        "search --clock cpu",
        "The 137,551 questions by splade-tiny, some of them asked. Seismic is approximate and is built once; a product "
        "of SciPy's columns is what bm25s does; Qdrant's local mode goes through all documents in Python.",
        script="sparse",
    ),
    "sparse_quality": Benchmark(
        "Sparse search alone and fused",
        [tables.sparse_quality],
        None,
        "quality",
        "nDCG@10 of the test questions: all-MiniLM-L6-v2, words, splade-tiny (4.4 million parameters), and all that "
        "there are together, by default settings and documents split into passages.",
        script="sparse",
    ),
    "sparse_whole": Benchmark(
        "Whole corpora by sparse vectors",
        [tables.sparse_whole],
        None,
        "whole --clock cpu",
        "nDCG@10 of the test questions, each document one text: splade-tiny here and in `SparseEncoder`, alone and "
        "fused with all-MiniLM-L6-v2 (its first 256 tokens) and words, and what these two give without it. The peer "
        "computes in float32.",
        script="sparse",
    ),
    "late": Benchmark(
        "MaxSim over 100 candidates",
        [tables.late],
        None,
        "--clock cpu",
        "A model of MiniLM's size with a random projection to 128 components (no trained one comes with a package), "
        "SciFact's questions and passages. Order and scores are compared with what sentence-transformers computes on "
        "the fly in the same type.",
    ),
    "clusters": Benchmark(
        "A collection in a cluster beside the bare requests for the same",
        [tables.clusters],
        None,
        "",
        "Load: the documents with their vectors; bare are the same bulk requests, one after the other, where semsearch "
        "has two under way. Disk: all primaries, merged, by the bytes of vectors and texts. Searches: p50 of each, in "
        "turn, without encoding the question; recall is of the ten nearest. `exact` compares all that a filter leaves. "
        "As many other questions were asked before, to be warm, but of OpenSearch's one node. Three nodes share the "
        "two cores with the client, and each shard has a replica. A bare search counts no words.",
        vectors=True,
        schemes=("opensearch", "elasticsearch"),
    ),
    "cluster_growth": Benchmark(
        "A collection in a cluster as it grows",
        [tables.cluster_growth],
        None,
        "--rows 10000 31623 100000 316228 1000000 --asked 50 --alone",
        "On one node with three shards and 2 GB of heap, the questions and points between two of them: each size is a "
        "collection of its own. p50 of each search, without encoding the question; recall is that of `dense`, "
        "by the graph. The exponent is the slope of the logarithms of cost and size.",
        vectors=True,
        schemes=("opensearch", "elasticsearch"),
        script="clusters",
    ),
    "engines": Benchmark(
        "One collection in several engines",
        [tables.engines],
        None,
        "",
        "The same documents with the same vectors in a folder and in servers on the same machine, asked by one client, "
        "in turn, without encoding: p50 of each; recall is that of `dense`, through the graph. Graph: built, or merged "
        "to one a shard. Disk, in parentheses: times the bytes of vectors and texts; replicas are none. Bare pgvector "
        "has keys and vectors alone. The million are the questions and points between two of them with some noise; "
        "while the graph of bare pgvector was built over it, other tests ran, and it had the 64 MB that the server "
        "gives where nobody says more.",
        vectors=True,
        schemes=("postgresql", "opensearch", "elasticsearch"),
        together=True,
    ),
    "serving": Benchmark(
        "A server beside search_many, and its embeddings beside a plain server's",
        [tables.serving],
        "--limit 2000 --clients 1,8 --rounds 1 --seconds 1 --index exact",
        "",
        "Each client asks anew as soon as it is answered, with one short question. `search_many` is given as many "
        "questions at a time as there are clients, or as the server had in a batch; it writes no JSON. `processor`: of "
        "the server's process for each request, the clients' apart; `of one's`: beside the same with one client, whose "
        "questions are encoded one at a time; `of other's`: beside `search_many` at equal batches, or beside a plain "
        "server around sentence-transformers, which computes in float32. Rates and times by the clock are those of a "
        "machine of that load, the benchmark's own processes among it.",
    ),
    "reranking": Benchmark("Reranking 100 passages", [tables.reranking], "--passages 40 --rounds 1"),
}


def run(name: str, benchmark: Benchmark, full: bool) -> bool:
    """Measure; whether it went through. Its earlier results stay where it did not."""
    arguments = (benchmark.full if full else benchmark.short or "").split()
    arguments += ["--vectors", str(DEFAULT)] if benchmark.vectors else []
    new = FOLDER / f"{name}.new"
    new.unlink(missing_ok=True)
    script = f"{benchmark.script or name}.py"
    shown = " ".join(["python", f"benchmarks/{script}", *arguments])
    print(f"\n$ {shown}", flush=True)
    command = [sys.executable, str(HERE / script), *arguments, "--out", str(new)]
    servers = _servers(benchmark)
    given = [servers] if benchmark.together or not benchmark.schemes else [[url] for url in servers]
    codes = [subprocess.run([*command, *url], check=False).returncode for url in given]
    if any(codes) or not new.exists():
        print(f"{name} did not go through (exit codes {codes}); its earlier results stay.", file=sys.stderr)
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


def _servers(benchmark: Benchmark) -> list[str]:
    addresses = os.environ.get("SEMSEARCH_BENCH_SERVERS", "").split()
    return [address for address in addresses if address.partition("://")[0] in benchmark.schemes]


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
            form = "--full " if benchmark.short is None else ""
            lines += [f"Not measured yet: `python benchmarks/results.py {form}--only {name}`.", ""]
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
    wanted = [name for name in options.only if options.full or BENCHMARKS[name].short is not None]
    for name in list(wanted):
        if BENCHMARKS[name].schemes and not _servers(BENCHMARKS[name]) and not options.render:
            print(f"{name} is left out: SEMSEARCH_BENCH_SERVERS names no {' and no '.join(BENCHMARKS[name].schemes)}.")
            wanted.remove(name)
    if not wanted:
        parser.error(f"{' and '.join(options.only)} has no short form: add --full.")
    failed = [] if options.render else [n for n in wanted if not run(n, BENCHMARKS[n], options.full)]
    render()
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}")


if __name__ == "__main__":
    main()
