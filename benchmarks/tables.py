"""What the benchmarks wrote as tables and plots: a function for each, from its records to rows, the header first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Record = dict[str, Any]
Row = Sequence[str]


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
    """Seconds of a process, by the clock that is compared and by both."""
    yield "way", "of sentence-transformers", "processor's seconds", "seconds that passed"
    for r in records:
        yield r["way"], f"{r['share_of_sentence_transformers']:.3f}", f"{r['cpu']:.3f}", f"{r['wall']:.3f}"


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
    yield (
        "index",
        "build s",
        "disk MB",
        "memory MB",
        "setting",
        "recall@10",
        "QPS, 1",
        "of bare",
        "QPS, batch",
        "of bare",
    )
    for r in records[1:]:
        yield (
            r["index"],
            f"{r['build_s']:.1f}",
            f"{r['mb']:,.0f}" if "mb" in r else "",
            f"{r['memory_mb']:,.0f}",
            "" if r["knob"] is None else f"{r['knob']}={r['value']}",
            f"{r['recall']:.4f}",
            f"{r['qps_1']:,.0f}",
            _ratio(r.get("ratio_1")),
            f"{r['qps_1024']:,.0f}",
            _ratio(r.get("ratio_1024")),
        )


def synthetic_queries(records: list[Record]) -> Iterator[Row]:
    """By set, index and target: what each way of measuring took, and what questions then found."""
    ways = list(dict.fromkeys(r["measured on"] for r in records))
    yield "asked", "index", "recall asked for", *(f"{way}: recall, setting, ms" for way in ways)
    cells: dict[tuple[str, str, str], list[str]] = {}
    for r in records:
        row = cells.setdefault((r["set"], r["index"], f"{r['target']:g}"), [])
        row.append(f"{r['recall']:.3f}, {r['knob']}={r['value']}, {r['ms']:.2f}")
    for head, row in cells.items():
        yield *head, *row


def opening(records: list[Record]) -> Iterator[Row]:
    """Seconds to the first answer, and what a collection adds."""
    yield "what", "value"
    for r in records:
        for name, seconds in r["seconds"].items():
            yield f"{r['rows']:,} rows: {name}", f"{seconds:.2f} s"
        for name, value in r["costs"].items():
            yield f"texts with HNSW: {name}", f"{value:.3f}"


SCALE_COLUMNS = {
    "add_s": "add s",
    "words_s": "words s",
    "index_s": "index s",
    "open_s": "open s",
    "meaning_ms": "by meaning, ms",
    "words_ms": "by words, ms",
    "both_ms": "by both, ms",
    "of_1_percent_ms": "of 1 %, ms",
    "as_stored_ms": "exactly, ms",
    "disk_bytes": "disk MB",
    "index_bytes": "building MB",
    "serve_bytes": "serving MB",
}


def scale(records: list[Record]) -> Iterator[Row]:
    """Costs by size, and their exponents, where the clock was heeded."""
    yield "passages", *SCALE_COLUMNS.values()
    for r in records:
        if r.get("processor_time"):
            continue
        for line in r["sizes"]:
            yield f"{line['rows']:,}", *(_cost(cost, line.get(cost)) for cost in SCALE_COLUMNS)
        yield "n to the power of", *(_exponent(r["fits"].get(cost)) for cost in SCALE_COLUMNS)


def scale_exponents(records: list[Record]) -> Iterator[Row]:
    """Every cost that was fitted, at the least and the greatest size, and what is extrapolated from it."""
    for r in records:
        if "until" not in r:
            continue
        lines, ending = (
            r["sizes"],
            ("_cpu_s", "_cpu_ms", "_bytes") if r.get("processor_time") else ("_s", "_ms", "_bytes"),
        )
        first, last = lines[0]["rows"], lines[-1]["rows"]
        yield "cost", f"at {first:,}", f"at {last:,}", "n to the power of", f"extrapolated to {r['until']:,}"
        for cost in sorted({name for line in lines for name in line if name.endswith(ending)}):
            ends = (_cost(cost, line.get(cost)) for line in (lines[0], lines[-1]))
            fit = r["fits"].get(cost)
            yield cost, *ends, _exponent(fit), _cost(cost, fit and fit["extrapolated"])


def _cost(name: str, value: float | None) -> str:
    """Seconds, milliseconds, or bytes as MB, as the name ends."""
    if value is None:
        return ""
    return f"{value / 1e6:,.0f}" if name.endswith("_bytes") else f"{value:,.2f}"


def indexing(records: list[Record]) -> Iterator[Row]:
    """The encoder's share of each run, and seconds by stage."""
    yield "set", "passages", "share to the last commit", "with indexes", "by processor", "with indexes", "stages, CPU s"
    for r in records[1:]:
        shares = (
            f"{r[name]:.0%}" for name in ("committed_share", "whole_share", "committed_share_cpu", "whole_share_cpu")
        )
        stages = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in r["stages_cpu_s"].items())
        yield r["set"], f"{r['passages']:,}", *shares, stages


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


