"""Measurements as pictures, and as a page that opens without a network."""

from __future__ import annotations

import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semsearch.bench.run import pareto
from semsearch.errors import MissingDependency

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REPORT_COLUMNS = {
    "index": "",
    "threads": "d",
    "setting": "",
    "recall": ".4f",
    "p50_ms": ".3f",
    "p95_ms": ".3f",
    "p99_ms": ".3f",
    "qps_single": ",.0f",
    "qps": ",.0f",
    "qps_ratio": ".2f",
    "single_ratio": ".2f",
    "build_s": ".2f",
    "memory MB": ",.0f",
    "disk MB": ",.0f",
}
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;font-size:13px}td,th{padding:.15rem .6rem;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}tr.front{font-weight:600;background:#f3f8f1}svg{max-width:100%;height:auto}
small{color:#666}"""


def named(line: Mapping[str, Any]) -> str:
    """The build: backend and options."""
    options = " ".join(f"{name}={value}" for name, value in line["options"].items())
    return f"{line['backend']} {options}".strip()


def cells(line: Mapping[str, Any]) -> list[str]:
    """A line of the table, under `REPORT_COLUMNS`."""
    values = {
        **line,
        "index": named(line),
        "setting": "" if line["knob"] is None else f"{line['knob']}={line['value']}",
        "memory MB": line["memory_bytes"] / 1e6,
        "disk MB": line["disk_bytes"] / 1e6,
    }
    return ["" if values.get(name) is None else format(values[name], kind) for name, kind in REPORT_COLUMNS.items()]


def write_report(folder: Path, facts: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> list[Path]:
    """`report.html` with its plots inside, and each plot as a PNG."""
    try:
        import matplotlib
    except ImportError as error:
        raise MissingDependency(
            "the plots need the library 'matplotlib': pip install 'semsearch[bench]'. The measurements are written."
        ) from error
    matplotlib.use("Agg")
    pictures = {
        "recall": _recall(lines),
        "latency": _latency(lines),
        "build": _bars(lines, "build_s", "seconds to build"),
        "memory": _bars(lines, "memory_bytes", "memory, MB", 1e-6),
    }
    written = []
    drawn = []
    for name, figure in pictures.items():
        written.append(folder / f"{name}.png")
        figure.savefig(written[-1], dpi=150)
        svg = io.StringIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
        drawn.append(svg.getvalue()[svg.getvalue().index("<svg") :])
    written.append(folder / "report.html")
    written[-1].write_text(_page(facts, lines, drawn), encoding="utf-8")
    return written


def _page(facts: Mapping[str, Any], lines: Sequence[Mapping[str, Any]], drawn: Sequence[str]) -> str:
    front = set(pareto([dict(line) for line in lines]))
    head = "".join(f"<th>{html.escape(name)}</th>" for name in REPORT_COLUMNS)
    rows = "".join(
        f"<tr{' class=front' if place in front else ''}>"
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells(line))
        + "</tr>"
        for place, line in enumerate(lines)
    )
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    asked = (
        "real queries"
        if facts["source"] == "queries"
        else "synthetic queries, the lower of stored vectors and points between"
    )
    title = f"{facts['rows']:,} vectors of {facts['dim']} components"
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>"
        f"<h1>{title}</h1><p>Recall among the first {facts['k']} of {facts['queries']:,} {asked}, against exact "
        f"search. Rates in batches of 1,024; latencies of one query at a time. Ratios: this index over its library "
        f"called by hand in the same run, 1 being as fast. Bold: nothing on as many threads beats it in recall and "
        f"rate at once.</p><p><small>{html.escape(str(facts['processor']))}, {facts['cores']} cores, Python "
        f"{facts['python']}, {html.escape(versions)}, {facts['when']}, seed {facts['seed']}</small></p>"
        + "".join(drawn)
        + f"<table><tr>{head}</tr>{rows}</table></html>"
    )


def _figure(panels: int = 1) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure as New

    figure = New(figsize=(9, 4.2), layout="constrained")
    made = figure.subplots(1, panels, squeeze=False)
    return figure, list(made[0])


def _recall(lines: Sequence[Mapping[str, Any]]) -> Figure:
    """Recall against rate: batches on all threads, single queries on one."""
    threads = sorted({line["threads"] for line in lines})
    figure, panels = _figure(2)
    shown = [(threads[-1], "qps", "batches"), (threads[0], "qps_single", "one query at a time")]
    for axes, (count, speed, what) in zip(panels, shown, strict=True):
        for name in dict.fromkeys(map(named, lines)):
            own = [line for line in lines if named(line) == name and line["threads"] == count]
            axes.plot([line["recall"] for line in own], [line[speed] for line in own], "o-", ms=4, label=name)
        axes.set(xlabel="recall", ylabel="queries a second", yscale="log")
        axes.set_title(f"{what}, {count} thread{'s' if count > 1 else ''}")
        axes.grid(alpha=0.3)
    panels[0].legend(fontsize=7)
    return figure


def _latency(lines: Sequence[Mapping[str, Any]]) -> Figure:
    """How the latencies of single queries are spread, of each build's last setting on one thread."""
    least = min(line["threads"] for line in lines)
    last = {named(line): line["latencies_ms"] for line in lines if line["threads"] == least}
    figure, (axes,) = _figure()
    axes.boxplot(list(last.values()), tick_labels=list(last), orientation="horizontal", whis=(1, 99), showfliers=False)
    axes.set(xlabel="milliseconds of a single query at the highest recall measured, 1st to 99th percentile")
    axes.set_xscale("log")
    axes.grid(alpha=0.3)
    return figure


def _bars(lines: Sequence[Mapping[str, Any]], what: str, label: str, scale: float = 1.0) -> Figure:
    most = max(line["threads"] for line in lines)
    values = {named(line): scale * line[what] for line in lines if line["threads"] == most}
    figure, (axes,) = _figure()
    axes.barh(list(values), list(values.values()))
    axes.set(xlabel=label)
    axes.grid(alpha=0.3)
    return figure
