"""Draw `benchmarks/session.svg`, the picture in the README, from a real session on the shipped samples.

Run it with `python benchmarks/picture.py`.
"""

import io
import re
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

import semsearch
from semsearch.cli.parameters import SearchOptions
from semsearch.cli.query import ask
from semsearch.cli.render import Answer, draw_hits
from semsearch.ingest.source import Source

HERE = Path(__file__).parent
SAMPLES = HERE.parent / "corpora" / "samples" / "samples.jsonl"
QUESTIONS: tuple[tuple[str, SearchOptions], ...] = (
    ("why does bread rise?", SearchOptions()),
    ("stop crying while chopping vegetables", SearchOptions(mode="hybrid", explain=True)),
)


def typed(console: Console, prompt: str, text: str) -> None:
    """A line as a person types it."""
    console.print(Text.assemble((prompt, "bold green"), text))


def main() -> None:
    """Index, ask, draw."""
    console = Console(record=True, width=96, file=io.StringIO(), force_terminal=True, highlight=False, markup=False)
    with tempfile.TemporaryDirectory() as home, semsearch.create("samples", home=home) as samples:
        changes = samples.add(Source.of(SAMPLES).read())
        typed(console, "$ ", "semsearch index corpora/samples/samples.jsonl")
        console.print(
            f"added {changes.added:,}, changed {changes.changed:,}, unchanged {changes.unchanged:,}, "
            f"skipped {changes.skipped:,}"
        )
        typed(console, "$ ", "semsearch query -k 2")
        for question, how in QUESTIONS:
            ask(samples, [question], 2, how)  # once before: the times shown are those of a session that goes on
            if how.explain:
                typed(console, "samples> ", ":mode hybrid")
                typed(console, "samples> ", ":explain on")
            typed(console, "samples> ", question)
            (answer,) = ask(samples, [question], 2, how)
            draw_hits(console, Answer(question, answer.hits, answer.timings))
    svg = console.export_svg(title="semsearch", unique_id="session")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # nothing is fetched to show it
    picture = HERE / "session.svg"
    picture.write_text(svg.replace("Fira Code, monospace", "Menlo, Consolas, 'DejaVu Sans Mono', monospace"))
    print(f"{picture.name}: {picture.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