def hybrid(records: list[Record]) -> Iterator[Row]:
    """Milliseconds of a question, alone and among others."""
    yield "at once", "ms a question", "one by one, ms", "x", "same answers"
    for r in records[1:]:
        yield (
            f"{r['batch']:,}",
            f"{r['at_once_ms']:.2f}",
            f"{r['one_by_one_ms']:.2f}",
            f"{r['x']:.2f}",
            _share(r["same"]),
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


def sparse_encoding(records: list[Record]) -> Iterator[Row]:
    """Texts a second by both."""
    yield "texts", "dtype", "texts/s", "sentence-transformers", "x", "weights differ by", "words a text"
    for r in records:
        yield (
            f"{r['texts']} ({r['count']:,})",
            r["dtype"],
            f"{r['texts_per_second']:,.0f}",
            f"{r['peer_texts_per_second']:,.0f}",
            f"{r['times_sentence_transformers']:.2f}",
            f"{r['apart']:.0e}",
            f"{r['words']:.0f}",
        )


def sparse_search(records: list[Record]) -> Iterator[Row]:
    """Milliseconds a question."""
    yield "way", "documents", "words of each", "searches", "p50 ms", "p95 ms", "recall@10"
    for r in records:
        yield (
            r["way"],
            f"{r['documents']:,}",
            f"{r['document_words']:.0f}",
            f"{r['searches']:,}",
            f"{r['p50_ms']:.2f}",
            f"{r['p95_ms']:.2f}",
            f"{r['recall']:.4f}",
        )


def sparse_quality(records: list[Record]) -> Iterator[Row]:
    """The nDCG@10 of each way to search."""
    if records:
        yield "data", "queries", *records[0]["ndcg"]
        for r in records:
            yield r["data"], f"{r['queries']:,}", *(f"{score:.4f}" for score in r["ndcg"].values())


WHOLE_RUNS = ("ndcg", "peer_ndcg", "fused_ndcg", "peer_fused_ndcg", "unfused_ndcg")


def sparse_whole(records: list[Record]) -> Iterator[Row]:
    """Whole corpora by both: answers alone and fused, and the time."""
    yield (
        *("data", "documents", "queries", "dtype", "sparse", "of the peer", "fused", "with the peer's", "without"),
        *("scores differ by", "CPU s", "peer", "x"),
    )
    for r in records:
        yield (
            r["data"],
            f"{r['documents']:,}",
            f"{r['queries']:,}",
            r["dtype"],
            *(f"{r[run]:.4f}" if run in r else "" for run in WHOLE_RUNS),
            f"{r['scores_apart']:.0e}",
            f"{r['cpu_s']:,.0f}",
            f"{r['peer_cpu_s']:,.0f}",
            f"{r['peer_cpu_s'] / r['cpu_s']:.2f}",
        )


def late(records: list[Record]) -> Iterator[Row]:
    """Milliseconds a question, and whether the order is the peer's."""
    from statistics import median

    yield "way", "dtype", "questions", "ms a question", "same order", "of its first 10", "scores differ by"
    for r in records:
        yield (
            r["way"],
            r["dtype"],
            f"{r['queries']}",
            f"{median(r['ms']):,.1f}",
            f"{r['alike']} of {r['queries']}",
            f"{r['shared']:.1f}",
            f"{r['apart']:.0e}",
        )


def clusters(records: list[Record]) -> Iterator[Row]:
    """Of each run a row for loading, for what it takes on disk, and for each search."""
    yield "server", "nodes", "shards", "replicas", "passages", "what", "semsearch", "bare", "times", "recall"
    for r in records:
        own = r["flavour"], f"{r['nodes']}", f"{r['shards']}", f"{r['replicas']}", f"{r['rows']:,}"
        load, bare = r["seconds"]["load"], r["seconds"].get("load, bare")
        told = ("", "") if bare is None else (f"{bare:,.1f} s", f"{load / bare:.2f}")
        yield *own, "load", f"{load:,.1f} s", *told, ""
        if "merge" in r["seconds"]:
            yield *own, "merge", f"{r['seconds']['merge']:,.1f} s", "", "", ""
        yield (
            *own,
            "disk",
            f"{r['bytes'] / 1e6:,.1f} MB",
            f"{r['raw'] / 1e6:,.1f} MB",
            f"{r['bytes'] / r['raw']:.2f}",
            "",
        )
        for way, ms in r["ms"].items():
            if way.endswith(", bare"):
                continue
            bare = r["ms"].get(f"{way}, bare", {}).get("p50")
            told = ("", "") if bare is None else (f"{bare:.2f} ms", f"{ms['p50'] / bare:.2f}")
            yield *own, way, f"{ms['p50']:.2f} ms", *told, "" if ms["recall"] is None else f"{ms['recall']:.4f}"


def cluster_growth(records: list[Record]) -> Iterator[Row]:
    """Of each size a row, and of each server how all of it grows: the slope of its logarithm by that of the size."""
    ways = ("dense", "dense, exact", "words")
    yield "server", "passages", "load", "merge", "disk", *ways, "recall"
    import numpy as np

    for server in dict.fromkeys(r["flavour"] for r in records):
        own, costs = [r for r in records if r["flavour"] == server], []
        for r in own:
            seconds, ms = r["seconds"], [r["ms"][way]["p50"] for way in ways]
            costs.append([r["rows"], seconds["load"], seconds["merge"], r["bytes"], *ms])
            disk = f"{r['bytes'] / 1e6:,.0f} MB ({r['bytes'] / r['raw']:.2f})"
            shown = [f"{seconds['load']:.0f} s", f"{seconds['merge']:.0f} s", disk, *(f"{one:.1f} ms" for one in ms)]
            yield server, f"{r['rows']:,}", *shown, f"{r['ms']['dense']['recall']:.4f}"
        if len(own) > 1:
            sizes, *others = np.log(np.array(costs).T)
            yield server, "exponent", *(f"{np.polyfit(sizes, one, 1)[0]:.2f}" for one in others), ""


def engines(records: list[Record]) -> Iterator[Row]:
    """Of each engine what loading, its disk, and each search took."""
    ways = ("dense", "exact", "1 %", "words", "hybrid")
    yield "engine", "passages", "load", "graph", "disk", *ways, "recall"
    for r in records:
        seconds, ms = r["seconds"], r["ms"]
        disk = f"{r['bytes'] / 1e6:,.0f} MB ({r['bytes'] / r['raw']:.2f})"
        own = [f"{ms[way]['p50']:.2f} ms" if way in ms else "" for way in ways]
        recall = f"{ms['dense']['recall']:.4f}"
        yield r["engine"], f"{r['rows']:,}", f"{seconds['load']:.1f} s", f"{seconds['graph']:.1f} s", disk, *own, recall


SERVED_BESIDE = {  # what a row of the server's is held against
    "server, search": "search_many, batches as the server's",
    "server, embeddings": "plain server, embeddings",
    "server, embeddings, float32": "plain server, embeddings",
}


def serving(records: list[Record]) -> Iterator[Row]:
    """A server's rates and times, and its processor's time beside what it could be at best, or a plain server's."""
    yield "index", "what", "clients", "batch", "requests/s", "p50", "p99", "processor", "of one's", "of other's", "load"
    known = {(r["index"], r["what"], r["clients"]): r["cpu_ms_per_request"] for r in records}
    for r in records:
        index, what, clients, own = r["index"], r["what"], r["clients"], r["cpu_ms_per_request"]
        alone = known.get((index, what, 1))
        other = known.get((index, SERVED_BESIDE.get(what), clients))
        yield (
            index if "search" in what else "",
            what,
            f"{clients}",
            f"{r['batch']:.1f}" if "batch" in r else "",
            f"{r['requests_per_second']:,.0f}",
            f"{r['p50_ms']:.2f} ms",
            f"{r['p99_ms']:.2f} ms",
            f"{own:.2f} ms",
            "" if alone is None else f"{own / alone:.2f}",
            "" if other is None else f"{own / other:.2f}",
            f"{r['load']:.0f}",
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


def choice(records: list[Record]) -> Iterator[Row]:
    """What was chosen on all sets but one."""
    lines = [r for r in records if r["part"] == "choice"]
    if lines:
        modes = ("dense", "lexical", "hybrid")
        yield "left out", "queries", *modes, "weight", "nDCG@10", "factor", "nDCG@10", "change", "p"
        for r in lines:
            halves = [f"{r[mode]:.4f}" for mode in modes]
            both = [cell for name in ("weight", "factor") for cell in (r[name]["chosen"], f"{r[name]['nDCG@10']:.4f}")]
            yield r["data"], str(r["queries"]), *halves, *both, f"{r['change']:+.4f}", _chance(r["p"])
        means = [sum(r[mode] for r in lines) / len(lines) for mode in modes]
        chosen = [sum(r[name]["nDCG@10"] for r in lines) / len(lines) for name in ("weight", "factor")]
        both = ["", f"{chosen[0]:.4f}", "", f"{chosen[1]:.4f}", f"{chosen[1] - chosen[0]:+.4f}", ""]
        yield "mean", "", *(f"{mean:.4f}" for mean in means), *both


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


def applications(records: list[Record]) -> Iterator[Row]:
    """Both sides at each part, and how the answers differ."""
    compared = [r for r in records if "ours" in r]
    if not compared:
        return
    yield (
        "what",
        "rows",
        "ours, CPU s (s)",
        "peer",
        "its CPU s (s)",
        "times, CPU (wall)",
        "memory, ours / its",
        "answers",
    )
    for r in compared:
        ours = r["ours"]
        if "theirs" not in r:
            own = f"{ours['cpu_s']:.1f} ({ours['wall_s']:.1f})", *("",) * 3, f"{ours['memory_mb']:,.0f} MB"
            yield r["part"], f"{r['rows']:,}", *own, f"{r['found']:,}"
            continue
        theirs = r["theirs"]
        unseen = f" and {r['unseen']:,} that it does not look at" if r.get("unseen") else ""
        differ = f"{r['both']:,} in both" if "both" in r else f"{r['differ']:,} differ{unseen}"
        memory = "" if "memory_mb" not in ours else f"{ours['memory_mb']:,.0f} / {theirs['memory_mb']:,.0f} MB"
        yield (
            r["part"],
            f"{r['rows']:,}",
            f"{ours['cpu_s']:.1f} ({ours['wall_s']:.1f})",
            r["peer"],
            f"{theirs['cpu_s']:.1f} ({theirs['wall_s']:.1f})",
            f"{r['times']['cpu']:.1f} ({r['times']['wall']:.1f})",
            memory,
            f"{r['found']:,}, {differ}",
        )


def application_exponents(records: list[Record]) -> Iterator[Row]:
    """How costs grow."""
    fitted = [r for r in records if "exponent" in r]
    if fitted:
        yield "CPU seconds grow with rows to the power of", *(r["part"] for r in fitted)
        yield "semsearch", *(f"{r['exponent']:.2f}" for r in fitted)
        if any(r.get("peers_exponent") for r in fitted):
            known = ((r.get("peers_exponent"), r) for r in fitted)
            yield "its peer", *("" if exponent is None else f"{exponent:.2f}" for exponent, _ in known)


def banking(records: list[Record]) -> Iterator[Row]:
    """Clusters and labels on judged data."""
    lines = [r for r in records if r["part"] in ("clusters", "classify")]
    if lines:
        yield "banking77", "rows", "way", "NMI", "accuracy", "calibration error", "CPU s"
        for r in lines:
            figures = (f"{r[name]:.4f}" if name in r else "" for name in ("nmi", "accuracy", "calibration_error"))
            yield r["part"], f"{r['rows']:,}", r["way"], *figures, f"{r['cpu_s']:.1f}"


def topics(records: list[Record]) -> Iterator[Row]:
    """Topics, and how their words go together."""
    lines = [r for r in records if r["part"] == "topics"]
    if lines:
        yield "topics by", "CPU s (s)", "topics", "in none", "NPMI", "different words"
        for r in lines:
            yield (
                r["way"],
                f"{r['cpu_s']:.0f} ({r['wall_s']:.0f})",
                str(r["topics"]),
                f"{r['none'] / r['rows']:.0%}",
                f"{r['npmi']:.3f}",
                f"{r['different']:.0%}",
            )


def judged_pairs(records: list[Record]) -> Iterator[Row]:
    """How well scores tell duplicates."""
    lines = [r for r in records if r["part"] == "judged pairs"]
    if lines:
        yield "judged pairs of Quora", "pairs", "average precision", "best F1", "CPU s (s)"
        for r in lines:
            figures = f"{r['average_precision']:.4f}", f"{r['best_f1']:.4f}"
            yield r["way"], f"{r['rows']:,}", *figures, f"{r['cpu_s']:.0f} ({r['wall_s']:.0f})"


def translations(records: list[Record]) -> Iterator[Row]:
    """What is not found of translated sentences."""
    lines = [r for r in records if r["part"] == "translations"]
    if lines:
        yield (
            "Tatoeba with English",
            "pairs",
            "xSIM to English",
            "from English",
            "found by bitext",
            "of these right",
            "CPU s",
        )
        for r in lines:
            errors = f"{r['xsim_to_english']:.2%}", f"{r['xsim_from_english']:.2%}"
            mined = f"{r['recall']:.1%}", f"{r['precision']:.1%}"
            yield r["language"], f"{r['rows']:,}", *errors, *mined, f"{r['cpu_s']:.1f}"


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
    sizes = [line for r in records if not r.get("processor_time") for line in r["sizes"]]
    for cost, label in {
        "add_s": "seconds to add",
        "index_s": "seconds to index",
        "meaning_ms": "ms a query",
        "as_stored_ms": "ms a query, exactly",
    }.items():
        known = [line for line in sizes if cost in line]
        axes.plot([line["rows"] for line in known], [line[cost] for line in known], marker="o", label=label)
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
