"""From a fresh process to an answer: semsearch beside a script that imports sentence_transformers.

    python benchmarks/cold_start.py [--rounds 5] [--threads N] [--clock wall] [--out FILE]

Three processes in turn, the page cache warm: a script that imports sentence_transformers and encodes one query; one
that opens the same model with `semsearch.load_encoder` and encodes the same query; and `semsearch query` on a
collection of the shipped samples, from the shell to the printed answer. Medians, and their ratios to the first. On a
machine that others use too, `--threads 1 --clock cpu` compares the processor's time instead of the time that passes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from semsearch.encoder import resolve
from semsearch.encoder.load import DEFAULT_MODEL

SAMPLES = Path(__file__).parent.parent / "corpora" / "samples" / "samples.jsonl"
QUERY = "how do I keep bread from going stale"
PEER = """
from sentence_transformers import SentenceTransformer
print(SentenceTransformer({folder!r}, device="cpu").encode({query!r}).shape)
"""
OURS = """
import semsearch
print(semsearch.load_encoder({folder!r}, device="cpu").encode_queries([{query!r}]).shape)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of each process; as many as there are cores if not said")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--out", type=Path, help="JSON lines are added here")
    options = parser.parse_args()
    folder = str(resolve.find(options.model, None).folder)
    command = [sys.executable, "-c", "from semsearch.cli.main import main; main()"]
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "SEMSEARCH_HOME": home, "HF_HUB_OFFLINE": "1"}
        if options.threads:
            environment["OMP_NUM_THREADS"] = str(options.threads)
        index = [*command, "index", str(SAMPLES), "--name", "samples", "-m", folder]
        subprocess.run(index, env=environment, check=True, capture_output=True)
        ways = {
            "sentence-transformers, one query": [sys.executable, "-c", PEER.format(folder=folder, query=QUERY)],
            "semsearch.load_encoder, one query": [sys.executable, "-c", OURS.format(folder=folder, query=QUERY)],
            "semsearch query, 318 documents": [*command, "query", "samples", QUERY],
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for round_ in range(options.rounds + 1):
            for name, way in ways.items():
                spent = _spent(way, environment, options.clock)
                if round_:  # the first fills the page cache
                    seconds[name].append(spent)
    base = statistics.median(next(iter(seconds.values())))
    records = []
    for name, measured in seconds.items():
        median = statistics.median(measured)
        print(f"{name:36}{median:7.2f} s{median / base:7.2f}")
        ratio = {"seconds": median, "share_of_sentence_transformers": median / base}
        records.append({"benchmark": "cold start", "way": name, "clock": options.clock, **ratio, "rounds": measured})
    if options.out:
        with options.out.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)


def _spent(command: list[str], environment: dict[str, str], clock: str) -> float:
    """Seconds that a process took, or that the processors spent on it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, check=True, capture_output=True)
    passed = time.perf_counter() - start
    if not done.stdout.strip():
        raise SystemExit(f"{command} printed nothing: {done.stderr.decode()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return passed if clock == "wall" else after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
