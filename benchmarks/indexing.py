"""`semsearch index` end to end, beside what its encoder alone makes of the same texts; and where each second goes.

    python benchmarks/indexing.py [--sets questions films] [--rows 137551] [--rounds 3] [--out FILE]

Each round writes a slice of the set as a file, indexes it, and encodes the very texts that the indexing encoded again,
in the order of its batches, by the same model, loaded and warm. `share` is the encoder's seconds by those of the whole
run, up to the last commit and with the indexes that are built behind it. Stages are seconds by the clock and of the
processor, of the thread that they run in; they overlap where the encoder works in a thread of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock

from texts import short_texts

import semsearch
from semsearch.bench.run import machine
from semsearch.chunking import EvenSplitter
from semsearch.encoder.tokenization import TextTokenizer
from semsearch.ingest.ingestion import Ingestion
from semsearch.ingest.source import Source

MODEL = "all-MiniLM-L6-v2"
SAMPLES = Path(__file__).parent.parent / "corpora" / "samples" / "samples.jsonl"


class Stages:
    """Seconds of each stage, by the clock and of the processor."""

    def __init__(self) -> None:
        self.clock: defaultdict[str, float] = defaultdict(float)
        self.processor: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def spent(self, stage: str) -> Iterator[None]:
        """Count what is done within."""
        clock, processor = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            self.clock[stage] += time.perf_counter() - clock
            self.processor[stage] += time.thread_time() - processor

    def watched(self, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call`, counted."""

        def counted(*given: Any, **named: Any) -> Any:
            with self.spent(stage):
                return call(*given, **named)

        return counted

    def read(self, documents: Iterator[Any]) -> Iterator[Any]:
        """Documents, what it takes to read them counted."""
        end = object()
        while True:
            with self.spent("reading"):
                document = next(documents, end)
            if document is end:
                return
            yield document


class Listening:
    """The encoder, which notes what it is given."""

    def __init__(self, encoder: Any, stages: Stages) -> None:
        self._encoder = encoder
        self._stages = stages
        self.given: list[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode_documents(self, texts: list[str]) -> Any:
        """See `Encoder`."""
        self.given.append(list(texts))
        with self._stages.spent("encoding"):
            return self._encoder.encode_documents(texts)


def corpus(name: str, rows: int, folder: Path) -> Path:
    """The first rows of a set, as a file of JSON lines."""
    file = folder / f"{name}.jsonl"
    with file.open("w", encoding="utf-8") as lines:
        if name == "questions":
            for number, text in enumerate(short_texts()[:rows]):
                lines.write(json.dumps({"_id": str(number), "text": text}) + "\n")
            return file
        data = os.environ.get("SEMSEARCH_DATA")
        films = Path(data) / "wikipedia-movies.jsonl" if data else SAMPLES
        with films.open(encoding="utf-8") as whole:
            lines.writelines(islice(whole, rows))
    return file


def measured(file: Path, encoder: Any) -> dict[str, Any]:
    """One round."""
    stages = Stages()
    listening = Listening(encoder, stages)
    source = Source.of(file)
    run = Ingestion.run
    with tempfile.TemporaryDirectory(dir=file.parent) as home, ExitStack() as watched:
        for owner, method, stage in (
            (EvenSplitter, "split_many", "splitting"),
            (TextTokenizer, "__call__", "tokenizing"),
            (Ingestion, "_take", "looking up"),
        ):
            counted = stages.watched(stage, getattr(owner, method))
            watched.enter_context(mock.patch.object(owner, method, counted))
        watched.enter_context(
            mock.patch.object(Ingestion, "run", lambda self, documents: run(self, stages.read(iter(documents))))
        )
        with semsearch.create("measured", encoder=listening, home=home) as collection:
            collection.engine.put = stages.watched("committing", collection.engine.put)
            clock, processor = time.perf_counter(), time.process_time()
            changes = collection.add_from(source, maintain=False)
            committed = time.perf_counter() - clock, time.process_time() - processor
            with stages.spent("indexes"):
                collection.maintain()
            whole = time.perf_counter() - clock, time.process_time() - processor
    clock, processor = time.perf_counter(), time.process_time()
    for texts in listening.given:
        encoder.encode_documents(texts)
    alone = time.perf_counter() - clock, time.process_time() - processor
    return {
        "documents": changes.added,
        "passages": changes.passages,
        "encoder_s": alone,
        "committed_s": committed,
        "whole_s": whole,
        "stages_s": {stage: (stages.clock[stage], stages.processor[stage]) for stage in stages.clock},
    }


def main() -> None:
    """Measure and print medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=["questions", "films"], default=["questions", "films"])
    parser.add_argument("--rows", type=int, default=137_551, help="documents of each set, at most")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--folder", type=Path, help="where files and collections lie meanwhile")
    parser.add_argument("--out", type=Path, help="append the results to this file, as JSON lines")
    options = parser.parse_args()
    encoder = semsearch.load_encoder(options.model)
    for _ in range(2):
        encoder.encode_documents(short_texts()[:512])  # warm
    lines = []
    for name in options.sets:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            file = corpus(name, options.rows, Path(folder))
            rounds = [measured(file, encoder) for _ in range(options.rounds)]
        line: dict[str, Any] = {"set": name, **{key: rounds[0][key] for key in ("documents", "passages")}}
        for place, clock in enumerate(("", "_cpu")):
            for part in ("committed", "whole"):
                shares = [one["encoder_s"][place] / one[f"{part}_s"][place] for one in rounds]
                line[f"{part}_share{clock}"] = statistics.median(shares)
            line[f"encoder{clock}_s"] = statistics.median(one["encoder_s"][place] for one in rounds)
            line[f"whole{clock}_s"] = statistics.median(one["whole_s"][place] for one in rounds)
            line[f"stages{clock}_s"] = {
                stage: statistics.median(one["stages_s"][stage][place] for one in rounds)
                for stage in rounds[0]["stages_s"]
            }
        lines.append(line)
        print(json.dumps(line, indent=1), flush=True)
    if options.out:
        with options.out.open("a", encoding="utf-8") as out:
            out.writelines(json.dumps(line) + "\n" for line in [{"benchmark": "indexing", **machine()}, *lines])


if __name__ == "__main__":
    main()
